//! Tests of *https*.

use super::*;
use crate::testing::directive::{set_up, set_up_error};

#[test]
fn the_bound_is_a_setting_of_the_block() {
    let check = |lines: &str, expect: Option<usize>| {
        let bounds = set_up::<Https>("https", lines).unwrap().settings.bounds;
        assert_eq!(bounds.https.connections, expect, "{lines}");
        assert_eq!(bounds.grpc.connections, None, "{lines}");
    };
    check("https", None);
    check("https {\n}", None);
    check("https {\n max_connections 0\n}", Some(0));
    check("https {\n max_connections 25\n}", Some(25));
}

#[test]
fn wrong_lines_are_refused() {
    for (lines, line, expect) in [
        (
            "https 10",
            2,
            "Wrong argument count or unexpected line ending after '10'",
        ),
        (
            "https {\n max_connections\n}",
            3,
            "Wrong argument count or unexpected line ending after 'max_connections'",
        ),
        (
            "https {\n max_connections 1 2\n}",
            3,
            "Wrong argument count or unexpected line ending after '2'",
        ),
        (
            "https {\n max_connections many\n}",
            3,
            "invalid max_connections value 'many': needs to be a whole number, 0 for no bound",
        ),
        (
            "https {\n max_connections -1\n}",
            3,
            "invalid max_connections value '-1': needs to be a whole number, 0 for no bound",
        ),
        (
            "https {\n max_connections 1\n max_connections 2\n}",
            4,
            "max_connections already defined for this server block",
        ),
        (
            "https {\n max_streams 1\n}",
            3,
            "unknown property 'max_streams'",
        ),
    ] {
        let expect = format!("Corefile:{line} - Error during parsing: {expect}");
        assert_eq!(set_up_error::<Https>("https", lines), expect);
    }
}
