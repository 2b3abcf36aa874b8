//! Tests of *debug*.

use super::*;
use crate::testing::directive::{set_up, set_up_error};

#[test]
fn it_is_a_setting_of_the_block() {
    for lines in ["debug", "debug\ndebug"] {
        assert!(set_up::<Debug>("debug", lines).unwrap().settings.debug);
    }
}

#[test]
fn takes_nothing() {
    for (lines, expect) in [
        (
            "debug x",
            "Corefile:2 - Error during parsing: Wrong argument count or unexpected line ending after 'x'",
        ),
        (
            "debug {\n x\n}",
            "Corefile:2 - Error during parsing: Unexpected token '{', expecting argument",
        ),
    ] {
        assert_eq!(set_up_error::<Debug>("debug", lines), expect);
    }
}
