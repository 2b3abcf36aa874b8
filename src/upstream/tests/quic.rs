//! Dialogues over QUIC: DNS over QUIC and DNS over HTTP/3, with a server that is not ours.

use std::net::{SocketAddr, UdpSocket};

use bytes::{Buf, Bytes};
use http::Response;
use quinn::VarInt;
use quinn_proto::coding::Codec;

use super::tls::{
    ask_times, check_certificates, check_probes, client, endpoint, outcome, patient, pool_of,
};
use super::*;
use crate::telemetry::metrics::registry;
use crate::testing::authority::Authority;
use crate::tls::ClientSettings;
use crate::transport::h3;
use crate::upstream::fake_quic::{Deed, FakeQuic, Speaks};
use crate::wire::edns::option;

const ANY: ([u8; 4], u16) = ([127, 0, 0, 1], 0);

fn speaks(alpn: &'static str) -> Speaks {
    Speaks {
        alpn,
        control: if alpn == "h3" { h3::SETTINGS } else { &[] },
        idle: Duration::from_secs(10),
    }
}

fn doq(
    authority: &Authority,
    script: impl FnMut(usize, &[u8]) -> Deed + Send + 'static,
) -> FakeQuic {
    doq_at(ANY.into(), authority, script)
}

fn doq_at(
    addr: SocketAddr,
    authority: &Authority,
    script: impl FnMut(usize, &[u8]) -> Deed + Send + 'static,
) -> FakeQuic {
    let config = authority.config(&["127.0.0.1", "dns.example"]);
    FakeQuic::start_at(addr, config, speaks("doq"), script)
}

fn doh(
    authority: &Authority,
    mut script: impl FnMut(usize, &http::request::Parts, &[u8]) -> Deed + Send + 'static,
) -> FakeQuic {
    let config = authority.config(&["127.0.0.1"]);
    FakeQuic::start_at(ANY.into(), config, speaks("h3"), move |nth, stream| {
        let (head, body) = h3::request::read(stream).unwrap();
        script(nth, &head, &body)
    })
}

fn to_doq(authority: &Authority, addr: SocketAddr) -> Endpoint {
    let client = ClientSettings {
        alpn: Some(b"doq"),
        ..client(authority, "127.0.0.1")
    };
    endpoint(addr, Transport::Quic, client)
}

fn to_doh(authority: &Authority, addr: SocketAddr, method: Method) -> Endpoint {
    let client = ClientSettings {
        alpn: Some(b"h3"),
        ..client(authority, "127.0.0.1")
    };
    endpoint(addr, Transport::Https3(method), client)
}

/// The stream of a reply over DoQ.
fn framed(message: Vec<u8>) -> Deed {
    Deed::Send([&(message.len() as u16).to_be_bytes()[..], &message].concat())
}

/// Answers with an address that ends so.
fn answer(stream: &[u8], last: usize) -> Deed {
    framed(reply(&stream[2..], 0, 0, Some([192, 0, 2, last as u8])))
}

/// The stream of a response.
fn response(status: u16, kind: &str, body: Vec<u8>) -> Deed {
    let head = Response::builder()
        .status(status)
        .header("content-type", kind);
    let mut out = Vec::new();
    h3::response::write(&head.body(Bytes::from(body)).unwrap(), &mut out);
    Deed::Send(out)
}

fn message(query: &[u8], last: usize) -> Deed {
    let body = reply(query, 0, 0, Some([192, 0, 2, last as u8]));
    response(200, "application/dns-message", body)
}

/// Whether a datagram has a packet of early data (RFC 9000 section 17.2.3) behind those with long headers and lengths.
fn has_early_data(datagram: &[u8]) -> bool {
    let mut reader = Bytes::copy_from_slice(datagram);
    while reader.len() > 7 && reader[0] & 0x80 != 0 {
        let kind = reader.get_u8() & 0x30;
        if kind == 0x10 {
            return true;
        }
        reader.advance(4);
        for _ in 0..2 {
            let len = reader.get_u8().into();
            reader.advance(len);
        }
        if kind == 0 {
            let token = VarInt::decode(&mut reader).unwrap().into_inner() as usize;
            reader.advance(token);
        }
        let len = VarInt::decode(&mut reader).unwrap().into_inner() as usize;
        reader.advance(len.min(reader.len()));
    }
    false
}

