//! Tests of headers, policies and sessions.

use std::net::SocketAddr;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::lang::cidr::Net;
use crate::limits;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const CLIENT: &str = "192.0.2.7:40212";
const PROXY: &str = "127.0.0.1:5000";

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A header of version 2.
fn binary(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(body.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &len, body].concat()
}

/// A header of version 2 that names `client` as the source.
pub fn named(client: &str) -> Vec<u8> {
    let client = addr(client);
    let (family, mut body) = match client {
        SocketAddr::V4(v4) => (0x12, [v4.ip().octets(), [198, 51, 100, 1]].concat()),
        SocketAddr::V6(v6) => (0x22, [v6.ip().octets(), [0x20; 16]].concat()),
    };
    body.extend(client.port().to_be_bytes());
    body.extend(53u16.to_be_bytes());
    binary(0x21, family, &body)
}

fn header(octets: &[u8]) -> Header {
    match read(octets) {
        Ok(Front::Header(header)) => header,
        other => panic!("{other:?}: {octets:?}"),
    }
}

// === headers ===

#[test]
fn headers_are_read_as_they_are_written() {
    let ends = |source, destination| Ends {
        source: addr(source),
        destination: addr(destination),
    };
    for (carried, kind) in [(Carried::Stream, 1), (Carried::Datagram, 2)] {
        let check = |ends: Option<Ends>, want: Option<Ends>, octets: &[u8]| {
            let mut out = b"x".to_vec();
            write(ends.as_ref(), carried, &mut out);
            assert_eq!(out[1..1 + octets.len()], *octets);
            let read = header(&out[1..]);
            assert_eq!((read.len, read.version), (out.len() - 1, 2));
            assert_eq!(read.ends, want);
        };
        let four = ends(CLIENT, "198.51.100.1:53");
        let octets = binary(
            0x21,
            0x10 | kind,
            &[192, 0, 2, 7, 198, 51, 100, 1, 0x9d, 0x14, 0, 53],
        );
        check(Some(four), Some(four), &octets);
        let six = ends("[2001:db8::7]:40212", "[2001:db8::1]:53");
        check(
            Some(six),
            Some(six),
            &[SIGNATURE, &[0x21, 0x20 | kind, 0, 36]].concat(),
        );
        let mixed = ends(CLIENT, "[2001:db8::1]:53");
        let told = ends("[::ffff:192.0.2.7]:40212", "[2001:db8::1]:53");
        check(Some(mixed), Some(told), SIGNATURE);
        check(None, None, &binary(0x20, 0, &[]));
    }
}

#[test]
fn both_versions_name_both_ends() {
    let check = |octets: &[u8], version, source: &str, destination: &str| {
        let with_more = [octets, b"\0\x1cPROXY TCP4"].concat();
        let expect = Header {
            len: octets.len(),
            version,
            ends: Some(Ends {
                source: addr(source),
                destination: addr(destination),
            }),
        };
        assert_eq!(header(octets), expect);
        assert_eq!(header(&with_more), expect, "what follows is not looked at");
    };
    let line = b"PROXY TCP4 192.0.2.7 198.51.100.1 40212 53\r\n";
    check(line, 1, CLIENT, "198.51.100.1:53");
    let line = b"PROXY TCP6 2001:db8::7 ::1 65535 0\r\n";
    check(line, 1, "[2001:db8::7]:65535", "[::1]:0");
    check(&named(CLIENT), 2, CLIENT, "198.51.100.1:53");
    let destination = "[2020:2020:2020:2020:2020:2020:2020:2020]:53";
    check(&named("[2001:db8::7]:9"), 2, "[2001:db8::7]:9", destination);
    // Streams and datagrams, with TLVs behind the addresses.
    let body = [
        &[192, 0, 2, 7, 198, 51, 100, 1, 157, 20, 0, 53][..],
        &[4; 9],
    ]
    .concat();
    for family in [0x11, 0x12] {
        check(&binary(0x21, family, &body), 2, CLIENT, "198.51.100.1:53");
    }
}

