//! Host names and reverse names with what they stand for, found by one hash lookup.

use std::net::IpAddr;
use std::ops::Range;

use crate::corefile::ZoneName;
use crate::limits::NAME_OCTETS;
use crate::wire::name::{self, NameBuf};

/// Everything a file and the lines of a Corefile say. Made once, then only read.
#[derive(Default)]
pub struct Table {
    /// Open addressing, at most half full: an entry's index plus one, 0 for an empty slot. The length is a power of two.
    slots: Box<[u32]>,
    entries: Vec<Entry>,
    octets: Vec<u8>,
    v4: Vec<[u8; 4]>,
    v6: Vec<[u8; 16]>,
    targets: Vec<Range<u32>>,
    has_wildcards: bool,
}

/// A name of the table.
pub struct Entry {
    hash: u64,
    name: Range<u32>,
    v4: Range<u32>,
    v6: Range<u32>,
    targets: Range<u32>,
}

impl Entry {
    /// Whether it has an address: a reverse name has none.
    pub fn is_host(&self) -> bool {
        !self.v4.is_empty() || !self.v6.is_empty()
    }
}

impl Table {
    /// The entry of a lower-case wire name whose [`name::hash`] is `hash`.
    pub fn find(&self, wire: &[u8], hash: u64) -> Option<&Entry> {
        let mask = self.slots.len().checked_sub(1)?;
        let mut at = hash as usize & mask;
        loop {
            let entry = self.entries.get(self.slots[at].checked_sub(1)? as usize)?;
            if entry.hash == hash && slice(&self.octets, &entry.name) == wire {
                return Some(entry);
            }
            at = (at + 1) & mask;
        }
    }

    /// The host of that name, else the wildcard that takes its first label's place.
    pub fn host(&self, wire: &[u8], hash: u64) -> Option<&Entry> {
        let exact = self.find(wire, hash).filter(|entry| entry.is_host());
        if exact.is_some() || !self.has_wildcards {
            return exact;
        }
        let mut star = [0u8; NAME_OCTETS];
        let parent = wire.get(1 + *wire.first()? as usize..)?;
        let star = star.get_mut(..2 + parent.len())?;
        star[..2].copy_from_slice(b"\x01*");
        star[2..].copy_from_slice(parent);
        self.find(star, name::hash(star))
            .filter(|entry| entry.is_host())
    }

    /// The IPv4 addresses of an entry, in the order of their lines.
    pub fn v4(&self, entry: &Entry) -> &[[u8; 4]] {
        slice(&self.v4, &entry.v4)
    }

    /// The IPv6 addresses of an entry.
    pub fn v6(&self, entry: &Entry) -> &[[u8; 16]] {
        slice(&self.v6, &entry.v6)
    }

    /// The host names that a reverse name points to, in wire form.
    pub fn targets(&self, entry: &Entry) -> impl Iterator<Item = &[u8]> {
        let targets = slice(&self.targets, &entry.targets);
        targets.iter().map(|target| slice(&self.octets, target))
    }

    /// Addresses of names and names of addresses, together: what the metric counts.
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len() + self.targets.len()
    }
}

fn slice<'a, T>(all: &'a [T], range: &Range<u32>) -> &'a [T] {
    all.get(range.start as usize..range.end as usize)
        .unwrap_or(&[])
}

// === building ===

/// Takes lines of hosts files; the order of lines is kept.
pub struct Builder<'a> {
    zones: &'a [ZoneName],
    reverse: bool,
    octets: Vec<u8>,
    rows: Vec<Row>,
    has_wildcards: bool,
}

struct Row {
    hash: u64,
    name: Range<u32>,
    value: Value,
}

enum Value {
    V4([u8; 4]),
    V6([u8; 16]),
    Target(Range<u32>),
}

impl<'a> Builder<'a> {
    /// Names outside `zones` are left out; `reverse` also makes the names of addresses.
    pub fn new(zones: &'a [ZoneName], reverse: bool) -> Builder<'a> {
        Builder {
            zones,
            reverse,
            octets: Vec::new(),
            rows: Vec::new(),
            has_wildcards: false,
        }
    }

    /// Reads lines of `ADDRESS NAME...`; a `#` starts a comment. What is not of this form is skipped, as in CoreDNS.
    pub fn read(&mut self, text: &[u8]) {
        text.split(|octet| *octet == b'\n')
            .for_each(|line| self.line(line));
    }

    fn line(&mut self, line: &[u8]) {
        let end = line.iter().position(|octet| *octet == b'#');
        let line = &line[..end.unwrap_or(line.len())];
        let mut words = line
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty())
            .filter_map(|word| std::str::from_utf8(word).ok());
        let Some(addr) = words.next().and_then(address) else {
            return;
        };
        for word in words {
            self.name(word, addr);
        }
    }

