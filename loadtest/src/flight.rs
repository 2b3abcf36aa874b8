//! Queries in flight on one socket: message ids in order of sending, each with its question and its intended send time.
//!
//! ```text
//!        tail                 head
//!   ...  [ ][x][ ][x][x][ ] | next id       x = open (sent, neither answered nor given up)
//! ```
//!
//! Runs on: pure.
//! **Invariant**: `tail <= head`, `head - tail <= span <= 65536`, and every open query lies in `tail..head`.

/// The table of one socket.
pub struct Flight {
    slots: Box<[Slot]>,
    head: u64,
    tail: u64,
    open: usize,
}

/// What an answer belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Index of the question in the corpus.
    pub question: u32,
    /// When the query should have left.
    pub intended_ns: u64,
}

// 16 bytes, because tables of many sockets shall stay in the processor's cache.
#[derive(Clone, Copy, Default)]
struct Slot {
    intended_ns: u64,
    question: u32,
    id: u16,
    open: bool,
}

impl Slot {
    fn sent(self) -> Sent {
        Sent {
            question: self.question,
            intended_ns: self.intended_ns,
        }
    }
}

impl Flight {
    /// An empty table for at most `span` ids in flight (a power of two up to 65,536), whose first id is `first_id` (sockets start
    /// apart, so that a reply to the wrong socket is noticed).
    pub fn new(first_id: u16, span: usize) -> Flight {
        let span = span.next_power_of_two().min(IDS);
        Flight {
            slots: vec![Slot::default(); span].into_boxed_slice(),
            head: first_id.into(),
            tail: first_id.into(),
            open: 0,
        }
    }

    /// A span for each of `sources` sockets, so that all tables together stay small.
    pub fn span_of(sources: usize) -> usize {
        (SPAN_OF_ALL / sources.max(1)).clamp(1024, IDS)
    }

    /// Queries that are neither answered nor given up.
    pub fn open(&self) -> usize {
        self.open
    }

    /// Takes the next id for a query; `None` while the whole span is taken by open queries.
    pub fn launch(&mut self, sent: Sent) -> Option<u16> {
        if self.head - self.tail >= self.slots.len() as u64 {
            return None;
        }
        let id = self.head as u16;
        let at = self.at(self.head);
        self.slots[at] = Slot {
            intended_ns: sent.intended_ns,
            question: sent.question,
            id,
            open: true,
        };
        self.head += 1;
        self.open += 1;
        Some(id)
    }

    /// What the open query with this id was, without closing it.
    pub fn look(&self, id: u16) -> Option<Sent> {
        let slot = self.slots[self.at(id.into())];
        (slot.open && slot.id == id).then(|| slot.sent())
    }

    /// Closes the query with this id; `None` when there is none (a duplicate, a late or a made-up reply).
    pub fn land(&mut self, id: u16) -> Option<Sent> {
        let sent = self.look(id)?;
        let at = self.at(id.into());
        self.slots[at].open = false;
        self.open -= 1;
        while self.tail < self.head && !self.slots[self.at(self.tail)].open {
            self.tail += 1;
        }
        Some(sent)
    }

    /// Gives up every query that should have left before `before_ns`; returns how many.
    pub fn expire(&mut self, before_ns: u64) -> u64 {
        let mut lost = 0;
        while self.tail < self.head {
            let at = self.at(self.tail);
            let slot = &mut self.slots[at];
            if slot.open {
                if slot.intended_ns >= before_ns {
                    break;
                }
                slot.open = false;
                self.open -= 1;
                lost += 1;
            }
            self.tail += 1;
        }
        lost
    }

    fn at(&self, number: u64) -> usize {
        number as usize & (self.slots.len() - 1)
    }
}

/// As many as a DNS message id can tell apart.
const IDS: usize = 65_536;
/// Slots of all sockets together: a second of a million queries a second, in 16 MiB.
const SPAN_OF_ALL: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(question: u32, intended_ns: u64) -> Sent {
        Sent {
            question,
            intended_ns,
        }
    }

    #[test]
    fn answers_match_once() {
        let mut flight = Flight::new(65_535, 65_536);
        let a = flight.launch(sent(1, 10)).unwrap();
        let b = flight.launch(sent(2, 20)).unwrap();
        assert_eq!((a, b), (65_535, 0), "ids wrap");
        assert_eq!(flight.land(b), Some(sent(2, 20)));
        assert_eq!(flight.land(b), None, "a duplicate");
        assert_eq!(flight.look(a), Some(sent(1, 10)));
        assert_eq!(flight.land(a), Some(sent(1, 10)));
        assert_eq!(flight.land(77), None, "never sent");
        assert_eq!(flight.open(), 0);
    }

    #[test]
    fn a_span_of_all_ids_refuses_more_until_the_oldest_ends() {
        let mut flight = Flight::new(0, 65_536);
        for n in 0..65_536u32 {
            assert!(flight.launch(sent(n, n.into())).is_some());
        }
        assert_eq!(flight.launch(sent(0, 0)), None);
        flight.land(5).unwrap();
        assert_eq!(flight.launch(sent(0, 0)), None, "the oldest is still open");
        assert_eq!(flight.expire(1), 1);
        assert_eq!(flight.launch(sent(9, 99)), Some(0));
    }

    #[test]
    fn small_tables_tell_ids_apart() {
        let mut flight = Flight::new(8, 4);
        let id = flight.launch(sent(1, 10)).unwrap();
        assert_eq!((id, flight.look(12)), (8, None), "same slot, another id");
        assert_eq!(flight.land(12), None);
        assert_eq!(flight.land(8), Some(sent(1, 10)));
        assert_eq!((Flight::span_of(8), Flight::span_of(256)), (65_536, 4096));
    }

    #[test]
    fn expiry_counts_only_open_and_old_queries() {
        let mut flight = Flight::new(100, 16);
        for n in 0..10 {
            flight.launch(sent(n, u64::from(n) * 100)).unwrap();
        }
        flight.land(103).unwrap();
        assert_eq!(flight.expire(500), 4, "0 to 4 without the answered 3");
        assert_eq!(flight.open(), 5);
        assert_eq!(flight.expire(u64::MAX), 5);
        assert_eq!(flight.open(), 0);
    }
}
