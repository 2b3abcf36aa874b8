//! Tokens to a tree: precedence climbing, with the operators' ranks of expr-lang.

use super::ast::{Binary, Kind, Node, Pointer, Unary};
use super::builtin::Builtin;
use super::lexer::{Token, TokenKind};
use super::value::{List, Value};
use super::{Failure, Function, Variable};
use crate::lang::regexp::Regexp;
use crate::limits;

/// Parses all tokens as one expression over these functions and variables.
pub(super) fn parse(
    tokens: Vec<Token>,
    functions: &[Function],
    variables: &[Variable],
) -> Result<Node, Failure> {
    let mut parser = Parser {
        tokens,
        at: 0,
        functions,
        variables,
        lets: Vec::new(),
        predicates: 0,
        depth: 0,
    };
    let node = parser.expression(0)?;
    match parser.kind() {
        TokenKind::End => Ok(node),
        _ => parser.unexpected(),
    }
}

pub(super) struct Parser<'f> {
    /// The last token is `End`.
    tokens: Vec<Token>,
    at: usize,
    pub(super) functions: &'f [Function],
    variables: &'f [Variable],
    /// Names of the open `let`s, outermost first.
    lets: Vec<String>,
    /// Open predicates; `#` means something inside them only.
    pub(super) predicates: u32,
    /// Open calls of `expression`; bounded by `limits::EXPR_DEPTH`.
    depth: u32,
}

