//! Tests of *grpc_server*.

use super::*;
use crate::testing::directive::{set_up, set_up_error};

#[test]
fn bounds_are_settings_of_the_block() {
    let check = |lines: &str, expect: [Option<usize>; 2]| {
        let bounds = set_up::<GrpcServer>("grpc_server", lines).unwrap();
        let bounds = bounds.settings.bounds.grpc;
        assert_eq!([bounds.streams, bounds.connections], expect, "{lines}");
    };
    check("grpc_server", [None, None]);
    check("grpc_server {\n max_streams 0\n}", [Some(0), None]);
    check(
        "grpc_server {\n max_connections 7\n max_streams 9\n}",
        [Some(9), Some(7)],
    );
}

#[test]
fn wrong_lines_are_refused() {
    for (lines, line, expect) in [
        (
            "grpc_server x",
            2,
            "Wrong argument count or unexpected line ending after 'x'",
        ),
        (
            "grpc_server {\n max_streams\n}",
            3,
            "Wrong argument count or unexpected line ending after 'max_streams'",
        ),
        (
            "grpc_server {\n max_streams 1.5\n}",
            3,
            "invalid max_streams value '1.5': needs to be a whole number, 0 for no bound",
        ),
        (
            "grpc_server {\n max_streams 1\n}\ngrpc_server {\n max_streams 2\n}",
            6,
            "max_streams already defined for this server block",
        ),
        (
            "grpc_server {\n worker_pool_size 1\n}",
            3,
            "unknown property 'worker_pool_size'",
        ),
    ] {
        let expect = format!("Corefile:{line} - Error during parsing: {expect}");
        assert_eq!(set_up_error::<GrpcServer>("grpc_server", lines), expect);
    }
}
