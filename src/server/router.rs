//! Which server block answers a name: the longest zone, the DS rule and view filters, as CoreDNS decides it.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;

use crate::corefile::ZoneName;
use crate::limits::NAME_LABELS;
use crate::plugin::{Chain, Query};
use crate::wire::name::{self, Suffixes};
use crate::wire::rcode::Rcode;
use crate::wire::types;

/// The zones of one listener. Immutable and shared by all threads.
#[derive(Default)]
pub struct Router {
    /// Candidates by the keyed hash of the zone's name.
    zones: HashMap<u64, Vec<Candidate>, BuildHasherDefault<Identity>>,
    /// Bit `n` set: some zone has `n` labels, so only suffixes of such depths are looked up.
    depths: u128,
}

/// A zone key of a block.
struct Candidate {
    zone: Vec<u8>,
    block: u16,
    site: u16,
}

impl Router {
    /// Adds a key. Keys of one zone are tried in the order in which they are added.
    pub fn add(&mut self, zone: &ZoneName, block: u16, site: u16) {
        self.depths |= 1 << zone.label_count();
        let zone = zone.wire().to_vec();
        let candidate = Candidate { zone, block, site };
        self.zones
            .entry(name::hash(&candidate.zone))
            .or_default()
            .push(candidate);
    }

    /// Finds the chain for a query and notes block and site on it. `Err` is what is answered without any plugin.
    pub fn find<'a>(
        &self,
        query: &mut Query,
        chains: &'a [Rc<Chain>],
    ) -> Result<&'a Rc<Chain>, Rcode> {
        let qname = query.name_buf();
        let (mut parent, is_ds) = (None, query.qtype == types::DS);
        for (depth, suffix) in depths(qname.as_wire()) {
            if self.depths & (1 << depth) == 0 {
                continue;
            }
            // The root is nobody's parent here: behind it stands an upstream, not the zone that holds the DS records.
            if depth == 0 && parent.is_some() {
                break;
            }
            let Some(found) = self.admitted(suffix, query, chains)? else {
                continue;
            };
            if !is_ds {
                return Ok(found.select(query, chains));
            }
            // DS lives in the parent: keep this one, but prefer a zone further up that is served here too.
            parent = Some(found);
        }
        if let Some(found) = parent {
            return Ok(found.select(query, chains));
        }
        Err(Rcode::REFUSED)
    }

    /// The first candidate of exactly that zone whose view admits the query. A block without handlers refuses.
    fn admitted<'r>(
        &'r self,
        zone: &[u8],
        query: &mut Query,
        chains: &[Rc<Chain>],
    ) -> Result<Option<&'r Candidate>, Rcode> {
        let Some(candidates) = self.zones.get(&name::hash(zone)) else {
            return Ok(None);
        };
        for candidate in candidates.iter().filter(|candidate| candidate.zone == zone) {
            let chain = chains.get(candidate.block as usize).ok_or(Rcode::REFUSED)?;
            if chain.is_empty() {
                return Err(Rcode::REFUSED);
            }
            (query.route.block, query.route.site) = (candidate.block, candidate.site);
            if chain.admits(query) {
                return Ok(Some(candidate));
            }
        }
        Ok(None)
    }
}

impl Candidate {
    fn select<'a>(&self, query: &mut Query, chains: &'a [Rc<Chain>]) -> &'a Rc<Chain> {
        (query.route.block, query.route.site) = (self.block, self.site);
        // `admitted` looked the block up.
        &chains[self.block as usize]
    }
}

/// The suffixes of a name with their number of labels, the whole name first.
fn depths(wire: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let labels = name::label_count(wire).min(NAME_LABELS);
    Suffixes::new(wire)
        .enumerate()
        .map(move |(nth, suffix)| (labels.saturating_sub(nth), suffix))
}

/// Keys are keyed hashes already.
#[derive(Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes
            .iter()
            .for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::AnyPlugin;
    use crate::plugin::panicker::Panicker;
    use crate::testing::directive::query;

    /// Keys are numbered; `expect` is the one that answers.
    fn check(keys: &[&str], name: &str, qtype: u16, expect: &str) {
        let chain = Rc::new(Chain::new(vec![AnyPlugin::Panicker(Panicker::default())]));
        let mut router = Router::default();
        for (nth, key) in keys.iter().enumerate() {
            let zone = ZoneName::parse(key).unwrap();
            router.add(&zone, 0, nth as u16);
        }
        let mut query = query(name, qtype);
        router.find(&mut query, &[chain]).unwrap();
        assert_eq!(keys[query.route.site as usize], expect, "{name}");
    }

    #[test]
    fn ds_is_asked_of_a_parent_that_is_served_but_not_of_the_root() {
        let keys = [".", "org", "example.org", "sub.example.org"];
        check(&keys, "a.sub.example.org.", types::A, "sub.example.org");
        check(&keys, "sub.example.org.", types::DS, "org");
        check(&keys, "example.com.", types::DS, ".");
        check(&keys, ".", types::DS, ".");
        check(
            &[".", "example.org"],
            "example.org.",
            types::DS,
            "example.org",
        );
    }
}
