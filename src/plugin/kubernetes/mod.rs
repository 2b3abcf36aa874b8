//! *kubernetes*: the names of a cluster, answered from what its API server says.

mod answer;
mod keep;
mod metadata;
mod search;
mod setup;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::sync::Arc;

use self::answer::Outcome;
use crate::corefile::{Args, SetupError, ZoneName, longest_match};
use crate::kube::Served;
use crate::kube::records::Question;
use crate::kube::schema::is_reverse;
use crate::kube::store::View;
use crate::limits;
use crate::plugin::{
    Flow, OpenCx, PlainFlow, PlainPart, PlainQuery, Plugin, Query, SetupCx, TaskCx,
};
use crate::runtime::epoch::Pin;
use crate::wire::direct::Written;
use crate::wire::name::NameBuf;
use crate::wire::rcode::Rcode;
use crate::wire::reply::{Reply, Section};
use crate::wire::{flag, types};

/// See the README beside this file.
pub struct Kubernetes {
    config: Arc<Config>,
    /// A reply on the long way, before it is taken over; made for the first.
    scratch: RefCell<Vec<u8>>,
}

/// What a block's *kubernetes* says.
pub struct Config {
    served: Arc<Served>,
    /// Those of its zones that hold services of the cluster set.
    multicluster: Vec<ZoneName>,
    pods: Pods,
    /// `noendpoints`
    ignores_endpoints: bool,
    /// `ignore empty_service`
    ignores_empty: bool,
    zonal: bool,
}

/// Which names of pods are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pods {
    /// None.
    Disabled,
    /// Any that spells an address, in a namespace that exists.
    Insecure,
    /// Those of pods.
    Verified,
}

impl Plugin for Kubernetes {
    type Config = Config;

    fn setup(args: &mut Args<'_>, cx: &mut SetupCx<'_>) -> Result<Config, SetupError> {
        setup::parse(args, cx)
    }

    fn open(config: &Arc<Config>, _: &OpenCx<'_>) -> Kubernetes {
        Kubernetes {
            config: Arc::clone(config),
            scratch: RefCell::default(),
        }
    }

    fn on_query(&self, query: &mut Query) -> Flow {
        match self.with_question(query, |view, question, scratch| {
            self.decide(view, question, scratch)
        }) {
            None | Some(Decision::Next) => Flow::Next,
            Some(Decision::Park) => Flow::Park,
            Some(Decision::Refuse) => {
                query.unwritten(Rcode::REFUSED);
                Flow::Reply
            }
            Some(Decision::Reply(written)) => {
                query.take_over(&written, &self.scratch.borrow());
                Flow::Reply
            }
        }
    }

    fn plain_part(&self) -> PlainPart {
        PlainPart::QUERY
    }

    fn plain_query<'a>(&'a self, query: &mut PlainQuery<'a>, out: &mut [u8]) -> PlainFlow {
        let plain = query.plain;
        let Some(zone) = longest_match(&self.config.served.zones, plain.name()) else {
            return PlainFlow::Next;
        };
        let view = self.config.served.view(query.pin);
        let question = Question {
            zone,
            name: plain.name(),
            qtype: plain.qtype,
            section: query.question(),
            salt: plain.id,
        };
        match self.decide(view, question, query.clip(out)) {
            Decision::Reply(written) => query.replied(Some(written)),
            Decision::Next => PlainFlow::Next,
            Decision::Park | Decision::Refuse => PlainFlow::Long,
        }
    }

    /// Looks up what an ExternalName service stands for.
    async fn wait_query(&self, query: &mut Query, cx: &TaskCx) -> Flow {
        let Some(target) = self.alias(query) else {
            // It is no alias any more.
            return match self.on_query(query) {
                Flow::Park => self.deny(query),
                flow => flow,
            };
        };
        if query.qtype == types::CNAME {
            self.point_to(query, &target);
            return Flow::Reply;
        }
        if target.as_wire() == query.name() {
            return self.deny(query);
        }
        let mut child = cx.lookup(query, &target, query.qtype).await;
        let is_inside = longest_match(&self.config.served.zones, target.as_wire()).is_some();
        let rcode = child.rcode();
        let end = child.written();
        let has_answers = |end: &&mut Reply| end.section(Section::Answer).next().is_some();
        match end.filter(|end| !is_inside || has_answers(end)) {
            Some(end) => {
                let reply = self.point_to(query, &target);
                reply.push_answers_of(end, Section::Answer);
                Flow::Reply
            }
            // One in the cluster that may come to be known is not denied, and one that has no address leaves nothing to say.
            None if is_inside && rcode == Some(Rcode::SERVFAIL) => {
                query.unwritten(Rcode::SERVFAIL);
                Flow::Reply
            }
            None if is_inside => self.deny(query),
            // One outside is told even if nobody can say what it leads to.
            None => {
                self.point_to(query, &target);
                Flow::Reply
            }
        }
    }

    fn on_metadata(&self, query: &mut Query) {
        metadata::set(&self.config, query);
    }
}

