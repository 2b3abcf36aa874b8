//! Criterion benches of the in-process path: `cargo bench`, or `cargo bench -- wire/` for one room.
//!
//! Absolute times on a shared machine prove nothing; compare runs of one day, or count instructions (`cargo bench --bench instructions`).

use criterion::{criterion_group, criterion_main};

mod cache;
#[path = "common/mod.rs"]
mod common;
mod serve;
mod wire;
mod zone;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

criterion_group!(path, wire::bench, cache::bench, zone::bench, serve::bench);
criterion_main!(path);
