//! One kind of object: list, watch, and what to do when either fails.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::Response;
use http_body_util::BodyExt;
use hyper::body::Bytes;
use kube_client::client::Body;
use rand::RngExt;
use rand::rngs::StdRng;
use tokio::time::Instant;

use super::Shared;
use super::backoff::Backoff;
use super::request::{self, Age};
use crate::kube::client::{self, RequestError};
use crate::kube::decode::{Decoder, Event, Failure, Refusals, Shape};
use crate::kube::record::Kind;
use crate::limits;
use crate::telemetry::log;

/// Follows one kind.
pub(super) struct Follower {
    kind: Kind,
    shared: Arc<Shared>,
    /// Where the next watch begins; empty where a list must come first.
    version: String,
    /// What was known before it became too old.
    known: String,
    refusals: Refusals,
    backoff: Backoff,
    /// Times in a row that a version was too old.
    gone: u32,
    /// This server sends bookmarks, so their absence says something.
    has_bookmarks: bool,
    /// Times in a row that they did not come.
    silences: u32,
    /// The version after which something came that could not be read.
    broken: String,
    /// The server did not like to be asked to stream this kind, so the next turn is a list.
    lists_next: bool,
    told: Option<Instant>,
    /// [`client::ApiClient::moves`] of the server that the versions are of.
    moves: u64,
    /// When the watch began.
    begun: Instant,
    rng: StdRng,
}

/// Why a turn ended before its time.
#[derive(Debug)]
enum Trouble {
    /// What we know is older than what the server remembers.
    Gone,
    /// The server cannot stream a list.
    NoStream,
    /// Nobody listens.
    Refused,
    /// The server wants to be left alone for so long.
    Busy(Duration),
    /// Anything else.
    Failed(String),
}

/// What a look at a body found.
#[derive(Default)]
struct Found {
    failure: Option<Failure>,
    ends_list: bool,
    bookmark: bool,
    any: bool,
}

impl Follower {
    pub(super) fn new(kind: Kind, shared: Arc<Shared>) -> Follower {
        Follower {
            kind,
            version: String::new(),
            known: String::new(),
            refusals: Refusals::new(kind),
            backoff: Backoff::default(),
            gone: 0,
            has_bookmarks: false,
            silences: 0,
            broken: String::new(),
            lists_next: false,
            told: None,
            moves: shared.client.moves(),
            begun: Instant::now(),
            rng: rand::make_rng(),
            shared,
        }
    }

    /// Never ends.
    pub(super) async fn run(mut self) -> Infallible {
        loop {
            let turn = if !self.version.is_empty() {
                self.watch(false).await
            } else if self.shared.may_stream_lists() && !std::mem::take(&mut self.lists_next) {
                self.watch(true).await
            } else {
                self.list().await
            };
            self.after(turn).await;
        }
    }

    async fn after(&mut self, turn: Result<(), Trouble>) {
        let Err(trouble) = turn else {
            return;
        };
        if let Trouble::NoStream = trouble {
            return self.shared.cannot_stream_lists();
        }
        self.shared.with_sink(|sink| sink.lost(self.kind));
        let chance = self.rng.random();
        let pause = match &trouble {
            Trouble::Gone => {
                self.doubt();
                self.gone += 1;
                // Once is usual after a restart of the server, and waiting would help nobody.
                match self.gone {
                    1 => return,
                    _ => self.backoff.pause(false, chance),
                }
            }
            Trouble::Refused => self.backoff.pause(true, chance),
            Trouble::Busy(asked) => (*asked).max(self.backoff.pause(false, chance)),
            Trouble::NoStream | Trouble::Failed(_) => self.backoff.pause(false, chance),
        };
        self.tell(&trouble);
        tokio::time::sleep(pause).await;
    }

    /// Has the next turn list again. A version from which nothing comes may be one that the server has not reached: its etcd was restored
    /// from a copy, and what happens before it comes there again would be missed.
    fn doubt(&mut self) {
        if !self.version.is_empty() {
            self.known = std::mem::take(&mut self.version);
        }
    }

    fn tell(&mut self, trouble: &Trouble) {
        let pause = Duration::from_secs(limits::KUBE_SKIPPED_LOG_S);
        if self.told.is_some_and(|told| told.elapsed() < pause) {
            return;
        }
        self.told = Some(Instant::now());
        let kind = self.kind.name();
        let reason = match trouble {
            Trouble::Gone | Trouble::NoStream => "what is known is too old for the server",
            Trouble::Refused => "connection refused",
            Trouble::Busy(_) => "the server is busy",
            Trouble::Failed(reason) => reason,
        };
        log::warning(
            Some("kubernetes"),
            format_args!("Failed to watch {kind}, trying again: {reason}"),
        );
    }

    async fn get(&mut self, path: &str) -> Result<Response<Body>, RequestError> {
        let accept = match self.kind {
            Kind::Import => client::JSON,
            _ => client::EITHER,
        };
        let response = self.shared.client.get(path, accept).await;
        let moves = self.shared.client.moves();
        if std::mem::replace(&mut self.moves, moves) != moves {
            self.version.clear();
            self.known.clear();
            let reason = "another server is in its place".to_owned();
            return Err(RequestError::Transport(reason));
        }
        response
    }

