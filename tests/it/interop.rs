//! Foreign clients and servers: dig, kdig, dnsperf, nsd, unbound. Each test says SKIPPED where its program is not installed.

use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::client;
use crate::server::{Folder, PATIENCE, Server, eventually, free_port, skip};

const ZONE: &str = include_str!("../data/example/db.example.org");

/// The program's path, or a word about the package that has it.
pub fn program(name: &str, package: &str) -> Option<String> {
    let path = std::env::var("PATH").unwrap_or_default();
    let folders = path.split(':').chain(["/usr/sbin", "/usr/bin"]);
    let found = folders
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.is_file());
    if found.is_none() {
        skip(&format!(
            "{name} is not installed (apt-get install {package})"
        ));
    }
    found.map(|path| path.to_string_lossy().into_owned())
}

/// Runs to the end within a bound; standard output.
#[track_caller]
pub fn output(command: &mut Command, within: Duration) -> String {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let mut stdout = child.stdout.take().expect("a pipe");
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        let _ = stdout.read_to_string(&mut text);
        text
    });
    let deadline = Instant::now() + within;
    while child.try_wait().expect("our own child").is_none() {
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            panic!("{command:?} does not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    reader.join().expect("no panic")
}

/// Makes `cert.pem` and `key.pem`, for localhost, with openssl.
pub fn certify(openssl: &str, folder: &Folder) {
    let mut command = Command::new(openssl);
    command.current_dir(folder.path()).args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=DNS:localhost,IP:127.0.0.1",
        "-keyout",
        "key.pem",
        "-out",
        "cert.pem",
    ]);
    output(&mut command, PATIENCE);
}

fn zone_server() -> (Server, SocketAddr) {
    let folder = Folder::new();
    folder.write("db", ZONE);
    let server = Server::with(
        folder,
        ".:0 {\n  file db example.org\n  chaos\n  whoami\n}\n",
        |_| {},
    );
    let addr = server.addr(".:");
    (server, addr)
}

#[test]
fn dig_is_content() {
    let Some(dig) = program("dig", "bind9-dnsutils") else {
        return;
    };
    let (_server, addr) = zone_server();
    let ask = |args: &[&str]| {
        let port = addr.port().to_string();
        let mut command = Command::new(&dig);
        command.args(["@127.0.0.1", "-p", &port, "+tries=1", "+timeout=5"]);
        output(command.args(args), PATIENCE)
    };
    for transport in ["+notcp", "+tcp"] {
        for name in ["www.example.org", "WWW.EXAMPLE.ORG"] {
            assert_eq!(ask(&[transport, "+short", name, "A"]).trim(), "192.0.2.80");
        }
        // EDNS with all that dig can put in: a cookie, NSID, DO, a subnet, padding.
        let full = [
            transport,
            "+norecurse",
            "+dnssec",
            "+nsid",
            "+subnet=192.0.2.0/24",
            "+padding=128",
            "www.example.org",
            "AAAA",
        ];
        let text = ask(&full);
        assert!(text.contains("status: NOERROR"), "{text}");
        for complaint in [
            "WARNING",
            "Malformed",
            "extra bytes",
            "mismatch",
            ";; Warning",
        ] {
            assert!(!text.contains(complaint), "{complaint}: {text}");
        }
    }
    let version = ask(&["+short", "CH", "TXT", "version.bind"]);
    assert_eq!(
        version.trim(),
        concat!("\"percoredns-", env!("CARGO_PKG_VERSION"), "\"")
    );
    assert!(
        ask(&[
            "+ednsopt=65001:00",
            "+edns=1",
            "+noednsnegotiation",
            "example.org"
        ])
        .contains("BADVERS")
    );
    assert!(ask(&["+opcode=UPDATE", "example.org", "SOA"]).contains("status: NOTIMP"));
}

