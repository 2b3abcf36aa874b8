//! Tests of *multisocket*.

use super::*;
use crate::testing::directive::{set_up, set_up_error};

#[test]
fn the_number_is_a_setting_of_the_block() {
    for (lines, expect) in [
        ("multisocket", 1), // the cores of the test's context
        ("multisocket 1", 1),
        ("multisocket 1024", 1024),
    ] {
        let settings = set_up::<Multisocket>("multisocket", lines)
            .unwrap()
            .settings;
        assert_eq!(settings.sockets, Some(expect), "{lines}");
    }
}

#[test]
fn wrong_lines_are_refused() {
    for (lines, expect) in [
        (
            "multisocket x",
            "invalid num sockets: strconv.Atoi: parsing \"x\": invalid syntax",
        ),
        (
            "multisocket 99999999999999999999",
            "invalid num sockets: strconv.Atoi: parsing \"99999999999999999999\": value out of range",
        ),
        (
            "multisocket 0",
            "num sockets can not be zero or negative: 0",
        ),
        (
            "multisocket -1",
            "num sockets can not be zero or negative: -1",
        ),
        (
            "multisocket 1025",
            "num sockets exceeds maximum (1024): 1025",
        ),
        (
            "multisocket 1 2",
            "Corefile:2 - Error during parsing: Wrong argument count or unexpected line ending after '2'",
        ),
        (
            "multisocket\nmultisocket",
            "Corefile:3 - Error during parsing: Wrong argument count or unexpected line ending after 'multisocket'",
        ),
    ] {
        assert_eq!(set_up_error::<Multisocket>("multisocket", lines), expect);
    }
}
