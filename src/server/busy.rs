//! Busy polling of one packet thread, as its core's settings say, and what the kernel refuses of it.

use std::rc::Rc;

use super::spread::Listening;
use crate::runtime::{BusyPoll, Poller};
use crate::telemetry::log;
use crate::transport::busy_poll::{self, Refused};
use crate::tune::CoreSettings;

/// The settings, and which refusals were told already: once is enough for all sockets and reloads.
pub struct Busy {
    core: usize,
    tune: CoreSettings,
    told: Vec<&'static str>,
}

impl Busy {
    /// For the packet thread of a core. Nothing is asked of the kernel yet.
    pub fn new(core: usize, tune: CoreSettings) -> Busy {
        let told = Vec::new();
        Busy { core, tune, told }
    }

    /// Sets the options of a poll set that waits for the first time.
    pub fn set_up(&mut self, poller: &mut Poller) {
        if self.tune.irq_suspend_ns > 0 {
            // A queue's setting outlives the process, and NAPI ids change with the card's channels: not ours to write.
            log::info(
                None,
                format_args!(
                    "core {}: irq_suspend_ns is a setting of the card's queue (Linux 6.13): as root, for the NAPI id of the queue in \
                     ynl --family netdev --dump napi-get: ynl --family netdev --do napi-set --json \
                     '{{\"id\": ID, \"irq-suspend-timeout\": {}, \"gro-flush-timeout\": 20000, \"defer-hard-irqs\": 100}}'",
                    self.core, self.tune.irq_suspend_ns
                ),
            );
        }
        if self.tune.busy_poll_us == 0 {
            return;
        }
        let busy = BusyPoll {
            us: self.tune.busy_poll_us,
            budget: self.tune.busy_poll_budget,
            prefer: self.tune.prefer_busy_poll,
        };
        if let Err(error) = poller.busy_poll(busy) {
            self.tell(Refused {
                option: "EPIOCSPARAMS",
                error,
                remedy: "it needs Linux 6.9 with CONFIG_NET_RX_BUSY_POLL; until then set net.core.busy_poll with sysctl",
            });
        }
    }

    /// Sets the options of sockets.
    pub fn set(&mut self, sockets: &[Rc<Listening>]) {
        let tune = self.tune;
        if tune.busy_poll_us > 0 {
            for row in sockets {
                busy_poll::set(&*row.socket, &tune, |refused| self.tell(refused));
            }
        }
    }

    fn tell(&mut self, refused: Refused) {
        if self.told.contains(&refused.option) {
            return;
        }
        self.told.push(refused.option);
        log::warning(
            None,
            format_args!(
                "core {}: busy polling goes without {}, which the kernel refuses: {}: {}",
                self.core, refused.option, refused.error, refused.remedy
            ),
        );
    }
}
