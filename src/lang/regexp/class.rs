//! Character classes and escapes, spelled so that the `regex` crate reads them as Go does.

use regex::Regex;

use super::parse_error;

/// Translates the bracketed class at the start of `text`; returns its length in octets.
pub(super) fn bracketed(text: &str, out: &mut String) -> Result<usize, String> {
    let missing = || parse_error("missing closing ]", text);
    let mut at = 1;
    out.push('[');
    if text[at..].starts_with('^') {
        out.push('^');
        at += 1;
    }
    let mut items = 0_usize;
    // A closing bracket in first place stands for itself.
    while items == 0 || !text[at..].starts_with(']') {
        items += 1;
        let rest = &text[at..];
        if let Some((octets, ranges)) = posix(rest)? {
            out.push_str(ranges);
            at += octets;
            continue;
        }
        if let Some(octets) = escaped(rest, out)? {
            at += octets;
            continue;
        }
        let (low, octets) = class_char(rest).ok_or_else(missing)??;
        let mut read = octets;
        let mut high = low;
        // `[a-]` is the letter and the dash.
        if let Some(after) = rest[read..]
            .strip_prefix('-')
            .filter(|after| !after.is_empty() && !after.starts_with(']'))
        {
            let (value, octets) = class_char(after).ok_or_else(missing)??;
            high = value;
            read += 1 + octets;
            if high < low {
                return Err(parse_error("invalid character class range", &rest[..read]));
            }
        }
        push_range(out, low, high);
        at += read;
    }
    out.push(']');
    Ok(at + 1)
}

/// Translates `\d`, `\pL` and the like at the start of `text`; none when it is another escape or none at all.
pub(super) fn escaped(text: &str, out: &mut String) -> Result<Option<usize>, String> {
    let Some(letter) = text.strip_prefix('\\').and_then(|rest| rest.chars().next()) else {
        return Ok(None);
    };
    let class = match letter {
        'd' => "[0-9]",
        'D' => "[^0-9]",
        // No vertical tab, unlike Perl and the `regex` crate.
        's' => r"[\t\n\f\r ]",
        'S' => r"[^\t\n\f\r ]",
        'w' => "[0-9A-Za-z_]",
        'W' => "[^0-9A-Za-z_]",
        'p' | 'P' => return unicode(text, letter == 'P', out).map(Some),
        _ => return Ok(None),
    };
    out.push_str(class);
    Ok(Some(2))
}

/// Reads an escape that stands for one character; returns its code point and its length in octets.
pub(super) fn escaped_char(text: &str) -> Result<(u32, usize), String> {
    let mut chars = text.char_indices().skip(1);
    let Some((_, c)) = chars.next() else {
        return Err(parse_error("trailing backslash at end of expression", ""));
    };
    let invalid = |octets: usize| {
        parse_error(
            "invalid escape sequence",
            text.get(..octets).unwrap_or(text),
        )
    };
    let value = match c {
        'a' => 0x07,
        'f' => 0x0c,
        'n' => 0x0a,
        'r' => 0x0d,
        't' => 0x09,
        'v' => 0x0b,
        'x' => return hexadecimal(text).map_err(invalid),
        '0'..='7' => {
            let digits = text[1..]
                .bytes()
                .take(3)
                .take_while(|b| (b'0'..=b'7').contains(b))
                .count();
            // One digit alone, not zero, would be a back reference.
            if c != '0' && digits == 1 {
                return Err(invalid(2));
            }
            let value = text[1..=digits]
                .bytes()
                .fold(0, |v, b| v * 8 + u32::from(b - b'0'));
            return Ok((value, 1 + digits));
        }
        _ if c.is_ascii() && !c.is_ascii_alphanumeric() => u32::from(c),
        _ => return Err(invalid(1 + c.len_utf8())),
    };
    Ok((value, 2))
}

/// Writes a code point so that it stands for itself everywhere in the pattern.
pub(super) fn push_char(out: &mut String, value: u32) {
    match char::from_u32(value) {
        Some(c) if c.is_ascii_alphanumeric() || !c.is_ascii() => out.push(c),
        Some(_) => out.push_str(&format!(r"\x{{{value:x}}}")),
        // A surrogate is never part of a text: a class that nothing is in.
        None => out.push_str(r"[^\x{0}-\x{10ffff}]"),
    }
}

// === helpers ===

fn class_char(text: &str) -> Option<Result<(u32, usize), String>> {
    match text.chars().next()? {
        '\\' => Some(escaped_char(text)),
        c => Some(Ok((u32::from(c), c.len_utf8()))),
    }
}

