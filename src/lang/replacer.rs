//! Log formats: text with `{placeholders}`, parsed once and rendered per query.
//!
//! Runs on: data core (rendering allocates nothing).
//!
//! **Invariant**: text that is no placeholder is written as it stands; a missing value is written as `-`.

use std::fmt;
use std::net::IpAddr;

use crate::lang::duration::GoDuration;

/// A parsed format of the *log* and *dnstap* plugins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    parts: Vec<Part>,
    /// It is the common format, `Some(true)` with the operation.
    ready: Option<bool>,
}

/// What a placeholder stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// `{type}`: mnemonic of the question's type.
    Type,
    /// `{name}`: the question's name, lower-case, with its final dot.
    Name,
    /// `{class}`: mnemonic of the question's class.
    Class,
    /// `{proto}`: `udp` or `tcp`.
    Proto,
    /// `{size}`: octets of the query.
    Size,
    /// `{remote}`: the client's address, IPv6 in brackets.
    Remote,
    /// `{port}`: the client's port.
    Port,
    /// `{local}`: the address the query came to, IPv6 in brackets.
    Local,
    /// `{rcode}`: mnemonic or number of the reply's code.
    Rcode,
    /// `{rsize}`: octets of the reply before compression.
    ReplySize,
    /// `{duration}`: seconds spent, decimal, with suffix `s`.
    Duration,
    /// `{>rflags}`: flags of the reply, comma-separated.
    ReplyFlags,
    /// `{>id}`: identifier of the message.
    Id,
    /// `{>opcode}`: number of the operation.
    Opcode,
    /// `{>do}`: whether the client asked for DNSSEC.
    DnssecOk,
    /// `{>bufsize}`: the size that the client can take.
    BufferSize,
}

/// Where the values of one query come from.
pub trait Fields {
    /// Writes a value; false when it is missing, having written nothing.
    fn write_field(&self, field: Field, out: &mut dyn fmt::Write) -> Result<bool, fmt::Error>;

    /// Writes the value of a metadata label (`plugin/name`); false when nobody provides it.
    fn write_metadata(&self, label: &str, out: &mut dyn fmt::Write) -> Result<bool, fmt::Error>;
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(Box<str>),
    Field(Field),
    Metadata(Box<str>),
}

// === impl Format ===

impl Format {
    /// Parses a format. Every text is a format: unknown placeholders are literal text.
    pub fn parse(text: &str) -> Self {
        let mut parts = Vec::new();
        let mut rest = text;
        // The opening brace is searched backwards from the closing one, so that `{ {name} }` holds a placeholder.
        while let Some(close) = rest.find('}') {
            let open = rest[..close].rfind('{');
            let found = open.and_then(|open| Some((open, Part::named(&rest[open..=close])?)));
            match found {
                Some((open, part)) => {
                    push_literal(&mut parts, &rest[..open]);
                    parts.push(part);
                }
                None => push_literal(&mut parts, &rest[..=close]),
            }
            rest = &rest[close + 1..];
        }
        push_literal(&mut parts, rest);
        let ready = match text {
            COMMON => Some(false),
            COMBINED => Some(true),
            _ => None,
        };
        Self { parts, ready }
    }

    /// Whether this is the format that *log* uses when it is given none, or (`Some(true)`) that one with the operation behind it: lines
    /// for which there is code of its own.
    pub fn is_ready(&self) -> Option<bool> {
        self.ready
    }

    /// Parses a format of the *log* plugin, in which `{common}` and `{combined}` stand for whole formats.
    pub fn parse_log(text: &str) -> Self {
        Self::parse(
            &text
                .replace("{common}", COMMON)
                .replace("{combined}", COMBINED),
        )
    }

    /// The format that the *log* plugin uses when it is given none.
    pub fn common() -> Self {
        Self::parse(COMMON)
    }

    /// Writes one line (without a line end).
    pub fn render(&self, fields: &dyn Fields, out: &mut dyn fmt::Write) -> fmt::Result {
        for part in &self.parts {
            let written = match part {
                Part::Literal(text) => out.write_str(text).map(|()| true),
                Part::Field(field) => fields.write_field(*field, out),
                Part::Metadata(label) => fields.write_metadata(label, out),
            }?;
            if !written {
                out.write_str(MISSING)?;
            }
        }
        Ok(())
    }
}

