//! libFuzzer's door to `bodies/corefile.rs`.

#![no_main]

#[path = "../bodies/corefile.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| body::run(octets));
