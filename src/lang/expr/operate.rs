//! What operators do to values, and what values cost.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::ast::{Binary, Kind, Node, Unary};
use super::value::{List, Value};
use crate::limits;

/// An operation's own error; the node adds its place.
pub(super) type Outcome<'a> = Result<Value<'a>, String>;

// === operations ===

pub(super) fn unary(operator: Unary, value: Value<'_>) -> Outcome<'_> {
    match (operator, value) {
        (Unary::Not, Value::Bool(truth)) => Ok(Value::Bool(!truth)),
        (Unary::Minus, Value::Int(value)) => Ok(Value::Int(value.wrapping_neg())),
        (Unary::Minus, Value::Float(value)) => Ok(Value::Float(-value)),
        (Unary::Plus, value @ (Value::Int(_) | Value::Float(_))) => Ok(value),
        (operator, value) => Err(format!(
            "operator {} not defined on {}",
            operator.name(),
            value.type_of()
        )),
    }
}

/// Order of two values; none when one is not a number.
pub(super) fn compare(
    operator: Binary,
    left: &Value<'_>,
    right: &Value<'_>,
) -> Result<Option<Ordering>, String> {
    match (left, right) {
        (Value::Int(a), Value::Int(b)) => Ok(Some(a.cmp(b))),
        (Value::Str(a), Value::Str(b)) => Ok(Some(a.as_bytes().cmp(b.as_bytes()))),
        _ => match (number(left), number(right)) {
            (Some(a), Some(b)) => Ok(a.partial_cmp(&b)),
            _ => Err(undefined(operator.name(), left, right)),
        },
    }
}

/// Whole numbers wrap around and division gives a fraction, as in expr-lang.
pub(super) fn arithmetic<'a>(operator: Binary, left: Value<'a>, right: Value<'a>) -> Outcome<'a> {
    match (operator, &left, &right) {
        (Binary::Add, Value::Int(a), Value::Int(b)) => return Ok(Value::Int(a.wrapping_add(*b))),
        (Binary::Subtract, Value::Int(a), Value::Int(b)) => {
            return Ok(Value::Int(a.wrapping_sub(*b)));
        }
        (Binary::Multiply, Value::Int(a), Value::Int(b)) => {
            return Ok(Value::Int(a.wrapping_mul(*b)));
        }
        (Binary::Modulo, Value::Int(_), Value::Int(0)) => {
            return Err("integer divide by zero".into());
        }
        (Binary::Modulo, Value::Int(a), Value::Int(b)) => {
            return Ok(Value::Int(a.wrapping_rem(*b)));
        }
        (Binary::Modulo, ..) => return Err(undefined("%", &left, &right)),
        (Binary::Add, Value::Str(a), Value::Str(b)) => {
            if a.len() + b.len() > limits::EXPR_OCTETS {
                return Err(TEXT_TOO_LONG.into());
            }
            return Ok(Value::Str(format!("{a}{b}").into()));
        }
        _ => {}
    }
    let (Some(a), Some(b)) = (number(&left), number(&right)) else {
        return Err(undefined(operator.name(), &left, &right));
    };
    Ok(Value::Float(match operator {
        Binary::Add => a + b,
        Binary::Subtract => a - b,
        Binary::Multiply => a * b,
        Binary::Divide => a / b,
        _ => a.powf(b),
    }))
}

pub(super) fn number(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Int(value) => Some(*value as f64),
        Value::Float(value) => Some(*value),
        _ => None,
    }
}

pub(super) fn index<'a>(base: Value<'a>, key: &Value<'a>) -> Outcome<'a> {
    match (base, key) {
        (Value::List(items), Value::Int(wanted)) => {
            let length = items.len() as i64;
            let place = if *wanted < 0 {
                length.checked_add(*wanted)
            } else {
                Some(*wanted)
            };
            let item = place
                .and_then(|place| usize::try_from(place).ok())
                .and_then(|place| items.get(place).cloned());
            item.ok_or_else(|| format!("index out of range: {wanted} (array length is {length})"))
        }
        (Value::Map(entries), Value::Str(wanted)) => {
            let entry = entries.into_iter().find(|(key, _)| key == wanted);
            Ok(entry.map_or(Value::Nil, |(_, value)| value))
        }
        (base, key) => Err(format!("cannot fetch {key} from {}", base.type_of())),
    }
}

/// Bounds below zero count from the end; bounds outside are moved to the ends.
pub(super) fn slice<'a>(base: Value<'a>, from: Option<i64>, to: Option<i64>) -> Outcome<'a> {
    let length = match &base {
        Value::Str(text) => text.len(),
        Value::List(items) => items.len(),
        Value::Nil => return Ok(Value::Nil),
        other => return Err(format!("cannot slice {}", other.type_of())),
    };
    let place = |bound: Option<i64>, default: usize| match bound {
        None => default,
        Some(bound) => {
            let bound = if bound < 0 {
                bound.saturating_add(length as i64)
            } else {
                bound
            };
            usize::try_from(bound).unwrap_or(0).min(length)
        }
    };
    let to = place(to, length);
    let from = place(from, 0).min(to);
    match base {
        Value::Str(text) => {
            // Go cuts octets; a cut inside a character moves down to its beginning.
            let (from, to) = (text.floor_char_boundary(from), text.floor_char_boundary(to));
            Ok(Value::Str(match text {
                Cow::Borrowed(text) => Cow::Borrowed(&text[from..to]),
                Cow::Owned(text) => Cow::Owned(text[from..to].to_string()),
            }))
        }
        Value::List(items) => {
            let items = items
                .into_vec()
                .into_iter()
                .skip(from)
                .take(to - from)
                .collect();
            Ok(Value::List(List::Owned(items)))
        }
        other => Ok(other),
    }
}

// === helpers ===

pub(super) fn is_range(node: &Node) -> bool {
    matches!(node.kind, Kind::Binary(Binary::Range, _))
}

pub(super) fn undefined(operator: &str, left: &Value<'_>, right: &Value<'_>) -> String {
    format!(
        "invalid operation: {operator} (mismatched types {} and {})",
        left.type_of(),
        right.type_of()
    )
}

/// Steps that a value costs to make or copy; an error when it is too large or too deep.
pub(super) fn weight(value: &Value<'_>, depth: u32) -> Result<usize, String> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err("value nests too deeply".into());
    };
    match value {
        Value::Str(text) if text.len() > limits::EXPR_OCTETS => Err(TEXT_TOO_LONG.into()),
        Value::Str(text) => Ok(text.len() / STEP_OCTETS),
        // Constants are neither made nor copied.
        Value::List(List::Borrowed(_)) => Ok(0),
        Value::List(List::Owned(items)) => {
            if items.len() > limits::EXPR_ITEMS {
                return Err("array has too many items".into());
            }
            items
                .iter()
                .try_fold(items.len(), |sum, item| Ok(sum + weight(item, depth)?))
        }
        Value::Map(entries) => entries.iter().try_fold(entries.len(), |sum, (key, item)| {
            Ok(sum + key.len() / STEP_OCTETS + weight(item, depth)?)
        }),
        _ => Ok(0),
    }
}

pub(super) const TEXT_TOO_LONG: &str = "text is too long";
/// Octets of text that cost as much as one step.
pub(super) const STEP_OCTETS: usize = 64;
/// Steps that compiling a pattern per query costs.
pub(super) const COMPILE_STEPS: usize = 5_000;