/// What comes of `count` queries, one after the other.
fn dialogue(backend: Backend, to: Endpoint, count: usize) -> Vec<String> {
    ask_times(backend, pool_of(to, &patient()), count)
}

battery!(
    a_connection_that_was_closed_is_replaced,
    a_get_is_as_rfc_8484_has_it,
    a_post_is_as_rfc_8484_has_it,
    a_probe_speaks_quic,
    a_query_is_as_rfc_9250_has_it,
    a_session_is_counted_as_resumed,
    a_server_that_goes_away_is_asked_again,
    a_silent_connection_is_given_up,
    a_server_that_is_not_ours_is_understood,
    a_stream_that_is_reset_is_an_error_of_its_own,
    an_idle_connection_that_the_server_ended_is_replaced,
    an_upstream_that_comes_back_is_used_again,
    big_replies_come_whole,
    certificates_are_verified,
    many_queries_share_connections,
    other_responses_are_errors,
    protocols_are_told_apart,
    queries_come_early_and_nothing_else_does,
    servers_that_break_http3_are_left,
);

fn a_query_is_as_rfc_9250_has_it(backend: Backend) {
    let authority = Authority::new();
    let fake = doq(&authority, |_, stream| {
        let len = usize::from(u16::from_be_bytes([stream[0], stream[1]]));
        assert_eq!(len, stream.len() - 2);
        assert_eq!(stream[2..4], [0, 0], "the id");
        assert!(!stream.ends_with(&[0, 11, 0, 0]), "edns-tcp-keepalive");
        answer(stream, 1)
    });
    let to = to_doq(&authority, fake.addr);
    assert_eq!(dialogue(backend, to.clone(), 2), ["1", "1"]);
    let mut edns = Edns::default();
    edns.ensure(1232);
    edns.push(option::PADDING, &[]);
    edns.push(option::TCP_KEEPALIVE, &[]);
    let pool = pool_of(to, &patient());
    let got = run(backend, async move {
        let mut call = call_with("www.example.org", types::A, &edns);
        let mut answer = Reply::default();
        pool.exchange(&mut call, Protocol::Udp, &mut answer).await
    });
    got.unwrap();
    let label = fake.addr.to_string();
    let of = [("proxy_name", "test"), ("to", &*label), ("proto", "quic")];
    let count = |name: &str| registry().value(name, &of).unwrap();
    assert!(count("coredns_proxy_conn_cache_misses_total") >= 2.0);
    assert!(count("coredns_proxy_conn_cache_hits_total") >= 1.0);
}

fn certificates_are_verified(backend: Backend) {
    let authority = Authority::new();
    let fake = doq(&authority, |_, stream| answer(stream, 1));
    check_certificates(backend, &authority, |client| {
        let client = ClientSettings {
            alpn: Some(b"doq"),
            ..client
        };
        endpoint(fake.addr, Transport::Quic, client)
    });
    assert_eq!(fake.counts.requests(), 2);
}

fn protocols_are_told_apart(backend: Backend) {
    let authority = Authority::new();
    let fake = doq(&authority, |_, stream| answer(stream, 1));
    let got = dialogue(backend, to_doh(&authority, fake.addr, Method::Post), 1);
    let want = "the server does not offer this protocol over QUIC (ALPN h3)";
    assert!(got[0].ends_with(want), "{got:?}");
}

