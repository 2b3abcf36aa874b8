//! `bind ADDRESS|INTERFACE... { except ADDRESS|INTERFACE... }`, repeatable.

use std::net::IpAddr;

use crate::corefile::{Args, SetupError};
use crate::plugin::SetupCx;
use crate::telemetry::log;
use crate::transport::interfaces::{self, Host};

pub(super) fn parse(args: &mut Args<'_>, cx: &mut SetupCx<'_>) -> Result<(), SetupError> {
    let interfaces = interfaces::list().unwrap_or_else(|error| {
        log::warning(
            Some("bind"),
            format_args!("failed to get interfaces list, cannot bind by interface name: {error}"),
        );
        Vec::new()
    });
    while args.next() {
        let words = args.remaining_args();
        if words.is_empty() {
            return Err(SetupError::plain(
                "at least one address or interface name is expected",
            ));
        }
        let mut except = Vec::new();
        while args.next_block() {
            match args.val() {
                "except" => except = args.remaining_args(),
                other => return Err(SetupError::plain(format!("invalid option {other:?}"))),
            }
            if except.is_empty() {
                return Err(SetupError::plain(
                    "at least one address or interface must be given to except subdirective",
                ));
            }
        }
        let except = hosts(&except, &interfaces)?;
        for host in hosts(&words, &interfaces)? {
            if !except.contains(&host) && !cx.settings.listen.contains(&host) {
                cx.settings.listen.push(host);
            }
        }
        cx.settings.bound = true;
    }
    Ok(())
}

/// What the words stand for: the addresses of an interface, or an address as it is.
fn hosts(words: &[&str], interfaces: &[(String, Option<Host>)]) -> Result<Vec<Host>, SetupError> {
    let mut hosts = Vec::new();
    for word in words {
        let mut named = interfaces.iter().filter(|row| row.0 == *word).peekable();
        if named.peek().is_some() {
            hosts.extend(named.filter_map(|row| row.1.clone()));
        } else if let Ok(ip) = word.parse::<IpAddr>() {
            hosts.push(ip.into());
        } else {
            return Err(SetupError::plain(format!(
                "not a valid IP address or interface name: {word:?}"
            )));
        }
    }
    Ok(hosts)
}
