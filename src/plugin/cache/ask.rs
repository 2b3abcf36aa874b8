//! What waits: one upstream question per key, shared by all who have it; refreshes in the background.

use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use super::keep::{Purpose, Settled};
use super::policy::Choice;
use super::{Desk, key, wants_ad};
use crate::cache::{Pin, Role, Ticket};
use crate::plugin::{Answer, Flow, Proto, Query, TaskCx};
use crate::runtime::{self, local};
use crate::wire::flag;
use crate::wire::rcode::Rcode;
use crate::wire::reply::Reply;
use crate::wire::types;

/// What is below this row; tests put a script there.
pub(super) trait Below: Clone + 'static {
    /// Runs the rows below to an answer.
    fn rest(&self, query: &mut Query) -> impl Future<Output = ()>;
    /// Monotonic nanoseconds, read now.
    fn now_ns(&self) -> u64;
}

impl Below for TaskCx {
    fn rest(&self, query: &mut Query) -> impl Future<Output = ()> {
        TaskCx::rest(self, query)
    }

    fn now_ns(&self) -> u64 {
        TaskCx::now_ns(self)
    }
}

/// What the leader of a flight tells those who waited.
#[derive(Clone)]
pub(super) enum Outcome {
    /// The store has it.
    Stored,
    /// An answer that is not kept.
    Shared(Rc<Shared>),
    /// Nothing that is anybody else's: ask.
    Nothing,
}

/// An answer that is not kept, for those who asked while it was on its way.
pub(super) struct Shared {
    answer: Answer,
    reply: Reply,
    settled: Settled,
    error: Option<Box<str>>,
    writer: &'static str,
    /// Octets that the leader's transport had room for.
    size_limit: usize,
}

/// What to do after a second look.
enum Look {
    Served,
    Verify,
    Miss,
}

impl Desk {
    /// Answers a query that parked, on its home core.
    #[allow(clippy::manual_async_fn)] // which would keep its arguments twice: thousands may wait here
    pub(super) fn wait<B: Below>(
        self: &Rc<Self>,
        query: &mut Query,
        below: &B,
    ) -> impl Future<Output = Flow> {
        async move {
            match self.look_again(query) {
                Look::Served => Flow::Reply,
                // Boxed: it needs more room than a miss, which is what most of those that wait are.
                Look::Verify => Box::pin(self.verify(query, below)).await,
                Look::Miss => self.miss(query, below).await,
            }
        }
    }

    /// Refreshes an entry behind a reply that was sent.
    pub(super) async fn background<B: Below>(self: Rc<Self>, query: &mut Query, below: &B) {
        let ticket = self.flights.borrow_mut().lead(&key(query));
        if let Some(ticket) = ticket {
            let lead = Lead::new(&self, ticket);
            self.refresh(query, below, lead).await;
        }
    }

    /// Looks once more: another query may have brought the answer meanwhile.
    fn look_again(&self, query: &mut Query) -> Look {
        let pin = Pin::new();
        match self.look(&pin, query) {
            Some(Choice::Fresh(entry)) => self.serve(query, &entry),
            Some(Choice::Stale(entry, stale)) => {
                if stale.verify_ns.is_some() && !self.rechecks_later(&entry, stale, query) {
                    return Look::Verify;
                }
                self.serve_stale(query, &entry, stale);
            }
            None => return Look::Miss,
        }
        Look::Served
    }

    fn miss<B: Below>(self: &Rc<Self>, query: &mut Query, below: &B) -> impl Future<Output = Flow> {
        // *loop* must see its probe each time it comes in: held back here, a query that circles would wait for itself.
        let mut joins = if query.qtype == types::HINFO {
            0
        } else {
            JOINS
        };
        let mut lead = Lead::none(self);
        async move {
            while joins > 0 {
                joins -= 1;
                let Some(rx) = lead.join(query) else { break };
                let Ok(outcome) = rx.await else {
                    // The leader is gone without an answer; one of those who waited becomes the next.
                    continue;
                };
                query.now_ns = below.now_ns();
                if self.adopt(query, &outcome) {
                    return Flow::Reply;
                }
                break;
            }
            // Leads or asks on its own account: one place for both, since thousands may wait in it.
            let settled = self.ask(query, below, Purpose::Answer).await;
            lead.land(query, settled);
            finished(query)
        }
    }

