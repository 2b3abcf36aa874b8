//! Writes JSON: the few values that reports need.
//!
//! Runs on: pure.

use std::fmt;

/// A JSON value; objects keep the order in which they were built.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(u64),
    /// A number; not-a-number and infinities are written as `null`, which JSON lacks.
    Num(f64),
    /// A string.
    Text(String),
    /// A list.
    List(Vec<Json>),
    /// An object.
    Object(Vec<(&'static str, Json)>),
}

impl From<&str> for Json {
    fn from(text: &str) -> Json {
        Json::Text(text.to_owned())
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Json::Null => f.write_str("null"),
            Json::Bool(b) => write!(f, "{b}"),
            Json::Int(n) => write!(f, "{n}"),
            Json::Num(n) if n.is_finite() => write!(f, "{}", (n * 1000.0).round() / 1000.0),
            Json::Num(_) => f.write_str("null"),
            Json::Text(text) => write_text(f, text),
            Json::List(items) => {
                f.write_str("[")?;
                for (i, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if i > 0 { "," } else { "" })?;
                }
                f.write_str("]")
            }
            Json::Object(fields) => {
                f.write_str("{")?;
                for (i, (name, value)) in fields.iter().enumerate() {
                    f.write_str(if i > 0 { "," } else { "" })?;
                    write_text(f, name)?;
                    write!(f, ":{value}")?;
                }
                f.write_str("}")
            }
        }
    }
}

fn write_text(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("\"")?;
    for c in text.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            c if (c as u32) < 0x20 => write!(f, "\\u{:04x}", c as u32)?,
            c => write!(f, "{c}")?,
        }
    }
    f.write_str("\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_nest_and_escape() {
        let value = Json::Object(vec![
            (
                "a",
                Json::List(vec![
                    Json::Int(1),
                    Json::Num(0.5),
                    Json::Null,
                    Json::Bool(true),
                ]),
            ),
            ("b\"", "line\n\\\u{1}".into()),
            ("c", Json::Num(f64::NAN)),
            ("d", Json::Num(1.0 / 3.0)),
        ]);
        assert_eq!(
            value.to_string(),
            r#"{"a":[1,0.5,null,true],"b\"":"line\n\\\u0001","c":null,"d":0.333}"#
        );
    }
}
