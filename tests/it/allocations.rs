//! Answers from memory allocate nothing: counted around the one function that every transport calls.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use percoredns::corefile::RealSource;
use percoredns::plugin::{Carry, Proto, Role, Run};
use percoredns::runtime::{self, Backend, clock};
use percoredns::server::config::{self, Surroundings};
use percoredns::server::running::Running;
use percoredns::server::serve::{self, Arrival, Desk, Served};
use percoredns::server::tasks::{self, Env, Peer};
use percoredns::tune::{CoreSettings, Settings};

use crate::client;
use crate::server::Folder;

/// The system's allocator with a counter for each thread.
pub struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // A thread that is ending has no counter any more, and no test either.
    let _ = COUNT.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(at, layout, size) }
    }
}

/// Allocations of this thread while `work` runs.
fn allocations(work: impl FnOnce()) -> u64 {
    let before = COUNT.get();
    work();
    COUNT.get() - before
}

/// A packet thread's and a task thread's view of one configuration, on this thread.
struct Core {
    packet: Running,
    task: Rc<Env>,
    desk: Desk,
    out: Vec<u8>,
}

impl Core {
    fn open(corefile: &str, carry: &Carry) -> Core {
        let around = Surroundings {
            source: &RealSource,
            tune: &Arc::new(Settings::floating(1)),
            default_port: 53,
            carry,
            generation: 1,
        };
        let built = config::build("Corefile", corefile, &around);
        let config = Arc::new(built.unwrap_or_else(|error| panic!("{error}")).config);
        let peer = Peer::new(runtime::mailbox(1).0, &CoreSettings::default());
        let task = Env::new(0, 1, vec![peer]);
        task.open(config.clone());
        Core {
            packet: Running::open(config, 0, 1, Role::Packet),
            task,
            desk: Desk::default(),
            out: vec![0; 65_535],
        }
    }

    /// Serves one datagram as a packet thread does. `None`: it parked, or there is no reply.
    fn serve(&mut self, query: &[u8]) -> Result<usize, Option<Run>> {
        let arrival = Arrival {
            peer: SocketAddr::from(([127, 0, 0, 1], 40_000)),
            local: SocketAddr::from(([127, 0, 0, 1], 53)),
            proto: Proto::Udp,
            listener: 0,
            now_ns: clock::now_ns(),
        };
        let served = serve::message(&self.packet, &mut self.desk, query, &arrival, &mut self.out);
        match served {
            Served::Reply(len) | Served::Rejected(len @ 1..) => Ok(len),
            Served::Parked(run) => Err(Some(run)),
            Served::Rejected(0) | Served::Silent => Err(None),
        }
    }

    /// The same, and on to the end where it parks: what fills a cache.
    async fn serve_to_the_end(&mut self, query: &[u8]) {
        if let Err(Some(run)) = self.serve(query) {
            let reply = tasks::complete(&self.task, &mut self.desk.query, run).await;
            assert!(reply.is_some(), "no reply");
        }
    }
}

/// Asks each query a hundred times after a warm-up and counts allocations.
#[track_caller]
fn check(corefile: &str, queries: &'static [(&'static str, &'static str)]) {
    check_filled(corefile, |_| {}, queries);
}

/// The same after `fill` has put something into what the configuration made.
#[track_caller]
fn check_filled(
    corefile: &str,
    fill: impl FnOnce(&Carry) + 'static,
    queries: &'static [(&'static str, &'static str)],
) {
    let corefile = corefile.to_owned();
    let done = runtime::block_on(Backend::Epoll, async move {
        let carry = Carry::default();
        let mut core = Core::open(&corefile, &carry);
        fill(&carry);
        let queries = queries
            .iter()
            .map(|(query, want)| (client::query(7, query), *want));
        let queries: Vec<(Vec<u8>, &str)> = queries.collect();
        // Buffers grow in the first rounds and are found large enough in the last.
        for _ in 0..3 {
            for (query, _) in &queries {
                core.serve_to_the_end(query).await;
            }
        }
        for (query, want) in &queries {
            let mut seen = Err(None);
            let made = allocations(|| {
                for _ in 0..100 {
                    seen = core.serve(query);
                }
            });
            let len = seen.unwrap_or_else(|_| panic!("not answered from memory: {want}"));
            let reply = client::decode(&core.out[..len]);
            assert_eq!(&reply.rcode, want);
            assert_eq!(made, 0, "{reply:?} took {made} allocations in 100 answers");
        }
    });
    done.expect("an executor");
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| {}), 0);
    assert!(allocations(|| drop(Box::new([0u8; 100]))) > 0);
}

#[test]
fn whoami_allocates_nothing() {
    check(
        ". {\n  whoami\n}\n",
        &[
            ("example.org A", "NOERROR"),
            ("WWW.Example.ORG AAAA bufsize=1232", "NOERROR"),
        ],
    );
}

#[test]
fn what_no_block_takes_allocates_nothing() {
    check(
        "example.org {\n  whoami\n}\n",
        &[("example.net A", "REFUSED")],
    );
}

