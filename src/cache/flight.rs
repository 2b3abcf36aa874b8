//! The questions that one core is asking upstream right now, and who waits for each answer.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

use super::Key;

/// In-flight table of one task thread; `W` is whatever wakes a waiter.
///
/// **Invariant**: at most one flight per key; at most `flights_max` flights and `waiters_max` waiters in each.
pub struct Flights<W> {
    by_hash: HashMap<u64, Flight<W>, BuildHasherDefault<AlreadyHashed>>,
    flights_max: usize,
    waiters_max: usize,
    last_number: u64,
}

/// What a question that missed has to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Role<W> {
    /// Ask, and hand the ticket to [`Flights::complete`] whatever comes of it.
    Lead(Ticket),
    /// Wait: the waiter was taken in and comes back to the leader from [`Flights::complete`].
    Wait,
    /// Ask on one's own account: the flight or the table is full, or another key has the same hash. The waiter comes back.
    Alone(W),
}

/// Proof of leading a flight; not cloneable, so a flight is completed once.
#[derive(Debug, PartialEq, Eq)]
pub struct Ticket {
    hash: u64,
    number: u64,
}

/// Small: the table has up to two places for each of thousands.
struct Flight<W> {
    number: u64,
    question: Question,
    /// Made for the first: most flights have none.
    waiters: Option<Box<Waiters<W>>>,
}

struct Waiters<W>(Vec<W>);

/// A key in octets of its own: the fields, then the name.
struct Question(Box<[u8]>);

// === impl Flights ===

impl<W> Flights<W> {
    /// An empty table with its two bounds.
    pub fn new(flights_max: usize, waiters_max: usize) -> Self {
        Flights {
            by_hash: HashMap::default(),
            flights_max,
            waiters_max,
            last_number: 0,
        }
    }

    /// Joins the flight of `key`, or starts it.
    pub fn join(&mut self, key: &Key<'_>, waiter: W) -> Role<W> {
        let full = self.by_hash.len() >= self.flights_max;
        if let Some(flight) = self.by_hash.get_mut(&key.hash) {
            let waiting = flight.waiters.as_ref().map_or(0, |waiters| waiters.0.len());
            if !flight.question.is(key) || waiting >= self.waiters_max {
                return Role::Alone(waiter);
            }
            let waiters = flight
                .waiters
                .get_or_insert_with(|| Box::new(Waiters(Vec::new())));
            waiters.0.push(waiter);
            return Role::Wait;
        }
        if full {
            return Role::Alone(waiter);
        }
        Role::Lead(self.start(key))
    }

    fn start(&mut self, key: &Key<'_>) -> Ticket {
        self.last_number += 1;
        let flight = Flight {
            number: self.last_number,
            question: Question::new(key),
            waiters: None,
        };
        self.by_hash.insert(key.hash, flight);
        Ticket {
            hash: key.hash,
            number: self.last_number,
        }
    }

    /// Starts a flight for a refresh that nobody waits for; None if one is under way already or there is no room.
    pub fn lead(&mut self, key: &Key<'_>) -> Option<Ticket> {
        if self.by_hash.len() >= self.flights_max || self.by_hash.contains_key(&key.hash) {
            return None;
        }
        Some(self.start(key))
    }

    /// Ends a flight and returns who waited for it, in the order of their coming.
    pub fn complete(&mut self, ticket: Ticket) -> Vec<W> {
        match self.by_hash.get(&ticket.hash) {
            Some(flight) if flight.number == ticket.number => self
                .by_hash
                .remove(&ticket.hash)
                .and_then(|flight| flight.waiters)
                .map_or_else(Vec::new, |waiters| waiters.0),
            _ => Vec::new(),
        }
    }

    /// Flights under way.
    pub fn len(&self) -> usize {
        self.by_hash.len()
    }

    /// Whether nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.by_hash.is_empty()
    }
}

impl Question {
    fn new(key: &Key<'_>) -> Self {
        Question([&fields(key)[..], key.name].concat().into())
    }

    fn is(&self, key: &Key<'_>) -> bool {
        self.0.strip_prefix(&fields(key)) == Some(key.name)
    }
}

fn fields(key: &Key<'_>) -> [u8; 5] {
    let [type_high, type_low] = key.qtype.to_be_bytes();
    let [class_high, class_low] = key.qclass.to_be_bytes();
    let flags = u8::from(key.dnssec_ok) << 1 | u8::from(key.checking_disabled);
    [type_high, type_low, class_high, class_low, flags]
}

/// Keys are keyed 64-bit hashes; hashing them again gains nothing.
#[derive(Default)]
struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Only `write_u64` is reached by keys of u64; this keeps the trait's promise for all others.
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
