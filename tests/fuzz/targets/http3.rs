//! libFuzzer's door to `bodies/http3.rs`.

#![no_main]

#[path = "../bodies/http3.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| body::run(octets));
