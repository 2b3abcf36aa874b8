//! Any text as a zone file; whatever loads is asked for all its names, their neighbours and every kind of type.
use std::io;

use percoredns::zone::{Kind, Section, Sink, WireName, Zone, load_with, name_octets, rtype};

const TYPES: [u16; 10] = [
    rtype::A,
    rtype::NS,
    rtype::CNAME,
    rtype::SOA,
    rtype::MX,
    rtype::DNAME,
    rtype::DS,
    rtype::NSEC,
    rtype::RRSIG,
    rtype::ANY,
];

/// Checks what is pushed: sections in order, names whole.
struct Checked(Section);

impl Sink for Checked {
    fn push(&mut self, section: Section, owner: &[u8], _: u16, _: u16, _: u32, _: &[u8]) {
        assert!(section >= self.0);
        assert_eq!(name_octets(owner), Some(owner.len()));
        self.0 = section;
    }
}

fn ask(zone: &Zone, name: &WireName) {
    for qtype in TYPES {
        for dnssec in [false, true] {
            let mut sink = Checked(Section::Answer);
            let outcome = zone.lookup(name.as_slice(), qtype, dnssec, &mut sink);
            if outcome.kind == Kind::Chase {
                zone.finish_chase(&outcome, dnssec, &mut sink);
            }
        }
    }
}

/// One input.
pub fn run(text: &[u8]) {
    let origin = b"\x01z\x00";
    // A file that includes itself, as deep as it may.
    let mut open = |path: &std::path::Path| match path.file_name() {
        Some(name) if name == "self" && text.len() < 200 => Ok(text.to_vec()),
        _ => Err(io::ErrorKind::NotFound.into()),
    };
    let Ok(loaded) = load_with(text, "fuzz", origin, None, &mut open) else {
        return;
    };
    let zone = loaded.zone;
    assert_eq!(zone.records().count(), zone.record_count());
    for record in zone.records().take(64) {
        ask(&zone, &record.owner);
        for prefix in [&b"\x01*"[..], b"\x01\x00\x01a"] {
            if let Some(name) = WireName::join(prefix, record.owner.as_slice()) {
                ask(&zone, &name);
            }
        }
    }
}
