//! *whoami*: answers with the client's own address, port and transport.

mod setup;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;

use crate::corefile::{Args, SetupError};
use crate::plugin::{Flow, OpenCx, Plugin, Query, SetupCx};
use crate::wire::name::NameBuf;
use crate::wire::reply::Section;
use crate::wire::{flag, types};

/// See the README beside this file.
pub struct Whoami;

impl Plugin for Whoami {
    type Config = ();

    fn setup(args: &mut Args<'_>, _: &mut SetupCx<'_>) -> Result<(), SetupError> {
        setup::parse(args)
    }

    fn open(_: &Arc<()>, _: &OpenCx<'_>) -> Whoami {
        Whoami
    }

    fn on_query(&self, query: &mut Query) -> Flow {
        let (peer, name, qclass) = (query.peer.0, query.name_buf(), query.qclass);
        let prefix: &[u8] = match query.proto.is_tcp() {
            false => b"\x04_udp",
            true => b"\x04_tcp",
        };
        let reply = query.respond();
        reply.set_flag(flag::AA, true);
        match peer.ip() {
            IpAddr::V4(ip) => {
                reply.push(
                    Section::Additional,
                    name.as_wire(),
                    types::A,
                    qclass,
                    0,
                    &ip.octets(),
                );
            }
            IpAddr::V6(ip) => {
                reply.push(
                    Section::Additional,
                    name.as_wire(),
                    types::AAAA,
                    qclass,
                    0,
                    &ip.octets(),
                );
            }
        }
        if let Some(owner) = prefixed(prefix, &name) {
            let port = peer.port().to_be_bytes();
            let rdata = [0, 0, 0, 0, port[0], port[1], 0];
            reply.push(
                Section::Additional,
                owner.as_wire(),
                types::SRV,
                qclass,
                0,
                &rdata,
            );
        }
        Flow::Reply
    }
}

/// The name with a label in front; `None` where that would be longer than a name may be.
fn prefixed(label: &[u8], name: &NameBuf) -> Option<NameBuf> {
    let mut wire = [0u8; crate::limits::NAME_OCTETS];
    let len = label.len() + name.as_wire().len();
    wire.get_mut(..label.len())?.copy_from_slice(label);
    wire.get_mut(label.len()..len)?
        .copy_from_slice(name.as_wire());
    NameBuf::from_wire(wire.get(..len)?).ok()
}
