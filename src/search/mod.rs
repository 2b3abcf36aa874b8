//! Search paths of clients: *autopath* completes names by them as the client's own resolver would.
//!
//! Runs on: data core; files are read in set-up.
//!
//! **Invariant**: a path is known without waiting, and has at most `limits::SEARCH_ELEMENTS` elements that come from a file.

pub mod resolv_conf;

use std::net::IpAddr;

use crate::corefile::ZoneName;

/// A source of search paths.
pub trait SearchPath: Send + Sync {
    /// Calls `each` with the elements of the path, lower-case names in wire form, until it says false. `client` asks for the lower-case
    /// wire name `name`. No call means that nothing is known of this client. The empty element, which ends every path, is left out.
    fn walk(&self, client: IpAddr, name: &[u8], each: &mut dyn FnMut(&[u8]) -> bool);
}

/// One path for all clients.
#[derive(Debug, Clone)]
pub struct Fixed(pub Vec<ZoneName>);

impl SearchPath for Fixed {
    fn walk(&self, _: IpAddr, _: &[u8], each: &mut dyn FnMut(&[u8]) -> bool) {
        let mut elements = self.0.iter().map(ZoneName::wire);
        // Whoever asks has seen enough.
        let _ = elements.all(each);
    }
}
