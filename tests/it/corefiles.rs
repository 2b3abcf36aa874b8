//! Corefiles as they run in the field: many blocks, shared listeners, NodeLocal caches, edge resolvers.

use std::process::Command;

use crate::client;
use crate::server::{
    Folder, Server, command, free_port, is_io_uring_refused, refuse_io_uring, skip,
};
use crate::upstream::Upstream;

/// A zone whose apex says which file it came from.
fn zone(origin: &str, address: &str) -> String {
    format!(
        "$ORIGIN {origin}\n@ 300 IN SOA ns host 1 7200 3600 1209600 300\n@ 300 IN NS ns\nns 300 IN A {address}\n"
    )
}

#[test]
fn four_blocks_on_two_ports() {
    let folder = Folder::new();
    for (file, origin, address) in [
        ("db.io", "coredns.io.", "192.0.2.1"),
        ("db.org", "example.org.", "192.0.2.2"),
        ("db.net", "example.net.", "192.0.2.3"),
    ] {
        folder.write(file, &zone(origin, address));
    }
    let (high, low, health) = (free_port(), free_port(), free_port());
    let corefile = format!(
        "coredns.io:{high} {{\n    file db.io\n}}\n\n\
         example.org:{low} {{\n    errors\n    log\n    file db.org\n}}\n\n\
         example.net:{low} {{\n    file db.net\n}}\n\n\
         .:{low} {{\n    errors\n    log\n    health 127.0.0.1:{health}\n    \
         rewrite name foo.example.com foo.default.svc.cluster.local\n}}\n"
    );
    let server = Server::with(folder, &corefile, |_| {});
    let (high, low) = (server.addr("coredns.io.:"), server.addr(".:"));
    for (addr, name, want) in [
        (high, "ns.coredns.io", "192.0.2.1"),
        (low, "ns.example.org", "192.0.2.2"),
        (low, "ns.example.net", "192.0.2.3"),
    ] {
        for ask in [client::udp, client::tcp] {
            let reply = ask(addr, &format!("{name} A"));
            assert_eq!(reply.answer, [format!("{name}. 300 IN A {want}")]);
            assert!(reply.flags.contains("aa"));
        }
    }
    assert_eq!(client::udp(high, "ns.example.org A").rcode, "REFUSED");
    // The root block ends without a plugin that answers, and its errors and log say so.
    let reply = client::udp(low, "foo.example.com A");
    assert_eq!(reply.rcode, "SERVFAIL");
    server.wait_for(|line| {
        line.starts_with("[ERROR] plugin/errors: 2 foo.") && line.contains("no next plugin found")
    });
    server.wait_for(|line| line.contains("IN foo.example.com. udp") && line.contains("SERVFAIL"));
    assert_eq!(client::http(health, "/health"), Some((200, "OK".into())));
}

#[test]
fn snippets_imports_and_environment() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path().join("conf.d")).unwrap();
    for (nth, zone) in ["a.example", "b.example"].iter().enumerate() {
        let text = format!("{zone}:{{$PORT}} {{\n  import answer\n}}\n");
        folder.write(&format!("conf.d/{nth}.conf"), &text);
    }
    let corefile = "(answer) {\n  errors\n  whoami\n}\nimport conf.d/*.conf\n";
    let server = Server::with(folder, corefile, |command| {
        command.env("PORT", "0");
    });
    for zone in ["a.example", "b.example"] {
        let addr = server.addr(&format!("{zone}.:"));
        assert_eq!(client::udp(addr, &format!("x.{zone} A")).rcode, "NOERROR");
    }
}

#[test]
fn a_resolver_forwards_and_caches() {
    let upstream = Upstream::start();
    let server = Server::start(&format!(
        ".:0 {{\n  errors\n  cache 60\n  forward . {}\n}}\n",
        upstream.addr
    ));
    for _ in 0..5 {
        assert_eq!(server.ask("a.example A").answer.len(), 1);
    }
    assert_eq!(upstream.asked(), 1, "the rest came from the cache");
    assert_eq!(server.ask("nx.example A").rcode, "NXDOMAIN");
    assert_eq!(server.ask("nx.example A").rcode, "NXDOMAIN");
    assert_eq!(upstream.asked(), 2);
    let upper = server.ask("A.EXAMPLE A");
    assert!(upper.answer[0].starts_with("A.EXAMPLE. "), "{upper:?}");
}

