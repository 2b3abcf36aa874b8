//! Tests of *loop*.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::*;
use crate::control::Control;
use crate::plugin::Started;
use crate::telemetry::log::capture;
use crate::testing::directive::{Directive, query, set_up, set_up_error, set_up_in};
use crate::upstream::fake::{Fake, failing};

static ENDS: AtomicUsize = AtomicUsize::new(0);

/// The block's plugin, which counts in `ENDS` instead of ending the process.
fn open(directive: &Directive<Loop>) -> Loop {
    let plugin = directive.open(&["loop"]);
    let config = &plugin.config;
    Loop {
        config: Arc::new(Config {
            zone: config.zone.clone(),
            watch: config.watch.clone(),
            servers: config.servers.clone(),
            end: || {
                ENDS.fetch_add(1, Ordering::Relaxed);
            },
        }),
    }
}

#[test]
fn arguments() {
    assert!(set_up::<Loop>("loop", "loop").is_ok());
    let check = |lines: &str, want: &str| {
        let error = set_up_error::<Loop>("loop", lines);
        assert!(error.contains(want), "{lines}: {error}");
    };
    check("loop x", "Wrong argument count");
    check(
        "loop\nloop",
        "this plugin can only be used once per Server Block",
    );
}

#[test]
fn the_probe_cannot_be_guessed() {
    let names: std::collections::BTreeSet<String> = (0..100)
        .map(|_| {
            let directive = set_up_in::<Loop>("example.org", "loop", "loop").unwrap();
            directive.config.watch.name().to_string()
        })
        .collect();
    assert_eq!(names.len(), 100);
    for name in names {
        let labels: Vec<&str> = name.splitn(3, '.').collect();
        assert_eq!(labels[2], "example.org.");
        assert!(labels[..2].iter().all(|label| label.parse::<u64>().is_ok()));
    }
}

#[test]
fn only_the_third_sight_of_the_probe_ends_the_process() {
    let plugin = open(&set_up::<Loop>("loop", "loop").unwrap());
    let probe = plugin.config.watch.name().to_string();
    let ask = |name: &str, qtype: u16| plugin.on_query(&mut query(name, qtype));
    for _ in 0..10 {
        assert_eq!(ask("1.2.", types::HINFO), Flow::Next);
        assert_eq!(ask(&probe, types::A), Flow::Next);
        assert_eq!(ask(&format!("x.{probe}"), types::HINFO), Flow::Next);
    }
    assert_eq!(ask(&probe, types::HINFO), Flow::Next);
    assert_eq!(ask(&probe, types::HINFO), Flow::Next);
    let before = ENDS.load(Ordering::Relaxed);
    let lines = capture::lines(|| assert_eq!(ask(&probe, types::HINFO), Flow::Drop));
    let expect = format!(
        "[FATAL] plugin/loop: Loop (10.240.0.1:40212 -> 127.0.0.1:53) detected for zone \".\", see https://coredns.io/plugins/loop#troubleshooting. Query: \"HINFO {probe}\""
    );
    assert_eq!(lines, [expect]);
    assert_eq!(ENDS.load(Ordering::Relaxed), before + 1);
    plugin.config.watch.stop();
    assert_eq!(ask(&probe, types::HINFO), Flow::Next);
}

#[test]
fn the_probe_goes_to_the_blocks_own_listener_until_it_is_answered() {
    let own = Fake::udp(|nth, query: &[u8]| match nth {
        0 => Vec::new(),
        _ => failing(2)(nth, query),
    });
    let other = Fake::udp(failing(2));
    let mut directive = set_up::<Loop>("loop", "loop").unwrap();
    let plugin = directive.open(&["loop"]);
    let started = Started {
        control: Control::start().unwrap(),
        listeners: vec![
            ("dns://:54".into(), other.addr),
            ("dns://:53".into(), own.addr),
        ],
        reloaded: false,
    };
    directive
        .life
        .on_start
        .drain(..)
        .for_each(|hook| hook(&started));
    let start = Instant::now();
    while plugin.config.watch.is_on() {
        assert!(start.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(start.elapsed() > Duration::from_secs(2));
    assert_eq!((own.seen(), other.seen()), (2, 0));
}

#[test]
fn a_replaced_configuration_stops_its_probe() {
    let mut directive = set_up::<Loop>("loop", "loop").unwrap();
    let plugin = directive.open(&["loop"]);
    directive.life.on_stop.drain(..).for_each(|hook| hook());
    assert!(!plugin.config.watch.is_on());
}
