//! Tests of *any*.

use super::*;
use crate::telemetry::log::capture;
use crate::testing::check;
use crate::testing::directive::set_up;

const COREFILE: &str = ".:53 {\n any\n whoami\n}\n";

#[test]
fn any_gets_one_record() {
    let expect = "rcode: NOERROR
        flags: qr rd
        answer: Example.org. 8482 IN HINFO \"ANY obsoleted\" \"See RFC 8482\"
        authority:
        additional:";
    for query in [
        "Example.org ANY",
        "Example.org ANY +tcp",
        "Example.org ANY +do",
        "Example.org ANY bufsize=1232 from=2001:db8::1",
    ] {
        check(COREFILE, query, expect);
    }
}

#[test]
fn other_types_pass() {
    for query in [
        "example.org A",
        "example.org HINFO",
        "example.org AXFR +tcp",
    ] {
        check(COREFILE, query, "flags: qr aa rd\nanswer:");
    }
    check(COREFILE, "example.org ANY class=CH", "rcode: REFUSED");
}

#[test]
fn what_follows_is_ignored_with_a_warning() {
    let lines = capture::lines(|| {
        set_up::<Any>("any", "any\nany x").unwrap();
    });
    assert_eq!(
        lines,
        ["[WARNING] plugin/any: 'x' on line 3 is ignored: any takes no arguments"]
    );
}
