//! Who has to go: floods, scans, working sets that move, the dead, and that one table never costs the other.

use super::*;

/// Asks for `name` as a client would: a hit is a visit, a miss is stored; whether it hit.
fn ask(store: &Arc<Store>, table: Table, name: &[u8], now_ns: u64) -> bool {
    let pin = Pin::new();
    let found = store.lookup(&pin, &key(name));
    let entry = match table {
        Table::Success => found.success,
        Table::Denial => found.denial,
    };
    match entry {
        Some(entry) if entry.ttl_left_s(now_ns) > 0 => {
            entry.mark_visited();
            true
        }
        _ => {
            put(store, table, &key(name), &[1], 600, now_ns).unwrap();
            false
        }
    }
}

fn names(prefix: &str, count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|n| name(&format!("{prefix}{n}"))).collect()
}

fn held(store: &Arc<Store>, names: &[Vec<u8>]) -> usize {
    names
        .iter()
        .filter(|name| seen(store, &key(name)).is_some())
        .count()
}

/// Names that the tests below work with: a tenth under Miri, which is slow.
const CAPACITY: usize = if cfg!(miri) { 100 } else { 1_000 };

#[test]
fn a_flood_of_random_names_evicts_nothing_hot() {
    for cores in [1, 2] {
        let store = Store::new(cores, CAPACITY, 10, 0);
        // Four fifths of the table are hot: each asked for once in about as many questions of the flood.
        let hot = names("hot", CAPACITY * 4 / 5);
        for _ in 0..2 {
            hot.iter().for_each(|name| {
                ask(&store, Table::Success, name, 0);
            });
        }
        let mut misses = 0;
        for n in 0..10 * CAPACITY {
            ask(&store, Table::Success, &name(&format!("flood{n}")), 0);
            misses += usize::from(!ask(&store, Table::Success, &hot[n % hot.len()], 0));
        }
        assert!(held(&store, &hot) * 100 >= hot.len() * 99, "{cores} cores");
        assert!(
            misses * 100 <= 10 * CAPACITY,
            "{misses} hot questions missed on {cores} cores"
        );
    }
}

#[test]
fn a_flood_of_denials_costs_no_answer() {
    let store = Store::new(2, CAPACITY, CAPACITY, 0);
    let answers = names("a", CAPACITY / 2);
    for name in &answers {
        ask(&store, Table::Success, name, 0);
    }
    for n in 0..10 * CAPACITY {
        ask(&store, Table::Denial, &name(&format!("nx{n}")), 0);
    }
    assert_eq!(held(&store, &answers), answers.len());
    assert_eq!(store.evictions(Table::Success), 0);
    assert_eq!(store.len(Table::Denial), CAPACITY);
}

#[test]
fn one_scan_leaves_the_working_set() {
    let store = Store::new(1, CAPACITY, 10, 0);
    let set = names("set", CAPACITY / 2);
    for _ in 0..3 {
        for name in &set {
            ask(&store, Table::Success, name, 0);
        }
    }
    // Nobody asks for the set during the scan, which is twice as long as the table.
    for n in 0..2 * CAPACITY {
        ask(&store, Table::Success, &name(&format!("scan{n}")), 0);
    }
    let left = held(&store, &set);
    assert!(left * 10 >= set.len() * 9, "{left} of {} left", set.len());
}

#[test]
fn a_working_set_that_moves_takes_the_place_of_the_old_one() {
    let store = Store::new(1, CAPACITY, 10, 0);
    let (old, new) = (
        names("old", CAPACITY * 4 / 5),
        names("new", CAPACITY * 4 / 5),
    );
    let mut last = 0;
    for set in [&old, &new] {
        for _ in 0..20 {
            last = set
                .iter()
                .filter(|name| ask(&store, Table::Success, name, 0))
                .count();
        }
        assert!(
            last * 100 >= set.len() * 99,
            "{last} hits in the last round"
        );
    }
    assert!(held(&store, &old) <= CAPACITY / 5);
}

#[test]
fn a_working_set_that_moves_slowly_is_followed() {
    let store = Store::new(1, CAPACITY, 10, 0);
    let (mut asked, mut hit) = (0, 0);
    for round in 0..40 {
        // A twentieth is new each round.
        for n in 0..CAPACITY * 3 / 4 {
            let name = name(&format!("n{}", n + round * CAPACITY / 27));
            hit += usize::from(ask(&store, Table::Success, &name, 0));
            asked += 1;
        }
    }
    assert!(hit * 100 >= asked * 90, "{hit} of {asked}");
}

#[test]
fn the_expired_make_room_before_the_living() {
    let store = Store::new(1, CAPACITY, 10, 0);
    let (short, long) = (names("short", CAPACITY / 2), names("long", CAPACITY / 2));
    for name in &short {
        put(&store, Table::Success, &key(name), &[1], 5, 0).unwrap();
    }
    for name in &long {
        ask(&store, Table::Success, name, 0);
        ask(&store, Table::Success, name, 0);
    }
    let fresh = names("fresh", CAPACITY / 2);
    for name in &fresh {
        ask(&store, Table::Success, name, 10 * S);
        ask(&store, Table::Success, name, 10 * S);
    }
    assert!(held(&store, &long) * 100 >= long.len() * 99);
    assert!(held(&store, &fresh) * 100 >= fresh.len() * 99);
}

#[test]
fn one_refresh_is_claimed_by_one_of_many_threads() {
    let store = Store::new(1, 10, 10, 60);
    let a = name("a");
    put(&store, Table::Success, &key(&a), &[1], 5, 0).unwrap();
    for round in 1..=if cfg!(miri) { 5 } else { 200u64 } {
        // Each round begins after the claim of the one before has ended by itself.
        let now_ns = round * 20 * S;
        let claim = || {
            let pin = Pin::new();
            let entry = store.lookup(&pin, &key(&a)).success.unwrap();
            usize::from(entry.claim_refresh(now_ns))
        };
        let claims: usize = thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(claim)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum()
        });
        assert_eq!(claims, 1, "round {round}");
    }
}

#[test]
fn the_dead_go_before_the_visited_but_not_within_grace() {
    let survivors = |grace_s: u32| {
        let store = Store::new(1, 10, 10, grace_s);
        let names: Vec<Vec<u8>> = (0..10).map(|n| name(&format!("n{n}"))).collect();
        for (n, name) in names.iter().enumerate() {
            put(
                &store,
                Table::Success,
                &key(name),
                &[1],
                if n == 0 { 5 } else { 600 },
                0,
            )
            .unwrap();
        }
        store
            .lookup(&Pin::new(), &key(&names[0]))
            .success
            .unwrap()
            .mark_visited();
        put(&store, Table::Success, &key(&name("new")), &[1], 600, 6 * S).unwrap();
        seen(&store, &key(&names[0])).is_some()
    };
    assert!(!survivors(0));
    assert!(survivors(3_600));
}
