//! *rewrite*: changes questions on their way in and turns the replies back.
//!
//! ```text
//!   on_query:  rule 1 -> rule 2 -> ... (until one that stops)     what was done is stashed as a Passage
//!   on_reply:  ... rule 2 <- rule 1   question restored, records turned back in reverse order
//! ```

mod edns;
mod name;
mod reply;
mod rule;
mod setup;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::sync::Arc;

use crate::corefile::{Args, SetupError};
use crate::plugin::{
    Answer, Flow, OpenCx, PlainFlow, PlainPart, PlainQuery, Plugin, Query, SetupCx, TaskCx,
};
use crate::wire::name::NameBuf;
use crate::wire::rcode::Rcode;

use rule::{Applied, Field, Rule};

/// See the README beside this file.
pub struct Rewrite {
    /// This thread's clone: regular expressions bring their own scratch memory.
    rules: Vec<Rule>,
    row: usize,
    /// The question's name as text, rendered only for rules that look at text.
    text: RefCell<String>,
}

/// What the rules did to one query, kept until its reply comes back.
#[derive(Debug)]
pub(super) struct Passage {
    name: NameBuf,
    qtype: u16,
    qclass: u16,
    had_edns: bool,
    /// Rules that applied, in order.
    steps: Vec<Step>,
    /// The last rule ended the list: then a failure is written here and not by the server.
    stopped: bool,
}

/// One rule that applied.
#[derive(Debug)]
pub(super) struct Step {
    /// Its index.
    rule: usize,
    /// Names below the first become names below the second in the reply.
    remap: Option<Box<(NameBuf, NameBuf)>>,
    /// An option to restore in the reply; without data, to remove.
    option: Option<(u16, Option<Vec<u8>>)>,
}

impl Plugin for Rewrite {
    type Config = Vec<Rule>;

    fn setup(args: &mut Args<'_>, cx: &mut SetupCx<'_>) -> Result<Vec<Rule>, SetupError> {
        let rules = setup::parse(args)?;
        let codes = rules.iter().filter_map(Rule::echoed_option);
        cx.settings.echoed_options.extend(codes);
        Ok(rules)
    }

    fn open(config: &Arc<Vec<Rule>>, core: &OpenCx<'_>) -> Rewrite {
        Rewrite {
            rules: config.to_vec(),
            row: core.row,
            text: RefCell::default(),
        }
    }

    fn on_query(&self, query: &mut Query) -> Flow {
        let mut passage = Passage {
            name: query.name_buf(),
            qtype: query.qtype,
            qclass: query.qclass,
            had_edns: query.edns.present,
            steps: Vec::new(),
            stopped: false,
        };
        let mut text = self.text.borrow_mut();
        for (index, rule) in self.rules.iter().enumerate() {
            match rule.apply(query, &mut text) {
                Applied::No => continue,
                Applied::Yes { remap, option } => passage.steps.push(Step {
                    rule: index,
                    remap,
                    option,
                }),
                Applied::BadName(name) => {
                    passage.restore(query);
                    query.fail(
                        Rcode::SERVFAIL,
                        format!("invalid name after rewrite: {name}"),
                    );
                    return Flow::Reply;
                }
            }
            passage.stopped = rule.stops;
            if rule.stops {
                break;
            }
        }
        // An OPT record is added even by a rule that then finds nothing to do.
        if !passage.steps.is_empty() || passage.had_edns != query.edns.present {
            query.stash(self.row, passage);
        }
        Flow::Next
    }

    /// Rules for options and for CNAME targets concern every query.
    fn plain_part(&self) -> PlainPart {
        let concerns_all = |rule: &Rule| matches!(rule.field, Field::Edns(_) | Field::Cname(_));
        match self.rules.iter().any(concerns_all) {
            true => PlainPart::Bars,
            false => PlainPart::QUERY,
        }
    }

    /// Questions that no rule is for pass; the others take the long way.
    fn plain_query(&self, query: &mut PlainQuery<'_>, _: &mut [u8]) -> PlainFlow {
        let mut text = self.text.borrow_mut();
        let mut rules = self.rules.iter();
        match rules.all(|rule| rule.spares(query.plain, &mut text) == Some(true)) {
            true => PlainFlow::Next,
            false => PlainFlow::Long,
        }
    }

    fn on_reply(&self, query: &mut Query) -> Flow {
        let Some(passage) = query.unstash::<Passage>(self.row) else {
            return Flow::Next;
        };
        if self.redirects(&passage, query) {
            query.stash(self.row, *passage);
            return Flow::Park;
        }
        self.revert(&passage, query);
        Flow::Next
    }

    async fn wait_reply(&self, query: &mut Query, cx: &TaskCx) {
        let Some(passage) = query.unstash::<Passage>(self.row) else {
            return;
        };
        for step in passage.steps.iter().rev() {
            if let Some(Field::Cname(cname)) = self.rules.get(step.rule).map(|rule| &rule.field) {
                reply::redirect(cname, query, cx).await;
            }
        }
        self.revert(&passage, query);
    }
}

impl Rewrite {
    /// Whether a rule for CNAME targets has something to look up, which takes a task thread.
    fn redirects(&self, passage: &Passage, query: &mut Query) -> bool {
        let mut cnames =
            passage
                .steps
                .iter()
                .filter_map(|step| match self.rules.get(step.rule)?.field {
                    Field::Cname(ref cname) => Some(cname),
                    _ => None,
                });
        cnames.any(|cname| {
            query
                .written()
                .is_some_and(|reply| reply::find_target(cname, reply).is_some())
        })
    }

    fn revert(&self, passage: &Passage, query: &mut Query) {
        passage.restore(query);
        if let (Answer::Unwritten(rcode), true) = (query.answer, passage.stopped) {
            // Written here, so that rules for replies see it.
            query.respond_rcode(rcode);
            query.writer = NAME;
        }
        reply::revert(&self.rules, passage, query);
    }
}

impl Passage {
    /// Gives the query its own question back, for log lines and metrics.
    fn restore(&self, query: &mut Query) {
        if query.name() != self.name.as_wire() {
            query.set_name(&self.name);
        }
        (query.qtype, query.qclass) = (self.qtype, self.qclass);
    }
}

const NAME: &str = "rewrite";
