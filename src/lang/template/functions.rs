//! The functions of Go's template language, and `parseInt` of CoreDNS.

use std::cmp::Ordering;
use std::fmt::Write as _;

use super::printf;
use super::value::Value;
use crate::lang::expr::{self, List};

/// A function of the language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    And,
    Or,
    Not,
    Len,
    Index,
    Slice,
    Html,
    Js,
    UrlQuery,
    Print,
    Printf,
    Println,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    ParseInt,
}

// === impl Function ===

impl Function {
    pub(super) fn named(name: &str) -> Option<Self> {
        FUNCTIONS.iter().find(|row| row.1 == name).map(|row| row.0)
    }

    pub(super) fn name(self) -> &'static str {
        FUNCTIONS
            .iter()
            .find(|row| row.0 == self)
            .map_or("", |row| row.1)
    }

    /// Checks the number of arguments, in Go's words.
    pub(super) fn check_count(self, count: usize) -> Result<(), String> {
        let Some((_, name, least, most)) = FUNCTIONS.iter().find(|row| row.0 == self) else {
            return Ok(());
        };
        if least == most && count != *least {
            return Err(format!(
                "wrong number of args for {name}: want {least} got {count}"
            ));
        }
        if count < *least {
            return Err(format!(
                "wrong number of args for {name}: want at least {least} got {count}"
            ));
        }
        Ok(())
    }

    /// Calls with the right number of arguments. `and` and `or` get here only with all arguments evaluated.
    pub(super) fn call<'a>(self, mut args: Vec<Value<'a>>) -> Result<Value<'a>, String> {
        match self {
            Self::And | Self::Or => {
                let decides = |value: &Value<'a>| value.truth() == (self == Self::Or);
                let place = args.iter().position(decides).unwrap_or(args.len() - 1);
                Ok(args.swap_remove(place))
            }
            Self::Not => Ok(expr::Value::Bool(!args.iter().any(Value::truth)).into()),
            Self::Len => length(&args),
            Self::Index => index(args),
            Self::Slice => slice(&args),
            Self::Html | Self::Js | Self::UrlQuery => {
                let text = printf::print(&args)?;
                Ok(match self {
                    Self::Html => html(&text),
                    Self::Js => js(&text),
                    _ => url_query(&text),
                }
                .into())
            }
            Self::Print => printf::print(&args).map(Into::into),
            Self::Println => printf::println(&args).map(Into::into),
            Self::Printf => match args.split_first() {
                Some((format, rest)) => {
                    let format = format
                        .as_str()
                        .ok_or_else(|| wrong_type("string", format))?;
                    printf::printf(format, rest).map(Into::into)
                }
                None => Err("missing format".into()),
            },
            Self::Eq => equal(&args),
            Self::Ne => Ok(expr::Value::Bool(!same(&args[0], &args[1])?).into()),
            Self::Lt | Self::Le | Self::Gt | Self::Ge => {
                let order = order(&args[0], &args[1])?;
                let truth = match self {
                    Self::Lt => order == Some(Ordering::Less),
                    Self::Le => matches!(order, Some(Ordering::Less | Ordering::Equal)),
                    Self::Gt => order == Some(Ordering::Greater),
                    _ => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
                };
                Ok(expr::Value::Bool(truth).into())
            }
            Self::ParseInt => parse_int(&args),
        }
    }
}

// === comparison ===

/// `eq a b c` is true when `a` equals any other.
fn equal<'a>(args: &[Value<'a>]) -> Result<Value<'a>, String> {
    let [first, others @ ..] = args else {
        return Err("missing argument for comparison".into());
    };
    if others.is_empty() {
        return Err("missing argument for comparison".into());
    }
    for other in others {
        if same(first, other)? {
            return Ok(expr::Value::Bool(true).into());
        }
    }
    Ok(expr::Value::Bool(false).into())
}

/// Whole numbers and fractions do not compare, as in Go.
fn same(left: &Value<'_>, right: &Value<'_>) -> Result<bool, String> {
    use expr::Value::{Bool, Float, Int, Nil, Str};
    match (left, right) {
        (Value::Missing | Value::Plain(Nil), Value::Missing | Value::Plain(Nil)) => Ok(true),
        (Value::Missing | Value::Plain(Nil), _) | (_, Value::Missing | Value::Plain(Nil)) => {
            Ok(false)
        }
        (Value::Plain(a), Value::Plain(b)) => match (a, b) {
            (Bool(_), Bool(_)) | (Int(_), Int(_)) | (Float(_), Float(_)) | (Str(_), Str(_)) => {
                Ok(a == b)
            }
            (expr::Value::List(_) | expr::Value::Map(_), _)
            | (_, expr::Value::List(_) | expr::Value::Map(_)) => {
                Err(format!("non-comparable type {}", left.type_name()))
            }
            _ => Err("incompatible types for comparison".into()),
        },
        _ => Err(format!("non-comparable type {}", left.type_name())),
    }
}

