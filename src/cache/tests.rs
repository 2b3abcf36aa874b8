//! The store against a model, at its bounds, and under readers while it is written.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
};

use proptest::prelude::*;

use super::*;
use crate::wire;

mod eviction;
mod layout;

const S: u64 = 1_000_000_000;

/// Wire form of one label below the root.
pub(super) fn name(label: &str) -> Vec<u8> {
    let mut name = vec![label.len() as u8];
    name.extend_from_slice(label.as_bytes());
    name.push(0);
    name
}

pub(super) fn key(name: &[u8]) -> Key<'_> {
    Key::new(wire::name::hash(name), name, 1, 1, false, false)
}

/// A reply to `name A` with one record per octet of `payload`, each with that octet in its address, and its TTL offsets.
pub(super) fn reply(name: &[u8], payload: &[u8]) -> (Vec<u8>, Vec<u16>) {
    let mut wire = vec![
        0xab,
        0xcd,
        0x81,
        0x80,
        0,
        1,
        0,
        payload.len() as u8,
        0,
        0,
        0,
        0,
    ];
    wire.extend_from_slice(name);
    wire.extend_from_slice(&[0, 1, 0, 1]);
    let mut offsets = Vec::new();
    for &octet in payload {
        wire.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1]);
        offsets.push(wire.len() as u16);
        wire.extend_from_slice(&[0, 0, 0, 99, 0, 4, octet, octet, octet, octet]);
    }
    (wire, offsets)
}

pub(super) fn put(
    store: &Arc<Store>,
    table: Table,
    key: &Key<'_>,
    payload: &[u8],
    ttl_s: u32,
    now_ns: u64,
) -> Result<usize, Refused> {
    let (wire, ttl_offsets) = reply(key.name, payload);
    let new = NewEntry {
        wire: &wire,
        ttl_offsets: &ttl_offsets,
        ttl_s,
        uncompressed_len: 100,
        wildcard: b"",
        hits: 0,
    };
    store
        .writer(store.home(key.hash))
        .unwrap()
        .insert(table, key, &new, now_ns)
}

/// The address octet stored under `key` in the success table.
pub(super) fn seen(store: &Store, key: &Key<'_>) -> Option<u8> {
    let pin = Pin::new();
    store
        .lookup(&pin, key)
        .success
        .map(|entry| *entry.wire().last().unwrap())
}

#[test]
fn a_reply_is_written_with_the_clients_id_flags_ttl_and_casing() {
    let store = Store::new(2, 100, 100, 0);
    let lower = name("example");
    let key = key(&lower);
    let (wire, ttl_offsets) = reply(&name("eXample"), &[7, 8]);
    let new = NewEntry {
        wire: &wire,
        ttl_offsets: &ttl_offsets,
        ttl_s: 30,
        uncompressed_len: 77,
        wildcard: b"*.",
        hits: 3,
    };
    store
        .writer(store.home(key.hash))
        .unwrap()
        .insert(Table::Success, &key, &new, 5 * S)
        .unwrap();

    let pin = Pin::new();
    let entry = store.lookup(&pin, &key).success.unwrap();
    assert_eq!(entry.wire()[..2], [0, 0]);
    assert_eq!(entry.wire()[12..21], lower[..]);
    assert_eq!(
        (entry.flags(), entry.rcode(), entry.ttl_s(), entry.hits()),
        (0x8180, 0, 30, 3)
    );
    assert_eq!(
        (entry.wire_len(), entry.uncompressed_len(), entry.wildcard()),
        (wire.len(), 77, &b"*."[..])
    );

    let mut out = [0; 512];
    let qname = name("EXAmple");
    let patch = Patch {
        id: 0x1234,
        flags: 0x8580,
        ttl_s: 0x0102_0304,
        qname: &qname,
    };
    let len = entry.write_reply(&mut out, &patch).unwrap();
    let mut expect = wire.clone();
    expect[..4].copy_from_slice(&[0x12, 0x34, 0x85, 0x80]);
    expect[12..21].copy_from_slice(&qname);
    for &offset in &ttl_offsets {
        expect[usize::from(offset)..usize::from(offset) + 4].copy_from_slice(&[1, 2, 3, 4]);
    }
    assert_eq!(out[..len], expect[..]);

    assert_eq!(
        entry.write_reply(&mut out[..wire.len() - 1], &patch),
        None,
        "does not fit"
    );
    assert_eq!(
        entry.write_reply(
            &mut out,
            &Patch {
                qname: b"\0",
                ..patch
            }
        ),
        None,
        "another name"
    );
}

