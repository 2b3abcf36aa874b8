//! The zone room: look names up, load a zone file.

use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::thread;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use percoredns::wire::name::{NameBuf, hash};
use percoredns::zone::{self, Kind, Section, Sink, Zone};

use crate::common::sample;

/// Lookups that hit and that miss, replies straight to the wire, and loading.
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
    for (case, name) in [("host", hosts[0]), ("nxdomain", missing)] {
        let question = [name.as_wire(), &[0, 1, 0, 1]].concat();
        let (name, hash) = (name.as_wire(), hash(name.as_wire()));
        let mut out = [0; 1232];
        group.bench_function(format!("direct/{case}"), |b| {
            b.iter(|| {
                let question = black_box(&question);
                zone.write_reply(black_box(name), hash, 1, false, question, &mut out)
                    .expect("an answer that needs nothing more")
            });
        });
    }
    group.sample_size(10);
    group.throughput(Throughput::Elements(HOSTS as u64));
    group.bench_function("load", |b| b.iter(|| load(black_box(&text)).record_count()));
    group.throughput(Throughput::Elements(LARGE as u64));
    load_large(&mut group);
    group.finish();
}

/// A file of a million names, on one thread and on all CPUs.
fn load_large(group: &mut BenchmarkGroup<'_, WallTime>) {
    let path = std::env::temp_dir().join(format!("percoredns-bench-{}.db", std::process::id()));
    fs::write(&path, sample::zone_text(LARGE)).expect("a zone file");
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    let mut octets = 0;
    for threads in [1, cpus] {
        group.bench_function(format!("load/1M/{threads}"), |b| {
            b.iter(|| octets = load_file(&path, threads).memory_octets());
        });
    }
    if octets > 0 {
        println!(
            "zone of {LARGE} records: {} octets a record",
            octets / LARGE
        );
    }
    // Left to the system's cleaning of temporary files when it fails.
    let _ = fs::remove_file(&path);
}

fn load_file(path: &Path, threads: usize) -> Zone {
    let origin = NameBuf::from_text("example.org").expect("a valid name");
    zone::load_file(path, origin.as_wire(), None, threads)
        .expect("a valid zone")
        .zone
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
const LARGE: usize = 1_000_000;
