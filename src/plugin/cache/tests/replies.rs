//! What is kept of which reply, for how long, and how a hit looks.

use super::world::*;
use crate::testing::directive::query;
use crate::wire::rcode::Rcode;
use crate::wire::{edns, flag, types};

/// Asks `a.test. A` twice, three seconds apart, of an upstream that says this once and then fails.
fn twice(lines: &str, reply: Say, first: &'static str, second: &'static str) {
    let told = format!("{lines}: {:?} {}", reply.records, reply.rcode.0);
    tell(lines, async move |world| {
        world.script([reply]);
        assert_eq!(world.a().await, first, "first, {told}");
        world.pass(3);
        assert_eq!(world.a().await, second, "second, {told}");
    });
}

const GONE: &str = "- 2";

#[test]
fn the_smallest_ttl_is_that_of_all_records() {
    let cname = [
        "answer a.test. 30 CNAME b.test.",
        "answer b.test. 60 A 192.0.2.9",
    ];
    let with_extra = [
        "answer a.test. 300 A 192.0.2.9",
        "additional x.test. 40 A 192.0.2.8",
    ];
    let ok = |records: &[&str]| say(Rcode::NOERROR, records);
    twice(
        "cache",
        ok(&cname),
        "0 rd ra: 30 5 0, 30 1 9",
        "0 aa rd ra: 27 5 0, 27 1 9",
    );
    twice(
        "cache",
        ok(&with_extra),
        "0 rd ra: 40 1 9, 40 1 8",
        "0 aa rd ra: 37 1 9, 37 1 8",
    );
    twice("cache", a(0, 1), "0 rd ra: 5 1 1", "0 aa rd ra: 2 1 1");
    twice(
        "cache",
        a(9000, 1),
        "0 rd ra: 3600 1 1",
        "0 aa rd ra: 3597 1 1",
    );
    twice(
        "cache 86400",
        a(9000, 1),
        "0 rd ra: 9000 1 1",
        "0 aa rd ra: 8997 1 1",
    );
    twice(
        "cache 20",
        a(9000, 1),
        "0 rd ra: 20 1 1",
        "0 aa rd ra: 17 1 1",
    );
    // A maximum below the minimum wins.
    twice("cache 4", a(9000, 1), "0 rd ra: 4 1 1", "0 aa rd ra: 1 1 1");
    twice(
        "cache {\nsuccess 1024 3600 0\n}",
        a(0, 1),
        "0 rd ra: 0 1 1",
        GONE,
    );
    twice(
        "cache {\nsuccess 1024 3600 0\n}",
        a(2, 1),
        "0 rd ra: 2 1 1",
        GONE,
    );
    twice(
        "cache {\nkeepttl\n}",
        a(30, 1),
        "0 rd ra: 30 1 1",
        "0 aa rd ra: 30 1 1",
    );
}

#[test]
fn denials_and_failures_have_their_own_limits() {
    let nodata = say(Rcode::NOERROR, &["authority test. 3600 SOA ."]);
    twice(
        "cache",
        nxdomain(3600),
        "3 rd ra: 1800 6 0",
        "3 aa rd ra: 1797 6 0",
    );
    twice(
        "cache",
        nodata.clone(),
        "0 rd ra: 1800 6 0",
        "0 aa rd ra: 1797 6 0",
    );
    twice(
        "cache {\ndenial 1024 60\n}",
        nxdomain(3600),
        "3 rd ra: 60 6 0",
        "3 aa rd ra: 57 6 0",
    );
    twice("cache", say(Rcode::SERVFAIL, &[]), "2 rd ra", "2 aa rd ra");
    twice("cache", say(Rcode::NOTIMP, &[]), "4 rd ra", "4 aa rd ra");
    twice(
        "cache {\nservfail 2s\n}",
        say(Rcode::SERVFAIL, &[]),
        "2 rd ra",
        GONE,
    );
    twice(
        "cache {\nservfail 0\n}",
        say(Rcode::SERVFAIL, &[]),
        "2 rd ra",
        GONE,
    );
    // What the chain itself fails with is not an answer.
    twice("cache", fails(), GONE, GONE);
    let alias = say(
        Rcode::NOERROR,
        &[
            "answer a.test. 300 CNAME b.test.",
            "authority test. 60 SOA .",
        ],
    );
    twice(
        "cache {\ndisable success\n}",
        alias,
        "0 rd ra: 60 5 0, 60 6 0",
        "0 aa rd ra: 57 5 0, 57 6 0",
    );
}

