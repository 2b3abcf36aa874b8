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
    /// Whether a reply to a padded query is padded (RFC 8467): the transport is encrypted.
    pub is_padded: bool,
    /// How long the connection may be idle, in tenths of a second, for a client that asks (RFC 7828); `None` where it is not ours to say.
    pub keepalive_ds: Option<u16>,
    /// Local option codes that a *rewrite* rule lets through, besides the standard ones.
    pub echoed_options: &'a [u16],
}

/// Writes the reply into `out` (at least 512 octets); returns its length. `None` only if `out` is too small for a header.
pub fn fit(asked: &Asked<'_>, reply: &mut Reply, out: &mut [u8]) -> Option<usize> {
    let limit = size_limit(asked.is_udp, asked.edns).min(out.len());
    let mut opt = match asked.edns.present || reply.edns.present {
        true => OptPlan::new(asked, reply),
        false => OptPlan::NONE,
    };
    if opt.len == 0 && reply.rcode.0 > flag::RCODE {
        // The upper bits of an rcode stand in the OPT record; without one BADVERS would read as NOERROR.
        reply.rcode = Rcode::SERVFAIL;
    }
    if opt.len > 0 && limit < super::HEADER + asked.question.len() + opt.len {
        // Options that leave no room for the question are worth less than the answer.
        opt = OptPlan::BARE;
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
    let written = opt.write(asked, reply, &mut out[..limit], len)?;
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

/// Which OPT record goes out: the reply's options under the client's size and DO, else the query's own options, filtered. Keepalive and
/// padding are ours to fill in.
struct OptPlan {
    /// Octets of the record, without what padding adds to its header.
    len: usize,
    options: Options,
    keepalive_ds: Option<u16>,
    is_padded: bool,
}

/// Which options are carried over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Options {
    None,
    /// All of the source.
    All,
    /// Those of the source that are not ours to fill in, and that are echoed if it is the query.
    Some,
}

impl OptPlan {
    /// No record.
    const NONE: OptPlan = OptPlan {
        len: 0,
        ..OptPlan::BARE
    };
    /// No options.
    const BARE: OptPlan = OptPlan {
        len: FIXED,
        options: Options::None,
        keepalive_ds: None,
        is_padded: false,
    };

    fn new(asked: &Asked<'_>, reply: &Reply) -> OptPlan {
        let mut plan = OptPlan::BARE;
        if asked.edns.present && !asked.edns.options.is_empty() {
            let wants = |code| asked.edns.find(code).is_some();
            plan.is_padded = asked.is_padded && wants(option::PADDING);
            plan.keepalive_ds = asked.keepalive_ds.filter(|_| wants(option::TCP_KEEPALIVE));
        }
        let source = OptPlan::source(asked, reply);
        if source.present {
            let taken = source.iter();
            let taken = taken.filter(|option| plan.takes(asked, reply, option.0));
            let lens = taken.map(|option| OPTION_HEADER + option.1.len());
            let len = lens.sum::<usize>();
            plan.options = match len == source.options.len() {
                true => Options::All,
                false => Options::Some,
            };
            plan.len += len;
        }
        plan.len += plan.keepalive_ds.map_or(0, |_| OPTION_HEADER + 2);
        plan.len += if plan.is_padded { OPTION_HEADER } else { 0 };
        plan
    }

    /// The record whose options are carried over: the reply's, if it has one.
    fn source<'a>(asked: &Asked<'a>, reply: &'a Reply) -> &'a Edns {
        if reply.edns.present {
            &reply.edns
        } else {
            asked.edns
        }
    }

    /// Whether an option of the source is carried over.
    fn takes(&self, asked: &Asked<'_>, reply: &Reply, code: u16) -> bool {
        let is_ours = code == option::PADDING && self.is_padded
            || code == option::TCP_KEEPALIVE && self.keepalive_ds.is_some();
        !is_ours && (reply.edns.present || is_echoed(code, asked.echoed_options))
    }

    /// Writes the record behind the `len` octets of message in `message`, which ends where the reply has to; returns its length.
    fn write(
        &self,
        asked: &Asked<'_>,
        reply: &Reply,
        message: &mut [u8],
        len: usize,
    ) -> Option<usize> {
        let (before, out) = message.split_at_mut_checked(len)?;
        let shape = if asked.edns.present {
            asked.edns
        } else {
            &reply.edns
        };
        let (extended, flags) = ((reply.rcode.0 >> 4) as u8, shape.flags & edns::DO);
        let source = OptPlan::source(asked, reply);
        let whole = match self.options {
            Options::All => &source.options[..],
            Options::None | Options::Some => &[],
        };
        let mut at = edns::write_opt(out, shape.udp_size, extended, flags, whole)?;
        let start = at;
        if self.options == Options::Some {
            let options = source.iter();
            for (code, data) in options.filter(|option| self.takes(asked, reply, option.0)) {
                at += put_option(out.get_mut(at..)?, code, data)?;
            }
        }
        if let Some(ds) = self.keepalive_ds {
            at += put_option(out.get_mut(at..)?, option::TCP_KEEPALIVE, &ds.to_be_bytes())?;
        }
        if self.is_padded {
            let unpadded = before.len() + at + OPTION_HEADER;
            let most = out.len().saturating_sub(at + OPTION_HEADER);
            let pad = (unpadded.next_multiple_of(PADDED_TO) - unpadded).min(most);
            at += put_option(out.get_mut(at..)?, option::PADDING, ZEROES.get(..pad)?)?;
        }
        if at > start {
            out[9..FIXED].copy_from_slice(&((at - FIXED) as u16).to_be_bytes());
        }
        Some(at)
    }
}

/// Writes an option at the start of `out`; returns its length.
fn put_option(out: &mut [u8], code: u16, data: &[u8]) -> Option<usize> {
    let out = out.get_mut(..OPTION_HEADER + data.len())?;
    out[..2].copy_from_slice(&code.to_be_bytes());
    out[2..OPTION_HEADER].copy_from_slice(&(data.len() as u16).to_be_bytes());
    out[OPTION_HEADER..].copy_from_slice(data);
    Some(out.len())
}

/// Octets of an OPT record without options.
const FIXED: usize = 11;
/// Octets of an option without data.
const OPTION_HEADER: usize = 4;
/// Replies are padded to a multiple of this (RFC 8467 section 4.1).
const PADDED_TO: usize = 468;
const ZEROES: &[u8; PADDED_TO] = &[0; PADDED_TO];

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
            is_padded: !is_udp,
            keepalive_ds: (!is_udp).then_some(100),
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

    /// A query with these options.
    fn asking(options: &[(u16, &[u8])]) -> Edns {
        let mut edns = Edns::default();
        edns.ensure(1232);
        options
            .iter()
            .for_each(|(code, data)| edns.push(*code, data));
        edns
    }

    #[test]
    fn a_padded_query_gets_a_padded_reply_where_that_hides_something() {
        let edns = asking(&[(option::PADDING, &[0; 7]), (option::COOKIE, &[1; 8])]);
        for (records, reply_options) in [(1, None), (25, None), (3, Some(&[0, 15, 0, 2, 0, 3][..]))]
        {
            let (out, read) = check(&edns, false, records, reply_options);
            assert_eq!(out.len() % 468, 0, "{}", out.len());
            assert!(read.edns.find(option::PADDING).is_some());
            assert_eq!(
                read.edns.find(option::COOKIE).is_some(),
                reply_options.is_none()
            );
        }
        let (out, read) = check(&edns, true, 1, None);
        assert_eq!(
            read.edns.find(option::PADDING),
            Some(&[0; 7][..]),
            "{}",
            out.len()
        );
        let (out, _) = check(&asking(&[]), false, 1, None);
        assert_ne!(out.len() % 468, 0);
        // What fills its block without padding is left so.
        let exact = (1..468).any(|len| {
            let edns = asking(&[(option::PADDING, &[]), (option::NSID, &vec![0; len])]);
            let (out, read) = check(&edns, false, 1, None);
            assert_eq!(out.len() % 468, 0, "{len}");
            read.edns.find(option::PADDING) == Some(&[])
        });
        assert!(exact);
    }

    #[test]
    fn keepalive_is_told_to_those_who_ask_over_a_connection() {
        let edns = asking(&[(option::TCP_KEEPALIVE, &[]), (option::NSID, &[])]);
        let (_, read) = check(&edns, false, 1, None);
        assert_eq!(read.edns.find(option::TCP_KEEPALIVE), Some(&[0, 100][..]));
        assert!(read.edns.find(option::NSID).is_some());
        let (_, read) = check(&edns, true, 1, None);
        assert_eq!(read.edns.find(option::TCP_KEEPALIVE), Some(&[][..]));
        let (_, read) = check(&asking(&[]), false, 1, None);
        assert_eq!(read.edns.find(option::TCP_KEEPALIVE), None);
        // One that is in the reply already is another connection's.
        let (_, read) = check(&edns, false, 1, Some(&[0, 11, 0, 2, 0, 7, 0, 3, 0, 0]));
        let codes: Vec<u16> = read.edns.iter().map(|option| option.0).collect();
        assert_eq!(codes, [option::NSID, option::TCP_KEEPALIVE]);
        assert_eq!(read.edns.find(option::TCP_KEEPALIVE), Some(&[0, 100][..]));
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
                is_padded: false,
                keepalive_ds: None,
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
