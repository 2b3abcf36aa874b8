//! What each resource answers.

use std::sync::Arc;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm};
use serde_json::{Value, json};
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509CertificationRequest};

use super::jose::{self, Signed};
use super::script::Flaw;
use super::state::Account;
use super::validate::Proof;
use super::{Shared, lock};
use crate::limits;

/// Status, headers and body.
struct Answer {
    code: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn json(code: u16, body: &Value) -> Answer {
        Answer {
            code,
            headers: vec![("content-type", "application/json".to_owned())],
            body: body.to_string().into_bytes(),
        }
    }

    fn with(mut self, name: &'static str, value: String) -> Answer {
        self.headers.push((name, value));
        self
    }

    /// RFC 8555 section 6.7.
    fn problem(code: u16, kind: &str, detail: &str) -> Answer {
        let kind = format!("urn:ietf:params:acme:error:{kind}");
        Answer::json(
            code,
            &json!({"type": kind, "detail": detail, "status": code}),
        )
    }
}

pub(super) async fn respond(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let mut parts = path.split('/').skip(1);
    let resource = RESOURCES
        .iter()
        .find(|name| parts.clone().next() == Some(name));
    parts.next();
    let answer = match resource {
        None => Answer::problem(404, "malformed", "no such resource"),
        Some(resource) => {
            lock(&shared.state).asked.push(resource);
            match refusal(&shared, resource) {
                Some(answer) => answer,
                None => served(&shared, resource, parts.collect(), &path, request).await,
            }
        }
    };
    let nonce = lock(&shared.state).nonce();
    let mut response = Response::builder()
        .status(answer.code)
        .header("replay-nonce", nonce);
    for (name, value) in answer.headers {
        response = response.header(name, value);
    }
    let body = Full::new(Bytes::from(answer.body));
    response.body(body).expect("headers of ASCII")
}

/// What the script has for the resource.
fn refusal(shared: &Shared, resource: &str) -> Option<Answer> {
    let mut script = lock(&shared.script);
    let one = script
        .refusals
        .iter_mut()
        .find(|one| one.resource == resource && one.times > 0)?;
    one.times -= 1;
    let answer = Answer::problem(one.code, one.kind, "as the script has it");
    Some(match one.retry_after_s {
        Some(seconds) => answer.with("retry-after", seconds.to_string()),
        None => answer,
    })
}

async fn served(
    shared: &Shared,
    resource: &str,
    rest: Vec<&str>,
    path: &str,
    request: Request<Incoming>,
) -> Answer {
    match (resource, request.method()) {
        ("directory", &Method::GET) => return directory(&shared.base),
        ("new-nonce", &Method::HEAD) => return Answer::json(200, &Value::Null),
        (_, &Method::POST) => {}
        _ => return Answer::problem(405, "malformed", "another method is wanted"),
    }
    let kind = request.headers().get("content-type").cloned();
    if kind.is_none_or(|kind| kind != "application/jose+json") {
        return Answer::problem(415, "malformed", "application/jose+json is wanted");
    }
    let Ok(body) = request.into_body().collect().await else {
        return Answer::problem(400, "malformed", "half a body");
    };
    let Some(signed) = Signed::read(&body.to_bytes()) else {
        return Answer::problem(400, "malformed", "no signed request");
    };
    let account = match judge(shared, resource, path, &signed) {
        Ok(account) => account,
        Err(answer) => return answer,
    };
    let asked = Asked {
        shared,
        account,
        payload: signed.payload.unwrap_or_default(),
    };
    let nth = rest.first().and_then(|nth| nth.parse().ok());
    let nth = nth.unwrap_or(usize::MAX);
    match resource {
        "new-account" => asked.new_account(&signed.header["jwk"]),
        "new-order" => asked.new_order(),
        "order" => asked.order(nth),
        "authorization" => asked.authorization(nth),
        "challenge" => {
            asked
                .challenge(nth, rest.get(1).copied().unwrap_or_default())
                .await
        }
        "finalize" => asked.finalize(nth),
        _ => asked.certificate(nth),
    }
}

fn directory(base: &str) -> Answer {
    let url = |name: &str| format!("{base}/{name}");
    Answer::json(
        200,
        &json!({
            "newNonce": url("new-nonce"),
            "newAccount": url("new-account"),
            "newOrder": url("new-order"),
            "meta": {"termsOfService": url("terms")},
        }),
    )
}

