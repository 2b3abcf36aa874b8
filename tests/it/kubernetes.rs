//! A cluster from its API server to a client: the server as it runs in a pod, stock Corefiles, restarts and outages of the API server.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use percoredns::kube::record::{Endpoint, Kind, Object, Port, Protocol, Reach, Service, Slice};
use percoredns::testing::kube_api::{Api, Authority};

use crate::client;
use crate::migrate::KUBEADM_1_11;
use crate::server::{Folder, PATIENCE, Server, free_port, skip};

fn service(name: &str, address: &str) -> Object {
    Object::Service(Service {
        namespace: "default".into(),
        name: name.into(),
        cluster_ips: vec![ip(address)],
        ports: vec![Port {
            name: "https".into(),
            protocol: Protocol::Tcp,
            number: 443,
        }],
        ..Service::default()
    })
}

fn headless(name: &str, endpoints: &[(&str, &str)]) -> [Object; 2] {
    let endpoint = |(hostname, address): &(&str, &str)| Endpoint {
        ip: ip(address),
        hostname: (*hostname).into(),
        target: String::new(),
        zone: String::new(),
    };
    let service = Service {
        namespace: "default".into(),
        name: name.into(),
        reach: Reach::Headless,
        ..Service::default()
    };
    let slice = Slice {
        namespace: "default".into(),
        name: format!("{name}-x"),
        service: name.into(),
        endpoints: endpoints.iter().map(endpoint).collect(),
        ..Slice::default()
    };
    [Object::Service(service), Object::Slice(slice)]
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn fill(api: &Api) {
    api.put(Object::Namespace("default".into()));
    api.put(service("kubernetes", "10.96.0.1"));
}

/// Asks until the answer is the expected one; an empty `expected` stands for NXDOMAIN.
#[track_caller]
fn wait_for_answer(server: SocketAddr, question: &str, expected: &[&str]) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let reply = client::udp(server, question);
        let data: Vec<&str> = reply
            .answer
            .iter()
            .filter_map(|row| row.rsplit(' ').next())
            .collect();
        let is_it = match expected {
            [] => reply.rcode == "NXDOMAIN",
            _ => data == expected,
        };
        if is_it {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{question}: {reply:?}, not {expected:?}"
        );
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn changes_outages_and_restarts_of_the_api_server() {
    let api = Api::new();
    fill(&api);
    let url = api.url();
    let ready = free_port();
    let corefile = format!(
        ".:0 {{\n errors\n kubernetes cluster.local in-addr.arpa {{\n endpoint {url}\n }}\n cache 30\n ready 127.0.0.1:{ready}\n bind 127.0.0.1\n}}\n"
    );
    let server = Server::start(&corefile);
    let addr = server.addr(".:");
    let name = |name: &str| format!("{name}.default.svc.cluster.local A");
    wait_for_answer(addr, &name("kubernetes"), &["10.96.0.1"]);
    assert_eq!(client::http(ready, "/ready"), Some((200, "OK".into())));
    // What changes is answered anew, although a cache stands in front.
    wait_for_answer(addr, &name("web"), &[]);
    api.put(service("web", "10.96.0.2"));
    wait_for_answer(addr, &name("web"), &["10.96.0.2"]);
    for object in headless("db", &[("db-0", "10.1.0.1"), ("db-1", "10.1.0.2")]) {
        api.put(object);
    }
    wait_for_answer(addr, &name("db-1.db"), &["10.1.0.2"]);
    wait_for_answer(
        addr,
        "1.0.1.10.in-addr.arpa PTR",
        &["db-0.db.default.svc.cluster.local."],
    );
    // Without the API server all that was known stays.
    api.stop();
    for _ in 0..3 {
        assert_eq!(client::udp(addr, &name("web")).rcode, "NOERROR");
        assert_eq!(client::udp(addr, &name("nobody")).rcode, "NXDOMAIN");
        thread::sleep(Duration::from_millis(50));
    }
    api.remove(Kind::Service, "default", "web");
    api.put(service("late", "10.96.0.3"));
    assert_eq!(client::udp(addr, &name("late")).rcode, "NXDOMAIN");
    api.start();
    wait_for_answer(addr, &name("late"), &["10.96.0.3"]);
    wait_for_answer(addr, &name("web"), &[]);
    // Four in a row.
    for nth in 4..8 {
        api.restart();
        api.put(service("again", &format!("10.96.0.{nth}")));
        wait_for_answer(addr, &name("again"), &[&format!("10.96.0.{nth}")]);
    }
}

#[test]
fn before_the_first_list_nothing_is_denied_and_other_zones_are_answered() {
    let api = Api::new();
    fill(&api);
    api.stop();
    let (url, ready) = (api.url(), free_port());
    let corefile = format!(
        "cluster.local:0 {{\n kubernetes {{\n endpoint {url}\n startup_timeout 1s\n }}\n ready 127.0.0.1:{ready}\n bind 127.0.0.1\n}}\n\
         .:0 {{\n whoami\n bind 127.0.0.1\n}}\n"
    );
    let server = Server::start(&corefile);
    let (addr, other) = (server.addr("cluster.local.:"), server.addr(".:"));
    let name = "kubernetes.default.svc.cluster.local A";
    assert_eq!(client::udp(addr, name).rcode, "SERVFAIL");
    assert_eq!(
        client::udp(addr, "nobody.cluster.local A").rcode,
        "SERVFAIL"
    );
    assert_eq!(client::udp(other, "example.org A").rcode, "NOERROR");
    assert_eq!(
        client::http(ready, "/ready"),
        Some((503, "kubernetes".into()))
    );
    server.wait_for(|line| {
        line == "[INFO] plugin/kubernetes: waiting for Kubernetes API before starting server"
    });
    server.wait_for(|line| {
        line == "[WARNING] plugin/kubernetes: starting server with unsynced Kubernetes API"
    });
    api.start();
    wait_for_answer(addr, name, &["10.96.0.1"]);
    // A service may be known before everything is.
    wait_for_answer(addr, "nobody.cluster.local A", &[]);
    assert_eq!(client::http(ready, "/ready"), Some((200, "OK".into())));
}

// === a real one ===

/// What kubectl says of the cluster is what the server answers, and what it changes is answered anew.
#[test]
fn a_real_api_server_if_there_is_one() {
    let Ok(kubeconfig) = std::env::var("KUBECONFIG") else {
        return skip(
            "no real Kubernetes API server (set KUBECONFIG to the file of one that may be changed)",
        );
    };
    if Command::new("kubectl")
        .arg("version")
        .arg("--client")
        .output()
        .is_err()
    {
        return skip("kubectl is not installed");
    }
    let corefile = format!(
        ".:0 {{\n errors\n kubernetes cluster.local in-addr.arpa {{\n kubeconfig {kubeconfig}\n }}\n bind 127.0.0.1\n}}\n"
    );
    let server = Server::start(&corefile);
    let addr = server.addr(".:");
    wait_for_answer(addr, "nobody.cluster.local A", &[]);
    let rows =
        "{range .items[*]}{.metadata.name}.{.metadata.namespace} {.spec.clusterIP}{\"\\n\"}{end}";
    let services = run(
        "kubectl",
        &["get", "services", "-A", "-o", &format!("jsonpath={rows}")],
    );
    let mut seen = 0;
    for (name, address) in services.lines().filter_map(|row| row.split_once(' ')) {
        if address.parse::<std::net::Ipv4Addr>().is_ok() {
            wait_for_answer(addr, &format!("{name}.svc.cluster.local A"), &[address]);
            seen += 1;
        }
    }
    assert!(seen > 0, "every cluster has default/kubernetes: {services}");
    let name = format!("percoredns-it-{}", std::process::id());
    let question = format!("{name}.default.svc.cluster.local A");
    run(
        "kubectl",
        &[
            "-n",
            "default",
            "create",
            "service",
            "clusterip",
            &name,
            "--tcp=80",
        ],
    );
    let get = [
        "-n",
        "default",
        "get",
        "service",
        &name,
        "-o",
        "jsonpath={.spec.clusterIP}",
    ];
    let address = run("kubectl", &get);
    let deadline = Instant::now() + PATIENCE;
    let is_answered = || {
        client::udp(addr, &question)
            .answer
            .iter()
            .any(|row| row.ends_with(&address))
    };
    while !is_answered() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(20));
    }
    let was_answered = is_answered();
    // Whatever came of it, nothing stays behind.
    run("kubectl", &["-n", "default", "delete", "service", &name]);
    assert!(was_answered, "{question}: {address}");
    wait_for_answer(addr, &question, &[]);
}