/// What the plugin does with a query.
enum Decision {
    Reply(Written),
    Next,
    Park,
    Refuse,
}

impl Kubernetes {
    fn decide(&self, view: View<'_>, question: Question<'_>, out: &mut [u8]) -> Decision {
        let config = &self.config;
        match config.answer(view, question, out) {
            Outcome::Written(written) => Decision::Reply(written),
            Outcome::Alias(_) | Outcome::NoRoom => Decision::Park,
            Outcome::Refused => Decision::Refuse,
            Outcome::NoName => {
                let is_synced = config.served.is_synced();
                let falls = config.served.fall.through(question.name);
                // What may be a name of the cluster is nobody else's to answer while it is not known which there are; names of addresses
                // are those of all the world.
                if falls && (is_synced || is_reverse(question.zone)) {
                    return Decision::Next;
                }
                let rcode = if is_synced {
                    Rcode::NXDOMAIN
                } else {
                    Rcode::SERVFAIL
                };
                match config.denial(question, rcode, out) {
                    Some(written) => Decision::Reply(written),
                    None => Decision::Park,
                }
            }
        }
    }

    /// The target, if the name is an ExternalName service.
    fn alias(&self, query: &Query) -> Option<NameBuf> {
        let target = self.with_question(query, |view, question, scratch| {
            match self.config.answer(view, question, scratch) {
                Outcome::Alias(target) => NameBuf::from_wire(target).ok(),
                _ => None,
            }
        });
        target.flatten()
    }

    /// Replies with one CNAME record.
    fn point_to<'q>(&self, query: &'q mut Query, target: &NameBuf) -> &'q mut Reply {
        let (name, reply) = query.respond_to_name();
        reply.set_flag(flag::AA, true);
        let (rtype, ttl_s) = (types::CNAME, self.config.served.ttl_s);
        reply.push(
            Section::Answer,
            name,
            rtype,
            types::CLASS_IN,
            ttl_s,
            target.as_wire(),
        );
        reply
    }

    /// Replies with the zone's SOA record and no answer.
    fn deny(&self, query: &mut Query) -> Flow {
        let denial = self.with_question(query, |_, question, scratch| {
            self.config.denial(question, Rcode::NOERROR, scratch)
        });
        match denial.flatten() {
            Some(written) => query.take_over(&written, &self.scratch.borrow()),
            None => query.unwritten(Rcode::SERVFAIL),
        }
        Flow::Reply
    }

    /// Calls `with` with the question as the plugins see it and room for the largest reply; `None` if it is in none of the zones.
    fn with_question<R>(
        &self,
        query: &Query,
        with: impl FnOnce(View<'_>, Question<'_>, &mut [u8]) -> R,
    ) -> Option<R> {
        let zone = longest_match(&self.config.served.zones, query.name())?;
        let pin = Pin::new();
        let question = Question {
            zone,
            name: query.name(),
            qtype: query.qtype,
            section: &query.question_section(),
            salt: query.id,
        };
        let mut scratch = self.scratch.borrow_mut();
        scratch.resize(limits::MESSAGE_OCTETS, 0);
        Some(with(self.config.served.view(&pin), question, &mut scratch))
    }
}
