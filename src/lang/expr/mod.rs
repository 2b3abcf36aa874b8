//! The expression language of the *view* and *template* plugins: a subset of expr-lang.
//!
//! Runs on: data core (compiled on the control thread; give each core its own clone).
//!
//! **Invariant**: `limits::EXPR_STEPS`, `EXPR_ITEMS`, `EXPR_OCTETS` and `EXPR_DEPTH` bound every evaluation.
//!
//! ```text
//! text -> lexer -> parser -> check -> Program -> eval(env) -> Value
//! ```

mod ast;
mod builtin;
mod calls;
mod check;
mod dns;
mod eval;
mod lexer;
mod operate;
mod parser;
mod value;

pub use dns::{DNS_FUNCTIONS, incidr};
pub use value::{List, Type, Value};

use crate::limits;

/// A function that expressions may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name in the expression.
    pub name: &'static str,
    /// Types of its arguments; the count is fixed.
    pub args: &'static [Type],
    /// Type of its result.
    pub returns: Type,
}

/// A variable that expressions may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name in the expression.
    pub name: String,
    /// What is known of its value.
    pub kind: Type,
}

/// Where the functions of an expression get their results: one query.
pub trait Env {
    /// Calls a function of the list that the program was compiled with. The number of arguments is right, and
    /// types known at compile time were checked; others are the callee's to check.
    fn call<'e>(&'e self, name: &str, args: &[Value<'e>]) -> Result<Value<'e>, String>;

    /// The value of a variable, by its place in the list that the program was compiled with.
    fn variable<'e>(&'e self, place: usize) -> Option<Value<'e>> {
        let _ = place;
        None
    }
}

/// A compiled expression.
#[derive(Clone, Debug)]
pub struct Program {
    text: Box<str>,
    root: ast::Node,
    returns: Type,
}

impl Program {
    /// Compiles a text over these functions. The error shows the place under the text, as expr-lang does.
    pub fn compile(text: &str, functions: &[Function]) -> Result<Self, String> {
        Self::compile_with(text, functions, &[])
    }

    /// As [`Program::compile`], with variables.
    pub fn compile_with(
        text: &str,
        functions: &[Function],
        variables: &[Variable],
    ) -> Result<Self, String> {
        if text.len() > limits::EXPR_TEXT_OCTETS {
            return Err(format!(
                "expression is longer than {} bytes",
                limits::EXPR_TEXT_OCTETS
            ));
        }
        let tokens = lexer::tokens(text).map_err(|failure| failure.show(text))?;
        let root =
            parser::parse(tokens, functions, variables).map_err(|failure| failure.show(text))?;
        let returns =
            check::check(&root, functions, variables).map_err(|failure| failure.show(text))?;
        Ok(Self {
            text: text.into(),
            root,
            returns,
        })
    }

    /// Evaluates over one query. Text in the result may borrow from the program and the environment.
    pub fn eval<'a>(&'a self, env: &'a dyn Env) -> Result<Value<'a>, String> {
        eval::evaluate(&self.root, env).map_err(|failure| failure.show(&self.text))
    }

    /// What the expression gives, as far as that is known before evaluation.
    pub fn returns(&self) -> Type {
        self.returns
    }

    /// The text that was compiled.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// Whether the language itself gives this word a meaning, so that no variable may have it as its name.
pub fn is_reserved(word: &str) -> bool {
    matches!(word, "true" | "false" | "nil" | "reduce")
        || lexer::is_operator(word)
        || ast::Each::named(word).is_some()
        || builtin::Builtin::named(word).is_some()
}

/// An error and the character at which it was found.
#[derive(Debug)]
struct Failure {
    at: u32,
    message: String,
}

impl Failure {
    /// `message (line:column)`, then the line and a mark under the place.
    fn show(&self, text: &str) -> String {
        let at = self.at as usize;
        let before: String = text.chars().take(at).collect();
        let line = before.matches('\n').count();
        let column = before.rsplit('\n').next().unwrap_or("").chars().count();
        let shown = text.split('\n').nth(line).unwrap_or("");
        let mark = ".".repeat(column);
        format!(
            "{} ({}:{})\n | {shown}\n | {mark}^",
            self.message,
            line + 1,
            column + 1
        )
    }
}

#[cfg(test)]
mod tests;
