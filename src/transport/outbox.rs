//! Replies of one batch, packed one behind the other, and sent with one sendmmsg.
//!
//! Several replies of one length to one client become one message that the kernel cuts into datagrams (UDP_SEGMENT, Linux 4.18): one
//! way through its stack instead of many. Few source ports are the rule in clusters (a node's cache, a proxy), so batches are full of them.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::io;

use super::udp::{Envelope, Messages, Socket, boxed, send_one};
use crate::limits::{BATCH, BATCH_REPLY_OCTETS, UDP_SEGMENT_OCTETS, UDP_SEGMENTED_OCTETS};

/// Replies that wait to be sent together.
pub struct Outbox {
    arena: Box<[u8; BATCH * BATCH_REPLY_OCTETS]>,
    /// Octets of the arena in use: `used <= queued * BATCH_REPLY_OCTETS`.
    used: usize,
    /// In the order of their queries; `queued <= BATCH`.
    queue: [Queued; BATCH],
    queued: usize,
    /// What the last flush sent together.
    groups: [Group; BATCH],
    messages: Messages,
    /// Control messages of segmented messages.
    controls: Box<[Control; BATCH]>,
    /// Whether replies are segmented; off where it was not wanted or the kernel refused.
    segments: bool,
}

/// One reply.
#[derive(Clone, Copy, Default)]
struct Queued {
    /// Which query it answers.
    envelope: u8,
    /// The next reply of its group, `NONE` at the end.
    next: u8,
    len: u16,
    at: u32,
}

/// Replies that leave as one message: all of one client and one length.
#[derive(Clone, Copy, Default)]
struct Group {
    first: u8,
    last: u8,
    count: u8,
}

/// A copy of an envelope's control message with a UDP_SEGMENT one behind it.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL]);

impl Outbox {
    /// An empty one. `segments`: whether replies to one client may leave as one segmented message.
    pub fn new(segments: bool) -> Outbox {
        Outbox {
            arena: boxed(0),
            used: 0,
            queue: [Queued::default(); BATCH],
            queued: 0,
            groups: [Group::default(); BATCH],
            messages: Messages::new(),
            controls: boxed(Control([0; CONTROL])),
            segments,
        }
    }

    /// Forgets what was not sent.
    pub fn clear(&mut self) {
        (self.used, self.queued) = (0, 0);
    }

    /// Room for the next reply: `BATCH_REPLY_OCTETS` octets, as long as there is at most one reply for each query.
    pub fn room(&mut self) -> &mut [u8] {
        let end = (self.used + BATCH_REPLY_OCTETS).min(self.arena.len());
        &mut self.arena[self.used..end]
    }

    /// Queues the first `len` octets of the room as the reply to the `nth` query, `nth < BATCH`.
    pub fn queue(&mut self, nth: usize, len: usize) {
        let Some(slot) = self.queue.get_mut(self.queued) else {
            return;
        };
        *slot = Queued {
            envelope: nth as u8,
            next: NONE,
            len: len as u16,
            at: self.used as u32,
        };
        self.queued += 1;
        self.used += len;
    }

