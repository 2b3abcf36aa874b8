//! Questions and what their answers say.
//!
//! Runs on: the generator's threads.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::agree;
use crate::message;

/// The address that a name has, if it is answered with any.
pub fn address(server: SocketAddr, name: &str) -> Option<Ipv4Addr> {
    let answer = agree::ask(server, name, A, PATIENCE).ok()?;
    first_address(&answer)
}

/// The first A record of an answer.
pub fn first_address(answer: &message::Answer) -> Option<Ipv4Addr> {
    let record = answer.records.iter().find(|record| record.1 == A)?;
    let octets: [u8; 4] = record.3.as_slice().try_into().ok()?;
    Some(octets.into())
}

/// The type of records with an IPv4 address.
pub const A: u16 = 1;
/// The rcode that says that a name does not exist.
pub const NXDOMAIN: u8 = 3;
const PATIENCE: Duration = Duration::from_millis(200);
