//! Walks the tree. Recursion is bounded by the tree's height, work by a count of steps.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::ast::{Binary, Each, Kind, Node, Pointer};
use super::operate::{
    COMPILE_STEPS, Outcome, STEP_OCTETS, arithmetic, compare, index, is_range, slice, unary,
    undefined, weight,
};
use super::value::{List, Value};
use super::{Env, Failure};
use crate::lang::regexp::Regexp;
use crate::limits;

/// Evaluates a tree over one query.
pub(super) fn evaluate<'a>(root: &'a Node, env: &'a dyn Env) -> Result<Value<'a>, Failure> {
    let mut machine = Machine {
        env,
        steps: limits::EXPR_STEPS,
        locals: Vec::new(),
        scopes: Vec::new(),
    };
    machine.eval(root)
}

/// The state of one evaluation. The vectors allocate only for expressions that use `let` or predicates.
pub(super) struct Machine<'a> {
    env: &'a dyn Env,
    /// Steps that may still be taken.
    steps: u32,
    locals: Vec<Value<'a>>,
    scopes: Vec<Scope<'a>>,
}

/// What `#`, `#index` and `#acc` stand for.
struct Scope<'a> {
    item: Value<'a>,
    index: usize,
    accumulator: Value<'a>,
}

// === impl Machine ===

