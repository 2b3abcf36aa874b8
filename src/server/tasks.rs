//! The task thread of a core: it runs on whatever parked, here or on other cores, and sends the replies itself.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::cell::RefCell;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::clients::Clients;
use super::config::Config;
use super::handshakes::Handshakes;
use super::http_counts::HttpCounts;
use super::quic;
use super::running::Running;
use super::serve::{self, Served};
use super::sockets::ByListener;
use super::stream;
use crate::limits;
use crate::plugin::{self, Chain, Query, Role, Route, Run, TaskEnv, Visit};
use crate::runtime::{self, Receiver, Sender, clock};
use crate::transport::tcp;
use crate::transport::udp::{ReplyPath, Socket};
use crate::tune::CoreSettings;
use crate::wire::rcode::Rcode;

/// What a task thread is asked to do.
pub enum Job {
    /// Run on a query that parked on a packet thread, and send its reply.
    Udp(Box<Waiting>),
    /// Run on a query that parked on another task thread.
    Visit(Visit),
    /// Detached work of a plugin.
    Background(Box<Query>),
    /// Open a new configuration and accept on these listeners; those that are missing are closed.
    Swap(Box<Swap>),
    /// Forget configurations older than this one.
    Retire(u64),
    /// Let go of what was replaced: no query may come that would.
    Refresh,
    /// End the thread.
    Stop,
    /// Die as a fault of ours would make it.
    #[cfg(test)]
    Die,
}

// The mailbox has a slot of this size for each query that may wait, and every slot is written in turn.
const _: () = assert!(size_of::<Job>() <= 48);

/// A query of a packet thread that waits.
pub struct Waiting {
    /// The query.
    pub query: Box<Query>,
    /// Where its chain stands.
    pub run: Run,
    /// Where its reply goes.
    pub path: ReplyPath,
}

/// What a task thread is to serve.
pub struct Swap {
    /// The configuration.
    pub config: Arc<Config>,
    /// The sockets of its streams.
    pub tcp: ByListener<tcp::Shared>,
    /// The sockets of its QUIC endpoints.
    pub quic: ByListener<(u16, Arc<Socket>)>,
    /// Told when it is done.
    pub done: std::sync::mpsc::Sender<()>,
}

/// Another core, as seen from any thread.
#[derive(Clone)]
pub struct Peer {
    /// Its task thread's mailbox.
    pub jobs: Sender<Job>,
    /// Queries that wait there: `0 <= parked <= parked_max`.
    pub parked: Arc<AtomicUsize>,
    parked_max: usize,
}

impl Peer {
    /// A core of these settings, with this mailbox.
    pub fn new(jobs: Sender<Job>, settings: &CoreSettings) -> Peer {
        Peer {
            jobs,
            parked: Arc::default(),
            parked_max: settings.parked_max,
        }
    }

    /// Takes a place for a query that will wait on that core; `false` when there is none.
    pub fn reserve(&self) -> bool {
        if self.parked.fetch_add(1, Ordering::Relaxed) < self.parked_max {
            return true;
        }
        self.release();
        false
    }

    /// Gives a place back. The count starts anew with a thread that died, so what an earlier one gave out may come back late.
    pub fn release(&self) {
        let less = |parked: usize| parked.checked_sub(1);
        // Nothing left to give back is no error.
        let _ = self
            .parked
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }
}

/// What chains need from this thread; see [`TaskEnv`].
pub struct Env {
    core: usize,
    cores: usize,
    peers: Vec<Peer>,
    /// The newest configuration last.
    running: RefCell<Vec<Rc<Running>>>,
    /// TCP connections open on this core.
    pub(super) connections: Clients,
    /// TLS handshakes of this core.
    pub(super) handshakes: Handshakes,
    /// What it counts of HTTP.
    pub(super) http: HttpCounts,
    /// QUIC connections of this core.
    pub(super) quic: Clients,
    /// What became of them.
    pub(super) quic_counts: quic::Counts,
}

impl Env {
    /// The environment of one core; `peers` are all cores in order, this one included.
    pub fn new(core: usize, cores: usize, peers: Vec<Peer>) -> Rc<Env> {
        Rc::new(Env {
            core,
            cores,
            peers,
            running: RefCell::new(Vec::new()),
            connections: Clients::of_tcp(),
            handshakes: Handshakes::new(),
            http: HttpCounts::new(),
            quic: Clients::of_quic(),
            quic_counts: quic::Counts::new(),
        })
    }

    /// Opens a configuration next to the ones that still run.
    pub fn open(&self, config: Arc<Config>) {
        let running = Running::open(config, self.core, self.cores, Role::Task);
        self.running.borrow_mut().push(Rc::new(running));
    }

    /// The newest configuration.
    pub fn newest(&self) -> Option<Rc<Running>> {
        self.running.borrow().last().cloned()
    }

    /// What `-tune` sets for this core; the defaults before the first configuration.
    pub fn tune(&self) -> CoreSettings {
        let running = self.running.borrow();
        running
            .last()
            .map_or_else(CoreSettings::default, |running| {
                *running.config.tune.core(self.core)
            })
    }

    /// The configuration a query runs under, or the newest when that one is gone.
    pub fn running(&self, generation: u64) -> Option<Rc<Running>> {
        let running = self.running.borrow();
        running
            .iter()
            .find(|running| running.config.generation == generation)
            .or(running.last())
            .cloned()
    }

    fn retire(&self, before: u64) {
        self.running
            .borrow_mut()
            .retain(|running| running.config.generation >= before);
    }

