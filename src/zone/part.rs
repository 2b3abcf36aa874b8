//! Records on their way to a zone, in the order of arrival; what one thread reads of a file is one part.
//!
//! A part keeps one stretch of octets and a sorted list of places in it, so that reading a zone takes as little memory again as
//! the zone itself.

use std::cmp::Ordering;

use super::name::Labels;
use crate::runtime::PageVec;

/// Records of one zone, grouped into runs with one owner.
#[derive(Default)]
pub(super) struct Part {
    /// For each run: 16 bits of key length, the key, its records, 16 bits of zero. For each record: type, 32 bits of TTL, 16 bits of
    /// length (big-endian, as a zone keeps it), data.
    octets: PageVec<u8>,
    runs: PageVec<Run>,
    /// The owner of the open run, relative; empty for the apex.
    owner: Vec<u8>,
    is_open: bool,
    records: usize,
    /// What is appended next.
    scratch: Vec<u8>,
}

/// Successive records of one owner.
#[derive(Clone, Copy)]
pub(super) struct Run {
    /// The first octets of the key, so that most comparisons need no other memory; halves, which keeps a run at 12 octets.
    prefix: [u32; 2],
    at: u32,
}

/// One record of a part.
#[derive(Clone, Copy)]
pub(super) struct Raw<'p> {
    pub(super) rtype: u16,
    pub(super) ttl: u32,
    pub(super) data: &'p [u8],
}

/// Octets before a record's data.
const RECORD_HEAD: usize = 8;

// === impl Part ===

impl Part {
    /// A part with room for what a text of so many octets usually holds. Room that is not used is never touched.
    pub(super) fn with_room_for(text: usize) -> Self {
        Self {
            octets: PageVec::with_room(text),
            runs: PageVec::with_room(text / 32),
            ..Self::default()
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    pub(super) fn octets(&self) -> usize {
        self.octets.len()
    }

    pub(super) fn records(&self) -> usize {
        self.records
    }

    /// Appends a record of `relative`, lower-cased labels before the origin. `check` may refuse the data or change it in place;
    /// if it refuses, nothing was appended.
    pub(super) fn push(
        &mut self,
        relative: &[u8],
        rtype: u16,
        ttl: u32,
        data: &[u8],
        check: impl FnOnce(&mut [u8]) -> Option<()>,
    ) -> Option<()> {
        self.scratch.clear();
        self.scratch.extend(rtype.to_ne_bytes());
        self.scratch.extend(ttl.to_ne_bytes());
        self.scratch.extend((data.len() as u16).to_be_bytes()); // the builder takes no more
        self.scratch.extend_from_slice(data);
        check(&mut self.scratch[RECORD_HEAD..])?;
        if !self.is_open || self.owner != relative {
            self.open(relative);
        }
        self.octets.extend_from_slice(&self.scratch);
        self.records += 1;
        Some(())
    }

    fn open(&mut self, relative: &[u8]) {
        self.close();
        let at = self.octets.len();
        self.owner.clear();
        sort_key(relative, &mut self.owner);
        let key = &self.owner;
        let mut prefix = [0; 8];
        let len = key.len().min(8);
        prefix[..len].copy_from_slice(&key[..len]);
        let prefix = u64::from_be_bytes(prefix);
        self.runs.push(Run {
            prefix: [(prefix >> 32) as u32, prefix as u32],
            at: at as u32, // a zone has fewer than 2^32 octets
        });
        let key_len = key.len() as u16; // at most 2 * 255
        self.octets.extend_from_slice(&key_len.to_ne_bytes());
        self.octets.extend_from_slice(key);
        self.owner.clear();
        self.owner.extend_from_slice(relative);
        self.is_open = true;
    }

    /// Ends the open run.
    fn close(&mut self) {
        if self.is_open {
            self.octets.extend_from_slice(&[0; 2]);
            self.is_open = false;
        }
    }

    /// Puts the runs into canonical order; runs of one owner stay in the order of arrival.
    pub(super) fn sort(&mut self) {
        self.close();
        let octets = &self.octets;
        let order = |a: &Run, b: &Run| compare(octets, a, octets, b).then(a.at.cmp(&b.at));
        // Files are often sorted; the sort itself sees that as well.
        self.runs.sort_unstable_by(order);
    }

    pub(super) fn key(&self, run: Run) -> &[u8] {
        key(&self.octets, &run)
    }

    /// The records of a run in the order of arrival.
    pub(super) fn records_of(&self, run: Run) -> impl Iterator<Item = Raw<'_>> {
        let mut rest = &self.octets[run.at as usize + 2 + self.key(run).len()..];
        std::iter::from_fn(move || {
            let (head, behind) = rest.split_first_chunk::<RECORD_HEAD>()?;
            let [t0, t1, l0, l1, l2, l3, d0, d1] = *head;
            let rtype = u16::from_ne_bytes([t0, t1]);
            if rtype == 0 {
                return None;
            }
            let (data, behind) = behind.split_at(usize::from(u16::from_be_bytes([d0, d1])));
            rest = behind;
            Some(Raw {
                rtype,
                ttl: u32::from_ne_bytes([l0, l1, l2, l3]),
                data,
            })
        })
    }
}

impl Raw<'_> {
    /// Signatures of different types are different sets (RFC 4035 section 2.2): the type that one covers, else 0.
    pub(super) fn covered(&self) -> u16 {
        match (self.rtype, self.data) {
            (super::rtype::RRSIG, &[high, low, ..]) => u16::from_be_bytes([high, low]),
            _ => 0,
        }
    }
}

