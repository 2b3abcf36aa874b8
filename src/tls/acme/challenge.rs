//! Answers to the challenges of one order, put where the authority looks for them.

use std::sync::Arc;

use instant_acme::{ChallengeType, KeyAuthorization};
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::CertifiedKey;
use tokio::sync::{Mutex, MutexGuard};

use super::answers;
use super::hold::{self, Held};
use super::propagation;
use super::settings::{Settings, answer_name};
use super::time::Time;
use crate::admin::{Bound, Endpoints, Response};
use crate::control::Control;
use crate::tune::AcmeChallenge;
use crate::{limits, tls};

/// What shows that one name is ours.
pub(super) struct Proof {
    /// The name; without `*.` for a wildcard.
    pub(super) host: String,
    /// The authority's name for the challenge.
    pub(super) token: String,
    /// That name and the account's key.
    pub(super) authorization: KeyAuthorization,
}

/// Answers that stand until this is dropped.
#[must_use = "the answers go with it"]
pub(super) struct Standing {
    _answers: Option<Held>,
    _port: Option<Port>,
}

/// What ACME calls a challenge.
pub(super) fn kind(challenge: AcmeChallenge) -> ChallengeType {
    match challenge {
        AcmeChallenge::Dns01 => ChallengeType::Dns01,
        AcmeChallenge::Http01 => ChallengeType::Http01,
        AcmeChallenge::TlsAlpn01 => ChallengeType::TlsAlpn01,
    }
}

/// Puts the answers in place and waits until they can be seen from outside, where the settings say how.
///
/// # Errors
/// They cannot be put in place, or not be seen.
pub(super) async fn stand(
    settings: &Settings,
    proofs: &[Proof],
    control: &Control,
    time: &Time,
) -> Result<Standing, String> {
    match settings.challenge {
        AcmeChallenge::Dns01 => {
            let values: Option<Vec<_>> = proofs
                .iter()
                .map(|proof| Some((answer_name(&proof.host)?, proof.authorization.dns_value())))
                .collect();
            let values = values.ok_or("a name of the order is too long")?;
            let held = hold::names(values.clone())?;
            if let Some(resolver) = &settings.resolver {
                propagation::wait(resolver, &values, time).await?;
            }
            Ok(Standing::of_answers(held))
        }
        AcmeChallenge::Http01 => {
            let port = Port::open(&settings.http_addr, proofs, control).await?;
            Ok(Standing {
                _answers: None,
                _port: Some(port),
            })
        }
        AcmeChallenge::TlsAlpn01 => {
            let rows = proofs.iter().map(|proof| {
                let certified = handshake(proof)?;
                Ok((proof.host.clone(), certified))
            });
            let rows: Result<Vec<_>, String> = rows.collect();
            Ok(Standing::of_answers(hold::handshakes(rows?)?))
        }
    }
}

impl Standing {
    fn of_answers(held: Held) -> Standing {
        Standing {
            _answers: Some(held),
            _port: None,
        }
    }
}

// === HTTP ===

/// The port on which HTTP challenges are answered. One order has it at a time: were it shared, the kernel would give some of the
/// authority's connections to the other.
struct Port {
    _bound: Bound,
    _turn: MutexGuard<'static, ()>,
}

impl Port {
    async fn open(addr: &str, proofs: &[Proof], control: &Control) -> Result<Port, String> {
        static TURN: Mutex<()> = Mutex::const_new(());
        let turn = TURN.lock().await;
        let mut endpoints = Endpoints::new();
        for proof in proofs {
            // RFC 8555 section 8.3: from the alphabet of base64url, since it becomes part of a path.
            let is_plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-_".contains(&octet);
            let token = &proof.token;
            if token.len() > limits::ACME_TOKEN_OCTETS || !token.bytes().all(is_plain) {
                return Err("the authority's token for a challenge is malformed".to_owned());
            }
            let path = format!("/.well-known/acme-challenge/{token}");
            let body = proof.authorization.as_str().to_owned();
            let answer = move || {
                answers::count_http();
                Response::text(200, body.clone())
            };
            endpoints.add(addr, &path, Arc::new(answer));
        }
        let bound = endpoints.bind(None).map_err(|error| {
            format!("the challenge http-01 cannot be answered on {addr}: {error}")
        })?;
        bound.serve(control);
        Ok(Port {
            _bound: bound,
            _turn: turn,
        })
    }
}

// === TLS ===

/// RFC 8737 section 3: a self-signed certificate of that name alone, with a digest of the authorization.
fn handshake(proof: &Proof) -> Result<Arc<CertifiedKey>, String> {
    let text = |error: rcgen::Error| format!("a certificate for the challenge: {error}");
    let mut params = CertificateParams::new(vec![proof.host.clone()]).map_err(text)?;
    let digest = proof.authorization.digest();
    let extension = CustomExtension::new_acme_identifier(digest.as_ref());
    params.custom_extensions.push(extension);
    let key = KeyPair::generate().map_err(text)?;
    let certificate = params.self_signed(&key).map_err(text)?;
    let chain = vec![certificate.into()];
    // Not by a way that reads the certificate: its extension is critical and of no meaning to anybody but authorities.
    let keys = tls::provider().key_provider;
    let key = keys.load_private_key(PrivateKeyDer::from(key));
    let key = key.map_err(|error| error.to_string())?;
    Ok(Arc::new(CertifiedKey::new(chain, key)))
}