impl Part {
    /// The placeholder with its braces; none when it is not known.
    fn named(text: &str) -> Option<Self> {
        if let Some(label) = text.strip_prefix("{/") {
            return Some(Self::Metadata(label.strip_suffix('}')?.into()));
        }
        FIELDS
            .iter()
            .find(|(name, _)| *name == text)
            .map(|(_, field)| Self::Field(*field))
    }
}

// === how values look ===

/// Writes an address with IPv6 in brackets.
pub fn write_ip(ip: IpAddr, out: &mut dyn fmt::Write) -> fmt::Result {
    match ip {
        IpAddr::V4(ip) => write!(out, "{ip}"),
        IpAddr::V6(ip) => write!(out, "[{ip}]"),
    }
}

/// Writes the flags of a header's second 16-bit word (RFC 1035 section 4.1.1), such as `qr,aa,rd`.
pub fn write_flags(word: u16, out: &mut dyn fmt::Write) -> fmt::Result {
    let mut separator = "";
    for (bit, name) in FLAGS {
        if word & bit != 0 {
            out.write_str(separator)?;
            out.write_str(name)?;
            separator = ",";
        }
    }
    Ok(())
}

/// Writes a duration in seconds, such as `0.037990251s`.
pub fn write_duration(span: GoDuration, out: &mut dyn fmt::Write) -> fmt::Result {
    write!(out, "{}s", span.seconds())
}

// === helpers ===

/// Literal texts that follow each other become one.
fn push_literal(parts: &mut Vec<Part>, text: &str) {
    if text.is_empty() {
        return;
    }
    if let Some(Part::Literal(last)) = parts.last_mut() {
        *last = format!("{last}{text}").into();
    } else {
        parts.push(Part::Literal(text.into()));
    }
}