#[test]
fn an_upstream_that_is_silent_costs_its_own_clients_five_seconds_and_others_nothing() {
    let upstream = Upstream::start();
    let server = Server::start(&format!(
        ".:0 {{\n  errors\n  cache 60\n  forward . {} {{\n    max_fails 0\n  }}\n}}\n",
        upstream.addr
    ));
    let addr = server.addr(".:");
    std::thread::scope(|scope| {
        let begin = std::time::Instant::now();
        let waits: Vec<_> = (0..20)
            .map(|nth| scope.spawn(move || client::udp(addr, &format!("dead{nth}.example A"))))
            .collect();
        while !waits.iter().all(|wait| wait.is_finished()) {
            let one = std::time::Instant::now();
            assert_eq!(client::udp(addr, "lively.example A").rcode, "NOERROR");
            assert!(one.elapsed().as_millis() < 1000, "{:?}", one.elapsed());
            assert!(begin.elapsed().as_secs() < 9, "{:?}", begin.elapsed());
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        for wait in waits {
            assert_eq!(wait.join().unwrap().rcode, "SERVFAIL");
        }
    });
    server.wait_for(|line| line.contains("dead0.example. A: ") && line.contains("i/o timeout"));
}

// === in a network namespace ===

/// A namespace with loopback up; gone when dropped.
struct Namespace(String);

impl Namespace {
    /// `None`, with a word about it, where that is not allowed.
    fn new(addresses: &[&str]) -> Option<Namespace> {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let nth = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let name = format!("percoredns-it-{}-{nth}", std::process::id());
        let ip = |args: &[&str]| Command::new("ip").args(args).output();
        match ip(&["netns", "add", &name]) {
            Ok(done) if done.status.success() => {}
            Ok(done) => {
                let why = String::from_utf8_lossy(&done.stderr);
                skip(&format!("no network namespace (root only): {}", why.trim()));
                return None;
            }
            Err(_) => {
                skip("ip is not installed (apt-get install iproute2)");
                return None;
            }
        }
        let namespace = Namespace(name);
        let up = ["-n", &namespace.0, "link", "set", "lo", "up"];
        assert!(ip(&up).unwrap().status.success());
        for address in addresses {
            let add = ["-n", &namespace.0, "addr", "add", address, "dev", "lo"];
            assert!(ip(&add).unwrap().status.success(), "{address}");
        }
        Some(namespace)
    }

    fn start(&self, folder: Folder, corefile: &str, environment: &[(&str, &str)]) -> Server {
        folder.write("Corefile", corefile);
        let plain = command(&folder);
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.0])
            .arg(plain.get_program())
            .args(["-conf", "Corefile"])
            .current_dir(folder.path())
            .envs(environment.iter().copied());
        if is_io_uring_refused() {
            refuse_io_uring(&mut command);
        }
        let server = Server::spawn(command, folder);
        server.wait_for(|line| line.starts_with("percoredns-"));
        server
    }

    /// Runs dig in the namespace; its short answer.
    fn dig(&self, args: &[&str]) -> String {
        let done = Command::new("ip")
            .args(["netns", "exec", &self.0, "dig", "+tries=1", "+timeout=5"])
            .args(args)
            .output()
            .expect("dig");
        String::from_utf8_lossy(&done.stdout).into_owned()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).output();
    }
}

fn has_dig() -> bool {
    let found = Command::new("dig").arg("-v").output().is_ok();
    if !found {
        skip("dig is not installed (apt-get install bind9-dnsutils)");
    }
    found
}

/// Another percoredns as the cluster's and the site's name servers of that namespace.
fn origin(namespace: &Namespace, addresses: &[&str]) -> Server {
    let folder = Folder::new();
    folder.write(
        "db",
        "@ 300 IN SOA ns host 1 7200 3600 1209600 300\n@ 300 IN NS ns\n* 300 IN A 192.0.2.9\n",
    );
    let corefile = format!(
        ".:53 {{\n  bind {}\n  file db cluster.local corp.test\n  whoami\n}}\n",
        addresses.join(" ")
    );
    namespace.start(folder, &corefile, &[])
}

