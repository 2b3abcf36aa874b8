//! The cells that threads write and the sources that a scrape reads.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Kind, Labels, Registration, Registry, Series, sorted};

// === counters ===

/// One thread's cell of a counter series. It can move to another thread but not be shared.
pub struct Counter {
    cell: Arc<Line>,
    _registration: Registration,
    _one_writer: OneWriter,
}

impl Counter {
    pub(super) fn register(
        registry: &Registry,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
    ) -> Counter {
        let (cell, source) = count_source(labels);
        Counter {
            cell,
            _registration: registry.register(name, help, Kind::Counter, source),
            _one_writer: PhantomData,
        }
    }

    /// Adds one.
    #[inline]
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `n`, modulo 2^64.
    #[inline]
    pub fn add(&self, n: u64) {
        raise(&self.cell.0, n);
    }

    /// What this cell alone has counted.
    pub fn value(&self) -> u64 {
        self.cell.0.load(Ordering::Relaxed)
    }
}

/// A counter that any thread may raise; each add is a locked instruction, so it is for rare events.
#[derive(Clone)]
pub struct SharedCounter {
    cell: Arc<Line>,
    _registration: Arc<Registration>,
}

impl SharedCounter {
    pub(super) fn register(
        registry: &Registry,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
    ) -> SharedCounter {
        let (cell, source) = count_source(labels);
        SharedCounter {
            cell,
            _registration: Arc::new(registry.register(name, help, Kind::Counter, source)),
        }
    }

    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `n`, modulo 2^64.
    pub fn add(&self, n: u64) {
        self.cell.0.fetch_add(n, Ordering::Relaxed);
    }

    /// What this counter and its clones have counted.
    pub fn value(&self) -> u64 {
        self.cell.0.load(Ordering::Relaxed)
    }
}

/// One thread's counters of a family over the product of some label values, in row-major order of the
/// dimensions it was made with.
pub struct CounterTable {
    cells: Arc<[AtomicU64]>,
    strides: Box<[usize]>,
    _registration: Registration,
    _one_writer: OneWriter,
}

impl CounterTable {
    pub(super) fn register(
        registry: &Registry,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
        dims: &[(&str, &[&str])],
    ) -> CounterTable {
        let len = dims.iter().map(|(_, values)| values.len()).product();
        let cells: Arc<[AtomicU64]> = (0..len).map(|_| AtomicU64::new(0)).collect();
        let mut strides: Box<[usize]> = vec![1; dims.len()].into();
        for i in (1..dims.len()).rev() {
            strides[i - 1] = strides[i] * dims[i].1.len();
        }
        let source = TableSource {
            labels: sorted(labels),
            dims: dims
                .iter()
                .map(|&(label, values)| {
                    (
                        label.to_owned(),
                        values.iter().map(|&v| v.to_owned()).collect(),
                    )
                })
                .collect(),
            cells: Arc::clone(&cells),
        };
        CounterTable {
            cells,
            strides,
            _registration: registry.register(name, help, Kind::Counter, Arc::new(source)),
            _one_writer: PhantomData,
        }
    }

    /// The position of a combination, one index for each dimension.
    #[inline]
    pub fn at(&self, indexes: &[usize]) -> usize {
        self.strides
            .iter()
            .zip(indexes)
            .map(|(stride, index)| stride * index)
            .sum()
    }

    /// Adds one at a position of [`CounterTable::at`]; a position outside the table counts nothing.
    #[inline]
    pub fn inc(&self, at: usize) {
        if let Some(cell) = self.cells.get(at) {
            raise(cell, 1);
        }
    }

    /// Adds one to a combination, one index for each dimension.
    #[inline]
    pub fn inc_at(&self, indexes: &[usize]) {
        self.inc(self.at(indexes));
    }
}

// === gauges ===

/// One thread's cell of a gauge series.
pub struct Gauge {
    cell: Arc<Line>,
    _registration: Registration,
    _one_writer: OneWriter,
}

impl Gauge {
    pub(super) fn register(
        registry: &Registry,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
    ) -> Gauge {
        let cell = Arc::new(Line::default());
        let source = GaugeSource {
            labels: sorted(labels),
            value: {
                let cell = Arc::clone(&cell);
                move || f64::from_bits(cell.0.load(Ordering::Relaxed))
            },
        };
        Gauge {
            cell,
            _registration: registry.register(name, help, Kind::Gauge, Arc::new(source)),
            _one_writer: PhantomData,
        }
    }

