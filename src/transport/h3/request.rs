//! Requests of HTTP/3.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::borrow::Cow;

use http::request::Parts;
use http::{Method, Request, Uri};

use super::{Fault, code, read_fields};

/// Reads the stream of a request: its head and its body.
///
/// # Errors
/// It is no request; what ends, and with which code (RFC 9114 section 8.1).
pub(crate) fn read(stream: &[u8]) -> Result<(Parts, Cow<'_, [u8]>), Fault> {
    super::read(stream, |block| read_head(block).map(Some))
}

/// Writes a request, whose URI is a whole one, as it stands on its stream.
pub(crate) fn write(request: &Request<()>, body: &[u8], out: &mut Vec<u8>) {
    let uri = request.uri();
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let pseudo = [
        (":method", request.method().as_str()),
        (":scheme", uri.scheme_str().unwrap_or("https")),
        (":authority", authority),
        (":path", path),
    ];
    super::write(&pseudo, request.headers(), body, out);
}

/// The pseudo-header fields of a request (section 4.3.1), each once.
#[derive(Default)]
struct Pseudo {
    method: Option<Method>,
    scheme: bool,
    path: Option<Uri>,
    authority: bool,
}

fn read_head(block: &[u8]) -> Result<Parts, Fault> {
    let mut pseudo = Pseudo::default();
    let mut head = Request::new(()).into_parts().0;
    read_fields(block, &mut head.headers, |name, value| {
        pseudo.take(name, value).is_some()
    })?;
    match (pseudo.method, pseudo.path) {
        (Some(method), Some(uri)) if pseudo.scheme => {
            head.method = method;
            head.uri = uri;
            Ok(head)
        }
        _ => Err(Fault::Stream(code::MESSAGE_ERROR)),
    }
}

impl Pseudo {
    fn take(&mut self, name: &[u8], value: &[u8]) -> Option<()> {
        let is_new = match name {
            b"method" => self
                .method
                .replace(Method::from_bytes(value).ok()?)
                .is_none(),
            b"path" => self.path.replace(Uri::try_from(value).ok()?).is_none(),
            b"scheme" => !std::mem::replace(&mut self.scheme, true),
            b"authority" => !std::mem::replace(&mut self.authority, true),
            _ => false,
        };
        is_new.then_some(())
    }
}
