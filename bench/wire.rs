//! The wire room: parse a query, hash a name, pack a reply.

use std::hint::black_box;

use criterion::Criterion;
use percoredns::wire::name::{self, NameBuf};
use percoredns::wire::query::{self, Parsed, Verdict};
use percoredns::wire::reply::{Question, Reply, Section};
use percoredns::wire::scrub::{self, Asked};

use crate::common::sample;

/// Everything of this room.
pub fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("wire");
    for (size, text) in [("short", sample::NAME), ("long", sample::LONG_NAME)] {
        let message = sample::query(text);
        let mut parsed = Parsed::default();
        group.bench_function(format!("parse/{size}"), |b| {
            b.iter(|| {
                assert_eq!(
                    query::parse(black_box(&message), &mut parsed),
                    Verdict::Accept
                );
                parsed.qtype
            });
        });
        let wire = NameBuf::from_text(text).expect("a valid name");
        let mut lower = NameBuf::ROOT;
        group.bench_function(format!("name_hash/{size}"), |b| {
            b.iter(|| name::lower_and_hash(black_box(wire.as_wire()), &mut lower));
        });
    }
    for records in [1, 8] {
        let message = sample::query(sample::NAME);
        let mut parsed = Parsed::default();
        query::parse(&message, &mut parsed);
        let (mut reply, mut out) = (Reply::default(), [0; 1232]);
        group.bench_function(format!("build_and_pack/{records}"), |b| {
            b.iter(|| build_and_pack(black_box(&parsed), records, &mut reply, &mut out));
        });
    }
    group.finish();
}

fn build_and_pack(parsed: &Parsed, records: u8, reply: &mut Reply, out: &mut [u8]) -> usize {
    let name = parsed.name.as_wire();
    reply.start(parsed.flags);
    for n in 0..records {
        reply.push(Section::Answer, name, 1, 1, 300, &[10, 0, 0, n]);
    }
    let asked = Asked {
        id: parsed.id,
        opcode: 0,
        question: Question {
            name,
            qtype: parsed.qtype,
            qclass: parsed.qclass,
        },
        edns: &parsed.edns,
        is_udp: true,
        is_padded: false,
        keepalive_ds: None,
        echoed_options: &[],
    };
    scrub::fit(&asked, reply, out).expect("room for a header")
}
