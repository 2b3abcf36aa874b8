//! `view`: a name and its conditions.

use super::Config;
use crate::corefile::{Args, SetupError};
use crate::lang::expr::{DNS_FUNCTIONS, Program};

pub(super) fn parse(args: &mut Args<'_>) -> Result<Config, SetupError> {
    args.next();
    let name = args.expect_arg()?.into();
    args.expect_line_end()?;
    let mut conditions = Vec::new();
    while args.next_block() {
        match args.val() {
            "expr" => {
                // The lexer of Corefiles splits words; one space each is what CoreDNS puts back.
                let text = args.remaining_args().join(" ");
                let program = Program::compile(&text, &DNS_FUNCTIONS);
                conditions.push(program.map_err(|error| args.err(error))?);
            }
            other => return Err(args.unknown_property(other)),
        }
    }
    if args.next() {
        return Err(args.once_err());
    }
    Ok(Config { name, conditions })
}
