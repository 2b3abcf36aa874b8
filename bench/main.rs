//! Criterion benches of the in-process path: `cargo bench`, or `cargo bench -- wire/` for one room.
//!
//! Absolute times on a shared machine prove nothing; compare runs of one day, or count instructions (`bench/instructions.sh`).

use criterion::{criterion_group, criterion_main};

mod sample;
mod wire;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

criterion_group!(path, wire::bench);
criterion_main!(path);
