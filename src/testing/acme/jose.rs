//! Signed requests (RFC 7515, RFC 7517, RFC 7638), as far as ACME has them: ES256 alone.

use rustls::SignatureScheme;
use rustls::crypto::ring;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// A request whose shape is right; whether it is signed is for [`Signed::is_signed_by`].
pub(super) struct Signed {
    /// The protected header.
    pub(super) header: Value,
    /// The payload; `None` for a look (RFC 8555 section 6.3).
    pub(super) payload: Option<Value>,
    message: Vec<u8>,
    signature: Vec<u8>,
}

impl Signed {
    /// Reads a body.
    pub(super) fn read(body: &[u8]) -> Option<Signed> {
        let body: Value = serde_json::from_slice(body).ok()?;
        let part = |name: &str| body.get(name)?.as_str();
        let (protected, payload) = (part("protected")?, part("payload")?);
        let decoded = decode(payload)?;
        Some(Signed {
            header: serde_json::from_slice(&decode(protected)?).ok()?,
            payload: match decoded.is_empty() {
                true => None,
                false => Some(serde_json::from_slice(&decoded).ok()?),
            },
            message: [protected, ".", payload].concat().into_bytes(),
            signature: decode(part("signature")?)?,
        })
    }

    /// Whether the key made the signature.
    pub(super) fn is_signed_by(&self, jwk: &Value) -> bool {
        let Some((r, s)) = self.signature.split_at_checked(32) else {
            return false;
        };
        let der = [integer(r), integer(s)].concat();
        let der = [&[0x30, der.len() as u8][..], &der].concat();
        self.header["alg"] == "ES256"
            && s.len() == 32
            && point(jwk).is_some_and(|point| verify(&point, &self.message, &der))
    }
}

/// A signature of P-256 with SHA-256, in DER.
pub(super) fn verify(point: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let algorithms = ring::default_provider().signature_verification_algorithms;
    let mapped = algorithms
        .mapping
        .iter()
        .find(|(scheme, _)| *scheme == SignatureScheme::ECDSA_NISTP256_SHA256);
    let verifiers = mapped.map_or(&[][..], |(_, verifiers)| verifiers);
    // One for each curve: that of the key is the one that takes it.
    verifiers
        .iter()
        .any(|one| one.verify_signature(point, message, signature).is_ok())
}

/// The key as SEC 1 writes it.
fn point(jwk: &Value) -> Option<Vec<u8>> {
    let part = |name: &str| decode(jwk.get(name)?.as_str()?).filter(|octets| octets.len() == 32);
    if jwk["kty"] != "EC" || jwk["crv"] != "P-256" {
        return None;
    }
    Some([&[4][..], &part("x")?, &part("y")?].concat())
}

