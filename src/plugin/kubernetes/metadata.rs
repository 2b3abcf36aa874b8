//! The labels `kubernetes/...` that the plugin leaves on a query.

use super::{Config, Pods};
use crate::corefile::longest_match;
use crate::kube::schema::{self, Asked, Branch, Part, Request, Schema, is_reverse};
use crate::plugin::Query;
use crate::runtime::epoch::Pin;

/// Sets them, as far as there is something to say.
pub(super) fn set(config: &Config, query: &mut Query) {
    if !query.meta.enabled {
        return;
    }
    set_client(config, query);
    let name = query.name_buf();
    let Some(zone) = longest_match(&config.served.zones, name.as_wire()) else {
        return;
    };
    let mut put = |label: &'static str, value: &[u8]| {
        query.meta.set(label, || text(value));
    };
    put("kubernetes/zone", zone.as_str().as_bytes());
    let schema = Schema {
        multicluster: config.multicluster.contains(zone),
        zonal: config.zonal,
    };
    let is_reverse = is_reverse(zone);
    match schema::read(name.as_wire(), zone.wire().len(), schema) {
        _ if is_reverse => {}
        Request::Unknown => put("kubernetes/parse-error", b"invalid query name"),
        Request::Branch(Branch::Fixed) => {}
        Request::Branch(Branch::Namespace(namespace) | Branch::PodNamespace(namespace)) => {
            put("kubernetes/namespace", namespace);
        }
        Request::Pod { namespace, name } => {
            put("kubernetes/kind", b"pod");
            put("kubernetes/namespace", namespace);
            put("kubernetes/service", name);
        }
        Request::Service(Asked {
            namespace,
            service,
            part,
            ..
        }) => {
            put("kubernetes/kind", b"svc");
            put("kubernetes/namespace", namespace);
            put("kubernetes/service", service);
            match part {
                Part::Whole | Part::Zone { .. } => {}
                Part::Port { port, protocol } => {
                    put("kubernetes/port-name", port);
                    put("kubernetes/protocol", protocol);
                }
                Part::Endpoint { endpoint, cluster } => {
                    put("kubernetes/endpoint", endpoint);
                    if !cluster.is_empty() {
                        put("kubernetes/cluster", cluster);
                    }
                }
            }
        }
    }
}

/// Who asks, where pods are watched.
fn set_client(config: &Config, query: &mut Query) {
    if config.pods != Pods::Verified {
        return;
    }
    let pin = Pin::new();
    let view = config.served.view(&pin);
    let Some(pod) = view.pods_at(query.peer.0.ip()).next() else {
        return;
    };
    let namespace = view.namespace_name(pod.namespace());
    query
        .meta
        .set("kubernetes/client-namespace", || text(namespace));
    query
        .meta
        .set("kubernetes/client-pod-name", || text(pod.name()));
    for (key, value) in pod.labels() {
        let label = format!("kubernetes/client-label/{}", text(key));
        query.meta.set(label, || text(value));
    }
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}
