//! Rules about EDNS options of the query.

use std::net::IpAddr;

use super::rule::Applied;
use crate::plugin::Query;
use crate::wire::edns::{Edns, option};
use crate::wire::name::Text;

/// One `edns0` rule.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct EdnsRule {
    pub action: Action,
    pub code: u16,
    pub data: Data,
    /// Whether replies carry the option as the client sent it.
    pub reverts: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Set,
    Append,
    Replace,
    Unset,
}

/// What the option holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Data {
    /// The same octets always; NSID is empty in a query (RFC 5001 section 2.1).
    Fixed(Vec<u8>),
    Nsid,
    Variable(Variable),
    /// The client's network with so many bits (RFC 7871 section 6).
    Subnet {
        v4_bits: u8,
        v6_bits: u8,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Variable {
    QueryName,
    QueryType,
    ClientIp,
    ClientPort,
    Protocol,
    ServerIp,
    ServerPort,
    /// The value of a metadata label.
    Metadata(Box<str>),
}

impl EdnsRule {
    /// Changes the query's OPT record, making one if needed.
    pub(super) fn apply(&self, query: &mut Query) -> Applied {
        if self.action == Action::Unset {
            return self.unset(&mut query.edns);
        }
        // Without data nothing is touched, not even by adding an OPT record.
        let Some(data) = self.data.octets(query) else {
            return Applied::No;
        };
        let edns = &mut query.edns;
        edns.ensure(UDP_SIZE);
        let found = edns.find(self.code).map(<[u8]>::to_vec);
        match (found, self.action) {
            (Some(before), Action::Set | Action::Replace) => {
                overwrite(edns, self.code, &data);
                self.done(Some(before))
            }
            (Some(_), Action::Append) if !self.data.repeats() => Applied::No,
            (_, Action::Replace) => Applied::No,
            (found, _) => {
                edns.push(self.code, &data);
                self.done(found)
            }
        }
    }

    /// The code of a `local` rule.
    pub(super) fn local_code(&self) -> Option<u16> {
        matches!(self.data, Data::Fixed(_) | Data::Variable(_)).then_some(self.code)
    }

    fn unset(&self, edns: &mut Edns) -> Applied {
        if edns.find(self.code).is_none() {
            return Applied::No;
        }
        let code = self.code;
        edns.retain(|known, _| known != code);
        Applied::Yes {
            remap: None,
            option: None,
        }
    }

    fn done(&self, before: Option<Vec<u8>>) -> Applied {
        Applied::Yes {
            remap: None,
            option: self.reverts.then_some((self.code, before)),
        }
    }
}

impl Data {
    /// Whether `append` adds a second option of the same code.
    fn repeats(&self) -> bool {
        matches!(self, Self::Fixed(_) | Self::Nsid)
    }

    /// The octets for this query; none when there is nothing to send.
    fn octets(&self, query: &Query) -> Option<Vec<u8>> {
        match self {
            Self::Fixed(octets) => Some(octets.clone()),
            Self::Nsid => Some(Vec::new()),
            Self::Variable(variable) => variable.octets(query),
            Self::Subnet { v4_bits, v6_bits } => Some(subnet(query.peer.ip(), *v4_bits, *v6_bits)),
        }
    }
}

impl Variable {
    fn octets(&self, query: &Query) -> Option<Vec<u8>> {
        let octets = match self {
            Self::QueryName => {
                // The client's own spelling, unless an earlier rule gave another name.
                let asked = query.asked().name;
                let name = if asked.eq_ignore_ascii_case(query.name()) {
                    asked
                } else {
                    query.name()
                };
                Text(name).to_string().into_bytes()
            }
            Self::QueryType => query.qtype.to_be_bytes().to_vec(),
            Self::ClientIp => address(query.peer.ip()),
            Self::ClientPort => query.peer.port().to_be_bytes().to_vec(),
            Self::Protocol => query.proto.as_str().as_bytes().to_vec(),
            Self::ServerIp => address(query.local.ip()),
            Self::ServerPort => query.local.port().to_be_bytes().to_vec(),
            Self::Metadata(label) => query
                .meta
                .find(label)
                .unwrap_or_default()
                .as_bytes()
                .to_vec(),
        };
        (!octets.is_empty()).then_some(octets)
    }
}

/// Gives the first option with that code other data, in its place.
pub(super) fn overwrite(edns: &mut Edns, code: u16, data: &[u8]) {
    let mut changed = Edns::default();
    let mut first = true;
    for (known, octets) in edns.iter() {
        let replaced = known == code && std::mem::take(&mut first);
        changed.push(known, if replaced { data } else { octets });
    }
    edns.options = changed.options;
}

// === helpers ===

fn address(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// Family, source prefix length, scope 0, and the octets that hold the prefix, the rest of its bits zero.
fn subnet(ip: IpAddr, v4_bits: u8, v6_bits: u8) -> Vec<u8> {
    let (family, bits) = match ip {
        IpAddr::V4(_) => (1, v4_bits),
        IpAddr::V6(_) => (2, v6_bits),
    };
    let mut octets = address(ip);
    octets.truncate(usize::from(bits).div_ceil(8));
    if let (Some(last), rest @ 1..) = (octets.last_mut(), bits % 8) {
        *last &= u8::MAX << (8 - rest);
    }
    let mut data = vec![0, family, bits, 0];
    data.append(&mut octets);
    data
}

impl Variable {
    /// The variable of a text in braces.
    pub(super) fn named(text: &str) -> Option<Self> {
        Some(match text {
            "{qname}" => Self::QueryName,
            "{qtype}" => Self::QueryType,
            "{client_ip}" => Self::ClientIp,
            "{client_port}" => Self::ClientPort,
            "{protocol}" => Self::Protocol,
            "{server_ip}" => Self::ServerIp,
            "{server_port}" => Self::ServerPort,
            _ => {
                let label = text.strip_prefix('{')?.strip_suffix('}')?;
                let slash = label.find('/')?;
                if slash == 0 || slash + 1 == label.len() {
                    return None;
                }
                Self::Metadata(label.into())
            }
        })
    }
}

/// Codes of the rules that name their option by what it is.
pub(super) const NSID: u16 = option::NSID;
/// See [`NSID`].
pub(super) const SUBNET: u16 = option::SUBNET;
/// Payload size of an OPT record that a rule adds.
const UDP_SIZE: u16 = 4096;
