//! HTTPS to the authority, with bounds that the crate which speaks ACME does not have.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::ClientConfig;

use crate::{limits, tls};

/// A client for one attempt.
pub(super) struct Client {
    http: HyperClient<HttpsConnector<HttpConnector>, BodyWrapper<Bytes>>,
    asked: Asked,
}

/// How long the authority has asked to be left alone in its last response, if it has.
#[derive(Clone, Default)]
pub(super) struct Asked(Arc<Mutex<Option<Duration>>>);

impl Asked {
    pub(super) fn last(&self) -> Option<Duration> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets it, before another attempt.
    pub(super) fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn set(&self, headers: &HeaderMap) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = retry_after(headers);
    }
}

impl Client {
    /// A client that trusts the certificates of a file, or those of the system. Reads files.
    ///
    /// # Errors
    /// There are no such certificates.
    pub(super) fn new(ca_root: Option<&Path>, asked: Asked) -> Result<Client, String> {
        let roots = match ca_root {
            Some(file) => tls::roots(file).map_err(|error| format!("ca_root {error}"))?,
            None => tls::system_roots().map_err(|error| format!("{error} with ca_root"))?,
        };
        let config = ClientConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_only()
            .enable_http1()
            .build();
        let http = HyperClient::builder(TokioExecutor::new()).build(connector);
        Ok(Client { http, asked })
    }
}

impl HttpClient for Client {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let asked = self.asked.clone();
        let response = self.http.request(request);
        let whole = async move {
            let response = response.await.map_err(|error| Error::Other(error.into()))?;
            let (head, body) = response.into_parts();
            asked.set(&head.headers);
            let body = Limited::new(body, limits::ACME_RESPONSE_OCTETS);
            let body = body.collect().await.map_err(Error::Other)?.to_bytes();
            Ok(BytesResponse::from(http::Response::from_parts(
                head,
                Full::new(body),
            )))
        };
        Box::pin(async move {
            let patience = Duration::from_secs(limits::ACME_REQUEST_S);
            let late = |_| Error::Other("no response in time".into());
            tokio::time::timeout(patience, whole).await.map_err(late)?
        })
    }
}

/// What went wrong, from the outermost error to the innermost, which says why.
pub(super) fn explain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let why = error.to_string();
        // Some errors say what their sources say.
        if !text.contains(&why) {
            text.push_str(": ");
            text.push_str(&why);
        }
        source = error.source();
    }
    text
}

/// RFC 9110 section 10.2.3: seconds or a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_that_are_asked_for() {
        let check = |value: &str, expect: Option<u64>| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, value.parse().unwrap());
            assert_eq!(retry_after(&headers).map(|pause| pause.as_secs()), expect);
        };
        assert_eq!(retry_after(&HeaderMap::new()), None);
        check("120", Some(120));
        check(" 0 ", Some(0));
        check("-1", None);
        check("soon", None);
        check("Fri, 31 Dec 1999 23:59:59 GMT", Some(0));
        let tomorrow = SystemTime::now() + Duration::from_secs(86_400);
        let mut headers = HeaderMap::new();
        let date = httpdate::fmt_http_date(tomorrow).parse().unwrap();
        headers.insert(RETRY_AFTER, date);
        let pause = retry_after(&headers).unwrap().as_secs();
        assert!((80_000..=86_400).contains(&pause), "{pause}");
    }
}
