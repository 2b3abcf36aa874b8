//! `kubernetes [ZONES...] { options }`, once in a block.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::search::PodPath;
use super::{Config, Pods, keep};
use crate::control::Control;
use crate::corefile::{Args, Fall, SetupError, ZoneName, origins_from_args_or_block};
use crate::kube::access::{Access, Source, TlsFiles};
use crate::kube::record::Kind;
use crate::kube::schema::is_reverse;
use crate::kube::selector;
use crate::kube::store::{Keep, Kinds};
use crate::kube::{Cluster, Selectors, Served};
use crate::lang::duration;
use crate::plugin::SetupCx;
use crate::telemetry::log;
use crate::transport::interfaces;

pub(super) fn parse(args: &mut Args<'_>, cx: &mut SetupCx<'_>) -> Result<Config, SetupError> {
    let mut options = Options::default();
    let mut zones = Vec::new();
    let mut occurrences = 0;
    while args.next() {
        occurrences += 1;
        if occurrences > 1 {
            return Err(args.once_err());
        }
        zones = origins_from_args_or_block(&args.remaining_args(), cx.zones);
        while args.next_block() {
            options.property(args)?;
        }
    }
    let primary_zone = zones.iter().find(|zone| !is_reverse(zone)).cloned();
    let primary_zone = primary_zone.ok_or_else(|| plain("non-reverse zone name must be used"))?;
    options.check(args, &zones)?;
    let access = options.access();
    access.check().map_err(|error| plain(error.to_string()))?;
    let selectors = Selectors {
        labels: options.labels.take(),
        namespaces: options.namespace_labels.take(),
    };
    let cluster = cx.carry.obtain(&Cluster::key(&access, &selectors), || {
        Arc::new(Cluster::new(access.clone(), selectors.clone()))
    });
    let keep = options.keep(cx.directives.contains(&"metadata"));
    let kinds = options.kinds().with(keep);
    cluster.want(kinds, keep);
    keep::keep(cx, &cluster);
    let served = Arc::new(Served {
        cluster,
        zones,
        primary_zone,
        kinds,
        namespaces: options.namespaces,
        names_pods: options.names_pods,
        ttl_s: options.ttl_s,
        knows_pods: options.pods == Pods::Verified,
        fall: options.fall,
        answers_pods: options.pods != Pods::Disabled,
        local_ips: local_ips(cx),
    });
    // The directive stands once in a block, so nothing is there yet.
    let _ = cx.settings.offers.cluster.set(Arc::clone(&served));
    if cx.directives.contains(&"autopath") {
        let path = PodPath::new(Arc::clone(&served));
        let offers = &cx.settings.offers;
        offers.offer_search("kubernetes", Arc::new(path));
    }
    register(cx, &served, options.startup_timeout);
    Ok(Config {
        served,
        multicluster: options.multicluster,
        pods: options.pods,
        ignores_endpoints: options.ignores_endpoints,
        ignores_empty: options.ignores_empty,
        zonal: options.zonal,
    })
}

/// What happens beside the chain.
fn register(cx: &mut SetupCx<'_>, served: &Arc<Served>, patience: Duration) {
    let watched = Arc::clone(served);
    let readiness = &cx.life.readiness;
    readiness.register(cx.block_index, "kubernetes", move || watched.is_synced());
    let aged = Arc::clone(served);
    readiness.register_age(cx.block_index, "kubernetes", move || {
        let stale_ns = aged.cluster.store().stale_ns(aged.kinds);
        stale_ns.map(Duration::from_nanos)
    });
    let started = Arc::clone(served);
    cx.life.on_start.push(Box::new(move |start| {
        started.cluster.start(&start.control);
        announce(&start.control, started, patience);
    }));
}

/// Says, as long as CoreDNS would wait with its start, that the cluster is not known yet. Other zones are answered meanwhile.
fn announce(control: &Control, served: Arc<Served>, patience: Duration) {
    control.spawn("kubernetes start", async move {
        let mut waited = Duration::ZERO;
        while !served.is_synced() {
            if waited >= patience {
                let told = format_args!("starting server with unsynced Kubernetes API");
                log::warning(Some("kubernetes"), told);
                return;
            }
            if waited > Duration::ZERO {
                let told = format_args!("waiting for Kubernetes API before starting server");
                log::info(Some("kubernetes"), told);
            }
            tokio::time::sleep(ANNOUNCED).await;
            waited += ANNOUNCED;
        }
    });
}

