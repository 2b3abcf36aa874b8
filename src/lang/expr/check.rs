//! Types that can be known before evaluation: most mistakes of a Corefile are found at start.

use super::ast::{Binary, Each, Kind, Node, Unary};
use super::value::Type;
use super::{Failure, Function, Variable};

/// The type of a tree, or the first operation that cannot work.
pub(super) fn check(
    node: &Node,
    functions: &[Function],
    variables: &[Variable],
) -> Result<Type, Failure> {
    let lets = Vec::new();
    Checker {
        functions,
        variables,
        lets,
    }
    .node(node)
}

struct Checker<'f> {
    functions: &'f [Function],
    variables: &'f [Variable],
    lets: Vec<Type>,
}

impl Checker<'_> {
    fn node(&mut self, node: &Node) -> Result<Type, Failure> {
        Ok(match &node.kind {
            Kind::Const(value) => value.type_of(),
            Kind::Pointer(_) => Type::Any,
            Kind::Local(slot) => self.lets.get(*slot).copied().unwrap_or(Type::Any),
            Kind::Variable(place) => self
                .variables
                .get(*place)
                .map_or(Type::Any, |known| known.kind),
            Kind::Let(nodes) => {
                let value = self.node(&nodes[0])?;
                self.lets.push(value);
                let body = self.node(&nodes[1]);
                self.lets.pop();
                body?
            }
            Kind::List(_) => self.all(node, Type::List)?,
            Kind::Map(_) => self.all(node, Type::Map)?,
            Kind::Or(parts) | Kind::And(parts) => {
                let name = if matches!(node.kind, Kind::Or(_)) {
                    "||"
                } else {
                    "&&"
                };
                let mut left = self.node(&parts[0])?;
                for part in &parts[1..] {
                    let right = self.node(part)?;
                    if !left.may_be(Type::Bool) || !right.may_be(Type::Bool) {
                        return mismatch(node, name, left, right);
                    }
                    left = Type::Bool;
                }
                Type::Bool
            }
            Kind::Unary(unary, operand) => self.unary(node, *unary, operand)?,
            Kind::Binary(binary, nodes) => {
                let (left, right) = (self.node(&nodes[0])?, self.node(&nodes[1])?);
                match result(*binary, left, right) {
                    Some(found) => found,
                    None => return mismatch(node, binary.name(), left, right),
                }
            }
            Kind::Matches(left, _) => {
                let left = self.node(left)?;
                if !left.may_be(Type::Str) && left != Type::Nil {
                    return mismatch(node, "matches", left, Type::Str);
                }
                Type::Bool
            }
            Kind::Conditional(nodes) => self.conditional(nodes)?,
            Kind::Call(name, args) => self.call(name, args)?,
            Kind::Builtin(builtin, _) => self.all(node, builtin.returns())?,
            Kind::Each(each, list, body) => self.each(node, *each, list, body.as_deref())?,
            Kind::Reduce(..) => self.all(node, Type::Any)?,
            Kind::Index(..) => self.all(node, Type::Any)?,
            Kind::Slice(base, from, to) => {
                for bound in from.iter().chain(to) {
                    let found = self.node(bound)?;
                    if !found.may_be(Type::Int) {
                        return fail(bound.at, format!("non-integer slice index {found}"));
                    }
                }
                match self.node(base)? {
                    found @ (Type::Any | Type::Str | Type::List) => found,
                    found => return fail(node.at, format!("cannot slice {found}")),
                }
            }
        })
    }

    fn all(&mut self, node: &Node, returns: Type) -> Result<Type, Failure> {
        for child in node.children() {
            self.node(child)?;
        }
        Ok(returns)
    }

    fn unary(&mut self, node: &Node, unary: Unary, operand: &Node) -> Result<Type, Failure> {
        let found = self.node(operand)?;
        match unary {
            Unary::Not if found.may_be(Type::Bool) => Ok(Type::Bool),
            Unary::Minus | Unary::Plus if found.may_be_number() => Ok(found),
            _ => fail(
                node.at,
                format!(
                    "invalid operation: {} (mismatched type {found})",
                    unary.name()
                ),
            ),
        }
    }

    fn conditional(&mut self, nodes: &[Node; 3]) -> Result<Type, Failure> {
        let condition = self.node(&nodes[0])?;
        if !condition.may_be(Type::Bool) {
            return fail(
                nodes[0].at,
                format!("non-bool expression (type {condition}) used as condition"),
            );
        }
        let (yes, no) = (self.node(&nodes[1])?, self.node(&nodes[2])?);
        Ok(if yes == no { yes } else { Type::Any })
    }

    fn call(&mut self, name: &str, args: &[Node]) -> Result<Type, Failure> {
        let Some(function) = self.functions.iter().find(|function| function.name == name) else {
            return Ok(Type::Any);
        };
        for (arg, expect) in args.iter().zip(function.args) {
            let found = self.node(arg)?;
            if !found.may_be(*expect) {
                return fail(
                    arg.at,
                    format!("cannot use {found} as argument (type {expect}) to call {name} "),
                );
            }
        }
        Ok(function.returns)
    }

    fn each(
        &mut self,
        node: &Node,
        each: Each,
        list: &Node,
        body: Option<&Node>,
    ) -> Result<Type, Failure> {
        let found = self.node(list)?;
        if !found.may_be(Type::List) {
            return fail(
                list.at,
                format!("builtin {} takes only array (got {found})", each.name()),
            );
        }
        if let Some(body) = body {
            let found = self.node(body)?;
            if !matches!(each, Each::Map | Each::Sum) && !found.may_be(Type::Bool) {
                return fail(
                    node.at,
                    format!("predicate should return boolean (got {found})"),
                );
            }
        }
        Ok(match each {
            Each::All | Each::Any | Each::None | Each::One => Type::Bool,
            Each::Filter | Each::Map => Type::List,
            Each::Count => Type::Int,
            // The last two are nil when nothing is found.
            Each::Sum | Each::Find | Each::FindLast | Each::FindIndex | Each::FindLastIndex => {
                Type::Any
            }
        })
    }
}

