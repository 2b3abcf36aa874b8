//! Tests of *forward*: dialogues with scripted upstreams, and every option.

mod options;

use std::num::NonZeroU64;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::*;
use crate::plugin::{AnyPlugin, Chain, Proto, drive};
use crate::runtime::{self, Backend, block_on, clock};
use crate::testing::directive::{Directive, query, set_up};
use crate::upstream::fake::{Alone, Fake, answering, failing, outcome, reply, silent};
use crate::wire::{flag, types};

/// Sets the lines up; `$0`, `$1`... stand for the upstreams.
fn directive(lines: &str, fakes: &[&Fake]) -> Directive<Forward> {
    let mut lines = lines.to_owned();
    for (nth, fake) in fakes.iter().enumerate() {
        lines = lines.replace(&format!("${nth}"), &fake.addr.to_string());
    }
    set_up("forward", &lines).unwrap()
}

async fn serve(chain: &Rc<Chain>, query: &mut Query) {
    query.now_ns = clock::now_ns();
    let at = chain.run(query);
    drive(Rc::new(Alone), chain.clone(), query, at).await;
}

fn chain(directive: &Directive<Forward>) -> Rc<Chain> {
    Rc::new(Chain::new(vec![AnyPlugin::Forward(
        directive.open(&["forward"]),
    )]))
}

fn run<T: 'static>(main: impl Future<Output = T> + 'static) -> T {
    block_on(Backend::Epoll, main).unwrap()
}

/// The outcomes of these names in turn.
fn dialogue(lines: &str, fakes: &[&Fake], names: &[&str]) -> Vec<String> {
    let directive = directive(lines, fakes);
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    run(async move {
        let chain = chain(&directive);
        let mut outcomes = Vec::new();
        for name in names {
            let mut query = query(&name, types::A);
            serve(&chain, &mut query).await;
            outcomes.push(outcome(&query));
        }
        outcomes
    })
}

// === dialogues ===

#[test]
fn the_reply_is_the_upstreams() {
    let fake = Fake::udp(|_, query: &[u8]| {
        vec![reply(
            query,
            flag::AA | flag::AD | flag::RA,
            0,
            Some([192, 0, 2, 7]),
        )]
    });
    let directive = directive("forward . $0", &[&fake]);
    run(async move {
        let mut query = query("wWw.Example.org.", types::A);
        query.meta.enabled = true;
        serve(&chain(&directive), &mut query).await;
        assert_eq!(outcome(&query), "7");
        assert_eq!(query.writer, "forward");
        let flags = flag::AA | flag::AD | flag::RA | flag::RD;
        assert_eq!(query.reply.flags, flags);
        let owner = query.reply.owner(&query.reply.records()[0]);
        assert_eq!(owner, b"\x03wWw\x07Example\x03org\0");
        let to = directive.config[0].upstreams[0].to();
        assert_eq!(query.meta.find("forward/upstream"), Some(to));
    });
}

#[test]
fn names_outside_and_excepted_names_pass() {
    let fake = Fake::udp(answering(1));
    let names = [
        "example.org.",
        "a.example.org.",
        "x.a.example.org.",
        "b.example.org.",
        "example.com.",
    ];
    let pass = "SERVFAIL: plugin/forward: no next plugin found";
    let lines = "forward example.org $0 {\nexcept a.example.org example.org\n}";
    assert_eq!(
        dialogue(lines, &[&fake], &names),
        ["1", pass, pass, pass, pass]
    );
    let lines = "forward example.org $0 {\nexcept a.example.org\n}";
    assert_eq!(
        dialogue(lines, &[&fake], &names),
        ["1", pass, pass, "1", pass]
    );
}

#[test]
fn one_dead_upstream_of_three_is_passed_over() {
    let (good, other) = (Fake::udp(answering(1)), Fake::udp(answering(2)));
    let dead = Fake::udp(silent()).addr;
    let lines = format!("forward . {dead} $0 $1 {{\npolicy round_robin\nhealth_check 10ms\n}}");
    let names = ["a."; 9];
    let outcomes = dialogue(&lines, &[&good, &other], &names);
    assert!(
        outcomes
            .iter()
            .all(|outcome| outcome == "1" || outcome == "2"),
        "{outcomes:?}"
    );
}

#[test]
fn all_dead_is_servfail_with_the_last_error() {
    let dead = [Fake::udp(silent()).addr, Fake::udp(silent()).addr];
    let lines = format!("forward . {} {}", dead[0], dead[1]);
    let outcomes = dialogue(&lines, &[], &["a."]);
    assert!(
        outcomes[0].starts_with("SERVFAIL: read udp 127.0.0.1:"),
        "{outcomes:?}"
    );
    assert!(
        outcomes[0].ends_with("read: connection refused"),
        "{outcomes:?}"
    );
}

