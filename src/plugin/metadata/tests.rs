//! Tests of *metadata*.

use super::*;
use crate::testing::Host;
use crate::testing::directive::{query, set_up, set_up_error, set_up_in};
use crate::wire::types;

fn collects(plugin: &Metadata, name: &str) -> bool {
    let mut query = query(name, types::A);
    plugin.on_metadata(&mut query);
    query.meta.enabled
}

#[test]
fn zones_default_to_those_of_the_block() {
    let block = set_up_in::<Metadata>("example.org", "metadata", "metadata").unwrap();
    let plugin = block.open(&["metadata"]);
    assert!(collects(&plugin, "a.Example.org."));
    assert!(!collects(&plugin, "example.com."));
    let named = set_up::<Metadata>("metadata", "metadata example.com 10.0.0.0/8").unwrap();
    let plugin = named.open(&["metadata"]);
    assert!(collects(&plugin, "a.example.com."));
    assert!(collects(&plugin, "1.10.in-addr.arpa."));
    assert!(!collects(&plugin, "example.org."));
}

#[test]
fn labels_of_a_block_that_was_tried_before_are_gone() {
    let plugin = set_up::<Metadata>("metadata", "metadata")
        .unwrap()
        .open(&["metadata"]);
    let mut query = query("a.", types::A);
    query.meta.enabled = true;
    query.meta.set("view/name", || "other".into());
    plugin.on_metadata(&mut query);
    assert!(query.meta.enabled);
    assert_eq!(query.meta.find("view/name"), None);
}

#[test]
fn it_stands_once_and_has_no_block() {
    for lines in [
        "metadata\nmetadata",
        "metadata {\n x\n}",
        "metadata a {\n x\n}",
    ] {
        let error = set_up_error::<Metadata>("metadata", lines);
        assert!(
            error.contains("Wrong argument count or unexpected line ending"),
            "{lines}: {error}"
        );
    }
}

#[test]
fn without_it_there_are_no_labels() {
    let ask = |metadata: &str| {
        let corefile = format!(
            ".:53 {{\n {metadata}\n view here {{\n  expr true\n }}\n rewrite edns0 local set 65518 {{view/name}}\n whoami\n}}\n"
        );
        Host::new(&corefile)
            .unwrap()
            .ask("a. A bufsize=1232")
            .opt
            .unwrap()
            .2
    };
    assert_eq!(ask("metadata"), [(65518, b"here".to_vec())]);
    assert_eq!(ask("metadata a"), [(65518, b"here".to_vec())]);
    assert_eq!(ask("metadata b"), []);
    assert_eq!(ask(""), []);
}
