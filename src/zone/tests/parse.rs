//! The text form: what is read, and what is refused with which words.

use std::collections::HashMap;
use std::io;

use super::*;

const HEAD: &str = "$TTL 60\n@ SOA ns h 1 2 3 4 5\n";

fn records(text: &str) -> Vec<String> {
    load(text, "z.")
        .records()
        .skip(1)
        .map(|r| format!("{} {} {}", r.owner, r.ttl, data_text(r.rtype, r.rdata)))
        .collect()
}

fn error(text: &str) -> String {
    match load_text(text.as_bytes(), "db.z", wire("z.").as_slice()) {
        Ok(_) => "loaded".into(),
        Err(error) => error.to_string(),
    }
}

/// One record behind `HEAD`.
fn one(line: &str, expect: &str) {
    assert_eq!(records(&format!("{HEAD}{line}\n")), [expect], "{line}");
}

#[test]
fn entries() {
    one("a IN A 192.0.2.1", "a.z. 60 A 192.0.2.1");
    one("a 5 IN A 192.0.2.1 ; comment", "a.z. 5 A 192.0.2.1");
    one("a IN 5 A 192.0.2.1", "a.z. 5 A 192.0.2.1");
    one(
        "a class1 1w2D3h4m5s type1 192.0.2.1",
        "a.z. 788645 A 192.0.2.1",
    );
    one("a 99999999999 A 192.0.2.1", "a.z. 2147483647 A 192.0.2.1");
    one("A.Z. a 192.0.2.1\r", "a.z. 60 A 192.0.2.1");
    one("a ( \n IN ; c\n\n A\n) 192.0.2.1", "a.z. 60 A 192.0.2.1");
    one("\\097\\.b A 192.0.2.1", "a\\.b.z. 60 A 192.0.2.1");
    one("\\000\\001.x A 192.0.2.1", "\\000\\001.x.z. 60 A 192.0.2.1");
    one("@ A \\# 4 C0 00 0201", "z. 60 A 192.0.2.1");
    one(
        "a TYPE731 \\# 6 abcd ef 01 23 45",
        "a.z. 60 TYPE731 \\xab\\xcd\\xef\\x01#E",
    );
    one("a TYPE731 \\# 0", "a.z. 60 TYPE731 ");
    one(
        "a TXT \"q;(x)\" un\\\"quoted \"\\065\"",
        "a.z. 60 TXT \\x05q;(x)\\tun\\\"quoted\\x01A",
    );
    one("a TXT \"\"", "a.z. 60 TXT \\x00");
    one("a MX 1 MAIL", "a.z. 60 MX 1 mail.z.");
    one("a PTR Host.Example.", "a.z. 60 PTR Host.Example.");
    one("a CNAME .", "a.z. 60 CNAME .");
    one("$ORIGIN b\nc A 192.0.2.1", "c.b.z. 60 A 192.0.2.1");
    one("$origin b.z.\n@ A 192.0.2.1", "b.z. 60 A 192.0.2.1");
    one("$ttl 1h\na A 192.0.2.1", "a.z. 3600 A 192.0.2.1");
    one("\u{20}A 192.0.2.1", "z. 60 A 192.0.2.1");
    assert_eq!(
        records(&format!("\u{feff}{HEAD}a A 192.0.2.1\n\t A 192.0.2.2")),
        ["a.z. 60 A 192.0.2.1", "a.z. 60 A 192.0.2.2"]
    );
}

#[test]
fn long_text_is_cut_into_strings() {
    let zone = load(&format!("{HEAD}a TXT {}", "x".repeat(300)), "z.");
    let record = zone.records().nth(1).unwrap();
    assert_eq!(
        (record.rdata.len(), record.rdata[0], record.rdata[256]),
        (302, 255, 45)
    );
}

#[test]
fn ttl_of_the_record_before_holds_without_a_directive() {
    assert_eq!(
        records(
            "@ 7 SOA a b 1 1 1 1 1\na A 192.0.2.1\nb 9 A 192.0.2.1\nc A 192.0.2.1\n$TTL 5\nd 6 A 192.0.2.1\ne A 192.0.2.1"
        ),
        [
            "a.z. 7 A 192.0.2.1",
            "b.z. 9 A 192.0.2.1",
            "c.z. 9 A 192.0.2.1",
            "d.z. 6 A 192.0.2.1",
            "e.z. 5 A 192.0.2.1",
        ]
    );
}