    /// Joins the flight of the question or starts it. An internal lookup never waits: the flight may be that of the very query it is
    /// made for, or of one that waits for such a query on another core, as with CNAME records that point at each other.
    fn join(&self, query: &Query, waiter: local::Tx<Outcome>) -> Role<local::Tx<Outcome>> {
        let mut flights = self.flights.borrow_mut();
        if query.depth == 0 {
            return flights.join(&key(query), waiter);
        }
        flights
            .lead(&key(query))
            .map_or(Role::Alone(waiter), Role::Lead)
    }

    /// A stale entry is there: asks first, within the time that the Corefile gives, and serves it if no better comes.
    async fn verify<B: Below>(self: &Rc<Self>, query: &mut Query, below: &B) -> Flow {
        let limit_ns = self
            .config
            .stale
            .and_then(|stale| stale.verify_ns)
            .unwrap_or(0);
        let (tx, rx) = local::oneshot();
        let role = self.join(query, tx);
        let told = match role {
            Role::Lead(ticket) if limit_ns == 0 => {
                let lead = Lead::new(self, ticket);
                let settled = self.ask_again(query, below).await;
                lead.land(query, settled);
                if settled.accepted {
                    return finished(query);
                }
                None
            }
            Role::Lead(ticket) => {
                let (tx, rx) = local::oneshot();
                // The flight is ours and empty, so this waits.
                let _ = self.flights.borrow_mut().join(&key(query), tx);
                let (desk, below, mut copy) = (Rc::clone(self), below.clone(), query.duplicate());
                let lead = Lead::new(self, ticket);
                runtime::spawn(async move { desk.refresh(&mut copy, &below, lead).await });
                within(limit_ns, rx).await
            }
            Role::Wait => within(limit_ns, rx).await,
            Role::Alone(_) => None,
        };
        query.now_ns = below.now_ns();
        if let Some(Outcome::Shared(shared)) = &told
            && shared.settled.accepted
            && shared.give(query)
        {
            return Flow::Reply;
        }
        if self.serve_what_is_there(query) {
            return Flow::Reply;
        }
        match query.answer {
            // The stale entry was evicted while its follower was asked for in vain.
            Answer::Open => self.miss(query, below).await,
            _ => finished(query),
        }
    }

    fn serve_what_is_there(&self, query: &mut Query) -> bool {
        let pin = Pin::new();
        match self.look(&pin, query) {
            Some(Choice::Fresh(entry)) => self.serve(query, &entry),
            Some(Choice::Stale(entry, stale)) => self.serve_stale(query, &entry, stale),
            None => return false,
        }
        true
    }

    /// Asks for what an entry holds, as a client over TCP would so that nothing is cut.
    async fn refresh<B: Below>(&self, query: &mut Query, below: &B, lead: Lead) {
        query.proto = Proto::Tcp;
        let settled = self.ask_again(query, below).await;
        lead.land(query, settled);
    }

    async fn ask_again<B: Below>(&self, query: &mut Query, below: &B) -> Settled {
        let hits = {
            let pin = Pin::new();
            match self.look(&pin, query) {
                Some(Choice::Fresh(entry) | Choice::Stale(entry, _)) => entry.hits(),
                None => 0,
            }
        };
        let settled = self.ask(query, below, Purpose::Refresh { hits }).await;
        if !settled.accepted {
            let pin = Pin::new();
            if let Some(Choice::Fresh(entry) | Choice::Stale(entry, _)) = self.look(&pin, query) {
                entry.refresh_failed(query.now_ns);
            }
        }
        settled
    }

    /// Runs the rows below, with AD set so that a validating upstream tells what it found (RFC 6840 section 5.7).
    fn ask<B: Below>(
        &self,
        query: &mut Query,
        below: &B,
        purpose: Purpose,
    ) -> impl Future<Output = Settled> {
        let own_ad = query.flags & flag::AD;
        query.flags |= flag::AD;
        async move {
            below.rest(query).await;
            query.flags = (query.flags & !flag::AD) | own_ad;
            query.now_ns = below.now_ns();
            self.settle(query, purpose)
        }
    }