#[test]
fn kdig_keeps_a_connection_open() {
    let Some(kdig) = program("kdig", "knot-dnsutils") else {
        return;
    };
    let (_server, addr) = zone_server();
    let port = addr.port().to_string();
    let text = output(
        Command::new(kdig).args([
            "@127.0.0.1",
            "-p",
            &port,
            "+tcp",
            "+keepopen",
            "+short",
            "+time=5",
            "www.example.org",
            "A",
            "mail.example.org",
            "A",
            "example.org",
            "MX",
        ]),
        PATIENCE,
    );
    for want in ["192.0.2.80", "192.0.2.25", "10 mail.example.org."] {
        assert!(text.contains(want), "{text}");
    }
}

#[test]
fn dnsperf_loses_nothing() {
    let Some(dnsperf) = program("dnsperf", "dnsperf") else {
        return;
    };
    let (server, addr) = zone_server();
    server.folder.write(
        "queries",
        "www.example.org A\nexample.org MX\nmissing.example.org A\nother.test AAAA\n",
    );
    for mode in ["udp", "tcp"] {
        let port = addr.port().to_string();
        let mut command = Command::new(&dnsperf);
        command.current_dir(server.folder.path()).args([
            "-s",
            "127.0.0.1",
            "-p",
            &port,
            "-m",
            mode,
            "-d",
            "queries",
            "-l",
            "2",
            "-Q",
            "2000",
            "-c",
            "4",
        ]);
        let text = output(&mut command, PATIENCE);
        let number = |label: &str| -> Option<u64> {
            let (_, rest) = text.split_once(label)?;
            rest.split_whitespace().next()?.parse().ok()
        };
        assert_eq!(number("Queries lost:"), Some(0), "{mode}: {text}");
        assert!(
            number("Queries completed:").is_some_and(|count| count > 1000),
            "{mode}: {text}"
        );
    }
}

// === foreign servers ===

/// A foreign server in the foreground; killed at the end.
pub struct Foreign {
    child: Child,
    pub addr: SocketAddr,
    _folder: Folder,
}

