//! A reply written straight to the wire is the one that `Zone::answer` and `Reply::pack` make.

use proptest::prelude::*;

use super::properties::{build, name, record};
use super::*;
use crate::wire::direct::Written;
use crate::wire::name::hash;
use crate::wire::reply::{Question, Reply};
use crate::wire::{flag, types};

/// The message that `write_reply` makes, if it takes the question.
fn direct(
    zone: &Zone,
    asked: &[u8],
    qtype: u16,
    dnssec: bool,
    room: usize,
) -> Option<(Written, Vec<u8>)> {
    let mut question = asked.to_vec();
    question.extend(qtype.to_be_bytes());
    question.extend([0, 1]);
    let mut out = vec![0xaa; room];
    let name = asked.to_ascii_lowercase();
    let written = zone.write_reply(&name, hash(&name), qtype, dnssec, &question, &mut out)?;
    out.truncate(written.len);
    Some((written, out))
}

/// Asks both ways; `false` if the direct one does not take the question.
fn agree(zone: &Zone, asked: &[u8], qtype: u16, dnssec: bool) -> bool {
    let Some((written, message)) = direct(zone, asked, qtype, dnssec, 65_535) else {
        return false;
    };
    let mut reply = Reply::default();
    reply.start(0);
    let name = asked.to_ascii_lowercase();
    let outcome = zone.answer(&name, qtype, dnssec, &mut reply, |_, _| false);
    let question = Question {
        name: asked,
        qtype,
        qclass: 1,
    };
    let mut packed = vec![0; 65_535];
    let len = reply.pack(0, 0, &question, &mut packed).unwrap();
    packed.truncate(len);
    assert!(message.len() <= packed.len(), "{message:?}\n{packed:?}");
    if message.len() == packed.len() {
        assert_eq!(message, packed);
    }
    let mut again = Reply::default();
    again.read(&message).unwrap();
    assert_eq!(lines(&again), lines(&reply));
    assert_eq!((again.rcode, again.flags), (reply.rcode, reply.flags));
    assert_eq!(written.rcode, reply.rcode);
    assert_eq!(written.uncompressed_len, reply.full_len(question.len()));
    assert_eq!(written.may_fall_through, outcome.may_fall_through());
    check_addresses(&written, &message, &reply);
    true
}

/// Records in order; names are compared without case, since those that point into the question take its case.
fn lines(reply: &Reply) -> Vec<String> {
    let line = |record: &crate::wire::reply::Record| {
        let names_only = matches!(record.rtype, types::NS | types::SOA);
        let rdata = if names_only {
            reply.rdata(record).to_ascii_lowercase()
        } else {
            reply.rdata(record).to_vec()
        };
        let owner = reply.owner(record).to_ascii_lowercase();
        let (section, ttl) = (record.section, record.ttl);
        format!(
            "{section:?} {owner:?} {} {} {ttl} {rdata:?}",
            record.rtype, record.class
        )
    };
    reply.records().iter().map(line).collect()
}

fn check_addresses(written: &Written, message: &[u8], reply: &Reply) {
    let answers: Vec<_> = reply.section(Section::Answer).collect();
    let is_address = answers
        .first()
        .is_some_and(|record| matches!(record.rtype, types::A | types::AAAA));
    let Some(run) = written.addresses else {
        assert!(!is_address, "addresses go untold");
        return;
    };
    assert_eq!(usize::from(run.count), answers.len());
    for (nth, record) in answers.into_iter().enumerate() {
        let at = usize::from(run.rdata_at) + nth * usize::from(run.stride);
        assert_eq!(
            &message[at..at + usize::from(run.octets)],
            reply.rdata(record)
        );
    }
}

const ZONE: &str = "
$TTL 300
@ SOA ns1 admin 7 3600 600 86400 60
@ NS ns1
@ NS ns2.sub
@ NS ns.other.example.
@ NS ns2.other.example.
@ MX 10 mail
@ TXT \"apex\"
ns1 A 192.0.2.1
x.ns1 A 192.0.2.1
mail A 192.0.2.2
mail A 192.0.2.3
mail AAAA 2001:db8::2
mail AAAA 2001:db8::3
www CNAME mail
child NS ns.child
ns.child A 192.0.2.3
old DNAME new
*.w A 192.0.2.9
*.w TXT \"any\"
a.b.c A 192.0.2.6
c TXT \"one\" \"two\"
c CAA 0 issue \"ca.example\"
";

