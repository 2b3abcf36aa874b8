//! Challenges of ACME authorities that are under way, as the path of a query sees them; a build without ACME has none.

#[cfg(feature = "acme")]
pub use crate::tls::acme::answers::{answer, may_answer};

/// No name is one of a challenge.
#[cfg(not(feature = "acme"))]
#[inline]
pub fn may_answer(_: &[u8]) -> bool {
    false
}

/// No query is for a challenge.
#[cfg(not(feature = "acme"))]
#[inline]
pub fn answer(_: &mut crate::plugin::Query) -> bool {
    false
}
