//! Record data whose text form is no row of fields: LOC here, the rest by the `domain` crate's reader.

use domain::base::iana::Class;
use domain::base::name::{Name, ToName};
use domain::base::rdata::ComposeRecordData;
use domain::zonefile::inplace::{Entry, Zonefile};

use super::rdata::Word;

const LOC: u16 = 29;

/// Encodes data of a type that `rdata::fields` does not know (LOC, SVCB, HTTPS, IPSECKEY, ...).
pub(super) fn encode(
    rtype: u16,
    words: &[Word<'_>],
    origin: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), &'static str> {
    if rtype == LOC {
        loc(words, out)
    } else {
        by_domain(rtype, words, origin, out)
    }
}

/// Hands the one record to the `domain` crate's zone-file reader.
fn by_domain(
    rtype: u16,
    words: &[Word<'_>],
    origin: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), &'static str> {
    let mut line = format!(". 0 IN TYPE{rtype}").into_bytes();
    for word in words {
        if !word.glued {
            line.push(b' ');
        }
        if word.quoted {
            line.push(b'"');
        }
        // A line break inside quotes would end the line for that reader.
        line.extend(
            word.octets
                .iter()
                .map(|&octet| if octet == b'\n' { b' ' } else { octet }),
        );
        if word.quoted {
            line.push(b'"');
        }
    }
    line.push(b'\n');
    let mut file = Zonefile::from(line.as_slice());
    file.set_default_class(Class::IN);
    file.set_origin(
        Name::from_slice(origin)
            .map_err(|_| "bad origin")?
            .to_bytes(),
    );
    match file.next_entry() {
        Ok(Some(Entry::Record(record))) => record
            .data()
            .compose_rdata(out)
            .map_err(|_| "data too long"),
        _ => Err("bad data; for a type that is not known write \\# LENGTH HEX"),
    }
}

/// `d1 [m1 [s1]] N|S d2 [m2 [s2]] E|W alt[m] [size[m] [hp[m] [vp[m]]]]` (RFC 1876 section 3).
fn loc(words: &[Word<'_>], out: &mut Vec<u8>) -> Result<(), &'static str> {
    let mut words = words
        .iter()
        .map(|word| str::from_utf8(word.octets).unwrap_or("?"));
    let latitude = angle(&mut words, 90, "N", "S").ok_or("bad latitude")?;
    let longitude = angle(&mut words, 180, "E", "W").ok_or("bad longitude")?;
    let altitude = centimetres(words.next().ok_or("missing altitude")?).ok_or("bad altitude")?;
    let altitude = u32::try_from(altitude + 10_000_000).map_err(|_| "bad altitude")?;
    out.push(0);
    // Size 1 m, horizontal precision 10 km, vertical 10 m unless given.
    for default in [0x12, 0x16, 0x13] {
        out.push(match words.next() {
            Some(text) => centimetres(text)
                .and_then(power_of_ten)
                .ok_or("bad precision")?,
            None => default,
        });
    }
    out.extend(latitude.to_be_bytes());
    out.extend(longitude.to_be_bytes());
    out.extend(altitude.to_be_bytes());
    if words.next().is_some() {
        Err("text after the data")
    } else {
        Ok(())
    }
}

/// Thousandths of an arc second, 2^31 being the equator or the prime meridian.
fn angle<'a>(
    words: &mut impl Iterator<Item = &'a str>,
    degrees_max: u32,
    plus: &str,
    minus: &str,
) -> Option<u32> {
    let degrees: u32 = words
        .next()?
        .parse()
        .ok()
        .filter(|&value| value <= degrees_max)?;
    let mut thousandths = degrees * 3_600_000;
    for unit in [60_000, 1_000, 0] {
        let word = words.next()?;
        let sign = if word.eq_ignore_ascii_case(plus) {
            1
        } else {
            -1
        };
        if sign > 0 || word.eq_ignore_ascii_case(minus) {
            return 0x8000_0000u32.checked_add_signed(sign * i32::try_from(thousandths).ok()?);
        }
        thousandths += match unit {
            60_000 => word.parse::<u32>().ok().filter(|&value| value < 60)? * unit,
            1_000 => decimal(word, 3)
                .and_then(|value| u32::try_from(value).ok())
                .filter(|&value| value < 60_000)?,
            _ => return None,
        };
    }
    None
}

fn centimetres(text: &str) -> Option<i64> {
    decimal(text.strip_suffix(['m', 'M']).unwrap_or(text), 2)
}

/// A decimal number times 10 to the `places`.
fn decimal(text: &str, places: usize) -> Option<i64> {
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > places
        || !(whole.bytes().chain(fraction.bytes())).all(|c| c.is_ascii_digit())
    {
        return None;
    }
    let digits: i64 = format!("{whole}{fraction:0<places$}").parse().ok()?;
    (digits < 1 << 40).then_some(sign * digits)
}

/// The octet `mantissa << 4 | exponent` of RFC 1876 section 2.
fn power_of_ten(mut value: i64) -> Option<u8> {
    let mut exponent = 0;
    while value > 9 {
        value /= 10;
        exponent += 1;
    }
    (value >= 0 && exponent <= 9).then_some((value as u8) << 4 | exponent)
}
