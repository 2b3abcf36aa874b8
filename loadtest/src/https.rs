//! The little of HTTP/2 that queries need (RFC 8484 by GET, RFC 9113, RFC 7541 without its tables).
//!
//! GET, because its headers are not bound by the server's window, as the body of a POST would be. Streams are bound by the server: more than
//! a hundred queries in flight on one connection are refused by most.
//!
//! Runs on: the generator's thread.
//! **Invariant**: every stream in `open` was asked on and has not ended.

use std::collections::HashMap;

use crate::corpus::Corpus;
use crate::flight::Sent;
use crate::report::Report;
use crate::security::{ALPN_H2, SERVER_NAME};
use crate::sys;
use crate::tcp::{Broken, Dialogue};

/// One connection's streams.
pub struct Http2 {
    next_id: u32,
    open: HashMap<u32, Open>,
    // Bytes of bodies since the connection's window was last made wider.
    received: usize,
}

struct Open {
    sent: Sent,
    body: Vec<u8>,
}

/// A frame without its head.
struct Frame<'a> {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: &'a [u8],
}

impl Dialogue for Http2 {
    const ALPN: &'static [u8] = ALPN_H2;

    fn new(_: usize, _: usize) -> Http2 {
        Http2 {
            next_id: 1,
            open: HashMap::new(),
            received: 0,
        }
    }

    fn open(&self) -> usize {
        self.open.len()
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        self.next_id = 1;
        self.received = 0;
        out.extend_from_slice(PREFACE);
        put(out, SETTINGS, 0, 0, &[]);
    }

    fn push(&mut self, sent: Sent, corpus: &Corpus, out: &mut Vec<u8>) -> bool {
        let id = self.next_id;
        if id > STREAM_ID_MAX {
            return false;
        }
        self.next_id += 2;
        let mut query = corpus.query(sent.question).to_vec();
        corpus.finish(sent.question, &mut query);
        put(out, HEADERS, END_HEADERS | END_STREAM, id, &request(&query));
        let body = Vec::new();
        self.open.insert(id, Open { sent, body });
        true
    }

    fn take(
        &mut self,
        bytes: &[u8],
        corpus: &Corpus,
        report: &mut Report,
        out: &mut Vec<u8>,
    ) -> Result<usize, Broken> {
        let mut at = 0;
        while let Some((head, rest)) = bytes[at..].split_first_chunk::<HEAD_BYTES>() {
            let [a, b, c, kind, flags, stream @ ..] = *head;
            let len = u32::from_be_bytes([0, a, b, c]) as usize;
            // Nobody was told that frames may be longer.
            if len > FRAME_BYTES_MAX {
                return Err(Broken);
            }
            let Some(payload) = rest.get(..len) else {
                break;
            };
            at += HEAD_BYTES + len;
            let stream = u32::from_be_bytes(stream) & STREAM_ID_MAX;
            let frame = Frame {
                kind,
                flags,
                stream,
                payload,
            };
            self.take_frame(&frame, corpus, report, out)?;
        }
        Ok(at)
    }

    fn expire(&mut self, before_ns: u64) -> u64 {
        let open = self.open.len();
        self.open
            .retain(|_, open| open.sent.intended_ns >= before_ns);
        (open - self.open.len()) as u64
    }
}

impl Http2 {
    fn take_frame(
        &mut self,
        frame: &Frame,
        corpus: &Corpus,
        report: &mut Report,
        out: &mut Vec<u8>,
    ) -> Result<(), Broken> {
        match frame.kind {
            SETTINGS if frame.flags & ACK == 0 => put(out, SETTINGS, ACK, 0, &[]),
            PING if frame.flags & ACK == 0 => put(out, PING, ACK, 0, frame.payload),
            GO_AWAY => return Err(Broken),
            RST_STREAM if self.open.remove(&frame.stream).is_some() => report.lost += 1,
            DATA => {
                self.received += frame.payload.len();
                if self.received >= WINDOW_STEP {
                    put(
                        out,
                        WINDOW_UPDATE,
                        0,
                        0,
                        &(self.received as u32).to_be_bytes(),
                    );
                    self.received = 0;
                }
                if let Some(open) = self.open.get_mut(&frame.stream) {
                    open.body.extend_from_slice(frame.data());
                    if open.body.len() > BODY_BYTES_MAX {
                        return Err(Broken);
                    }
                }
            }
            _ => {}
        }
        let is_part = matches!(frame.kind, DATA | HEADERS);
        if is_part
            && frame.flags & END_STREAM != 0
            && let Some(open) = self.open.remove(&frame.stream)
        {
            open.count(corpus, report);
        }
        Ok(())
    }
}

