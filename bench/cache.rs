//! The cache room: find an entry by its question and write the reply.

use std::hint::black_box;
use std::sync::Arc;

use criterion::Criterion;
use percoredns::cache::{Key, NewEntry, Patch, Pin, Store, Table};
use percoredns::wire::name::{self, NameBuf};

use crate::common::sample;

/// Hits among few entries (all in the processor's caches) and among many (each hit is a miss there).
pub fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("cache");
    for entries in [10_000, 1_000_000] {
        let store = Store::new(1, entries, 1, 0);
        let names: Vec<NameBuf> = sample::shuffled_hosts(entries);
        names.iter().for_each(|name| insert(&store, name.as_wire()));
        let pin = Pin::new();
        let mut out = [0; 1232];
        let mut turn = names.iter().cycle();
        group.bench_function(format!("hit/{entries}"), |b| {
            b.iter(|| {
                let asked = turn.next().expect("a cycle").as_wire();
                answer(&store, &pin, black_box(asked), &mut out)
            });
        });
    }
    group.finish();
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
