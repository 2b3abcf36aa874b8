//! Every bound of the program, with its reason. Nothing that grows lives without a line here.
//!
//! What the whole program shares is in this file; each part below has its own. All names are those of `limits`.

mod acme;
mod answers;
mod kube;
mod serving;
mod tune;
mod upstream;

pub use acme::*;
pub use answers::*;
pub use kube::*;
pub use serving::*;
pub use tune::*;
pub use upstream::*;

// === wire ===

/// Octets of a domain name on the wire, the root label included (RFC 1035 section 2.3.4).
pub const NAME_OCTETS: usize = 255;
/// Labels of a domain name, the root label not counted (follows from `NAME_OCTETS`).
pub const NAME_LABELS: usize = 127;
/// Octets read of a UDP query; CoreDNS reads as many and answers FORMERR to what is cut.
pub const UDP_QUERY_OCTETS: usize = 512;
/// Octets of a reply over UDP, whatever the client says: no more fits a packet of IPv4.
pub const UDP_REPLY_OCTETS: usize = 65_507;
/// Octets of a message over a stream transport (RFC 1035 section 4.2.2: the length has 16 bits).
pub const MESSAGE_OCTETS: usize = 65_535;

// === lang ===

/// Characters of a regular expression; CoreDNS refuses longer ones too.
pub const REGEXP_CHARS: usize = 10_000;
/// Octets of a compiled regular expression, so that `(\pL{1000}){1000}` is an error and not an outage.
pub const REGEXP_OCTETS: usize = 10 << 20;
/// Octets of scratch memory that one core may spend on matching one expression.
pub const REGEXP_SCRATCH_OCTETS: usize = 1 << 20;

/// Octets of the text of an expression: a view with a thousand networks fits.
pub const EXPR_TEXT_OCTETS: usize = 64 << 10;
/// Levels of an expression's tree, which bounds the stack of its evaluation.
pub const EXPR_DEPTH: u32 = 100;
/// Levels of arrays in arrays.
pub const EXPR_VALUE_DEPTH: u32 = 32;
/// Items of an array that an expression may make.
pub const EXPR_ITEMS: usize = 10_000;
/// Octets of a text that an expression may make.
pub const EXPR_OCTETS: usize = 64 << 10;
/// Steps of one evaluation (nodes visited and items touched): a few milliseconds at most.
pub const EXPR_STEPS: u32 = 100_000;
/// Octets of a compiled pattern that is only known when a query comes in.
pub const EXPR_REGEXP_OCTETS: usize = 64 << 10;

/// Octets of the text of a template.
pub const TEMPLATE_TEXT_OCTETS: usize = 64 << 10;
/// Levels of blocks and parentheses in a template's text.
pub const TEMPLATE_DEPTH: u32 = 50;
/// Levels of blocks, parentheses and called templates while one runs.
pub const TEMPLATE_RUN_DEPTH: u32 = 100;
/// Steps of one execution (nodes visited and items touched).
pub const TEMPLATE_STEPS: u32 = 100_000;
/// Octets that a template may write: no resource record is longer than a message.
pub const TEMPLATE_OCTETS: usize = 64 << 10;

// === telemetry ===

/// Lines that threads without a lane of their own may have queued for the log.
pub const LOG_RING_LINES: usize = 2048;
/// Words of 8 octets that one data core may have queued for the log. A query with a name of ordinary length takes 9, so at 2 ms between
/// two drains that is 1.8 million lines a second.
pub const LOG_LANE_WORDS: usize = 32 * 1024;
/// Octets of one log line; longer ones are cut. A name of 255 octets printed with escapes is 1,020 octets.
pub const LOG_LINE_OCTETS: usize = 4096;
/// Octets gathered before a write to standard output.
pub const LOG_BATCH_OCTETS: usize = 64 * 1024;
/// Octets that an idle line buffer may keep; larger ones are freed, so that one burst of long lines does not
/// pin `LOG_RING_LINES * LOG_LINE_OCTETS`.
pub const LOG_LINE_KEPT_OCTETS: usize = 512;
/// Pause between two drains of the log while lines keep coming: bounds the wake-ups of the writer.
pub const LOG_PAUSE_MS: u64 = 2;
/// Longest wait of `log::flush`; after it a blocked reader of standard output loses the lines.
pub const LOG_FLUSH_MS_MAX: u64 = 2_000;

const _: () = assert!(LOG_LINE_OCTETS > 4 * NAME_OCTETS && LOG_LINE_KEPT_OCTETS <= LOG_LINE_OCTETS);
// A line's octets are counted in 16 bits, and places in the circle are found by a mask.
const _: () = assert!(LOG_LINE_OCTETS <= u16::MAX as usize && LOG_LANE_WORDS.is_power_of_two());
const _: () = assert!(LOG_LANE_WORDS * 8 > LOG_LINE_OCTETS * 2);