impl Foreign {
    /// Starts it and waits until it answers that name.
    pub fn start(command: &mut Command, folder: Folder, port: u16, name: &str) -> Foreign {
        let child = command
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server starts");
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        let foreign = Foreign {
            child,
            addr,
            _folder: folder,
        };
        eventually("the foreign server answers", || {
            client::try_udp(addr, &format!("{name} A"), Duration::from_millis(200))
                .is_some_and(|reply| reply.rcode == "NOERROR")
        });
        foreign
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start_nsd() -> Option<Foreign> {
    let nsd = program("nsd", "nsd")?;
    let (folder, port) = (Folder::new(), free_port());
    folder.write("db", ZONE);
    let at = folder.path().display().to_string();
    let conf = format!(
        "server:\n  ip-address: 127.0.0.1@{port}\n  username: \"\"\n  chroot: \"\"\n  zonesdir: \"{at}\"\n  database: \"\"\n  \
         pidfile: \"{at}/pid\"\n  xfrdfile: \"{at}/xfrd\"\n  xfrdir: \"{at}\"\n  zonelistfile: \"{at}/list\"\n  server-count: 1\n\
         remote-control:\n  control-enable: no\nzone:\n  name: example.org\n  zonefile: db\n"
    );
    folder.write("nsd.conf", &conf);
    let mut command = Command::new(nsd);
    command.args(["-d", "-c", &format!("{at}/nsd.conf")]);
    Some(Foreign::start(
        &mut command,
        folder,
        port,
        "www.example.org",
    ))
}

fn start_unbound() -> Option<Foreign> {
    let unbound = program("unbound", "unbound")?;
    let (folder, port) = (Folder::new(), free_port());
    let at = folder.path().display().to_string();
    let conf = format!(
        "server:\n  interface: 127.0.0.1@{port}\n  username: \"\"\n  chroot: \"\"\n  directory: \"{at}\"\n  pidfile: \"{at}/pid\"\n  \
         use-syslog: no\n  do-daemonize: no\n  num-threads: 1\n  module-config: \"iterator\"\n  access-control: 127.0.0.0/8 allow\n  \
         local-zone: \"unbound.test.\" static\n  local-data: \"www.unbound.test. 120 IN A 192.0.2.33\"\n  \
         local-data: \"unbound.test. 120 IN SOA ns.unbound.test. host.unbound.test. 1 2 3 4 60\"\n\
         remote-control:\n  control-enable: no\n"
    );
    folder.write("unbound.conf", &conf);
    let mut command = Command::new(unbound);
    command.args(["-d", "-c", &format!("{at}/unbound.conf")]);
    Some(Foreign::start(
        &mut command,
        folder,
        port,
        "www.unbound.test",
    ))
}

#[test]
fn forwards_to_nsd_and_caches_its_answers() {
    let Some(nsd) = start_nsd() else { return };
    let server = Server::start(&format!(
        ".:0 {{\n  errors\n  cache 60\n  forward . {}\n}}\n",
        nsd.addr
    ));
    for _ in 0..3 {
        let reply = server.ask("www.example.org A");
        assert!(reply.answer[0].ends_with(" IN A 192.0.2.80"), "{reply:?}");
        assert_eq!(server.ask("missing.example.org A").rcode, "NXDOMAIN");
        assert_eq!(
            client::tcp(server.addr(".:"), "example.org MX")
                .answer
                .len(),
            1
        );
    }
    drop(nsd);
    let reply = server.ask("www.example.org A");
    assert!(reply.answer[0].ends_with(" IN A 192.0.2.80"), "{reply:?}");
}

/// The same master file in both: sections, flags and rcodes must agree.
#[test]
fn answers_like_nsd_from_the_same_zone() {
    let Some(nsd) = start_nsd() else { return };
    let (_server, addr) = zone_server();
    for query in [
        "example.org SOA",
        "example.org NS",
        "example.org MX",
        "example.org TXT",
        "www.example.org A",
        "www.example.org AAAA",
        "www.example.org HTTPS",
        "www.example.org MX",
        "ftp.example.org A",
        "ftp.example.org CNAME",
        "any.apps.example.org A",
        "any.apps.example.org TXT",
        "apps.example.org A",
        "missing.example.org A",
        "x.lab.example.org A",
        "lab.example.org DS",
        "_dns._udp.example.org SRV",
        "www.example.org A +do",
    ] {
        let (mut theirs, mut ours) = (client::udp(nsd.addr, query), client::udp(addr, query));
        for reply in [&mut theirs, &mut ours] {
            reply.size = 0;
            // Both may add or leave out what only helps: addresses and apex NS next to a positive answer.
            if reply.rcode == "NOERROR" && !reply.answer.is_empty() {
                reply.authority.clear();
                reply.additional.clear();
            }
            for section in [
                &mut reply.answer,
                &mut reply.authority,
                &mut reply.additional,
            ] {
                section.sort();
            }
            reply.flags = reply.flags.replace(" rd", "").replace(" ra", "");
        }
        // NSD cuts the TTL of the SOA record in negative answers to its MINIMUM (RFC 2308 section 3); CoreDNS does not, so we do not.
        if theirs.answer.is_empty()
            && theirs
                .authority
                .iter()
                .any(|record| record.contains(" SOA "))
        {
            for reply in [&mut theirs, &mut ours] {
                reply.authority = vec!["SOA".into()];
            }
        }
        assert_eq!(theirs, ours, "{query}: NSD on the left");
    }
}

#[test]
fn forwards_to_unbound() {
    let Some(unbound) = start_unbound() else {
        return;
    };
    let server = Server::start(&format!(
        ".:0 {{\n  cache 60\n  forward unbound.test {} {{\n    force_tcp\n  }}\n}}\n",
        unbound.addr
    ));
    let reply = server.ask("www.unbound.test A");
    assert!(reply.answer[0].ends_with(" IN A 192.0.2.33"), "{reply:?}");
    assert_eq!(server.ask("missing.unbound.test A").rcode, "NXDOMAIN");
}
