//! The last step of every reply: EDNS echo, size limit, compression and TC (RFC 6891 section 6, CoreDNS's ScrubWriter).

use super::edns::{self, Edns, option};
use super::flag;
use super::rcode::Rcode;
use super::reply::{Question, Reply};
use crate::limits::{MESSAGE_OCTETS, UDP_REPLY_OCTETS};

/// What of the query shapes its reply.
pub struct Asked<'a> {
    /// The message id.
    pub id: u16,
    /// The opcode.
    pub opcode: u16,
    /// The question as the client wrote it.
    pub question: Question<'a>,
    /// The query's OPT record as the plugins left it.
    pub edns: &'a Edns,
    /// Whether the transport cuts replies at the advertised UDP payload size.
    pub is_udp: bool,
    /// Local option codes that a *rewrite* rule lets through, besides the standard ones.
    pub echoed_options: &'a [u16],
}

/// Writes the reply into `out` (at least 512 octets); returns its length. `None` only if `out` is too small for a header.
pub fn fit(asked: &Asked<'_>, reply: &mut Reply, out: &mut [u8]) -> Option<usize> {
    let limit = size_limit(asked.is_udp, asked.edns).min(out.len());
    let mut opt = OptPlan::new(asked, reply);
    if opt.len == 0 && reply.rcode.0 > flag::RCODE {
        // The upper bits of an rcode stand in the OPT record; without one BADVERS would read as NOERROR.
        reply.rcode = Rcode::SERVFAIL;
    }
    if opt.len > 0 && limit < super::HEADER + asked.question.len() + opt.len {
        // Options that leave no room for the question are worth less than the answer.
        opt.bare();
    }
    let room = limit - opt.len;
    if reply.packed().is_some_and(|packed| packed.len() > room) && reply.open().is_err() {
        reply.start(reply.flags);
        reply.rcode = Rcode::SERVFAIL;
    }
    let len = reply.pack(asked.id, asked.opcode, &asked.question, &mut out[..room])?;
    if opt.len == 0 {
        return Some(len);
    }
    let written = opt.write(asked, reply, &mut out[len..limit])?;
    let additionals = u16::from_be_bytes([out[10], out[11]]) + 1;
    out[10..12].copy_from_slice(&additionals.to_be_bytes());
    Some(len + written)
}

/// Octets a reply may take: at least 512 over UDP whatever the client says, the protocol's maximum elsewhere.
pub fn size_limit(is_udp: bool, edns: &Edns) -> usize {
    limit(is_udp, edns.present.then_some(edns.udp_size))
}

/// The same for a payload size, `None` without an OPT record.
pub fn limit(is_udp: bool, udp_size: Option<u16>) -> usize {
    match (is_udp, udp_size) {
        (false, _) => MESSAGE_OCTETS,
        (true, Some(octets)) => usize::from(octets).clamp(512, UDP_REPLY_OCTETS),
        (true, None) => 512,
    }
}

/// Whether CoreDNS echoes an option of the query in a reply that has no OPT record of its own.
pub fn is_echoed(code: u16, registered: &[u16]) -> bool {
    matches!(
        code,
        option::NSID | option::EXPIRE | option::COOKIE | option::TCP_KEEPALIVE | option::PADDING
    ) || registered.contains(&code)
}

/// Which OPT record goes out: the reply's options under the client's size and DO, else the query's own options, filtered.
struct OptPlan {
    len: usize,
    from_reply: bool,
    options: bool,
}

impl OptPlan {
    fn new(asked: &Asked<'_>, reply: &Reply) -> OptPlan {
        let from_reply = reply.edns.present;
        let len = if from_reply {
            11 + reply.edns.options.len()
        } else if asked.edns.present {
            let echoed = asked
                .edns
                .iter()
                .filter(|option| is_echoed(option.0, asked.echoed_options));
            11 + echoed.map(|option| 4 + option.1.len()).sum::<usize>()
        } else {
            0
        };
        OptPlan {
            len,
            from_reply,
            options: true,
        }
    }

    fn bare(&mut self) {
        self.len = 11;
        self.options = false;
    }

