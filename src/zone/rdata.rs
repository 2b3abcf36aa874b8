//! Record data by fields: one table of the types' layouts serves text input and the check of wire input.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use domain::base::iana::{Rtype, SecurityAlgorithm};
use domain::utils::base64;

use super::name::{WireName, name_octets, unescape};
use super::special;

/// One field of record data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    U8,
    U16,
    U32,
    /// A time span: seconds, or with units (`1h30m`).
    Span,
    /// A point in time: `YYYYMMDDHHmmSS` or seconds since 1970 (RFC 4034 section 3.2).
    Time,
    /// A DNSSEC algorithm: number or mnemonic.
    Algorithm,
    /// A record type: mnemonic or `TYPEn`.
    Type,
    Ip4,
    Ip6,
    Name,
    /// A name that CoreDNS lower-cases when it loads a zone; lookups use it as a key.
    NameLower,
    /// One character string of at most 255 octets.
    Text,
    /// One or more character strings up to the end; longer ones are cut into pieces of 255.
    Texts,
    /// Octets up to the end, written as one string without a length.
    Rest,
    /// Octets up to the end, in hexadecimal.
    Hex,
    /// Octets up to the end, in base 64.
    Base64,
    /// Types up to the end, as a bitmap (RFC 4034 section 4.1.2).
    Bitmap,
    /// Octets of fixed number, written in groups: `01-23-...` (RFC 7043) or `2001:db8:...` (RFC 6742).
    Groups(u8),
}

/// The layout of a type's data, where it can be told as a row of fields.
#[rustfmt::skip]
pub(super) fn fields(rtype: u16) -> Option<&'static [Field]> {
    use Field::*;
    Some(match rtype {
        1 => &[Ip4],                                                       // A
        2 | 5 => &[NameLower],                                             // NS CNAME
        3 | 4 | 7 | 8 | 9 | 12 | 23 | 39 => &[Name],                       // MD MF MB MG MR PTR NSAP-PTR DNAME
        6 => &[NameLower, NameLower, U32, Span, Span, Span, Span],         // SOA
        13 => &[Text, Text],                                               // HINFO
        14 | 17 | 58 => &[Name, Name],                                     // MINFO RP TALINK
        15 => &[U16, NameLower],                                           // MX
        18 | 21 | 36 | 107 => &[U16, Name],                                // AFSDB RT KX LP
        16 | 20 | 56 | 99 | 258 | 261 | 262 => &[Texts],                   // TXT ISDN NINFO SPF AVC RESINFO WALLET
        19 => &[Text],                                                     // X25
        26 => &[U16, Name, Name],                                          // PX
        27 => &[Text, Text, Text],                                         // GPOS
        28 => &[Ip6],                                                      // AAAA
        33 => &[U16, U16, U16, NameLower],                                 // SRV
        35 => &[U16, U16, Text, Text, Text, Name],                         // NAPTR
        37 => &[U16, U16, Algorithm, Base64],                              // CERT
        43 | 59 | 32768 | 32769 => &[U16, Algorithm, U8, Hex],             // DS CDS TA DLV
        44 => &[U8, U8, Hex],                                              // SSHFP
        24 | 46 => &[Type, Algorithm, U8, Span, Time, Time, U16, Name, Base64], // SIG RRSIG
        47 => &[Name, Bitmap],                                             // NSEC
        25 | 48 | 57 | 60 => &[U16, U8, Algorithm, Base64],                // KEY DNSKEY RKEY CDNSKEY
        49 | 61 => &[Base64],                                              // DHCID OPENPGPKEY
        52 | 53 => &[U8, U8, U8, Hex],                                     // TLSA SMIMEA
        62 => &[U32, U16, Bitmap],                                         // CSYNC
        63 => &[U32, U8, U8, Hex],                                         // ZONEMD
        104 | 106 => &[U16, Groups(8)],                                    // NID L64
        105 => &[U16, Ip4],                                                // L32
        108 => &[Groups(6)],                                               // EUI48
        109 => &[Groups(8)],                                               // EUI64
        256 => &[U16, U16, Rest],                                          // URI
        257 => &[U8, Text, Rest],                                          // CAA
        _ => return None,
    })
}

