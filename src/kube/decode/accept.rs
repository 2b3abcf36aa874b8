//! What an object may say. Names become labels of DNS names and addresses become records, so both are checked here, once, and the store
//! need not doubt them. An object that breaks a rule is refused as a whole where its name is concerned or a bound is passed; a single
//! address or port that makes no sense is left out.

use std::net::IpAddr;

use super::raw;
use super::time;
use crate::kube::record::{
    Endpoint, Import, Ingress, Kind, Object, Pod, Port, Protocol, Reach, Service, Slice,
};
use crate::limits;

/// Why an object is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// The bytes are none of that kind.
    Malformed,
    /// Larger than `limits::KUBE_OBJECT_OCTETS`.
    Large,
    /// No name, or one that DNS could not carry.
    Name,
    /// An external name that is none.
    ExternalName,
    /// More addresses than `limits::KUBE_ADDRESSES`.
    Addresses,
    /// More ports than `limits::KUBE_PORTS`.
    Ports,
    /// More labels than `limits::KUBE_LABELS`.
    Labels,
}

impl Refused {
    /// For the log.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Refused::Malformed => "it cannot be decoded",
            Refused::Large => "it is too large",
            Refused::Name => "its name or namespace is not a DNS name",
            Refused::ExternalName => "its external name is not a DNS name",
            Refused::Addresses => "it has too many addresses",
            Refused::Ports => "it has too many ports",
            Refused::Labels => "it has too many labels",
        }
    }
}

/// What was read of an object before it was judged.
#[derive(Default)]
pub(super) struct Seen {
    /// `metadata.resourceVersion`.
    pub(super) version: String,
    /// Namespace and name, for the log.
    pub(super) name: String,
}

impl Seen {
    fn note(&mut self, meta: &raw::Meta) {
        self.version.clear();
        self.version.push_str(&meta.resource_version);
        self.name.clear();
        let (namespace, name) = (&*meta.namespace, &*meta.name);
        let parts = [namespace, "/", name];
        let parts = if namespace.is_empty() {
            &parts[2..]
        } else {
            &parts[..]
        };
        let shown = parts.iter().flat_map(|part| part.chars());
        self.name.extend(shown.take(SHOWN_CHARS));
    }
}

/// What became of an object: the object, and how many of its addresses and ports were left out.
pub(super) type Accepted = Result<(Object, usize), Refused>;

pub(super) fn namespace(raw: &raw::Bare, seen: &mut Seen) -> Accepted {
    seen.note(&raw.metadata);
    let name = &raw.metadata.name;
    if !is_label(name) {
        return Err(Refused::Name);
    }
    Ok((Object::Namespace(name.to_string()), 0))
}

pub(super) fn service(raw: &raw::Service, seen: &mut Seen) -> Accepted {
    seen.note(&raw.metadata);
    // The API asks for labels of RFC 1035 (a letter first), and newer servers only for those of RFC 1123: DNS carries both.
    let (namespace, name) = names(&raw.metadata, is_label)?;
    let spec = &raw.spec;
    let ingress = &raw.status.load_balancer.ingress;
    let addresses = spec.cluster_ips.len() + spec.external_ips.len() + ingress.len();
    bound(addresses, limits::KUBE_ADDRESSES, Refused::Addresses)?;
    let mut left_out = 0;
    let reach = reach(spec);
    let mut service = Service {
        namespace,
        name,
        reach,
        external_ips: addresses_of(&spec.external_ips, &mut left_out),
        ports: ports(&spec.ports, &mut left_out)?,
        ..Service::default()
    };
    match reach {
        Reach::Headless => {}
        Reach::Elsewhere => {
            let external = spec.external_name.trim_end_matches('.');
            if !is_host(external) {
                return Err(Refused::ExternalName);
            }
            service.external_name = external.to_owned();
        }
        Reach::ClusterIp => {
            service.cluster_ips = addresses_of(&spec.cluster_ips, &mut left_out);
            if spec.cluster_ips.is_empty() && !spec.cluster_ip.is_empty() {
                service.cluster_ips = addresses_of([&spec.cluster_ip], &mut left_out);
            }
        }
    }
    for way in ingress {
        match (way.ip.parse(), way.hostname.trim_end_matches('.')) {
            (Ok(ip), _) => service.ingress.push(Ingress::Ip(ip)),
            (Err(_), host) if is_host(host) => service.ingress.push(Ingress::Host(host.to_owned())),
            (Err(_), _) => left_out += 1,
        }
    }
    Ok((Object::Service(service), left_out))
}

