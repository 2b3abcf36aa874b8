//! The default format written by hand, since most blocks have it: octets put one behind the other, where the formatting machinery takes
//! twenty times as long.

use std::net::IpAddr;

use super::fields::Facts;
use crate::lang::replacer::FLAGS;
use crate::limits::NAME_OCTETS;
use crate::wire::name::simple_text;
use crate::wire::types;

/// Room for a line; one that is longer is written the ordinary way.
pub(super) struct Line {
    octets: [u8; ROOM],
    len: usize,
    /// All was short and simple so far.
    is_whole: bool,
}

impl Line {
    /// The line of these facts in the default format. `None`: it needs the ordinary way.
    pub(super) fn of<'l>(facts: &Facts<'_>, line: &'l mut Line) -> Option<&'l str> {
        let mut name = [0; NAME_OCTETS];
        let name = match facts.name {
            [0] => ".",
            wire => simple_text(wire, &mut name)?,
        };
        let qtype = types::mnemonic(facts.qtype)?;
        let rcode = facts.rcode?.name()?;
        let flags = facts.reply_flags?;
        if facts.qclass != types::CLASS_IN || facts.spent_ns >= SPENT_NS_MAX {
            return None;
        }
        (line.len, line.is_whole) = (0, true);
        line.address(facts.peer.ip());
        line.text(":").number(facts.peer.port().into());
        line.text(" - ").number(facts.id.into());
        line.text(" \"").text(qtype).text(" IN ").text(name);
        line.text(" ").text(facts.proto.as_str()).text(" ");
        line.number(facts.octets as u64);
        line.text(if facts.dnssec_ok { " true " } else { " false " });
        line.number(facts.size_limit as u64);
        line.text("\" ")
            .text(rcode)
            .text(" ")
            .flags(flags)
            .text(" ");
        line.number(facts.reply_octets as u64).text(" ");
        line.seconds(facts.spent_ns).text("s");
        let Line { octets, len, .. } = line;
        let text = line.is_whole.then(|| &octets[..*len])?;
        std::str::from_utf8(text).ok()
    }

    fn text(&mut self, text: &str) -> &mut Line {
        self.ascii(text.as_bytes())
    }

    fn number(&mut self, mut number: u64) -> &mut Line {
        let mut digits = [0; 20];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 || at == 0 {
                break;
            }
        }
        self.ascii(&digits[at..])
    }

    /// Nanoseconds as seconds, with as many digits behind the point as there are before the zeroes.
    fn seconds(&mut self, ns: u64) -> &mut Line {
        self.number(ns / NS_PER_S);
        let mut rest = ns % NS_PER_S;
        if rest == 0 {
            return self;
        }
        let mut digits = [b'0'; 9];
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        let len = digits
            .iter()
            .rposition(|digit| *digit != b'0')
            .map_or(0, |last| last + 1);
        self.text(".").ascii(&digits[..len])
    }

    fn address(&mut self, ip: IpAddr) -> &mut Line {
        let IpAddr::V4(ip) = ip else {
            use std::io::Write;
            let mut text = [0; 48];
            let mut rest = &mut text[..];
            // 39 octets and two brackets at most.
            let outcome = write!(rest, "[{ip}]");
            let len = 48 - rest.len();
            self.is_whole &= outcome.is_ok();
            return self.ascii(&text[..len]);
        };
        let [a, b, c, d] = ip.octets();
        self.number(a.into()).text(".").number(b.into()).text(".");
        self.number(c.into()).text(".").number(d.into())
    }

    fn flags(&mut self, word: u16) -> &mut Line {
        let mut separator = "";
        for (bit, name) in FLAGS {
            if word & bit != 0 {
                self.text(separator).text(name);
                separator = ",";
            }
        }
        self
    }

    fn ascii(&mut self, octets: &[u8]) -> &mut Line {
        match self.octets.get_mut(self.len..self.len + octets.len()) {
            Some(room) => {
                room.copy_from_slice(octets);
                self.len += octets.len();
            }
            None => self.is_whole = false,
        }
        self
    }
}

impl Default for Line {
    fn default() -> Line {
        Line {
            octets: [0; ROOM],
            len: 0,
            is_whole: true,
        }
    }
}

/// The longest simple name and what stands around it.
const ROOM: usize = 512;
const NS_PER_S: u64 = 1_000_000_000;
/// From a second on Go adds two floats (`Duration.Seconds`), whose sum may have more than nine digits.
const SPENT_NS_MAX: u64 = NS_PER_S;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::lang::replacer::Format;
    use crate::plugin::Proto;
    use crate::wire::name::NameBuf;
    use crate::wire::rcode::Rcode;

    proptest! {
        #[test]
        fn the_line_is_that_of_the_format(
            labels in proptest::collection::vec("[a-zA-Z0-9_-]{1,20}", 0..6),
            qtype in prop_oneof![Just(1u16), Just(28), Just(65), 0u16..400],
            peer: std::net::SocketAddr, v4: [u8; 4], is_v4: bool,
            octets in 0usize..70_000, id: u16, dnssec_ok: bool, reply_octets in 0usize..70_000,
            spent_ns in prop_oneof![0u64..2_000_000, 0..2 * NS_PER_S, Just(NS_PER_S), Just(1_000)],
            rcode in 0u16..24, flags: u16,
        ) {
            let name = NameBuf::from_text(&format!("{}.", labels.join("."))).unwrap();
            let mut peer = peer;
            if is_v4 {
                peer.set_ip(v4.into());
            }
            let facts = Facts {
                name: name.as_wire(),
                qtype,
                qclass: 1,
                proto: Proto::Udp,
                octets,
                peer,
                local: peer,
                id,
                opcode: 0,
                dnssec_ok,
                size_limit: 4096,
                spent_ns,
                rcode: Some(Rcode(rcode)),
                reply_flags: Some(flags),
                reply_octets,
                meta: None,
            };
            let mut expected = String::new();
            Format::common().render(&facts, &mut expected).unwrap();
            let mut room = Line::default();
            if let Some(text) = Line::of(&facts, &mut room) {
                prop_assert_eq!(text, expected);
            } else {
                let is_named = types::mnemonic(qtype).is_some() && Rcode(rcode).name().is_some();
                prop_assert!(!is_named || spent_ns >= SPENT_NS_MAX);
            }
        }
    }
}
