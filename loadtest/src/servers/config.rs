//! The configuration of each server, in full, by its own guide to speed.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// What a configuration is made from.
pub struct Setup<'a> {
    /// The run's own directory.
    pub dir: &'a Path,
    /// Where the server shall listen.
    pub listen: SocketAddr,
    /// The zone's name.
    pub zone: &'a str,
    /// The zone file.
    pub zone_file: &'a Path,
    /// The hosts file.
    pub hosts_file: &'a Path,
    /// The authoritative server behind caches.
    pub upstream: SocketAddr,
    /// Entries that a cache must be able to hold without evicting any.
    pub entries: u32,
    /// Workers: as many as the server has CPUs.
    pub workers: usize,
    /// The network namespace to run in.
    pub namespace: Option<&'a str>,
    /// What else it listens for, besides UDP and TCP.
    pub secure: Option<&'a Secure>,
}

/// Encrypted listeners, one for each scheme, all of them with one certificate.
#[derive(Clone, Debug)]
pub struct Secure {
    /// (scheme of a Corefile's key, where); percoredns can have several of one scheme.
    pub listen: Vec<(&'static str, SocketAddr)>,
    /// PEM file of the certificate.
    pub cert: PathBuf,
    /// PEM file of its key.
    pub key: PathBuf,
    /// Idle connections stay, as many as there are, instead of what each server does by default.
    pub keeps_idle: bool,
}

impl Secure {
    /// Where this scheme is spoken.
    pub fn addresses(&self, scheme: &str) -> Vec<SocketAddr> {
        let of_scheme = self.listen.iter().filter(|l| l.0 == scheme);
        of_scheme.map(|l| l.1).collect()
    }

