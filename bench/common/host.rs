//! A server without sockets: a Corefile, opened for one thread, that answers bytes with bytes.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use percoredns::cache::Pin;
use percoredns::corefile::RealSource;
use percoredns::plugin::{BUILT, Carry, Fetch, Proto};
use percoredns::runtime::{self, Backend, clock};
use percoredns::server::config::{self, Surroundings};
use percoredns::server::running::Running;
use percoredns::server::serve::{self, Arrival, Desk, Served};
use percoredns::server::short::Glance;
use percoredns::server::tasks::{self, Env, Peer};
use percoredns::tune::{CoreSettings, Settings};

use super::cluster::{self, Ask};
use super::sample;

/// A server in hand.
pub struct Host {
    running: Rc<Running>,
    glances: Vec<Glance>,
    /// The packet thread pins once for each batch.
    pin: Pin,
    desk: Desk,
    arrival: Arrival,
    out: Vec<u8>,
    dir: PathBuf,
}

/// A way of answering from memory.
pub struct Case {
    /// Its name in reports.
    pub name: &'static str,
    directives: &'static [&'static str],
    corefile: &'static str,
    /// What is asked where it is not a host.
    ask: Option<Ask>,
}

/// The ways that are measured. `ZONE` and `HOSTS` stand for files with the hosts of `sample`, `CAPACITY` for room for all of them.
pub const CASES: &[Case] = &[
    Case {
        name: "whoami",
        directives: &["whoami"],
        corefile: ".:53 {\n whoami\n}\n",
        ask: None,
    },
    Case {
        name: "zone",
        directives: &["file"],
        corefile: ".:53 {\n file ZONE example.org\n}\n",
        ask: None,
    },
    Case {
        name: "cached",
        directives: &["cache", "file"],
        corefile: ".:53 {\n cache 86400 {\n  success CAPACITY\n }\n file ZONE example.org\n}\n",
        ask: None,
    },
    // What an edge resolver has in front of its cache.
    Case {
        name: "cached_chain",
        directives: &["errors", "prometheus", "loadbalance", "cache", "file"],
        corefile: ".:53 {\n errors\n prometheus 127.0.0.1:0\n loadbalance\n cache 86400 {\n  success CAPACITY\n }\n \
                   file ZONE example.org\n}\n",
        ask: None,
    },
    // The same with a line in the log for each query, rules that concern other names, and an access list.
    Case {
        name: "cached_full",
        directives: &[
            "errors",
            "log",
            "prometheus",
            "loadbalance",
            "rewrite",
            "acl",
            "cache",
            "file",
        ],
        corefile: ".:53 {\n errors\n log\n prometheus 127.0.0.1:0\n loadbalance\n rewrite name suffix .old.test .example.org\n \
                   acl {\n  block net 192.0.2.0/24\n }\n cache 86400 {\n  success CAPACITY\n }\n file ZONE example.org\n}\n",
        ask: None,
    },
    Case {
        name: "hosts",
        directives: &["hosts"],
        corefile: ".:53 {\n hosts HOSTS\n}\n",
        ask: None,
    },
    Case {
        name: "cluster",
        ask: Some(Ask::Address),
        ..CLUSTER
    },
    Case {
        name: "cluster_ipv6",
        ask: Some(Ask::Ipv6),
        ..CLUSTER
    },
    Case {
        name: "cluster_port",
        ask: Some(Ask::Port),
        ..CLUSTER
    },
    Case {
        name: "cluster_pointer",
        ask: Some(Ask::Pointer),
        ..CLUSTER
    },
    Case {
        name: "cluster_search",
        ask: Some(Ask::Search),
        ..CLUSTER
    },
    // As kubeadm has it, but for the log.
    Case {
        name: "cluster_chain",
        directives: &["errors", "prometheus", "loadbalance", "cache", "kubernetes"],
        corefile: ".:53 {\n errors\n prometheus 127.0.0.1:0\n loadbalance\n cache 30\n \
                   kubernetes cluster.local in-addr.arpa ip6.arpa {\n  endpoint CLUSTER\n  pods insecure\n  \
                   fallthrough in-addr.arpa ip6.arpa\n }\n}\n",
        ask: Some(Ask::Address),
    },
];

const CLUSTER: Case = Case {
    name: "",
    directives: &["kubernetes"],
    corefile: ".:53 {\n kubernetes cluster.local in-addr.arpa ip6.arpa {\n  endpoint CLUSTER\n }\n}\n",
    ask: None,
};

impl Case {
    /// Whether this build has all that it needs.
    pub fn is_built(&self) -> bool {
        self.directives.iter().all(|name| BUILT.contains(name))
    }

    /// A query for each of `hosts` names.
    pub fn queries(&self, hosts: usize) -> Vec<Vec<u8>> {
        match self.ask {
            Some(ask) => cluster::queries(ask, hosts),
            None => sample::queries(hosts),
        }
    }

    /// The rcode of its answers.
    pub fn rcode(&self) -> u8 {
        if self.ask == Some(Ask::Search) { 3 } else { 0 }
    }

