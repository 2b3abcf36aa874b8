//! Networks as `ADDRESS/LENGTH`, and sets of them that are searched in logarithmic time.

use std::net::IpAddr;

/// One network. IPv4 and IPv6 are apart: `0.0.0.0/0` holds no IPv6 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Net {
    /// The first and the last address as numbers.
    first: u128,
    last: u128,
    is_v4: bool,
}

impl Net {
    /// Reads `ADDRESS/LENGTH`; bits behind the length do not matter. The error is Go's sentence.
    pub fn parse(text: &str) -> Result<Net, String> {
        let parsed = text.split_once('/').and_then(|(address, length)| {
            let digits = length.bytes().all(|octet| octet.is_ascii_digit());
            let length = length.parse().ok().filter(|_| digits)?;
            Net::new(address.parse().ok()?, length)
        });
        parsed.ok_or_else(|| format!("invalid CIDR address: {text}"))
    }

    /// The network of the first `length` bits; none where an address has not so many.
    pub fn new(addr: IpAddr, length: u32) -> Option<Net> {
        let (bits, number) = number(addr);
        let hosts = bits.checked_sub(length)?;
        let mask = 1u128.checked_shl(hosts).map_or(u128::MAX, |size| size - 1);
        Some(Net {
            first: number & !mask,
            last: number | mask,
            is_v4: bits == 32,
        })
    }

    /// Whether the address lies in it.
    pub fn contains(&self, addr: IpAddr) -> bool {
        let (bits, number) = number(addr);
        self.is_v4 == (bits == 32) && (self.first..=self.last).contains(&number)
    }
}

/// Any number of networks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetSet {
    /// Ascending and apart from each other: first and last address.
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

impl NetSet {
    /// Whether one of the networks holds the address.
    pub fn contains(&self, addr: IpAddr) -> bool {
        match addr {
            IpAddr::V4(ip) => is_in(&self.v4, ip.to_bits()),
            IpAddr::V6(ip) => is_in(&self.v6, ip.to_bits()),
        }
    }
}

#[inline]
fn is_in<N: Ord + Copy>(ranges: &[(N, N)], number: N) -> bool {
    let after = ranges.partition_point(|range| range.0 <= number);
    after > 0 && ranges[after - 1].1 >= number
}

impl FromIterator<Net> for NetSet {
    fn from_iter<I: IntoIterator<Item = Net>>(nets: I) -> NetSet {
        let (v4, v6): (Vec<Net>, Vec<Net>) = nets.into_iter().partition(|net| net.is_v4);
        NetSet {
            // Numbers of IPv4 addresses.
            v4: merge(v4)
                .into_iter()
                .map(|(first, last)| (first as u32, last as u32))
                .collect(),
            v6: merge(v6),
        }
    }
}

fn merge(nets: Vec<Net>) -> Vec<(u128, u128)> {
    let mut ranges: Vec<_> = nets.iter().map(|net| (net.first, net.last)).collect();
    ranges.sort_unstable();
    ranges.dedup_by(|next, kept| {
        let overlaps = next.0 <= kept.1;
        if overlaps {
            kept.1 = kept.1.max(next.1);
        }
        overlaps
    });
    ranges
}

/// Bits of the address and the address as a number.
fn number(addr: IpAddr) -> (u32, u128) {
    match addr {
        IpAddr::V4(ip) => (32, u128::from(ip.to_bits())),
        IpAddr::V6(ip) => (128, ip.to_bits()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn networks_hold_their_addresses() {
        let check = |net: &str, inside: &[&str], outside: &[&str]| {
            let net = Net::parse(net).unwrap();
            let set = NetSet::from_iter([net]);
            for (addrs, expect) in [(inside, true), (outside, false)] {
                for addr in addrs {
                    let addr = addr.parse().unwrap();
                    assert_eq!(
                        (net.contains(addr), set.contains(addr)),
                        (expect, expect),
                        "{addr}"
                    );
                }
            }
        };
        check(
            "10.1.2.3/8",
            &["10.0.0.0", "10.255.255.255"],
            &["9.255.255.255", "11.0.0.0", "::"],
        );
        check("0.0.0.0/0", &["0.0.0.0", "255.255.255.255"], &["::", "::1"]);
        check("::/0", &["::", "ffff::"], &["0.0.0.0"]);
        check("192.0.2.1/32", &["192.0.2.1"], &["192.0.2.0", "192.0.2.2"]);
        check("2001:db8::/33", &["2001:db8:7fff::"], &["2001:db8:8000::"]);
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "",
            "10.0.0.0",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0/8",
            "::/129",
            "a/8",
        ] {
            assert_eq!(
                Net::parse(text),
                Err(format!("invalid CIDR address: {text}"))
            );
        }
    }

    proptest! {
        #[test]
        fn a_set_is_its_networks(nets in proptest::collection::vec((any::<u32>(), 0u32..33), 0..20), addr in any::<u32>()) {
            let nets: Vec<Net> = nets.iter().filter_map(|(ip, len)| Net::new(IpAddr::V4((*ip).into()), *len)).collect();
            let addr = IpAddr::V4(addr.into());
            let one = nets.iter().any(|net| net.contains(addr));
            prop_assert_eq!(NetSet::from_iter(nets).contains(addr), one);
        }
    }
}
