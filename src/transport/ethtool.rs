//! What a network card says about its queues (ioctl SIOCETHTOOL, linux/ethtool.h). It changes nothing and needs no right.

use std::mem::MaybeUninit;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

/// Queues of a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Channels {
    /// In use, each with its own interrupt (combined or receive).
    pub now: u32,
    /// What the card can have.
    pub max: u32,
}

/// What of a UDP packet over IPv4 chooses its receive queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hash {
    /// Source and destination address.
    pub addresses: bool,
    /// Source and destination port.
    pub ports: bool,
}

/// The queues of this card; none where the driver does not say.
pub fn channels(name: &str) -> Option<Channels> {
    let mut answer = ChannelsRequest {
        command: GET_CHANNELS,
        ..ChannelsRequest::default()
    };
    ask(name, &mut answer)?;
    let [rx_max, _, _, combined_max, rx, _, _, combined] = answer.counts;
    let (now, max) = if combined_max > 0 {
        (combined, combined_max)
    } else {
        (rx, rx_max)
    };
    (max > 0).then_some(Channels { now, max })
}

/// The hash of UDP packets; none where the driver does not say.
pub fn udp_hash(name: &str) -> Option<Hash> {
    let mut answer = HashRequest {
        command: GET_HASH,
        flow: UDP_V4_FLOW,
        ..HashRequest::default()
    };
    ask(name, &mut answer)?;
    (answer.data != 0).then_some(Hash {
        addresses: answer.data & HASH_IP_SRC != 0,
        ports: answer.data & HASH_PORT_SRC != 0,
    })
}

/// Lets the driver fill a request in.
fn ask<T: Request>(name: &str, request: &mut T) -> Option<()> {
    let socket = UdpSocket::bind("127.0.0.1:0").ok()?;
    // SAFETY: ifreq is plain data for which zeroes are valid.
    let mut envelope: libc::ifreq = unsafe { MaybeUninit::zeroed().assume_init() };
    let room = envelope.ifr_name.len() - 1;
    if name.is_empty() || name.len() > room {
        return None;
    }
    for (to, from) in envelope.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    envelope.ifr_ifru.ifru_data = std::ptr::from_mut(request).cast();
    // SAFETY: `envelope` holds a name that ends in a zero and a pointer to a request of the layout that its command says; both live until
    // the call returns.
    let code = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut envelope) };
    (code == 0).then_some(())
}

/// Plain data that the kernel may fill in: `repr(C)`, of the size that its command implies.
trait Request {}
impl Request for ChannelsRequest {}
impl Request for HashRequest {}

/// `struct ethtool_channels`: what there can be (receive, transmit, other, combined), then what there is.
#[repr(C)]
#[derive(Default)]
struct ChannelsRequest {
    command: u32,
    counts: [u32; 8],
}

/// `struct ethtool_rxnfc` with an empty table of rules: 192 octets.
#[repr(C)]
#[derive(Default)]
struct HashRequest {
    command: u32,
    flow: u32,
    data: u64,
    rest: [u64; 22],
}

const SIOCETHTOOL: libc::Ioctl = 0x8946;
const GET_CHANNELS: u32 = 0x3c;
const GET_HASH: u32 = 0x29;
const UDP_V4_FLOW: u32 = 0x02;
const HASH_IP_SRC: u64 = 1 << 4;
const HASH_PORT_SRC: u64 = 1 << 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_card_has_no_queues() {
        assert_eq!(channels("lo"), None);
        assert_eq!(channels(""), None);
        assert_eq!(channels("a-name-that-is-too-long"), None);
        assert_eq!(udp_hash("nope0"), None);
    }
}
