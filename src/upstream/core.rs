//! What all pools of one task thread share: places for exchanges in flight, and the buffer to read into.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::Error;
use crate::limits;
use crate::telemetry::metrics::{Counter, Gauge, registry};

thread_local! {
    static CORE: Core = Core::new();
}

struct Core {
    in_flight: Cell<usize>,
    /// What is read from a socket passes through here: `UPSTREAM_UDP_OCTETS + 1` octets.
    scratch: RefCell<Box<[u8]>>,
    gauge: Gauge,
    shed: Counter,
    ignored: Counter,
}

impl Core {
    fn new() -> Core {
        let registry = registry();
        Core {
            in_flight: Cell::new(0),
            scratch: RefCell::new(vec![0; limits::UPSTREAM_UDP_OCTETS + 1].into_boxed_slice()),
            gauge: registry.gauge(
                "percoredns_upstream_in_flight",
                "Exchanges with upstreams that wait for a reply.",
                &[],
            ),
            shed: registry.counter(
                "percoredns_upstream_shed_total",
                "Exchanges refused because a core waited for as many replies of one upstream as it may, or its connections carried as many.",
                &[],
            ),
            ignored: registry.counter(
                "percoredns_upstream_ignored_total",
                "Messages from upstreams that answered no query: wrong id, wrong question or malformed.",
                &[],
            ),
        }
    }
}

/// One exchange in flight.
pub(super) struct Place {
    of_pool: Rc<Cell<usize>>,
}

impl Place {
    /// Takes a place for an exchange of the pool that has `of_pool` of them; all pools of a core together have `of_core_max`.
    ///
    /// A pool may have as many as are free after it: one upstream that stalls leaves half of the places to the others, two leave a
    /// third, and nobody has to say how many upstreams there are.
    pub(super) fn take(of_pool: &Rc<Cell<usize>>, of_core_max: usize) -> Option<Place> {
        CORE.with(|core| {
            let free = of_core_max.saturating_sub(core.in_flight.get());
            if of_pool.get() >= free {
                return None;
            }
            core.in_flight.set(core.in_flight.get() + 1);
            of_pool.set(of_pool.get() + 1);
            core.gauge.add(1.0);
            Some(Place {
                of_pool: Rc::clone(of_pool),
            })
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.of_pool.set(self.of_pool.get().saturating_sub(1));
        // A thread that ends has dropped its counters already, and nobody reads them any more.
        let _ = CORE.try_with(|core| {
            core.in_flight.set(core.in_flight.get().saturating_sub(1));
            core.gauge.add(-1.0);
        });
    }
}

/// Counts a message that was no reply to the query in flight.
pub(super) fn note_ignored() {
    CORE.with(|core| core.ignored.inc());
}

/// Counts an exchange that is refused for want of room, and says so.
#[cold]
pub(super) fn refuse() -> Error {
    CORE.with(|core| core.shed.inc());
    Error::Busy
}

/// Exchanges that this thread has refused.
#[cfg(test)]
pub(super) fn refused() -> u64 {
    CORE.with(|core| core.shed.value())
}

/// Lends the buffer of this thread that octets are read into, as long as nothing waits: a query that waits for an upstream holds none.
pub(super) fn with_scratch<T>(work: impl FnOnce(&mut [u8]) -> T) -> T {
    CORE.with(|core| work(&mut core.scratch.borrow_mut()))
}
