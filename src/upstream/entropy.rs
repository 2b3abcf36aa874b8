//! Random ids, ports and choices: a CSPRNG of each thread, seeded by the operating system (RFC 5452 section 9.2).

use std::cell::RefCell;

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

/// A source port out of all that need no privilege, the same range on every core.
pub(super) fn port() -> u16 {
    RNG.with_borrow_mut(|rng| rng.random_range(1024..=u16::MAX))
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
    fn below_stays_below() {
        assert_eq!((below(0), below(1)), (0, 0));
        assert!((0..100).map(|_| below(3)).all(|n| n < 3));
    }
}
