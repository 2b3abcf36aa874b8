//! Clients behind proxies that name them in the first datagram of a session alone (*proxyproto* `udp_session_tracking`).
//!
//! All cores share the table of a listener, because a flow that one core cannot keep up with is read by others too. It is read and
//! written without a lock: a slot has a version, odd while somebody writes it, and a reader that saw it change looks again.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU64, fence};

use crate::runtime::clock::Nanos;

/// By the address and port of the proxy: the client behind.
pub struct Sessions {
    /// `ways` slots for each hash; a session is in any of those of its own.
    slots: Box<[Slot]>,
    ways: usize,
    seed: u64,
}

/// One session, in words that are read and written one by one.
#[derive(Default)]
#[repr(align(64))]
struct Slot {
    version: AtomicU64,
    /// When a datagram of it came last, in nanoseconds; 0 = never used.
    used_ns: AtomicU64,
    words: [AtomicU64; 5],
}

/// Proxy and client as words: both addresses, and both ports in one.
type Words = [u64; 5];

impl Sessions {
    /// Room for so many sessions at least; beyond it the oldest are dropped. 256 octets of memory for each.
    pub fn new(sessions: usize) -> Sessions {
        let (sets, ways) = match sessions <= WAYS {
            true => (1, sessions.max(1)),
            // Four times the room: chance must not fill one set while others are empty (one session of a million).
            false => (sessions.div_ceil(WAYS / 4), WAYS),
        };
        Sessions {
            slots: (0..sets * ways).map(|_| Slot::default()).collect(),
            ways,
            // Without randomness a proxy could choose ports that share a set, to the harm of its own clients alone.
            seed: getrandom::u64().unwrap_or(0),
        }
    }

    /// Remembers who is behind a proxy's address and port; false when a session that has not ended was dropped for it.
    pub fn store(&self, proxy: SocketAddr, client: SocketAddr, now_ns: Nanos, ttl_ns: u64) -> bool {
        let words = words(proxy, client);
        let set = self.set(&words);
        for _ in 0..set.len() {
            let own = set.iter().find(|slot| slot.is_of(&words));
            let slot = own.or_else(|| set.iter().min_by_key(|slot| slot.used_ns.load(Relaxed)));
            let Some(slot) = slot else { break };
            let is_loss = own.is_none() && slot.is_live(now_ns, ttl_ns);
            if slot.write(&words, now_ns) {
                return !is_loss;
            }
        }
        // Other cores write every slot that was tried: this session is the one that is dropped.
        false
    }

    /// The client behind a proxy's address and port, if a datagram of the session came within `ttl_ns`; the session then lives on.
    pub fn find(&self, proxy: SocketAddr, now_ns: Nanos, ttl_ns: u64) -> Option<SocketAddr> {
        let key = words(proxy, proxy);
        let set = self.set(&key);
        // Two cores that store one session at once may take a slot each: the one that is in use counts.
        let live = set.iter().filter(|slot| slot.is_live(now_ns, ttl_ns));
        let own = live.filter_map(|slot| Some((slot, slot.read()?)));
        let own = own.filter(|(_, words)| is_same_proxy(words, &key));
        let (slot, words) = own.max_by_key(|(slot, _)| slot.used_ns.load(Relaxed))?;
        slot.used_ns.fetch_max(now_ns, Relaxed);
        Some(client(&words))
    }

    fn set(&self, key: &Words) -> &[Slot] {
        let mixed = [key[0], key[1], key[4] >> 16]
            .into_iter()
            .fold(self.seed, |hash, word| {
                let wide = u128::from(hash ^ word) * u128::from(MIX);
                (wide >> 64) as u64 ^ wide as u64
            });
        let sets = (self.slots.len() / self.ways) as u64;
        // Below the number of sets, which is a usize.
        let nth = ((u128::from(mixed) * u128::from(sets)) >> 64) as usize;
        &self.slots[nth * self.ways..][..self.ways]
    }
}

impl Slot {
    fn is_live(&self, now_ns: Nanos, ttl_ns: u64) -> bool {
        let used_ns = self.used_ns.load(Relaxed);
        used_ns > 0 && now_ns.saturating_sub(used_ns) < ttl_ns
    }

    fn is_of(&self, key: &Words) -> bool {
        self.read().is_some_and(|words| is_same_proxy(&words, key))
    }

    /// What stands there; `None` while others write it again and again.
    fn read(&self) -> Option<Words> {
        (0..READS).find_map(|_| {
            let before = self.version.load(Acquire);
            let words = std::array::from_fn(|nth| self.words[nth].load(Relaxed));
            fence(Acquire);
            let after = self.version.load(Relaxed);
            (before == after && before.is_multiple_of(2)).then_some(words)
        })
    }

    /// False while another core writes it.
    fn write(&self, words: &Words, now_ns: Nanos) -> bool {
        let version = self.version.load(Relaxed);
        if version % 2 == 1 {
            return false;
        }
        let odd = version.wrapping_add(1);
        let claim = self
            .version
            .compare_exchange(version, odd, Acquire, Relaxed);
        if claim.is_err() {
            return false;
        }
        fence(Release);
        for (to, word) in self.words.iter().zip(words) {
            to.store(*word, Relaxed);
        }
        // A clock at 0 must not make it one that was never used.
        self.used_ns.store(now_ns.max(1), Relaxed);
        self.version.store(odd.wrapping_add(1), Release);
        true
    }
}

fn words(proxy: SocketAddr, client: SocketAddr) -> Words {
    let (proxy_high, proxy_low) = halves(proxy.ip());
    let (client_high, client_low) = halves(client.ip());
    let ports = u64::from(proxy.port()) << 16 | u64::from(client.port());
    [proxy_high, proxy_low, client_high, client_low, ports]
}

fn halves(addr: IpAddr) -> (u64, u64) {
    let number = match addr {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
    };
    ((number >> 64) as u64, number as u64)
}

fn client(words: &Words) -> SocketAddr {
    let [_, _, high, low, ports] = *words;
    let ip = Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low));
    SocketAddr::new(ip.to_canonical(), ports as u16)
}

fn is_same_proxy(one: &Words, other: &Words) -> bool {
    one[..2] == other[..2] && one[4] >> 16 == other[4] >> 16
}

/// Slots among which a session may be.
const WAYS: usize = 16;
/// Looks at a slot that is being written: a write takes ten stores, unless its thread lost the CPU within.
const READS: usize = 32;
/// An odd number without a pattern: its products spread over all bits.
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
