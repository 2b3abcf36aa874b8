//! Dialogues over HTTP/2: DNS over HTTPS and gRPC.

use http::{HeaderMap, Response};

use super::sessions::ask_at_once;
use super::tls::{ask_times, client, endpoint, outcome, patient, pool_of};
use super::*;
use crate::testing::authority::Authority;
use crate::testing::files::Dir;
use crate::tls::ClientSettings;
use crate::upstream::fake_tls::{Secure, Told};

fn response(status: u16, kind: &str, body: Vec<u8>) -> Told {
    let head = Response::builder().status(status);
    let head = head.header("content-type", kind).body(()).unwrap();
    Told::Response(head, body, None)
}

fn message(body: Vec<u8>) -> Told {
    response(200, "application/dns-message", body)
}

fn doh(authority: &Authority, fake: &Secure, method: Method) -> Pool {
    let client = ClientSettings {
        alpn: Some(b"h2"),
        ..client(authority, "127.0.0.1")
    };
    pool_of(
        endpoint(fake.addr, Transport::Https(method), client),
        &patient(),
    )
}

/// What comes of `count` queries, one after the other, to an upstream that does as the script says; and its connections.
fn dialogue(
    backend: Backend,
    count: usize,
    mut script: impl FnMut(usize, &[u8]) -> Told + Send + 'static,
) -> (Vec<String>, usize) {
    let authority = Authority::new();
    let fake = Secure::http(
        Some(authority.config(&["127.0.0.1"])),
        move |nth, _, body| script(nth, body),
    );
    let pool = doh(&authority, &fake, Method::Post);
    let got = ask_times(backend, pool, count);
    (got, fake.counts.connections())
}

battery!(
    a_connection_that_takes_no_more_is_replaced,
    all_connections_that_take_no_more_are_replaced,
    a_post_is_as_rfc_8484_has_it,
    a_get_is_as_rfc_8484_has_it,
    a_silent_stream_is_a_timeout,
    big_replies_come_whole,
    garbage_is_an_error,
    grpc_is_coredns_s,
    grpc_over_a_socket_in_the_file_system,
    many_queries_share_a_connection,
    other_responses_are_errors,
    servers_without_http2_are_told_apart,
);

fn a_post_is_as_rfc_8484_has_it(backend: Backend) {
    let authority = Authority::new();
    let fake = Secure::http(Some(authority.config(&["127.0.0.1"])), |_, head, body| {
        assert_eq!(head.method(), "POST");
        assert_eq!(head.uri().path_and_query().unwrap(), "/dns-query");
        assert_eq!(head.uri().scheme_str(), Some("https"));
        assert_eq!(head.uri().host(), Some("127.0.0.1"));
        assert_eq!(head.headers()["content-type"], "application/dns-message");
        assert_eq!(head.headers()["accept"], "application/dns-message");
        assert_eq!(head.headers()["content-length"], &*body.len().to_string());
        assert_eq!(body[..2], [0, 0], "the id");
        message(reply(body, 0, 0, Some([192, 0, 2, 1])))
    });
    let pool = doh(&authority, &fake, Method::Post);
    assert_eq!(ask_times(backend, pool, 1), ["1"]);
}

fn a_get_is_as_rfc_8484_has_it(backend: Backend) {
    let authority = Authority::new();
    let fake = Secure::http(Some(authority.config(&["127.0.0.1"])), |_, head, body| {
        assert_eq!((head.method().as_str(), body.len()), ("GET", 0));
        // www.example.org A, the id 0, as in RFC 8484 section 4.1.1 but for the name.
        let query = "AAABAAABAAAAAAAAA3d3dwdleGFtcGxlA29yZwAAAQAB";
        assert_eq!(head.uri().query().unwrap(), format!("dns={query}"));
        let query = domain::utils::base64::decode::<Vec<u8>>(query).unwrap();
        message(reply(&query, 0, 0, Some([192, 0, 2, 1])))
    });
    let pool = doh(&authority, &fake, Method::Get);
    assert_eq!(ask_times(backend, pool, 1), ["1"]);
}

