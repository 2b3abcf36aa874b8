//! Walks the tree and writes the output. Recursion is bounded by a depth, work by a count of steps.

use super::ast::{Base, Body, Command, Node, Operand, Pipe, Range};
use super::functions::Function;
use super::lexer::Failure;
use super::value::Value;
use super::{Place, Template};
use crate::lang::expr::{self, List};
use crate::limits;

/// Runs a template; an error names the template that was being executed.
pub(super) fn execute<'a>(
    template: &'a Template,
    root: &'a Value<'a>,
    out: &mut String,
) -> Result<(), (&'a str, Failure)> {
    let mut machine = Machine {
        template,
        running: &template.name,
        variables: vec![root.clone()],
        steps: limits::TEMPLATE_STEPS,
        depth: 0,
        limit: out.len() + limits::TEMPLATE_OCTETS,
        out,
    };
    let outcome = machine.body(root, &template.body);
    outcome
        .map(|_| ())
        .map_err(|failure| (machine.running, failure))
}

struct Machine<'a, 'o> {
    template: &'a Template,
    /// Name of the template that runs, for errors.
    running: &'a str,
    /// Slot 0 is `$`.
    variables: Vec<Value<'a>>,
    /// Steps that may still be taken.
    steps: u32,
    depth: u32,
    /// Octets that `out` may reach.
    limit: usize,
    out: &'o mut String,
}

/// How a body ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Walk {
    On,
    Break,
    Continue,
}

