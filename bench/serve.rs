//! The whole in-process path: bytes of a query in, bytes of its answer out.

use std::hint::black_box;

use criterion::Criterion;

use crate::common::host::CASES;
use crate::common::sample;

/// Every way of answering from memory that this build has.
pub fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("serve");
    for case in CASES.iter().filter(|case| case.is_built()) {
        let mut host = case.open(HOSTS);
        let queries = sample::queries(HOSTS);
        let mut turn = queries.iter().cycle();
        host.answer(&queries[0]);
        assert_eq!(host.last().0, 0, "{}: NOERROR", case.name);
        group.bench_function(case.name, |b| {
            b.iter(|| host.answer(black_box(turn.next().expect("a cycle"))))
        });
    }
    group.finish();
}

/// As many as the figures are stated for.
const HOSTS: usize = 10_000;
