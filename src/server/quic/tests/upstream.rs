//! The client side of QUIC against the server side.

use std::net::SocketAddr;
use std::rc::Rc;

use super::*;
use crate::runtime::{UdpSocket, block_on};
use crate::transport::quic::{Codes, Failure, QuicClient, Terms};

const CODES: Codes = Codes {
    close: 0,
    cancel: 3,
};

fn to(peer: SocketAddr) -> UdpSocket {
    UdpSocket::connect("127.0.0.1:0".parse().unwrap(), peer).unwrap()
}

/// Runs `work` on a task thread, with what connects to a server of that block.
fn with_server<F>(
    backend: Backend,
    body: &str,
    work: impl FnOnce(Rc<dyn Fn() -> QuicClient>) -> F + 'static,
) where
    F: Future<Output = ()> + 'static,
{
    let identity = Identity::new();
    let server = Server::start(backend, &identity, "quic://.:0", body, 2);
    let terms = Terms {
        tls: identity.tls_config("doq", true),
        idle: Duration::from_secs(10),
        codes: CODES,
        is_http3: false,
    };
    let addr = server.addr;
    let connect = move || QuicClient::connect(to(addr), addr, "localhost", &terms).unwrap();
    block_on(backend, async move { work(Rc::new(connect)).await }).unwrap();
    assert_eq!(server.stop(), 0);
}

#[test]
fn exchanges_share_a_connection() {
    on_backends(|backend| {
        with_server(backend, HOSTS, |connect| async move {
            let client = connect();
            client.handshake().await.unwrap();
            // More than streams are granted, all at once.
            let (done, ended) = runtime::local::oneshot();
            let left = Rc::new(std::cell::Cell::new(300));
            let done = Rc::new(std::cell::RefCell::new(Some(done)));
            for _ in 0..300 {
                let (client, left, done) = (client.clone(), left.clone(), done.clone());
                runtime::spawn(async move {
                    let asked = framed(&query("one.test", types::A));
                    let reply = client.exchange(&asked, 65_537, false).await.unwrap();
                    assert!(reply.ends_with(&[192, 0, 2, 1]));
                    left.set(left.get() - 1);
                    if left.get() == 0 {
                        let _ = done.borrow_mut().take().unwrap().send(());
                    }
                });
            }
            let ended = runtime::timeout(Duration::from_secs(10), ended).await;
            assert!(ended.is_ok(), "{} are left", left.get());
            assert_eq!(client.in_flight(), 0);
        });
    });
}

#[test]
fn sessions_are_resumed_with_early_data() {
    with_server(Backend::Epoll, HOSTS, |connect| async move {
        let asked = framed(&query("two.test", types::A));
        for _ in 0..3 {
            let client = connect();
            let reply = client.exchange(&asked, 65_537, true).await.unwrap();
            assert!(reply.ends_with(&[192, 0, 2, 2]));
            client.handshake().await.unwrap();
            // The ticket comes after the handshake.
            client.exchange(&asked, 65_537, true).await.unwrap();
        }
    });
}

#[test]
fn failures_are_told_apart() {
    let body = "erratic {\n drop 2\n large\n }";
    with_server(Backend::Epoll, body, |connect| async move {
        let client = connect();
        let asked = framed(&query("a.test", types::A));
        let dropped = client.exchange(&asked, 65_537, false).await;
        assert_eq!(dropped, Err(Failure::Reset(1)));
        let long = client.exchange(&asked, 100, false).await;
        assert_eq!(long, Err(Failure::TooLong));
        // A message with an id ends the connection, and with it the exchange.
        let mut wrong = asked.clone();
        wrong[3] = 1;
        let lost = client.exchange(&wrong, 65_537, false).await;
        assert!(matches!(lost, Err(Failure::Lost(_))), "{lost:?}");
        assert!(!client.is_usable());
        assert!(client.exchange(&asked, 65_537, false).await.is_err());
    });
}

#[test]
fn an_exchange_that_is_given_up_leaves_nothing_behind() {
    let body = "erratic {\n delay 2 2s\n drop 0\n }";
    with_server(Backend::Epoll, body, |connect| async move {
        let client = connect();
        let asked = framed(&query("a.test", types::A));
        let given_up = client.exchange(&asked, 65_537, false);
        let outcome = runtime::timeout(Duration::from_millis(50), given_up).await;
        assert!(outcome.is_err(), "{outcome:?}");
        assert_eq!(client.in_flight(), 0);
        // The next one is not delayed.
        client.exchange(&asked, 65_537, false).await.unwrap();
    });
}

#[test]
fn where_nobody_listens_the_connection_is_over_soon() {
    let identity = Identity::new();
    let terms = Terms {
        tls: identity.tls_config("doq", false),
        idle: Duration::from_secs(5),
        codes: CODES,
        is_http3: false,
    };
    on_backends(|backend| {
        let terms = terms.clone();
        block_on(backend, async move {
            let nobody = client::bound().local_addr().unwrap();
            let client = QuicClient::connect(to(nobody), nobody, "localhost", &terms).unwrap();
            let over = runtime::timeout(Duration::from_secs(4), client.handshake()).await;
            assert!(matches!(over, Ok(Err(Failure::Lost(_)))), "{over:?}");
        })
        .unwrap();
    });
}
