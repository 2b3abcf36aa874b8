//! A server block with a cluster whose objects a test puts straight into the store.

use std::net::IpAddr;
use std::sync::Arc;

use super::Host;
use super::host::check_seen;
use crate::corefile::RealSource;
use crate::kube::access::Access;
use crate::kube::record::{Endpoint, Kind, Object, Pod, Port, Protocol, Service, Sink, Slice};
use crate::kube::{Cluster, Selectors};
use crate::plugin::Carry;

/// Nobody listens there, and nothing asks: tests put objects straight into the store.
pub const URL: &str = "http://127.0.0.1:9";

/// A configuration with a cluster that only a test knows.
pub struct Fixture {
    /// Answers.
    pub host: Host,
    /// Has the store that it answers from.
    pub cluster: Arc<Cluster>,
}

impl Fixture {
    /// A block with `directives` and *kubernetes* with `options`, which knows these objects and no others.
    pub fn new(objects: &[Object], options: &str, directives: &str) -> Fixture {
        let fixture = Fixture::unsynced(options, directives);
        fixture.list(objects);
        fixture
    }

    /// One that knows nothing yet.
    pub fn unsynced(options: &str, directives: &str) -> Fixture {
        let corefile = format!(
            ".:53 {{\n kubernetes cluster.local in-addr.arpa ip6.arpa {{\n endpoint {URL}\n {options}\n }}\n {directives}\n}}\n"
        );
        let carry = Carry::default();
        let host = Host::with(&corefile, &RealSource, &carry)
            .unwrap_or_else(|error| panic!("{corefile}\n{error}"));
        let access = Access::at(URL);
        let key = Cluster::key(&access, &Selectors::default());
        let cluster = carry.obtain::<Cluster>(&key, || panic!("the block has made it"));
        // There is no watcher to start, with which that would be done.
        let writer = cluster.writer();
        writer.lock().expect("no panic").set_keep(cluster.keep());
        Fixture { host, cluster }
    }

    /// Takes these objects for all that there are.
    pub fn list(&self, objects: &[Object]) {
        let mut writer = self.cluster.writer().lock().expect("no test panicked");
        for kind in [
            Kind::Namespace,
            Kind::Service,
            Kind::Slice,
            Kind::Pod,
            Kind::Import,
        ] {
            writer.list_begins(kind);
            objects
                .iter()
                .filter(|object| object.kind() == kind)
                .for_each(|object| writer.put(object));
            writer.list_ends(kind);
        }
    }

    /// Puts objects, as a watch does.
    pub fn put(&self, objects: &[Object]) {
        let mut writer = self.cluster.writer().lock().expect("no panic");
        objects.iter().for_each(|object| writer.put(object));
    }

    /// Asks and compares as [`check_seen`] does, and holds both ways against each other.
    pub fn check(&self, query: &str, expect: &str) {
        check_seen(&self.host.ask(query), query, expect);
        // Whatever is answered from memory is answered alike on both ways.
        for both in self.host.ask_both_ways(&[query]) {
            if let Some(short) = both.short {
                assert_eq!(short, both.long, "{query}");
            }
        }
    }

    /// As [`Fixture::check`], for many.
    pub fn check_all(&self, table: &[(&str, &str)]) {
        table
            .iter()
            .for_each(|(query, expect)| self.check(query, expect));
    }
}

/// Addresses.
pub fn ips(text: &[&str]) -> Vec<IpAddr> {
    text.iter()
        .map(|text| text.parse().expect("an address"))
        .collect()
}

/// A port.
pub fn port(name: &str, protocol: Protocol, number: u16) -> Port {
    Port {
        name: name.into(),
        protocol,
        number,
    }
}

/// A service with one port.
pub fn service(namespace: &str, name: &str, addresses: &[&str]) -> Service {
    Service {
        namespace: namespace.into(),
        name: name.into(),
        cluster_ips: ips(addresses),
        ports: vec![port("http", Protocol::Tcp, 80)],
        ..Service::default()
    }
}

/// A slice of a service with these endpoints: address and host name.
pub fn slice(namespace: &str, name: &str, of: &str, endpoints: &[(&str, &str)]) -> Slice {
    let endpoint = |(nth, (address, hostname)): (usize, &(&str, &str))| Endpoint {
        ip: address.parse().expect("an address"),
        hostname: (*hostname).into(),
        target: format!("{of}-pod-{nth}"),
        zone: if nth == 0 { "a".into() } else { "b".into() },
    };
    Slice {
        namespace: namespace.into(),
        name: name.into(),
        service: of.into(),
        ports: vec![port("http", Protocol::Tcp, 8080)],
        endpoints: endpoints.iter().enumerate().map(endpoint).collect(),
        ..Slice::default()
    }
}

/// A pod with a label.
pub fn pod(namespace: &str, name: &str, address: &str) -> Object {
    Object::Pod(Pod {
        namespace: namespace.into(),
        name: name.into(),
        ips: ips(&[address]),
        labels: vec![("app".into(), "web".into())],
    })
}
