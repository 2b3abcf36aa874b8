//! Tests of *quic*.

use super::*;
use crate::testing::directive::{set_up, set_up_error};

#[test]
fn bounds_are_settings_of_the_block() {
    let check = |lines: &str, streams: Option<usize>, workers: Option<usize>| {
        let bounds = set_up::<Quic>("quic", lines).unwrap().settings.bounds;
        assert_eq!(
            (bounds.quic.streams, bounds.quic_workers),
            (streams, workers),
            "{lines}"
        );
        assert_eq!(bounds.https3.streams, None, "{lines}");
    };
    check("quic", None, None);
    check("quic {\n}", None, None);
    check("quic {\n max_streams 10\n}", Some(10), None);
    check(
        "quic {\n worker_pool_size 20\n max_streams 1\n}",
        Some(1),
        Some(20),
    );
}

#[test]
fn wrong_lines_are_refused() {
    for (lines, line, expect) in [
        (
            "quic 10",
            2,
            "Wrong argument count or unexpected line ending after '10'",
        ),
        (
            "quic {\n max_streams\n}",
            3,
            "Wrong argument count or unexpected line ending after 'max_streams'",
        ),
        (
            "quic {\n max_streams 1 2\n}",
            3,
            "Wrong argument count or unexpected line ending after '2'",
        ),
        (
            "quic {\n max_streams many\n}",
            3,
            "invalid max_streams value 'many': needs to be a whole number, 0 for no bound",
        ),
        (
            "quic {\n max_streams 0\n}",
            3,
            "max_streams value must be positive: 0",
        ),
        (
            "quic {\n worker_pool_size 0\n}",
            3,
            "worker_pool_size value must be positive: 0",
        ),
        (
            "quic {\n max_streams 1\n max_streams 2\n}",
            4,
            "max_streams already defined for this server block",
        ),
        (
            "quic {\n max_connections 1\n}",
            3,
            "unknown property 'max_connections'",
        ),
    ] {
        let expect = format!("Corefile:{line} - Error during parsing: {expect}");
        assert_eq!(set_up_error::<Quic>("quic", lines), expect);
    }
}