/// RFC 7638.
pub(super) fn thumbprint(jwk: &Value) -> String {
    let part = |name: &str| jwk[name].as_str().unwrap_or_default();
    let (crv, kty, x, y) = (part("crv"), part("kty"), part("x"), part("y"));
    let text = format!(r#"{{"crv":"{crv}","kty":"{kty}","x":"{x}","y":"{y}"}}"#);
    encode(&Sha256::digest(text))
}

/// An unsigned integer in DER.
fn integer(octets: &[u8]) -> Vec<u8> {
    let zeros = octets.iter().take_while(|octet| **octet == 0).count();
    let octets = &octets[zeros.min(octets.len().saturating_sub(1))..];
    let sign: &[u8] = match octets.first() {
        Some(first) if *first >= 0x80 => &[0],
        _ => &[],
    };
    let len = (sign.len() + octets.len()) as u8;
    [&[2, len], sign, octets].concat()
}

/// base64url without padding (RFC 4648 section 5).
pub(super) fn encode(octets: &[u8]) -> String {
    let mut text = String::new();
    for three in octets.chunks(3) {
        let octet = |nth: usize| u32::from(three.get(nth).copied().unwrap_or(0));
        let bits = octet(0) << 16 | octet(1) << 8 | octet(2);
        for nth in 0..=three.len() {
            text.push(ALPHABET[(bits >> (18 - 6 * nth)) as usize & 63].into());
        }
    }
    text
}

/// The inverse; `None` for what is not in the alphabet.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let mut octets = Vec::new();
    for four in text.as_bytes().chunks(4) {
        let mut bits = 0;
        for nth in 0..4 {
            let value = match four.get(nth) {
                Some(octet) => ALPHABET.iter().position(|one| one == octet)?,
                None => 0,
            };
            bits = bits << 6 | value as u32;
        }
        let whole = [(bits >> 16) as u8, (bits >> 8) as u8, bits as u8];
        octets.extend_from_slice(whole.get(..four.len().checked_sub(1)?)?);
    }
    Some(octets)
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

#[cfg(test)]
mod tests {
    use rcgen::{KeyPair, PublicKeyData, SigningKey};
    use serde_json::json;

    use super::*;

    #[test]
    fn base64url_is_that_of_the_rfc() {
        for (octets, text) in [
            (&b""[..], ""),
            (b"f", "Zg"),
            (b"fo", "Zm8"),
            (b"foo", "Zm9v"),
            (b"foob", "Zm9vYg"),
            (&[0xfb, 0xff], "-_8"),
        ] {
            assert_eq!(encode(octets), text);
            assert_eq!(decode(text).as_deref(), Some(octets));
        }
        assert_eq!(decode("Zg=="), None);
        assert_eq!(decode("+/"), None);
    }

    /// A request as a client signs it: r and s side by side, which DER has as two integers.
    fn signed(key: &KeyPair, header: &Value, payload: &str) -> Value {
        let (protected, payload) = (
            encode(header.to_string().as_bytes()),
            encode(payload.as_bytes()),
        );
        let der = key
            .sign(format!("{protected}.{payload}").as_bytes())
            .unwrap();
        let r_len = usize::from(der[3]);
        let number = |octets: &[u8]| {
            let from = octets.len().saturating_sub(32);
            [vec![0; 32 - (octets.len() - from)], octets[from..].to_vec()].concat()
        };
        let signature = [number(&der[4..4 + r_len]), number(&der[6 + r_len..])].concat();
        json!({"protected": protected, "payload": payload, "signature": encode(&signature)})
    }

    #[test]
    fn only_what_the_key_signed_is_signed_by_it() {
        let jwk = |key: &KeyPair| {
            let point = key.der_bytes();
            json!({"kty": "EC", "crv": "P-256", "x": encode(&point[1..33]), "y": encode(&point[33..])})
        };
        let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let is_signed = |body: &Value, key: &KeyPair| {
            let read = Signed::read(body.to_string().as_bytes());
            read.is_some_and(|read| read.is_signed_by(&jwk(key)))
        };
        // Numbers of all lengths come up.
        for nth in 0..64 {
            let body = signed(
                &key,
                &json!({"alg": "ES256"}),
                &format!("{{\"nth\": {nth}}}"),
            );
            assert!(is_signed(&body, &key), "{body}");
            assert!(!is_signed(&body, &other));
            let mut changed = body.clone();
            changed["payload"] = encode(b"{}").into();
            assert!(!is_signed(&changed, &key));
        }
        let look = signed(&key, &json!({"alg": "ES256"}), "");
        assert!(is_signed(&look, &key));
        assert!(!is_signed(&signed(&key, &json!({"alg": "none"}), ""), &key));
        for broken in [
            json!({}),
            json!({"protected": "", "payload": "", "signature": ""}),
            json!([]),
        ] {
            assert!(!is_signed(&broken, &key));
        }
    }

    #[test]
    fn integers_are_written_as_der_does() {
        assert_eq!(integer(&[0, 0, 1]), [2, 1, 1]);
        assert_eq!(integer(&[0x80]), [2, 2, 0, 0x80]);
        assert_eq!(integer(&[0, 0]), [2, 1, 0]);
    }
}
