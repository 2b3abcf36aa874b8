//! Dialogues over TLS: certificates, order, connections that end, sessions that are resumed.

use std::net::{SocketAddr, TcpListener};

use super::*;
use crate::testing::authority::Authority;
use crate::tls::{Client, ClientSettings, Pin, server_name};
use crate::upstream::fake_tls::{Act, Secure};

/// What a client of that authority expects of a server.
pub(super) fn client(authority: &Authority, name: &str) -> ClientSettings {
    ClientSettings {
        cert: None,
        ca: Some(authority.ca_file().into()),
        name: server_name(name).unwrap(),
        pins: Vec::new(),
        alpn: None,
    }
}

pub(super) fn endpoint(addr: SocketAddr, transport: Transport, client: ClientSettings) -> Endpoint {
    Endpoint {
        address: Address::Ip(addr),
        transport,
        tls: Some(Arc::new(Client::load(client).unwrap())),
        is_proxied: false,
    }
}

pub(super) fn pool_of(endpoint: Endpoint, settings: &PoolSettings) -> Pool {
    let health = Health::new(Some("test"), endpoint);
    Pool::new(health, settings, &CoreSettings::default())
}

pub(super) fn dot(addr: SocketAddr, client: ClientSettings) -> Pool {
    pool_of(endpoint(addr, Transport::Tls, client), &patient())
}

/// A handshake takes a while where many tests run at a time.
pub(super) fn patient() -> PoolSettings {
    PoolSettings {
        read_timeout: Duration::from_secs(4),
        ..settings()
    }
}

pub(super) fn answers(last: u8) -> impl FnMut(usize, &[u8]) -> Act + Send + 'static {
    move |_, query| Act::Send(vec![reply(query, 0x0080, 0, Some([192, 0, 2, last]))])
}

/// The last octet of the address, or the error.
pub(super) fn outcome(answer: Result<Reply, Error>) -> String {
    match answer {
        Ok(reply) => address(&reply)[3].to_string(),
        Err(error) => error.to_string(),
    }
}

/// What comes of `count` queries, one after the other.
pub(super) fn ask_times(backend: Backend, pool: Pool, count: usize) -> Vec<String> {
    run(backend, async move {
        let mut got = Vec::new();
        for _ in 0..count {
            got.push(outcome(ask(&pool, Protocol::Udp).await));
        }
        got
    })
}

/// The upstream's certificate is for `dns.example` and 127.0.0.1; `to` makes what asks it of what is expected of it. It answers two queries.
pub(super) fn check_certificates(
    backend: Backend,
    authority: &Authority,
    to: impl Fn(ClientSettings) -> Endpoint,
) {
    let check = |authority: &Authority, name: &str, want: &str| {
        let pool = pool_of(to(client(authority, name)), &patient());
        let got = ask_times(backend, pool, 1);
        assert!(got[0].contains(want), "{name}: {got:?}");
    };
    check(authority, "dns.example", "1");
    check(authority, "127.0.0.1", "1");
    let verify = "tls: failed to verify certificate: x509: ";
    check(authority, "dns.example.org", verify);
    check(authority, "192.0.2.1", verify);
    let unknown = format!("{verify}certificate signed by unknown authority");
    check(&Authority::new(), "dns.example", &unknown);
}

