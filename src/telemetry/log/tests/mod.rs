//! Line shape, order, loss and flushing of the log.

mod lanes;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::lane::{Lane, LaneEnd};
use super::page::Page;
use super::query::NAME_ROOM;
use super::ring::Ring;
use super::*;
use crate::limits;
use crate::telemetry::metrics::{Registry, SharedCounter};
use crate::wire::rcode::Rcode;
use crate::wire::{flag, types};

fn line(level: &str, plugin: Option<&str>, message: &str) -> String {
    let mut text = String::new();
    ring::write_line(&mut text, level, plugin, format_args!("{message}"));
    text
}

fn writer_into_vec() -> (&'static Writer, Arc<Mutex<Vec<u8>>>) {
    let written = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&written);
    let writer = Writer::start(move |octets| {
        into.lock().unwrap().extend_from_slice(octets);
        true
    });
    (writer, written)
}

fn text(written: &Mutex<Vec<u8>>) -> String {
    String::from_utf8(written.lock().unwrap().clone()).unwrap()
}

#[test]
fn lines_have_the_shape_that_tools_parse() {
    let lines = capture::lines(|| {
        info(None, format_args!("Reloading"));
        info(
            Some("health"),
            format_args!("Going into lameduck mode for {}", "5s"),
        );
        warning(Some("ready"), format_args!("w"));
        error(None, format_args!("e"));
        fatal(Some("loop"), format_args!("f"));
        plain(format_args!(".:53"));
    });
    let expect = [
        "[INFO] Reloading",
        "[INFO] plugin/health: Going into lameduck mode for 5s",
        "[WARNING] plugin/ready: w",
        "[ERROR] e",
        "[FATAL] plugin/loop: f",
        ".:53",
    ];
    assert_eq!(lines, expect);
}

#[test]
fn debug_lines_need_the_switch() {
    let lines = capture::lines(|| {
        debug(None, format_args!("off"));
        set_debug(true);
        assert!(debug_enabled());
        debug(Some("x"), format_args!("on"));
        set_debug(false);
    });
    assert_eq!(lines, ["[DEBUG] plugin/x: on"]);
}

#[test]
fn a_line_stays_one_line() {
    assert_eq!(
        line("[INFO] ", None, "a\nb\r\u{1b}[31m\tc"),
        "[INFO] a\\nb\\r\\x1b[31m\tc\n"
    );
    assert_eq!(line("", None, ""), "\n");
}

#[test]
fn a_long_line_is_cut_at_a_character() {
    let long = "é".repeat(limits::LOG_LINE_OCTETS);
    let text = line("[INFO] ", None, &long);
    assert!(text.len() <= limits::LOG_LINE_OCTETS && text.len() >= limits::LOG_LINE_OCTETS - 2);
    assert!(text.ends_with("é\n"));
    let pieces = line(
        "",
        None,
        &format!("{}\n{}", "a".repeat(limits::LOG_LINE_OCTETS), "b"),
    );
    assert!(!pieces.contains('b') && pieces.ends_with("a\n"));
}

#[test]
fn a_full_ring_drops_and_counts_and_recovers() {
    let dropped = dropped_of_a_test();
    let ring = Ring::new(4, dropped.clone());
    let pushed = (0..10)
        .filter(|i| ring.push("", None, format_args!("{i}")))
        .count();
    assert_eq!((pushed, dropped.value()), (4, 6));
    let mut batch = Vec::new();
    assert_eq!(ring.drain(&mut batch, 100, 100), 4);
    assert_eq!(batch, b"0\n1\n2\n3\n");
    for round in 0..3 {
        assert!(
            ring.push("", None, format_args!("{}", "x".repeat(round * 1000))),
            "buffers come back"
        );
        assert_eq!(ring.drain(&mut batch, 100, usize::MAX), 1);
    }
    let pushed = (0..10)
        .filter(|i| ring.push("", None, format_args!("{i}")))
        .count();
    assert_eq!(pushed, 4, "no buffer was lost or gained");
}

