//! The stream of a watch.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::answer::CHUNK;
use super::ask::Ask;
use super::body::{Gone, Out};
use super::encode::Encoding;
use super::script::{Verb, WatchList};
use super::state::Event;
use super::{Failure, Shared};

/// An open watch. It counts from before the client hears of it, and so do bookmarks.
pub(super) struct Watch {
    shared: Arc<Shared>,
    ask: Ask,
    encoding: Encoding,
    out: Out,
    /// What was told so far.
    version: u64,
    /// [`super::state::State::bookmarks`] as it was at the last bookmark.
    bookmarks: u64,
}

impl Watch {
    /// Opens it.
    pub(super) fn new(shared: &Arc<Shared>, ask: Ask, encoding: Encoding, out: Out) -> Watch {
        let bookmarks = {
            let mut state = shared.lock();
            state.watches += 1;
            state.bookmarks
        };
        Watch {
            shared: Arc::clone(shared),
            ask,
            encoding,
            out,
            version: 0,
            bookmarks,
        }
    }

    /// Writes events until the client goes, its time is over, or it is too far behind.
    pub(super) async fn run(mut self) {
        // Whether somebody was there to the end makes no difference.
        let _ = self.write().await;
    }

    async fn write(&mut self) -> Result<(), Gone> {
        let mut changed = self.shared.changed.subscribe();
        let (mode, interval_ms) = {
            let state = self.shared.lock();
            (state.script.watch_list, state.script.bookmark_interval_ms)
        };
        let is_list = self.ask.verb == Verb::WatchList;
        if is_list && mode == WatchList::OldStore {
            let message = "etcd client does not support progress notifications";
            return self.error(500, message.into()).await;
        }
        match self.ask.version {
            Some(version) if version > 0 && !is_list => self.version = version,
            _ => self.initial(is_list).await?,
        }
        let end = Instant::now()
            + Duration::from_secs(match self.ask.timeout_s {
                0 => DEFAULT_TIMEOUT_S,
                seconds => seconds,
            });
        let interval = Duration::from_millis(interval_ms.max(1));
        let mut bookmark_at = Instant::now() + interval;
        loop {
            changed.mark_unchanged();
            if !self.events().await? {
                let (wanted, now) = (self.version, self.shared.lock().version());
                let message = format!("too old resource version: {wanted} ({now})");
                return self.error(410, message).await;
            }
            if self.bookmark_is_due(bookmark_at) {
                bookmark_at = Instant::now() + interval;
                self.bookmark(false).await?;
            }
            tokio::select! {
                result = changed.changed() => result.map_err(|_| Gone)?,
                () = sleep_until(bookmark_at) => {}
                () = sleep_until(end) => return Ok(()),
                () = self.out.closed() => return Err(Gone),
            }
        }
    }

    /// What is there, as events.
    async fn initial(&mut self, is_list: bool) -> Result<(), Gone> {
        let page = {
            let state = self.shared.lock();
            self.version = state.version();
            let (kind, selector) = (self.ask.kind, &self.ask.selector);
            state.page(kind, selector, self.version, "", usize::MAX)
        };
        let entries = page.map(|page| page.entries).unwrap_or_default();
        let mut chunk = Vec::new();
        for entry in entries {
            let event = Event::Added(entry);
            self.encoding.event(&mut chunk, self.ask.kind, &event);
            if chunk.len() >= CHUNK {
                let full = std::mem::replace(&mut chunk, Vec::with_capacity(CHUNK + CHUNK / 4));
                self.out.write(full).await?;
            }
        }
        self.out.write(chunk).await?;
        if is_list && self.ask.bookmarks {
            self.bookmark(true).await?;
        }
        Ok(())
    }

    /// Tells all that happened since. False when that is not known any more.
    async fn events(&mut self) -> Result<bool, Gone> {
        loop {
            let found = {
                let state = self.shared.lock();
                let (kind, selector) = (self.ask.kind, &self.ask.selector);
                state.events(kind, selector, self.version, EVENTS)
            };
            let Some((events, version)) = found else {
                return Ok(false);
            };
            self.version = version;
            if events.is_empty() {
                return Ok(true);
            }
            let mut chunk = Vec::new();
            for event in &events {
                self.encoding.event(&mut chunk, self.ask.kind, event);
            }
            self.out.write(chunk).await?;
        }
    }

    fn bookmark_is_due(&mut self, at: Instant) -> bool {
        let wanted = self.shared.lock().bookmarks;
        let is_new = std::mem::replace(&mut self.bookmarks, wanted) != wanted;
        self.ask.bookmarks && (is_new || Instant::now() >= at)
    }

    async fn bookmark(&mut self, ends_initial: bool) -> Result<(), Gone> {
        let mut chunk = Vec::new();
        let (kind, version) = (self.ask.kind, self.version);
        self.encoding
            .bookmark(&mut chunk, kind, version, ends_initial);
        self.out.write(chunk).await
    }

    async fn error(&mut self, code: u16, message: String) -> Result<(), Gone> {
        let mut chunk = Vec::new();
        self.encoding
            .error(&mut chunk, &Failure::new(code, message));
        self.out.write(chunk).await
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.lock().watches -= 1;
    }
}

/// Events that are written at once.
const EVENTS: usize = 256;
/// Seconds of a watch that says nothing of its end.
const DEFAULT_TIMEOUT_S: u64 = 1800;
