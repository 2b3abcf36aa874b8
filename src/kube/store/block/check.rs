//! Blocks that come from a file: each is either as it would be written here, or refused. Numbers in them that name other blocks are the
//! caller's to check. All functions return how many addresses the block is found by.

use super::{HOSTNAMES, IMPORTED, PRESENT, REACH, REPEATED, SHARED, Seen, TARGETS, ZONES};
use crate::limits;
use crate::wire::name;

/// `exists | name`.
pub(in crate::kube::store) fn namespace(octets: &[u8]) -> Option<usize> {
    let (exists, name) = octets.split_first()?;
    (*exists <= 1 && is_label(name)).then_some(0)
}

/// A service without slices.
pub(in crate::kube::store) fn service(octets: &[u8]) -> Option<usize> {
    let mut at = Exact(octets);
    at.take(4)?;
    let flags = at.u8()?;
    let (name_len, other_len) = (at.len()?, at.len()?);
    let (cluster_len, ports_len, slices_len) = (at.u16()?, at.u32()?, at.u32()?);
    let is_known = flags & !(REACH | IMPORTED | PRESENT) == 0 && flags & REACH != REACH;
    (is_known && slices_len == 0 && is_label(at.take(name_len)?)).then_some(())?;
    let mut cluster = Exact(at.take(cluster_len)?);
    ports(at.take(ports_len)?)?;
    let other = at.take(other_len)?;
    (other.is_empty() || is_name(other)).then_some(())?;
    let mut count = 0;
    while !cluster.is_empty() {
        let family = cluster.u8()?;
        cluster.take(address_len(family)?)?;
        count += 1;
    }
    while !at.is_empty() {
        match at.u8()? {
            0 => {
                let len = at.len()?;
                is_name(at.take(len)?).then_some(())?;
            }
            family => drop(at.take(address_len(family)?)?),
        }
    }
    (count <= limits::KUBE_SERVICE_ADDRESSES).then_some(count)
}

/// A slice.
pub(in crate::kube::store) fn slice(octets: &[u8]) -> Option<usize> {
    let mut at = Exact(octets);
    at.take(4 + 4 + 8)?;
    let (flags, cluster_len, ports_len) = (at.u8()?, at.len()?, at.u32()?);
    let (v4, v6) = (at.u16()?, at.u16()?);
    let count = v4 + v6;
    let is_known = flags & !(ZONES | HOSTNAMES | TARGETS | SHARED) == 0;
    (is_known && count <= limits::KUBE_SLICE_ENDPOINTS).then_some(())?;
    at.take(cluster_len)?;
    ports(at.take(ports_len)?)?;
    ips(&mut at, v4, v6, flags & SHARED != 0)?;
    for (flag, octets_max) in [
        (ZONES, limits::KUBE_TEXT_OCTETS),
        (HOSTNAMES, LABEL_OCTETS),
        (TARGETS, limits::KUBE_TEXT_OCTETS),
    ] {
        if flags & flag != 0 {
            texts(&mut at, count, octets_max)?;
        }
    }
    at.is_empty().then_some(count)
}

/// A pod.
pub(in crate::kube::store) fn pod(octets: &[u8]) -> Option<usize> {
    let mut at = Exact(octets);
    at.take(4 + 8)?;
    let (v4, v6, name_len) = (at.len()?, at.len()?, at.len()?);
    ips(&mut at, v4, v6, false)?;
    at.take(name_len)?;
    while !at.is_empty() {
        let (key_len, value_len) = (at.u16()?, at.len()?);
        at.take(key_len)?;
        at.take(value_len)?;
    }
    Some(v4 + v6)
}

fn ports(octets: &[u8]) -> Option<()> {
    let mut at = Exact(octets);
    let mut count = 0;
    let mut numbers = Seen::new();
    while !at.is_empty() {
        let number = at.u16()? as u16;
        let (marks, len) = (at.u8()?, at.len()?);
        at.take(len)?;
        count += 1;
        let is_marked = numbers.insert(number) == (marks & REPEATED == 0);
        (marks & !REPEATED <= 2 && is_marked && len <= LABEL_OCTETS).then_some(())?;
    }
    (count <= limits::KUBE_PORTS).then_some(())
}

/// Addresses in rising order, as they are looked up by halves; each once, unless they are said to be shared.
fn ips(at: &mut Exact<'_>, v4: usize, v6: usize, is_shared: bool) -> Option<()> {
    let v4 = at.take(4 * v4)?.as_chunks::<4>().0;
    let v6 = at.take(16 * v6)?.as_chunks::<16>().0;
    let rise = match is_shared {
        true => v4.is_sorted() && v6.is_sorted(),
        false => v4.is_sorted_by(|one, next| one < next) && v6.is_sorted_by(|one, next| one < next),
    };
    rise.then_some(())
}

/// A text for each of `count`, none longer than that.
fn texts(at: &mut Exact<'_>, count: usize, octets_max: usize) -> Option<()> {
    let ends = at.take(4 * count)?.as_chunks::<4>().0;
    let mut before = 0;
    for end in ends.iter().map(|end| u32::from_le_bytes(*end) as usize) {
        let len = end.checked_sub(before)?;
        (len <= octets_max).then_some(())?;
        before = end;
    }
    at.take(before).map(drop)
}

fn is_label(octets: &[u8]) -> bool {
    (1..=LABEL_OCTETS).contains(&octets.len())
}

/// One whole name in wire form and lower case.
fn is_name(wire: &[u8]) -> bool {
    let is_whole = name::skip_uncompressed(wire).is_ok_and(|end| end == wire.len());
    is_whole && !wire.iter().any(u8::is_ascii_uppercase)
}

fn address_len(family: u8) -> Option<usize> {
    match family {
        4 => Some(4),
        6 => Some(16),
        _ => None,
    }
}

/// A place in a block that may end too early.
struct Exact<'p>(&'p [u8]);

impl<'p> Exact<'p> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take(&mut self, len: usize) -> Option<&'p [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    fn len(&mut self) -> Option<usize> {
        self.u8().map(usize::from)
    }

    fn u16(&mut self) -> Option<usize> {
        self.array().map(u16::from_le_bytes).map(usize::from)
    }

    fn u32(&mut self) -> Option<usize> {
        self.array()
            .map(|octets| u32::from_le_bytes(octets) as usize)
    }
}

/// Octets of a label, RFC 1035 section 2.3.4.
const LABEL_OCTETS: usize = 63;