/// Writes `low-high` without the surrogates at its ends, which the `regex` crate refuses.
fn push_range(out: &mut String, low: u32, high: u32) {
    let low = if SURROGATES.contains(&low) {
        *SURROGATES.end() + 1
    } else {
        low
    };
    let high = if SURROGATES.contains(&high) {
        *SURROGATES.start() - 1
    } else {
        high
    };
    if low <= high {
        out.push_str(&format!(r"\x{{{low:x}}}-\x{{{high:x}}}"));
    } else {
        push_char(out, *SURROGATES.start());
    }
}

/// `\x7F` or `\x{10FFFF}`; the error is the number of octets that Go had read.
fn hexadecimal(text: &str) -> Result<(u32, usize), usize> {
    let body = &text[2..];
    if let Some(digits) = body.strip_prefix('{') {
        let mut value: u32 = 0;
        for (count, (offset, c)) in digits.char_indices().enumerate() {
            let read = 3 + offset + c.len_utf8();
            if c == '}' && count > 0 {
                return Ok((value, read));
            }
            let digit = c.to_digit(16).ok_or(read)?;
            value = value * 16 + digit;
            if value > u32::from(char::MAX) {
                return Err(read);
            }
        }
        return Err(text.len());
    }
    let mut value = 0;
    let mut read = 2;
    for _ in 0..2 {
        let c = text[read..].chars().next().ok_or(read)?;
        read += c.len_utf8();
        value = value * 16 + c.to_digit(16).ok_or(read)?;
    }
    Ok((value, read))
}

/// `\pL`, `\p{Greek}`, `\P{^Greek}` at the start of `text`.
fn unicode(text: &str, negated: bool, out: &mut String) -> Result<usize, String> {
    let invalid = |octets: usize| {
        parse_error(
            "invalid character class range",
            text.get(..octets).unwrap_or(text),
        )
    };
    let body = &text[2..];
    let (name, octets) = match body.strip_prefix('{') {
        Some(after) => {
            let end = after.find('}').ok_or_else(|| invalid(text.len()))?;
            (&after[..end], 4 + end)
        }
        None => {
            let c = body.chars().next().ok_or_else(|| invalid(text.len()))?;
            (&body[..c.len_utf8()], 2 + c.len_utf8())
        }
    };
    let (name, negated) = match name.strip_prefix('^') {
        Some(name) => (name, !negated),
        None => (name, negated),
    };
    let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let class = format!(r"\{}{{{name}}}", if negated { 'P' } else { 'p' });
    if !plain || Regex::new(&class).is_err() {
        return Err(invalid(octets));
    }
    out.push_str(&class);
    Ok(octets)
}

/// `[:alpha:]` and the like, inside brackets only.
fn posix(text: &str) -> Result<Option<(usize, &'static str)>, String> {
    let Some(end) = text.strip_prefix("[:").and_then(|after| after.find(":]")) else {
        return Ok(None);
    };
    let octets = end + 4;
    let class = POSIX.iter().find(|(name, _)| *name == &text[2..2 + end]);
    match class {
        Some((_, ranges)) => Ok(Some((octets, ranges))),
        None => Err(parse_error(
            "invalid character class range",
            &text[..octets],
        )),
    }
}

/// Names of POSIX classes and what they hold; ASCII only, as in Go.
const POSIX: [(&str, &str); 28] = [
    ("alnum", "[0-9A-Za-z]"),
    ("^alnum", "[^0-9A-Za-z]"),
    ("alpha", "[A-Za-z]"),
    ("^alpha", "[^A-Za-z]"),
    ("ascii", r"[\x00-\x7F]"),
    ("^ascii", r"[^\x00-\x7F]"),
    ("blank", r"[\t ]"),
    ("^blank", r"[^\t ]"),
    ("cntrl", r"[\x00-\x1F\x7F]"),
    ("^cntrl", r"[^\x00-\x1F\x7F]"),
    ("digit", "[0-9]"),
    ("^digit", "[^0-9]"),
    ("graph", "[!-~]"),
    ("^graph", "[^!-~]"),
    ("lower", "[a-z]"),
    ("^lower", "[^a-z]"),
    ("print", "[ -~]"),
    ("^print", "[^ -~]"),
    ("punct", r"[!-/:-@\[-`\{-~]"),
    ("^punct", r"[^!-/:-@\[-`\{-~]"),
    ("space", r"[\t\n\x0B\f\r ]"),
    ("^space", r"[^\t\n\x0B\f\r ]"),
    ("upper", "[A-Z]"),
    ("^upper", "[^A-Z]"),
    ("word", "[0-9A-Za-z_]"),
    ("^word", "[^0-9A-Za-z_]"),
    ("xdigit", "[0-9A-Fa-f]"),
    ("^xdigit", "[^0-9A-Fa-f]"),
];
const SURROGATES: std::ops::RangeInclusive<u32> = 0xd800..=0xdfff;
