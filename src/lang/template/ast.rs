//! The tree of a parsed template.

use super::Place;
use super::functions::Function;
use crate::lang::expr;

/// Nodes that run one after the other.
pub(super) type Body = Vec<Node>;

#[derive(Clone, Debug)]
pub(super) enum Node {
    Text(Box<str>),
    /// Prints its value, unless it sets a variable.
    Action(Pipe),
    If(Pipe, Body, Body),
    With(Pipe, Body, Body),
    Range(Range),
    /// Name, argument and place of a `template` action.
    Template(Box<str>, Option<Pipe>, Place),
    Break,
    Continue,
}

#[derive(Clone, Debug)]
pub(super) struct Range {
    pub pipe: Pipe,
    /// Variables of `range $item := ...` or `range $key, $item := ...`, and whether they exist before.
    pub variables: Vec<usize>,
    pub body: Body,
    pub otherwise: Body,
}

/// Commands of which each gets the value before it as its last argument.
#[derive(Clone, Debug)]
pub(super) struct Pipe {
    pub commands: Vec<Command>,
    /// The variable that takes the value.
    pub sets: Option<Target>,
    pub place: Place,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub slot: usize,
    /// `:=`, not `=`.
    pub declares: bool,
}

/// A first operand, and arguments if that can take some.
#[derive(Clone, Debug)]
pub(super) struct Command {
    pub operands: Vec<Operand>,
    pub place: Place,
}

#[derive(Clone, Debug)]
pub(super) struct Operand {
    pub base: Base,
    /// `.a.b` behind the base.
    pub fields: Vec<Box<str>>,
    pub place: Place,
}

#[derive(Clone, Debug)]
pub(super) enum Base {
    /// `.`, also the beginning of `.Name`.
    Dot,
    Nil,
    Const(expr::Value<'static>),
    Variable(usize),
    Function(Function),
    Paren(Box<Pipe>),
}
