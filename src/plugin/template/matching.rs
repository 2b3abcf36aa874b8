//! Which block is for a question, and the data it gives to the templates.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::Block;
use super::data::{Data, Groups, Message, Question, Variables};
use crate::corefile::longest_match;
use crate::lang::expr::{Env, Value};
use crate::plugin::{Query, QueryEnv, Site};
use crate::telemetry::metrics::{Counter, registry};
use crate::wire::name::Text;
use crate::wire::types;

/// What a block says to a question.
pub(super) enum Found {
    /// It is for another zone, class or type.
    Other,
    /// No pattern matches, or a condition is not true.
    No,
    Data(Box<Data>),
}

impl Block {
    pub(super) fn find(&self, query: &Query) -> Result<Found, String> {
        let Some(zone) = longest_match(&self.zones, query.name()) else {
            return Ok(Found::Other);
        };
        let fits = |ours: u16, asked: u16| ours == ANY || asked == ANY || ours == asked;
        if !fits(self.qclass, query.qclass) || !fits(self.qtype, query.qtype) {
            return Ok(Found::Other);
        }
        let name = Text(query.name()).to_string();
        let Some(pattern) = self.patterns.iter().find(|pattern| pattern.is_match(&name)) else {
            return Ok(Found::No);
        };
        let mut groups = pattern.groups();
        pattern.find(&name, &mut groups);
        let texts = (0..groups.count())
            .map(|number| groups.text(&name, number).to_string())
            .collect();
        let named = |number| Some((pattern.group_name(number)?.to_string(), number));
        let names = (0..groups.count()).filter_map(named).collect();
        let or_ours = |asked, ours| if asked == ANY { ours } else { asked };
        let mut data = Data {
            zone: zone.to_string(),
            name,
            regex: pattern.as_str().to_string(),
            groups: Groups { texts, names },
            class: class_name(or_ours(query.qclass, self.qclass)),
            qtype: types::mnemonic(or_ours(query.qtype, self.qtype)).unwrap_or(""),
            remote: query.peer.ip().to_string(),
            variables: Variables::default(),
            metadata: query
                .meta
                .iter()
                .map(|(label, value)| (label.into(), value.into()))
                .collect(),
            question: Question::of(query),
            message: Message::of(query),
        };
        Ok(if self.evaluate(query, &mut data)? {
            Found::Data(Box::new(data))
        } else {
            Found::No
        })
    }

    /// Sets the variables in order, then asks the conditions.
    fn evaluate(&self, query: &Query, data: &mut Data) -> Result<bool, String> {
        for (name, program) in &self.variables {
            let env = BlockEnv {
                query: QueryEnv(query),
                data,
            };
            let value = program
                .eval(&env)
                .map_err(|error| format!("could not evaluate variable {name}: {error}"))?
                .into_owned();
            data.variables.0.push((name.clone(), value));
        }
        let env = BlockEnv {
            query: QueryEnv(query),
            data,
        };
        // As in a view, an error counts as false.
        Ok(self
            .conditions
            .iter()
            .all(|condition| matches!(condition.eval(&env), Ok(Value::Bool(true)))))
    }
}

/// A query, the groups of its match and the variables so far.
struct BlockEnv<'q> {
    query: QueryEnv<'q>,
    data: &'q Data,
}

impl Env for BlockEnv<'_> {
    fn call<'e>(&'e self, name: &str, args: &[Value<'e>]) -> Result<Value<'e>, String> {
        if name != "group" {
            return self.query.call(name, args);
        }
        let text = match args {
            [Value::Str(name)] => self.data.groups.text(name),
            [Value::Int(number)] => {
                let number = usize::try_from(*number).ok();
                number
                    .and_then(|number| self.data.groups.texts.get(number))
                    .map(String::as_str)
            }
            _ => return Err("group takes a name or a number".into()),
        };
        Ok(text.unwrap_or("").into())
    }

    fn variable<'e>(&'e self, place: usize) -> Option<Value<'e>> {
        self.data
            .variables
            .0
            .get(place)
            .map(|(_, value)| value.borrowed())
    }
}

// === metrics ===

/// One thread's cells of the counter of matches, made when they are first needed: labels come from the Corefile and
/// from the known classes and types, so there are only so many.
#[derive(Default)]
pub(super) struct Matches {
    cells: RefCell<BTreeMap<Key, Counter>>,
}

/// Server, zone, view, class and type.
type Key = (String, String, String, &'static str, &'static str);

impl Matches {
    pub(super) fn count(&self, site: Option<&Site>, data: &Data) {
        let Some(site) = site else { return };
        let key = (
            site.server.clone(),
            data.zone.clone(),
            site.view.clone(),
            data.class,
            data.qtype,
        );
        let mut cells = self.cells.borrow_mut();
        let cell = cells
            .entry(key)
            .or_insert_with_key(|(server, zone, view, class, qtype)| {
                let labels = [
                    ("server", server.as_str()),
                    ("zone", zone),
                    ("view", view),
                    ("class", class),
                    ("type", qtype),
                ];
                registry().counter(
                    "coredns_template_matches_total",
                    "Questions that a template matched.",
                    &labels,
                )
            });
        cell.inc();
    }
}

// === helpers ===

fn class_name(class: u16) -> &'static str {
    match class {
        types::CLASS_IN => "IN",
        types::CLASS_CH => "CH",
        types::CLASS_HS => "HS",
        types::CLASS_NONE => "NONE",
        types::CLASS_ANY => "ANY",
        2 => "CS",
        _ => "",
    }
}

/// QTYPE and QCLASS `ANY` have the same number.
const ANY: u16 = types::CLASS_ANY;
