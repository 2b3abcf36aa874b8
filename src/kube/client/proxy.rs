//! Which HTTP proxy leads to the API server. The client crate compares NO_PROXY with the address of the proxy instead of the server's, so
//! the environment is read here.

use std::env;
use std::net::IpAddr;

use http::Uri;

/// The proxy for a server: the one that the kubeconfig names, else that of the environment.
///
/// # Errors
/// It is no URL.
pub(in crate::kube) fn of(server: &Uri, written: Option<&str>) -> Result<Option<Uri>, String> {
    let variable = |names: [&str; 2]| {
        let values = names.into_iter().filter_map(|name| env::var(name).ok());
        values.into_iter().find(|value| !value.is_empty())
    };
    let proxy = match server.scheme_str() {
        Some("https") => variable(["HTTPS_PROXY", "https_proxy"]),
        _ => variable(["HTTP_PROXY", "http_proxy"]),
    };
    let exceptions = variable(["NO_PROXY", "no_proxy"]);
    choose(server, written, proxy.as_deref(), exceptions.as_deref())
}

fn choose(
    server: &Uri,
    written: Option<&str>,
    proxy: Option<&str>,
    exceptions: Option<&str>,
) -> Result<Option<Uri>, String> {
    let host = server.host().unwrap_or_default();
    let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
    let is_direct = is_local(&host) || exceptions.is_some_and(|list| is_excepted(&host, list));
    let url = match (written, proxy) {
        (Some(url), _) => url,
        (None, Some(url)) if !is_direct => url,
        _ => return Ok(None),
    };
    let whole = match url.contains("://") {
        true => url.to_owned(),
        false => format!("http://{url}"),
    };
    let parsed = whole.parse();
    parsed
        .map(Some)
        .map_err(|error| format!("proxy {url:?}: {error}"))
}

/// This machine needs no proxy to reach itself.
fn is_local(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// A list of names, which hold for what is below them too, of addresses and of networks.
fn is_excepted(host: &str, list: &str) -> bool {
    let ip = host.parse::<IpAddr>().ok();
    list.split(',').map(str::trim).any(|entry| {
        if entry == "*" {
            return true;
        }
        if let Some(ip) = ip {
            return match entry.split_once('/') {
                Some((network, bits)) => is_within(ip, network, bits),
                None => entry.parse() == Ok(ip),
            };
        }
        let name = entry.trim_start_matches("*.").trim_start_matches('.');
        let name = name.to_ascii_lowercase();
        let below = host.strip_suffix(&*name);
        !name.is_empty() && below.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    })
}

fn is_within(ip: IpAddr, network: &str, bits: &str) -> bool {
    let Ok(bits) = bits.parse::<u32>() else {
        return false;
    };
    match (ip, network.parse()) {
        (IpAddr::V4(ip), Ok(IpAddr::V4(network))) if bits <= 32 => {
            let differing = (ip.to_bits() ^ network.to_bits()).leading_zeros();
            differing >= bits
        }
        (IpAddr::V6(ip), Ok(IpAddr::V6(network))) if bits <= 128 => {
            let differing = (ip.to_bits() ^ network.to_bits()).leading_zeros();
            differing >= bits
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_proxy() {
        let proxy = Some("http://proxy:3128");
        for (server, written, proxy, exceptions, expect) in [
            ("https://10.0.0.1:6443", None, None, None, None),
            (
                "https://10.0.0.1:6443",
                None,
                proxy,
                None,
                Some("http://proxy:3128/"),
            ),
            (
                "https://10.0.0.1",
                None,
                Some("proxy:3128"),
                None,
                Some("http://proxy:3128/"),
            ),
            ("https://10.0.0.1", None, proxy, Some("10.0.0.1"), None),
            ("https://10.0.0.1", None, proxy, Some("10.0.0.2, *"), None),
            ("https://10.1.0.1", None, proxy, Some("x,10.0.0.0/8"), None),
            (
                "https://10.1.0.1",
                None,
                proxy,
                Some("10.0.0.0/16"),
                Some("http://proxy:3128/"),
            ),
            ("https://11.0.0.1", None, proxy, Some("10.0.0.0/0"), None),
            (
                "https://[fd00::1]:6443",
                None,
                proxy,
                Some("fd00::/64"),
                None,
            ),
            (
                "https://[fd00::1]:6443",
                None,
                proxy,
                Some("fd00::/129"),
                Some("http://proxy:3128/"),
            ),
            (
                "https://api.Example.org",
                None,
                proxy,
                Some(".example.org"),
                None,
            ),
            (
                "https://api.example.org",
                None,
                proxy,
                Some("example.org"),
                None,
            ),
            (
                "https://api.example.org",
                None,
                proxy,
                Some("ample.org"),
                Some("http://proxy:3128/"),
            ),
            ("https://127.0.0.1:6443", None, proxy, None, None),
            (
                "https://127.0.0.1:6443",
                Some("http://other:1"),
                proxy,
                Some("*"),
                Some("http://other:1/"),
            ),
        ] {
            let server = server.parse().unwrap();
            let chosen = choose(&server, written, proxy, exceptions).unwrap();
            let chosen = chosen.map(|uri| uri.to_string());
            assert_eq!(chosen.as_deref(), expect, "{server} {exceptions:?}");
        }
    }

    #[test]
    fn a_proxy_that_is_none() {
        let server = "https://10.0.0.1".parse().unwrap();
        assert!(choose(&server, Some("http://a b"), None, None).is_err());
    }
}
