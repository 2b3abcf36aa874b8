//! Tests of what requests mean and responses say.

use http::Request;
use proptest::prelude::*;

use super::*;
use crate::lang::cidr::{Net, NetSet};

fn head(method: &str, target: &str, fields: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn refused(method: &str, target: &str) -> (u16, &'static str) {
    match wants(&head(method, target, &[]), true) {
        Wants::Refuse(status, text) => (status.as_u16(), text),
        other => panic!("{method} {target}: {other:?}"),
    }
}

#[test]
fn a_get_has_its_message_in_dns() {
    let check = |target: &str, expect: &[u8]| {
        let expect = Wants::Ask(Form::Wire, expect.to_vec());
        assert_eq!(wants(&head("GET", target, &[]), true), expect, "{target}");
        let whole = format!("https://[::1]:443{target}");
        assert_eq!(wants(&head("GET", &whole, &[]), false), expect, "{whole}");
    };
    check("/dns-query?dns=", &[]);
    check("/dns-query?dns=_-8", &[0xff, 0xef]);
    check("/dns-query?dns=AAECAwQ", &[0, 1, 2, 3, 4]);
    check("/dns-query?ct=x&dns=%41AECAwQ&y", &[0, 1, 2, 3, 4]);
    check("/dns-query?%64ns=AAEC", &[0, 1, 2]);
}

#[test]
fn a_post_has_it_in_its_body_whatever_its_type() {
    let body = head(
        "POST",
        "/dns-query?dns=AAEC",
        &[("content-type", "text/html")],
    );
    assert_eq!(wants(&body, false), Wants::Body);
}

#[test]
fn what_is_no_request_is_refused() {
    for (method, target, status, text) in [
        ("GET", "/", 404, "not found"),
        ("GET", "/dns-query/", 404, "not found"),
        ("GET", "/DNS-QUERY?dns=AAEC", 404, "not found"),
        ("PUT", "/x", 404, "not found"),
        ("PUT", "/dns-query?dns=AAEC", 400, "invalid request"),
        ("HEAD", "/dns-query?dns=AAEC", 400, "invalid request"),
        ("GET", "/dns-query", 400, "no 'dns' query parameter found"),
        (
            "GET",
            "/dns-query?DNS=AAEC",
            400,
            "no 'dns' query parameter found",
        ),
        (
            "GET",
            "/dns-query?dns=A%zz",
            400,
            "no 'dns' query parameter found",
        ),
        (
            "GET",
            "/dns-query?dns=AAEC&dns=AAEC",
            400,
            "multiple 'dns' query values found",
        ),
        (
            "GET",
            "/dns-query?dns=A",
            400,
            "'dns' is not base64url without padding",
        ),
        (
            "GET",
            "/dns-query?dns=AAE=",
            400,
            "'dns' is not base64url without padding",
        ),
        (
            "GET",
            "/dns-query?dns=/+AA",
            400,
            "'dns' is not base64url without padding",
        ),
    ] {
        assert_eq!(refused(method, target), (status, text), "{method} {target}");
    }
    let long = |len: usize| {
        let parameters = format!("dns={}", "A".repeat(len));
        query::message(&parameters).map(|message| message.len())
    };
    assert_eq!(long(87_380), Ok(65_535));
    assert_eq!(long(87_382), Err("'dns' is longer than a message"));
}

#[test]
fn the_json_form_is_meant_by_name_and_accept() {
    let target = "/dns-query?name=www.Example.org&type=aaaa&do=1&cd=true";
    let expect = b"\0\0\x01\x10\0\x01\0\0\0\0\0\x01\x03www\x07Example\x03org\0\0\x1c\0\x01\0\0\x29\x04\xd0\0\0\x80\0\0\0";
    let asked = Wants::Ask(Form::Json, expect.to_vec());
    for method in ["GET", "POST"] {
        assert_eq!(wants(&head(method, target, &[]), true), asked);
        let fields = [("accept", "application/dns-json")];
        assert_eq!(wants(&head(method, target, &fields), true), asked);
    }
    let wire = [("accept", "application/dns-message")];
    assert_eq!(wants(&head("POST", target, &wire), true), Wants::Body);
    assert_eq!(wants(&head("POST", target, &[]), false), Wants::Body);
    let a = json::message("name=.").unwrap();
    assert_eq!(a, b"\0\0\x01\0\0\x01\0\0\0\0\0\0\0\0\x01\0\x01");
    for (target, text) in [
        ("/dns-query?name=a..b", "'name' is not a domain name"),
        ("/dns-query?name=", "'name' is not a domain name"),
        ("/dns-query?name=a&type=nope", "'type' is not a type"),
        ("/dns-query?name=a&type=65536", "'type' is not a type"),
        ("/dns-query?name=a&name=b", "a parameter is given twice"),
    ] {
        assert_eq!(refused("GET", target), (400, text), "{target}");
    }
}

/// A reply with a question and records of these types and TTLs, three of them answers.
fn reply(records: &[(u16, u32)]) -> Vec<u8> {
    let answers = records.len().min(3) as u8;
    let rest = records.len() as u8 - answers;
    let mut octets = vec![0, 0, 0x81, 0x80, 0, 1, 0, answers, 0, 0, 0, rest];
    octets.extend_from_slice(b"\x03www\x07example\0\0\x10\0\x01");
    for (rtype, ttl) in records {
        octets.extend_from_slice(&[0xc0, 12]);
        octets.extend_from_slice(&rtype.to_be_bytes());
        octets.extend_from_slice(&[0, 1]);
        octets.extend_from_slice(&ttl.to_be_bytes());
        octets.extend_from_slice(&[0, 5, 4, b'a', b'"', b'\\', 7]);
    }
    octets
}

#[test]
fn caches_keep_a_reply_as_long_as_its_shortest_record() {
    let check = |records: &[(u16, u32)], expect: &str| {
        let octets = reply(records);
        let response = late(Form::Wire, Some(octets.clone()));
        let field = |name| response.headers().get(name).unwrap().to_str().unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(field("cache-control"), expect, "{records:?}");
        assert_eq!(field("content-type"), "application/dns-message");
        assert_eq!(field("content-length"), octets.len().to_string());
        assert_eq!(&response.body()[..], octets);
    };
    check(&[], "max-age=0");
    check(&[(16, 300)], "max-age=300");
    check(&[(16, 300), (16, 7), (16, 9), (16, 8)], "max-age=7");
    check(&[(16, 9), (16, 9), (16, 9), (41, 0)], "max-age=9");
    check(&[(16, 0x8000_0000)], "max-age=3600");
    check(&[(16, 3600), (16, 0)], "max-age=0");
}

#[test]
fn no_reply_is_an_error_in_coredns_words() {
    let response = late(Form::Wire, None);
    assert_eq!(response.status(), 500);
    assert_eq!(&response.body()[..], b"No response");
}

#[test]
fn the_json_form_of_a_reply() {
    let response = late(Form::Json, Some(reply(&[(16, 60), (41, 0)])));
    let field = |name| response.headers().get(name).unwrap().to_str().unwrap();
    assert_eq!(field("content-type"), "application/dns-json");
    assert_eq!(field("cache-control"), "max-age=60");
    assert_eq!(
        std::str::from_utf8(response.body()).unwrap(),
        r#"{"Status":0,"TC":false,"RD":true,"RA":true,"AD":false,"CD":false,"Question":[{"name":"www.example.","type":16}],"Answer":[{"name":"www.example.","type":16,"TTL":60,"data":"\"a\\\"\\\\\\007\""}]}"#
    );
    assert_eq!(late(Form::Json, Some(vec![0; 5])).status(), 500);
}

#[test]
fn proxies_tell_who_asks() {
    let trusted: NetSet = ["10.0.0.0/8", "2001:db8::/32"]
        .iter()
        .map(|net| Net::parse(net).unwrap())
        .collect();
    let check = |peer: &str, fields: &[(&str, &str)], expect: Option<&str>| {
        let head = head("GET", "/", fields);
        let client = client(&head.headers, peer.parse().unwrap(), &trusted);
        let expect = expect.map(|addr| addr.parse().unwrap());
        assert_eq!(client, expect, "{peer} {fields:?}");
    };
    let (near, far) = ("10.1.1.1:4000", "192.0.2.1:4000");
    check(far, &[("x-forwarded-for", "198.51.100.1")], None);
    check(near, &[], None);
    check(
        near,
        &[("x-forwarded-for", "198.51.100.1")],
        Some("198.51.100.1:0"),
    );
    check(
        "[::ffff:10.1.1.1]:9",
        &[("x-forwarded-for", "::1")],
        Some("[::1]:0"),
    );
    // The client may have written what stands further left.
    check(
        near,
        &[("x-forwarded-for", "1.1.1.1, 198.51.100.1 , 10.2.2.2")],
        Some("198.51.100.1:0"),
    );
    check(
        near,
        &[
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-for", "198.51.100.1"),
        ],
        Some("198.51.100.1:0"),
    );
    check(
        near,
        &[("x-forwarded-for", "1.1.1.1, bad, 10.2.2.2")],
        Some("10.2.2.2:0"),
    );
    check(near, &[("x-forwarded-for", "unknown")], None);
    check(
        near,
        &[("x-forwarded-for", "10.9.9.9, 10.2.2.2")],
        Some("10.9.9.9:0"),
    );
    let standard = "for=1.1.1.1, for=\"[2001:db9::17]:4711\";proto=https;by=10.0.0.1, For=10.2.2.2";
    check(
        near,
        &[("forwarded", standard)],
        Some("[2001:db9::17]:4711"),
    );
    // The client may have written the one that its proxy does not.
    let both = [("forwarded", standard), ("x-forwarded-for", "8.8.8.8")];
    check(near, &both, None);
    check(near, &[("forwarded", "for=_hidden")], None);
    check(near, &[("forwarded", "by=10.0.0.1")], None);
}

proptest! {
    #[test]
    fn base64url_comes_back(octets in proptest::collection::vec(any::<u8>(), 0..70)) {
        let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut text = String::from("dns=");
        for group in octets.chunks(3) {
            let mut bits = [0; 3];
            bits[..group.len()].copy_from_slice(group);
            let bits = u32::from_be_bytes([0, bits[0], bits[1], bits[2]]);
            for nth in 0..=group.len() {
                text.push(char::from(digits[(bits >> (18 - 6 * nth) & 63) as usize]));
            }
        }
        prop_assert_eq!(query::message(&text), Ok(octets));
    }

    #[test]
    fn any_parameters_and_any_reply_are_taken(text in ".{0,60}", octets in proptest::collection::vec(any::<u8>(), 0..120)) {
        let _ = query::message(&text);
        let _ = json::message(&text);
        let _ = late(Form::Wire, Some(octets.clone()));
        let _ = late(Form::Json, Some(octets));
    }
}
