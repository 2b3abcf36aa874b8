//! Records in any order to a `Zone`: checks, what is refused, the SOA record.

use thiserror::Error;

use super::assemble::Assembly;
use super::load::soa_serial;
use super::name::WireName;
use super::part::Part;
use super::rdata::check_wire;
use super::rtype;
use super::tree::Zone;
use crate::limits;

/// Collects the records of one zone, from a file or from a transfer.
pub struct Builder {
    origin: WireName,
    /// Takes what is pushed.
    part: Part,
    /// What came before it, in order.
    earlier: Vec<Part>,
    /// Of `earlier`.
    records: usize,
    octets: usize,
    soa: Option<(u32, Vec<u8>)>,
    foreign_soa: Option<(WireName, u32, Vec<u8>)>,
}

/// Why a record is not taken, or no zone made.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Reject {
    /// The owner is not in the zone.
    #[error("owner outside of the zone")]
    Outside,
    /// NSEC3 or NSEC3PARAM.
    #[error("NSEC3 zone is not supported")]
    Nsec3,
    /// The data does not fit the type's layout, the type is 0, or the owner is no name.
    #[error("malformed record")]
    Malformed,
    /// A bound of `limits` is reached.
    #[error("zone too large")]
    TooLarge,
    /// No SOA record was taken.
    #[error("no SOA record")]
    NoSoa,
}

impl Builder {
    /// Starts a zone with this origin.
    pub fn new(origin: WireName) -> Self {
        Self::with_room_for(origin, 0)
    }

    /// Starts a zone, or a part of one, that is read from a text of so many octets.
    pub(super) fn with_room_for(origin: WireName, text: usize) -> Self {
        Self {
            origin: origin.lowered(),
            part: Part::with_room_for(text),
            earlier: Vec::new(),
            records: 0,
            octets: 0,
            soa: None,
            foreign_soa: None,
        }
    }

    /// Takes one record: owner and data in uncompressed wire form, any case.
    pub fn push(&mut self, owner: &[u8], rtype: u16, ttl: u32, data: &[u8]) -> Result<(), Reject> {
        let owner = WireName::from_wire(owner).ok_or(Reject::Malformed)?;
        self.push_lowered(owner.lowered().as_slice(), rtype, ttl, data)
    }

    /// As `push`, with a name that is lower-cased already.
    pub(super) fn push_lowered(
        &mut self,
        owner: &[u8],
        rtype: u16,
        ttl: u32,
        data: &[u8],
    ) -> Result<(), Reject> {
        if matches!(rtype, rtype::NSEC3 | rtype::NSEC3PARAM) {
            return Err(Reject::Nsec3);
        }
        if rtype == 0 || data.len() > usize::from(u16::MAX) {
            return Err(Reject::Malformed);
        }
        if self.records + self.part.records() >= limits::ZONE_RECORDS
            || self.octets + self.part.octets() + data.len() > limits::ZONE_DATA_OCTETS - 1024
        {
            return Err(Reject::TooLarge);
        }
        if rtype == rtype::SOA {
            return self.push_soa(owner, ttl, data);
        }
        let relative = WireName::below(owner, self.origin.as_slice()).ok_or(Reject::Outside)?;
        self.part
            .push(relative, rtype, ttl, data, |data| check_wire(rtype, data))
            .ok_or(Reject::Malformed)
    }

    fn push_soa(&mut self, owner: &[u8], ttl: u32, data: &[u8]) -> Result<(), Reject> {
        let mut data = data.to_vec();
        check_wire(rtype::SOA, &mut data).ok_or(Reject::Malformed)?;
        let owner = WireName::from_wire(owner).ok_or(Reject::Malformed)?;
        if owner == self.origin {
            self.soa = Some((ttl, data));
        } else {
            self.foreign_soa = Some((owner, ttl, data));
        }
        Ok(())
    }

    /// Puts the records in order, which is most of the work that `finish` has with them.
    pub(super) fn sort(&mut self) {
        self.part.sort();
    }

    /// Takes the records of a builder without a SOA record, which was sorted, behind its own. `false` and nothing changed if they are
    /// too many.
    pub(super) fn append(&mut self, other: &mut Builder) -> bool {
        self.seal();
        let (records, octets) = (other.part.records(), other.part.octets());
        if self.records + records > limits::ZONE_RECORDS
            || self.octets + octets > limits::ZONE_DATA_OCTETS - 1024
        {
            return false;
        }
        self.part = std::mem::take(&mut other.part);
        self.seal();
        true
    }

    /// Moves what was pushed to `earlier`.
    fn seal(&mut self) {
        let mut part = std::mem::take(&mut self.part);
        if !part.is_empty() {
            part.sort();
            self.records += part.records();
            self.octets += part.octets();
            self.earlier.push(part);
        }
    }

    /// Whether a SOA record was taken.
    pub(super) fn has_soa(&self) -> bool {
        self.soa.is_some() || self.foreign_soa.is_some()
    }

    /// The serial of the SOA record taken so far.
    pub fn serial(&self) -> Option<u32> {
        soa_serial(&self.soa.as_ref()?.1)
    }

    /// Makes the zone. `warn` gets what was repaired.
    pub fn finish(mut self, warn: &mut dyn FnMut(String)) -> Result<Zone, Reject> {
        let (ttl, data) = match (self.soa.take(), self.foreign_soa.take()) {
            (Some(soa), _) => soa,
            (None, Some((owner, ttl, data))) => {
                warn(format!(
                    "SOA record of {owner} used for zone {}, which has none",
                    self.origin
                ));
                (ttl, data)
            }
            (None, None) => return Err(Reject::NoSoa),
        };
        self.part
            .push(&[], rtype::SOA, ttl, &data, |_| Some(()))
            .ok_or(Reject::Malformed)?;
        self.seal();
        Assembly::new(self.origin, &self.earlier).run(self.earlier, warn)
    }
}