#[test]
fn data_of_every_layout() {
    for (line, data) in [
        ("a HINFO pc \"linux 7\"", "02 7063 07 6c696e75782037"),
        ("a RP m t", "016d017a00 0174017a00"),
        ("a AFSDB 1 h", "0001 0168017a00"),
        (
            "a NAPTR 1 2 S SIP \"\" _s._tcp",
            "0001 0002 0153 03534950 00 025f73 045f746370 017a00",
        ),
        ("a CERT 1 2 RSASHA256 AQI=", "0001 0002 08 0102"),
        (
            "a DS 60485 ECDSAP256SHA256 2 ( AA bb\n CC )",
            "ec45 0d 02 aabbcc",
        ),
        ("a SSHFP 4 2 0a", "04 02 0a"),
        (
            "a RRSIG A 8 2 1h 20240229000000 1000 7 z. AQID",
            "0001 08 02 00000e10 65dfc900 000003e8 0007 017a00 010203",
        ),
        (
            "a NSEC b A TYPE1234 NSEC",
            "0162017a00 0006 400000000001 041b 000000000000000000000000000000000000000000000000000020",
        ),
        ("a DNSKEY 257 3 13 AQID BA==", "0101 03 0d 01020304"),
        ("a TLSA 3 1 1 ab", "03 01 01 ab"),
        ("a CSYNC 66 3 A NS", "00000042 0003 000160"),
        ("a ZONEMD 1 1 1 ff", "00000001 01 01 ff"),
        ("a NID 10 0014:4fff:ff20:ee64", "000a 00144fffff20ee64"),
        ("a L32 10 10.1.2.3", "000a 0a010203"),
        ("a EUI48 00-00-5e-00-53-2a", "00005e00532a"),
        ("a URI 10 1 \"ftp://h\"", "000a 0001 6674703a2f2f68"),
        (
            "a CAA 0 issue \"ca.example\"",
            "00 056973737565 63612e6578616d706c65",
        ),
        ("a SPF \"v=spf1\"", "06 763d73706631"),
        (
            "a LOC 42 21 54 N 71 06 18 W -24m 30m",
            "00 33 16 13 89172dd0 70be15f0 00988d20",
        ),
        (
            "a SVCB 1 . port=53 ipv4hint=192.0.2.1",
            "0001 00 0003 0002 0035 0004 0004 c0000201",
        ),
        ("a HTTPS 0 h", "0000 0168017a00"),
        (
            "a HTTPS 1 . alpn=\"h2,h3\"",
            "0001 00 0001 0006 026832 026833",
        ),
        (
            "a IPSECKEY 10 1 2 192.0.2.38 AQID",
            "0a 01 02 c0000226 010203",
        ),
        ("a OPENPGPKEY AQID", "010203"),
    ] {
        let zone = load(&format!("{HEAD}{line}\n"), "z.");
        let hex: String = zone
            .records()
            .nth(1)
            .unwrap()
            .rdata
            .iter()
            .map(|octet| format!("{octet:02x}"))
            .collect();
        assert_eq!(hex, data.replace(' ', ""), "{line}");
    }
}

#[test]
fn generate() {
    for (line, expect) in [
        (
            "$GENERATE 1-3 h$ A 192.0.2.$",
            vec![
                "h1.z. 60 A 192.0.2.1",
                "h2.z. 60 A 192.0.2.2",
                "h3.z. 60 A 192.0.2.3",
            ],
        ),
        (
            "$GENERATE 0-4/2 h${10,3} 5 IN A 192.0.2.${1}",
            vec![
                "h010.z. 5 A 192.0.2.1",
                "h012.z. 5 A 192.0.2.3",
                "h014.z. 5 A 192.0.2.5",
            ],
        ),
        (
            "$GENERATE 10-10 h${0,4,x}-${0,0,X}-${-2,2,o} CNAME $",
            vec!["h000a-a-10.z. 60 CNAME 10.z."],
        ),
        (
            "$GENERATE 1-1 a TXT \"\\$ $$ $ ; x\"",
            vec!["a.z. 60 TXT \\t$ $ 1 ; x"],
        ),
        (
            "$GENERATE 18-18 ${0,7,n} PTR h",
            vec!["2.1.0.0.z. 60 PTR h.z."],
        ),
    ] {
        assert_eq!(records(&format!("{HEAD}{line}\n")), expect, "{line}");
    }
    for range in [
        "1-0",
        "1",
        "a-b",
        "0-65536",
        "0-9/0",
        "1-99999999999",
        "-1-2",
    ] {
        let text = error(&format!("{HEAD}$GENERATE {range} h$ A 192.0.2.1"));
        assert!(
            text.starts_with("db.z: dns: bad range in $GENERATE range: "),
            "{text}"
        );
    }
    assert_eq!(
        records(&format!("{HEAD}$GENERATE 0-65535 h$ A 192.0.2.1")).len(),
        65536
    );
    assert!(
        error(&format!("{HEAD}$GENERATE 1-2 h${{0,0,q}} A 192.0.2.1"))
            .contains("bad modifier in $GENERATE")
    );
    assert!(error(&format!("{HEAD}\n$GENERATE 1-2 h$ A 192.0.2.999")).ends_with("at line: 4:6"));
}

