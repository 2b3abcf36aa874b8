//! Rules that are refused.

use super::super::*;
use crate::testing::directive::set_up_error;

fn check_error(lines: &str, expect: &str) {
    let error = set_up_error::<Rewrite>("rewrite", lines);
    assert_eq!(
        error,
        format!("Corefile:2 - Error during parsing: {expect}"),
        "{lines}"
    );
}

#[test]
fn mistakes_are_refused() {
    check_error("rewrite", "no rule type specified for rewrite");
    check_error("rewrite stop", "no rule type specified for rewrite");
    check_error("rewrite foo a b", "invalid rule type \"foo\"");
    check_error(
        "rewrite answer name a b",
        "response rewrites must begin with a name rule",
    );
    check_error("rewrite name a", "too few arguments for a name rule");
    check_error(
        "rewrite name foo a b",
        "name rule supports only exact, prefix, suffix, substring, and regex name matching, received: foo",
    );
    check_error(
        "rewrite name regex (.*) {1}.{2}",
        "the rewrite regex pattern ({1}.{2}) uses more subexpressions than its corresponding matching regex pattern ((.*))",
    );
    check_error(
        "rewrite name regex (a b",
        "invalid regex matching pattern: (a: error parsing regexp: missing closing ): `(a`",
    );
    check_error(
        "rewrite name a *.b",
        "invalid regex matching pattern: *.b.: error parsing regexp: missing argument to repetition operator: `*`",
    );
    check_error(
        "rewrite name suffix a b answer",
        "invalid arguments for suffix rule",
    );
    check_error(
        "rewrite name suffix a b c d",
        "exceeded the number of arguments for a non-answer rule argument for suffix rule",
    );
    check_error(
        "rewrite name suffix a b answer name",
        "name answer rule for suffix rule: 2 arguments required",
    );
    check_error(
        "rewrite name suffix a b answer other",
        "invalid type \"other\" for answer rule for suffix rule",
    );
    check_error(
        "rewrite name regex a b answer name c d value e",
        "value answer rule for regex rule: 2 arguments required",
    );
    check_error(
        "rewrite name regex a b answer name c d answer",
        "type missing for answer rule for regex rule",
    );
    check_error(
        "rewrite name regex a b answer auto name c d",
        "auto name answer rule cannot be combined with explicit name answer rules",
    );
    check_error(
        "rewrite name regex a b answer name (.) {1}{2}",
        "name answer rule for regex rule: the rewrite regex pattern ({1}{2}) uses more subexpressions than its corresponding matching regex pattern ((.))",
    );
    check_error(
        "rewrite type A",
        "type rules must have exactly two arguments",
    );
    check_error("rewrite type A FOO", "invalid type \"FOO\"");
    check_error("rewrite class IN x", "invalid class \"X\"");
    check_error("rewrite ttl a", "too few (1) arguments for a ttl rule");
    check_error("rewrite ttl a b c d", "too many arguments for a ttl rule");
    check_error(
        "rewrite ttl foo a 5",
        "ttl rule supports only exact, prefix, suffix, substring, and regex name matching",
    );
    for ttl in ["x", "-", "5-4", "1-2-3", "4294967296", "+5"] {
        check_error(
            &format!("rewrite ttl a {ttl}"),
            &format!("invalid TTL '{ttl}' for a ttl rule"),
        );
    }
    check_error(
        "rewrite ttl regex ( 5",
        "invalid regex pattern in a ttl rule: (: error parsing regexp: missing closing ): `(`",
    );
    check_error(
        "rewrite rcode a NXDOMAIN",
        "too few (2) arguments for a rcode rule",
    );
    check_error(
        "rewrite rcode a 24 0",
        "invalid matching RCODE '24' for a rcode rule",
    );
    check_error(
        "rewrite rcode a 0 FOO",
        "invalid replacement RCODE 'FOO' for a rcode rule",
    );
    check_error("rewrite cname a", "too few (1) arguments for a cname rule");
    check_error("rewrite cname foo a b", "unknown cname rewrite type: foo");
    let long = format!("rewrite name regex {} b", "a".repeat(10_001));
    assert!(set_up_error::<Rewrite>("rewrite", &long).contains("longer than 10000 characters"));
    let trailing = set_up_error::<Rewrite>("rewrite", "rewrite name a b {\n c d\n}");
    assert!(trailing.contains("Unexpected token '{'"), "{trailing}");
}

#[test]
fn mistakes_in_edns_rules_are_refused() {
    check_error("rewrite edns0 local", "too few arguments for an EDNS0 rule");
    check_error("rewrite edns0 local foo 1 2", "invalid action: \"foo\"");
    check_error("rewrite edns0 foo set 1 2", "invalid rule type \"foo\"");
    check_error(
        "rewrite edns0 local set 1",
        "EDNS0 local rules require three or four args",
    );
    check_error(
        "rewrite edns0 local set 1 2 3",
        "EDNS0 local rules require three or four args",
    );
    check_error(
        "rewrite edns0 local unset 1 2",
        "local unset action requires exactly two arguments",
    );
    check_error(
        "rewrite edns0 local set x a",
        "strconv.ParseUint: parsing \"x\": invalid syntax",
    );
    check_error(
        "rewrite edns0 local set 0x10000 a",
        "strconv.ParseUint: parsing \"0x10000\": value out of range",
    );
    check_error(
        "rewrite edns0 local set 1 0x123",
        "EDNS0 data \"0x123\" is not a whole number of hexadecimal octets",
    );
    check_error(
        "rewrite edns0 local set 1 {foo}",
        "unsupported variable name \"{foo}\"",
    );
    check_error(
        "rewrite edns0 local set 1 {/foo}",
        "unsupported variable name \"{/foo}\"",
    );
    check_error(
        "rewrite edns0 nsid set 1",
        "EDNS0 NSID rules accept no arguments but revert",
    );
    check_error(
        "rewrite edns0 subnet set 24",
        "EDNS0 subnet rules require three or four args",
    );
    check_error(
        "rewrite edns0 subnet set 33 56",
        "invalid IPv4 bit mask length 33",
    );
    check_error(
        "rewrite edns0 subnet set 24 129",
        "invalid IPv6 bit mask length 129",
    );
    check_error(
        "rewrite edns0 subnet set 24 300",
        "invalid IPv6 bit mask length 300",
    );
    check_error(
        "rewrite edns0 subnet unset 24",
        "unset subnet rules accept no arguments",
    );
}
