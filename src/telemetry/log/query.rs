//! A query's line in the default format of *log*: what a packet thread hands over, and what the writer makes of it.
//!
//! A packet thread puts numbers and the name as they stand into its lane, some 60 octets; the text, three times as long and ten times
//! the work, is made by the thread that writes it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::lang::duration::GoDuration;
use crate::lang::replacer::{write_duration, write_flags, write_ip};
use crate::wire::name::Text;
use crate::wire::rcode::Rcode;
use crate::wire::types::Type;

/// What there is to tell of a query of class IN that got a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryLine<'a> {
    /// The client.
    pub peer: SocketAddr,
    /// Of the message.
    pub id: u16,
    /// QTYPE.
    pub qtype: u16,
    /// The lower-case name in wire form, `1 <= octets <= limits::NAME_OCTETS`.
    pub name: &'a [u8],
    /// It came over TCP.
    pub is_tcp: bool,
    /// Octets of the query.
    pub query_octets: u16,
    /// The DO bit of the query.
    pub dnssec_ok: bool,
    /// Octets that the client can take.
    pub size_limit: u16,
    /// Of the reply.
    pub rcode: Rcode,
    /// The second word of the reply's header, without opcode and rcode.
    pub reply_flags: u16,
    /// Octets of the reply before compression.
    pub reply_octets: u32,
    /// Nanoseconds from arrival to reply, below `2^63`.
    pub spent_ns: u64,
    /// The operation, where the format is `{combined}`, which shows it.
    pub opcode: Option<u8>,
}

impl QueryLine<'_> {
    /// The numbers as words, and how many there are; the name's octets follow them.
    pub(super) fn pack(&self) -> ([u64; HEAD_WORDS], usize) {
        let mut marks = QUERY;
        let mut mark = |is_so: bool, bit: u64| marks |= if is_so { bit } else { 0 };
        mark(self.is_tcp, TCP);
        mark(self.dnssec_ok, DNSSEC_OK);
        mark(self.opcode.is_some(), COMBINED);
        mark(self.peer.is_ipv6(), IPV6);
        let (address, len) = match self.peer.ip() {
            IpAddr::V4(ip) => (u128::from(ip.to_bits()), HEAD_WORDS - 1),
            IpAddr::V6(ip) => (ip.to_bits(), HEAD_WORDS),
        };
        let head = [
            self.name.len() as u64 | marks | quarters([0, 0, self.id, self.peer.port()]),
            quarters([
                self.qtype,
                self.reply_flags,
                self.size_limit,
                self.query_octets,
            ]),
            u64::from(self.reply_octets)
                | quarters([0, 0, self.rcode.0, self.opcode.unwrap_or(0).into()]),
            self.spent_ns,
            address as u64,
            (address >> 64) as u64,
        ];
        (head, len)
    }

    /// Reads what [`QueryLine::pack`] made, with the name in `name`; returns how many words there are in all, too.
    pub(super) fn unpack(
        word: impl Fn(usize) -> u64,
        name: &mut [u8; NAME_ROOM],
    ) -> (QueryLine<'_>, usize) {
        let (first, numbers, reply) = (word(0), word(1), word(2));
        let is = |bit: u64| first & bit != 0;
        let (ip, head_len): (IpAddr, usize) = if is(IPV6) {
            let bits = u128::from(word(4)) | (u128::from(word(5)) << 64);
            (Ipv6Addr::from_bits(bits).into(), HEAD_WORDS)
        } else {
            let bits = word(4) as u32;
            (Ipv4Addr::from_bits(bits).into(), HEAD_WORDS - 1)
        };
        let name_len = octets_of(first).min(NAME_ROOM);
        let name_words = name_len.div_ceil(8);
        let places = name.as_chunks_mut::<8>().0.iter_mut();
        for (at, place) in places.enumerate().take(name_words) {
            *place = word(head_len + at).to_le_bytes();
        }
        let line = QueryLine {
            peer: SocketAddr::new(ip, (first >> 48) as u16),
            id: (first >> 32) as u16,
            qtype: numbers as u16,
            name: &name[..name_len],
            is_tcp: is(TCP),
            query_octets: (numbers >> 48) as u16,
            dnssec_ok: is(DNSSEC_OK),
            size_limit: (numbers >> 32) as u16,
            rcode: Rcode((reply >> 32) as u16),
            reply_flags: (numbers >> 16) as u16,
            reply_octets: reply as u32,
            spent_ns: word(3),
            opcode: is(COMBINED).then_some((reply >> 48) as u8),
        };
        (line, head_len + name_words)
    }
}

/// The line without level and end. A page of the writer says the same for nearly all, in a twentieth of the instructions.
impl fmt::Display for QueryLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_ip(self.peer.ip(), f)?;
        let (port, id, qtype, name) =
            (self.peer.port(), self.id, Type(self.qtype), Text(self.name));
        write!(
            f,
            ":{port} - {id} \"{qtype} IN {name} {}",
            proto(self.is_tcp)
        )?;
        let (octets, dnssec_ok, limit) = (self.query_octets, self.dnssec_ok, self.size_limit);
        write!(f, " {octets} {dnssec_ok} {limit}\" {} ", self.rcode)?;
        write_flags(self.reply_flags, f)?;
        write!(f, " {} ", self.reply_octets)?;
        let spent_ns = i64::try_from(self.spent_ns).unwrap_or(i64::MAX);
        write_duration(GoDuration(spent_ns), f)?;
        match self.opcode {
            Some(opcode) => write!(f, " \"{opcode}\""),
            None => Ok(()),
        }
    }
}

fn proto(is_tcp: bool) -> &'static str {
    if is_tcp { "tcp" } else { "udp" }
}

fn quarters([a, b, c, d]: [u16; 4]) -> u64 {
    u64::from(a) | (u64::from(b) << 16) | (u64::from(c) << 32) | (u64::from(d) << 48)
}

/// Octets that follow the words in front: those of the name, or of a line that is text.
pub(super) fn octets_of(first: u64) -> usize {
    usize::from(first as u16)
}

/// In the first word: what follows is a query and not a line of text.
pub(super) const QUERY: u64 = 1 << 16;
const TCP: u64 = 1 << 17;
const DNSSEC_OK: u64 = 1 << 18;
const COMBINED: u64 = 1 << 19;
const IPV6: u64 = 1 << 20;
/// Words in front of the name; one less with an IPv4 address.
const HEAD_WORDS: usize = 6;
/// Room for the longest name in whole words.
pub(super) const NAME_ROOM: usize = 256;
