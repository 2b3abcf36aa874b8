//! Tests of *https3*.

use super::*;
use crate::testing::directive::{set_up, set_up_error};

#[test]
fn bounds_are_settings_of_the_block() {
    let check = |lines: &str, streams: Option<usize>, connections: Option<usize>| {
        let bounds = set_up::<Https3>("https3", lines).unwrap().settings.bounds;
        assert_eq!(
            (bounds.https3.streams, bounds.https3.connections),
            (streams, connections),
            "{lines}"
        );
        assert_eq!(bounds.https.connections, None, "{lines}");
    };
    check("https3", None, None);
    check("https3 {\n max_streams 0\n}", Some(0), None);
    check(
        "https3 {\n max_connections 5\n max_streams 7\n}",
        Some(7),
        Some(5),
    );
}

#[test]
fn wrong_lines_are_refused() {
    for (lines, line, expect) in [
        (
            "https3 x",
            2,
            "Wrong argument count or unexpected line ending after 'x'",
        ),
        (
            "https3 {\n max_connections -1\n}",
            3,
            "invalid max_connections value '-1': needs to be a whole number, 0 for no bound",
        ),
        (
            "https3 {\n max_streams 1\n max_streams 2\n}",
            4,
            "max_streams already defined for this server block",
        ),
        (
            "https3 {\n worker_pool_size 1\n}",
            3,
            "unknown property 'worker_pool_size'",
        ),
    ] {
        let expect = format!("Corefile:{line} - Error during parsing: {expect}");
        assert_eq!(set_up_error::<Https3>("https3", lines), expect);
    }
}
