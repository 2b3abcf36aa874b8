//! A query on its way through a chain: all that a plugin may see or do.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::any::Any;
use std::cell::Cell;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::ops::Deref;
use std::time::Duration;

use super::metadata_values::Metadata;
use super::names::Names;
use crate::limits;
use crate::wire::direct::Written;
use crate::wire::edns::Edns;
use crate::wire::name::{self, NameBuf};
use crate::wire::query::Parsed;
use crate::wire::rcode::Rcode;
use crate::wire::reply::{Question, Reply};
use crate::wire::scrub::{self, Asked};
use crate::wire::{flag, types};

/// How the client reached us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Proto {
    /// Datagrams: replies are cut at the advertised size.
    #[default]
    Udp,
    /// TCP.
    Tcp,
    /// DNS over TLS (RFC 7858).
    Tls,
    /// DNS over HTTPS (RFC 8484) with HTTP/1.1 or HTTP/2.
    Https,
    /// DNS over HTTP/3.
    Https3,
    /// DNS over QUIC (RFC 9250).
    Quic,
    /// CoreDNS's gRPC service.
    Grpc,
}

impl Proto {
    /// `udp` or `tcp`, as metrics and log lines name it: by what is below.
    pub fn as_str(self) -> &'static str {
        match self.is_tcp() {
            false => "udp",
            true => "tcp",
        }
    }

    /// Whether TCP is below.
    pub fn is_tcp(self) -> bool {
        !matches!(self, Proto::Udp | Proto::Https3 | Proto::Quic)
    }

    /// Whether replies are cut at the UDP payload size that the client advertises: a stream carries whole ones.
    pub fn cuts_replies(self) -> bool {
        self == Proto::Udp
    }

    /// Whether an idle connection may be kept for a time that the server tells (RFC 7828 section 3.2.2). HTTP and QUIC have their own means.
    pub fn has_keepalive(self) -> bool {
        matches!(self, Proto::Tcp | Proto::Tls)
    }

    /// Whether replies may be padded (RFC 8467): where the length is all that an observer sees.
    pub fn is_padded(self) -> bool {
        !matches!(self, Proto::Udp | Proto::Tcp)
    }
}

/// What the chain has decided so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Answer {
    /// Nothing yet.
    #[default]
    Open,
    /// A handler failed with that rcode and wrote nothing; the server writes it (CoreDNS's return convention).
    Unwritten(Rcode),
    /// `Query::reply` holds the reply.
    Written,
    /// No reply is sent.
    Dropped,
}

/// Which configuration a query runs under; plain numbers, so that a query can change threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Route {
    /// Counts the configurations of this process.
    pub generation: u64,
    /// The listener it came in on: an index into the configuration.
    pub listener: u16,
    /// The server block that handles it.
    pub block: u16,
    /// Index into the block's [`Site`](super::setup::Site)s: server address, zone and view for labels.
    pub site: u16,
}

/// One query. The same value is used again for the next query of its thread, so its buffers are allocated once.
#[derive(Default)]
pub struct Query {
    /// The client's address.
    pub peer: SocketAddrSlot,
    /// The address and port the client sent to.
    pub local: SocketAddrSlot,
    /// The transport's kind.
    pub proto: Proto,
    /// Octets of the query as received.
    pub size: u32,
    /// The message id.
    pub id: u16,
    /// The second word of the header; plugins may change RD, AD and CD for what comes after them.
    pub flags: u16,
    /// QTYPE as plugins see it (*rewrite* may have changed it).
    pub qtype: u16,
    /// QCLASS as plugins see it.
    pub qclass: u16,
    /// The query's OPT record as plugins see it; its size and DO shape the reply.
    pub edns: Edns,
    /// The reply; meaningful when `answer` is [`Answer::Written`].
    pub reply: Reply,
    /// What has been decided.
    pub answer: Answer,
    /// Why a handler failed: the *errors* plugin logs it.
    pub error: Option<Box<str>>,
    /// Name of the handler that wrote the reply, for the `plugin` label; empty when the server wrote it.
    pub writer: &'static str,
    /// Labels for log lines, rewrite rules, templates and views.
    pub meta: Metadata,
    /// Monotonic time of arrival in nanoseconds.
    pub start_ns: u64,
    /// Monotonic time of the batch or wake-up that is being worked on, in nanoseconds.
    pub now_ns: u64,
    /// Monotonic time in nanoseconds after which no plugin shall wait for others (*cancel*).
    pub deadline_ns: Option<NonZeroU64>,
    /// The configuration, listener, block and site.
    pub route: Route,
    /// Depth of internal lookups: 0 for a client's query.
    pub depth: u8,
    /// Internal lookups that the client's query has caused so far, those of its children included: never reset on the way.
    pub(super) lookups: Cell<u16>,
    /// Set with [`Flow::Park`](super::Flow::Park): the core whose task thread must run the rest, `None` for this one.
    pub home: Option<u16>,
    /// Set by a plugin that wants [`Plugin::background`](super::Plugin::background) to run on that core after the reply is sent.
    pub background: Option<u16>,
    /// Filled in by the chain: the row that asked for `background`.
    pub(super) background_row: u16,
    names: Names,
    hash: u64,
    asked_qtype: u16,
    asked_qclass: u16,
    /// `name` and `asked` differ in more than case.
    is_renamed: bool,
    /// Made for the first and then kept: few queries have one, and thousands may wait.
    stash: Option<Box<Stash>>,
}

