//! What goes wrong, and what comes of it: nothing is lost, and what is known is in step again.

use tokio::sync::oneshot;

use super::*;
use crate::testing::kube_api::{Fault, Refusal, Trouble};

/// A scene whose clock stands still until it is told to go on.
struct Frozen {
    board: Arc<Mutex<Board>>,
    task: tokio::task::JoinHandle<()>,
    /// While a thread beside the runtime is at work, its clock does not run ahead.
    _hold: oneshot::Sender<()>,
}

impl Frozen {
    fn new(api: &Api, kind: Kind) -> Frozen {
        let (hold, held) = oneshot::channel();
        tokio::task::spawn_blocking(move || held.blocking_recv());
        let board = Arc::new(Mutex::new(Board::default()));
        let url = api.url();
        let shared = Shared {
            client: ApiClient::new(access(Source::Endpoint { url, tls: None })),
            wanted: base(),
            sink: Arc::clone(&board) as _,
            lists_until: Mutex::new(None),
        };
        Frozen {
            board,
            task: tokio::spawn(follow_for_ever(kind, Arc::new(shared))),
            _hold: hold,
        }
    }

    async fn wait(&self, mut until: impl FnMut(&Board) -> bool) {
        let patience = std::time::Instant::now() + Duration::from_secs(20);
        while !until(&self.board.lock().unwrap()) {
            assert!(
                std::time::Instant::now() < patience,
                "it did not come about"
            );
            std::thread::sleep(Duration::from_millis(1));
            tokio::task::yield_now().await;
        }
    }