fn many_queries_share_a_connection(backend: Backend) {
    let authority = Authority::new();
    let fake = Secure::http(Some(authority.config(&["127.0.0.1"])), |_, _, body| {
        message(reply(body, 0, 0, Some([192, 0, 2, body[13]])))
    });
    let pool = Rc::new(doh(&authority, &fake, Method::Post));
    let got = run(backend, async move {
        let mut answers = Vec::new();
        for letter in b'a'..=b'z' {
            let (tx, rx) = runtime::local::oneshot();
            let pool = pool.clone();
            let name = format!("{}.", char::from(letter));
            runtime::spawn(async move {
                drop(tx.send(outcome(ask_for(&pool, Protocol::Udp, &name).await)));
            });
            answers.push(rx);
        }
        let mut got = Vec::new();
        for answer in answers {
            got.push(answer.await.unwrap());
        }
        got
    });
    let want: Vec<String> = (b'a'..=b'z').map(|letter| letter.to_string()).collect();
    assert_eq!(got, want);
    assert_eq!(fake.counts.connections(), 1);
}

fn a_connection_that_takes_no_more_is_replaced(backend: Backend) {
    let (got, connections) = dialogue(backend, 3, |nth, body| match nth {
        // The second query is refused, and with it the connection; it is asked again.
        1 => Told::GoAway,
        _ => message(reply(body, 0, 0, Some([192, 0, 2, nth as u8]))),
    });
    assert_eq!(got, ["0", "2", "3"]);
    assert_eq!(connections, 2);
}

fn all_connections_that_take_no_more_are_replaced(backend: Backend) {
    // One more than a connection carries easily.
    const MANY: usize = limits::UPSTREAM_STREAMS_EASY + 1;
    let authority = Authority::new();
    let fake = Secure::http(
        Some(authority.config(&["127.0.0.1"])),
        |nth, _, body| match nth {
            MANY..=66 => Told::GoAway,
            _ => message(reply(body, 0, 0, Some([192, 0, 2, 1]))),
        },
    );
    let pool = Rc::new(doh(&authority, &fake, Method::Post));
    let got = run(backend, async move {
        let all = ask_at_once(&pool, MANY).await;
        while pool.idle(Protocol::Udp) < 2 {
            runtime::sleep(Duration::from_millis(5)).await;
        }
        (all, outcome(ask(&pool, Protocol::Udp).await))
    });
    assert_eq!(got, (vec!["1".to_owned(); MANY], "1".into()));
    assert_eq!(fake.counts.queries(), MANY + 3);
}

fn other_responses_are_errors(backend: Backend) {
    let (got, connections) = dialogue(backend, 7, |nth, body| {
        let good = reply(body, 0, 0, Some([192, 0, 2, 1]));
        match nth {
            0 => response(500, "text/plain", b"no".to_vec()),
            1 => response(200, "text/html", good),
            2 => message(vec![0; 70_000]),
            3 => {
                let mut other = good;
                other[13] = b'x';
                message(other)
            }
            4 => message(Vec::new()),
            5 => {
                let mut other = good;
                other[0] = 1;
                message(other)
            }
            _ => response(200, "Application/DNS-Message; x=y", good),
        }
    });
    let reply = "the response is no reply to the query";
    let want = [
        "HTTP status 500",
        "another content type",
        "the response is too long",
        reply,
        reply,
        reply,
        "1",
    ];
    for (got, want) in got.iter().zip(want) {
        assert!(got.contains(want), "{got}");
    }
    // An error of one query is no fault of its connection.
    assert_eq!(connections, 1);
}

fn big_replies_come_whole(backend: Backend) {
    let (got, _) = dialogue(backend, 2, |_, body| {
        let mut big = reply(body, 0, 0, Some([192, 0, 2, 9]));
        big[7] = 0;
        let count = 4_000u16;
        big[6..8].copy_from_slice(&count.to_be_bytes());
        for _ in 1..count {
            big.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
        }
        assert!(big.len() > 60_000);
        message(big)
    });
    assert_eq!(got, ["9", "9"]);
}