    /// Replaces the value.
    #[inline]
    pub fn set(&self, value: f64) {
        self.cell.0.store(value.to_bits(), Ordering::Relaxed);
    }

    /// Adds to the value, which may be negative.
    #[inline]
    pub fn add(&self, change: f64) {
        self.set(f64::from_bits(self.cell.0.load(Ordering::Relaxed)) + change);
    }
}

/// Keeps a gauge function or a flag registered.
pub struct GaugeGuard {
    registration: Registration,
}

impl GaugeGuard {
    pub(super) fn register(
        registry: &Registry,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
        value: impl Fn() -> f64 + Send + Sync + 'static,
    ) -> GaugeGuard {
        let source = GaugeSource {
            labels: sorted(labels),
            value,
        };
        GaugeGuard {
            registration: registry.register(name, help, Kind::Gauge, Arc::new(source)),
        }
    }

    pub(super) fn register_flag(
        registry: &Registry,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
    ) -> GaugeGuard {
        let source = FlagSource {
            labels: sorted(labels),
        };
        GaugeGuard {
            registration: registry.register(name, help, Kind::Gauge, Arc::new(source)),
        }
    }

    /// Leaves it in the registry for as long as the process lives.
    pub fn keep(self) {
        std::mem::forget(self.registration);
    }
}

// === histograms ===

/// One thread's cell of a histogram of durations.
pub struct Histogram(Cells);

impl Histogram {
    pub(super) fn register(
        registry: &Registry,
        name: &str,
        help: &str,
        buckets: &'static [f64],
        labels: &[(&str, &str)],
    ) -> Histogram {
        Histogram(Cells::register(registry, name, help, buckets, labels, 1e9))
    }

    /// Counts a duration in nanoseconds.
    #[inline]
    pub fn observe_ns(&self, ns: u64) {
        self.0.observe(ns);
    }

    /// Counts a duration in seconds; a negative one counts as zero.
    pub fn observe(&self, seconds: f64) {
        self.0.observe((seconds * 1e9).round() as u64);
    }
}

/// One thread's cell of a histogram of whole numbers.
pub struct SizeHistogram(Cells);

impl SizeHistogram {
    pub(super) fn register(
        registry: &Registry,
        name: &str,
        help: &str,
        buckets: &'static [f64],
        labels: &[(&str, &str)],
    ) -> SizeHistogram {
        SizeHistogram(Cells::register(registry, name, help, buckets, labels, 1.0))
    }

    /// Counts one value.
    #[inline]
    pub fn observe(&self, size: u64) {
        self.0.observe(size);
    }
}

struct Cells {
    shared: Arc<HistogramSource>,
    _registration: Registration,
    _one_writer: OneWriter,
}

impl Cells {
    fn register(
        registry: &Registry,
        name: &str,
        help: &str,
        buckets: &'static [f64],
        labels: &[(&str, &str)],
        units_per_one: f64,
    ) -> Cells {
        let shared = Arc::new(HistogramSource {
            sum: AtomicU64::new(0),
            counts: (0..=buckets.len()).map(|_| AtomicU64::new(0)).collect(),
            bounds_units: buckets
                .iter()
                .map(|bound| (bound * units_per_one).round() as u64)
                .collect(),
            bounds: buckets,
            units_per_one,
            labels: sorted(labels),
        });
        Cells {
            _registration: registry.register(
                name,
                help,
                Kind::Histogram,
                Arc::clone(&shared) as Arc<dyn Source>,
            ),
            shared,
            _one_writer: PhantomData,
        }
    }

    #[inline]
    fn observe(&self, units: u64) {
        // One after the other: nearly all values lie in the first few buckets.
        let bounds = self.shared.bounds_units.iter();
        let bucket = bounds.take_while(|bound| **bound < units).count();
        if let Some(count) = self.shared.counts.get(bucket) {
            raise(count, 1);
        }
        raise(&self.shared.sum, units);
    }
}

// === sources ===

/// What a scrape reads: adds its value, or values, to the series of its family.
pub(super) trait Source: Send + Sync {
    fn add_to(&self, series: &mut Series);
}

