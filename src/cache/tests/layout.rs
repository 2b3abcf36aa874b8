//! Where things lie: links, shares of cores, huge pages, times before boot, and what a hit writes.

use super::*;

fn plan(weights: &[u32], success: usize, huge_pages: bool) -> Plan {
    let share = |&weight: &u32| Share { weight, huge_pages };
    Plan {
        shares: weights.iter().map(share).collect(),
        success,
        denial: 100,
        grace_s: 0,
    }
}

#[test]
fn a_core_holds_its_share() {
    for (shares, expect) in [
        (&[1, 1][..], &[500, 500][..]),
        (&[3, 1], &[750, 250]),
        (&[10, 20, 70], &[100, 200, 700]),
        (&[7, 7, 7], &[333, 333, 334]),
        (&[5], &[1_000]),
        (&[0, 0], &[1_000, 0]),
        (&[], &[1_000]),
    ] {
        let store = Store::planned(&plan(shares, 1_000, false));
        let mut homes = vec![0; expect.len()];
        let mut sum = 0;
        for n in 0..20_000u32 {
            let name = name(&format!("n{n}"));
            let key = key(&name);
            homes[store.home(key.hash)] += 1;
            put(&store, Table::Success, &key, &[1], 60, 0).unwrap();
        }
        for (core, &expect) in expect.iter().enumerate() {
            let held = store.writer(core).unwrap().len(Table::Success);
            assert_eq!(held, expect, "{shares:?}, core {core}");
            let part = homes[core] as f64 / 20_000.0;
            assert!(
                (part - expect as f64 / 1_000.0).abs() < 0.02,
                "{shares:?}: {homes:?}"
            );
            sum += held;
        }
        assert_eq!(sum, 1_000, "{shares:?}");
    }
}

#[test]
fn every_hash_has_a_home() {
    for shares in [
        &[1, 2, 3][..],
        &[1_000, 1, 999],
        &[1],
        &[999; 64],
        &[1_000_000, 1],
    ] {
        let store = Store::planned(&plan(shares, 100, false));
        for hash in [0, 1, u64::MAX, u64::MAX >> 32, 1 << 32, 1 << 63] {
            assert!(store.home(hash) < shares.len());
        }
        for core in 0..shares.len() {
            let is_home = |n: u64| store.home(n << 52) == core;
            assert!((0..4_096).any(is_home), "core {core} of {shares:?}");
        }
    }
}

#[test]
fn a_large_index_in_huge_pages_is_the_same_index() {
    let count = if cfg!(miri) { 100 } else { 140_000 };
    let store = Store::planned(&plan(&[1], count, true));
    for n in 0..count as u32 {
        let name = name(&format!("n{n}"));
        put(&store, Table::Success, &key(&name), &[n as u8], 60, 0).unwrap();
    }
    for n in (0..count as u32).step_by(997) {
        assert_eq!(seen(&store, &key(&name(&format!("n{n}")))), Some(n as u8));
    }
    assert_eq!(store.len(Table::Success), count);
    store.assert_links();
}

#[test]
fn an_answer_of_70_octets_fits_a_size_class_of_128() {
    let store = Store::new(1, 10, 10, 0);
    // One record for a name of 38 octets.
    let long = name(&"n".repeat(36));
    assert_eq!(reply(&long, &[1]).0.len(), 70);
    put(&store, Table::Success, &key(&long), &[1], 60, 0).unwrap();
    assert_eq!(store.octets(Table::Success), 128);
}

#[test]
fn a_hit_on_a_name_that_is_hot_already_writes_nothing_to_it() {
    let store = Store::new(1, 10, 10, 0);
    let a = name("a");
    put(&store, Table::Success, &key(&a), &[1], 60, 0).unwrap();
    let pin = Pin::new();
    let hit = || {
        let entry = store.lookup(&pin, &key(&a)).success.unwrap();
        entry.mark_visited();
        let patch = Patch {
            id: 1,
            flags: 0x8180,
            ttl_s: 9,
            qname: &a,
        };
        entry.write_reply(&mut [0; 64], &patch).unwrap();
        entry.image()
    };
    let before = {
        let entry = store.lookup(&pin, &key(&a)).success.unwrap();
        entry.image()
    };
    let first = hit();
    assert_ne!(before, first, "the visit is noted");
    assert!((0..1_000).all(|_| hit() == first));
}

#[test]
fn hits_that_prefetch_counts_are_written_seldom_and_counted_nearly_right() {
    let store = Store::new(1, 10, 10, 0);
    let a = name("a");
    put(&store, Table::Success, &key(&a), &[1], 60, 0).unwrap();
    let pin = Pin::new();
    let entry = store.lookup(&pin, &key(&a)).success.unwrap();
    let (mut writes, mut image) = (0, entry.image());
    let rounds = if cfg!(miri) { 1_000 } else { 1_000_000 };
    for n in 1..=rounds {
        // A microsecond apart: a second in all, in a gap of a minute.
        let hits = entry.record_hit(n * 1_000, 60 * S);
        if n <= 64 {
            assert_eq!(u64::from(hits), n, "the first are exact");
        }
        writes += u64::from(entry.image() != image);
        image = entry.image();
    }
    if !cfg!(miri) {
        let error = f64::from(entry.hits()) / rounds as f64;
        assert!((0.5..2.0).contains(&error), "{} of {rounds}", entry.hits());
        assert!(writes < rounds / 500, "{writes} writes in {rounds} hits");
    }
    assert_eq!(entry.record_hit(70 * S, 60 * S), 1, "after a gap");
    // A name asked for a little more often than the gap is in a row, however its time is rounded.
    let kept = (0..500).map(|n| entry.record_hit((71 + 50 * n) * S, 60 * S));
    assert!(kept.skip(1).all(|hits| hits > 1));
}

#[test]
fn an_answer_may_be_older_than_the_machines_uptime() {
    let store = Store::new(1, 10, 10, 0);
    let a = name("a");
    let before_boot = (10 * S).wrapping_sub(50 * S);
    put(&store, Table::Success, &key(&a), &[1], 60, before_boot).unwrap();
    let pin = Pin::new();
    let entry = store.lookup(&pin, &key(&a)).success.unwrap();
    assert_eq!(entry.ttl_left_s(10 * S), 10);
    assert_eq!(entry.ttl_left_s(20 * S), 0);
    assert_eq!(entry.age_ns(10 * S), 50 * S);
}

#[test]
fn a_bound_in_octets_holds_and_may_shrink_and_grow() {
    let store = Store::new(2, 2_000, 1_000, 0);
    let fill = |round: usize| {
        for n in 0..3_000u32 {
            let name = name(&format!("r{round}n{n}"));
            put(&store, Table::Success, &key(&name), &[1], 60, 0).unwrap();
            put(&store, Table::Denial, &key(&name), &[1], 60, 0).unwrap();
        }
        store.octets(Table::Success) + store.octets(Table::Denial)
    };
    let free = fill(0);
    assert_eq!(store.len(Table::Success), 2_000);
    for octets_max in [free / 2, free / 10, free / 3] {
        store.bound_octets(octets_max);
        let held = fill(octets_max);
        assert!(held <= octets_max, "{held} of {octets_max}");
        assert!(held > octets_max * 9 / 10, "{held} of {octets_max}");
        // By their capacities: two thirds are answers.
        let part = store.octets(Table::Success) as f64 / held as f64;
        assert!((0.6..0.7).contains(&part), "{part}");
    }
    store.bound_octets(usize::MAX);
    // Names differ in length by a few octets.
    assert!(fill(9).abs_diff(free) < free / 100);
}
