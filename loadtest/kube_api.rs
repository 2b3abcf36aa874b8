//! The scripted Kubernetes API server as a process of its own, for `loadtest kubernetes`.
//!
//! It takes commands from standard input, a line each, and answers each with one line; `sample` alone answers with several. The first line
//! of all is its URL. It ends with its standard input.
//!
//! ```text
//! load SERVICES ENDPOINTS PODS               services 100 slices 98 endpoints 250 pods 0
//! service NS NAME IP                         ok
//! headless NS NAME                           ok
//! slice NS NAME SERVICE IP=HOST IP=HOST ...  ok
//! pod NS NAME IP                             ok
//! namespace NAME                             ok
//! stop | start | restart                     ok
//! watches | version                          a number
//! lists                                      how many requests began with a list, streamed or not
//! sample COUNT                               lines "svc.ns ADDRESS", then "end"
//! ```

use std::io::{self, BufRead, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::str::{FromStr, SplitWhitespace};

use percoredns::kube::record::{Endpoint, Kind, Object, Pod, Port, Reach, Service, Slice};
use percoredns::testing::kube_api::{Api, Cluster, Verb};

fn main() -> io::Result<()> {
    let api = Api::new();
    let mut cluster = Cluster::new(0, 0, 0);
    let mut out = io::stdout().lock();
    writeln!(out, "{}", api.url())?;
    for line in io::stdin().lock().lines() {
        let line = line?;
        let answer = obey(&api, &mut cluster, &line).unwrap_or_else(|| format!("error: {line}"));
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

/// The answer; `None` where a word is missing or is none that is known.
fn obey(api: &Api, cluster: &mut Cluster, line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    match words.next()? {
        "load" => {
            *cluster = Cluster::spread(next(&mut words)?, next(&mut words)?, next(&mut words)?);
            api.load(cluster.clone());
            return Some(size(api, cluster));
        }
        "namespace" => api.put(Object::Namespace(next(&mut words)?)),
        "service" => api.put(Object::Service(Service {
            namespace: next(&mut words)?,
            name: next(&mut words)?,
            cluster_ips: vec![next(&mut words)?],
            ports: ports(),
            ..Service::default()
        })),
        "headless" => api.put(Object::Service(Service {
            namespace: next(&mut words)?,
            name: next(&mut words)?,
            reach: Reach::Headless,
            ports: ports(),
            ..Service::default()
        })),
        "slice" => api.put(Object::Slice(Slice {
            namespace: next(&mut words)?,
            name: next(&mut words)?,
            service: next(&mut words)?,
            ports: ports(),
            endpoints: words.map(endpoint).collect::<Option<_>>()?,
            ..Slice::default()
        })),
        "pod" => api.put(Object::Pod(Pod {
            namespace: next(&mut words)?,
            name: next(&mut words)?,
            ips: vec![next(&mut words)?],
            ..Pod::default()
        })),
        "stop" => api.stop(),
        "start" => api.start(),
        "restart" => api.restart(),
        "watches" => return Some(api.watches().to_string()),
        "version" => return Some(api.version().to_string()),
        "lists" => {
            let lists = api.count(Verb::List, None) + api.count(Verb::WatchList, None);
            return Some(lists.to_string());
        }
        "sample" => return Some(sample(cluster, next(&mut words)?)),
        _ => return None,
    }
    Some("ok".into())
}

fn size(api: &Api, cluster: &Cluster) -> String {
    let services = api.len(Kind::Service);
    let endpoints = (0..cluster.services()).map(|number| cluster.endpoints_of(number));
    format!(
        "namespaces {} services {services} slices {} endpoints {} pods {}",
        api.len(Kind::Namespace),
        api.len(Kind::Slice),
        endpoints.map(u64::from).sum::<u64>(),
        api.len(Kind::Pod),
    )
}

/// Services with an address, from all over the cluster.
fn sample(cluster: &Cluster, count: usize) -> String {
    let step = (cluster.services() as usize / count.max(1)).max(1);
    let numbers = (0..cluster.services()).step_by(step);
    let mut text = String::new();
    for service in numbers.map(|number| cluster.service(number)) {
        let v4 = service.cluster_ips.iter().find(|ip| ip.is_ipv4());
        if let Some(ip) = v4 {
            text.push_str(&format!("{}.{} {ip}\n", service.name, service.namespace));
        }
    }
    text + "end"
}

fn endpoint(word: &str) -> Option<Endpoint> {
    let (ip, host) = word.split_once('=')?;
    Some(Endpoint {
        ip: IpAddr::V4(Ipv4Addr::from_str(ip).ok()?),
        hostname: host.into(),
        target: host.into(),
        zone: String::new(),
    })
}

fn ports() -> Vec<Port> {
    vec![Port {
        name: "http".into(),
        number: 80,
        ..Port::default()
    }]
}

fn next<T: FromStr>(words: &mut SplitWhitespace<'_>) -> Option<T> {
    words.next()?.parse().ok()
}
