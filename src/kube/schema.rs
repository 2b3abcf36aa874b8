//! What a name below a cluster zone asks for (Kubernetes DNS specification 1.1.0, section 2).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::corefile::ZoneName;

/// A question, read from right to left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request<'n> {
    /// The zone itself, `svc` or `pod` in it, or a namespace in one of these.
    Branch(Branch<'n>),
    /// A pod by its dashed address.
    Pod {
        /// The namespace.
        namespace: &'n [u8],
        /// The label.
        name: &'n [u8],
    },
    /// A service, or some of what belongs to it.
    Service(Asked<'n>),
    /// No name of the schema.
    Unknown,
}

/// A name that has no records of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Branch<'n> {
    /// It is always there.
    Fixed,
    /// It is there if this namespace is.
    Namespace(&'n [u8]),
    /// The same, where names of pods are answered.
    PodNamespace(&'n [u8]),
}

/// A service and what narrows it down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked<'n> {
    /// Its namespace.
    pub namespace: &'n [u8],
    /// Its name.
    pub service: &'n [u8],
    /// What of it.
    pub part: Part<'n>,
    /// Where the service's label begins in the name.
    pub service_at: usize,
}

/// What of a service is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'n> {
    /// All of it.
    Whole,
    /// One port, by name and protocol without their underscores.
    Port {
        /// Empty stands for any.
        port: &'n [u8],
        /// Empty stands for any.
        protocol: &'n [u8],
    },
    /// One endpoint; the cluster is empty but in multicluster zones.
    Endpoint {
        /// Its label.
        endpoint: &'n [u8],
        /// The cluster that it is in.
        cluster: &'n [u8],
    },
    /// The endpoints of one zone of nodes.
    Zone {
        /// Its name.
        zone: &'n [u8],
        /// `pin`: those or none; `prefer`: those if there are any.
        is_pinned: bool,
    },
}

/// Which extensions of the schema a zone has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Schema {
    /// It holds the services of a cluster set, whose endpoints have the name of their cluster.
    pub multicluster: bool,
    /// Endpoints can be asked for by the zone of their node.
    pub zonal: bool,
}

/// Reads the lower-case wire name, of which the last `zone_len` octets are the zone.
pub fn read(name: &[u8], zone_len: usize, schema: Schema) -> Request<'_> {
    let mut room = [(0, &[][..]); LABELS];
    let Some(labels) = labels(name, zone_len, &mut room) else {
        return Request::Unknown;
    };
    match *labels {
        [] => Request::Branch(Branch::Fixed),
        [(_, b"svc" | b"pod")] => Request::Branch(Branch::Fixed),
        [(_, b"svc"), (_, namespace)] => Request::Branch(Branch::Namespace(namespace)),
        [(_, b"pod"), (_, namespace)] => Request::Branch(Branch::PodNamespace(namespace)),
        // CoreDNS looks at no label to the left of a pod's but counts them.
        [(_, b"pod"), (_, namespace), (_, name), ref rest @ ..] if rest.len() <= 2 => {
            Request::Pod { namespace, name }
        }
        [
            (_, b"svc"),
            (_, namespace),
            (service_at, service),
            ref rest @ ..,
        ] => {
            let part = match (schema, rest) {
                (_, []) => Part::Whole,
                (_, [(_, endpoint)]) => Part::Endpoint {
                    endpoint,
                    cluster: &[],
                },
                (
                    Schema {
                        multicluster: true, ..
                    },
                    [(_, cluster), (_, endpoint)],
                ) if cluster.first() != Some(&b'_') && endpoint.first() != Some(&b'_') => {
                    Part::Endpoint { endpoint, cluster }
                }
                (_, [(_, protocol), (_, port)]) => Part::Port {
                    port: without_underscore(port),
                    protocol: without_underscore(protocol),
                },
                (
                    Schema { zonal: true, .. },
                    [(_, b"_zone"), (_, how @ (b"pin" | b"prefer")), (_, zone)],
                ) => Part::Zone {
                    zone,
                    is_pinned: *how == b"pin",
                },
                _ => return Request::Unknown,
            };
            Request::Service(Asked {
                namespace,
                service,
                part,
                service_at,
            })
        }
        _ => Request::Unknown,
    }
}

/// The labels in front of the last `zone_len` octets of a wire name, from the zone to the left, each with the octet it begins at. `None`: there
/// are more than `N`.
pub fn labels<'r, 'n, const N: usize>(
    name: &'n [u8],
    zone_len: usize,
    room: &'r mut [(usize, &'n [u8]); N],
) -> Option<&'r [(usize, &'n [u8])]> {
    let (mut count, mut at) = (0, 0);
    let end = name.len().saturating_sub(zone_len);
    while at < end {
        let len = usize::from(name[at]);
        let label = name.get(at + 1..at + 1 + len).unwrap_or_default();
        *room.get_mut(count)? = (at, label);
        count += 1;
        at += 1 + len;
    }
    room[..count].reverse();
    Some(&room[..count])
}

/// Labels of ports and protocols have an underscore in front, but need not have it.
pub fn without_underscore(label: &[u8]) -> &[u8] {
    label.strip_prefix(b"_").unwrap_or(label)
}