#[test]
fn what_is_written_directly_and_what_is_not() {
    let zone = load(ZONE, "z.");
    for (question, expect) in [
        ("mail.z. A", true),
        ("mAIl.Z. AAAA", true),
        ("mail.z. TXT", true),
        ("c.z. TXT", true),
        ("c.z. CAA", true),
        ("b.c.z. A", true),
        ("z. TXT", true),
        ("z. A", true),
        ("q.w.z. A", true),
        ("q.r.w.z. TXT", true),
        ("q.w.z. AAAA", true),
        ("*.w.z. A", true),
        ("none.z. A", true),
        ("none.mail.z. A", true),
        ("none.mail.z. ANY", true),
        // Kin of names in the tails: they could be compressed further.
        ("ns1.z. A", false),
        ("x.ns1.z. A", false),
        ("none.ns1.z. A", false),
        ("Admin.z. A", false),
        ("x.admin.z. A", false),
        ("none.sub.z. A", false),
        // More than one set of records.
        ("z. NS", false),
        ("z. SOA", false),
        ("z. MX", false),
        ("www.z. A", false),
        ("www.z. TXT", false),
        ("child.z. A", false),
        ("ns.child.z. A", false),
        ("q.child.z. A", false),
        ("q.old.z. A", false),
        // Outside, although the octets end alike.
        ("example. A", false),
        ("xz. A", false),
        (". A", false),
    ] {
        let (name, qtype) = question.split_once(' ').unwrap();
        let asked = WireName::parse(name.as_bytes(), &[0]).unwrap();
        let taken = agree(&zone, asked.as_slice(), type_of(qtype), false);
        assert_eq!(taken, expect, "{question}");
        assert_eq!(agree(&zone, asked.as_slice(), type_of(qtype), true), expect);
    }
}

#[test]
fn a_length_octet_inside_a_label_is_no_border() {
    let zone = load("@ 60 SOA . . 1 2 3 4 5\n@ 60 A 192.0.2.1\n", "z.");
    // The one label `?\001z`, which ends in the octets of the origin.
    let asked = b"\x03?\x01z\0";
    assert!(direct(&zone, asked, rtype::A, false, 512).is_none());
}

#[test]
fn the_root_zone_is_written_too() {
    let zone = load(
        "$TTL 60\n. SOA a.nic. b.nic. 1 2 3 4 5\n. NS a.nic.\nx A 192.0.2.1\n. TXT root\na.nic A 192.0.2.2\n",
        ".",
    );
    for (name, qtype, expect) in [
        ("x.", "A", true),
        (".", "TXT", false),
        (".", "A", false),
        ("q.", "A", true),
        ("a.nic.", "A", false),
    ] {
        assert_eq!(
            agree(&zone, wire(name).as_slice(), type_of(qtype), false),
            expect,
            "{name} {qtype}"
        );
    }
}

#[test]
fn signed_zones_are_direct_without_do() {
    let zone = load(&format!("{ZONE}@ NSEC mail NS\n"), "z.");
    let name = wire("mail.z.");
    assert!(agree(&zone, name.as_slice(), rtype::A, false));
    assert!(!agree(&zone, name.as_slice(), rtype::A, true));
}

#[test]
fn what_does_not_fit_is_left() {
    let zone = load(ZONE, "z.");
    let name = wire("mail.z.");
    let (written, message) = direct(&zone, name.as_slice(), rtype::A, false, 512).unwrap();
    assert_eq!(
        u16::from_be_bytes([message[2], message[3]]),
        flag::QR | flag::AA
    );
    for room in 0..written.len {
        assert!(direct(&zone, name.as_slice(), rtype::A, false, room).is_none());
    }
    assert!(direct(&zone, name.as_slice(), rtype::A, false, written.len).is_some());
    // Pointers reach 16,383 octets; a tail behind that would have to be written anew.
    let long: String = (0..70)
        .map(|n| format!("long TXT \"{n}{}\"\n", "x".repeat(240)))
        .collect();
    let zone = load(&format!("{ZONE}{long}"), "z.");
    assert!(direct(&zone, wire("long.z.").as_slice(), rtype::TXT, false, 65_535).is_none());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_direct_reply_is_the_usual_one(
        records in prop::collection::vec(record(), 0..40),
        asked in prop::collection::vec(name(6), 1..20),
        dnssec: bool,
    ) {
        let zone = build(&records);
        let owners = records.iter().map(|(owner, _, _)| owner);
        for owner in asked.iter().chain(owners) {
            for qtype in [rtype::A, rtype::AAAA, rtype::TXT, rtype::NS, rtype::CNAME, rtype::DS, rtype::MX, rtype::NSEC, rtype::ANY] {
                agree(&zone, owner, qtype, dnssec);
            }
        }
    }
}
