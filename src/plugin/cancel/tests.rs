//! Tests of *cancel*.

use super::*;
use crate::testing::directive::{query, set_up, set_up_error};
use crate::wire::types;

#[test]
fn arguments() {
    let check = |lines: &str, millis: u64| {
        let directive = set_up::<Cancel>("cancel", lines).unwrap();
        assert_eq!(*directive.config, Duration::from_millis(millis), "{lines}");
    };
    check("cancel", 5001);
    check("cancel 500ms", 500);
    check("cancel 1m\ncancel 2s", 2000);
    let refuse = |lines: &str, want: &str| {
        let error = set_up_error::<Cancel>("cancel", lines);
        assert!(error.contains(want), "{lines}: {error}");
    };
    refuse("cancel x", "invalid duration: \"x\"");
    refuse("cancel 5", "invalid duration: \"5\"");
    refuse("cancel 0s", "invalid negative duration: \"0s\"");
    refuse("cancel -1s", "invalid negative duration: \"-1s\"");
    refuse("cancel 1s 2s", "Wrong argument count");
    refuse("cancel {\n x\n}", "unknown property 'x'");
}

#[test]
fn the_earlier_deadline_holds() {
    let plugin = set_up::<Cancel>("cancel", "cancel 1s")
        .unwrap()
        .open(&["cancel"]);
    let mut query = query("example.org.", types::A);
    query.now_ns = 5;
    assert_eq!(plugin.on_query(&mut query), Flow::Next);
    assert_eq!(query.deadline_ns, NonZeroU64::new(1_000_000_005));
    query.now_ns = 7;
    plugin.on_query(&mut query);
    assert_eq!(query.deadline_ns, NonZeroU64::new(1_000_000_005));
    let child = Query::child(&query, &query.name_buf(), types::A);
    assert_eq!(child.deadline_ns, query.deadline_ns);
    assert_eq!(query.duplicate().deadline_ns, None);
}
