//! Functions of the language itself, the ones without a predicate.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::ast::Binary;
use super::eval::Machine;
use super::operate::{Outcome, STEP_OCTETS, TEXT_TOO_LONG, compare, number};
use super::value::{List, Type, Value};
use crate::limits;

/// A built-in function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Builtin {
    Abs,
    BitAnd,
    BitNand,
    BitOr,
    BitXor,
    BitNot,
    BitShl,
    BitShr,
    BitUshr,
    Ceil,
    Concat,
    First,
    Flatten,
    Float,
    Floor,
    Get,
    HasPrefix,
    HasSuffix,
    IndexOf,
    Int,
    Join,
    Keys,
    Last,
    LastIndexOf,
    Len,
    Lower,
    Max,
    Mean,
    Median,
    Min,
    Repeat,
    Replace,
    Reverse,
    Round,
    Sort,
    Split,
    SplitAfter,
    String,
    Take,
    Trim,
    TrimPrefix,
    TrimSuffix,
    Uniq,
    Upper,
    Values,
}

// === impl Builtin ===

impl Builtin {
    pub(super) fn named(name: &str) -> Option<Self> {
        BUILTINS.iter().find(|row| row.1 == name).map(|row| row.0)
    }

    /// Least and most arguments.
    pub(super) fn arity(self) -> (usize, usize) {
        BUILTINS
            .iter()
            .find(|row| row.0 == self)
            .map_or((0, 0), |row| (row.2, row.3))
    }

    pub(super) fn returns(self) -> Type {
        BUILTINS
            .iter()
            .find(|row| row.0 == self)
            .map_or(Type::Any, |row| row.4)
    }