/// One token of record data: its octets with escapes, and whether it was quoted or glued to the one before.
#[derive(Clone, Copy)]
pub(super) struct Word<'a> {
    pub(super) octets: &'a [u8],
    pub(super) quoted: bool,
    pub(super) glued: bool,
}

/// What is wrong, and with which word.
pub(super) struct BadData {
    pub(super) what: &'static str,
    pub(super) word: usize,
}

/// Encodes the words of one record's data into `out` (cleared first); at most 65,535 octets.
pub(super) fn encode(
    rtype: u16,
    words: &[Word<'_>],
    origin: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), BadData> {
    out.clear();
    let mut input = Words {
        words,
        at: 0,
        origin,
    };
    let result = if words
        .first()
        .is_some_and(|word| word.octets == b"\\#" && !word.quoted)
    {
        input.generic(rtype, out)
    } else if let Some(fields) = fields(rtype) {
        fields.iter().try_for_each(|&field| input.field(field, out))
    } else {
        let end = words.len();
        input.at = end;
        special::encode(rtype, words, origin, out)
    };
    let bad = |what| BadData {
        what,
        word: input.at.min(words.len().saturating_sub(1)),
    };
    result.map_err(bad)?;
    if input.at < words.len() {
        return Err(bad("text after the data"));
    }
    if out.len() > usize::from(u16::MAX) {
        return Err(bad("data longer than 65535 octets"));
    }
    Ok(())
}

/// Checks wire data against the type's layout and lower-cases the names that lookups use as keys.
pub(super) fn check_wire(rtype: u16, data: &mut [u8]) -> Option<()> {
    if matches!(rtype, super::rtype::SVCB | super::rtype::HTTPS) {
        return name_octets(data.get(2..)?).map(|_| ());
    }
    let Some(fields) = fields(rtype) else {
        return Some(());
    };
    let mut at = 0;
    for &field in fields {
        let rest = data.get_mut(at..)?;
        at += match field {
            Field::U8 | Field::Algorithm => 1,
            Field::U16 | Field::Type => 2,
            Field::U32 | Field::Span | Field::Time | Field::Ip4 => 4,
            Field::Ip6 => 16,
            Field::Groups(octets) => usize::from(octets),
            Field::Name => name_octets(rest)?,
            Field::NameLower => {
                let len = name_octets(rest)?;
                rest[..len].make_ascii_lowercase();
                len
            }
            Field::Text => 1 + usize::from(*rest.first()?),
            Field::Texts => texts_octets(rest)?,
            Field::Rest | Field::Hex | Field::Base64 | Field::Bitmap => rest.len(),
        };
    }
    (at == data.len()).then_some(())
}

fn texts_octets(rest: &[u8]) -> Option<usize> {
    let mut at = 0;
    while at < rest.len() {
        at += 1 + usize::from(rest[at]);
    }
    (at == rest.len() && at > 0).then_some(at)
}

/// A record type by mnemonic or as `TYPEn` (RFC 3597 section 5).
pub(super) fn type_number(text: &[u8]) -> Option<u16> {
    match text {
        b"A" => return Some(super::rtype::A),
        b"AAAA" => return Some(super::rtype::AAAA),
        b"CNAME" => return Some(super::rtype::CNAME),
        b"TXT" => return Some(super::rtype::TXT),
        b"NSAP-PTR" => return Some(23),
        _ => {}
    }
    Rtype::from_str(str::from_utf8(text).ok()?)
        .ok()
        .map(|rtype| rtype.to_int())
}

/// Seconds, or a row of numbers with units `s m h d w` in any case; more than 31 bits count as 2^31 - 1 (RFC 2181).
pub(super) fn span(text: &[u8]) -> Option<u32> {
    if !text.first()?.is_ascii_digit() {
        return None;
    }
    let (mut total, mut number) = (0u64, 0u64);
    for &octet in text {
        let unit = match octet.to_ascii_lowercase() {
            digit @ b'0'..=b'9' => {
                number = number
                    .saturating_mul(10)
                    .saturating_add(u64::from(digit - b'0'));
                continue;
            }
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 86_400,
            b'w' => 604_800,
            _ => return None,
        };
        total = total.saturating_add(number.saturating_mul(unit));
        number = 0;
    }
    Some(total.saturating_add(number).min(i32::MAX as u64) as u32)
}

/// Octets of a character string without its escapes.
pub(super) fn unescaped(text: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
    let mut at = 0;
    while at < text.len() {
        let octet = text[at];
        at += 1;
        out.push(if octet == b'\\' {
            unescape(text, &mut at).ok_or("bad escape")?
        } else {
            octet
        });
    }
    Ok(())
}

struct Words<'a> {
    words: &'a [Word<'a>],
    at: usize,
    origin: &'a [u8],
}

