//! Tokens to a tree, with variables resolved to slots.

use super::Place;
use super::ast::{Base, Body, Command, Node, Operand, Pipe, Range, Target};
use super::functions::Function;
use super::lexer::{Failure, Token, TokenKind};
use crate::lang::expr;
use crate::limits;

/// Named bodies: what `define` and `block` made. The template itself has no name here.
pub(super) type Defined = Vec<(Box<str>, Body)>;

/// Parses all tokens.
pub(super) fn parse(tokens: Vec<Token>) -> Result<(Body, Defined), Failure> {
    let mut parser = Parser {
        tokens,
        at: 0,
        variables: vec!["$".into()],
        defined: Vec::new(),
        loops: 0,
        depth: 0,
    };
    let (body, end) = parser.body()?;
    match end.kind {
        TokenKind::End => Ok((body, parser.defined)),
        TokenKind::Word(word) => Err((end.place, format!("unexpected {{{{{word}}}}}"))),
        _ => Err((end.place, "unexpected token".into())),
    }
}

struct Parser {
    /// The last token is `End`.
    tokens: Vec<Token>,
    at: usize,
    /// Names of the variables in scope; the index is the slot.
    variables: Vec<String>,
    defined: Defined,
    /// Open `range` bodies.
    loops: u32,
    /// Open bodies and parentheses; bounded by `limits::TEMPLATE_DEPTH`.
    depth: u32,
}

impl Parser {
    // --- tokens