fn key<'o>(octets: &'o [u8], run: &Run) -> &'o [u8] {
    let at = run.at as usize;
    let len = u16::from_ne_bytes([octets[at], octets[at + 1]]);
    &octets[at + 2..at + 2 + usize::from(len)]
}

fn compare(a_octets: &[u8], a: &Run, b_octets: &[u8], b: &Run) -> Ordering {
    a.prefix
        .cmp(&b.prefix)
        .then_with(|| key(a_octets, a).cmp(key(b_octets, b)))
}

// === Merge ===

/// The runs of all parts in canonical order; those of one owner by part, then in the order of arrival.
pub(super) struct Merge<'p> {
    parts: &'p [Part],
    /// The next run of each part.
    next: Vec<usize>,
    /// Parts with runs left, except `current`: the one with the least next run last.
    order: Vec<usize>,
    current: Option<usize>,
}

impl<'p> Merge<'p> {
    /// The parts must be sorted.
    pub(super) fn new(parts: &'p [Part]) -> Self {
        let mut merge = Self {
            parts,
            next: vec![0; parts.len()],
            order: Vec::with_capacity(parts.len()),
            current: None,
        };
        for part in (0..parts.len()).filter(|&part| !parts[part].is_empty()) {
            merge.insert(part);
        }
        merge.current = merge.order.pop();
        merge
    }

    fn insert(&mut self, part: usize) {
        let at = self
            .order
            .partition_point(|&other| self.compare(other, part) == Ordering::Greater);
        self.order.insert(at, part);
    }

    fn compare(&self, a: usize, b: usize) -> Ordering {
        let (x, y) = (&self.parts[a], &self.parts[b]);
        let (run_x, run_y) = (&x.runs[self.next[a]], &y.runs[self.next[b]]);
        compare(&x.octets, run_x, &y.octets, run_y).then(a.cmp(&b))
    }
}

impl<'p> Iterator for Merge<'p> {
    type Item = (&'p Part, Run);

    fn next(&mut self) -> Option<Self::Item> {
        let current = self.current?;
        let part = &self.parts[current];
        let run = part.runs[self.next[current]];
        self.next[current] += 1;
        if self.next[current] == part.runs.len() {
            self.current = self.order.pop();
        } else if let Some(&other) = self.order.last()
            && self.compare(current, other) == Ordering::Greater
        {
            self.order.pop();
            self.insert(current);
            self.current = Some(other);
        }
        Some((part, run))
    }
}

// === keys ===

/// Labels from the right, each closed by 0, so that comparing octets gives the canonical order (RFC 4034 section 6.1)
/// and an ancestor's key is a prefix. The octets 0 and 1 are written as 1 1 and 1 2.
fn sort_key(relative: &[u8], out: &mut Vec<u8>) {
    let labels = Labels::of(relative);
    for index in (0..labels.count).rev() {
        let label = &labels.label(relative, index)[1..];
        if label.iter().any(|&octet| octet <= 1) {
            for &octet in label {
                match octet {
                    0 | 1 => out.extend([1, octet + 1]),
                    _ => out.push(octet),
                }
            }
        } else {
            out.extend_from_slice(label);
        }
        out.push(0);
    }
}

/// The relative wire name of a sort key.
pub(super) fn name_of_key(key: &[u8], out: &mut Vec<u8>) {
    out.clear();
    for label in key.split(|&octet| octet == 0).rev().skip(1) {
        let at = out.len();
        out.push(0);
        let mut escaped = false;
        for &octet in label {
            if octet == 1 && !escaped {
                escaped = true;
                continue;
            }
            out.push(if std::mem::take(&mut escaped) {
                octet - 1
            } else {
                octet
            });
        }
        out[at] = (out.len() - at - 1) as u8; // a label that was checked: at most 63
    }
}