/// A question section in wire form.
pub struct QuestionSection {
    octets: [u8; limits::NAME_OCTETS + 4],
    len: usize,
}

impl Deref for QuestionSection {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.octets[..self.len]
    }
}

/// What plugins keep for their way back, each with its row.
type Stash = Vec<(usize, Box<dyn Any + Send>)>;

impl Query {
    /// Takes over a parsed message: everything of an earlier query is forgotten.
    pub fn begin(&mut self, parsed: &mut Parsed, size: usize) {
        // No message is longer than 65,535 octets.
        self.size = size as u32;
        self.id = parsed.id;
        self.flags = parsed.flags;
        let names = self.names.roomy();
        names.asked = parsed.name;
        self.hash = name::lower_and_hash(parsed.name.as_wire(), &mut names.seen);
        (self.asked_qtype, self.asked_qclass) = (parsed.qtype, parsed.qclass);
        (self.qtype, self.qclass) = (parsed.qtype, parsed.qclass);
        self.is_renamed = false;
        std::mem::swap(&mut self.edns, &mut parsed.edns);
        self.forget();
    }

    /// A query of our own making: an internal lookup or a refresh, asked on behalf of `parent`.
    pub fn child(parent: &Query, name: &NameBuf, qtype: u16) -> Query {
        let mut child = parent.heir();
        child.depth = parent.depth + 1;
        child.qtype = qtype;
        child.names.roomy().asked = *name;
        (child.asked_qtype, child.asked_qclass) = (qtype, parent.qclass);
        child.set_name(name);
        child.meta.enabled = parent.meta.enabled;
        child
    }

    /// A copy of the question side for work that outlives this query, such as a prefetch.
    pub fn duplicate(&self) -> Query {
        let mut copy = self.heir();
        copy.names = self.names.packed();
        (copy.hash, copy.is_renamed) = (self.hash, self.is_renamed);
        (copy.asked_qtype, copy.asked_qclass) = (self.asked_qtype, self.asked_qclass);
        copy.deadline_ns = None;
        copy.meta = self.meta.clone();
        copy
    }

    /// What a query that is asked on behalf of this one takes over; it has no name yet.
    fn heir(&self) -> Query {
        Query {
            peer: self.peer,
            local: self.local,
            proto: self.proto,
            size: self.size,
            id: self.id,
            flags: self.flags,
            qtype: self.qtype,
            qclass: self.qclass,
            edns: self.edns.clone(),
            start_ns: self.now_ns,
            now_ns: self.now_ns,
            route: self.route,
            deadline_ns: self.deadline_ns,
            depth: self.depth,
            lookups: self.lookups.clone(),
            ..Query::default()
        }
    }

    /// The copy that [`Plugin::background`](super::Plugin::background) works on; it knows the row that asked for it.
    pub fn detached(&self) -> Query {
        let mut copy = self.duplicate();
        copy.background_row = self.background_row;
        copy
    }

    /// Takes the query out, to wait elsewhere, in as few octets as it needs: a core may hold thousands. The room for names and for a
    /// reply stays here for the next query.
    pub fn leave(&mut self) -> Box<Query> {
        let packed = self.names.packed();
        let names = std::mem::replace(&mut self.names, packed);
        // A row that parks on its way up has a reply to take along.
        let reply = match self.answer {
            Answer::Written => Reply::default(),
            _ => std::mem::take(&mut self.reply),
        };
        let room = Query {
            names,
            reply,
            ..Query::default()
        };
        Box::new(std::mem::replace(self, room))
    }

    /// What is left of a query that panicked, in whatever state: its question, to be answered with SERVFAIL.
    pub fn salvage(&mut self) {
        self.forget();
        self.reply = Reply::default();
    }