pub(super) fn slice(raw: &raw::Slice, seen: &mut Seen) -> Accepted {
    seen.note(&raw.metadata);
    let (namespace, name) = names(&raw.metadata, is_host)?;
    let mut left_out = 0;
    let (service, cluster, is_imported) = owner(&raw.metadata, &mut left_out);
    let addresses = raw.endpoints.iter().map(|one| one.addresses.len()).sum();
    bound(addresses, limits::KUBE_ADDRESSES, Refused::Addresses)?;
    let mut slice = Slice {
        namespace,
        name,
        service,
        cluster,
        is_imported,
        ports: ports(&raw.ports, &mut left_out)?,
        endpoints: Vec::new(),
        triggered: triggered(&raw.metadata),
    };
    if *raw.address_type != *"FQDN" {
        for endpoint in &raw.endpoints {
            add_endpoint(endpoint, &mut slice.endpoints, &mut left_out);
        }
    }
    Ok((Object::Slice(slice), left_out))
}

pub(super) fn pod(raw: &raw::Pod, seen: &mut Seen) -> Accepted {
    seen.note(&raw.metadata);
    let (namespace, name) = names(&raw.metadata, is_host)?;
    let labels = &raw.metadata.labels.0;
    bound(labels.len(), limits::KUBE_LABELS, Refused::Labels)?;
    let status = &raw.status;
    bound(
        status.pod_ips.len(),
        limits::KUBE_ADDRESSES,
        Refused::Addresses,
    )?;
    let mut left_out = 0;
    let first = [&status.pod_ip].into_iter().filter(|ip| !ip.is_empty());
    let all = first.chain(status.pod_ips.iter().map(|one| &one.ip));
    let mut ips: Vec<IpAddr> = Vec::new();
    for ip in addresses_of(all, &mut left_out) {
        if !ips.contains(&ip) {
            ips.push(ip);
        }
        // A pod has one address of each family; what has hundreds is none, and each costs a look at all before it.
        bound(ips.len(), limits::KUBE_POD_ADDRESSES, Refused::Addresses)?;
    }
    let pod = Pod {
        namespace,
        name,
        ips,
        labels: labels
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect(),
    };
    Ok((Object::Pod(pod), left_out))
}

pub(super) fn import(raw: &raw::Import, seen: &mut Seen) -> Accepted {
    seen.note(&raw.metadata);
    let (namespace, name) = names(&raw.metadata, is_label)?;
    bound(
        raw.spec.ips.len(),
        limits::KUBE_ADDRESSES,
        Refused::Addresses,
    )?;
    let mut left_out = 0;
    let import = Import {
        namespace,
        name,
        is_headless: *raw.spec.kind == *"Headless",
        ips: addresses_of(&raw.spec.ips, &mut left_out),
        ports: ports(&raw.spec.ports, &mut left_out)?,
    };
    Ok((Object::Import(import), left_out))
}

/// An object that is gone: only what the store finds it by.
pub(super) fn gone(kind: Kind, raw: &raw::Bare, seen: &mut Seen) -> Accepted {
    let meta = &raw.metadata;
    seen.note(meta);
    let object = match kind {
        Kind::Namespace => return namespace(raw, seen),
        Kind::Service => {
            let (namespace, name) = names(meta, is_label)?;
            Object::Service(Service {
                namespace,
                name,
                ..Service::default()
            })
        }
        Kind::Slice => {
            // It may have been another's when it was put.
            let (namespace, name) = names(meta, is_host)?;
            Object::Slice(Slice {
                namespace,
                name,
                ..Slice::default()
            })
        }
        Kind::Pod => {
            let (namespace, name) = names(meta, is_host)?;
            Object::Pod(Pod {
                namespace,
                name,
                ..Pod::default()
            })
        }
        Kind::Import => {
            let (namespace, name) = names(meta, is_label)?;
            Object::Import(Import {
                namespace,
                name,
                ..Import::default()
            })
        }
    };
    Ok((object, 0))
}

/// Service and cluster of a slice, and whether it is imported. One that cannot be is none: without a service the store has no use for the
/// slice, but may have held it before.
fn owner(meta: &raw::Meta, left_out: &mut usize) -> (String, String, bool) {
    let imported = meta.labels.value(IMPORTED_SERVICE);
    let service = imported
        .or_else(|| meta.labels.value(SERVICE))
        .unwrap_or("");
    let cluster = match imported {
        Some(_) => meta.labels.value(SOURCE_CLUSTER).unwrap_or(""),
        None => "",
    };
    let is_wrong = |name: &str| !name.is_empty() && !is_label(name);
    if is_wrong(service) || is_wrong(cluster) {
        *left_out += 1;
        return (String::new(), String::new(), imported.is_some());
    }
    (service.to_owned(), cluster.to_owned(), imported.is_some())
}