// === as in a pod ===

/// Runs the test of that name once more in a mount and a network namespace of its own, where it may do as it likes with /run, the resolver's
/// file and port 53. True: this is that run.
fn is_in_pod(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let own = std::env::current_exe().expect("its own path");
    let run = Command::new("unshare")
        .args(["--mount", "--net"])
        .arg(own)
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .output();
    match run {
        Err(_) => skip("unshare is not installed (apt-get install util-linux)"),
        Ok(done) if String::from_utf8_lossy(&done.stderr).contains("unshare failed") => {
            skip("no namespaces (root only)");
        }
        Ok(done) => {
            let (out, error) = (
                String::from_utf8_lossy(&done.stdout),
                String::from_utf8_lossy(&done.stderr),
            );
            assert!(done.status.success(), "{out}\n{error}");
            // What it skips inside is skipped.
            out.lines()
                .filter(|line| line.contains("SKIPPED"))
                .for_each(|line| println!("{line}"));
        }
    }
    false
}

#[track_caller]
fn run(command: &str, args: &[&str]) -> String {
    let done = Command::new(command)
        .args(args)
        .output()
        .unwrap_or_else(|error| panic!("{command}: {error}"));
    let (out, error) = (
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr),
    );
    assert!(done.status.success(), "{command} {args:?}: {out}{error}");
    out.into_owned()
}