    /// Lets the watcher do what it can without the clock.
    async fn settle(&self) {
        for _ in 0..100 {
            std::thread::sleep(Duration::from_millis(1));
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn synced(api: &Api) -> Scene {
    let scene = Scene::new(api, base());
    scene.wait(|board| KINDS[..3].iter().all(|kind| board.is_synced(*kind)));
    scene
}

#[test]
fn restarts_lose_nothing_and_the_state_is_in_step_soon() {
    for watch_list in [WatchList::Works, WatchList::GateOff] {
        let api = Api::new();
        api.script(|script| script.watch_list = watch_list);
        api.put(service("stays"));
        api.put(service("goes"));
        let scene = synced(&api);
        for round in 0..4 {
            api.stop();
            scene.wait(|board| board.is_lost(Kind::Service));
            assert!(scene.board(|board| board.has(&service("stays"))));
            let new = service(&format!("new-{round}"));
            api.put(new.clone());
            api.remove(Kind::Service, "shop", "goes");
            api.start();
            scene.wait(|board| board.has(&new) && !board.has(&service("goes")));
            scene.wait(|board| !board.is_lost(Kind::Service));
            assert!(scene.board(|board| board.has(&service("stays"))));
        }
    }
}

#[test]
fn an_old_version_means_a_new_list() {
    let api = Api::new();
    api.put(service("web"));
    let scene = synced(&api);
    let begun = scene.board(|board| board.begun);
    api.restart();
    scene.wait(|board| board.begun > begun && board.is_synced(Kind::Service));
    scene.wait(|board| !board.is_lost(Kind::Service));
    api.put(service("new"));
    scene.wait(|board| board.has(&service("new")) && board.has(&service("web")));
}

#[test]
fn refusals_are_never_final() {
    for code in [401, 403, 404, 408, 410, 429, 500, 503] {
        let api = Api::new();
        api.put(service("web"));
        api.script(|script| script.refusals.push(Refusal::all(code, 6)));
        let scene = Scene::new(&api, base());
        scene.wait(|board| board.has(&service("web")) && board.is_synced(Kind::Service));
    }
}

#[test]
fn answers_that_break_are_asked_for_again() {
    for (watch_list, verb) in [
        (WatchList::Works, Verb::WatchList),
        (WatchList::GateOff, Verb::List),
        (WatchList::GateOff, Verb::Watch),
    ] {
        for fault in [
            Fault::Break,
            Fault::End,
            Fault::Garbage,
            Fault::Slow(100_000),
        ] {
            for after in [0, 3, 150, 4_000] {
                let api = Api::new();
                api.load(Cluster::new(40, 1, 0));
                api.script(|script| {
                    script.watch_list = watch_list;
                    let mut trouble = Trouble::once(verb, after, fault);
                    trouble.times = 2;
                    script.troubles.push(trouble);
                });
                let scene = Scene::new(&api, base());
                scene.wait(|board| board.is_synced(Kind::Service) && board.is_synced(Kind::Slice));
                api.put(service("new"));
                scene.wait(|board| board.has(&service("new")));
                let count = scene.board(|board| board.count(Kind::Service));
                assert_eq!(count, 41, "{verb:?} {fault:?} {after}");
            }
        }
    }
}

#[test]
fn hostile_objects_cost_nothing_else() {
    let api = Api::new();
    api.put(service("web"));
    let mut bad: Stored = service("Bad.Name").into();
    api.put(bad.clone());
    bad = service("garbage").into();
    bad.octets = Some(vec![0xff; 200]);
    api.put(bad);
    let scene = synced(&api);
    scene.wait(|board| board.count(Kind::Service) == 1 && board.has(&service("web")));
    api.put(service("more"));
    scene.wait(|board| board.has(&service("more")));
}

#[test]
fn a_server_that_cannot_stream_lists_is_not_asked_again() {
    let api = Api::new();
    api.script(|script| script.watch_list = WatchList::OldStore);
    let scene = synced(&api);
    let asked = api.count(Verb::WatchList, None);
    assert!((1..=3).contains(&asked), "{asked}");
    let begun = scene.board(|board| board.begun);
    api.restart();
    scene.wait(|board| board.begun >= begun + 3);
    assert_eq!(api.count(Verb::WatchList, None), asked);
}

#[tokio::test(start_paused = true)]
async fn it_is_asked_again_after_a_while() {
    let api = Api::new();
    api.script(|script| script.watch_list = WatchList::GateOff);
    let scene = Frozen::new(&api, Kind::Service);
    scene.wait(|board| board.is_synced(Kind::Service)).await;
    api.script(|script| script.watch_list = WatchList::Works);
    tokio::time::advance(Duration::from_secs(limits::KUBE_STREAM_LIST_RETRY_S)).await;
    api.put(service("new"));
    api.restart();
    scene.wait(|_| true).await;
    for _ in 0..20 {
        scene.settle().await;
        tokio::time::advance(Duration::from_secs(1)).await;
        if api.count(Verb::WatchList, None) == 2 {
            break;
        }
    }
    assert_eq!(api.count(Verb::WatchList, None), 2);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_wants_to_be_left_alone_is() {
    let api = Api::new();
    api.put(service("web"));
    api.script(|script| {
        script.refusals.push(Refusal {
            retry_after_s: Some(7),
            ..Refusal::all(429, 1)
        });
    });
    let scene = Frozen::new(&api, Kind::Service);
    scene.wait(|board| board.is_lost(Kind::Service)).await;
    tokio::time::advance(Duration::from_millis(6_900)).await;
    scene.settle().await;
    assert_eq!(api.asked().len(), 1);
    tokio::time::advance(Duration::from_millis(200)).await;
    scene.wait(|board| board.has(&service("web"))).await;
    assert_eq!(api.asked().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_stalls_is_begun_anew() {
    for watch_list in [WatchList::Works, WatchList::GateOff] {
        let api = Api::new();
        api.load(Cluster::new(100, 1, 0));
        api.script(|script| {
            script.watch_list = watch_list;
            let verb = match watch_list {
                WatchList::Works => Verb::WatchList,
                _ => Verb::List,
            };
            script
                .troubles
                .push(Trouble::once(verb, 2_000, Fault::Stall));
        });
        let scene = Frozen::new(&api, Kind::Service);
        scene.wait(|board| board.count(Kind::Service) > 0).await;
        scene.settle().await;
        {
            let board = scene.board.lock().unwrap();
            assert!(!board.is_synced(Kind::Service));
            assert!(
                !board.is_live(Kind::Service),
                "what is known may be from before"
            );
        }
        tokio::time::advance(Duration::from_secs(limits::KUBE_LIST_SILENCE_S + 1)).await;
        scene.wait(|board| board.is_lost(Kind::Service)).await;
        tokio::time::advance(Duration::from_millis(limits::KUBE_RETRY_MS_MAX)).await;
        scene.wait(|board| board.is_synced(Kind::Service)).await;
        assert!(scene.board.lock().unwrap().is_live(Kind::Service));
        assert_eq!(scene.board.lock().unwrap().count(Kind::Service), 100);
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_without_its_bookmarks_is_dead() {
    let api = Api::new();
    api.script(|script| script.bookmark_interval_ms = u64::from(u32::MAX));
    let scene = Frozen::new(&api, Kind::Service);
    scene.wait(|board| board.is_synced(Kind::Service)).await;
    // Where none has come so far their absence says nothing.
    tokio::time::advance(Duration::from_secs(limits::KUBE_BOOKMARK_S_MAX + 5)).await;
    scene.settle().await;
    assert_eq!(api.count(Verb::Watch, None), 0);
    api.bookmark();
    scene.settle().await;
    for silence in 1..=u64::from(limits::KUBE_SILENCES) {
        tokio::time::advance(Duration::from_secs(limits::KUBE_BOOKMARK_S_MAX + 5)).await;
        scene.wait(|board| board.is_lost(Kind::Service)).await;
        tokio::time::advance(Duration::from_millis(limits::KUBE_RETRY_MS_MAX)).await;
        scene.wait(|board| !board.is_lost(Kind::Service)).await;
        // The version may be one from which nothing comes.
        scene.wait(|board| board.begun == 1 + silence).await;
        scene.settle().await;
    }
    // By now it seems to have ceased to send them.
    tokio::time::advance(Duration::from_secs(limits::KUBE_BOOKMARK_S_MAX + 5)).await;
    scene.settle().await;
    assert!(!scene.board.lock().unwrap().is_lost(Kind::Service));
}

#[test]
fn a_version_that_the_server_refuses_is_given_up() {
    for code in [500, 504] {
        let api = Api::new();
        api.script(|script| {
            script.watch_list = WatchList::GateOff;
            script.refusals.push(Refusal {
                verb: Some(Verb::Watch),
                retry_after_s: None,
                ..Refusal::all(code, usize::MAX)
            });
        });
        let scene = synced(&api);
        api.put(service("new"));
        scene.wait(|board| board.has(&service("new")));
    }
}

#[test]
fn what_cannot_be_read_is_not_asked_for_for_ever() {
    let api = Api::new();
    api.script(|script| {
        script.watch_list = WatchList::GateOff;
        script.is_json_only = true;
        script.troubles.push(Trouble {
            kind: Some(Kind::Service),
            times: usize::MAX,
            ..Trouble::once(Verb::Watch, 0, Fault::Garbage)
        });
    });
    let scene = synced(&api);
    api.put(service("new"));
    scene.wait(|board| board.has(&service("new")));
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_brought_nothing_is_not_gone_on_with() {
    let api = Api::new();
    api.script(|script| {
        script.watch_list = WatchList::GateOff;
        script.bookmark_interval_ms = u64::from(u32::MAX);
        script
            .troubles
            .push(Trouble::once(Verb::Watch, 0, Fault::End));
    });
    let scene = Frozen::new(&api, Kind::Service);
    scene.wait(|board| board.is_synced(Kind::Service)).await;
    scene.wait(|_| api.watches() == 1).await;
    scene.settle().await;
    let asked = api
        .asked()
        .into_iter()
        .find(|asked| asked.verb == Verb::Watch);
    let target = asked.unwrap().target;
    let (_, seconds) = target.split_once("timeoutSeconds=").unwrap();
    let seconds = seconds.split('&').next().unwrap().parse().unwrap();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    // Instead of this event the watch ends.
    api.put(service("new"));
    scene
        .wait(|board| board.begun == 2 && board.has(&service("new")))
        .await;
    assert!(!scene.board.lock().unwrap().is_lost(Kind::Service));
}

#[test]
fn a_request_that_one_kind_is_refused_costs_the_others_nothing() {
    let api = Api::new();
    api.script(|script| {
        script.refusals.push(Refusal {
            kind: Some(Kind::Namespace),
            ..Refusal::all(400, usize::MAX)
        });
    });
    let scene = Scene::new(&api, base());
    scene.wait(|board| board.is_synced(Kind::Service) && board.is_synced(Kind::Slice));
    wait(|| api.count(Verb::List, Some(Kind::Namespace)) > 0);
    // All is listed again, and streamed but for the namespaces.
    let streamed = api.count(Verb::WatchList, Some(Kind::Service));
    api.put(service("web"));
    api.restart();
    wait(|| api.count(Verb::WatchList, Some(Kind::Service)) > streamed);
    assert_eq!(api.count(Verb::List, Some(Kind::Service)), 0);
}

/// Whether the kernel asks after the other side of all connections to that address from time to time, as `/proc/net/tcp` tells.
fn are_kept_alive(to: std::net::SocketAddr) -> Option<bool> {
    let std::net::SocketAddr::V4(to) = to else {
        return None;
    };
    let to = format!("{:08X}:{:04X}", u32::from(*to.ip()).swap_bytes(), to.port());
    let table = std::fs::read_to_string("/proc/net/tcp").ok()?;
    let rows = table
        .lines()
        .map(|row| row.split_whitespace().collect::<Vec<_>>());
    let timers = rows.filter(|row| row.get(2) == Some(&&*to) && row.get(3) == Some(&"01"));
    let timers: Vec<bool> = timers
        .map(|row| row.get(5).is_some_and(|timer| timer.starts_with("02:")))
        .collect();
    (!timers.is_empty()).then(|| timers.iter().all(|is_on| *is_on))
}

#[test]
fn the_kernel_looks_after_silent_connections() {
    let api = Api::new();
    let scene = synced(&api);
    // While octets are under way another timer is on.
    wait(|| are_kept_alive(api.addr()) == Some(true));
    assert!(scene.board(|board| !board.is_lost(Kind::Service)));
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_an_hour() {
    let api = Api::new();
    api.put(service("web"));
    let scene = Frozen::new(&api, Kind::Service);
    scene.wait(|board| board.has(&service("web"))).await;
    api.stop();
    scene.wait(|board| board.is_lost(Kind::Service)).await;
    for _ in 0..60 {
        tokio::time::advance(Duration::from_secs(60)).await;
        scene.wait(|_| true).await;
    }
    assert!(scene.board.lock().unwrap().has(&service("web")));
    api.put(service("new"));
    api.start();
    scene.settle().await;
    tokio::time::advance(Duration::from_millis(limits::KUBE_RETRY_MS_MAX)).await;
    scene
        .wait(|board| board.has(&service("new")) && !board.is_lost(Kind::Service))
        .await;
}