#[test]
fn include() {
    let files = HashMap::from([
        (
            "zones/sub/a",
            "x A 192.0.2.1\n$ORIGIN q.z.\n$TTL 1\ny A 192.0.2.2\n",
        ),
        ("zones/self", "$INCLUDE self\n"),
        ("/abs", "x A 192.0.2.9\n"),
        ("zones/bad", "\nx A\n"),
    ]);
    let load = |line: &str| {
        let text = format!("{HEAD}{line}\nlast A 192.0.2.3\n");
        let mut open = |path: &std::path::Path| {
            files
                .get(path.to_str().unwrap())
                .map(|text| text.as_bytes().to_vec())
                .ok_or(io::ErrorKind::NotFound.into())
        };
        load_with(
            text.as_bytes(),
            "zones/db.z",
            wire("z.").as_slice(),
            None,
            &mut open,
        )
        .map(|loaded| {
            loaded
                .zone
                .records()
                .skip(1)
                .map(|r| format!("{} {}", r.owner, r.ttl))
                .collect::<Vec<_>>()
        })
        .map_err(|error| error.to_string())
    };
    assert_eq!(
        load("$INCLUDE sub/a"),
        Ok(vec![
            "last.z. 60".into(),
            "y.q.z. 1".into(),
            "x.z. 60".into()
        ])
    );
    assert_eq!(
        load("$INCLUDE sub/a b"),
        Ok(vec![
            "x.b.z. 60".into(),
            "last.z. 60".into(),
            "y.q.z. 1".into()
        ])
    );
    assert_eq!(
        load("$INCLUDE \"/abs\" ; c"),
        Ok(vec!["last.z. 60".into(), "x.z. 60".into()])
    );
    assert!(
        load("$INCLUDE self")
            .unwrap_err()
            .starts_with("zones/self: dns: too deeply nested $INCLUDE")
    );
    assert!(
        load("$INCLUDE none")
            .unwrap_err()
            .starts_with("zones/db.z: dns: failed to open `none` as `zones/none`: ")
    );
    assert_eq!(
        load("$INCLUDE bad").unwrap_err(),
        "zones/bad: dns: bad A: missing field: \"A\" at line: 2:3"
    );
}

#[test]
fn refusals() {
    for (text, expect) in [
        ("", "file \"db.z\" has no SOA record for origin z."),
        (
            "@ SOA a b 1 2 3 4 5",
            "db.z: dns: missing TTL with no previous value: \"SOA\" at line: 1:3",
        ),
        (
            "$TTL 1\n\na..b A 192.0.2.1",
            "db.z: dns: bad owner name (empty label): \"a..b\" at line: 3:1",
        ),
        (
            "$TTL 1\na A 1.2.3",
            "db.z: dns: bad A: bad IPv4 address: \"1.2.3\" at line: 2:5",
        ),
        (
            "$TTL 1\na A 1.2.3.4 5",
            "db.z: dns: bad A: text after the data: \"5\" at line: 2:13",
        ),
        (
            "$TTL 1\na MX -1 b",
            "db.z: dns: bad MX: bad number: \"-1\" at line: 2:6",
        ),
        (
            "$TTL 1\na FOO 1.2.3",
            "db.z: dns: unknown RR type: \"FOO\" at line: 2:3",
        ),
        (
            "$TTL 1\na CH A 1.2.3.4",
            "db.z: dns: class is not IN, the only one served from zone files: \"CH\" at line: 2:3",
        ),
        (
            "$TTL 1\na 5 IN",
            "db.z: dns: missing record type: \"IN\" at line: 2:5",
        ),
        (
            "$TTL 1\na OPT \\# 0",
            "db.z: dns: no type for a zone file: \"OPT\" at line: 2:3",
        ),
        (
            "$TTL x",
            "db.z: dns: expecting $TTL value: \"x\" at line: 1:6",
        ),
        (
            "$FOO x",
            "db.z: dns: unknown directive: \"$FOO\" at line: 1:1",
        ),
        (
            "$TTL 1\na TXT \"x",
            "db.z: dns: unbalanced quotes: \"x\" at line: 2:8",
        ),
        (
            "$TTL 1\na ( A",
            "db.z: dns: unbalanced brace: \"\" at line: 2:6",
        ),
        (
            "$TTL 1\na )",
            "db.z: dns: extra closing brace: \")\" at line: 2:3",
        ),
        (
            "$TTL 1\na TYPE1 \\# 3 010203",
            "db.z: dns: bad TYPE1: data does not fit the type: \"010203\" at line: 2:14",
        ),
        (
            "$TTL 1\na NSEC3PARAM 1 0 0 -",
            "NSEC3 zone is not supported, dropping RR: a.z. for zone: z.",
        ),
    ] {
        assert_eq!(error(text), expect, "{text}");
    }
    let long = "a.".repeat(127);
    assert!(
        error(&format!("$TTL 1\n{long} A 1.2.3.4")).starts_with("file"),
        "254 octets and the root fit"
    );
    assert!(error(&format!("$TTL 1\na{long} A 1.2.3.4")).contains("name longer than 255 octets"));
    assert!(
        error(&format!("$TTL 1\n{} A 1.2.3.4", "a".repeat(64)))
            .contains("label longer than 63 octets")
    );
}

