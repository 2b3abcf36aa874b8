//! Names that the server itself answers, whatever its blocks say: challenges of ACME authorities that are under way, and its designated
//! resolvers.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use super::challenges;
use super::config::Config;
use crate::plugin::Query;

/// Whether a name, in lower-case wire form, may be one of those.
#[inline]
pub fn may_answer(config: &Config, name: &[u8]) -> bool {
    let designated = config.designated.as_ref();
    challenges::may_answer(name) || designated.is_some_and(|designated| designated.owns(name))
}

/// Answers a query for one of those; `false`: it is for the blocks.
#[inline]
pub fn answer(config: &Config, query: &mut Query) -> bool {
    may_answer(config, query.name()) && answer_own(config, query)
}

#[cold]
fn answer_own(config: &Config, query: &mut Query) -> bool {
    let designated = config.designated.as_ref();
    // An authority that asks must get its answer: its addresses are not known beforehand.
    challenges::answer(query) || designated.is_some_and(|designated| designated.answer(query))
}
