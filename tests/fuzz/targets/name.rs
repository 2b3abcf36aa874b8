//! libFuzzer's door to `bodies/name.rs`.

#![no_main]

#[path = "../bodies/name.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| body::run(octets));
