//! Sorting the records of a reply into groups, and ordering a group.

use std::net::IpAddr;

use crate::lang::cidr::Net;
use crate::upstream;
use crate::wire::reply::{Record, Reply, SECTIONS, Section};
use crate::wire::types;

/// Records that stay together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// CNAME records, in the order of their chain.
    Cname,
    /// A and AAAA records.
    Address,
    /// MX records.
    Mx,
    /// All others.
    Rest,
}

impl Group {
    /// The group of a type.
    pub fn of(rtype: u16) -> Group {
        match rtype {
            types::CNAME => Group::Cname,
            types::A | types::AAAA => Group::Address,
            types::MX => Group::Mx,
            _ => Group::Rest,
        }
    }
}

/// Puts the groups of each section into an order, or leaves it where `order_of` gives none, and lets `each` change the order within a
/// group; it gets no empty one. `scratch` is only kept for its memory.
pub fn arrange(
    reply: &mut Reply,
    scratch: &mut Vec<Record>,
    order_of: impl Fn(Section) -> Option<[Group; 4]>,
    mut each: impl FnMut(&Reply, Group, &mut [Record]),
) {
    scratch.clear();
    for section in SECTIONS {
        let Some(order) = order_of(section) else {
            scratch.extend(reply.section(section));
            continue;
        };
        for group in order {
            let from = scratch.len();
            let records = reply.section(section);
            scratch.extend(records.filter(|record| Group::of(record.rtype) == group));
            if scratch.len() > from {
                each(reply, group, &mut scratch[from..]);
            }
        }
    }
    reply.records_mut().clone_from(scratch);
}

/// Any order, all alike.
pub fn shuffle(records: &mut [Record]) {
    for nth in (1..records.len()).rev() {
        records.swap(nth, upstream::below(nth + 1));
    }
}

/// Moves the addresses of the networks to the front, those of the first network first; otherwise their order stays.
pub fn to_front(reply: &Reply, records: &mut [Record], nets: &[Net]) {
    let mut rest = records;
    for net in nets {
        let mut taken = 0;
        for at in 0..rest.len() {
            if address(reply, &rest[at]).is_some_and(|ip| net.contains(ip)) {
                rest[taken..=at].rotate_right(1);
                taken += 1;
            }
        }
        rest = &mut rest[taken..];
    }
}

/// The address of an A or AAAA record.
pub fn address(reply: &Reply, record: &Record) -> Option<IpAddr> {
    let rdata = reply.rdata(record);
    match record.rtype {
        types::A => Some(<[u8; 4]>::try_from(rdata).ok()?.into()),
        types::AAAA => Some(<[u8; 16]>::try_from(rdata).ok()?.into()),
        _ => None,
    }
}
