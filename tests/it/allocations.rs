//! Answers from memory allocate nothing: counted around the one function that every transport calls.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;

use percoredns::corefile::RealSource;
use percoredns::plugin::{Carry, Proto, Role};
use percoredns::runtime::clock;
use percoredns::server::config::{self, Surroundings};
use percoredns::server::running::Running;
use percoredns::server::serve::{self, Arrival, Desk, Served};

use crate::client;
use crate::server::Folder;

/// The system's allocator with a counter for each thread.
pub struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // A thread that is ending has no counter any more, and no test either.
    let _ = COUNT.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(at, layout, size) }
    }
}

/// Allocations of this thread while `work` runs.
fn allocations(work: impl FnOnce()) -> u64 {
    let before = COUNT.get();
    work();
    COUNT.get() - before
}

#[track_caller]
fn check(corefile: &str, queries: &[(&str, &str)]) {
    let around = Surroundings {
        source: &RealSource,
        cores: 1,
        default_port: 53,
        carry: &Carry::default(),
        generation: 1,
    };
    let built =
        config::build("Corefile", corefile, &around).unwrap_or_else(|error| panic!("{error}"));
    let running = Running::open(Arc::new(built.config), 0, 1, Role::Packet);
    let queries: Vec<(Vec<u8>, &str)> = queries
        .iter()
        .map(|(query, want)| (client::query(7, query), *want))
        .collect();
    let (mut desk, mut out) = (Desk::default(), vec![0; 65_535]);
    let mut ask = |query: &[u8]| {
        let arrival = Arrival {
            peer: SocketAddr::from(([127, 0, 0, 1], 40_000)),
            local: SocketAddr::from(([127, 0, 0, 1], 53)),
            proto: Proto::Udp,
            listener: 0,
            now_ns: clock::now_ns(),
        };
        match serve::message(&running, &mut desk, query, &arrival, &mut out) {
            Served::Reply(len) => (len, out[3] & 0x0f),
            _ => (0, 0xff),
        }
    };
    // Twice: buffers grow on the first round and are found large enough on the second.
    for round in 0..3 {
        for (query, want) in &queries {
            let (len, _) = ask(query);
            assert!(
                len > 12,
                "{want}: not answered from memory in round {round}"
            );
        }
    }
    for (query, want) in &queries {
        let mut seen = (0, 0);
        let made = allocations(|| {
            for _ in 0..100 {
                seen = ask(query);
            }
        });
        let reply = client::decode(&out_of(&running, query));
        assert_eq!(&reply.rcode, want);
        assert_eq!(made, 0, "{reply:?} took {made} allocations in 100 answers");
    }
}

fn out_of(running: &Running, query: &[u8]) -> Vec<u8> {
    let (mut desk, mut out) = (Desk::default(), vec![0; 65_535]);
    let arrival = Arrival {
        peer: SocketAddr::from(([127, 0, 0, 1], 40_000)),
        local: SocketAddr::from(([127, 0, 0, 1], 53)),
        proto: Proto::Udp,
        listener: 0,
        now_ns: clock::now_ns(),
    };
    match serve::message(running, &mut desk, query, &arrival, &mut out) {
        Served::Reply(len) => {
            out.truncate(len);
            out
        }
        _ => panic!("no reply"),
    }
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| {}), 0);
    assert!(allocations(|| drop(Box::new([0u8; 100]))) > 0);
}

#[test]
fn whoami_allocates_nothing() {
    check(
        ". {\n  whoami\n}\n",
        &[
            ("example.org A", "NOERROR"),
            ("WWW.Example.ORG AAAA bufsize=1232", "NOERROR"),
        ],
    );
}

#[test]
fn what_no_block_takes_allocates_nothing() {
    check(
        "example.org {\n  whoami\n}\n",
        &[("example.net A", "REFUSED")],
    );
}

#[test]
fn a_zone_allocates_nothing() {
    let folder = Folder::new();
    let zone = include_str!("../data/example/db.example.org");
    let path = folder.write("db", zone);
    check(
        &format!("example.org {{\n  file {}\n}}\n", path.display()),
        &[
            ("www.example.org A", "NOERROR"),
            ("WWW.eXample.org A bufsize=1232", "NOERROR"),
            ("example.org MX", "NOERROR"),
            ("missing.example.org A", "NXDOMAIN"),
            ("www.example.org TXT", "NOERROR"),
        ],
    );
}
