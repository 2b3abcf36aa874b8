//! Tests of *view*.

use super::*;
use crate::testing::directive::{query, set_up, set_up_error};
use crate::testing::{Host, check};
use crate::wire::types;

/// Whether a view with these lines takes a query for `Client.example.org.` TXT from 10.240.0.1.
fn takes(lines: &str) -> bool {
    let block = set_up::<View>("view", &format!("view a {{\n{lines}\n}}"));
    let plugin = block
        .unwrap_or_else(|e| panic!("{lines}: {e}"))
        .open(&["view"]);
    plugin.filter(&mut query("Client.example.org.", types::TXT))
}

#[test]
fn conditions_are_joined_by_and() {
    assert!(takes("expr true"));
    assert!(takes(
        "expr incidr(client_ip(), '10.0.0.0/8')\nexpr type() == 'TXT'"
    ));
    assert!(!takes(
        "expr incidr(client_ip(), '10.0.0.0/8')\nexpr type() == 'A'"
    ));
    assert!(takes("expr name() matches '^client[.]example[.]org[.]$'"));
    assert!(takes("expr \"name() in ['client.example.org.']\""));
    assert!(
        set_up::<View>("view", "view a")
            .unwrap()
            .open(&["view"])
            .filter(&mut query("a.", 1))
    );
}

#[test]
fn errors_and_other_values_are_no_match() {
    assert!(!takes("expr incidr('x', '10.0.0.0/8')"));
    assert!(!takes("expr 1"));
    assert!(!takes("expr name()"));
    assert!(!takes("expr nil"));
}

#[test]
fn the_first_block_whose_view_passes_answers() {
    let corefile = "
        example.org:53 {
            view inside {
                expr incidr(client_ip(), '10.0.0.0/8')
            }
            whoami
        }
        example.org:53 {
            view v6 {
                expr incidr(client_ip(), '::/0')
            }
            errors
        }
        .:53 {
            errors
            rewrite rcode suffix . SERVFAIL REFUSED
        }";
    check(corefile, "example.org A from=10.1.2.3", "rcode: NOERROR");
    check(
        corefile,
        "example.org A from=2001:db8::1",
        "rcode: SERVFAIL",
    );
    // No view passes: a shorter zone takes the query.
    check(corefile, "example.org A from=192.0.2.1", "rcode: REFUSED");
}

#[test]
fn blocks_with_views_may_share_a_zone() {
    let block = "example.org:53 {\n whoami\n}\n";
    let viewed = "example.org:53 {\n view a {\n expr true\n }\n whoami\n}\n";
    assert!(Host::new(&format!("{viewed}{block}")).is_ok());
    assert!(Host::new(&format!("{block}{viewed}")).is_ok());
    let error = Host::new(&format!("{block}{block}"))
        .err()
        .expect("refused");
    assert!(error.contains("it is already defined"), "{error}");
}

#[test]
fn the_name_is_a_label() {
    let plugin = set_up::<View>("view", "view inside")
        .unwrap()
        .open(&["view"]);
    let mut query = query("a.", types::A);
    query.meta.enabled = true;
    plugin.on_metadata(&mut query);
    assert_eq!(query.meta.find("view/name"), Some("inside"));
    assert_eq!(
        set_up::<View>("view", "view inside")
            .unwrap()
            .settings
            .view
            .as_deref(),
        Some("inside")
    );
}

#[test]
fn mistakes_are_refused() {
    let check = |lines: &str, expect: &str| {
        let error = set_up_error::<View>("view", lines);
        assert!(error.contains(expect), "{lines}: {error}");
    };
    check(
        "view",
        "Wrong argument count or unexpected line ending after 'view'",
    );
    check(
        "view a b",
        "Wrong argument count or unexpected line ending after 'b'",
    );
    check("view a {\n foo\n}", "unknown property 'foo'");
    check(
        "view a\nview b",
        "this plugin can only be used once per Server Block",
    );
    check("view a {\n expr\n}", "unexpected token EOF (1:1)");
    check("view a {\n expr foo()\n}", "unknown name foo (1:1)");
    check(
        "view a {\n expr type() == 1\n}",
        "invalid operation: == (mismatched types string and int)",
    );
    check("view a {\n expr name() matches '('\n}", "missing closing )");
    check(
        "view a {\n expr incidr(client_ip())\n}",
        "not enough arguments to call incidr",
    );
}