// === control ===

/// Threads for work that blocks (files, reloads, periodic checks). Idle ones end after ten seconds.
pub const CONTROL_BLOCKING_THREADS: usize = 8;
/// Signals that may wait for their handler; more of the same kind tell nothing new.
pub const CONTROL_SIGNALS: usize = 16;

// === admin ===

/// Seconds that a client of an admin endpoint has to send a request, to take its answer, or to stay idle.
pub const ADMIN_TIMEOUT_S: u64 = 5;
/// Open connections of one admin address; further ones are closed at once and counted.
pub const ADMIN_CONNECTIONS: usize = 256;
/// Octets of a request's line and header fields.
pub const ADMIN_HEADER_OCTETS: usize = 16 * 1024;
/// Header fields of a request.
pub const ADMIN_HEADERS: usize = 64;
/// Connections that the kernel queues for one admin address.
pub const ADMIN_BACKLOG: i32 = 128;
/// Octets of a reply that the self-check of `health` reads.
pub const ADMIN_PROBE_OCTETS: usize = 512;

// === corefile ===

/// Octets of one Corefile or imported file; a Kubernetes ConfigMap holds 1 MiB, inline hosts may be larger.
pub const COREFILE_OCTETS: usize = 16 << 20;
/// Octets of all tokens, imports included: a snippet that is imported often multiplies them.
pub const COREFILE_TOTAL_OCTETS: usize = 64 << 20;
/// Tokens of a configuration, imports included (about 100 octets of memory each).
pub const COREFILE_TOKENS: usize = 2_000_000;
/// Imports of snippets in one parse; CoreDNS's number.
pub const SNIPPET_IMPORTS: usize = 10_000;
/// Imports of files in one parse, and names read of a directory; CoreDNS's number for the first.
pub const IMPORT_FILES: usize = 100_000;
/// Octets scanned and written to replace environment references: a value may refer to itself.
pub const ENV_OCTETS: usize = 16 << 20;
/// Warnings kept of one parse: an import inside a loop of imports could repeat them.
pub const COREFILE_WARNINGS: usize = 100;
/// Names, and zones, of one *federation*: each name becomes a rule in which all zones stand, so that the text grows by their product.
pub const FEDERATION_NAMES: usize = 64;

const _: () =
    assert!(COREFILE_OCTETS <= COREFILE_TOTAL_OCTETS && COREFILE_OCTETS < u32::MAX as usize);

// === runtime ===

/// Tasks alive on one task thread: TCP connections, upstream exchanges and what they spawn. Further ones are refused.
pub const TASKS_PER_CORE: usize = 65_536;
/// Timers armed on one task thread: a few for each task. A timer beyond goes off at once, which sheds its work.
pub const TIMERS_PER_CORE: usize = 4 * TASKS_PER_CORE;
/// Tasks polled before the task thread looks at its sockets, timers and mailboxes again.
pub const TASKS_PER_TURN: usize = 128;
/// Nanoseconds that a task thread runs on before it offers its CPU to others, such as the packet thread beside it. Its slice (sched(7)) is
/// longer than the packet thread's by as much, so that this one goes first.
pub const STINT_NS: u64 = 50_000;
/// Readiness events taken from the kernel at once.
pub const EVENTS_PER_TURN: usize = 256;
/// Entries of each of glommio's three submission rings; more requests than these wait for the next turn.
pub const RING_DEPTH: usize = 128;
/// Octets that glommio keeps for disk buffers, which nothing here uses: the least it accepts (its default is 10 MiB).
pub const RING_BUFFER_OCTETS: usize = 65_536;
/// How long accepting pauses after the process ran out of descriptors or memory: no spin, no lost listener.
pub const ACCEPT_PAUSE_MS: u64 = 100;

const _: () = assert!(TIMERS_PER_CORE >= TASKS_PER_CORE, "a task has a timer");
const _: () = assert!(
    TASKS_PER_CORE <= u32::MAX as usize,
    "slots have 32-bit names"
);

/// Octets from which memory of a large value is mapped by itself, so that it goes back to the kernel with the value; the kernel allows
/// a process 65,530 mappings.
pub const PAGES_OCTETS: usize = 256 * 1024;

// === plugin ===

/// Internal lookups inside each other (CNAME chains over blocks): a loop ends here.
pub const LOOKUP_DEPTH: usize = 8;
/// Internal lookups that one query of a client may cause in all, whoever asks for them: the depth alone lets k rewrite rules make
/// k to the power of `LOOKUP_DEPTH`. A chain of `ZONE_CNAME_CHAIN` names in each of eight blocks fits.
pub const LOOKUPS_PER_QUERY: u16 = 100;

// === supervisor ===

/// Threads of data cores that may die within a minute before the process gives up and exits.
pub const CORE_RESTARTS_PER_MINUTE: usize = 5;