#[test]
fn repaired_with_a_warning() {
    let loaded = |text: &str| {
        load_text(text.as_bytes(), "db", wire("z.").as_slice())
            .map_err(|e| e.to_string())
            .unwrap()
    };
    let odd = loaded(&format!(
        "{HEAD}w.example. A 192.0.2.1\nx.y. A 192.0.2.1\na CNAME b\na CNAME c\n"
    ));
    assert_eq!(
        odd.warnings,
        [
            "db:3: w.example. is outside of zone z.: ignored (2 such records)",
            "db: a.z. has 2 records of type 5: the first is used",
        ]
    );
    // One file for several origins: CoreDNS takes any SOA record it meets.
    let foreign = loaded("$TTL 1\n$ORIGIN example.\n@ SOA ns h 9 2 3 4 5\n");
    assert_eq!(
        foreign.warnings,
        ["db: SOA record of example. used for zone z., which has none"]
    );
    assert_eq!((foreign.zone.serial(), foreign.zone.record_count()), (9, 1));
    check(&foreign.zone, "a.z. A", "NameError\nAU z. SOA");
}

#[test]
fn unchanged_serial_ends_the_load() {
    let text = format!("{HEAD}this would be an error");
    let load = |serial| {
        load_with(
            text.as_bytes(),
            "db.z",
            wire("z.").as_slice(),
            serial,
            &mut |_| unreachable!(),
        )
    };
    assert!(matches!(
        load(Some(1)),
        Err(LoadError::Unchanged { serial: 1, .. })
    ));
    assert!(matches!(load(Some(2)), Err(LoadError::Syntax { .. })));
}

#[test]
fn missing_file_reads_as_in_go() {
    let error = load_file(std::path::Path::new("/no/such/db"), &[0], None, 2)
        .err()
        .unwrap();
    assert_eq!(
        error.to_string(),
        "open /no/such/db: no such file or directory"
    );
}

#[test]
fn a_large_file_is_read_whole_only_when_its_serial_differs() {
    let path = std::env::temp_dir().join(format!("percoredns-serial-{}", std::process::id()));
    let origin = wire("z.");
    let filler = "; nothing\n".repeat(100_000);
    // Were the rest read, it would be refused.
    std::fs::write(&path, format!("{HEAD}{filler}what\n")).unwrap();
    let load = |serial| match load_file(&path, origin.as_slice(), serial, 2) {
        Ok(loaded) => loaded.zone.serial().to_string(),
        Err(error) => error
            .to_string()
            .replace(&path.to_string_lossy().into_owned(), "DB"),
    };
    assert_eq!(
        load(Some(1)),
        "no change in SOA serial for origin z. in file DB, with 1 SOA serial"
    );
    assert!(
        load(Some(2)).ends_with("at line: 100003:1"),
        "{}",
        load(Some(2))
    );
    std::fs::write(&path, format!("{filler}{HEAD}{filler}")).unwrap();
    assert_eq!(
        (load(Some(1)).as_str(), load(Some(2)).as_str()),
        (
            "no change in SOA serial for origin z. in file DB, with 1 SOA serial",
            "1"
        )
    );
    std::fs::remove_file(&path).unwrap();
}