#[test]
fn a_stalling_upstream_costs_its_attempts_and_no_more() {
    let stalled = Fake::udp(silent());
    let start = Instant::now();
    let lines = "forward . $0 {\nread_timeout 100ms\nmax_connect_attempts 3\nmax_fails 0\n}";
    let outcomes = dialogue(lines, &[&stalled], &["a."]);
    assert!(outcomes[0].ends_with("i/o timeout"), "{outcomes:?}");
    assert!(start.elapsed() >= Duration::from_millis(290));
    assert!(start.elapsed() < Duration::from_secs(2));
    assert_eq!(stalled.seen(), 3);
}

#[test]
fn the_deadline_of_cancel_is_kept() {
    let stalled = Fake::udp(silent());
    let directive = directive("forward . $0 {\nmax_connect_attempts 0\n}", &[&stalled]);
    let start = Instant::now();
    run(async move {
        let mut query = query("a.", types::A);
        query.deadline_ns = NonZeroU64::new(clock::now_ns() + 200_000_000);
        serve(&chain(&directive), &mut query).await;
        assert!(outcome(&query).ends_with("i/o timeout"));
    });
    assert!(start.elapsed() < Duration::from_millis(900));
}

#[test]
fn a_closed_port_does_not_spin_until_the_deadline() {
    let dead = Fake::udp(silent()).addr;
    let directive = directive(
        &format!("forward . {dead} {{\nmax_connect_attempts 0\n}}"),
        &[],
    );
    run(async move {
        let mut query = query("a.", types::A);
        query.deadline_ns = NonZeroU64::new(clock::now_ns() + 100_000_000);
        serve(&chain(&directive), &mut query).await;
        assert!(outcome(&query).ends_with("connection refused"));
    });
}

/// Waits until the probes of all upstreams have failed more than twice.
async fn until_down(line: &Line) {
    for _ in 0..500 {
        if line.upstreams.iter().all(|upstream| upstream.is_down(2)) {
            return;
        }
        runtime::sleep(Duration::from_millis(10)).await;
    }
    panic!("never down");
}

#[test]
fn all_down_fails_fast_or_tries_any() {
    let dead = Fake::udp(silent()).addr;
    for (option, want) in [
        (
            "failfast_all_unhealthy_upstreams",
            "SERVFAIL: no healthy proxies",
        ),
        ("prefer_udp", "connection refused"),
    ] {
        let lines = format!("forward . {dead} {{\nhealth_check 10ms\n{option}\n}}");
        let directive = directive(&lines, &[]);
        run(async move {
            let chain = chain(&directive);
            serve(&chain, &mut query("a.", types::A)).await;
            until_down(&directive.config[0]).await;
            let mut query = query("a.", types::A);
            serve(&chain, &mut query).await;
            assert!(outcome(&query).ends_with(want), "{}", outcome(&query));
        });
    }
}

#[test]
fn an_upstream_that_comes_back_is_used_again() {
    let addr = Fake::udp(silent()).addr;
    let directive = directive(
        &format!("forward . {addr} {{\nhealth_check 10ms\nfailfast_all_unhealthy_upstreams\n}}"),
        &[],
    );
    run(async move {
        let chain = chain(&directive);
        serve(&chain, &mut query("a.", types::A)).await;
        until_down(&directive.config[0]).await;
        let back = Fake::udp_at(addr, answering(5));
        for _ in 0..300 {
            if !directive.config[0].upstreams[0].is_down(2) {
                break;
            }
            runtime::sleep(Duration::from_millis(10)).await;
        }
        let mut query = query("a.", types::A);
        serve(&chain, &mut query).await;
        assert_eq!(outcome(&query), "5");
        drop(back);
    });
}

#[test]
fn truncated_replies_go_to_the_client_or_to_tcp() {
    let cut = |_: usize, query: &[u8]| vec![reply(query, flag::TC, 0, None)];
    let udp = Fake::udp(cut);
    let directive = directive("forward . $0", &[&udp]);
    run(async move {
        let mut query = query("a.", types::A);
        serve(&chain(&directive), &mut query).await;
        assert!(query.reply.has_flag(flag::TC));
        assert_eq!(outcome(&query), "NOERROR");
    });
}

