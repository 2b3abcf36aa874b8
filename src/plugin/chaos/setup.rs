//! `chaos [VERSION [AUTHORS...]]`.

use super::Config;
use crate::corefile::{Args, SetupError};
use crate::transport::interfaces;
use crate::version::NAME_VERSION;

/// Only the first of several directives counts, as in CoreDNS.
pub(super) fn parse(args: &mut Args<'_>) -> Result<Config, SetupError> {
    args.next();
    let words = args.remaining_args();
    if args.next_block() {
        return Err(args.unknown_property(args.val()));
    }
    let (version, authors) = match &words[..] {
        [] => (NAME_VERSION, [AUTHORS].as_slice()),
        [version] => (*version, [AUTHORS].as_slice()),
        [version, authors @ ..] => (*version, authors),
    };
    let mut authors: Vec<Vec<u8>> = authors.iter().map(|author| text(author)).collect();
    authors.sort();
    authors.dedup();
    Ok(Config {
        version: text(version),
        authors,
        hostname: text(&interfaces::hostname()),
    })
}

/// A character string (RFC 1035 section 3.3), cut at the 255 octets that it can have.
fn text(text: &str) -> Vec<u8> {
    let octets = &text.as_bytes()[..text.len().min(255)];
    [&[octets.len() as u8], octets].concat()
}

/// Who is named without arguments.
const AUTHORS: &str = "The percoredns authors";
