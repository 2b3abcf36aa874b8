//! Scripted dialogues with upstreams over real sockets, on both backends; those on glommio skip, loudly, where io_uring is refused.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::fake::{Fake, answering, reply, silent};
use super::*;
use crate::limits;
use crate::runtime::clock::{self, MILLISECOND};
use crate::runtime::{self, Backend, Wish, block_on, choose};
use crate::tune::CoreSettings;
use crate::wire::edns::Edns;
use crate::wire::name::NameBuf;
use crate::wire::reply::{Question, Reply};
use crate::wire::{flag, types};

fn settings() -> PoolSettings {
    PoolSettings {
        proxy: Some("test"),
        expire: Duration::from_secs(10),
        max_age: Duration::ZERO,
        max_idle: 0,
        read_timeout: Duration::from_millis(300),
        source: None,
    }
}

fn pool(fake: &Fake, settings: &PoolSettings) -> Pool {
    Pool::new(
        Health::new(Some("test"), Endpoint::plain(fake.addr)),
        settings,
        &CoreSettings::default(),
    )
}

async fn ask(pool: &Pool, protocol: Protocol) -> Result<Reply, Error> {
    ask_for(pool, protocol, "www.example.org").await
}

async fn ask_for(pool: &Pool, protocol: Protocol, name: &str) -> Result<Reply, Error> {
    let mut answer = Reply::default();
    pool.exchange(&mut call(name), protocol, &mut answer)
        .await?;
    Ok(answer)
}

fn call(name: &str) -> Call {
    call_with(name, types::A, &Edns::default())
}

fn call_with(name: &str, qtype: u16, edns: &Edns) -> Call {
    let name = NameBuf::from_text(name).unwrap();
    let question = Question {
        name: name.as_wire(),
        qtype,
        qclass: 1,
    };
    Call {
        request: RequestBuffer::new(&Request {
            flags: flag::RD,
            question,
            edns,
        }),
        room: 512,
        deadline: clock::now_ns() + 5_000 * MILLISECOND,
        client: None,
    }
}

macro_rules! battery {
    ($($test:ident),+ $(,)?) => {
        mod epoll {
            $(#[test] fn $test() { super::$test(super::Backend::Epoll); })+
        }
        mod glommio {
            $(#[test] fn $test() {
                match super::choose(super::Wish::Glommio) {
                    Ok(choice) => super::$test(choice.backend),
                    Err(refusal) => eprintln!("SKIPPED {}: {refusal}", stringify!($test)),
                }
            })+
        }
    };
}

#[cfg(feature = "kube-api")]
mod doh;
#[cfg(feature = "kube-api")]
mod proxied;
#[cfg(feature = "kube-api")]
mod quic;
#[cfg(feature = "kube-api")]
mod sessions;
#[cfg(feature = "kube-api")]
mod tls;

battery!(
    a_closed_port_is_refused_at_once,
    a_kept_connection_that_was_closed_is_replaced,
    a_long_datagram_is_a_truncated_reply,
    a_new_connection_that_is_closed_is_an_error,
    a_probe_ends_with_the_last_configuration,
    a_thousand_junk_packets_do_not_end_the_wait,
    idle_sockets_expire_without_queries,
    junk_on_a_stream_is_passed_over,
    probes_run_one_at_a_time_until_a_reply,
    silence_is_a_timeout_with_both_addresses,
    tcp_connections_are_used_again,
    udp_sockets_are_used_again_and_then_given_up,
);

fn run<T: 'static>(backend: Backend, main: impl Future<Output = T> + 'static) -> T {
    block_on(backend, main).unwrap()
}

fn address(reply: &Reply) -> Vec<u8> {
    reply.rdata(&reply.records()[0]).to_vec()
}

