//! *errors*: logs why queries failed, similar ones once in a while.

mod consolidate;
mod setup;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::corefile::{Args, SetupError};
use crate::lang::regexp::Regexp;
use crate::plugin::{Flow, OpenCx, PlainPart, Plugin, Query, SetupCx};
use crate::telemetry::log;
use crate::wire::name::Text;
use crate::wire::types::Type;

use consolidate::{Consolidation, Counted};

/// See the README beside this file.
pub struct Errors {
    consolidation: Arc<Consolidation>,
    /// This thread's clones of the patterns' expressions: matching needs scratch memory.
    regexps: Vec<Regexp>,
}

impl Plugin for Errors {
    type Config = Arc<Consolidation>;

    fn setup(args: &mut Args<'_>, cx: &mut SetupCx<'_>) -> Result<Arc<Consolidation>, SetupError> {
        setup::parse(args, cx)
    }

    fn open(config: &Arc<Arc<Consolidation>>, _: &OpenCx<'_>) -> Errors {
        Errors {
            consolidation: Arc::clone(config),
            regexps: config
                .patterns
                .iter()
                .map(|pattern| pattern.regexp.clone())
                .collect(),
        }
    }

    /// What is answered from memory has not failed.
    fn plain_part(&self) -> PlainPart {
        PlainPart::NONE
    }

    fn on_reply(&self, query: &mut Query) -> Flow {
        if let Some(reason) = &query.error {
            self.report(query, reason);
        }
        Flow::Next
    }
}

impl Errors {
    #[cold]
    fn report(&self, query: &Query, reason: &str) {
        let nth = self
            .regexps
            .iter()
            .position(|regexp| regexp.is_match(reason));
        let pattern = nth.and_then(|nth| self.consolidation.patterns.get(nth));
        let level = match pattern.map(|pattern| (pattern, self.consolidation.count(pattern))) {
            None | Some((_, Counted::No)) => log::error,
            Some((pattern, Counted::First)) if pattern.show_first => pattern.level.writer(),
            Some(_) => return,
        };
        let rcode = query.rcode().unwrap_or_default().0;
        let (name, qtype) = (Text(query.name()), Type(query.qtype));
        level(Some(NAME), format_args!("{rcode} {name} {qtype}: {reason}"));
    }
}

const NAME: &str = "errors";
