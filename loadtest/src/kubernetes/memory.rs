//! Memory: after the first sync, while everything is listed again, and what pods add.

use super::Scene;
use super::outcome::Figure;
use super::server::{Block, Memory, Server};

/// Memory after sync, and beside it that of an empty cluster.
pub fn after_sync(scene: &mut Scene) -> Result<Vec<Figure>, String> {
    let empty = {
        let (_api, setup) = scene.empty()?;
        let server = Server::synced(&setup, Block::default())?;
        server.memory_at_rest()
    };
    let (objects, endpoints) = scene.load()?;
    let server = Server::synced(&scene.setup, Block::default())?;
    let full = server.memory_at_rest();
    let added = full.rss.saturating_sub(empty.rss);
    let detail = format!(
        "{objects} objects with {endpoints} endpoints; peak {:.1} MiB, empty cluster {:.1} MiB, {} octets for each object",
        mib(full.peak),
        mib(empty.rss),
        added / objects.max(1),
    );
    let what = "RSS after sync";
    Ok(vec![Figure::at_most(
        60.0,
        " MiB",
        what,
        mib(full.rss),
        detail,
    )])
}

/// The peak while the API server has forgotten what it sent and everything is listed again.
pub fn while_listed_again(scene: &mut Scene) -> Result<Vec<Figure>, String> {
    scene.load()?;
    let server = Server::synced(&scene.setup, Block::default())?;
    let steady = server.memory_at_rest();
    let mut worst = Memory { rss: 0, peak: 0 };
    for _ in 0..RELISTS {
        server.forget_peak()?;
        let before = scene.api.number("lists")?;
        scene.api.tell("restart")?;
        scene.wait_lists(before + WATCHED)?;
        server.wait_idle();
        let now = server.memory();
        worst = Memory {
            rss: worst.rss.max(now.rss),
            peak: worst.peak.max(now.peak),
        };
    }
    let detail = format!(
        "steady {:.1} MiB, the worst peak of {RELISTS} restarts {:.1} MiB, {:.1} MiB after them",
        mib(steady.rss),
        mib(worst.peak),
        mib(server.memory().rss),
    );
    let ratio = worst.peak as f64 / steady.rss.max(1) as f64;
    let what = "peak RSS while everything is listed again";
    Ok(vec![Figure::at_most(1.15, "x", what, ratio, detail)])
}

/// What watching pods adds.
pub fn of_pods(scene: &mut Scene) -> Result<Vec<Figure>, String> {
    scene.load()?;
    let mut rss = Vec::new();
    for is_verified in [false, true] {
        let block = Block {
            is_verified,
            ..Block::default()
        };
        let server = Server::synced(&scene.setup, block)?;
        rss.push(server.memory_at_rest().rss);
    }
    let (without, with) = (rss[0], rss[1]);
    let detail = format!(
        "{} pods; insecure {:.1} MiB, verified {:.1} MiB",
        scene.size.pods,
        mib(without),
        mib(with)
    );
    let added = mib(with) - mib(without);
    let what = "pods verified: added RSS";
    Ok(vec![Figure::at_most(12.0, " MiB", what, added, detail)])
}

pub(super) fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

const RELISTS: usize = 3;
/// Kinds that are listed while no pods are watched.
const WATCHED: u64 = 3;
