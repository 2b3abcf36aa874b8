//! *log*: writes a line for each query and its reply.

mod fields;
mod setup;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::corefile::{Args, SetupError, ZoneName};
use crate::lang::replacer::Format;
use crate::plugin::{Answer, Flow, OpenCx, PlainPart, PlainQuery, Plugin, Query, SetupCx};
use crate::runtime::clock;
use crate::telemetry::log;
use crate::wire::kind::{Class, Kind};

use fields::{Facts, Line};

/// See the README beside this file.
pub struct Log {
    rules: Arc<Vec<Rule>>,
}

/// What one name of one line of the directive says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    scope: ZoneName,
    format: Arc<Format>,
    /// Empty: all.
    classes: Vec<Class>,
}

impl Plugin for Log {
    type Config = Vec<Rule>;

    fn setup(args: &mut Args<'_>, _: &mut SetupCx<'_>) -> Result<Vec<Rule>, SetupError> {
        setup::parse(args)
    }

    fn open(config: &Arc<Vec<Rule>>, _: &OpenCx<'_>) -> Log {
        Log {
            rules: Arc::clone(config),
        }
    }

    fn on_reply(&self, query: &mut Query) -> Flow {
        let Some(rule) = self.rule(query.name()) else {
            return Flow::Next;
        };
        let kind = kind(query);
        query.meta.set("log/type", || kind.as_str().to_owned());
        query
            .meta
            .set("log/class", || kind.class().as_str().to_owned());
        if rule.classes.is_empty() || rule.classes.contains(&kind.class()) {
            if query.now_ns == query.start_ns {
                // Answered from memory: the clock of the batch would show 0s.
                query.now_ns = clock::now_ns();
            }
            rule.write(Facts::of(query));
        }
        Flow::Next
    }

    fn plain_part(&self) -> PlainPart {
        PlainPart::DONE
    }

    fn plain_done(&self, query: &PlainQuery<'_>, reply: &[u8]) {
        let Some(rule) = self.rule(query.plain.name()) else {
            return;
        };
        let class = || Kind::of_message(reply, query.written.rcode, 0, query.plain.qtype).class();
        if rule.classes.is_empty() || rule.classes.contains(&class()) {
            let spent_ns = clock::now_ns().saturating_sub(query.arrival.now_ns);
            rule.write(Facts::of_plain(query, reply, spent_ns));
        }
    }
}

impl Rule {
    #[inline(always)] // so that facts that the line does not show are not even put together
    fn write(&self, facts: Facts<'_>) {
        if let Some(shows_opcode) = self.format.is_ready()
            && let Some(line) = facts.line(shows_opcode)
        {
            return log::query(&line);
        }
        self.render(facts);
    }

    #[inline(never)]
    fn render(&self, facts: Facts<'_>) {
        let format = &self.format;
        log::info(None, format_args!("{}", Line { format, facts }));
    }
}

impl Log {
    /// The first rule that is for a name counts.
    fn rule(&self, name: &[u8]) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.scope.is_suffix_of(name))
    }
}

fn kind(query: &Query) -> Kind {
    match query.answer {
        Answer::Written => Kind::of(&query.reply, query.opcode(), query.qtype),
        // The server is about to write it.
        Answer::Unwritten(rcode) => Kind::of_empty(rcode, query.opcode(), query.qtype),
        Answer::Dropped | Answer::Open => Kind::OtherError,
    }
}