    fn name(&mut self, text: &str, addr: IpAddr) {
        let Ok(host) = NameBuf::from_text(text).map(NameBuf::to_lower) else {
            return;
        };
        if !self.zones.iter().any(|z| z.is_suffix_of(host.as_wire())) {
            return;
        }
        let name = self.store(&host);
        let is_wildcard = host.as_wire().starts_with(b"\x01*");
        self.has_wildcards |= is_wildcard;
        let value = match addr {
            IpAddr::V4(ip) => Value::V4(ip.octets()),
            IpAddr::V6(ip) => Value::V6(ip.octets()),
        };
        let hash = name::hash(host.as_wire());
        self.rows.push(Row {
            hash,
            name: name.clone(),
            value,
        });
        if let (true, false, Some(reverse)) = (self.reverse, is_wildcard, reverse_name(addr)) {
            let row = Row {
                hash: name::hash(reverse.as_wire()),
                name: self.store(&reverse),
                value: Value::Target(name),
            };
            self.rows.push(row);
        }
    }

    /// The bound on a file's octets keeps offsets within 32 bits.
    fn store(&mut self, name: &NameBuf) -> Range<u32> {
        let start = self.octets.len() as u32;
        self.octets.extend_from_slice(name.as_wire());
        start..self.octets.len() as u32
    }

    /// Groups the rows by name.
    pub fn finish(mut self) -> Table {
        let octets = self.octets;
        // Stable: rows of one name stay in the order of their lines.
        self.rows.sort_by(|a, b| {
            let names = || slice(&octets, &a.name).cmp(slice(&octets, &b.name));
            a.hash.cmp(&b.hash).then_with(names)
        });
        let mut table = Table {
            has_wildcards: self.has_wildcards,
            ..Table::default()
        };
        let same = |a: &Row, b: &Row| {
            a.hash == b.hash && slice(&octets, &a.name) == slice(&octets, &b.name)
        };
        for rows in self.rows.chunk_by(same) {
            table.add(rows);
        }
        table.octets = octets;
        table.fill_slots();
        table
    }
}

impl Table {
    fn add(&mut self, rows: &[Row]) {
        let Some(first) = rows.first() else { return };
        let lens = |table: &Table| {
            [table.v4.len(), table.v6.len(), table.targets.len()].map(|len| len as u32)
        };
        let from = lens(self);
        for row in rows {
            match &row.value {
                Value::V4(octets) => self.v4.push(*octets),
                Value::V6(octets) => self.v6.push(*octets),
                Value::Target(target) => self.targets.push(target.clone()),
            }
        }
        let to = lens(self);
        self.entries.push(Entry {
            hash: first.hash,
            name: first.name.clone(),
            v4: from[0]..to[0],
            v6: from[1]..to[1],
            targets: from[2]..to[2],
        });
    }

    fn fill_slots(&mut self) {
        if self.entries.is_empty() {
            return;
        }
        let size = (self.entries.len() * 2).next_power_of_two();
        let mut slots = vec![0u32; size].into_boxed_slice();
        for (index, entry) in self.entries.iter().enumerate() {
            let mut at = entry.hash as usize & (size - 1);
            while slots[at] != 0 {
                at = (at + 1) & (size - 1);
            }
            slots[at] = index as u32 + 1;
        }
        self.slots = slots;
    }
}

/// An address, its IPv6 zone dropped; an IPv4-mapped one is IPv4.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.split('%').next().unwrap_or(text);
    text.parse().ok().map(|ip: IpAddr| ip.to_canonical())
}

/// The name under in-addr.arpa or ip6.arpa that stands for an address (RFC 1035 section 3.5, RFC 3596 section 2.5).
fn reverse_name(addr: IpAddr) -> Option<NameBuf> {
    let mut wire = Vec::with_capacity(80);
    match addr {
        IpAddr::V4(ip) => {
            for octet in ip.octets().into_iter().rev() {
                let label = octet.to_string();
                wire.push(label.len() as u8);
                wire.extend_from_slice(label.as_bytes());
            }
            wire.extend_from_slice(b"\x07in-addr\x04arpa\0");
        }
        IpAddr::V6(ip) => {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            for octet in ip.octets().into_iter().rev() {
                for nibble in [octet & 15, octet >> 4] {
                    wire.extend_from_slice(&[1, HEX[nibble as usize]]);
                }
            }
            wire.extend_from_slice(b"\x03ip6\x04arpa\0");
        }
    }
    NameBuf::from_wire(&wire).ok()
}
