//! *template*: answers made from the question by Go templates.
//!
//! ```text
//!   zone, class, type -> regexp -> var, expr -> templates -> records
//!     other template       |  fallthrough, or SERVFAIL
//! ```

mod data;
mod matching;
mod setup;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::corefile::{Args, Fall, SetupError, ZoneName, longest_match};
use crate::lang::expr::Program;
use crate::lang::regexp::Regexp;
use crate::lang::template;
use crate::plugin::{Answer, Flow, OpenCx, Plugin, Query, SetupCx, Site, TaskCx};
use crate::telemetry::metrics::registry;
use crate::wire::edns::{DO, option};
use crate::wire::name::NameBuf;
use crate::wire::rcode::Rcode;
use crate::wire::reply::Section;
use crate::wire::{flag, types};
use crate::zone::{TextRecord, parse_record};

use data::Data;
use matching::{Found, Matches};

/// See the README beside this file.
pub struct Template {
    /// This thread's clones: regular expressions bring their own scratch memory.
    blocks: Vec<Block>,
    /// Of all blocks; a query outside of them is none of ours.
    zones: Vec<ZoneName>,
    sites: Vec<Site>,
    matches: Matches,
}

/// One `template` of the Corefile.
#[derive(Clone, Debug)]
pub struct Block {
    qclass: u16,
    qtype: u16,
    zones: Vec<ZoneName>,
    patterns: Vec<Regexp>,
    variables: Vec<(String, Program)>,
    conditions: Vec<Program>,
    answer: Vec<template::Template>,
    additional: Vec<template::Template>,
    authority: Vec<template::Template>,
    rcode: Rcode,
    /// Extended DNS error: code and text.
    ede: Option<(u16, String)>,
    fall: Fall,
}

/// What the blocks say to a query.
enum Verdict<'a> {
    /// The next plugin's.
    Pass,
    /// A block is for this name, but does not match, and nothing falls through.
    Fail,
    /// A variable or a condition could not be evaluated.
    Broken(String),
    Match(&'a Block, Box<Data>),
}

/// The records of a reply, in sections.
type Records = Vec<(Section, TextRecord)>;

impl Plugin for Template {
    type Config = Vec<Block>;

    fn setup(args: &mut Args<'_>, cx: &mut SetupCx<'_>) -> Result<Vec<Block>, SetupError> {
        setup::parse(args, cx)
    }

    fn open(config: &Arc<Vec<Block>>, core: &OpenCx<'_>) -> Template {
        Template {
            blocks: config.to_vec(),
            zones: config
                .iter()
                .flat_map(|block| block.zones.clone())
                .collect(),
            sites: core.sites.to_vec(),
            matches: Matches::default(),
        }
    }

    fn on_query(&self, query: &mut Query) -> Flow {
        let (block, data) = match self.decide(query) {
            Verdict::Pass => return Flow::Next,
            Verdict::Fail => {
                query.unwritten(Rcode::SERVFAIL);
                return Flow::Reply;
            }
            Verdict::Broken(error) => {
                query.fail(Rcode::SERVFAIL, error);
                return Flow::Reply;
            }
            Verdict::Match(block, data) => (block, data),
        };
        let site = self.sites.get(usize::from(query.route.site));
        self.matches.count(site, &data);
        if block.rcode == Rcode::SERVFAIL {
            query.unwritten(Rcode::SERVFAIL);
            return Flow::Reply;
        }
        match self.records(block, &data, query) {
            Ok(records) if chases(&records, query) => return Flow::Park,
            Ok(records) => write(block, records, query),
            Err(error) => query.fail(Rcode::SERVFAIL, error),
        }
        Flow::Reply
    }

    /// A CNAME in the answer has to be looked up: the same again, with its target.
    async fn wait_query(&self, query: &mut Query, cx: &TaskCx) -> Flow {
        let Verdict::Match(block, data) = self.decide(query) else {
            return Flow::Next;
        };
        let records = match self.records(block, &data, query) {
            Ok(records) => records,
            Err(error) => {
                query.fail(Rcode::SERVFAIL, error);
                return Flow::Reply;
            }
        };
        let mut targets = Vec::new();
        for (section, record) in &records {
            if let Some(name) = target(*section, record) {
                let child = cx.lookup(query, &name, query.qtype).await;
                targets.push(child);
            }
        }
        write(block, records, query);
        let reply = &mut query.reply;
        for child in targets
            .iter()
            .filter(|child| child.answer == Answer::Written)
        {
            reply.push_answers_of(&child.reply, Section::Answer);
        }
        Flow::Reply
    }
}