impl Frame<'_> {
    /// Without what padding there is (RFC 9113 section 6.1).
    fn data(&self) -> &[u8] {
        match self.payload.split_first() {
            Some((&padding, rest)) if self.flags & PADDED != 0 => {
                &rest[..rest.len().saturating_sub(padding.into())]
            }
            _ => self.payload,
        }
    }
}

impl Open {
    /// A body is right when it is a message with id 0 that answers the question; what HTTP says of it then does not matter.
    fn count(&self, corpus: &Corpus, report: &mut Report) {
        let question = self.sent.question;
        if self.body.starts_with(&[0, 0]) && corpus.answered_by(question, &self.body) {
            let now_ns = sys::now_ns();
            let latency_ns = now_ns.saturating_sub(self.sent.intended_ns);
            report.count_answer(&self.body, latency_ns);
        } else {
            report.wrong += 1;
            report.lost += 1;
        }
    }
}

fn put(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let [_, a, b, c] = (payload.len() as u32).to_be_bytes();
    out.extend_from_slice(&[a, b, c, kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// The header block of a request: entries of the static table, and literals that are not indexed (RFC 7541 section 6.2.2).
fn request(query: &[u8]) -> Vec<u8> {
    let mut block = vec![METHOD_GET, SCHEME_HTTPS];
    let mut path = PATH.as_bytes().to_vec();
    put_base64url(&mut path, query);
    put_literal(&mut block, &[0x04], &path);
    put_literal(&mut block, &[0x01], SERVER_NAME.as_bytes());
    // accept is number 19, of which 15 fit the first byte.
    put_literal(&mut block, &[0x0f, 0x04], MEDIA_TYPE.as_bytes());
    block
}

fn put_literal(block: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    block.extend_from_slice(name);
    // An integer with a prefix of 7 bits (section 5.1); the eighth says that no Huffman code is used.
    match value.len() {
        len @ 0..127 => block.push(len as u8),
        len => {
            block.push(127);
            let mut rest = len - 127;
            while rest >= 128 {
                block.push((rest % 128) as u8 | 0x80);
                rest /= 128;
            }
            block.push(rest as u8);
        }
    }
    block.extend_from_slice(value);
}

/// Without padding (RFC 4648 section 5).
fn put_base64url(out: &mut Vec<u8>, bytes: &[u8]) {
    for chunk in bytes.chunks(3) {
        let at = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        let digits = (0..=chunk.len()).map(|i| BASE64URL[(bits >> (18 - 6 * i)) as usize & 63]);
        out.extend(digits);
    }
}

const BASE64URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const PATH: &str = "/dns-query?dns=";
const MEDIA_TYPE: &str = "application/dns-message";
const METHOD_GET: u8 = 0x82;
const SCHEME_HTTPS: u8 = 0x87;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GO_AWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const HEAD_BYTES: usize = 9;
const FRAME_BYTES_MAX: usize = 16 << 10;
const BODY_BYTES_MAX: usize = 65_535;
/// A quarter of the window that a connection begins with.
const WINDOW_STEP: usize = 16 << 10;
const STREAM_ID_MAX: u32 = (1 << 31) - 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pace::Rate;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, kind, flags, stream, payload);
        out
    }

    /// A dialogue with two queries in flight, on streams 1 and 3, and the reply to each.
    fn asked(corpus: &Corpus) -> (Http2, Vec<u8>) {
        let mut http = Http2::new(0, 1);
        let mut out = Vec::new();
        http.begin(&mut out);
        for _ in 0..2 {
            let sent = Sent {
                question: 0,
                intended_ns: 5,
            };
            assert!(http.push(sent, corpus, &mut out));
        }
        assert!(out.starts_with(PREFACE));
        let mut reply = corpus.query(0).to_vec();
        reply[2] |= 0x80;
        (http, reply)
    }

    #[test]
    fn replies_are_found_between_other_frames_however_they_are_cut() {
        let corpus = Corpus::parse("a.b A", None).unwrap();
        let (mut http, reply) = asked(&corpus);
        let padded = [&[2][..], &reply[..10], b".."].concat();
        let said = [
            frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 1, 0]),
            frame(PING, 0, 0, b"12345678"),
            frame(HEADERS, END_HEADERS, 1, &[0x88]),
            frame(DATA, 0, 99, b"of no stream that was asked on"),
            frame(DATA, PADDED, 1, &padded),
            frame(DATA, END_STREAM, 3, &reply),
            frame(DATA, END_STREAM, 1, &reply[10..]),
        ]
        .concat();
        let (mut report, mut out, mut at) = (Report::new(Rate::Max), Vec::new(), 0);
        for end in 0..=said.len() {
            at += http
                .take(&said[at..end], &corpus, &mut report, &mut out)
                .unwrap();
        }
        assert_eq!((report.answered, report.lost, report.wrong), (2, 0, 0));
        let acks = [
            frame(SETTINGS, ACK, 0, &[]),
            frame(PING, ACK, 0, b"12345678"),
        ];
        assert_eq!((out, at, http.open()), (acks.concat(), said.len(), 0));
    }

    #[test]
    fn what_is_no_answer_is_lost() {
        let corpus = Corpus::parse("a.b A", None).unwrap();
        let take = |said: &[u8]| {
            let (mut http, _) = asked(&corpus);
            let mut report = Report::new(Rate::Max);
            let taken = http.take(said, &corpus, &mut report, &mut Vec::new());
            (taken.is_ok(), report.lost, http.expire(6))
        };
        assert_eq!(take(&frame(RST_STREAM, 0, 1, &[0; 4])), (true, 1, 1));
        assert_eq!(take(&frame(HEADERS, END_STREAM, 1, &[0x8d])), (true, 1, 1));
        let page = frame(DATA, END_STREAM, 3, b"<html>");
        assert_eq!(take(&page), (true, 1, 1));
        assert_eq!(take(&frame(GO_AWAY, 0, 0, &[0; 8])), (false, 0, 2));
        assert_eq!(take(&[0xff; 9]), (false, 0, 2));
        assert_eq!(take(b"HTTP/1.1 400 Bad Request\r\n"), (false, 0, 2));
    }

    #[test]
    fn bodies_make_the_window_wider_again() {
        let corpus = Corpus::parse("a.b A", None).unwrap();
        let (mut http, _) = asked(&corpus);
        let (mut report, mut out) = (Report::new(Rate::Max), Vec::new());
        let half = frame(DATA, 0, 77, &[0; WINDOW_STEP / 2]);
        for _ in 0..2 {
            assert!(out.is_empty());
            http.take(&half, &corpus, &mut report, &mut out).unwrap();
        }
        let wider = (WINDOW_STEP as u32).to_be_bytes();
        assert_eq!(out, frame(WINDOW_UPDATE, 0, 0, &wider));
    }

    #[test]
    fn requests_are_encoded() {
        let base64 = |bytes: &[u8]| {
            let mut out = Vec::new();
            put_base64url(&mut out, bytes);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            ["", "f", "fo", "foo"].map(|text| base64(text.as_bytes())),
            ["", "Zg", "Zm8", "Zm9v"]
        );
        assert_eq!(base64(&[0xff, 0xef, 0xfe]), "_-_-");
        let length = |len: usize| {
            let mut block = Vec::new();
            put_literal(&mut block, &[4], &vec![b'x'; len]);
            block.truncate(block.len() - len);
            block
        };
        assert_eq!(length(126), [4, 126]);
        assert_eq!(length(127), [4, 127, 0]);
        assert_eq!(length(1337), [4, 127, 0xba, 9]);
    }
}