    fn name(self) -> &'static str {
        BUILTINS
            .iter()
            .find(|row| row.0 == self)
            .map_or("", |row| row.1)
    }

    /// Calls with the right number of arguments; what it returns is still to be admitted.
    pub(super) fn call<'a>(self, args: Vec<Value<'a>>, machine: &mut Machine<'a>) -> Outcome<'a> {
        // Every function touches its arguments once or sorts them; texts cost by length in `admit`.
        machine.charge(args.iter().map(size).sum::<usize>())?;
        match self {
            Self::Abs | Self::Ceil | Self::Floor | Self::Round => self.rounded(&args),
            Self::BitAnd | Self::BitNand | Self::BitOr | Self::BitXor | Self::BitNot => {
                self.bits(&args)
            }
            Self::BitShl | Self::BitShr | Self::BitUshr => self.shifted(&args),
            Self::Int | Self::Float | Self::String => self.converted(args),
            Self::Lower | Self::Upper | Self::Trim | Self::TrimPrefix | Self::TrimSuffix => {
                self.shaped(&args)
            }
            Self::HasPrefix | Self::HasSuffix | Self::IndexOf | Self::LastIndexOf => {
                self.searched(&args)
            }
            Self::Split | Self::SplitAfter => self.split(&args),
            Self::Replace | Self::Repeat => self.rewritten(&args),
            Self::Join => join(&args),
            Self::Len => self.length(&args),
            Self::Max | Self::Min | Self::Mean | Self::Median => self.over_numbers(args),
            Self::Uniq => uniq(args, machine),
            Self::Get | Self::First | Self::Last | Self::Take => self.picked(args),
            Self::Keys | Self::Values => self.of_map(args),
            Self::Concat | Self::Flatten | Self::Reverse | Self::Sort => self.arranged(args),
        }
    }

    fn wrong<T>(self, args: &[Value<'_>]) -> Result<T, String> {
        let types: Vec<String> = args.iter().map(|arg| arg.type_of().to_string()).collect();
        Err(format!(
            "invalid argument for {} (type {})",
            self.name(),
            types.join(", ")
        ))
    }

    fn rounded(self, args: &[Value<'_>]) -> Outcome<'static> {
        Ok(match (self, args) {
            (Self::Abs, [Value::Int(value)]) => Value::Int(value.wrapping_abs()),
            (_, [Value::Int(value)]) => Value::Float(*value as f64),
            (Self::Abs, [Value::Float(value)]) => Value::Float(value.abs()),
            (Self::Ceil, [Value::Float(value)]) => Value::Float(value.ceil()),
            (Self::Floor, [Value::Float(value)]) => Value::Float(value.floor()),
            (_, [Value::Float(value)]) => Value::Float(value.round()),
            _ => return self.wrong(args),
        })
    }

    fn bits(self, args: &[Value<'_>]) -> Outcome<'static> {
        Ok(Value::Int(match (self, args) {
            (Self::BitNot, [Value::Int(a)]) => !a,
            (Self::BitAnd, [Value::Int(a), Value::Int(b)]) => a & b,
            (Self::BitNand, [Value::Int(a), Value::Int(b)]) => a & !b,
            (Self::BitOr, [Value::Int(a), Value::Int(b)]) => a | b,
            (Self::BitXor, [Value::Int(a), Value::Int(b)]) => a ^ b,
            _ => return self.wrong(args),
        }))
    }

    fn shifted(self, args: &[Value<'_>]) -> Outcome<'static> {
        let [Value::Int(value), Value::Int(by)] = args else {
            return self.wrong(args);
        };
        let Ok(by) = u32::try_from(*by) else {
            return Err(format!(
                "invalid operation: negative shift count {by} (type int)"
            ));
        };
        Ok(Value::Int(match self {
            Self::BitShl => value.checked_shl(by).unwrap_or(0),
            Self::BitShr => value >> by.min(63),
            _ => (*value as u64).checked_shr(by).unwrap_or(0) as i64,
        }))
    }

    fn converted<'a>(self, mut args: Vec<Value<'a>>) -> Outcome<'a> {
        let Some(value) = args.pop() else {
            return self.wrong(&args);
        };
        let invalid = |text: &str| format!("invalid operation: {}({text})", self.name());
        Ok(match (self, value) {
            (Self::String, text @ Value::Str(_)) => text,
            (Self::String, value) => Value::Str(value.to_string().into()),
            (Self::Int, value @ Value::Int(_)) | (Self::Float, value @ Value::Float(_)) => value,
            (Self::Int, Value::Float(value)) => Value::Int(value as i64),
            (Self::Float, Value::Int(value)) => Value::Float(value as f64),
            (Self::Int, Value::Str(text)) => Value::Int(text.parse().map_err(|_| invalid(&text))?),
            (_, Value::Str(text)) => Value::Float(text.parse().map_err(|_| invalid(&text))?),
            (_, other) => return self.wrong(&[other]),
        })
    }

    fn shaped<'a>(self, args: &[Value<'a>]) -> Outcome<'a> {
        let (text, part) = match args {
            [Value::Str(text)] => (text, None),
            [Value::Str(text), Value::Str(part)] => (text, Some(&**part)),
            _ => return self.wrong(args),
        };
        let part = part.unwrap_or(" ");
        let trimmed = match self {
            Self::Lower => return Ok(Value::Str(text.to_lowercase().into())),
            Self::Upper => return Ok(Value::Str(text.to_uppercase().into())),
            Self::Trim if args.len() == 1 => text.trim(),
            Self::Trim => text.trim_matches(|c| part.contains(c)),
            Self::TrimPrefix => text.strip_prefix(part).unwrap_or(text),
            _ => text.strip_suffix(part).unwrap_or(text),
        };
        Ok(Value::Str(Cow::Owned(trimmed.to_string())))
    }

    fn searched(self, args: &[Value<'_>]) -> Outcome<'static> {
        let [Value::Str(text), Value::Str(part)] = args else {
            return self.wrong(args);
        };
        let place = |found: Option<usize>| Value::Int(found.map_or(-1, |place| place as i64));
        Ok(match self {
            Self::HasPrefix => Value::Bool(text.starts_with(&**part)),
            Self::HasSuffix => Value::Bool(text.ends_with(&**part)),
            Self::IndexOf => place(text.find(&**part)),
            _ => place(text.rfind(&**part)),
        })
    }

    /// A limit below zero means none; zero gives an empty list, as Go's `SplitN`.
    fn split(self, args: &[Value<'_>]) -> Outcome<'static> {
        let (text, separator, limit) = match args {
            [Value::Str(text), Value::Str(separator)] => (text, separator, -1),
            [Value::Str(text), Value::Str(separator), Value::Int(limit)] => {
                (text, separator, *limit)
            }
            _ => return self.wrong(args),
        };
        let limit = usize::try_from(limit)
            .unwrap_or(limits::EXPR_ITEMS + 1)
            .min(limits::EXPR_ITEMS + 1);
        let own = |part: &str| Value::Str(Cow::Owned(part.to_string()));
        let mut parts: Vec<Value<'static>> = Vec::new();
        let mut rest: &str = text;
        if limit == 0 {
            return Ok(Value::List(List::Owned(parts)));
        }
        loop {
            // An empty separator splits characters.
            let step = match separator.is_empty() {
                true => rest
                    .chars()
                    .next()
                    .map(char::len_utf8)
                    .filter(|step| *step < rest.len()),
                false => rest.find(&**separator),
            };
            let Some(place) = step.filter(|_| parts.len() + 1 < limit) else {
                if !(separator.is_empty() && rest.is_empty()) {
                    parts.push(own(rest));
                }
                break;
            };
            let end = place + separator.len();
            parts.push(own(if self == Self::SplitAfter {
                &rest[..end]
            } else {
                &rest[..place]
            }));
            rest = &rest[end..];
        }
        Ok(Value::List(List::Owned(parts)))
    }

    fn rewritten(self, args: &[Value<'_>]) -> Outcome<'static> {
        let text = match (self, args) {
            (Self::Repeat, [Value::Str(text), Value::Int(count)]) => {
                let count =
                    usize::try_from(*count).map_err(|_| "argument for repeat is negative")?;
                if text.len().saturating_mul(count) > limits::EXPR_OCTETS {
                    return Err(TEXT_TOO_LONG.into());
                }
                text.repeat(count)
            }
            (
                Self::Replace,
                [
                    Value::Str(text),
                    Value::Str(old),
                    Value::Str(new),
                    limit @ ..,
                ],
            ) => {
                let limit = match limit {
                    [] => usize::MAX,
                    [Value::Int(limit)] => usize::try_from(*limit).unwrap_or(usize::MAX),
                    _ => return self.wrong(args),
                };
                let count = if old.is_empty() {
                    text.len() + 1
                } else {
                    text.matches(&**old).count()
                };
                if text
                    .len()
                    .saturating_add(count.min(limit).saturating_mul(new.len()))
                    > limits::EXPR_OCTETS
                {
                    return Err(TEXT_TOO_LONG.into());
                }
                text.replacen(&**old, new, limit)
            }
            _ => return self.wrong(args),
        };
        Ok(Value::Str(text.into()))
    }

    fn length(self, args: &[Value<'_>]) -> Outcome<'static> {
        let length = match args {
            [Value::Str(text)] => text.chars().count(),
            [Value::List(items)] => items.len(),
            [Value::Map(entries)] => entries.len(),
            _ => return self.wrong(args),
        };
        Ok(Value::Int(length as i64))
    }

    /// Arguments may be numbers or one list of numbers.
    fn over_numbers<'a>(self, args: Vec<Value<'a>>) -> Outcome<'a> {
        let items = match <[Value<'a>; 1]>::try_from(args) {
            Ok([Value::List(items)]) => items.into_vec(),
            Ok(single) => single.into(),
            Err(args) => args,
        };
        if items.iter().any(|item| number(item).is_none()) {
            return self.wrong(&items);
        }
        let count = items.len() as f64;
        match self {
            Self::Max | Self::Min => {
                let wanted = if self == Self::Max {
                    Ordering::Greater
                } else {
                    Ordering::Less
                };
                let better =
                    |best: Value<'a>, item: Value<'a>| match compare(Binary::Less, &item, &best) {
                        Ok(Some(order)) if order == wanted => item,
                        _ => best,
                    };
                Ok(items.into_iter().reduce(better).unwrap_or(Value::Nil))
            }
            Self::Mean if items.is_empty() => Ok(Value::Float(0.0)),
            Self::Mean => Ok(Value::Float(
                items.iter().filter_map(number).sum::<f64>() / count,
            )),
            _ => {
                let mut numbers: Vec<f64> = items.iter().filter_map(number).collect();
                numbers.sort_by(f64::total_cmp);
                let middle = numbers.len() / 2;
                let at = |place: usize| numbers.get(place).copied().unwrap_or(0.0);
                let even = numbers.len().is_multiple_of(2) && middle > 0;
                Ok(Value::Float(if even {
                    (at(middle - 1) + at(middle)) / 2.0
                } else {
                    at(middle)
                }))
            }
        }
    }

    fn picked<'a>(self, args: Vec<Value<'a>>) -> Outcome<'a> {
        let mut args = args.into_iter();
        match (self, args.next(), args.next()) {
            (Self::First, Some(Value::List(items)), None) => {
                Ok(items.first().cloned().unwrap_or(Value::Nil))
            }
            (Self::Last, Some(Value::List(items)), None) => {
                Ok(items.last().cloned().unwrap_or(Value::Nil))
            }
            (Self::Take, Some(Value::List(items)), Some(Value::Int(count))) => {
                let count =
                    usize::try_from(count).map_err(|_| format!("cannot take {count} elements"))?;
                Ok(Value::List(List::Owned(
                    items.into_vec().into_iter().take(count).collect(),
                )))
            }
            (Self::Get, Some(Value::List(items)), Some(Value::Int(place))) => {
                let place = if place < 0 {
                    place.saturating_add(items.len() as i64)
                } else {
                    place
                };
                let item = usize::try_from(place)
                    .ok()
                    .and_then(|place| items.get(place).cloned());
                Ok(item.unwrap_or(Value::Nil))
            }
            (Self::Get, Some(Value::Map(entries)), Some(Value::Str(key))) => Ok(entries
                .into_iter()
                .find(|(known, _)| *known == key)
                .map_or(Value::Nil, |(_, value)| value)),
            (Self::Get, Some(Value::Nil), _) => Ok(Value::Nil),
            (_, first, second) => self.wrong(&first.into_iter().chain(second).collect::<Vec<_>>()),
        }
    }

    fn of_map<'a>(self, mut args: Vec<Value<'a>>) -> Outcome<'a> {
        let Some(Value::Map(entries)) = args.pop() else {
            return self.wrong(&args);
        };
        let part = |(key, value)| {
            if self == Self::Keys {
                Value::Str(key)
            } else {
                value
            }
        };
        Ok(Value::List(List::Owned(
            entries.into_iter().map(part).collect(),
        )))
    }

    fn arranged<'a>(self, args: Vec<Value<'a>>) -> Outcome<'a> {
        let mut lists = Vec::with_capacity(args.len());
        let mut descending = false;
        for (place, arg) in args.into_iter().enumerate() {
            match arg {
                Value::List(items) => lists.push(items.into_vec()),
                Value::Str(order)
                    if self == Self::Sort && place == 1 && (order == "asc" || order == "desc") =>
                {
                    descending = order == "desc";
                }
                other => return self.wrong(&[other]),
            }
        }
        let mut items: Vec<Value<'a>> = lists.into_iter().flatten().collect();
        match self {
            Self::Reverse => items.reverse(),
            Self::Flatten => {
                let flat = |item| match item {
                    Value::List(items) => items.into_vec(),
                    other => vec![other],
                };
                // One level per round; values are at most so deep.
                for _ in 0..limits::EXPR_VALUE_DEPTH {
                    if !items.iter().any(|item| matches!(item, Value::List(_))) {
                        break;
                    }
                    items = items.into_iter().flat_map(flat).collect();
                }
            }
            Self::Sort => {
                let ordered = items
                    .windows(2)
                    .all(|pair| matches!(compare(Binary::Less, &pair[0], &pair[1]), Ok(Some(_))));
                if !ordered {
                    return Err("cannot sort mixed types".into());
                }
                items.sort_by(|a, b| {
                    compare(Binary::Less, a, b)
                        .ok()
                        .flatten()
                        .unwrap_or(Ordering::Equal)
                });
                if descending {
                    items.reverse();
                }
            }
            _ => {}
        }
        Ok(Value::List(List::Owned(items)))
    }
}

// === helpers ===

fn join(args: &[Value<'_>]) -> Outcome<'static> {
    let (items, separator) = match args {
        [Value::List(items)] => (items, ""),
        [Value::List(items), Value::Str(separator)] => (items, &**separator),
        _ => return Builtin::Join.wrong(args),
    };
    let mut text = String::new();
    for (place, item) in items.iter().enumerate() {
        let Value::Str(item) = item else {
            return Builtin::Join.wrong(args);
        };
        if text.len() + separator.len() + item.len() > limits::EXPR_OCTETS {
            return Err(TEXT_TOO_LONG.into());
        }
        if place > 0 {
            text.push_str(separator);
        }
        text.push_str(item);
    }
    Ok(Value::Str(text.into()))
}

fn uniq<'a>(mut args: Vec<Value<'a>>, machine: &mut Machine<'a>) -> Outcome<'a> {
    let Some(Value::List(items)) = args.pop() else {
        return Builtin::Uniq.wrong(&args);
    };
    let mut kept: Vec<Value<'a>> = Vec::new();
    for item in items.into_vec() {
        machine.charge(kept.len())?;
        if !kept.iter().any(|known| known.same(&item)) {
            kept.push(item);
        }
    }
    Ok(Value::List(List::Owned(kept)))
}

/// Steps that reading an argument costs.
fn size(value: &Value<'_>) -> usize {
    match value {
        Value::List(items) => items.len(),
        Value::Str(text) => text.len() / STEP_OCTETS,
        _ => 0,
    }
}

/// Function, name, least and most arguments, type of the result.
type Row = (Builtin, &'static str, usize, usize, Type);
const ANY_COUNT: usize = 255;
const BUILTINS: [Row; 45] = [
    (Builtin::Abs, "abs", 1, 1, Type::Any),
    (Builtin::BitAnd, "bitand", 2, 2, Type::Int),
    (Builtin::BitNand, "bitnand", 2, 2, Type::Int),
    (Builtin::BitOr, "bitor", 2, 2, Type::Int),
    (Builtin::BitXor, "bitxor", 2, 2, Type::Int),
    (Builtin::BitNot, "bitnot", 1, 1, Type::Int),
    (Builtin::BitShl, "bitshl", 2, 2, Type::Int),
    (Builtin::BitShr, "bitshr", 2, 2, Type::Int),
    (Builtin::BitUshr, "bitushr", 2, 2, Type::Int),
    (Builtin::Ceil, "ceil", 1, 1, Type::Float),
    (Builtin::Concat, "concat", 1, ANY_COUNT, Type::List),
    (Builtin::First, "first", 1, 1, Type::Any),
    (Builtin::Flatten, "flatten", 1, 1, Type::List),
    (Builtin::Float, "float", 1, 1, Type::Float),
    (Builtin::Floor, "floor", 1, 1, Type::Float),
    (Builtin::Get, "get", 2, 2, Type::Any),
    (Builtin::HasPrefix, "hasPrefix", 2, 2, Type::Bool),
    (Builtin::HasSuffix, "hasSuffix", 2, 2, Type::Bool),
    (Builtin::IndexOf, "indexOf", 2, 2, Type::Int),
    (Builtin::Int, "int", 1, 1, Type::Int),
    (Builtin::Join, "join", 1, 2, Type::Str),
    (Builtin::Keys, "keys", 1, 1, Type::List),
    (Builtin::Last, "last", 1, 1, Type::Any),
    (Builtin::LastIndexOf, "lastIndexOf", 2, 2, Type::Int),
    (Builtin::Len, "len", 1, 1, Type::Int),
    (Builtin::Lower, "lower", 1, 1, Type::Str),
    (Builtin::Max, "max", 1, ANY_COUNT, Type::Any),
    (Builtin::Mean, "mean", 1, ANY_COUNT, Type::Float),
    (Builtin::Median, "median", 1, ANY_COUNT, Type::Float),
    (Builtin::Min, "min", 1, ANY_COUNT, Type::Any),
    (Builtin::Repeat, "repeat", 2, 2, Type::Str),
    (Builtin::Replace, "replace", 3, 4, Type::Str),
    (Builtin::Reverse, "reverse", 1, 1, Type::List),
    (Builtin::Round, "round", 1, 1, Type::Float),
    (Builtin::Sort, "sort", 1, 2, Type::List),
    (Builtin::Split, "split", 2, 3, Type::List),
    (Builtin::SplitAfter, "splitAfter", 2, 3, Type::List),
    (Builtin::String, "string", 1, 1, Type::Str),
    (Builtin::Take, "take", 2, 2, Type::List),
    (Builtin::Trim, "trim", 1, 2, Type::Str),
    (Builtin::TrimPrefix, "trimPrefix", 1, 2, Type::Str),
    (Builtin::TrimSuffix, "trimSuffix", 1, 2, Type::Str),
    (Builtin::Uniq, "uniq", 1, 1, Type::List),
    (Builtin::Upper, "upper", 1, 1, Type::Str),
    (Builtin::Values, "values", 1, 1, Type::List),
];
