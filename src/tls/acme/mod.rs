//! Certificates from an ACME authority (RFC 8555): ordered, kept in files, renewed.
//!
//! Runs on: control thread; [`answers`] is read by data cores.
//!
//! **Invariant**: a certificate that is served is only ever replaced by one that was checked: it has its key, covers all names and has not
//! ended. Whatever an authority says, the next attempt comes no sooner than `limits::ACME_RETRY_S_MIN` after the last.
//!
//! ```text
//!   Manager::open   reads the stored certificate, hands it to `install`       (set-up of a configuration, may block)
//!   Manager::start  control thread, for as long as the manager lives:
//!
//!     sleep until a third of the lifetime is left, or until the pause after a failure is over
//!       -> storage: can be written?            nothing is ordered that would be lost
//!       -> order:   account, order, authorizations
//!       -> challenge: the answers stand in `answers`, or on port 80, while a guard is held
//!       -> order:   key and request, certificate checked
//!       -> storage: certificate and key in one file, install(certificate)
//! ```

pub mod answers;
mod challenge;
mod client;
mod hold;
mod issued;
mod manager;
mod order;
mod propagation;
mod retry;
mod settings;
mod storage;
#[cfg(test)]
mod tests;
mod time;

pub use issued::Issued;
pub use manager::Manager;
pub use settings::{DEFAULT_CA, DEFAULT_STORAGE, Settings};