/// The files that a pod finds, an API server that wants its token, and a resolver's file that the test may change.
struct Pod {
    api: Api,
    authority: Authority,
    resolver: Folder,
}

impl Pod {
    /// `None`, with a word about it, where that is not allowed.
    fn new() -> Option<Pod> {
        for (command, args) in [
            ("ip", &["link", "set", "lo", "up"][..]),
            ("mount", &["-t", "tmpfs", "none", "/run"]),
        ] {
            let done = Command::new(command).args(args).output();
            if !done.is_ok_and(|done| done.status.success()) {
                skip(&format!(
                    "{command} {args:?} is not possible in a namespace"
                ));
                return None;
            }
        }
        let authority = Authority::new();
        let api = Api::with_tls(&authority);
        fill(&api);
        let resolver = Folder::new();
        let file = resolver.write("resolv.conf", "nameserver 192.0.2.53\n");
        run(
            "mount",
            &["--bind", file.to_str().expect("plain"), "/etc/resolv.conf"],
        );
        let pod = Pod {
            api,
            authority,
            resolver,
        };
        fs::create_dir_all(SERVICE_ACCOUNT).expect("a directory of /run");
        fs::copy(
            pod.authority.ca_file(),
            Path::new(SERVICE_ACCOUNT).join("ca.crt"),
        )
        .expect("a copy");
        fs::write(Path::new(SERVICE_ACCOUNT).join("namespace"), "kube-system").expect("a file");
        pod.set_token("first");
        Some(pod)
    }

    fn set_token(&self, token: &str) {
        fs::write(Path::new(SERVICE_ACCOUNT).join("token"), token).expect("a file");
        self.api.script(|script| script.token = Some(token.into()));
    }

    fn start(&self, corefile: &str) -> Server {
        let port = self.api.addr().port().to_string();
        Server::with(Folder::new(), corefile, |command| {
            command.envs([
                ("KUBERNETES_SERVICE_HOST", "127.0.0.1"),
                ("KUBERNETES_SERVICE_PORT", &port),
            ]);
        })
    }

    /// What a pod's resolver has from here on; the server has read its own by now.
    fn resolve_like_a_pod(&self) {
        let text = "nameserver 127.0.0.1\nsearch default.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5 timeout:2 attempts:1\n";
        // In place: another file would not be seen through the mount.
        fs::write(self.resolver.path().join("resolv.conf"), text).expect("a file");
    }
}

