//! Addresses as labels of names: dashes for dots or colons.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address as a label: dashes for dots or colons, and a zero behind a last dash.
pub fn write_dashed(ip: IpAddr, room: &mut [u8; DASHED]) -> &[u8] {
    use std::io::Write;
    let mut rest = &mut room[..];
    // There is room for the longest address.
    let _ = write!(rest, "{ip}");
    let mut len = DASHED - rest.len();
    for octet in &mut room[..len] {
        if matches!(octet, b'.' | b':') {
            *octet = b'-';
        }
    }
    if room[..len].ends_with(b"-") {
        room[len] = b'0';
        len += 1;
    }
    &room[..len]
}

/// The address that the label of a pod spells, dashes for dots or colons.
pub fn pod_address(label: &[u8]) -> Option<IpAddr> {
    let dashes = label.iter().filter(|octet| **octet == b'-').count();
    let is_v4 = dashes == 3 && !label.windows(2).any(|pair| pair == b"--");
    let mut text = [0; 45];
    let text = text.get_mut(..label.len())?;
    for (octet, place) in label.iter().zip(text.iter_mut()) {
        *place = match octet {
            b'-' if is_v4 => b'.',
            b'-' => b':',
            other => *other,
        };
    }
    let text = std::str::from_utf8(text).ok()?;
    match is_v4 {
        true => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        false => text
            .parse::<Ipv6Addr>()
            .ok()
            .map(|ip| IpAddr::V6(ip).to_canonical()),
    }
}

/// The address whose dashed form is exactly this label.
pub fn dashed_address(label: &[u8]) -> Option<IpAddr> {
    let ip = match label.last() {
        // CoreDNS ends `fd00::` with a zero.
        Some(b'0') => pod_address(label).or_else(|| pod_address(&label[..label.len() - 1])),
        _ => pod_address(label),
    }?;
    let mut dashes = [0; DASHED];
    (*write_dashed(ip, &mut dashes) == *label).then_some(ip)
}

/// Room for the longest dashed address and a zero.
pub const DASHED: usize = 46;