    /// Sends what is queued to where the envelopes say; returns how many replies the kernel refused.
    pub fn flush(&mut self, socket: &Socket, envelopes: &[Envelope; BATCH]) -> usize {
        let groups = self.group(envelopes);
        self.address(groups, envelopes);
        let (mut at, mut refused) = (0, 0);
        while at < groups {
            match self.messages.send(socket, at, groups) {
                Ok(sent) => at += sent,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    // The first of the rest cannot be sent; the others may.
                    refused += self.give_in(at, socket, envelopes, &error);
                    at += 1;
                }
            }
        }
        self.clear();
        refused
    }

    /// Sorts the queue into groups; returns how many there are.
    fn group(&mut self, envelopes: &[Envelope; BATCH]) -> usize {
        let mut groups = 0;
        // The latest group of each class of clients; a collision costs one message more.
        let mut latest = [NONE; BATCH];
        for slot in 0..self.queued {
            let Queued { envelope, len, .. } = self.queue[slot];
            let envelope = &envelopes[usize::from(envelope)];
            let class = envelope.client_hash() % BATCH;
            let nth = usize::from(latest[class]);
            if self.segments
                && nth < groups
                && self.joins(self.groups[nth], envelope, len, envelopes)
            {
                let group = &mut self.groups[nth];
                self.queue[usize::from(group.last)].next = slot as u8;
                group.last = slot as u8;
                group.count += 1;
                continue;
            }
            latest[class] = groups as u8;
            self.groups[groups] = Group {
                first: slot as u8,
                last: slot as u8,
                count: 1,
            };
            groups += 1;
        }
        groups
    }

    /// Whether a reply of that length may leave with a group.
    fn joins(
        &self,
        group: Group,
        envelope: &Envelope,
        len: u16,
        envelopes: &[Envelope; BATCH],
    ) -> bool {
        let first = self.queue[usize::from(group.first)];
        let octets = (usize::from(group.count) + 1) * usize::from(len);
        len == first.len
            && usize::from(len) <= UDP_SEGMENT_OCTETS
            && octets <= UDP_SEGMENTED_OCTETS
            && envelopes[usize::from(first.envelope)].is_same_way(envelope)
    }

    /// Describes one message for each group.
    fn address(&mut self, groups: usize, envelopes: &[Envelope; BATCH]) {
        let mut vector = 0;
        for (nth, group) in self.groups[..groups].iter().enumerate() {
            let first = self.queue[usize::from(group.first)];
            let envelope = &envelopes[usize::from(first.envelope)];
            let start = vector;
            let mut slot = group.first;
            while let Some(queued) = self.queue.get(usize::from(slot)) {
                let at = queued.at as usize;
                let reply = &self.arena[at..at + usize::from(queued.len)];
                self.messages.vectors[vector] = libc::iovec {
                    iov_base: reply.as_ptr().cast_mut().cast(),
                    iov_len: reply.len(),
                };
                vector += 1;
                slot = queued.next;
            }
            let control = match group.count {
                1 => envelope.control(),
                _ => self.controls[nth].segmented(envelope.control(), first.len),
            };
            self.messages
                .set(nth, start..vector, envelope.name(), control);
        }
    }

    /// After the kernel refused a group: its replies are sent one by one, if that may help. Returns how many are lost.
    fn give_in(
        &mut self,
        nth: usize,
        socket: &Socket,
        envelopes: &[Envelope; BATCH],
        error: &io::Error,
    ) -> usize {
        let group = self.groups[nth];
        let has_room = error.kind() != io::ErrorKind::WouldBlock;
        if group.count == 1 || !has_room {
            return usize::from(group.count);
        }
        // Too big for the path of this client is its own matter; else the kernel or the card cannot segment at all.
        self.segments &= error.raw_os_error() == Some(libc::EMSGSIZE);
        let (mut slot, mut refused) = (group.first, 0);
        while let Some(queued) = self.queue.get(usize::from(slot)) {
            let at = queued.at as usize;
            let reply = &self.arena[at..at + usize::from(queued.len)];
            let envelope = &envelopes[usize::from(queued.envelope)];
            refused += usize::from(!send_one(socket, envelope, reply));
            slot = queued.next;
        }
        refused
    }
}

impl Control {
    /// Puts a UDP_SEGMENT control message behind a copy of `before`.
    fn segmented(&mut self, before: &[u8], segment_len: u16) -> &[u8] {
        let start = before
            .len()
            .next_multiple_of(8)
            .min(CONTROL - SEGMENT_SPACE);
        let Control(octets) = self;
        octets[..before.len()].copy_from_slice(before);
        let message = &mut octets[start..start + SEGMENT_SPACE];
        // A cmsghdr: its length with data, level, type; then the data (cmsg(3)).
        message[..8].copy_from_slice(&(SEGMENT_LEN as u64).to_ne_bytes());
        message[8..12].copy_from_slice(&libc::SOL_UDP.to_ne_bytes());
        message[12..16].copy_from_slice(&libc::UDP_SEGMENT.to_ne_bytes());
        message[16..18].copy_from_slice(&segment_len.to_ne_bytes());
        &octets[..start + SEGMENT_SPACE]
    }
}

