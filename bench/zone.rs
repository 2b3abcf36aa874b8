//! The zone room: look names up, load a zone file.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use percoredns::wire::name::NameBuf;
use percoredns::zone::{self, Kind, Section, Sink, Zone};

use crate::common::sample;

/// Lookups that hit and that miss, and loading.
pub fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("zone");
    let text = sample::zone_text(HOSTS);
    let zone = load(&text);
    let hosts = sample::shuffled_hosts(HOSTS);
    let mut turn = hosts.iter().cycle();
    group.bench_function("lookup/host", |b| {
        b.iter(|| {
            let name = turn.next().expect("a cycle").as_wire();
            lookup(&zone, black_box(name), Kind::Success)
        });
    });
    let missing = NameBuf::from_text("nosuch.host.example.org").expect("a valid name");
    group.bench_function("lookup/nxdomain", |b| {
        b.iter(|| lookup(&zone, black_box(missing.as_wire()), Kind::NameError));
    });
    group.sample_size(10);
    group.throughput(Throughput::Elements(HOSTS as u64));
    group.bench_function("load", |b| b.iter(|| load(black_box(&text)).record_count()));
    group.finish();
}

fn lookup(zone: &Zone, name: &[u8], expect: Kind) -> usize {
    let mut count = Count(0);
    let outcome = zone.lookup(name, 1, false, &mut count);
    assert_eq!(outcome.kind, expect);
    count.0
}

fn load(text: &str) -> Zone {
    let origin = NameBuf::from_text("example.org").expect("a valid name");
    zone::load_text(text.as_bytes(), "bench", origin.as_wire())
        .expect("a valid zone")
        .zone
}

/// Counts what a real sink would copy, without the copying.
struct Count(usize);

impl Sink for Count {
    fn push(&mut self, _: Section, _: &[u8], _: u16, _: u16, _: u32, rdata: &[u8]) {
        self.0 += rdata.len();
    }
}

const HOSTS: usize = 100_000;
