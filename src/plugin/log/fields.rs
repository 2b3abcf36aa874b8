//! The placeholders' values of one query.

use std::fmt;
use std::net::SocketAddr;

use crate::lang::duration::GoDuration;
use crate::lang::replacer::{Field, Fields, Format, write_duration, write_flags, write_ip};
use crate::plugin::{Answer, Metadata, PlainQuery, Proto, Query, SocketAddrSlot};
use crate::telemetry::log::QueryLine;
use crate::wire::name::Text;
use crate::wire::rcode::Rcode;
use crate::wire::types::{self, Class, Type};
use crate::wire::{HEADER, flag};

/// One query in one format.
pub(super) struct Line<'a> {
    pub(super) format: &'a Format,
    pub(super) facts: Facts<'a>,
}

/// What there is to tell of a query and its reply.
pub(super) struct Facts<'a> {
    pub(super) name: &'a [u8],
    pub(super) qtype: u16,
    pub(super) qclass: u16,
    pub(super) proto: Proto,
    pub(super) octets: usize,
    pub(super) peer: SocketAddr,
    pub(super) local: SocketAddr,
    pub(super) id: u16,
    pub(super) opcode: u16,
    pub(super) dnssec_ok: bool,
    pub(super) size_limit: usize,
    pub(super) spent_ns: u64,
    /// `None` where nothing is sent; so for `reply_flags`.
    pub(super) rcode: Option<Rcode>,
    pub(super) reply_flags: Option<u16>,
    pub(super) reply_octets: usize,
    pub(super) meta: Option<&'a Metadata>,
}

impl<'a> Facts<'a> {
    /// Of a query on its way up.
    pub(super) fn of(query: &'a Query) -> Facts<'a> {
        Facts {
            name: query.name(),
            qtype: query.qtype,
            qclass: query.qclass,
            proto: query.proto,
            octets: query.size as usize,
            peer: *query.peer,
            local: *query.local,
            id: query.id,
            opcode: query.opcode(),
            dnssec_ok: query.dnssec_ok(),
            size_limit: query.size_limit(),
            spent_ns: query.now_ns.saturating_sub(query.start_ns),
            rcode: query.rcode(),
            reply_flags: reply_flags(query),
            reply_octets: reply_octets(query),
            meta: Some(&query.meta),
        }
    }

    /// Of a query that was answered on the short way, with `reply`, after so many nanoseconds.
    #[inline]
    pub(super) fn of_plain(query: &'a PlainQuery<'_>, reply: &[u8], spent_ns: u64) -> Facts<'a> {
        let flags = reply
            .get(2..4)
            .map_or(0, |word| u16::from_be_bytes([word[0], word[1]]));
        Facts {
            name: query.plain.name(),
            qtype: query.plain.qtype,
            qclass: types::CLASS_IN,
            proto: query.arrival.proto,
            octets: query.plain.size,
            peer: query.client(),
            local: SocketAddrSlot::from(query.arrival.local).0,
            id: query.plain.id,
            opcode: 0,
            dnssec_ok: query.plain.dnssec_ok,
            size_limit: query.size_limit(),
            spent_ns,
            rcode: Some(query.written.rcode),
            reply_flags: Some(flags & !(flag::OPCODE | flag::RCODE)),
            reply_octets: query.written.uncompressed_len,
            meta: None,
        }
    }

    /// What the writer of the log makes the line of, in the default format or with the operation behind it. `None`: there is no reply, or a
    /// number that no ordinary message has.
    #[inline]
    pub(super) fn line(&self, shows_opcode: bool) -> Option<QueryLine<'a>> {
        if self.qclass != types::CLASS_IN {
            return None;
        }
        Some(QueryLine {
            peer: self.peer,
            id: self.id,
            qtype: self.qtype,
            name: self.name,
            is_tcp: self.proto.is_tcp(),
            query_octets: u16::try_from(self.octets).ok()?,
            dnssec_ok: self.dnssec_ok,
            size_limit: u16::try_from(self.size_limit).ok()?,
            rcode: self.rcode?,
            reply_flags: self.reply_flags?,
            reply_octets: u32::try_from(self.reply_octets).ok()?,
            spent_ns: self.spent_ns,
            opcode: match shows_opcode {
                true => Some(u8::try_from(self.opcode).ok()?),
                false => None,
            },
        })
    }
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.format.render(&self.facts, f)
    }
}

impl Fields for Facts<'_> {
    fn write_field(&self, field: Field, out: &mut dyn fmt::Write) -> Result<bool, fmt::Error> {
        match field {
            Field::Type => write!(out, "{}", Type(self.qtype))?,
            Field::Name => write!(out, "{}", Text(self.name))?,
            Field::Class => write!(out, "{}", Class(self.qclass))?,
            Field::Proto => out.write_str(self.proto.as_str())?,
            Field::Size => write!(out, "{}", self.octets)?,
            Field::Remote => write_ip(self.peer.ip(), out)?,
            Field::Port => write!(out, "{}", self.peer.port())?,
            Field::Local => write_ip(self.local.ip(), out)?,
            Field::Rcode => match self.rcode {
                Some(rcode) => write!(out, "{rcode}")?,
                None => return Ok(false),
            },
            Field::ReplySize => write!(out, "{}", self.reply_octets)?,
            Field::Duration => {
                let spent_ns = i64::try_from(self.spent_ns).unwrap_or(i64::MAX);
                write_duration(GoDuration(spent_ns), out)?;
            }
            Field::ReplyFlags => match self.reply_flags {
                Some(flags) => write_flags(flags, out)?,
                None => return Ok(false),
            },
            Field::Id => write!(out, "{}", self.id)?,
            Field::Opcode => write!(out, "{}", self.opcode)?,
            Field::DnssecOk => write!(out, "{}", self.dnssec_ok)?,
            Field::BufferSize => write!(out, "{}", self.size_limit)?,
        }
        Ok(true)
    }

    fn write_metadata(&self, label: &str, out: &mut dyn fmt::Write) -> Result<bool, fmt::Error> {
        match self.meta.and_then(|meta| meta.find(label)) {
            Some(value) => out.write_str(value).map(|()| true),
            None => Ok(false),
        }
    }
}

fn reply_octets(query: &Query) -> usize {
    let question_len = query.asked().len();
    match query.answer {
        Answer::Written if query.reply.edns.present => {
            query.reply.full_len(question_len) + query.reply.edns.wire_len()
        }
        Answer::Written => query.reply.full_len(question_len),
        Answer::Unwritten(_) => HEADER + question_len,
        Answer::Dropped | Answer::Open => 0,
    }
}

fn reply_flags(query: &Query) -> Option<u16> {
    match query.answer {
        Answer::Written => Some(flag::QR | query.reply.flags),
        Answer::Unwritten(_) => Some(flag::QR | query.flags & (flag::RD | flag::CD)),
        Answer::Dropped | Answer::Open => None,
    }
}
