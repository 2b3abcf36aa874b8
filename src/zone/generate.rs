//! `$GENERATE`: the range, and a template with the counter put in.

use crate::limits;

/// `START-STOP[/STEP]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) start: u64,
    pub(super) stop: u64,
    pub(super) step: u64,
}

impl Range {
    /// Reads a range; at most `limits::ZONE_GENERATE_STEPS` values.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let text = str::from_utf8(text).ok()?;
        let (range, step) = text.split_once('/').unwrap_or((text, "1"));
        let (start, stop) = range.split_once('-')?;
        let (start, stop, step) = (decimal(start)?, decimal(stop)?, decimal(step)?);
        let steps = stop.checked_sub(start)?.checked_div(step)?;
        (steps < limits::ZONE_GENERATE_STEPS).then_some(Self { start, stop, step })
    }

    /// The values in order.
    pub(super) fn values(self) -> impl Iterator<Item = u64> {
        // parse() refuses a step of 0 and bounds the number of steps.
        (0..=(self.stop - self.start) / self.step).map(move |index| self.start + index * self.step)
    }
}

/// Writes `template` with the counter into `out` (cleared first): `$`, `${OFFSET[,WIDTH[,BASE]]}`; `$$` and `\$` are a dollar.
pub(super) fn expand(template: &[u8], value: u64, out: &mut Vec<u8>) -> Result<(), &'static str> {
    out.clear();
    let mut at = 0;
    while at < template.len() {
        let octet = template[at];
        let next = template.get(at + 1).copied();
        at += 1;
        match (octet, next) {
            (b'\\' | b'$', Some(b'$')) => {
                out.push(b'$');
                at += 1;
            }
            (b'\\', Some(escaped)) => {
                out.extend([b'\\', escaped]);
                at += 1;
            }
            (b'$', Some(b'{')) => {
                let rest = &template[at + 1..];
                let end = rest
                    .iter()
                    .position(|&c| c == b'}')
                    .ok_or("bad modifier in $GENERATE")?;
                modified(&rest[..end], value, out).ok_or("bad modifier in $GENERATE")?;
                at += end + 2;
            }
            (b'$', _) => out.extend(value.to_string().bytes()),
            _ => out.push(octet),
        }
    }
    Ok(())
}

fn modified(modifier: &[u8], value: u64, out: &mut Vec<u8>) -> Option<()> {
    let mut parts = str::from_utf8(modifier).ok()?.split(',');
    let offset: i64 = parts
        .next()?
        .trim()
        .parse()
        .ok()
        .filter(|offset: &i64| offset.unsigned_abs() < 1 << 32)?;
    let width = parts
        .next()
        .map_or(Some(0), |width| decimal(width.trim()))
        .filter(|&width| width <= 255)? as usize;
    let base = parts.next().map_or("d", str::trim);
    let value = value.checked_add_signed(offset)?;
    if parts.next().is_some() {
        return None;
    }
    let text = match base {
        "d" => format!("{value:0width$}"),
        "o" => format!("{value:0width$o}"),
        "x" => format!("{value:0width$x}"),
        "X" => format!("{value:0width$X}"),
        "n" => nibbles(value, width),
        "N" => nibbles(value, width).to_ascii_uppercase(),
        _ => return None,
    };
    out.extend(text.bytes());
    Some(())
}

/// Hexadecimal digits with the lowest first and dots between, as in reverse IPv6 names; the width counts both.
fn nibbles(mut value: u64, width: usize) -> String {
    let mut text = String::new();
    loop {
        text.push(char::from_digit((value & 15) as u32, 16).unwrap_or('0'));
        value >>= 4;
        if value == 0 && text.len() >= width {
            return text;
        }
        text.push('.');
        if value == 0 && text.len() >= width {
            return text;
        }
    }
}

fn decimal(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.len() <= 10 && text.bytes().all(|c| c.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}
