//! CPU per cached answer over warm connections, at saturation.

use std::path::Path;

use crate::compare::rates::Label;
use crate::compare::result::{Key, Row};
use crate::compare::sample::{Sample, Seen};
use crate::corpus::{self, Kind};
use crate::dnsperf::Shot;
use crate::figures::bars::{Bar, Limit};
use crate::figures::evaluate::Figure;
use crate::load::{Load, Transport};
use crate::pace::Rate;
use crate::procfs::{self, Snapshot};
use crate::progress::Progress;
use crate::scenario::{CACHED, Scenario};
use crate::servers::{PERCOREDNS, program_of};
use crate::stage::{INTERRUPTED, ZONE};
use crate::sys;

use super::{Listening, Scene};

/// One transport and who asks over it.
struct Work {
    scenario: Scenario,
    /// Scheme of the listener; without it the plain one's.
    scheme: Option<&'static str>,
    client: Client,
}

#[derive(Clone, Copy)]
enum Client {
    /// Its word for the transport.
    Dnsperf(&'static str),
    /// The generator of this program, over the scenario's transport.
    Own,
}

/// A server at one kind of work.
struct Entry {
    work: &'static Work,
    at: Listening,
}

/// Groups of work one after the other; within a group rounds alternate between all servers and kinds.
pub fn run(scene: &mut Scene) -> Result<(), String> {
    let text = corpus::corpus_text(Kind::Hosts, scene.stage.names, ZONE);
    let queries = scene.stage.dir.path().join("queries.txt");
    std::fs::write(&queries, text).map_err(|e| format!("{}: {e}", queries.display()))?;
    for group in GROUPS {
        let entries = start_all(scene, group)?;
        run_rounds(scene, &entries, &queries)?;
    }
    judge(scene);
    Ok(())
}

fn start_all(scene: &mut Scene, group: &'static [Work]) -> Result<Vec<Entry>, String> {
    let mut entries = Vec::new();
    for work in group {
        for contender in scene.contenders(work.scheme) {
            match scene.start_at(&contender, work.scheme) {
                Ok(at) => entries.push(Entry { work, at }),
                Err(e) if e == INTERRUPTED => return Err(e),
                Err(e) => {
                    let (name, work) = (&contender.name, work.scenario.name);
                    let line = format!("{name} ({work}): left out: {e}");
                    scene.table.fail(name, line);
                }
            }
        }
    }
    Ok(entries)
}

fn run_rounds(scene: &mut Scene, entries: &[Entry], queries: &Path) -> Result<(), String> {
    let (rounds, foreign) = (scene.options.base.rounds, scene.options.base.foreign);
    let mut progress = Progress::new(rounds * entries.len());
    let mut gone = vec![false; entries.len()];
    for round in 0..rounds {
        let mut order: Vec<usize> = (0..entries.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for i in order {
            let Entry { work, at } = &entries[i];
            let (name, scenario) = (&at.server.name, &work.scenario);
            progress.show(&format!("{} {name}", scenario.name));
            if gone[i] {
                continue;
            }
            let sample = match measure(scene, &entries[i], queries) {
                Ok(sample) => sample,
                Err(e) if e == INTERRUPTED => return Err(e),
                Err(e) => {
                    gone[i] = true;
                    let line = format!("{name} ({}): given up: {e}", scenario.name);
                    scene.table.fail(name, line);
                    continue;
                }
            };
            let key = Key {
                scenario,
                label: Label::given(Rate::Max),
                sources: scene.options.connections,
                server: name.clone(),
            };
            scene.table.add(key, round, foreign, sample);
        }
    }
    progress.clear();
    Ok(())
}

/// One run, repeated while others use the machine.
fn measure(scene: &Scene, entry: &Entry, queries: &Path) -> Result<Sample, String> {
    let mut sample = measure_once(scene, entry, queries)?;
    for _ in 0..REPEATS {
        if sample.foreign <= scene.options.base.foreign {
            break;
        }
        sample = measure_once(scene, entry, queries)?;
    }
    Ok(sample)
}

fn measure_once(scene: &Scene, entry: &Entry, queries: &Path) -> Result<Sample, String> {
    let server = &entry.at.server;
    let pid = server.process.pid();
    let asked_before = scene.stage.origin.queries();
    let before = Snapshot::take(pid);
    let (seen, ours_ns) = ask(scene, entry, queries)?;
    let usage = Snapshot::take(pid).since(&before, procfs::cpu_count(), ours_ns);
    if sys::stop_requested() {
        return Err(INTERRUPTED.to_owned());
    }
    // Not load but a fault of one end: dnsperf 2.10 and the DoH of dnsdist 1.7, for one, stop after two answers a connection.
    if seen.right * 2 < seen.sent {
        let (right, sent, said) = (seen.right, seen.sent, server.process.last_words());
        return Err(format!("{right} right answers to {sent} queries\n{said}"));
    }
    // What the generator itself took; the rest of the machine's work is the server's and the kernel's on behalf of both.
    let generator_ns = match entry.work.client {
        Client::Dnsperf(_) => ours_ns,
        Client::Own => usage.own_ns,
    };
    let baseline_us = generator_ns as f64 / 1000.0 / seen.sent.max(1) as f64;
    let upstream = scene.stage.origin.queries() - asked_before;
    Ok(Sample::new(&seen, usage, baseline_us, upstream))
}

/// Asks for the length of a run; also the CPU time of a generator that is another process, in nanoseconds.
fn ask(scene: &Scene, entry: &Entry, queries: &Path) -> Result<(Seen, u64), String> {
    let (options, scenario) = (scene.options, &entry.work.scenario);
    match entry.work.client {
        Client::Dnsperf(mode) => Shot {
            mode,
            server: entry.at.address,
            seconds: options.base.seconds,
            connections: options.connections,
            window: options.window,
            queries,
            cpu: options.base.client_cpu,
            dir: scene.stage.dir.path(),
        }
        .run(scenario),
        Client::Own => {
            let load = Load {
                transport: scenario.transport,
                security: Some(&scene.security),
                sources: options.connections,
                window: options.window,
                ..Load::new(
                    entry.at.address,
                    Rate::Max,
                    options.base.seconds,
                    &scene.stage.corpus,
                )
            };
            let report = load.run().map_err(|e| e.to_string())?;
            Ok((Seen::of(&report, scenario, false), 0))
        }
    }
}

// === Bars ===

fn judge(scene: &mut Scene) {
    let row = |work: &str, server: &str| {
        let mut rows = scene.table.rows.iter();
        rows.find(|row| row.key.scenario.name == work && program_of(&row.key.server) == server)
    };
    let mut figures: Vec<Figure> = AGAINST_RIVALS
        .iter()
        .map(|&(bar, work, rivals)| {
            let rivals = rivals.iter().filter_map(|rival| row(work, rival));
            let best = rivals.min_by(|a, b| cpu(a).total_cmp(&cpu(b)));
            ratio(bar, row(work, PERCOREDNS), best)
        })
        .collect();
    figures.push(ratio(
        DOQ,
        row(QUIC_NAME, PERCOREDNS),
        row(TLS_NAME, PERCOREDNS),
    ));
    scene.figures.extend(figures);
}

fn ratio(bar: Bar, own: Option<&Row>, floor: Option<&Row>) -> Figure {
    match (own, floor) {
        (None, _) => Figure::missing(bar, format!("{PERCOREDNS} was not measured, see the notes")),
        (_, None) => Figure::missing(bar, "there was nothing to hold it against".to_owned()),
        (Some(own), Some(floor)) => {
            let of = |row: &Row| {
                let Key {
                    server, scenario, ..
                } = &row.key;
                format!("{server} ({}) {:.1} us", scenario.name, cpu(row))
            };
            Figure::taken(
                bar,
                format!("{}, {}", of(own), of(floor)),
                own.ratios_to(floor),
            )
        }
    }
}

fn cpu(row: &Row) -> f64 {
    row.median(|sample| sample.cpu_us)
}

const fn at_most(what: &'static str, ratio: f64) -> Bar {
    Bar {
        what,
        limit: Limit::AtMost(ratio),
        unit: "x",
    }
}

/// (bar, name of the work, rivals of which the best counts).
const AGAINST_RIVALS: [(Bar, &str, &[&str]); 4] = [
    (
        at_most(
            "CPU per cached answer over TCP, against the best rival",
            0.85,
        ),
        "tcp",
        &["unbound", "dnsdist"],
    ),
    (
        at_most(
            "CPU per cached answer over DoT, against the best rival",
            0.75,
        ),
        "dot",
        &["unbound", "dnsdist"],
    ),
    (
        at_most(
            "CPU per cached answer over DoH (HTTP/2), against Unbound",
            0.5,
        ),
        "doh",
        &["unbound"],
    ),
    (
        at_most(
            "CPU per cached answer over DoH (HTTP/2), against Unbound, by the generator here",
            0.5,
        ),
        HTTPS_NAME,
        &["unbound"],
    ),
];

const DOQ: Bar = at_most(
    "CPU per cached answer over DoQ, against DoT from the same generator",
    1.3,
);

const fn work(
    name: &'static str,
    transport: Transport,
    scheme: Option<&'static str>,
    client: Client,
) -> Work {
    Work {
        scenario: Scenario {
            name,
            transport,
            ..CACHED
        },
        scheme,
        client,
    }
}

/// What is measured together.
static GROUPS: &[&[Work]] = &[
    &[work("tcp", Transport::Tcp, None, Client::Dnsperf("tcp"))],
    &[work(
        "dot",
        Transport::Tls,
        Some("tls"),
        Client::Dnsperf("dot"),
    )],
    &[
        work(
            "doh",
            Transport::Https,
            Some("https"),
            Client::Dnsperf("doh"),
        ),
        work(HTTPS_NAME, Transport::Https, Some("https"), Client::Own),
    ],
    &[
        work(TLS_NAME, Transport::Tls, Some("tls"), Client::Own),
        work(QUIC_NAME, Transport::Quic, Some("quic"), Client::Own),
    ],
];

const HTTPS_NAME: &str = "doh, own client";
const TLS_NAME: &str = "dot, own client";
const QUIC_NAME: &str = "doq, own client";
/// A void run is tried again this often.
const REPEATS: usize = 2;
