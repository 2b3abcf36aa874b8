//! One stored answer: a header, the offsets of its TTL fields and the packed reply, in a single allocation.

use std::{
    alloc::{Layout, alloc, dealloc, handle_alloc_error},
    cell::Cell,
    marker::PhantomData,
    ptr::{self, NonNull},
    slice,
    sync::atomic::{
        AtomicU8, AtomicU32,
        Ordering::{Acquire, Relaxed},
    },
};

use super::{
    Key, Pin, Table,
    link::{Head, Link, Neighbour},
    shard::Refused,
};
use crate::limits;

/// An answer found in a store, readable as long as the pin it was found under.
#[derive(Clone, Copy)]
pub struct Entry<'p> {
    at: NonNull<Header>,
    // Not Send: the pin belongs to one thread.
    pin: PhantomData<&'p Pin>,
}

/// What is to be stored, borrowed from the reply that came in.
#[derive(Clone, Copy, Debug)]
pub struct NewEntry<'a> {
    /// The complete reply without OPT: header, exactly one question (that of the key, in any case), records.
    pub wire: &'a [u8],
    /// Where the TTL field of each record starts in `wire`.
    pub ttl_offsets: &'a [u16],
    /// The lifetime in seconds, already clamped; all records are served with what is left of it.
    pub ttl_s: u32,
    /// What the reply would measure without name compression, for `{rsize}` in query logs.
    pub uncompressed_len: u16,
    /// Owner of the wildcard that made the answer, as text, empty if none; at most 255 octets.
    pub wildcard: &'a [u8],
    /// Hits to begin with: a prefetched answer inherits those of the one it replaces.
    pub hits: u32,
}

/// What differs between a stored reply and the one that a client gets.
#[derive(Clone, Copy, Debug)]
pub struct Patch<'a> {
    /// Message id.
    pub id: u16,
    /// The second 16 bits of the header; see [`Entry::flags`].
    pub flags: u16,
    /// TTL of every record, in seconds.
    pub ttl_s: u32,
    /// The QNAME as the client spelled it, in wire format; must be the key's but for case.
    pub qname: &'a [u8],
}

// === impl Entry ===

impl<'p> Entry<'p> {
    /// # Safety
    /// `at` was published in a shard and is not freed before the pin of `'p` is dropped.
    pub(super) unsafe fn new(at: NonNull<Header>) -> Self {
        Entry {
            at,
            pin: PhantomData,
        }
    }

