//! *view*: takes only queries for which expressions are true.

mod setup;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::corefile::{Args, SetupError};
use crate::lang::expr::{Program, Value};
use crate::plugin::{OpenCx, Plugin, Query, QueryEnv, SetupCx};

/// See the README beside this file.
pub struct View {
    name: Arc<str>,
    /// This thread's clones: regular expressions bring their own scratch memory.
    conditions: Vec<Program>,
}

/// What the directive says.
#[derive(Debug)]
pub struct Config {
    name: Arc<str>,
    conditions: Vec<Program>,
}

impl Plugin for View {
    type Config = Config;

    fn setup(args: &mut Args<'_>, cx: &mut SetupCx<'_>) -> Result<Config, SetupError> {
        let config = setup::parse(args)?;
        cx.settings.view = Some(config.name.to_string());
        Ok(config)
    }

    fn open(config: &Arc<Config>, _: &OpenCx<'_>) -> View {
        View {
            name: Arc::clone(&config.name),
            conditions: config.conditions.clone(),
        }
    }

    fn on_metadata(&self, query: &mut Query) {
        query.meta.set("view/name", || self.name.to_string());
    }

    /// All conditions are true; an error or anything that is no truth value counts as false.
    fn filter(&self, query: &mut Query) -> bool {
        let env = QueryEnv(query);
        self.conditions
            .iter()
            .all(|condition| matches!(condition.eval(&env), Ok(Value::Bool(true))))
    }
}