#[test]
fn who_names_no_addresses_is_the_client() {
    let check = |octets: &[u8]| {
        let header = header(octets);
        assert_eq!((header.len, header.ends), (octets.len(), None));
    };
    check(b"PROXY UNKNOWN\r\n");
    check(b"PROXY UNKNOWN ffff::1 whatever 1 2 3\r\n");
    check(&binary(0x20, 0x00, &[]));
    check(&binary(0x20, 0x11, &[1; 12]));
    // A LOCAL command's addresses are skipped, be they whole or of a family that nobody knows.
    check(&binary(0x20, 0x11, &[1; 3]));
    check(&binary(0x20, 0x7f, &[1; 3]));
    check(&binary(0x21, 0x00, &[1; 30]));
    check(&binary(0x21, 0x31, &[0; 216]));
}

#[test]
fn what_cannot_become_a_header_is_malformed() {
    let long = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 100]].concat();
    let too_long = [&long[..105], b"x\r\n"].concat();
    for octets in [
        b"PROXY \r\n".to_vec(),
        b"PROXY TCP4\r\n".to_vec(),
        b"PROXY TCP5 192.0.2.7 198.51.100.1 40212 53\r\n".to_vec(),
        b"PROXY TCP6 192.0.2.7 198.51.100.1 40212 53\r\n".to_vec(),
        b"PROXY TCP4 ::1 ::2 40212 53\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 198.51.100.1 65536 53\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 198.51.100.1 +1 53\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 198.51.100.1 01 53\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 198.51.100.1 40212 53 \r\n".to_vec(),
        b"PROXY TCP4  192.0.2.7 198.51.100.1 40212 53\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 198.51.100.1 40212\r\n".to_vec(),
        b"PROXY UNKNOWN \xff\r\n".to_vec(),
        long,
        too_long,
        binary(0x11, 0x11, &[0; 12]),
        binary(0x22, 0x11, &[0; 12]),
        binary(0x21, 0x13, &[0; 12]),
        binary(0x21, 0x41, &[0; 12]),
        binary(0x21, 0x11, &[0; 11]),
        binary(0x21, 0x21, &[0; 35]),
        binary(0x21, 0x31, &[0; 215]),
        binary(0x21, 0x11, &[0; limits::PROXY_HEADER_OCTETS - 15]),
    ] {
        assert_eq!(read(&octets), Err(Malformed), "{octets:?}");
    }
}

#[test]
fn the_longest_headers_fit() {
    let line = [&b"PROXY UNKNOWN "[..], &[b'x'; 91], b"\r\n"].concat();
    assert_eq!(header(&line).len, limits::PROXY_LINE_OCTETS);
    let octets = binary(0x21, 0x11, &[0; limits::PROXY_HEADER_OCTETS - 16]);
    assert_eq!(header(&octets).len, limits::PROXY_HEADER_OCTETS);
}

#[test]
fn other_protocols_are_left_alone() {
    let hello = b"\x16\x03\x01\x02\x00";
    let query = b"\0\x1c\x71\x50\x01\0\0\x01\0\0\0\0\0\0";
    for octets in [
        &hello[..],
        query,
        b"POST /dns-query",
        b"PRI * HTTP/2.0",
        b"PROXZ ",
    ] {
        assert_eq!(read(octets), Ok(Front::Bare), "{octets:?}");
    }
    assert_eq!(read(b""), Ok(Front::Begun));
}

proptest! {
    #[test]
    fn a_header_is_begun_until_it_is_whole(cut in 0usize..52, is_v1: bool) {
        let whole = match is_v1 {
            true => b"PROXY TCP6 2001:db8::7 2001:db8::1234 40212 53\r\n".to_vec(),
            false => named("[2001:db8::7]:9"),
        };
        let cut = cut.min(whole.len() - 1);
        prop_assert_eq!(read(&whole[..cut]), Ok(Front::Begun));
    }

    #[test]
    fn whatever_comes_a_header_lies_within_it(
        mark in 0usize..3,
        rest in proptest::collection::vec(any::<u8>(), 0..700),
    ) {
        let octets = [[&b""[..], b"PROXY ", SIGNATURE][mark], &rest].concat();
        if let Ok(Front::Header(header)) = read(&octets) {
            prop_assert!(header.len <= octets.len().min(limits::PROXY_HEADER_OCTETS));
            prop_assert_eq!(read(&octets[..header.len]), read(&octets));
        }
    }
}

