//! The order of CoreDNS's plugin.cfg, against which the table is tested.

/// All directives of CoreDNS 1.14.7 in order. Those without a row in the table are known but not built.
pub const PLUGIN_CFG: &[&str] = &[
    "root",
    "metadata",
    "geoip",
    "cancel",
    "proxyproto",
    "quic",
    "grpc_server",
    "https",
    "https3",
    "timeouts",
    "multisocket",
    "reload",
    "nsid",
    "bufsize",
    "bind",
    "debug",
    "trace",
    "ready",
    "health",
    "pprof",
    "shed",
    "prometheus",
    "errors",
    "log",
    "dnstap",
    "local",
    "dns64",
    "any",
    "chaos",
    "loadbalance",
    "tsig",
    "rewrite",
    "autopath",
    "acl",
    "cache",
    "header",
    "dnssec",
    "tls",
    "minimal",
    "template",
    "transfer",
    "hosts",
    "route53",
    "azure",
    "clouddns",
    "k8s_external",
    "kubernetes",
    "file",
    "auto",
    "secondary",
    "etcd",
    "loop",
    "forward",
    "grpc",
    "erratic",
    "whoami",
    "on",
    "sign",
    "view",
    "nomad",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::BUILT;

    #[test]
    fn the_table_is_in_plugin_cfg_order() {
        let mut rest = PLUGIN_CFG.iter();
        for name in BUILT.iter().filter(|name| **name != "panicker") {
            assert!(
                rest.any(|known| known == name),
                "{name} is out of order or not in plugin.cfg"
            );
        }
    }
}
