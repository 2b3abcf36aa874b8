//! The parameters of a GET: `name=value&...` with percent escapes, and base64url.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::borrow::Cow;

use crate::limits;

/// The message in the one parameter `dns`.
///
/// # Errors
/// What is wrong, for the client.
pub(super) fn message(parameters: &str) -> Result<Vec<u8>, &'static str> {
    let mut values = values(parameters, "dns");
    let value = values.next().ok_or("no 'dns' query parameter found")?;
    if values.next().is_some() {
        return Err("multiple 'dns' query values found");
    }
    // Looked at before it is decoded (CVE-2026-32936).
    if value.len() > limits::MESSAGE_OCTETS.div_ceil(3) * 4 {
        return Err("'dns' is longer than a message");
    }
    let message = base64url(value.as_bytes()).ok_or("'dns' is not base64url without padding")?;
    if message.len() > limits::MESSAGE_OCTETS {
        return Err("'dns' is longer than a message");
    }
    Ok(message)
}

/// The values of a parameter, unescaped. What is escaped badly is as good as missing.
pub(super) fn values<'a>(
    parameters: &'a str,
    name: &'a str,
) -> impl Iterator<Item = Cow<'a, str>> + 'a {
    parameters.split('&').filter_map(move |pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (unescape(key)? == name).then(|| unescape(value))?
    })
}

fn unescape(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains(['%', '+']) {
        return Some(Cow::Borrowed(text));
    }
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'+' => octets.push(b' '),
            b'%' => {
                let (digits, after) = rest.split_at_checked(2)?;
                let digit = |octet: u8| char::from(octet).to_digit(16);
                // Two hexadecimal digits are an octet.
                octets.push((digit(digits[0])? * 16 + digit(digits[1])?) as u8);
                rest = after;
            }
            other => octets.push(other),
        }
    }
    String::from_utf8(octets).ok().map(Cow::Owned)
}

/// Decodes base64url without padding (RFC 4648 section 5); `None` for anything else.
fn base64url(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for group in text.chunks(4) {
        let mut bits = 0u32;
        for &octet in group {
            bits = bits << 6 | u32::from(SEXTETS[usize::from(octet)]?);
        }
        let octets = match group.len() {
            4 => bits << 8,
            3 => bits << 14,
            2 => bits << 20,
            _ => return None,
        };
        out.extend_from_slice(&octets.to_be_bytes()[..group.len() - 1]);
    }
    Some(out)
}

/// The value of each digit of base64url.
static SEXTETS: [Option<u8>; 256] = {
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut table = [None; 256];
    let mut value = 0;
    while value < digits.len() {
        table[digits[value] as usize] = Some(value as u8);
        value += 1;
    }
    table
};
