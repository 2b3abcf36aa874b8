//! The ConfigMap of CoreDNS or of kube-dns, as `kubectl get configmap -o yaml` (or `-o json`) prints it.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Deserialize;

use crate::corefile::old::federation;
use crate::corefile::zones::zones_of;
use crate::limits;

/// What a ConfigMap configures.
pub(super) enum Found {
    /// CoreDNS: the text of its Corefile.
    Corefile(String),
    /// kube-dns.
    KubeDns(KubeDns),
}

/// The settings of kube-dns.
#[derive(Default)]
pub(super) struct KubeDns {
    /// Name servers by domain.
    stub_domains: BTreeMap<String, Vec<String>>,
    /// Name servers for everything else; empty for those of the node.
    upstreams: Vec<String>,
    /// Domains by name of the federation.
    federations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct ConfigMap {
    kind: Option<String>,
    data: Option<BTreeMap<String, String>>,
}

/// Reads YAML; JSON is YAML too.
pub(super) fn read(file: &str, text: &str) -> Result<Found, String> {
    let map: ConfigMap = serde_saphyr::from_str(text).map_err(|error| {
        let line = error.location().map_or(0, |location| location.line());
        let error = error.to_string();
        let reason = error.lines().next().unwrap_or_default();
        format!("{file}:{line} - not the YAML or JSON of one ConfigMap: {reason}")
    })?;
    if map.kind.as_deref() != Some("ConfigMap") {
        let kind = map.kind.unwrap_or_default();
        return Err(format!(
            "{file} - is of kind '{kind}'; save one ConfigMap with kubectl get configmap NAME -n kube-system -o yaml"
        ));
    }
    let mut data = map.data.unwrap_or_default();
    if let Some(corefile) = data.remove("Corefile") {
        return Ok(Found::Corefile(corefile));
    }
    // An empty ConfigMap is what kube-dns has when nothing is set.
    let mut found = KubeDns::default();
    for (key, json) in data {
        let place = format!("{file}:data.{key}");
        match key.as_str() {
            "stubDomains" => found.stub_domains = parse(&place, &json)?,
            "upstreamNameservers" => found.upstreams = parse(&place, &json)?,
            "federations" => found.federations = parse(&place, &json)?,
            _ => {
                return Err(format!(
                    "{place} - neither CoreDNS (Corefile) nor kube-dns (stubDomains, upstreamNameservers, federations) has this key"
                ));
            }
        }
    }
    found.check(file)?;
    Ok(Found::KubeDns(found))
}

fn parse<'j, T: Deserialize<'j>>(place: &str, json: &'j str) -> Result<T, String> {
    serde_json::from_str(json)
        .map_err(|error| format!("{place} - {error}; kube-dns takes JSON here"))
}

// === impl KubeDns ===

impl KubeDns {
    /// Nothing goes into a Corefile that would be read there as something else.
    fn check(&self, file: &str) -> Result<(), String> {
        let domains = self.stub_domains.keys().map(|name| ("stubDomains", name));
        let names = self.federations.keys().map(|name| ("federations", name));
        for (key, name) in domains.chain(names) {
            if !is_word(name) || zones_of(name).len() != 1 {
                return Err(format!("{file}:data.{key} - {name:?} is no domain name"));
            }
        }
        let lists = self.stub_domains.values().map(|list| ("stubDomains", list));
        let upstreams = ("upstreamNameservers", &self.upstreams);
        for (key, list) in lists.chain([upstreams]) {
            if list.len() > limits::FORWARD_TARGETS {
                return Err(format!(
                    "{file}:data.{key} - a list of more than {} name servers; leave some out",
                    limits::FORWARD_TARGETS
                ));
            }
            if let Some(bad) = list.iter().find(|server| !is_word(server)) {
                return Err(format!(
                    "{file}:data.{key} - {bad:?} is neither an address nor a name"
                ));
            }
        }
        if self.federations.len() > limits::FEDERATION_NAMES {
            return Err(format!(
                "{file}:data.federations - more than {} names",
                limits::FEDERATION_NAMES
            ));
        }
        Ok(())
    }

    /// The Corefile that kubeadm would install, with these settings in it.
    pub(super) fn corefile(&self, file: &str) -> String {
        let mut text = format!(
            "# migrated: in place of the ConfigMap of kube-dns in {}\n",
            quoted(file)
        );
        text.push_str("# kube-dns has the cluster's domain on its command line (--domain): cluster.local is assumed\n");
        text.push_str(".:53 {\n    errors\n    health {\n       lameduck 5s\n    }\n    ready\n");
        for name in self.federations.keys() {
            let _ = writeln!(
                text,
                "    # migrated: federations: '{name}' for services of this cluster; names that only other clusters have are NXDOMAIN now"
            );
            let zone = federation::pattern(CLUSTER).unwrap_or_default();
            let _ = writeln!(text, "    {}", federation::rule(name, &zone).join(" "));
        }
        let _ = write!(text, "    kubernetes {CLUSTER} {STOCK}");
        match self.upstreams.as_slice() {
            [] => text.push_str("    forward . /etc/resolv.conf {\n"),
            list => {
                let _ = writeln!(
                    text,
                    "    # migrated: upstreamNameservers\n    forward . {} {{",
                    list.join(" ")
                );
            }
        }
        text.push_str(STOCK_END);
        for (domain, servers) in self.stub_domains.iter().filter(|row| !row.1.is_empty()) {
            let _ = write!(
                text,
                "# migrated: stubDomains\n{}:53 {{\n    errors\n    cache 30\n    loop\n    forward . {}\n}}\n",
                domain.trim_end_matches('.'),
                servers.join(" ")
            );
        }
        text
    }
}

/// Whether a text is one plain word of a Corefile: an address, with or without a port, or a name.
fn is_word(text: &str) -> bool {
    let is_plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    text.chars().all(is_plain) && text.chars().any(|c| c.is_ascii_alphanumeric())
}

/// A file name for a comment, in which a line break would end it.
fn quoted(file: &str) -> String {
    file.replace(|c: char| c.is_control(), " ")
}

const CLUSTER: &str = "cluster.local";
const STOCK: &str = "in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus :9153
";
const STOCK_END: &str = "       max_concurrent 1000
    }
    cache 30
    loop
    reload
    loadbalance
}
";