    // === list ===

    /// Lists everything; the watch is the next turn.
    async fn list(&mut self) -> Result<(), Trouble> {
        let mut age = match self.known.is_empty() {
            true => Age::Any,
            false => Age::NotBefore(self.known.clone()),
        };
        let mut next = String::new();
        self.shared.with_sink(|sink| sink.list_begins(self.kind));
        loop {
            let path = request::list(self.kind, &self.shared.wanted, &age, &next);
            let response = match self.get(&path).await {
                Ok(response) => response,
                Err(error) if age != Age::Latest && is_too_old_or_new(&error) => {
                    // Of the page in hand or of what is known the server has nothing any more: all anew, as it is now.
                    age = Age::Latest;
                    next.clear();
                    self.shared.with_sink(|sink| sink.list_begins(self.kind));
                    continue;
                }
                Err(error) => return Err(trouble(error)),
            };
            let (version, more) = self.page(response).await?;
            if self.gone < 2 {
                self.backoff.reset();
            }
            if more.is_empty() {
                self.version = version;
                self.shared.with_sink(|sink| sink.list_ends(self.kind));
                self.sweep().await;
                return Ok(());
            }
            next = more;
        }
    }

    /// Has the sink take away what is gone, a little at a time: it may be everything.
    async fn sweep(&self) {
        while self.shared.with_sink(|sink| sink.sweep(self.kind)) {
            tokio::task::yield_now().await;
        }
    }

    /// Puts what is on a page, and returns the version of the list and where the next page begins.
    async fn page(&mut self, response: Response<Body>) -> Result<(String, String), Trouble> {
        let encoding = client::encoding(response.headers());
        let mut decoder = Decoder::new(self.kind, encoding, Shape::List);
        let mut body = response.into_body();
        let silence = Duration::from_secs(limits::KUBE_LIST_SILENCE_S);
        while let Some(octets) = next_octets(&mut body, silence).await? {
            for part in octets.chunks(limits::KUBE_DECODE_OCTETS) {
                self.feed(&mut decoder, part)?;
                tokio::task::yield_now().await;
            }
        }
        decoder
            .end()
            .map_err(|error| Trouble::Failed(error.to_string()))
    }

    // === watch ===

    /// Watches until the server ends it: from the last version, or, `with_list`, all objects that there are first.
    async fn watch(&mut self, with_list: bool) -> Result<(), Trouble> {
        let seconds = self
            .rng
            .random_range(limits::KUBE_WATCH_S_MIN..=limits::KUBE_WATCH_S_MAX);
        let version = (!with_list).then_some(&*self.version);
        let path = request::watch(self.kind, &self.shared.wanted, version, seconds);
        let asked = Duration::from_secs(seconds);
        self.begun = Instant::now();
        let response = match self.get(&path).await {
            Ok(response) => response,
            Err(error) => return Err(self.refused(error, with_list)),
        };
        self.shared.with_sink(|sink| match with_list {
            // What is known stays as old as it is until the list has ended.
            true => sink.list_begins(self.kind),
            false => sink.heard(self.kind),
        });
        let encoding = client::encoding(response.headers());
        let mut decoder = Decoder::new(self.kind, encoding, Shape::Watch);
        let mut body = response.into_body();
        let mut in_list = with_list;
        let mut any = false;
        loop {
            let silence = self.silence(in_list, seconds);
            let Some(octets) = self.octets_of_watch(&mut body, silence, in_list).await? else {
                break;
            };
            for part in octets.chunks(limits::KUBE_DECODE_OCTETS) {
                let found = match self.feed(&mut decoder, part) {
                    Ok(found) => found,
                    Err(trouble) => {
                        self.breaks();
                        return Err(trouble);
                    }
                };
                in_list &= !found.ends_list;
                self.learn(&found, &decoder, in_list);
                if found.ends_list {
                    self.sweep().await;
                }
                any |= found.any;
                if let Some(failure) = found.failure {
                    return Err(match failure.code {
                        // Instead of the first object of a list: etcd is too old for the server to stream one.
                        500 if in_list && !any => Trouble::NoStream,
                        _ => self.refused(RequestError::Status(failure), with_list),
                    });
                }
                tokio::task::yield_now().await;
            }
        }
        if in_list || (self.is_short() && !any) {
            return Err(Trouble::Failed("the watch ended too early".to_owned()));
        }
        // All that time not even a bookmark.
        if !with_list && !any && self.begun.elapsed() + Duration::from_secs(1) >= asked {
            self.doubt();
        }
        Ok(())
    }

    /// What is to be done about a watch that the server refused or gave up.
    fn refused(&mut self, error: RequestError, with_list: bool) -> Trouble {
        let code = match &error {
            RequestError::Status(failure) => failure.code,
            _ => 0,
        };
        match code {
            // It cannot, whatever the kind.
            422 if with_list => return Trouble::NoStream,
            // More often it is something in this request, a selector that it cannot read: a list may tell.
            400 if with_list => self.lists_next = true,
            _ if !with_list && is_too_old_or_new(&error) => self.doubt(),
            _ => {}
        }
        trouble(error)
    }