fn many_queries_share_connections(backend: Backend) {
    let authority = Authority::new();
    let fake = doq(&authority, |_, stream| answer(stream, stream[15].into()));
    let pool = Rc::new(pool_of(to_doq(&authority, fake.addr), &patient()));
    run(backend, async move {
        let mut answers = Vec::new();
        for nth in 0..500 {
            let (tx, rx) = runtime::local::oneshot();
            let pool = pool.clone();
            let letter = b'a' + (nth % 26) as u8;
            let name = format!("{}.", char::from(letter));
            runtime::spawn(async move {
                drop(tx.send(outcome(ask_for(&pool, Protocol::Udp, &name).await)));
            });
            answers.push((letter, rx));
        }
        for (letter, answer) in answers {
            assert_eq!(answer.await.unwrap(), letter.to_string());
        }
    });
    assert!(fake.counts.connections() <= limits::UPSTREAM_STREAM_SESSIONS);
}

fn big_replies_come_whole(backend: Backend) {
    let authority = Authority::new();
    let fake = doq(&authority, |_, stream| {
        let mut message = reply(&stream[2..], 0, 0, Some([192, 0, 2, 1]));
        // 240 TXT records of 256 octets behind it.
        message[7] += 240;
        for _ in 0..240 {
            message.extend([0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 60, 0, 245, 244]);
            message.extend([b'x'; 244]);
        }
        framed(message)
    });
    let pool = pool_of(to_doq(&authority, fake.addr), &patient());
    let got = run(backend, async move {
        ask(&pool, Protocol::Udp).await.unwrap().records().len()
    });
    assert_eq!(got, 241);
}

fn a_stream_that_is_reset_is_an_error_of_its_own(backend: Backend) {
    let authority = Authority::new();
    let fake = doq(&authority, |nth, stream| match nth {
        1 => Deed::Reset(4),
        2 => Deed::Send(vec![0, 3, 1, 2]),
        _ => answer(stream, nth),
    });
    let got = dialogue(backend, to_doq(&authority, fake.addr), 4);
    assert_eq!((&*got[0], &*got[3]), ("0", "3"));
    let want = "quic: the stream was reset with code 0x4";
    assert!(got[1].ends_with(want), "{got:?}");
    assert!(got[2].ends_with("the response is no reply to the query"));
    // A stream that is not one message is an error of the protocol, which ends the connection.
    assert_eq!(fake.counts.connections(), 2);
}

fn a_connection_that_was_closed_is_replaced(backend: Backend) {
    let authority = Authority::new();
    let fake = doq(&authority, |nth, stream| match nth {
        1 => Deed::Close(0),
        _ => answer(stream, nth),
    });
    let got = dialogue(backend, to_doq(&authority, fake.addr), 2);
    assert_eq!(got, ["0", "2"]);
    assert_eq!(fake.counts.connections(), 2);
}

fn an_idle_connection_that_the_server_ended_is_replaced(backend: Backend) {
    let authority = Authority::new();
    let idle = Speaks {
        idle: Duration::from_millis(200),
        ..speaks("doq")
    };
    let config = authority.config(&["127.0.0.1"]);
    let fake = FakeQuic::start_at(ANY.into(), config, idle, answer_nth);
    let pool = pool_of(to_doq(&authority, fake.addr), &patient());
    let got = run(backend, async move {
        let first = outcome(ask(&pool, Protocol::Udp).await);
        runtime::sleep(Duration::from_millis(500)).await;
        (first, outcome(ask(&pool, Protocol::Udp).await))
    });
    assert_eq!(got, ("0".into(), "1".into()));
    assert_eq!(fake.counts.connections(), 2);
}

fn answer_nth(nth: usize, stream: &[u8]) -> Deed {
    answer(stream, nth)
}

fn a_silent_connection_is_given_up(backend: Backend) {
    let authority = Authority::new();
    let fake = doq(&authority, |nth, stream| match nth {
        1 => Deed::Silence,
        _ => answer(stream, nth),
    });
    let brief = PoolSettings {
        read_timeout: Duration::from_millis(900),
        ..settings()
    };
    let pool = pool_of(to_doq(&authority, fake.addr), &brief);
    let got = ask_times(backend, pool, 3);
    assert_eq!((&*got[0], &*got[2]), ("0", "2"));
    assert!(got[1].starts_with("read udp ") && got[1].ends_with("i/o timeout"));
    assert_eq!(fake.counts.connections(), 2);
}

