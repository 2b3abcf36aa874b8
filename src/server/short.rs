//! The short way of a plain query, in the steps that a batch is answered in: look at all, fetch all, answer all.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::own;
use super::panics;
use super::running::Running;
use super::serve::Arrival;
use crate::cache::Pin;
use crate::plugin::{Fetch, PlainQuery};
use crate::telemetry::{self, log};
use crate::wire::direct::Written;
use crate::wire::plain::Plain;

/// A message as the short way sees it; a buffer that is used again.
#[derive(Default)]
pub struct Glance {
    plain: Plain,
    /// Block and site of a plain query.
    place: Option<(u16, u16)>,
}

impl Glance {
    /// Reads a message that came in on a listener and finds its block. `false`: it has to go the long way.
    #[inline]
    pub fn look(&mut self, running: &Running, listener: u16, bytes: &[u8]) -> bool {
        let may_be_plain = running.takes_plain(listener)
            && self.plain.read(bytes)
            && !own::may_answer(&running.config, self.plain.name());
        self.place = match may_be_plain {
            true => running.place_plain(listener, &self.plain),
            false => None,
        };
        self.place.is_some()
    }

    /// Asks the CPU for what [`Glance::answer`] will read.
    pub fn prefetch(&self, running: &Running, what: Fetch) {
        if let Some(chain) = self.place.and_then(|(block, _)| running.chain(block)) {
            chain.prefetch_plain(&self.plain, what);
        }
    }

    /// Answers the message that was looked at into `out`; returns the length of the reply. `None`: it has to go the long way, and nothing
    /// has happened.
    pub fn answer(
        &self,
        running: &Running,
        bytes: &[u8],
        arrival: &Arrival,
        pin: &Pin,
        out: &mut [u8],
    ) -> Option<usize> {
        let (block, site) = self.place?;
        let chain = running.chain(block)?;
        let mut query = PlainQuery {
            plain: &self.plain,
            message: bytes,
            arrival,
            site,
            pin,
            udp_size: self.plain.udp_size.unwrap_or(0),
            entry: None,
            row: 0,
            written: Written::default(),
        };
        let answer = AssertUnwindSafe(|| chain.answer_plain(&mut query, out));
        catch_unwind(answer).unwrap_or_else(|_| {
            note_panic();
            None
        })
    }
}

/// Counts and logs a caught panic. The query is answered on the long way, whose own guard turns a second one into SERVFAIL.
#[cold]
fn note_panic() {
    telemetry::panics().inc();
    let caught = panics::take();
    let message = caught.as_ref().map_or("", |caught| &caught.message);
    log::error(
        None,
        format_args!("Recovered from panic on the short way of a query: {message}"),
    );
}