    fn forget(&mut self) {
        self.answer = Answer::Open;
        self.error = None;
        self.writer = "";
        self.meta.clear();
        self.depth = 0;
        self.lookups.set(0);
        self.deadline_ns = None;
        self.home = None;
        self.background = None;
        self.background_row = 0;
        if let Some(stash) = &mut self.stash {
            stash.clear();
        }
    }

    /// QNAME in lower-case wire form, as plugins see it.
    pub fn name(&self) -> &[u8] {
        self.names.seen()
    }

    /// QNAME as an owned value.
    pub fn name_buf(&self) -> NameBuf {
        wire_name(self.names.seen())
    }

    /// Keyed hash of [`Query::name`].
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Changes QNAME for the plugins that follow; the client still gets its own question back.
    pub fn set_name(&mut self, name: &NameBuf) {
        self.hash = self.names.see(name);
        self.is_renamed = self.names.differ();
    }

    /// The question exactly as the client sent it, its own case kept.
    pub fn asked(&self) -> Question<'_> {
        Question {
            name: self.names.asked(),
            qtype: self.asked_qtype,
            qclass: self.asked_qclass,
        }
    }

    /// Changes the question that the reply will carry: only for a server that answers another question on purpose.
    pub fn set_asked(&mut self, name: &NameBuf, qtype: u16, qclass: u16) {
        self.names.roomy().asked = *name;
        (self.asked_qtype, self.asked_qclass) = (qtype, qclass);
        self.is_renamed = self.names.differ();
    }

    /// Whether the plugins see another question than the client asked.
    pub fn is_rewritten(&self) -> bool {
        self.is_renamed || (self.asked_qtype, self.asked_qclass) != (self.qtype, self.qclass)
    }

    /// The opcode.
    pub fn opcode(&self) -> u16 {
        (self.flags & flag::OPCODE) >> 11
    }

    /// Whether the query has that header flag.
    pub fn has_flag(&self, bit: u16) -> bool {
        self.flags & bit != 0
    }

    /// Whether DO is set.
    pub fn dnssec_ok(&self) -> bool {
        self.edns.dnssec_ok()
    }

    /// Whether it caused more internal lookups than `limits::LOOKUPS_PER_QUERY`: what has been put together is not the answer.
    pub fn is_overspent(&self) -> bool {
        self.lookups.get() > limits::LOOKUPS_PER_QUERY
    }

    /// Octets the reply may take on this transport.
    pub fn size_limit(&self) -> usize {
        scrub::size_limit(self.proto.cuts_replies(), &self.edns)
    }

    /// Starts a reply (RD and CD copied, NOERROR, no records) and marks the query as answered.
    pub fn respond(&mut self) -> &mut Reply {
        self.answer = Answer::Written;
        self.reply.start(self.flags);
        &mut self.reply
    }

    /// As [`Query::respond`], with QNAME as plugins see it beside the reply.
    pub fn respond_to_name(&mut self) -> (&[u8], &mut Reply) {
        self.respond();
        (self.names.seen(), &mut self.reply)
    }

    /// Starts a reply with that rcode and no records.
    pub fn respond_rcode(&mut self, rcode: Rcode) -> &mut Reply {
        let reply = self.respond();
        reply.rcode = rcode;
        reply
    }

    /// Fails: nothing is written, the server answers with `rcode`, and *errors* logs `reason`.
    pub fn fail(&mut self, rcode: Rcode, reason: impl Into<Box<str>>) {
        self.answer = Answer::Unwritten(rcode);
        self.error = Some(reason.into());
    }

    /// Returns an rcode without a reply and without an error to log.
    pub fn unwritten(&mut self, rcode: Rcode) {
        self.answer = Answer::Unwritten(rcode);
    }

    /// The question section of a reply that is written straight to wire: with the client's own name where the plugins see the same, which
    /// keeps its case.
    pub fn question_section(&self) -> QuestionSection {
        let name = match self.is_rewritten() {
            true => self.names.seen(),
            false => self.names.asked(),
        };
        let mut section = QuestionSection {
            octets: [0; limits::NAME_OCTETS + 4],
            len: name.len() + 4,
        };
        section.octets[..name.len()].copy_from_slice(name);
        let [t0, t1] = self.qtype.to_be_bytes();
        let [c0, c1] = self.qclass.to_be_bytes();
        section.octets[name.len()..section.len].copy_from_slice(&[t0, t1, c0, c1]);
        section
    }

    /// Takes over a reply that was written straight to wire, to the start of `message`, for [`Query::question_section`].
    pub fn take_over(&mut self, written: &Written, message: &[u8]) {
        let copied = self.flags & (flag::RD | flag::CD);
        let is_rewritten = self.is_rewritten();
        let reply = self.respond();
        let message = message.get(..written.len).unwrap_or_default();
        reply.set_packed(written.uncompressed_len, |out| {
            out.extend_from_slice(message);
        });
        reply.flags |= copied;
        // The client's own question has other octets to point to.
        if is_rewritten && reply.open().is_err() {
            self.unwritten(Rcode::SERVFAIL);
        }
    }

    /// Writes the reply as the client gets it into `out`; returns its length. `echoed` are local EDNS options to let through, `idle` is how
    /// long the connection may be without queries, where it is one that a client may ask that of.
    pub fn fit(&mut self, echoed: &[u16], idle: Option<Duration>, out: &mut [u8]) -> Option<usize> {
        let tenths = |idle: Duration| {
            let tenths = idle.as_secs() * 10 + u64::from(idle.subsec_millis() / 100);
            u16::try_from(tenths).unwrap_or(u16::MAX)
        };
        let asked = Asked {
            id: self.id,
            opcode: self.opcode(),
            question: Question {
                name: self.names.asked(),
                qtype: self.asked_qtype,
                qclass: self.asked_qclass,
            },
            edns: &self.edns,
            is_udp: self.proto.cuts_replies(),
            is_padded: self.proto.is_padded(),
            keepalive_ds: idle.map(tenths),
            echoed_options: echoed,
        };
        scrub::fit(&asked, &mut self.reply, out)
    }

    /// The rcode of the outcome, `None` when nothing is sent.
    pub fn rcode(&self) -> Option<Rcode> {
        match self.answer {
            Answer::Written => Some(self.reply.rcode),
            Answer::Unwritten(rcode) => Some(rcode),
            Answer::Open | Answer::Dropped => None,
        }
    }

    /// The written reply opened into records, for a plugin that looks at or changes them; `None` where nothing was written.
    pub fn written(&mut self) -> Option<&mut Reply> {
        if self.answer != Answer::Written || self.reply.open().is_err() {
            return None;
        }
        Some(&mut self.reply)
    }

    /// Whether this asks for one of the types that are never cached or shuffled.
    pub fn is_transfer(&self) -> bool {
        matches!(self.qtype, types::AXFR | types::IXFR)
    }

    /// Keeps a plugin's own state for its way back. `row` is the plugin's own row.
    pub fn stash<T: Any + Send>(&mut self, row: usize, value: T) {
        let stash = self.stash.get_or_insert_default();
        stash.push((row, Box::new(value)));
    }

    /// Takes what `stash` kept for that row, the latest first.
    pub fn unstash<T: Any + Send>(&mut self, row: usize) -> Option<Box<T>> {
        let stash = self.stash.as_mut()?;
        let at = stash
            .iter()
            .rposition(|(owner, value)| *owner == row && value.is::<T>())?;
        stash.remove(at).1.downcast().ok()
    }
}

