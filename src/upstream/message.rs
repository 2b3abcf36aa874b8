//! Queries as they are sent, and the judgement of what comes back.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::borrow::Cow;

use super::entropy;
use crate::limits::MESSAGE_OCTETS;
use crate::transport::proxy::{self, Carried, Ends};
use crate::wire::edns::{self, Edns};
use crate::wire::name::NameBuf;
use crate::wire::rcode::Rcode;
use crate::wire::reply::{Question, Reply};
use crate::wire::{HEADER, Malformed, flag, types, u16_at};

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The second word of the header; only the opcode, RD, AD and CD are sent.
    pub flags: u16,
    /// The question, in the case it is to be sent in.
    pub question: Question<'a>,
    /// The OPT record, if it is present.
    pub edns: &'a Edns,
}

/// A query in wire form behind its length, as TCP wants it; UDP leaves the length out. The id is drawn for each exchange.
///
/// It is all that a query which waits for an upstream keeps of its question.
#[derive(Debug)]
pub struct RequestBuffer {
    octets: Box<[u8]>,
    name_len: u8,
}

impl RequestBuffer {
    /// Encodes a query, without the options that were for the client's own connection.
    pub fn new(request: &Request<'_>) -> RequestBuffer {
        let question = &request.question;
        let mut edns = Cow::Borrowed(request.edns);
        if edns.iter().any(|(code, _)| is_hop_by_hop(code)) {
            edns.to_mut().retain(|code, _| !is_hop_by_hop(code));
        }
        let len = HEADER + question.name.len() + 4 + edns.wire_len();
        let mut octets = vec![0; 2 + len].into_boxed_slice();
        // A name has 255 octets and the options came in a message, so this fits 16 bits.
        octets[..2].copy_from_slice(&(len as u16).to_be_bytes());
        let word = request.flags & (flag::OPCODE | flag::RD | flag::AD | flag::CD);
        octets[4..6].copy_from_slice(&word.to_be_bytes());
        octets[6..8].copy_from_slice(&1u16.to_be_bytes());
        octets[12..14].copy_from_slice(&u16::from(edns.present).to_be_bytes());
        let at = 2 + HEADER;
        let end = at + question.name.len();
        octets[at..end].copy_from_slice(question.name);
        octets[end..end + 2].copy_from_slice(&question.qtype.to_be_bytes());
        octets[end + 2..end + 4].copy_from_slice(&question.qclass.to_be_bytes());
        if edns.present {
            // The room was computed from the same record.
            let _ = edns::write_opt(
                &mut octets[end + 4..],
                edns.udp_size,
                0,
                edns.flags,
                &edns.options,
            );
        }
        // No name is longer than 255 octets.
        let name_len = question.name.len() as u8;
        RequestBuffer { octets, name_len }
    }

    /// Draws a new id.
    pub fn draw_id(&mut self) {
        self.octets[2..4].copy_from_slice(&entropy::id().to_be_bytes());
    }

    /// The id that was drawn last.
    pub fn id(&self) -> u16 {
        u16::from_be_bytes([self.octets[2], self.octets[3]])
    }

