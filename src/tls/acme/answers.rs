//! Answers to the challenges of authorities that are under way, for the whole process.
//!
//! Written by the control thread, read by data cores and handshakes. While no challenge is under way a reader pays one load; a table is
//! looked at only for names that begin as a DNS challenge does, or by a client that offers `acme-tls/1`.

#![cfg_attr(not(test), deny(clippy::disallowed_macros, clippy::disallowed_methods))]

use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use rustls::server::ClientHello;
use rustls::sign::CertifiedKey;

use crate::control::{Published, Subscriber};
use crate::plugin::Query;
use crate::telemetry::metrics::SharedCounter;
use crate::telemetry::registry;
use crate::tls::CHALLENGE_PROTOCOL;
use crate::wire::reply::Section;
use crate::wire::{flag, types};

// === readers ===

/// Whether a query for this name, in lower-case wire form, may be one for the answer to a challenge.
#[inline]
pub fn may_answer(name: &[u8]) -> bool {
    NAMES.load(Ordering::Relaxed) != 0 && name.starts_with(LABEL)
}

/// Answers a query for the name of a DNS challenge that is under way (RFC 8555 section 8.4): its TXT records, or that there are none of
/// the type that was asked for, since a resolver that was told of no such name would not ask for TXT. `false`: the query is none of that.
pub fn answer(query: &mut Query) -> bool {
    if !may_answer(query.name()) || query.qclass != types::CLASS_IN || query.opcode() != 0 {
        return false;
    }
    with_table(|table| {
        let name = query.name_buf();
        let is_name = |row: &&Record| *row.name == *name.as_wire();
        if !table.names.iter().any(|row| is_name(&row)) {
            return false;
        }
        let is_asked = matches!(query.qtype, types::TXT | types::ANY);
        let reply = query.respond();
        reply.set_flag(flag::AA, true);
        for row in table.names.iter().filter(|row| is_asked && is_name(row)) {
            reply.push(
                Section::Answer,
                name.as_wire(),
                types::TXT,
                types::CLASS_IN,
                0,
                &row.rdata,
            );
        }
        count(&NAMES_ANSWERED, "dns-01");
        true
    })
}

/// Whether a client offers the protocol of a challenge, and no other (RFC 8737 section 4). It gets [`alpn_certificate`] or no handshake,
/// and not a word after it.
pub fn is_challenge(hello: &ClientHello<'_>) -> bool {
    let mut offered = hello.alpn().into_iter().flatten();
    offered.next() == Some(CHALLENGE_PROTOCOL) && offered.next().is_none()
}

/// The certificate for a client that is one of a challenge ([`is_challenge`]) and names this server; `None` where no challenge for
/// it is under way, in which case the handshake must fail.
pub fn alpn_certificate(server_name: &str) -> Option<Arc<CertifiedKey>> {
    if HANDSHAKES.load(Ordering::Relaxed) == 0 {
        return None;
    }
    let found = with_table(|table| {
        let is_asked = |row: &&(String, Arc<CertifiedKey>)| row.0.eq_ignore_ascii_case(server_name);
        let row = table.handshakes.iter().find(is_asked)?;
        Some(Arc::clone(&row.1))
    });
    found.inspect(|_| count(&HANDSHAKES_ANSWERED, "tls-alpn-01"))
}

// === the table ===

/// All answers; replaced as a whole by `hold`.
#[derive(Clone, Default)]
pub(super) struct Table {
    /// One for each value of a name.
    pub(super) names: Vec<Record>,
    /// Server names and their certificates.
    pub(super) handshakes: Vec<(String, Arc<CertifiedKey>)>,
}

/// A TXT record.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// In lower-case wire form.
    pub(super) name: Box<[u8]>,
    /// A character string.
    pub(super) rdata: Box<[u8]>,
}

/// The table now.
pub(super) fn table() -> Arc<Table> {
    published().load()
}

/// Replaces it. Writers take turns.
pub(super) fn publish(table: Table) {
    let counts = (table.names.len(), table.handshakes.len());
    published().publish(Arc::new(table));
    NAMES.store(counts.0, Ordering::Relaxed);
    HANDSHAKES.store(counts.1, Ordering::Relaxed);
}

fn published() -> &'static Published<Table> {
    static TABLE: OnceLock<Published<Table>> = OnceLock::new();
    TABLE.get_or_init(|| Published::new(Arc::default()))
}

fn with_table<T>(look: impl FnOnce(&Table) -> T) -> T {
    thread_local! {
        static READER: RefCell<Option<Subscriber<Table>>> = const { RefCell::new(None) };
    }
    READER.with_borrow_mut(|reader| {
        let reader = reader.get_or_insert_with(|| published().subscribe());
        look(reader.current())
    })
}

/// An HTTP challenge was answered.
pub(super) fn count_http() {
    count(&REQUESTS_ANSWERED, "http-01");
}

fn count(cell: &OnceLock<SharedCounter>, challenge: &str) {
    let counter = cell.get_or_init(|| {
        registry().shared_counter(
            "percoredns_acme_challenge_answers_total",
            "Answers to challenges of ACME authorities.",
            &[("challenge", challenge)],
        )
    });
    counter.inc();
}

static NAMES_ANSWERED: OnceLock<SharedCounter> = OnceLock::new();
static HANDSHAKES_ANSWERED: OnceLock<SharedCounter> = OnceLock::new();
static REQUESTS_ANSWERED: OnceLock<SharedCounter> = OnceLock::new();
/// How many names and handshakes are answered.
static NAMES: AtomicUsize = AtomicUsize::new(0);
static HANDSHAKES: AtomicUsize = AtomicUsize::new(0);
const LABEL: &[u8] = b"\x0f_acme-challenge";
