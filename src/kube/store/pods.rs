//! Blocks of pods by number. Nearly all pods have one IPv4 address and nothing else that is kept; what those are takes two words here,
//! where a block of its own takes five: a place, its length, and what an allocator rounds up to.
//!
//! ```text
//!   words of a place:  address | namespace + 1      key         both zero: look at the shelf
//! ```

use std::net::{IpAddr, Ipv4Addr};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::block::{self, PodBlock, SLIM_POD_OCTETS};
use super::shelf::{FIRST, ROWS, Shelf, place};
use crate::runtime::Zeroed;
use crate::runtime::epoch::Pin;

/// What readers see.
#[derive(Default)]
pub(super) struct Pods {
    /// Two words for each place.
    rows: [OnceLock<Zeroed<AtomicU64>>; ROWS],
    shelf: Shelf,
}

/// A pod of which only this is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slim {
    pub(super) namespace: u32,
    pub(super) ip: Ipv4Addr,
    key: u64,
}

/// Room for the block that a slim pod would have.
#[derive(Default)]
pub(super) struct Room([u8; SLIM_POD_OCTETS]);

impl Pods {
    /// The pod with that number, if it is a slim one.
    #[inline]
    pub(super) fn slim(&self, number: u32) -> Option<Slim> {
        let [head, key] = self.words(number)?;
        let head = head.load(Ordering::Acquire);
        let namespace = (head as u32).checked_sub(1)?;
        Some(Slim {
            namespace,
            ip: Ipv4Addr::from((head >> 32) as u32),
            key: key.load(Ordering::Relaxed),
        })
    }

    /// The block of a pod that is none.
    #[inline]
    pub(super) fn block<'p>(&self, number: u32, pin: &'p Pin) -> Option<PodBlock<'p>> {
        self.shelf.load(number, pin).map(PodBlock::read)
    }

    /// The block of any pod.
    pub(super) fn load<'a>(
        &self,
        number: u32,
        pin: &'a Pin,
        room: &'a mut Room,
    ) -> Option<&'a [u8]> {
        let slim = self.slim(number);
        // A second look, should it have become slim in between: there is one of both at any time.
        let slim = match (slim, self.shelf.load(number, pin)) {
            (None, Some(octets)) => return Some(octets),
            (slim, _) => slim.or_else(|| self.slim(number))?,
        };
        room.0 = block::slim_pod(slim.namespace, slim.key, slim.ip);
        Some(&room.0)
    }

    /// Puts a block there.
    pub(super) fn replace(&self, number: u32, octets: &[u8]) {
        let block = PodBlock::read(octets);
        let mut ips = block.ips();
        let (first, is_slim) = (ips.next(), octets.len() == SLIM_POD_OCTETS);
        match first {
            Some(IpAddr::V4(ip)) if is_slim && ips.next().is_none() => {
                self.put_slim(number, block.namespace, block.key, ip);
                self.shelf.clear(number);
            }
            _ => {
                self.shelf.replace(number, octets);
                self.clear_slim(number);
            }
        }
    }

    pub(super) fn clear(&self, number: u32) {
        self.clear_slim(number);
        self.shelf.clear(number);
    }

    fn put_slim(&self, number: u32, namespace: u32, key: u64, ip: Ipv4Addr) {
        let (row, at) = place(number);
        let Some(row) = self.rows.get(row) else {
            return;
        };
        let len = 2 * (FIRST << place(number).0);
        let words = row.get_or_init(|| Zeroed::new(len));
        if let Some([head, of_key]) = words.as_chunks().0.get(at) {
            // A number stands for one key, or rests in between, so no reader takes the key of another pod.
            of_key.store(key, Ordering::Relaxed);
            let word = u64::from(ip.to_bits()) << 32 | (u64::from(namespace) + 1);
            head.store(word, Ordering::Release);
        }
    }

    fn clear_slim(&self, number: u32) {
        if let Some([head, _]) = self.words(number) {
            head.store(0, Ordering::Release);
        }
    }

    #[inline]
    fn words(&self, number: u32) -> Option<&[AtomicU64; 2]> {
        let (row, at) = place(number);
        self.rows.get(row)?.get()?.as_chunks().0.get(at)
    }
}

#[cfg(test)]
mod tests {
    use super::super::block::{Keep, write_pod};
    use super::*;
    use crate::kube::record;

    fn octets(ips: &[&str], name: &str) -> Vec<u8> {
        let pod = record::Pod {
            name: name.into(),
            ips: ips.iter().map(|ip| ip.parse().unwrap()).collect(),
            ..record::Pod::default()
        };
        let keep = Keep {
            pods: !name.is_empty(),
            ..Keep::default()
        };
        let mut out = Vec::new();
        write_pod(&mut out, &pod, (7, 0x1234_5678_9abc_def0), keep);
        out
    }

    #[test]
    fn every_pod_is_what_was_put_whatever_it_was_before() {
        let (pods, pin) = (Pods::default(), Pin::new());
        let slim = octets(&["10.1.2.3"], "");
        let all = [
            slim.clone(),
            octets(&["10.1.2.4"], ""),
            octets(&["10.1.2.3"], "web"),
            octets(&["10.1.2.3", "fd00::1"], ""),
            octets(&["fd00::1"], ""),
            octets(&["10.1.2.3", "10.1.2.4"], ""),
            octets(&["0.0.0.0"], ""),
            octets(&[], ""),
        ];
        for before in &all {
            for after in &all {
                for number in [0, 255, 256, 70_000] {
                    pods.replace(number, before);
                    pods.replace(number, after);
                    let mut room = Room::default();
                    assert_eq!(pods.load(number, &pin, &mut room), Some(&after[..]));
                    let is_slim = after.len() == slim.len() && after[12..15] == slim[12..15];
                    assert_eq!(pods.slim(number).is_some(), is_slim, "{after:?}");
                    assert_eq!(pods.block(number, &pin).is_none(), is_slim);
                    pods.clear(number);
                    assert_eq!(pods.load(number, &pin, &mut room), None);
                }
            }
        }
        assert_eq!(pods.slim(u32::MAX), None);
    }
}
