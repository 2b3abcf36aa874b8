//! Stories of time passing: expiry, prefetch, stale answers, many who ask at once.

use std::rc::Rc;
use std::time::Duration;

use super::world::*;
use crate::plugin::{Flow, Plugin, Proto};
use crate::runtime;
use crate::telemetry::registry;
use crate::testing::directive::query;
use crate::wire::rcode::Rcode;
use crate::wire::{flag, types};

#[test]
fn an_entry_lives_as_long_as_its_ttl() {
    tell("cache", async |world| {
        world.script([a(10, 1), a(10, 2)]);
        for (after_s, expect) in [
            (0, "0 rd ra: 10 1 1"),
            (0, "0 aa rd ra: 10 1 1"),
            (9, "0 aa rd ra: 1 1 1"),
            (1, "0 rd ra: 10 1 2"),
        ] {
            world.pass(after_s);
            assert_eq!(world.a().await, expect);
        }
    });
}

#[test]
fn what_is_outside_of_the_zones_or_no_question_passes() {
    tell("cache example.org", async |world| {
        let mut other = query("a.test.", types::A);
        assert_eq!(world.cache.on_query(&mut other), Flow::Next);
        let mut transfer = query("example.org.", types::AXFR);
        assert_eq!(world.cache.on_query(&mut transfer), Flow::Next);
        let mut notify = query("example.org.", types::SOA);
        notify.flags |= 4 << 11;
        assert_eq!(world.cache.on_query(&mut notify), Flow::Next);
        let mut inside = query("a.EXAMPLE.org.", types::A);
        assert_eq!(world.cache.on_query(&mut inside), Flow::Park);
    });
}

#[test]
fn many_who_ask_at_once_are_one_question_upstream() {
    tell("cache", async |world| {
        world.script([a(60, 1)]);
        world.upstream.delay.set(Duration::from_millis(200));
        let shown = at_once(world, 50).await;
        assert!(
            shown.0.iter().all(|text| text.ends_with("60 1 1")),
            "{:?}",
            shown.0
        );
        assert_eq!(shown.1, 1);
    });
    // A failure is shared too, with its reason; so is an answer that is not kept.
    tell("cache", async |world| {
        world.script([fails(), a(60, 1)]);
        world.upstream.delay.set(Duration::from_millis(200));
        assert_eq!(at_once(world, 5).await, (vec!["- 2".to_owned(); 5], 1));
    });
    tell("cache", async |world| {
        world.script([say(Rcode::REFUSED, &[]), a(60, 1)]);
        world.upstream.delay.set(Duration::from_millis(200));
        assert_eq!(at_once(world, 5).await, (vec!["5 rd ra".to_owned(); 5], 1));
    });
    // Silence is nobody's answer but one's own.
    tell("cache", async |world| {
        world.script(vec![
            Say {
                dropped: true,
                ..a(60, 1)
            };
            5
        ]);
        world.upstream.delay.set(Duration::from_millis(200));
        assert_eq!(at_once(world, 5).await, (vec!["dropped".to_owned(); 5], 5));
    });
}

/// Lets `count` clients ask for the same at once; what they see, and how often the upstream was asked.
async fn at_once(world: World, count: usize) -> (Vec<String>, usize) {
    let world = Rc::new(world);
    let shown = Rc::new(std::cell::RefCell::new(Vec::new()));
    for _ in 0..count {
        let (world, shown) = (Rc::clone(&world), Rc::clone(&shown));
        runtime::spawn(async move {
            let text = world.a().await;
            shown.borrow_mut().push(text);
        });
    }
    while shown.borrow().len() < count {
        runtime::sleep(Duration::from_millis(50)).await;
    }
    (shown.take(), world.times_asked())
}