impl Template {
    fn decide(&self, query: &Query) -> Verdict<'_> {
        if longest_match(&self.zones, query.name()).is_none() {
            return Verdict::Pass;
        }
        for block in &self.blocks {
            match block.find(query) {
                Ok(Found::Other) => {}
                Ok(Found::Data(data)) => return Verdict::Match(block, data),
                Ok(Found::No) if block.fall.through(query.name()) => {}
                Ok(Found::No) => return Verdict::Fail,
                Err(error) => return Verdict::Broken(error),
            }
        }
        Verdict::Pass
    }

    /// Runs all templates of a block. The first failure ends it.
    fn records(&self, block: &Block, data: &Data, query: &Query) -> Result<Records, String> {
        let mut records = Vec::new();
        let mut text = String::new();
        let site = self.sites.get(usize::from(query.route.site));
        let sections = [
            (Section::Answer, "answer", &block.answer),
            (Section::Additional, "additional", &block.additional),
            (Section::Authority, "authority", &block.authority),
        ];
        let root = template::Value::Object(data);
        for (section, name, templates) in sections {
            for template in templates {
                text.clear();
                if let Err(error) = template.execute(&root, &mut text) {
                    note_failure(TEMPLATE_FAILURES, site, data, name, template);
                    return Err(error);
                }
                match parse_record(&text, TTL_S) {
                    Ok(record) => records.push((section, record)),
                    Err(error) => {
                        note_failure(RECORD_FAILURES, site, data, name, template);
                        return Err(error);
                    }
                }
            }
        }
        Ok(records)
    }
}

// === helpers ===

fn write(block: &Block, records: Records, query: &mut Query) {
    let reply = query.respond_rcode(block.rcode);
    reply.set_flag(flag::AA, true);
    for (section, record) in records {
        reply.push(
            section,
            record.owner.as_slice(),
            record.rtype,
            record.class,
            record.ttl,
            &record.data,
        );
    }
    if let Some((code, text)) = &block.ede {
        reply.edns.ensure(UDP_SIZE);
        reply.edns.flags |= DO;
        reply.edns.push(
            option::EDE,
            &[&code.to_be_bytes()[..], text.as_bytes()].concat(),
        );
    }
}

/// Whether the answer leads on to names that the client would have to ask for.
fn chases(records: &Records, query: &Query) -> bool {
    matches!(query.qtype, types::A | types::AAAA)
        && records
            .iter()
            .any(|(section, record)| target(*section, record).is_some())
}

/// The target of a CNAME of the answer.
fn target(section: Section, record: &TextRecord) -> Option<NameBuf> {
    let cname = section == Section::Answer && record.rtype == types::CNAME;
    if cname {
        NameBuf::from_wire(&record.data).ok()
    } else {
        None
    }
}

/// Failures are rare: a counter is registered for each, and its value stays with the series.
#[cold]
fn note_failure(
    name: &str,
    site: Option<&Site>,
    data: &Data,
    section: &str,
    template: &template::Template,
) {
    let (server, view) = site.map_or(("", ""), |site| (&site.server, &site.view));
    let labels = [
        ("server", server),
        ("zone", data.zone.as_str()),
        ("view", view),
        ("class", data.class),
        ("type", data.qtype),
        ("section", section),
        ("template", template.as_str()),
    ];
    let help = "Templates that could not be turned into a record.";
    registry().shared_counter(name, help, &labels).inc();
}

/// Counter of templates that failed to execute.
const TEMPLATE_FAILURES: &str = "coredns_template_template_failures_total";
/// Counter of templates whose output is no record.
const RECORD_FAILURES: &str = "coredns_template_rr_failures_total";
/// TTL of a record that gives none, in seconds.
const TTL_S: u32 = 3600;
/// Payload size of an OPT record that is added for an extended error.
const UDP_SIZE: u16 = 4096;
