//! Zones as written in keys and arguments: scheme and port removed, CIDR blocks turned into reverse zones.

use std::net::IpAddr;

use super::zone_name::ZoneName;

/// The zones that a directive with arguments `args` is for: those named, or else the block's own.
///
/// A scheme and a port are dropped and a CIDR block expands. What is no zone is skipped silently, as CoreDNS does.
pub fn origins_from_args_or_block(args: &[&str], block_zones: &[ZoneName]) -> Vec<ZoneName> {
    if args.is_empty() {
        return block_zones.to_vec();
    }
    args.iter().flat_map(|arg| zones_of(arg)).collect()
}

/// The zones that one argument names; empty if it names none.
pub fn zones_of(arg: &str) -> Vec<ZoneName> {
    let (_, rest) = split_scheme(arg);
    split_port(rest).map(|(zones, _)| zones).unwrap_or_default()
}

/// Splits a known `SCHEME://` off; `dns` without one. An unknown scheme is part of the zone.
pub(super) fn split_scheme(text: &str) -> (&'static str, &str) {
    const SCHEMES: [&str; 7] = ["dns", "tls", "quic", "grpc", "https", "https3", "unix"];
    let split = |scheme| text.strip_prefix(scheme)?.strip_prefix("://");
    SCHEMES
        .into_iter()
        .find_map(|scheme| split(scheme).map(|rest| (scheme, rest)))
        .unwrap_or(("dns", text))
}

/// `ZONE[:PORT]` without a scheme: the zones, several for a CIDR block off its boundary, and the port if there is one.
pub(super) fn split_port(text: &str) -> Result<(Vec<ZoneName>, Option<i64>), String> {
    let (mut host, mut port) = (text, None);
    match text.rsplit_once(':') {
        None if text.is_empty() => return Err(no_data(text)),
        Some((_, "")) => return Err(no_data(text)),
        // Only a number is a port; other text after a colon is part of the zone.
        Some((before, after)) => {
            if let Ok(number) = after.parse() {
                (host, port) = (before, Some(number));
            }
        }
        None => {}
    }
    let zone = ZoneName::parse(host)?;
    let Some(network) = Network::parse(host) else {
        return Ok((vec![zone], port));
    };
    if host.contains(':') && host.starts_with([':', '0']) {
        return Err(format!("invalid CIDR {text}"));
    }
    Ok((network.reverse_zones()?, port))
}

/// The reverse zones of `ADDRESS/LENGTH`: one on an octet (IPv4) or nibble (IPv6) boundary, else all zones of the next
/// finer boundary. `None` if the text is no CIDR block.
pub fn reverse_zones(cidr: &str) -> Option<Vec<ZoneName>> {
    Network::parse(cidr)?.reverse_zones().ok()
}

fn no_data(text: &str) -> String {
    format!("expecting data after last colon: {text:?}")
}