fn a_thousand_junk_packets_do_not_end_the_wait(backend: Backend) {
    let fake = Fake::udp(|_, query: &[u8]| {
        let good = reply(query, 0, 0, Some([192, 0, 2, 1]));
        let mut messages = Vec::new();
        for nth in 0..1000 {
            let mut junk = good.clone();
            match nth % 5 {
                0 => junk[0] ^= 0xff,
                1 => junk[13] = b'x',
                2 => junk.truncate(nth % 40),
                3 => junk[2] &= 0x7f,
                _ => junk[5] = 0,
            }
            messages.push(junk);
        }
        messages.push(good);
        messages
    });
    let patient = PoolSettings {
        read_timeout: Duration::from_secs(4),
        ..settings()
    };
    let pool = pool(&fake, &patient);
    let answer = run(
        backend,
        async move { ask(&pool, Protocol::Udp).await.unwrap() },
    );
    assert_eq!(address(&answer), [192, 0, 2, 1]);
}

fn silence_is_a_timeout_with_both_addresses(backend: Backend) {
    let fake = Fake::udp(silent());
    let to = fake.addr;
    let pool = pool(&fake, &settings());
    let start = Instant::now();
    let error = run(backend, async move {
        ask(&pool, Protocol::Udp).await.unwrap_err().to_string()
    });
    assert!(start.elapsed() < Duration::from_secs(2));
    assert!(error.starts_with("read udp 127.0.0.1:"), "{error}");
    assert!(error.ends_with(&format!("->{to}: i/o timeout")), "{error}");
}

fn a_closed_port_is_refused_at_once(backend: Backend) {
    let addr = Fake::udp(silent()).addr;
    let pool = Pool::new(
        Health::new(Some("test"), Endpoint::plain(addr)),
        &settings(),
        &CoreSettings::default(),
    );
    let (udp, tcp) = run(backend, async move {
        let udp = ask(&pool, Protocol::Udp).await.unwrap_err().to_string();
        (
            udp,
            ask(&pool, Protocol::Tcp).await.unwrap_err().to_string(),
        )
    });
    assert!(udp.ends_with(": read: connection refused"), "{udp}");
    assert_eq!(tcp, format!("dial tcp {addr}: connect: connection refused"));
}

fn udp_sockets_are_used_again_and_then_given_up(backend: Backend) {
    let ids = Arc::new(Mutex::new(Vec::new()));
    let theirs = ids.clone();
    let mut answer = answering(1);
    let fake = Fake::udp(move |nth, query: &[u8]| {
        theirs
            .lock()
            .unwrap()
            .push(u16::from_be_bytes([query[0], query[1]]));
        answer(nth, query)
    });
    let pool = pool(&fake, &settings());
    let uses = limits::UPSTREAM_UDP_USES as usize;
    let idle = run(backend, async move {
        for _ in 0..uses - 1 {
            ask(&pool, Protocol::Udp).await.unwrap();
        }
        let before = pool.idle(Protocol::Udp);
        ask(&pool, Protocol::Udp).await.unwrap();
        (before, pool.idle(Protocol::Udp))
    });
    assert_eq!(idle, (1, 0));
    let ids: BTreeSet<u16> = ids.lock().unwrap().iter().copied().collect();
    assert!(ids.len() > uses * 9 / 10, "ids repeat");
}

fn idle_sockets_expire_without_queries(backend: Backend) {
    let fake = Fake::udp(answering(1));
    let short = PoolSettings {
        expire: Duration::from_millis(20),
        ..settings()
    };
    let pool = pool(&fake, &short);
    let idle = run(backend, async move {
        ask(&pool, Protocol::Udp).await.unwrap();
        let before = pool.idle(Protocol::Udp);
        runtime::sleep(Duration::from_millis(100)).await;
        (before, pool.idle(Protocol::Udp))
    });
    assert_eq!(idle, (1, 0));
}

