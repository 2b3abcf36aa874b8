//! The tree of a parsed expression.

use super::Value;
use super::builtin::Builtin;
use crate::lang::regexp::Regexp;

/// One node with the character at which it begins.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub kind: Kind,
    pub at: u32,
    /// Nodes on the longest way down, this one included: `height <= limits::EXPR_DEPTH` bounds every recursion.
    pub height: u32,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Const(Value<'static>),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
    Unary(Unary, Box<Node>),
    Binary(Binary, Box<[Node; 2]>),
    /// Two or more alternatives: a chain is one node, so that its length is not depth.
    Or(Vec<Node>),
    And(Vec<Node>),
    /// `left matches PATTERN` with a constant pattern.
    Matches(Box<Node>, Regexp),
    /// Condition, value if true, value if false.
    Conditional(Box<[Node; 3]>),
    /// A function of the environment.
    Call(&'static str, Vec<Node>),
    Builtin(Builtin, Vec<Node>),
    Each(Each, Box<Node>, Option<Box<Node>>),
    /// `reduce(list, body, initial)`.
    Reduce(Box<Node>, Box<Node>, Option<Box<Node>>),
    Pointer(Pointer),
    /// Value and body of a `let`.
    Let(Box<[Node; 2]>),
    /// A variable of the environment, by its place in the list given to the compiler.
    Variable(usize),
    /// The variable of the n-th open `let`, counted from the outermost.
    Local(usize),
    /// Collection and key; `true` gives `nil` for a member of `nil`.
    Index(Box<[Node; 2]>, bool),
    Slice(Box<Node>, Option<Box<Node>>, Option<Box<Node>>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unary {
    Not,
    Minus,
    Plus,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Binary {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    In,
    Matches,
    Contains,
    StartsWith,
    EndsWith,
    Range,
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Power,
    Coalesce,
}

/// A function that runs its second argument once per item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Each {
    All,
    Any,
    None,
    One,
    Filter,
    Map,
    Count,
    Sum,
    Find,
    FindIndex,
    FindLast,
    FindLastIndex,
}

/// What `#` stands for inside a predicate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pointer {
    Item,
    Index,
    Accumulator,
}

// === impl Node ===

impl Node {
    /// The nodes directly below, in order of evaluation.
    pub(super) fn children(&self) -> Vec<&Node> {
        match &self.kind {
            Kind::Const(_) | Kind::Pointer(_) | Kind::Local(_) | Kind::Variable(_) => Vec::new(),
            Kind::List(nodes) | Kind::Or(nodes) | Kind::And(nodes) => nodes.iter().collect(),
            Kind::Call(_, nodes) | Kind::Builtin(_, nodes) => nodes.iter().collect(),
            Kind::Map(entries) => entries
                .iter()
                .flat_map(|(key, value)| [key, value])
                .collect(),
            Kind::Unary(_, node) | Kind::Matches(node, _) => vec![node],
            Kind::Binary(_, nodes) | Kind::Let(nodes) | Kind::Index(nodes, _) => {
                nodes.iter().collect()
            }
            Kind::Conditional(nodes) => nodes.iter().collect(),
            Kind::Each(_, list, body) => std::iter::once(&**list).chain(body.as_deref()).collect(),
            Kind::Reduce(list, body, initial) => [&**list, &**body]
                .into_iter()
                .chain(initial.as_deref())
                .collect(),
            Kind::Slice(base, from, to) => std::iter::once(&**base)
                .chain(from.as_deref())
                .chain(to.as_deref())
                .collect(),
        }
    }
}

// === names ===

impl Binary {
    pub(super) fn name(self) -> &'static str {
        BINARY
            .iter()
            .find(|(op, ..)| *op == self)
            .map_or("", |(_, name, _)| name)
    }

    /// The operator of this name with its precedence.
    pub(super) fn named(name: &str) -> Option<(Self, u32)> {
        BINARY
            .iter()
            .find(|(_, n, _)| *n == name || (name == "^" && *n == "**"))
            .map(|(op, _, rank)| (*op, *rank))
    }
}

impl Unary {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Not => "not",
            Self::Minus => "-",
            Self::Plus => "+",
        }
    }
}

impl Each {
    pub(super) fn named(name: &str) -> Option<Self> {
        EACH.iter().find(|(_, n)| *n == name).map(|(each, _)| *each)
    }

    pub(super) fn name(self) -> &'static str {
        EACH.iter()
            .find(|(each, _)| *each == self)
            .map_or("", |(_, name)| name)
    }
}

const BINARY: [(Binary, &str, u32); 19] = [
    (Binary::Equal, "==", 20),
    (Binary::NotEqual, "!=", 20),
    (Binary::Less, "<", 20),
    (Binary::LessEqual, "<=", 20),
    (Binary::Greater, ">", 20),
    (Binary::GreaterEqual, ">=", 20),
    (Binary::In, "in", 20),
    (Binary::Matches, "matches", 20),
    (Binary::Contains, "contains", 20),
    (Binary::StartsWith, "startsWith", 20),
    (Binary::EndsWith, "endsWith", 20),
    (Binary::Range, "..", 25),
    (Binary::Add, "+", 30),
    (Binary::Subtract, "-", 30),
    (Binary::Multiply, "*", 60),
    (Binary::Divide, "/", 60),
    (Binary::Modulo, "%", 60),
    (Binary::Power, "**", 100),
    (Binary::Coalesce, "??", 500),
];
const EACH: [(Each, &str); 12] = [
    (Each::All, "all"),
    (Each::Any, "any"),
    (Each::None, "none"),
    (Each::One, "one"),
    (Each::Filter, "filter"),
    (Each::Map, "map"),
    (Each::Count, "count"),
    (Each::Sum, "sum"),
    (Each::Find, "find"),
    (Each::FindIndex, "findIndex"),
    (Each::FindLast, "findLast"),
    (Each::FindLastIndex, "findLastIndex"),
];
