//! What the authority remembers.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::jose;
use crate::upstream;

/// Everything; objects are named by their places.
#[derive(Default)]
pub(super) struct State {
    pub(super) accounts: Vec<Account>,
    pub(super) orders: Vec<Order>,
    pub(super) authorizations: Vec<Authorization>,
    /// Resources that were asked for.
    pub(super) asked: Vec<&'static str>,
    nonces: BTreeSet<String>,
}

/// An account.
pub(super) struct Account {
    pub(super) jwk: Value,
    pub(super) contact: String,
    pub(super) is_known: bool,
}

/// An order.
pub(super) struct Order {
    pub(super) account: usize,
    pub(super) names: Vec<String>,
    pub(super) authorizations: Vec<usize>,
    /// The certificate, once the order was finalized.
    pub(super) certificate: Option<String>,
    /// Looks until it is shown.
    pub(super) looks: usize,
}

/// An authorization, with a token for all of its challenges.
pub(super) struct Authorization {
    pub(super) account: usize,
    /// With `*.` for a wildcard.
    pub(super) name: String,
    pub(super) token: String,
    pub(super) outcome: Option<Result<(), String>>,
}

impl Authorization {
    /// The name without `*.`.
    pub(super) fn host(&self) -> &str {
        self.name.strip_prefix("*.").unwrap_or(&self.name)
    }

    fn status(&self) -> &'static str {
        match self.outcome {
            None => "pending",
            Some(Ok(())) => "valid",
            Some(Err(_)) => "invalid",
        }
    }
}

impl State {
    /// A nonce that may be used once.
    pub(super) fn nonce(&mut self) -> String {
        let nonce = random();
        self.nonces.insert(nonce.clone());
        nonce
    }

    /// Uses a nonce up.
    pub(super) fn take_nonce(&mut self, nonce: &str) -> bool {
        self.nonces.remove(nonce)
    }

    /// Their keys are not known any more.
    pub(super) fn forget_accounts(&mut self) {
        for account in &mut self.accounts {
            account.is_known = false;
        }
    }

    /// A new order; its place.
    pub(super) fn add_order(&mut self, account: usize, names: Vec<String>, looks: usize) -> usize {
        let first = self.authorizations.len();
        for name in &names {
            self.authorizations.push(Authorization {
                account,
                name: name.clone(),
                token: random(),
                outcome: None,
            });
        }
        self.orders.push(Order {
            account,
            names,
            authorizations: (first..self.authorizations.len()).collect(),
            certificate: None,
            looks,
        });
        self.orders.len() - 1
    }

    /// RFC 8555 section 7.1.6.
    pub(super) fn order_status(&self, nth: usize) -> &'static str {
        let order = &self.orders[nth];
        let authorizations = order.authorizations.iter();
        let mut statuses = authorizations.map(|nth| self.authorizations[*nth].status());
        match (&order.certificate, order.looks) {
            (Some(_), 0) => "valid",
            (Some(_), _) => "processing",
            _ if statuses.clone().any(|status| status == "invalid") => "invalid",
            _ if statuses.all(|status| status == "valid") => "ready",
            _ => "pending",
        }
    }

    pub(super) fn order_json(&self, nth: usize, base: &str) -> Value {
        let order = &self.orders[nth];
        let names = order.names.iter();
        let names: Vec<Value> = names
            .map(|name| json!({"type": "dns", "value": name}))
            .collect();
        let authorizations = order.authorizations.iter();
        let urls: Vec<String> = authorizations
            .map(|nth| format!("{base}/authorization/{nth}"))
            .collect();
        let mut shown = json!({
            "status": self.order_status(nth),
            "identifiers": names,
            "authorizations": urls,
            "finalize": format!("{base}/finalize/{nth}"),
        });
        if self.order_status(nth) == "valid" {
            shown["certificate"] = format!("{base}/certificate/{nth}").into();
        }
        shown
    }

    pub(super) fn authorization_json(&self, nth: usize, kinds: &[&str], base: &str) -> Value {
        let authorization = &self.authorizations[nth];
        let is_wildcard = authorization.name.starts_with("*.");
        let kinds = kinds
            .iter()
            .filter(|kind| !is_wildcard || **kind == "dns-01");
        let challenges: Vec<Value> = kinds
            .map(|kind| self.challenge_json(nth, kind, base))
            .collect();
        let mut shown = json!({
            "status": authorization.status(),
            "identifier": {"type": "dns", "value": authorization.host()},
            "challenges": challenges,
        });
        if is_wildcard {
            shown["wildcard"] = true.into();
        }
        shown
    }

    fn challenge_json(&self, nth: usize, kind: &str, base: &str) -> Value {
        let authorization = &self.authorizations[nth];
        let mut shown = json!({
            "type": kind,
            "url": format!("{base}/challenge/{nth}/{kind}"),
            "token": authorization.token,
            "status": authorization.status(),
        });
        if let Some(Err(error)) = &authorization.outcome {
            shown["error"] =
                json!({"type": "urn:ietf:params:acme:error:unauthorized", "detail": error});
        }
        shown
    }
}

fn random() -> String {
    let octets: Vec<u8> = (0..4)
        .flat_map(|_| upstream::random_u64().to_be_bytes())
        .collect();
    jose::encode(&octets)
}