    fn header(&self) -> &'p Header {
        // SAFETY: the allocation lives for 'p (see `new`) and begins with an initialised header. What the writer changes in it
        // meanwhile lies in atomics or in cells that only the writer looks at.
        unsafe { self.at.as_ref() }
    }

    /// Whether this is the answer to `key`.
    pub(super) fn matches(&self, key: &Key<'_>) -> bool {
        // SAFETY: alive for 'p.
        self.header().has_hash(key.hash) && unsafe { same_question(self.at, key) }
    }

    /// The table it is stored in.
    pub fn table(&self) -> Table {
        self.header().table()
    }

    /// The stored reply; its id is zero, its question lower-cased and its TTLs are the original ones.
    pub fn wire(&self) -> &'p [u8] {
        // SAFETY: alive and unchanged for 'p.
        unsafe { wire(self.at) }
    }

    /// The second 16 bits of the stored header: QR, opcode, AA, TC, RD, RA, AD, CD, RCODE.
    pub fn flags(&self) -> u16 {
        let wire = self.wire();
        u16::from_be_bytes([wire[2], wire[3]])
    }

    /// RCODE of the stored header.
    pub fn rcode(&self) -> u8 {
        self.wire()[3] & 0x0f
    }

    /// Octets of the reply as stored.
    pub fn wire_len(&self) -> usize {
        usize::from(self.header().wire_len)
    }

    /// Octets of the reply without name compression (at most 65535 are told).
    pub fn uncompressed_len(&self) -> usize {
        usize::from(self.header().uncompressed_len)
    }

    /// Owner of the wildcard that the answer was made from; empty if none.
    pub fn wildcard(&self) -> &'p [u8] {
        // SAFETY: alive and unchanged for 'p.
        unsafe { wildcard(self.at) }
    }

    /// Where the TTL field of each record starts in [`Self::wire`].
    pub fn ttl_offsets(&self) -> &'p [u16] {
        // SAFETY: alive and unchanged for 'p.
        unsafe { ttl_offsets(self.at) }
    }

    /// The name of the question, in wire format, lower-cased.
    pub fn name(&self) -> &'p [u8] {
        // In bounds: `describe` found the question there.
        &self.wire()[QUESTION..][..usize::from(self.header().name_len)]
    }

    /// What it is stored under besides the question: its table, DO and CD.
    pub(super) fn bits(&self) -> u8 {
        self.header().marks.load(Relaxed) & QUESTION_BITS
    }

    /// Whether somebody asked for it since eviction last looked at it.
    pub(super) fn is_visited(&self) -> bool {
        self.header().marks.load(Relaxed) & VISITED != 0
    }

    /// What follows it in its bucket.
    pub(super) fn next(&self) -> Head {
        self.header().next.load(Acquire)
    }

    /// The lifetime it was stored with, in seconds.
    pub fn ttl_s(&self) -> u32 {
        self.header().ttl_s
    }

    /// Nanoseconds since it was stored.
    pub fn age_ns(&self, now_ns: u64) -> u64 {
        self.header().age_ns(now_ns)
    }

    /// Whole seconds left at `now_ns`, negative when expired: the original lifetime minus the whole seconds gone by.
    pub fn ttl_left_s(&self, now_ns: u64) -> i64 {
        self.header().ttl_left_s(now_ns)
    }

    /// Tells eviction that the entry is of use. Writes only when the bit is not yet set, so that a hot entry is read by all
    /// cores and written by none.
    pub fn mark_visited(&self) {
        self.header().mark_visited();
    }

    /// Counts a hit and returns the hits in a row; a gap of `gap_ns` or more since the last one starts again at 1.
    ///
    /// Called only when prefetch is configured, since it writes to the entry. The first `HITS_EXACT` hits are counted one by one.
    /// Beyond, one in so many stands for all, the fewer the higher the count (Morris, CACM 1978): counts are right within a
    /// factor of two. The time of the last hit is exact to an eighth of the gap. So a name that all cores ask for is written by none
    /// of them, but for a hit in a thousand. Hits of two cores in the same instant may count as one.
    pub fn record_hit(&self, now_ns: u64, gap_ns: u64) -> u32 {
        let header = self.header();
        let now_ms = header.age_ms(now_ns);
        let since_ns = u64::from(now_ms.wrapping_sub(header.stamp_ms.load(Relaxed))) * NS_PER_MS;
        let counted = header.hits.load(Relaxed);
        let step = counted / HITS_EXACT;
        let hits = if since_ns >= gap_ns {
            1
        } else if step <= 1 {
            counted.saturating_add(1)
        } else if chance().is_multiple_of(step) {
            counted.saturating_add(step)
        } else {
            counted
        };
        if hits != counted {
            header.hits.store(hits, Relaxed);
        }
        if hits <= HITS_EXACT || since_ns >= gap_ns / 8 {
            header.stamp_ms.store(now_ms, Relaxed);
        }
        hits
    }

    /// Hits counted so far.
    pub fn hits(&self) -> u32 {
        self.header().hits.load(Relaxed)
    }

    /// Claims the right to refresh this entry; false if somebody else has it. The claim ends with the entry, by
    /// [`Self::refresh_failed`], or by itself after `limits::CACHE_CLAIM_S` seconds: whoever had it may have been shed.
    pub fn claim_refresh(&self, now_ns: u64) -> bool {
        let claim = &self.header().claim;
        let (held, now) = (claim.load(Relaxed), claim_time(now_ns));
        let age_s = (u16::from(now) + 255 - u16::from(held)) % 255;
        if held != 0 && age_s < u16::from(limits::CACHE_CLAIM_S) {
            return false;
        }
        claim.compare_exchange(held, now, Relaxed, Relaxed).is_ok()
    }

    /// Gives a claim back after a refresh that failed, and notes when. Hits are not counted on an entry that is past its
    /// lifetime, so the time of the failure takes the place of theirs.
    pub fn refresh_failed(&self, now_ns: u64) {
        let header = self.header();
        if header.ttl_left_s(now_ns) <= 0 {
            header.stamp_ms.store(header.age_ms(now_ns), Relaxed);
            header.mark(FAILED);
        }
        header.claim.store(0, Relaxed);
    }

    /// Nanoseconds since the last refresh that failed after the lifetime had ended; None if there was none.
    pub fn since_failure_ns(&self, now_ns: u64) -> Option<u64> {
        let header = self.header();
        let ms = header
            .age_ms(now_ns)
            .wrapping_sub(header.stamp_ms.load(Relaxed));
        (header.marks.load(Relaxed) & FAILED != 0).then_some(u64::from(ms) * NS_PER_MS)
    }

    /// Records in the answer section.
    pub fn answer_count(&self) -> u16 {
        let wire = self.wire();
        u16::from_be_bytes([wire[6], wire[7]])
    }

    /// Appends the stored reply to `out` with another TTL in all its records; id, flags and question stay as stored.
    /// Allocates only if `out` has to grow.
    pub fn append_to(&self, out: &mut Vec<u8>, ttl_s: u32) {
        let start = out.len();
        out.extend_from_slice(self.wire());
        self.patch_ttls(&mut out[start..], ttl_s);
    }

    /// Writes the reply for one client to the front of `out` and returns its length; None if it does not fit, or if
    /// `patch.qname` is not as long as the stored name. Allocates nothing.
    #[inline]
    pub fn write_reply(&self, out: &mut [u8], patch: &Patch<'_>) -> Option<usize> {
        let wire = self.wire();
        let out = out.get_mut(..wire.len())?;
        if patch.qname.len() != usize::from(self.header().name_len) {
            return None;
        }
        out.copy_from_slice(wire);
        out[0..2].copy_from_slice(&patch.id.to_be_bytes());
        out[2..4].copy_from_slice(&patch.flags.to_be_bytes());
        out[QUESTION..QUESTION + patch.qname.len()].copy_from_slice(patch.qname);
        self.patch_ttls(out, patch.ttl_s);
        Some(wire.len())
    }

    /// `message` is a copy of the wire.
    fn patch_ttls(&self, message: &mut [u8], ttl_s: u32) {
        let ttl = ttl_s.to_be_bytes();
        for &offset in self.ttl_offsets() {
            let offset = usize::from(offset);
            // In bounds: `describe` refused offsets whose field does not end within the wire.
            message[offset..offset + 4].copy_from_slice(&ttl);
        }
    }
}

