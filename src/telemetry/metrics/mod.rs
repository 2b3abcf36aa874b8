//! The process-wide registry of counters, gauges and histograms.
//!
//! Runs on: data core writes its cells, control thread registers and scrapes.
//!
//! **Invariant**: `inc`, `add`, `set` and `observe` take no lock, allocate nothing and write only a cell that
//! no other thread writes ([`SharedCounter`] excepted, for rare events).
//!
//! A series (name and label values) is the sum of its cells: every core, and every reload, registers a cell of
//! its own. Dropping a counter or histogram adds its value to what the series keeps, so that totals survive
//! reloads; dropping a gauge takes its value away.

mod cells;
mod encode;
mod process;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

pub use cells::{
    Counter, CounterTable, Gauge, GaugeGuard, Histogram, SharedCounter, SizeHistogram,
};

use cells::{Source, Value};

/// All metrics of one process; the process's own is [`registry`].
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

/// The registry behind `/metrics`. It lives as long as the process, so totals survive reloads.
pub fn registry() -> &'static Registry {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    REGISTRY.get_or_init(|| {
        let registry = Registry(Arc::new(Inner {
            process: true,
            ..Inner::default()
        }));
        let labels = [
            ("version", env!("CARGO_PKG_VERSION")),
            ("revision", option_env!("PERCOREDNS_REVISION").unwrap_or("")),
            ("goversion", concat!("rust", env!("CARGO_PKG_RUST_VERSION"))),
        ];
        let help = "Always 1; the labels tell what was built.";
        registry.flag("coredns_build_info", help, &labels).keep();
        registry
    })
}

/// `coredns_panics_total`: panics that were caught, of any thread.
pub fn panics() -> &'static SharedCounter {
    static PANICS: OnceLock<SharedCounter> = OnceLock::new();
    PANICS.get_or_init(|| {
        registry().shared_counter("coredns_panics_total", "Panics that were caught.", &[])
    })
}

impl Default for Registry {
    fn default() -> Registry {
        Registry::new()
    }
}

impl Registry {
    /// An empty registry without the process collector, for tests.
    pub fn new() -> Registry {
        Registry(Arc::new(Inner::default()))
    }

    /// A new cell of a counter series, to be written by one thread. A series with labels shows from its first
    /// increment on, one without labels always.
    pub fn counter(&self, name: &str, help: &str, labels: &[(&str, &str)]) -> Counter {
        Counter::register(self, name, help, labels)
    }

    /// A counter that any thread may raise, at the cost of a locked add; for rare events.
    pub fn shared_counter(&self, name: &str, help: &str, labels: &[(&str, &str)]) -> SharedCounter {
        SharedCounter::register(self, name, help, labels)
    }

    /// Counters of one family, one for each combination of the `dims` (label name, its values), beside the
    /// fixed `labels`. All cells are made now; only those that were raised show.
    pub fn counter_table(
        &self,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
        dims: &[(&str, &[&str])],
    ) -> CounterTable {
        CounterTable::register(self, name, help, labels, dims)
    }

    /// A new cell of a gauge series; the cells of one series are summed.
    pub fn gauge(&self, name: &str, help: &str, labels: &[(&str, &str)]) -> Gauge {
        Gauge::register(self, name, help, labels)
    }

    /// A gauge whose value is computed at each scrape, on the control thread, until the guard is dropped.
    pub fn gauge_fn(
        &self,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
        value: impl Fn() -> f64 + Send + Sync + 'static,
    ) -> GaugeGuard {
        GaugeGuard::register(self, name, help, labels, value)
    }

    /// A gauge that is 1 while any guard of it is held, however many there are: during a reload the old and the
    /// new configuration both say what they have.
    pub fn flag(&self, name: &str, help: &str, labels: &[(&str, &str)]) -> GaugeGuard {
        GaugeGuard::register_flag(self, name, help, labels)
    }