/// The *log* plugin's default format.
pub const COMMON: &str = concat!(
    "{remote}:{port} - {>id} ",
    "\"{type} {class} {name} {proto} {size} {>do} {>bufsize}\" ",
    "{rcode} {>rflags} {rsize} {duration}"
);
/// The common format and the operation.
pub const COMBINED: &str = concat!(
    "{remote}:{port} - {>id} ",
    "\"{type} {class} {name} {proto} {size} {>do} {>bufsize}\" ",
    "{rcode} {>rflags} {rsize} {duration} \"{>opcode}\""
);
/// Stands for a value that is not there.
const MISSING: &str = "-";
const FIELDS: [(&str, Field); 16] = [
    ("{type}", Field::Type),
    ("{name}", Field::Name),
    ("{class}", Field::Class),
    ("{proto}", Field::Proto),
    ("{size}", Field::Size),
    ("{remote}", Field::Remote),
    ("{port}", Field::Port),
    ("{local}", Field::Local),
    ("{rcode}", Field::Rcode),
    ("{rsize}", Field::ReplySize),
    ("{duration}", Field::Duration),
    ("{>rflags}", Field::ReplyFlags),
    ("{>id}", Field::Id),
    ("{>opcode}", Field::Opcode),
    ("{>do}", Field::DnssecOk),
    ("{>bufsize}", Field::BufferSize),
];
/// Flags of a header's second word and their names, in the order in which CoreDNS lists them.
pub const FLAGS: [(u16, &str); 8] = [
    (1 << 15, "qr"),
    (1 << 10, "aa"),
    (1 << 9, "tc"),
    (1 << 8, "rd"),
    (1 << 7, "ra"),
    (1 << 6, "z"),
    (1 << 5, "ad"),
    (1 << 4, "cd"),
];

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use proptest::prelude::*;

    use super::*;

    /// A query whose reply may be missing.
    struct Sample {
        replied: bool,
    }

    impl Fields for Sample {
        fn write_field(&self, field: Field, out: &mut dyn fmt::Write) -> Result<bool, fmt::Error> {
            let needs_reply = matches!(
                field,
                Field::Rcode | Field::ReplySize | Field::Duration | Field::ReplyFlags
            );
            if needs_reply && !self.replied {
                return Ok(false);
            }
            match field {
                Field::Type => out.write_str("A")?,
                Field::Name => out.write_str("example.org.")?,
                Field::Class => out.write_str("IN")?,
                Field::Proto => out.write_str("udp")?,
                Field::Size => out.write_str("41")?,
                Field::Remote => write_ip(Ipv6Addr::LOCALHOST.into(), out)?,
                Field::Port => out.write_str("50759")?,
                Field::Local => write_ip([127, 0, 0, 1].into(), out)?,
                Field::Rcode => out.write_str("NOERROR")?,
                Field::ReplySize => out.write_str("68")?,
                Field::Duration => write_duration(GoDuration(37_990_251), out)?,
                Field::ReplyFlags => write_flags(0x81a0, out)?,
                Field::Id => out.write_str("29008")?,
                Field::Opcode => out.write_str("0")?,
                Field::DnssecOk => out.write_str("false")?,
                Field::BufferSize => out.write_str("4096")?,
            }
            Ok(true)
        }

        fn write_metadata(
            &self,
            label: &str,
            out: &mut dyn fmt::Write,
        ) -> Result<bool, fmt::Error> {
            match label {
                "view/name" => out.write_str("inside").map(|()| true),
                "empty/value" => Ok(true),
                _ => Ok(false),
            }
        }
    }

    fn check(text: &str, replied: bool, expect: &str) {
        let mut out = String::new();
        Format::parse_log(text)
            .render(&Sample { replied }, &mut out)
            .unwrap();
        assert_eq!(out, expect, "{text}");
    }

    #[test]
    fn renders_the_formats_of_coredns() {
        let line = r#"[::1]:50759 - 29008 "A IN example.org. udp 41 false 4096" NOERROR qr,rd,ra,ad 68 0.037990251s"#;
        check("{common}", true, line);
        check(COMMON, true, line);
        check("{combined}", true, &format!("{line} \"0\""));
        check("x {common} y", true, &format!("x {line} y"));
        let dropped = r#"[::1]:50759 - 29008 "A IN example.org. udp 41 false 4096" - - - -"#;
        check("{common}", false, dropped);
        assert_eq!(Format::common(), Format::parse_log("{common}"));
    }

    #[test]
    fn renders_each_placeholder() {
        check(
            "{type}|{name}|{class}|{proto}|{size}",
            true,
            "A|example.org.|IN|udp|41",
        );
        check("{remote}|{port}|{local}", true, "[::1]|50759|127.0.0.1");
        check(
            "{rcode}|{rsize}|{duration}|{>rflags}",
            true,
            "NOERROR|68|0.037990251s|qr,rd,ra,ad",
        );
        check(
            "{>id}|{>opcode}|{>do}|{>bufsize}",
            true,
            "29008|0|false|4096",
        );
        check(
            "{/view/name} {/no/label} [{/empty/value}]",
            true,
            "inside - []",
        );
    }

    #[test]
    fn other_text_stays() {
        check("", true, "");
        check("plain", true, "plain");
        check("{x} {>x} {TYPE}", true, "{x} {>x} {TYPE}");
        check("{ {type} }", true, "{ A }");
        check("{{type}}", true, "{A}");
        check("A } {type} {", true, "A } A {");
        check("{type", true, "{type");
        check("{}{type}{}", true, "{}A{}");
        check("é{name}é", true, "éexample.org.é");
    }

    #[test]
    fn flags_in_order() {
        let check = |word, expect: &str| {
            let mut out = String::new();
            write_flags(word, &mut out).unwrap();
            assert_eq!(out, expect);
        };
        check(0, "");
        check(0x8000, "qr");
        check(0xffff, "qr,aa,tc,rd,ra,z,ad,cd");
    }

    proptest! {
        #[test]
        fn any_text_renders(text in "([{}>/a ]|\\{type\\}|.){0,40}") {
            let mut out = String::new();
            Format::parse_log(&text).render(&Sample { replied: true }, &mut out).unwrap();
            if !text.contains('}') {
                prop_assert_eq!(out, text);
            }
        }
    }
}
