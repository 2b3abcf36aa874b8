//! The fields of a snapshot as octets.

use super::super::{NewEntry, Table, entry::Entry};

/// The head without its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) version: u32,
    pub(super) sections: u32,
    /// Nanoseconds since 1970.
    pub(super) written_ns: u64,
    /// Where the directory starts.
    pub(super) directory: u64,
    /// Octets of the whole file.
    pub(super) length: u64,
}

/// What stands in front of an entry's octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fields {
    /// `DENIAL`, `DNSSEC_OK`, `CHECKING_DISABLED` as in an entry, and `VISITED`.
    pub(super) bits: u8,
    pub(super) name_len: u8,
    pub(super) wildcard_len: u8,
    pub(super) ttl_count: u16,
    pub(super) wire_len: u16,
    pub(super) uncompressed_len: u16,
    pub(super) ttl_s: u32,
    pub(super) hits: u32,
    pub(super) age_ns: u64,
}

impl Head {
    pub(super) fn octets(&self) -> [u8; HEAD_FIELDS] {
        let mut out = [0; HEAD_FIELDS];
        out[..8].copy_from_slice(MAGIC);
        out[8..12].copy_from_slice(&self.version.to_le_bytes());
        out[12..16].copy_from_slice(&self.sections.to_le_bytes());
        out[16..24].copy_from_slice(&self.written_ns.to_le_bytes());
        out[24..32].copy_from_slice(&self.directory.to_le_bytes());
        out[32..].copy_from_slice(&self.length.to_le_bytes());
        out
    }

    /// None where the magic number is another.
    pub(super) fn read(from: &[u8; HEAD_FIELDS]) -> Option<Head> {
        let mut rest = &from[..];
        (take::<8>(&mut rest)? == *MAGIC).then_some(())?;
        Some(Head {
            version: u32::from_le_bytes(take(&mut rest)?),
            sections: u32::from_le_bytes(take(&mut rest)?),
            written_ns: u64::from_le_bytes(take(&mut rest)?),
            directory: u64::from_le_bytes(take(&mut rest)?),
            length: u64::from_le_bytes(take(&mut rest)?),
        })
    }
}

impl Fields {
    pub(super) fn of(entry: &Entry<'_>, now_ns: u64) -> Fields {
        let visited = if entry.is_visited() { VISITED } else { 0 };
        Fields {
            bits: entry.bits() | visited,
            name_len: entry.name().len() as u8,
            wildcard_len: entry.wildcard().len() as u8,
            ttl_count: entry.ttl_offsets().len() as u16,
            wire_len: entry.wire_len() as u16,
            uncompressed_len: entry.uncompressed_len() as u16,
            ttl_s: entry.ttl_s(),
            hits: entry.hits(),
            age_ns: entry.age_ns(now_ns),
        }
    }

    pub(super) fn octets(&self) -> [u8; FIELDS] {
        let mut out = [0; FIELDS];
        // One octet is left free.
        out[..3].copy_from_slice(&[self.bits, self.name_len, self.wildcard_len]);
        out[4..6].copy_from_slice(&self.ttl_count.to_le_bytes());
        out[6..8].copy_from_slice(&self.wire_len.to_le_bytes());
        out[8..10].copy_from_slice(&self.uncompressed_len.to_le_bytes());
        out[10..14].copy_from_slice(&self.ttl_s.to_le_bytes());
        out[14..18].copy_from_slice(&self.hits.to_le_bytes());
        out[18..26].copy_from_slice(&self.age_ns.to_le_bytes());
        out
    }

    pub(super) fn read(from: &[u8; FIELDS]) -> Option<Fields> {
        let mut rest = &from[..];
        let [bits, name_len, wildcard_len, _] = take(&mut rest)?;
        Some(Fields {
            bits,
            name_len,
            wildcard_len,
            ttl_count: u16::from_le_bytes(take(&mut rest)?),
            wire_len: u16::from_le_bytes(take(&mut rest)?),
            uncompressed_len: u16::from_le_bytes(take(&mut rest)?),
            ttl_s: u32::from_le_bytes(take(&mut rest)?),
            hits: u32::from_le_bytes(take(&mut rest)?),
            age_ns: u64::from_le_bytes(take(&mut rest)?),
        })
    }

    /// Octets that follow.
    pub(super) fn body_len(&self) -> usize {
        2 * usize::from(self.ttl_count)
            + usize::from(self.wire_len)
            + usize::from(self.wildcard_len)
    }

    /// Cuts the octets that follow into an entry; the offsets go to `offsets`. None if they are too few.
    pub(super) fn entry<'a>(
        &self,
        body: &'a [u8],
        offsets: &'a mut Vec<u16>,
    ) -> Option<NewEntry<'a>> {
        let (pairs, rest) = body.split_at_checked(2 * usize::from(self.ttl_count))?;
        let (wire, wildcard) = rest.split_at_checked(usize::from(self.wire_len))?;
        offsets.clear();
        let pairs = pairs.as_chunks::<2>().0.iter();
        offsets.extend(pairs.map(|pair| u16::from_le_bytes(*pair)));
        Some(NewEntry {
            wire,
            ttl_offsets: offsets,
            ttl_s: self.ttl_s,
            uncompressed_len: self.uncompressed_len,
            wildcard: wildcard.get(..usize::from(self.wildcard_len))?,
            hits: self.hits,
        })
    }

    pub(super) fn table(&self) -> Table {
        Table::of_bits(self.bits)
    }
}

/// Takes so many octets off the front.
pub(super) fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, behind) = rest.split_first_chunk::<N>()?;
    *rest = behind;
    Some(*first)
}

pub(super) const MAGIC: &[u8; 8] = b"percache";
pub(super) const VERSION: u32 = 1;
/// Octets of the head without its checksum.
pub(super) const HEAD_FIELDS: usize = 40;
/// Octets of the whole head.
pub(super) const HEAD: usize = HEAD_FIELDS + 32;
/// Octets of [`Fields`].
pub(super) const FIELDS: usize = 26;
/// Octets of the directory: more than a server has blocks, of 154 octets each.
pub(super) const DIRECTORY_OCTETS: u64 = 64 << 20;
/// Not one of an entry's own bits.
pub(super) const VISITED: u8 = 0x80;