    /// The question, in the case it is sent in.
    pub fn question(&self) -> Question<'_> {
        let at = 2 + HEADER;
        let end = at + usize::from(self.name_len);
        let word = |at: usize| u16::from_be_bytes([self.octets[at], self.octets[at + 1]]);
        Question {
            name: &self.octets[at..end],
            qtype: word(end),
            qclass: word(end + 2),
        }
    }

    /// Whether asking twice does no more than asking once, so that early data, which anybody may send again, may ask it (RFC 9250 section 4.5).
    pub(super) fn is_replayable(&self) -> bool {
        let is_query = u16::from_be_bytes([self.octets[4], self.octets[5]]) & flag::OPCODE == 0;
        is_query && !matches!(self.question().qtype, types::AXFR | types::IXFR)
    }

    /// Takes away an option that has no place in what the query is to be sent over.
    pub(super) fn remove_option(&mut self, unwanted: u16) {
        let start = 2 + HEADER + self.question_octets().len() + OPT_FIXED;
        let options = self.octets.get(start..).unwrap_or_default();
        if !edns::options(options).any(|(code, _)| code == unwanted) {
            return;
        }
        let mut octets = self.octets[..start].to_vec();
        for (code, value) in edns::options(options).filter(|(code, _)| *code != unwanted) {
            // The lengths fitted before.
            octets.extend(code.to_be_bytes());
            octets.extend((value.len() as u16).to_be_bytes());
            octets.extend(value);
        }
        let data = (octets.len() - start) as u16;
        octets[start - 2..start].copy_from_slice(&data.to_be_bytes());
        let len = (octets.len() - 2) as u16;
        octets[..2].copy_from_slice(&len.to_be_bytes());
        self.octets = octets.into();
    }

    /// The question in wire form: name, type, class.
    pub(super) fn question_octets(&self) -> &[u8] {
        let at = 2 + HEADER;
        &self.octets[at..at + usize::from(self.name_len) + 4]
    }

    /// Appends the message with that id, behind its length if it is `framed`, padded to a multiple of 128 octets if it has an OPT record
    /// (RFC 8467 section 4.1), for where an observer sees lengths alone.
    pub(super) fn write_padded(&self, id: u16, framed: bool, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.octets);
        let message = start + 2;
        let opt = message + HEADER + self.question_octets().len();
        out[message..message + 2].copy_from_slice(&id.to_be_bytes());
        let len = out.len() - message;
        // A query near the end of what a length can say goes as it is.
        if opt < out.len() && len < MESSAGE_OCTETS - 2 * PADDED {
            let padding = (len + 4).next_multiple_of(PADDED) - len - 4;
            out.extend_from_slice(&edns::option::PADDING.to_be_bytes());
            // Less than a block.
            out.extend_from_slice(&(padding as u16).to_be_bytes());
            out.resize(out.len() + padding, 0);
            // The length of the record's data, behind its name, type, class and TTL. Both lengths fit, as was seen above.
            let data = (out.len() - opt - OPT_FIXED) as u16;
            out[opt + OPT_FIXED - 2..opt + OPT_FIXED].copy_from_slice(&data.to_be_bytes());
            let len = (out.len() - message) as u16;
            out[start..message].copy_from_slice(&len.to_be_bytes());
        }
        if !framed {
            out.drain(start..message);
        }
    }

    /// The message alone.
    pub fn datagram(&self) -> &[u8] {
        &self.octets[2..]
    }

    /// The message behind a PROXY header that names the client, or without one the server itself.
    pub(super) fn proxied_datagram(&self, client: Option<&Ends>) -> Vec<u8> {
        let mut datagram = Vec::new();
        proxy::write(client, Carried::Datagram, &mut datagram);
        datagram.extend_from_slice(self.datagram());
        datagram
    }

    /// The message behind its length.
    pub(super) fn framed(&self) -> &[u8] {
        &self.octets
    }
}

/// Reads `message` into `reply` if it answers this query; false for anything else, whatever `reply` then holds. Options that were for
/// the connection to the upstream are left out.
///
/// `is_cut` says that the datagram was longer than what was read of it. A reply that is cut, by us or by an upstream that set TC in
/// the middle of a record, becomes an empty one with TC: the client asks again over TCP.
pub fn accept(
    message: &[u8],
    is_cut: bool,
    id: u16,
    question: &Question<'_>,
    reply: &mut Reply,
) -> bool {
    let Some(flags) = reply_flags(message, id) else {
        return false;
    };
    match u16_at(message, 4) {
        Ok(1) => {
            if !same_question(message, question) {
                return false;
            }
        }
        // It has no options.
        Ok(0) => return bare_error(message, flags) && reply.read(message).is_ok(),
        _ => return false,
    }
    if is_cut {
        return empty_truncated(flags, reply);
    }
    match reply.read(message) {
        Ok(()) => {
            reply.edns.retain(|code, _| !is_hop_by_hop(code));
            true
        }
        Err(Malformed::Short) if flags & flag::TC != 0 => empty_truncated(flags, reply),
        Err(_) => false,
    }
}

