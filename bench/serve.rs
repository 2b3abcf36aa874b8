//! The whole in-process path: bytes of a query in, bytes of its answer out.

use std::hint::black_box;
use std::time::Instant;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion};

use crate::common::host::{BATCH, CASES};
use crate::common::sample;

/// Every way of answering from memory that this build has.
pub fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("serve");
    for case in CASES.iter().filter(|case| case.is_built()) {
        let mut host = case.open(HOSTS);
        let queries = case.queries(HOSTS);
        let mut turn = queries.iter().cycle();
        host.answer(&queries[0]);
        assert_eq!(host.last().0, case.rcode(), "{}", case.name);
        group.bench_function(case.name, |b| {
            b.iter(|| host.answer(black_box(turn.next().expect("a cycle"))))
        });
    }
    bench_many(&mut group);
    group.finish();
}

/// Names of which each hit reads memory that no CPU cache holds: one by one, and in batches as the packet thread answers them.
fn bench_many(group: &mut BenchmarkGroup<'_, WallTime>) {
    let case = CASES.iter().find(|case| case.name == "cached");
    let Some(case) = case.filter(|case| case.is_built()) else {
        return;
    };
    let mut host = case.open(MANY);
    let queries = sample::queries(MANY);
    let mut turn = queries.iter().cycle();
    group.bench_function("cached_1m_single", |b| {
        b.iter(|| host.answer(black_box(turn.next().expect("a cycle"))))
    });
    let mut turn = queries.chunks_exact(BATCH).cycle();
    group.bench_function("cached_1m", |b| {
        // The time of one answer, of as many batches as make up for the iterations asked for.
        b.iter_custom(|iterations| {
            let batches = iterations.div_ceil(BATCH as u64);
            let start = Instant::now();
            for _ in 0..batches {
                black_box(host.answer_batch(turn.next().expect("a cycle").iter()));
            }
            start
                .elapsed()
                .mul_f64(iterations as f64 / (batches * BATCH as u64) as f64)
        })
    });
}

/// As many as the figures are stated for.
const HOSTS: usize = 10_000;
const MANY: usize = 1_000_000;
