//! Every bound of the program, with its reason. Nothing that grows lives without a line here.

// === wire ===

/// Octets of a domain name on the wire, the root label included (RFC 1035 section 2.3.4).
pub const NAME_OCTETS: usize = 255;
/// Labels of a domain name, the root label not counted (follows from `NAME_OCTETS`).
pub const NAME_LABELS: usize = 127;
/// Octets read of a UDP query; CoreDNS reads as many and answers FORMERR to what is cut.
pub const UDP_QUERY_OCTETS: usize = 512;
/// Octets of a message over a stream transport (RFC 1035 section 4.2.2: the length has 16 bits).
pub const MESSAGE_OCTETS: usize = 65_535;

// === lang ===

/// Characters of a regular expression; CoreDNS refuses longer ones too.
pub const REGEXP_CHARS: usize = 10_000;
/// Octets of a compiled regular expression, so that `(\pL{1000}){1000}` is an error and not an outage.
pub const REGEXP_OCTETS: usize = 10 << 20;
/// Octets of scratch memory that one core may spend on matching one expression.
pub const REGEXP_SCRATCH_OCTETS: usize = 1 << 20;
