//! Whole configurations without sockets.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::testing::files::Dir;
use crate::testing::{Host, Seen};

/// Fails instead of waiting for ever.
fn ask_in_time(corefile: String, queries: &'static [&'static str]) -> Vec<Seen> {
    let (done, outcome) = mpsc::channel();
    thread::spawn(move || {
        let host = Host::new(&corefile).unwrap();
        // A failed test may be gone.
        let _ = done.send(host.ask_all(queries));
    });
    outcome
        .recv_timeout(Duration::from_secs(20))
        .expect("the queries wait for each other")
}

#[test]
fn chains_that_circle_between_two_cached_zones_end() {
    let dir = Dir::new();
    let soa = "@ 60 IN SOA ns h 1 60 60 60 60\n@ 60 IN NS ns\nns 60 IN A 192.0.2.1\n";
    let one = dir.write("one", &format!("{soa}x 60 IN CNAME y.two.test.\n"));
    let two = dir.write("two", &format!("{soa}y 60 IN CNAME x.one.test.\n"));
    let corefile =
        format!("one.test {{\n cache\n file {one}\n}}\ntwo.test {{\n cache\n file {two}\n}}\n");
    let seen = ask_in_time(corefile, &["x.one.test A", "y.two.test A"]);
    for seen in seen {
        assert!(!seen.rcode.is_empty());
        assert!(!seen.answer.is_empty(), "{seen:?}");
    }
}
