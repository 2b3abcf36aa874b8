//! Numbers written the way Go's standard library writes them, without allocation.

use std::fmt;

/// Writes `value` as Go's `strconv.FormatFloat(value, 'g', -1, 64)` does: the shortest digits that read back
/// as the same number, with an exponent below 1e-4 and from 1e6 on (`0.00025`, `16000`, `1.5e+06`, `+Inf`).
pub fn write_float(out: &mut impl fmt::Write, value: f64) -> fmt::Result {
    if value.is_nan() {
        return out.write_str("NaN");
    }
    if value.is_infinite() {
        return out.write_str(if value > 0.0 { "+Inf" } else { "-Inf" });
    }
    if value == 0.0 {
        return out.write_str(if value.is_sign_negative() { "-0" } else { "0" });
    }
    let magnitude = value.abs();
    // Both standard libraries give the shortest digits that read back; only the layout differs. 1e6 and 1e-4
    // are exact borders: the shortest digits of a double below 1e6 never round up to seven integer digits.
    if (1e-4..1e6).contains(&magnitude) {
        return write!(out, "{value}");
    }
    let mut text = Scratch::default();
    fmt::write(&mut text, format_args!("{value:e}"))?;
    let text = text.as_str();
    let (digits, exponent) = text.split_once('e').unwrap_or((text, "0"));
    out.write_str(digits)?;
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(rest) => ("e-", rest),
        None => ("e+", exponent),
    };
    out.write_str(sign)?;
    if exponent.len() < 2 {
        out.write_char('0')?;
    }
    out.write_str(exponent)
}

/// Room for one float in exponent form; the longest is 24 octets.
#[derive(Default)]
struct Scratch {
    octets: [u8; 32],
    len: usize,
}

impl Scratch {
    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.octets[..self.len]).unwrap_or("0")
    }
}

impl fmt::Write for Scratch {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.len + text.len();
        let room = self.octets.get_mut(self.len..end).ok_or(fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn float(value: f64) -> String {
        let mut out = String::new();
        write_float(&mut out, value).unwrap();
        out
    }

    #[test]
    fn floats_look_like_go() {
        for (value, expect) in [
            (0.0, "0"),
            (1.0, "1"),
            (-1.0, "-1"),
            (0.00025, "0.00025"),
            (0.0001, "0.0001"),
            (0.000_025, "2.5e-05"),
            (8.192, "8.192"),
            (511.0, "511"),
            (16_000.0, "16000"),
            (64_000.0, "64000"),
            (999_999.0, "999999"),
            (1_000_000.0, "1e+06"),
            (1_234_567.0, "1.234567e+06"),
            (-1_234_567.0, "-1.234567e+06"),
            (1_700_012_345.67, "1.70001234567e+09"),
            (18_446_744_073_709_551_615.0, "1.8446744073709552e+19"),
            (1e100, "1e+100"),
            (5e-324, "5e-324"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(float(value), expect);
        }
    }

    proptest! {
        #[test]
        fn floats_read_back(value in any::<f64>().prop_filter("a number", |v| !v.is_nan())) {
            prop_assert_eq!(float(value).parse::<f64>().unwrap(), value);
        }
    }
}