#[test]
fn a_drain_stops_at_its_bounds() {
    let ring = Ring::new(8, dropped_of_a_test());
    (0..8).for_each(|i| assert!(ring.push("", None, format_args!("{i}"))));
    let mut batch = Vec::new();
    assert_eq!(ring.drain(&mut batch, 3, 100), 3);
    assert_eq!(ring.drain(&mut batch, 100, 7), 1);
    assert_eq!(ring.len(), 4);
    assert_eq!(ring.drain(&mut batch, 100, 100), 4);
    assert_eq!(ring.len(), 0);
}

#[test]
fn flush_waits_for_all_threads_in_their_order() {
    let (writer, written) = writer_into_vec();
    thread::scope(|scope| {
        for id in 0..4 {
            scope.spawn(move || {
                let lane = writer.add_lane();
                for n in 0..200 {
                    writer.queue(Some(&lane), "", None, format_args!("{id} {n}"));
                }
            });
        }
    });
    writer.queue(None, "", None, format_args!("shared"));
    assert!(writer.flush());
    let text = text(&written);
    assert_eq!(text.lines().count(), 801);
    for id in 0..4 {
        let prefix = format!("{id} ");
        let of_thread: Vec<usize> = text
            .lines()
            .filter_map(|line| line.strip_prefix(&prefix))
            .map(|n| n.parse().unwrap())
            .collect();
        assert_eq!(of_thread, (0..200).collect::<Vec<_>>());
    }
}

#[test]
fn a_line_is_written_without_a_flush() {
    let (wrote, lines): (Sender<Vec<u8>>, Receiver<Vec<u8>>) = mpsc::channel();
    let writer = Writer::start(move |octets| wrote.send(octets.to_vec()).is_ok());
    for n in 0..20 {
        writer.queue(None, "", None, format_args!("{n}"));
        let got = lines
            .recv_timeout(Duration::from_secs(5))
            .expect("the writer sleeps through a line");
        assert_eq!(got, format!("{n}\n").into_bytes());
        // Long enough for the writer to fall asleep in some of the rounds.
        thread::sleep(Duration::from_millis(n % 5));
    }
}

#[test]
fn a_stuck_output_never_blocks_the_one_who_logs() {
    let (release, gate) = mpsc::channel::<()>();
    let writer = Writer::start(move |_| gate.recv().is_ok());
    let before = dropped_lines();
    // One ring of lines may be in the writer's hands, one may wait; the third has no room.
    for n in 0..limits::LOG_RING_LINES * 3 {
        writer.queue(None, "", None, format_args!("{n}"));
    }
    assert!(dropped_lines() - before >= limits::LOG_RING_LINES as f64);
    drop(release);
}

#[test]
fn lines_for_a_closed_output_are_counted() {
    let writer = Writer::start(|_| false);
    let before = dropped_lines();
    writer.queue(None, "", None, format_args!("lost"));
    assert!(writer.flush());
    assert!(dropped_lines() - before >= 1.0);
}

#[test]
fn a_finished_lane_is_written_and_forgotten() {
    let (writer, written) = writer_into_vec();
    let lane = writer.add_lane();
    let weak = lane.weak();
    writer.queue(Some(&lane), "", None, format_args!("last"));
    drop(lane);
    let gone = (0..500).any(|_| {
        writer.flush();
        thread::sleep(Duration::from_millis(2));
        weak.upgrade().is_none()
    });
    assert!(gone);
    assert_eq!(text(&written), "last\n");
}

#[test]
fn an_own_lane_ends_with_its_thread() {
    thread::spawn(|| {
        own_lane();
        own_lane();
        plain(format_args!("from a thread with a lane of its own"));
        query(&SAMPLE);
    })
    .join()
    .unwrap();
    assert!(flush());
}

fn dropped_lines() -> f64 {
    crate::telemetry::registry()
        .value("percoredns_log_dropped_total", &[])
        .unwrap_or(0.0)
}

fn dropped_of_a_test() -> SharedCounter {
    Registry::new().shared_counter("d_total", "D.", &[])
}

const SAMPLE: QueryLine = QueryLine {
    peer: SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10)), 40212),
    id: 29_008,
    qtype: types::A,
    name: b"\x07example\x03org\0",
    is_tcp: false,
    query_octets: 29,
    dnssec_ok: false,
    size_limit: 512,
    rcode: Rcode::NOERROR,
    reply_flags: flag::QR | flag::AA | flag::RD,
    reply_octets: 56,
    spent_ns: 37_000,
    opcode: None,
};
