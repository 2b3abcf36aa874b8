//! What is asked of an ACME authority, and how long it may take.

/// Names of one certificate; what Let's Encrypt takes.
pub const ACME_DOMAINS: usize = 100;
/// Answers to challenges that the process holds at a time: ten certificates of the largest size.
pub const ACME_ANSWERS: usize = 10 * ACME_DOMAINS;
/// Octets of one response of an authority; a chain of ten certificates has some 20 KB.
pub const ACME_RESPONSE_OCTETS: usize = 1 << 20;
/// Octets of a file with an account, or with a certificate and its key.
pub const ACME_FILE_OCTETS: u64 = 1 << 20;
/// Certificates of one chain; two or three are usual.
pub const ACME_CHAIN: usize = 10;
/// Octets of the token of a challenge; those of Let's Encrypt have 43, and it becomes a path.
pub const ACME_TOKEN_OCTETS: usize = 255;
/// From the start of a request to an authority to the end of its response.
pub const ACME_REQUEST_S: u64 = 30;
/// Shortest pause between two looks at an order; each further one doubles it.
pub const ACME_POLL_MS_MIN: u64 = 500;
/// Longest pause between two looks at an order.
pub const ACME_POLL_MS_MAX: u64 = 15_000;
/// How long an authority may take to validate, and to sign, before the attempt counts as failed.
pub const ACME_POLL_S: u64 = 180;
/// How long a resolver may take to show the answer to a challenge; CoreDNS's number.
pub const ACME_PROPAGATION_S: u64 = 120;
/// Between two questions to that resolver.
pub const ACME_PROPAGATION_PAUSE_MS: u64 = 2_000;
/// How long one such question waits for its reply.
pub const ACME_PROPAGATION_REPLY_MS: u64 = 3_000;
/// Octets read of that reply: as much as a resolver sends without EDNS.
pub const ACME_PROPAGATION_OCTETS: usize = 512;
/// Shortest pause after a failed attempt; each further one doubles it.
pub const ACME_RETRY_S_MIN: u64 = 60;
/// Longest pause after a failed attempt, unless the authority asks for more.
pub const ACME_RETRY_S_MAX: u64 = 3_600;
/// Longest pause that an authority may ask for with Retry-After: then it is asked again whatever it said.
pub const ACME_RETRY_AFTER_S_MAX: u64 = 24 * 3_600;
/// Longest sleep until a renewal: the wall clock, which says when a certificate ends, may be set meanwhile.
pub const ACME_SLEEP_S: u64 = 3_600;

const _: () = assert!(ACME_RETRY_S_MIN < ACME_RETRY_S_MAX);
const _: () = assert!(ACME_POLL_MS_MAX < ACME_RETRY_S_MIN * 1_000);
