//! Tests of *reload*.

use std::time::Duration;

use super::*;
use crate::control::Control;
use crate::plugin::Started;
use crate::telemetry::log::capture;
use crate::telemetry::registry;
use crate::testing::Host;
use crate::testing::directive::{set_up, set_up_error};

#[test]
fn interval_and_jitter_are_for_the_supervisor() {
    let seconds = |a: f64, b: f64| Some((Duration::from_secs_f64(a), Duration::from_secs_f64(b)));
    for (lines, expect) in [
        ("reload", seconds(30.0, 15.0)),
        ("reload 10s", seconds(10.0, 5.0)),
        ("reload 2s 1s", seconds(2.0, 1.0)),
        ("reload 1m 10s", seconds(60.0, 10.0)),
        ("reload 1m 2m", seconds(60.0, 30.0)),
        ("reload 5s 0s", seconds(5.0, 0.0)),
        ("reload 10s\nreload 20s", seconds(10.0, 5.0)), // as CoreDNS, which reads the first only
    ] {
        let life = set_up::<Reload>("reload", lines).unwrap().life;
        assert_eq!(life.reload, expect, "{lines}");
    }
}

#[test]
fn the_running_configuration_is_named() {
    let text = ".:53 {\n reload\n whoami\n}\nx:53 {\n reload 10s\n whoami\n}\n";
    let mut host = Host::new(text).unwrap_or_else(|error| panic!("{error}"));
    let control = Control::start().unwrap();
    let started = Started {
        control,
        listeners: Vec::new(),
        reloaded: false,
    };
    let hooks: Vec<_> = host.life.on_start.drain(..).collect();
    let lines = capture::lines(|| hooks.into_iter().for_each(|hook| hook(&started)));
    let [line] = &lines[..] else {
        panic!("{lines:?}")
    };
    let digest = line
        .strip_prefix("[INFO] plugin/reload: Running configuration SHA512 = ")
        .unwrap_or_else(|| panic!("{line}"));
    assert_eq!(digest.len(), 128, "{digest}");
    let labels = [("hash", "sha512"), ("value", digest)];
    let value = || registry().value("coredns_reload_version_info", &labels);
    assert_eq!(value(), Some(1.0));
    host.life.on_stop.drain(..).for_each(|stop| stop());
    assert_eq!(value(), None);
}

#[test]
fn wrong_lines_are_refused() {
    for (lines, expect) in [
        (
            "reload 10s 5s 1s",
            "Corefile:2 - Error during parsing: Wrong argument count or unexpected line ending after '1s'",
        ),
        ("reload 10", "time: missing unit in duration \"10\""),
        ("reload 10s x", "time: invalid duration \"x\""),
        ("reload 1s", "interval value must be greater or equal to 2s"),
        (
            "reload 10s 999ms",
            "jitter value must be greater or equal to 1s",
        ),
        (
            "reload 10s -5s",
            "jitter value must be greater or equal to 1s",
        ),
    ] {
        assert_eq!(set_up_error::<Reload>("reload", lines), expect);
    }
}
