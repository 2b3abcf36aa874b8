//! What answers are kept in: zones, caches, files of names.

use std::time::Duration;

// === zone ===

/// Octets of one zone file; offsets in it have 32 bits. A file of this size holds some 40 million records.
pub const ZONE_FILE_OCTETS: usize = 2 << 30;
/// Octets of names and record data of one zone; offsets in it have 32 bits.
pub const ZONE_DATA_OCTETS: usize = 3 << 30;
/// Records of one zone, those that `$GENERATE` makes included.
pub const ZONE_RECORDS: usize = 100_000_000;
/// Records that one `$GENERATE` line may make (as miekg/dns: a range of 16 bits).
pub const ZONE_GENERATE_STEPS: u64 = 65_536;
/// Tokens of one entry; 65,535 octets of data written as single hex digits need twice as many.
pub const ZONE_ENTRY_TOKENS: usize = 140_000;
/// Nesting of `$INCLUDE` (as miekg/dns).
pub const ZONE_INCLUDE_DEPTH: usize = 7;
/// Files that one zone may include in all, so that nested includes cannot multiply without end.
pub const ZONE_INCLUDES: usize = 10_000;
/// Warnings kept of one load; the rest is counted.
pub const ZONE_WARNINGS: usize = 10;
/// CNAME records in one answer: the first and the nine that CoreDNS follows inside a zone.
pub const ZONE_CNAME_CHAIN: usize = 10;
/// Targets of one answer whose addresses are looked up for the additional section (CVE-2024-11187).
pub const ZONE_ADDITIONAL_NAMES: usize = 64;

/// Threads that read one zone file at the start; more would wait for memory. A reload has one, since the others answer queries.
pub const ZONE_LOAD_THREADS: usize = 8;
/// Octets of a zone file that one thread reads at a time. Smaller files are not worth a thread.
pub const ZONE_CHUNK_OCTETS: usize = 1 << 20;

const _: () = assert!(ZONE_FILE_OCTETS < u32::MAX as usize);
const _: () = assert!(ZONE_DATA_OCTETS < u32::MAX as usize);

// === cache ===

/// Mean octets of an entry that a cache table makes room for: `capacity` entries never take more than `capacity` times this,
/// so that a flood of 64 KiB answers ends at 20 MB in a table of the default size and not at 650.
pub const CACHE_ENTRY_OCTETS_MEAN: usize = 2_048;
/// One part in so many of a cache table is kept for names that were not asked twice yet.
pub const CACHE_PROBATION_PART: usize = 10;
/// Entries looked at for one eviction before one goes although it was visited: bounds the time of a write.
pub const CACHE_EVICTION_STEPS: usize = 256;
/// Entries evicted by one write: more than a large answer pushes out, few enough that a bound which shrank delays nobody.
pub const CACHE_EVICTIONS_AT_ONCE: usize = 1_024;
/// Octets of a snapshot of all caches: some forty million answers, which take a minute to check at start.
pub const CACHE_SNAPSHOT_OCTETS: u64 = 4 << 30;
/// Age at which a snapshot is not read any more; few answers outlive it, and it is a sign of something else.
pub const CACHE_SNAPSHOT_AGE: Duration = Duration::from_secs(24 * 3600);
/// Distinct questions of one core that are being asked upstream with others waiting; further ones are asked unshared.
pub const CACHE_FLIGHTS: usize = 16_384;
/// Seconds after which a claimed refresh counts as lost; longer than an upstream exchange may take.
pub const CACHE_CLAIM_S: u8 = 10;
/// Entries from which on a cache counts as larger than what a CPU caches: some 5 MiB.
pub const CACHE_LARGE: usize = 32_768;
/// Entries that one *cache* table may be asked to hold: its index alone takes 10 octets for each.
pub const CACHE_CAPACITY: usize = 1 << 28;
/// CNAME records followed to see whether an answer answers its question.
pub const CACHE_CNAME_STEPS: usize = 32;
/// Queries that wait for one upstream answer; further ones are asked unshared.
pub const CACHE_FLIGHT_WAITERS: usize = 4_096;

// === hosts ===

/// Octets of a hosts file: some eight million lines. Names are kept with offsets of 32 bits, reverse names included.
pub const HOSTS_FILE_OCTETS: u64 = 256 << 20;

// === loadbalance ===

/// Octets of a weight file: more than a million addresses.
pub const WEIGHT_FILE_OCTETS: u64 = 64 << 20;