fn reach(spec: &raw::ServiceSpec) -> Reach {
    if *spec.kind == *"ExternalName" {
        return Reach::Elsewhere;
    }
    match spec.cluster_ips.first().unwrap_or(&spec.cluster_ip) {
        none if **none == *"None" => Reach::Headless,
        _ => Reach::ClusterIp,
    }
}

fn names(meta: &raw::Meta, is_name: impl Fn(&str) -> bool) -> Result<(String, String), Refused> {
    if !is_label(&meta.namespace) || !is_name(&meta.name) {
        return Err(Refused::Name);
    }
    Ok((meta.namespace.to_string(), meta.name.to_string()))
}

fn add_endpoint(raw: &raw::Endpoint, endpoints: &mut Vec<Endpoint>, left_out: &mut usize) {
    if raw.conditions.ready == Some(false) {
        return;
    }
    // What is no name is as good as none: the endpoint then goes by its address.
    let or_none = |text: &raw::Text, is_name: &dyn Fn(&str) -> bool| match is_name(text) {
        true => text.to_string(),
        false => String::new(),
    };
    for ip in addresses_of(&raw.addresses, left_out) {
        endpoints.push(Endpoint {
            ip,
            hostname: or_none(&raw.hostname, &is_label),
            target: or_none(&raw.target_ref.name, &is_host),
            zone: or_none(&raw.zone, &is_label_value),
        });
    }
}

fn addresses_of<'t>(
    texts: impl IntoIterator<Item = &'t raw::Text<'t>>,
    left_out: &mut usize,
) -> Vec<IpAddr> {
    let parse = |text: &raw::Text| {
        let ip = text.parse().ok();
        *left_out += usize::from(ip.is_none());
        ip
    };
    texts.into_iter().filter_map(parse).collect()
}

fn ports(raw: &[raw::Port], left_out: &mut usize) -> Result<Vec<Port>, Refused> {
    bound(raw.len(), limits::KUBE_PORTS, Refused::Ports)?;
    let mut ports = Vec::with_capacity(raw.len());
    for port in raw {
        let protocol = match &*port.protocol {
            "" | "TCP" => Some(Protocol::Tcp),
            "UDP" => Some(Protocol::Udp),
            "SCTP" => Some(Protocol::Sctp),
            _ => None,
        };
        let is_named = port.name.is_empty() || is_label(&port.name);
        match (protocol, u16::try_from(port.port)) {
            (Some(protocol), Ok(number)) if is_named => ports.push(Port {
                name: port.name.to_string(),
                protocol,
                number,
            }),
            _ => *left_out += 1,
        }
    }
    Ok(ports)
}

fn triggered(meta: &raw::Meta) -> Option<std::time::SystemTime> {
    time::parse(meta.annotations.value(TRIGGERED)?)
}

fn bound(len: usize, most: usize, refused: Refused) -> Result<(), Refused> {
    if len > most { Err(refused) } else { Ok(()) }
}

/// A label of RFC 1123: lower-case letters, digits and inner hyphens, 63 at most.
pub(super) fn is_label(text: &str) -> bool {
    let octets = text.as_bytes();
    (1..=LABEL_OCTETS).contains(&octets.len())
        && octets
            .iter()
            .all(|&octet| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'-')
        && octets[0] != b'-'
        && octets[octets.len() - 1] != b'-'
}

/// Labels with dots between them, 253 octets at most. Underscores and upper-case letters pass: external names have them.
pub(in crate::kube) fn is_host(text: &str) -> bool {
    let is_part = |part: &str| {
        (1..=LABEL_OCTETS).contains(&part.len())
            && part
                .bytes()
                .all(|octet| octet.is_ascii_alphanumeric() || octet == b'-' || octet == b'_')
    };
    text.len() <= HOST_OCTETS && text.split('.').all(is_part)
}

/// What the value of a label may be: zones come from one.
pub(in crate::kube) fn is_label_value(text: &str) -> bool {
    text.len() <= LABEL_OCTETS
        && text
            .bytes()
            .all(|octet| octet.is_ascii_alphanumeric() || b"-_.".contains(&octet))
}

/// Octets of a label (RFC 1035 section 2.3.4).
const LABEL_OCTETS: usize = 63;
/// Characters of a name: those that fit 255 octets on the wire.
const HOST_OCTETS: usize = 253;
/// Characters of an object's name in a log line.
const SHOWN_CHARS: usize = 128;
const SERVICE: &str = "kubernetes.io/service-name";
const IMPORTED_SERVICE: &str = "multicluster.kubernetes.io/service-name";
const SOURCE_CLUSTER: &str = "multicluster.kubernetes.io/source-cluster";
const TRIGGERED: &str = "endpoints.kubernetes.io/last-change-trigger-time";