#[test]
fn ttl_left_loses_whole_seconds_only() {
    let store = Store::new(1, 10, 10, 0);
    let name = name("a");
    put(&store, Table::Success, &key(&name), &[1], 5, 10 * S).unwrap();
    let pin = Pin::new();
    let entry = store.lookup(&pin, &key(&name)).success.unwrap();
    for (now_ns, expect) in [
        (0, 5),
        (10 * S, 5),
        (11 * S - 1, 5),
        (11 * S, 4),
        (15 * S - 1, 1),
        (15 * S, 0),
        (18 * S, -3),
    ] {
        assert_eq!(entry.ttl_left_s(now_ns), expect, "at {now_ns}");
    }
}

#[test]
fn a_key_differs_by_each_of_its_fields() {
    let store = Store::new(2, 100, 100, 0);
    let (a, b) = (name("a"), name("b"));
    let base = key(&a);
    put(&store, Table::Success, &base, &[1], 60, 0).unwrap();
    assert_eq!(seen(&store, &base), Some(1));
    // The hash is held equal, so that only the comparison can tell them apart.
    for other in [
        Key { name: &b, ..base },
        Key {
            name: b"\0",
            ..base
        },
        Key { qtype: 28, ..base },
        Key { qclass: 3, ..base },
        Key {
            dnssec_ok: true,
            ..base
        },
        Key {
            checking_disabled: true,
            ..base
        },
        Key {
            hash: base.hash ^ 1 << 20,
            ..base
        },
    ] {
        assert_eq!(seen(&store, &other), None, "{other:?}");
    }
    let hashes: std::collections::HashSet<u64> = [
        (1, 1, false, false),
        (28, 1, false, false),
        (1, 3, false, false),
    ]
    .into_iter()
    .chain([
        (1, 1, true, false),
        (1, 1, false, true),
        (0, 0, false, false),
    ])
    .map(|(qtype, qclass, dnssec_ok, cd)| Key::new(42, &a, qtype, qclass, dnssec_ok, cd).hash)
    .collect();
    assert_eq!(hashes.len(), 6);
}

#[test]
fn colliding_hashes_live_side_by_side() {
    let store = Store::new(1, 64, 64, 0);
    let names: Vec<Vec<u8>> = (0..40).map(|n| name(&format!("n{n}"))).collect();
    let key = |n: usize| Key {
        hash: 77,
        ..key(&names[n])
    };
    for n in 0..40 {
        put(&store, Table::Success, &key(n), &[n as u8], 60, 0).unwrap();
    }
    put(&store, Table::Success, &key(20), &[99], 60, 0).unwrap();
    assert!(store.writer(0).unwrap().remove(Table::Success, &key(5)));
    assert!(!store.writer(0).unwrap().remove(Table::Success, &key(5)));
    assert!(!store.writer(0).unwrap().remove(Table::Denial, &key(6)));
    for n in 0..40 {
        let expect = match n {
            5 => None,
            20 => Some(99),
            n => Some(n as u8),
        };
        assert_eq!(seen(&store, &key(n)), expect, "{n}");
    }
    assert_eq!(store.len(Table::Success), 39);
}

#[test]
fn the_two_tables_hold_the_same_key_and_have_their_own_quota() {
    let store = Store::new(1, 3, 5, 0);
    let names: Vec<Vec<u8>> = (0..20).map(|n| name(&format!("n{n}"))).collect();
    for name in &names {
        put(&store, Table::Denial, &key(name), &[1], 60, 0).unwrap();
        put(&store, Table::Success, &key(name), &[2], 60, 0).unwrap();
    }
    assert_eq!(
        (store.len(Table::Success), store.len(Table::Denial)),
        (3, 5)
    );
    assert_eq!(
        (
            store.evictions(Table::Success),
            store.evictions(Table::Denial)
        ),
        (17, 15)
    );
    let pin = Pin::new();
    let found = store.lookup(&pin, &key(&names[19]));
    assert_eq!(found.success.unwrap().table(), Table::Success);
    assert_eq!(found.denial.unwrap().wire().last(), Some(&1));
}

