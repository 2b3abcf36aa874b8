//! A cache of one core above a scripted upstream, under a clock that stands still.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use crate::plugin::cache::Cache;
use crate::plugin::cache::ask::Below;
use crate::plugin::{Answer, Flow, Plugin, Proto, Query};
use crate::runtime::clock::fake::FakeClock;
use crate::runtime::{self, Backend, clock};
use crate::testing::directive::{self, set_up_in};
use crate::wire::name::NameBuf;
use crate::wire::rcode::Rcode;
use crate::wire::reply::{SECTIONS, Section};
use crate::wire::{flag, types};

/// One cache, its upstream, and the clock.
pub(super) struct World {
    pub(super) cache: Cache,
    pub(super) upstream: Upstream,
    pub(super) clock: FakeClock,
}

/// Answers in order from a script; SERVFAIL without a reply when it ends.
#[derive(Clone, Default)]
pub(super) struct Upstream {
    script: Rc<RefCell<VecDeque<Say>>>,
    /// What was asked: flags and transport.
    pub(super) asked: Rc<RefCell<Vec<(u16, Proto)>>>,
    /// How long the next answers take.
    pub(super) delay: Rc<Cell<Duration>>,
}

/// One answer of the upstream.
#[derive(Clone)]
pub(super) struct Say {
    pub(super) rcode: Rcode,
    pub(super) flags: u16,
    /// `answer|authority|additional OWNER TTL TYPE RDATA`, RDATA an address, a name, or anything for SOA.
    pub(super) records: Vec<String>,
    /// Written at all, or left to the server.
    pub(super) written: bool,
    pub(super) dropped: bool,
    pub(super) with_opt: bool,
    pub(super) wildcard: Option<&'static str>,
}

/// A reply with these records.
pub(super) fn say(rcode: Rcode, records: &[&str]) -> Say {
    Say {
        rcode,
        flags: flag::RA,
        records: records.iter().map(|record| record.to_string()).collect(),
        written: true,
        dropped: false,
        with_opt: false,
        wildcard: None,
    }
}

/// `a.test. TTL A 192.0.2.LAST`.
pub(super) fn a(ttl_s: u32, last: u8) -> Say {
    say(
        Rcode::NOERROR,
        &[&format!("answer a.test. {ttl_s} A 192.0.2.{last}")],
    )
}

pub(super) fn nxdomain(ttl_s: u32) -> Say {
    say(
        Rcode::NXDOMAIN,
        &[&format!("authority test. {ttl_s} SOA .")],
    )
}

/// The chain below fails and writes nothing.
pub(super) fn fails() -> Say {
    Say {
        written: false,
        ..say(Rcode::SERVFAIL, &[])
    }
}

/// Tells a story of one block `test` with these lines.
pub(super) fn tell(lines: &str, story: impl AsyncFnOnce(World) + 'static) {
    tell_in("test", lines, story);
}

/// Tells a story of a block with these keys.
pub(super) fn tell_in(keys: &str, lines: &str, story: impl AsyncFnOnce(World) + 'static) {
    let clock = FakeClock::start();
    let cache = set_up_in::<Cache>(keys, "cache", lines)
        .unwrap()
        .open(&["cache"]);
    let world = World {
        cache,
        upstream: Upstream::default(),
        clock,
    };
    runtime::block_on(Backend::Epoll, async move { story(world).await }).unwrap();
}

impl World {
    pub(super) fn script(&self, says: impl IntoIterator<Item = Say>) {
        self.upstream.script.borrow_mut().extend(says);
    }

    pub(super) fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// Asks, and does what was to be done after the reply.
    pub(super) async fn ask(&self, query: Query) -> Query {
        let query = self.ask_only(query).await;
        self.behind(&query).await;
        query
    }

    /// Asks without doing what was to be done after the reply.
    pub(super) async fn ask_only(&self, mut query: Query) -> Query {
        (query.now_ns, query.start_ns) = (clock::now_ns(), clock::now_ns());
        match self.cache.on_query(&mut query) {
            Flow::Park => {
                assert_eq!(query.home.take(), Some(0));
                let flow = Rc::clone(&self.cache.desk)
                    .wait(&mut query, &self.upstream)
                    .await;
                let dropped = query.answer == Answer::Dropped;
                assert_eq!(flow, if dropped { Flow::Drop } else { Flow::Reply });
            }
            Flow::Reply => assert!(query.answer == Answer::Written && query.home.is_none()),
            flow => panic!("{flow:?}"),
        }
        query
    }

