//! *autopath*: walks the client's search path, so that the client does not have to.
//!
//! The first element of the path is what the client has asked for, and so it is asked by letting the query pass. Only if there is no such name
//! the query parks on its way up, and the others are tried on a task thread; those that are in memory cost no further waiting.
//!
//! ```text
//!   on_reply:    a name of the first element that does not exist?  -> park
//!   wait_reply:  base + second, base + third, ..., base            -> CNAME to the first that exists, else the first reply
//! ```

mod setup;
#[cfg(test)]
mod tests;

use std::cell::OnceCell;
use std::net::IpAddr;
use std::sync::Arc;

use crate::corefile::{Args, SetupError, ZoneName, longest_match};
use crate::limits;
use crate::plugin::{
    Answer, Flow, Offers, OpenCx, PlainPart, PlainQuery, Plugin, Query, SetupCx, Site, TaskCx,
};
use crate::search::{Fixed, SearchPath};
use crate::telemetry::metrics::{Counter, registry};
use crate::wire::name::{self, NameBuf};
use crate::wire::rcode::Rcode;
use crate::wire::reply::{Reply, Section};
use crate::wire::types;

/// See the README beside this file.
pub struct Autopath {
    config: Arc<Config>,
    sites: Vec<Site>,
    /// For each site, made when it is needed first.
    successes: Vec<OnceCell<Counter>>,
}

/// What the block says.
pub struct Config {
    zones: Vec<ZoneName>,
    path: Path,
}

/// Where search paths come from.
enum Path {
    /// A directive that is not there.
    None,
    File(Fixed),
    /// What another row of the block offers.
    Offered(usize, Arc<Offers>),
}

/// What a probe came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// The name exists.
    Found,
    /// It does not, or a row refused it without a word: the next one may.
    Missing,
    /// A failure or no reply: it ends the walk.
    Failed,
}

impl Plugin for Autopath {
    type Config = Config;

    fn setup(args: &mut Args<'_>, cx: &mut SetupCx<'_>) -> Result<Config, SetupError> {
        setup::parse(args, cx)
    }

    fn open(config: &Arc<Config>, core: &OpenCx<'_>) -> Autopath {
        Autopath {
            config: Arc::clone(config),
            sites: core.sites.to_vec(),
            successes: core.sites.iter().map(|_| OnceCell::new()).collect(),
        }
    }

    fn on_reply(&self, query: &mut Query) -> Flow {
        if self.base_len(query.peer.ip(), query.name()).is_none() {
            return Flow::Next;
        }
        match outcome(query) {
            Outcome::Found => self.count(query.route.site),
            Outcome::Missing => return Flow::Park,
            Outcome::Failed => {}
        }
        Flow::Next
    }

    async fn wait_reply(&self, query: &mut Query, cx: &TaskCx) {
        let Some(base_len) = self.base_len(query.peer.ip(), query.name()) else {
            // The client's pod has gone meanwhile.
            return;
        };
        // What waits is small: thousands may.
        let original: Box<[u8]> = query.name().into();
        let elements = self.other_elements(query);
        let first = First::take(query);
        let mut at = 0;
        while let Some(element) = next_name(&elements, &mut at) {
            if !ask_for(query, &original[..base_len], element) {
                continue;
            }
            cx.rest(query).await;
            match outcome(query) {
                Outcome::Missing => {}
                outcome => {
                    ask_for(query, &original, &[]);
                    if outcome == Outcome::Found {
                        lead_to_found(query);
                        self.count(query.route.site);
                    }
                    return;
                }
            }
        }
        ask_for(query, &original, &[]);
        first.give_back(query);
    }

    /// What exists in the first element of the path needs nothing more.
    fn plain_part(&self) -> PlainPart {
        PlainPart::Steps {
            query: false,
            reply: true,
            done: true,
            prefetch: false,
        }
    }

    fn plain_reply(&self, query: &PlainQuery<'_>, _: &mut [u8]) -> bool {
        query.written.rcode != Rcode::NXDOMAIN
            || self
                .base_len(query.client().ip(), query.plain.name())
                .is_none()
    }

    fn plain_done(&self, query: &PlainQuery<'_>, _: &[u8]) {
        let is_found = query.written.rcode != Rcode::NXDOMAIN;
        if is_found
            && self
                .base_len(query.client().ip(), query.plain.name())
                .is_some()
        {
            self.count(query.site);
        }
    }
}

