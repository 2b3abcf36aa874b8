//! A cluster for the benches, and what its pods ask.

use std::net::IpAddr;
use std::sync::Arc;

use percoredns::kube::access::Access;
use percoredns::kube::record::{Kind, Object, Port, Protocol, Service, Sink};
use percoredns::kube::{self, Selectors};
use percoredns::plugin::Carry;
use percoredns::testing::kube_api::Cluster;

use super::sample;

/// Where no API server is: objects are put straight into the store.
pub const URL: &str = "http://127.0.0.1:9";

/// What is asked of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// The address of a service.
    Address,
    /// An IPv6 address, which most have not.
    Ipv6,
    /// A port.
    Port,
    /// The service of an address.
    Pointer,
    /// An outside name with the first suffix of a search path.
    Search,
}

/// A query for each of `count` services with an address and a named port.
pub fn queries(ask: Ask, count: usize) -> Vec<Vec<u8>> {
    let name =
        |service: &Service| format!("{}.{}.svc.cluster.local", service.name, service.namespace);
    let query = |service: &Service| match ask {
        Ask::Address => sample::query_for(&name(service), 1),
        Ask::Ipv6 => sample::query_for(&name(service), 28),
        Ask::Port => {
            let port = &service.ports[0];
            sample::query_for(&format!("_{}._tcp.{}", port.name, name(service)), 33)
        }
        Ask::Pointer => {
            let mut labels: Vec<String> = service.cluster_ips[0]
                .to_string()
                .split('.')
                .map(str::to_owned)
                .collect();
            labels.reverse();
            sample::query_for(&format!("{}.in-addr.arpa", labels.join(".")), 12)
        }
        Ask::Search => {
            let namespace = &service.namespace;
            sample::query_for(
                &format!("{}.example.com.{namespace}.svc.cluster.local", service.name),
                1,
            )
        }
    };
    services(count).map(|service| query(&service)).collect()
}

/// Puts a cluster with these services, and others, into the store that a *kubernetes* of [`URL`] has made.
pub fn fill(carry: &Carry, count: usize) {
    let access = Access::at(URL);
    let key = kube::Cluster::key(&access, &Selectors::default());
    let cluster: Arc<kube::Cluster> =
        carry.obtain(&key, || panic!("the Corefile has a kubernetes"));
    let mut writer = cluster.writer().lock().expect("no panic");
    let made = made(count);
    for kind in [Kind::Namespace, Kind::Service, Kind::Slice] {
        writer.list_begins(kind);
        for number in 0..2 * count as u32 {
            let object = made.object(kind, number).object;
            if !matches!(&object, Object::Slice(slice) if slice.service.is_empty()) {
                writer.put(&object);
            }
        }
        writer.list_ends(kind);
    }
}

fn services(count: usize) -> impl Iterator<Item = Service> {
    let made = made(count);
    let all = (0..).map(move |number| made.service(number));
    let is_asked_for = |service: &Service| {
        let port = service.ports.first();
        let is_named = |port: &Port| !port.name.is_empty() && port.protocol == Protocol::Tcp;
        service.cluster_ips.first().is_some_and(IpAddr::is_ipv4) && port.is_some_and(is_named)
    };
    all.filter(is_asked_for).take(count)
}

/// Twice as many services as are asked for, since some have no address.
fn made(count: usize) -> Cluster {
    Cluster::new(2 * count as u32, 3, 0)
}
