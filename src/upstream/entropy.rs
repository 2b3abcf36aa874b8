//! Random ids, ports and choices: a CSPRNG of each thread, seeded by the operating system (RFC 5452 section 9.2).

use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::sync::OnceLock;

use rand::rngs::StdRng;
use rand::{Rng, RngExt};

thread_local! {
    // Panics only where the kernel has no entropy to give, which Linux does not do once it has booted.
    static RNG: RefCell<StdRng> = RefCell::new(rand::make_rng());
}

/// A message id.
pub(super) fn id() -> u16 {
    RNG.with_borrow_mut(|rng| rng.next_u32() as u16)
}

/// A source port out of all that need no privilege, the same range on every core. Ports that the operator has reserved for others
/// (`net.ipv4.ip_local_reserved_ports`) are left alone.
pub(super) fn port() -> u16 {
    let reserved = reserved();
    RNG.with_borrow_mut(|rng| {
        loop {
            let port = rng.random_range(PORTS);
            // At least half of all ports are free, so this ends soon.
            if !reserved.iter().any(|range| range.contains(&port)) {
                return port;
            }
        }
    })
}

fn reserved() -> &'static [RangeInclusive<u16>] {
    static RESERVED: OnceLock<Vec<RangeInclusive<u16>>> = OnceLock::new();
    RESERVED.get_or_init(|| {
        let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_reserved_ports");
        parse_reserved(&text.unwrap_or_default())
    })
}

/// Reads `8080,9000-9100`. Where that leaves less than half of the ports it is not heeded: ports that can be guessed are worse than
/// ports that are taken.
fn parse_reserved(text: &str) -> Vec<RangeInclusive<u16>> {
    let ranges = text.trim().split(',').filter_map(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse().ok()?..=last.parse().ok()?)
    });
    let ranges: Vec<RangeInclusive<u16>> = ranges.collect();
    let count: usize = ranges.iter().map(|range| range.len()).sum();
    if count > PORTS.len() / 2 {
        Vec::new()
    } else {
        ranges
    }
}

/// A number below `count`; 0 for a `count` of 0.
pub fn below(count: usize) -> usize {
    if count < 2 {
        return 0;
    }
    RNG.with_borrow_mut(|rng| rng.random_range(0..count))
}

/// 64 random bits.
pub fn random_u64() -> u64 {
    RNG.with_borrow_mut(|rng| rng.next_u64())
}

const PORTS: RangeInclusive<u16> = 1024..=u16::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_ports_cover_their_range_on_every_thread() {
        let draw = || (0..4096).map(|_| (id(), port())).collect::<Vec<_>>();
        let mine = draw();
        let other = std::thread::spawn(draw).join().unwrap();
        assert_ne!(mine, other);
        for draws in [mine, other] {
            // Each of 16 slices of both ranges is hit by 4096 draws, or the generator is broken.
            let mut ids = [0; 16];
            let mut ports = [0; 16];
            for (id, port) in draws {
                assert!(port >= 1024);
                ids[id as usize >> 12] += 1;
                ports[port as usize >> 12] += 1;
            }
            assert!(
                ids.iter().chain(&ports).all(|&hits| hits > 64),
                "{ids:?} {ports:?}"
            );
        }
    }

    #[test]
    fn reserved_ports_are_read() {
        assert_eq!(parse_reserved("\n"), []);
        assert_eq!(
            parse_reserved("8080,9000-9100\n"),
            [8080..=8080, 9000..=9100]
        );
        assert_eq!(parse_reserved("1024-65000"), []);
    }

    #[test]
    fn below_stays_below() {
        assert_eq!((below(0), below(1)), (0, 0));
        assert!((0..100).map(|_| below(3)).all(|n| n < 3));
    }
}