// === policies ===

fn proxies(allow: &str, others: Treatment, sessions: Option<usize>) -> Proxies {
    let nets = allow.split_whitespace().map(|net| Net::parse(net).unwrap());
    let tracking = sessions.map(|sessions| Tracking {
        ttl_ns: 10,
        sessions,
    });
    let policy = Policy {
        allow: nets.collect(),
        others,
        tracking,
    };
    let sessions = tracking.map(|tracking| Arc::new(Sessions::new(tracking.sessions)));
    Proxies::new(Arc::new(policy), sessions)
}

#[test]
fn treatments_of_a_stream() {
    let close = Verdict::Close;
    let line = &b"PROXY TCP4 192.0.2.7 198.51.100.1 40212 53\r\n"[..];
    let ends = header(line).ends;
    for (treatment, with_header, broken) in [
        (Treatment::Use, Verdict::Open(line.len(), ends), close),
        (Treatment::Ignore, Verdict::Open(line.len(), None), close),
        (Treatment::Reject, close, close),
        (
            Treatment::Skip,
            Verdict::Open(0, None),
            Verdict::Open(0, None),
        ),
    ] {
        let proxies = proxies("", treatment, None);
        assert_eq!(proxies.judge(treatment, line), with_header, "{treatment:?}");
        assert_eq!(proxies.judge(treatment, b"PROXY x\r\n"), broken);
        assert_eq!(proxies.judge(treatment, b"\0\x1c"), Verdict::Open(0, None));
        let is_waiting = proxies.judge(treatment, b"PRO") == Verdict::Wait;
        assert_eq!(is_waiting, treatment != Treatment::Skip);
    }
}

#[test]
fn treatments_of_datagrams() {
    let (proxy, query) = (addr(PROXY), &b"\x71\x50\x01\0\0\x01\0\0\0\0\0\0"[..]);
    let with = [&named(CLIENT)[..], query].concat();
    for (treatment, expect) in [
        (Treatment::Use, Some((addr(CLIENT), query))),
        (Treatment::Ignore, Some((proxy, query))),
        (Treatment::Reject, None),
        (Treatment::Skip, Some((proxy, &with[..]))),
    ] {
        let proxies = proxies("10.0.0.0/8", treatment, None);
        let unwrap = |octets| proxies.unwrap_datagram(proxy, octets, 1);
        assert_eq!(unwrap(&with), expect, "{treatment:?}");
        assert_eq!(unwrap(query), Some((proxy, query)));
        assert_eq!(unwrap(b""), Some((proxy, &b""[..])));
        // Not whole, and of a version that datagrams have not.
        for broken in [
            &with[..20],
            b"PROXY TCP4 192.0.2.7 198.51.100.1 40212 53\r\n",
        ] {
            let passes = unwrap(broken).is_some();
            assert_eq!(passes, treatment == Treatment::Skip, "{treatment:?}");
        }
    }
}

#[test]
fn those_that_are_named_are_believed() {
    let proxies = proxies("10.0.0.0/8 ::1/128", Treatment::Reject, None);
    let policy = proxies.policy();
    for (peer, is_named) in [
        ("10.1.2.3:1", true),
        ("[::ffff:10.1.2.3]:1", true),
        ("[::1]:1", true),
        ("11.1.2.3:1", false),
        ("[::2]:1", false),
    ] {
        let expect = match is_named {
            true => Treatment::Use,
            false => Treatment::Reject,
        };
        assert_eq!(policy.treatment(addr(peer)), expect, "{peer}");
        assert_eq!(policy.trusts(addr(peer)), is_named, "{peer}");
    }
    let nobody = self::proxies("", Treatment::Use, None);
    assert_eq!(nobody.policy().treatment(addr(PROXY)), Treatment::Use);
    assert!(!nobody.policy().trusts(addr(PROXY)));
}

#[test]
fn a_proxy_that_speaks_for_itself_is_the_client() {
    let proxies = proxies("", Treatment::Use, None);
    let health_check = [&binary(0x20, 0, &[])[..], b"query"].concat();
    let seen = proxies.unwrap_datagram(addr(PROXY), &health_check, 1);
    assert_eq!(seen, Some((addr(PROXY), &b"query"[..])));
}

