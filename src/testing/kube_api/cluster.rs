//! Clusters of any size, made up on demand.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::object::Stored;
use crate::kube::record::{
    Endpoint, Ingress, Kind, Object, Pod, Port, Protocol, Reach, Service, Slice,
};

/// A cluster whose objects follow from their numbers, so that it takes no memory and is the same every time.
///
/// Of its services one in eight is headless, with the host names of a StatefulSet; one in fifty is an ExternalName, which has no
/// endpoints; one in forty has a load balancer; one in ten has an IPv6 address too. The first two are `default/kubernetes` and
/// `kube-system/kube-dns`. Pods come in the order of the endpoints, and have their addresses and names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    services: u32,
    /// Places for endpoints, spread evenly over the services; those of a service that has none stay empty.
    endpoints: u64,
    pods: u32,
}

impl Cluster {
    /// So many services with so many endpoints each, and so many pods.
    pub fn new(services: u32, endpoints_per_service: u32, pods: u32) -> Cluster {
        let places = u64::from(services) * u64::from(endpoints_per_service);
        Cluster {
            services,
            endpoints: places,
            pods,
        }
    }

    /// So many services and pods, and so many endpoints in all: those who have any differ by one at most.
    pub fn spread(services: u32, endpoints: u32, pods: u32) -> Cluster {
        let holders = (0..services).filter(|number| reach(*number) != Reach::Elsewhere);
        let holders = (holders.count() as u64).max(1);
        Cluster {
            services,
            endpoints: (u64::from(endpoints) * u64::from(services)).div_ceil(holders),
            pods,
        }
    }

    /// How many services there are.
    pub fn services(&self) -> u32 {
        self.services
    }

    /// How many endpoints a service has.
    pub fn endpoints_of(&self, service: u32) -> u32 {
        match reach(service) {
            Reach::Elsewhere => 0,
            _ => self.first_pod(service + 1) - self.first_pod(service),
        }
    }

    /// Kind and number of every object, namespaces first.
    pub(super) fn all(&self) -> impl Iterator<Item = (Kind, u32)> + use<'_> {
        let of = |kind: Kind, count: u32| (0..count).map(move |number| (kind, number));
        let slices = (0..self.services * self.slices_per_service()).filter(|number| {
            let service = number / self.slices_per_service();
            reach(service) != Reach::Elsewhere
        });
        of(Kind::Namespace, self.namespaces())
            .chain(of(Kind::Service, self.services))
            .chain(slices.map(|number| (Kind::Slice, number)))
            .chain(of(Kind::Pod, self.pods))
    }

    /// An object. There are no imports.
    pub fn object(&self, kind: Kind, number: u32) -> Stored {
        match kind {
            Kind::Namespace => Object::Namespace(namespace(number)).into(),
            Kind::Service | Kind::Import => {
                let service = self.service(number);
                let app = service.name.clone();
                Stored::labelled(Object::Service(service), &[("app", &app)])
            }
            Kind::Slice => {
                let manager = "endpointslice-controller.k8s.io";
                let label = ("endpointslice.kubernetes.io/managed-by", manager);
                Stored::labelled(Object::Slice(self.slice(number)), &[label])
            }
            Kind::Pod => Object::Pod(self.pod(number)).into(),
        }
    }

    /// A service.
    pub fn service(&self, number: u32) -> Service {
        let reach = reach(number);
        let has_address = reach == Reach::ClusterIp;
        let mut service = Service {
            namespace: self.namespace_of(number),
            name: service_name(number),
            reach,
            ports: ports(number),
            ..Service::default()
        };
        if has_address {
            service.cluster_ips.push(service_address(number));
        }
        if has_address && number % 10 == 9 {
            let low = u128::from(number);
            let base = u128::from(Ipv6Addr::new(0xfd00, 0x10, 0x96, 0, 0, 0, 0, 0));
            service.cluster_ips.push(Ipv6Addr::from(base + low).into());
        }
        if reach == Reach::Elsewhere {
            service.external_name = format!("{}.example.net", service.name);
        }
        if has_address && number % 40 == 21 {
            service.ingress.push(if number % 80 == 21 {
                Ingress::Ip(address(Ipv4Addr::new(203, 0, 0, 0), number))
            } else {
                Ingress::Host(format!("lb-{number}.example.net"))
            });
        }
        service
    }

    /// A slice: a hundred endpoints of a service at most, as the controller of a real cluster makes them.
    pub fn slice(&self, number: u32) -> Slice {
        let (owner, part) = (
            number / self.slices_per_service(),
            number % self.slices_per_service(),
        );
        let service = self.service(owner);
        let first = part * SLICE_ENDPOINTS;
        let last = (first + SLICE_ENDPOINTS)
            .min(self.endpoints_of(owner))
            .max(first);
        let endpoints = (first..last).map(|place| {
            let pod = self.first_pod(owner) + place;
            let name = pod_name(&service, place);
            Endpoint {
                ip: pod_address(pod),
                hostname: match service.reach {
                    Reach::Headless => name.clone(),
                    _ => String::new(),
                },
                target: name,
                zone: ZONES[pod as usize % ZONES.len()].into(),
            }
        });
        Slice {
            endpoints: endpoints.collect(),
            name: format!("{}-{part:05x}", service.name),
            service: service.name.clone(),
            namespace: service.namespace,
            ports: service.ports,
            ..Slice::default()
        }
    }

    /// A pod: that of an endpoint, or one of a job beyond the last of them.
    pub fn pod(&self, number: u32) -> Pod {
        let (namespace, name, app) = match self.owner(number) {
            Some(owner) => {
                let service = self.service(owner);
                let name = pod_name(&service, number - self.first_pod(owner));
                (service.namespace, name, service.name)
            }
            None => (
                self.namespace_of(number),
                format!("job-{number:06}"),
                "job".into(),
            ),
        };
        Pod {
            namespace,
            name,
            ips: vec![pod_address(number)],
            labels: vec![("app".into(), app)],
        }
    }

    /// Twenty services in a namespace on average.
    fn namespaces(&self) -> u32 {
        self.services / 20 + FIXED.len() as u32
    }

    /// Namespaces differ in size: a few have most of the services, and some have none.
    fn namespace_of(&self, number: u32) -> String {
        if (number as usize) < FIXED.len() {
            return namespace(number);
        }
        let count = u64::from(self.namespaces());
        // The square of an even spread over [0, 1), in 32 bits of fraction.
        let spread = u64::from(number.wrapping_mul(0x9e37_79b1));
        let skewed = (spread * spread) >> 32;
        namespace(((skewed * count) >> 32) as u32)
    }

    /// The number of the first pod of a service.
    fn first_pod(&self, service: u32) -> u32 {
        (u64::from(service) * self.endpoints / u64::from(self.services.max(1))) as u32
    }

    /// The service of a pod: the last one whose first pod is not beyond it.
    fn owner(&self, pod: u32) -> Option<u32> {
        (u64::from(pod) < self.endpoints).then(|| {
            let above = (u64::from(pod) + 1) * u64::from(self.services);
            (above.div_ceil(self.endpoints) - 1) as u32
        })
    }

    fn slices_per_service(&self) -> u32 {
        let most = self.endpoints.div_ceil(u64::from(self.services.max(1))) as u32;
        most.div_ceil(SLICE_ENDPOINTS).max(1)
    }
}