/// The flags of a message that is a reply with that id.
fn reply_flags(message: &[u8], id: u16) -> Option<u16> {
    let flags = u16_at(message, 2).ok()?;
    let is_reply = message.len() >= HEADER && u16_at(message, 0) == Ok(id) && flags & flag::QR != 0;
    is_reply.then_some(flags)
}

/// Whether a message is a reply with that id to that question (name, type and class as sent).
pub(super) fn is_for(message: &[u8], id: u16, question: &[u8]) -> bool {
    let Some(flags) = reply_flags(message, id) else {
        return false;
    };
    let Some((name, rest)) = question.split_at_checked(question.len().saturating_sub(4)) else {
        return false;
    };
    match (u16_at(message, 4), u16_at(rest, 0), u16_at(rest, 2)) {
        (Ok(0), ..) => bare_error(message, flags),
        (Ok(1), Ok(qtype), Ok(qclass)) => same_question(
            message,
            &Question {
                name,
                qtype,
                qclass,
            },
        ),
        _ => false,
    }
}

/// An error without a question, as servers send that could not read ours: a header and nothing else.
fn bare_error(message: &[u8], flags: u16) -> bool {
    let rcode = Rcode(flags & flag::RCODE);
    rcode.means_unwritten() && message[6..HEADER].iter().all(|&octet| octet == 0)
}

fn same_question(message: &[u8], question: &Question<'_>) -> bool {
    let Ok((name, at)) = NameBuf::read(message, HEADER) else {
        return false;
    };
    name.as_wire().eq_ignore_ascii_case(question.name)
        && u16_at(message, at) == Ok(question.qtype)
        && u16_at(message, at + 2) == Ok(question.qclass)
}

/// Whether an option is between the two ends of a connection, and not to be handed on: padding (RFC 7830 section 3; lengths are hidden
/// from those who watch this connection) and how long it is kept (RFC 7828 section 3.1).
fn is_hop_by_hop(code: u16) -> bool {
    matches!(code, edns::option::PADDING | edns::option::TCP_KEEPALIVE)
}

fn empty_truncated(flags: u16, reply: &mut Reply) -> bool {
    reply.start(0);
    reply.flags = (flags & !(flag::QR | flag::OPCODE | flag::RCODE)) | flag::TC;
    reply.rcode = Rcode(flags & flag::RCODE);
    true
}