#[test]
fn capacity_is_exact_in_total_and_never_passed() {
    for cores in [1, 2, 3, 7] {
        let store = Store::new(cores, 1_000, 10, 0);
        for n in 0..6_000 {
            let name = name(&format!("n{n}"));
            put(&store, Table::Success, &key(&name), &[1], 60, 0).unwrap();
            assert!(store.len(Table::Success) <= 1_000);
        }
        assert_eq!(store.len(Table::Success), 1_000, "{cores} cores");
        assert_eq!(store.evictions(Table::Success), 5_000, "{cores} cores");
        assert_eq!(store.len(Table::Denial), 0);
    }
}

#[test]
fn octets_are_bounded_as_well() {
    let store = Store::new(1, 10, 10, 0);
    let large = vec![1; 200]; // about 3.7 kB an entry, five of them fill ten times 2 KiB
    for n in 0..30 {
        let name = name(&format!("n{n}"));
        put(&store, Table::Success, &key(&name), &large, 60, 0).unwrap();
        assert!(store.octets(Table::Success) <= 10 * crate::limits::CACHE_ENTRY_OCTETS_MEAN);
    }
    assert_eq!(store.len(Table::Success), 5);

    let tiny = Store::new(1, 1, 0, 0);
    let a = name("a");
    assert_eq!(
        put(&tiny, Table::Success, &key(&a), &large, 60, 0),
        Err(Refused::TooLarge)
    );
    assert_eq!(
        put(&tiny, Table::Denial, &key(&a), &[1], 60, 0),
        Err(Refused::TooLarge)
    );
    put(&tiny, Table::Success, &key(&a), &[1], 60, 0).unwrap();
    assert!(!tiny.is_empty());
}

#[test]
fn replacing_keeps_the_count_and_the_place() {
    let store = Store::new(1, 10, 10, 0);
    let a = name("a");
    for n in 0..50 {
        put(&store, Table::Success, &key(&a), &[n], 60, 0).unwrap();
        assert_eq!(seen(&store, &key(&a)), Some(n));
    }
    assert_eq!(
        (store.len(Table::Success), store.evictions(Table::Success)),
        (1, 0)
    );
    let one = store.octets(Table::Success);
    put(&store, Table::Success, &key(&a), &[1, 2], 60, 0).unwrap();
    assert_eq!(store.octets(Table::Success), one + 16 + 2);
}

#[test]
fn contradictions_are_refused() {
    let store = Store::new(1, 10, 10, 0);
    let a = name("a");
    let (wire, _) = reply(&a, &[1]);
    let check = |key: Key<'_>, wire: &[u8], ttl_offsets: &[u16], expect: Result<usize, Refused>| {
        let new = NewEntry {
            wire,
            ttl_offsets,
            ttl_s: 60,
            uncompressed_len: 0,
            wildcard: b"",
            hits: 0,
        };
        assert_eq!(
            store
                .writer(0)
                .unwrap()
                .insert(Table::Success, &key, &new, 0),
            expect
        );
    };
    let end = wire.len() as u16;
    check(key(&a), &wire, &[end - 4], Ok(0));
    check(key(&a), &wire, &[end - 3], Err(Refused::Malformed));
    check(key(&a), &wire, &[u16::MAX], Err(Refused::Malformed));
    check(key(&a), &wire, &[12], Err(Refused::Malformed));
    check(key(&a), &wire[..18], &[], Err(Refused::Malformed));
    check(key(&a), &[], &[], Err(Refused::Malformed));
    check(key(&name("b")), &wire, &[], Err(Refused::Malformed));
    check(
        Key {
            qtype: 28,
            ..key(&a)
        },
        &wire,
        &[],
        Err(Refused::Malformed),
    );
    assert_eq!(store.len(Table::Success), 1);
    assert!(store.writer(1).is_none());
}

#[test]
fn hits_count_in_a_row_and_start_again_after_a_gap() {
    let store = Store::new(1, 10, 10, 0);
    let a = name("a");
    put(&store, Table::Success, &key(&a), &[1], 600, 100 * S).unwrap();
    let pin = Pin::new();
    let entry = store.lookup(&pin, &key(&a)).success.unwrap();
    let gap = 60 * S;
    let hits: Vec<u32> = [100, 101, 160, 220, 221]
        .into_iter()
        .map(|at_s| entry.record_hit(at_s * S, gap))
        .collect();
    assert_eq!(hits, [1, 2, 3, 1, 2]);
}