    /// The first place where this scheme is spoken, if any.
    pub fn address(&self, scheme: &str) -> Option<SocketAddr> {
        self.addresses(scheme).first().copied()
    }
}

fn write(setup: &Setup, name: &str, text: &str) -> io::Result<String> {
    // The port keeps the files of servers with the same kind of configuration apart.
    let path = setup.dir.join(format!("{name}.{}", setup.listen.port()));
    fs::write(&path, text)?;
    Ok(path.to_string_lossy().into_owned())
}

// === authoritative servers ===

pub(super) fn nsd(setup: &Setup) -> io::Result<Vec<String>> {
    let (dir, ip, port) = (setup.dir.display(), setup.listen.ip(), setup.listen.port());
    let text = format!(
        "server:\n  ip-address: {ip}@{port}\n  server-count: {}\n  reuseport: yes\n  username: \"\"\n  chroot: \"\"\n  \
         zonesdir: \"{dir}\"\n  database: \"\"\n  pidfile: \"{dir}/nsd.{port}.pid\"\n  xfrdfile: \"{dir}/xfrd.{port}.state\"\n  \
         xfrdir: \"{dir}\"\n  zonelistfile: \"{dir}/zone.{port}.list\"\n  verbosity: 0\n  statistics: 0\n  rrl-ratelimit: 0\n  \
         rrl-whitelist-ratelimit: 0\n  round-robin: no\n  receive-buffer-size: {BUFFER_BYTES}\n  send-buffer-size: {BUFFER_BYTES}\n\
         remote-control:\n  control-enable: no\n\
         zone:\n  name: \"{}\"\n  zonefile: \"{}\"\n",
        setup.workers,
        setup.zone,
        setup.zone_file.display()
    );
    Ok(vec![
        "-d".into(),
        "-c".into(),
        write(setup, "nsd.conf", &text)?,
    ])
}

pub(super) fn knotd(setup: &Setup) -> io::Result<Vec<String>> {
    let (ip, port, workers) = (setup.listen.ip(), setup.listen.port(), setup.workers);
    // Two of them in one directory would share a database.
    let dir = setup.dir.join(format!("knot.{port}"));
    fs::create_dir_all(&dir)?;
    let dir = dir.display();
    let text = format!(
        "server:\n    rundir: \"{dir}\"\n    listen: {ip}@{port}\n    udp-workers: {workers}\n    tcp-workers: {workers}\n    \
         background-workers: 1\nlog:\n  - target: stderr\n    any: error\ndatabase:\n    storage: \"{dir}\"\n\
         template:\n  - id: default\n    journal-content: none\n    zonefile-sync: -1\n\
         zone:\n  - domain: {}\n    file: \"{}\"\n",
        setup.zone,
        setup.zone_file.display()
    );
    Ok(vec!["-c".into(), write(setup, "knot.conf", &text)?])
}

// === caches ===

pub(super) fn unbound_cache(setup: &Setup) -> io::Result<Vec<String>> {
    let forward = format!(
        "forward-zone:\n  name: \".\"\n  forward-addr: {}@{}\n",
        setup.upstream.ip(),
        setup.upstream.port()
    );
    let mut server = String::new();
    if let Some(secure) = setup.secure {
        for (scheme, option) in [("tls", "tls-port"), ("https", "https-port")] {
            if let Some(address) = secure.address(scheme) {
                let (ip, port) = (address.ip(), address.port());
                server.push_str(&format!("  interface: {ip}@{port}\n  {option}: {port}\n"));
            }
        }
        server.push_str(&format!(
            "  incoming-num-tcp: 1024\n  tls-service-pem: \"{}\"\n  tls-service-key: \"{}\"\n",
            secure.cert.display(),
            secure.key.display()
        ));
    }
    unbound(setup, &server, &forward)
}

/// Its counterpart of a hosts file: local-data, a line a record.
pub(super) fn unbound_hosts(setup: &Setup) -> io::Result<Vec<String>> {
    let mut local = format!("  local-zone: \"{}.\" static\n", setup.zone);
    for line in fs::read_to_string(setup.hosts_file)?.lines() {
        if let Some((address, name)) = line.split_once(' ') {
            local.push_str(&format!("  local-data: \"{name}. 3600 IN A {address}\"\n"));
        }
    }
    unbound(setup, &local, "")
}

fn unbound(setup: &Setup, server: &str, rest: &str) -> io::Result<Vec<String>> {
    let (dir, ip, port) = (setup.dir.display(), setup.listen.ip(), setup.listen.port());
    // Its guide: as many slabs as threads, rounded up to a power of two, and twice the memory for record sets.
    let slabs = setup.workers.next_power_of_two();
    let messages_mib = (setup.entries / 2048).max(128);
    let text = format!(
        "server:\n  interface: {ip}\n  port: {port}\n  num-threads: {}\n  so-reuseport: yes\n  access-control: 0.0.0.0/0 allow\n  \
         do-daemonize: no\n  username: \"\"\n  chroot: \"\"\n  directory: \"{dir}\"\n  pidfile: \"\"\n  use-syslog: no\n  logfile: \"\"\n  \
         verbosity: 0\n  log-queries: no\n  statistics-interval: 0\n  extended-statistics: no\n  module-config: \"iterator\"\n  \
         msg-cache-size: {messages_mib}m\n  rrset-cache-size: {}m\n  msg-cache-slabs: {slabs}\n  rrset-cache-slabs: {slabs}\n  \
         infra-cache-slabs: {slabs}\n  key-cache-slabs: {slabs}\n  so-rcvbuf: {BUFFER_BYTES}\n  so-sndbuf: {BUFFER_BYTES}\n  \
         outgoing-range: 1024\n  num-queries-per-thread: 512\n  do-not-query-localhost: no\n  qname-minimisation: no\n  \
         prefetch: no\n{server}remote-control:\n  control-enable: no\n{rest}",
        setup.workers,
        messages_mib * 2,
    );
    Ok(vec![
        "-d".into(),
        "-c".into(),
        write(setup, "unbound.conf", &text)?,
    ])
}

pub(super) fn dnsdist(setup: &Setup) -> io::Result<Vec<String>> {
    // Its guide: a local address with reusePort for each thread, and a shard for each of them.
    let mut text = format!("setLocal(\"{}\", {{reusePort=true}})\n", setup.listen);
    for _ in 1..setup.workers {
        text.push_str(&format!(
            "addLocal(\"{}\", {{reusePort=true}})\n",
            setup.listen
        ));
    }
    if let Some(secure) = setup.secure {
        let (cert, key) = (secure.cert.display(), secure.key.display());
        if let Some(address) = secure.address("tls") {
            text.push_str(&format!(
                "addTLSLocal(\"{address}\", \"{cert}\", \"{key}\", {{reusePort=true}})\n"
            ));
        }
        if let Some(address) = secure.address("https") {
            text.push_str(&format!(
                "addDOHLocal(\"{address}\", \"{cert}\", \"{key}\", \"/dns-query\", {{reusePort=true}})\n"
            ));
        }
        text.push_str(&format!("setMaxTCPClientThreads({})\n", setup.workers));
    }
    text.push_str(&format!(
        "setSecurityPollSuffix(\"\")\nsetACL({{\"0.0.0.0/0\"}})\n\
         setUDPMultipleMessagesVectorSize(64)\nsetRingBuffersSize(100, 1)\n\
         newServer({{address=\"{}\"}}):setUp()\n\
         getPool(\"\"):setCache(newPacketCache({}, {{maxTTL=86400, numberOfShards={}, keepStaleData=false}}))\n",
        setup.upstream,
        setup.entries * 2,
        setup.workers
    ));
    Ok(vec![
        "--supervised".into(),
        "--disable-syslog".into(),
        "-C".into(),
        write(setup, "dnsdist.conf", &text)?,
    ])
}

// === Corefiles, the same for CoreDNS and percoredns ===

fn corefile(setup: &Setup, text: &str) -> io::Result<Vec<String>> {
    Ok(vec!["-conf".into(), write(setup, "Corefile", text)?])
}

pub(super) fn zone_corefile(setup: &Setup) -> io::Result<Vec<String>> {
    let (zone, ip, port) = (setup.zone, setup.listen.ip(), setup.listen.port());
    let file = setup.zone_file.display();
    corefile(
        setup,
        &format!("{zone}:{port} {{\n    bind {ip}\n    file {file}\n}}\n"),
    )
}

/// Capacities leave room, because CoreDNS splits them over 256 shards that do not fill evenly.
pub(super) fn cache_corefile(setup: &Setup) -> io::Result<Vec<String>> {
    let (ip, port) = (setup.listen.ip(), setup.listen.port());
    let (upstream, capacity) = (setup.upstream, setup.entries.max(1_000) * 4);
    let (mut keys, mut options) = (format!(".:{port}"), String::new());
    if let Some(secure) = setup.secure {
        for (scheme, address) in &secure.listen {
            keys.push_str(&format!(" {scheme}://.:{}", address.port()));
        }
        let (cert, key) = (secure.cert.display(), secure.key.display());
        options = format!("    tls {cert} {key}\n");
        if secure.keeps_idle {
            options.push_str("    timeouts {\n        idle 1h\n    }\n");
            for (scheme, directive) in UNBOUNDED {
                if secure.address(scheme).is_some() {
                    options.push_str(&format!(
                        "    {directive} {{\n        max_connections 0\n    }}\n"
                    ));
                }
            }
        }
    }
    corefile(
        setup,
        &format!(
            "{keys} {{\n    bind {ip}\n{options}    cache 86400 {{\n        success {capacity} 86400\n        denial {capacity} 86400\n    }}\n    forward . {upstream}\n}}\n"
        ),
    )
}

pub(super) fn hosts_corefile(setup: &Setup) -> io::Result<Vec<String>> {
    let (zone, ip, port) = (setup.zone, setup.listen.ip(), setup.listen.port());
    let file = setup.hosts_file.display();
    corefile(
        setup,
        &format!(
            "{zone}:{port} {{\n    bind {ip}\n    hosts {file} {{\n        ttl 3600\n    }}\n}}\n"
        ),
    )
}

/// (scheme, the directive with which its number of connections is not bounded any more); DoQ has none in CoreDNS.
const UNBOUNDED: [(&str, &str); 3] = [
    ("https", "https"),
    ("https3", "https3"),
    ("grpc", "grpc_server"),
];
/// Socket buffers of servers that have a setting for them.
const BUFFER_BYTES: u32 = 4 << 20;