impl<'a> Machine<'a> {
    fn eval(&mut self, node: &'a Node) -> Result<Value<'a>, Failure> {
        let placed = |message: String| Failure {
            at: node.at,
            message,
        };
        self.charge(1).map_err(placed)?;
        match &node.kind {
            Kind::Const(value) => Ok(value.borrowed()),
            Kind::Or(parts) => self.decide(parts, true),
            Kind::And(parts) => self.decide(parts, false),
            Kind::Unary(operator, operand) => {
                let value = self.eval(operand)?;
                unary(*operator, value).map_err(placed)
            }
            Kind::Binary(Binary::Coalesce, nodes) => match self.eval(&nodes[0])? {
                Value::Nil => self.eval(&nodes[1]),
                value => Ok(value),
            },
            Kind::Binary(Binary::In, nodes) if is_range(&nodes[1]) => self.in_range(nodes),
            Kind::Binary(operator, nodes) => {
                let left = self.eval(&nodes[0])?;
                let right = self.eval(&nodes[1])?;
                self.binary(*operator, left, right).map_err(placed)
            }
            Kind::Matches(left, regexp) => match self.eval(left)? {
                Value::Str(text) => Ok(Value::Bool(regexp.is_match(&text))),
                Value::Nil => Ok(Value::Bool(false)),
                other => Err(placed(undefined("matches", &other, &Value::Str("".into())))),
            },
            Kind::Conditional(nodes) => {
                let condition = self.truth(&nodes[0])?;
                self.eval(if condition { &nodes[1] } else { &nodes[2] })
            }
            Kind::Call(name, args) => {
                let args = self.each(args)?;
                self.env.call(name, &args).map_err(placed)
            }
            Kind::Builtin(builtin, args) => {
                let args = self.each(args)?;
                let value = builtin.call(args, self).map_err(placed)?;
                self.admit(value).map_err(placed)
            }
            Kind::Let(nodes) => {
                let value = self.eval(&nodes[0])?;
                self.locals.push(value);
                let body = self.eval(&nodes[1]);
                self.locals.pop();
                body
            }
            Kind::Variable(place) => {
                let value = self.env.variable(*place).unwrap_or(Value::Nil);
                self.admit(value).map_err(placed)
            }
            Kind::Local(slot) => {
                let value = self.locals.get(*slot).cloned().unwrap_or(Value::Nil);
                self.admit(value).map_err(placed)
            }
            Kind::Pointer(pointer) => self.pointer(*pointer).map_err(placed),
            Kind::List(nodes) => {
                let items = self.each(nodes)?;
                self.admit(Value::List(List::Owned(items))).map_err(placed)
            }
            Kind::Map(entries) => self.map(entries),
            Kind::Each(each, list, body) => self.over(node.at, *each, list, body.as_deref()),
            Kind::Reduce(list, body, initial) => self.reduce(list, body, initial.as_deref()),
            Kind::Index(nodes, optional) => {
                let base = self.eval(&nodes[0])?;
                if matches!(base, Value::Nil) && *optional {
                    return Ok(Value::Nil);
                }
                let key = self.eval(&nodes[1])?;
                index(base, &key).map_err(placed)
            }
            Kind::Slice(base, from, to) => {
                let base = self.eval(base)?;
                let from = self.bound(from.as_deref())?;
                let to = self.bound(to.as_deref())?;
                slice(base, from, to).map_err(placed)
            }
        }
    }

    // --- bounds

    /// Counts work before it is done.
    pub(super) fn charge(&mut self, steps: usize) -> Result<(), String> {
        let left = u32::try_from(steps)
            .ok()
            .and_then(|steps| self.steps.checked_sub(steps));
        self.steps = left.ok_or("expression takes too many steps")?;
        Ok(())
    }

    /// Lets a value in that was made or copied, if it is small enough.
    fn admit(&mut self, value: Value<'a>) -> Outcome<'a> {
        let cost = weight(&value, limits::EXPR_VALUE_DEPTH)?;
        self.charge(cost)?;
        Ok(value)
    }

    // --- parts

    fn each(&mut self, nodes: &'a [Node]) -> Result<Vec<Value<'a>>, Failure> {
        nodes.iter().map(|node| self.eval(node)).collect()
    }

    fn truth(&mut self, node: &'a Node) -> Result<bool, Failure> {
        match self.eval(node)? {
            Value::Bool(truth) => Ok(truth),
            other => {
                let message = format!("{} is not a bool", other.type_of());
                Err(Failure {
                    at: node.at,
                    message,
                })
            }
        }
    }

    /// The first part that has this truth decides.
    fn decide(&mut self, parts: &'a [Node], deciding: bool) -> Result<Value<'a>, Failure> {
        for part in parts {
            if self.truth(part)? == deciding {
                return Ok(Value::Bool(deciding));
            }
        }
        Ok(Value::Bool(!deciding))
    }

    fn bound(&mut self, node: Option<&'a Node>) -> Result<Option<i64>, Failure> {
        let Some(node) = node else { return Ok(None) };
        match self.eval(node)? {
            Value::Int(value) => Ok(Some(value)),
            other => {
                let message = format!("non-integer slice index {}", other.type_of());
                Err(Failure {
                    at: node.at,
                    message,
                })
            }
        }
    }

    fn map(&mut self, entries: &'a [(Node, Node)]) -> Result<Value<'a>, Failure> {
        let mut map: Vec<(Cow<'a, str>, Value<'a>)> = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let Value::Str(name) = self.eval(key)? else {
                return Err(Failure {
                    at: key.at,
                    message: "map keys are strings".into(),
                });
            };
            let value = self.eval(value)?;
            map.retain(|(known, _)| *known != name);
            map.push((name, value));
        }
        let at = entries.first().map_or(0, |(key, _)| key.at);
        self.admit(Value::Map(map))
            .map_err(|message| Failure { at, message })
    }

    fn pointer(&mut self, pointer: Pointer) -> Outcome<'a> {
        let Some(scope) = self.scopes.last() else {
            return Ok(Value::Nil);
        };
        let value = match pointer {
            Pointer::Item => scope.item.clone(),
            Pointer::Index => Value::Int(scope.index as i64),
            Pointer::Accumulator => scope.accumulator.clone(),
        };
        self.admit(value)
    }

    // --- lists

    fn items(&mut self, node: &'a Node) -> Result<Vec<Value<'a>>, Failure> {
        let placed = |message: String| Failure {
            at: node.at,
            message,
        };
        match self.eval(node)? {
            Value::List(list) => {
                self.charge(list.len()).map_err(placed)?;
                Ok(list.into_vec())
            }
            other => Err(placed(format!("cannot iterate over {}", other.type_of()))),
        }
    }

    fn in_scope(
        &mut self,
        scope: Scope<'a>,
        body: &'a Node,
    ) -> Result<(Value<'a>, Scope<'a>), Failure> {
        self.scopes.push(scope);
        let value = self.eval(body);
        let scope = self.scopes.pop();
        let lost = || Failure {
            at: body.at,
            message: "predicate lost its scope".into(),
        };
        Ok((value?, scope.ok_or_else(lost)?))
    }

    fn over(
        &mut self,
        at: u32,
        each: Each,
        list: &'a Node,
        body: Option<&'a Node>,
    ) -> Result<Value<'a>, Failure> {
        let placed = |message: String| Failure { at, message };
        let items = self.items(list)?;
        let last_first = matches!(each, Each::FindLast | Each::FindLastIndex);
        let mut tally = Tally::new(each);
        let length = items.len();
        let mut items: Box<dyn Iterator<Item = (usize, Value<'a>)>> = if last_first {
            Box::new(items.into_iter().enumerate().rev())
        } else {
            Box::new(items.into_iter().enumerate())
        };
        while let Some((index, item)) = items.next().filter(|_| !tally.done) {
            let (value, item) = match body {
                Some(body) => {
                    let scope = Scope {
                        item,
                        index,
                        accumulator: Value::Nil,
                    };
                    let (value, scope) = self.in_scope(scope, body)?;
                    (value, scope.item)
                }
                None => (item, Value::Nil),
            };
            tally.take(index, item, value).map_err(placed)?;
        }
        let value = tally.finish(length);
        self.admit(value).map_err(placed)
    }

    fn reduce(
        &mut self,
        list: &'a Node,
        body: &'a Node,
        initial: Option<&'a Node>,
    ) -> Result<Value<'a>, Failure> {
        let mut items = self.items(list)?.into_iter().enumerate();
        let mut accumulator = match initial {
            Some(node) => self.eval(node)?,
            None => match items.next() {
                Some((_, first)) => first,
                None => {
                    return Err(Failure {
                        at: list.at,
                        message: "reduce of empty array with no initial value".into(),
                    });
                }
            },
        };
        for (index, item) in items {
            let scope = Scope {
                item,
                index,
                accumulator,
            };
            accumulator = self.in_scope(scope, body)?.0;
        }
        Ok(accumulator)
    }

    /// `x in a..b` without making the list.
    fn in_range(&mut self, nodes: &'a [Node; 2]) -> Result<Value<'a>, Failure> {
        let wanted = self.eval(&nodes[0])?;
        let Kind::Binary(_, ends) = &nodes[1].kind else {
            return Ok(Value::Bool(false));
        };
        let (low, high) = (self.eval(&ends[0])?, self.eval(&ends[1])?);
        Ok(Value::Bool(match (wanted, low, high) {
            (Value::Int(wanted), Value::Int(low), Value::Int(high)) => {
                low <= wanted && wanted <= high
            }
            _ => false,
        }))
    }

    // --- operators

    fn binary(&mut self, operator: Binary, left: Value<'a>, right: Value<'a>) -> Outcome<'a> {
        let truth = match operator {
            Binary::Equal | Binary::NotEqual => {
                if matches!(left, Value::List(_) | Value::Map(_)) {
                    self.charge(weight(&left, limits::EXPR_VALUE_DEPTH)?)?;
                }
                left.same(&right) == (operator == Binary::Equal)
            }
            Binary::Less | Binary::LessEqual | Binary::Greater | Binary::GreaterEqual => {
                let order = compare(operator, &left, &right)?;
                match operator {
                    Binary::Less => order == Some(Ordering::Less),
                    Binary::LessEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
                    Binary::Greater => order == Some(Ordering::Greater),
                    _ => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
                }
            }
            Binary::In => self.contains(&left, &right)?,
            Binary::Matches | Binary::Contains | Binary::StartsWith | Binary::EndsWith => {
                match (&left, &right) {
                    (Value::Str(text), Value::Str(part)) => self.text_test(operator, text, part)?,
                    (Value::Nil, _) | (_, Value::Nil) => false,
                    _ => return Err(undefined(operator.name(), &left, &right)),
                }
            }
            Binary::Range => return self.range(&left, &right),
            _ => {
                let value = arithmetic(operator, left, right)?;
                return self.admit(value);
            }
        };
        Ok(Value::Bool(truth))
    }

    fn contains(&mut self, item: &Value<'a>, whole: &Value<'a>) -> Result<bool, String> {
        match whole {
            Value::Nil => Ok(false),
            Value::List(items) => {
                self.charge(items.len())?;
                Ok(items.iter().any(|known| known.same(item)))
            }
            Value::Map(entries) => match item {
                Value::Str(key) => Ok(entries.iter().any(|(known, _)| known == key)),
                Value::Nil => Ok(false),
                _ => Err(format!("cannot use {} as map key", item.type_of())),
            },
            _ => Err(format!(
                "operator \"in\" not defined on {}",
                whole.type_of()
            )),
        }
    }

    fn text_test(&mut self, operator: Binary, text: &str, part: &str) -> Result<bool, String> {
        self.charge(text.len() / STEP_OCTETS)?;
        Ok(match operator {
            Binary::Contains => text.contains(part),
            Binary::StartsWith => text.starts_with(part),
            Binary::EndsWith => text.ends_with(part),
            _ => {
                // Compiling costs far more than a step.
                self.charge(COMPILE_STEPS)?;
                Regexp::compile_within(part, limits::EXPR_REGEXP_OCTETS)?.is_match(text)
            }
        })
    }

    fn range(&mut self, low: &Value<'a>, high: &Value<'a>) -> Outcome<'a> {
        let (Value::Int(low), Value::Int(high)) = (low, high) else {
            return Err(undefined("..", low, high));
        };
        if low > high {
            return Ok(Value::List(List::Owned(Vec::new())));
        }
        let length = high
            .checked_sub(*low)
            .and_then(|span| usize::try_from(span).ok());
        if length.is_none_or(|length| length >= limits::EXPR_ITEMS) {
            return Err("range has too many items".into());
        }
        self.admit(Value::List(List::Owned(
            (*low..=*high).map(Value::Int).collect(),
        )))
    }
}

// === predicates ===

/// What a function over items has found so far.
struct Tally<'a> {
    each: Each,
    /// The answer is known: the other items need not be looked at.
    done: bool,
    hits: i64,
    found: Option<Value<'a>>,
    items: Vec<Value<'a>>,
}

