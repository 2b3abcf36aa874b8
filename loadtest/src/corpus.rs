//! What to ask: corpus files in dnsperf's format (`name TYPE` a line), the built-in corpora and the zone that they belong to.
//!
//! Runs on: pure.

use std::fmt::Write;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::message;

/// Encoded queries, ready to be sent once an id is patched in.
#[derive(Debug)]
pub struct Corpus {
    bytes: Vec<u8>,
    // Query i lies in bytes[ends[i - 1]..ends[i]], query 0 from 0 on; all lengths are at most 65,535.
    ends: Vec<usize>,
    // A query whose first label is `f` and six digits of base 36, which stand for a name that nobody has asked before.
    fresh: Option<Vec<u8>>,
}

impl Corpus {
    /// Reads `name TYPE` lines; empty lines and lines that start with `;` or `#` are skipped. Errors name the line.
    pub fn parse(text: &str, edns_bytes: Option<u16>) -> Result<Corpus, String> {
        let mut corpus = Corpus {
            bytes: Vec::new(),
            ends: Vec::new(),
            fresh: None,
        };
        for (number, line) in text.lines().enumerate() {
            let mut words = line.split_whitespace();
            let Some(name) = words.next().filter(|word| !word.starts_with([';', '#'])) else {
                continue;
            };
            let place = |what: String| format!("line {}: {what}", number + 1);
            let rtype = words
                .next()
                .ok_or_else(|| place(format!("\"{name}\" has no type; a line is \"name TYPE\"")))?;
            let rtype = message::type_number(rtype).ok_or_else(|| {
                place(format!(
                    "unknown type \"{rtype}\"; use a mnemonic or TYPE123"
                ))
            })?;
            corpus
                .bytes
                .extend(message::query(name, rtype, edns_bytes).map_err(place)?);
            corpus.ends.push(corpus.bytes.len());
        }
        if corpus.ends.is_empty() {
            return Err("the corpus holds no question".to_owned());
        }
        Ok(corpus)
    }

    /// Makes the corpus able to ask for fresh names under `origin` as well.
    pub fn with_fresh(mut self, origin: &str, edns_bytes: Option<u16>) -> Result<Corpus, String> {
        self.fresh = Some(message::query(&fresh_name(0, origin), 1, edns_bytes)?);
        Ok(self)
    }

    /// Number of questions, at least 1; fresh names are not counted.
    pub fn count(&self) -> usize {
        self.ends.len()
    }

    /// A question for a name that this process has not asked before; `None` unless made [`Corpus::with_fresh`].
    pub fn fresh_question(&self) -> Option<u32> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        self.fresh.as_ref()?;
        Some(FRESH | NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// The length that all queries have, if they have one length.
    pub fn common_len(&self) -> Option<usize> {
        let len = self.query(0).len();
        let others = self.fresh.iter().map(Vec::len);
        let same = (1..self.count()).map(|i| self.query(i as u32).len());
        others.chain(same).all(|other| other == len).then_some(len)
    }

    /// The query of a question, with id 0; the digits of a fresh one are patched in by [`Corpus::finish`].
    pub fn query(&self, question: u32) -> &[u8] {
        if let (true, Some(template)) = (question & FRESH != 0, &self.fresh) {
            return template;
        }
        let i = question as usize;
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        &self.bytes[start..self.ends[i]]
    }

    /// Makes a copy of [`Corpus::query`] the query of this very question.
    pub fn finish(&self, question: u32, query: &mut [u8]) {
        if question & FRESH != 0 {
            query[FRESH_DIGITS].copy_from_slice(&digits(question & !FRESH));
        }
    }

    /// Whether `reply` answers the question: a response with that very question section. A reply without any question section
    /// (FORMERR and NOTIMP may leave it out) counts as well.
    pub fn answered_by(&self, question: u32, reply: &[u8]) -> bool {
        let Some(asked) = message::question(self.query(question)) else {
            return false;
        };
        let Some((header, body)) = reply.split_at_checked(message::HEADER_BYTES) else {
            return false;
        };
        let is_response = header[2] & 0x80 != 0;
        let bare_error = header[4..6] == [0, 0] && header[3] & 0x0f != 0;
        is_response && (self.starts_with(question, asked, body) || bare_error)
    }

    fn starts_with(&self, question: u32, asked: &[u8], body: &[u8]) -> bool {
        if question & FRESH == 0 {
            return body.starts_with(asked);
        }
        let (start, end) = (
            FRESH_DIGITS.start - message::HEADER_BYTES,
            FRESH_DIGITS.end - message::HEADER_BYTES,
        );
        body.len() >= asked.len()
            && body[..start] == asked[..start]
            && body[start..end] == digits(question & !FRESH)
            && body[end..asked.len()] == asked[end..]
    }
}

/// The name number `n` of those that exist at the origin without being in any list.
pub fn fresh_name(n: u32, origin: &str) -> String {
    let digits: String = digits(n).iter().map(|&d| char::from(d)).collect();
    format!("f{digits}.{origin}")
}

/// Six digits of base 36, enough for 31 bits.
fn digits(mut n: u32) -> [u8; 6] {
    let mut digits = [b'0'; 6];
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdefghijklmnopqrstuvwxyz"[(n % 36) as usize];
        n /= 36;
    }
    digits
}