/// An address block; bits past the length are zero and IPv4 stands in the top 32 bits.
struct Network {
    bits: u128,
    length: u32,
    is_v6: bool,
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/')?;
        if !length.bytes().all(|octet| octet.is_ascii_digit()) {
            return None;
        }
        let length: u32 = length.parse().ok()?;
        let (bits, is_v6) = match address.parse().ok()? {
            IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, false),
            IpAddr::V6(address) => (address.to_bits(), true),
        };
        let length_max = if is_v6 { 128 } else { 32 };
        let mask = u128::MAX.checked_shl(128 - length.min(128)).unwrap_or(0);
        (length <= length_max).then_some(Self {
            bits: bits & mask,
            length,
            is_v6,
        })
    }

    /// At most 128 zones: a label of IPv4 has 8 bits, so at most 7 are left to fill.
    fn reverse_zones(&self) -> Result<Vec<ZoneName>, String> {
        let label_bits = if self.is_v6 { 4 } else { 8 };
        let length = self.length.next_multiple_of(label_bits);
        let count = 1_u128 << (length - self.length);
        let zones = (0..count).map(|i| {
            // A length of 0 has one zone, the empty one; nothing is shifted then.
            let part = i.checked_shl(128 - length).unwrap_or(0);
            ZoneName::parse(&self.reverse_text(self.bits | part, length / label_bits, label_bits))
        });
        zones.collect()
    }

    fn reverse_text(&self, bits: u128, labels: u32, label_bits: u32) -> String {
        let mut text = String::new();
        for label in (0..labels).rev() {
            let value = bits >> (128 - (label + 1) * label_bits) & ((1 << label_bits) - 1);
            text.push_str(&if self.is_v6 {
                format!("{value:x}.")
            } else {
                format!("{value}.")
            });
        }
        text.push_str(if self.is_v6 {
            "ip6.arpa."
        } else {
            "in-addr.arpa."
        });
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(zones: &[ZoneName]) -> Vec<&str> {
        zones.iter().map(ZoneName::as_str).collect()
    }

    #[test]
    fn cidr_blocks_become_reverse_zones() {
        let check = |cidr: &str, want: &[&str]| assert_eq!(texts(&zones_of(cidr)), want, "{cidr}");
        check("10.0.0.0/8", &["10.in-addr.arpa."]);
        check("10.1.2.3/24", &["2.1.10.in-addr.arpa."]);
        check("10.1.2.3/32:53", &["3.2.1.10.in-addr.arpa."]);
        check("0.0.0.0/0", &["in-addr.arpa."]);
        check(
            "10.1.0.0/22",
            &[
                "0.1.10.in-addr.arpa.",
                "1.1.10.in-addr.arpa.",
                "2.1.10.in-addr.arpa.",
                "3.1.10.in-addr.arpa.",
            ],
        );
        check("2001:db8::/32", &["8.b.d.0.1.0.0.2.ip6.arpa."]);
        check("fd00::/7", &["c.f.ip6.arpa.", "d.f.ip6.arpa."]);
        // No mask, or a bad one: the text is a zone.
        check("10.0.0.1", &["10.0.0.1."]);
        check("10.0.0.0/33", &["10.0.0.0/33."]);
        check("10.0.0/8", &["10.0.0/8."]);
        check("010.0.0.0/8", &["010.0.0.0/8."]);
        assert_eq!(zones_of("10.0.0.0/27").len(), 32);
        assert_eq!(zones_of("128.0.0.0/1").len(), 128);
        assert_eq!(
            reverse_zones("2001:db8::1/128").unwrap()[0].label_count(),
            34
        );
    }

    #[test]
    fn ports_are_numbers_after_the_last_colon() {
        let check = |text: &str, zone: &str, port: Option<i64>| {
            let (zones, found) = split_port(text).unwrap();
            assert_eq!((texts(&zones), found), (vec![zone], port), "{text}");
        };
        check("example.org", "example.org.", None);
        check("example.org:1053", "example.org.", Some(1053));
        check(".:0", ".", Some(0));
        check("example.org:+53", "example.org.", Some(53));
        check("example.org:http", "example.org:http.", None);
        check("2001:db8::1", "2001:db8:.", Some(1));
    }

    #[test]
    fn what_is_no_zone_is_refused() {
        let check = |text: &str, want: &str| assert_eq!(split_port(text).unwrap_err(), want);
        check("", "expecting data after last colon: \"\"");
        check(
            "example.org:",
            "expecting data after last colon: \"example.org:\"",
        );
        check(":1053", "zone is not a valid domain name: ");
        check("::/64", "invalid CIDR ::/64");
        check("0::/64", "invalid CIDR 0::/64");
        check(&"a.".repeat(128), "specified zone is too long: 256 > 255");
    }

    #[test]
    fn directives_default_to_the_zones_of_their_block() {
        let block = [ZoneName::parse("example.org").unwrap()];
        assert_eq!(origins_from_args_or_block(&[], &block), block);
        let named = origins_from_args_or_block(&["dns://A:53", "b..c", "10.0.0.0/8"], &block);
        assert_eq!(texts(&named), ["a.", "10.in-addr.arpa."]);
    }
}
