//! How objects lie in memory: one block of octets each, written by the control thread, read in place by all.
//!
//! ```text
//! service  namespace u32, flags, lengths | name | cluster addresses | slices u32... | ports | other name | ways in from outside
//! slice    namespace u32, service u32, key u64, counts | cluster | ports | IPv4... | IPv6... | zones | host names | targets
//! pod      namespace u32, key u64, counts | IPv4... | IPv6... | name | labels
//! ```
//! Addresses of a slice are sorted, so that one of a thousand is found by a binary search. Numbers are little-endian and not aligned.

pub(super) mod check;
mod write;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::kube::record::{Protocol, Reach};

pub use self::write::Keep;
pub(super) use self::write::{
    Body, Head, slim_pod, with_slices, write_pod, write_service, write_slice,
};

/// A place in a block.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'p>(pub(super) &'p [u8]);

impl<'p> Cursor<'p> {
    /// The next octets. What is written here is read here, so there are as many; if not, there are fewer.
    #[inline]
    pub(super) fn take(&mut self, len: usize) -> &'p [u8] {
        let (head, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        head
    }

    #[inline]
    pub(super) fn u8(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or_default()
    }

    #[inline]
    pub(super) fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    #[inline]
    pub(super) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    #[inline]
    pub(super) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> [u8; N] {
        self.take(N).first_chunk().copied().unwrap_or([0; N])
    }

    fn ip(&mut self) -> Option<IpAddr> {
        match self.u8() {
            4 => Some(Ipv4Addr::from(self.array()).into()),
            6 => Some(Ipv6Addr::from(self.array()).into()),
            _ => None,
        }
    }
}

/// A port of a service or slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port<'p> {
    /// 0 where there is none.
    pub number: u16,
    /// Its protocol.
    pub protocol: Protocol,
    /// Lower-case octets, empty where it has no name.
    pub name: &'p [u8],
    /// An earlier port has the same number: DNS over UDP and TCP, say.
    pub is_repeated: bool,
}

/// Ports one after the other.
#[derive(Clone)]
pub struct Ports<'p>(Cursor<'p>);

impl<'p> Iterator for Ports<'p> {
    type Item = Port<'p>;

    #[inline]
    fn next(&mut self) -> Option<Port<'p>> {
        if self.0.0.is_empty() {
            return None;
        }
        let number = self.0.u16();
        let marks = self.0.u8();
        let protocol = match marks & !REPEATED {
            0 => Protocol::Tcp,
            1 => Protocol::Udp,
            _ => Protocol::Sctp,
        };
        let len = usize::from(self.0.u8());
        let name = self.0.take(len);
        Some(Port {
            number,
            protocol,
            name,
            is_repeated: marks & REPEATED != 0,
        })
    }
}

/// Addresses one after the other, each with its family in front.
#[derive(Clone)]
pub struct Addresses<'p>(Cursor<'p>);

impl Iterator for Addresses<'_> {
    type Item = IpAddr;

    fn next(&mut self) -> Option<IpAddr> {
        self.0.ip()
    }
}

/// A way to a service from outside of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum External<'p> {
    /// An address.
    Ip(IpAddr),
    /// A name in lower-case wire form.
    Name(&'p [u8]),
}

/// Ways in, in the order of the object.
#[derive(Clone)]
pub struct Externals<'p>(Cursor<'p>);

impl<'p> Iterator for Externals<'p> {
    type Item = External<'p>;

    fn next(&mut self) -> Option<External<'p>> {
        let mut at = self.0;
        if at.0.is_empty() {
            return None;
        }
        let way = match self.0.ip() {
            Some(ip) => External::Ip(ip),
            None => {
                at.u8();
                let len = usize::from(at.u8());
                let name = at.take(len);
                self.0 = at;
                External::Name(name)
            }
        };
        Some(way)
    }
}

/// The addresses among ways in.
pub(super) type ExternalIps<'p> =
    std::iter::FilterMap<Externals<'p>, fn(External<'p>) -> Option<IpAddr>>;

