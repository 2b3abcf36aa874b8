//! One query over the upstreams of a line: who is asked next, and when to stop.

use std::future::Future;
use std::time::Duration;

use super::{Forward, Line};
use crate::limits;
use crate::plugin::{Answer, Query, TaskCx};
use crate::runtime;
use crate::upstream::{Call, Error, Pool, Protocol, below};
use crate::wire::flag;
use crate::wire::rcode::Rcode;
use crate::wire::reply::Reply;

impl Forward {
    /// Asks the upstreams of the `nth` line until there is an answer, the attempts are used up or the deadline has passed; the outcome is left on the query.
    pub(super) fn ask<'a>(
        &'a self,
        nth: usize,
        query: &'a mut Query,
        cx: &'a TaskCx,
    ) -> impl Future<Output = ()> + use<'a> {
        let mut asking = Asking::new(self, nth, query, cx);
        // Here and below a block and not an `async fn`, which would keep its arguments twice: thousands may wait here.
        async move {
            let outcome = asking.walk().await;
            asking.end(outcome);
        }
    }
}

/// One query that is being asked: small, since thousands may wait in it.
struct Asking<'a> {
    forward: &'a Forward,
    /// Which line of it. A file holds fewer than 2^32 lines.
    nth: u32,
    query: &'a mut Query,
    cx: &'a TaskCx,
    call: Call,
    /// The latest reply whose rcode called for another upstream.
    aside: Option<Box<Reply>>,
    protocol: Protocol,
}

impl<'a> Asking<'a> {
    fn new(forward: &'a Forward, nth: usize, query: &'a mut Query, cx: &'a TaskCx) -> Asking<'a> {
        Asking {
            forward,
            nth: nth as u32,
            call: Call::of(query, cx.now_ns()),
            aside: None,
            protocol: match query.proto {
                _ if forward.lines[nth].force_tcp => Protocol::Tcp,
                _ if forward.lines[nth].prefer_udp => Protocol::Udp,
                proto if proto.is_tcp() => Protocol::Tcp,
                _ => Protocol::Udp,
            },
            query,
            cx,
        }
    }

    #[allow(clippy::manual_async_fn)] // as above
    fn walk(&mut self) -> impl Future<Output = Result<(), Option<Box<Error>>>> {
        async move {
            let order = self.line().policy.order(self.pools().len());
            // At most `limits::FORWARD_UPSTREAMS` of each. `passed` counts the upstreams of this round that were down or whose rcode was not wanted.
            let (mut at, mut passed, mut failed, mut last) = (0u16, 0u16, 0usize, None);
            while self.cx.now_ns() < self.call.deadline {
                if usize::from(at) >= order.len() {
                    (at, passed) = (0, 0);
                    if self.line().attempts_max == 0 && failed > 0 {
                        // Nothing but the deadline ends this, and a closed port fails at once: do not spin.
                        let pause = Duration::from_millis(limits::FORWARD_RETRY_PAUSE_MS);
                        runtime::sleep(pause).await;
                    }
                }
                let Some(mut pool) = order
                    .get(usize::from(at))
                    .and_then(|&nth| self.pools().get(usize::from(nth)))
                else {
                    break;
                };
                at += 1;
                if pool.health().is_down(self.line().fails_max) {
                    passed += 1;
                    if usize::from(passed) < self.pools().len() {
                        continue;
                    }
                    self.forward.broken.inc();
                    if self.line().failfast {
                        break;
                    }
                    // All are down, so the probes may be what is broken: try any.
                    pool = self.pools().get(below(self.pools().len())).unwrap_or(pool);
                }
                let to = pool.health().to();
                self.query.meta.set("forward/upstream", || to.to_owned());
                match self.exchange(pool).await {
                    Ok(())
                        if self.calls_for_another() && usize::from(passed) < self.pools().len() =>
                    {
                        passed += 1;
                        if usize::from(passed) >= self.pools().len() {
                            return Ok(());
                        }
                        self.aside = Some(Box::new(std::mem::take(&mut self.query.reply)));
                        last = None;
                    }
                    Ok(()) => return Ok(()),
                    Err(Error::Busy) => {
                        // No fault of the upstream, or one that its probes will find; another may have room.
                        passed += 1;
                        last = Some(Box::new(Error::Busy));
                        if usize::from(passed) >= self.pools().len() {
                            break;
                        }
                    }
                    Err(error) => {
                        if self.line().fails_max != 0 {
                            pool.health().start_probe(&self.line().probe);
                        }
                        last = Some(Box::new(error));
                        failed += 1;
                        if failed == self.line().attempts_max
                            || usize::from(passed) >= self.pools().len()
                        {
                            break;
                        }
                    }
                }
            }
            Err(last)
        }
    }

    fn line(&self) -> &'a Line {
        &self.forward.lines[self.nth as usize]
    }

    fn pools(&self) -> &'a [Pool] {
        &self.forward.pools[self.nth as usize]
    }

    fn calls_for_another(&self) -> bool {
        self.line().failover.contains(&self.query.reply.rcode)
    }

    /// One exchange. A truncated reply is asked for again over TCP with `prefer_udp`, and for a client that cannot come back over TCP
    /// itself: its transport, such as QUIC, counts as UDP but carries whole replies.
    #[allow(clippy::manual_async_fn)] // as above
    fn exchange(&mut self, pool: &'a Pool) -> impl Future<Output = Result<(), Error>> {
        async move {
            let mut protocol = self.protocol;
            self.call.introduce(self.query, pool);
            loop {
                let reply = &mut self.query.reply;
                pool.exchange(&mut self.call, protocol, reply).await?;
                let is_cut = protocol == Protocol::Udp && self.query.reply.has_flag(flag::TC);
                let is_whole = self.line().prefer_udp || !self.query.proto.cuts_replies();
                if !is_whole || !is_cut || !pool.is_plain() {
                    return Ok(());
                }
                protocol = Protocol::Tcp;
            }
        }
    }

    fn end(self, outcome: Result<(), Option<Box<Error>>>) {
        let query = self.query;
        match (outcome, self.aside) {
            (Ok(()), _) => query.answer = Answer::Written,
            (Err(_), Some(aside)) => {
                // A reply that another upstream should have bettered is still better than none.
                query.reply = *aside;
                query.answer = Answer::Written;
            }
            (Err(Some(error)), None) => query.fail(Rcode::SERVFAIL, error.to_string()),
            (Err(None), None) => query.fail(Rcode::SERVFAIL, "no healthy proxies"),
        }
    }
}