/// The addresses that this server is reached at: those of *bind*, or else of all interfaces, but no loopback ones.
fn local_ips(cx: &SetupCx<'_>) -> Vec<IpAddr> {
    let bound: Vec<IpAddr> = cx.settings.listen.iter().map(|host| host.ip).collect();
    let ips = match bound.is_empty() {
        false => bound,
        // Without them there are no NS records, which is no reason not to start.
        true => interfaces::list()
            .unwrap_or_default()
            .into_iter()
            .filter_map(|(_, host)| host.map(|host| host.ip))
            .collect(),
    };
    ips.into_iter()
        .filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
        .collect()
}

/// As they are written.
struct Options {
    endpoint: Option<String>,
    tls: Option<TlsFiles>,
    kubeconfig: Option<(PathBuf, Option<String>)>,
    qps: f64,
    burst: u32,
    in_flight: u32,
    namespaces: Vec<Box<[u8]>>,
    namespace_labels: Option<String>,
    labels: Option<String>,
    pods: Pods,
    names_pods: bool,
    ttl_s: u32,
    ignores_endpoints: bool,
    zonal: bool,
    fall: Fall,
    ignores_empty: bool,
    multicluster: Vec<ZoneName>,
    startup_timeout: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            endpoint: None,
            tls: None,
            kubeconfig: None,
            qps: 0.0,
            burst: 0,
            in_flight: 0,
            namespaces: Vec::new(),
            namespace_labels: None,
            labels: None,
            pods: Pods::Disabled,
            names_pods: false,
            ttl_s: 5,
            ignores_endpoints: false,
            zonal: false,
            fall: Fall::default(),
            ignores_empty: false,
            multicluster: Vec::new(),
            startup_timeout: Duration::from_secs(5),
        }
    }
}

impl Options {
    fn property(&mut self, args: &mut Args<'_>) -> Result<(), SetupError> {
        let name = args.val();
        let words = args.remaining_args();
        let number = |words: &[&str]| -> Result<u32, SetupError> {
            let [text] = words[..] else {
                return Err(args.arg_err());
            };
            text.parse()
                .map_err(|_| args.err(format!("{name} must be a number of at least 0: {text}")))
        };
        let flag = |words: &[&str]| match words {
            [] => Ok(true),
            _ => Err(args.arg_err()),
        };
        match (name, &words[..]) {
            ("endpoint", [first, others @ ..]) => {
                if !others.is_empty() {
                    let told = format_args!(
                        "Multiple endpoints have been deprecated, only the first specified endpoint '{first}' is used"
                    );
                    log::warning(Some("kubernetes"), told);
                }
                self.endpoint = Some((*first).to_owned());
            }
            ("tls", [cert, key, ca]) => {
                self.tls = Some(TlsFiles {
                    cert: cert.into(),
                    key: key.into(),
                    ca: ca.into(),
                });
            }
            ("kubeconfig", [file]) => self.kubeconfig = Some((file.into(), None)),
            ("kubeconfig", [file, context]) => {
                self.kubeconfig = Some((file.into(), Some((*context).to_owned())));
            }
            ("apiserver_qps", [text]) => {
                let qps = text
                    .parse()
                    .ok()
                    .filter(|qps: &f64| qps.is_finite() && *qps >= 0.0);
                self.qps = qps.ok_or_else(|| {
                    args.err(format!(
                        "apiserver_qps must be a number of at least 0: {text}"
                    ))
                })?;
            }
            ("apiserver_burst", words) => self.burst = number(words)?,
            ("apiserver_max_inflight", words) => self.in_flight = number(words)?,
            ("namespaces", names @ [_, ..]) => {
                self.namespaces
                    .extend(names.iter().map(|name| Box::from(name.as_bytes())));
            }
            ("labels", words @ [_, ..]) => self.labels = Some(selector("label", words)?),
            ("namespace_labels", words @ [_, ..]) => {
                self.namespace_labels = Some(selector("namespace_label", words)?);
            }
            ("pods", [mode]) => self.pods = pods(mode)?,
            ("endpoint_pod_names", words) => self.names_pods = flag(words)?,
            ("noendpoints", words) => self.ignores_endpoints = flag(words)?,
            ("zonal", words) => self.zonal = flag(words)?,
            ("ttl", [text, ..]) => {
                let ttl: i64 = text
                    .parse()
                    .map_err(|_| plain(format!("ttl is not a number: {text}")))?;
                let is_valid = (0..=3600).contains(&ttl);
                self.ttl_s = u32::try_from(ttl)
                    .ok()
                    .filter(|_| is_valid)
                    .ok_or_else(|| args.err(format!("ttl must be in range [0, 3600]: {ttl}")))?;
            }
            ("fallthrough", zones) => self.fall = Fall::from_args(zones),
            ("ignore", ["empty_service", ..]) => self.ignores_empty = true,
            ("ignore", words) => {
                let word = words.first().unwrap_or(&"");
                return Err(plain(format!("unable to parse ignore value: '{word}'")));
            }
            ("multicluster", zones) => self.multicluster = origins_from_args_or_block(zones, &[]),
            ("startup_timeout", [text, ..]) => {
                let span = duration::parse(text).ok().and_then(|span| span.to_std());
                let wrong = || {
                    plain(format!(
                        "failed to parse startup_timeout: {text}, it is no duration"
                    ))
                };
                self.startup_timeout = span.ok_or_else(wrong)?;
            }
            (
                "endpoint" | "tls" | "kubeconfig" | "apiserver_qps" | "namespaces" | "labels"
                | "namespace_labels" | "pods" | "ttl" | "startup_timeout",
                _,
            ) => return Err(args.arg_err()),
            (other, _) => return Err(args.unknown_property(other)),
        }
        Ok(())
    }

