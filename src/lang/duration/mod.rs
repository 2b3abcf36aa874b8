//! Go durations: the text that `time.ParseDuration` reads and `Duration.String` writes.
//!
//! Runs on: pure.
//!
//! **Invariant**: `parse(text)` accepts exactly what Go accepts; `parse(d.to_string())` gives `d` back.

use std::fmt;
use std::time::Duration;

/// A signed span of time in nanoseconds, as Go's `time.Duration`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GoDuration(pub i64);

// === impl GoDuration ===

impl GoDuration {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// The span of `seconds` whole seconds, held at the ends of the range.
    pub const fn from_secs(seconds: i64) -> Self {
        Self(seconds.saturating_mul(SECOND as i64))
    }

    /// The span of `millis` milliseconds, held at the ends of the range.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(MILLISECOND as i64))
    }

    /// Nanoseconds.
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// Seconds as Go's `Seconds()` computes them (whole part and fraction apart, so that rounding agrees).
    pub fn seconds(self) -> f64 {
        let (whole, rest) = (self.0 / SECOND as i64, self.0 % SECOND as i64);
        whole as f64 + rest as f64 / 1e9
    }

    /// The same span as a standard duration; none when it is negative.
    pub fn to_std(self) -> Option<Duration> {
        u64::try_from(self.0).ok().map(Duration::from_nanos)
    }
}

impl From<Duration> for GoDuration {
    /// Spans above 292 years are held at the largest value.
    fn from(span: Duration) -> Self {
        Self(i64::try_from(span.as_nanos()).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for GoDuration {
    /// Go's form: `1h15m30.918s`, `500ms`, `1m0s`, `0s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.unsigned_abs();
        if self.0 < 0 {
            f.write_str("-")?;
        }
        let (unit, name) = match nanos {
            0 => return f.write_str("0s"),
            1..MICROSECOND => (1, "ns"),
            MICROSECOND..MILLISECOND => (MICROSECOND, "µs"),
            MILLISECOND..SECOND => (MILLISECOND, "ms"),
            _ => return write_clock(f, nanos),
        };
        write_decimal(f, nanos, unit)?;
        f.write_str(name)
    }
}

// === parsing ===

/// Reads a duration as Go's `time.ParseDuration` does. The error is Go's own sentence.
pub fn parse(text: &str) -> Result<GoDuration, String> {
    let invalid = || format!("time: invalid duration {}", quote(text));
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(GoDuration::ZERO);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (whole, after) = leading_int(rest).ok_or_else(invalid)?;
        let mut digits = rest.len() - after.len();
        rest = after;
        let mut fraction = Fraction::NONE;
        if let Some(after) = rest.strip_prefix('.') {
            fraction = Fraction::read(after);
            digits += fraction.digits;
            rest = &after[fraction.digits..];
        }
        if digits == 0 {
            return Err(invalid());
        }
        let end = rest
            .find(|c: char| c == '.' || c.is_ascii_digit())
            .unwrap_or(rest.len());
        if end == 0 {
            return Err(format!("time: missing unit in duration {}", quote(text)));
        }
        let (name, after) = rest.split_at(end);
        let unit = unit_nanos(name).ok_or_else(|| {
            format!(
                "time: unknown unit {} in duration {}",
                quote(name),
                quote(text)
            )
        })?;
        let part = whole
            .checked_mul(unit)
            .filter(|n| *n <= MAGNITUDE_MAX)
            .ok_or_else(invalid)?;
        let part = part.checked_add(fraction.nanos(unit)).ok_or_else(invalid)?;
        total = total
            .checked_add(part)
            .filter(|n| *n <= MAGNITUDE_MAX)
            .ok_or_else(invalid)?;
        rest = after;
    }
    if negative {
        return Ok(GoDuration((total as i64).wrapping_neg()));
    }
    i64::try_from(total).map(GoDuration).map_err(|_| invalid())
}

/// A bare integer counts as seconds; anything else is a Go duration. CoreDNS hides Go's reason here.
pub fn parse_seconds_or(text: &str) -> Result<GoDuration, String> {
    let bare = text.parse::<i64>().is_ok();
    let parsed = if bare {
        parse(&format!("{text}s"))
    } else {
        parse(text)
    };
    parsed.map_err(|_| "failed to parse duration".to_string())
}

/// A Go duration above zero, as a standard duration. Zero and negative values are errors that repeat the text.
pub fn parse_positive(text: &str) -> Result<Duration, String> {
    let span = parse(text)?;
    match span.to_std() {
        Some(std) if !std.is_zero() => Ok(std),
        _ => Err(format!("duration must be greater than 0: {}", quote(text))),
    }
}

/// A Go duration of zero or more, as a standard duration.
pub fn parse_non_negative(text: &str) -> Result<Duration, String> {
    let span = parse(text)?;
    span.to_std()
        .ok_or_else(|| format!("duration must not be negative: {}", quote(text)))
}

// === helpers ===

/// Digits after the point: their value over ten to the power of those that fitted.
struct Fraction {
    value: u64,
    scale: f64,
    digits: usize,
}

impl Fraction {
    const NONE: Self = Self {
        value: 0,
        scale: 1.0,
        digits: 0,
    };

