//! Queries as requests of HTTP: DNS over HTTPS (RFC 8484) and CoreDNS's gRPC service.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, TE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, StatusCode, Uri};

use super::Error;
use super::endpoint::{Address, Endpoint, Method, Transport};
use super::error::Fault;
use super::message::{RequestBuffer, accept};
use crate::limits;
use crate::transport::http_forms::{
    DOH_PATH, DOH_TYPE, GRPC_BODY_OCTETS, GRPC_PATH, GRPC_STATUS, GRPC_TYPE, frame_grpc,
    unframe_grpc,
};
use crate::wire::reply::Reply;

/// What is sent, and what is wanted back.
#[derive(Debug, Clone)]
pub(super) struct Form {
    kind: Kind,
    scheme: Scheme,
    authority: Authority,
    /// As errors name it.
    peer: Address,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Doh(Method),
    Grpc,
}

impl Form {
    /// The form of what an upstream speaks; none if that is not HTTP.
    pub(super) fn of(endpoint: &Endpoint) -> Option<Form> {
        let kind = match endpoint.transport {
            Transport::Https(method) | Transport::Https3(method) => Kind::Doh(method),
            Transport::Grpc => Kind::Grpc,
            Transport::Dns | Transport::Tls | Transport::Quic => return None,
        };
        // A name of a certificate, or an address: both are what an authority is made of.
        let authority = endpoint.authority().try_into().ok()?;
        let scheme = match endpoint.tls {
            Some(_) => Scheme::HTTPS,
            None => Scheme::HTTP,
        };
        Some(Form {
            kind,
            scheme,
            authority,
            peer: endpoint.address.clone(),
        })
    }

    #[cold]
    pub(super) fn error(&self, fault: Fault) -> Error {
        Error::Peer(self.peer.clone(), Box::new(fault))
    }

    /// The request without its body, and the body.
    pub(super) fn request(
        &self,
        query: &RequestBuffer,
    ) -> Result<(Request<()>, Bytes), http::Error> {
        let (path, content_type, body) = match self.kind {
            Kind::Doh(Method::Post) => {
                let mut body = Vec::new();
                // Always the same id, for caches of HTTP (RFC 8484 section 4.1).
                query.write_padded(0, false, &mut body);
                (PathAndQuery::from_static(DOH_PATH), DOH_TYPE, body.into())
            }
            Kind::Doh(Method::Get) => {
                let mut message = Vec::new();
                query.write_padded(0, false, &mut message);
                let mut path = DOH_PATH.to_owned();
                path.push_str("?dns=");
                push_base64url(&message, &mut path);
                (PathAndQuery::try_from(path)?, DOH_TYPE, Bytes::new())
            }
            Kind::Grpc => {
                let body = frame_grpc(query.datagram());
                (PathAndQuery::from_static(GRPC_PATH), GRPC_TYPE, body)
            }
        };
        let uri = Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(path)
            .build()?;
        let request = match self.kind {
            Kind::Doh(Method::Get) => Request::get(uri).header(ACCEPT, content_type),
            Kind::Doh(Method::Post) => Request::post(uri)
                .header(ACCEPT, content_type)
                .header(CONTENT_LENGTH, body.len())
                .header(CONTENT_TYPE, content_type),
            Kind::Grpc => Request::post(uri)
                .header(CONTENT_TYPE, content_type)
                .header(TE, HeaderValue::from_static("trailers")),
        };
        Ok((request.body(())?, body))
    }

    /// Whether the head of a response announces what was asked for.
    pub(super) fn check(&self, head: &http::response::Parts) -> Result<(), Fault> {
        if head.status != StatusCode::OK {
            return Err(Fault::Status(head.status));
        }
        if let Kind::Grpc = self.kind {
            // A response without a message has its status here.
            grpc_status(&head.headers)?;
        }
        let kind = head.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        let kind = kind.unwrap_or_default();
        let is_right = match self.kind {
            Kind::Doh(_) => kind
                .split(|&octet| octet == b';')
                .next()
                .is_some_and(|kind| kind.trim_ascii().eq_ignore_ascii_case(DOH_TYPE.as_bytes())),
            Kind::Grpc => kind.starts_with(GRPC_TYPE.as_bytes()),
        };
        if !is_right {
            return Err(Fault::ContentType);
        }
        let length = head.headers.get(CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        match length {
            Some(length) if length > self.longest() as u64 => Err(Fault::TooLong),
            _ => Ok(()),
        }
    }

    /// Octets of the longest body that is read.
    pub(super) fn longest(&self) -> usize {
        match self.kind {
            Kind::Doh(_) => limits::MESSAGE_OCTETS,
            Kind::Grpc => GRPC_BODY_OCTETS,
        }
    }

    /// Reads the message in a whole body; an error if it is no reply to the query.
    pub(super) fn read(
        &self,
        body: &[u8],
        request: &RequestBuffer,
        reply: &mut Reply,
    ) -> Result<(), Fault> {
        let (message, id) = match self.kind {
            Kind::Doh(_) => (Some(body), 0),
            Kind::Grpc => (unframe_grpc(body).ok(), request.id()),
        };
        match message {
            Some(message) if accept(message, false, id, &request.question(), reply) => Ok(()),
            _ => Err(Fault::Reply),
        }
    }

    /// Whether trailers say that all went well.
    pub(super) fn check_trailers(&self, trailers: &HeaderMap) -> Result<(), Fault> {
        match self.kind {
            Kind::Grpc => grpc_status(trailers),
            Kind::Doh(_) => Ok(()),
        }
    }
}

/// A status other than 0 is an error; none at all is none here.
fn grpc_status(headers: &HeaderMap) -> Result<(), Fault> {
    let Some(status) = headers.get(GRPC_STATUS) else {
        return Ok(());
    };
    let status = status.to_str().ok().and_then(|text| text.parse().ok());
    match status.unwrap_or(GRPC_UNKNOWN) {
        0 => Ok(()),
        status => Err(Fault::Grpc(status)),
    }
}

/// Base64 for URLs, without padding (RFC 4648 section 5).
fn push_base64url(octets: &[u8], out: &mut String) {
    let standard = domain::utils::base64::encode_string(octets);
    out.extend(standard.chars().filter_map(|letter| match letter {
        '+' => Some('-'),
        '/' => Some('_'),
        '=' => None,
        other => Some(other),
    }));
}

/// The status of a response whose status makes no sense.
const GRPC_UNKNOWN: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_for_urls() {
        let mut out = String::new();
        push_base64url(&[0xfb, 0xff, 0xfe, 0x00], &mut out);
        assert_eq!(out, "-__-AA");
    }
}