impl<'a> Machine<'a, '_> {
    // --- bounds

    fn step(&mut self, place: Place) -> Result<(), Failure> {
        self.charge(1, place)
    }

    fn charge(&mut self, steps: usize, place: Place) -> Result<(), Failure> {
        let left = u32::try_from(steps)
            .ok()
            .and_then(|steps| self.steps.checked_sub(steps));
        self.steps = left.ok_or((place, "template takes too many steps".to_string()))?;
        Ok(())
    }

    fn deeper(&mut self, place: Place) -> Result<(), Failure> {
        self.depth += 1;
        if self.depth > limits::TEMPLATE_RUN_DEPTH {
            return Err((
                place,
                format!(
                    "exceeded maximum template depth ({})",
                    limits::TEMPLATE_RUN_DEPTH
                ),
            ));
        }
        Ok(())
    }

    fn write(&mut self, text: &str, place: Place) -> Result<(), Failure> {
        if self.out.len() + text.len() > self.limit {
            return Err((
                place,
                format!("output is longer than {} bytes", limits::TEMPLATE_OCTETS),
            ));
        }
        self.out.push_str(text);
        Ok(())
    }

    // --- nodes

    fn body(&mut self, dot: &Value<'a>, body: &'a Body) -> Result<Walk, Failure> {
        self.deeper(Place::default())?;
        for node in body {
            let walk = self.node(dot, node)?;
            if walk != Walk::On {
                self.depth -= 1;
                return Ok(walk);
            }
        }
        self.depth -= 1;
        Ok(Walk::On)
    }

    fn node(&mut self, dot: &Value<'a>, node: &'a Node) -> Result<Walk, Failure> {
        self.step(Place::default())?;
        match node {
            Node::Text(text) => self.write(text, Place::default())?,
            Node::Action(pipe) => {
                let value = self.pipe(dot, pipe)?;
                if pipe.sets.is_none() {
                    self.print(&value, pipe.place)?;
                }
            }
            Node::If(pipe, body, otherwise) | Node::With(pipe, body, otherwise) => {
                let scope = self.variables.len();
                let value = self.pipe(dot, pipe)?;
                let walk = match (value.truth(), node) {
                    (true, Node::With(..)) => self.body(&value, body),
                    (true, _) => self.body(dot, body),
                    (false, _) => self.body(dot, otherwise),
                };
                self.variables.truncate(scope);
                return walk;
            }
            Node::Range(range) => return self.range(dot, range),
            Node::Template(name, argument, place) => {
                self.call_template(dot, name, argument.as_ref(), *place)?
            }
            Node::Break => return Ok(Walk::Break),
            Node::Continue => return Ok(Walk::Continue),
        }
        Ok(Walk::On)
    }

    fn print(&mut self, value: &Value<'a>, place: Place) -> Result<(), Failure> {
        match value.as_str() {
            Some(text) => self.write(text, place),
            None => self.write(&value.to_string(), place),
        }
    }

    fn range(&mut self, dot: &Value<'a>, range: &'a Range) -> Result<Walk, Failure> {
        let scope = self.variables.len();
        let value = self.pipe(dot, &range.pipe)?;
        let place = range.pipe.place;
        let items = entries(value).map_err(|message| (place, message))?;
        self.charge(items.len(), place)?;
        let empty = items.is_empty();
        for (key, item) in items {
            match range.variables[..] {
                [one] => self.set(one, item.clone()),
                [first, second] => {
                    self.set(first, key);
                    self.set(second, item.clone());
                }
                _ => {}
            }
            let inner = self.variables.len();
            let walk = self.body(&item, &range.body)?;
            self.variables.truncate(inner);
            if walk == Walk::Break {
                break;
            }
        }
        let walk = if empty {
            self.body(dot, &range.otherwise)?
        } else {
            Walk::On
        };
        self.variables.truncate(scope);
        Ok(walk)
    }

    fn call_template(
        &mut self,
        dot: &Value<'a>,
        name: &str,
        argument: Option<&'a Pipe>,
        place: Place,
    ) -> Result<(), Failure> {
        let dot = match argument {
            Some(pipe) => self.pipe(dot, pipe)?,
            None => Value::Plain(expr::Value::Nil),
        };
        let found = self
            .template
            .defined
            .iter()
            .find(|(known, _)| **known == *name);
        let Some((name, body)) = found else {
            return Err((place, format!("template {name:?} not defined")));
        };
        let outer = std::mem::replace(&mut self.variables, vec![dot.clone()]);
        let running = std::mem::replace(&mut self.running, name);
        self.body(&dot, body)?;
        self.variables = outer;
        self.running = running;
        Ok(())
    }

    /// Slots are given in the order in which variables come into scope, so a new one is always the next.
    fn set(&mut self, slot: usize, value: Value<'a>) {
        match self.variables.get_mut(slot) {
            Some(variable) => *variable = value,
            None => {
                self.variables.resize(slot, Value::Missing);
                self.variables.push(value);
            }
        }
    }

    // --- pipelines

    fn pipe(&mut self, dot: &Value<'a>, pipe: &'a Pipe) -> Result<Value<'a>, Failure> {
        self.deeper(pipe.place)?;
        let mut value = None;
        for command in &pipe.commands {
            value = Some(self.command(dot, command, value)?);
        }
        let value = value.unwrap_or(Value::Missing);
        if let Some(target) = pipe.sets {
            if target.declares {
                self.variables.truncate(target.slot);
            }
            self.set(target.slot, value.clone());
        }
        self.depth -= 1;
        Ok(value)
    }

    fn command(
        &mut self,
        dot: &Value<'a>,
        command: &'a Command,
        piped: Option<Value<'a>>,
    ) -> Result<Value<'a>, Failure> {
        self.step(command.place)?;
        let Some((first, rest)) = command.operands.split_first() else {
            return Ok(Value::Missing);
        };
        if let Base::Function(function) = first.base {
            return self.function(dot, function, rest, piped, first.place);
        }
        let takes_none = rest.is_empty() && piped.is_none();
        if takes_none {
            if matches!(first.base, Base::Nil) {
                return Err((first.place, "nil is not a command".into()));
            }
            return self.operand(dot, first);
        }
        // Only a function-valued field can take arguments.
        let Some((name, path)) = first.fields.split_last() else {
            let shown = self.template.shown(first.place);
            return Err((
                first.place,
                format!("can't give argument to non-function {shown}"),
            ));
        };
        let mut args = Vec::with_capacity(rest.len() + 1);
        for operand in rest {
            args.push(self.operand(dot, operand)?);
        }
        args.extend(piped);
        let base = self.base(dot, first)?;
        let receiver = self.fields(base, path, first.place)?;
        let called = match &receiver {
            Value::Object(object) => {
                let object: &'a dyn super::Object = *object;
                object.call(name, &args)
            }
            _ => None,
        };
        match called {
            Some(outcome) => {
                outcome.map_err(|message| (first.place, format!("error calling {name}: {message}")))
            }
            None => {
                // An unknown name is the better complaint.
                self.fields(receiver, std::slice::from_ref(name), first.place)?;
                Err((
                    first.place,
                    format!("{name} has arguments but cannot be invoked as function"),
                ))
            }
        }
    }

    fn function(
        &mut self,
        dot: &Value<'a>,
        function: Function,
        operands: &'a [Operand],
        piped: Option<Value<'a>>,
        place: Place,
    ) -> Result<Value<'a>, Failure> {
        function
            .check_count(operands.len() + usize::from(piped.is_some()))
            .map_err(|message| (place, message))?;
        let mut args = Vec::with_capacity(operands.len() + 1);
        for operand in operands {
            let value = self.operand(dot, operand)?;
            // `and` and `or` stop at the argument that decides.
            let decided = match function {
                Function::And => !value.truth(),
                Function::Or => value.truth(),
                _ => false,
            };
            if decided {
                return Ok(value);
            }
            args.push(value);
        }
        args.extend(piped);
        function.call(args).map_err(|message| {
            (
                place,
                format!("error calling {}: {message}", function.name()),
            )
        })
    }

    fn operand(&mut self, dot: &Value<'a>, operand: &'a Operand) -> Result<Value<'a>, Failure> {
        self.step(operand.place)?;
        let base = self.base(dot, operand)?;
        self.fields(base, &operand.fields, operand.place)
    }

    fn base(&mut self, dot: &Value<'a>, operand: &'a Operand) -> Result<Value<'a>, Failure> {
        Ok(match &operand.base {
            Base::Dot => dot.clone(),
            Base::Nil => Value::Plain(expr::Value::Nil),
            Base::Const(value) => Value::Plain(value.borrowed()),
            Base::Variable(slot) => {
                let value = self.variables.get(*slot).cloned().unwrap_or(Value::Missing);
                self.charge(copy_cost(&value), operand.place)?;
                value
            }
            Base::Function(function) => {
                function
                    .check_count(0)
                    .map_err(|message| (operand.place, message))?;
                function
                    .call(Vec::new())
                    .map_err(|message| (operand.place, message))?
            }
            Base::Paren(pipe) => {
                let scope = self.variables.len();
                let value = self.pipe(dot, pipe)?;
                self.variables.truncate(scope);
                value
            }
        })
    }

    fn fields(
        &mut self,
        base: Value<'a>,
        names: &'a [Box<str>],
        place: Place,
    ) -> Result<Value<'a>, Failure> {
        let mut value = base;
        for name in names {
            value = match value {
                Value::Object(object) => match (object.field(name), object.call(name, &[])) {
                    (Some(value), _) | (None, Some(Ok(value))) => value,
                    (None, Some(Err(message))) => {
                        return Err((place, format!("error calling {name}: {message}")));
                    }
                    (None, None) if object.keys().is_some() => Value::Missing,
                    (None, None) => {
                        let kind = object.type_name();
                        return Err((place, format!("can't evaluate field {name} in type {kind}")));
                    }
                },
                Value::Plain(expr::Value::Map(entries)) => {
                    let found = entries.into_iter().find(|(key, _)| **key == **name);
                    found.map_or(Value::Missing, |(_, value)| Value::Plain(value))
                }
                Value::Missing | Value::Plain(expr::Value::Nil) => {
                    return Err((place, format!("nil data; no entry for key {name:?}")));
                }
                other => {
                    return Err((
                        place,
                        format!("can't evaluate field {name} in type {}", other.type_name()),
                    ));
                }
            };
        }
        Ok(value)
    }
}