impl<'a> Tally<'a> {
    fn new(each: Each) -> Self {
        Self {
            each,
            done: false,
            hits: 0,
            found: None,
            items: Vec::new(),
        }
    }

    fn take(&mut self, index: usize, item: Value<'a>, value: Value<'a>) -> Result<(), String> {
        match self.each {
            Each::Map => {
                self.items.push(value);
                return Ok(());
            }
            Each::Sum => {
                let sum = self.found.take().unwrap_or(Value::Int(0));
                self.found = Some(arithmetic(Binary::Add, sum, value)?);
                return Ok(());
            }
            _ => {}
        }
        let Value::Bool(hit) = value else {
            return Err(format!(
                "predicate should return boolean (got {})",
                value.type_of()
            ));
        };
        self.hits += i64::from(hit);
        match (self.each, hit) {
            (Each::Filter, true) => self.items.push(item),
            (Each::All, false) | (Each::Any | Each::None, true) => self.done = true,
            (Each::One, true) => self.done = self.hits > 1,
            (Each::Find | Each::FindLast, true) => (self.found, self.done) = (Some(item), true),
            (Each::FindIndex | Each::FindLastIndex, true) => {
                (self.found, self.done) = (Some(Value::Int(index as i64)), true);
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(self, length: usize) -> Value<'a> {
        match self.each {
            Each::All => Value::Bool(self.hits == length as i64),
            Each::Any => Value::Bool(self.hits > 0),
            Each::None => Value::Bool(self.hits == 0),
            Each::One => Value::Bool(self.hits == 1),
            Each::Count => Value::Int(self.hits),
            Each::Filter | Each::Map => Value::List(List::Owned(self.items)),
            Each::Sum => self.found.unwrap_or(Value::Int(0)),
            Each::Find | Each::FindLast | Each::FindIndex | Each::FindLastIndex => {
                self.found.unwrap_or(Value::Nil)
            }
        }
    }
}