fn an_upstream_that_comes_back_is_used_again(backend: Backend) {
    let authority = Authority::new();
    let fake = doq(&authority, |_, stream| answer(stream, 1));
    let addr = fake.addr;
    let pool = pool_of(to_doq(&authority, addr), &patient());
    let (got, connections) = run(backend, async move {
        let first = outcome(ask(&pool, Protocol::Udp).await);
        drop(fake);
        let dead = outcome(ask(&pool, Protocol::Udp).await);
        let back = doq_at(addr, &authority, |_, stream| answer(stream, 2));
        let again = outcome(ask(&pool, Protocol::Udp).await);
        ((first, dead, again), back.counts.connections())
    });
    assert_eq!((&*got.0, &*got.2), ("1", "2"));
    assert!(got.1.ends_with("connection refused"), "{}", got.1);
    // It does not know the sessions of before: what was sent early is sent again, over the same connection.
    assert_eq!(connections, 1);
}

fn queries_come_early_and_nothing_else_does(backend: Backend) {
    let authority = Authority::new();
    let fake = doq(&authority, |_, stream| answer(stream, 1));
    let addr = fake.addr;
    let to = to_doq(&authority, addr);
    // There are two tickets then.
    assert_eq!(dialogue(backend, to.clone(), 2), ["1", "1"]);
    drop(fake);
    for (qtype, want) in [(types::IXFR, false), (types::A, true)] {
        let nobody = UdpSocket::bind(addr).unwrap();
        // Two pools are two cores: what one has learnt serves the other.
        let pool = pool_of(to.clone(), &settings());
        run(backend, async move {
            let mut call = call_with("www.example.org", qtype, &Edns::default());
            let mut reply = Reply::default();
            let outcome = pool.exchange(&mut call, Protocol::Udp, &mut reply).await;
            assert!(outcome.is_err());
        });
        nobody.set_nonblocking(true).unwrap();
        let (mut datagram, mut is_early, mut count) = ([0; 1_500], false, 0);
        while let Ok(len) = nobody.recv(&mut datagram) {
            is_early |= has_early_data(&datagram[..len]);
            count += 1;
        }
        assert!(count > 0);
        assert_eq!(is_early, want, "{qtype}");
    }
}

fn a_session_is_counted_as_resumed(backend: Backend) {
    let authority = Authority::new();
    let fake = doq(&authority, |_, stream| answer(stream, 1));
    let to = to_doq(&authority, fake.addr);
    for _ in 0..2 {
        assert_eq!(dialogue(backend, to.clone(), 1), ["1"]);
    }
    let pool = pool_of(to, &patient());
    let label = fake.addr.to_string();
    let count = run(backend, async move {
        let _ = outcome(ask(&pool, Protocol::Udp).await);
        let of = [("to", &*label), ("kind", "resumed")];
        let count = || registry().value("percoredns_upstream_handshakes_total", &of);
        // It is counted when the handshake is done, which the reply need not wait for.
        for _ in 0..400 {
            if count() >= Some(1.0) {
                break;
            }
            runtime::sleep(Duration::from_millis(5)).await;
        }
        count()
    });
    assert!(count >= Some(1.0), "{count:?}");
}

fn a_probe_speaks_quic(backend: Backend) {
    let authority = Authority::new();
    let fake = doq(&authority, |_, stream| answer(stream, 1));
    let right = to_doq(&authority, fake.addr);
    let wrong = to_doq(&Authority::new(), fake.addr);
    check_probes(backend, right, wrong);
    assert_eq!(fake.counts.requests(), 1);
}

// === HTTP/3 ===

