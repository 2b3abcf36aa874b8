//! The servers that can be compared: which can do what, where they are found, and how they are started.
//!
//! Every one gets as many workers as it has CPUs, large socket buffers where it has a setting for them, and no query log. Rate
//! limits are off. Nothing is written outside the run's own directory.

mod config;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::scenario::Service;

pub use config::{Secure, Setup};

/// Writes the configuration and returns the arguments.
type Configure = fn(&Setup) -> io::Result<Vec<String>>;

/// Whether a server can do some work: how it is configured for that, or why not.
#[derive(Clone, Copy)]
pub enum Can {
    /// The work is done with this configuration.
    Yes(Configure),
    /// The reason why it takes no part.
    No(&'static str),
}

/// A server program.
pub struct Program {
    /// Its name here, on PATH and in `--servers`.
    pub name: &'static str,
    zone: Can,
    cache: Can,
    hosts: Can,
    // Schemes of encrypted listeners.
    schemes: &'static [&'static str],
    // What prints its version.
    version: &'static [&'static str],
}

/// Every server that can be compared, and the one table of who takes part in what. The echo comes from this program itself and
/// answers nothing right.
pub static PROGRAMS: &[Program] = &[
    Program {
        name: "nsd",
        zone: Can::Yes(config::nsd),
        cache: Can::No("authoritative only, it has no cache"),
        hosts: Can::No("serves zones, not hosts files"),
        schemes: &[],
        version: &["-v"],
    },
    Program {
        name: "knotd",
        zone: Can::Yes(config::knotd),
        cache: Can::No("authoritative only, it has no cache"),
        hosts: Can::No("serves zones, not hosts files"),
        schemes: &[],
        version: &["-V"],
    },
    Program {
        name: "unbound",
        zone: Can::No("a resolver; its auth-zone is meant for local copies, not for serving"),
        cache: Can::Yes(config::unbound_cache),
        hosts: Can::Yes(config::unbound_hosts),
        schemes: &["tls", "https"],
        version: &["-V"],
    },
    Program {
        name: "dnsdist",
        zone: Can::No("a load balancer, it has no zones"),
        cache: Can::Yes(config::dnsdist),
        hosts: Can::No("a load balancer, it has no hosts files"),
        schemes: &["tls", "https"],
        version: &["--version"],
    },
    Program {
        name: "coredns",
        zone: Can::Yes(config::zone_corefile),
        cache: Can::Yes(config::cache_corefile),
        hosts: Can::Yes(config::hosts_corefile),
        schemes: ALL_SCHEMES,
        version: &["-version"],
    },
    Program {
        name: PERCOREDNS,
        zone: Can::Yes(config::zone_corefile),
        cache: Can::Yes(config::cache_corefile),
        hosts: Can::Yes(config::hosts_corefile),
        schemes: ALL_SCHEMES,
        version: &["-version"],
    },
];

const ALL_SCHEMES: &[&str] = &["tls", "https", "https3", "quic", "grpc"];

/// The name of the server that this package belongs to.
pub const PERCOREDNS: &str = "percoredns";

impl Program {
    /// Whether it can do this work.
    pub fn can(&self, service: Service) -> Can {
        match service {
            Service::Zone => self.zone,
            Service::Cache => self.cache,
            Service::Hosts => self.hosts,
        }
    }

    /// Whether it has listeners of this scheme.
    pub fn speaks(&self, scheme: &str) -> bool {
        self.schemes.contains(&scheme)
    }

    /// Where it is installed: PATH, then the directories for system programs.
    pub fn find(&self) -> Option<PathBuf> {
        find_tool(self.name)
    }

    /// The first line of its version that says something, `?` when it says nothing.
    pub fn version(&self, path: &Path) -> String {
        let said = Command::new(path).args(self.version).output();
        let text = said.map_or_else(
            |_| Vec::new(),
            |output| [output.stdout, output.stderr].concat(),
        );
        String::from_utf8_lossy(&text)
            .lines()
            .map(str::trim)
            .find(|line| line.bytes().any(|b| b.is_ascii_digit()))
            .unwrap_or("?")
            .to_owned()
    }
}

/// One server of a comparison: a program, and for percoredns perhaps a profile.
#[derive(Clone)]
pub struct Contender {
    /// As in tables: the program's name, with the profile's in brackets.
    pub name: String,
    /// What it is.
    pub program: &'static Program,
    /// The file that is run.
    pub path: PathBuf,
    /// The file for `-tune`.
    pub profile: Option<PathBuf>,
}

impl Contender {
    /// Whether this is percoredns, whatever its profile.
    pub fn is_percoredns(&self) -> bool {
        self.program.name == PERCOREDNS
    }

    /// The command that starts it with the arguments of its configuration.
    pub fn command(&self, configure: Configure, setup: &Setup) -> io::Result<Command> {
        let mut command = match &setup.namespace {
            None => Command::new(&self.path),
            Some(namespace) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace]).arg(&self.path);
                command
            }
        };
        command.args(configure(setup)?).current_dir(setup.dir);
        if let Some(profile) = &self.profile {
            command.arg("-tune").arg(profile);
        }
        Ok(command)
    }
}

