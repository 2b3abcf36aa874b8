//! One thread's instances of a configuration.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::cell::OnceCell;
use std::rc::Rc;
use std::sync::Arc;

use super::config::{Config, Listener};
use crate::plugin::{Chain, OpenCx, Query, Role};
use crate::telemetry::dns::SiteMetrics;
use crate::telemetry::metrics::registry;
use crate::transport::proxy::Proxies;
use crate::wire::plain::Plain;
use crate::wire::rcode::Rcode;
use crate::wire::types;

/// The chains of one configuration on one thread.
pub struct Running {
    /// What was parsed, shared by all threads.
    pub config: Arc<Config>,
    chains: Vec<Rc<Chain>>,
    /// Where plain queries go, by listener.
    places: Vec<Place>,
    /// What no block has seen, by listener: registered with the first such query.
    dropped: Vec<OnceCell<SiteMetrics>>,
    prefetches: bool,
}

/// What can be told of plain queries before they are read.
enum Place {
    /// All go the long way.
    None,
    /// All go to this block and site, but those that a parent zone might answer.
    Sole(u16, u16),
    /// The router decides.
    Router,
}

impl Place {
    fn of(listener: &Listener, chains: &[Rc<Chain>]) -> Place {
        let takes_plain = |block: u16| {
            chains
                .get(block as usize)
                .is_some_and(|chain| chain.takes_plain())
        };
        // With *debug* a panic is left to surface, so nothing is tried that is caught.
        match listener.router.sole() {
            _ if listener.debug => Place::None,
            Some((block, site)) if takes_plain(block) => Place::Sole(block, site),
            Some(_) => Place::None,
            None if chains.iter().any(|chain| chain.takes_plain()) => Place::Router,
            None => Place::None,
        }
    }
}

impl Running {
    /// Opens every block's plugins for one thread.
    pub fn open(config: Arc<Config>, core: usize, cores: usize, role: Role) -> Running {
        let chains = config.blocks.iter().map(|block| {
            let handlers: Vec<&'static str> =
                block.plugins.iter().map(|plugin| plugin.name()).collect();
            let rows = block.plugins.iter().enumerate().map(|(row, plugin)| {
                let (sites, zones, handlers) = (&block.sites[..], &block.zones[..], &handlers[..]);
                plugin.open(&OpenCx {
                    core,
                    cores,
                    role,
                    row,
                    sites,
                    zones,
                    handlers,
                    tune: config.tune.core(core),
                })
            });
            Rc::new(Chain::new(rows.collect()))
        });
        let chains: Vec<Rc<Chain>> = chains.collect();
        let places = config
            .listeners
            .iter()
            .map(|listener| Place::of(listener, &chains));
        let places = places.collect();
        let dropped = config.listeners.iter().map(|_| OnceCell::new()).collect();
        let prefetches = chains.iter().any(|chain| chain.prefetches());
        Running {
            config,
            chains,
            places,
            dropped,
            prefetches,
        }
    }

    /// The chain for a query on its listener, which also gets block and site.
    pub fn route(&self, query: &mut Query) -> Result<&Rc<Chain>, Rcode> {
        let listener = self
            .config
            .listeners
            .get(query.route.listener as usize)
            .ok_or(Rcode::REFUSED)?;
        listener.router.find(query, &self.chains)
    }

    /// Block and site for a plain query, where the short way may be tried.
    #[inline]
    pub fn place_plain(&self, listener: u16, plain: &Plain) -> Option<(u16, u16)> {
        let (block, site) = match self.places.get(listener as usize)? {
            Place::None => return None,
            Place::Sole(block, site) if plain.qtype != types::DS => return Some((*block, *site)),
            _ => {
                let listener = self.config.listeners.get(listener as usize)?;
                listener.router.find_plain(plain.name(), plain.qtype)?
            }
        };
        self.chain(block)?.takes_plain().then_some((block, site))
    }

    /// Whether plain queries of a listener may have a short way: else none is worth a first look.
    pub fn takes_plain(&self, listener: u16) -> bool {
        !matches!(self.places.get(listener as usize), None | Some(Place::None))
    }

    /// Proxies that may say who their client is, on a listener that hears them.
    pub fn proxies(&self, listener: u16) -> Option<&Proxies> {
        let listener = self.config.listeners.get(listener as usize)?;
        listener.proxies.as_deref()
    }

    /// Counters of queries on a listener that never reach a block: label zone `dropped`.
    pub fn dropped(&self, listener: u16) -> Option<&SiteMetrics> {
        let cell = self.dropped.get(listener as usize)?;
        let label = &self.config.listeners.get(listener as usize)?.label;
        let writers = [""];
        Some(cell.get_or_init(|| SiteMetrics::new(registry(), label, "dropped", "", &writers)))
    }

    /// Whether it pays to fetch ahead for a batch of plain queries.
    pub fn prefetches(&self) -> bool {
        self.prefetches
    }

    /// Lets every chain let go of what was replaced.
    pub fn refresh(&self) {
        self.chains.iter().for_each(|chain| chain.refresh());
    }

    /// The chain of a block.
    pub fn chain(&self, block: u16) -> Option<&Rc<Chain>> {
        self.chains.get(block as usize)
    }
}