    /// Does what was to be done after a reply.
    pub(super) async fn behind(&self, query: &Query) {
        if query.background.is_some() {
            let mut copy = query.duplicate();
            copy.now_ns = clock::now_ns();
            Rc::clone(&self.cache.desk)
                .background(&mut copy, &self.upstream)
                .await;
        }
    }

    /// Asks for `a.test. A` and shows the reply.
    pub(super) async fn a(&self) -> String {
        show(self.ask(directive::query("a.test.", types::A)).await)
    }

    pub(super) fn times_asked(&self) -> usize {
        self.upstream.asked.borrow().len()
    }
}

/// `RCODE flags: TTL TYPE RDATA, ...`, rdata as its last octet; `-` for what was not written.
pub(super) fn show(mut query: Query) -> String {
    let rcode = match query.answer {
        Answer::Written => query.reply.rcode,
        Answer::Unwritten(rcode) => return format!("- {}", rcode.0),
        Answer::Dropped => return "dropped".into(),
        Answer::Open => return "open".into(),
    };
    query.reply.open().unwrap();
    let mut text = rcode.0.to_string();
    for (bit, name) in [
        (flag::AA, "aa"),
        (flag::TC, "tc"),
        (flag::RD, "rd"),
        (flag::RA, "ra"),
        (flag::AD, "ad"),
        (flag::CD, "cd"),
    ] {
        if query.reply.has_flag(bit) {
            text = format!("{text} {name}");
        }
    }
    let mut separator = ":";
    for section in SECTIONS {
        for record in query.reply.section(section) {
            let last = query.reply.rdata(record).last().unwrap();
            text = format!("{text}{separator} {} {} {last}", record.ttl, record.rtype);
            separator = ",";
        }
    }
    text
}

impl Below for Upstream {
    async fn rest(&self, query: &mut Query) {
        self.asked.borrow_mut().push((query.flags, query.proto));
        let say = self.script.borrow_mut().pop_front().unwrap_or_else(fails);
        if !self.delay.get().is_zero() {
            runtime::sleep(self.delay.get()).await;
        }
        if say.dropped {
            query.answer = Answer::Dropped;
            return;
        }
        if !say.written {
            query.fail(say.rcode, "scripted");
            return;
        }
        query.writer = "upstream";
        if let Some(wildcard) = say.wildcard {
            query.meta.set("zone/wildcard", || wildcard.into());
        }
        let reply = query.respond_rcode(say.rcode);
        reply.flags |= say.flags;
        if say.with_opt {
            reply.edns.ensure(1232);
        }
        for record in &say.records {
            let fields: Vec<&str> = record.split(' ').collect();
            let section = match fields[0] {
                "answer" => Section::Answer,
                "authority" => Section::Authority,
                _ => Section::Additional,
            };
            let owner = NameBuf::from_text(fields[1]).unwrap();
            let (rtype, rdata) = rdata(fields[3], fields[4]);
            reply.push(
                section,
                owner.as_wire(),
                rtype,
                1,
                fields[2].parse().unwrap(),
                &rdata,
            );
        }
    }

    fn now_ns(&self) -> u64 {
        clock::now_ns()
    }
}

fn rdata(rtype: &str, text: &str) -> (u16, Vec<u8>) {
    let name = || NameBuf::from_text(text).unwrap().as_wire().to_vec();
    match rtype {
        "A" => (
            types::A,
            text.split('.')
                .map(|octet| octet.parse().unwrap())
                .collect(),
        ),
        "AAAA" => (types::AAAA, vec![1; 16]),
        "CNAME" => (types::CNAME, name()),
        "NS" => (types::NS, name()),
        "SOA" => (types::SOA, vec![0; 22]),
        // Inception and expiration, in seconds of the fake wall clock.
        "RRSIG" => {
            let (from, to) = text.split_once('-').unwrap();
            let mut rdata = vec![0; 8];
            rdata.extend(to.parse::<u32>().unwrap().to_be_bytes());
            rdata.extend(from.parse::<u32>().unwrap().to_be_bytes());
            rdata.extend([0, 0, 0, 9]);
            (types::RRSIG, rdata)
        }
        other => panic!("{other}"),
    }
}