fn a_silent_stream_is_a_timeout(backend: Backend) {
    let (got, connections) = dialogue(backend, 2, |nth, body| match nth {
        0 => Told::Silence,
        _ => message(reply(body, 0, 0, Some([192, 0, 2, 1]))),
    });
    assert!(got[0].ends_with("i/o timeout"), "{}", got[0]);
    assert_eq!((&*got[1], connections), ("1", 2));
}

fn garbage_is_an_error(backend: Backend) {
    let authority = Authority::new();
    let fake = Secure::garbage(
        authority.config(&["127.0.0.1"]),
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    );
    let pool = doh(&authority, &fake, Method::Post);
    let got = run(
        backend,
        async move { outcome(ask(&pool, Protocol::Udp).await) },
    );
    assert!(got.contains("http2: "), "{got}");
}

fn servers_without_http2_are_told_apart(backend: Backend) {
    let authority = Authority::new();
    let fake = Secure::tls(authority.config(&["127.0.0.1"]), |_, _| panic!("a query"));
    let pool = doh(&authority, &fake, Method::Post);
    let got = run(
        backend,
        async move { outcome(ask(&pool, Protocol::Udp).await) },
    );
    assert!(got.contains("does not offer HTTP/2"), "{got}");
}

// === gRPC ===

fn packet(body: &[u8]) -> &[u8] {
    assert_eq!((body[0], body[5]), (0, 0x0a));
    assert_eq!(usize::from(body[4]), body.len() - 5);
    &body[7..]
}

fn grpc(status: u32, message: Option<&[u8]>) -> Told {
    let head = Response::builder().header("content-type", "application/grpc");
    let head = head.body(()).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", status.into());
    let mut body = Vec::new();
    if let Some(message) = message {
        let len = u8::try_from(message.len()).unwrap();
        assert!(len < 0x80);
        body.extend([0, 0, 0, 0, 2 + len, 0x0a, len]);
        body.extend(message);
    }
    Told::Response(head, body, Some(trailers))
}

fn serve_grpc(nth: usize, head: &http::Request<()>, body: &[u8]) -> Told {
    assert_eq!(head.method(), "POST");
    assert_eq!(head.uri().path(), "/coredns.dns.DnsService/Query");
    assert_eq!(head.headers()["content-type"], "application/grpc");
    assert_eq!(head.headers()["te"], "trailers");
    let answer = reply(packet(body), 0, 0, Some([192, 0, 2, nth as u8]));
    match nth {
        1 => grpc(14, None),
        2 => grpc(13, Some(&answer)),
        3 => grpc(0, None),
        _ => grpc(0, Some(&answer)),
    }
}

fn check_grpc(backend: Backend, endpoint: Endpoint) {
    let got = ask_times(backend, pool_of(endpoint, &patient()), 5);
    assert_eq!((&*got[0], &*got[4]), ("0", "4"));
    assert!(got[1].ends_with("gRPC status 14"), "{}", got[1]);
    assert!(got[2].ends_with("gRPC status 13"), "{}", got[2]);
    assert!(got[3].ends_with("no reply to the query"), "{}", got[3]);
}

fn grpc_is_coredns_s(backend: Backend) {
    let plain = Secure::http(None, serve_grpc);
    check_grpc(
        backend,
        Endpoint {
            address: Address::Ip(plain.addr),
            transport: Transport::Grpc,
            tls: None,
            is_proxied: false,
        },
    );
    let authority = Authority::new();
    let secure = Secure::http(Some(authority.config(&["dns.example"])), serve_grpc);
    let client = ClientSettings {
        alpn: Some(b"h2"),
        ..client(&authority, "dns.example")
    };
    check_grpc(backend, endpoint(secure.addr, Transport::Grpc, client));
    assert_eq!(secure.counts.connections(), 1);
}

fn grpc_over_a_socket_in_the_file_system(backend: Backend) {
    let dir = Dir::new();
    let path = dir.path().join("grpc.sock");
    let fake = Secure::http_path(&path, serve_grpc);
    check_grpc(
        backend,
        Endpoint {
            address: Address::Path(path),
            transport: Transport::Grpc,
            tls: None,
            is_proxied: false,
        },
    );
    assert_eq!(fake.counts.connections(), 1);
}
