//! Memory of connections that have asked one thing and say nothing more.

use std::time::Duration;

use crate::figures::bars::{Bar, Limit};
use crate::figures::evaluate::Figure;
use crate::procfs;
use crate::stage::INTERRUPTED;

use super::Scene;
use super::held::{self, Kind};

/// Each transport on each backend, in a server of its own.
pub fn run(scene: &mut Scene) -> Result<(), String> {
    for (kind, bar) in BARS {
        for backend in BACKENDS {
            match measure(scene, kind, backend) {
                Ok((kib, detail)) => {
                    let figure = Figure::taken(bar, detail, [kib]);
                    scene.figures.push(figure);
                }
                Err(e) if e == INTERRUPTED => return Err(e),
                Err(e) => {
                    let reason = format!("{backend}: {e}");
                    scene.figures.push(Figure::missing(bar, reason));
                }
            }
        }
    }
    Ok(())
}

/// KiB for each connection, and what that was made from.
fn measure(scene: &mut Scene, kind: Kind, backend: &str) -> Result<(f64, String), String> {
    let own = scene.percoredns(&format!("[global]\nbackend = \"{backend}\"\n"))?;
    let count = scene.options.idle;
    let listeners = held::listeners(kind, count);
    let (server, secure) = scene.start(&own, &[(kind.scheme(), listeners)], true)?;
    let addresses = secure.addresses(kind.scheme());
    let pid = server.process.pid();
    let hold = |first, count| {
        let (corpus, security) = (&scene.stage.corpus, &scene.security);
        match held::hold_all(kind, &addresses, first, count, corpus, security) {
            (held, None) => Ok(held),
            (_, Some(reason)) => Err(reason),
        }
    };
    // What the first ones take is there once, not for each.
    let _few = hold(0, FIRST)?;
    std::thread::sleep(SETTLE);
    let before = procfs::tree_rss_bytes(pid).0;
    let mut held = hold(FIRST, count)?;
    std::thread::sleep(SETTLE);
    let after = procfs::tree_rss_bytes(pid).0;
    let alive = held::tend_all(&mut held)?;
    if alive < count {
        return Err(format!("the server ended {} of {count}", count - alive));
    }
    let kib = after.saturating_sub(before) as f64 / 1024.0 / count.max(1) as f64;
    let mib = |bytes: u64| bytes as f64 / (1 << 20) as f64;
    let detail = format!(
        "{backend}, {count} connections, RSS {:.1} to {:.1} MiB",
        mib(before),
        mib(after)
    );
    Ok((kib, detail))
}

const fn bar(what: &'static str, kib: f64) -> Bar {
    Bar {
        what,
        limit: Limit::AtMost(kib),
        unit: " KiB",
    }
}

/// What idle connections of each kind may take.
pub const BARS: [(Kind, Bar); 3] = [
    (Kind::Dot, bar("memory of an idle DoT connection", 24.0)),
    (
        Kind::Doh,
        bar("memory of an idle DoH (HTTP/2) connection", 40.0),
    ),
    (Kind::Doq, bar("memory of an idle DoQ connection", 24.0)),
];

const BACKENDS: [&str; 2] = ["glommio", "epoll"];
const FIRST: usize = 50;
const SETTLE: Duration = Duration::from_millis(1500);