#[cfg(test)]
impl Entry<'_> {
    /// The octets of the header, to see who writes to it.
    pub(super) fn image(&self) -> [u64; 7] {
        // SAFETY: the header has 56 octets, all initialised; only this thread may write to it meanwhile.
        unsafe { self.at.cast::<[u64; 7]>().read() }
    }
}

// === Header: what a shard links ===

/// Head of an entry's allocation; the TTL offsets, the wire and the wildcard follow it in this order.
///
/// 56 octets, so that an answer of 70 octets with one record fits a size class of 128: one for a name of 38 octets. With 64
/// it would take the next class, of 160.
#[repr(C)]
pub(super) struct Header {
    /// Next entry of the same bucket. Written by the writer, read by all.
    pub(super) next: Link,
    /// Monotonic time of storing; before the machine's boot, modulo 2^64, where the answer came out of a snapshot.
    stored_ns: u64,
    /// Bits 0 to 31 of the key's hash.
    hash_low: u32,
    ttl_s: u32,
    hits: AtomicU32,
    /// Milliseconds after `stored_ns` of the last hit, or of the last failed refresh. Wraps after 49 days, harmlessly.
    stamp_ms: AtomicU32,
    /// Neighbours in the eviction queue. Touched by the shard's writer only.
    pub(super) newer: Cell<Neighbour>,
    pub(super) older: Cell<Neighbour>,
    /// Bits 32 to 47 of the key's hash. The upper ones have chosen the shard and are of no more use.
    hash_high: u16,
    uncompressed_len: u16,
    wire_len: u16,
    ttl_count: u16,
    name_len: u8,
    wildcard_len: u8,
    /// `DENIAL`, `DNSSEC_OK`, `CHECKING_DISABLED`, which never change; `VISITED`, `FAILED`; `IN_MAIN`, which is the shard's writer's.
    marks: AtomicU8,
    /// When a refresh was claimed, see `claim_time`; 0 = nobody has.
    claim: AtomicU8,
}

