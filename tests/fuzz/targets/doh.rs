//! libFuzzer's door to `bodies/doh.rs`.

#![no_main]

#[path = "../bodies/doh.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| body::run(octets));
