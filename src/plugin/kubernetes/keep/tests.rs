//! One process after the other, with a file between them and no API server.

use std::fs;
use std::time::{Duration, SystemTime};

use super::*;
use crate::corefile::RealSource;
use crate::kube::access::Access;
use crate::kube::record::{Object, Service, Sink};
use crate::kube::{Selectors, store::Kinds};
use crate::plugin::Carry;
use crate::telemetry::log::capture;
use crate::testing::Host;
use crate::testing::files::Dir;
use crate::tune::Settings;

/// Nobody listens there, and nothing asks.
const URL: &str = "http://127.0.0.1:9";

/// What outlives the configurations of a process, and its settings.
struct Process {
    carry: Carry,
    tune: Arc<Settings>,
}

impl Process {
    fn new(dir: &Dir) -> Process {
        let settings = Settings {
            kubernetes_snapshot: Some(dir.path().join("kube")),
            kubernetes_snapshot_interval: Duration::from_secs(30),
            ..Settings::floating(1)
        };
        Process {
            carry: Carry::default(),
            tune: Arc::new(settings),
        }
    }

    fn start(&self, corefile: &str) -> Host {
        Host::tuned(corefile, &RealSource, &self.carry, &self.tune).unwrap()
    }

    fn cluster(&self, url: &str) -> Arc<Cluster> {
        let access = Access::at(url);
        let key = Cluster::key(&access, &Selectors::default());
        self.carry.obtain(&key, || panic!("the block has made it"))
    }
}

fn block(url: &str, options: &str) -> String {
    format!(".:53 {{\n kubernetes cluster.local {{\n endpoint {url}\n {options}\n }}\n}}\n")
}

fn service(name: &str) -> Object {
    Object::Service(Service {
        namespace: "shop".into(),
        name: name.into(),
        cluster_ips: vec!["10.96.0.1".parse().unwrap()],
        ..Service::default()
    })
}

fn list(cluster: &Cluster) {
    let mut writer = cluster.writer().lock().unwrap();
    for kind in [Kind::Namespace, Kind::Service, Kind::Slice] {
        writer.list_begins(kind);
        match kind {
            Kind::Namespace => writer.put(&Object::Namespace("shop".into())),
            Kind::Service => writer.put(&service("web")),
            _ => {}
        }
        writer.list_ends(kind);
    }
}

fn rcode(host: &Host, name: &str) -> String {
    host.ask(&format!("{name}.shop.svc.cluster.local. A")).rcode
}

fn run(hooks: &mut Vec<Box<dyn FnOnce() + Send>>) {
    std::mem::take(hooks).into_iter().for_each(|hook| hook());
}

fn end(mut host: Host) {
    run(&mut host.life.on_drain);
    run(&mut host.life.on_stop);
}

fn files(dir: &Dir) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.path()).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn modified(path: &Path) -> SystemTime {
    fs::metadata(path).unwrap().modified().unwrap()
}

#[test]
fn what_one_process_knew_the_next_one_answers() {
    let dir = Dir::new();
    let first = Process::new(&dir);
    let host = first.start(&block(URL, ""));
    assert_eq!(rcode(&host, "web"), "SERVFAIL");
    list(&first.cluster(URL));
    end(host);
    let [file] = &files(&dir)[..] else {
        panic!("{:?}", files(&dir))
    };
    let second = Process::new(&dir);
    let mut host = None;
    let lines = capture::lines(|| host = Some(second.start(&block(URL, ""))));
    let told = lines.first().expect("a line");
    let shown = file.display();
    let expect =
        format!("[INFO] plugin/kubernetes: 1 services and 0 endpoint slices from {shown}, as of ");
    assert!(lines.len() == 1 && told.starts_with(&expect), "{lines:?}");
    let host = host.unwrap();
    assert_eq!(rcode(&host, "web"), "NOERROR");
    assert_eq!(rcode(&host, "nobody"), "NXDOMAIN");
    let readiness = &host.life.readiness;
    readiness.watch(0, false);
    assert_eq!(readiness.not_ready(), None);
    let stale = readiness.stale();
    assert!(stale.is_some_and(|line| line.starts_with("kubernetes: stale for ")));
    // Nothing has changed, so nothing is written.
    let written = modified(file);
    end(host);
    assert_eq!(modified(file), written);
    // A block that wants to know more than was kept does not deny what it cannot know.
    let third = Process::new(&dir);
    let host = third.start(&block(URL, "zonal"));
    assert_eq!(rcode(&host, "web"), "NOERROR");
    assert_eq!(rcode(&host, "nobody"), "SERVFAIL");
}