const _: () = assert!(size_of::<Header>() == 56);

impl Header {
    pub(super) fn table(&self) -> Table {
        Table::of_bits(self.marks.load(Relaxed))
    }

    /// The key's hash without its upper 16 bits.
    pub(super) fn hash(&self) -> u64 {
        u64::from(self.hash_high) << 32 | u64::from(self.hash_low)
    }

    /// Whether it may be the key's of that hash. The lower half tells nearly all apart; the question decides.
    #[inline]
    pub(super) fn has_hash(&self, hash: u64) -> bool {
        self.hash_low == hash as u32
    }

    pub(super) fn ttl_left_s(&self, now_ns: u64) -> i64 {
        i64::from(self.ttl_s) - (self.age_ns(now_ns) / NS_PER_S) as i64
    }

    /// Zero for a reader whose clock was read before the entry was stored.
    fn age_ns(&self, now_ns: u64) -> u64 {
        (now_ns.wrapping_sub(self.stored_ns) as i64).max(0) as u64
    }

    fn age_ms(&self, now_ns: u64) -> u32 {
        (self.age_ns(now_ns) / NS_PER_MS) as u32
    }

    pub(super) fn mark_visited(&self) {
        self.mark(VISITED);
    }

    fn mark(&self, mark: u8) {
        if self.marks.load(Relaxed) & mark == 0 {
            self.marks.fetch_or(mark, Relaxed);
        }
    }

    /// Whether it was visited since this was last asked.
    pub(super) fn take_visited(&self) -> bool {
        self.marks.load(Relaxed) & VISITED != 0
            && self.marks.fetch_and(!VISITED, Relaxed) & VISITED != 0
    }

    /// Whether it stands in the main queue; for the shard's writer.
    pub(super) fn is_in_main(&self) -> bool {
        self.marks.load(Relaxed) & IN_MAIN != 0
    }

    pub(super) fn set_in_main(&self) {
        self.mark(IN_MAIN);
    }

    /// Octets of the whole allocation.
    pub(super) fn size(&self) -> usize {
        size_of::<Header>()
            + 2 * usize::from(self.ttl_count)
            + usize::from(self.wire_len)
            + usize::from(self.wildcard_len)
    }

    /// A fresh answer to the same question stands where the old one stood and is as welcome.
    pub(super) fn inherit_visit(&self, old: &Header) {
        if old.marks.load(Relaxed) & VISITED != 0 {
            self.mark_visited();
        }
    }
}

impl Table {
    /// The table that an entry's bits name.
    pub(super) fn of_bits(bits: u8) -> Table {
        if bits & DENIAL == 0 {
            Table::Success
        } else {
            Table::Denial
        }
    }
}

/// Octets that an entry for `new` takes.
pub(super) fn size_of_entry(new: &NewEntry<'_>) -> usize {
    size_of::<Header>() + 2 * new.ttl_offsets.len() + new.wire.len() + new.wildcard.len()
}

