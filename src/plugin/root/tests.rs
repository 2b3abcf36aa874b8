//! Tests of *root*.

use std::path::Path;

use super::*;
use crate::telemetry::log::capture;
use crate::testing::directive::{set_up, set_up_error};
use crate::testing::files::Dir;

#[test]
fn relative_paths_are_below_it() {
    let dir = Dir::new();
    let path = dir.path().to_string_lossy().into_owned();
    let lines = capture::lines(|| {
        let settings = set_up::<Root>("root", &format!("root /\nroot {path}"))
            .unwrap()
            .settings;
        assert_eq!(settings.root, dir.path());
        assert_eq!(settings.path("db.x"), dir.path().join("db.x"));
        assert_eq!(settings.path("/etc/db.x"), Path::new("/etc/db.x"));
    });
    assert_eq!(lines, Vec::<String>::new());
}

#[test]
fn a_missing_directory_is_a_warning() {
    let lines = capture::lines(|| {
        set_up::<Root>("root", "root /nonexistent/zones").unwrap();
    });
    assert_eq!(
        lines,
        ["[WARNING] plugin/root: Root path does not exist: /nonexistent/zones"]
    );
}

#[test]
fn wrong_lines_are_refused() {
    let dir = Dir::new();
    let file = dir.write("file", "");
    for (lines, expect) in [
        (
            "root".to_owned(),
            "Wrong argument count or unexpected line ending after 'root'".to_owned(),
        ),
        (
            "root a b".to_owned(),
            "Wrong argument count or unexpected line ending after 'b'".to_owned(),
        ),
        (
            format!("root {file}/below"),
            format!(
                "unable to access root path '{file}/below': stat {file}/below: not a directory"
            ),
        ),
    ] {
        let expect = format!("Corefile:2 - Error during parsing: {expect}");
        assert_eq!(set_up_error::<Root>("root", &lines), expect);
    }
}
