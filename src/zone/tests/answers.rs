//! Plain zones: apex, delegations, glue, CNAME, DNAME, additional data, ANY.

use super::*;

const ZONE: &str = "
$TTL 300
@         IN SOA  ns1 admin 7 3600 600 86400 60
@            NS   ns1
@            NS   ns.other.example.
@            MX   10 mail
@            MX   20 mail
@            TXT  \"apex\"
ns1          A    192.0.2.1
ns1          AAAA 2001:db8::1
mail         A    192.0.2.2
www          CNAME mail
deep         CNAME www
away         CNAME www.example.net.
dangling     CNAME nowhere
tochild      CNAME host.child
loop1        CNAME loop2
loop2        CNAME loop1
self         CNAME self
child        NS   ns.child
child        NS   ns.sibling
child        NS   ns1
child        NS   ns.example.net.
child        DS   1 8 2 aabb
ns.child     A    192.0.2.3
sibling      NS   ns.sibling
ns.sibling   A    192.0.2.4
_s._tcp      SRV  1 2 3 mail
_s._tcp      SRV  1 2 3 www.example.net.
svc          HTTPS 1 mail alpn=h2
svc          SVCB 1 MAIL
old          DNAME new
a.new        A    192.0.2.5
out          DNAME example.net.
ring         DNAME ring
grow         DNAME x.grow
a.b.c        A    192.0.2.6
";

const AUTH: &str = "AU z. NS ns1.z.\nAU z. NS ns.other.example.";
const SOA: &str = "AU z. SOA";
const CHILD: &str = "AU child.z. NS ns.child.z.\nAU child.z. NS ns.sibling.z.\nAU child.z. NS ns1.z.\nAU child.z. NS ns.example.net.
    AD ns.child.z. A 192.0.2.3\nAD ns.sibling.z. A 192.0.2.4\nAD ns1.z. A 192.0.2.1\nAD ns1.z. AAAA 2001:db8::1";