/// The name of the server that `name` (with or without a profile) belongs to.
pub fn program_of(name: &str) -> &str {
    name.split('[').next().unwrap_or(name)
}

/// A tool on PATH or in a directory for system programs.
pub fn find_tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(system)
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::child::TempDir;
    use std::fs;

    #[test]
    fn every_program_writes_a_configuration_for_what_it_can_do() {
        let dir = TempDir::new().unwrap();
        for (service, expect, mention) in [
            (Service::Zone, 4, "/z.db"),
            (Service::Cache, 4, "5400"),
            (Service::Hosts, 3, "h000001"),
        ] {
            let hosts = dir.path().join("hosts");
            fs::write(&hosts, crate::corpus::hosts_text(2, "example.org")).unwrap();
            let setup = Setup {
                dir: dir.path(),
                listen: "127.0.0.1:5300".parse().unwrap(),
                zone: "example.org",
                zone_file: Path::new("/z.db"),
                hosts_file: &hosts,
                upstream: "127.0.0.1:5400".parse().unwrap(),
                entries: 10,
                workers: 2,
                namespace: None,
                secure: None,
            };
            let mut able = 0;
            for program in PROGRAMS {
                let configure = match program.can(service) {
                    Can::Yes(configure) => configure,
                    Can::No(reason) => {
                        assert!(!reason.is_empty());
                        continue;
                    }
                };
                able += 1;
                let args = configure(&setup).unwrap();
                let text = fs::read_to_string(args.last().unwrap()).unwrap();
                assert!(text.contains("5300"), "{}: {text}", program.name);
                let hosts_named = text.contains("hosts") && service == Service::Hosts;
                assert!(
                    text.contains(mention) || hosts_named,
                    "{}: {text}",
                    program.name
                );
            }
            assert_eq!(able, expect, "{service:?}");
        }
    }

    #[test]
    fn encrypted_listeners_are_in_the_configuration() {
        let dir = TempDir::new().unwrap();
        let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut secure = Secure {
            listen: vec![
                ("tls", address(5853)),
                ("https", address(5443)),
                ("quic", address(5854)),
            ],
            cert: "/c.pem".into(),
            key: "/k.pem".into(),
            keeps_idle: false,
        };
        let text = |name: &str, secure: &Secure| {
            let setup = Setup {
                dir: dir.path(),
                listen: address(5300),
                zone: "example.org",
                zone_file: Path::new("/z.db"),
                hosts_file: Path::new("/hosts"),
                upstream: address(5400),
                entries: 10,
                workers: 1,
                namespace: None,
                secure: Some(secure),
            };
            let program = PROGRAMS.iter().find(|p| p.name == name).unwrap();
            let Can::Yes(configure) = program.can(Service::Cache) else {
                panic!("{name} has no cache");
            };
            fs::read_to_string(configure(&setup).unwrap().last().unwrap()).unwrap()
        };
        for name in ["unbound", "dnsdist", "coredns", PERCOREDNS] {
            let text = text(name, &secure);
            for part in ["5300", "5853", "5443", "/c.pem", "/k.pem"] {
                assert!(text.contains(part), "{name}, {part}: {text}");
            }
            let speaks = PROGRAMS.iter().any(|p| p.name == name && p.speaks("quic"));
            assert_eq!(text.contains("5854"), speaks, "{name}: {text}");
        }
        secure.keeps_idle = true;
        let corefile = text(PERCOREDNS, &secure);
        assert!(
            corefile.starts_with(".:5300 tls://.:5853 https://.:5443 quic://.:5854 {"),
            "{corefile}"
        );
        assert!(corefile.contains("idle 1h") && corefile.contains("https {"));
        assert!(!corefile.contains("grpc_server"), "it is not spoken");
    }

    #[test]
    fn profiles_and_namespaces_are_in_the_command() {
        let dir = TempDir::new().unwrap();
        let program = PROGRAMS.iter().find(|p| p.name == PERCOREDNS).unwrap();
        let contender = Contender {
            name: "percoredns[edge]".into(),
            program,
            path: "/bin/true".into(),
            profile: Some("/edge.toml".into()),
        };
        let setup = Setup {
            dir: dir.path(),
            listen: "127.0.0.1:5300".parse().unwrap(),
            zone: "example.org",
            zone_file: Path::new("/z.db"),
            hosts_file: Path::new("/hosts"),
            upstream: "127.0.0.1:5400".parse().unwrap(),
            entries: 10,
            workers: 1,
            namespace: Some("ns"),
            secure: None,
        };
        let command = contender.command(config::zone_corefile, &setup).unwrap();
        let words: Vec<_> = command.get_args().map(|w| w.to_string_lossy()).collect();
        assert_eq!(command.get_program(), "ip");
        assert_eq!(words[..3], ["netns", "exec", "ns"]);
        assert_eq!(words[words.len() - 2..], ["-tune", "/edge.toml"]);
        assert_eq!(program_of(&contender.name), PERCOREDNS);
    }

    #[test]
    fn free_addresses_can_be_bound() {
        let address = free_address().unwrap();
        assert!(UdpSocket::bind(address).is_ok());
    }
}