/// The parts of a service's block.
#[derive(Clone, Copy)]
pub(super) struct ServiceBlock<'p> {
    pub(super) namespace: u32,
    flags: u8,
    pub(super) name: &'p [u8],
    cluster: &'p [u8],
    pub(super) slices: &'p [u8],
    ports: &'p [u8],
    /// Wire form, empty where there is none.
    pub(super) other_name: &'p [u8],
    external: &'p [u8],
}

impl<'p> ServiceBlock<'p> {
    /// Parts that nobody looks at cost nothing.
    #[inline(always)]
    pub(super) fn read(octets: &'p [u8]) -> ServiceBlock<'p> {
        let (head, rest) = octets
            .split_first_chunk()
            .unwrap_or((&[0; SERVICE_HEAD], &[]));
        let [
            n0,
            n1,
            n2,
            n3,
            flags,
            name_len,
            other_len,
            c0,
            c1,
            p0,
            p1,
            p2,
            p3,
            s0,
            s1,
            s2,
            s3,
        ] = *head;
        let (name_len, other_len) = (usize::from(name_len), usize::from(other_len));
        let cluster_len = usize::from(u16::from_le_bytes([c0, c1]));
        let ports_len = u32::from_le_bytes([p0, p1, p2, p3]) as usize;
        let slices_len = u32::from_le_bytes([s0, s1, s2, s3]) as usize;
        let mut at = Cursor(rest);
        ServiceBlock {
            namespace: u32::from_le_bytes([n0, n1, n2, n3]),
            flags,
            name: at.take(name_len),
            cluster: at.take(cluster_len),
            slices: at.take(slices_len),
            ports: at.take(ports_len),
            other_name: at.take(other_len),
            external: at.0,
        }
    }

    pub(super) fn is_present(&self) -> bool {
        self.flags & PRESENT != 0
    }

    pub(super) fn is_imported(&self) -> bool {
        self.flags & IMPORTED != 0
    }

    pub(super) fn reach(&self) -> Reach {
        match self.flags & REACH {
            0 => Reach::ClusterIp,
            1 => Reach::Headless,
            _ => Reach::Elsewhere,
        }
    }

    pub(super) fn cluster_ips(&self) -> Addresses<'p> {
        Addresses(Cursor(self.cluster))
    }

    pub(super) fn ports(&self) -> Ports<'p> {
        Ports(Cursor(self.ports))
    }

    pub(super) fn externals(&self) -> Externals<'p> {
        Externals(Cursor(self.external))
    }

    pub(super) fn external_ips(&self) -> ExternalIps<'p> {
        self.externals().filter_map(|way| match way {
            External::Ip(ip) => Some(ip),
            External::Name(_) => None,
        })
    }

    pub(super) fn slice_numbers(&self) -> impl Iterator<Item = u32> + Clone + use<'p> {
        let numbers = self.slices.as_chunks::<4>().0.iter();
        numbers.map(|number| u32::from_le_bytes(*number))
    }
}

/// The parts of a slice's block.
#[derive(Clone, Copy)]
pub(super) struct SliceBlock<'p> {
    pub(super) namespace: u32,
    pub(super) service: u32,
    pub(super) key: u64,
    flags: u8,
    pub(super) cluster: &'p [u8],
    ports: &'p [u8],
    pub(super) v4: &'p [[u8; 4]],
    pub(super) v6: &'p [[u8; 16]],
    zones: Texts<'p>,
    hostnames: Texts<'p>,
    targets: Texts<'p>,
}

/// A text for each endpoint, or none at all: where each ends, then all of them.
#[derive(Clone, Copy)]
struct Texts<'p> {
    ends: &'p [[u8; 4]],
    text: &'p [u8],
}

