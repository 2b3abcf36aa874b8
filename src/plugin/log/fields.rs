//! The placeholders' values of one query.

use std::fmt;

use crate::lang::duration::GoDuration;
use crate::lang::replacer::{Field, Fields, Format, write_duration, write_flags, write_ip};
use crate::plugin::{Answer, Query};
use crate::wire::name::Text;
use crate::wire::types::{Class, Type};
use crate::wire::{HEADER, flag};

/// One query in one format.
pub(super) struct Line<'a> {
    pub(super) format: &'a Format,
    pub(super) query: &'a Query,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.format.render(self, f)
    }
}

impl Fields for Line<'_> {
    fn write_field(&self, field: Field, out: &mut dyn fmt::Write) -> Result<bool, fmt::Error> {
        let query = self.query;
        match field {
            Field::Type => write!(out, "{}", Type(query.qtype))?,
            Field::Name => write!(out, "{}", Text(query.name()))?,
            Field::Class => write!(out, "{}", Class(query.qclass))?,
            Field::Proto => out.write_str(query.proto.as_str())?,
            Field::Size => write!(out, "{}", query.size)?,
            Field::Remote => write_ip(query.peer.ip(), out)?,
            Field::Port => write!(out, "{}", query.peer.port())?,
            Field::Local => write_ip(query.local.ip(), out)?,
            Field::Rcode => match query.rcode() {
                Some(rcode) => write!(out, "{rcode}")?,
                None => return Ok(false),
            },
            Field::ReplySize => write!(out, "{}", reply_octets(query))?,
            Field::Duration => {
                let spent_ns = query.now_ns.saturating_sub(query.start_ns);
                write_duration(GoDuration(i64::try_from(spent_ns).unwrap_or(i64::MAX)), out)?;
            }
            Field::ReplyFlags => match reply_flags(query) {
                Some(flags) => write_flags(flags, out)?,
                None => return Ok(false),
            },
            Field::Id => write!(out, "{}", query.id)?,
            Field::Opcode => write!(out, "{}", query.opcode())?,
            Field::DnssecOk => write!(out, "{}", query.dnssec_ok())?,
            Field::BufferSize => write!(out, "{}", query.size_limit())?,
        }
        Ok(true)
    }

    fn write_metadata(&self, label: &str, out: &mut dyn fmt::Write) -> Result<bool, fmt::Error> {
        match self.query.meta.find(label) {
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