    fn token(&self) -> &Token {
        &self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    fn next(&mut self) -> Token {
        let token = self.token().clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    fn fail<T>(&self, place: Place, message: impl Into<String>) -> Result<T, Failure> {
        Err((place, message.into()))
    }

    fn unexpected<T>(&self, token: &Token, context: &str) -> Result<T, Failure> {
        let shown = match &token.kind {
            TokenKind::End => "EOF".into(),
            TokenKind::Close => "\"}}\"".into(),
            TokenKind::Open => "\"{{\"".into(),
            TokenKind::Text(text) => format!("{text:?}"),
            TokenKind::Field(name) => format!("<.{name}>"),
            TokenKind::Variable(name) => format!("{name:?}"),
            TokenKind::Word(word) if KEYWORDS.contains(&word.as_str()) => format!("<{word}>"),
            TokenKind::Word(word) => format!("{word:?}"),
            TokenKind::Str(text) => format!("{:?}", format!("{text:?}")),
            TokenKind::Int(value) => format!("\"{value}\""),
            TokenKind::Float(value) => format!("\"{value}\""),
            TokenKind::Dot => "<.>".into(),
            TokenKind::Pipe => "\"|\"".into(),
            TokenKind::LeftParen => "\"(\"".into(),
            TokenKind::RightParen => "\")\"".into(),
            TokenKind::Declare => "\":=\"".into(),
            TokenKind::Assign => "\"=\"".into(),
            TokenKind::Comma => "\",\"".into(),
        };
        self.fail(token.place, format!("unexpected {shown} in {context}"))
    }

    fn close(&mut self, context: &str) -> Result<(), Failure> {
        let token = self.next();
        if token.kind == TokenKind::Close {
            Ok(())
        } else {
            self.unexpected(&token, context)
        }
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(&self.token().kind, TokenKind::Word(found) if found == word)
    }

    fn deeper(&mut self, place: Place) -> Result<(), Failure> {
        self.depth += 1;
        if self.depth > limits::TEMPLATE_DEPTH {
            return self.fail(place, "template nests too deeply");
        }
        Ok(())
    }

    // --- bodies

    /// Reads nodes up to `{{end}}`, `{{else` or the end of the text; gives the token that ended them.
    fn body(&mut self) -> Result<(Body, Token), Failure> {
        self.deeper(self.token().place)?;
        let mut nodes = Vec::new();
        loop {
            let token = self.next();
            match token.kind {
                TokenKind::Text(text) => nodes.push(Node::Text(text.into())),
                TokenKind::Open => {
                    if self.is_word("end") || self.is_word("else") {
                        let word = self.next();
                        self.depth -= 1;
                        return Ok((nodes, word));
                    }
                    nodes.extend(self.action()?);
                }
                TokenKind::End => {
                    self.depth -= 1;
                    return Ok((nodes, token));
                }
                _ => return self.unexpected(&token, "input"),
            }
        }
    }

    fn action(&mut self) -> Result<Option<Node>, Failure> {
        let word = match &self.token().kind {
            TokenKind::Word(word) => word.clone(),
            _ => String::new(),
        };
        let place = self.token().place;
        match word.as_str() {
            "if" | "with" | "range" => {
                self.next();
                return self.control(&word).map(Some);
            }
            "break" | "continue" => {
                self.next();
                if self.loops == 0 {
                    return self.fail(place, format!("{{{{{word}}}}} outside {{{{range}}}}"));
                }
                self.close(&word)?;
                return Ok(Some(if word == "break" {
                    Node::Break
                } else {
                    Node::Continue
                }));
            }
            "template" | "block" => {
                self.next();
                return self.template(&word, place).map(Some);
            }
            "define" => {
                self.next();
                let name = self.string("define")?;
                self.close("define")?;
                self.define(name)?;
                return Ok(None);
            }
            _ => {}
        }
        let pipe = self.pipeline("command", TokenKind::Close)?;
        Ok(Some(Node::Action(pipe)))
    }

    /// `if`, `with` or `range`, whose word has been read.
    fn control(&mut self, word: &str) -> Result<Node, Failure> {
        let scope = self.variables.len();
        let node = match word {
            "range" => self.range()?,
            _ => {
                let pipe = self.pipeline(word, TokenKind::Close)?;
                let (body, otherwise) = self.branches(word)?;
                if word == "if" {
                    Node::If(pipe, body, otherwise)
                } else {
                    Node::With(pipe, body, otherwise)
                }
            }
        };
        self.variables.truncate(scope);
        Ok(node)
    }

    fn range(&mut self) -> Result<Node, Failure> {
        let mut names = Vec::new();
        let start = self.at;
        // `$a :=`, `$a, $b :=`, or a pipeline that begins with a variable.
        while let TokenKind::Variable(name) = self.token().kind.clone() {
            self.next();
            names.push(name);
            match self.token().kind {
                TokenKind::Comma if names.len() < 2 => {
                    self.next();
                }
                TokenKind::Comma => {
                    return self.fail(self.token().place, "too many declarations in range");
                }
                _ => break,
            }
        }
        let declares = match self.token().kind {
            TokenKind::Declare if !names.is_empty() => true,
            TokenKind::Assign if !names.is_empty() => false,
            _ if names.len() > 1 => {
                return self.fail(self.token().place, "range can only initialize variables");
            }
            _ => {
                self.at = start;
                names.clear();
                false
            }
        };
        if !names.is_empty() {
            self.next();
        }
        let pipe = self.pipeline("range", TokenKind::Close)?;
        let mut variables = Vec::new();
        for name in names {
            if declares {
                variables.push(self.variables.len());
                self.variables.push(name);
            } else {
                variables.push(self.slot(&name, pipe.place)?);
            }
        }
        self.loops += 1;
        let branches = self.branches("range");
        self.loops -= 1;
        let (body, otherwise) = branches?;
        Ok(Node::Range(Range {
            pipe,
            variables,
            body,
            otherwise,
        }))
    }

    /// The body of a control action and its `else` part, up to the `end`.
    fn branches(&mut self, word: &str) -> Result<(Body, Body), Failure> {
        let scope = self.variables.len();
        let (body, end) = self.body()?;
        self.variables.truncate(scope);
        let mut otherwise = Vec::new();
        match &end.kind {
            TokenKind::Word(found) if found == "end" => self.close("end")?,
            TokenKind::Word(_) => {
                let chained = self.is_word(word) && word != "range";
                if chained {
                    self.next();
                    self.deeper(end.place)?;
                    otherwise.push(self.control(word)?);
                    self.depth -= 1;
                } else {
                    self.close("else")?;
                    let (body, end) = self.body()?;
                    self.variables.truncate(scope);
                    match &end.kind {
                        TokenKind::Word(found) if found == "end" => self.close("end")?,
                        TokenKind::Word(_) => {
                            return self.fail(end.place, "expected end; found {{else}}");
                        }
                        _ => return self.fail(end.place, "unexpected EOF"),
                    }
                    otherwise = body;
                }
            }
            _ => return self.fail(end.place, "unexpected EOF"),
        }
        Ok((body, otherwise))
    }

    // --- named templates

    fn string(&mut self, context: &str) -> Result<String, Failure> {
        let token = self.next();
        match token.kind {
            TokenKind::Str(text) => Ok(text),
            _ => self.unexpected(&token, &format!("{context} clause")),
        }
    }

    fn template(&mut self, word: &str, place: Place) -> Result<Node, Failure> {
        let name = self.string(word)?;
        let argument = if self.token().kind == TokenKind::Close {
            if word == "block" {
                return self.fail(place, "missing value for block clause");
            }
            self.next();
            None
        } else {
            Some(self.pipeline(&format!("{word} clause"), TokenKind::Close)?)
        };
        if word == "block" {
            self.define(name.clone())?;
        }
        Ok(Node::Template(name.into(), argument, place))
    }

    fn define(&mut self, name: String) -> Result<(), Failure> {
        let outer = std::mem::replace(&mut self.variables, vec!["$".into()]);
        let loops = std::mem::take(&mut self.loops);
        let (body, end) = self.body()?;
        self.variables = outer;
        self.loops = loops;
        match &end.kind {
            TokenKind::Word(found) if found == "end" => self.close("end")?,
            TokenKind::Word(_) => {
                return self.fail(end.place, "unexpected {{else}} in define clause");
            }
            _ => return self.fail(end.place, "unexpected EOF"),
        }
        self.defined.retain(|(known, _)| **known != *name);
        self.defined.push((name.into(), body));
        Ok(())
    }

    // --- pipelines

    fn slot(&self, name: &str, place: Place) -> Result<usize, Failure> {
        match self.variables.iter().rposition(|known| known == name) {
            Some(slot) => Ok(slot),
            None => self.fail(place, format!("undefined variable {name:?}")),
        }
    }

    fn pipeline(&mut self, context: &str, end: TokenKind) -> Result<Pipe, Failure> {
        let start = self.token().place;
        let mut target = None;
        if let TokenKind::Variable(name) = self.token().kind.clone() {
            let token = self.next();
            match self.token().kind {
                TokenKind::Declare => target = Some((name, true)),
                TokenKind::Assign => target = Some((name, false)),
                TokenKind::Comma => {
                    return self.fail(token.place, format!("too many declarations in {context}"));
                }
                _ => self.at -= 1,
            }
            if target.is_some() {
                self.next();
            }
        }
        let mut commands = Vec::new();
        loop {
            if self.token().kind == end {
                self.next();
                break;
            }
            match self.token().kind {
                TokenKind::Pipe => {
                    let token = self.next();
                    return self.unexpected(&token, context);
                }
                _ => commands.push(self.command(context)?),
            }
            if self.token().kind == TokenKind::Pipe {
                let pipe = self.next();
                if self.token().kind == end {
                    return self.fail(pipe.place, "missing command in pipeline");
                }
            }
        }
        if commands.is_empty() {
            return self.fail(start, format!("missing value for {context}"));
        }
        for (stage, command) in commands.iter().enumerate().skip(1) {
            let operand = &command.operands[0];
            let plain = matches!(operand.base, Base::Nil | Base::Const(_) | Base::Dot)
                && operand.fields.is_empty();
            if plain {
                return self.fail(
                    command.place,
                    format!("non executable command in pipeline stage {}", stage + 1),
                );
            }
        }
        let finish = commands.last().map_or(start, |command| command.place);
        let sets = match target {
            Some((name, true)) => {
                self.variables.push(name);
                Some(Target {
                    slot: self.variables.len() - 1,
                    declares: true,
                })
            }
            Some((name, false)) => Some(Target {
                slot: self.slot(&name, start)?,
                declares: false,
            }),
            None => None,
        };
        Ok(Pipe {
            commands,
            sets,
            place: Place {
                start: start.start,
                end: finish.end,
            },
        })
    }

    fn command(&mut self, context: &str) -> Result<Command, Failure> {
        let mut operands: Vec<Operand> = Vec::new();
        let start = self.token().place;
        loop {
            let token = self.token().clone();
            if matches!(
                token.kind,
                TokenKind::Close | TokenKind::RightParen | TokenKind::Pipe
            ) {
                break;
            }
            // Operands are told apart by the white space between them.
            if !operands.is_empty() && !token.spaced {
                return self.unexpected(&token, "operand");
            }
            operands.push(self.operand(context)?);
        }
        let end = operands.last().map_or(start, |operand| operand.place);
        if operands.is_empty() {
            let token = self.token().clone();
            return self.unexpected(&token, context);
        }
        Ok(Command {
            operands,
            place: Place {
                start: start.start,
                end: end.end,
            },
        })
    }

    fn operand(&mut self, context: &str) -> Result<Operand, Failure> {
        let token = self.next();
        let mut fields = Vec::new();
        let base = match &token.kind {
            TokenKind::Dot => Base::Dot,
            TokenKind::Field(name) => {
                fields.push(name.as_str().into());
                Base::Dot
            }
            TokenKind::Variable(name) => Base::Variable(self.slot(name, token.place)?),
            TokenKind::Str(text) => Base::Const(text.clone().into()),
            TokenKind::Int(value) => Base::Const(expr::Value::Int(*value)),
            TokenKind::Float(value) => Base::Const(expr::Value::Float(*value)),
            TokenKind::Word(word) => match word.as_str() {
                "true" | "false" => Base::Const(expr::Value::Bool(word == "true")),
                "nil" => Base::Nil,
                _ if KEYWORDS.contains(&word.as_str()) => return self.unexpected(&token, context),
                _ => match Function::named(word) {
                    Some(function) => Base::Function(function),
                    None => {
                        return self.fail(token.place, format!("function {word:?} not defined"));
                    }
                },
            },
            TokenKind::LeftParen => {
                self.deeper(token.place)?;
                let pipe = self.parenthesised()?;
                self.depth -= 1;
                Base::Paren(Box::new(pipe))
            }
            TokenKind::RightParen => return self.fail(token.place, "unexpected right paren"),
            _ => return self.unexpected(&token, context),
        };
        let mut end = token.place.end;
        while let Token {
            kind: TokenKind::Field(name),
            place,
            spaced: false,
        } = self.token().clone()
        {
            if matches!(base, Base::Nil | Base::Const(_) | Base::Function(_)) {
                return self.fail(place, "unexpected . after a constant or a function");
            }
            fields.push(name.into());
            end = place.end;
            self.next();
        }
        if let Base::Paren(_) = base {
            end = end.max(self.tokens[self.at.saturating_sub(1)].place.end);
        }
        Ok(Operand {
            base,
            fields,
            place: Place {
                start: token.place.start,
                end,
            },
        })
    }

    fn parenthesised(&mut self) -> Result<Pipe, Failure> {
        let scope = self.variables.len();
        let pipe = self.pipeline("parenthesized pipeline", TokenKind::RightParen);
        self.variables.truncate(scope);
        match pipe {
            Err((place, message)) if message.starts_with("unexpected \"}}\"") => {
                Err((place, "unclosed left paren".into()))
            }
            other => other,
        }
    }
}

const KEYWORDS: [&str; 11] = [
    "block", "break", "continue", "define", "else", "end", "if", "nil", "range", "template", "with",
];
