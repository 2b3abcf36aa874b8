//! *loop*: finds out at start whether queries come back to this server, and ends the process if they do.
//!
//! Runs on: data core; a thread of its own sends the probe.
//!
//! **Invariant**: only the name of this start's own probe counts, and 128 random bits of it are known to nobody but those the probe was
//! sent through. No other query can end the process.

mod probe;
mod setup;
#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};
use std::thread;

use crate::corefile::{Args, SetupError, ZoneName};
use crate::plugin::{Flow, OpenCx, Plugin, Query, SetupCx};
use crate::telemetry::log;
use crate::wire::types;
use probe::Watch;

/// See the README beside this file.
pub struct Loop {
    config: Arc<Config>,
}

/// What the block's instances and the probe share.
pub struct Config {
    zone: ZoneName,
    watch: Arc<Watch>,
    /// Labels of the block's listeners, known once an instance is open.
    servers: Arc<OnceLock<Vec<String>>>,
    /// What ends the process.
    end: fn(),
}

impl Plugin for Loop {
    type Config = Config;

    fn setup(args: &mut Args<'_>, cx: &mut SetupCx<'_>) -> Result<Config, SetupError> {
        setup::parse(args, cx)
    }

    fn open(config: &Arc<Config>, core: &OpenCx<'_>) -> Loop {
        let servers = || core.sites.iter().map(|site| site.server.clone()).collect();
        config.servers.get_or_init(servers);
        Loop {
            config: config.clone(),
        }
    }

    fn on_query(&self, query: &mut Query) -> Flow {
        if query.qtype != types::HINFO || !self.config.watch.saw(query.name()) {
            return Flow::Next;
        }
        self.found(query);
        Flow::Drop
    }
}

impl Loop {
    #[cold]
    fn found(&self, query: &Query) {
        let (peer, local) = (query.peer.0, query.local.0);
        let (zone, name) = (&self.config.zone, query.name_buf());
        log::fatal(
            Some("loop"),
            format_args!(
                "Loop ({peer} -> {local}) detected for zone \"{zone}\", see https://coredns.io/plugins/loop#troubleshooting. Query: \"HINFO {name}\""
            ),
        );
        (self.config.end)();
    }
}

/// Exits with 1 once the line is written. A data core must not wait for the log, so a thread does.
fn exit() {
    let end = || {
        log::flush();
        std::process::exit(1);
    };
    if thread::Builder::new()
        .name("loop-exit".into())
        .spawn(end)
        .is_err()
    {
        end();
    }
}