impl<'a> Words<'a> {
    fn next(&mut self) -> Result<&'a [u8], &'static str> {
        let word = self.words.get(self.at).ok_or("missing field")?;
        self.at += 1;
        Ok(word.octets)
    }

    /// Runs `read` on the next word; on failure that word stays the current one, for the message.
    fn read<T>(
        &mut self,
        what: &'static str,
        read: impl FnOnce(&'a [u8]) -> Option<T>,
    ) -> Result<T, &'static str> {
        let value = read(self.next()?);
        self.at -= usize::from(value.is_none());
        value.ok_or(what)
    }

    fn field(&mut self, field: Field, out: &mut Vec<u8>) -> Result<(), &'static str> {
        match field {
            Field::U8 => out.push(self.read("bad number", number)?),
            Field::U16 => out.extend(self.read("bad number", number::<u16>)?.to_be_bytes()),
            Field::U32 => out.extend(self.read("bad number", number::<u32>)?.to_be_bytes()),
            Field::Span => out.extend(self.read("bad time span", span)?.to_be_bytes()),
            Field::Time => out.extend(self.read("bad time", time)?.to_be_bytes()),
            Field::Algorithm => out.push(self.read("bad algorithm", algorithm)?),
            Field::Type => out.extend(self.read("bad type", type_number)?.to_be_bytes()),
            Field::Ip4 => out.extend(self.read("bad IPv4 address", ascii::<Ipv4Addr>)?.octets()),
            Field::Ip6 => out.extend(self.read("bad IPv6 address", ascii::<Ipv6Addr>)?.octets()),
            Field::Name | Field::NameLower => {
                let origin = self.origin;
                let mut name = self.read("bad name", |text| WireName::parse(text, origin).ok())?;
                if field == Field::NameLower {
                    name.lower();
                }
                out.extend_from_slice(name.as_slice());
            }
            Field::Text => self.text(out)?,
            Field::Texts => self.texts(out)?,
            Field::Rest => unescaped(self.next()?, out)?,
            Field::Hex => self.hex(out)?,
            Field::Base64 => self.base64(out)?,
            Field::Bitmap => self.bitmap(out)?,
            Field::Groups(octets) => {
                let value = self.read("bad groups of digits", |text| {
                    groups(text, usize::from(octets))
                })?;
                out.extend_from_slice(&value[..usize::from(octets)]);
            }
        }
        Ok(())
    }

    fn text(&mut self, out: &mut Vec<u8>) -> Result<(), &'static str> {
        let len_at = out.len();
        out.push(0);
        unescaped(self.next()?, out)?;
        out[len_at] =
            u8::try_from(out.len() - len_at - 1).map_err(|_| "string longer than 255 octets")?;
        Ok(())
    }

    fn texts(&mut self, out: &mut Vec<u8>) -> Result<(), &'static str> {
        let mut text = Vec::new();
        loop {
            text.clear();
            unescaped(self.next()?, &mut text)?;
            let mut rest = text.as_slice();
            loop {
                let (piece, after) = rest.split_at(rest.len().min(255));
                out.push(piece.len() as u8); // at most 255
                out.extend_from_slice(piece);
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            if self.at == self.words.len() {
                return Ok(());
            }
        }
    }

    fn hex(&mut self, out: &mut Vec<u8>) -> Result<(), &'static str> {
        let mut high = None;
        while self.at < self.words.len() {
            for &digit in self.next()? {
                let value = (digit as char).to_digit(16).ok_or("bad hexadecimal")? as u8;
                match high.take() {
                    Some(high) => out.push(high << 4 | value),
                    None => high = Some(value),
                }
            }
        }
        if high.is_some() {
            Err("odd number of hexadecimal digits")
        } else {
            Ok(())
        }
    }

    fn base64(&mut self, out: &mut Vec<u8>) -> Result<(), &'static str> {
        let mut decoder = base64::Decoder::<Vec<u8>>::new();
        while self.at < self.words.len() {
            for &octet in self.next()? {
                decoder.push(octet as char).map_err(|_| "bad base64")?;
            }
        }
        out.extend(decoder.finalize().map_err(|_| "bad base64")?);
        Ok(())
    }

    fn bitmap(&mut self, out: &mut Vec<u8>) -> Result<(), &'static str> {
        let mut types = Vec::new();
        while self.at < self.words.len() {
            types.push(self.read("bad type", type_number)?);
        }
        types.sort_unstable();
        for window in types.chunk_by(|a, b| a >> 8 == b >> 8) {
            let mut bits = [0u8; 32];
            for &rtype in window {
                bits[usize::from(rtype as u8 >> 3)] |= 0x80 >> (rtype & 7);
            }
            let len = bits
                .iter()
                .rposition(|&octet| octet != 0)
                .map_or(1, |last| last + 1);
            out.extend([(window[0] >> 8) as u8, len as u8]);
            out.extend_from_slice(&bits[..len]);
        }
        Ok(())
    }

    /// `\# LEN HEX...` (RFC 3597 section 5), for known types too.
    fn generic(&mut self, rtype: u16, out: &mut Vec<u8>) -> Result<(), &'static str> {
        self.at = 1;
        let len = self.read("bad length", number::<u16>)?;
        self.hex(out)?;
        if out.len() != usize::from(len) {
            return Err("length does not fit the data");
        }
        check_wire(rtype, out).ok_or("data does not fit the type")
    }
}

