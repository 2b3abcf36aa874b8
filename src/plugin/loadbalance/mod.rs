//! *loadbalance*: changes the order of addresses in answers, at random, by weight or by network.

mod arrange;
mod plain;
mod setup;
#[cfg(test)]
mod tests;
mod weights;

use std::cell::RefCell;
use std::sync::Arc;

use crate::control::{Published, Subscriber};
use crate::corefile::{Args, SetupError};
use crate::lang::cidr::Net;
use crate::plugin::{Answer, Flow, OpenCx, PlainPart, PlainQuery, Plugin, Query, SetupCx};
use crate::wire::rcode::Rcode;
use crate::wire::reply::{Record, Reply, Section};
use crate::wire::{types, u16_at};

use arrange::{Group, arrange};
use weights::Weights;

/// See the README beside this file.
pub struct Loadbalance {
    config: Arc<Config>,
    weights: Option<RefCell<Subscriber<Weights>>>,
    /// Kept from one reply to the next.
    scratch: RefCell<Vec<Record>>,
}

/// What the block says.
#[derive(Default)]
pub struct Config {
    /// The weights of the policy `weighted`; none for `round_robin`.
    weights: Option<Arc<Published<Weights>>>,
    /// Networks whose addresses come first, in this order.
    prefer: Vec<Net>,
}

impl Plugin for Loadbalance {
    type Config = Config;

    fn setup(args: &mut Args<'_>, cx: &mut SetupCx<'_>) -> Result<Config, SetupError> {
        setup::parse(args, cx)
    }

    fn open(config: &Arc<Config>, _: &OpenCx<'_>) -> Loadbalance {
        let subscribe = |weights: &Arc<Published<Weights>>| RefCell::new(weights.subscribe());
        Loadbalance {
            config: config.clone(),
            weights: config.weights.as_ref().map(subscribe),
            scratch: RefCell::default(),
        }
    }

    fn refresh(&self) {
        if let Some(weights) = &self.weights {
            weights.borrow_mut().refresh();
        }
    }

    fn on_reply(&self, query: &mut Query) -> Flow {
        if query.answer != Answer::Written
            || query.reply.rcode != Rcode::NOERROR
            || matches!(query.asked().qtype, types::AXFR | types::IXFR)
        {
            return Flow::Next;
        }
        // A stored answer with nothing to order stays closed.
        if query
            .reply
            .packed()
            .is_some_and(|packed| !has_choice(packed))
        {
            return Flow::Next;
        }
        let qtype = query.asked().qtype;
        if let Some(reply) = query.written() {
            match &self.weights {
                Some(weights) => self.weigh(reply, qtype, weights.borrow_mut().current()),
                None => self.shuffle(reply),
            }
            self.prefer(reply);
        }
        Flow::Next
    }

    /// Weights and preferred networks look at each address, so they take the long way.
    fn plain_part(&self) -> PlainPart {
        match self.weights.is_none() && self.config.prefer.is_empty() {
            true => PlainPart::REPLY,
            false => PlainPart::Bars,
        }
    }

    fn plain_reply(&self, query: &PlainQuery<'_>, out: &mut [u8]) -> bool {
        plain::shuffle(query, out)
    }
}

/// Whether a section of a whole message has more than one record.
fn has_choice(message: &[u8]) -> bool {
    [6, 8, 10]
        .iter()
        .any(|at| u16_at(message, *at).unwrap_or(0) > 1)
}

impl Loadbalance {
    fn shuffle(&self, reply: &mut Reply) {
        let order = [Group::Cname, Group::Rest, Group::Address, Group::Mx];
        let scratch = &mut *self.scratch.borrow_mut();
        arrange(
            reply,
            scratch,
            |_| Some(order),
            |_, group, records| {
                if matches!(group, Group::Address | Group::Mx) {
                    arrange::shuffle(records);
                }
            },
        );
    }

    fn weigh(&self, reply: &mut Reply, qtype: u16, weights: &Weights) {
        if !matches!(qtype, types::A | types::AAAA | types::SRV) {
            return;
        }
        let has_address = |section: Section| {
            let group = |record: &Record| Group::of(record.rtype) == Group::Address;
            section != Section::Authority && reply.section(section).any(group)
        };
        let [answer, additional] = [Section::Answer, Section::Additional].map(has_address);
        let order = [Group::Cname, Group::Rest, Group::Address, Group::Mx];
        let order_of = |section| match section {
            Section::Answer if answer => Some(order),
            Section::Additional if additional => Some(order),
            _ => None,
        };
        let scratch = &mut *self.scratch.borrow_mut();
        arrange(reply, scratch, order_of, |reply, group, records| {
            if group == Group::Address {
                let top = weights.pick(reply, records);
                records.swap(0, top);
            }
        });
    }

    fn prefer(&self, reply: &mut Reply) {
        if self.config.prefer.is_empty() {
            return;
        }
        let order = [Group::Cname, Group::Address, Group::Mx, Group::Rest];
        let order_of = |section| (section != Section::Authority).then_some(order);
        let scratch = &mut *self.scratch.borrow_mut();
        arrange(reply, scratch, order_of, |reply, group, records| {
            if group == Group::Address {
                arrange::to_front(reply, records, &self.config.prefer);
            }
        });
    }
}