    /// What goes together.
    fn check(&self, args: &Args<'_>, zones: &[ZoneName]) -> Result<(), SetupError> {
        if !self.namespaces.is_empty() && self.namespace_labels.is_some() {
            return Err(args.err("namespaces and namespace_labels cannot both be set"));
        }
        if self.zonal && self.ignores_endpoints {
            return Err(args.err("zonal and noendpoints cannot both be set"));
        }
        match self.multicluster.iter().find(|zone| !zones.contains(zone)) {
            Some(zone) => {
                let zone = zone.as_str();
                Err(plain(format!(
                    "is not authoritative for the multicluster zone {zone}"
                )))
            }
            None => Ok(()),
        }
    }

    fn access(&mut self) -> Access {
        let source = match (self.kubeconfig.take(), self.endpoint.take()) {
            (Some((file, context)), _) => Source::Kubeconfig { file, context },
            (None, Some(url)) => Source::Endpoint {
                url,
                tls: self.tls.take(),
            },
            (None, None) => Source::InCluster,
        };
        Access {
            source,
            qps: self.qps,
            burst: self.burst,
            in_flight: self.in_flight,
        }
    }

    /// What is watched.
    fn kinds(&self) -> Kinds {
        let mut kinds = match self.ignores_endpoints {
            true => Kinds::NONE.and(Kind::Namespace).and(Kind::Service),
            false => Kinds::BASE,
        };
        if self.pods == Pods::Verified {
            kinds = kinds.and(Kind::Pod);
        }
        if !self.multicluster.is_empty() {
            kinds = kinds.and(Kind::Import);
        }
        kinds
    }

    fn keep(&self, has_metadata: bool) -> Keep {
        Keep {
            targets: self.names_pods,
            zones: self.zonal,
            pods: has_metadata,
        }
    }
}

fn selector(what: &str, words: &[&str]) -> Result<String, SetupError> {
    let text = words.join(" ");
    selector::check(&text).map_err(|error| {
        plain(format!(
            "unable to parse {what} selector value: '{text}': {error}"
        ))
    })?;
    Ok(text)
}

fn pods(mode: &str) -> Result<Pods, SetupError> {
    match mode {
        "disabled" => Ok(Pods::Disabled),
        "insecure" => Ok(Pods::Insecure),
        "verified" => Ok(Pods::Verified),
        other => Err(plain(format!(
            "wrong value for pods: {other},  must be one of: disabled, verified, insecure"
        ))),
    }
}

/// The name of the directive is put in front by whoever calls set-up.
fn plain(message: impl Into<String>) -> SetupError {
    SetupError::plain(message)
}

/// Between two lines about a cluster that is not known yet.
const ANNOUNCED: Duration = Duration::from_millis(500);