fn a_long_datagram_is_a_truncated_reply(backend: Backend) {
    let fake = Fake::udp(|_, query: &[u8]| {
        let mut long = reply(query, 0, 0, Some([192, 0, 2, 1]));
        long.resize(600, 0);
        vec![long]
    });
    let pool = pool(&fake, &settings());
    let answer = run(
        backend,
        async move { ask(&pool, Protocol::Udp).await.unwrap() },
    );
    assert!(answer.has_flag(flag::TC) && answer.records().is_empty());
}

fn tcp_connections_are_used_again(backend: Backend) {
    let fake = Fake::tcp(answering(2));
    let pool = pool(&fake, &settings());
    let idle = run(backend, async move {
        for _ in 0..5 {
            let answer = ask(&pool, Protocol::Tcp).await.unwrap();
            assert_eq!(address(&answer), [192, 0, 2, 2]);
        }
        pool.idle(Protocol::Tcp)
    });
    assert_eq!(idle, 1);
}

fn a_kept_connection_that_was_closed_is_replaced(backend: Backend) {
    let fake = Fake::tcp(|nth, query: &[u8]| match nth {
        1 => Vec::new(),
        _ => vec![reply(query, 0, 0, Some([192, 0, 2, 3]))],
    });
    let pool = pool(&fake, &settings());
    let seen = fake.seen.clone();
    run(backend, async move {
        ask(&pool, Protocol::Tcp).await.unwrap();
        ask(&pool, Protocol::Tcp).await.unwrap();
    });
    assert_eq!(seen.load(std::sync::atomic::Ordering::Relaxed), 3);
}

fn a_new_connection_that_is_closed_is_an_error(backend: Backend) {
    let fake = Fake::tcp(silent());
    let pool = pool(&fake, &settings());
    let error = run(backend, async move {
        ask(&pool, Protocol::Tcp).await.unwrap_err().to_string()
    });
    assert_eq!(error, "EOF");
}

fn junk_on_a_stream_is_passed_over(backend: Backend) {
    let fake = Fake::tcp(|_, query: &[u8]| {
        let good = reply(query, 0, 0, Some([192, 0, 2, 4]));
        let mut other = good.clone();
        other[0] ^= 1;
        vec![Vec::new(), vec![7; 5000], other, good]
    });
    let pool = pool(&fake, &settings());
    let answer = run(
        backend,
        async move { ask(&pool, Protocol::Tcp).await.unwrap() },
    );
    assert_eq!(address(&answer), [192, 0, 2, 4]);
}

fn probes_run_one_at_a_time_until_a_reply(backend: Backend) {
    let fake = Fake::udp(|nth, query: &[u8]| match nth {
        0 | 1 => Vec::new(),
        _ => vec![reply(query, 0, 2, None)],
    });
    let health = Health::new(Some("test"), Endpoint::plain(fake.addr));
    let probe = Probe {
        interval: Duration::from_millis(400),
        recursion_desired: true,
        domain: NameBuf::ROOT,
        protocol: Protocol::Udp,
        source: None,
    };
    let fails = run(backend, async move {
        health.start_probe(&probe);
        health.start_probe(&probe);
        while health.fails() < 2 {
            runtime::sleep(Duration::from_millis(5)).await;
        }
        let down = (health.is_down(1), health.is_down(2), health.is_down(0));
        runtime::sleep(Duration::from_millis(800)).await;
        (down, health.fails())
    });
    assert_eq!(fails, ((true, false, false), 0));
    assert_eq!(fake.seen(), 3);
}

fn a_probe_ends_with_the_last_configuration(backend: Backend) {
    let fake = Fake::tcp(silent());
    let health = Health::new(Some("test"), Endpoint::plain(fake.addr));
    let probe = Probe {
        interval: Duration::from_millis(10),
        recursion_desired: false,
        domain: NameBuf::ROOT,
        protocol: Protocol::Tcp,
        source: None,
    };
    let seen = fake.seen.clone();
    let counts = run(backend, async move {
        health.start_probe(&probe);
        runtime::sleep(Duration::from_millis(100)).await;
        drop(health);
        runtime::sleep(Duration::from_millis(50)).await;
        let at_end = seen.load(std::sync::atomic::Ordering::Relaxed);
        runtime::sleep(Duration::from_millis(100)).await;
        (at_end, seen.load(std::sync::atomic::Ordering::Relaxed))
    });
    assert!(counts.0 > 1);
    assert_eq!(counts.0, counts.1);
}