#[test]
fn it_is_written_at_intervals_when_something_has_changed() {
    let dir = Dir::new();
    let process = Process::new(&dir);
    let blocks = format!(
        "{}{}",
        block(URL, ""),
        block(URL, "ttl 9").replace(".:53", "a:53")
    );
    let mut host = process.start(&blocks);
    let cluster = process.cluster(URL);
    assert_eq!(host.life.periodic.len(), 1, "one for both blocks");
    assert_eq!(host.life.periodic[0].interval, Duration::from_secs(30));
    let mut tick = || (host.life.periodic[0].work)();
    cluster.writer().lock().unwrap().put(&service("early"));
    tick();
    assert!(files(&dir).is_empty(), "not all of the cluster is known");
    list(&cluster);
    tick();
    let file = files(&dir).pop().unwrap();
    let size = || fs::metadata(&file).unwrap().len();
    let (written, small) = (modified(&file), size());
    tick();
    assert_eq!(modified(&file), written, "nothing has changed");
    cluster.writer().lock().unwrap().put(&service("late"));
    tick();
    assert!(size() > small);
    // A configuration that is replaced writes nothing.
    cluster.writer().lock().unwrap().put(&service("later"));
    let large = size();
    run(&mut host.life.on_stop);
    assert_eq!(size(), large);
}

#[test]
fn a_file_that_cannot_be_used_is_named_and_stays_until_there_is_a_better_one() {
    let dir = Dir::new();
    let process = Process::new(&dir);
    let host = process.start(&block(URL, ""));
    list(&process.cluster(URL));
    end(host);
    let file = files(&dir).pop().unwrap();
    fs::write(&file, "something else").unwrap();
    let process = Process::new(&dir);
    let mut host = None;
    let lines = capture::lines(|| host = Some(process.start(&block(URL, ""))));
    let told = format!(
        "[WARNING] plugin/kubernetes: snapshot {} is ignored, nothing is known until the API answers: it is cut short or has something behind it",
        file.display()
    );
    assert_eq!(lines, [told]);
    let mut host = host.unwrap();
    assert_eq!(rcode(&host, "nobody"), "SERVFAIL");
    (host.life.periodic[0].work)();
    assert_eq!(fs::read(&file).unwrap(), b"something else");
    list(&process.cluster(URL));
    (host.life.periodic[0].work)();
    let next = Process::new(&dir).start(&block(URL, ""));
    assert_eq!(rcode(&next, "web"), "NOERROR");
}

#[test]
fn each_cluster_has_a_file_of_its_own() {
    let dir = Dir::new();
    let other = "http://127.0.0.1:19";
    let blocks = format!(
        "{}{}",
        block(URL, ""),
        block(other, "").replace(".:53", "a:53")
    );
    let process = Process::new(&dir);
    let host = process.start(&blocks);
    list(&process.cluster(URL));
    list(&process.cluster(other));
    end(host);
    let both = files(&dir);
    assert_eq!(both.len(), 2, "{both:?}");
    // Under the other's name, it is still not the other's.
    fs::copy(&both[0], &both[1]).unwrap();
    let process = Process::new(&dir);
    let mut host = None;
    let lines = capture::lines(|| host = Some(process.start(&blocks)));
    let refused = lines
        .iter()
        .filter(|line| line.ends_with("it is of another cluster"));
    assert_eq!(refused.count(), 1, "{lines:?}");
    let is_synced = [URL, other].map(|url| process.cluster(url).store().is_synced(Kinds::BASE));
    assert_ne!(is_synced[0], is_synced[1]);
    drop(host);
}

#[test]
fn a_place_that_cannot_be_written_is_told_and_no_reason_to_fail() {
    let dir = Dir::new();
    let settings = Settings {
        kubernetes_snapshot: Some(dir.path().join("none/kube")),
        ..Settings::floating(1)
    };
    let process = Process {
        carry: Carry::default(),
        tune: Arc::new(settings),
    };
    let mut host = process.start(&block(URL, ""));
    list(&process.cluster(URL));
    let lines = capture::lines(|| (host.life.periodic[0].work)());
    assert!(
        lines.len() == 1 && lines[0].contains("what was there stays"),
        "{lines:?}"
    );
    assert_eq!(rcode(&host, "web"), "NOERROR");
}