/// Checks `new` and copies it to an allocation of its own, linked to nothing.
pub(super) fn allocate(
    table: Table,
    key: &Key<'_>,
    new: &NewEntry<'_>,
    now_ns: u64,
) -> Result<NonNull<Header>, Refused> {
    let header = describe(table, key, new, now_ns).ok_or(Refused::Malformed)?;
    let layout = layout_of(header.size());
    // SAFETY: the layout is never empty, it contains the header.
    let Some(at) = NonNull::new(unsafe { alloc(layout) }) else {
        handle_alloc_error(layout)
    };
    let at = at.cast::<Header>();
    // SAFETY: the allocation is ours, aligned for the header, and `size()` octets long: header, offsets, wire, wildcard. The
    // offsets follow a header of 56 octets and so are aligned for u16. `describe` proved wire.len() >= QUESTION + name.len() + 4.
    unsafe {
        at.write(header);
        let offsets = at.add(1).cast::<u16>();
        ptr::copy_nonoverlapping(
            new.ttl_offsets.as_ptr(),
            offsets.as_ptr(),
            new.ttl_offsets.len(),
        );
        let wire = offsets.add(new.ttl_offsets.len()).cast::<u8>();
        ptr::copy_nonoverlapping(new.wire.as_ptr(), wire.as_ptr(), new.wire.len());
        wire.cast::<[u8; 2]>().write_unaligned([0; 2]);
        // Lower-cased, the question doubles as the key.
        ptr::copy_nonoverlapping(
            key.name.as_ptr(),
            wire.add(QUESTION).as_ptr(),
            key.name.len(),
        );
        ptr::copy_nonoverlapping(
            new.wildcard.as_ptr(),
            wire.add(new.wire.len()).as_ptr(),
            new.wildcard.len(),
        );
    }
    Ok(at)
}

/// The header of an entry for `new`, or None if it contradicts itself or the key.
fn describe(table: Table, key: &Key<'_>, new: &NewEntry<'_>, now_ns: u64) -> Option<Header> {
    let question_end = QUESTION + key.name.len() + 4;
    let question = new.wire.get(QUESTION..question_end)?;
    let (name, type_class) = question.split_at(key.name.len());
    let fits = |&offset: &u16| {
        let offset = usize::from(offset);
        offset >= question_end && offset + 4 <= new.wire.len()
    };
    if !name.eq_ignore_ascii_case(key.name)
        || type_class != type_and_class(key)
        || !new.ttl_offsets.iter().all(fits)
    {
        return None;
    }
    let mut bits = if table == Table::Denial { DENIAL } else { 0 };
    bits |= question_bits(key);
    Some(Header {
        next: Link::nowhere(),
        stored_ns: now_ns,
        hash_low: key.hash as u32,
        ttl_s: new.ttl_s,
        hits: AtomicU32::new(new.hits),
        stamp_ms: AtomicU32::new(0),
        newer: Cell::new(Neighbour::NONE),
        older: Cell::new(Neighbour::NONE),
        hash_high: (key.hash >> 32) as u16,
        uncompressed_len: new.uncompressed_len,
        wire_len: u16::try_from(new.wire.len()).ok()?,
        ttl_count: u16::try_from(new.ttl_offsets.len()).ok()?,
        name_len: u8::try_from(key.name.len()).ok()?,
        wildcard_len: u8::try_from(new.wildcard.len()).ok()?,
        marks: AtomicU8::new(bits),
        claim: AtomicU8::new(0),
    })
}

/// # Safety
/// `at` came from [`allocate`], was not freed before, and nobody reads it any more.
pub(super) unsafe fn free(at: NonNull<Header>) {
    // SAFETY: by contract the header is still there, and its size is that of the allocation; nothing in it needs a drop.
    unsafe { dealloc(at.as_ptr().cast(), layout_of(at.as_ref().size())) }
}

fn layout_of(size: usize) -> Layout {
    // SAFETY: the alignment is a power of two, and an entry is at most 56 + 2 * 65535 + 65535 + 255 octets, far below the
    // limit of isize::MAX.
    unsafe { Layout::from_size_align_unchecked(size, align_of::<Header>()) }
}

/// # Safety
/// `at` came from [`allocate`] and is not freed.
#[inline]
pub(super) unsafe fn same_question(at: NonNull<Header>, key: &Key<'_>) -> bool {
    // SAFETY: by contract.
    let header = unsafe { at.as_ref() };
    if usize::from(header.name_len) != key.name.len()
        || header.marks.load(Relaxed) & (DNSSEC_OK | CHECKING_DISABLED) != question_bits(key)
    {
        return false;
    }
    // SAFETY: `describe` proved that the wire holds `name_len` octets of question and 4 more behind the message's header.
    let (name, type_class) = unsafe {
        let name = wire_start(at).add(QUESTION);
        let type_class = name.add(key.name.len()).cast::<[u8; 4]>().read_unaligned();
        (
            slice::from_raw_parts(name.as_ptr(), key.name.len()),
            type_class,
        )
    };
    type_class == type_and_class(key) && same_octets(name, key.name)
}

