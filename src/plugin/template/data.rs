//! What a template can read of a question.

use crate::lang::expr::{self, List};
use crate::lang::template::{Object, Value};
use crate::plugin::Query;
use crate::wire::name::Text;
use crate::wire::rcode::Rcode;
use crate::wire::{flag, types};

/// The root of a template's data.
#[derive(Debug)]
pub(super) struct Data {
    pub zone: String,
    pub name: String,
    pub regex: String,
    pub groups: Groups,
    /// Mnemonics; empty where there is none.
    pub class: &'static str,
    /// See `class`.
    pub qtype: &'static str,
    pub remote: String,
    pub variables: Variables,
    pub metadata: Vec<(String, String)>,
    pub question: Question,
    pub message: Message,
}

/// Texts of the groups of a match, by number and by name.
#[derive(Debug, Default)]
pub(super) struct Groups {
    pub texts: Vec<String>,
    /// Name and number.
    pub names: Vec<(String, usize)>,
}

/// Values of the `var` lines, in order.
#[derive(Debug, Default)]
pub(super) struct Variables(pub Vec<(String, expr::Value<'static>)>);

/// `.Question`.
#[derive(Debug)]
pub(super) struct Question {
    name: String,
    qtype: u16,
    qclass: u16,
}

/// `.Message`: header fields of the query.
#[derive(Debug)]
pub(super) struct Message {
    id: u16,
    flags: u16,
}

// === groups ===

impl Groups {
    /// The text of a group by name or number.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let named = self
            .names
            .iter()
            .rfind(|(known, _)| known == name)
            .map(|(_, number)| *number);
        let number = named.or_else(|| {
            let plain = !name.starts_with('+') && (name == "0" || !name.starts_with('0'));
            name.parse().ok().filter(|_| plain)
        });
        self.texts.get(number?).map(String::as_str)
    }
}

impl Object for Groups {
    fn type_name(&self) -> &str {
        "map[string]string"
    }

    fn field<'o>(&'o self, name: &str) -> Option<Value<'o>> {
        self.text(name).map(Into::into)
    }

    fn keys(&self) -> Option<Vec<&str>> {
        // Numbers are keys too; there are at most as many as a pattern has groups.
        let numbers = NUMBERS.iter().take(self.texts.len()).copied();
        Some(
            numbers
                .chain(self.names.iter().map(|(name, _)| name.as_str()))
                .collect(),
        )
    }
}

// === others ===

impl Object for Data {
    fn type_name(&self) -> &str {
        "*template.templateData"
    }

    fn field<'o>(&'o self, name: &str) -> Option<Value<'o>> {
        Some(match name {
            "Zone" => self.zone.as_str().into(),
            "Name" => self.name.as_str().into(),
            "Regex" => self.regex.as_str().into(),
            "Match" => {
                let texts = self
                    .groups
                    .texts
                    .iter()
                    .map(|text| text.as_str().into())
                    .collect();
                Value::Plain(expr::Value::List(List::Owned(texts)))
            }
            "Group" => Value::Object(&self.groups),
            "Class" => self.class.into(),
            "Type" => self.qtype.into(),
            "Remote" => self.remote.as_str().into(),
            "Var" => Value::Object(&self.variables),
            "Message" => Value::Object(&self.message),
            "Question" => Value::Object(&self.question),
            _ => return None,
        })
    }

    fn call<'o>(&'o self, name: &str, args: &[Value<'o>]) -> Option<Result<Value<'o>, String>> {
        if name != "Meta" {
            return None;
        }
        let [label] = args else {
            return Some(Err(format!(
                "wrong number of args for Meta: want 1 got {}",
                args.len()
            )));
        };
        let label = label.as_str().unwrap_or_default();
        let value = self.metadata.iter().find(|(known, _)| known == label);
        Some(Ok(value.map_or("", |(_, value)| value.as_str()).into()))
    }
}

impl Object for Variables {
    fn type_name(&self) -> &str {
        "map[string]interface {}"
    }

    fn field<'o>(&'o self, name: &str) -> Option<Value<'o>> {
        let found = self.0.iter().rfind(|(known, _)| known == name);
        found.map(|(_, value)| Value::Plain(value.borrowed()))
    }

    fn keys(&self) -> Option<Vec<&str>> {
        Some(self.0.iter().map(|(name, _)| name.as_str()).collect())
    }
}

impl Question {
    pub(super) fn of(query: &Query) -> Self {
        let asked = query.asked().name;
        // The client's spelling, unless the question was rewritten.
        let name = if asked.eq_ignore_ascii_case(query.name()) {
            asked
        } else {
            query.name()
        };
        Self {
            name: Text(name).to_string(),
            qtype: query.qtype,
            qclass: query.qclass,
        }
    }
}

impl Object for Question {
    fn type_name(&self) -> &str {
        "*dns.Question"
    }

    fn field<'o>(&'o self, name: &str) -> Option<Value<'o>> {
        Some(match name {
            "Name" => self.name.as_str().into(),
            "Qtype" => expr::Value::Int(self.qtype.into()).into(),
            "Qclass" => expr::Value::Int(self.qclass.into()).into(),
            _ => return None,
        })
    }

    fn call<'o>(&'o self, name: &str, args: &[Value<'o>]) -> Option<Result<Value<'o>, String>> {
        let text = || {
            format!(
                ";{}\t{}\t {}",
                self.name,
                types::Class(self.qclass),
                types::Type(self.qtype)
            )
        };
        (name == "String" && args.is_empty()).then(|| Ok(text().into()))
    }
}

impl Message {
    pub(super) fn of(query: &Query) -> Self {
        Self {
            id: query.id,
            flags: query.flags,
        }
    }
}

impl Object for Message {
    fn type_name(&self) -> &str {
        "*dns.Msg"
    }

    fn field<'o>(&'o self, name: &str) -> Option<Value<'o>> {
        let bit = match name {
            "Id" => return Some(expr::Value::Int(self.id.into()).into()),
            "Opcode" => {
                return Some(expr::Value::Int(i64::from((self.flags & flag::OPCODE) >> 11)).into());
            }
            "Rcode" => return Some(expr::Value::Int(Rcode::NOERROR.0.into()).into()),
            "Response" => flag::QR,
            "Authoritative" => flag::AA,
            "Truncated" => flag::TC,
            "RecursionDesired" => flag::RD,
            "RecursionAvailable" => flag::RA,
            "Zero" => flag::Z,
            "AuthenticatedData" => flag::AD,
            "CheckingDisabled" => flag::CD,
            _ => return None,
        };
        Some(expr::Value::Bool(self.flags & bit != 0).into())
    }
}

/// Keys of groups by number, as far as `range` lists them.
const NUMBERS: [&str; 20] = [
    "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16",
    "17", "18", "19",
];