    fn refresh(&self) {
        let running = self.running.borrow();
        running.iter().for_each(|running| running.refresh());
    }

    /// Takes a place on this core for a query that will wait here; `None` when there is none.
    pub(super) fn reserve(self: &Rc<Env>) -> Option<Place> {
        let has_room = self.peers.get(self.core).is_none_or(Peer::reserve);
        has_room.then(|| Place(self.clone()))
    }
}

impl TaskEnv for Env {
    fn core(&self) -> usize {
        self.core
    }

    fn now_ns(&self) -> u64 {
        clock::now_ns()
    }

    fn route(&self, query: &mut Query) -> Result<Rc<Chain>, Rcode> {
        let running = self
            .running(query.route.generation)
            .ok_or(Rcode::SERVFAIL)?;
        running.route(query).cloned()
    }

    fn chain(&self, route: Route) -> Option<Rc<Chain>> {
        let running = self.running.borrow();
        let same = running
            .iter()
            .find(|running| running.config.generation == route.generation)?;
        same.chain(route.block).cloned()
    }

    fn visit(&self, core: usize, visit: Visit) -> Result<(), Visit> {
        let Some(peer) = self.peers.get(core) else {
            return Err(visit);
        };
        if !peer.reserve() {
            return Err(visit);
        }
        match peer.jobs.try_send(Job::Visit(visit)) {
            Ok(()) => Ok(()),
            Err(Job::Visit(visit)) => {
                peer.release();
                Err(visit)
            }
            Err(_) => unreachable!("the mailbox gives back what it was given"),
        }
    }

    fn start_background(&self, query: &mut Query) {
        start_background(&self.peers, query);
    }
}

/// A place in [`Peer::parked`], given back when dropped: also by a panic, and by a task that was refused.
pub(super) struct Place(Rc<Env>);

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(peer) = self.0.peers.get(self.0.core) {
            peer.release();
        }
    }
}

/// Sends a copy of the query to the core that a plugin wants its detached work on; used by both threads of a core.
pub fn start_background(peers: &[Peer], query: &mut Query) {
    let Some(core) = query.background.take() else {
        return;
    };
    let Some(peer) = peers.get(usize::from(core)) else {
        return;
    };
    if !peer.reserve() {
        return;
    }
    let copy = Box::new(query.detached());
    if peer.jobs.try_send(Job::Background(copy)).is_err() {
        peer.release();
    }
}

/// The main future of a task thread.
pub async fn run(core: usize, cores: usize, peers: Vec<Peer>, mut jobs: Receiver<Job>) {
    let env = Env::new(core, cores, peers);
    let mut acceptors = stream::Acceptors::default();
    let mut endpoints = quic::Endpoints::default();
    while let Some(job) = jobs.recv().await {
        match job {
            Job::Udp(waiting) => runtime::spawn(answer_udp(Place(env.clone()), waiting)),
            Job::Visit(visit) => spawn_counted(&env, plugin::receive(env.clone(), visit)),
            Job::Background(query) => spawn_counted(&env, plugin::background(env.clone(), query)),
            Job::Swap(swap) => {
                env.open(swap.config);
                acceptors.replace(&env, swap.tcp);
                endpoints.replace(&env, swap.quic);
                // The supervisor may have given up waiting; the swap stands all the same.
                let _ = swap.done.send(());
            }
            Job::Retire(before) => env.retire(before),
            Job::Refresh => env.refresh(),
            Job::Stop => return,
            #[cfg(test)]
            Job::Die => panic!("told to die"),
        }
    }
}

/// Runs work that holds a place in `Peer::parked`.
fn spawn_counted(env: &Rc<Env>, work: impl Future<Output = ()> + 'static) {
    let place = Place(env.clone());
    runtime::spawn(async move {
        let _place = place;
        work.await;
    });
}

#[allow(clippy::manual_async_fn)] // which would keep its arguments twice: thousands may wait here
fn answer_udp(place: Place, mut waiting: Box<Waiting>) -> impl Future<Output = ()> {
    async move {
        let run = waiting.run;
        if let Some(reply) = complete(&place.0, &mut waiting.query, run).await {
            waiting.path.send(&reply);
        }
    }
}

/// Drives a parked query to its end and shapes the reply; a panic on the way becomes SERVFAIL. `None`: nothing is sent.
#[allow(clippy::manual_async_fn)] // as above
pub fn complete(
    env: &Rc<Env>,
    query: &mut Query,
    run: Run,
) -> impl Future<Output = Option<Vec<u8>>> {
    async move {
        let Some(chain) = env.chain(query.route) else {
            query.unwritten(Rcode::SERVFAIL);
            return shape(env, query, true);
        };
        let finished = {
            let shared: Rc<dyn TaskEnv> = env.clone();
            let driven = pin!(plugin::drive(shared, chain, query, run));
            serve::unpanicking(driven).await
        };
        shape(env, query, finished.is_some())
    }
}

fn shape(env: &Env, query: &mut Query, finished: bool) -> Option<Vec<u8>> {
    let running = env.running(query.route.generation)?;
    if !finished {
        serve::recover_from_panic(&running, query);
    }
    env.start_background(query);
    if query.is_overspent() {
        query.unwritten(Rcode::SERVFAIL);
    }
    SCRATCH.with_borrow_mut(|out| {
        out.resize(limits::MESSAGE_OCTETS, 0);
        match serve::finish(&running, query, out) {
            Served::Reply(len) => Some(out[..len].to_vec()),
            _ => None,
        }
    })
}

thread_local! {
    /// Where replies are shaped, one after the other.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}