    fn write(&self, asked: &Asked<'_>, reply: &Reply, out: &mut [u8]) -> Option<usize> {
        let shape = if asked.edns.present {
            asked.edns
        } else {
            &reply.edns
        };
        let extended = (reply.rcode.0 >> 4) as u8;
        let flags = shape.flags & edns::DO;
        if !self.options {
            return edns::write_opt(out, shape.udp_size, extended, flags, &[]);
        }
        if self.from_reply {
            return edns::write_opt(out, shape.udp_size, extended, flags, &reply.edns.options);
        }
        if self.len == 11 + asked.edns.options.len() {
            // All of them are echoed.
            return edns::write_opt(out, shape.udp_size, extended, flags, &asked.edns.options);
        }
        let mut at = edns::write_opt(out, shape.udp_size, extended, flags, &[])?;
        for (code, data) in asked
            .edns
            .iter()
            .filter(|option| is_echoed(option.0, asked.echoed_options))
        {
            let room = out.get_mut(at..at + 4 + data.len())?;
            room[..2].copy_from_slice(&code.to_be_bytes());
            room[2..4].copy_from_slice(&(data.len() as u16).to_be_bytes());
            room[4..].copy_from_slice(data);
            at += room.len();
        }
        out[9..11].copy_from_slice(&((at - 11) as u16).to_be_bytes());
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::name::NameBuf;
    use crate::wire::reply::Section;
    use crate::wire::{types, u16_at};

    fn check(
        edns: &Edns,
        is_udp: bool,
        records: usize,
        reply_options: Option<&[u8]>,
    ) -> (Vec<u8>, Reply) {
        let name = NameBuf::from_text("a.example.org").unwrap();
        let mut reply = Reply::default();
        reply.start(flag::RD);
        for last in 0..records {
            reply.push(
                Section::Answer,
                name.as_wire(),
                types::A,
                1,
                60,
                &[192, 0, 2, last as u8],
            );
        }
        if let Some(options) = reply_options {
            reply.edns.ensure(4096);
            reply.edns.options.extend_from_slice(options);
        }
        let question = Question {
            name: name.as_wire(),
            qtype: types::A,
            qclass: 1,
        };
        let asked = Asked {
            id: 9,
            opcode: 0,
            question,
            edns,
            is_udp,
            echoed_options: &[65001],
        };
        let mut out = vec![0; MESSAGE_OCTETS];
        let len = fit(&asked, &mut reply, &mut out).unwrap();
        out.truncate(len);
        let mut read = Reply::default();
        read.read(&out).unwrap();
        (out, read)
    }

    #[test]
    fn no_opt_is_added_for_a_client_without_one() {
        let (_, read) = check(&Edns::default(), true, 1, None);
        assert!(!read.edns.present);
    }

    #[test]
    fn size_and_do_are_echoed_and_options_filtered() {
        let mut edns = Edns::default();
        edns.ensure(1400);
        edns.flags = edns::DO | 1;
        edns.push(option::NSID, &[]);
        edns.push(option::SUBNET, &[0, 1, 0, 0]);
        edns.push(65001, &[1]);
        let (_, read) = check(&edns, true, 1, None);
        assert_eq!(
            (read.edns.udp_size, read.edns.flags, read.edns.version),
            (1400, edns::DO, 0)
        );
        assert_eq!(
            read.edns.iter().map(|o| o.0).collect::<Vec<_>>(),
            [option::NSID, 65001]
        );
        let (_, read) = check(&edns, true, 1, Some(&[0, 15, 0, 2, 0, 17]));
        assert_eq!(
            read.edns.iter().map(|o| o.0).collect::<Vec<_>>(),
            [option::EDE]
        );
        assert_eq!(read.edns.udp_size, 1400);
    }

    #[test]
    fn an_rcode_that_takes_an_opt_record_is_not_cut_to_noerror() {
        let question = Question {
            name: &[0],
            qtype: types::A,
            qclass: 1,
        };
        for has_opt in [true, false] {
            let mut edns = Edns::default();
            if has_opt {
                edns.ensure(1232);
            }
            let asked = Asked {
                id: 1,
                opcode: 0,
                question,
                edns: &edns,
                is_udp: true,
                echoed_options: &[],
            };
            let (mut reply, mut out) = (Reply::default(), [0; 512]);
            reply.start(0);
            reply.rcode = Rcode::BADVERS;
            let len = fit(&asked, &mut reply, &mut out).unwrap();
            let mut read = Reply::default();
            read.read(&out[..len]).unwrap();
            let expect = if has_opt {
                Rcode::BADVERS
            } else {
                Rcode::SERVFAIL
            };
            assert_eq!(read.rcode, expect);
        }
    }

    #[test]
    fn udp_is_cut_at_512_or_what_is_advertised() {
        let (out, read) = check(&Edns::default(), true, 60, None);
        assert!(out.len() <= 512 && read.has_flag(flag::TC));
        let mut edns = Edns::default();
        edns.ensure(100);
        assert!(check(&edns, true, 60, None).0.len() > 480);
        edns.udp_size = 65_535;
        let (out, read) = check(&edns, true, 5_000, None);
        assert!(out.len() <= 65_507 && read.has_flag(flag::TC));
        edns.udp_size = 800;
        let (out, read) = check(&edns, true, 60, None);
        assert!(out.len() <= 800 && out.len() > 780 && read.edns.present);
        let (out, read) = check(&edns, false, 60, None);
        assert_eq!(u16_at(&out, 6), Ok(60));
        assert!(!read.has_flag(flag::TC));
    }
}
