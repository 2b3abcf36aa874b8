//! *header*: sets and clears flags of queries and replies.

mod setup;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::corefile::{Args, SetupError};
use crate::plugin::{Answer, Flow, OpenCx, Plugin, Query, SetupCx};

/// See the README beside this file.
pub struct Header(Config);

/// The outcome of all rules.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Config {
    query: Change,
    response: Change,
}

/// Flags to set and flags to clear; none is in both.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Change {
    set: u16,
    clear: u16,
}

impl Change {
    /// Adds a rule; a later one wins.
    fn add(&mut self, flag: u16, on: bool) {
        self.set &= !flag;
        self.clear &= !flag;
        if on {
            self.set |= flag;
        } else {
            self.clear |= flag;
        }
    }

    fn apply(self, flags: u16) -> u16 {
        (flags | self.set) & !self.clear
    }
}

impl Plugin for Header {
    type Config = Config;

    fn setup(args: &mut Args<'_>, _: &mut SetupCx<'_>) -> Result<Config, SetupError> {
        setup::parse(args)
    }

    fn open(config: &Arc<Config>, _: &OpenCx<'_>) -> Header {
        Header(**config)
    }

    fn on_query(&self, query: &mut Query) -> Flow {
        query.flags = self.0.query.apply(query.flags);
        Flow::Next
    }

    fn on_reply(&self, query: &mut Query) -> Flow {
        if query.answer == Answer::Written {
            query.reply.flags = self.0.response.apply(query.reply.flags);
        }
        Flow::Next
    }
}