#[test]
fn a_question_for_hinfo_does_not_wait_for_another() {
    tell("cache", async |world| {
        world.script([a(60, 1), a(60, 2)]);
        world.upstream.delay.set(Duration::from_millis(200));
        let world = Rc::new(world);
        let first = Rc::clone(&world);
        runtime::spawn(async move {
            first.ask(query("a.test.", types::HINFO)).await;
        });
        runtime::sleep(Duration::from_millis(50)).await;
        world.ask(query("a.test.", types::HINFO)).await;
        assert_eq!(world.times_asked(), 2);
    });
}

#[test]
fn a_truncated_answer_is_not_for_who_has_room() {
    tell("cache", async |world| {
        world.script([
            Say {
                flags: flag::TC,
                ..a(60, 1)
            },
            a(60, 2),
        ]);
        world.upstream.delay.set(Duration::from_millis(200));
        let world = Rc::new(world);
        let udp = Rc::clone(&world);
        runtime::spawn(async move { assert_eq!(udp.a().await, "0 tc rd: 60 1 1") });
        runtime::sleep(Duration::from_millis(50)).await;
        let mut over_tcp = query("a.test.", types::A);
        over_tcp.proto = Proto::Tcp;
        assert_eq!(show(world.ask(over_tcp).await), "0 rd ra: 60 1 2");
    });
}

#[test]
fn a_leader_that_vanishes_is_followed_by_another() {
    tell("cache", async |world| {
        world.script([a(60, 1), a(60, 2)]);
        world.upstream.delay.set(Duration::from_millis(200));
        let world = Rc::new(world);
        let first = Rc::clone(&world);
        // Dropped while it asks.
        runtime::spawn(async move {
            let _ = runtime::timeout(Duration::from_millis(100), first.a()).await;
        });
        runtime::sleep(Duration::from_millis(50)).await;
        assert_eq!(world.a().await, "0 rd ra: 60 1 2");
        assert_eq!(world.times_asked(), 2);
        assert!(world.cache.desk.flights.borrow().is_empty());
    });
}

#[test]
fn popular_entries_are_asked_for_before_they_expire() {
    tell("cache {\nprefetch 2 1m 20%\n}", async |world| {
        world.script([a(100, 1), a(100, 2)]);
        world.a().await;
        world.pass(50);
        world.a().await;
        world.pass(29);
        world.a().await;
        assert_eq!(world.times_asked(), 1, "21 seconds are left");
        world.pass(1);
        assert_eq!(world.a().await, "0 aa rd ra: 20 1 1");
        assert_eq!(world.times_asked(), 2);
        assert_eq!(world.upstream.asked.borrow()[1].1, Proto::Tcp);
        assert_eq!(world.a().await, "0 aa rd ra: 100 1 2");
    });
}

#[test]
fn a_gap_makes_an_entry_unpopular() {
    tell("cache {\nprefetch 2 30s 20%\n}", async |world| {
        world.script([a(100, 1), a(100, 2)]);
        world.a().await;
        world.pass(45);
        world.a().await;
        world.pass(40);
        world.a().await;
        assert_eq!(world.times_asked(), 1, "the second hit came after a gap");
        world.a().await;
        assert_eq!(world.times_asked(), 2);
    });
}

#[test]
fn a_prefetch_that_fails_leaves_the_entry_and_one_that_denies_replaces_it() {
    tell("cache {\nprefetch 1\n}", async |world| {
        world.script([a(100, 1), say(Rcode::SERVFAIL, &[]), fails(), nxdomain(60)]);
        world.a().await;
        world.pass(95);
        for times_asked in [2, 3, 4] {
            assert_eq!(world.a().await, "0 aa rd ra: 5 1 1");
            assert_eq!(world.times_asked(), times_asked);
        }
        assert_eq!(world.a().await, "3 aa rd ra: 60 6 0");
        world.pass(2);
        assert_eq!(world.a().await, "3 aa rd ra: 58 6 0");
    });
}

