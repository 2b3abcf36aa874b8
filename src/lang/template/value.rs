//! What a template computes with.

use std::fmt;

use crate::lang::expr;

/// A value of the template language: what expressions have, and what only templates have.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    /// What a missing key of a map gives; prints `<no value>`.
    Missing,
    /// A value shared with the expression language.
    Plain(expr::Value<'a>),
    /// Something with named fields or functions.
    Object(&'a dyn Object),
}

/// Something whose fields a template may read. It decides itself when a field is made.
pub trait Object: fmt::Debug {
    /// Go's name of the type, for error messages.
    fn type_name(&self) -> &str;

    /// The value of a field or key; none when there is no such name.
    fn field<'o>(&'o self, name: &str) -> Option<Value<'o>>;

    /// Calls a function-valued field; none when there is no such function.
    fn call<'o>(&'o self, name: &str, args: &[Value<'o>]) -> Option<Result<Value<'o>, String>> {
        let _ = (name, args);
        None
    }

    /// Keys when this is a map of texts: then a missing key is no error, and `range`, `len` and `index` work.
    fn keys(&self) -> Option<Vec<&str>> {
        None
    }
}

// === impl Value ===

impl<'a> Value<'a> {
    /// The text of a text value.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Plain(value) => value.as_str(),
            _ => None,
        }
    }

    /// Whether `if` takes this value for true: not zero, not empty, not nil.
    pub(super) fn truth(&self) -> bool {
        match self {
            Self::Missing => false,
            Self::Object(object) => object.keys().is_none_or(|keys| !keys.is_empty()),
            Self::Plain(value) => match value {
                expr::Value::Nil => false,
                expr::Value::Bool(truth) => *truth,
                expr::Value::Int(value) => *value != 0,
                expr::Value::Float(value) => *value != 0.0,
                expr::Value::Str(text) => !text.is_empty(),
                expr::Value::List(items) => !items.is_empty(),
                expr::Value::Map(entries) => !entries.is_empty(),
            },
        }
    }

    /// Go's name of the value's type.
    pub(super) fn type_name(&self) -> String {
        match self {
            Self::Missing => "<nil>".into(),
            Self::Object(object) => object.type_name().into(),
            Self::Plain(value) => value.type_of().to_string(),
        }
    }
}

impl<'a, T: Into<expr::Value<'a>>> From<T> for Value<'a> {
    fn from(value: T) -> Self {
        Self::Plain(value.into())
    }
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing | Self::Plain(expr::Value::Nil) => f.write_str("<no value>"),
            Self::Plain(value) => write!(f, "{value}"),
            Self::Object(object) => match object.keys() {
                Some(mut keys) => {
                    keys.sort_unstable();
                    f.write_str("map[")?;
                    for (place, key) in keys.into_iter().enumerate() {
                        let value = object.field(key).unwrap_or(Value::Missing);
                        write!(f, "{}{key}:{value}", if place == 0 { "" } else { " " })?;
                    }
                    f.write_str("]")
                }
                None => f.write_str(object.type_name()),
            },
        }
    }
}