// === helpers ===

/// Steps that copying a value costs; what is borrowed is not copied.
fn copy_cost(value: &Value<'_>) -> usize {
    match value {
        Value::Plain(expr::Value::Str(text)) => text.len() / 64,
        Value::Plain(expr::Value::List(List::Owned(items))) => items.len(),
        _ => 0,
    }
}

/// What `range` goes over: keys or places, and items; maps in the order of their keys.
fn entries(value: Value<'_>) -> Result<Vec<(Value<'_>, Value<'_>)>, String> {
    let too_many = || Err("range has too many items".to_string());
    match value {
        Value::Missing | Value::Plain(expr::Value::Nil) => Ok(Vec::new()),
        Value::Plain(expr::Value::List(items)) => Ok(counted(items)),
        Value::Plain(expr::Value::Int(count)) => match usize::try_from(count.max(0)) {
            Ok(count) if count <= limits::EXPR_ITEMS => {
                let items = (0..count as i64).map(expr::Value::Int).collect();
                Ok(counted(List::Owned(items)))
            }
            _ => too_many(),
        },
        Value::Plain(expr::Value::Map(mut entries)) => {
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            let pair = |(key, value)| (Value::Plain(expr::Value::Str(key)), Value::Plain(value));
            Ok(entries.into_iter().map(pair).collect())
        }
        Value::Object(object) => {
            let Some(mut keys) = object.keys() else {
                return Err(format!("range can't iterate over {}", object.type_name()));
            };
            keys.sort_unstable();
            let pair = |key: &str| {
                (
                    key.to_string().into(),
                    object.field(key).unwrap_or(Value::Missing),
                )
            };
            Ok(keys.into_iter().map(pair).collect())
        }
        other => Err(format!("range can't iterate over {other}")),
    }
}

fn counted(items: List<'_>) -> Vec<(Value<'_>, Value<'_>)> {
    let pair = |(place, item)| (expr::Value::Int(place as i64).into(), Value::Plain(item));
    items.into_vec().into_iter().enumerate().map(pair).collect()
}
