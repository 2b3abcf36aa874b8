//! The servers that can be compared: where they are found and how each is set up, by its own guide to speed, to do the same work.
//!
//! Every one gets one worker on one CPU, an address of 127.0.0.1, large socket buffers where it has a setting for them, and no
//! query log. Rate limits are off. Nothing is written outside the run's own directory.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a server does in a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// Answers from a zone file.
    Zone,
    /// Answers from a warm cache in front of an authoritative server.
    Cached,
}

impl Scenario {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Scenario::Zone => "zone",
            Scenario::Cached => "cached",
        }
    }
}

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
    /// The authoritative server behind caches.
    pub upstream: SocketAddr,
    /// Entries that a cache must be able to hold without evicting any.
    pub entries: u32,
}

/// A server program.
pub struct Program {
    /// Its name here, on PATH and in `--servers`.
    pub name: &'static str,
    zone: Option<Configure>,
    cached: Option<Configure>,
}

/// Writes the configuration and returns the arguments.
type Configure = fn(&Setup) -> io::Result<Vec<String>>;

/// Every server that can be compared. The echo comes from this program itself and answers neither scenario right.
pub const PROGRAMS: &[Program] = &[
    Program {
        name: "nsd",
        zone: Some(nsd),
        cached: None,
    },
    Program {
        name: "knotd",
        zone: Some(knotd),
        cached: None,
    },
    Program {
        name: "unbound",
        zone: None,
        cached: Some(unbound),
    },
    Program {
        name: "dnsdist",
        zone: None,
        cached: Some(dnsdist),
    },
    Program {
        name: "coredns",
        zone: Some(coredns_zone),
        cached: Some(coredns_cached),
    },
    Program {
        name: PERCOREDNS,
        zone: Some(percoredns_zone),
        cached: Some(percoredns_cached),
    },
];

/// The name of the server that this package belongs to.
pub const PERCOREDNS: &str = "percoredns";

impl Program {
    /// The command that starts it for a scenario, its configuration written; `None` when it cannot do that.
    pub fn command(
        &self,
        path: &Path,
        scenario: Scenario,
        setup: &Setup,
    ) -> io::Result<Option<Command>> {
        let configure = match scenario {
            Scenario::Zone => self.zone,
            Scenario::Cached => self.cached,
        };
        let Some(configure) = configure else {
            return Ok(None);
        };
        let mut command = Command::new(path);
        command.args(configure(setup)?).current_dir(setup.dir);
        Ok(Some(command))
    }

    /// Where it is installed: PATH, then the directories for system programs.
    pub fn find(&self) -> Option<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let system = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
        std::env::split_paths(&path)
            .chain(system)
            .map(|dir| dir.join(self.name))
            .find(|file| file.is_file())
    }
}