impl Parser<'_> {
    // --- tokens

    pub(super) fn kind(&self) -> &TokenKind {
        self.tokens
            .get(self.at)
            .map_or(&TokenKind::End, |token| &token.kind)
    }

    pub(super) fn position(&self) -> u32 {
        self.tokens
            .get(self.at.min(self.tokens.len() - 1))
            .map_or(0, |token| token.at)
    }

    pub(super) fn next(&mut self) {
        self.at = (self.at + 1).min(self.tokens.len() - 1);
    }

    pub(super) fn is(&self, text: &str) -> bool {
        match self.kind() {
            TokenKind::Operator(operator) => *operator == text,
            TokenKind::Bracket(c) => text.len() == 1 && text.starts_with(*c),
            _ => false,
        }
    }

    pub(super) fn take(&mut self, text: &str) -> bool {
        let found = self.is(text);
        if found {
            self.next();
        }
        found
    }

    pub(super) fn expect(&mut self, text: &str) -> Result<(), Failure> {
        if self.take(text) {
            Ok(())
        } else {
            self.unexpected()
        }
    }

    pub(super) fn unexpected<T>(&self) -> Result<T, Failure> {
        self.fail(
            self.position(),
            format!("unexpected token {}", self.kind().shown()),
        )
    }

    pub(super) fn fail<T>(&self, at: u32, message: impl Into<String>) -> Result<T, Failure> {
        Err(Failure {
            at,
            message: message.into(),
        })
    }

    pub(super) fn node(&self, at: u32, kind: Kind) -> Result<Node, Failure> {
        let mut node = Node {
            kind,
            at,
            height: 1,
        };
        node.height += node
            .children()
            .iter()
            .map(|child| child.height)
            .max()
            .unwrap_or(0);
        if node.height > limits::EXPR_DEPTH {
            return self.fail(at, "expression nests too deeply");
        }
        Ok(node)
    }

    // --- operators

    pub(super) fn expression(&mut self, rank: u32) -> Result<Node, Failure> {
        self.depth += 1;
        if self.depth > limits::EXPR_DEPTH {
            return self.fail(self.position(), "expression nests too deeply");
        }
        let node = if self.is("let") {
            self.variable()
        } else if self.is("if") {
            self.if_else()
        } else {
            self.operators(rank)
        };
        self.depth -= 1;
        node
    }

    fn operators(&mut self, rank: u32) -> Result<Node, Failure> {
        let mut left = self.primary()?;
        let mut after_coalesce = false;
        while let TokenKind::Operator(mut operator) = *self.kind() {
            let start = self.at;
            let at = self.position();
            let negated = operator == "not";
            if negated {
                self.next();
                operator = match self.kind() {
                    TokenKind::Operator(o) if NEGATABLE.contains(o) => o,
                    _ => return self.unexpected(),
                };
            }
            let Some(found) = operator_rank(operator).filter(|found| *found >= rank) else {
                self.at = start;
                break;
            };
            self.next();
            if operator == "|" {
                left = self.pipe(left)?;
                continue;
            }
            if after_coalesce && operator != "??" {
                return self.fail(
                    at,
                    format!("Operator ({operator}) and coalesce expressions (??) cannot be mixed. Wrap either by parentheses."),
                );
            }
            after_coalesce = operator == "??";
            left = if COMPARISONS.contains(&operator) {
                self.comparison(at, operator, left, found)?
            } else {
                // Only the power operator groups to the right.
                let right = self.expression(if found == 100 { found } else { found + 1 })?;
                self.binary(at, operator, left, right)?
            };
            if negated {
                left = self.node(at, Kind::Unary(Unary::Not, Box::new(left)))?;
            }
        }
        if rank == 0 {
            self.conditional(left)
        } else {
            Ok(left)
        }
    }

    fn binary(&self, at: u32, operator: &str, left: Node, right: Node) -> Result<Node, Failure> {
        let kind = match (operator, right.kind) {
            ("or" | "||", kind) => return self.chain(at, left, Node { kind, ..right }, true),
            ("and" | "&&", kind) => return self.chain(at, left, Node { kind, ..right }, false),
            ("matches", Kind::Const(Value::Str(pattern))) => match Regexp::compile(&pattern) {
                Ok(regexp) => Kind::Matches(Box::new(left), regexp),
                Err(error) => return self.fail(right.at, error),
            },
            (_, kind) => match Binary::named(operator) {
                Some((operator, _)) => {
                    Kind::Binary(operator, Box::new([left, Node { kind, ..right }]))
                }
                None => return self.unexpected(),
            },
        };
        self.node(at, kind)
    }

    /// `a or b or c` becomes one node, however long.
    fn chain(&self, at: u32, left: Node, right: Node, or: bool) -> Result<Node, Failure> {
        let mut parts = match (left.kind, or) {
            (Kind::Or(parts), true) | (Kind::And(parts), false) => parts,
            (kind, _) => vec![Node { kind, ..left }],
        };
        parts.push(right);
        self.node(
            at,
            if or {
                Kind::Or(parts)
            } else {
                Kind::And(parts)
            },
        )
    }

    /// `a < b < c` means `a < b && b < c`.
    fn comparison(
        &mut self,
        at: u32,
        operator: &str,
        left: Node,
        rank: u32,
    ) -> Result<Node, Failure> {
        let middle = self.expression(rank + 1)?;
        let next = match *self.kind() {
            TokenKind::Operator(next) if COMPARISONS.contains(&next) => next,
            _ => return self.binary(at, operator, left, middle),
        };
        // The middle is copied: bounded, or nested chains would grow without end.
        if nodes(&middle) > CHAIN_NODES_MAX {
            return self.fail(middle.at, "comparison chain is too complex");
        }
        let first = self.binary(at, operator, left, middle.clone())?;
        let at = self.position();
        self.next();
        let rest = self.comparison(at, next, middle, rank)?;
        self.chain(at, first, rest, false)
    }

    /// `value | function(args)` calls the function with the value first.
    fn pipe(&mut self, left: Node) -> Result<Node, Failure> {
        let at = self.position();
        let TokenKind::Name(name) = self.kind().clone() else {
            return self.unexpected();
        };
        self.next();
        let node = self.call(at, &name, Some(left))?;
        self.postfix(node)
    }

    fn conditional(&mut self, mut node: Node) -> Result<Node, Failure> {
        while self.is("?") {
            let at = self.position();
            self.next();
            let yes = if self.is(":") {
                if nodes(&node) > CHAIN_NODES_MAX {
                    return self.fail(node.at, "condition of ?: is too complex");
                }
                node.clone()
            } else {
                self.expression(0)?
            };
            self.expect(":")?;
            let no = self.expression(0)?;
            node = self.node(at, Kind::Conditional(Box::new([node, yes, no])))?;
        }
        Ok(node)
    }

    fn if_else(&mut self) -> Result<Node, Failure> {
        let at = self.position();
        self.expect("if")?;
        let condition = self.expression(0)?;
        self.expect("{")?;
        let yes = self.expression(0)?;
        self.expect("}")?;
        self.expect("else")?;
        let no = if self.is("if") {
            self.expression(0)?
        } else {
            self.expect("{")?;
            let no = self.expression(0)?;
            self.expect("}")?;
            no
        };
        self.node(at, Kind::Conditional(Box::new([condition, yes, no])))
    }

    /// `let name = value; body`.
    fn variable(&mut self) -> Result<Node, Failure> {
        let at = self.position();
        self.expect("let")?;
        let TokenKind::Name(name) = self.kind().clone() else {
            return self.unexpected();
        };
        if self.lets.contains(&name) {
            return self.fail(self.position(), format!("cannot redeclare variable {name}"));
        }
        if self.functions.iter().any(|f| f.name == name) || Builtin::named(&name).is_some() {
            return self.fail(self.position(), format!("cannot redeclare builtin {name}"));
        }
        self.next();
        self.expect("=")?;
        let value = self.expression(0)?;
        self.expect(";")?;
        self.lets.push(name);
        let body = self.expression(0);
        self.lets.pop();
        self.node(at, Kind::Let(Box::new([value, body?])))
    }

    // --- operands

    fn primary(&mut self) -> Result<Node, Failure> {
        let at = self.position();
        let unary = match self.kind() {
            TokenKind::Operator("not" | "!") => Some((Unary::Not, 50)),
            TokenKind::Operator("-") => Some((Unary::Minus, 90)),
            TokenKind::Operator("+") => Some((Unary::Plus, 90)),
            _ => None,
        };
        if let Some((unary, rank)) = unary {
            self.next();
            let operand = self.expression(rank)?;
            let kind = match (unary, &operand.kind) {
                (Unary::Minus, Kind::Const(Value::Int(value))) => {
                    Kind::Const(Value::Int(value.wrapping_neg()))
                }
                (Unary::Minus, Kind::Const(Value::Float(value))) => {
                    Kind::Const(Value::Float(-value))
                }
                _ => Kind::Unary(unary, Box::new(operand)),
            };
            let node = self.node(at, kind)?;
            return self.postfix(node);
        }
        let node = self.operand(at)?;
        self.postfix(node)
    }

    fn operand(&mut self, at: u32) -> Result<Node, Failure> {
        let kind = self.kind().clone();
        let constant = match kind {
            TokenKind::Int(value) => Value::Int(value),
            TokenKind::Float(value) => Value::Float(value),
            TokenKind::Str(text) => Value::Str(text.into()),
            TokenKind::Name(name) => {
                self.next();
                return self.name(at, &name);
            }
            TokenKind::Bracket('(') => {
                self.next();
                let node = self.expression(0)?;
                self.expect(")")?;
                return Ok(node);
            }
            TokenKind::Bracket('[') => return self.array(at),
            TokenKind::Bracket('{') => return self.map(at),
            TokenKind::Operator("#") if self.predicates > 0 => return self.pointer(at),
            // `.name` in a predicate is a member of the item.
            TokenKind::Operator(".") if self.predicates > 0 => {
                return self.node(at, Kind::Pointer(Pointer::Item));
            }
            _ => return self.unexpected(),
        };
        self.next();
        self.node(at, Kind::Const(constant))
    }

    fn pointer(&mut self, at: u32) -> Result<Node, Failure> {
        self.next();
        let mut pointer = Pointer::Item;
        if let TokenKind::Name(name) = self.kind() {
            pointer = match name.as_str() {
                "index" => Pointer::Index,
                "acc" => Pointer::Accumulator,
                _ => return self.fail(at, format!("unknown pointer #{name}")),
            };
            self.next();
        }
        self.node(at, Kind::Pointer(pointer))
    }

    fn array(&mut self, at: u32) -> Result<Node, Failure> {
        let items = self.list("[", "]")?;
        let constant = items.iter().map(|item| match &item.kind {
            Kind::Const(value) => Some(value.clone()),
            _ => None,
        });
        let kind = match constant.collect::<Option<Vec<_>>>() {
            Some(values) => Kind::Const(Value::List(List::Owned(values))),
            None => Kind::List(items),
        };
        let mut node = self.node(at, kind)?;
        // A folded array keeps the depth of what it holds, so that values stay as bounded as trees.
        if let Kind::Const(value) = &node.kind {
            node.height = value_depth(value);
        }
        if node.height > limits::EXPR_VALUE_DEPTH {
            return self.fail(at, "array nests too deeply");
        }
        Ok(node)
    }

    fn map(&mut self, at: u32) -> Result<Node, Failure> {
        self.expect("{")?;
        let mut entries = Vec::new();
        while !self.is("}") {
            let at = self.position();
            let key = match self.kind().clone() {
                TokenKind::Name(name) | TokenKind::Str(name) => Value::Str(name.into()),
                TokenKind::Int(value) => Value::Str(value.to_string().into()),
                TokenKind::Operator(word) if word.starts_with(char::is_alphabetic) => {
                    Value::Str(word.into())
                }
                TokenKind::Bracket('(') => Value::Nil,
                _ => return self.unexpected(),
            };
            let key = if key == Value::Nil {
                self.expression(0)?
            } else {
                self.next();
                self.node(at, Kind::Const(key))?
            };
            self.expect(":")?;
            entries.push((key, self.expression(0)?));
            if !self.is("}") {
                self.expect(",")?;
            }
        }
        self.expect("}")?;
        self.node(at, Kind::Map(entries))
    }

    /// Expressions between brackets, separated by commas; one comma may stand last.
    pub(super) fn list(&mut self, open: &str, close: &str) -> Result<Vec<Node>, Failure> {
        self.expect(open)?;
        let mut nodes = Vec::new();
        while !self.is(close) {
            nodes.push(self.expression(0)?);
            if nodes.len() > limits::EXPR_ITEMS {
                return self.fail(self.position(), "too many items");
            }
            if !self.is(close) {
                self.expect(",")?;
            }
        }
        self.expect(close)?;
        Ok(nodes)
    }

    /// A variable of a `let` or of the environment.
    fn named(&self, at: u32, name: &str) -> Result<Kind, Failure> {
        if let Some(slot) = self.lets.iter().position(|known| known == name) {
            return Ok(Kind::Local(slot));
        }
        if let Some(place) = self.variables.iter().position(|known| known.name == name) {
            return Ok(Kind::Variable(place));
        }
        if self.functions.iter().any(|f| f.name == name) {
            return self.fail(at, format!("{name} is a function: write {name}()"));
        }
        self.fail(at, format!("unknown name {name}"))
    }

    fn name(&mut self, at: u32, name: &str) -> Result<Node, Failure> {
        if self.is("(") {
            return self.call(at, name, None);
        }
        let kind = match name {
            "true" => Kind::Const(Value::Bool(true)),
            "false" => Kind::Const(Value::Bool(false)),
            "nil" => Kind::Const(Value::Nil),
            _ => self.named(at, name)?,
        };
        self.node(at, kind)
    }
}

// === helpers ===

fn operator_rank(operator: &str) -> Option<u32> {
    match operator {
        "|" => Some(0),
        "or" | "||" => Some(10),
        "and" | "&&" => Some(15),
        _ => Binary::named(operator).map(|(_, rank)| rank),
    }
}

/// Nodes of a tree, counted no further than one above the bound of chains.
fn nodes(node: &Node) -> usize {
    let mut count = 1;
    for child in node.children() {
        if count > CHAIN_NODES_MAX {
            break;
        }
        count += nodes(child);
    }
    count
}

fn value_depth(value: &Value<'_>) -> u32 {
    match value {
        Value::List(items) => 1 + items.iter().map(value_depth).max().unwrap_or(0),
        _ => 1,
    }
}

const NEGATABLE: [&str; 5] = ["in", "matches", "contains", "startsWith", "endsWith"];
const COMPARISONS: [&str; 4] = ["<", "<=", ">", ">="];
/// Nodes of a part that the parser copies.
const CHAIN_NODES_MAX: usize = 16;
