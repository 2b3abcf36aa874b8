//! What the server does apart from what is asked of it, and what it remembers of what was asked.

use crate::kube::record::Kind;

/// How the server behaves. See [`super::Api::script`].
#[derive(Debug, Clone)]
pub struct Script {
    /// The bearer token without which a request gets 401.
    pub token: Option<String>,
    /// What WatchList requests get.
    pub watch_list: WatchList,
    /// Answer JSON where protobuf is asked for, if the client takes JSON too, and 406 otherwise.
    pub is_json_only: bool,
    /// Requests that fail. The first one that applies is used up first.
    pub refusals: Vec<Refusal>,
    /// Answers that go wrong on their way. The first one that applies is used up first.
    pub troubles: Vec<Trouble>,
    /// Milliseconds between bookmarks of a watch that allows them.
    pub bookmark_interval_ms: u64,
    /// What the server does before it answers, in milliseconds.
    pub delay_ms: u64,
}

impl Default for Script {
    fn default() -> Script {
        Script {
            token: None,
            watch_list: WatchList::Works,
            is_json_only: false,
            refusals: Vec::new(),
            troubles: Vec::new(),
            bookmark_interval_ms: 60_000,
            delay_ms: 0,
        }
    }
}

/// What a WatchList request gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchList {
    /// The initial events, a bookmark, and the watch.
    Works,
    /// 422: the feature gate is off.
    GateOff,
    /// 200 and an ERROR event of code 500: the etcd below is too old.
    OldStore,
}

/// Requests that fail.
#[derive(Debug, Clone, Default)]
pub struct Refusal {
    /// The verb, or all.
    pub verb: Option<Verb>,
    /// The kind, or all.
    pub kind: Option<Kind>,
    /// The status code.
    pub code: u16,
    /// Seconds of a Retry-After.
    pub retry_after_s: Option<u32>,
    /// How many requests.
    pub times: usize,
}

impl Refusal {
    /// The next so many requests, whatever they are.
    pub fn all(code: u16, times: usize) -> Refusal {
        Refusal {
            code,
            times,
            ..Refusal::default()
        }
    }
}

/// An answer that goes wrong on its way.
#[derive(Debug, Clone)]
pub struct Trouble {
    /// The verb, or all.
    pub verb: Option<Verb>,
    /// The kind, or all.
    pub kind: Option<Kind>,
    /// Octets of the body that are sent as they should be.
    pub after: usize,
    /// What happens then.
    pub fault: Fault,
    /// How many answers.
    pub times: usize,
}

impl Trouble {
    /// The next answer to that verb.
    pub fn once(verb: Verb, after: usize, fault: Fault) -> Trouble {
        Trouble {
            verb: Some(verb),
            kind: None,
            after,
            fault,
            times: 1,
        }
    }
}

/// What happens to an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection is closed.
    Break,
    /// The body ends as if it were whole.
    End,
    /// Octets without meaning follow, and the end.
    Garbage,
    /// Nothing more is sent, and the connection stays.
    Stall,
    /// The rest is sent at so many octets in a second, 20 at least.
    Slow(usize),
}

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// One object.
    Get,
    /// A list or a page of it.
    List,
    /// A watch from a version.
    Watch,
    /// A watch that begins with what is there.
    WatchList,
    /// Anything that is no list, watch or object of a known kind.
    Other,
}

/// A request as the server saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The verb.
    pub verb: Verb,
    /// The kind, where it is known.
    pub kind: Option<Kind>,
    /// Path and query.
    pub target: String,
    /// The header Accept.
    pub accept: String,
    /// The status code of the answer.
    pub code: u16,
}

impl Script {
    /// The refusal for a request, if there is one.
    pub(super) fn refuse(&mut self, verb: Verb, kind: Option<Kind>) -> Option<Refusal> {
        let found = self
            .refusals
            .iter_mut()
            .find(|refusal| refusal.times > 0 && applies(refusal.verb, refusal.kind, verb, kind))?;
        found.times -= 1;
        Some(found.clone())
    }

    /// The trouble for an answer, if there is one.
    pub(super) fn trouble(&mut self, verb: Verb, kind: Kind) -> Option<Trouble> {
        let found = self.troubles.iter_mut().find(|trouble| {
            trouble.times > 0 && applies(trouble.verb, trouble.kind, verb, Some(kind))
        })?;
        found.times -= 1;
        Some(found.clone())
    }
}

fn applies(
    wanted: Option<Verb>,
    wanted_kind: Option<Kind>,
    verb: Verb,
    kind: Option<Kind>,
) -> bool {
    wanted.is_none_or(|wanted| wanted == verb) && (wanted_kind.is_none() || wanted_kind == kind)
}
