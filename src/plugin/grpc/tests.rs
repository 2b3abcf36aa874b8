//! Tests of *grpc*: dialogues with scripted upstreams, and every option.

use super::*;
use crate::testing::directive::{set_up, set_up_error};

fn line(lines: &str) -> Line {
    let directive = set_up::<Grpc>("grpc", lines).unwrap();
    Arc::try_unwrap(directive.config)
        .map_err(|_| "shared")
        .unwrap()
}

#[test]
fn options() {
    let line = line(
        "grpc Example.org 127.0.0.1 [::1]:9005 grpc://192.0.2.1 unix:///run/a.sock 127.0.0.1:53 {
            except a.example.org 10.0.0.0/8
            policy sequential
            tls_servername dns.example
            fallthrough b.example.org
        }",
    );
    assert_eq!(line.scope.from.as_str(), "example.org.");
    let to: Vec<_> = line.upstreams.iter().map(|health| health.to()).collect();
    assert_eq!(
        to,
        [
            "127.0.0.1:53",
            "[::1]:9005",
            "192.0.2.1:443",
            "unix:///run/a.sock"
        ]
    );
    assert!(line.upstreams[0].endpoint().tls.is_none());
    let except: Vec<_> = line.scope.except.iter().map(|zone| zone.as_str()).collect();
    assert_eq!(except, ["a.example.org.", "10.in-addr.arpa."]);
    assert!(matches!(line.policy, Policy::Sequential));
    assert_eq!(line.fall.zones()[0].as_str(), "b.example.org.");
}

#[test]
fn errors_name_the_option() {
    let check = |lines: &str, want: &str| {
        let error = set_up_error::<Grpc>("grpc", lines);
        assert!(error.contains(want), "{lines}: {error}");
    };
    check("grpc", "Wrong argument count");
    check("grpc .", "Wrong argument count");
    check("grpc a..b 127.0.0.1", "unable to normalize 'a..b'");
    check(
        "grpc . tls://9.9.9.9",
        "'tls' is not supported as a destination protocol in grpc",
    );
    check("grpc . 127.0.0.1\ngrpc . 127.0.0.1", "only be used once");
    let many = " 127.0.0.1".repeat(16);
    check(&format!("grpc .{many}"), "more than 15 TOs configured: 16");
    let option = |option: &str, want: &str| {
        check(&format!("grpc . 127.0.0.1 {{\n{option}\n}}"), want);
    };
    option("nonsense", "unknown property 'nonsense'");
    option("except", "Wrong argument count");
    option("policy fastest", "unknown policy 'fastest'");
    option("tls_servername", "Wrong argument count");
    option("tls_servername a..b", "not a server name");
    option("tls a b c d", "Wrong argument count");
    option("tls /no/ca", "open /no/ca: no such file");
    option("max_fails 3", "unknown property 'max_fails'");
}

#[cfg(feature = "kube-api")]
mod dialogues {
    use std::rc::Rc;

    use http::{HeaderMap, Response};

    use super::*;
    use crate::plugin::{AnyPlugin, Chain, drive};
    use crate::runtime::{Backend, block_on, clock};
    use crate::testing::authority::Authority;
    use crate::testing::directive::query;
    use crate::upstream::fake::{Alone, outcome, reply};
    use crate::upstream::fake_tls::{Secure, Told};
    use crate::wire::types;

    /// Answers with an rcode, and an address if that is 0.
    fn answering(rcode: u16, last: u8) -> impl FnMut(usize, &http::Request<()>, &[u8]) -> Told {
        move |_, _, body| {
            let address = (rcode == 0).then_some([192, 0, 2, last]);
            let message = reply(&body[7..], 0, rcode, address);
            let len = message.len() as u8;
            let mut packet = vec![0, 0, 0, 0, 2 + len, 0x0a, len];
            packet.extend(message);
            let head = Response::builder().header("content-type", "application/grpc+proto");
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", 0.into());
            Told::Response(head.body(()).unwrap(), packet, Some(trailers))
        }
    }

    fn ask(lines: &str) -> String {
        let directive = set_up::<Grpc>("grpc", lines).unwrap();
        block_on(Backend::Epoll, async move {
            let chain = Rc::new(Chain::new(vec![AnyPlugin::Grpc(directive.open(&["grpc"]))]));
            let mut query = query("a.example.org.", types::A);
            query.now_ns = clock::now_ns();
            let at = chain.run(&mut query);
            drive(Rc::new(Alone), chain.clone(), &mut query, at).await;
            outcome(&query)
        })
        .unwrap()
    }

    const PASSED: &str = "SERVFAIL: plugin/grpc: no next plugin found";

    #[test]
    fn the_first_that_answers_is_returned() {
        let good = Secure::http(None, answering(0, 7));
        let silent = Secure::http(None, |_, _, _| {
            let head = Response::builder().status(503).body(()).unwrap();
            Told::Response(head, Vec::new(), None)
        });
        let check = |to: &[&Secure], options: &str, want: &str| {
            let to: String = to.iter().map(|to| format!(" {}", to.addr)).collect();
            let lines = format!("grpc example.org{to} {{\npolicy sequential\n{options}\n}}");
            let got = ask(&lines);
            assert!(got.contains(want), "{lines}: {got}");
        };
        check(&[&good], "", "7");
        check(&[&silent, &good], "", "7");
        check(&[&silent], "", "HTTP status 503");
        check(&[&silent], "fallthrough", PASSED);
        check(&[&good], "except a.example.org", PASSED);
        let nxdomain = Secure::http(None, answering(3, 0));
        check(&[&nxdomain, &good], "", "NXDOMAIN");
        check(&[&nxdomain], "fallthrough", PASSED);
        check(&[&nxdomain], "fallthrough org", PASSED);
        check(&[&nxdomain], "fallthrough com", "NXDOMAIN");
        assert_eq!(ask(&format!("grpc com {}", good.addr)), PASSED);
    }

    #[test]
    fn tls_is_spoken_where_it_is_asked_for() {
        let authority = Authority::new();
        let config = authority.config(&["dns.example"]);
        let secure = Secure::http(Some(config), answering(0, 7));
        let ca = authority.ca_file();
        let lines = format!(
            "grpc . {} {{\ntls {ca}\ntls_servername dns.example\n}}",
            secure.addr
        );
        assert_eq!(ask(&lines), "7");
        let lines = format!("grpc . {} {{\ntls {ca}\n}}", secure.addr);
        let got = ask(&lines);
        assert!(got.contains("failed to verify certificate"), "{got}");
    }
}
