//! Many queries at a time: how many connections there are, and what becomes of those that wait on one that ends or hangs.

use std::net::TcpListener;

use super::tls::{client, dot, endpoint, outcome, patient, pool_of};
use super::*;
use crate::testing::authority::Authority;
use crate::upstream::fake_tls::{Act, Secure};

/// What comes of so many queries that are asked at the same time.
pub(super) async fn ask_at_once(pool: &Rc<Pool>, count: usize) -> Vec<String> {
    let asks: Vec<_> = (0..count).map(|_| begin(pool, Edns::default())).collect();
    let mut got = Vec::new();
    for ask in asks {
        got.push(ask.await.unwrap());
    }
    got
}

fn begin(pool: &Rc<Pool>, edns: Edns) -> runtime::local::Rx<String> {
    let (tx, rx) = runtime::local::oneshot();
    let pool = pool.clone();
    runtime::spawn(async move {
        let mut answer = Reply::default();
        let mut call = call_with("a.", types::A, &edns);
        let asked = pool.exchange(&mut call, Protocol::Udp, &mut answer).await;
        drop(tx.send(outcome(asked.map(|()| answer))));
    });
    rx
}

battery!(
    a_burst_is_spread_over_new_connections,
    a_connection_whose_task_falls_behind_takes_no_more,
    a_dial_that_hangs_holds_up_few,
    a_serial_upstream_gets_more_connections_than_are_kept,
    queries_outlive_connections_that_end_after_a_reply,
);

fn a_serial_upstream_gets_more_connections_than_are_kept(backend: Backend) {
    let authority = Authority::new();
    let fake = Secure::tls(authority.config(&["127.0.0.1"]), |_, query| {
        let reply = reply(query, 0, 0, Some([192, 0, 2, 1]));
        Act::Late(Duration::from_millis(50), vec![reply])
    });
    let few = PoolSettings {
        max_idle: 2,
        ..patient()
    };
    let to = endpoint(fake.addr, Transport::Tls, client(&authority, "127.0.0.1"));
    let pool = Rc::new(pool_of(to, &few));
    let kept = run(backend, async move {
        // Two connections take 8 s for these, 16 one.
        let mut asks = Vec::new();
        for _ in 0..40 {
            asks.extend((0..8).map(|_| begin(&pool, Edns::default())));
            runtime::sleep(Duration::from_millis(5)).await;
        }
        for ask in asks {
            assert_eq!(ask.await.unwrap(), "1");
        }
        // Those that were opened and not used are still to be.
        assert_eq!(outcome(ask(&pool, Protocol::Udp).await), "1");
        pool.idle(Protocol::Udp)
    });
    assert!(fake.counts.connections() > 16);
    assert!(kept <= 2 + limits::UPSTREAM_DIALS, "{kept}");
}

fn a_burst_is_spread_over_new_connections(backend: Backend) {
    let authority = Authority::new();
    let fake = Secure::tls(authority.config(&["127.0.0.1"]), |_, query| {
        let reply = reply(query, 0, 0, Some([192, 0, 2, 1]));
        Act::Late(Duration::from_millis(30), vec![reply])
    });
    // The last of 16 on a connection waits for half a second, the last of 75 for more than two.
    let brief = PoolSettings {
        read_timeout: Duration::from_millis(1_500),
        ..patient()
    };
    let to = endpoint(fake.addr, Transport::Tls, client(&authority, "127.0.0.1"));
    let pool = Rc::new(pool_of(to, &brief));
    let got = run(backend, async move { ask_at_once(&pool, 300).await });
    assert_eq!(got, ["1"; 300]);
}

fn queries_outlive_connections_that_end_after_a_reply(backend: Backend) {
    let authority = Authority::new();
    let fake = Secure::tls(authority.config(&["127.0.0.1"]), |_, query| {
        Act::Last(vec![reply(query, 0, 0, Some([192, 0, 2, 1]))])
    });
    let pool = Rc::new(dot(fake.addr, client(&authority, "127.0.0.1")));
    let got = run(backend, async move { ask_at_once(&pool, 40).await });
    assert_eq!(got, ["1"; 40]);
}

fn a_dial_that_hangs_holds_up_few(backend: Backend) {
    let authority = Authority::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let brief = PoolSettings {
        read_timeout: Duration::from_millis(300),
        ..patient()
    };
    let to = endpoint(addr, Transport::Tls, client(&authority, "127.0.0.1"));
    let pool = pool_of(to, &brief);
    let answered = run(backend, async move {
        let late = outcome(ask(&pool, Protocol::Udp).await);
        assert!(late.ends_with("i/o timeout"), "{late}");
        // It is never spoken to, and never closed; those after it are served.
        let _held = listener.accept().unwrap();
        let config = authority.config(&["127.0.0.1"]);
        let _back = Secure::tls_on(listener, config, |_, query| {
            Act::Send(vec![reply(query, 0, 0, Some([192, 0, 2, 1]))])
        });
        let mut tries = 0..20;
        while tries.next().is_some() {
            if outcome(ask(&pool, Protocol::Udp).await) == "1" {
                return true;
            }
        }
        false
    });
    assert!(answered);
}

fn a_connection_whose_task_falls_behind_takes_no_more(backend: Backend) {
    let authority = Authority::new();
    let fake = Secure::tls(authority.config(&["127.0.0.1"]), |_, query| {
        Act::Send(vec![reply(query, 0, 0, Some([192, 0, 2, 1]))])
    });
    let pool = Rc::new(dot(fake.addr, client(&authority, "127.0.0.1")));
    let got = run(backend, async move {
        let first = outcome(ask(&pool, Protocol::Udp).await);
        let mut large = Edns::default();
        large.ensure(1232);
        large.push(65_001, &[0; 60_000]);
        let asks: Vec<_> = (0..7).map(|_| begin(&pool, large.clone())).collect();
        let mut got = vec![first];
        for ask in asks {
            got.push(ask.await.unwrap());
        }
        got
    });
    assert_eq!(got, ["1"; 8]);
    assert_eq!(fake.counts.connections(), 2);
}
