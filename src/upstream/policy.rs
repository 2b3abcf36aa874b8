//! In which order the upstreams of a line are asked.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::below;
use crate::limits;

/// The option `policy`.
#[derive(Debug)]
pub enum Policy {
    /// A new order for each query.
    Random,
    /// The next one first, then the others as written; the turn is counted in the whole process.
    RoundRobin(AtomicUsize),
    /// As written.
    Sequential,
}

impl Policy {
    /// The policy of that name.
    pub fn parse(text: &str) -> Option<Policy> {
        match text {
            "random" => Some(Policy::Random),
            "round_robin" => Some(Policy::RoundRobin(AtomicUsize::new(0))),
            "sequential" => Some(Policy::Sequential),
            _ => None,
        }
    }

    /// The indexes below `count` in the order for one query.
    pub fn order(&self, count: usize) -> Box<[u8]> {
        // At most `limits::FORWARD_UPSTREAMS`, and every query that waits keeps its order.
        let mut order: Box<[u8]> = (0..count).map(|nth| nth as u8).collect();
        match self {
            Policy::Random => {
                for last in (1..count).rev() {
                    order.swap(last, below(last + 1));
                }
            }
            Policy::RoundRobin(turn) if count > 0 => {
                let first = turn.fetch_add(1, Ordering::Relaxed).wrapping_add(1) % count;
                order[..=first].rotate_right(1);
            }
            Policy::RoundRobin(_) | Policy::Sequential => {}
        }
        order
    }
}

const _: () = assert!(limits::FORWARD_UPSTREAMS <= 256, "an index has 8 bits");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_robin_moves_one_to_the_front() {
        let policy = Policy::parse("round_robin").unwrap();
        let orders: Vec<_> = (0..4).map(|_| policy.order(3).to_vec()).collect();
        assert_eq!(orders, [[1, 0, 2], [2, 0, 1], [0, 1, 2], [1, 0, 2]]);
        assert!(policy.order(0).is_empty());
    }

    #[test]
    fn sequential_keeps_and_random_changes_the_order() {
        assert_eq!(*Policy::Sequential.order(3), [0, 1, 2]);
        let mut firsts = [0; 3];
        for _ in 0..300 {
            let mut order = Policy::Random.order(3);
            firsts[usize::from(order[0])] += 1;
            order.sort_unstable();
            assert_eq!(*order, [0, 1, 2]);
        }
        assert!(firsts.iter().all(|&hits| hits > 40), "{firsts:?}");
    }
}
