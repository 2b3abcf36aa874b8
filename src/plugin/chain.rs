//! A server block's plugins as one flat list, run downwards to an answer and back up.
//!
//! ```text
//!   down(0) -> row 0 -> row 1 -> row 2 answers
//!                                 |
//!   done  <-  row 0 <- row 1 <----+   up: every row that was passed, in reverse
//! ```
//! Any row may park. On a packet thread that ends the run: the query moves to a task thread, where [`drive`] awaits the row that
//! parked and goes on from there. Each thread has its own instance of every plugin; a query carries its own state.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::future::Future;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::plain::PlainRows;
use super::query::{Answer, Query, Route};
use super::{AnyPlugin, Flow};
use crate::limits::{LOOKUP_DEPTH, LOOKUPS_PER_QUERY};
use crate::runtime;
use crate::telemetry::log;
use crate::wire::name::{self, NameBuf};
use crate::wire::rcode::Rcode;

/// One thread's instances of a block's plugins, in table order.
pub struct Chain {
    pub(super) rows: Vec<AnyPlugin>,
    /// What is asked on the short way.
    pub(super) plain: PlainRows,
    /// *metadata* is among the rows.
    collects_metadata: bool,
    /// *view* is among the rows.
    has_filter: bool,
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Run {
    /// The chain is through; `Query::answer` says with what.
    Done,
    /// A row waits; only a task thread can go on.
    Parked(Parked),
}

/// A row that waits, on the way down or up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parked {
    row: u16,
    floor: u16,
    going_up: bool,
}

impl Parked {
    /// A block has a row for each directive at most, far fewer than 65,536.
    fn new(row: usize, floor: usize, going_up: bool) -> Parked {
        Parked {
            row: row as u16,
            floor: floor as u16,
            going_up,
        }
    }
}

impl Chain {
    /// A chain of these rows.
    pub fn new(rows: Vec<AnyPlugin>) -> Chain {
        let has = |name| rows.iter().any(|row| row.name() == name);
        let (collects_metadata, has_filter) = (has("metadata"), has("view"));
        // Labels and views are made of a `Query`.
        let plain = match collects_metadata || has_filter {
            true => PlainRows::default(),
            false => PlainRows::new(rows.iter().map(AnyPlugin::plain_part)),
        };
        Chain {
            rows,
            plain,
            collects_metadata,
            has_filter,
        }
    }

    /// Whether the block has handlers at all; one without answers REFUSED.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Names of the rows, in order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.rows.iter().map(AnyPlugin::name)
    }

    /// Lets every row let go of what was replaced.
    pub fn refresh(&self) {
        self.rows.iter().for_each(AnyPlugin::refresh);
    }

    /// Collects metadata, then asks every view filter of the block. Runs when the router considers this block.
    pub fn admits(&self, query: &mut Query) -> bool {
        if !self.collects_metadata {
            // A block that was tried before may have left its labels.
            query.meta.clear();
        } else {
            self.rows.iter().for_each(|row| row.on_metadata(query));
        }
        !self.has_filter || self.rows.iter().all(|row| row.filter(query))
    }

    /// Runs a query from the first row.
    pub fn run(&self, query: &mut Query) -> Run {
        self.down(query, 0, 0)
    }

    fn down(&self, query: &mut Query, from: usize, floor: usize) -> Run {
        for row in from..self.rows.len() {
            let flow = self.rows[row].on_query(query);
            self.note_background(query, row);
            match flow {
                Flow::Next => {}
                Flow::Park => {
                    return Run::Parked(Parked::new(row, floor, false));
                }
                Flow::Reply => return self.answered(query, row, floor),
                Flow::Drop => {
                    query.answer = Answer::Dropped;
                    return self.up(query, row, floor);
                }
            }
        }
        let last = self.rows.last().map_or("", AnyPlugin::name);
        query.fail(Rcode::SERVFAIL, format_no_next(last));
        self.up(query, self.rows.len(), floor)
    }

    fn answered(&self, query: &mut Query, row: usize, floor: usize) -> Run {
        if query.answer == Answer::Written && query.writer.is_empty() {
            query.writer = self.rows[row].name();
        }
        self.up(query, row, floor)
    }

    fn up(&self, query: &mut Query, below: usize, floor: usize) -> Run {
        for row in (floor..below).rev() {
            if self.rows[row].on_reply(query) == Flow::Park {
                return Run::Parked(Parked::new(row, floor, true));
            }
        }
        Run::Done
    }

    fn note_background(&self, query: &mut Query, row: usize) {
        if query.background.is_some() && query.background_row == 0 {
            query.background_row = row as u16 + 1;
        }
    }
}