    /// Opens it for `hosts` hosts and asks for each once, so that caches are warm.
    pub fn open(&self, hosts: usize) -> Host {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir =
            std::env::temp_dir().join(format!("percoredns-bench-{}-{number}", std::process::id()));
        fs::create_dir_all(&dir).expect("a temporary directory");
        let zone = dir.join("zone.db");
        fs::write(&zone, sample::zone_text(hosts)).expect("a zone file");
        let table = dir.join("hosts");
        fs::write(&table, sample::hosts_text(hosts)).expect("a hosts file");
        let corefile = self
            .corefile
            .replace("ZONE", zone.to_str().expect("a plain path"))
            .replace("HOSTS", table.to_str().expect("a plain path"))
            .replace("CLUSTER", cluster::URL)
            .replace("CAPACITY", &hosts.max(100_000).to_string());
        let running = open(&corefile, self.ask.map(|_| hosts), self.queries(hosts));
        let arrival = Arrival {
            now_ns: clock::now_ns(),
            ..arrival()
        };
        Host {
            running,
            glances: (0..BATCH).map(|_| Glance::default()).collect(),
            pin: Pin::new(),
            desk: Desk::default(),
            arrival,
            out: vec![0; 65_535],
            dir,
        }
    }
}

impl Host {
    /// Answers one message as the packet thread does with one that comes alone; a query that parks or gets no reply is a mistake of the bench.
    pub fn answer(&mut self, message: &[u8]) -> usize {
        self.glances[0].look(&self.running, self.arrival.listener, message);
        self.finish(0, message)
    }

    /// Answers at most `BATCH` messages as the packet thread does with a batch. Returns the octets of all replies.
    pub fn answer_batch<'m>(
        &mut self,
        messages: impl Iterator<Item = &'m Vec<u8>> + Clone,
    ) -> usize {
        let (running, listener) = (&self.running, self.arrival.listener);
        let prefetches = running.prefetches();
        for (glance, message) in self.glances.iter_mut().zip(messages.clone()) {
            if glance.look(running, listener, message) && prefetches {
                glance.prefetch(running, Fetch::Index);
            }
        }
        if prefetches {
            for (glance, _) in self.glances.iter().zip(messages.clone()) {
                glance.prefetch(running, Fetch::Answer);
            }
        }
        messages
            .enumerate()
            .map(|(nth, message)| self.finish(nth, message))
            .sum()
    }

    fn finish(&mut self, nth: usize, message: &[u8]) -> usize {
        let (arrival, pin, out) = (&self.arrival, &self.pin, &mut self.out);
        if let Some(len) = self.glances[nth].answer(&self.running, message, arrival, pin, out) {
            return len;
        }
        match serve::long(&self.running, &mut self.desk, message, arrival, out) {
            Served::Reply(len) | Served::Rejected(len @ 1..) => len,
            Served::Rejected(0) | Served::Silent => panic!("no reply"),
            Served::Parked(_) => panic!("not answered from memory"),
        }
    }

    /// The rcode and the number of answers of the last reply.
    pub fn last(&self) -> (u8, u16) {
        (
            self.out[3] & 0x0f,
            u16::from_be_bytes([self.out[6], self.out[7]]),
        )
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Left to the system's cleaning of temporary files when it fails.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// `cluster`: how many services are asked for.
fn open(corefile: &str, cluster: Option<usize>, warm: Vec<Vec<u8>>) -> Rc<Running> {
    let carry = Carry::default();
    let around = Surroundings {
        source: &RealSource,
        tune: &Arc::new(Settings::floating(1)),
        default_port: 53,
        carry: &carry,
        generation: 1,
    };
    let built = config::build("Corefile", corefile, &around)
        .unwrap_or_else(|error| panic!("{corefile}\n{error}"));
    cluster
        .into_iter()
        .for_each(|count| cluster::fill(&carry, count));
    let config = Arc::new(built.config);
    runtime::block_on(Backend::Epoll, async move {
        let peer = Peer::new(runtime::mailbox(1).0, &CoreSettings::default());
        let env = Env::new(0, 1, vec![peer]);
        env.open(config);
        let running = env.newest().expect("a configuration");
        let (mut desk, mut out) = (Desk::default(), vec![0; 65_535]);
        for message in warm {
            let arrival = Arrival {
                now_ns: clock::now_ns(),
                ..arrival()
            };
            if let Served::Parked(run) =
                serve::message(&running, &mut desk, &message, &arrival, &mut out)
            {
                tasks::complete(&env, &mut desk.query, run)
                    .await
                    .expect("a reply");
            }
        }
        running
    })
    .expect("an executor")
}

fn arrival() -> Arrival {
    Arrival {
        peer: SocketAddr::from(([127, 0, 0, 1], 40212)),
        local: SocketAddr::from(([127, 0, 0, 1], 53)),
        proto: Proto::Udp,
        listener: 0,
        now_ns: 0,
    }
}

/// Messages of a batch, as many as the packet thread takes when it has much to do.
pub const BATCH: usize = 64;
