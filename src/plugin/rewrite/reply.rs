//! What rules do to replies.

use super::edns::overwrite;
use super::name::Answer;
use super::rule::{CnameRule, Field, Rule};
use super::{Passage, Step};
use crate::plugin::{Answer as Outcome, Query, TaskCx};
use crate::wire::edns::Edns;
use crate::wire::name::{self, NameBuf, Text};
use crate::wire::reply::{Reply, Section};
use crate::wire::{flag, rdata, types};

/// Turns a written reply back: the rules that applied, the last one first.
pub(super) fn revert(rules: &[Rule], passage: &Passage, query: &mut Query) {
    for step in passage.steps.iter().rev() {
        if let Some((code, data)) = &step.option {
            restore_option(&mut query.edns, *code, data.as_deref());
            restore_option(&mut query.reply.edns, *code, data.as_deref());
        }
    }
    if !passage.had_edns && query.edns.present {
        // The OPT record was ours: a client that sent none gets none.
        query.edns.clear();
        query.reply.edns.clear();
    }
    let touches_records = |step: &Step| {
        let field = rules.get(step.rule).map(|rule| &rule.field);
        match field {
            Some(Field::Name(rule)) => !rule.answers.is_empty(),
            Some(Field::Ttl { .. } | Field::Rcode { .. }) => true,
            _ => false,
        }
    };
    if !passage.steps.iter().any(touches_records) {
        return;
    }
    let Some(reply) = query.written() else { return };
    for step in passage.steps.iter().rev() {
        if let Some(Field::Rcode { from, to, .. }) = rules.get(step.rule).map(|rule| &rule.field)
            && reply.rcode == *from
        {
            reply.rcode = *to;
        }
    }
    for nth in 0..reply.records().len() {
        revert_record(rules, &passage.steps, reply, nth);
    }
}

fn revert_record(rules: &[Rule], steps: &[Step], reply: &mut Reply, nth: usize) {
    let Some(record) = reply.records().get(nth).copied() else {
        return;
    };
    let target = target_range(record.rtype, reply.rdata(&record));
    let mut owner = Changing::new(reply.owner(&record));
    let mut value = target.map(|range| Changing::new(&reply.rdata(&record)[range]));
    let mut ttl = record.ttl;
    for step in steps.iter().rev() {
        match rules.get(step.rule).map(|rule| &rule.field) {
            Some(Field::Name(rule)) => {
                for answer in rule.answers.iter().rev() {
                    match (answer, &step.remap) {
                        (Answer::Auto, Some(remap)) => {
                            owner.remap(remap);
                            value.iter_mut().for_each(|value| value.remap(remap));
                        }
                        (answer, _) => {
                            owner.replace(|text| answer.owner(text));
                            value
                                .iter_mut()
                                .for_each(|value| value.replace(|text| answer.value(text)));
                        }
                    }
                }
            }
            Some(Field::Ttl { min_s, max_s, .. }) => ttl = ttl.clamp(*min_s, *max_s),
            _ => {}
        }
    }
    if let Some(record) = reply.records_mut().get_mut(nth) {
        record.ttl = ttl;
    }
    if let Some(name) = owner.changed {
        reply.set_owner(nth, name.as_wire());
    }
    if let Some(name) = value.and_then(|value| value.changed)
        && let Some(octets) = rdata::with_first_name(record.rtype, reply.rdata(&record), &name)
    {
        reply.set_rdata(nth, &octets);
    }
}

/// A name of a record, lower-cased, and what became of it.
struct Changing {
    name: NameBuf,
    changed: Option<NameBuf>,
}

impl Changing {
    fn new(wire: &[u8]) -> Self {
        // Records hold valid names; the root stands in for the impossible.
        let name = NameBuf::from_wire(wire).unwrap_or(NameBuf::ROOT).to_lower();
        Self {
            name,
            changed: None,
        }
    }

    fn set(&mut self, name: NameBuf) {
        if name != self.name {
            self.name = name;
            self.changed = Some(name);
        }
    }

    fn remap(&mut self, (from, to): &(NameBuf, NameBuf)) {
        let (wire, from) = (self.name.as_wire(), from.as_wire());
        if !name::is_within(wire, from) {
            return;
        }
        let mut moved = wire[..wire.len() - from.len()].to_vec();
        moved.extend_from_slice(to.as_wire());
        // A name that would grow too long stays as it is.
        if let Ok(name) = NameBuf::from_wire(&moved) {
            self.set(name);
        }
    }

    fn replace(&mut self, change: impl FnOnce(&str) -> Option<String>) {
        let replaced = change(&Text(self.name.as_wire()).to_string());
        if let Some(name) = replaced.and_then(|text| NameBuf::from_text(&text).ok()) {
            self.set(name);
        }
    }
}

// === CNAME targets ===

/// Place of the first CNAME of the answer whose target the rule is for, and the new target.
pub(super) fn find_target(rule: &CnameRule, reply: &Reply) -> Option<(usize, NameBuf)> {
    let mut found = None;
    for (nth, record) in reply.records().iter().enumerate() {
        if record.section != Section::Answer || record.rtype != types::CNAME {
            continue;
        }
        let target = Text(reply.rdata(record)).to_string().to_ascii_lowercase();
        let replaced = rule.targets.replace(&target, &rule.replacement);
        let name = replaced
            .filter(|new| *new != target)
            .and_then(|new| NameBuf::from_text(&new).ok());
        if let Some(name) = name {
            found = Some((nth, name));
            break;
        }
    }
    found
}

/// Points the CNAME to its new target and puts what that resolves to in place of the old tail.
pub(super) async fn redirect(rule: &CnameRule, query: &mut Query, cx: &TaskCx) {
    let Some((nth, target)) = query.written().and_then(|reply| find_target(rule, reply)) else {
        return;
    };
    let child = cx.lookup(query, &target, query.qtype).await;
    let Some(reply) = query.written() else { return };
    reply.set_rdata(nth, target.as_wire());
    let mut place = 0;
    reply.retain(|record| {
        // The chain up to the target stays, other sections too.
        let keep =
            record.section != Section::Answer || (place <= nth && record.rtype == types::CNAME);
        place += 1;
        keep
    });
    if child.answer != Outcome::Written {
        return;
    }
    for record in child.reply.section(Section::Answer) {
        let (owner, octets) = (child.reply.owner(record), child.reply.rdata(record));
        reply.push(
            Section::Answer,
            owner,
            record.rtype,
            record.class,
            record.ttl,
            octets,
        );
    }
    reply.set_flag(flag::TC, child.reply.has_flag(flag::TC));
}

// === helpers ===

/// Where the target stands in the rdata of the types whose target is rewritten.
fn target_range(rtype: u16, octets: &[u8]) -> Option<std::ops::Range<usize>> {
    let has_target = matches!(
        rtype,
        types::SRV
            | types::MX
            | types::CNAME
            | types::NS
            | types::DNAME
            | types::NAPTR
            | types::SOA
            | types::PTR
    );
    if has_target {
        rdata::first_name(rtype, octets)
    } else {
        None
    }
}

/// Gives an option the data it had, or takes it out where it was not there.
fn restore_option(edns: &mut Edns, code: u16, data: Option<&[u8]>) {
    if edns.find(code).is_none() {
        return;
    }
    match data {
        Some(data) => overwrite(edns, code, data),
        None => edns.retain(|known, _| known != code),
    }
}
