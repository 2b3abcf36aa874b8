//! What to ask: corpus files in dnsperf's format (`name TYPE` a line), the built-in corpora and the zone that they belong to.
//!
//! Runs on: pure.

use std::fmt::Write;
use std::net::Ipv4Addr;

use crate::message;

/// Encoded queries, ready to be sent once an id is patched in.
#[derive(Debug)]
pub struct Corpus {
    bytes: Vec<u8>,
    // Query i lies in bytes[ends[i - 1]..ends[i]], query 0 from 0 on; all lengths are at most 65,535.
    ends: Vec<usize>,
}

impl Corpus {
    /// Reads `name TYPE` lines; empty lines and lines that start with `;` or `#` are skipped. Errors name the line.
    pub fn parse(text: &str, edns_bytes: Option<u16>) -> Result<Corpus, String> {
        let mut corpus = Corpus {
            bytes: Vec::new(),
            ends: Vec::new(),
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

    /// Number of questions, at least 1.
    pub fn count(&self) -> usize {
        self.ends.len()
    }

    /// The query of question `i`, with id 0.
    pub fn query(&self, i: usize) -> &[u8] {
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        &self.bytes[start..self.ends[i]]
    }

    /// Whether `reply` answers question `i`: a response with that very question section. A reply without any question section
    /// (FORMERR and NOTIMP may leave it out) counts as well.
    pub fn answered_by(&self, i: usize, reply: &[u8]) -> bool {
        let Some(asked) = message::question(self.query(i)) else {
            return false;
        };
        let Some((header, body)) = reply.split_at_checked(message::HEADER_BYTES) else {
            return false;
        };
        let is_response = header[2] & 0x80 != 0;
        let bare_error = header[4..6] == [0, 0] && header[3] & 0x0f != 0;
        is_response && (body.starts_with(asked) || bare_error)
    }
}

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
}
