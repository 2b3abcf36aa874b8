//! What servers are made to do in a comparison, and what a right answer to it is: one table.
//!
//! Runs on: pure.

use crate::corpus::Kind;
use crate::load::Transport;

/// Where a server takes its answers from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// A zone file.
    Zone,
    /// A cache in front of an authoritative server (the origin).
    Cache,
    /// A hosts file.
    Hosts,
}

/// One kind of work.
#[derive(Debug)]
pub struct Scenario {
    /// As on the command line and in tables.
    pub name: &'static str,
    /// Where answers come from.
    pub service: Service,
    /// Names in the zone, the hosts file or the warm set.
    pub names: u32,
    /// What is asked.
    pub kind: Kind,
    /// Share of questions, in percent, for names that nobody has asked before.
    pub fresh_percent: u8,
    /// On what.
    pub transport: Transport,
    /// One name from one socket instead of all names from many.
    pub is_hot: bool,
    /// The rcodes of a right answer.
    pub rcodes: &'static [u8],
    /// For readers of the table.
    pub about: &'static str,
}

impl PartialEq for Scenario {
    fn eq(&self, other: &Scenario) -> bool {
        self.name == other.name
    }
}

impl Scenario {
    /// The scenario of this name.
    pub fn find(name: &str) -> Result<&'static Scenario, String> {
        SCENARIOS.iter().find(|s| s.name == name).ok_or_else(|| {
            let known: Vec<&str> = SCENARIOS.iter().map(|s| s.name).collect();
            format!("no scenario \"{name}\"; there are {}", known.join(", "))
        })
    }

    /// Whether answers come from memory alone once a cache is warm.
    pub fn is_from_memory(&self) -> bool {
        self.service != Service::Cache || self.fresh_percent == 0
    }

    /// Whether a reply with this rcode is right.
    pub fn is_right(&self, rcode: u8) -> bool {
        self.rcodes.contains(&rcode)
    }
}

const ZONE: Scenario = Scenario {
    name: "zone",
    service: Service::Zone,
    names: 10_000,
    kind: Kind::Hosts,
    fresh_percent: 0,
    transport: Transport::Udp,
    is_hot: false,
    rcodes: &[NOERROR],
    about: "hosts of a zone of 10,000; right is NOERROR with the host's A record",
};

/// A warm cache, asked over UDP; other comparisons begin with it.
pub const CACHED: Scenario = Scenario {
    name: "cached",
    service: Service::Cache,
    about: "10,000 names from a warm cache (100 % hits); right is NOERROR with the origin's A record",
    ..ZONE
};

/// Every scenario, in the order of tables.
pub static SCENARIOS: &[Scenario] = &[
    ZONE,
    CACHED,
    Scenario {
        name: "cached-1k",
        names: 1_000,
        about: "1,000 names from a warm cache; right as in cached",
        ..CACHED
    },
    Scenario {
        name: "cached-1m",
        names: 1_000_000,
        about: "a million names from a warm cache; right as in cached",
        ..CACHED
    },
    Scenario {
        name: "hits-90",
        fresh_percent: 10,
        about: "nine of ten names are warm, the rest is new and comes from the origin; right is NOERROR",
        ..CACHED
    },
    Scenario {
        name: "hits-50",
        fresh_percent: 50,
        about: "every other name is warm, the rest is new and comes from the origin; right is NOERROR",
        ..CACHED
    },
    Scenario {
        name: "hits-0",
        fresh_percent: 100,
        about: "every name is new and comes from the origin; right is NOERROR",
        ..CACHED
    },
    Scenario {
        name: "zone-1m",
        names: 1_000_000,
        about: "hosts of a zone of a million A records; right as in zone",
        ..ZONE
    },
    Scenario {
        name: "hosts-100k",
        service: Service::Hosts,
        names: 100_000,
        about: "names of a hosts file of 100,000 lines; right is NOERROR with the line's address",
        ..ZONE
    },
    Scenario {
        name: "nxdomain",
        fresh_percent: 100,
        rcodes: &[NXDOMAIN],
        about: "a flood of names that do not exist in the zone, each different; right is NXDOMAIN",
        ..ZONE
    },
    Scenario {
        name: "hot-1src",
        is_hot: true,
        about: "one warm name from one source port; right as in cached",
        ..CACHED
    },
    Scenario {
        name: "tcp",
        transport: Transport::Tcp,
        about: "hosts of the zone over pipelined TCP connections; right as in zone",
        ..ZONE
    },
    Scenario {
        name: "mixed",
        kind: Kind::Mixed,
        rcodes: &[NOERROR, NXDOMAIN],
        about: "as clients ask: 60 % A, 25 % AAAA without data, 10 % NXDOMAIN, 5 % TXT and MX; right is NOERROR or NXDOMAIN",
        ..ZONE
    },
];

const NOERROR: u8 = 0;
const NXDOMAIN: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        for (i, scenario) in SCENARIOS.iter().enumerate() {
            assert_eq!(Scenario::find(scenario.name).unwrap(), scenario);
            assert!(SCENARIOS[..i].iter().all(|s| s != scenario));
            assert!(!scenario.rcodes.is_empty() && scenario.fresh_percent <= 100);
        }
        let error = Scenario::find("zoo").unwrap_err();
        assert!(
            error.contains("\"zoo\"") && error.contains("hits-90"),
            "{error}"
        );
    }

    #[test]
    fn only_caches_with_new_names_need_the_origin() {
        let asks: Vec<&str> = SCENARIOS
            .iter()
            .filter(|s| !s.is_from_memory())
            .map(|s| s.name)
            .collect();
        assert_eq!(asks, ["hits-90", "hits-50", "hits-0"]);
    }
}
