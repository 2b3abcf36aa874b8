//! Responses of HTTP/3.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::borrow::Cow;

use bytes::Bytes;
use http::response::Parts;
use http::{Response, StatusCode};

use super::{Fault, code, read_fields};

/// Reads the stream of a response: its head and its body. Interim responses before it (RFC 9114 section 4.1) are passed over.
///
/// # Errors
/// It is no response; what ends, and with which code (section 8.1).
pub(crate) fn read(stream: &[u8]) -> Result<(Parts, Cow<'_, [u8]>), Fault> {
    super::read(stream, |block| {
        let head = read_head(block)?;
        Ok(Some(head).filter(|head| !head.status.is_informational()))
    })
}

/// Writes a response as it stands on its stream.
pub(crate) fn write(response: &Response<Bytes>, out: &mut Vec<u8>) {
    let status = response.status();
    super::write(
        &[(":status", status.as_str())],
        response.headers(),
        response.body(),
        out,
    );
}

fn read_head(block: &[u8]) -> Result<Parts, Fault> {
    let mut status = None;
    let mut head = Response::new(()).into_parts().0;
    // There is one pseudo-header field (section 4.3.2), once.
    read_fields(block, &mut head.headers, |name, value| {
        let code = StatusCode::from_bytes(value).ok();
        name == b"status" && code.is_some_and(|code| status.replace(code).is_none())
    })?;
    head.status = status.ok_or(Fault::Stream(code::MESSAGE_ERROR))?;
    Ok(head)
}