/// Probes find that of two ways to an upstream one is right and one wrong. It answers one probe.
pub(super) fn check_probes(backend: Backend, right: Endpoint, wrong: Endpoint) {
    let probe = Probe {
        interval: Duration::from_millis(10),
        recursion_desired: true,
        domain: NameBuf::ROOT,
        protocol: Protocol::Udp,
        source: None,
    };
    run(backend, async move {
        let right = Health::new(Some("test"), right);
        let wrong = Health::new(Some("test"), wrong);
        right.start_probe(&probe);
        wrong.start_probe(&probe);
        while !wrong.is_down(2) {
            runtime::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(right.fails(), 0);
    });
}

battery!(
    a_client_certificate_is_shown,
    a_connection_that_was_closed_is_replaced,
    a_handshake_that_stalls_is_a_timeout,
    a_pinned_key_needs_no_authority,
    a_probe_speaks_tls,
    a_reply_to_another_question_is_passed_over,
    a_silent_connection_is_given_up,
    an_upstream_that_comes_back_is_used_again,
    answers_may_come_in_any_order,
    certificates_are_verified,
    sessions_are_resumed,
    several_queries_share_a_connection,
);

fn certificates_are_verified(backend: Backend) {
    let authority = Authority::new();
    let fake = Secure::tls(authority.config(&["127.0.0.1", "dns.example"]), answers(1));
    check_certificates(backend, &authority, |client| {
        endpoint(fake.addr, Transport::Tls, client)
    });
    assert_eq!(fake.counts.queries(), 2);
}

fn a_pinned_key_needs_no_authority(backend: Backend) {
    let authority = Authority::new();
    let (config, certificate) = authority.config_and_certificate(&["dns.example"]);
    let pin = Pin::of(&certificate).unwrap();
    let fake = Secure::tls(config, answers(1));
    let check = |pins: Vec<Pin>, want: &str| {
        let settings = ClientSettings {
            ca: None,
            pins,
            ..client(&authority, "other.example")
        };
        let got = ask_times(backend, dot(fake.addr, settings), 1);
        assert!(got[0].contains(want), "{got:?}");
    };
    check(
        vec![Pin::parse(&format!("{}=", "A".repeat(43))).unwrap(), pin],
        "1",
    );
    check(
        vec![Pin::parse(&format!("{}=", "A".repeat(43))).unwrap()],
        "the server's key is not one of those in upstream_pins",
    );
}

fn a_client_certificate_is_shown(backend: Backend) {
    let authority = Authority::with_clients();
    let fake = Secure::tls(authority.config(&["127.0.0.1"]), answers(1));
    let (cert, key) = authority.client("resolver");
    let known = ClientSettings {
        cert: Some((cert.into(), key.into())),
        ..client(&authority, "127.0.0.1")
    };
    let pools = [
        dot(fake.addr, known),
        dot(fake.addr, client(&authority, "127.0.0.1")),
    ];
    let got = run(backend, async move {
        let known = outcome(ask(&pools[0], Protocol::Udp).await);
        (known, outcome(ask(&pools[1], Protocol::Udp).await))
    });
    assert_eq!(got.0, "1");
    assert!(got.1.contains("tls: received fatal alert"), "{}", got.1);
    assert_eq!(fake.counts.connections(), 2);
}

fn several_queries_share_a_connection(backend: Backend) {
    let authority = Authority::new();
    let fake = Secure::tls(authority.config(&["127.0.0.1"]), answers(1));
    let pool = Rc::new(dot(fake.addr, client(&authority, "127.0.0.1")));
    let got = run(backend, async move {
        let mut answers = Vec::new();
        for _ in 0..6 {
            let (tx, rx) = runtime::local::oneshot();
            let pool = pool.clone();
            runtime::spawn(async move {
                drop(tx.send(outcome(ask(&pool, Protocol::Udp).await)));
            });
            answers.push(rx);
        }
        let mut got = Vec::new();
        for answer in answers {
            got.push(answer.await.unwrap());
        }
        got.push(outcome(ask(&pool, Protocol::Tcp).await));
        got
    });
    assert_eq!(got, ["1"; 7]);
    assert_eq!(fake.counts.connections(), 1);
}

fn answers_may_come_in_any_order(backend: Backend) {
    let authority = Authority::new();
    let mut held: Vec<Vec<u8>> = Vec::new();
    let fake = Secure::tls(authority.config(&["127.0.0.1"]), move |_, query| {
        // The first letter of the name is the address.
        let letter = query[13];
        held.push(reply(query, 0, 0, Some([192, 0, 2, letter])));
        match held.len() {
            3 => Act::Send(held.drain(..).rev().collect()),
            _ => Act::Send(Vec::new()),
        }
    });
    let pool = Rc::new(dot(fake.addr, client(&authority, "127.0.0.1")));
    let got = run(backend, async move {
        let mut answers = Vec::new();
        for name in ["a.", "b.", "c."] {
            let (tx, rx) = runtime::local::oneshot();
            let pool = pool.clone();
            runtime::spawn(async move {
                drop(tx.send(outcome(ask_for(&pool, Protocol::Udp, name).await)));
            });
            answers.push(rx);
        }
        let mut got = Vec::new();
        for answer in answers {
            got.push(answer.await.unwrap());
        }
        got
    });
    assert_eq!(got, ["97", "98", "99"]);
    assert_eq!(fake.counts.connections(), 1);
}

fn a_reply_to_another_question_is_passed_over(backend: Backend) {
    let authority = Authority::new();
    let fake = Secure::tls(authority.config(&["127.0.0.1"]), |_, query| {
        let good = reply(query, 0, 0, Some([192, 0, 2, 1]));
        let (mut name, mut id, mut is_query) = (good.clone(), good.clone(), good.clone());
        name[13] = b'x';
        id[0] ^= 0xff;
        is_query[2] &= 0x7f;
        Act::Send(vec![
            name,
            id,
            is_query,
            good[..8].to_vec(),
            Vec::new(),
            good,
        ])
    });
    let pool = dot(fake.addr, client(&authority, "127.0.0.1"));
    assert_eq!(ask_times(backend, pool, 2), ["1", "1"]);
    assert_eq!(fake.counts.connections(), 1);
}

fn a_handshake_that_stalls_is_a_timeout(backend: Backend) {
    let authority = Authority::new();
    // It accepts and says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let pool = dot(
        listener.local_addr().unwrap(),
        client(&authority, "127.0.0.1"),
    );
    let got = run(backend, async move {
        let clock = clock::fake::FakeClock::start();
        let start = clock::now_ns();
        let got = outcome(ask(&pool, Protocol::Udp).await);
        let took = clock::now_ns() - start;
        drop(clock);
        (got, took)
    });
    assert!(got.0.ends_with("i/o timeout"), "{}", got.0);
    // As long as for a reply, though connecting may take 30 s.
    assert!(got.1 <= 4_100 * MILLISECOND, "{}", got.1);
}