/// A port of 127.0.0.1 that is free for UDP and TCP now.
pub fn free_address() -> io::Result<SocketAddr> {
    for _ in 0..32 {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = udp.local_addr()?;
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    Err(io::Error::other(
        "no port of 127.0.0.1 is free for both UDP and TCP",
    ))
}

// === configurations ===

fn write(setup: &Setup, name: &str, text: &str) -> io::Result<String> {
    let path = setup.dir.join(name);
    fs::write(&path, text)?;
    Ok(path.to_string_lossy().into_owned())
}

fn nsd(setup: &Setup) -> io::Result<Vec<String>> {
    let (dir, port) = (setup.dir.display(), setup.listen.port());
    let text = format!(
        "server:\n  ip-address: 127.0.0.1@{port}\n  server-count: 1\n  reuseport: yes\n  username: \"\"\n  chroot: \"\"\n  \
         zonesdir: \"{dir}\"\n  database: \"\"\n  pidfile: \"{dir}/nsd.pid\"\n  xfrdfile: \"{dir}/xfrd.state\"\n  \
         xfrdir: \"{dir}\"\n  zonelistfile: \"{dir}/zone.list\"\n  verbosity: 0\n  statistics: 0\n  rrl-ratelimit: 0\n  \
         rrl-whitelist-ratelimit: 0\n  round-robin: no\n  receive-buffer-size: {BUFFER_BYTES}\n  send-buffer-size: {BUFFER_BYTES}\n\
         remote-control:\n  control-enable: no\n\
         zone:\n  name: \"{}\"\n  zonefile: \"{}\"\n",
        setup.zone,
        setup.zone_file.display()
    );
    Ok(vec![
        "-d".into(),
        "-c".into(),
        write(setup, "nsd.conf", &text)?,
    ])
}

fn knotd(setup: &Setup) -> io::Result<Vec<String>> {
    let (dir, port) = (setup.dir.display(), setup.listen.port());
    let text = format!(
        "server:\n    rundir: \"{dir}\"\n    listen: 127.0.0.1@{port}\n    udp-workers: 1\n    tcp-workers: 1\n    \
         background-workers: 1\nlog:\n  - target: stderr\n    any: error\ndatabase:\n    storage: \"{dir}\"\n\
         template:\n  - id: default\n    journal-content: none\n    zonefile-sync: -1\n\
         zone:\n  - domain: {}\n    file: \"{}\"\n",
        setup.zone,
        setup.zone_file.display()
    );
    Ok(vec!["-c".into(), write(setup, "knot.conf", &text)?])
}

fn unbound(setup: &Setup) -> io::Result<Vec<String>> {
    let (dir, port, upstream) = (setup.dir.display(), setup.listen.port(), setup.upstream);
    let text = format!(
        "server:\n  interface: 127.0.0.1\n  port: {port}\n  num-threads: 1\n  so-reuseport: yes\n  access-control: 127.0.0.0/8 allow\n  \
         do-daemonize: no\n  username: \"\"\n  chroot: \"\"\n  directory: \"{dir}\"\n  pidfile: \"\"\n  use-syslog: no\n  logfile: \"\"\n  \
         verbosity: 0\n  log-queries: no\n  statistics-interval: 0\n  extended-statistics: no\n  module-config: \"iterator\"\n  \
         msg-cache-size: 128m\n  rrset-cache-size: 256m\n  msg-cache-slabs: 1\n  rrset-cache-slabs: 1\n  infra-cache-slabs: 1\n  \
         key-cache-slabs: 1\n  so-rcvbuf: {BUFFER_BYTES}\n  so-sndbuf: {BUFFER_BYTES}\n  outgoing-range: 1024\n  \
         num-queries-per-thread: 512\n  do-not-query-localhost: no\n  qname-minimisation: no\n  prefetch: no\n\
         remote-control:\n  control-enable: no\n\
         forward-zone:\n  name: \".\"\n  forward-addr: 127.0.0.1@{}\n",
        upstream.port()
    );
    Ok(vec![
        "-d".into(),
        "-c".into(),
        write(setup, "unbound.conf", &text)?,
    ])
}

fn dnsdist(setup: &Setup) -> io::Result<Vec<String>> {
    let text = format!(
        "setLocal(\"{}\", {{reusePort=true}})\nsetSecurityPollSuffix(\"\")\nsetACL({{\"127.0.0.0/8\"}})\n\
         setUDPMultipleMessagesVectorSize(64)\nsetRingBuffersSize(100, 1)\n\
         newServer({{address=\"{}\"}}):setUp()\n\
         getPool(\"\"):setCache(newPacketCache({}, {{maxTTL=86400, numberOfShards=1, keepStaleData=false}}))\n",
        setup.listen,
        setup.upstream,
        setup.entries * 2
    );
    Ok(vec![
        "--supervised".into(),
        "--disable-syslog".into(),
        "-C".into(),
        write(setup, "dnsdist.conf", &text)?,
    ])
}

fn coredns_zone(setup: &Setup) -> io::Result<Vec<String>> {
    Ok(vec![
        "-conf".into(),
        write(setup, "Corefile.coredns.zone", &zone_corefile(setup))?,
    ])
}

fn coredns_cached(setup: &Setup) -> io::Result<Vec<String>> {
    Ok(vec![
        "-conf".into(),
        write(setup, "Corefile.coredns.cached", &cached_corefile(setup))?,
    ])
}

fn percoredns_zone(setup: &Setup) -> io::Result<Vec<String>> {
    Ok(vec![
        "-conf".into(),
        write(setup, "Corefile.zone", &zone_corefile(setup))?,
    ])
}

fn percoredns_cached(setup: &Setup) -> io::Result<Vec<String>> {
    Ok(vec![
        "-conf".into(),
        write(setup, "Corefile.cached", &cached_corefile(setup))?,
    ])
}

/// The Corefile of the zone scenario, the same for CoreDNS and percoredns.
pub fn zone_corefile(setup: &Setup) -> String {
    let (zone, port, file) = (setup.zone, setup.listen.port(), setup.zone_file.display());
    format!("{zone}:{port} {{\n    bind 127.0.0.1\n    file {file}\n}}\n")
}

/// The Corefile of the cached scenario, the same for CoreDNS and percoredns. Capacities leave room, because CoreDNS splits them
/// over 256 shards that do not fill evenly.
pub fn cached_corefile(setup: &Setup) -> String {
    let (port, upstream, capacity) = (setup.listen.port(), setup.upstream, setup.entries * 4);
    format!(
        ".:{port} {{\n    bind 127.0.0.1\n    cache 86400 {{\n        success {capacity} 86400\n        denial {capacity} 86400\n    }}\n    forward . {upstream}\n}}\n"
    )
}

/// Socket buffers of servers that have a setting for them.
const BUFFER_BYTES: u32 = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::child::TempDir;

    #[test]
    fn every_program_writes_a_configuration_for_what_it_can_do() {
        let dir = TempDir::new().unwrap();
        let listen: SocketAddr = "127.0.0.1:5300".parse().unwrap();
        let setup = Setup {
            dir: dir.path(),
            listen,
            zone: "example.org",
            zone_file: Path::new("/z.db"),
            upstream: "127.0.0.1:5400".parse().unwrap(),
            entries: 10,
        };
        for scenario in [Scenario::Zone, Scenario::Cached] {
            let mut able = 0;
            for program in PROGRAMS {
                let Some(command) = program
                    .command(Path::new("/bin/true"), scenario, &setup)
                    .unwrap()
                else {
                    continue;
                };
                able += 1;
                let file = command.get_args().last().unwrap();
                let text = fs::read_to_string(file).unwrap();
                assert!(text.contains("5300"), "{}: {text}", program.name);
                let other = if scenario == Scenario::Zone {
                    "/z.db"
                } else {
                    "5400"
                };
                assert!(text.contains(other), "{}: {text}", program.name);
            }
            assert_eq!(able, 4, "{scenario:?}");
        }
    }

    #[test]
    fn free_addresses_can_be_bound() {
        let address = free_address().unwrap();
        assert!(UdpSocket::bind(address).is_ok());
    }
}