/// The value of one series.
#[derive(Clone)]
pub(super) enum Value {
    Count(u64),
    Number(f64),
    Buckets(Buckets),
}

#[derive(Clone)]
pub(super) struct Buckets {
    pub(super) bounds: &'static [f64],
    /// One more than `bounds`: the last counts what is above them all. Not cumulative.
    pub(super) counts: Vec<u64>,
    pub(super) sum_units: u64,
    pub(super) units_per_one: f64,
}

struct CountSource {
    labels: Labels,
    cell: Arc<Line>,
}

impl Source for CountSource {
    fn add_to(&self, series: &mut Series) {
        add_count(series, &self.labels, self.cell.0.load(Ordering::Relaxed));
    }
}

struct TableSource {
    labels: Labels,
    dims: Vec<(String, Vec<String>)>,
    cells: Arc<[AtomicU64]>,
}

impl Source for TableSource {
    fn add_to(&self, series: &mut Series) {
        for (at, cell) in self.cells.iter().enumerate() {
            let count = cell.load(Ordering::Relaxed);
            if count == 0 {
                continue;
            }
            let mut labels = self.labels.clone();
            let mut rest = at;
            for (label, values) in self.dims.iter().rev() {
                labels.push((label.clone(), values[rest % values.len()].clone()));
                rest /= values.len();
            }
            labels.sort();
            add_count(series, &labels, count);
        }
    }
}

struct GaugeSource<F> {
    labels: Labels,
    value: F,
}

impl<F: Fn() -> f64 + Send + Sync> Source for GaugeSource<F> {
    fn add_to(&self, series: &mut Series) {
        let value = (self.value)();
        match series.get_mut(&self.labels) {
            Some(Value::Number(sum)) => *sum += value,
            _ => drop(series.insert(self.labels.clone(), Value::Number(value))),
        }
    }
}

struct FlagSource {
    labels: Labels,
}

impl Source for FlagSource {
    fn add_to(&self, series: &mut Series) {
        series.insert(self.labels.clone(), Value::Number(1.0));
    }
}

struct HistogramSource {
    labels: Labels,
    bounds: &'static [f64],
    units_per_one: f64,
    bounds_units: Box<[u64]>,
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl Source for HistogramSource {
    fn add_to(&self, series: &mut Series) {
        let counts: Vec<u64> = self
            .counts
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .collect();
        let sum_units = self.sum.load(Ordering::Relaxed);
        match series.get_mut(&self.labels) {
            Some(Value::Buckets(total)) if total.counts.len() == counts.len() => {
                for (total, count) in total.counts.iter_mut().zip(counts) {
                    *total = total.wrapping_add(count);
                }
                total.sum_units = total.sum_units.wrapping_add(sum_units);
            }
            Some(_) => {}
            None if !self.labels.is_empty() && counts.iter().all(|&count| count == 0) => {}
            None => {
                let buckets = Buckets {
                    bounds: self.bounds,
                    counts,
                    sum_units,
                    units_per_one: self.units_per_one,
                };
                series.insert(self.labels.clone(), Value::Buckets(buckets));
            }
        }
    }
}

// === helpers ===

/// A cell with a cache line of its own, so that neighbours of two cores never share one.
#[derive(Default)]
#[repr(align(64))]
struct Line(AtomicU64);

/// Makes a handle `Send` but not `Sync`.
type OneWriter = PhantomData<Cell<()>>;

/// An add by the only writer: two plain moves instead of a locked add.
#[inline]
fn raise(cell: &AtomicU64, n: u64) {
    cell.store(
        cell.load(Ordering::Relaxed).wrapping_add(n),
        Ordering::Relaxed,
    );
}

fn count_source(labels: &[(&str, &str)]) -> (Arc<Line>, Arc<dyn Source>) {
    let cell = Arc::new(Line::default());
    let source = CountSource {
        labels: sorted(labels),
        cell: Arc::clone(&cell),
    };
    (cell, Arc::new(source))
}

fn add_count(series: &mut Series, labels: &Labels, count: u64) {
    match series.get_mut(labels) {
        Some(Value::Count(sum)) => *sum = sum.wrapping_add(count),
        _ if count == 0 && !labels.is_empty() => {}
        _ => drop(series.insert(labels.clone(), Value::Count(count))),
    }
}
