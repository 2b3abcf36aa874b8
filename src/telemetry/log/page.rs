//! The text of a query's line, put together from pieces of fixed size: a copy of known length is one store, and what it writes beyond its
//! piece is overwritten by the next.

use std::io::Write;
use std::net::IpAddr;

use super::query::QueryLine;
use crate::lang::replacer::FLAGS;
use crate::limits::NAME_OCTETS;
use crate::wire::rcode::Rcode;
use crate::wire::types;

/// Room in which the writer makes one line after the other.
pub(super) struct Page {
    octets: [u8; ROOM],
    /// `0 <= len <= ROOM`
    len: usize,
    /// The text of the flags that were written last: most replies have the same.
    flags: (u16, [u8; FLAGS_ROOM], usize),
}

impl Page {
    /// Appends the whole line, its level and end included.
    pub(super) fn append(&mut self, line: &QueryLine<'_>, batch: &mut Vec<u8>) {
        if self.fill(line).is_some() {
            batch.extend_from_slice(&self.octets[..self.len]);
            return;
        }
        // A Vec takes all that is written.
        let _ = writeln!(batch, "[INFO] {line}");
    }

    /// `None`: the line has something rare in it and is left to the formatting machinery.
    fn fill(&mut self, line: &QueryLine<'_>) -> Option<()> {
        // From a second on Go adds two floats (`Duration.Seconds`), whose sum may have more than nine digits.
        if line.spent_ns >= NS_PER_S {
            return None;
        }
        self.len = 0;
        self.text(b"[INFO] ")?;
        self.address(line.peer.ip())?;
        self.text(b":")?;
        self.number(line.peer.port().into())?;
        self.text(b" - ")?;
        self.number(line.id.into())?;
        match line.qtype {
            types::A => self.text(b" \"A IN "),
            types::AAAA => self.text(b" \"AAAA IN "),
            other => {
                self.text(b" \"")?;
                self.octets(types::mnemonic(other)?.as_bytes())?;
                self.text(b" IN ")
            }
        }?;
        self.name(line.name)?;
        self.text(if line.is_tcp { b" tcp " } else { b" udp " })?;
        self.number(line.query_octets.into())?;
        match line.dnssec_ok {
            true => self.text(b" true "),
            false => self.text(b" false "),
        }?;
        self.number(line.size_limit.into())?;
        match line.rcode {
            Rcode::NOERROR => self.text(b"\" NOERROR "),
            other => {
                self.text(b"\" ")?;
                self.octets(other.name()?.as_bytes())?;
                self.text(b" ")
            }
        }?;
        self.flags(line.reply_flags)?;
        self.text(b" ")?;
        self.number(line.reply_octets)?;
        self.text(b" ")?;
        self.seconds(line.spent_ns)?;
        if let Some(opcode) = line.opcode {
            self.text(b" \"")?;
            self.number(opcode.into())?;
            self.text(b"\"")?;
        }
        self.text(b"\n")
    }

    /// The first `len` octets of these.
    #[inline]
    fn put<const N: usize>(&mut self, octets: &[u8; N], len: usize) -> Option<()> {
        let room = self.octets.get_mut(self.len..)?;
        *room.first_chunk_mut::<N>()? = *octets;
        self.len += len;
        Some(())
    }

    #[inline]
    fn text<const N: usize>(&mut self, text: &[u8; N]) -> Option<()> {
        self.put(text, N)
    }

    fn octets(&mut self, octets: &[u8]) -> Option<()> {
        let room = self.octets.get_mut(self.len..self.len + octets.len())?;
        room.copy_from_slice(octets);
        self.len += octets.len();
        Some(())
    }

    /// Up to 65,535, as all are but the sizes of the largest replies.
    #[inline]
    fn number(&mut self, number: u32) -> Option<()> {
        if number > u32::from(u16::MAX) {
            return None;
        }
        let (high, rest) = (number / 10_000, number % 10_000);
        let digits = (u64::from(b'0') + u64::from(high)) | (four_digits(rest) << 8);
        let zeroes = [10, 100, 1_000, 10_000]
            .iter()
            .fold(0, |zeroes, power| zeroes + usize::from(number < *power));
        self.put(&(digits >> (8 * zeroes)).to_le_bytes(), 5 - zeroes)
    }

