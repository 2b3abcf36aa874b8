//! `template`: one block for each occurrence.

use super::Block;
use crate::corefile::{Args, Fall, SetupError, origins_from_args_or_block};
use crate::lang::expr::{self, DNS_FUNCTIONS, Function, Program, Type, Variable};
use crate::lang::regexp::Regexp;
use crate::lang::template::Template;
use crate::limits;
use crate::plugin::SetupCx;
use crate::wire::rcode::Rcode;
use crate::wire::types;

pub(super) fn parse(args: &mut Args<'_>, cx: &SetupCx<'_>) -> Result<Vec<Block>, SetupError> {
    let mut blocks = Vec::new();
    while args.next() {
        let class = args.expect_arg()?;
        let qclass = types::parse_class(class)
            .ok_or_else(|| args.err(format!("invalid query class {class}")))?;
        let rtype = args.expect_arg()?;
        let qtype =
            types::parse(rtype).ok_or_else(|| args.err(format!("invalid RR class {rtype}")))?;
        let zones = origins_from_args_or_block(&args.remaining_args(), cx.zones);
        let mut block = Block {
            qclass,
            qtype,
            zones,
            patterns: Vec::new(),
            variables: Vec::new(),
            conditions: Vec::new(),
            answer: Vec::new(),
            additional: Vec::new(),
            authority: Vec::new(),
            rcode: Rcode::NOERROR,
            ede: None,
            fall: Fall::default(),
        };
        let mut reader = Reader::new();
        while args.next_block() {
            reader.option(args, &mut block)?;
        }
        if block.patterns.is_empty() {
            block
                .patterns
                .push(Regexp::compile(".*").map_err(|error| args.err(error))?);
        }
        blocks.push(block);
    }
    Ok(blocks)
}

/// Reads the options of one block; later expressions see the variables of earlier lines.
struct Reader {
    functions: Vec<Function>,
    variables: Vec<Variable>,
}

impl Reader {
    fn new() -> Self {
        let group = Function {
            name: "group",
            args: &[Type::Any],
            returns: Type::Str,
        };
        Self {
            functions: DNS_FUNCTIONS.into_iter().chain([group]).collect(),
            variables: Vec::new(),
        }
    }

    fn option(&mut self, args: &mut Args<'_>, block: &mut Block) -> Result<(), SetupError> {
        match args.val() {
            "match" => patterns(args, block)?,
            "answer" => block.answer.extend(templates(args, "answer")?),
            "additional" => block.additional.extend(templates(args, "additional")?),
            "authority" => block.authority.extend(templates(args, "authority")?),
            "var" => self.variable(args, block)?,
            "expr" => {
                let text = some_args(args)?.join(" ");
                let program = Program::compile_with(&text, &self.functions, &self.variables);
                block.conditions.push(
                    program.map_err(|error| {
                        args.err(format!("could not compile expression: {error}"))
                    })?,
                );
            }
            "rcode" => {
                let name = args.expect_arg()?;
                block.rcode = match name {
                    "NOTIMPL" => Rcode::NOTIMP,
                    "BADSIG" => Rcode::BADVERS,
                    _ => Rcode::parse(name)
                        .ok_or_else(|| args.err(format!("unknown rcode {name}")))?,
                };
            }
            "ederror" => block.ede = Some(extended_error(args)?),
            "fallthrough" => block.fall = Fall::from_args(&args.remaining_args()),
            // Accepted and without effect, as in CoreDNS: lookups always ask this server.
            "upstream" => drop(args.remaining_args()),
            _ => return Err(args.arg_err()),
        }
        Ok(())
    }

    fn variable(&mut self, args: &mut Args<'_>, block: &mut Block) -> Result<(), SetupError> {
        let words = args.remaining_args();
        let [name, text @ ..] = &words[..] else {
            return Err(args.arg_err());
        };
        if text.is_empty() {
            return Err(args.arg_err());
        }
        let mut octets = name.bytes();
        let letter = |b: u8| b == b'_' || b.is_ascii_alphabetic();
        if !octets.next().is_some_and(letter) || !octets.all(|b| letter(b) || b.is_ascii_digit()) {
            return Err(args.err(format!("invalid variable name {name:?}")));
        }
        let known = self.functions.iter().any(|function| function.name == *name)
            || self.variables.iter().any(|variable| variable.name == *name);
        if known || expr::is_reserved(name) {
            return Err(args.err(format!("variable name {name:?} is reserved")));
        }
        let program = Program::compile_with(&text.join(" "), &self.functions, &self.variables)
            .map_err(|error| args.err(format!("could not compile expression: {name}, {error}")))?;
        self.variables.push(Variable {
            name: name.to_string(),
            kind: program.returns(),
        });
        block.variables.push((name.to_string(), program));
        Ok(())
    }
}

fn patterns(args: &mut Args<'_>, block: &mut Block) -> Result<(), SetupError> {
    for text in some_args(args)? {
        let length = text.chars().count();
        if length > limits::REGEXP_CHARS {
            return Err(args.err(format!(
                "regex pattern too long: {length} > {}",
                limits::REGEXP_CHARS
            )));
        }
        let pattern = Regexp::compile(text);
        block.patterns.push(
            pattern.map_err(|error| args.err(format!("could not parse regex: {text}, {error}")))?,
        );
    }
    Ok(())
}

fn templates(args: &mut Args<'_>, section: &str) -> Result<Vec<Template>, SetupError> {
    let words = some_args(args)?;
    let read = |text: &&str| {
        Template::parse(section, text)
            .map_err(|error| args.err(format!("could not compile template: {text}, {error}")))
    };
    words.iter().map(read).collect()
}

fn extended_error(args: &mut Args<'_>) -> Result<(u16, String), SetupError> {
    let words = args.remaining_args();
    let (code, text) = match words[..] {
        [code] => (code, ""),
        [code, text] => (code, text),
        _ => return Err(args.arg_err()),
    };
    let plain = code.bytes().all(|b| b.is_ascii_digit());
    let number = code.parse().ok().filter(|_| plain);
    number
        .map(|number| (number, text.to_string()))
        .ok_or_else(|| {
            args.err(format!(
                "error parsing extended DNS error code {code}: not a number up to 65535"
            ))
        })
}

/// The rest of the line, which must not be empty.
fn some_args<'a>(args: &mut Args<'a>) -> Result<Vec<&'a str>, SetupError> {
    let words = args.remaining_args();
    if words.is_empty() {
        Err(args.arg_err())
    } else {
        Ok(words)
    }
}
