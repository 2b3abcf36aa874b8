//! libFuzzer's door to `bodies/zone.rs`.

#![no_main]

#[path = "../bodies/zone.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| body::run(octets));