    /// Digits that no longer fit in 63 bits are read and ignored, as in Go.
    fn read(text: &str) -> Self {
        let mut fraction = Self::NONE;
        let mut full = false;
        for byte in text.bytes().take_while(u8::is_ascii_digit) {
            fraction.digits += 1;
            if full {
                continue;
            }
            let next = fraction
                .value
                .checked_mul(10)
                .and_then(|v| v.checked_add(u64::from(byte - b'0')));
            match next.filter(|v| *v <= MAGNITUDE_MAX) {
                Some(value) => {
                    fraction.value = value;
                    fraction.scale *= 10.0;
                }
                None => full = true,
            }
        }
        fraction
    }

    fn nanos(&self, unit: u64) -> u64 {
        // Go multiplies in this order; another order rounds differently.
        (self.value as f64 * (unit as f64 / self.scale)) as u64
    }
}

fn leading_int(text: &str) -> Option<(u64, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let mut value: u64 = 0;
    for byte in text[..end].bytes() {
        value = value.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?;
        if value > MAGNITUDE_MAX {
            return None;
        }
    }
    Some((value, &text[end..]))
}

fn unit_nanos(name: &str) -> Option<u64> {
    Some(match name {
        "ns" => 1,
        "us" | "µs" | "μs" => MICROSECOND,
        "ms" => MILLISECOND,
        "s" => SECOND,
        "m" => 60 * SECOND,
        "h" => 3600 * SECOND,
        _ => return None,
    })
}

/// Go's `time` package quotes bytes above ASCII one by one.
fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            ' '..='\u{7f}' => out.push(c),
            _ => {
                let mut bytes = [0; 4];
                for byte in c.encode_utf8(&mut bytes).bytes() {
                    out.push_str(&format!("\\x{byte:02x}"));
                }
            }
        }
    }
    out.push('"');
    out
}

/// Hours, minutes and seconds; the larger fields only when they count.
fn write_clock(f: &mut fmt::Formatter<'_>, nanos: u64) -> fmt::Result {
    let minutes = nanos / (60 * SECOND);
    if minutes >= 60 {
        write!(f, "{}h", minutes / 60)?;
    }
    if minutes > 0 {
        write!(f, "{}m", minutes % 60)?;
    }
    write_decimal(f, nanos % (60 * SECOND), SECOND)?;
    f.write_str("s")
}

/// `nanos / unit` in decimal without trailing zeros.
fn write_decimal(f: &mut fmt::Formatter<'_>, nanos: u64, unit: u64) -> fmt::Result {
    write!(f, "{}", nanos / unit)?;
    let mut rest = nanos % unit;
    if rest == 0 {
        return Ok(());
    }
    let mut width = unit.ilog10() as usize;
    while rest.is_multiple_of(10) {
        rest /= 10;
        width -= 1;
    }
    write!(f, ".{rest:0width$}")
}

const MICROSECOND: u64 = 1_000;
const MILLISECOND: u64 = 1_000 * MICROSECOND;
const SECOND: u64 = 1_000 * MILLISECOND;
/// `-(1 << 63)` is a value, so the magnitude may reach one above `i64::MAX`.
const MAGNITUDE_MAX: u64 = 1 << 63;

#[cfg(test)]
mod tests;
