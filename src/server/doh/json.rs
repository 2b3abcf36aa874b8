//! The JSON form of a query and its reply, as public resolvers write it: `?name=example.org&type=A`. Off the fast path.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::fmt::Write;

use domain::base::iana::Rtype;
use domain::base::message::RecordSection;
use domain::base::zonefile_fmt::{DisplayKind, ZonefileFmt};
use domain::base::{Message, ToName};
use domain::rdata::AllRecordData;
use http::header::ACCEPT;
use http::request::Parts;

use super::query::values;
use crate::wire::name::NameBuf;
use crate::wire::types;

/// Whether a request means this form: it says so, or has a name and no message.
pub(super) fn is_meant(head: &Parts, parameters: &str) -> bool {
    let accepts = |kind: &str| {
        let fields = head.headers.get_all(ACCEPT).iter();
        fields
            .filter_map(|field| field.to_str().ok())
            .any(|field| field.contains(kind))
    };
    let has = |name| values(parameters, name).next().is_some();
    has("name") && !has("dns") && (accepts("json") || !accepts("application/dns-message"))
}

/// The message that the parameters stand for: `name`, `type` (A), `cd` and `do`.
///
/// # Errors
/// What is wrong, for the client.
pub(super) fn message(parameters: &str) -> Result<Vec<u8>, &'static str> {
    let one = |name| {
        let mut values = values(parameters, name);
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            _ => Err("a parameter is given twice"),
        }
    };
    let is_set = |name| {
        let value = one(name)?;
        Ok::<bool, &str>(value.is_some_and(|value| matches!(&*value, "1" | "true" | "")))
    };
    let name = one("name")?.unwrap_or_default();
    let name = NameBuf::from_text(&name).map_err(|_| "'name' is not a domain name")?;
    let qtype = match one("type")? {
        None => types::A,
        Some(text) => {
            let number = text.parse().ok();
            let found = number.or_else(|| types::parse(&text.to_ascii_uppercase()));
            found.ok_or("'type' is not a type")?
        }
    };
    let (is_cd, is_do) = (is_set("cd")?, is_set("do")?);
    // RD, as all who ask so want an answer.
    let mut message = vec![0, 0, 0x01, if is_cd { 0x10 } else { 0 }];
    message.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, u8::from(is_do)]);
    message.extend_from_slice(name.as_wire());
    message.extend_from_slice(&qtype.to_be_bytes());
    message.extend_from_slice(&types::CLASS_IN.to_be_bytes());
    if is_do {
        // The root, OPT, 1,232 octets, no extended rcode, version 0, DO, no options.
        message.extend_from_slice(&[0, 0, 41, 0x04, 0xd0, 0, 0, 0x80, 0, 0, 0]);
    }
    Ok(message)
}

/// The JSON text of a reply; `None` for one whose data cannot be written so.
pub(super) fn text(reply: &[u8]) -> Option<String> {
    let message = Message::from_octets(reply).ok()?;
    let (header, mut out) = (message.header(), String::with_capacity(512));
    let (_, answer, authority, additional) = message.sections().ok()?;
    let head = write!(
        out,
        "{{\"Status\":{},\"TC\":{},\"RD\":{},\"RA\":{},\"AD\":{},\"CD\":{},\"Question\":[",
        message.opt_rcode().to_int(),
        header.tc(),
        header.rd(),
        header.ra(),
        header.ad(),
        header.cd()
    );
    head.ok()?;
    for (nth, question) in message.question().enumerate() {
        let question = question.ok()?;
        out.push_str(if nth > 0 { ",{\"name\":" } else { "{\"name\":" });
        push_name(&mut out, question.qname())?;
        write!(out, ",\"type\":{}}}", question.qtype().to_int()).ok()?;
    }
    out.push(']');
    for (name, section) in [
        ("Answer", answer),
        ("Authority", authority),
        ("Additional", additional),
    ] {
        push_section(&mut out, name, section)?;
    }
    out.push('}');
    Some(out)
}

/// Appends a section that has records, OPT left out.
fn push_section(out: &mut String, name: &str, section: RecordSection<'_, &[u8]>) -> Option<()> {
    let mut count = 0;
    for record in section {
        let record = record.ok()?;
        if record.rtype() == Rtype::OPT {
            continue;
        }
        let record = record.into_any_record::<AllRecordData<_, _>>().ok()?;
        if count == 0 {
            write!(out, ",\"{name}\":[{{\"name\":").ok()?;
        } else {
            out.push_str(",{\"name\":");
        }
        push_name(out, record.owner())?;
        let (rtype, ttl) = (record.rtype().to_int(), record.ttl().as_secs());
        write!(out, ",\"type\":{rtype},\"TTL\":{ttl},\"data\":").ok()?;
        let mut data = String::new();
        write!(
            data,
            "{}",
            record.data().display_zonefile(DisplayKind::Simple)
        )
        .ok()?;
        push_text(out, &data);
        out.push('}');
        count += 1;
    }
    if count > 0 {
        out.push(']');
    }
    Some(())
}

/// With the final dot, as in a zone file.
fn push_name(out: &mut String, name: &impl ToName) -> Option<()> {
    let mut text = String::new();
    write!(text, "{}", name.fmt_with_dot()).ok()?;
    push_text(out, &text);
    Some(())
}

/// A JSON string (RFC 8259 section 7).
fn push_text(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            // Writing to a String cannot fail.
            control if control < ' ' => drop(write!(out, "\\u{:04x}", u32::from(control))),
            other => out.push(other),
        }
    }
    out.push('"');
}