#[test]
fn a_node_local_cache_runs_on_its_link_local_address() {
    if !has_dig() {
        return;
    }
    let addresses = ["169.254.25.10/32", "10.97.0.10/32", "10.97.0.11/32"];
    let Some(namespace) = Namespace::new(&addresses) else {
        return;
    };
    let block = |zone: &str, cache: &str, forward: &str, extra: &str| {
        format!(
            "{zone}:53 {{\n    errors\n    cache {cache}\n    reload\n    loop\n    bind 169.254.25.10 10.97.0.10\n    \
             forward . {forward} {{\n        force_tcp\n    }}\n    prometheus :9253\n{extra}}}\n"
        )
    };
    let corefile = [
        block(
            "cluster.local",
            "{\n        success 9984 30\n        denial 9984 5\n    }",
            "10.97.0.11",
            "    health 169.254.25.10:8080\n",
        ),
        block("in-addr.arpa", "30", "10.97.0.11", ""),
        block("ip6.arpa", "30", "10.97.0.11", ""),
        block(".", "30", "10.97.0.11", ""),
    ]
    .concat();
    let _origin = origin(&namespace, &["10.97.0.11"]);
    let server = namespace.start(Folder::new(), &corefile, &[]);
    for address in ["169.254.25.10", "10.97.0.10"] {
        let at = format!("@{address}");
        for _ in 0..2 {
            assert_eq!(
                namespace
                    .dig(&[&at, "+short", "a.cluster.local", "A"])
                    .trim(),
                "192.0.2.9"
            );
        }
        let root = namespace.dig(&[&at, "elsewhere.test", "A"]);
        assert!(root.contains("status: NOERROR"), "{root}");
        server.wait_for(|line| line == format!("cluster.local.:53 on {address}"));
    }
    assert!(
        !server.lines().iter().any(|line| line.contains("Loop (")),
        "{:?}",
        server.lines()
    );
}

#[test]
fn an_edge_resolver_with_snippets_and_split_horizon() {
    if !has_dig() {
        return;
    }
    let Some(namespace) = Namespace::new(&["198.51.100.53/32", "198.51.100.60/32"]) else {
        return;
    };
    let corefile = r#"
(shared) {
    errors {
        consolidate 5m ".* i/o timeout$" warning
    }
    log . "{remote} {name} {type} {rcode} {duration}" {
        class denial error
    }
    prometheus localhost:9153
    bufsize 1232
    loadbalance
}
.:{$DNS_PORT} {
    import shared
    bind 127.0.0.1 ::1
    acl {
        allow net 127.0.0.0/8 ::1/128
        block
    }
    hosts hosts.edge {
        10.1.0.7 registry.test
        ttl 60
        fallthrough
    }
    cache {
        success 20000 3600 5
        denial 5000 300 5
        prefetch 10 1m 10%
        serve_stale 1h verify
        servfail 5s
    }
    forward . 198.51.100.53 {
        except corp.test
        policy round_robin
        max_fails 3
        health_check 1s
        expire 20s
        max_concurrent 5000
    }
    health :8080 {
        lameduck 1s
    }
    ready :8181
    reload 30s 10s
    loop
}
corp.test:{$DNS_PORT} 10.0.0.0/8:{$DNS_PORT} {
    import shared
    forward . 198.51.100.60 {
        force_tcp
    }
    cache 60
}
"#;
    let _origin = origin(&namespace, &["198.51.100.53", "198.51.100.60"]);
    let folder = Folder::new();
    folder.write("hosts.edge", "10.1.0.8 mirror.test\n");
    let mut server = namespace.start(folder, corefile, &[("DNS_PORT", "5353")]);
    let at = ["@127.0.0.1", "-p", "5353"];
    let dig = |args: &[&str]| namespace.dig(&[&at[..], args].concat());
    assert_eq!(dig(&["+short", "registry.test", "A"]).trim(), "10.1.0.7");
    assert_eq!(dig(&["+short", "mirror.test", "A"]).trim(), "10.1.0.8");
    // The block of corp.test is not bound: on 127.0.0.1 the kernel prefers the sockets of the other one, as under CoreDNS.
    let corp = [
        "@198.51.100.53",
        "-p",
        "5353",
        "+short",
        "www.corp.test",
        "A",
    ];
    assert_eq!(namespace.dig(&corp).trim(), "192.0.2.9");
    assert!(dig(&["www.corp.test", "A"]).contains("status: SERVFAIL"));
    assert!(dig(&["elsewhere.test", "A"]).contains("status: NOERROR"));
    let v6 = namespace.dig(&["@::1", "-p", "5353", "+tcp", "+short", "registry.test", "A"]);
    assert_eq!(v6.trim(), "10.1.0.7");
    server.signal(libc::SIGTERM);
    assert_eq!(server.wait(), 0);
}
