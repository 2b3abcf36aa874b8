//! From records to blocks.

use std::net::{IpAddr, Ipv4Addr};

use super::{
    HOSTNAMES, IMPORTED, PRESENT, REPEATED, SHARED, SLIM_POD_OCTETS, Seen, ServiceBlock, TARGETS,
    ZONES,
};
use crate::kube::record::{self, Ingress, Reach};
use crate::limits;
use crate::wire::name::NameBuf;

/// Names that stand for a service: those of ServiceImports are apart from those of Services.
pub(in crate::kube::store) struct Head<'a> {
    pub(in crate::kube::store) namespace: u32,
    pub(in crate::kube::store) name: &'a [u8],
    pub(in crate::kube::store) is_imported: bool,
}

/// What is written of a service itself; `None` for one that only has slices so far.
pub(in crate::kube::store) struct Body<'a> {
    pub(in crate::kube::store) reach: Reach,
    pub(in crate::kube::store) cluster_ips: &'a [IpAddr],
    pub(in crate::kube::store) ports: &'a [record::Port],
    pub(in crate::kube::store) external_name: &'a str,
    pub(in crate::kube::store) external_ips: &'a [IpAddr],
    pub(in crate::kube::store) ingress: &'a [Ingress],
}

pub(in crate::kube::store) fn write_service(
    out: &mut Vec<u8>,
    head: &Head<'_>,
    body: Option<&Body<'_>>,
    slices: &[u8],
) {
    out.clear();
    let (mut cluster, mut ports, mut external) = (Vec::new(), Vec::new(), Vec::new());
    let mut other = NameBuf::ROOT;
    let mut flags = if head.is_imported { IMPORTED } else { 0 };
    if let Some(body) = body {
        flags |= PRESENT | body.reach as u8;
        let few = limits::KUBE_SERVICE_ADDRESSES;
        for (nth, ip) in body.cluster_ips.iter().enumerate().take(few) {
            // Each once, as indexes lead to it.
            if !body.cluster_ips[..nth].contains(ip) {
                put_ip(&mut cluster, *ip);
            }
        }
        put_ports(&mut ports, body.ports);
        if body.reach == Reach::Elsewhere {
            // A name that is none leaves the service without an answer, and an address is no name.
            let is_address = body.external_name.parse::<IpAddr>().is_ok();
            let text = if is_address { "." } else { body.external_name };
            other = NameBuf::from_text(text).unwrap_or(NameBuf::ROOT).to_lower();
        }
        write_externals(&mut external, body);
    }
    let other = if other == NameBuf::ROOT {
        &[][..]
    } else {
        other.as_wire()
    };
    out.extend(head.namespace.to_le_bytes());
    out.extend([flags, head.name.len() as u8, other.len() as u8]);
    out.extend((cluster.len() as u16).to_le_bytes());
    out.extend((ports.len() as u32).to_le_bytes());
    out.extend((slices.len() as u32).to_le_bytes());
    for part in [head.name, &cluster, slices, &ports, other, &external] {
        out.extend(part);
    }
}

/// Each way in once, as an index leads to addresses, and a name is looked up.
fn write_externals(out: &mut Vec<u8>, body: &Body<'_>) {
    let few = limits::KUBE_SERVICE_ADDRESSES;
    let mut ips: Vec<IpAddr> = Vec::new();
    let mut put_new = |out: &mut Vec<u8>, ip: IpAddr| {
        if !ips.contains(&ip) {
            ips.push(ip);
            put_ip(out, ip);
        }
    };
    for ip in body.external_ips.iter().take(few) {
        put_new(out, *ip);
    }
    let mut names: Vec<NameBuf> = Vec::new();
    for way in body.ingress.iter().take(few) {
        match way {
            Ingress::Ip(ip) => put_new(out, *ip),
            Ingress::Host(host) => {
                let name = NameBuf::from_text(host).map(NameBuf::to_lower);
                if let Ok(name) = name
                    && !names.contains(&name)
                {
                    out.extend([0, name.as_wire().len() as u8]);
                    out.extend(name.as_wire());
                    names.push(name);
                }
            }
        }
    }
}

/// The block with other slices.
pub(in crate::kube::store) fn with_slices(
    old: &ServiceBlock<'_>,
    slices: &[u8],
    out: &mut Vec<u8>,
) {
    out.clear();
    out.extend(old.namespace.to_le_bytes());
    out.extend([old.flags, old.name.len() as u8, old.other_name.len() as u8]);
    out.extend((old.cluster.len() as u16).to_le_bytes());
    out.extend((old.ports.len() as u32).to_le_bytes());
    out.extend((slices.len() as u32).to_le_bytes());
    for part in [
        old.name,
        old.cluster,
        slices,
        old.ports,
        old.other_name,
        old.external,
    ] {
        out.extend(part);
    }
}

/// What of an endpoint is kept beside its address and host name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Keep {
    /// The names of pods: of endpoints (`endpoint_pod_names`), and of pods themselves with their labels (metadata).
    pub targets: bool,
    /// Zones (`zonal`).
    pub zones: bool,
    /// Names and labels of pods.
    pub pods: bool,
}

impl Keep {
    /// Everything.
    pub const ALL: Keep = Keep {
        targets: true,
        zones: true,
        pods: true,
    };
}

