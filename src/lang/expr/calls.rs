//! The part of the parser that follows an operand: calls, predicates and members.

use super::Failure;
use super::ast::{Each, Kind, Node};
use super::builtin::Builtin;
use super::lexer::TokenKind;
use super::parser::Parser;
use super::value::Value;

impl Parser<'_> {
    // --- calls

    pub(super) fn call(
        &mut self,
        at: u32,
        name: &str,
        first: Option<Node>,
    ) -> Result<Node, Failure> {
        if let Some(function) = self.functions.iter().find(|function| function.name == name) {
            let (name, count) = (function.name, function.args.len());
            let args = self.arguments(first)?;
            self.check_count(at, name, args.len(), count, count)?;
            return self.node(at, Kind::Call(name, args));
        }
        if let Some(each) = Each::named(name) {
            // `sum` and `count` work without a predicate too.
            let optional = matches!(each, Each::Sum | Each::Count);
            let (list, body, _) = self.predicate_arguments(at, name, first, optional, false)?;
            return self.node(at, Kind::Each(each, Box::new(list), body.map(Box::new)));
        }
        if name == "reduce" {
            let (list, body, initial) = self.predicate_arguments(at, name, first, false, true)?;
            let Some(body) = body else {
                return self.unexpected();
            };
            return self.node(
                at,
                Kind::Reduce(Box::new(list), Box::new(body), initial.map(Box::new)),
            );
        }
        if let Some(builtin) = Builtin::named(name) {
            let args = self.arguments(first)?;
            let (least, most) = builtin.arity();
            self.check_count(at, name, args.len(), least, most)?;
            return self.node(at, Kind::Builtin(builtin, args));
        }
        self.fail(at, format!("unknown name {name}"))
    }

    fn arguments(&mut self, first: Option<Node>) -> Result<Vec<Node>, Failure> {
        let mut args: Vec<Node> = first.into_iter().collect();
        args.extend(self.list("(", ")")?);
        Ok(args)
    }

    fn check_count(
        &self,
        at: u32,
        name: &str,
        count: usize,
        least: usize,
        most: usize,
    ) -> Result<(), Failure> {
        if count < least {
            return self.fail(at, format!("not enough arguments to call {name}"));
        }
        if count > most {
            return self.fail(at, format!("too many arguments to call {name}"));
        }
        Ok(())
    }

    /// `(list, body[, initial])`; the list may come from a pipe.
    fn predicate_arguments(
        &mut self,
        at: u32,
        name: &str,
        first: Option<Node>,
        optional: bool,
        initial: bool,
    ) -> Result<(Node, Option<Node>, Option<Node>), Failure> {
        self.expect("(")?;
        let piped = first.is_some();
        let list = match first {
            Some(node) => node,
            None => self.expression(0)?,
        };
        let more = if piped {
            !self.is(")")
        } else {
            self.take(",") && !self.is(")")
        };
        if !more {
            if !optional {
                return self.fail(at, format!("not enough arguments to call {name}"));
            }
            self.expect(")")?;
            return Ok((list, None, None));
        }
        let body = self.predicate()?;
        let start = if initial && self.take(",") {
            Some(self.expression(0)?)
        } else {
            None
        };
        self.take(",");
        self.expect(")")?;
        Ok((list, Some(body), start))
    }

    fn predicate(&mut self) -> Result<Node, Failure> {
        let braces = self.take("{");
        self.predicates += 1;
        let body = self.expression(0)?;
        self.predicates -= 1;
        if braces {
            self.expect("}")?;
        }
        Ok(body)
    }

    // --- members

    pub(super) fn postfix(&mut self, mut node: Node) -> Result<Node, Failure> {
        // After `?.` a missing member makes the whole chain nil.
        let mut optional = false;
        loop {
            let at = self.position();
            if self.is(".") || self.is("?.") {
                optional |= self.is("?.");
                self.next();
                if self.is("[") {
                    continue;
                }
                let name = match self.kind().clone() {
                    TokenKind::Name(name) => name,
                    TokenKind::Operator(word) if word.starts_with(char::is_alphabetic) => {
                        word.into()
                    }
                    _ => return self.unexpected(),
                };
                self.next();
                if self.is("(") {
                    return self.fail(at, format!("{name} is no method"));
                }
                let key = self.node(at, Kind::Const(Value::Str(name.into())))?;
                node = self.node(at, Kind::Index(Box::new([node, key]), optional))?;
            } else if self.is("[") {
                self.next();
                node = self.index(at, node, optional)?;
            } else {
                return Ok(node);
            }
        }
    }

    fn index(&mut self, at: u32, node: Node, optional: bool) -> Result<Node, Failure> {
        let from = if self.is(":") {
            None
        } else {
            Some(self.expression(0)?)
        };
        if self.take(":") {
            let to = if self.is("]") {
                None
            } else {
                Some(self.expression(0)?)
            };
            self.expect("]")?;
            return self.node(
                at,
                Kind::Slice(Box::new(node), from.map(Box::new), to.map(Box::new)),
            );
        }
        self.expect("]")?;
        match from {
            Some(key) => self.node(at, Kind::Index(Box::new([node, key]), optional)),
            None => self.unexpected(),
        }
    }
}