fn order(left: &Value<'_>, right: &Value<'_>) -> Result<Option<Ordering>, String> {
    use expr::Value::{Float, Int, Str};
    match (left, right) {
        (Value::Plain(Int(a)), Value::Plain(Int(b))) => Ok(Some(a.cmp(b))),
        (Value::Plain(Float(a)), Value::Plain(Float(b))) => Ok(a.partial_cmp(b)),
        (Value::Plain(Str(a)), Value::Plain(Str(b))) => Ok(Some(a.as_bytes().cmp(b.as_bytes()))),
        (Value::Plain(Int(_) | Float(_) | Str(_)), Value::Plain(Int(_) | Float(_) | Str(_))) => {
            Err("incompatible types for comparison".into())
        }
        _ => Err("invalid type for comparison".into()),
    }
}

// === access ===

fn length<'a>(args: &[Value<'a>]) -> Result<Value<'a>, String> {
    let length = match &args[0] {
        Value::Plain(expr::Value::Str(text)) => text.len(),
        Value::Plain(expr::Value::List(items)) => items.len(),
        Value::Plain(expr::Value::Map(entries)) => entries.len(),
        Value::Object(object) if object.keys().is_some() => {
            object.keys().map_or(0, |keys| keys.len())
        }
        Value::Missing | Value::Plain(expr::Value::Nil) => return Err("len of nil pointer".into()),
        other => return Err(format!("len of type {}", other.type_name())),
    };
    Ok(expr::Value::Int(length as i64).into())
}

/// `index x 1 2` is `x[1][2]`.
fn index(args: Vec<Value<'_>>) -> Result<Value<'_>, String> {
    let mut args = args.into_iter();
    let mut item = args.next().unwrap_or(Value::Missing);
    for key in args {
        item = match (item, &key) {
            (Value::Plain(expr::Value::List(items)), _) => {
                let place = place(&key, items.len())?;
                items
                    .get(place)
                    .cloned()
                    .map_or(Value::Missing, Value::Plain)
            }
            (Value::Plain(expr::Value::Str(text)), _) => {
                let place = place(&key, text.len())?;
                expr::Value::Int(text.as_bytes().get(place).map_or(0, |b| i64::from(*b))).into()
            }
            (Value::Plain(expr::Value::Map(entries)), Value::Plain(expr::Value::Str(key))) => {
                let found = entries.into_iter().find(|(known, _)| known == key);
                found.map_or(Value::Missing, |(_, value)| Value::Plain(value))
            }
            // A map of texts gives the empty text for a missing key.
            (Value::Object(object), Value::Plain(expr::Value::Str(key)))
                if object.keys().is_some() =>
            {
                object.field(key).unwrap_or_else(|| "".into())
            }
            (Value::Missing | Value::Plain(expr::Value::Nil), _) => {
                return Err("index of untyped nil".into());
            }
            (Value::Object(object), _) if object.keys().is_some() => {
                return Err(format!(
                    "value has type {}; should be string",
                    key.type_name()
                ));
            }
            (item, _) => return Err(format!("can't index item of type {}", item.type_name())),
        };
    }
    Ok(item)
}

fn place(key: &Value<'_>, length: usize) -> Result<usize, String> {
    match key {
        Value::Plain(expr::Value::Int(wanted)) => match usize::try_from(*wanted) {
            Ok(place) if place < length => Ok(place),
            _ => Err(format!("index out of range: {wanted}")),
        },
        Value::Missing | Value::Plain(expr::Value::Nil) => {
            Err("cannot index slice/array with nil".into())
        }
        other => Err(format!(
            "cannot index slice/array with type {}",
            other.type_name()
        )),
    }
}

fn slice<'a>(args: &[Value<'a>]) -> Result<Value<'a>, String> {
    let (item, bounds) = args.split_first().ok_or("slice of untyped nil")?;
    let length = match item {
        Value::Plain(expr::Value::Str(_)) if bounds.len() == 3 => {
            return Err("cannot 3-index slice a string".into());
        }
        Value::Plain(expr::Value::Str(text)) => text.len(),
        Value::Plain(expr::Value::List(items)) => items.len(),
        Value::Missing | Value::Plain(expr::Value::Nil) => {
            return Err("slice of untyped nil".into());
        }
        other => return Err(format!("can't slice item of type {}", other.type_name())),
    };
    if bounds.len() > 3 {
        return Err(format!("too many slice indexes: {}", bounds.len()));
    }
    let mut ends = [0, length, length];
    for (end, bound) in ends.iter_mut().zip(bounds) {
        // The length itself is a bound, so one more than the last index.
        *end = place(bound, length + 1)?;
    }
    let [from, to, capacity] = ends;
    if from > to {
        return Err(format!("invalid slice index: {from} > {to}"));
    }
    if to > capacity {
        return Err(format!("invalid slice index: {to} > {capacity}"));
    }
    Ok(match item {
        Value::Plain(expr::Value::Str(text)) => {
            // Go cuts octets; a cut inside a character moves down to its beginning.
            let (from, to) = (text.floor_char_boundary(from), text.floor_char_boundary(to));
            text[from..to].to_string().into()
        }
        Value::Plain(expr::Value::List(items)) => {
            Value::Plain(expr::Value::List(List::Owned(items[from..to].to_vec())))
        }
        other => other.clone(),
    })
}

