//! The cache room: find an entry by its question and write the reply.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use criterion::Criterion;
use percoredns::cache::snapshot::{self, Now};
use percoredns::cache::{Key, NewEntry, Patch, Pin, Store, Table};
use percoredns::wire::name::{self, NameBuf};

use crate::common::sample;

/// Hits among few entries (all in the processor's caches) and among many (each hit is a miss there); and what an entry of an
/// answer of 60 octets takes of the process's memory.
pub fn bench(c: &mut Criterion) {
    for entries in [100_000, 1_000_000] {
        println!(
            "cache/memory/{entries}: {} octets an entry",
            octets_an_entry(entries)
        );
    }
    snapshot(1_000_000);
    let mut group = c.benchmark_group("cache");
    for entries in [10_000, 1_000_000] {
        let (store, keys) = full(entries);
        let pin = Pin::new();
        let mut out = [0; 1232];
        let mut turn = keys.iter().map(|(_, name)| name).cycle();
        group.bench_function(format!("hit/{entries}"), |b| {
            b.iter(|| {
                let asked = turn.next().expect("a cycle").as_wire();
                answer(&store, &pin, black_box(asked), &mut out)
            });
        });
        let absent: Vec<_> = keys.iter().map(|(hash, name)| (!hash, *name)).collect();
        let mut turn = absent.iter().cycle();
        group.bench_function(format!("miss/{entries}"), |b| {
            b.iter(|| is_found(&store, &pin, black_box(turn.next().expect("a cycle"))));
        });
    }
    group.finish();
}

/// Growth of the resident memory, index and allocator included, over the entries of a full store.
fn octets_an_entry(entries: usize) -> usize {
    let name =
        |n: usize| NameBuf::from_text(&format!("hst-{n:07}.mem.example.org")).expect("a name");
    let before = resident();
    let store = Store::new(1, entries, 1, 0);
    (0..entries).for_each(|n| insert(&store, name(n).as_wire()));
    assert_eq!(store.len(Table::Success), entries);
    (resident() - before) / entries
}

/// Octets of this process in memory.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    4_096 * pages.unwrap_or(0usize)
}

/// How long a full store takes to be written, and to be read and stored again.
fn snapshot(entries: usize) {
    let now = Now {
        mono_ns: 1,
        wall_ns: 1_000_000_000,
    };
    let path = std::env::temp_dir().join(format!("percoredns-bench-{}", std::process::id()));
    let store = full(entries).0;
    let begin = Instant::now();
    let written = snapshot::write(&path, &[("digest", &store)], now, &|| true).expect("written");
    let (write, begin) = (begin.elapsed(), Instant::now());
    let opened = snapshot::open(&path, now).expect("good");
    let check = begin.elapsed();
    let back = Store::new(1, entries, 1, 0);
    let loaded = opened
        .expect("there")
        .load("digest", &back, now)
        .expect("read");
    let load = begin.elapsed();
    assert_eq!(
        (written.entries, loaded.entries),
        (entries as u64, entries as u64)
    );
    println!(
        "cache/snapshot/{entries}: {} octets, written in {write:?}, read in {load:?}, {check:?} of it to check it",
        written.octets
    );
    // Left to the system's cleaning of temporary files when it fails.
    let _ = std::fs::remove_file(&path);
}

/// A full store, and its keys with their hashes in a random order.
pub fn full(entries: usize) -> (Arc<Store>, Vec<(u64, NameBuf)>) {
    let store = Store::new(1, entries, 1, 0);
    let names = sample::shuffled_hosts(entries);
    names.iter().for_each(|name| insert(&store, name.as_wire()));
    let keys = names.into_iter();
    let keys = keys
        .map(|name| (name::hash(name.as_wire()), name))
        .collect();
    (store, keys)
}

/// Looks a name up whose hash is at hand, as it is on the way of a query; whether it is there.
#[inline]
pub fn is_found(store: &Store, pin: &Pin, (hash, name): &(u64, NameBuf)) -> bool {
    let key = Key::new(*hash, name.as_wire(), 1, 1, false, false);
    store.lookup(pin, &key).success.is_some()
}

fn answer(store: &Store, pin: &Pin, asked: &[u8], out: &mut [u8]) -> usize {
    let mut lower = NameBuf::ROOT;
    let hash = name::lower_and_hash(asked, &mut lower);
    let key = Key::new(hash, lower.as_wire(), 1, 1, false, false);
    let entry = store.lookup(pin, &key).success.expect("it was stored");
    entry.mark_visited();
    let patch = Patch {
        id: 7,
        flags: entry.flags(),
        ttl_s: 299,
        qname: asked,
    };
    entry.write_reply(out, &patch).expect("it fits")
}

fn insert(store: &Arc<Store>, name: &[u8]) {
    let mut wire = b"\0\0\x81\x80\0\x01\0\x01\0\0\0\0".to_vec();
    wire.extend_from_slice(name);
    wire.extend_from_slice(b"\0\x01\0\x01\xc0\x0c\0\x01\0\x01");
    let ttl_offset = wire.len() as u16;
    wire.extend_from_slice(b"\0\0\x01\x2c\0\x04\x0a\0\0\x01");
    let new = NewEntry {
        wire: &wire,
        ttl_offsets: &[ttl_offset],
        ttl_s: 300,
        uncompressed_len: wire.len() as u16,
        wildcard: b"",
        hits: 0,
    };
    let key = Key::new(name::hash(name), name, 1, 1, false, false);
    let writer = store.writer(0).expect("there is a core 0");
    writer
        .insert(Table::Success, &key, &new, 0)
        .expect("there is room");
}
