//! Go's `fmt` verbs over template values.

use std::fmt::Write as _;

use super::value::Value;
use crate::lang::expr;
use crate::limits;

/// Go's `Sprint`: a space between two operands of which neither is text.
pub(super) fn print(args: &[Value<'_>]) -> Result<String, String> {
    let mut out = String::new();
    let mut after_text = true;
    for (place, arg) in args.iter().enumerate() {
        let text = arg.as_str().is_some();
        if place > 0 && !text && !after_text {
            out.push(' ');
        }
        push(&mut out, &shown(arg))?;
        after_text = text;
    }
    Ok(out)
}

/// Go's `Sprintln`.
pub(super) fn println(args: &[Value<'_>]) -> Result<String, String> {
    let mut out = String::new();
    for (place, arg) in args.iter().enumerate() {
        if place > 0 {
            out.push(' ');
        }
        push(&mut out, &shown(arg))?;
    }
    out.push('\n');
    Ok(out)
}

/// Go's `Sprintf` with flags, width and precision; mistakes are printed as `%!d(string=x)`, as Go does.
pub(super) fn printf(format: &str, args: &[Value<'_>]) -> Result<String, String> {
    let mut out = String::new();
    let mut args_left = args.iter();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        push(&mut out, &rest[..at])?;
        rest = &rest[at + 1..];
        let spec = Spec::read(&mut rest, &mut args_left);
        let Some(verb) = rest.chars().next() else {
            push(&mut out, "%!(NOVERB)")?;
            break;
        };
        rest = &rest[verb.len_utf8()..];
        if verb == '%' {
            out.push('%');
            continue;
        }
        let text = match args_left.next() {
            Some(arg) => spec.pad(&spec.value(verb, arg), arg),
            None => format!("%!{verb}(MISSING)"),
        };
        push(&mut out, &text)?;
    }
    push(&mut out, rest)?;
    let extra: Vec<String> = args_left
        .map(|arg| format!("{}={}", arg.type_name(), shown(arg)))
        .collect();
    if !extra.is_empty() {
        push(&mut out, &format!("%!(EXTRA {})", extra.join(", ")))?;
    }
    Ok(out)
}

/// Go's `strconv.Quote`.
pub(super) fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            '\0'..='\u{1f}' | '\u{7f}' => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            _ if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            _ => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Flags, width and precision of one verb.
#[derive(Default)]
struct Spec {
    minus: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

impl Spec {
    fn read<'v>(rest: &mut &str, args: &mut impl Iterator<Item = &'v Value<'v>>) -> Self {
        let mut spec = Self::default();
        loop {
            match rest.as_bytes().first() {
                Some(b'-') => spec.minus = true,
                Some(b'+') => spec.plus = true,
                Some(b'#') => spec.sharp = true,
                Some(b' ') => spec.space = true,
                Some(b'0') => spec.zero = true,
                _ => break,
            }
            *rest = &rest[1..];
        }
        spec.width = count(rest, args);
        if let Some(after) = rest.strip_prefix('.') {
            *rest = after;
            spec.precision = Some(count(rest, args).unwrap_or(0));
        }
        spec
    }

    fn value(&self, verb: char, arg: &Value<'_>) -> String {
        use expr::Value::{Bool, Float, Int, Str};
        let found = match (verb, arg) {
            ('v', Value::Plain(Int(value))) => Some(self.signed(value.to_string())),
            ('v', Value::Plain(Float(_))) => Some(self.signed(shown(arg))),
            ('v', Value::Plain(Str(text))) if self.sharp => Some(quote(text)),
            ('v', _) => Some(shown(arg)),
            ('T', _) => Some(arg.type_name()),
            ('t', Value::Plain(Bool(truth))) => Some(truth.to_string()),
            (_, Value::Plain(Int(value))) => self.integer(verb, *value),
            (_, Value::Plain(Float(value))) => self.float(verb, *value),
            (_, Value::Plain(Str(text))) => self.text(verb, text),
            ('s' | 'd', Value::Plain(expr::Value::List(items))) => {
                let items: Vec<String> = items
                    .iter()
                    .map(|item| self.value(verb, &Value::Plain(item.clone())))
                    .collect();
                Some(format!("[{}]", items.join(" ")))
            }
            ('s', Value::Object(_)) => Some(shown(arg)),
            _ => None,
        };
        found.unwrap_or_else(|| match arg {
            Value::Missing | Value::Plain(expr::Value::Nil) => format!("%!{verb}(<nil>)"),
            _ => format!("%!{verb}({}={})", arg.type_name(), shown(arg)),
        })
    }

    fn signed(&self, digits: String) -> String {
        match (digits.starts_with(['-', '+']), self.plus, self.space) {
            (false, true, _) => format!("+{digits}"),
            (false, _, true) => format!(" {digits}"),
            _ => digits,
        }
    }

    fn integer(&self, verb: char, value: i64) -> Option<String> {
        let magnitude = value.unsigned_abs();
        let (prefix, mut digits) = match verb {
            'd' => ("", magnitude.to_string()),
            'x' => ("0x", format!("{magnitude:x}")),
            'X' => ("0X", format!("{magnitude:X}")),
            'o' => ("0", format!("{magnitude:o}")),
            'O' => {
                return Some(self.signed(format!(
                    "{}0o{magnitude:o}",
                    if value < 0 { "-" } else { "" }
                )));
            }
            'b' => ("0b", format!("{magnitude:b}")),
            'c' => return Some(character(value).to_string()),
            'q' => return Some(format!("'{}'", character(value))),
            'U' => return Some(format!("U+{magnitude:04X}")),
            _ => return None,
        };
        if let Some(precision) = self.precision {
            digits = format!("{digits:0>precision$}");
        }
        if self.sharp {
            digits.insert_str(0, prefix);
        }
        if value < 0 {
            digits.insert(0, '-');
        }
        Some(self.signed(digits))
    }

    fn float(&self, verb: char, value: f64) -> Option<String> {
        let precision = self.precision.unwrap_or(6);
        let text = match verb {
            'f' | 'F' => format!("{value:.precision$}"),
            'e' | 'E' => {
                let text = format!("{value:.precision$e}");
                let (digits, exponent) = text.split_once('e')?;
                let (sign, exponent) = match exponent.strip_prefix('-') {
                    Some(exponent) => ('-', exponent),
                    None => ('+', exponent),
                };
                format!("{digits}{verb}{sign}{exponent:0>2}")
            }
            'g' | 'G' => shown(&Value::Plain(expr::Value::Float(value))),
            _ => return None,
        };
        Some(self.signed(text))
    }

    fn text(&self, verb: char, text: &str) -> Option<String> {
        let cut: String = match self.precision {
            Some(precision) => text.chars().take(precision).collect(),
            None => text.to_string(),
        };
        match verb {
            's' => Some(cut),
            'q' if self.sharp && !cut.contains('`') => Some(format!("`{cut}`")),
            'q' => Some(quote(&cut)),
            'x' | 'X' => {
                let mut out = String::with_capacity(cut.len() * 2);
                for (place, byte) in cut.bytes().enumerate() {
                    if place > 0 && self.space {
                        out.push(' ');
                    }
                    // Writing to a String cannot fail.
                    let _ = if verb == 'x' {
                        write!(out, "{byte:02x}")
                    } else {
                        write!(out, "{byte:02X}")
                    };
                }
                Some(out)
            }
            _ => None,
        }
    }

    fn pad(&self, text: &str, arg: &Value<'_>) -> String {
        let length = text.chars().count();
        let Some(missing) = self.width.and_then(|width| width.checked_sub(length)) else {
            return text.to_string();
        };
        if self.minus {
            return format!("{text}{}", " ".repeat(missing));
        }
        let number = matches!(
            arg,
            Value::Plain(expr::Value::Int(_) | expr::Value::Float(_))
        );
        if self.zero
            && !(number
                && self.precision.is_some()
                && matches!(arg, Value::Plain(expr::Value::Int(_))))
        {
            // Zeros stand between the sign and the digits.
            let sign = usize::from(number && text.starts_with(['-', '+', ' ']));
            let (sign, digits) = text.split_at(sign);
            return format!("{sign}{}{digits}", "0".repeat(missing));
        }
        format!("{}{text}", " ".repeat(missing))
    }
}

// === helpers ===

/// A count in the format or, for `*`, from the arguments; bounded, for it becomes padding.
fn count<'v>(rest: &mut &str, args: &mut impl Iterator<Item = &'v Value<'v>>) -> Option<usize> {
    if let Some(after) = rest.strip_prefix('*') {
        *rest = after;
        return match args.next() {
            Some(Value::Plain(expr::Value::Int(value))) => {
                usize::try_from(*value).ok().map(|v| v.min(WIDTH_MAX))
            }
            _ => None,
        };
    }
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let found = rest[..digits].parse::<usize>();
    *rest = &rest[digits..];
    if digits == 0 {
        None
    } else {
        Some(found.unwrap_or(WIDTH_MAX).min(WIDTH_MAX))
    }
}

fn shown(value: &Value<'_>) -> String {
    match value {
        // Inside `print` and `printf`, unlike in an action, nil has its own text.
        Value::Missing | Value::Plain(expr::Value::Nil) => "<nil>".into(),
        other => other.to_string(),
    }
}

fn character(value: i64) -> char {
    u32::try_from(value)
        .ok()
        .and_then(char::from_u32)
        .unwrap_or(char::REPLACEMENT_CHARACTER)
}

fn push(out: &mut String, text: &str) -> Result<(), String> {
    if out.len() + text.len() > limits::TEMPLATE_OCTETS {
        return Err("text is too long".into());
    }
    out.push_str(text);
    Ok(())
}

/// Columns that a verb may pad to.
const WIDTH_MAX: usize = 1000;