/// The address that a name below in-addr.arpa or ip6.arpa spells in full.
pub fn reverse_address(name: &[u8]) -> Option<IpAddr> {
    if let Some(labels) = name.strip_suffix(V4) {
        let mut octets = [0; 4];
        let mut rest = labels;
        for place in octets.iter_mut().rev() {
            let (len, after) = rest.split_first()?;
            let (label, after) = after.split_at_checked(usize::from(*len))?;
            *place = std::str::from_utf8(label)
                .ok()
                .filter(|text| !text.starts_with('+'))?
                .parse()
                .ok()?;
            rest = after;
        }
        return rest.is_empty().then(|| Ipv4Addr::from(octets).into());
    }
    let nibbles = name.strip_suffix(V6)?;
    let (pairs, []) = nibbles.as_chunks::<2>() else {
        return None;
    };
    let mut bits = 0u128;
    for (nth, [len, digit]) in pairs.iter().enumerate() {
        let nibble = char::from(*digit).to_digit(16).filter(|_| *len == 1)?;
        bits |= u128::from(nibble) << (4 * nth.min(31));
    }
    (pairs.len() == 32).then(|| Ipv6Addr::from_bits(bits).into())
}

/// Whether a zone is one of names of addresses; `in-addr.arpa` and `ip6.arpa` themselves are, too.
#[inline]
pub fn is_reverse(zone: &ZoneName) -> bool {
    // The comparison of last octets tells nearly all others.
    zone.wire().ends_with(b"arpa\0") && (zone.wire().ends_with(V4) || zone.wire().ends_with(V6))
}

/// `ZONE.prefer._zone.SVC.NS.svc` is the longest of the schema.
const LABELS: usize = 6;

const V4: &[u8] = b"\x07in-addr\x04arpa\0";
const V6: &[u8] = b"\x03ip6\x04arpa\0";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::name::NameBuf;

    fn check(name: &str, schema: Schema, expected: Request<'_>) {
        let zone = NameBuf::from_text("cluster.local.").unwrap();
        let name = NameBuf::from_text(&format!("{name}cluster.local.")).unwrap();
        assert_eq!(
            read(name.as_wire(), zone.as_wire().len(), schema),
            expected,
            "{name}"
        );
    }

    fn service(part: Part<'static>, service_at: usize) -> Request<'static> {
        Request::Service(Asked {
            namespace: b"ns",
            service: b"web",
            part,
            service_at,
        })
    }

    #[test]
    fn names_of_the_schema() {
        let plain = Schema::default();
        check("", plain, Request::Branch(Branch::Fixed));
        check("svc.", plain, Request::Branch(Branch::Fixed));
        check("pod.", plain, Request::Branch(Branch::Fixed));
        check("ns.svc.", plain, Request::Branch(Branch::Namespace(b"ns")));
        check(
            "ns.pod.",
            plain,
            Request::Branch(Branch::PodNamespace(b"ns")),
        );
        check("web.ns.svc.", plain, service(Part::Whole, 0));
        let endpoint = |cluster| Part::Endpoint {
            endpoint: b"10-0-0-1",
            cluster,
        };
        check("10-0-0-1.web.ns.svc.", plain, service(endpoint(b""), 9));
        let port = Part::Port {
            port: b"http",
            protocol: b"tcp",
        };
        check("_http._tcp.web.ns.svc.", plain, service(port, 11));
        check("http.tcp.web.ns.svc.", plain, service(port, 9));
        let pod = Request::Pod {
            namespace: b"ns",
            name: b"10-0-0-1",
        };
        check("10-0-0-1.ns.pod.", plain, pod);
        check("a.b.10-0-0-1.ns.pod.", plain, pod);
        let multicluster = Schema {
            multicluster: true,
            zonal: false,
        };
        check(
            "10-0-0-1.west.web.ns.svc.",
            multicluster,
            service(endpoint(b"west"), 14),
        );
        check("_http._tcp.web.ns.svc.", multicluster, service(port, 11));
        let zonal = Schema {
            multicluster: false,
            zonal: true,
        };
        check(
            "a.pin._zone.web.ns.svc.",
            zonal,
            service(
                Part::Zone {
                    zone: b"a",
                    is_pinned: true,
                },
                12,
            ),
        );
        check(
            "a.prefer._zone.web.ns.svc.",
            zonal,
            service(
                Part::Zone {
                    zone: b"a",
                    is_pinned: false,
                },
                15,
            ),
        );
    }

    #[test]
    fn other_names() {
        let plain = Schema::default();
        for name in [
            "web.",
            "ns.sv.",
            "a.b.c.web.ns.svc.",
            "a.pin._zone.web.ns.svc.",
            "a.b.c.10-0-0-1.ns.pod.",
            "a.b.c.d.e.f.g.web.ns.svc.",
            "google.com.svc.cluster.local.",
        ] {
            check(name, plain, Request::Unknown);
        }
    }

    #[test]
    fn addresses_in_names() {
        let address = |name: &str| {
            let name = NameBuf::from_text(name).unwrap();
            reverse_address(name.as_wire()).map(|ip| ip.to_string())
        };
        assert_eq!(address("4.3.2.1.in-addr.arpa.").as_deref(), Some("1.2.3.4"));
        let v6 = format!("{}d.f.ip6.arpa.", "2.".to_owned() + &"0.".repeat(29));
        assert_eq!(address(&v6).as_deref(), Some("fd00::2"));
        for name in [
            "3.2.1.in-addr.arpa.",
            "5.4.3.2.1.in-addr.arpa.",
            "256.3.2.1.in-addr.arpa.",
            "+4.3.2.1.in-addr.arpa.",
            "in-addr.arpa.",
            "d.f.ip6.arpa.",
            "10.0.0.1.example.org.",
        ] {
            assert_eq!(address(name), None, "{name}");
        }
    }
}
