//! Puts answers to challenges in place, and takes them away again.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::sign::CertifiedKey;

use super::answers::{self, Record, Table};
use crate::limits;
use crate::wire::name::NameBuf;

/// One or more answers, which are there until this is dropped.
#[must_use = "the answers go with it"]
pub(super) struct Held(Table);

/// Answers DNS challenges: names and values. Names may repeat.
///
/// # Errors
/// There is no room for more answers.
pub(super) fn names(values: Vec<(NameBuf, String)>) -> Result<Held, String> {
    let row = |(name, value): (NameBuf, String)| {
        // A value has 43 octets; one that did not fit a character string would be cut, and refused by the authority.
        let value = value.into_bytes();
        let len = value.len().min(255);
        let mut rdata = vec![len as u8];
        rdata.extend_from_slice(&value[..len]);
        Record {
            name: name.as_wire().into(),
            rdata: rdata.into(),
        }
    };
    hold(Table {
        names: values.into_iter().map(row).collect(),
        handshakes: Vec::new(),
    })
}

/// Answers TLS-ALPN challenges: server names and certificates.
///
/// # Errors
/// There is no room for more answers.
pub(super) fn handshakes(rows: Vec<(String, Arc<CertifiedKey>)>) -> Result<Held, String> {
    hold(Table {
        names: Vec::new(),
        handshakes: rows,
    })
}

fn hold(rows: Table) -> Result<Held, String> {
    change(|table| {
        let count = rows.names.len() + rows.handshakes.len();
        if table.names.len() + table.handshakes.len() + count > limits::ACME_ANSWERS {
            return Err("too many challenges are under way at once".to_owned());
        }
        table.names.extend_from_slice(&rows.names);
        table.handshakes.extend_from_slice(&rows.handshakes);
        Ok(())
    })?;
    Ok(Held(rows))
}

impl Drop for Held {
    fn drop(&mut self) {
        change(|table| {
            for row in &self.0.names {
                take_one(&mut table.names, |held| held == row);
            }
            for row in &self.0.handshakes {
                take_one(&mut table.handshakes, |held| Arc::ptr_eq(&held.1, &row.1));
            }
        });
    }
}

/// Two certificates may be proven by the same record: each takes its own away.
fn take_one<T>(rows: &mut Vec<T>, is_it: impl Fn(&T) -> bool) {
    if let Some(nth) = rows.iter().position(is_it) {
        rows.swap_remove(nth);
    }
}

fn change<T>(change: impl FnOnce(&mut Table) -> T) -> T {
    static WRITING: Mutex<()> = Mutex::new(());
    let _writing = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut table = Table::clone(&answers::table());
    let result = change(&mut table);
    answers::publish(table);
    result
}