/// The cold path of a chain that ends without an answer, kept out of the loop.
#[cold]
#[allow(clippy::disallowed_macros)] // a block without an answering directive: each query is an error
fn format_no_next(last: &str) -> String {
    format!("plugin/{last}: no next plugin found")
}

// === on a task thread ===

/// What a chain needs from the thread it waits on; the server provides it.
pub trait TaskEnv {
    /// Index of this core.
    fn core(&self) -> usize;
    /// Monotonic nanoseconds, read now.
    fn now_ns(&self) -> u64;
    /// Finds the block for a query on its listener (zone, DS rule, views), setting its block and site.
    fn route(&self, query: &mut Query) -> Result<Rc<Chain>, Rcode>;
    /// This thread's instance of the chain of a route.
    fn chain(&self, route: Route) -> Option<Rc<Chain>>;
    /// Sends a parked query to another core's task thread. `Err` gives it back when that core is too busy.
    fn visit(&self, core: usize, visit: Visit) -> Result<(), Visit>;
    /// Ships the detached work that a query's plugin asked for to the core that it named; dropped when that core has no place left.
    fn start_background(&self, query: &mut Query);
}

/// A parked query that travels to the core whose task thread must run it.
pub struct Visit {
    /// The query.
    pub query: Box<Query>,
    /// Where its chain stands.
    pub at: Parked,
    /// Gets it back when its run has ended.
    pub done: runtime::oneshot::Tx<Box<Query>>,
}

/// What a waiting plugin may do. Cheap to clone.
#[derive(Clone)]
pub struct TaskCx {
    env: Rc<dyn TaskEnv>,
    chain: Rc<Chain>,
    row: usize,
}

impl TaskCx {
    /// What the chain hands to the plugin of that row.
    #[cfg(test)]
    pub(crate) fn new(env: Rc<dyn TaskEnv>, chain: Rc<Chain>, row: usize) -> TaskCx {
        TaskCx { env, chain, row }
    }

    /// Index of the core this runs on.
    pub fn core(&self) -> usize {
        self.env.core()
    }

    /// The plugin's own row, the key of its stash.
    pub fn row(&self) -> usize {
        self.row
    }

    /// Monotonic nanoseconds, read now.
    pub fn now_ns(&self) -> u64 {
        self.env.now_ns()
    }

    /// Runs the rows after this one down to an answer and back up to this row. `query.answer` is set on return.
    pub fn rest<'a>(&self, query: &'a mut Query) -> impl Future<Output = ()> + use<'a> {
        query.answer = Answer::Open;
        query.home = None;
        let from = self.row + 1;
        let at = self.chain.down(query, from, from);
        drive(self.env.clone(), self.chain.clone(), query, at)
    }

    /// Asks this server itself: the listener's routing, then the whole chain of the block found there. The finished child is
    /// returned, its reply opened; a lookup nested too deeply fails with SERVFAIL.
    pub async fn lookup(&self, parent: &Query, name: &NameBuf, qtype: u16) -> Box<Query> {
        let mut child = Box::new(Query::child(parent, name, qtype));
        child.now_ns = self.env.now_ns();
        child.lookups.set(parent.lookups.get().saturating_add(1));
        parent.lookups.set(child.lookups.get());
        if child.is_overspent() {
            warn_of_lookups(parent);
            child.fail(Rcode::SERVFAIL, "too many internal lookups for one query");
            return child;
        }
        if child.depth as usize > LOOKUP_DEPTH {
            child.fail(Rcode::SERVFAIL, "internal lookup nested too deeply");
            return child;
        }
        match self.env.route(&mut child) {
            Ok(chain) => {
                let at = chain.run(&mut child);
                drive(self.env.clone(), chain, &mut child, at).await;
            }
            Err(rcode) => child.unwritten(rcode),
        }
        parent.lookups.set(child.lookups.get());
        // Nobody else looks at the child again.
        self.env.start_background(&mut child);
        if child.answer == Answer::Written && child.reply.open().is_err() {
            child.unwritten(Rcode::SERVFAIL);
        }
        child
    }
}

