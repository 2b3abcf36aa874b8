//! Whatever is loaded is found; whatever is asked is survived.

use proptest::prelude::*;

use super::*;

fn label() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(b"*".to_vec()),
        prop::collection::vec(
            prop_oneof![
                Just(0u8),
                Just(1),
                Just(b'.'),
                Just(b'a'),
                Just(b'B'),
                any::<u8>()
            ],
            1..4
        ),
        prop::collection::vec(any::<u8>(), 60..=63),
    ]
}

pub(super) fn name(labels_max: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(label(), 0..=labels_max).prop_map(|labels| {
        let mut wire = Vec::new();
        for label in labels {
            if wire.len() + label.len() + 1 < 250 {
                wire.push(label.len() as u8);
                wire.extend(label);
            }
        }
        wire.extend(b"\x01z\x00");
        wire
    })
}

pub(super) fn build(records: &[(Vec<u8>, u16, Vec<u8>)]) -> Zone {
    let mut builder = Builder::new(wire("z."));
    let mut soa = b"\x00\x00".to_vec();
    soa.extend([0; 20]);
    builder.push(b"\x01z\x00", rtype::SOA, 1, &soa).unwrap();
    for (owner, rtype, rdata) in records {
        builder.push(owner, *rtype, 60, rdata).unwrap();
    }
    builder.finish(&mut |_| {}).unwrap()
}

/// Types with data of any shape, so that zones hold cuts, aliases, proofs and plain data in every mixture.
pub(super) fn record() -> impl Strategy<Value = (Vec<u8>, u16, Vec<u8>)> {
    (name(5), 0..9u8, name(4)).prop_map(|(owner, kind, target)| match kind {
        0 => (owner, rtype::NS, target),
        1 => (owner, rtype::CNAME, target),
        2 => (owner, rtype::DNAME, target),
        3 => (owner, rtype::NSEC, [&target[..], &[0, 1, 0x40]].concat()),
        4 => (owner, rtype::MX, [&[0, 1], &target[..]].concat()),
        5 => (
            owner,
            rtype::TXT,
            [&[target.len() as u8], &target[..]].concat(),
        ),
        6 => (owner, rtype::AAAA, vec![kind; 16]),
        _ => (owner, rtype::A, vec![192, 0, 2, kind]),
    })
}

/// Counts, and checks the order of sections.
struct Counter {
    last: Section,
    records: usize,
}

impl Sink for Counter {
    fn push(&mut self, section: Section, owner: &[u8], _: u16, _: u16, _: u32, _: &[u8]) {
        assert!(section >= self.last);
        assert_eq!(name_octets(owner), Some(owner.len()));
        self.last = section;
        self.records += 1;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn every_record_is_found(owners in prop::collection::vec(name(6), 1..60)) {
        let records: Vec<_> = owners.iter().map(|owner| (owner.clone(), rtype::A, vec![192, 0, 2, 1])).collect();
        let zone = build(&records);
        for owner in &owners {
            let owner = owner.to_ascii_lowercase();
            let mut sink = Counter { last: Section::Answer, records: 0 };
            let outcome = zone.lookup(&owner, rtype::A, false, &mut sink);
            prop_assert_eq!(outcome.kind, Kind::Success);
            prop_assert!(outcome.wildcard(&zone).is_none());
            prop_assert_eq!(sink.records, 1);
        }
        let listed: Vec<_> = zone.records().skip(1).map(|record| record.owner).collect();
        prop_assert_eq!(listed.len(), zone.record_count() - 1);
        // Canonical order: reversed lists of labels compare as the RFC says.
        let key = |name: &WireName| {
            let (mut labels, mut rest) = (Vec::new(), name.as_slice().to_vec());
            while rest[0] != 0 {
                let len = usize::from(rest[0]);
                labels.push(rest[1..=len].to_vec());
                rest.drain(..=len);
            }
            labels.reverse();
            labels
        };
        prop_assert!(listed.windows(2).all(|pair| key(&pair[0]) < key(&pair[1])));
    }

    #[test]
    fn any_zone_and_question_is_survived(
        records in prop::collection::vec(record(), 0..40),
        asked in prop::collection::vec(name(6), 1..20),
        dnssec: bool,
    ) {
        let zone = build(&records);
        let owners = records.iter().map(|(owner, _, _)| owner);
        for owner in asked.iter().chain(owners) {
            for qtype in [rtype::A, rtype::NS, rtype::CNAME, rtype::DS, rtype::MX, rtype::NSEC, rtype::RRSIG, rtype::ANY] {
                let mut sink = Counter { last: Section::Answer, records: 0 };
                let outcome = zone.lookup(&owner.to_ascii_lowercase(), qtype, dnssec, &mut sink);
                prop_assert_ne!(outcome.kind, Kind::OutsideZone);
                if outcome.kind == Kind::Chase {
                    zone.finish_chase(&outcome, dnssec, &mut sink);
                }
            }
        }
    }

    #[test]
    fn names_survive_text(wire in name(6)) {
        let name = WireName::from_wire(&wire).unwrap();
        prop_assert_eq!(WireName::parse(name.to_string().as_bytes(), &[0]), Ok(name));
    }

    #[test]
    fn any_text_is_survived(text in prop_oneof![
        ".{0,200}",
        r#"(\$TTL 1\n)?([a-z@*$.\\ "();{}0-9,/-]|\n| A | SOA | TXT | IN |\\#|\$GENERATE |\$ORIGIN |192.0.2.1){0,60}"#,
    ]) {
        let _ = load_text(text.as_bytes(), "any", wire("z.").as_slice());
    }
}