#[test]
fn one_prefetch_at_a_time() {
    tell("cache {\nprefetch 1\n}", async |world| {
        world.script([a(100, 1)]);
        world.a().await;
        world.pass(95);
        let asking = world.ask_only(query("a.test.", types::A)).await;
        assert_eq!(asking.background, Some(0));
        for _ in 0..3 {
            let asking = world.ask_only(query("a.test.", types::A)).await;
            assert_eq!(asking.background, None);
        }
    });
}

#[test]
fn stale_answers_at_once_and_refreshes_behind() {
    tell("cache {\nserve_stale 1h\n}", async |world| {
        world.script([a(10, 1), fails(), a(10, 2)]);
        world.a().await;
        world.pass(3600);
        assert_eq!(world.a().await, "0 aa rd ra: 0 1 1");
        assert_eq!(world.a().await, "0 aa rd ra: 0 1 1", "the refresh failed");
        assert_eq!(world.a().await, "0 aa rd ra: 10 1 2");
        assert_eq!(world.times_asked(), 3);
        world.pass(10 + 3600);
        assert_eq!(world.a().await, "- 2", "too old");
    });
    tell(
        "cache {\nserve_stale 1h immediate 30s 20s\n}",
        async |world| {
            world.script([a(10, 1), say(Rcode::SERVFAIL, &[]), a(10, 2)]);
            world.a().await;
            world.pass(11);
            for times_asked in [2, 2] {
                assert_eq!(world.a().await, "0 aa rd ra: 30 1 1");
                assert_eq!(world.times_asked(), times_asked, "no recheck yet");
            }
            world.pass(20);
            assert_eq!(world.a().await, "0 aa rd ra: 30 1 1");
            assert_eq!(world.a().await, "0 aa rd ra: 10 1 2");
        },
    );
}

#[test]
fn stale_denials_are_served_but_stale_failures_are_not() {
    tell("cache {\nserve_stale\n}", async |world| {
        world.script([nxdomain(10), a(10, 1)]);
        world.a().await;
        world.pass(11);
        assert_eq!(world.a().await, "3 aa rd ra: 0 6 0");
        assert_eq!(world.a().await, "0 aa rd ra: 10 1 1");
        world.pass(20);
        // The denial went when the answer came.
        assert_eq!(world.a().await, "0 aa rd ra: 0 1 1");
    });
    tell("cache {\nserve_stale\n}", async |world| {
        world.script([say(Rcode::SERVFAIL, &[]), a(10, 1)]);
        assert_eq!(world.a().await, "2 rd ra");
        assert_eq!(world.a().await, "2 aa rd ra");
        world.pass(5);
        assert_eq!(world.a().await, "0 rd ra: 10 1 1");
    });
}

#[test]
fn verify_asks_first() {
    tell("cache {\nserve_stale 1h verify\n}", async |world| {
        let cut = Say {
            flags: flag::TC,
            ..a(10, 9)
        };
        world.script([
            a(10, 1),
            fails(),
            say(Rcode::SERVFAIL, &[]),
            cut,
            a(10, 2),
            nxdomain(10),
        ]);
        world.a().await;
        world.pass(11);
        for _ in 0..3 {
            assert_eq!(world.a().await, "0 aa rd ra: 0 1 1");
        }
        assert_eq!(world.a().await, "0 rd ra: 10 1 2");
        world.pass(11);
        assert_eq!(
            world.a().await,
            "3 rd ra: 10 6 0",
            "an authoritative denial counts"
        );
        assert_eq!(world.a().await, "3 aa rd ra: 10 6 0");
        assert_eq!(world.times_asked(), 6);
    });
}

#[test]
fn verify_waits_no_longer_than_it_may_and_the_answer_still_counts() {
    tell(
        "cache {\nserve_stale 1h verify 100ms 30s\n}",
        async |world| {
            world.script([a(10, 1), a(10, 2)]);
            world.a().await;
            world.pass(11);
            world.upstream.delay.set(Duration::from_millis(300));
            let shown = [world.a().await, world.a().await];
            assert_eq!(shown, ["0 aa rd ra: 30 1 1"; 2], "after 100 ms each");
            runtime::sleep(Duration::from_millis(250)).await;
            assert_eq!(world.a().await, "0 aa rd ra: 10 1 2");
            assert_eq!(world.times_asked(), 2);
        },
    );
}