/// Marks the number of a question as that of a fresh name.
const FRESH: u32 = 1 << 31;
/// Behind the header, the length of the label and its `f`.
const FRESH_DIGITS: std::ops::Range<usize> = message::HEADER_BYTES + 2..message::HEADER_BYTES + 8;

/// A built-in corpus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A records that exist, each name once, in random order: what the figures are taken with.
    Hosts,
    /// As real clients ask: 60 % A, 25 % AAAA (no data), 10 % names that do not exist, 5 % TXT and MX at the apex.
    Mixed,
    /// Names that do not exist, each different.
    Nxdomain,
}

impl std::str::FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Kind, String> {
        match text {
            "hosts" => Ok(Kind::Hosts),
            "mixed" => Ok(Kind::Mixed),
            "nxdomain" => Ok(Kind::Nxdomain),
            _ => Err(format!(
                "the built-in corpora are hosts, mixed and nxdomain, not \"{text}\""
            )),
        }
    }
}

/// The text of a built-in corpus over the zone of [`zone_text`]; the same arguments give the same text.
pub fn corpus_text(kind: Kind, names: u32, origin: &str) -> String {
    let mut order: Vec<u32> = (0..names).collect();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for i in (1..order.len()).rev() {
        order.swap(i, random.below(i as u64 + 1) as usize);
    }
    let mut text = String::new();
    for n in order {
        let pick = random.below(100);
        // Writing to a String cannot fail.
        let _ = match (kind, pick) {
            (Kind::Hosts, _) | (Kind::Mixed, 0..60) => writeln!(text, "{} A", host_name(n, origin)),
            (Kind::Mixed, 60..85) => writeln!(text, "{} AAAA", host_name(n, origin)),
            (Kind::Mixed, 95..98) => writeln!(text, "{origin} TXT"),
            (Kind::Mixed, 98..) => writeln!(text, "{origin} MX"),
            _ => writeln!(text, "x{n:06}.{origin} A"),
        };
    }
    text
}

/// The zone file that the built-in corpora ask for: `names` hosts with one A record each, and a few records at the apex.
pub fn zone_text(names: u32, origin: &str) -> String {
    let mut text = format!(
        "$ORIGIN {origin}.\n$TTL {TTL_S}\n\
         @ IN SOA ns1 hostmaster 2026010100 7200 3600 1209600 {TTL_S}\n\
         @ IN NS ns1\n@ IN MX 10 mail\n@ IN TXT \"a zone for measuring\"\n\
         ns1 IN A 192.0.2.1\nmail IN A 192.0.2.2\n"
    );
    for n in 0..names {
        let _ = writeln!(text, "{} IN A {}", host_label(n), host_address(n));
    }
    text
}

/// The same hosts as lines of a hosts file.
pub fn hosts_text(names: u32, origin: &str) -> String {
    let mut text = String::new();
    for n in 0..names {
        let _ = writeln!(text, "{} {}", host_address(n), host_name(n, origin));
    }
    text
}

/// The full name of host `n`. All have the same length, so that no server gains by the order of the corpus.
pub fn host_name(n: u32, origin: &str) -> String {
    format!("{}.{origin}", host_label(n))
}