/// Where a message came from and when.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// The client.
    pub peer: SocketAddr,
    /// The address it was sent to.
    pub local: SocketAddr,
    /// Its transport.
    pub proto: Proto,
    /// Index of the listener in the configuration.
    pub listener: u16,
    /// Monotonic nanoseconds.
    pub now_ns: u64,
}

/// A socket address that has a default (unspecified), so that `Query` has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketAddrSlot(pub SocketAddr);

impl Default for SocketAddrSlot {
    fn default() -> SocketAddrSlot {
        SocketAddrSlot(SocketAddr::from(([0, 0, 0, 0], 0)))
    }
}

impl std::ops::Deref for SocketAddrSlot {
    type Target = SocketAddr;

    fn deref(&self) -> &SocketAddr {
        &self.0
    }
}

impl From<SocketAddr> for SocketAddrSlot {
    /// IPv4-mapped addresses of a dual-stack socket become plain IPv4 here, once for all plugins.
    fn from(addr: SocketAddr) -> SocketAddrSlot {
        match addr {
            SocketAddr::V4(_) => SocketAddrSlot(addr),
            SocketAddr::V6(v6) => {
                SocketAddrSlot(SocketAddr::new(v6.ip().to_canonical(), v6.port()))
            }
        }
    }
}

/// A name that a query holds, as an owned value.
fn wire_name(wire: &[u8]) -> NameBuf {
    // What a query holds is a valid name; the root stands in for the impossible.
    NameBuf::from_wire(wire).unwrap_or(NameBuf::ROOT)
}