#[test]
fn answers() {
    let zone = load(ZONE, "z.");
    for (question, expect) in [
        // Apex.
        ("z. SOA", format!("Success\nAN z. SOA\n{AUTH}")),
        ("z. NS", "Success\nAN z. NS ns1.z.\nAN z. NS ns.other.example.\nAD ns1.z. A 192.0.2.1\nAD ns1.z. AAAA 2001:db8::1".into()),
        ("z. MX", format!("Success\nAN z. MX 10 mail.z.\nAN z. MX 20 mail.z.\n{AUTH}\nAD mail.z. A 192.0.2.2")),
        ("z. A", format!("NoData\n{SOA}")),
        ("z. DS", format!("NoData\n{SOA}")),
        ("z. ANY", format!("NoData\n{SOA}")),
        ("other. A", "OutsideZone".into()),
        ("xz. A", "OutsideZone".into()),
        // Plain names.
        ("mail.z. A", format!("Success\nAN mail.z. A 192.0.2.2\n{AUTH}")),
        ("mail.z. AAAA", format!("NoData\n{SOA}")),
        ("mail.z. ANY", format!("NoData\n{SOA}")),
        ("mail.z. SOA", format!("NoData\n{SOA}")),
        ("none.z. A", format!("NameError\n{SOA}")),
        ("x.mail.z. A", format!("NameError\n{SOA}")),
        ("b.c.z. A", format!("NoData\n{SOA}")),
        ("c.z. ANY", format!("NoData\n{SOA}")),
        // Additional data.
        ("_s._tcp.z. SRV", format!("Success\nAN _s._tcp.z. SRV 1 2 3 mail.z.\nAN _s._tcp.z. SRV 1 2 3 www.example.net.\n{AUTH}\nAD mail.z. A 192.0.2.2")),
        ("svc.z. HTTPS", format!("Success\nAN svc.z. TYPE65 \\x00\\x01\\x04mail\\x01z\\x00\\x00\\x01\\x00\\x03\\x02h2\n{AUTH}\nAD mail.z. A 192.0.2.2")),
        // The case of a SVCB target stays: it is signed as it is (RFC 9460 has no canonical form).
        ("svc.z. SVCB", format!("Success\nAN svc.z. TYPE64 \\x00\\x01\\x04MAIL\\x01z\\x00\n{AUTH}\nAD mail.z. A 192.0.2.2")),
        // CNAME.
        ("www.z. A", format!("Success\nAN www.z. CNAME mail.z.\nAN mail.z. A 192.0.2.2\n{AUTH}")),
        ("www.z. CNAME", format!("Success\nAN www.z. CNAME mail.z.\n{AUTH}")),
        ("deep.z. A", format!("Success\nAN deep.z. CNAME www.z.\nAN www.z. CNAME mail.z.\nAN mail.z. A 192.0.2.2\n{AUTH}")),
        ("deep.z. TXT", format!("NoData\nAN deep.z. CNAME www.z.\nAN www.z. CNAME mail.z.\n{SOA}")),
        ("away.z. A", format!("Chase www.example.net.\nAN away.z. CNAME www.example.net.\n{AUTH}")),
        ("dangling.z. A", format!("NameError\nAN dangling.z. CNAME nowhere.z.\n{SOA}")),
        ("tochild.z. A", format!("Chase host.child.z.\nAN tochild.z. CNAME host.child.z.\n{AUTH}")),
        ("loop1.z. A", format!("Success\nAN loop1.z. CNAME loop2.z.\nAN loop2.z. CNAME loop1.z.\n{AUTH}")),
        ("self.z. A", format!("Success\nAN self.z. CNAME self.z.\n{AUTH}")),
        // Delegations: glue of the child first, then of siblings.
        ("child.z. NS", format!("Delegation\n{CHILD}")),
        ("child.z. A", format!("Delegation\n{CHILD}")),
        ("x.y.child.z. A", format!("Delegation\n{CHILD}")),
        ("ns.child.z. A", format!("Delegation\n{CHILD}")),
        ("child.z. DS", format!("Success\nAN child.z. DS\n{AUTH}")),
        ("x.child.z. DS", format!("Delegation\n{CHILD}")),
        ("sibling.z. DS", format!("NoData\n{SOA}")),
        // DNAME.
        ("a.old.z. A", format!("Success\nAN old.z. DNAME new.z.\nAN a.old.z. CNAME a.new.z.\nAN a.new.z. A 192.0.2.5\n{AUTH}")),
        ("a.old.z. CNAME", format!("Success\nAN old.z. DNAME new.z.\nAN a.old.z. CNAME a.new.z.\n{AUTH}")),
        ("q.old.z. A", format!("NameError\nAN old.z. DNAME new.z.\nAN q.old.z. CNAME q.new.z.\n{SOA}")),
        ("old.z. DNAME", format!("Success\nAN old.z. DNAME new.z.\n{AUTH}")),
        ("old.z. A", format!("NoData\n{SOA}")),
        ("x.y.out.z. A", format!("Chase x.y.example.net.\nAN out.z. DNAME example.net.\nAN x.y.out.z. CNAME x.y.example.net.\n{AUTH}")),
        ("q.ring.z. A", format!("Success\nAN ring.z. DNAME ring.z.\nAN q.ring.z. CNAME q.ring.z.\n{AUTH}")),
    ] {
        check(&zone, question, &expect);
    }
}

#[test]
fn growing_dname_ends() {
    let zone = load(ZONE, "z.");
    let answer = ask(&zone, "q.grow.z. A", None);
    assert!(
        answer.starts_with("Success\nAN grow.z. DNAME x.grow.z.\nAN q.grow.z. CNAME q.x.grow.z.\n"),
        "{answer}"
    );
    assert_eq!(
        answer.matches("CNAME").count(),
        crate::limits::ZONE_CNAME_CHAIN
    );
    assert_eq!(answer.matches("DNAME").count(), 1);
    let long = format!("{0}.{0}.{0}.{1}.grow.z. A", "a".repeat(63), "b".repeat(50));
    let answer = ask(&zone, &long, None);
    assert!(
        answer.starts_with("NameTooLong\nAN grow.z. DNAME x.grow.z.\n"),
        "{answer}"
    );
}

#[test]
fn long_chain_is_cut_after_ten() {
    let mut text = String::from("$TTL 1\n@ SOA a b 1 1 1 1 1\n");
    for i in 0..64 {
        text += &format!("c{i} CNAME c{}\n", i + 1);
    }
    let zone = load(&text, "z.");
    let answer = ask(&zone, "c0.z. A", None);
    assert!(answer.starts_with("Success\n"));
    assert_eq!(answer.matches("CNAME").count(), 10);
    assert_eq!(
        ask(&zone, "c55.z. A", None).lines().last(),
        Some("AU z. SOA")
    );
}