/// Who asks (RFC 8555 section 6.2): an account's place, or that of the next one. The nonce is used up.
fn judge(shared: &Shared, resource: &str, path: &str, signed: &Signed) -> Result<usize, Answer> {
    let header = &signed.header;
    if header["url"] != format!("{}{path}", shared.base) {
        return Err(Answer::problem(
            403,
            "unauthorized",
            "signed for another URL",
        ));
    }
    let is_bad = {
        let mut script = lock(&shared.script);
        let is_bad = script.bad_nonces > 0;
        script.bad_nonces -= usize::from(is_bad);
        is_bad
    };
    let mut state = lock(&shared.state);
    let is_ours = state.take_nonce(header["nonce"].as_str().unwrap_or_default());
    if is_bad || !is_ours {
        return Err(Answer::problem(400, "badNonce", "not one of ours"));
    }
    let wants_key = resource == "new-account";
    let (jwk, account) = match (header.get("jwk"), header.get("kid")) {
        (Some(jwk), None) if wants_key => (jwk.clone(), state.accounts.len()),
        (None, Some(kid)) if !wants_key => {
            let nth = kid
                .as_str()
                .and_then(|kid| kid.rsplit('/').next()?.parse().ok());
            let nth: usize = nth.unwrap_or(usize::MAX);
            match state.accounts.get(nth).filter(|account| account.is_known) {
                Some(account) => (account.jwk.clone(), nth),
                None => {
                    return Err(Answer::problem(
                        400,
                        "accountDoesNotExist",
                        "no such account",
                    ));
                }
            }
        }
        _ => {
            return Err(Answer::problem(
                400,
                "malformed",
                "either a key or an account",
            ));
        }
    };
    match signed.is_signed_by(&jwk) {
        true => Ok(account),
        false => Err(Answer::problem(
            403,
            "unauthorized",
            "signed by another key",
        )),
    }
}

/// A request that was judged.
struct Asked<'a> {
    shared: &'a Shared,
    account: usize,
    /// `Value::Null` for a look.
    payload: Value,
}

