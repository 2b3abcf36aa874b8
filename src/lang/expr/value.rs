//! What an expression computes with.

use std::borrow::Cow;
use std::fmt;

/// A value of the expression language. Text and lists borrow from the program or from the query where they can.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    /// `nil`.
    Nil,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number with a fraction.
    Float(f64),
    /// Text.
    Str(Cow<'a, str>),
    /// An array.
    List(List<'a>),
    /// A map with text keys, in the order written.
    Map(Vec<(Cow<'a, str>, Value<'a>)>),
}

/// The items of an array.
#[derive(Clone, Debug)]
pub enum List<'a> {
    /// Items of a constant in the program.
    Borrowed(&'a [Value<'a>]),
    /// Items made by this evaluation.
    Owned(Vec<Value<'a>>),
}

/// What is known of a value before evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Nothing is known: checked when evaluated.
    Any,
    /// `nil`.
    Nil,
    /// A truth value.
    Bool,
    /// A whole number.
    Int,
    /// A number with a fraction.
    Float,
    /// Text.
    Str,
    /// An array.
    List,
    /// A map.
    Map,
}

// === impl Value ===

impl<'a> Value<'a> {
    /// The same value without a copy of text or list items.
    pub fn borrowed(&'a self) -> Value<'a> {
        match self {
            Self::Str(text) => Value::Str(Cow::Borrowed(text)),
            Self::List(list) => Value::List(List::Borrowed(list)),
            other => other.clone(),
        }
    }

    /// The text of a text value.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The truth of a truth value.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(truth) => Some(*truth),
            _ => None,
        }
    }

    /// The same value, owning all its text, so that it may outlive the evaluation.
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Self::Nil => Value::Nil,
            Self::Bool(v) => Value::Bool(v),
            Self::Int(v) => Value::Int(v),
            Self::Float(v) => Value::Float(v),
            Self::Str(v) => Value::Str(Cow::Owned(v.into_owned())),
            Self::List(v) => Value::List(List::Owned(
                v.into_vec().into_iter().map(Value::into_owned).collect(),
            )),
            Self::Map(v) => {
                let own = |(key, value): (Cow<'a, str>, Value<'a>)| {
                    (Cow::Owned(key.into_owned()), value.into_owned())
                };
                Value::Map(v.into_iter().map(own).collect())
            }
        }
    }

    /// The type of this very value.
    pub fn type_of(&self) -> Type {
        match self {
            Self::Nil => Type::Nil,
            Self::Bool(_) => Type::Bool,
            Self::Int(_) => Type::Int,
            Self::Float(_) => Type::Float,
            Self::Str(_) => Type::Str,
            Self::List(_) => Type::List,
            Self::Map(_) => Type::Map,
        }
    }

    /// Equality as the language defines it: numbers by value, others by type and content.
    pub(super) fn same(&self, other: &Value<'_>) -> bool {
        match (self, other) {
            (Self::Nil, Value::Nil) => true,
            (Self::Bool(a), Value::Bool(b)) => a == b,
            (Self::Int(a), Value::Int(b)) => a == b,
            (Self::Int(a), Value::Float(b)) | (Self::Float(b), Value::Int(a)) => *a as f64 == *b,
            (Self::Float(a), Value::Float(b)) => a == b,
            (Self::Str(a), Value::Str(b)) => a == b,
            (Self::List(a), Value::List(b)) => {
                a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| a.same(b))
            }
            (Self::Map(a), Value::Map(b)) => {
                a.len() == b.len()
                    && a.iter()
                        .all(|(key, a)| b.iter().any(|(k, b)| k == key && a.same(b)))
            }
            _ => false,
        }
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Str(Cow::Borrowed(text))
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::Str(Cow::Owned(text))
    }
}

impl PartialEq for Value<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.same(other)
    }
}

impl fmt::Display for Value<'_> {
    /// As Go's `%v` prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nil => f.write_str("<nil>"),
            Self::Bool(v) => write!(f, "{v}"),
            Self::Int(v) => write!(f, "{v}"),
            Self::Float(v) => write_float(f, *v),
            Self::Str(v) => f.write_str(v),
            Self::List(items) => {
                f.write_str("[")?;
                for (i, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if i == 0 { "" } else { " " })?;
                }
                f.write_str("]")
            }
            Self::Map(entries) => {
                let mut entries: Vec<_> = entries.iter().collect();
                entries.sort_by(|a, b| a.0.cmp(&b.0));
                f.write_str("map[")?;
                for (i, (key, value)) in entries.into_iter().enumerate() {
                    write!(f, "{}{key}:{value}", if i == 0 { "" } else { " " })?;
                }
                f.write_str("]")
            }
        }
    }
}

// === impl List ===

impl<'a> List<'a> {
    /// The items as a vector, copied only when they are borrowed.
    pub fn into_vec(self) -> Vec<Value<'a>> {
        match self {
            Self::Borrowed(items) => items.iter().map(Value::borrowed).collect(),
            Self::Owned(items) => items,
        }
    }
}

impl<'a> std::ops::Deref for List<'a> {
    type Target = [Value<'a>];

    fn deref(&self) -> &[Value<'a>] {
        match self {
            Self::Borrowed(items) => items,
            Self::Owned(items) => items,
        }
    }
}

// === impl Type ===

impl Type {
    /// Whether a value of this type can be a number.
    pub(super) fn may_be_number(self) -> bool {
        matches!(self, Self::Any | Self::Int | Self::Float)
    }

    /// Whether a value of this type can be of the other type as well.
    pub(super) fn may_be(self, other: Self) -> bool {
        self == other || self == Self::Any || other == Self::Any
    }
}

impl fmt::Display for Type {
    /// Go's names, as the messages of expr-lang show them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "interface {}",
            Self::Nil => "nil",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Float => "float64",
            Self::Str => "string",
            Self::List => "[]interface {}",
            Self::Map => "map[string]interface {}",
        })
    }
}

// === helpers ===

/// Go's `%v` of a float: shortest form, with an exponent below 1e-4 and from 1e21 on.
pub(crate) fn write_float(f: &mut dyn fmt::Write, value: f64) -> fmt::Result {
    if value.is_nan() {
        return f.write_str("NaN");
    }
    if value.is_infinite() {
        return f.write_str(if value > 0.0 { "+Inf" } else { "-Inf" });
    }
    let magnitude = value.abs();
    if magnitude != 0.0 && !(1e-4..1e21).contains(&magnitude) {
        let text = format!("{value:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = match exponent.strip_prefix('-') {
            Some(exponent) => ('-', exponent),
            None => ('+', exponent),
        };
        return write!(f, "{digits}e{sign}{exponent:0>2}");
    }
    write!(f, "{value}")
}