impl<'p> Texts<'p> {
    fn read(at: &mut Cursor<'p>, count: usize) -> Texts<'p> {
        let ends = at.take(4 * count).as_chunks().0;
        let len = ends.last().map_or(0, |end| u32::from_le_bytes(*end));
        Texts {
            ends,
            text: at.take(len as usize),
        }
    }

    fn nth(&self, nth: usize) -> &'p [u8] {
        let end_of = |nth: usize| {
            let end = self.ends.get(nth)?;
            Some(u32::from_le_bytes(*end) as usize)
        };
        let start = nth.checked_sub(1).and_then(end_of).unwrap_or(0);
        let end = end_of(nth).unwrap_or(0);
        self.text.get(start..end).unwrap_or_default()
    }
}

/// One endpoint of a slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint<'p> {
    /// Its address.
    pub ip: IpAddr,
    /// Lower-case, empty where there is none.
    pub hostname: &'p [u8],
    /// The name of the pod, lower-case; empty where there is none or nobody wants it.
    pub target: &'p [u8],
    /// The zone of its node; empty where there is none or nobody wants it.
    pub zone: &'p [u8],
}

impl<'p> SliceBlock<'p> {
    #[inline(always)]
    pub(super) fn read(octets: &'p [u8]) -> SliceBlock<'p> {
        let mut at = Cursor(octets);
        let (namespace, service, key) = (at.u32(), at.u32(), at.u64());
        let flags = at.u8();
        let cluster_len = usize::from(at.u8());
        let ports_len = at.u32() as usize;
        let (v4, v6) = (usize::from(at.u16()), usize::from(at.u16()));
        let count = |flag: u8| if flags & flag != 0 { v4 + v6 } else { 0 };
        SliceBlock {
            namespace,
            service,
            key,
            flags,
            cluster: at.take(cluster_len),
            ports: at.take(ports_len),
            v4: at.take(4 * v4).as_chunks().0,
            v6: at.take(16 * v6).as_chunks().0,
            zones: Texts::read(&mut at, count(ZONES)),
            hostnames: Texts::read(&mut at, count(HOSTNAMES)),
            targets: Texts::read(&mut at, count(TARGETS)),
        }
    }

    pub(super) fn ports(&self) -> Ports<'p> {
        Ports(Cursor(self.ports))
    }

    /// Whether an address comes more than once.
    pub(super) fn repeats_addresses(&self) -> bool {
        self.flags & SHARED != 0
    }

    pub(super) fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    pub(super) fn nth(&self, nth: usize) -> Option<Endpoint<'p>> {
        let ip = match self.v4.get(nth) {
            Some(v4) => Ipv4Addr::from(*v4).into(),
            None => Ipv6Addr::from(*self.v6.get(nth - self.v4.len())?).into(),
        };
        Some(Endpoint {
            ip,
            hostname: self.hostnames.nth(nth),
            target: self.targets.nth(nth),
            zone: self.zones.nth(nth),
        })
    }

    /// The endpoints with that address: one, but for names that share it.
    pub(super) fn at(&self, ip: IpAddr) -> impl Iterator<Item = Endpoint<'p>> + Clone + use<'p> {
        let range = match ip {
            IpAddr::V4(ip) => equal(self.v4, &ip.octets()),
            IpAddr::V6(ip) => {
                let range = equal(self.v6, &ip.octets());
                self.v4.len() + range.start..self.v4.len() + range.end
            }
        };
        let block = *self;
        range.filter_map(move |nth| block.nth(nth))
    }

    /// Addresses, each once.
    pub(super) fn ips(&self) -> impl Iterator<Item = IpAddr> + use<'p> {
        let v4 = distinct(self.v4).map(|ip| Ipv4Addr::from(*ip).into());
        v4.chain(distinct(self.v6).map(|ip| Ipv6Addr::from(*ip).into()))
    }

    /// Host names and targets, as they are looked up by.
    pub(super) fn names(&self) -> impl Iterator<Item = &'p [u8]> + use<'p> {
        let (hostnames, targets) = (self.hostnames, self.targets);
        let names = (0..hostnames.ends.len()).map(move |nth| hostnames.nth(nth));
        names
            .chain((0..targets.ends.len()).map(move |nth| targets.nth(nth)))
            .filter(|name| !name.is_empty())
    }
}