fn ascii<T: FromStr>(text: &[u8]) -> Option<T> {
    str::from_utf8(text).ok()?.parse().ok()
}

fn number<T: FromStr>(text: &[u8]) -> Option<T> {
    // FromStr would take a sign.
    text.first()?.is_ascii_digit().then(|| ascii(text))?
}

fn algorithm(text: &[u8]) -> Option<u8> {
    number(text).or_else(|| {
        SecurityAlgorithm::from_mnemonic(&text.to_ascii_uppercase())
            .map(|algorithm| algorithm.to_int())
    })
}

fn groups(text: &[u8], octets: usize) -> Option<[u8; 8]> {
    let mut out = [0u8; 8];
    let mut digits = 0;
    for &octet in text {
        if matches!(octet, b'-' | b':') {
            continue;
        }
        let value = (octet as char).to_digit(16)? as u8;
        let slot = out[..octets].get_mut(digits / 2)?;
        *slot = *slot << 4 | value;
        digits += 1;
    }
    (digits == 2 * octets).then_some(out)
}

/// Seconds since 1970 modulo 2^32 (RFC 4034 section 3.1.5).
fn time(text: &[u8]) -> Option<u32> {
    if text.len() != 14 {
        return number(text);
    }
    let part = |from: usize, to: usize| number::<u64>(&text[from..to]);
    let (year, month, day) = (part(0, 4)?, part(4, 6)?, part(6, 8)?);
    let (hour, minute, second) = (part(8, 10)?, part(10, 12)?, part(12, 14)?);
    if year < 1970
        || !(1..=12).contains(&month)
        || !(1..=31).contains(&day)
        || hour > 23
        || minute > 59
        || second > 60
    {
        return None;
    }
    // Days since 1970 with years that start in March, so that the leap day comes last.
    let (year, month) = if month < 3 {
        (year - 1, month + 9)
    } else {
        (year, month - 3)
    };
    let days =
        365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) as u32)
}