#[test]
fn clients_that_cannot_come_back_over_tcp_get_whole_replies() {
    let cut = |_: usize, query: &[u8]| vec![reply(query, flag::TC, 0, None)];
    // Where no connection of another test has taken the port.
    let udp = Fake::udp_at("127.0.0.53:0".parse().unwrap(), cut);
    let tcp = Fake::tcp_at(udp.addr, answering(3));
    let directive = directive("forward . $0", &[&udp]);
    run(async move {
        for (proto, want) in [
            (Proto::Udp, "NOERROR"),
            (Proto::Quic, "3"),
            (Proto::Https3, "3"),
        ] {
            let mut query = query("a.", types::A);
            query.proto = proto;
            serve(&chain(&directive), &mut query).await;
            assert_eq!(outcome(&query), want, "{proto:?}");
        }
        drop(tcp);
    });
}

#[cfg(feature = "kube-api")]
#[test]
fn upstreams_over_tls_fail_over_and_come_back() {
    use crate::upstream::fake_tls::{Act, Secure};

    let authority = crate::testing::authority::Authority::new();
    let answers = |last: u8| {
        move |_: usize, query: &[u8]| Act::Send(vec![reply(query, 0, 0, Some([192, 0, 2, last]))])
    };
    let config = || authority.config(&["127.0.0.1"]);
    let (first, second) = (
        Secure::tls(config(), answers(1)),
        Secure::tls(config(), answers(2)),
    );
    let lines = format!(
        "forward . tls://{} tls://{} {{\ntls {}\npolicy sequential\nhealth_check 10ms\n}}",
        first.addr,
        second.addr,
        authority.ca_file()
    );
    let directive = directive(&lines, &[]);
    let (addr, back) = (first.addr, config());
    run(async move {
        let chain = chain(&directive);
        let ask = async || {
            let mut query = query("a.", types::A);
            serve(&chain, &mut query).await;
            outcome(&query)
        };
        assert_eq!(ask().await, "1");
        drop(first);
        for _ in 0..20 {
            assert_eq!(ask().await, "2");
        }
        let upstream = &directive.config[0].upstreams[0];
        while !upstream.is_down(2) {
            runtime::sleep(Duration::from_millis(10)).await;
        }
        let again = Secure::tls_at(addr, back, answers(3));
        while upstream.is_down(2) {
            runtime::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(ask().await, "3");
        drop((again, second));
    });
}

#[test]
fn the_protocol_is_the_clients_unless_an_option_says_otherwise() {
    let (udp, tcp) = (Fake::udp(answering(1)), Fake::tcp(answering(2)));
    let ask = |to: &Fake, options: &str, proto: Proto| {
        let options = options.to_owned();
        let directive = directive(
            &format!("forward . $0 {{\n{options}\nmax_fails 0\n}}"),
            &[to],
        );
        run(async move {
            let mut query = query("a.", types::A);
            query.proto = proto;
            serve(&chain(&directive), &mut query).await;
            outcome(&query)
        })
    };
    assert_eq!(ask(&udp, "", Proto::Udp), "1");
    assert_eq!(ask(&tcp, "", Proto::Tcp), "2");
    assert_eq!(ask(&tcp, "force_tcp", Proto::Udp), "2");
    assert_eq!(ask(&udp, "prefer_udp", Proto::Tcp), "1");
    assert_eq!(ask(&tcp, "force_tcp\nprefer_udp", Proto::Udp), "2");
    assert!(ask(&tcp, "", Proto::Udp).ends_with("connection refused"));
}

#[test]
fn too_many_at_once_are_refused() {
    let slow = Fake::udp(silent());
    let lines = "forward . $0 {\nmax_concurrent 2\nread_timeout 300ms\nmax_connect_attempts 1\n}";
    let directive = directive(lines, &[&slow]);
    run(async move {
        let chain = chain(&directive);
        for _ in 0..2 {
            let chain = chain.clone();
            runtime::spawn(async move { serve(&chain, &mut query("a.", types::A)).await });
        }
        runtime::sleep(Duration::from_millis(50)).await;
        let mut third = query("b.", types::A);
        serve(&chain, &mut third).await;
        assert_eq!(
            outcome(&third),
            "REFUSED: concurrent queries exceeded maximum 2"
        );
        runtime::sleep(Duration::from_millis(500)).await;
        let mut fourth = query("b.", types::A);
        serve(&chain, &mut fourth).await;
        assert!(outcome(&fourth).ends_with("i/o timeout"));
        assert_eq!(directive.config[0].concurrent.load(Ordering::Relaxed), 0);
    });
}

#[test]
fn failover_returns_the_last_reply() {
    let (servfail, refused, good) = (
        Fake::udp(failing(2)),
        Fake::udp(failing(5)),
        Fake::udp(answering(1)),
    );
    let check = |lines: &str, fakes: &[&Fake], want: &str| {
        let lines = format!("forward . {lines}\npolicy sequential\nhealth_check 10ms\n}}");
        assert_eq!(dialogue(&lines, fakes, &["a."]), [want], "{lines}");
    };
    check("$0 $1 {\n", &[&servfail, &good], "SERVFAIL");
    check("$0 $1 {\nfailover SERVFAIL", &[&servfail, &good], "1");
    check(
        "$0 $1 {\nfailover SERVFAIL REFUSED",
        &[&servfail, &refused],
        "REFUSED",
    );
    check(
        "$0 $1 {\nfailover REFUSED",
        &[&servfail, &refused],
        "SERVFAIL",
    );
    // The second is dead: the reply that there was is returned.
    let dead = Fake::udp(silent()).addr;
    check(
        &format!("$0 {dead} {{\nfailover SERVFAIL\nmax_connect_attempts 1"),
        &[&servfail],
        "SERVFAIL",
    );
}

#[test]
fn next_goes_to_the_next_line_only() {
    let (nxdomain, empty, good) = (
        Fake::udp(failing(3)),
        Fake::udp(failing(0)),
        Fake::udp(answering(1)),
    );
    let check = |lines: &str, fakes: &[&Fake], want: &str| {
        assert_eq!(
            dialogue(lines, fakes, &["a.example.org."]),
            [want],
            "{lines}"
        );
    };
    check(
        "forward . $0 {\nnext NXDOMAIN\n}\nforward . $1",
        &[&nxdomain, &good],
        "1",
    );
    check(
        "forward . $0 {\nnext REFUSED\n}\nforward . $1",
        &[&nxdomain, &good],
        "NXDOMAIN",
    );
    check("forward . $0 {\nnext NXDOMAIN\n}", &[&nxdomain], "NXDOMAIN");
    check(
        "forward . $0 {\nnext_on_nodata\n}\nforward . $1",
        &[&empty, &good],
        "1",
    );
    check("forward . $0\nforward . $1", &[&empty, &good], "NOERROR");
    // The next line is for other names: the query leaves the plugin.
    check(
        "forward . $0 {\nnext NXDOMAIN\n}\nforward example.com $1",
        &[&nxdomain, &good],
        "SERVFAIL: plugin/forward: no next plugin found",
    );
    check(
        "forward example.com $0\nforward org $1\nforward . $0",
        &[&nxdomain, &good],
        "1",
    );
}

#[test]
fn a_query_that_waits_is_small() {
    let fake = Fake::udp(silent());
    let directive = directive("forward . $0", &[&fake]);
    run(async move {
        let chain = chain(&directive);
        let mut query = query("www.example.org.", types::A).leave();
        let forward = directive.open(&["forward"]);
        let cx_size = {
            let at = chain.run(&mut query);
            size_of_val(&drive(Rc::new(Alone), chain.clone(), &mut query, at))
        };
        // Thousands of these may wait on a core: `limits::PARKED_PER_CORE`.
        assert!(cx_size <= 96, "a chain that waits takes {cx_size} octets");
        let cx = TaskCx::new(Rc::new(Alone), chain.clone(), 0);
        let own = size_of_val(&forward.ask(0, &mut query, &cx));
        assert!(own <= 352, "an exchange that waits takes {own} octets");
        assert!(size_of::<Query>() <= 384, "{}", size_of::<Query>());
    });
}

// === with a fake clock ===

/// Milliseconds that one query takes with upstreams that never answer, and its outcome.
fn stalled(options: &str) -> (u64, String) {
    let fakes = [Fake::udp(silent()), Fake::udp(silent())];
    let directive = directive(
        &format!("forward . $0 $1 {{\n{options}\n}}"),
        &[&fakes[0], &fakes[1]],
    );
    run(async move {
        let clock = clock::fake::FakeClock::start();
        let chain = chain(&directive);
        let mut query = query("a.", types::A);
        let start = clock::now_ns();
        serve(&chain, &mut query).await;
        let took = (clock::now_ns() - start) / clock::MILLISECOND;
        drop(clock);
        (took, outcome(&query))
    })
}

#[test]
fn no_query_takes_longer_than_five_seconds() {
    let check = |options: &str, want: u64| {
        let (took, outcome) = stalled(options);
        assert_eq!(took, want, "{options}");
        assert!(outcome.starts_with("SERVFAIL: read udp"), "{outcome}");
        assert!(outcome.ends_with("i/o timeout"), "{outcome}");
    };
    // Four attempts of two seconds would be eight.
    check("max_fails 0", 5_000);
    check("max_fails 0\nmax_connect_attempts 2", 4_000);
    check("max_fails 0\nread_timeout 1m", 5_000);
    check(
        "max_fails 0\nread_timeout 700ms\nmax_connect_attempts 0",
        5_000,
    );
}
