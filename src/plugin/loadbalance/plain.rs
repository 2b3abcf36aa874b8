//! Shuffling a reply that stands on the wire: addresses change places where they stand.

use super::{arrange::Group, has_choice};
use crate::plugin::PlainQuery;
use crate::upstream;
use crate::wire::direct::AddressRun;
use crate::wire::rcode::Rcode;
use crate::wire::u16_at;

/// Puts the addresses of the answer in any order. `false` where that takes more than swapping addresses in place.
pub(super) fn shuffle(query: &PlainQuery<'_>, out: &mut [u8]) -> bool {
    if query.written.rcode != Rcode::NOERROR {
        return true;
    }
    let run = match &query.entry {
        Some(entry) if has_choice(entry.wire()) => match order(entry.wire(), entry.ttl_offsets()) {
            Order::Free(run) => run,
            Order::Fixed => return true,
            Order::Unclear => return false,
        },
        Some(_) => return true,
        None => match query.written.addresses {
            Some(run) => run,
            None => return true,
        },
    };
    permute(out, run).is_some()
}

fn permute(out: &mut [u8], run: AddressRun) -> Option<()> {
    let (at, stride, octets) = (
        run.rdata_at.into(),
        usize::from(run.stride),
        run.octets.into(),
    );
    let records = out.get_mut(at..)?;
    for nth in (1..usize::from(run.count)).rev() {
        let other = upstream::below(nth + 1);
        if other != nth {
            let (front, back) = records.split_at_mut_checked(nth * stride)?;
            let front = front.get_mut(other * stride..)?.get_mut(..octets)?;
            front.swap_with_slice(back.get_mut(..octets)?);
        }
    }
    Some(())
}

/// What round robin has to do with a stored reply.
#[derive(Debug, PartialEq, Eq)]
enum Order {
    /// Nothing.
    Fixed,
    /// Only these addresses change places.
    Free(AddressRun),
    /// Records have to move.
    Unclear,
}

/// `ttl_offsets` are those of the records of `message`, in order.
fn order(message: &[u8], ttl_offsets: &[u16]) -> Order {
    let answers = usize::from(u16_at(message, 6).unwrap_or(0));
    let Some((answers, rest)) = ttl_offsets.split_at_checked(answers) else {
        return Order::Unclear;
    };
    let group = |ttl_at: &u16| Group::of(rtype(message, *ttl_at));
    // One address or MX record below the answer may stay where it is, as long as nothing has to go before or behind it.
    if rest.len() > 1 && rest.iter().any(|at| group(at) != Group::Rest) {
        return Order::Unclear;
    }
    let first = answers.partition_point(|at| group(at) == Group::Cname);
    let tail = &answers[first..];
    if tail.len() < 2 {
        return Order::Fixed;
    }
    if tail.iter().all(|at| group(at) == Group::Rest) {
        return Order::Fixed;
    }
    match uniform(message, tail) {
        Some(run) => Order::Free(run),
        None => Order::Unclear,
    }
}

/// The addresses at these places, if they have one type and one owner and stand one behind the other.
fn uniform(message: &[u8], ttl_offsets: &[u16]) -> Option<AddressRun> {
    let (&first, &second) = (ttl_offsets.first()?, ttl_offsets.get(1)?);
    let rtype_first = rtype(message, first);
    let octets = u16_at(message, usize::from(first) + 4).ok()?;
    // A pointer as owner (2), type, class, TTL and length (10), and the address.
    let stride = second.checked_sub(first)?;
    if Group::of(rtype_first) != Group::Address
        || stride != 12 + octets
        || !matches!(octets, 4 | 16)
    {
        return None;
    }
    let owner =
        |ttl_at: u16| message.get(usize::from(ttl_at).checked_sub(6)?..usize::from(ttl_at) - 4);
    let mut at = first;
    for &ttl_at in ttl_offsets {
        let length = u16_at(message, usize::from(ttl_at) + 4).ok()?;
        let is_pointer = owner(ttl_at)?.first()? & 0xc0 == 0xc0;
        if ttl_at != at
            || rtype(message, ttl_at) != rtype_first
            || length != octets
            || !is_pointer
            || owner(ttl_at) != owner(first)
        {
            return None;
        }
        at = at.checked_add(stride)?;
    }
    Some(AddressRun {
        rdata_at: first.checked_add(6)?,
        stride,
        count: u16::try_from(ttl_offsets.len()).ok()?,
        octets: octets as u8,
    })
}

fn rtype(message: &[u8], ttl_at: u16) -> u16 {
    // A TTL stands behind type and class.
    usize::from(ttl_at)
        .checked_sub(4)
        .and_then(|at| u16_at(message, at).ok())
        .unwrap_or(0)
}