impl Autopath {
    fn path(&self) -> Option<&dyn SearchPath> {
        match &self.config.path {
            Path::None => None,
            Path::File(path) => Some(path),
            Path::Offered(slot, offers) => Some(&**offers.search(*slot)?),
        }
    }

    /// Octets in front of the first element of the client's search path, if the name is below that.
    fn base_len(&self, client: IpAddr, name: &[u8]) -> Option<usize> {
        longest_match(&self.config.zones, name)?;
        let mut len = None;
        self.path()?.walk(client, name, &mut |first| {
            // The element itself is no name that somebody completed.
            let is_below = first.len() > 1 && name.len() > first.len();
            if is_below && name::is_within(name, first) {
                len = Some(name.len() - first.len());
            }
            false
        });
        len
    }

    /// The elements of the path after the first, the empty one too, one name after the other.
    fn other_elements(&self, query: &Query) -> Box<[u8]> {
        let (mut names, mut is_first) = (Vec::new(), true);
        if let Some(path) = self.path() {
            path.walk(query.peer.ip(), query.name(), &mut |element| {
                if !is_first {
                    names.extend_from_slice(element);
                }
                is_first = false;
                true
            });
        }
        names.push(0);
        names.into()
    }

    fn count(&self, site: u16) {
        let at = usize::from(site);
        if let (Some(site), Some(cell)) = (self.sites.get(at), self.successes.get(at)) {
            let labels = [("server", site.server.as_str())];
            cell.get_or_init(|| registry().counter(SUCCESSES, HELP, &labels))
                .inc();
        }
    }
}

// === the first reply ===

/// What the name that the client asked for came to.
struct First {
    answer: Answer,
    reply: Reply,
    writer: &'static str,
}

impl First {
    fn take(query: &mut Query) -> First {
        First {
            answer: query.answer,
            reply: std::mem::take(&mut query.reply),
            writer: query.writer,
        }
    }

    fn give_back(self, query: &mut Query) {
        query.answer = self.answer;
        query.reply = self.reply;
        query.writer = self.writer;
    }
}

// === helpers ===

fn outcome(query: &Query) -> Outcome {
    match query.answer {
        Answer::Written if query.reply.rcode == Rcode::NXDOMAIN => Outcome::Missing,
        Answer::Written => Outcome::Found,
        Answer::Unwritten(_) if query.error.is_none() => Outcome::Missing,
        Answer::Unwritten(_) | Answer::Open | Answer::Dropped => Outcome::Failed,
    }
}

/// Has the rows below see that name. False if it is too long for one.
fn ask_for(query: &mut Query, base: &[u8], element: &[u8]) -> bool {
    let mut octets = [0; limits::NAME_OCTETS];
    let len = base.len() + element.len();
    let Some(room) = octets.get_mut(..len) else {
        return false;
    };
    room[..base.len()].copy_from_slice(base);
    room[base.len()..].copy_from_slice(element);
    let Ok(name) = NameBuf::from_wire(room) else {
        return false;
    };
    query.set_name(&name);
    // Whoever answers now is the one that counts.
    query.writer = "";
    true
}

/// The name that begins at `at`, which moves behind it.
fn next_name<'n>(names: &'n [u8], at: &mut usize) -> Option<&'n [u8]> {
    let rest = names.get(*at..)?;
    let len = name::skip_uncompressed(rest).ok()?;
    *at += len;
    rest.get(..len)
}

/// Puts a CNAME record in front that leads from the name that was asked for to the one that was found.
fn lead_to_found(query: &mut Query) {
    let asked = match query.is_rewritten() {
        true => query.name_buf(),
        // In the client's case.
        false => NameBuf::from_wire(query.asked().name).unwrap_or(NameBuf::ROOT),
    };
    let Some(reply) = query.written() else {
        return;
    };
    let found = reply.section(Section::Answer).next();
    let Some((ttl_s, owner)) =
        found.and_then(|first| Some((first.ttl, NameBuf::from_wire(reply.owner(first)).ok()?)))
    else {
        return;
    };
    if owner.as_wire().eq_ignore_ascii_case(asked.as_wire()) {
        return;
    }
    let (owner, target) = (asked.as_wire(), owner.as_wire());
    let (section, class) = (Section::Answer, types::CLASS_IN);
    reply.push(section, owner, types::CNAME, class, ttl_s, target);
    reply.records_mut().rotate_right(1);
}

const SUCCESSES: &str = "coredns_autopath_success_total";
const HELP: &str = "Queries whose name was found along the search path of their client.";
