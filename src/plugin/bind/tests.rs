//! Tests of *bind*.

use super::*;
use crate::testing::directive::{set_up, set_up_error};
use crate::testing::{Host, check_seen};

fn listen(lines: &str) -> Vec<String> {
    let settings = set_up::<Bind>("bind", lines).unwrap().settings;
    assert!(settings.bound, "{lines}");
    settings.listen.iter().map(ToString::to_string).collect()
}

#[test]
fn addresses_are_merged() {
    assert_eq!(listen("bind 127.0.0.1"), ["127.0.0.1"]);
    assert_eq!(
        listen("bind 127.0.0.1 ::1\nbind 192.0.2.1 127.0.0.1"),
        ["127.0.0.1", "::1", "192.0.2.1"]
    );
}

#[test]
fn an_interface_is_its_addresses() {
    assert!(listen("bind lo").contains(&"127.0.0.1".to_owned()));
    assert!(!listen("bind lo {\n except 127.0.0.1\n}").contains(&"127.0.0.1".to_owned()));
    // Everything is excepted: the block then has no listener, rather than all.
    assert_eq!(listen("bind lo {\n except lo\n}"), Vec::<String>::new());
    assert_eq!(
        listen("bind 127.0.0.1 192.0.2.1 {\n except lo\n}"),
        ["192.0.2.1"]
    );
    // An exception holds for its own directive.
    assert_eq!(
        listen("bind 127.0.0.1 {\n except lo\n}\nbind 127.0.0.1"),
        ["127.0.0.1"]
    );
}

#[test]
fn blocks_listen_on_their_own_addresses() {
    let text = "x:53 {\n bind 127.0.0.1\n whoami\n}\ny:53 {\n bind 127.0.0.2 ::1\n whoami\n}\nz:53 {\n bind lo {\n except lo\n }\n whoami\n}\n";
    let host = Host::new(text).unwrap_or_else(|error| panic!("{error}"));
    for (query, rcode) in [
        ("a.x A listener=0", "NOERROR"),
        ("a.y A listener=0", "REFUSED"),
        ("a.y A listener=1", "NOERROR"),
        ("a.y A listener=2", "NOERROR"),
        ("a.z A listener=2", "REFUSED"),
    ] {
        check_seen(&host.ask(query), query, &format!("rcode: {rcode}"));
    }
}

#[test]
fn bound_and_unbound_blocks_of_one_zone_collide() {
    let error = Host::new(".:53 {\n whoami\n}\n.:53 {\n bind 127.0.0.1\n whoami\n}\n").err();
    let error = error.expect("refused");
    assert!(error.contains("zone overlap listener capacity"), "{error}");
}

#[test]
fn wrong_lines_are_refused() {
    for (lines, expect) in [
        ("bind", "at least one address or interface name is expected"),
        (
            "bind {\n except lo\n}",
            "at least one address or interface name is expected",
        ),
        (
            "bind lo {\n except\n}",
            "at least one address or interface must be given to except subdirective",
        ),
        ("bind lo {\n only lo\n}", "invalid option \"only\""),
        (
            "bind 127.0.0.1:53",
            "not a valid IP address or interface name: \"127.0.0.1:53\"",
        ),
        (
            "bind lo {\n except nosuch0\n}",
            "not a valid IP address or interface name: \"nosuch0\"",
        ),
    ] {
        assert_eq!(set_up_error::<Bind>("bind", lines), expect);
    }
}