#[test]
fn short_lived_and_never_kept() {
    let delegation = say(
        Rcode::NOERROR,
        &[
            "authority test. 900 NS ns.test.",
            "additional ns.test. 900 A 192.0.2.1",
        ],
    );
    twice(
        "cache",
        delegation,
        "0 rd ra: 5 2 0, 5 1 1",
        "0 aa rd ra: 2 2 0, 2 1 1",
    );
    twice("cache", say(Rcode::NOERROR, &[]), "0 rd ra", "0 aa rd ra");
    twice("cache", say(Rcode::NXDOMAIN, &[]), "3 rd ra", GONE);
    twice("cache", say(Rcode::REFUSED, &[]), "5 rd ra", GONE);
    twice("cache", say(Rcode::FORMERR, &[]), "1 rd ra", GONE);
    // Answers that do not lead to what was asked for.
    twice(
        "cache",
        say(Rcode::NOERROR, &["answer a.test. 300 AAAA x"]),
        "0 rd ra: 5 28 1",
        GONE,
    );
    twice(
        "cache",
        say(Rcode::NOERROR, &["answer a.test. 300 CNAME b.test."]),
        "0 rd ra: 5 5 0",
        GONE,
    );
    twice(
        "cache",
        say(Rcode::NOERROR, &["answer b.test. 300 A 192.0.2.1"]),
        "0 rd ra: 5 1 1",
        GONE,
    );
    let circle = [
        "answer a.test. 300 CNAME b.test.",
        "answer b.test. 300 CNAME a.test.",
    ];
    twice(
        "cache",
        say(Rcode::NOERROR, &circle),
        "0 rd ra: 5 5 0, 5 5 0",
        GONE,
    );
    let cut = Say {
        flags: flag::TC | flag::RA,
        ..a(300, 1)
    };
    twice("cache", cut, "0 tc rd ra: 300 1 1", GONE);
    twice(
        "cache {\ndisable success test\n}",
        a(300, 1),
        "0 rd ra: 300 1 1",
        GONE,
    );
    twice(
        "cache {\ndisable success other.test\n}",
        a(300, 1),
        "0 rd ra: 300 1 1",
        "0 aa rd ra: 297 1 1",
    );
    twice(
        "cache {\ndisable denial\n}",
        nxdomain(300),
        "3 rd ra: 300 6 0",
        GONE,
    );
    let dropped = Say {
        dropped: true,
        ..a(300, 1)
    };
    twice("cache", dropped, "dropped", GONE);
}

#[test]
fn signatures_past_their_end_are_not_kept_for_who_wants_them() {
    let now = 1_767_225_600u32; // of the fake clock
    let signed = |from: u32, to: u32| {
        say(
            Rcode::NOERROR,
            &[
                "answer a.test. 300 A 192.0.2.1",
                &format!("answer a.test. 300 RRSIG {from}-{to}"),
            ],
        )
    };
    let check = |dnssec_ok: bool, reply: Say, times_asked: usize| {
        tell("cache", async move |world| {
            world.script([reply]);
            for _ in 0..2 {
                let mut asking = query("a.test.", types::A);
                if dnssec_ok {
                    asking.edns.ensure(1232);
                    asking.edns.flags = edns::DO;
                }
                world.ask(asking).await;
            }
            assert_eq!(world.times_asked(), times_asked);
        });
    };
    check(true, signed(now - 10, now + 10), 1);
    check(true, signed(now - 20, now - 10), 2);
    check(true, signed(now + 10, now + 20), 2);
    check(false, signed(now - 20, now - 10), 1);
}

#[test]
fn ad_is_shown_to_who_asked_and_always_asked_for() {
    tell("cache", async |world| {
        world.script([Say {
            flags: flag::RA | flag::AD,
            ..a(300, 1)
        }]);
        let with = |flags: u16| {
            let mut asking = query("a.test.", types::A);
            asking.flags |= flags;
            asking
        };
        assert_eq!(show(world.ask(with(0)).await), "0 rd ra: 300 1 1");
        assert_ne!(world.upstream.asked.borrow()[0].0 & flag::AD, 0);
        assert_eq!(show(world.ask(with(0)).await), "0 aa rd ra: 300 1 1");
        let answered = world.ask(with(flag::AD)).await;
        assert_ne!(
            answered.flags & flag::AD,
            0,
            "the client's own flags are left alone"
        );
        assert_eq!(show(answered), "0 aa rd ra ad: 300 1 1");
        assert_eq!(world.times_asked(), 1);
        // CD and DO are other questions.
        world.script([
            a(300, 2),
            Say {
                flags: flag::AD,
                ..a(300, 3)
            },
        ]);
        assert_eq!(show(world.ask(with(flag::CD)).await), "0 rd ra cd: 300 1 2");
        let mut asking = query("a.test.", types::A);
        asking.edns.ensure(1232);
        asking.edns.flags = edns::DO;
        assert_eq!(show(world.ask(asking).await), "0 rd ad: 300 1 3");
        assert_eq!(world.times_asked(), 3);
    });
}

#[test]
fn the_opt_record_of_a_reply_goes_no_further() {
    tell("cache", async |world| {
        world.script([Say {
            with_opt: true,
            ..a(300, 1)
        }]);
        for _ in 0..2 {
            let answered = world.ask(query("a.test.", types::A)).await;
            assert!(!answered.reply.edns.present);
        }
    });
}

#[test]
fn a_hit_tells_who_wrote_and_which_wildcard_it_was() {
    tell("cache", async |world| {
        world.script([Say {
            wildcard: Some("*.test."),
            ..a(300, 1)
        }]);
        let ask = async || {
            let mut asking = query("a.test.", types::A);
            asking.meta.enabled = true;
            world.ask(asking).await
        };
        let (first, second) = (ask().await, ask().await);
        // The chain names the row that answers; what was written below keeps its writer.
        assert_eq!((first.writer, second.writer), ("upstream", ""));
        assert_eq!(second.meta.find("zone/wildcard"), Some("*.test."));
        assert_eq!(second.reply.full_len(0), 12 + 12 + 22);
    });
}

#[test]
fn a_question_that_rewrite_changed_is_answered_with_records() {
    use crate::wire::name::NameBuf;
    tell("cache", async |world| {
        world.script([a(300, 1)]);
        world.a().await;
        let mut asking = query("another.name.test.", types::A);
        asking.set_name(&NameBuf::from_text("a.test.").unwrap());
        let answered = world.ask(asking).await;
        assert!(answered.reply.packed().is_none());
        assert_eq!(show(answered), "0 aa rd ra: 300 1 1");
        // In another case only: the packed reply is patched.
        let answered = world.ask(query("A.tEST.", types::A)).await;
        assert!(answered.reply.packed().is_some());
        assert_eq!(world.times_asked(), 1);
    });
}
