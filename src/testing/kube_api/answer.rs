//! From a request to its answer.

use std::sync::Arc;
use std::time::Duration;

use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};

use super::ask::Ask;
use super::body::{Gone, Out, Payload};
use super::encode::Encoding;
use super::object::Entry;
use super::script::{Asked, Verb, WatchList};
use super::watch::Watch;
use super::{Failure, Shared};
use crate::kube::record::Kind;

/// Answers one request.
pub(super) async fn respond<B>(shared: Arc<Shared>, request: Request<B>) -> Response<Payload> {
    let (path, query) = (
        request.uri().path(),
        request.uri().query().unwrap_or_default(),
    );
    let ask = match request.method() {
        &Method::GET => Ask::read(path, query),
        _ => None,
    };
    let header = |name| {
        let value = request.headers().get(name).map(HeaderValue::to_str);
        value.and_then(Result::ok).unwrap_or_default().to_owned()
    };
    let (accept, credentials) = (header(ACCEPT), header(AUTHORIZATION));
    let (verb, kind) = match &ask {
        Some(Ok(ask)) => (ask.verb, Some(ask.kind)),
        _ => (Verb::Other, None),
    };
    let script = shared.lock().script.clone();
    if script.delay_ms > 0 {
        tokio::time::sleep(Duration::from_millis(script.delay_ms)).await;
    }
    let encoding = Encoding::accept(&accept, kind, script.is_json_only);
    let refused = refuse(&shared, &credentials, verb, kind).or_else(|| {
        let message = "only the following media types are accepted: application/json";
        encoding.is_none().then(|| Failure::new(406, message))
    });
    let encoding = encoding.unwrap_or(Encoding::Json);
    let answer = match (refused, ask) {
        (Some(failure), _) => Err(failure),
        (None, Some(Ok(ask))) => perform(&shared, ask, encoding, script.watch_list),
        (None, Some(Err(message))) => Err(Failure::new(400, message)),
        (None, None) if path == "/version" => Ok(whole(VERSION.into(), Encoding::Json, false)),
        (None, None) => Err(Failure::new(404, "404 page not found")),
    };
    let response = answer.unwrap_or_else(|failure| fail(&failure, encoding));
    let target = request.uri().path_and_query();
    shared.lock().note(Asked {
        verb,
        kind,
        target: target.map_or_else(String::new, ToString::to_string),
        accept,
        code: response.status().as_u16(),
    });
    response
}

/// Who asks comes before what the script says: a request without the token uses up no refusal.
fn refuse(shared: &Shared, credentials: &str, verb: Verb, kind: Option<Kind>) -> Option<Failure> {
    let mut state = shared.lock();
    let token = state.script.token.as_ref();
    if token.is_some_and(|token| credentials.strip_prefix("Bearer ") != Some(token)) {
        return Some(Failure::new(401, "Unauthorized"));
    }
    let refusal = state.script.refuse(verb, kind)?;
    let message = format!("the test wants this request to fail with {}", refusal.code);
    Some(Failure {
        retry_after_s: refusal.retry_after_s,
        ..Failure::new(refusal.code, message)
    })
}

fn perform(
    shared: &Arc<Shared>,
    ask: Ask,
    encoding: Encoding,
    watch_list: WatchList,
) -> Result<Response<Payload>, Failure> {
    match ask.verb {
        Verb::Get => {
            let found = shared.lock().entry(ask.kind, &ask.key);
            let entry = found.ok_or_else(|| Failure::new(404, format!("{} not found", ask.key)))?;
            Ok(whole(encoding.one(ask.kind, &entry), encoding, false))
        }
        Verb::List => list(shared, ask, encoding),
        Verb::WatchList if watch_list == WatchList::GateOff => {
            let message = "ListOptions.meta.k8s.io \"\" is invalid: sendInitialEvents: Forbidden: \
                 sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled";
            Err(Failure::new(422, message))
        }
        _ => {
            if ask.verb == Verb::WatchList {
                in_time(ask.version, shared.lock().version())?;
            }
            let trouble = shared.lock().script.trouble(ask.verb, ask.kind);
            let (out, payload) = Out::new(trouble);
            tokio::spawn(Watch::new(shared, ask, encoding, out).run());
            Ok(build(payload, encoding, true))
        }
    }
}

