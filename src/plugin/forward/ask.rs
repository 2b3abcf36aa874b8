//! One query over the upstreams of a line: who is asked next, and when to stop.

use std::time::Duration;

use super::{Forward, Line};
use crate::limits;
use crate::plugin::{Answer, Proto, Query, TaskCx};
use crate::runtime;
use crate::runtime::clock::MILLISECOND;
use crate::upstream::{Error, Pool, Protocol, Request, RequestBuffer, below};
use crate::wire::flag;
use crate::wire::rcode::Rcode;
use crate::wire::reply::{Question, Reply};

impl Forward {
    /// Asks until there is an answer, the attempts are used up or the deadline has passed; the outcome is left on the query.
    pub(super) async fn ask(&self, line: &Line, pools: &[Pool], query: &mut Query, cx: &TaskCx) {
        let mut asking = Asking::new(line, query, cx);
        let outcome = self.walk(line, pools, query, cx, &mut asking).await;
        match (outcome, asking.aside) {
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

    async fn walk(
        &self,
        line: &Line,
        pools: &[Pool],
        query: &mut Query,
        cx: &TaskCx,
        asking: &mut Asking,
    ) -> Result<(), Option<Box<Error>>> {
        let order = line.policy.order(pools.len());
        // `passed` counts the upstreams of this round that were down or whose rcode was not wanted.
        let (mut at, mut passed, mut failed, mut last) = (0, 0, 0, None);
        while cx.now_ns() < asking.deadline {
            if at >= order.len() {
                (at, passed) = (0, 0);
                if line.attempts_max == 0 && failed > 0 {
                    // Nothing but the deadline ends this, and a closed port fails at once: do not spin.
                    let pause = Duration::from_millis(limits::FORWARD_RETRY_PAUSE_MS);
                    runtime::sleep(pause).await;
                }
            }
            let Some(mut pool) = order.get(at).and_then(|&nth| pools.get(nth)) else {
                break;
            };
            at += 1;
            if pool.health().is_down(line.fails_max) {
                passed += 1;
                if passed < pools.len() {
                    continue;
                }
                self.broken.inc();
                if line.failfast {
                    break;
                }
                // All are down, so the probes may be what is broken: try any.
                pool = pools.get(below(pools.len())).unwrap_or(pool);
            }
            let to = pool.health().to();
            query.meta.set("forward/upstream", || to.to_owned());
            match asking.exchange(pool, line, &mut query.reply).await {
                Ok(()) if line.failover.contains(&query.reply.rcode) && passed < pools.len() => {
                    passed += 1;
                    if passed >= pools.len() {
                        return Ok(());
                    }
                    asking.aside = Some(Box::new(std::mem::take(&mut query.reply)));
                    last = None;
                }
                Ok(()) => return Ok(()),
                Err(Error::Busy) => {
                    // No fault of the upstream, or one that its probes will find; another may have room.
                    passed += 1;
                    last = Some(Box::new(Error::Busy));
                    if passed >= pools.len() {
                        break;
                    }
                }
                Err(error) => {
                    if line.fails_max != 0 {
                        pool.health().start_probe(&line.probe);
                    }
                    last = Some(Box::new(error));
                    failed += 1;
                    if failed == line.attempts_max || passed >= pools.len() {
                        break;
                    }
                }
            }
        }
        Err(last)
    }
}

/// The state of one query that is being asked: small, since thousands may wait in it.
struct Asking {
    request: RequestBuffer,
    deadline: u64,
    /// The latest reply whose rcode called for another upstream.
    aside: Option<Box<Reply>>,
    room: u32,
    protocol: Protocol,
}

impl Asking {
    fn new(line: &Line, query: &Query, cx: &TaskCx) -> Asking {
        let (asked, seen) = (query.asked().name, query.name());
        // The client's own case goes out, unless the name was rewritten.
        let is_own = asked.eq_ignore_ascii_case(seen);
        let question = Question {
            name: if is_own { asked } else { seen },
            qtype: query.qtype,
            qclass: query.qclass,
        };
        let request = RequestBuffer::new(&Request {
            flags: query.flags,
            question,
            edns: &query.edns,
        });
        let deadline = cx.now_ns() + limits::FORWARD_DEADLINE_MS * MILLISECOND;
        Asking {
            request,
            deadline: query.deadline_ns.map_or(deadline, |ns| ns.min(deadline)),
            aside: None,
            // No transport has room for more than `limits::MESSAGE_OCTETS`.
            room: query.size_limit() as u32,
            protocol: match query.proto {
                _ if line.force_tcp => Protocol::Tcp,
                _ if line.prefer_udp => Protocol::Udp,
                Proto::Udp => Protocol::Udp,
                Proto::Tcp => Protocol::Tcp,
            },
        }
    }

    /// One exchange; with `prefer_udp` a truncated reply is asked for again over TCP.
    async fn exchange(&mut self, pool: &Pool, line: &Line, reply: &mut Reply) -> Result<(), Error> {
        let (mut protocol, room) = (self.protocol, self.room as usize);
        loop {
            pool.exchange(&mut self.request, protocol, room, self.deadline, reply)
                .await?;
            if !line.prefer_udp || protocol == Protocol::Tcp || !reply.has_flag(flag::TC) {
                return Ok(());
            }
            protocol = Protocol::Tcp;
        }
    }
}