#[test]
fn source_ports_are_spread_over_the_whole_range() {
    let fake = Fake::udp(silent());
    let to = fake.addr;
    let ports: BTreeSet<u16> = run(Backend::Epoll, async move {
        let open = || udp::open(to, None).unwrap().local_addr().unwrap().port();
        (0..512).map(|_| open()).collect()
    });
    assert!(ports.len() > 480, "{} different ports", ports.len());
    // The kernel's own choice would leave the lower half empty.
    let low = ports.iter().filter(|&&port| port < 32_768).count();
    assert!(
        (150..360).contains(&low),
        "{low} of {} below 32768",
        ports.len()
    );
}

#[test]
fn a_stalled_upstream_leaves_places_to_the_others() {
    let (stalled, good) = (Fake::udp(silent()), Fake::udp(answering(1)));
    let (stalled, good) = (pool(&stalled, &settings()), pool(&good, &settings()));
    let most = limits::UPSTREAM_IN_FLIGHT_PER_CORE;
    let error = run(Backend::Epoll, async move {
        let (one, other) = (Rc::default(), Rc::default());
        let first: Vec<_> = std::iter::from_fn(|| core::Place::take(&one, most)).collect();
        assert_eq!(first.len(), most / 2);
        let second: Vec<_> = std::iter::from_fn(|| core::Place::take(&other, most)).collect();
        assert_eq!(second.len(), most / 4);
        assert!(ask(&good, Protocol::Udp).await.is_ok());
        let third: Vec<_> =
            std::iter::from_fn(|| core::Place::take(&Rc::default(), most)).collect();
        let refused = ask(&stalled, Protocol::Udp).await.unwrap_err();
        drop((first, second, third));
        assert!(core::Place::take(&one, most).is_some());
        refused.to_string()
    });
    assert_eq!(error, "too many queries wait for an upstream");
}

#[test]
fn a_core_has_the_bounds_that_it_was_told() {
    let fake = Fake::udp(|_, query: &[u8]| {
        // Not before all have begun.
        std::thread::sleep(Duration::from_millis(50));
        vec![reply(query, 0, 0, Some([192, 0, 2, 1]))]
    });
    let few = CoreSettings {
        upstream_in_flight_max: 3,
        upstream_idle_max: 1,
        ..CoreSettings::default()
    };
    let pool = Rc::new(Pool::new(
        Health::new(Some("test"), Endpoint::plain(fake.addr)),
        &settings(),
        &few,
    ));
    let outcomes = run(Backend::Epoll, async move {
        let one = || {
            let pool = pool.clone();
            async move { ask(&pool, Protocol::Udp).await.is_ok() }
        };
        let before = core::refused();
        let mut asks: Vec<_> = (0..4).map(|_| Box::pin(one())).collect();
        // All four begin before the first ends: two places are half of three, rounded up.
        let outcomes = std::future::poll_fn(|cx| {
            let polled: Vec<_> = asks.iter_mut().map(|ask| ask.as_mut().poll(cx)).collect();
            std::task::Poll::Ready(polled)
        })
        .await;
        let refused = outcomes
            .iter()
            .filter(|outcome| **outcome == std::task::Poll::Ready(false))
            .count();
        assert_eq!(core::refused() - before, 2);
        for ask in asks.into_iter().take(2) {
            assert!(ask.await);
        }
        (refused, pool.idle(Protocol::Udp))
    });
    assert_eq!(outcomes, (2, 1));
}
