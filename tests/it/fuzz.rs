//! A smoke run of the fuzz targets: their seeds, and changed copies of them. The targets themselves are in tests/fuzz.

use std::fs;
use std::path::Path;

#[path = "../fuzz/bodies/corefile.rs"]
mod corefile;
#[path = "../fuzz/bodies/doh.rs"]
mod doh;
#[path = "../fuzz/bodies/http3.rs"]
mod http3;
#[path = "../fuzz/bodies/message.rs"]
mod message;
#[path = "../fuzz/bodies/name.rs"]
mod name;
#[path = "../fuzz/bodies/proxy.rs"]
mod proxy;
#[path = "../fuzz/bodies/zone.rs"]
mod zone;

/// Changed copies of each seed.
const COPIES: usize = 500;

fn smoke(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fuzz/seeds")
        .join(target);
    let mut seeds: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    seeds.sort();
    assert!(!seeds.is_empty());
    let mut random = Random(0x9e37_79b9);
    for path in seeds {
        let seed = fs::read(path).unwrap();
        run(&seed);
        for _ in 0..COPIES {
            run(&random.changed(&seed));
        }
    }
}

/// Xorshift: the same changes in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }

    /// The octets with up to four changes: another value, a piece left out, a piece twice, or the end cut off.
    fn changed(&mut self, seed: &[u8]) -> Vec<u8> {
        let mut octets = seed.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(octets.len());
            let end = (at + 1 + self.below(8)).min(octets.len());
            match self.below(6) {
                0 => octets.truncate(at),
                1 => drop(octets.drain(at..end)),
                2 => {
                    let piece = octets[at..end].to_vec();
                    octets.splice(at..at, piece);
                }
                _ => {
                    let value =
                        [0, 1, 0x3f, 0x40, 0xc0, 0xff, self.below(256) as u8][self.below(7)];
                    octets
                        .iter_mut()
                        .skip(at)
                        .take(1)
                        .for_each(|octet| *octet = value);
                }
            }
        }
        octets
    }
}

#[test]
fn corefiles() {
    smoke("corefile", corefile::run);
}

#[test]
fn doh_and_grpc() {
    smoke("doh", doh::run);
}

#[test]
fn http3_streams() {
    smoke("http3", http3::run);
}

#[test]
fn messages() {
    smoke("message", message::run);
}

#[test]
fn names() {
    smoke("name", name::run);
}

#[test]
fn proxies() {
    smoke("proxy", proxy::run);
}

#[test]
fn zones() {
    smoke("zone", zone::run);
}