fn namespace(number: u32) -> String {
    match FIXED.get(number as usize) {
        Some((name, _)) => (*name).into(),
        None => format!("team-{number:04}"),
    }
}

fn service_name(number: u32) -> String {
    match FIXED.get(number as usize) {
        Some((_, name)) => (*name).into(),
        None => format!("{}-{number}", WORDS[number as usize % WORDS.len()]),
    }
}

fn reach(number: u32) -> Reach {
    match number {
        0 | 1 => Reach::ClusterIp,
        _ if number % 8 == 5 => Reach::Headless,
        _ if number % 50 == 26 => Reach::Elsewhere,
        _ => Reach::ClusterIp,
    }
}

fn service_address(number: u32) -> IpAddr {
    let base = Ipv4Addr::new(10, 96, 0, 0);
    match number {
        0 => address(base, 1),
        1 => address(base, 10),
        _ => address(base, 256 + number),
    }
}

fn pod_address(number: u32) -> IpAddr {
    address(Ipv4Addr::new(10, 128, 0, 0), 1 + number)
}

/// The pods of a headless service are those of a StatefulSet, others have a word of chance in their names.
fn pod_name(service: &Service, place: u32) -> String {
    let name = &service.name;
    match service.reach {
        Reach::Headless => format!("{name}-{place}"),
        _ => {
            let mark = place.wrapping_mul(0x9e37_79b1) ^ 0x5bd1_e995;
            format!("{name}-{mark:08x}-{:05x}", mark >> 12)
        }
    }
}

fn address(base: Ipv4Addr, number: u32) -> IpAddr {
    Ipv4Addr::from(u32::from(base).wrapping_add(number)).into()
}

fn ports(number: u32) -> Vec<Port> {
    let port = |name: &str, protocol: Protocol, number: u16| Port {
        name: name.into(),
        protocol,
        number,
    };
    match number {
        0 => vec![port("https", Protocol::Tcp, 443)],
        1 => vec![
            port("dns", Protocol::Udp, 53),
            port("dns-tcp", Protocol::Tcp, 53),
            port("metrics", Protocol::Tcp, 9153),
        ],
        _ => match number % 4 {
            0 => vec![port("", Protocol::Tcp, 80)],
            1 => vec![
                port("http", Protocol::Tcp, 8080),
                port("metrics", Protocol::Tcp, 9090),
            ],
            2 => vec![
                port("grpc", Protocol::Tcp, 9000),
                port("gossip", Protocol::Udp, 7946),
            ],
            _ => vec![port("https", Protocol::Tcp, 443)],
        },
    }
}

/// Namespace and service that every cluster has.
const FIXED: [(&str, &str); 2] = [("default", "kubernetes"), ("kube-system", "kube-dns")];
const WORDS: [&str; 9] = [
    "api", "web", "cache", "db", "queue", "auth", "search", "worker", "billing",
];
const ZONES: [&str; 3] = ["zone-a", "zone-b", "zone-c"];
/// Endpoints of a slice, as `--max-endpoints-per-slice` has it.
const SLICE_ENDPOINTS: u32 = 100;
