//! Tables of zones, questions and answers.

mod answers;
mod direct;
mod parallel;
mod parse;
mod properties;
mod signed;
mod wildcards;

use std::fmt::Write;

use super::*;

/// Records as lines `SECTION owner TYPE data`; the authority NS set and the SOA stand as `NS` and `SOA` alone.
#[derive(Default)]
pub(super) struct Lines {
    pub(super) text: String,
    elsewhere: Option<&'static str>,
}

impl Sink for Lines {
    fn push(
        &mut self,
        section: Section,
        owner: &[u8],
        rtype: u16,
        class: u16,
        ttl: u32,
        rdata: &[u8],
    ) {
        assert_eq!(class, CLASS_IN);
        assert!(ttl <= i32::MAX as u32);
        let section = ["AN", "AU", "AD"][section as usize];
        let owner = WireName::from_wire(owner).expect("owner is a name");
        writeln!(self.text, "{section} {owner} {}", data_text(rtype, rdata)).unwrap();
    }

    fn elsewhere(&mut self, target: &[u8], _: bool) -> bool {
        self.elsewhere
            .is_some_and(|zone| WireName::below(target, wire(zone).as_slice()).is_some())
    }
}

pub(super) fn wire(text: &str) -> WireName {
    WireName::parse(text.as_bytes(), &[0])
        .expect("name")
        .lowered()
}

pub(super) fn type_of(text: &str) -> u16 {
    match text {
        "ANY" => 255,
        _ => rdata::type_number(text.as_bytes()).expect("type"),
    }
}

fn data_text(rtype: u16, rdata: &[u8]) -> String {
    let name = |at: usize| {
        let len = name_octets(&rdata[at..]).expect("name in data");
        WireName::from_wire(&rdata[at..at + len]).unwrap()
    };
    let number = |at: usize| u16::from_be_bytes([rdata[at], rdata[at + 1]]);
    match rtype {
        1 => format!("A {}.{}.{}.{}", rdata[0], rdata[1], rdata[2], rdata[3]),
        2 => format!("NS {}", name(0)),
        5 => format!("CNAME {}", name(0)),
        6 => "SOA".into(),
        12 => format!("PTR {}", name(0)),
        15 => format!("MX {} {}", number(0), name(2)),
        16 => format!("TXT {}", rdata.escape_ascii()),
        28 => format!(
            "AAAA {}",
            std::net::Ipv6Addr::from(<[u8; 16]>::try_from(rdata).unwrap())
        ),
        33 => format!("SRV {} {} {} {}", number(0), number(2), number(4), name(6)),
        39 => format!("DNAME {}", name(0)),
        43 => "DS".into(),
        46 => format!("RRSIG {}", number(0)),
        47 => format!("NSEC {}", name(0)),
        _ => format!("TYPE{rtype} {}", rdata.escape_ascii()),
    }
}

pub(super) fn load(text: &str, origin: &str) -> Zone {
    match load_text(text.as_bytes(), "test", wire(origin).as_slice()) {
        Ok(loaded) => loaded.zone,
        Err(error) => panic!("{error}"),
    }
}

/// The answer to `NAME TYPE [do]` as lines; the first is the kind of the outcome.
pub(super) fn ask(zone: &Zone, question: &str, elsewhere: Option<&'static str>) -> String {
    let mut words = question.split_whitespace();
    let name = wire(words.next().unwrap());
    let qtype = type_of(words.next().unwrap());
    let dnssec = words.next().is_some();
    let mut sink = Lines {
        text: String::new(),
        elsewhere,
    };
    let outcome = zone.lookup(name.as_slice(), qtype, dnssec, &mut sink);
    let mut text = format!("{:?}", outcome.kind);
    if outcome.kind == Kind::Chase {
        write!(text, " {}", outcome.target.as_ref().unwrap()).unwrap();
        zone.finish_chase(&outcome, dnssec, &mut sink);
    }
    if let Some(wildcard) = outcome.wildcard(zone) {
        write!(text, " {wildcard}").unwrap();
    }
    text.push('\n');
    text + &sink.text
}

/// `expect` is compared line by line without indentation; one block of questions per zone.
pub(super) fn check(zone: &Zone, question: &str, expect: &str) {
    let lines = |text: &str| {
        text.lines()
            .map(|l| l.trim().to_owned())
            .filter(|l| !l.is_empty())
            .collect::<Vec<_>>()
    };
    let answer = ask(zone, question, None);
    assert_eq!(
        lines(&answer),
        lines(expect),
        "\nquestion: {question}\nanswer:\n{answer}"
    );
}
