//! A large zone file on several threads, with the result of one.
//!
//! ```text
//! text  | first | chunk 0 | chunk 1 | chunk 2 | ...       cut where a line begins that looks like a record
//!         |         \         \         \
//!         |          any thread, from a *guess* of what the lines above leave: origin, owner, TTL, no open quote or parenthesis
//!         v             v         v         v
//!       state  --->  did the guess hold?  yes: take its records    no, or anything odd: read the chunk again, here and now
//! ```
//! The guess is the state after the first lines. A chunk counts only if it began where the one before ended, and if every value
//! that it took from the guess is the one that the lines above really left. Errors, a SOA record and directives that bring text of
//! their own are left to the second reading, so messages, line numbers and the order of records are those of a sequential reading.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::{io, thread};

use super::build::Builder;
use super::entries::{Loader, Outside, Place, State, Trace};
use super::lex::Lexer;
use super::load::LoadError;
use super::name::WireName;

/// The chunks of one text, to be taken by any thread.
struct Chunks<'t> {
    text: &'t [u8],
    /// Where each begins; one more for the end.
    borders: Vec<usize>,
    taken: AtomicUsize,
    guess: State,
    origin: WireName,
    /// Octets behind a chunk that its last entry may reach into, so that a quote that only seems to be open does not have the whole
    /// text read once for each chunk. Longer entries are read by the thread that puts chunks together.
    overhang: usize,
}

/// What a chunk held.
struct Reading {
    builder: Builder,
    /// Where it ended.
    end: usize,
    lines: u32,
    state: State,
    outside: Option<Outside>,
}

/// Reads the text of `lexer`, which stands at its start.
pub(super) fn text(
    loader: &mut Loader<'_>,
    mut lexer: Lexer<'_>,
    place: &Place<'_>,
    state: &mut State,
) -> Result<(), LoadError> {
    let text = lexer.text();
    let chunk = loader.split.chunk;
    let first = border(text, lexer.at() + chunk / 8, chunk / 16);
    loader.entries(&mut lexer, first, place, state)?;
    let chunks = Chunks::new(text, lexer.at(), chunk, state, loader.origin);
    thread::scope(|scope| {
        let (sender, receiver) = channel();
        for _ in 1..loader.split.threads.min(chunks.count()) {
            let (sender, chunks) = (sender.clone(), &chunks);
            // Without a thread this one does the work.
            let _ = thread::Builder::new()
                .name("zone-load".into())
                .spawn_scoped(scope, move || chunks.serve(&sender));
        }
        drop(sender);
        let outcome = merge(loader, &mut lexer, place, state, &chunks, &receiver);
        // After an error nobody needs the rest.
        chunks.taken.store(chunks.count(), Ordering::Relaxed);
        outcome
    })
}

/// Puts the chunks together in their order, and works on them itself while it would have to wait.
fn merge(
    loader: &mut Loader<'_>,
    lexer: &mut Lexer<'_>,
    place: &Place<'_>,
    state: &mut State,
    chunks: &Chunks<'_>,
    receiver: &Receiver<(usize, Option<Reading>)>,
) -> Result<(), LoadError> {
    let mut done: Vec<Option<Option<Reading>>> = (0..chunks.count()).map(|_| None).collect();
    for chunk in 0..chunks.count() {
        let reading = loop {
            if let Some(reading) = done[chunk].take() {
                break reading;
            }
            if let Ok((other, reading)) = receiver.try_recv() {
                done[other] = Some(reading);
            } else if let Some(other) = chunks.take() {
                done[other] = Some(chunks.read(other));
            } else {
                match receiver.recv() {
                    Ok((other, reading)) => done[other] = Some(reading),
                    // Its thread died.
                    Err(_) => break None,
                }
            }
        };
        let reading = reading.filter(|reading| {
            lexer.at() == chunks.borders[chunk] && reading.holds(&chunks.guess, state)
        });
        let taken = reading.is_some_and(|reading| reading.join(loader, lexer, place, state));
        if !taken {
            loader.entries(lexer, chunks.borders[chunk + 1], place, state)?;
        }
    }
    Ok(())
}

/// A place from `at` on where a line begins, preferably a near one that needs nothing of the lines above.
fn border(text: &[u8], at: usize, near: usize) -> usize {
    let Some(rest) = text.get(at..) else {
        return text.len();
    };
    let near = &rest[..rest.len().min(near)];
    let lines = |rest: &'_ [u8], is_good: fn(&[u8]) -> bool| {
        let mut from = 0;
        while let Some(line) = rest[from..].iter().position(|&octet| octet == b'\n') {
            let start = from + line + 1;
            // An escaped line break ends nothing.
            if (start < 2 || rest[start - 2] != b'\\') && is_good(&rest[start..]) {
                return Some(at + start);
            }
            from = start;
        }
        None
    };
    lines(near, |line| line.starts_with(b"$ORIGIN "))
        .or_else(|| {
            lines(near, |line| {
                !matches!(
                    line.first(),
                    None | Some(b' ' | b'\t' | b'\r' | b'\n' | b';' | b'(' | b')' | b'"')
                )
            })
        })
        .or_else(|| lines(rest, |_| true))
        .unwrap_or(text.len())
}