#[test]
fn target_in_another_zone_of_the_server_is_chased() {
    let zone = load(
        "$TTL 1\n@ SOA a b 1 1 1 1 1\n@ NS ns\nw CNAME h.sub\nh.sub A 192.0.2.1\n",
        "z.",
    );
    assert_eq!(
        ask(&zone, "w.z. A", Some("sub.z.")),
        "Chase h.sub.z.\nAN w.z. CNAME h.sub.z.\nAU z. NS ns.z.\n"
    );
    assert_eq!(
        ask(&zone, "w.z. A", Some("s.z.")),
        "Success\nAN w.z. CNAME h.sub.z.\nAN h.sub.z. A 192.0.2.1\nAU z. NS ns.z.\n"
    );
}

#[test]
fn apex_of_an_almost_empty_zone_exists() {
    let zone = load("@ 60 SOA ns h 1 2 3 4 5\n@ 60 NS ns.example.net.\n", "z.");
    check(&zone, "z. A", "NoData\nAU z. SOA");
    check(&zone, "a.z. A", "NameError\nAU z. SOA");
}

#[test]
fn apex_dname() {
    let zone = load(
        "$TTL 1\n@ SOA a b 1 1 1 1 1\n@ NS ns.y.\n@ DNAME y.\nh A 192.0.2.1\n",
        "z.",
    );
    check(
        &zone,
        "h.z. A",
        "Chase h.y.\nAN z. DNAME y.\nAN h.z. CNAME h.y.\nAU z. NS ns.y.",
    );
    check(&zone, "z. NS", "Success\nAN z. NS ns.y.");
}

#[test]
fn root_zone() {
    let zone = load(
        "$TTL 1\n. SOA a. b. 1 1 1 1 1\n. NS a.\na. A 192.0.2.1\ncom. NS ns.com.\nns.com. A 192.0.2.2\n",
        ".",
    );
    check(&zone, ". NS", "Success\nAN . NS a.\nAD a. A 192.0.2.1");
    check(
        &zone,
        "x.com. A",
        "Delegation\nAU com. NS ns.com.\nAD ns.com. A 192.0.2.2",
    );
    check(&zone, "org. A", "NameError\nAU . SOA");
}

#[test]
fn records_in_canonical_order_with_the_soa_first() {
    let zone = load(
        "$TTL 9\nb A 192.0.2.1\n@ NS ns.b\n@ SOA a b 5 1 1 1 1\nns.b A 192.0.2.3\nb A 192.0.2.2\nB A 192.0.2.2\n",
        "z.",
    );
    let all: Vec<_> = zone
        .records()
        .map(|r| format!("{} {} {}", r.owner, r.ttl, data_text(r.rtype, r.rdata)))
        .collect();
    assert_eq!(
        all,
        [
            "z. 9 SOA",
            "z. 9 NS ns.b.z.",
            "b.z. 9 A 192.0.2.1",
            "b.z. 9 A 192.0.2.2",
            "ns.b.z. 9 A 192.0.2.3"
        ]
    );
    assert_eq!(
        (zone.record_count(), zone.name_count(), zone.serial()),
        (5, 3, 5)
    );
    assert_eq!(zone.soa().0, 9);
    let (ttl, data) = zone.rrset(wire("b.z.").as_slice(), rtype::A).unwrap();
    assert_eq!((ttl, data.count()), (9, 2));
}

#[test]
fn an_address_record_takes_few_octets() {
    let mut text = String::from("$TTL 60\n@ SOA ns h 1 2 3 4 5\n");
    for n in 0..100_000 {
        text += &format!("host{n:07} A 10.0.{}.{}\n", n >> 8 & 255, n & 255);
    }
    let zone = load(&text, "example.org.");
    assert_eq!(zone.record_count(), 100_001);
    // A name of twelve octets and an address of four; a zone of a million such names shall take half of what a small server has.
    let octets = zone.memory_octets() / zone.record_count();
    assert!(octets <= 60, "{octets} octets a record");
}