/// Queries are padded to multiples of so many octets.
const PADDED: usize = 128;
/// Octets of an OPT record before its options.
const OPT_FIXED: usize = 11;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::query::{Parsed, Verdict, parse};

    fn name(text: &str) -> NameBuf {
        NameBuf::from_text(text).unwrap()
    }

    fn question(name: &NameBuf) -> Question<'_> {
        Question {
            name: name.as_wire(),
            qtype: types::A,
            qclass: 1,
        }
    }

    fn request(name: &NameBuf, edns: &Edns) -> RequestBuffer {
        RequestBuffer::new(&Request {
            flags: flag::QR | flag::AA | flag::RD | flag::CD,
            question: question(name),
            edns,
        })
    }

    #[test]
    fn queries_are_sent_as_they_are_meant() {
        let name = name("Www.Example.org");
        let mut edns = Edns::default();
        edns.ensure(1232);
        edns.flags = edns::DO;
        edns.push(edns::option::NSID, &[]);
        let mut sent = request(&name, &edns);
        sent.draw_id();
        let mut parsed = Parsed::default();
        assert_eq!(parse(sent.datagram(), &mut parsed), Verdict::Accept);
        assert_eq!(parsed.flags, flag::RD | flag::CD);
        assert_eq!(
            (parsed.id, parsed.qtype, parsed.qclass),
            (sent.id(), types::A, 1)
        );
        assert_eq!(parsed.name.as_wire(), name.as_wire());
        assert_eq!(parsed.edns, edns);
        assert_eq!(
            usize::from(u16_at(sent.framed(), 0).unwrap()),
            sent.datagram().len()
        );
    }

    #[test]
    fn queries_are_padded_where_lengths_are_all_that_is_seen() {
        let mut edns = Edns::default();
        let mut parsed = Parsed::default();
        let mut check = |name: &str, edns: &Edns, want: usize| {
            let sent = request(&self::name(name), edns);
            for framed in [true, false] {
                let mut out = b"before".to_vec();
                sent.write_padded(7, framed, &mut out);
                let message = &out[6 + 2 * usize::from(framed)..];
                assert_eq!(message.len(), want, "{name}");
                if framed {
                    assert_eq!(u16_at(&out, 6), Ok(want as u16));
                }
                assert_eq!(parse(message, &mut parsed), Verdict::Accept);
                assert_eq!(parsed.id, 7);
            }
            parsed.edns.find(edns::option::PADDING).map(<[u8]>::len)
        };
        assert_eq!(check("a", &edns, 12 + 3 + 4), None);
        edns.ensure(1232);
        assert_eq!(check("a", &edns, 128), Some(128 - 12 - 3 - 4 - 11 - 4));
        let exact = format!("{}.{}", "a".repeat(60), "b".repeat(34));
        assert_eq!(check(&exact, &edns, 128), Some(0));
        assert_eq!(check(&format!("{exact}b"), &edns, 256), Some(127));
    }

    #[test]
    fn options_of_one_connection_are_not_handed_to_another() {
        let name = name("example.org");
        let mut edns = Edns::default();
        edns.ensure(1232);
        edns.push(edns::option::PADDING, &[0; 3]);
        edns.push(edns::option::COOKIE, &[7; 8]);
        edns.push(edns::option::TCP_KEEPALIVE, &[]);
        edns.push(edns::option::PADDING, &[]);
        let sent = request(&name, &edns);
        let mut parsed = Parsed::default();
        let mut check = |message: &[u8], want: &[u16]| {
            assert_eq!(parse(message, &mut parsed), Verdict::Accept);
            let codes: Vec<u16> = parsed.edns.iter().map(|option| option.0).collect();
            assert_eq!(codes, want);
        };
        check(sent.datagram(), &[edns::option::COOKIE]);
        let mut padded = Vec::new();
        sent.write_padded(7, false, &mut padded);
        assert_eq!(padded.len(), PADDED);
        check(&padded, &[edns::option::COOKIE, edns::option::PADDING]);

        let mut answer = padded[..HEADER + sent.question_octets().len()].to_vec();
        answer[2] |= 0x80;
        edns.push(edns::option::NSID, b"ns");
        let at = answer.len();
        answer.resize(at + edns.wire_len(), 0);
        edns::write_opt(&mut answer[at..], 1232, 0, 0, &edns.options).unwrap();
        let mut reply = Reply::default();
        assert!(accept(&answer, false, 7, &question(&name), &mut reply));
        assert!(reply.edns.present);
        let codes: Vec<u16> = reply.edns.iter().map(|option| option.0).collect();
        assert_eq!(codes, [edns::option::COOKIE, edns::option::NSID]);
    }

    #[test]
    fn options_can_be_taken_away() {
        let name = name("a");
        let mut edns = Edns::default();
        edns.ensure(1232);
        edns.push(edns::option::TCP_KEEPALIVE, &[0, 100]);
        edns.push(edns::option::NSID, &[]);
        edns.push(edns::option::TCP_KEEPALIVE, &[]);
        let mut sent = request(&name, &edns);
        sent.remove_option(edns::option::TCP_KEEPALIVE);
        let mut parsed = Parsed::default();
        assert_eq!(parse(sent.datagram(), &mut parsed), Verdict::Accept);
        assert_eq!(parsed.edns.options, [0, 3, 0, 0]);
        let len = u16_at(sent.framed(), 0).unwrap();
        assert_eq!(usize::from(len), sent.datagram().len());
        let mut bare = request(&name, &Edns::default());
        let before = bare.framed().to_vec();
        bare.remove_option(edns::option::TCP_KEEPALIVE);
        assert_eq!(bare.framed(), before);
    }

    #[test]
    fn what_changes_something_is_not_sent_early() {
        let name = name("a");
        let edns = Edns::default();
        let check = |flags, qtype, want: bool| {
            let question = Question {
                name: name.as_wire(),
                qtype,
                qclass: 1,
            };
            let sent = RequestBuffer::new(&Request {
                flags,
                question,
                edns: &edns,
            });
            assert_eq!(sent.is_replayable(), want, "{flags:x} {qtype}");
        };
        check(flag::RD, types::A, true);
        check(flag::RD, types::AXFR, false);
        check(0, types::IXFR, false);
        check(4 << 11, types::SOA, false);
    }

    /// A reply to `sent` that is right, to be spoilt by each case.
    fn answer(sent: &RequestBuffer, flags: u16) -> Vec<u8> {
        let mut message = sent.datagram().to_vec();
        message[2..4].copy_from_slice(&(flag::QR | flags).to_be_bytes());
        message[7] = 1;
        message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
        message
    }

    #[test]
    fn only_the_answer_to_the_query_is_accepted() {
        let name = name("example.org");
        let mut sent = request(&name, &Edns::default());
        sent.draw_id();
        let good = answer(&sent, flag::RA);
        let mut reply = Reply::default();
        let mut check = |what: &str, want: bool, spoil: &dyn Fn(&mut Vec<u8>)| {
            let mut message = good.clone();
            spoil(&mut message);
            let got = accept(&message, false, sent.id(), &question(&name), &mut reply);
            assert_eq!(got, want, "{what}");
        };
        check("good", true, &|_| {});
        check("other case", true, &|m| m[13] = b'E');
        check("wrong id", false, &|m| m[0] ^= 1);
        check("a query", false, &|m| m[2] &= 0x7f);
        check("wrong name", false, &|m| m[13] = b'f');
        check("wrong type", false, &|m| m[26] = 28);
        check("wrong class", false, &|m| m[28] = 3);
        check("two questions", false, &|m| m[5] = 2);
        check("no question", false, &|m| m[5] = 0);
        check("cut", false, &|m| m.truncate(40));
        check("header", false, &|m| m.truncate(11));
        check("bare refusal", true, &|m| {
            m.truncate(12);
            (m[3], m[5], m[7]) = (5, 0, 0);
        });
        check("bare success", false, &|m| {
            m.truncate(12);
            (m[3], m[5], m[7]) = (0, 0, 0);
        });
    }

    #[test]
    fn cut_replies_say_truncated_and_nothing_else() {
        let name = name("example.org");
        let mut sent = request(&name, &Edns::default());
        sent.draw_id();
        let mut reply = Reply::default();
        let mut message = answer(&sent, flag::TC);
        message.truncate(40);
        assert!(accept(
            &message,
            false,
            sent.id(),
            &question(&name),
            &mut reply
        ));
        assert!(reply.has_flag(flag::TC) && reply.records().is_empty());
        let whole = answer(&sent, 0);
        assert!(accept(
            &whole,
            true,
            sent.id(),
            &question(&name),
            &mut reply
        ));
        assert!(reply.has_flag(flag::TC) && reply.records().is_empty());
    }

    proptest! {
        #[test]
        fn any_octets_are_judged(mut octets in proptest::collection::vec(any::<u8>(), 0..200), fix in any::<bool>()) {
            let name = name("a");
            if fix && octets.len() > 5 {
                (octets[0], octets[1], octets[2]) = (0, 7, octets[2] | 0x80);
            }
            accept(&octets, false, 7, &question(&name), &mut Reply::default());
        }
    }
}