impl<'t> Chunks<'t> {
    /// Cuts what follows `start`, where `state` is the real one.
    fn new(text: &'t [u8], start: usize, chunk: usize, state: &State, origin: WireName) -> Self {
        let overhang = chunk / 16;
        let mut borders = vec![start];
        while let Some(&last) = borders.last()
            && last < text.len()
        {
            borders.push(border(text, last.saturating_add(chunk), overhang));
        }
        Self {
            text,
            borders,
            taken: AtomicUsize::new(0),
            guess: State {
                trace: Trace::default(),
                ..state.clone()
            },
            origin,
            overhang,
        }
    }

    fn count(&self) -> usize {
        self.borders.len() - 1
    }

    fn take(&self) -> Option<usize> {
        let chunk = self.taken.fetch_add(1, Ordering::Relaxed);
        (chunk < self.count()).then_some(chunk)
    }

    fn serve(&self, results: &Sender<(usize, Option<Reading>)>) {
        while let Some(chunk) = self.take() {
            // An error says that the load has ended.
            if results.send((chunk, self.read(chunk))).is_err() {
                return;
            }
        }
    }

    /// Reads a chunk by the guess; `None` where anything is odd.
    fn read(&self, chunk: usize) -> Option<Reading> {
        let (start, end) = (self.borders[chunk], self.borders[chunk + 1]);
        let limit = self.text.len().min(end + self.overhang);
        let mut lexer = Lexer::from_line(&self.text[..limit], start);
        let mut state = self.guess.clone();
        let mut open = |_: &std::path::Path| Err(io::ErrorKind::Unsupported.into());
        let builder = Builder::with_room_for(self.origin, end - start);
        let mut loader = Loader::part(builder, self.origin, &mut open);
        let place = Place {
            file: "",
            line: None,
            depth: 0,
        };
        loader.entries(&mut lexer, end, &place, &mut state).ok()?;
        let is_cut = lexer.at() >= limit && limit < self.text.len();
        if is_cut || loader.builder.has_soa() {
            return None;
        }
        loader.builder.sort();
        Some(Reading {
            end: lexer.at(),
            lines: lexer.line() - 1,
            state,
            outside: loader.outside,
            builder: loader.builder,
        })
    }
}

impl Reading {
    /// Whether what it took from the guess is what the lines above left.
    fn holds(&self, guess: &State, real: &State) -> bool {
        let trace = &self.state.trace;
        guess.ttl_by_directive == real.ttl_by_directive
            && (!trace.origin.was_used || guess.origin == real.origin)
            && (!trace.owner.was_used || guess.owner == real.owner)
            && (!trace.ttl.was_used || guess.ttl == real.ttl)
    }

    /// Moves its records and what it leaves to the whole; `false` and nothing changed if the zone becomes too large.
    fn join(
        mut self,
        loader: &mut Loader<'_>,
        lexer: &mut Lexer<'_>,
        place: &Place<'_>,
        state: &mut State,
    ) -> bool {
        if !loader.builder.append(&mut self.builder) {
            return false;
        }
        if let Some(outside) = self.outside {
            let count = outside.count;
            let first = || Outside {
                file: place.file.to_owned(),
                line: outside.line + lexer.line() - 1,
                count: 0,
                ..outside
            };
            loader.outside.get_or_insert_with(first).count += count;
        }
        lexer.skip_to(self.end, self.lines);
        let State {
            origin,
            owner,
            ttl,
            ttl_by_directive,
            trace,
        } = self.state;
        if trace.origin.is_set {
            state.origin = origin;
        }
        if trace.owner.is_set {
            state.owner = owner;
        }
        if trace.ttl.is_set {
            state.ttl = ttl;
        }
        state.ttl_by_directive = ttl_by_directive;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> WireName {
        WireName::parse(text.as_bytes(), &[0]).unwrap()
    }

    /// How many of the chunks are read by the guess that the origin is `z.` where it is `real`, and how many there are.
    fn read(text: &str, real: &str) -> (usize, usize) {
        let state = State {
            origin: origin("z."),
            owner: None,
            ttl: Some(60),
            ttl_by_directive: true,
            trace: Trace::default(),
        };
        let chunks = Chunks::new(text.as_bytes(), 0, 256, &state, origin("z."));
        let real = State {
            origin: origin(real),
            ..state
        };
        let read = (0..chunks.count()).filter(|&chunk| {
            let reading = chunks.read(chunk);
            reading.is_some_and(|reading| reading.holds(&chunks.guess, &real))
        });
        (read.count(), chunks.count())
    }

    #[test]
    fn plain_chunks_are_read_by_the_guess_and_odd_ones_are_not() {
        let plain = "a A 192.0.2.1\n  TXT ( x\n y )\n".repeat(100);
        let (good, all) = read(&plain, "z.");
        assert!(good == all && all > 5, "{good} of {all}");
        for odd in [
            "@ SOA a b 1 2 3 4 5\n",
            "$INCLUDE x\n",
            "$GENERATE 1-2 a$ A 192.0.2.1\n",
            "a A what\n",
            "a TXT \"open\n",
        ] {
            let (good, all) = read(&format!("{odd}{plain}"), "z.");
            assert_eq!(good, all - 1, "{odd}");
        }
        assert_eq!(read(&plain, "q.z."), (0, all));
        // Chunks that say the origin themselves are free of the guess.
        let dump = "$ORIGIN r.z.\na A 192.0.2.1\n".to_owned() + &"b A 192.0.2.2\n".repeat(17);
        let (good, all) = read(&dump.repeat(9), "q.z.");
        assert!(good == all && all > 5, "{good} of {all}");
    }
}
