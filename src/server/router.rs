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
use crate::plugin::{Chain, Query};
use crate::wire::name;
use crate::wire::rcode::Rcode;
use crate::wire::types;

/// The zones of one listener. Immutable and shared by all threads.
#[derive(Default)]
pub struct Router {
    /// By zone in wire form.
    zones: HashMap<Box<[u8]>, Vec<Candidate>, BuildHasherDefault<KeyedHasher>>,
    /// Those of the root, which most names end at.
    root: Vec<Candidate>,
    /// Bit `n` set: some zone takes `n` octets, so only suffixes of such lengths are looked up.
    lengths: [u64; 4],
}

/// A block that serves a zone.
#[derive(Clone, Copy)]
struct Candidate {
    block: u16,
    site: u16,
}

impl Router {
    /// Adds a key. Keys of one zone are tried in the order in which they are added.
    pub fn add(&mut self, zone: &ZoneName, block: u16, site: u16) {
        let zone = zone.wire();
        if zone.len() == 1 {
            return self.root.push(Candidate { block, site });
        }
        self.lengths[zone.len() / 64] |= 1 << (zone.len() % 64);
        self.zones
            .entry(zone.into())
            .or_default()
            .push(Candidate { block, site });
    }

    /// Finds the chain for a query and notes block and site on it. `Err` is what is answered without any plugin.
    pub fn find<'a>(
        &self,
        query: &mut Query,
        chains: &'a [Rc<Chain>],
    ) -> Result<&'a Rc<Chain>, Rcode> {
        let (mut parent, is_ds) = (None, query.qtype == types::DS);
        let mut at = 0;
        // An offset, not a slice: a view filter gets the query to write to.
        while let Some(&label) = query.name().get(at) {
            let candidates = self.candidates(&query.name()[at..]);
            // The root is nobody's parent here: behind it stands an upstream, not the zone that holds the DS records.
            if label == 0 && parent.is_some() {
                break;
            }
            at += 1 + label as usize;
            let Some(found) = admitted(candidates, query, chains)? else {
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

    /// Block and site of every name, where the listener serves the root alone, and without views.
    pub fn sole(&self) -> Option<(u16, u16)> {
        match (self.zones.is_empty(), &self.root[..]) {
            (true, [only]) => Some((only.block, only.site)),
            _ => None,
        }
    }

    /// Block and site for a name, if there is no more to it than the longest zone: one block, no view, no type that is asked elsewhere.
    pub fn find_plain(&self, name: &[u8], qtype: u16) -> Option<(u16, u16)> {
        if qtype == types::DS {
            return None;
        }
        let mut rest = name;
        while rest.len() > 1 {
            match self.candidates(rest) {
                [] => {}
                [only] => return Some((only.block, only.site)),
                _ => return None,
            }
            rest = rest.get(1 + usize::from(*rest.first()?)..)?;
        }
        match self.root[..] {
            [only] => Some((only.block, only.site)),
            _ => None,
        }
    }

    /// The blocks that serve exactly that zone.
    fn candidates(&self, zone: &[u8]) -> &[Candidate] {
        if zone.len() == 1 {
            return &self.root;
        }
        let (word, bit) = (zone.len() / 64, zone.len() % 64);
        if self
            .lengths
            .get(word)
            .is_none_or(|word| word >> bit & 1 == 0)
        {
            return &[];
        }
        self.zones.get(zone).map_or(&[], Vec::as_slice)
    }
}

/// The first candidate whose view admits the query. A block without handlers refuses.
fn admitted(
    candidates: &[Candidate],
    query: &mut Query,
    chains: &[Rc<Chain>],
) -> Result<Option<Candidate>, Rcode> {
    for candidate in candidates {
        let chain = chains.get(candidate.block as usize).ok_or(Rcode::REFUSED)?;
        if chain.is_empty() {
            return Err(Rcode::REFUSED);
        }
        (query.route.block, query.route.site) = (candidate.block, candidate.site);
        if chain.admits(query) {
            return Ok(Some(*candidate));
        }
    }
    Ok(None)
}

impl Candidate {
    fn select<'a>(self, query: &mut Query, chains: &'a [Rc<Chain>]) -> &'a Rc<Chain> {
        (query.route.block, query.route.site) = (self.block, self.site);
        // `admitted` looked the block up.
        &chains[self.block as usize]
    }
}

/// The keyed hash of names.
#[derive(Default)]
struct KeyedHasher(u64);

impl Hasher for KeyedHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, zone: &[u8]) {
        self.0 = name::hash(zone);
    }

    /// The length that precedes a slice: the hash of a name covers it.
    fn write_usize(&mut self, _: usize) {}
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