    /// Something came that cannot be read. If the same comes again, only a list leads past it.
    fn breaks(&mut self) {
        if self.broken == self.version {
            self.doubt();
        }
        self.broken.clone_from(&self.version);
    }

    fn is_short(&self) -> bool {
        self.begun.elapsed() < Duration::from_secs(limits::KUBE_WATCH_SHORT_S)
    }

    /// Silence for longer than this means that the connection is dead.
    fn silence(&self, in_list: bool, watch_s: u64) -> Duration {
        Duration::from_secs(match in_list {
            true => limits::KUBE_LIST_SILENCE_S,
            false if self.has_bookmarks => limits::KUBE_BOOKMARK_S_MAX,
            false => watch_s + limits::KUBE_WATCH_MARGIN_S,
        })
    }

    async fn octets_of_watch(
        &mut self,
        body: &mut Body,
        silence: Duration,
        in_list: bool,
    ) -> Result<Option<Bytes>, Trouble> {
        let start = Instant::now();
        let octets = next_octets(body, silence).await;
        if octets.is_err() && !in_list && start.elapsed() >= silence {
            self.doubt();
            self.silences += 1;
            // Should this server have stopped sending bookmarks, watches must not end for want of them for ever.
            self.has_bookmarks &= self.silences < limits::KUBE_SILENCES;
        }
        octets
    }

    fn learn(&mut self, found: &Found, decoder: &Decoder, in_list: bool) {
        if found.any {
            if !in_list {
                self.shared.with_sink(|sink| sink.heard(self.kind));
            }
            self.backoff.reset();
            // A server that sends a list and at once forgets its version must not be asked without a pause.
            if !self.is_short() {
                self.gone = 0;
            }
        }
        if found.bookmark && !found.ends_list {
            self.has_bookmarks = true;
            self.silences = 0;
        }
        // Within the list versions are in no order, and a watch from one of them would miss what has not been sent yet.
        if !in_list && !decoder.version().is_empty() {
            self.version.clear();
            self.version.push_str(decoder.version());
        }
    }

    /// Decodes octets into the sink.
    fn feed(&mut self, decoder: &mut Decoder, octets: &[u8]) -> Result<Found, Trouble> {
        let (kind, refusals) = (self.kind, &mut self.refusals);
        let mut found = Found::default();
        let result = self.shared.with_sink(|sink| {
            decoder.feed(octets, refusals, &mut |event| {
                found.any |= !matches!(event, Event::Failed(_));
                match event {
                    Event::Put(object) => sink.put(object),
                    Event::Remove(object) => sink.remove(object),
                    Event::Bookmark { ends_list: true } => {
                        found.ends_list = true;
                        sink.list_ends(kind);
                    }
                    Event::Bookmark { ends_list: false } => found.bookmark = true,
                    Event::Failed(failure) => found.failure = Some(failure),
                }
            })
        });
        match result {
            Ok(()) => Ok(found),
            Err(error) => Err(Trouble::Failed(error.to_string())),
        }
    }
}

/// The next octets of a body, `None` at its end.
async fn next_octets(body: &mut Body, silence: Duration) -> Result<Option<Bytes>, Trouble> {
    loop {
        let frame = tokio::time::timeout(silence, body.frame()).await;
        let frame = frame.map_err(|_| Trouble::Failed("the connection is silent".to_owned()))?;
        match frame {
            None => return Ok(None),
            Some(Err(error)) => return Err(trouble(client::transport(&error))),
            // Trailers say nothing.
            Some(Ok(frame)) => match frame.into_data() {
                Ok(octets) => return Ok(Some(octets)),
                Err(_) => continue,
            },
        }
    }
}

fn trouble(error: RequestError) -> Trouble {
    match error {
        RequestError::Refused => Trouble::Refused,
        RequestError::Transport(reason) => Trouble::Failed(reason),
        RequestError::Access(error) => Trouble::Failed(error.to_string()),
        RequestError::Silent => Trouble::Failed("no response in time".to_owned()),
        RequestError::Status(failure) if failure.code == 410 => Trouble::Gone,
        RequestError::Status(failure) if failure.retry_after_s > 0 => {
            let asked_s = failure.retry_after_s.min(limits::KUBE_RETRY_AFTER_S_MAX);
            Trouble::Busy(Duration::from_secs(asked_s))
        }
        RequestError::Status(failure) => {
            Trouble::Failed(format!("status {}: {:?}", failure.code, failure.message))
        }
    }
}

/// 410: a version, or the mark of a page, that is too old. 504 and 500: a version that the server does not have yet, since its etcd was
/// restored from a copy.
fn is_too_old_or_new(error: &RequestError) -> bool {
    matches!(error, RequestError::Status(failure) if matches!(failure.code, 410 | 500 | 504))
}