fn a_connection_that_was_closed_is_replaced(backend: Backend) {
    let authority = Authority::new();
    let fake = Secure::tls(authority.config(&["127.0.0.1"]), |nth, query| match nth {
        // The second query is answered by the end of the connection; it is asked again.
        1 => Act::Close,
        _ => Act::Send(vec![reply(query, 0, 0, Some([192, 0, 2, nth as u8]))]),
    });
    let pool = dot(fake.addr, client(&authority, "127.0.0.1"));
    assert_eq!(ask_times(backend, pool, 2), ["0", "2"]);
    assert_eq!(fake.counts.connections(), 2);
}

fn a_silent_connection_is_given_up(backend: Backend) {
    let authority = Authority::new();
    let fake = Secure::tls(authority.config(&["127.0.0.1"]), |nth, query| match nth {
        1 => Act::Send(Vec::new()),
        _ => Act::Send(vec![reply(query, 0, 0, Some([192, 0, 2, nth as u8]))]),
    });
    let brief = PoolSettings {
        read_timeout: Duration::from_millis(900),
        ..settings()
    };
    let to = endpoint(fake.addr, Transport::Tls, client(&authority, "127.0.0.1"));
    let got = ask_times(backend, pool_of(to, &brief), 3);
    assert_eq!((&*got[0], &*got[2]), ("0", "2"));
    assert!(got[1].ends_with("i/o timeout"), "{}", got[1]);
    assert_eq!(fake.counts.connections(), 2);
}

fn sessions_are_resumed(backend: Backend) {
    let authority = Authority::new();
    let fake = Secure::tls(authority.config(&["127.0.0.1"]), |nth, query| match nth {
        1 => Act::Close,
        _ => Act::Send(vec![reply(query, 0, 0, Some([192, 0, 2, 1]))]),
    });
    let endpoint = endpoint(fake.addr, Transport::Tls, client(&authority, "127.0.0.1"));
    // Two pools are two cores: what one has learnt serves the other.
    let pools = [(); 2].map(|()| pool_of(endpoint.clone(), &patient()));
    run(backend, async move {
        for pool in [&pools[0], &pools[0], &pools[1]] {
            assert_eq!(outcome(ask(pool, Protocol::Udp).await), "1");
        }
    });
    assert_eq!(fake.counts.connections(), 3);
    assert_eq!(fake.counts.resumed(), 2);
}

fn an_upstream_that_comes_back_is_used_again(backend: Backend) {
    let authority = Authority::new();
    let fake = Secure::tls(authority.config(&["127.0.0.1"]), answers(1));
    let addr = fake.addr;
    let pool = dot(addr, client(&authority, "127.0.0.1"));
    let got = run(backend, async move {
        let first = outcome(ask(&pool, Protocol::Udp).await);
        drop(fake);
        let dead = outcome(ask(&pool, Protocol::Udp).await);
        let back = Secure::tls_at(addr, authority.config(&["127.0.0.1"]), answers(2));
        let again = outcome(ask(&pool, Protocol::Udp).await);
        drop(back);
        (first, dead, again)
    });
    assert_eq!((&*got.0, &*got.2), ("1", "2"));
    assert!(got.1.ends_with("connection refused"), "{}", got.1);
}

fn a_probe_speaks_tls(backend: Backend) {
    let authority = Authority::new();
    let fake = Secure::tls(authority.config(&["127.0.0.1"]), answers(1));
    let right = endpoint(fake.addr, Transport::Tls, client(&authority, "127.0.0.1"));
    let wrong = endpoint(
        fake.addr,
        Transport::Tls,
        client(&authority, "wrong.example"),
    );
    check_probes(backend, right, wrong);
    assert_eq!(fake.counts.queries(), 1);
}
