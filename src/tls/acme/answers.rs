//! Answers to the challenges of authorities that are under way, for the whole process.
//!
//! Written by the control thread, read by data cores and handshakes. While no challenge is under way a reader pays one load; a table is
//! looked at only for names that begin as a DNS challenge does, or by a client that offers `acme-tls/1`.

#![cfg_attr(not(test), deny(clippy::disallowed_macros, clippy::disallowed_methods))]

use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustls::sign::CertifiedKey;

use crate::control::{Published, Subscriber};
use crate::limits;
use crate::plugin::Query;
use crate::telemetry::metrics::SharedCounter;
use crate::telemetry::registry;
use crate::wire::name::NameBuf;
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

/// The certificate for a client that offers `acme-tls/1` alone (RFC 8737 section 3) and names this server; `None` where no challenge for
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

/// The protocol that an authority offers in the handshake of a challenge.
pub const ALPN: &[u8] = b"acme-tls/1";

// === the writer ===

/// One or more answers, which are there until this is dropped.
#[must_use = "the answers go with it"]
pub(super) struct Held(Table);

/// Answers DNS challenges: names and values. Names may repeat.
///
/// # Errors
/// There is no room for more answers.
pub(super) fn hold_names(values: Vec<(NameBuf, String)>) -> Result<Held, String> {
    let row = |(name, value): (NameBuf, String)| {
        // A value has 43 octets; one that did not fit a character string would be cut, and refused by the authority.
        let value = value.into_bytes();
        let len = value.len().min(255);
        let mut rdata = vec![len as u8];
        rdata.extend_from_slice(&value[..len]);
        Record {
            name: name.as_wire().into(),
            rdata: rdata.into(),
        }
    };
    hold(Table {
        names: values.into_iter().map(row).collect(),
        handshakes: Vec::new(),
    })
}

/// Answers TLS-ALPN challenges: server names and certificates.
///
/// # Errors
/// There is no room for more answers.
pub(super) fn hold_handshakes(rows: Vec<(String, Arc<CertifiedKey>)>) -> Result<Held, String> {
    hold(Table {
        names: Vec::new(),
        handshakes: rows,
    })
}

fn hold(rows: Table) -> Result<Held, String> {
    change(|table| {
        let count = rows.names.len() + rows.handshakes.len();
        if table.names.len() + table.handshakes.len() + count > limits::ACME_ANSWERS {
            return Err("too many challenges are under way at once".to_owned());
        }
        table.names.extend_from_slice(&rows.names);
        table.handshakes.extend_from_slice(&rows.handshakes);
        Ok(())
    })?;
    Ok(Held(rows))
}

impl Drop for Held {
    fn drop(&mut self) {
        change(|table| {
            for row in &self.0.names {
                take_one(&mut table.names, |held| held == row);
            }
            for row in &self.0.handshakes {
                take_one(&mut table.handshakes, |held| Arc::ptr_eq(&held.1, &row.1));
            }
        });
    }
}

/// Two certificates may be proven by the same record: each takes its own away.
fn take_one<T>(rows: &mut Vec<T>, is_it: impl Fn(&T) -> bool) {
    if let Some(nth) = rows.iter().position(is_it) {
        rows.swap_remove(nth);
    }
}

fn change<T>(change: impl FnOnce(&mut Table) -> T) -> T {
    #[expect(clippy::disallowed_types, reason = "writers alone wait for it")]
    static WRITING: Mutex<()> = Mutex::new(());
    let _writing = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut table = Table::clone(&published().load());
    let result = change(&mut table);
    let counts = (table.names.len(), table.handshakes.len());
    published().publish(Arc::new(table));
    NAMES.store(counts.0, Ordering::Relaxed);
    HANDSHAKES.store(counts.1, Ordering::Relaxed);
    result
}

// === the table ===

#[derive(Clone, Default)]
struct Table {
    names: Vec<Record>,
    handshakes: Vec<(String, Arc<CertifiedKey>)>,
}

/// A TXT record.
#[derive(Clone, PartialEq, Eq)]
struct Record {
    /// In lower-case wire form.
    name: Box<[u8]>,
    rdata: Box<[u8]>,
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