// === helpers ===

/// The type of `left OPERATOR right`; none when these types cannot work.
fn result(binary: Binary, left: Type, right: Type) -> Option<Type> {
    use Type::{Any, Bool, Float, Int, List, Map, Nil, Str};
    let either = |a: Type| left.may_be(a) && right.may_be(a);
    let numbers = left.may_be_number() && right.may_be_number();
    match binary {
        Binary::Equal | Binary::NotEqual => {
            let nil = left == Nil || right == Nil;
            (nil || numbers || left.may_be(right)).then_some(Bool)
        }
        Binary::Less | Binary::LessEqual | Binary::Greater | Binary::GreaterEqual => {
            (numbers || either(Str)).then_some(Bool)
        }
        Binary::In => matches!(right, Any | List | Map | Nil).then_some(Bool),
        Binary::Matches | Binary::Contains | Binary::StartsWith | Binary::EndsWith => {
            let text = |t: Type| t.may_be(Str) || t == Nil;
            (text(left) && text(right)).then_some(Bool)
        }
        Binary::Range => either(Int).then_some(List),
        Binary::Add if left == Str || right == Str => either(Str).then_some(Str),
        Binary::Add if left == Any || right == Any => (numbers || either(Str)).then_some(Any),
        Binary::Add | Binary::Subtract | Binary::Multiply => {
            numbers.then_some(match (left, right) {
                (Int, Int) => Int,
                (Any, _) | (_, Any) => Any,
                _ => Float,
            })
        }
        Binary::Divide | Binary::Power => numbers.then_some(Float),
        Binary::Modulo => either(Int).then_some(Int),
        Binary::Coalesce => Some(if left == right { left } else { Any }),
    }
}

fn mismatch<T>(node: &Node, name: &str, left: Type, right: Type) -> Result<T, Failure> {
    fail(
        node.at,
        format!("invalid operation: {name} (mismatched types {left} and {right})"),
    )
}

fn fail<T>(at: u32, message: String) -> Result<T, Failure> {
    Err(Failure { at, message })
}
