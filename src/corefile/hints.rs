//! Directives that are not CoreDNS's own but stand in Corefiles of the field, and what to tell their operator.

/// What to add to `Unknown directive`, for a directive that was removed or that comes from an outside plugin.
pub fn of(name: &str) -> Option<&'static str> {
    let find =
        |table: &'static [(&str, &str)]| table.iter().find(|row| row.0 == name).map(|row| row.1);
    find(REMOVED).or_else(|| find(OUTSIDE))
}

/// Gone from CoreDNS, or never right. What can be translated is in `old`.
const REMOVED: &[(&str, &str)] = &[
    ("startup", "removed from CoreDNS: use 'on startup COMMAND'"),
    (
        "shutdown",
        "removed from CoreDNS: use 'on shutdown COMMAND'",
    ),
    ("reverse", "removed from CoreDNS: use 'template'"),
    (
        "upstream",
        "no directive of its own any more: lookups of targets always go through the server itself; remove it",
    ),
    ("error", "did you mean 'errors'?"),
    (
        "info",
        "no directive of CoreDNS; 'log' writes a line per query",
    ),
    (
        "healthcheck",
        "did you mean 'health'? upstreams are probed by the option health_check of 'forward'",
    ),
    ("metrics", "did you mean 'prometheus'?"),
    ("loadbalancer", "did you mean 'loadbalance'?"),
    ("rewrites", "did you mean 'rewrite'?"),
];

/// Compiled in by those who build CoreDNS themselves.
const OUTSIDE: &[(&str, &str)] = &[
    (
        "ads",
        "outside plugin 'ads', not built in; 'hosts' or 'template' can block names",
    ),
    ("alias", "outside plugin 'alias', not built in"),
    (
        "alternate",
        "outside plugin 'alternate', not built in; 'forward' has 'failover RCODE...' and 'next RCODE...'",
    ),
    (
        "blocker",
        "outside plugin 'blocker', not built in; 'hosts' or 'template' can block names",
    ),
    (
        "blocklist",
        "outside plugin 'blocklist', not built in; 'hosts' or 'template' can block names",
    ),
    (
        "coredns-docker",
        "outside plugin 'coredns-docker', not built in",
    ),
    (
        "dnsredir",
        "outside plugin 'dnsredir', not built in; 'forward' in a server block of its own redirects a zone",
    ),
    ("docker", "outside plugin 'docker', not built in"),
    ("drove", "outside plugin 'drove', not built in"),
    (
        "dynupdate",
        "plugin 'dynupdate' came after CoreDNS 1.14.7, not built in",
    ),
    (
        "fallback",
        "outside plugin 'fallback', not built in; 'forward' has 'failover RCODE...' and 'next RCODE...'",
    ),
    (
        "fanout",
        "outside plugin 'fanout', not built in; 'forward' asks several upstreams one after another",
    ),
    (
        "filter",
        "outside plugin 'filter', not built in; 'hosts' or 'template' can block names",
    ),
    ("finalize", "outside plugin 'finalize', not built in"),
    ("gslb", "outside plugin 'gslb', not built in"),
    (
        "k8s_gateway",
        "outside plugin 'k8s_gateway', not built in; 'k8s_external' serves external IPs of services",
    ),
    ("lighthouse", "outside plugin 'lighthouse', not built in"),
    ("malicious", "outside plugin 'malicious', not built in"),
    ("mdns", "outside plugin 'mdns', not built in"),
    ("meship", "outside plugin 'meship', not built in"),
    (
        "multicluster",
        "outside plugin 'multicluster', not built in; 'kubernetes' has the option 'multicluster ZONES...'",
    ),
    ("mysql", "outside plugin 'mysql', not built in"),
    ("netbox", "outside plugin 'netbox', not built in"),
    ("nfd", "outside plugin 'nfd', not built in"),
    ("omada", "outside plugin 'omada', not built in"),
    ("pdsql", "outside plugin 'pdsql', not built in"),
    ("ratelimit", "outside plugin 'ratelimit', not built in"),
    (
        "records",
        "outside plugin 'records', not built in; 'file' serves the same records from a zone file",
    ),
    (
        "redis",
        "outside plugin 'redis', not built in; 'cache' keeps answers in memory",
    ),
    (
        "redisc",
        "outside plugin 'redisc', not built in; 'cache' keeps answers in memory",
    ),
    (
        "redis_cache",
        "outside plugin 'redis_cache', not built in; 'cache' keeps answers in memory",
    ),
    (
        "refuseany",
        "outside plugin 'refuseany', not built in; 'any' answers queries of type ANY",
    ),
    ("rrl", "outside plugin 'rrl', not built in"),
    ("tailscale", "outside plugin 'tailscale', not built in"),
    (
        "unbound",
        "outside plugin 'unbound', not built in; 'forward' asks a resolver",
    ),
    ("warnlist", "outside plugin 'warnlist', not built in"),
    ("wgsd", "outside plugin 'wgsd', not built in"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_one_hint() {
        let mut names: Vec<_> = REMOVED.iter().chain(OUTSIDE).map(|row| row.0).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(of("reverse").is_some_and(|hint| hint.contains("'template'")));
        assert_eq!(of("forward"), None);
    }
}