#[test]
fn a_zone_allocates_nothing() {
    let folder = Folder::new();
    let zone = include_str!("../data/example/db.example.org");
    let path = folder.write("db", zone);
    check(
        &format!("example.org {{\n  file {}\n}}\n", path.display()),
        &[
            ("www.example.org A", "NOERROR"),
            ("WWW.eXample.org A bufsize=1232", "NOERROR"),
            ("example.org MX", "NOERROR"),
            ("missing.example.org A", "NXDOMAIN"),
            ("www.example.org TXT", "NOERROR"),
        ],
    );
}

#[test]
fn a_hosts_file_allocates_nothing() {
    check(
        ". {\n  hosts {\n    192.0.2.1 a.example b.example\n    2001:db8::1 a.example\n  }\n}\n",
        &[
            ("a.example A", "NOERROR"),
            ("A.Example AAAA bufsize=1232", "NOERROR"),
            ("b.example AAAA", "NOERROR"),
            ("1.2.0.192.in-addr.arpa PTR", "NOERROR"),
        ],
    );
}

/// Filled from the zone below it: what is counted are hits.
#[test]
fn a_cache_hit_allocates_nothing() {
    let folder = Folder::new();
    let path = folder.write("db", include_str!("../data/example/db.example.org"));
    let chains = [
        "cache",
        "prometheus localhost:0\n  errors\n  loadbalance\n  cache {\n    prefetch 10\n    serve_stale\n  }",
    ];
    for chain in chains {
        check(
            &format!("example.org {{\n  {chain}\n  file {}\n}}\n", path.display()),
            &[
                ("www.example.org A", "NOERROR"),
                ("WWW.eXample.org A bufsize=1232", "NOERROR"),
                ("www.example.org AAAA +do", "NOERROR"),
                ("example.org MX", "NOERROR"),
                ("missing.example.org A", "NXDOMAIN"),
            ],
        );
    }
}

/// All that pods ask of their cluster, and a cache in front makes no difference.
#[cfg(feature = "kubernetes")]
#[test]
fn the_names_of_a_cluster_allocate_nothing() {
    use percoredns::kube::access::Access;
    use percoredns::kube::record::{Kind, Object, Port, Service, Sink};
    use percoredns::kube::{self, Selectors};
    use percoredns::testing::kube_api::Cluster;

    let fill = |carry: &Carry| {
        let access = Access::at("http://127.0.0.1:9");
        let key = kube::Cluster::key(&access, &Selectors::default());
        let cluster = carry.obtain::<kube::Cluster>(&key, || panic!("kubernetes has made it"));
        let mut writer = cluster.writer().lock().unwrap();
        let made = Cluster::new(30, 3, 0);
        for (kind, count) in [(Kind::Namespace, 2), (Kind::Service, 30), (Kind::Slice, 30)] {
            writer.list_begins(kind);
            (0..count).for_each(|number| writer.put(&made.object(kind, number).object));
            writer.list_ends(kind);
        }
        writer.put(&Object::Service(Service {
            namespace: "default".into(),
            name: "outside".into(),
            external_ips: vec!["192.0.2.1".parse().unwrap()],
            ports: vec![Port {
                number: 80,
                ..Port::default()
            }],
            ..Service::default()
        }));
    };
    for chain in [
        "",
        "cache 30",
        "errors\n  prometheus localhost:0\n  loadbalance\n  cache 30",
    ] {
        check_filled(
            &format!(
                ".:53 {{\n  {chain}\n  kubernetes cluster.local in-addr.arpa {{\n    endpoint http://127.0.0.1:9\n    pods insecure\n  }}\n}}\n"
            ),
            fill,
            &[
                ("kubernetes.default.svc.cluster.local A", "NOERROR"),
                (
                    "Kubernetes.Default.svc.cluster.local A bufsize=1232",
                    "NOERROR",
                ),
                ("kubernetes.default.svc.cluster.local AAAA", "NOERROR"),
                ("kubernetes.default.svc.cluster.local SRV", "NOERROR"),
                (
                    "_https._tcp.kubernetes.default.svc.cluster.local SRV",
                    "NOERROR",
                ),
                ("10-1-2-3.default.pod.cluster.local A", "NOERROR"),
                ("www.example.com.default.svc.cluster.local A", "NXDOMAIN"),
                ("example.com.svc.cluster.local A", "NXDOMAIN"),
                ("example.com.cluster.local A", "NXDOMAIN"),
                ("1.0.96.10.in-addr.arpa PTR", "NOERROR"),
            ],
        );
    }
    check_filled(
        ".:53 {
  autopath @kubernetes
  cache 30
  k8s_external example.org 192.0.2.0/24
  kubernetes cluster.local {
    endpoint http://127.0.0.1:9
    pods verified
  }
}
",
        fill,
        &[
            ("outside.default.example.org A", "NOERROR"),
            ("outside.default.example.org AAAA bufsize=1232", "NOERROR"),
            ("outside.default.example.org SRV", "NOERROR"),
            ("example.org NS", "NOERROR"),
            ("1.2.0.192.in-addr.arpa PTR", "NOERROR"),
            ("kubernetes.default.svc.cluster.local A", "NOERROR"),
        ],
    );
}