#[test]
fn one_refresh_at_a_time() {
    let store = Store::new(1, 10, 10, 60);
    let a = name("a");
    put(&store, Table::Success, &key(&a), &[1], 5, 0).unwrap();
    let pin = Pin::new();
    let entry = store.lookup(&pin, &key(&a)).success.unwrap();
    assert!(entry.claim_refresh(6 * S));
    assert!(!entry.claim_refresh(6 * S));
    assert_eq!(entry.since_failure_ns(7 * S), None);
    entry.refresh_failed(7 * S);
    assert_eq!(entry.since_failure_ns(9 * S), Some(2 * S));
    // A claim that nobody gave back ends by itself.
    assert!(entry.claim_refresh(250 * S));
    assert!(!entry.claim_refresh(259 * S));
    assert!(entry.claim_refresh(260 * S));
    // A new answer begins unclaimed.
    put(&store, Table::Success, &key(&a), &[2], 5, 261 * S).unwrap();
    let entry = store.lookup(&pin, &key(&a)).success.unwrap();
    assert!(entry.claim_refresh(262 * S));
    entry.refresh_failed(263 * S);
    assert_eq!(
        entry.since_failure_ns(263 * S),
        None,
        "its lifetime has not ended"
    );
}

#[test]
fn a_reply_is_appended_with_another_ttl() {
    let store = Store::new(1, 10, 10, 0);
    let a = name("a");
    put(&store, Table::Success, &key(&a), &[5, 6], 60, 0).unwrap();
    let pin = Pin::new();
    let entry = store.lookup(&pin, &key(&a)).success.unwrap();
    let mut out = vec![1, 2, 3];
    entry.append_to(&mut out, 7);
    let (mut expect, offsets) = reply(&a, &[5, 6]);
    expect[..2].fill(0);
    for offset in offsets {
        expect[usize::from(offset)..usize::from(offset) + 4].copy_from_slice(&[0, 0, 0, 7]);
    }
    assert_eq!((&out[..3], &out[3..]), (&[1, 2, 3][..], &expect[..]));
    assert_eq!(entry.answer_count(), 2);
}

#[test]
fn an_entry_stays_readable_under_its_pin_after_it_was_replaced() {
    let store = Store::new(1, 10, 10, 0);
    let a = name("a");
    put(&store, Table::Success, &key(&a), &[1], 60, 0).unwrap();
    let pin = Pin::new();
    let entry = store.lookup(&pin, &key(&a)).success.unwrap();
    for n in 0..if cfg!(miri) { 40 } else { 2_000u32 } {
        put(&store, Table::Success, &key(&a), &[n as u8], 60, 0).unwrap();
    }
    assert_eq!(entry.wire().last(), Some(&1));
}

#[test]
fn readers_see_whole_entries_while_the_writers_write() {
    const NAMES: usize = 64;
    let rounds = if cfg!(miri) { 60 } else { 60_000 };
    let store = Store::new(2, 40, 40, 0); // fewer than names: eviction runs all the time
    let stop = AtomicBool::new(false);
    let names: Vec<Vec<u8>> = (0..NAMES).map(|n| name(&format!("n{n}"))).collect();
    thread::scope(|scope| {
        let (store, stop, names) = (&store, &stop, &names);
        for reader in 0..3 {
            scope.spawn(move || {
                let (mut found, mut out) = (0u64, [0; 512]);
                let mut pin = Pin::new();
                while !stop.load(Relaxed) {
                    for n in 0..NAMES {
                        let name = &names[(n * 7 + reader) % NAMES];
                        let Some(entry) = store.lookup(&pin, &key(name)).success else {
                            continue;
                        };
                        entry.mark_visited();
                        entry.record_hit(1, S);
                        let patch = Patch {
                            id: 9,
                            flags: 0x8180,
                            ttl_s: 1,
                            qname: name,
                        };
                        let len = entry.write_reply(&mut out, &patch).unwrap();
                        // Every address of one reply was written by one insert: all octets are equal.
                        let count = usize::from(out[7]);
                        let first = out[len - 1];
                        for record in 0..count {
                            assert_eq!(out[len - 4 - 16 * record..len - 16 * record], [first; 4]);
                        }
                        assert_eq!(&out[12..12 + name.len()], &name[..]);
                        found += 1;
                    }
                    pin.renew();
                }
                found
            });
        }
        let writers: Vec<_> = (0..2)
            .map(|core| {
                scope.spawn(move || {
                    for round in 0..rounds {
                        let name = &names[(round * 31 + round / 64) % NAMES];
                        let key = key(name);
                        if store.home(key.hash) != core {
                            continue;
                        }
                        let payload = vec![round as u8; 1 + round % 9];
                        put(store, Table::Success, &key, &payload, 60, 0).unwrap();
                        if round % 17 == 0 {
                            store.writer(core).unwrap().remove(Table::Success, &key);
                        }
                    }
                })
            })
            .collect();
        writers
            .into_iter()
            .for_each(|writer| writer.join().unwrap());
        stop.store(true, Relaxed);
    });
    assert!(store.len(Table::Success) <= 40);
}

