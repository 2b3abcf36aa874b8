//! Tests of *whoami*.

use crate::testing::{Host, check};

const COREFILE: &str = ".:53 {\n whoami\n}\n";

#[test]
fn tells_address_port_and_transport() {
    check(
        COREFILE,
        "Example.org A",
        "rcode: NOERROR
         flags: qr aa rd
         answer:
         authority:
         additional: Example.org. 0 IN A 127.0.0.1
         additional: _udp.Example.org. 0 IN SRV 0 0 40212 .",
    );
    check(
        COREFILE,
        "example.org TXT +tcp from=2001:db8::1",
        "additional: example.org. 0 IN AAAA 2001:db8::1
         additional: _tcp.example.org. 0 IN SRV 0 0 40212 .",
    );
}

#[test]
fn takes_nothing() {
    for lines in ["whoami x", "whoami {\n x\n}"] {
        let error = Host::new(&format!(".:53 {{\n {lines}\n}}\n"))
            .err()
            .expect("refused");
        assert!(
            error.starts_with("plugin/whoami: Corefile:2 - Error during parsing: "),
            "{error}"
        );
    }
}

#[test]
fn other_names_classes_and_messages_are_refused_before_it() {
    check(
        "example.org:53 {\n whoami\n}\n",
        "example.net A",
        "rcode: REFUSED\nadditional:",
    );
    check(COREFILE, "example.org A class=CH", "rcode: REFUSED");
    check(
        COREFILE,
        "example.org A bufsize=1232 opt=10:0102",
        "rcode: FORMERR",
    );
}
