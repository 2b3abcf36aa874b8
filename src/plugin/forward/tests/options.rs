//! Every option of *forward* and every error.

use std::time::Duration;

use super::directive;
use crate::plugin::forward::*;
use crate::testing::directive::{set_up, set_up_error};
use crate::upstream::fake::{Fake, failing, reply};

fn line(lines: &str) -> Line {
    let directive = set_up::<Forward>("forward", lines).unwrap();
    assert!(directive.settings.any_class);
    let config = Arc::try_unwrap(directive.config)
        .map_err(|_| "shared")
        .unwrap();
    config.into_iter().next().unwrap()
}

#[test]
fn defaults() {
    let line = line("forward . 127.0.0.1");
    assert_eq!(line.scope.from.as_str(), ".");
    assert_eq!(line.upstreams[0].to(), "127.0.0.1:53");
    assert!(matches!(line.policy, Policy::Random));
    assert_eq!(
        (line.fails_max, line.attempts_max, line.concurrent_max),
        (2, 2, 0)
    );
    assert!(!line.force_tcp && !line.prefer_udp && !line.failfast && !line.next_on_nodata);
    assert_eq!(line.sockets.expire, Duration::from_secs(10));
    assert_eq!(line.sockets.max_age, Duration::ZERO);
    assert_eq!(line.sockets.read_timeout, Duration::from_secs(2));
    assert_eq!(line.probe.interval, Duration::from_millis(500));
    assert!(line.probe.recursion_desired);
    assert_eq!(line.probe.domain.to_string(), ".");
}

#[test]
fn options() {
    let line = line(
        "forward Example.org:53 127.0.0.1 dns://[::1]:54 127.0.0.1 {
            except a.example.org 10.0.0.0/8
            except b.example.org
            force_tcp
            prefer_udp
            expire 20s
            max_age 1m
            max_idle_conns 7
            read_timeout 1s
            max_fails 0
            max_connect_attempts 9
            policy sequential
            health_check 1s no_rec domain Example.COM
            max_concurrent 100
            next NXDOMAIN refused
            next_on_nodata
            failover SERVFAIL
            failfast_all_unhealthy_upstreams
            resolver 127.0.0.1 127.0.0.1:54
        }",
    );
    assert_eq!(line.scope.from.as_str(), "example.org.");
    let to: Vec<_> = line
        .upstreams
        .iter()
        .map(|upstream| upstream.to())
        .collect();
    assert_eq!(to, ["127.0.0.1:53", "[::1]:54"]);
    let except: Vec<_> = line.scope.except.iter().map(|zone| zone.as_str()).collect();
    assert_eq!(
        except,
        ["a.example.org.", "10.in-addr.arpa.", "b.example.org."]
    );
    assert!(line.force_tcp && line.prefer_udp && line.failfast && line.next_on_nodata);
    assert_eq!(
        (line.fails_max, line.attempts_max, line.concurrent_max),
        (0, 9, 100)
    );
    assert!(matches!(line.policy, Policy::Sequential));
    assert_eq!(line.next, [Rcode::NXDOMAIN, Rcode::REFUSED]);
    assert_eq!(line.failover, [Rcode::SERVFAIL]);
    assert_eq!(line.sockets.expire, Duration::from_secs(20));
    assert_eq!(line.sockets.max_age, Duration::from_secs(60));
    assert_eq!(line.sockets.max_idle, 7);
    assert_eq!(line.sockets.read_timeout, Duration::from_secs(1));
    assert_eq!(line.probe.interval, Duration::from_secs(1));
    assert!(!line.probe.recursion_desired);
    assert_eq!(line.probe.domain.to_string(), "example.com.");
}

#[cfg(feature = "kube-api")]
#[test]
fn upstreams_over_tls_and_https() {
    use crate::upstream::{Method, Transport};

    let authority = crate::testing::authority::Authority::new();
    let ca = authority.ca_file();
    let name = |lines: &str| {
        let line = line(lines);
        let of = |upstream: &Arc<Health>| {
            let to = upstream.endpoint();
            let tls = to.tls.as_ref();
            let name = tls.map(|tls| tls.name().to_str().into_owned());
            (
                upstream.to().to_owned(),
                to.transport,
                name.unwrap_or_default(),
            )
        };
        line.upstreams.iter().map(of).collect::<Vec<_>>()
    };
    let lines = format!(
        "forward . tls://192.0.2.1 tls://192.0.2.1%a.example 192.0.2.1 https://192.0.2.1 tls://192.0.2.1 {{
            tls {ca}
            doh_method GET
        }}"
    );
    let post = Transport::Https(Method::Post);
    let get = Transport::Https(Method::Get);
    let row = |to: &str, transport, name: &str| (to.to_owned(), transport, name.to_owned());
    assert_eq!(
        name(&lines),
        [
            row("192.0.2.1:853", Transport::Tls, "192.0.2.1"),
            row("192.0.2.1:853", Transport::Tls, "a.example"),
            row("192.0.2.1:53", Transport::Dns, ""),
            row("192.0.2.1:443", get, "192.0.2.1"),
        ]
    );
    let lines = format!("forward . https://192.0.2.1 {{\ntls {ca}\ntls_servername dns.example\n}}");
    assert_eq!(name(&lines), [row("192.0.2.1:443", post, "dns.example")]);
}

