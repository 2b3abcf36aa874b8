//! What the Corefile may say.

use super::super::*;
use crate::testing::directive::{set_up, set_up_error};

fn config(lines: &str) -> Arc<Config> {
    set_up::<Cache>("cache", lines)
        .unwrap_or_else(|error| panic!("{lines}: {error}"))
        .config
}

#[test]
fn ttls_capacities_and_zones() {
    let check =
        |lines: &str, success: (usize, u32, u32), denial: (usize, u32, u32), zones: &str| {
            let config = config(lines);
            let limits = |limits: &Limits| (limits.capacity, limits.ttl_max_s, limits.ttl_min_s);
            assert_eq!(
                (limits(&config.success), limits(&config.denial)),
                (success, denial),
                "{lines}"
            );
            assert_eq!(metrics::zones_label(&config.zones), zones, "{lines}");
        };
    let (success, denial) = ((9984, 3600, 5), (9984, 1800, 5));
    check("cache", success, denial, ".");
    check("cache 30", (9984, 30, 5), (9984, 30, 5), ".");
    check(
        "cache example.org 10.0.0.0/8",
        success,
        denial,
        "example.org.,10.in-addr.arpa.",
    );
    check(
        "cache 86400 example.org",
        (9984, 86400, 5),
        (9984, 86400, 5),
        "example.org.",
    );
    check(
        "cache {\nsuccess 200000 7200 0\ndenial 50000 300 10\n}",
        (200_000, 7200, 0),
        (50_000, 300, 10),
        ".",
    );
    check(
        "cache 60 {\nsuccess 5000\n}",
        (5000, 60, 5),
        (9984, 60, 5),
        ".",
    );
    check("cache {\ndenial 1 20\n}", success, (1024, 20, 5), ".");
}

#[test]
fn prefetch_stale_and_the_rest() {
    let prefetch = |words: &str| config(&format!("cache {{\nprefetch {words}\n}}")).prefetch;
    let make = |amount, gap_s: u64, percent| {
        Some(Prefetch {
            amount,
            gap_ns: gap_s * 1_000_000_000,
            percent,
        })
    };
    assert_eq!(prefetch("10"), make(10, 60, 10));
    assert_eq!(prefetch("10 2m 25%"), make(10, 120, 25));
    assert_eq!(prefetch("0"), None);

    let stale = |words: &str| config(&format!("cache {{\nserve_stale {words}\n}}")).stale;
    let make = |up_to_s, verify_ms: Option<u64>, reply_ttl_s, recheck_s: u64| {
        let verify_ns = verify_ms.map(|ms| ms * 1_000_000);
        Some(Stale {
            up_to_s,
            verify_ns,
            reply_ttl_s,
            recheck_ns: recheck_s * 1_000_000_000,
        })
    };
    assert_eq!(stale(""), make(3600, None, 0, 0));
    assert_eq!(stale("2h"), make(7200, None, 0, 0));
    assert_eq!(stale("1h IMMEDIATE 30s 10s"), make(3600, None, 30, 10));
    assert_eq!(stale("1h verify"), make(3600, Some(0), 0, 0));
    assert_eq!(
        stale("1h verify 100ms 30s 5m"),
        make(3600, Some(100), 30, 300)
    );
    assert_eq!(stale("0s"), None);

    assert_eq!(config("cache").servfail_ttl_s, 5);
    assert_eq!(config("cache {\nservfail 0\n}").servfail_ttl_s, 0);
    assert_eq!(config("cache {\nservfail 5m\n}").servfail_ttl_s, 300);
    assert!(config("cache {\nkeepttl\n}").keep_ttl);
    assert!(config("cache {\nserve_stale\nserve_stale_policy prefer_positive\n}").prefer_positive);
    let disabled = config("cache {\ndisable success cluster.local\ndisable denial\n}");
    assert_eq!(
        metrics::zones_label(&disabled.success.disabled),
        "cluster.local."
    );
    assert_eq!(metrics::zones_label(&disabled.denial.disabled), ".");
}

#[test]
fn what_is_refused() {
    let check = |lines: &str, want: &str| {
        let error = set_up_error::<Cache>("cache", lines);
        assert!(error.contains(want), "{lines}: {error}");
    };
    let option = |option: &str, want: &str| check(&format!("cache {{\n{option}\n}}"), want);
    check("cache 0", "cache TTL can not be zero or negative: 0");
    check(
        "cache -1 example.org",
        "cache TTL can not be zero or negative: -1",
    );
    check(
        "cache\ncache",
        "this plugin can only be used once per Server Block",
    );
    option(
        "http 5",
        "Wrong argument count or unexpected line ending after 'http'",
    );
    option(
        "success",
        "Wrong argument count or unexpected line ending after 'success'",
    );
    option("success x", r#"strconv.Atoi: parsing "x": invalid syntax"#);
    option(
        "success 99999999999999999999",
        r#"parsing "99999999999999999999": value out of range"#,
    );
    option(
        "success 999999999999",
        "cache capacity 999999999999 is more than",
    );
    option("denial 10 0", "cache TTL can not be zero or negative: 0");
    option("denial 10 5 -1", "cache min TTL can not be negative: -1");
    option("prefetch", "Wrong argument count");
    option("prefetch 1 1m 10% x", "Wrong argument count");
    option("prefetch -1", "prefetch amount should be positive: -1");
    option("prefetch 1 5", "time: missing unit in duration");
    option(
        "prefetch 1 1m 10",
        "last character of percentage should be `%`, but is: '0'",
    );
    option(
        "prefetch 1 1m 9%",
        "percentage should fall in range [10, 90]: 9",
    );
    option(
        "serve_stale -1s",
        "invalid negative duration for serve_stale",
    );
    option(
        "serve_stale 1h later",
        "invalid value for serve_stale refresh mode: later",
    );
    option("serve_stale 1h immediate 1s 1s 1s", "Wrong argument count");
    option("serve_stale 1h verify 1s 1s 1s 1s", "Wrong argument count");
    option("serve_stale 1h immediate 1500ms", "whole number of seconds");
    option("serve_stale 1h immediate 1s 301s", "over 5 minutes");
    option("serve_stale_policy prefer_positive", "requires serve_stale");
    option(
        "serve_stale\nserve_stale_policy x",
        "invalid value for serve_stale_policy: x",
    );
    option(
        "serve_stale\nserve_stale_policy prefer_positive\nserve_stale_policy prefer_positive",
        "only be specified once",
    );
    option("servfail", "Wrong argument count");
    option("servfail -1s", "invalid negative ttl for servfail");
    option(
        "servfail 301s",
        "caching SERVFAIL responses over 5 minutes is not permitted",
    );
    option("disable", "Wrong argument count");
    option(
        "disable both",
        r#"cache type for disable must be "success" or "denial""#,
    );
    option("disable success a..b", "invalid disabled zone: a..b");
    option("keepttl 5", "Wrong argument count");
}