fn host_label(n: u32) -> String {
    format!("h{n:06}")
}

/// The address of host `n`, in 10.0.0.0/8.
pub fn host_address(n: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a00_0000 | (n & 0x00ff_ffff))
}

/// The TTL of every record in the generated zone: longer than any run, so that a warm cache stays warm.
pub const TTL_S: u32 = 86_400;

/// As many hosts as their names (six digits) can tell apart.
pub const NAMES_MAX: u32 = 1_000_000;

/// xorshift64*: repeatable shuffles without a dependency; nothing here needs secrecy.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dnsperf_files_are_read() {
        let corpus = Corpus::parse(
            "; comment\n\nexample.org A\n  b.example.org.  AAAA \n# x\n. TYPE2\n",
            None,
        )
        .unwrap();
        assert_eq!(corpus.count(), 3);
        assert_eq!(
            corpus.query(1),
            message::query("b.example.org", 28, None).unwrap()
        );
        assert_eq!(corpus.query(2), message::query(".", 2, None).unwrap());
    }

    #[test]
    fn errors_name_the_line() {
        for (text, expect) in [
            ("a A\nb\n", "line 2: \"b\" has no type"),
            ("a FOO", "line 1: unknown type \"FOO\""),
            ("a..b A", "line 1"),
            ("; none\n", "no question"),
        ] {
            let error = Corpus::parse(text, None).unwrap_err();
            assert!(error.contains(expect), "{text}: {error}");
        }
    }

    #[test]
    fn built_in_corpora_are_repeatable_and_parse() {
        for kind in [Kind::Hosts, Kind::Mixed, Kind::Nxdomain] {
            let text = corpus_text(kind, 500, "example.org");
            assert_eq!(text, corpus_text(kind, 500, "example.org"));
            assert_eq!(Corpus::parse(&text, Some(1232)).unwrap().count(), 500);
        }
        let mut names: Vec<String> = corpus_text(Kind::Hosts, 500, "example.org")
            .lines()
            .map(str::to_owned)
            .collect();
        assert_ne!(names[0], "h000000.example.org A", "shuffled");
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 500, "each name once");
    }

    #[test]
    fn the_zone_has_every_host() {
        let zone = zone_text(300, "example.org");
        assert!(zone.contains("\nh000000 IN A 10.0.0.0\n"));
        assert!(zone.ends_with("h000299 IN A 10.0.1.43\n"));
    }

    #[test]
    fn replies_are_checked_against_the_question() {
        let corpus = Corpus::parse("a.b A\na.c A", Some(1232)).unwrap();
        let mut reply = corpus.query(0).to_vec();
        assert!(!corpus.answered_by(0, &reply), "the query itself");
        reply[2] |= 0x80;
        assert!(corpus.answered_by(0, &reply));
        assert!(!corpus.answered_by(1, &reply), "another question's reply");
        let formerr = [0, 0, 0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        assert!(corpus.answered_by(0, &formerr));
        assert!(!corpus.answered_by(0, &formerr[..11]));
        assert!(!corpus.answered_by(0, &[]));
    }

    #[test]
    fn fresh_names_differ_and_are_checked_whole() {
        let corpus = Corpus::parse("h000000.b A", Some(1232)).unwrap();
        assert_eq!(corpus.fresh_question(), None);
        let corpus = corpus.with_fresh("b", Some(1232)).unwrap();
        assert_eq!(corpus.common_len(), Some(corpus.query(0).len()));
        let (a, b) = (
            corpus.fresh_question().unwrap(),
            corpus.fresh_question().unwrap(),
        );
        let reply = |question| {
            let mut reply = corpus.query(question).to_vec();
            corpus.finish(question, &mut reply);
            reply[2] |= 0x80;
            reply
        };
        assert_ne!(reply(a), reply(b));
        assert!(corpus.answered_by(a, &reply(a)) && corpus.answered_by(b, &reply(b)));
        assert!(!corpus.answered_by(a, &reply(b)) && !corpus.answered_by(0, &reply(a)));
        let number = a & !FRESH;
        let named = message::query(&fresh_name(number, "b"), 1, Some(1232)).unwrap();
        assert_eq!(reply(a)[12..], named[12..]);
    }
}