#[test]
fn errors_name_the_option() {
    let check = |lines: &str, want: &str| {
        let error = set_up_error::<Forward>("forward", lines);
        assert!(error.contains(want), "{lines}: {error}");
        assert!(error.starts_with("Corefile:"), "{error}");
    };
    let option = |option: &str, want: &str| {
        check(&format!("forward . 127.0.0.1 {{\n{option}\n}}"), want);
    };
    check("forward", "Wrong argument count");
    check("forward .", "Wrong argument count");
    check("forward a..b 127.0.0.1", "unable to normalize 'a..b'");
    check(
        "forward . https://9.9.9.9/dns-query",
        "always /dns-query; remove it",
    );
    check(
        "forward . tls://9.9.9.9%a.b {\ntls_servername c.d\n}",
        "both forward ('c.d') and proxy level ('a.b') TLS servernames are set for upstream proxy '9.9.9.9:853'",
    );
    check(
        "forward . grpc://9.9.9.9",
        "not supported as a destination protocol in forward",
    );
    check("forward . /none", "not an IP address or file: \"/none\"");
    check("forward . /dev/null", "no nameservers found");
    let many = (1..=16)
        .map(|n| format!(" 127.0.0.{n}"))
        .collect::<String>();
    check(
        &format!("forward .{many}"),
        "more than 15 TOs configured: 16",
    );
    option("nonsense", "unknown property 'nonsense'");
    option("except", "Wrong argument count");
    option("force_tcp x", "Wrong argument count");
    option("prefer_udp x", "Wrong argument count");
    option("expire", "Wrong argument count");
    option("expire 5", "missing unit in duration");
    option("expire -1s", "expire can't be negative: -1s");
    option("max_age -1s", "max_age can't be negative: -1s");
    option(
        "max_age 5s",
        "max_age (5s) must not be less than expire (10s)",
    );
    option("max_idle_conns -1", "max_idle_conns can't be negative: -1");
    option(
        "max_idle_conns x",
        "strconv.Atoi: parsing \"x\": invalid syntax",
    );
    option("read_timeout 0s", "read_timeout must be greater than 0");
    option(
        "max_fails -1",
        "strconv.ParseUint: parsing \"-1\": invalid syntax",
    );
    option("max_fails 4294967296", "value out of range");
    option("max_connect_attempts x", "strconv.ParseUint");
    option("policy fastest", "unknown policy 'fastest'");
    option("health_check", "Wrong argument count");
    option(
        "health_check -1s",
        "health_check can't be negative: -1000000000",
    );
    option("health_check 1s rec", "health_check: unknown option rec");
    option("health_check 1s domain", "Wrong argument count");
    option(
        "health_check 1s domain a..b",
        "health_check: invalid domain name a..b",
    );
    option("max_concurrent -5", "max_concurrent can't be negative: -5");
    option("next", "Wrong argument count");
    option("next NOPE", "NOPE is not a valid rcode");
    option("failover NOERROR", "NoError cannot be used in failover");
    option("failover", "Wrong argument count");
    option("next_on_nodata x", "Wrong argument count");
    option("failfast_all_unhealthy_upstreams x", "Wrong argument count");
    option("source_address x", "source_address: invalid IP address");
    option("source_address ::1", "of another family");
    option("resolver ns.example.org", "resolver: not an IP address");
    option("tls a b c d", "Wrong argument count");
    option("tls_servername", "Wrong argument count");
    option(
        "tls_servername a..b",
        "not a server name that TLS knows: \"a..b\"",
    );
    option("doh_method", "Wrong argument count");
    option(
        "doh_method PUT",
        "unknown doh_method 'PUT': it is GET or POST",
    );
    check(
        "forward . tls://9.9.9.9 {\ntls /no/ca\n}",
        "open /no/ca: no such file",
    );
}

#[test]
fn hosts_are_resolved_once() {
    let fake = Fake::udp(|_, query: &[u8]| {
        let is_a = query[query.len() - 3] == 1;
        vec![reply(query, 0, 0, is_a.then_some([192, 0, 2, 9]))]
    });
    let directive = directive("forward . ns.example.org:54 {\nresolver $0\n}", &[&fake]);
    assert_eq!(directive.config[0].upstreams[0].to(), "192.0.2.9:54");
    let none = Fake::udp(failing(3));
    let lines = format!("forward . ns.example.org {{\nresolver {}\n}}", none.addr);
    let error = set_up_error::<Forward>("forward", &lines);
    assert!(
        error.contains("failed to resolve \"ns.example.org\": no addresses found"),
        "{error}"
    );
}