impl Asked<'_> {
    fn new_account(&self, jwk: &Value) -> Answer {
        if self.payload["termsOfServiceAgreed"] != true {
            return Answer::problem(403, "userActionRequired", "the terms were not agreed to");
        }
        let contacts = self.payload["contact"].as_array();
        let contact = contacts.and_then(|contacts| contacts.first()?.as_str());
        let contact = contact.unwrap_or_default().to_owned();
        let mut state = lock(&self.shared.state);
        state.accounts.push(Account {
            jwk: jwk.clone(),
            contact,
            is_known: true,
        });
        let url = format!("{}/account/{}", self.shared.base, state.accounts.len() - 1);
        Answer::json(201, &json!({"status": "valid"})).with("location", url)
    }

    fn new_order(&self) -> Answer {
        let names = self.payload["identifiers"].as_array();
        let names = names.into_iter().flatten().filter_map(|one| {
            let name = one["value"].as_str()?.to_owned();
            (one["type"] == "dns").then_some(name)
        });
        let names: Vec<String> = names.collect();
        if names.is_empty() {
            return Answer::problem(400, "malformed", "no names");
        }
        let looks = lock(&self.shared.script).processing;
        let mut state = lock(&self.shared.state);
        let nth = state.add_order(self.account, names, looks);
        let url = format!("{}/order/{nth}", self.shared.base);
        Answer::json(201, &state.order_json(nth, &self.shared.base)).with("location", url)
    }

    fn order(&self, nth: usize) -> Answer {
        let mut state = lock(&self.shared.state);
        match state.orders.get_mut(nth) {
            Some(order) if order.account == self.account => {
                if order.certificate.is_some() {
                    order.looks = order.looks.saturating_sub(1);
                }
            }
            _ => return strange(),
        }
        Answer::json(200, &state.order_json(nth, &self.shared.base))
    }

    fn authorization(&self, nth: usize) -> Answer {
        let kinds = lock(&self.shared.script).challenges.clone();
        let state = lock(&self.shared.state);
        match state.authorizations.get(nth) {
            Some(one) if one.account == self.account => Answer::json(
                200,
                &state.authorization_json(nth, &kinds, &self.shared.base),
            ),
            _ => strange(),
        }
    }

    /// Looks before it answers, as no real one does, so that a test does not depend on when.
    async fn challenge(&self, nth: usize, kind: &str) -> Answer {
        let script = lock(&self.shared.script).clone();
        let proof = {
            let state = lock(&self.shared.state);
            let owner = state.accounts.get(self.account);
            let one = state.authorizations.get(nth);
            let (Some(owner), Some(one)) = (owner, one) else {
                return strange();
            };
            if one.account != self.account || !script.challenges.contains(&kind) {
                return strange();
            }
            Proof {
                host: one.host().to_owned(),
                kind: kind.to_owned(),
                token: one.token.clone(),
                authorization: format!("{}.{}", one.token, jose::thumbprint(&owner.jwk)),
            }
        };
        let outcome = proof.look(&script).await;
        let url = format!("{}/challenge/{nth}/{kind}", self.shared.base);
        let token = proof.token;
        lock(&self.shared.state).authorizations[nth].outcome = Some(outcome);
        let shown = json!({"type": kind, "url": url, "token": token, "status": "processing"});
        Answer::json(200, &shown)
    }

    fn finalize(&self, nth: usize) -> Answer {
        let script = lock(&self.shared.script).clone();
        let mut state = lock(&self.shared.state);
        let names = match state.orders.get(nth) {
            Some(order) if order.account == self.account => order.names.clone(),
            _ => return strange(),
        };
        if state.order_status(nth) != "ready" {
            return Answer::problem(403, "orderNotReady", "the names were not seen to be yours");
        }
        let request = self.payload["csr"].as_str().and_then(jose::decode);
        let Some(key) = request.and_then(|request| key_of(&request, &names)) else {
            return Answer::problem(400, "badCSR", "not what was ordered");
        };
        let now_s = (script.clock)();
        let times_s = match script.flaw {
            Some(Flaw::Ended) => [now_s - script.lifetime_s, now_s - 1],
            _ => [now_s, now_s + script.lifetime_s],
        };
        let issue =
            |key: &RequestKey, names: &[String]| self.shared.authority.issue(key, names, times_s);
        let certificate = match script.flaw {
            Some(Flaw::Garbage) => "nothing of use".to_owned(),
            Some(Flaw::Endless) => "x".repeat(limits::ACME_RESPONSE_OCTETS + 1),
            Some(Flaw::OtherName) => issue(&key, &["other.example".to_owned()]),
            Some(Flaw::OtherKey) => {
                let other = KeyPair::generate().expect("a key");
                issue(&RequestKey(other.der_bytes().to_vec()), &names)
            }
            Some(Flaw::Ended) | None => issue(&key, &names),
        };
        state.orders[nth].certificate = Some(certificate);
        Answer::json(200, &state.order_json(nth, &self.shared.base))
    }

    fn certificate(&self, nth: usize) -> Answer {
        let state = lock(&self.shared.state);
        match state.orders.get(nth) {
            Some(order) if order.account == self.account && state.order_status(nth) == "valid" => {
                Answer {
                    code: 200,
                    headers: vec![(
                        "content-type",
                        "application/pem-certificate-chain".to_owned(),
                    )],
                    body: order.certificate.clone().unwrap_or_default().into_bytes(),
                }
            }
            _ => strange(),
        }
    }
}

fn strange() -> Answer {
    Answer::problem(404, "malformed", "none of yours")
}

/// The key of a request for a certificate that names exactly `names` and is signed by it.
fn key_of(request: &[u8], names: &[String]) -> Option<RequestKey> {
    let (_, parsed) = X509CertificationRequest::from_der(request).ok()?;
    let info = &parsed.certification_request_info;
    let key = info.subject_pki.subject_public_key.data.to_vec();
    if !jose::verify(&key, info.raw, &parsed.signature_value.data) {
        return None;
    }
    let mut asked: Vec<&str> = Vec::new();
    for extension in parsed.requested_extensions()? {
        if let ParsedExtension::SubjectAlternativeName(found) = extension {
            asked.extend(found.general_names.iter().map(|name| match name {
                GeneralName::DNSName(name) => *name,
                _ => "",
            }));
        }
    }
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    asked.sort_unstable();
    names.sort_unstable();
    (asked == names).then_some(RequestKey(key))
}

/// A public key of P-256.
struct RequestKey(Vec<u8>);

impl PublicKeyData for RequestKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

const RESOURCES: [&str; 9] = [
    "directory",
    "new-nonce",
    "new-account",
    "new-order",
    "order",
    "authorization",
    "challenge",
    "finalize",
    "certificate",
];
