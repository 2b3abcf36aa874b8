//! A pair of virtual network cards: one end here, the other in a network namespace where the servers run.
//!
//! ```text
//!   here: generator --- lt<pid>a ====== lt<pid>b --- servers     namespace loadtest-<pid>
//!              10.213.x.1/29                 10.213.x.2          10.213.x.6 is nobody: packets to it are dropped on arrival
//! ```
//!
//! **Invariant**: namespace and cards are removed when the value is dropped; those of runs that were killed outright are removed by
//! the next one.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use crate::stage::Place;

/// A namespace with its pair of cards.
pub struct Veth {
    namespace: String,
    here: String,
    subnet: u8,
}

impl Veth {
    /// Makes both; only root can.
    pub fn new() -> Result<Veth, String> {
        remove_stale();
        let pid = std::process::id();
        let veth = Veth {
            namespace: format!("{PREFIX}{pid}"),
            here: format!("lt{pid}a"),
            subnet: (pid % 250) as u8,
        };
        // From here on a failure drops `veth`, which removes what there is.
        let (namespace, here) = (veth.namespace.as_str(), veth.here.as_str());
        let there = format!("lt{pid}b");
        ip(&["netns", "add", namespace])?;
        ip(&[
            "link", "add", here, "type", "veth", "peer", "name", &there, "netns", namespace,
        ])?;
        let (own, servers) = (veth.address(1), veth.address(2));
        ip(&["addr", "add", &format!("{own}/29"), "dev", here])?;
        ip(&["link", "set", here, "up"])?;
        let inside = |words: &[&str]| ip(&[&["-n", namespace], words].concat());
        inside(&["addr", "add", &format!("{servers}/29"), "dev", &there])?;
        inside(&["link", "set", &there, "up"])?;
        inside(&["link", "set", "lo", "up"])?;
        let show = inside(&["-br", "link", "show", "dev", &there])?;
        let mac = show.split_whitespace().nth(2).ok_or_else(|| {
            format!("ip link show dev {there}: no address of the card in \"{show}\"")
        })?;
        let nobody = veth.nobody().to_string();
        let neighbour = |address: &str| {
            ip(&[
                "neigh",
                "replace",
                address,
                "lladdr",
                mac,
                "dev",
                here,
                "nud",
                "permanent",
            ])
        };
        neighbour(&nobody)?;
        neighbour(&servers.to_string())?;
        Ok(veth)
    }

    /// Where servers run and the origin is.
    pub fn place(&self) -> Place {
        Place {
            origin: self.address(1),
            servers: self.address(2),
            namespace: Some(self.namespace.clone()),
        }
    }

    /// The card on this side.
    pub fn card(&self) -> &str {
        &self.here
    }

    /// An address behind the pair that drops everything: not of the namespace, which does not forward.
    pub fn nobody(&self) -> Ipv4Addr {
        self.address(6)
    }

    fn address(&self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 213, self.subnet, last)
    }
}

impl Drop for Veth {
    fn drop(&mut self) {
        remove(&self.namespace);
        // Gone together with its peer, unless it was never moved.
        let _ = ip(&["link", "del", &self.here]);
    }
}

fn remove(namespace: &str) {
    // What is not there needs no removing.
    let _ = ip(&["netns", "del", namespace]);
}

/// Removes namespaces of this program whose process is gone.
fn remove_stale() {
    let list = ip(&["netns", "list"]).unwrap_or_default();
    for namespace in stale(&list, |pid| Path::new(&format!("/proc/{pid}")).exists()) {
        remove(namespace);
    }
}

fn stale(list: &str, is_alive: impl Fn(u32) -> bool) -> Vec<&str> {
    let names = list
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    names
        .filter(|name| {
            let pid = name
                .strip_prefix(PREFIX)
                .and_then(|pid| pid.parse::<u32>().ok());
            pid.is_some_and(|pid| !is_alive(pid))
        })
        .collect()
}

fn ip(words: &[&str]) -> Result<String, String> {
    let output = Command::new("ip")
        .args(words)
        .output()
        .map_err(|e| format!("ip: {e}; --veth needs the program ip (Debian package iproute2)"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!(
        "ip {}: {}; --veth makes a network namespace, which only root may do",
        words.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    ))
}

const PREFIX: &str = "loadtest-";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_namespaces_of_dead_runs_are_stale() {
        let list = "loadtest-12 (id: 0)\nother\nloadtest-13\nloadtest-x\n";
        assert_eq!(stale(list, |pid| pid == 12), ["loadtest-13"]);
    }

    #[test]
    fn a_pair_is_made_and_removed_where_that_is_allowed() {
        let veth = match Veth::new() {
            Ok(veth) => veth,
            Err(e) => {
                assert!(e.contains("--veth"), "{e}");
                eprintln!("SKIPPED: {e}");
                return;
            }
        };
        let (card, namespace) = (veth.card().to_owned(), veth.namespace.clone());
        assert!(Path::new("/sys/class/net").join(&card).exists());
        assert!(ip(&["netns", "list"]).unwrap().contains(&namespace));
        drop(veth);
        assert!(!Path::new("/sys/class/net").join(&card).exists());
        assert!(!ip(&["netns", "list"]).unwrap().contains(&namespace));
    }
}
