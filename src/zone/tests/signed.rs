//! The signed zone of RFC 4035 appendix A and the answers of its appendix B; keys and signatures are shortened.

use super::*;

/// A record line and its signature line, or both for an NSEC record.
fn signed(line: &str) -> String {
    let mut words = line.split_whitespace();
    let (owner, rtype) = (words.next().unwrap(), words.next().unwrap());
    format!(
        "{line}\n{owner} RRSIG {rtype} 5 1 3600 20040509183619 20040409183619 38519 example. AQID\n"
    )
}

fn zone() -> Zone {
    let mut text = String::from("$TTL 3600\n$ORIGIN example.\n");
    for line in [
        "@ SOA ns1 bugs.x.w 1081539377 3600 300 3600000 3600",
        "@ NS ns1",
        "@ NS ns2",
        "@ MX 1 xx",
        "@ NSEC a NS SOA MX RRSIG NSEC DNSKEY",
        "@ DNSKEY 256 3 5 AQID",
        "a DS 57855 5 1 B6DCD485719ADCA18E5F3D48A2331627FDD3636B",
        "a NSEC ai NS DS RRSIG NSEC",
        "ai A 192.0.2.9",
        "ai HINFO KLH-10 ITS",
        "ai AAAA 2001:db8::f00:baa9",
        "ai NSEC b A HINFO AAAA RRSIG NSEC",
        "b NSEC ns1 NS RRSIG NSEC",
        "ns1 A 192.0.2.1",
        "ns1 NSEC ns2 A RRSIG NSEC",
        "ns2 A 192.0.2.2",
        "ns2 NSEC *.w A RRSIG NSEC",
        "*.w MX 1 ai",
        "*.w NSEC x.w MX RRSIG NSEC",
        "x.w MX 1 xx",
        "x.w NSEC x.y.w MX RRSIG NSEC",
        "x.y.w MX 1 xx",
        "x.y.w NSEC xx MX RRSIG NSEC",
        "xx A 192.0.2.10",
        "xx HINFO KLH-10 TOPS-20",
        "xx AAAA 2001:db8::f00:baaa",
        "xx NSEC example. A HINFO AAAA RRSIG NSEC",
    ] {
        text += &signed(line);
    }
    text += "a NS ns1.a\na NS ns2.a\nns1.a A 192.0.2.5\nns2.a A 192.0.2.6\nb NS ns1.b\nb NS ns2.b\nns1.b A 192.0.2.7\nns2.b A 192.0.2.8\n";
    load(&text, "example.")
}

const NS: &str = "AU example. NS ns1.example.\nAU example. NS ns2.example.\nAU example. RRSIG 2";
const SOA: &str = "AU example. SOA\nAU example. RRSIG 6";
const XX: &str = "AD xx.example. A 192.0.2.10\nAD xx.example. RRSIG 1\nAD xx.example. AAAA 2001:db8::f00:baaa\nAD xx.example. RRSIG 28";

fn nsec(owner: &str, next: &str) -> String {
    format!("AU {owner}example. NSEC {next}example.\nAU {owner}example. RRSIG 47")
}

#[test]
fn rfc_4035_appendix_b() {
    let zone = zone();
    let (apex, b, ns1) = (nsec("", "a."), nsec("b.", "ns1."), nsec("ns1.", "ns2."));
    let b1 =
        format!("Success\nAN x.w.example. MX 1 xx.example.\nAN x.w.example. RRSIG 15\n{NS}\n{XX}");
    let b2 = format!("NameError\n{SOA}\n{b}\n{apex}");
    let b3 = format!("NoData\n{SOA}\n{ns1}");
    let b4 = "Delegation\nAU a.example. NS ns1.a.example.\nAU a.example. NS ns2.a.example.\nAU a.example. DS\nAU a.example. RRSIG 43
        AD ns1.a.example. A 192.0.2.5\nAD ns2.a.example. A 192.0.2.6";
    let b5 = format!(
        "Delegation\nAU b.example. NS ns1.b.example.\nAU b.example. NS ns2.b.example.\n{b}
        AD ns1.b.example. A 192.0.2.7\nAD ns2.b.example. A 192.0.2.8"
    );
    let b6 = format!(
        "Success *.w.example.\nAN a.z.w.example. MX 1 ai.example.\nAN a.z.w.example. RRSIG 15\n{NS}\n{}
        AD ai.example. A 192.0.2.9\nAD ai.example. RRSIG 1\nAD ai.example. AAAA 2001:db8::f00:baa9\nAD ai.example. RRSIG 28",
        nsec("x.y.w.", "xx.")
    );
    let b7 = format!(
        "NoData *.w.example.\n{SOA}\n{}\n{}",
        nsec("x.y.w.", "xx."),
        nsec("*.w.", "x.w.")
    );
    let b8 = format!("NoData\n{SOA}\n{apex}");
    check(&zone, "x.w.example. MX do", &b1);
    check(&zone, "ml.example. A do", &b2);
    check(&zone, "ns1.example. MX do", &b3);
    check(&zone, "mc.a.example. MX do", b4);
    check(&zone, "mc.b.example. MX do", &b5);
    check(&zone, "a.z.w.example. MX do", &b6);
    check(&zone, "a.z.w.example. AAAA do", &b7);
    check(&zone, "example. DS do", &b8);
}

#[test]
fn signed_zone_without_do() {
    let zone = zone();
    assert!(zone.is_signed());
    check(&zone, "ml.example. A", "NameError\nAU example. SOA");
    check(
        &zone,
        "ai.example. A",
        "Success\nAN ai.example. A 192.0.2.9\nAU example. NS ns1.example.\nAU example. NS ns2.example.",
    );
    check(
        &zone,
        "a.example. DS",
        "Success\nAN a.example. DS\nAU example. NS ns1.example.\nAU example. NS ns2.example.",
    );
}

#[test]
fn proofs_beyond_appendix_b() {
    let zone = zone();
    // DS of the insecure child: its NSEC record says that there is none.
    check(
        &zone,
        "b.example. DS do",
        &format!("NoData\n{SOA}\n{}", nsec("b.", "ns1.")),
    );
    // Empty non-terminal: the record before spans it.
    check(
        &zone,
        "y.w.example. A do",
        &format!("NoData\n{SOA}\n{}", nsec("x.w.", "x.y.w.")),
    );
    check(
        &zone,
        "w.example. A do",
        &format!("NoData\n{SOA}\n{}", nsec("ns2.", "*.w.")),
    );
    // One record that denies both the name and the wildcard is given once.
    check(
        &zone,
        "zz.xx.example. A do",
        &format!("NameError\n{SOA}\n{}", nsec("xx.", "")),
    );
    // Signatures and NSEC records can be asked for.
    check(
        &zone,
        "ns2.example. NSEC do",
        &format!("Success\nAN ns2.example. NSEC *.w.example.\nAN ns2.example. RRSIG 47\n{NS}"),
    );
    check(
        &zone,
        "ns2.example. RRSIG",
        "Success\nAN ns2.example. RRSIG 1\nAN ns2.example. RRSIG 47\nAU example. NS ns1.example.\nAU example. NS ns2.example.",
    );
}