    /// Nanoseconds below a second, as seconds, with as many digits behind the point as there are before the zeroes.
    fn seconds(&mut self, ns: u64) -> Option<()> {
        // Below 10^9, so that it fits.
        let ns = ns as u32;
        if ns == 0 {
            return self.text(b"0s");
        }
        let (tenths, rest) = (ns / 100_000_000, ns % 100_000_000);
        self.put(&[b'0', b'.', b'0' + tenths as u8], 3)?;
        if rest != 0 {
            let digits = four_digits(rest / 10_000) | (four_digits(rest % 10_000) << 32);
            // The last digit is the highest octet.
            let zeroes = (digits ^ ZEROES).leading_zeros() as usize / 8;
            self.put(&digits.to_le_bytes(), 8 - zeroes)?;
        }
        self.text(b"s")
    }

    #[inline]
    fn address(&mut self, ip: IpAddr) -> Option<()> {
        let IpAddr::V4(ip) = ip else {
            let mut room = self.octets.get_mut(self.len..)?;
            let before = room.len();
            write!(room, "[{ip}]").ok()?;
            self.len += before - room.len();
            return Some(());
        };
        for octet in ip.octets() {
            let (text, len) = &OCTETS[usize::from(octet)];
            self.put(text, usize::from(*len))?;
        }
        // The last point.
        self.len -= 1;
        Some(())
    }

    /// A name whose labels hold nothing but letters, digits, `-` and `_`, as nearly all do: no octet needs an escape.
    fn name(&mut self, wire: &[u8]) -> Option<()> {
        if let [0] = wire {
            return self.text(b".");
        }
        let room = self.octets.get_mut(self.len..self.len + NAME_OCTETS)?;
        let mut rest = wire;
        let mut places = room.iter_mut();
        let mut is_simple = true;
        loop {
            let (len, after) = rest.split_first()?;
            if *len == 0 {
                break;
            }
            let (label, after) = after.split_at_checked(usize::from(*len))?;
            for (octet, place) in label.iter().zip(places.by_ref()) {
                *place = *octet;
                is_simple &= IS_SIMPLE[usize::from(*octet)];
            }
            *places.next()? = b'.';
            rest = after;
        }
        self.len += wire.len() - 1;
        is_simple.then_some(())
    }

    fn flags(&mut self, word: u16) -> Option<()> {
        if self.flags.0 != word {
            let mut text = [0; FLAGS_ROOM];
            let mut len = 0;
            for (_, name) in FLAGS.iter().filter(|(bit, _)| word & bit != 0) {
                let separator = if len == 0 { "" } else { "," };
                for octet in separator.bytes().chain(name.bytes()) {
                    *text.get_mut(len)? = octet;
                    len += 1;
                }
            }
            self.flags = (word, text, len);
        }
        let (_, text, len) = self.flags;
        self.put(&text, len)
    }
}

impl Default for Page {
    fn default() -> Page {
        Page {
            octets: [0; ROOM],
            len: 0,
            flags: (0, [0; FLAGS_ROOM], 0),
        }
    }
}

/// Four digits of a number below 10,000, the first one in the lowest octet.
#[inline]
fn four_digits(number: u32) -> u64 {
    let pair = |at: u32| u64::from(u16::from_le_bytes(PAIRS[at as usize % 100]));
    pair(number / 100) | (pair(number % 100) << 16)
}

/// The numbers from 00 to 99.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut at = 0;
    while at < pairs.len() {
        pairs[at] = [b'0' + at as u8 / 10, b'0' + at as u8 % 10];
        at += 1;
    }
    pairs
};
/// The octets of an IPv4 address as text with a point behind, and how long that is.
const OCTETS: [([u8; 4], u8); 256] = {
    let mut rows = [([0; 4], 0); 256];
    let mut at = 0;
    while at < rows.len() {
        let number = at as u8;
        let digits = [number / 100, number / 10 % 10, number % 10];
        let mut from = match number {
            0..10 => 2,
            10..100 => 1,
            _ => 0,
        };
        let (text, len) = &mut rows[at];
        while from < digits.len() {
            text[*len as usize] = b'0' + digits[from];
            *len += 1;
            from += 1;
        }
        text[*len as usize] = b'.';
        *len += 1;
        at += 1;
    }
    rows
};
/// Octets of names that are shown as they are by all who show names.
const IS_SIMPLE: [bool; 256] = {
    let mut table = [false; 256];
    let mut at = 0;
    while at < table.len() {
        let octet = at as u8;
        table[at] = octet.is_ascii_alphanumeric() || octet == b'-' || octet == b'_';
        at += 1;
    }
    table
};
/// Eight times the digit 0.
const ZEROES: u64 = u64::from_ne_bytes([b'0'; 8]);
/// The longest line: 47 octets in front of an IPv6 client's port, a simple name, less than 100 for what stands around it.
const ROOM: usize = 512;
/// All flags, their commas, and what rounds it up.
const FLAGS_ROOM: usize = 24;
const NS_PER_S: u64 = 1_000_000_000;