    /// A histogram of durations: `buckets` in seconds, summed in whole nanoseconds.
    pub fn histogram(
        &self,
        name: &str,
        help: &str,
        buckets: &'static [f64],
        labels: &[(&str, &str)],
    ) -> Histogram {
        Histogram::register(self, name, help, buckets, labels)
    }

    /// A histogram of whole numbers, for example octets.
    pub fn size_histogram(
        &self,
        name: &str,
        help: &str,
        buckets: &'static [f64],
        labels: &[(&str, &str)],
    ) -> SizeHistogram {
        SizeHistogram::register(self, name, help, buckets, labels)
    }

    /// Appends every family in the Prometheus text format 0.0.4, sorted by name and labels.
    pub fn encode(&self, out: &mut String) {
        encode::write_families(out, self.collect());
    }

    /// The value of one counter or gauge series, summed over its cells; for tests and self-checks.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = sorted(labels);
        let family = self.collect().remove(name)?;
        match family.series.get(&labels)? {
            Value::Count(count) => Some(*count as f64),
            Value::Number(number) => Some(*number),
            Value::Buckets(buckets) => Some(buckets.counts.iter().sum::<u64>() as f64),
        }
    }

    fn collect(&self) -> BTreeMap<String, Collected> {
        // Sources are read after the lock is released: a slow gauge function must not hold up a registration.
        let copies: Vec<_> = self
            .0
            .lock()
            .iter()
            .map(|(name, family)| {
                let sources: Vec<_> = family.sources.values().cloned().collect();
                (
                    name.clone(),
                    family.help.clone(),
                    family.kind,
                    family.kept.clone(),
                    sources,
                )
            })
            .collect();
        let mut families = BTreeMap::new();
        for (name, help, kind, mut series, sources) in copies {
            for source in sources {
                source.add_to(&mut series);
            }
            families.insert(name, Collected { help, kind, series });
        }
        if self.0.process {
            process::collect(&mut families);
        }
        families
    }

    fn register(
        &self,
        name: &str,
        help: &str,
        kind: Kind,
        source: Arc<dyn Source>,
    ) -> Registration {
        let id = self.0.ids.fetch_add(1, Ordering::Relaxed);
        let mut families = self.0.lock();
        let family = families.entry(name.to_owned()).or_insert_with(|| Family {
            help: help.to_owned(),
            kind,
            kept: Series::new(),
            sources: BTreeMap::new(),
        });
        // One name has one type; a cell of another type stays invisible rather than corrupt the text.
        debug_assert_eq!(family.kind, kind, "metric {name} registered with two types");
        if family.kind == kind {
            family.sources.insert(id, source);
        }
        Registration {
            registry: self.clone(),
            name: name.into(),
            id,
        }
    }
}

/// Label pairs sorted by name.
type Labels = Vec<(String, String)>;
type Series = BTreeMap<Labels, Value>;

#[derive(Default)]
struct Inner {
    families: Mutex<BTreeMap<String, Family>>,
    ids: AtomicU64,
    process: bool,
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Family>> {
        self.families.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Family {
    help: String,
    kind: Kind,
    /// Totals of cells that are gone.
    kept: Series,
    sources: BTreeMap<u64, Arc<dyn Source>>,
}

/// One family as it stands at a scrape.
struct Collected {
    help: String,
    kind: Kind,
    series: Series,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Membership of one source; dropping it moves a counter's total into the family.
struct Registration {
    registry: Registry,
    name: Box<str>,
    id: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut families = self.registry.0.lock();
        let Some(family) = families.get_mut(&*self.name) else {
            return;
        };
        let Some(source) = family.sources.remove(&self.id) else {
            return;
        };
        if family.kind != Kind::Gauge {
            source.add_to(&mut family.kept);
        } else if family.sources.is_empty() {
            families.remove(&*self.name);
        }
        // What a gauge function holds goes with it, and may itself be registered here.
        drop(families);
        drop(source);
    }
}

fn sorted(labels: &[(&str, &str)]) -> Labels {
    let mut labels: Labels = labels
        .iter()
        .map(|&(n, v)| (n.to_owned(), v.to_owned()))
        .collect();
    labels.sort();
    labels
}