    /// Takes over what the leader got; false if this query has to ask for itself.
    fn adopt(&self, query: &mut Query, outcome: &Outcome) -> bool {
        match outcome {
            Outcome::Stored => self.serve_what_is_there(query),
            Outcome::Shared(shared) => shared.give(query),
            Outcome::Nothing => false,
        }
    }
}

// === impl Shared ===

impl Shared {
    fn of(query: &Query, settled: Settled) -> Shared {
        Shared {
            answer: query.answer,
            reply: query.reply.clone(),
            settled,
            error: query.error.clone(),
            writer: query.writer,
            size_limit: query.size_limit(),
        }
    }

    /// False for a reply that was cut for a smaller buffer than this client's.
    fn give(&self, query: &mut Query) -> bool {
        let is_written = self.answer == Answer::Written;
        if is_written && self.reply.has_flag(flag::TC) && query.size_limit() > self.size_limit {
            return false;
        }
        query.answer = self.answer;
        query.error.clone_from(&self.error);
        if is_written {
            let own = query.flags & (flag::RD | flag::CD);
            let shows_ad = self.settled.authentic && wants_ad(query);
            query.reply = self.reply.clone();
            query.reply.flags = (query.reply.flags & !(flag::RD | flag::CD)) | own;
            query.reply.set_flag(flag::AD, shows_ad);
            query.writer = self.writer;
        }
        true
    }
}

// === Lead: a flight that always ends ===

/// Leads a flight. Dropped without landing, by a panic or a shed task, it lets those who wait try again.
struct Lead {
    desk: Rc<Desk>,
    /// None: leads nothing, and landing does nothing.
    ticket: Option<Ticket>,
}

impl Lead {
    fn new(desk: &Rc<Desk>, ticket: Ticket) -> Lead {
        Lead {
            desk: Rc::clone(desk),
            ticket: Some(ticket),
        }
    }

    fn none(desk: &Rc<Desk>) -> Lead {
        Lead {
            desk: Rc::clone(desk),
            ticket: None,
        }
    }

    /// Joins the flight of the question: where to wait, or None for who leads it now or has to ask on its own account.
    fn join(&mut self, query: &Query) -> Option<local::Rx<Outcome>> {
        let (tx, rx) = local::oneshot();
        match self.desk.join(query, tx) {
            Role::Lead(ticket) => self.ticket = Some(ticket),
            Role::Alone(_) => {}
            Role::Wait => return Some(rx),
        }
        None
    }

    /// Hands the leader's answer to all who wait.
    fn land(mut self, query: &Query, settled: Settled) {
        let waiters = self.end();
        if waiters.is_empty() {
            return;
        }
        let outcome = match query.answer {
            _ if settled.stored => Outcome::Stored,
            Answer::Written | Answer::Unwritten(_) => {
                Outcome::Shared(Rc::new(Shared::of(query, settled)))
            }
            Answer::Open | Answer::Dropped => Outcome::Nothing,
        };
        for waiter in waiters {
            // One that gave up has no use for it.
            let _ = waiter.send(outcome.clone());
        }
    }

    fn end(&mut self) -> Vec<local::Tx<Outcome>> {
        match self.ticket.take() {
            Some(ticket) => self.desk.flights.borrow_mut().complete(ticket),
            None => Vec::new(),
        }
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        // Their channels close, outside of the borrow of the table.
        drop(self.end());
    }
}

/// The outcome of a flight, if it comes within `limit_ns` (0 = whenever it comes).
async fn within(limit_ns: u64, flight: local::Rx<Outcome>) -> Option<Outcome> {
    if limit_ns == 0 {
        return flight.await.ok();
    }
    runtime::timeout(Duration::from_nanos(limit_ns), flight)
        .await
        .ok()?
        .ok()
}

/// How a run of the rows below goes on upwards.
fn finished(query: &mut Query) -> Flow {
    match query.answer {
        Answer::Dropped => Flow::Drop,
        Answer::Open => {
            query.unwritten(Rcode::SERVFAIL);
            Flow::Reply
        }
        Answer::Written | Answer::Unwritten(_) => Flow::Reply,
    }
}

/// Times that a query joins a flight before it asks on its own.
const JOINS: u8 = 3;