// === numbers ===

/// Go's `strconv.ParseInt(text, base, bits)`.
fn parse_int<'a>(args: &[Value<'a>]) -> Result<Value<'a>, String> {
    let [text, base, bits] = args else {
        return Err("wrong number of args".into());
    };
    let text = text.as_str().ok_or_else(|| wrong_type("string", text))?;
    let number = |value: &Value<'a>| match value {
        Value::Plain(expr::Value::Int(value)) => Ok(*value),
        other => Err(wrong_type("int", other)),
    };
    let (base, bits) = (number(base)?, number(bits)?);
    let failed = |reason: String| {
        format!(
            "strconv.ParseInt: parsing {}: {reason}",
            printf::quote(text)
        )
    };
    let (negative, body) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let (digits, radix) = match base {
        0 => prefixed(body),
        2..=36 => (body.to_string(), base as u32),
        _ => return Err(failed(format!("invalid base {base}"))),
    };
    if !(0..=64).contains(&bits) {
        return Err(failed(format!("invalid bit size {bits}")));
    }
    let bits = if bits == 0 { 64 } else { bits };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return Err(failed("invalid syntax".into()));
    }
    // Only digits are left, so what fails is the size.
    let out_of_range = || failed("value out of range".into());
    let magnitude = i128::from_str_radix(&digits, radix).map_err(|_| out_of_range())?;
    let value = if negative { -magnitude } else { magnitude };
    let limit = 1_i128 << (bits - 1);
    if value < -limit || value >= limit {
        return Err(out_of_range());
    }
    i64::try_from(value)
        .map(|value| expr::Value::Int(value).into())
        .map_err(|_| out_of_range())
}

/// Base 0: the prefix tells the base, and digits may hold underscores.
fn prefixed(body: &str) -> (String, u32) {
    let lower = body.to_ascii_lowercase();
    let (digits, radix) = [("0x", 16), ("0b", 2), ("0o", 8)]
        .into_iter()
        .find_map(|(prefix, radix)| Some((lower.strip_prefix(prefix)?, radix)))
        .unwrap_or_else(|| match lower.strip_prefix('0') {
            Some(rest) if !rest.is_empty() => (rest, 8),
            _ => (&lower, 10),
        });
    (digits.replace('_', ""), radix)
}

// === escapes ===

fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\0' => out.push('\u{fffd}'),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            _ => out.push(c),
        }
    }
    out
}

fn js(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '\'' | '"' => out.extend(['\\', c]),
            '<' | '>' | '&' | '=' | '\0'..='\u{1f}' | '\u{7f}' | '\u{2028}' | '\u{2029}' => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    out
}

fn url_query(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte))
            }
            b' ' => out.push('+'),
            _ => {
                // Writing to a String cannot fail.
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

// === helpers ===

fn wrong_type(expected: &str, value: &Value<'_>) -> String {
    format!(
        "wrong type for value; expected {expected}; got {}",
        value.type_name()
    )
}

/// Function, name, least and most arguments.
const FUNCTIONS: [(Function, &str, usize, usize); 19] = [
    (Function::And, "and", 1, usize::MAX),
    (Function::Or, "or", 1, usize::MAX),
    (Function::Not, "not", 1, 1),
    (Function::Len, "len", 1, 1),
    (Function::Index, "index", 1, usize::MAX),
    (Function::Slice, "slice", 1, usize::MAX),
    (Function::Html, "html", 0, usize::MAX),
    (Function::Js, "js", 0, usize::MAX),
    (Function::UrlQuery, "urlquery", 0, usize::MAX),
    (Function::Print, "print", 0, usize::MAX),
    (Function::Printf, "printf", 1, usize::MAX),
    (Function::Println, "println", 0, usize::MAX),
    (Function::Eq, "eq", 1, usize::MAX),
    (Function::Ne, "ne", 2, 2),
    (Function::Lt, "lt", 2, 2),
    (Function::Le, "le", 2, 2),
    (Function::Gt, "gt", 2, 2),
    (Function::Ge, "ge", 2, 2),
    (Function::ParseInt, "parseInt", 3, 3),
];