/// No slot.
const NONE: u8 = u8::MAX;
/// Octets of a control message of two octets, with and without padding.
const SEGMENT_LEN: usize = 18;
const SEGMENT_SPACE: usize = 24;
/// Room for that and for what an envelope has.
const CONTROL: usize = super::udp::CONTROL + SEGMENT_SPACE;

const _: () = assert!(BATCH < NONE as usize && size_of::<usize>() == 8);
const _: () = assert!(BATCH_REPLY_OCTETS <= u16::MAX as usize);

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;
    use crate::transport::udp::Batch;
    use crate::transport::udp::tests::{client, server};

    /// `ask` clients send queries of these lengths in turn; each must get its own octets back, whatever was sent together.
    fn check(listen: &str, ask: &str, lengths: &[&[usize]], segments: bool) {
        let (server, asked) = server(listen, ask);
        let clients: Vec<UdpSocket> = lengths.iter().map(|_| client(asked)).collect();
        let total: usize = lengths.iter().map(|of_client| of_client.len()).sum();
        let longest = lengths
            .iter()
            .map(|of_client| of_client.len())
            .max()
            .unwrap();
        for turn in 0..longest {
            for (number, (client, of_client)) in clients.iter().zip(lengths).enumerate() {
                if let Some(len) = of_client.get(turn) {
                    let mut query = vec![number as u8; *len];
                    query[0] = turn as u8;
                    client.send(&query).unwrap();
                }
            }
        }
        let (mut batch, mut got) = (Batch::new(segments), 0);
        while got < total {
            let count = batch.recv(&server).unwrap();
            for nth in 0..count {
                let copy = batch.query(nth).to_vec();
                assert!(batch.push(nth, &server, &copy));
            }
            assert_eq!(batch.flush(&server), 0);
            got += count;
        }
        for (number, (client, of_client)) in clients.iter().zip(lengths).enumerate() {
            let mut got = Vec::new();
            for _ in *of_client {
                let mut reply = [0; 1500];
                let len = client.recv(&mut reply).unwrap();
                assert!(reply[1..len].iter().all(|octet| *octet == number as u8));
                got.push((reply[0] as usize, len));
            }
            got.sort_unstable();
            let sent: Vec<_> = of_client.iter().copied().enumerate().collect();
            assert_eq!(got, sent, "client {number}");
        }
    }

    #[test]
    fn replies_of_one_length_to_one_client_arrive_one_by_one() {
        let lengths: [&[usize]; 4] = [&[40; 20], &[40, 41, 40, 41, 41], &[500], &[60; 3]];
        for segments in [true, false] {
            check("127.0.0.1:0", "127.0.0.1", &lengths, segments);
            check("[::]:0", "127.3.2.1", &lengths, segments);
            check("[::]:0", "[::1]", &lengths, segments);
            check("[::1]:0", "[::1]", &[&[512; 30]], segments);
        }
    }

    #[test]
    fn a_batch_of_one_client_is_one_message() {
        let mut outbox = Outbox::new(true);
        let envelopes: [Envelope; BATCH] = [Envelope::EMPTY; BATCH];
        for nth in 0..BATCH {
            outbox.room()[..50].fill(nth as u8);
            outbox.queue(nth, if nth == 7 { 49 } else { 50 });
        }
        assert_eq!(outbox.group(&envelopes), 3);
        let counts = outbox.groups.map(|group| group.count);
        // A length of its own ends a group, since the table knows one group of a client at a time.
        assert_eq!(counts[..3], [7, 1, 56]);
        outbox.segments = false;
        assert_eq!(outbox.group(&envelopes), BATCH);
    }

    #[test]
    fn what_is_too_long_for_a_segment_leaves_alone() {
        let mut outbox = Outbox::new(true);
        let envelopes: [Envelope; BATCH] = [Envelope::EMPTY; BATCH];
        for nth in 0..4 {
            outbox.queue(nth, UDP_SEGMENT_OCTETS + 1);
        }
        assert_eq!(outbox.group(&envelopes), 4);
        outbox.clear();
        for nth in 0..BATCH {
            outbox.queue(nth, UDP_SEGMENT_OCTETS);
        }
        assert_eq!(outbox.group(&envelopes), 2);
        assert!(usize::from(outbox.groups[0].count) * UDP_SEGMENT_OCTETS <= UDP_SEGMENTED_OCTETS);
    }
}