// === sessions ===

#[test]
fn the_first_datagram_of_a_session_names_its_client() {
    let query = &b"\x71\x50\x01\0\0\x01\0\0\0\0\0\0"[..];
    let proxies = proxies("127.0.0.0/8", Treatment::Ignore, Some(100));
    let client = |peer: &str, octets: &[u8], now_ns| {
        let seen = proxies.unwrap_datagram(addr(peer), octets, now_ns);
        seen.map(|(client, rest)| (client.to_string(), rest.len()))
    };
    assert_eq!(client(PROXY, query, 100), Some((PROXY.into(), 12)));
    assert_eq!(client(PROXY, &named(CLIENT), 101), Some((CLIENT.into(), 0)));
    // Each datagram prolongs the session.
    for now_ns in [105, 114, 123] {
        assert_eq!(client(PROXY, query, now_ns), Some((CLIENT.into(), 12)));
    }
    assert_eq!(
        client("127.0.0.1:5001", query, 123).unwrap().0,
        "127.0.0.1:5001"
    );
    assert_eq!(
        client("127.0.0.2:5000", query, 123).unwrap().0,
        "127.0.0.2:5000"
    );
    // Another client may come after it.
    let other = "[2001:db8::7]:9";
    assert_eq!(client(PROXY, &named(other), 124), Some((other.into(), 0)));
    assert_eq!(client(PROXY, query, 133).unwrap().0, other);
    assert_eq!(client(PROXY, query, 143).unwrap().0, PROXY, "it has ended");
    // A header that is not believed begins no session.
    let stranger = "10.0.0.1:5000";
    assert_eq!(client(stranger, &named(CLIENT), 150).unwrap().0, stranger);
    assert_eq!(client(stranger, query, 150).unwrap().0, stranger);
}

#[test]
fn the_oldest_session_makes_room() {
    let sessions = Sessions::new(2);
    let (one, two, three) = (addr("10.0.0.1:1"), addr("10.0.0.1:2"), addr("10.0.0.1:3"));
    assert!(sessions.store(one, addr(CLIENT), 1, 100));
    assert!(sessions.store(two, addr(CLIENT), 2, 100));
    assert!(sessions.find(one, 3, 100).is_some());
    assert!(
        !sessions.store(three, addr(CLIENT), 4, 100),
        "one is dropped"
    );
    let left = [one, two, three].map(|proxy| sessions.find(proxy, 5, 100).is_some());
    assert_eq!(left, [true, false, true]);
    // One that has ended is no loss.
    assert!(sessions.store(two, addr(CLIENT), 200, 100));
}

#[test]
fn so_many_sessions_find_room_and_more_stay_bounded() {
    let sessions = Sessions::new(1_000);
    let proxy = |nth: u16| SocketAddr::from(([10, 0, 0, 1], nth));
    let client = |nth: u16| SocketAddr::from(([192, 0, 2, 1], nth));
    for nth in 0..1_000 {
        assert!(sessions.store(proxy(nth), client(nth), 1, 100), "{nth}");
    }
    for nth in 0..1_000 {
        assert_eq!(sessions.find(proxy(nth), 2, 100), Some(client(nth)));
    }
    let kept = (1_000..u16::MAX).filter(|nth| sessions.store(proxy(*nth), client(*nth), 3, 100));
    assert!(kept.count() <= 4 * 1_000);
}

#[test]
fn cores_that_write_one_table_read_whole_sessions() {
    let sessions = Arc::new(Sessions::new(4));
    let threads: Vec<_> = (0..4u8)
        .map(|thread| {
            let sessions = sessions.clone();
            std::thread::spawn(move || {
                for round in 0..20_000u16 {
                    // All octets of a session agree, so that a mixture would show.
                    let nth = (round % 8) as u8;
                    let proxy = SocketAddr::from(([10, nth, nth, nth], 1));
                    let client = SocketAddr::from(([nth; 4], u16::from(nth)));
                    if round % 2 == u16::from(thread % 2) {
                        sessions.store(proxy, client, 1, 100);
                    }
                    let found = sessions.find(proxy, 1, 100);
                    assert!(found.is_none_or(|found| found == client), "{found:?}");
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}