#[test]
fn verify_leaves_a_failed_upstream_alone_for_a_while() {
    tell(
        "cache {\nserve_stale 1h verify 0s 5s 60s\n}",
        async |world| {
            world.script([a(10, 1), fails(), a(10, 2)]);
            world.a().await;
            world.pass(11);
            for _ in 0..3 {
                assert_eq!(world.a().await, "0 aa rd ra: 5 1 1");
            }
            assert_eq!(world.times_asked(), 2);
            world.pass(60);
            assert_eq!(world.a().await, "0 rd ra: 10 1 2");
        },
    );
}

#[test]
fn a_positive_answer_may_be_preferred() {
    let lines = "cache {\nserve_stale 1h verify\nserve_stale_policy prefer_positive\n}";
    tell(lines, async |world| {
        let empty = say(Rcode::NOERROR, &[]);
        world.script([a(10, 1), nxdomain(60), empty, a(10, 2)]);
        world.a().await;
        world.pass(11);
        for _ in 0..2 {
            assert_eq!(world.a().await, "0 aa rd ra: 0 1 1");
        }
        assert_eq!(world.a().await, "0 rd ra: 10 1 2");
        assert_eq!(world.a().await, "0 aa rd ra: 10 1 2");
    });
    // Without the policy the denial holds.
    tell("cache {\nserve_stale 1h verify\n}", async |world| {
        world.script([a(10, 1), nxdomain(60)]);
        world.a().await;
        world.pass(11);
        assert_eq!(world.a().await, "3 rd ra: 60 6 0");
        assert_eq!(world.a().await, "3 aa rd ra: 60 6 0");
    });
}

#[test]
fn keepttl_shows_the_original_ttl_of_stale_answers_too() {
    tell("cache {\nkeepttl\nserve_stale\n}", async |world| {
        world.script([a(10, 1)]);
        world.a().await;
        world.pass(20);
        assert_eq!(world.a().await, "0 aa rd ra: 10 1 1");
    });
}

#[test]
fn counters_and_gauges() {
    tell_in(
        "metrics.test",
        "cache a.test {\nprefetch 1\nserve_stale\n}",
        async |world| {
            let huge: Vec<String> = (0..5000)
                .map(|_| "answer a.test. 9 A 192.0.2.1".to_owned())
                .collect();
            let huge = Say {
                records: huge,
                ..a(9, 1)
            };
            world.script([a(10, 1), a(10, 1), nxdomain(60), fails(), huge]);
            world.a().await; // a miss
            world.pass(9);
            world.a().await; // a hit and a prefetch
            world.pass(20);
            world.a().await; // stale, refreshed to a denial
            world.a().await; // a hit on that
            world.pass(4000);
            world.a().await; // a miss, fails
            world.a().await; // a miss, too large
            let value = |name: &str, kind: Option<&str>| {
                let mut labels = vec![("server", "dns://:53"), ("zones", "a.test."), ("view", "")];
                labels.extend(kind.map(|kind| ("type", kind)));
                registry().value(&format!("coredns_cache_{name}"), &labels)
            };
            // No other test caches for this zone, so nobody else raises these.
            assert_eq!(value("requests_total", None), Some(6.0));
            assert_eq!(value("misses_total", None), Some(3.0));
            assert_eq!(value("hits_total", Some("success")), Some(2.0));
            assert_eq!(value("hits_total", Some("denial")), Some(1.0));
            assert_eq!(value("prefetch_total", None), Some(2.0));
            assert_eq!(value("served_stale_total", None), Some(1.0));
            assert_eq!(value("drops_total", None), Some(1.0));
            assert_eq!(value("entries", Some("denial")), Some(1.0));
            assert_eq!(value("entries", Some("success")), Some(0.0));
        },
    );
}
