//! Requests by hand, so that nothing here leans on a client that is tested against this server.

mod client;
mod faults;
mod lists;
mod protobuf;
mod secure;
mod watches;

use std::time::{Duration, Instant};

use super::{Api, Cluster, Stored};
use crate::kube::record::{Kind, Object, Pod, Service};

pub(super) fn service(namespace: &str, name: &str) -> Stored {
    let service = Service {
        namespace: namespace.into(),
        name: name.into(),
        cluster_ips: vec!["10.96.0.20".parse().unwrap()],
        ..Service::default()
    };
    Object::Service(service).into()
}

pub(super) fn pod(namespace: &str, name: &str, app: &str) -> Stored {
    let pod = Pod {
        namespace: namespace.into(),
        name: name.into(),
        ips: vec!["10.128.0.7".parse().unwrap()],
        labels: vec![("app".into(), app.into())],
    };
    Object::Pod(pod).into()
}

/// A server with the services `ns/s0` to `ns/s(n-1)`.
pub(super) fn served(count: usize) -> Api {
    let api = Api::new();
    api.put_all((0..count).map(|number| service("ns", &format!("s{number}"))));
    api
}

/// Waits for what another thread does.
pub(super) fn until(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_generated_cluster_is_of_the_size_and_the_same_every_time() {
    let api = Api::new();
    api.load(Cluster::new(1000, 3, 3100));
    let headless = (0..1000).filter(|number| number % 8 == 5).count();
    let elsewhere = (0..1000).filter(|number| number % 50 == 26 && number % 8 != 5);
    assert_eq!(api.len(Kind::Service), 1000);
    assert_eq!(api.len(Kind::Namespace), 52);
    assert_eq!(api.len(Kind::Slice), 1000 - elsewhere.count());
    assert_eq!(api.len(Kind::Pod), 3100);
    assert!(api.is_empty(Kind::Import));

    let cluster = Cluster::new(1000, 3, 3100);
    assert_eq!(cluster.service(0).name, "kubernetes");
    let services: Vec<Service> = (0..1000).map(|number| cluster.service(number)).collect();
    let found = services
        .iter()
        .filter(|one| one.reach == crate::kube::record::Reach::Headless);
    assert_eq!(found.count(), headless);
    let mut ips: Vec<_> = services.iter().flat_map(|one| &one.cluster_ips).collect();
    let count = ips.len();
    ips.sort();
    ips.dedup();
    assert_eq!(ips.len(), count, "an address twice");

    // The endpoints of a slice are pods, with their names and addresses.
    for number in 0..1000 {
        let slice = cluster.slice(number);
        assert_eq!(slice.service, services[number as usize].name);
        for (place, endpoint) in slice.endpoints.iter().enumerate() {
            let pod = cluster.pod(number * 3 + place as u32);
            assert_eq!((&pod.name, &pod.ips[0]), (&endpoint.target, &endpoint.ip));
            assert_eq!(pod.namespace, slice.namespace);
        }
    }
    // Namespaces have different sizes.
    let mut sizes = std::collections::BTreeMap::new();
    for service in &services {
        *sizes.entry(&service.namespace).or_insert(0) += 1;
    }
    assert!(sizes.values().max() > Some(&50), "{sizes:?}");
    assert!(sizes.values().min() < Some(&15), "{sizes:?}");
}

#[test]
fn large_services_have_slices_of_a_hundred() {
    let cluster = Cluster::new(8, 10_000, 0);
    let slices: Vec<_> = (0..100).map(|part| cluster.slice(5 * 100 + part)).collect();
    assert!(slices.iter().all(|slice| slice.endpoints.len() == 100));
    let hosts = slices.iter().flat_map(|slice| &slice.endpoints);
    let hosts: std::collections::BTreeSet<_> = hosts.map(|one| &one.hostname).collect();
    assert_eq!(hosts.len(), 10_000);
    assert!(hosts.contains(&"auth-5-9999".to_owned()));
}

#[test]
fn endpoints_are_spread_over_the_services_that_have_any() {
    let cluster = Cluster::spread(1000, 2500, 2600);
    let endpoints: u32 = (0..1000).map(|number| cluster.endpoints_of(number)).sum();
    assert!((2500..2510).contains(&endpoints), "{endpoints}");
    for number in 0..1000 {
        let slice = cluster.slice(number);
        assert_eq!(slice.endpoints.len() as u32, cluster.endpoints_of(number));
        assert!(slice.endpoints.len() <= 3, "{slice:?}");
    }
    // Every endpoint is a pod, and no two are the same one.
    let slices = (0..1000).map(|number| cluster.slice(number));
    let targets = slices.flat_map(|slice| {
        let names = slice.endpoints.into_iter().map(|one| (one.target, one.ip));
        names.map(move |(name, ip)| (slice.namespace.clone(), name, ip))
    });
    let targets: std::collections::BTreeSet<_> = targets.collect();
    assert_eq!(targets.len() as u32, endpoints);
    let pods = (0..2600).map(|number| cluster.pod(number));
    let pods = pods.map(|pod| (pod.namespace, pod.name, pod.ips[0]));
    let pods: std::collections::BTreeSet<_> = pods.collect();
    assert_eq!(pods.len(), 2600);
    assert!(targets.is_subset(&pods));
}

#[test]
fn times_are_written_as_kubernetes_does() {
    for (seconds, expect) in [
        (0, "1970-01-01T00:00:00.000000005Z"),
        (951_782_400, "2000-02-29T00:00:00.000000005Z"),
        (1_700_000_000, "2023-11-14T22:13:20.000000005Z"),
        (1_735_689_599, "2024-12-31T23:59:59.000000005Z"),
        (4_107_542_400, "2100-03-01T00:00:00.000000005Z"),
    ] {
        assert_eq!(super::rfc3339((seconds, 5)), expect);
    }
}
