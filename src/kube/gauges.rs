//! What the metrics tell of a cluster: how much is known, and how old it may be.

use std::sync::{Arc, Mutex, PoisonError};

use super::record::Kind;
use super::store::Writer;
use crate::runtime::clock;
use crate::telemetry::metrics::{GaugeGuard, Registry, registry};

/// They are there until this is dropped.
pub(super) struct Gauges {
    _guards: Vec<GaugeGuard>,
}

impl Gauges {
    /// Those of the cluster of that name. They are computed when somebody asks.
    pub(super) fn new(cluster: &str, writer: &Arc<Mutex<Writer>>) -> Gauges {
        Gauges::shown_in(registry(), cluster, writer)
    }

    fn shown_in(registry: &Registry, cluster: &str, writer: &Arc<Mutex<Writer>>) -> Gauges {
        let gauge = |name: &str, help: &str, value: fn(&Writer) -> f64| {
            let writer = Arc::clone(writer);
            let value = move || value(&writer.lock().unwrap_or_else(PoisonError::into_inner));
            registry.gauge_fn(name, help, &[("cluster", cluster)], value)
        };
        let mut guards = vec![
            gauge(
                "percoredns_kubernetes_stale_seconds",
                "How long the watch of the Kubernetes API has been down that was lost first; 0 while all are up.",
                |writer| {
                    let stale_ns = writer.store().stale_ns(writer.watched());
                    stale_ns.unwrap_or(0) as f64 / clock::SECOND as f64
                },
            ),
            gauge(
                "percoredns_kubernetes_synced",
                "Whether all of the cluster is known, be it from a snapshot.",
                |writer| f64::from(writer.store().is_synced(writer.watched())),
            ),
            gauge(
                "percoredns_kubernetes_from_snapshot",
                "Whether something is known from a snapshot alone.",
                |writer| f64::from(writer.store().is_restored(writer.watched())),
            ),
        ];
        for kind in Kind::ALL {
            let writer = Arc::clone(writer);
            guards.push(registry.gauge_fn(
                "percoredns_kubernetes_objects",
                "Objects that are known.",
                &[("cluster", cluster), ("kind", kind.name())],
                move || {
                    writer
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .len(kind) as f64
                },
            ));
        }
        Gauges { _guards: guards }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kube::record::{Object, Sink};
    use crate::kube::store::{Keep, Store};
    use crate::runtime::clock::fake;

    #[test]
    fn they_follow_the_cluster() {
        let clock = fake::FakeClock::start();
        let writer = Writer::new(Arc::new(Store::new()), Keep::default());
        let (registry, writer) = (Registry::new(), Arc::new(Mutex::new(writer)));
        let gauges = Gauges::shown_in(&registry, "c", &writer);
        let value = |name: &str, kind: Option<&str>| {
            let name = format!("percoredns_kubernetes_{name}");
            let labels = [("cluster", "c"), ("kind", kind.unwrap_or_default())];
            registry.value(&name, &labels[..1 + usize::from(kind.is_some())])
        };
        assert_eq!(value("synced", None), Some(0.0));
        assert_eq!(value("stale_seconds", None), Some(0.0));
        {
            let mut writer = writer.lock().unwrap();
            for kind in [Kind::Namespace, Kind::Service, Kind::Slice] {
                writer.list_begins(kind);
                if kind == Kind::Namespace {
                    writer.put(&Object::Namespace("a".into()));
                }
                writer.list_ends(kind);
            }
        }
        assert_eq!(value("objects", Some("namespaces")), Some(1.0));
        assert_eq!(value("objects", Some("pods")), Some(0.0));
        assert_eq!(value("synced", None), Some(1.0));
        assert_eq!(value("from_snapshot", None), Some(0.0));
        writer.lock().unwrap().lost(Kind::Service);
        clock.advance(std::time::Duration::from_secs(5));
        writer.lock().unwrap().lost(Kind::Slice);
        clock.advance(std::time::Duration::from_secs(7));
        assert_eq!(value("stale_seconds", None), Some(12.0));
        writer.lock().unwrap().heard(Kind::Service);
        assert_eq!(
            value("stale_seconds", None),
            Some(7.0),
            "that of the slices"
        );
        writer.lock().unwrap().heard(Kind::Slice);
        assert_eq!(value("stale_seconds", None), Some(0.0));
        drop(gauges);
        assert_eq!(value("synced", None), None);
    }
}
