//! The weight file: a line with a name, then lines with an address and its weight.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::arrange::address;
use crate::upstream;
use crate::wire::name::NameBuf;
use crate::wire::reply::{Record, Reply};

/// Weights of addresses by lower-case wire name.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Weights(BTreeMap<Box<[u8]>, Vec<(IpAddr, u8)>>);

impl Weights {
    /// Reads the text of the file called `file`. The errors are CoreDNS's.
    pub fn parse(text: &str, file: &str) -> Result<Weights, String> {
        let mut names: BTreeMap<Box<[u8]>, Vec<_>> = BTreeMap::new();
        let mut name: Option<Box<[u8]>> = None;
        let lines = text.lines().map(str::trim);
        for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                [word] => {
                    let wire = NameBuf::from_text(word).map(NameBuf::to_lower);
                    let wire = wire.ok().filter(|_| word.parse::<IpAddr>().is_err());
                    let wire = wire.ok_or_else(|| {
                        format!("wrong domain name:\"{word}\" in weight file {file}. (Maybe a missing weight value?)")
                    })?;
                    name = Some(wire.as_wire().into());
                }
                [addr, weight] => {
                    let addr: IpAddr = addr.parse().map_err(|_| {
                        format!("wrong IP address:\"{addr}\" in weight file {file}")
                    })?;
                    let weight = weight.parse().ok().filter(|weight| *weight > 0);
                    let weight = weight.ok_or_else(|| {
                        format!("wrong weight value:\"{}\" in weight file {file}", words[1])
                    })?;
                    let name = name
                        .clone()
                        .ok_or_else(|| format!("missing domain name in weight file {file}"))?;
                    names
                        .entry(name)
                        .or_default()
                        .push((addr.to_canonical(), weight));
                }
                _ => {
                    return Err(format!(
                        "could not parse weight line:\"{line}\" in weight file {file}"
                    ));
                }
            }
        }
        Ok(Weights(names))
    }

    /// Draws one of the address records, each with the chance of its weight; one without a weight has 1.
    pub fn pick(&self, reply: &Reply, records: &[Record]) -> usize {
        let weight = |record: &Record| usize::from(self.weight(reply, record));
        let mut left = upstream::below(records.iter().map(weight).sum());
        records
            .iter()
            .position(|record| {
                let weight = weight(record);
                let is_it = left < weight;
                left = left.saturating_sub(weight);
                is_it
            })
            .unwrap_or(0)
    }

    fn weight(&self, reply: &Reply, record: &Record) -> u8 {
        let owner = NameBuf::from_wire(reply.owner(record)).map(NameBuf::to_lower);
        let found = || {
            let rows = self.0.get(owner.ok()?.as_wire())?;
            let addr = address(reply, record)?.to_canonical();
            rows.iter().find(|row| row.0 == addr).map(|row| row.1)
        };
        found().unwrap_or(1)
    }
}