/// Tells the operator, once: rules that multiply lookups do so for each query.
#[cold]
fn warn_of_lookups(query: &Query) {
    static TOLD: AtomicBool = AtomicBool::new(false);
    if !TOLD.swap(true, Ordering::Relaxed) {
        log::warning(
            None,
            format_args!(
                "{}: more than {LOOKUPS_PER_QUERY} internal lookups for one query, which is answered SERVFAIL; \
                 look for rewrite cname, template or CNAME records that lead to each other",
                name::Text(query.asked().name),
            ),
        );
    }
}

/// Awaits whatever parked and runs the chain to its end. What a row does while it waits is boxed by [`AnyPlugin`], so that rows which run
/// the rest of the chain have a size.
pub fn drive<'a>(
    env: Rc<dyn TaskEnv>,
    chain: Rc<Chain>,
    query: &'a mut Query,
    mut at: Run,
) -> impl Future<Output = ()> + 'a {
    let mut cx = TaskCx { env, chain, row: 0 };
    // A block and not an `async fn`, which would keep its arguments twice: thousands may wait here.
    async move {
        while let Run::Parked(parked) = at {
            query.now_ns = cx.now_ns();
            at = match query.home.take() {
                Some(home) if usize::from(home) != cx.core() => {
                    Box::pin(visit(&cx, home.into(), query, parked)).await
                }
                _ => {
                    cx.row = usize::from(parked.row);
                    let plugin = &cx.chain.rows[cx.row];
                    if parked.going_up {
                        plugin.wait_reply(query, &cx).await;
                        query.now_ns = cx.now_ns();
                        cx.chain.up(query, cx.row, usize::from(parked.floor))
                    } else {
                        let flow = plugin.wait_query(query, &cx).await;
                        query.now_ns = cx.now_ns();
                        cx.chain.go_on(query, flow, parked)
                    }
                }
            };
        }
    }
}

/// Runs a query that came from another core, from where it parked.
pub async fn receive(env: Rc<dyn TaskEnv>, visit: Visit) {
    let Visit {
        mut query,
        at,
        done,
    } = visit;
    query.home = None;
    match env.chain(query.route) {
        Some(chain) => drive(env, chain, &mut query, Run::Parked(at)).await,
        None => query.fail(Rcode::SERVFAIL, "configuration is gone"),
    }
    // The other side may have given up; then nobody waits for the query.
    let _ = done.send(query);
}

/// Runs [`Plugin::background`](super::Plugin::background) of the row that asked for it.
pub async fn background(env: Rc<dyn TaskEnv>, mut query: Box<Query>) {
    let Some(row) = query.background_row.checked_sub(1) else {
        return;
    };
    query.background = None;
    query.background_row = 0;
    let row = usize::from(row);
    if let Some(chain) = env.chain(query.route)
        && row < chain.rows.len()
    {
        query.now_ns = env.now_ns();
        let cx = TaskCx {
            env,
            chain: chain.clone(),
            row,
        };
        chain.rows[row].background(&mut query, &cx).await;
    }
}

/// Lets another core's task thread run a query to its end, or fails it here and runs it up.
async fn visit(cx: &TaskCx, home: usize, query: &mut Query, at: Parked) -> Run {
    match travel(&*cx.env, home, query, at).await {
        Ok(()) => Run::Done,
        Err(reason) => {
            query.fail(Rcode::SERVFAIL, reason);
            let (row, floor) = (usize::from(at.row), usize::from(at.floor));
            cx.chain.up(query, row, floor)
        }
    }
}

