//! Points in time as Kubernetes writes them (RFC 3339).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `2026-11-26T23:08:20.123456Z`, or with an offset instead of the Z. Nothing before 1970.
pub(super) fn parse(text: &str) -> Option<SystemTime> {
    let (date, time) = text.split_once(['T', 't'])?;
    let mut date = date.splitn(3, '-').map(digits);
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let (time, offset_s) = split_zone(time)?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, ""));
    let mut time = time.splitn(3, ':').map(digits);
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    let is_real = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !is_real {
        return None;
    }
    let seconds = days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - offset_s;
    let whole = Duration::from_secs(u64::try_from(seconds).ok()?);
    UNIX_EPOCH.checked_add(whole + Duration::from_nanos(nanoseconds(fraction)?))
}

/// The time of day and how many seconds it is ahead of UTC.
fn split_zone(time: &str) -> Option<(&str, i64)> {
    if let Some(time) = time.strip_suffix(['Z', 'z']) {
        return Some((time, 0));
    }
    let at = time.rfind(['+', '-'])?;
    let (time, zone) = time.split_at(at);
    let (hours, minutes) = zone[1..].split_once(':')?;
    let ahead = digits(hours)? * 3_600 + digits(minutes)? * 60;
    Some((time, if zone.starts_with('-') { -ahead } else { ahead }))
}

/// Days since 1970-01-01 in the Gregorian calendar. Years begin in March, so that the day that some of them have more is their last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = match month {
        1 | 2 => (year - 1, month + 9),
        _ => (year, month - 3),
    };
    let leap_days = year / 4 - year / 100 + year / 400;
    // Five months of 31, 30, 31, 30, 31 days have 153.
    year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - DAYS_TO_1970
}

fn nanoseconds(fraction: &str) -> Option<u64> {
    if fraction.is_empty() {
        return Some(0);
    }
    let shown = fraction.get(..fraction.len().min(9))?;
    let scale = 10u64.pow(9 - shown.len() as u32);
    Some(digits(shown)? as u64 * scale)
}

/// A number of digits alone: no sign, no blanks, nine at most.
fn digits(text: &str) -> Option<i64> {
    let is_number =
        (1..=9).contains(&text.len()) && text.bytes().all(|octet| octet.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

/// Days from the first of March of the year 0 to 1970-01-01.
const DAYS_TO_1970: i64 = 719_468;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_in_time() {
        for (text, ns) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:00:00Z", 951_825_600_000_000_000),
            ("2026-11-26T23:08:20Z", 1_795_734_500_000_000_000),
            ("2026-11-26T23:08:20.5Z", 1_795_734_500_500_000_000),
            ("2026-11-26t23:08:20.000000001z", 1_795_734_500_000_000_001),
            ("2026-11-27T01:08:20+02:00", 1_795_734_500_000_000_000),
            ("2026-11-26T15:38:20-07:30", 1_795_734_500_000_000_000),
        ] {
            let since = parse(text).map(|time| time.duration_since(UNIX_EPOCH).unwrap());
            assert_eq!(since, Some(Duration::from_nanos(ns)), "{text}");
        }
    }

    #[test]
    fn what_is_none() {
        for text in [
            "",
            "now",
            "2026-11-26",
            "2026-11-26T23:08:20",
            "2026-13-26T23:08:20Z",
            "2026-11-26T24:08:20Z",
            "2026-11-26T23:08Z",
            "-026-11-26T23:08:20Z",
            "1969-12-31T23:59:59Z",
            "2026-11-26T23:08:20.é123456789Z",
            "2026-11-26T23:08:20+é0:00",
            "99999999999999999999-01-01T00:00:00Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