fn a_post_is_as_rfc_8484_has_it(backend: Backend) {
    let authority = Authority::new();
    let fake = doh(&authority, |nth, head, body| {
        assert_eq!(
            (head.method.as_str(), head.uri.path()),
            ("POST", "/dns-query")
        );
        assert_eq!(head.headers["content-type"], "application/dns-message");
        assert_eq!(head.headers["accept"], "application/dns-message");
        assert_eq!(head.headers["content-length"], &*body.len().to_string());
        assert_eq!(body[..2], [0, 0], "the id");
        message(body, nth)
    });
    let to = to_doh(&authority, fake.addr, Method::Post);
    assert_eq!(dialogue(backend, to, 3), ["0", "1", "2"]);
    assert_eq!(fake.counts.connections(), 1);
    let label = fake.addr.to_string();
    let of = [("proxy_name", "test"), ("to", &*label), ("proto", "https3")];
    let hits = registry().value("coredns_proxy_conn_cache_hits_total", &of);
    assert_eq!(hits, Some(2.0));
}

fn a_get_is_as_rfc_8484_has_it(backend: Backend) {
    let authority = Authority::new();
    let fake = doh(&authority, |_, head, body| {
        assert_eq!((head.method.as_str(), body.len()), ("GET", 0));
        let query = head.uri.query().unwrap().strip_prefix("dns=").unwrap();
        let query = domain::utils::base64::decode::<Vec<u8>>(query).unwrap();
        message(&query, 1)
    });
    let to = to_doh(&authority, fake.addr, Method::Get);
    assert_eq!(dialogue(backend, to, 1), ["1"]);
}

fn other_responses_are_errors(backend: Backend) {
    let authority = Authority::new();
    let fake = doh(&authority, |nth, _, body| match nth {
        0 => response(404, "application/dns-message", body.to_vec()),
        1 => response(200, "text/html", body.to_vec()),
        2 => response(200, "application/dns-message", b"no message".to_vec()),
        3 => Deed::Send(vec![0; 100_000]),
        4 => Deed::Send(Vec::new()),
        _ => message(body, nth),
    });
    let got = dialogue(backend, to_doh(&authority, fake.addr, Method::Post), 6);
    let wants = [
        "HTTP status 404 Not Found",
        "the response is of another content type",
        "the response is no reply to the query",
        "the response is too long",
        "http3: a response that cannot be read: code 0x10d",
        "5",
    ];
    for (got, want) in got.iter().zip(wants) {
        assert!(got.ends_with(want), "{got}");
    }
    assert_eq!(fake.counts.connections(), 1);
}

fn a_server_that_goes_away_is_asked_again(backend: Backend) {
    let authority = Authority::new();
    let fake = doh(&authority, |nth, _, body| match nth {
        // GOAWAY from stream 4 on, which is the second request's.
        1 => Deed::Control(vec![7, 1, 4]),
        _ => message(body, nth),
    });
    let got = dialogue(backend, to_doh(&authority, fake.addr, Method::Post), 3);
    assert_eq!(got, ["0", "2", "3"]);
    assert_eq!(fake.counts.connections(), 2);
}

fn a_server_that_is_not_ours_is_understood(backend: Backend) {
    let authority = Authority::new();
    let config = authority.config(&["127.0.0.1"]);
    let fake = FakeQuic::foreign_http3(config, |query| reply(query, 0, 0, Some([192, 0, 2, 1])));
    let to = to_doh(&authority, fake.addr, Method::Post);
    assert_eq!(dialogue(backend, to, 3), ["1"; 3]);
    assert_eq!(fake.counts.connections(), 1);
}

fn servers_that_break_http3_are_left(backend: Backend) {
    let authority = Authority::new();
    let fake = doh(&authority, |nth, _, body| match nth {
        // A frame that has no place there, then settings a second time.
        0 => Deed::Send(vec![4, 0]),
        2 => Deed::Control(vec![4, 0]),
        _ => message(body, nth),
    });
    let got = dialogue(backend, to_doh(&authority, fake.addr, Method::Post), 3);
    let unreadable = "http3: a response that cannot be read: code 0x105";
    assert!(got[0].ends_with(unreadable), "{got:?}");
    assert_eq!(got[1..], ["1", "3"]);
    assert_eq!(fake.counts.connections(), 3);
}