/// Lets another core's task thread run a query to its end. `Err` tells why it did not; the query is then as it was sent, though
/// without what plugins kept on it if it got lost there, by a panic or with its thread.
async fn travel(
    env: &dyn TaskEnv,
    home: usize,
    query: &mut Query,
    at: Parked,
) -> Result<(), &'static str> {
    let (done, returned) = runtime::oneshot::oneshot();
    let mut spare = query.duplicate();
    (spare.start_ns, spare.deadline_ns) = (query.start_ns, query.deadline_ns);
    let query_sent = Box::new(std::mem::replace(query, spare));
    let visit = Visit {
        query: query_sent,
        at,
        done,
    };
    if let Err(visit) = env.visit(home, visit) {
        *query = *visit.query;
        return Err("too many queries wait for an upstream");
    }
    *query = *returned
        .await
        .map_err(|_| "the core that waited for an upstream lost the query")?;
    Ok(())
}

impl Chain {
    /// Goes on from a row that has waited on the way down.
    fn go_on(&self, query: &mut Query, flow: Flow, parked: Parked) -> Run {
        let (row, floor) = (usize::from(parked.row), usize::from(parked.floor));
        match flow {
            Flow::Next => self.down(query, row + 1, floor),
            Flow::Reply => self.answered(query, row, floor),
            Flow::Drop => {
                query.answer = Answer::Dropped;
                self.up(query, row, floor)
            }
            Flow::Park => {
                query.fail(Rcode::SERVFAIL, "plugin parked while waiting");
                self.up(query, row, floor)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::plugin::panicker::Panicker;
    use crate::runtime::{Backend, block_on, clock};
    use crate::testing::directive::query;
    use crate::wire::types;

    /// One core with one chain; the other cores lose every query.
    struct Env {
        chain: Rc<Chain>,
        background: Cell<Option<u16>>,
    }

    impl TaskEnv for Env {
        fn core(&self) -> usize {
            0
        }

        fn now_ns(&self) -> u64 {
            clock::now_ns()
        }

        fn route(&self, _: &mut Query) -> Result<Rc<Chain>, Rcode> {
            Ok(self.chain.clone())
        }

        fn chain(&self, _: Route) -> Option<Rc<Chain>> {
            Some(self.chain.clone())
        }

        fn visit(&self, _: usize, _: Visit) -> Result<(), Visit> {
            Ok(())
        }

        fn start_background(&self, query: &mut Query) {
            self.background.set(query.background.take());
        }
    }

    fn run(name: &str, home: Option<u16>) -> (Box<Query>, Option<u16>) {
        let mut query = Box::new(query(name, types::AAAA));
        query.start_ns = 5;
        block_on(Backend::Epoll, async move {
            let rows = vec![AnyPlugin::Panicker(Panicker::default())];
            let env = Rc::new(Env {
                chain: Rc::new(Chain::new(rows)),
                background: Cell::new(None),
            });
            let at = env.chain.run(&mut query);
            query.home = home;
            drive(env.clone(), env.chain.clone(), &mut query, at).await;
            (query, env.background.get())
        })
        .unwrap()
    }

    #[test]
    fn a_query_that_another_core_loses_keeps_its_question() {
        let (query, _) = run("away.example.", Some(3));
        assert_eq!(query.answer, Answer::Unwritten(Rcode::SERVFAIL));
        assert_eq!((query.id, query.start_ns), (0x7150, 5));
        assert_eq!(query.asked().qtype, types::AAAA);
        assert_eq!(query.asked().name, b"\x04away\x07example\x00");
        assert!(query.error.is_some());
    }

    #[test]
    fn detached_work_of_an_internal_lookup_is_started() {
        let (query, background) = run("look.example.", None);
        assert_eq!(query.answer, Answer::Written);
        assert_eq!(background, Some(7));
    }
}