pub(in crate::kube::store) fn write_slice(
    out: &mut Vec<u8>,
    slice: &record::Slice,
    place: (u32, u32, u64),
    keep: Keep,
) {
    out.clear();
    let mut endpoints: Vec<&record::Endpoint> = slice
        .endpoints
        .iter()
        .take(limits::KUBE_SLICE_ENDPOINTS)
        .collect();
    // IPv4 first, as the families are read.
    endpoints.sort_by(|a, b| (a.ip, &a.hostname).cmp(&(b.ip, &b.hostname)));
    endpoints.dedup_by(|a, b| a.ip == b.ip && a.hostname == b.hostname);
    let is_shared = endpoints.windows(2).any(|pair| pair[0].ip == pair[1].ip);
    let v4 = endpoints.partition_point(|endpoint| endpoint.ip.is_ipv4());
    let mut ports = Vec::new();
    put_ports(&mut ports, &slice.ports);
    let has = |text: fn(&record::Endpoint) -> &str, flag: u8, is_kept: bool| {
        let has = is_kept && endpoints.iter().any(|endpoint| !text(endpoint).is_empty());
        if has { flag } else { 0 }
    };
    let flags = if is_shared { SHARED } else { 0 }
        | has(|e| &e.zone, ZONES, keep.zones)
        | has(|e| &e.hostname, HOSTNAMES, true)
        | has(|e| &e.target, TARGETS, keep.targets);
    let cluster = &slice.cluster.as_bytes()[..slice.cluster.len().min(255)];
    let (namespace, service, key) = place;
    out.extend(namespace.to_le_bytes());
    out.extend(service.to_le_bytes());
    out.extend(key.to_le_bytes());
    out.extend([flags, cluster.len() as u8]);
    out.extend((ports.len() as u32).to_le_bytes());
    out.extend((v4 as u16).to_le_bytes());
    out.extend(((endpoints.len() - v4) as u16).to_le_bytes());
    out.extend(cluster);
    out.extend(&ports);
    endpoints
        .iter()
        .for_each(|endpoint| put_octets(out, endpoint.ip));
    if flags & ZONES != 0 {
        put_texts(out, endpoints.iter().map(|endpoint| &*endpoint.zone));
    }
    if flags & HOSTNAMES != 0 {
        put_texts(out, endpoints.iter().map(|endpoint| &*endpoint.hostname));
    }
    if flags & TARGETS != 0 {
        put_texts(out, endpoints.iter().map(|endpoint| &*endpoint.target));
    }
}

/// The block of a pod with one IPv4 address of which neither name nor labels are kept.
pub(in crate::kube::store) fn slim_pod(
    namespace: u32,
    key: u64,
    ip: Ipv4Addr,
) -> [u8; SLIM_POD_OCTETS] {
    let mut octets = [0; SLIM_POD_OCTETS];
    octets[..4].copy_from_slice(&namespace.to_le_bytes());
    octets[4..12].copy_from_slice(&key.to_le_bytes());
    octets[12] = 1;
    octets[15..].copy_from_slice(&ip.octets());
    octets
}

pub(in crate::kube::store) fn write_pod(
    out: &mut Vec<u8>,
    pod: &record::Pod,
    place: (u32, u64),
    keep: Keep,
) {
    out.clear();
    let mut ips: Vec<IpAddr> = pod
        .ips
        .iter()
        .take(limits::KUBE_SERVICE_ADDRESSES)
        .copied()
        .collect();
    ips.sort_unstable();
    ips.dedup();
    let v4 = ips.partition_point(IpAddr::is_ipv4);
    let name = if keep.pods { pod.name.as_bytes() } else { &[] };
    let name = &name[..name.len().min(255)];
    out.extend(place.0.to_le_bytes());
    out.extend(place.1.to_le_bytes());
    out.extend([v4 as u8, (ips.len() - v4) as u8, name.len() as u8]);
    ips.iter().for_each(|ip| put_octets(out, *ip));
    out.extend(name);
    let labels = pod.labels.iter().filter(|_| keep.pods);
    // The API server takes keys of 317 octets and values of 63.
    let is_sane = |row: &&(String, String)| row.0.len() <= 512 && row.1.len() <= 255;
    for (key, value) in labels.filter(is_sane) {
        out.extend((key.len() as u16).to_le_bytes());
        out.push(value.len() as u8);
        out.extend(key.bytes().chain(value.bytes()));
    }
}

fn put_ip(out: &mut Vec<u8>, ip: IpAddr) {
    out.push(if ip.is_ipv4() { 4 } else { 6 });
    put_octets(out, ip);
}

fn put_octets(out: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => out.extend(ip.octets()),
        IpAddr::V6(ip) => out.extend(ip.octets()),
    }
}

fn put_ports(out: &mut Vec<u8>, ports: &[record::Port]) {
    let mut numbers = Seen::new();
    for port in ports.iter().take(limits::KUBE_PORTS) {
        let name = &port.name.as_bytes()[..port.name.len().min(63)];
        out.extend(port.number.to_le_bytes());
        let repeated = if numbers.insert(port.number) {
            0
        } else {
            REPEATED
        };
        out.extend([port.protocol as u8 | repeated, name.len() as u8]);
        out.extend(name.iter().map(u8::to_ascii_lowercase));
    }
}

fn put_texts<'a>(out: &mut Vec<u8>, texts: impl Iterator<Item = &'a str> + Clone) {
    let mut end = 0u32;
    let cut = |text: &'a str| &text.as_bytes()[..text.len().min(limits::KUBE_TEXT_OCTETS)];
    for text in texts.clone() {
        end += cut(text).len() as u32;
        out.extend(end.to_le_bytes());
    }
    for text in texts {
        out.extend(cut(text).iter().map(u8::to_ascii_lowercase));
    }
}
