//! A cluster's snapshot over several lives of the process: what one knew the next one answers while the API server is away, and no longer.

use std::fs;
use std::net::IpAddr;

use percoredns::kube::record::{Kind, Object, Service};
use percoredns::testing::kube_api::Api;

use crate::client;
use crate::server::{Folder, Server, eventually, free_port};

const SETTINGS: &str = "[global]\nkubernetes_snapshot = \"kube.snapshot\"\n";

fn service(name: &str, last: u8) -> Object {
    Object::Service(Service {
        namespace: "default".into(),
        name: name.into(),
        cluster_ips: vec![IpAddr::from([10, 96, 0, last])],
        ..Service::default()
    })
}

/// An API server and the ports that each life of the process has.
struct World {
    api: Api,
    ready: u16,
    metrics: u16,
}

impl World {
    fn new() -> World {
        let api = Api::new();
        api.put(Object::Namespace("default".into()));
        for (last, name) in [(1, "kubernetes"), (2, "web")] {
            api.put(service(name, last));
        }
        World {
            api,
            ready: free_port(),
            metrics: free_port(),
        }
    }

    #[track_caller]
    fn start(&self, folder: Folder) -> Server {
        folder.write("tune.toml", SETTINGS);
        let (url, ready, metrics) = (self.api.url(), self.ready, self.metrics);
        let corefile = format!(
            ".:0 {{\n kubernetes cluster.local 10.in-addr.arpa {{\n endpoint {url}\n }}\n ready 127.0.0.1:{ready} {{\n \
             monitor continuously\n }}\n prometheus 127.0.0.1:{metrics}\n bind 127.0.0.1\n}}\n"
        );
        Server::with(folder, &corefile, |command| {
            command.args(["-tune", "tune.toml"]);
        })
    }

    fn is_current(&self) -> (u16, String) {
        client::http(self.ready, "/ready/current").expect("an answer")
    }

    /// The value of the cluster's gauge of that name.
    fn gauge(&self, name: &str) -> f64 {
        let (_, text) = client::http(self.metrics, "/metrics").expect("metrics");
        let url = self.api.url();
        let start = format!("percoredns_kubernetes_{name}{{cluster=\"{url}\"}} ");
        let value = text.lines().find_map(|line| line.strip_prefix(&start));
        value.expect("the gauge").parse().expect("a number")
    }
}

/// Ends a life with SIGTERM, which must be an orderly end; its folder stays.
#[track_caller]
fn end(mut server: Server) -> Folder {
    server.signal(libc::SIGTERM);
    assert_eq!(server.wait(), 0);
    std::mem::replace(&mut server.folder, Folder::new())
}

/// What is answered for a service: the rcode, and the address if there is one.
fn answer(server: &Server, name: &str) -> String {
    let reply = server.ask(&format!("{name}.default.svc.cluster.local A"));
    match reply.answer.first().and_then(|row| row.rsplit(' ').next()) {
        Some(address) => address.to_owned(),
        None => reply.rcode,
    }
}

#[test]
fn a_restart_without_the_api_server_answers_and_is_current_once_that_is_back() {
    let world = World::new();
    let server = world.start(Folder::new());
    eventually("all is known", || answer(&server, "nobody") == "NXDOMAIN");
    assert_eq!(answer(&server, "web"), "10.96.0.2");
    eventually("the watches are up", || {
        world.is_current() == (200, "OK".into())
    });
    let folder = end(server);
    // While nobody looks, the cluster changes.
    world.api.stop();
    world.api.remove(Kind::Service, "default", "web");
    world.api.put(service("late", 3));

    let server = world.start(folder);
    assert_eq!(answer(&server, "web"), "10.96.0.2");
    assert_eq!(answer(&server, "nobody"), "NXDOMAIN");
    assert_eq!(answer(&server, "late"), "NXDOMAIN");
    let reverse = server.ask("2.0.96.10.in-addr.arpa PTR").answer;
    assert!(reverse.len() == 1 && reverse[0].ends_with("web.default.svc.cluster.local."));
    assert_eq!(
        client::http(world.ready, "/ready"),
        Some((200, "OK".into()))
    );
    let (status, body) = world.is_current();
    assert!(
        status == 503 && body.starts_with("kubernetes: stale for "),
        "{body}"
    );
    assert_eq!(
        (world.gauge("synced"), world.gauge("from_snapshot")),
        (1.0, 1.0)
    );
    server.wait_for(|line| {
        line.starts_with(
            "[INFO] plugin/kubernetes: 2 services and 0 endpoint slices from kube.snapshot.",
        )
    });
    server.wait_for(|line| {
        line == "[WARNING] plugin/kubernetes: The Kubernetes API cannot be reached; what is known of the cluster is answered on"
    });

    world.api.start();
    eventually("what came is answered", || {
        answer(&server, "late") == "10.96.0.3"
    });
    eventually("what went is denied", || {
        answer(&server, "web") == "NXDOMAIN"
    });
    assert_eq!(answer(&server, "kubernetes"), "10.96.0.1");
    server.wait_for(|line| {
        line.starts_with("[INFO] plugin/kubernetes: The Kubernetes API is back after ")
    });
    eventually("all is current", || {
        world.is_current() == (200, "OK".into())
    });
    assert_eq!(
        (world.gauge("from_snapshot"), world.gauge("stale_seconds")),
        (0.0, 0.0)
    );
}

#[test]
fn a_damaged_file_is_named_and_nothing_is_denied() {
    let world = World::new();
    let server = world.start(Folder::new());
    eventually("all is known", || answer(&server, "nobody") == "NXDOMAIN");
    let folder = end(server);
    world.api.stop();
    let is_snapshot = |name: &str| name.starts_with("kube.snapshot.");
    let file = fs::read_dir(folder.path())
        .expect("the folder")
        .map(|entry| entry.expect("a file").path())
        .find(|path| {
            path.file_name()
                .is_some_and(|name| is_snapshot(&name.to_string_lossy()))
        })
        .expect("the snapshot");
    let mut octets = fs::read(&file).expect("the snapshot");
    let last = octets.len() - 1;
    octets[last] ^= 1;
    fs::write(&file, &octets).expect("a file");

    let server = world.start(folder);
    assert_eq!(answer(&server, "web"), "SERVFAIL");
    assert_eq!(answer(&server, "nobody"), "SERVFAIL");
    server.wait_for(|line| {
        line.starts_with("[WARNING] plugin/kubernetes: snapshot kube.snapshot.")
            && line.ends_with("it is damaged: its checksum is wrong")
    });
    world.api.start();
    eventually("all is known", || answer(&server, "nobody") == "NXDOMAIN");
    assert_eq!(answer(&server, "web"), "10.96.0.2");
}