/// Compares names of one length eight octets at a step; a call of the library costs as much as the whole of it.
#[inline]
fn same_octets(a: &[u8], b: &[u8]) -> bool {
    let ((a_words, _), (b_words, _)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    match (a.last_chunk::<8>(), b.last_chunk::<8>()) {
        // The last eight octets may have been in the word before, which costs nothing.
        (Some(a_last), Some(b_last)) => {
            a_last == b_last && a_words.iter().zip(b_words).all(|(a, b)| a == b)
        }
        _ => a.iter().eq(b),
    }
}

/// # Safety
/// `at` came from [`allocate`] and is not freed.
#[inline]
unsafe fn wire_start(at: NonNull<Header>) -> NonNull<u8> {
    // SAFETY: `allocate` put `ttl_count` offsets behind the header, and the wire behind them.
    unsafe {
        let offsets = at.add(1).cast::<u16>();
        offsets.add(usize::from(at.as_ref().ttl_count)).cast()
    }
}

/// # Safety
/// `at` came from [`allocate`] and is not freed for `'p`.
unsafe fn ttl_offsets<'p>(at: NonNull<Header>) -> &'p [u16] {
    // SAFETY: `allocate` put `ttl_count` offsets behind the header; nobody changes them.
    unsafe {
        slice::from_raw_parts(
            at.add(1).cast::<u16>().as_ptr(),
            usize::from(at.as_ref().ttl_count),
        )
    }
}

/// # Safety
/// As [`ttl_offsets`].
unsafe fn wire<'p>(at: NonNull<Header>) -> &'p [u8] {
    // SAFETY: `allocate` put `wire_len` octets behind the offsets; nobody changes them.
    unsafe {
        let len = usize::from(at.as_ref().wire_len);
        slice::from_raw_parts(wire_start(at).as_ptr(), len)
    }
}

/// # Safety
/// As [`ttl_offsets`].
unsafe fn wildcard<'p>(at: NonNull<Header>) -> &'p [u8] {
    // SAFETY: `allocate` put `wildcard_len` octets behind the wire; nobody changes them.
    unsafe {
        let header = at.as_ref();
        let start = wire_start(at).add(usize::from(header.wire_len));
        slice::from_raw_parts(start.as_ptr(), usize::from(header.wildcard_len))
    }
}

fn type_and_class(key: &Key<'_>) -> [u8; 4] {
    let ([t0, t1], [c0, c1]) = (key.qtype.to_be_bytes(), key.qclass.to_be_bytes());
    [t0, t1, c0, c1]
}

fn question_bits(key: &Key<'_>) -> u8 {
    let mut bits = 0;
    if key.dnssec_ok {
        bits |= DNSSEC_OK;
    }
    if key.checking_disabled {
        bits |= CHECKING_DISABLED;
    }
    bits
}

/// Seconds modulo 255, never 0. A claim older than that looks young again once in four minutes, which delays a refresh only.
fn claim_time(now_ns: u64) -> u8 {
    (now_ns / NS_PER_S % 255) as u8 + 1
}

/// A random number, good enough to choose one hit of many.
fn chance() -> u32 {
    thread_local!(static STATE: Cell<u32> = const { Cell::new(0x9e37_79b9) });
    // Marsaglia's xorshift.
    let mut x = STATE.get();
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    STATE.set(x);
    x
}

/// Hits that are counted one by one; an error of an eighth beyond.
const HITS_EXACT: u32 = 64;

/// Where the question starts in a message: behind the header (RFC 1035 section 4.1).
pub(super) const QUESTION: usize = 12;

const DENIAL: u8 = 1;
pub(super) const DNSSEC_OK: u8 = 2;
pub(super) const CHECKING_DISABLED: u8 = 4;

/// What an entry is stored under besides its question.
const QUESTION_BITS: u8 = DENIAL | DNSSEC_OK | CHECKING_DISABLED;

const VISITED: u8 = 8;
const FAILED: u8 = 16;
const IN_MAIN: u8 = 32;

const NS_PER_S: u64 = 1_000_000_000;
const NS_PER_MS: u64 = 1_000_000;