#[test]
fn stock_corefiles_serve_a_cluster_unchanged() {
    if !is_in_pod("kubernetes::stock_corefiles_serve_a_cluster_unchanged") {
        return;
    }
    let has = |tool: &str| Command::new(tool).arg("-version").output().is_ok();
    if !has("dig") || !has("nslookup") {
        return skip("dig or nslookup is not installed (apt-get install bind9-dnsutils)");
    }
    let Some(pod) = Pod::new() else { return };
    for (corefile, port) in [(KUBEADM, 53), (KUBEADM_1_11, 53), (OPENSHIFT, 5353)] {
        fs::write(
            pod.resolver.path().join("resolv.conf"),
            "nameserver 192.0.2.53\n",
        )
        .expect("a file");
        let server = pod.start(corefile);
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        wait_for_answer(
            addr,
            "kubernetes.default.svc.cluster.local A",
            &["10.96.0.1"],
        );
        let port_option = format!("{port}");
        for question in [
            &["kubernetes.default.svc.cluster.local", "A"][..],
            &["-x", "10.96.0.1"],
            &["_https._tcp.kubernetes.default.svc.cluster.local", "SRV"],
            &["+tcp", "kubernetes.default.svc.cluster.local", "A"],
        ] {
            let args = [
                &["@127.0.0.1", "-p", &port_option, "+short", "+time=5"],
                question,
            ]
            .concat();
            let expected = match question {
                ["-x", _] => "kubernetes.default.svc.cluster.local.\n",
                [_, "SRV"] => "0 100 443 kubernetes.default.svc.cluster.local.\n",
                _ => "10.96.0.1\n",
            };
            assert_eq!(run("dig", &args), expected, "{question:?}");
        }
        pod.resolve_like_a_pod();
        let walk = run(
            "nslookup",
            &[&format!("-port={port}"), "kubernetes.default"],
        );
        assert!(
            walk.contains("Name:\tkubernetes.default.svc.cluster.local\nAddress: 10.96.0.1"),
            "{walk}"
        );
        let mut lines = server.lines().into_iter();
        let is_told = lines
            .any(|line| line.starts_with("[WARNING] plugin/proxy: ") && line.contains("forward"));
        assert_eq!(is_told, corefile.contains("proxy"));
    }
}

#[test]
fn a_token_that_changes_is_picked_up() {
    if !is_in_pod("kubernetes::a_token_that_changes_is_picked_up") {
        return;
    }
    let Some(pod) = Pod::new() else { return };
    let _server = pod.start(".:53 {\n kubernetes cluster.local\n}\n");
    let addr = SocketAddr::from(([127, 0, 0, 1], 53));
    wait_for_answer(
        addr,
        "kubernetes.default.svc.cluster.local A",
        &["10.96.0.1"],
    );
    pod.set_token("second");
    pod.api.restart();
    pod.api.put(service("new", "10.96.0.9"));
    wait_for_answer(addr, "new.default.svc.cluster.local A", &["10.96.0.9"]);
}

const INSIDE: &str = "PERCOREDNS_IT_POD";
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// What kubeadm writes today.
const KUBEADM: &str = ".:53 {
    errors
    health {
       lameduck 5s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus :9153
    forward . /etc/resolv.conf {
       max_concurrent 1000
    }
    cache 30 {
       disable success cluster.local
       disable denial cluster.local
    }
    loop
    reload
    loadbalance
}
";

/// What OpenShift's operator writes, with a private zone.
const OPENSHIFT: &str = "internal.example.com:5353 {
    prometheus 127.0.0.1:9153
    forward . 192.0.2.10 192.0.2.11:5353 {
        policy random
    }
    errors
    log . {
        class error
    }
    bufsize 1232
    cache 900 {
        denial 9984 30
    }
}
.:5353 {
    bufsize 1232
    errors
    log . {
        class error
    }
    health {
        lameduck 20s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
    }
    prometheus 127.0.0.1:9153
    forward . /etc/resolv.conf {
        policy sequential
    }
    cache 900 {
        denial 9984 30
    }
    reload
}
hostname.bind:5353 {
    chaos
}
";
