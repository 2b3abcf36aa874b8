//! Table cases of Go's own behaviour, and the round trip.

use proptest::prelude::*;

use super::*;

fn check(text: &str, nanos: i64) {
    assert_eq!(parse(text), Ok(GoDuration(nanos)), "{text}");
}

fn check_error(text: &str, expect: &str) {
    assert_eq!(parse(text), Err(expect.to_string()), "{text}");
}

#[test]
fn reads_what_go_reads() {
    let (ms, s, m, h) = (1_000_000, 1_000_000_000, 60_000_000_000, 3_600_000_000_000);
    check("0", 0);
    check("-0", 0);
    check("5s", 5 * s);
    check("+5s", 5 * s);
    check("-1s", -s);
    check("300ms", 300 * ms);
    check("1.5h", h + 30 * m);
    check("2h45m", 2 * h + 45 * m);
    check("5.s", 5 * s);
    check(".5s", s / 2);
    check("-.5s", -s / 2);
    check("1.004s", s + 4 * ms);
    check("12µs", 12_000);
    check("12μs", 12_000);
    check("12us", 12_000);
    check("1h2m3.5s", h + 2 * m + 3 * s + 500 * ms);
    check("3h30m", 3 * h + 30 * m);
    check("-2m3.4s", -(2 * m + 3 * s + 400 * ms));
    check("0.3333333333333333333h", 1_200_000_000_000);
    check("0.9223372036854775807ns", 0);
    check("9007199254740993ns", (1 << 53) + 1);
    check("9223372036854775807ns", i64::MAX);
    check("-9223372036854775808ns", i64::MIN);
    check("9223372036s854ms775us807ns", i64::MAX);
    check("0.100000000000000000000h", 6 * m);
    check("0.830103483285477580700h", 49 * m + 48 * s + 372_539_827);
}

#[test]
fn refuses_with_the_words_of_go() {
    check_error("", r#"time: invalid duration """#);
    check_error("x", r#"time: invalid duration "x""#);
    check_error("-", r#"time: invalid duration "-""#);
    check_error(".", r#"time: invalid duration ".""#);
    check_error("-.", r#"time: invalid duration "-.""#);
    check_error(".s", r#"time: invalid duration ".s""#);
    check_error("+.s", r#"time: invalid duration "+.s""#);
    check_error("30", r#"time: missing unit in duration "30""#);
    check_error("1h30", r#"time: missing unit in duration "1h30""#);
    check_error("1d", r#"time: unknown unit "d" in duration "1d""#);
    check_error("1 s", r#"time: unknown unit " s" in duration "1 s""#);
    check_error("\"1s", r#"time: invalid duration "\"1s""#);
    check_error(
        "9223372036854775808ns",
        r#"time: invalid duration "9223372036854775808ns""#,
    );
    check_error(
        "-9223372036854775809ns",
        r#"time: invalid duration "-9223372036854775809ns""#,
    );
    check_error("3000000h", r#"time: invalid duration "3000000h""#);
    check_error(
        "9223372036854775808h9223372036854775808h",
        r#"time: invalid duration "9223372036854775808h9223372036854775808h""#,
    );
    check_error("\u{85}85", r#"time: invalid duration "\xc2\x8585""#);
    check_error(
        "1ф",
        r#"time: unknown unit "\xd1\x84" in duration "1\xd1\x84""#,
    );
}

#[test]
fn writes_what_go_writes() {
    let check = |nanos: i64, expect: &str| assert_eq!(GoDuration(nanos).to_string(), expect);
    check(0, "0s");
    check(1, "1ns");
    check(1_100, "1.1µs");
    check(2_200_000, "2.2ms");
    check(500_000_000, "500ms");
    check(5_000_000_000, "5s");
    check(3_300_000_000, "3.3s");
    check(60_000_000_000, "1m0s");
    check(4 * 60_000_000_000 + 5_001_000_000, "4m5.001s");
    check(3_600_000_000_000, "1h0m0s");
    check(
        5 * 3_600_000_000_000 + 6 * 60_000_000_000 + 7_001_000_000,
        "5h6m7.001s",
    );
    check(8 * 60_000_000_000 + 1, "8m0.000000001s");
    check(-1_000_000_000, "-1s");
    check(i64::MAX, "2562047h47m16.854775807s");
    check(i64::MIN, "-2562047h47m16.854775808s");
}

#[test]
fn bare_integers_count_seconds_where_allowed() {
    assert_eq!(parse_seconds_or("30"), Ok(GoDuration::from_secs(30)));
    assert_eq!(parse_seconds_or("-1"), Ok(GoDuration::from_secs(-1)));
    assert_eq!(parse_seconds_or("1m"), Ok(GoDuration::from_secs(60)));
    assert_eq!(
        parse_seconds_or("1.5"),
        Err("failed to parse duration".into())
    );
}

#[test]
fn positive_and_non_negative_bounds() {
    assert_eq!(parse_positive("1ms"), Ok(Duration::from_millis(1)));
    assert!(parse_positive("0s").is_err());
    assert!(parse_positive("-1s").is_err());
    assert_eq!(parse_non_negative("0"), Ok(Duration::ZERO));
    assert!(parse_non_negative("-1s").is_err());
}

#[test]
fn seconds_keep_nanoseconds() {
    assert_eq!(
        format!("{}s", GoDuration(37_990_251).seconds()),
        "0.037990251s"
    );
    assert_eq!(GoDuration(-1_500_000_000).seconds(), -1.5);
}

proptest! {
    #[test]
    fn any_text_gives_a_value_or_an_error(text in ".*") {
        let _ = parse(&text);
        let _ = parse_seconds_or(&text);
    }

    #[test]
    fn any_shape_gives_a_value_or_an_error(text in "[-+]?([0-9]{0,25}(\\.[0-9]{0,25})?(ns|us|µs|ms|s|m|h|d|)){0,4}") {
        let _ = parse(&text);
    }

    #[test]
    fn text_of_a_value_reads_back(nanos in any::<i64>()) {
        prop_assert_eq!(parse(&GoDuration(nanos).to_string()), Ok(GoDuration(nanos)));
    }
}
