//! A thousand changes a second: services whose address is the number of their last change, and slices whose endpoints come and go.
//!
//! Runs on: a thread of its own, which tells the API server.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::LIVE;
use super::api::Api;
use crate::sys;

/// What each service of the changing set has been, as far as it still matters.
pub struct History(Mutex<Vec<VecDeque<(Instant, u32)>>>);

/// A change of a service that is to be seen in an answer.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    /// The service.
    pub service: u32,
    /// The number of the change, which is its address.
    pub number: u32,
    /// When the API server was told.
    pub at: Instant,
}

/// What a run of changes came to.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    /// Changes of services and slices.
    pub changes: u64,
    /// For how long, in seconds.
    pub seconds: f64,
}

/// Puts the changing services and the headless set there, as they are before the first change.
pub fn prepare(api: &mut Api) -> Result<(), String> {
    api.tell(&format!("namespace {LIVE}"))?;
    for service in 0..SERVICES {
        api.tell(&put_service(service, service))?;
    }
    api.tell(&format!("headless {LIVE} set"))?;
    for slice in 0..SLICES {
        api.tell(&put_slice(slice, 0))?;
    }
    Ok(())
}

/// Makes [`PER_SECOND`] changes a second until `done`; those of services are noted in `history`, and some of them sent to `probes`.
pub fn run(
    api: &mut Api,
    done: &AtomicBool,
    history: &History,
    probes: Option<&Sender<Change>>,
) -> Result<Done, String> {
    sys::sharpen_timers();
    let began = Instant::now();
    let (mut turn, mut number) = (0u32, SERVICES);
    while !done.load(Ordering::Relaxed) && !sys::stop_requested() {
        let due = began + Duration::from_secs(turn.into()) / PER_SECOND;
        let now = Instant::now();
        if now < due {
            std::thread::sleep(due - now);
        }
        let at = Instant::now();
        if turn % SLICE_EVERY == 0 {
            let nth = turn / SLICE_EVERY;
            api.tell(&put_slice(nth % SLICES, nth / SLICES + 1))?;
        } else {
            // Noted before it can be seen.
            let service = history.note(at, number);
            api.tell(&put_service(service, number))?;
            if let Some(probes) = probes.filter(|_| number % PROBE_EVERY == 0) {
                let change = Change {
                    service,
                    number,
                    at,
                };
                probes
                    .send(change)
                    .map_err(|_| "nobody looks at the changes".to_owned())?;
            }
            number += 1;
        }
        turn += 1;
    }
    Ok(Done {
        changes: turn.into(),
        seconds: began.elapsed().as_secs_f64(),
    })
}

fn put_service(service: u32, number: u32) -> String {
    format!("service {LIVE} svc-{service} {}", address(number))
}

/// Nine of ten endpoints are always there; of the others every second one, by turns.
fn put_slice(slice: u32, round: u32) -> String {
    let mut line = format!("slice {LIVE} set-{slice:03} set");
    for place in 0..SLICE_ENDPOINTS {
        if place < STEADY || (place + round).is_multiple_of(2) {
            let pod = slice * SLICE_ENDPOINTS + place;
            line.push_str(&format!(" {}=set-{pod}", pod_address(pod)));
        }
    }
    line
}

/// What a client asks for of a changing service.
pub fn service_name(service: u32) -> String {
    format!("svc-{service}.{LIVE}.svc.cluster.local")
}

/// The names of the headless set that exist all the time.
pub fn steady_names() -> impl Iterator<Item = String> {
    let pods = (0..SLICES * SLICE_ENDPOINTS).filter(|pod| pod % SLICE_ENDPOINTS < STEADY);
    pods.map(|pod| format!("set-{pod}.set.{LIVE}.svc.cluster.local"))
}

/// The address that a change gives: from a network that nothing else of the cluster uses.
fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(BASE) + number)
}

/// The change that gave an address.
pub fn number_of(address: Ipv4Addr) -> Option<u32> {
    u32::from(address).checked_sub(u32::from(BASE))
}

fn pod_address(pod: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 192, 0, 0)) + pod)
}

// === impl History ===

impl Default for History {
    fn default() -> History {
        let now = Instant::now();
        let first = (0..SERVICES).map(|service| VecDeque::from([(now, service)]));
        History(Mutex::new(first.collect()))
    }
}

impl History {
    /// Notes a change, and says of which service it is.
    fn note(&self, at: Instant, number: u32) -> u32 {
        let service = number % SERVICES;
        let mut all = self.lock();
        let known = &mut all[service as usize];
        // The last change before the limit is what the name was at it.
        while known.get(1).is_some_and(|(at, _)| at.elapsed() > KEPT) {
            known.pop_front();
        }
        known.push_back((at, number));
        service
    }

    /// How old an answer was when it was asked for at the moment `asked`: the time since the service became something else, none if it
    /// had not yet. `None` if it was never that, or too long ago to be remembered.
    pub fn age(&self, service: u32, asked: Instant, number: u32) -> Option<Duration> {
        let all = self.lock();
        let known = &all[service as usize];
        let at = known.iter().position(|(_, one)| *one == number)?;
        let next = known.get(at + 1);
        Some(next.map_or(Duration::ZERO, |(since, _)| {
            asked.saturating_duration_since(*since)
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<VecDeque<(Instant, u32)>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Changes a second.
pub const PER_SECOND: u32 = 1000;
/// Services that change by turns.
pub const SERVICES: u32 = 200;
const SLICES: u32 = 100;
const SLICE_ENDPOINTS: u32 = 100;
/// Endpoints of a slice that are always there.
const STEADY: u32 = 90;
/// One change in so many is of a slice.
const SLICE_EVERY: u32 = 5;
/// One change of a service in so many is looked for in an answer.
const PROBE_EVERY: u32 = 4;
const BASE: Ipv4Addr = Ipv4Addr::new(10, 32, 0, 0);
/// How long a value is remembered: well beyond what an answer takes.
const KEPT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_as_old_as_the_change_after_it() {
        let history = History::default();
        let now = Instant::now();
        let ago = |ms: u64| now - Duration::from_millis(ms);
        let (first, second, third) = (SERVICES + 7, 2 * SERVICES + 7, 3 * SERVICES + 7);
        assert_eq!(history.note(ago(5000), first), 7);
        history.note(ago(3000), second);
        history.note(ago(500), third);
        let age = |asked, number| history.age(7, asked, number).map(|age| age.as_millis());
        assert_eq!(age(now, first), Some(3000));
        assert_eq!(age(now, second), Some(500));
        assert_eq!(age(now, third), Some(0));
        assert_eq!(age(now, third + SERVICES), None, "never was");
        assert_eq!(
            age(ago(4000), second),
            Some(0),
            "asked before, answered after"
        );
    }

    #[test]
    fn addresses_tell_their_change() {
        assert_eq!(number_of(address(123_456)), Some(123_456));
        assert_eq!(number_of(Ipv4Addr::new(10, 0, 0, 1)), None);
    }

    #[test]
    fn steady_endpoints_are_in_every_round() {
        let names: Vec<String> = steady_names().collect();
        assert_eq!(names.len(), 9_000);
        assert_eq!(names[90], "set-100.set.live.svc.cluster.local");
        let (one, other) = (put_slice(1, 0), put_slice(1, 1));
        assert_ne!(one, other);
        for line in [one, other] {
            assert_eq!(line.matches('=').count(), 95);
            assert!(
                line.contains("=set-100 ") && line.contains("=set-189 "),
                "{line}"
            );
        }
    }
}