/// The parts of a pod's block.
#[derive(Clone, Copy)]
pub(super) struct PodBlock<'p> {
    pub(super) namespace: u32,
    pub(super) key: u64,
    v4: &'p [[u8; 4]],
    v6: &'p [[u8; 16]],
    /// Empty where nobody wants names.
    pub(super) name: &'p [u8],
    labels: &'p [u8],
}

impl<'p> PodBlock<'p> {
    #[inline]
    pub(super) fn read(octets: &'p [u8]) -> PodBlock<'p> {
        let mut at = Cursor(octets);
        let (namespace, key) = (at.u32(), at.u64());
        let (v4, v6, name_len) = (at.u8(), at.u8(), at.u8());
        PodBlock {
            namespace,
            key,
            v4: at.take(4 * usize::from(v4)).as_chunks().0,
            v6: at.take(16 * usize::from(v6)).as_chunks().0,
            name: at.take(usize::from(name_len)),
            labels: at.0,
        }
    }

    pub(super) fn ips(&self) -> impl Iterator<Item = IpAddr> + use<'p> {
        let v4 = self.v4.iter().map(|ip| Ipv4Addr::from(*ip).into());
        v4.chain(self.v6.iter().map(|ip| Ipv6Addr::from(*ip).into()))
    }

    pub(super) fn labels(&self) -> impl Iterator<Item = (&'p [u8], &'p [u8])> + use<'p> {
        let mut at = Cursor(self.labels);
        std::iter::from_fn(move || {
            if at.0.is_empty() {
                return None;
            }
            let (key, value) = (usize::from(at.u16()), usize::from(at.u8()));
            Some((at.take(key), at.take(value)))
        })
    }
}

/// The values of a sorted list, each once.
fn distinct<T: Eq>(sorted: &[T]) -> impl Iterator<Item = &T> {
    let is_new = |nth: usize| nth == 0 || sorted[nth - 1] != sorted[nth];
    let places = (0..sorted.len()).filter(move |nth| is_new(*nth));
    places.map(|nth| &sorted[nth])
}

/// Numbers that were met; the first few take no memory of their own.
struct Seen {
    few: [u16; FEW],
    /// `0 <= len <= FEW`
    len: usize,
    more: BTreeSet<u16>,
}

impl Seen {
    fn new() -> Seen {
        Seen {
            few: [0; FEW],
            len: 0,
            more: BTreeSet::new(),
        }
    }

    /// False if the number was met before.
    fn insert(&mut self, number: u16) -> bool {
        if self.few[..self.len].contains(&number) {
            return false;
        }
        match self.few.get_mut(self.len) {
            Some(place) => {
                *place = number;
                self.len += 1;
                true
            }
            None => self.more.insert(number),
        }
    }
}

const FEW: usize = 24;

/// Where a sorted list holds a value.
fn equal<T: Ord>(sorted: &[T], value: &T) -> std::ops::Range<usize> {
    let Ok(found) = sorted.binary_search(value) else {
        return 0..0;
    };
    let start = (0..found)
        .rev()
        .take_while(|nth| sorted[*nth] == *value)
        .count();
    let end = sorted[found..]
        .iter()
        .take_while(|other| *other == value)
        .count();
    found - start..found + end
}

/// Octets of a service's block in front of its name.
const SERVICE_HEAD: usize = 17;
/// See [`slim_pod`].
pub(super) const SLIM_POD_OCTETS: usize = 19;
const REACH: u8 = 3;
const IMPORTED: u8 = 4;
const PRESENT: u8 = 8;
/// In a port's protocol.
const REPEATED: u8 = 0x80;
const ZONES: u8 = 1;
const HOSTNAMES: u8 = 2;
const TARGETS: u8 = 4;
/// Two endpoints have one address.
const SHARED: u8 = 8;