/// A version that the server has not seen yet is one that it would wait for, and then give up.
fn in_time(wanted: Option<u64>, version: u64) -> Result<(), Failure> {
    match wanted {
        Some(wanted) if wanted > version => Err(Failure {
            retry_after_s: Some(1),
            ..Failure::new(
                504,
                format!("Too large resource version: {wanted}, current: {version}"),
            )
        }),
        _ => Ok(()),
    }
}

// === lists ===

fn list(shared: &Arc<Shared>, ask: Ask, encoding: Encoding) -> Result<Response<Payload>, Failure> {
    let mut state = shared.lock();
    let now = state.version();
    in_time(ask.version, now)?;
    let (version, after) = match ask.next.as_str() {
        "" => (now, String::new()),
        _ if ask.version.is_some_and(|version| version > 0) => {
            let message = "specifying resource version is not allowed when using continue";
            return Err(Failure::new(400, message));
        }
        next => read_token(next)
            .ok_or_else(|| Failure::new(400, "continue key is not valid: illegal base64 data"))?,
    };
    // Version 0 is answered from memory, where a real server has no pages.
    let is_from_memory = ask.version == Some(0) && ask.next.is_empty();
    let limit = if ask.limit == 0 || is_from_memory {
        usize::MAX
    } else {
        ask.limit
    };
    let Some(page) = state.page(ask.kind, &ask.selector, version, &after, limit) else {
        return Err(Failure {
            next: token(now, &after),
            ..Failure::new(
                410,
                "The provided continue parameter is too old to display a consistent list result.",
            )
        });
    };
    // A real server knows how many are left if there is no selector; here later pages do not say, since counting takes longer than listing.
    let is_counted = page.last.is_some() && ask.next.is_empty() && ask.selector.is_all();
    let remaining = is_counted.then(|| state.len(ask.kind) - limit);
    let trouble = state.script.trouble(Verb::List, ask.kind);
    drop(state);
    let (out, payload) = Out::new(trouble);
    let head = encoding.list_head(
        ask.kind,
        version,
        &page
            .last
            .map_or_else(String::new, |last| token(version, &last)),
        remaining,
        &page.entries,
    );
    tokio::spawn(write_list(out, encoding, head, page.entries));
    Ok(build(payload, encoding, false))
}

/// Makes and writes the list a piece at a time: it may be a hundred megabytes.
async fn write_list(
    mut out: Out,
    encoding: Encoding,
    head: Vec<u8>,
    items: Vec<Entry>,
) -> Result<(), Gone> {
    let mut chunk = head;
    for (number, entry) in items.iter().enumerate() {
        encoding.item(&mut chunk, entry, number == 0);
        if chunk.len() >= CHUNK {
            let full = std::mem::replace(&mut chunk, Vec::with_capacity(CHUNK + CHUNK / 4));
            out.write(full).await?;
        }
    }
    encoding.list_tail(&mut chunk);
    out.write(chunk).await
}

/// A continue token: opaque to clients.
fn token(version: u64, last: &str) -> String {
    let digits = last.bytes().map(|octet| format!("{octet:02x}"));
    format!("{version}.{}", digits.collect::<String>())
}

fn read_token(token: &str) -> Option<(u64, String)> {
    let (version, digits) = token.split_once('.')?;
    let octets = digits.as_bytes().chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(pair, 16).ok()
    });
    let key = String::from_utf8(octets.collect::<Option<Vec<u8>>>()?).ok()?;
    Some((version.parse().ok()?, key))
}

// === responses ===

fn build(payload: Payload, encoding: Encoding, is_watch: bool) -> Response<Payload> {
    let mut response = Response::new(payload);
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static(encoding.media_type(is_watch)),
    );
    response
}

fn whole(body: Vec<u8>, encoding: Encoding, is_watch: bool) -> Response<Payload> {
    build(Payload::Whole(Some(body.into())), encoding, is_watch)
}

fn fail(failure: &Failure, encoding: Encoding) -> Response<Payload> {
    let mut response = whole(encoding.status(failure), encoding, false);
    *response.status_mut() =
        StatusCode::from_u16(failure.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Some(seconds) = failure.retry_after_s {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}

/// Octets of a body that are sent at once.
pub(super) const CHUNK: usize = 64 * 1024;
const VERSION: &str =
    r#"{"major":"1","minor":"37","gitVersion":"v1.37.0","platform":"linux/amd64"}"#;