#[test]
fn two_writers_of_one_shard_stay_sound() {
    let store = Store::new(1, 16, 16, 0);
    let rounds = if cfg!(miri) { 40 } else { 20_000 };
    thread::scope(|scope| {
        for writer in 0..2 {
            let store = &store;
            scope.spawn(move || {
                for n in 0..rounds {
                    let name = name(&format!("n{}", n % 50));
                    let put = put(store, Table::Success, &key(&name), &[writer], 60, 0);
                    assert!(matches!(put, Ok(_) | Err(Refused::Busy)));
                }
            });
        }
    });
    assert!(store.len(Table::Success) <= 16);
}

#[test]
fn flights_are_led_once_bounded_and_give_back_their_waiters() {
    let (a, b, c) = (name("a"), name("b"), name("c"));
    let mut flights = Flights::new(2, 2);
    let Role::Lead(lead_a) = flights.join(&key(&a), 1) else {
        panic!("the first leads")
    };
    assert_eq!(flights.join(&key(&a), 2), Role::Wait);
    assert_eq!(flights.join(&key(&a), 3), Role::Wait);
    assert_eq!(
        flights.join(&key(&a), 4),
        Role::Alone(4),
        "the flight is full"
    );
    assert_eq!(
        flights.join(
            &Key {
                hash: key(&a).hash,
                ..key(&b)
            },
            5
        ),
        Role::Alone(5),
        "another key, the same hash"
    );
    let Role::Lead(lead_b) = flights.join(&key(&b), 6) else {
        panic!("the first leads")
    };
    assert_eq!(
        flights.join(&key(&c), 7),
        Role::Alone(7),
        "the table is full"
    );
    assert_eq!(flights.len(), 2);
    assert_eq!(flights.complete(lead_a), [2, 3]);
    assert_eq!(flights.lead(&key(&b)), None, "somebody asks already");
    let refresh = flights.lead(&key(&a)).unwrap();
    assert_eq!(flights.lead(&key(&c)), None, "the table is full");
    assert!(flights.complete(refresh).is_empty());
    assert!(matches!(flights.join(&key(&a), 8), Role::Lead(_)));
    assert!(flights.complete(lead_b).is_empty());
    assert!(!flights.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 2 } else { 128 }, failure_persistence: None, ..Default::default() })]

    /// Whatever is done, what is found is what was stored last, and both tables stay within their quota.
    #[test]
    fn the_store_never_contradicts_a_map(
        steps in prop::collection::vec((0u8..4, 0u16..60, any::<u8>(), any::<bool>()), 1..400),
        cores in 1usize..4,
    ) {
        let store = Store::new(cores, 20, 10, 0);
        let mut model: HashMap<(bool, u16), u8> = HashMap::new();
        for (now_ns, (step, n, octet, deny)) in steps.into_iter().enumerate() {
            let name = name(&format!("n{n}"));
            // Few hashes for many names: chains and collisions are the rule.
            let key = Key { hash: u64::from(n % 5) << 31 | u64::from(n % 3), ..key(&name) };
            let table = if deny { Table::Denial } else { Table::Success };
            match step {
                0 | 1 => {
                    put(&store, table, &key, &[octet], 60, now_ns as u64).unwrap();
                    model.insert((deny, n), octet);
                }
                2 => {
                    store.writer(store.home(key.hash)).unwrap().remove(table, &key);
                    model.remove(&(deny, n));
                }
                _ => {
                    let pin = Pin::new();
                    let found = store.lookup(&pin, &key);
                    for (deny, entry) in [(false, found.success), (true, found.denial)] {
                        let octet = entry.map(|entry| { entry.mark_visited(); *entry.wire().last().unwrap() });
                        prop_assert!(octet.is_none() || octet == model.get(&(deny, n)).copied());
                    }
                }
            }
            store.assert_links();
            prop_assert!(store.len(Table::Success) <= 20 && store.len(Table::Denial) <= 10);
            let held = |deny| model.keys().filter(|key| key.0 == deny).count();
            prop_assert!(store.len(Table::Success) <= held(false) && store.len(Table::Denial) <= held(true));
        }
    }
}
