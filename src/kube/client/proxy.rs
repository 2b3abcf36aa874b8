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

    fn chosen(server: &str, written: Option<&str>, exceptions: &str) -> Option<String> {
        let server = server.parse().unwrap();
        let proxy = Some("proxy:3128");
        let chosen = choose(&server, written, proxy, Some(exceptions)).unwrap();
        chosen.map(|uri| uri.to_string())
    }

    #[test]
    fn what_needs_no_proxy() {
        for (server, exceptions) in [
            ("https://10.0.0.1", "10.0.0.1"),
            ("https://10.0.0.1", "10.0.0.2, *"),
            ("https://10.1.0.1", "x,10.0.0.0/8"),
            ("https://11.0.0.1", "10.0.0.0/0"),
            ("https://[fd00::1]:6443", "fd00::/64"),
            ("https://api.Example.org", ".example.org"),
            ("https://api.example.org", "*.example.org"),
            ("https://api.example.org", "example.org"),
            ("https://127.0.0.1:6443", ""),
            ("https://localhost", ""),
        ] {
            assert_eq!(
                chosen(server, None, exceptions),
                None,
                "{server} {exceptions}"
            );
        }
        let server = "https://10.0.0.1".parse().unwrap();
        assert_eq!(choose(&server, None, None, None), Ok(None));
    }

    #[test]
    fn what_goes_through_it() {
        for (server, exceptions) in [
            ("https://10.0.0.1:6443", ""),
            ("https://10.1.0.1", "10.0.0.0/16"),
            ("https://10.1.0.1", "10.0.0.0/x,fd00::/8"),
            ("https://[fd00::1]:6443", "fd00::/129"),
            ("https://api.example.org", "ample.org"),
        ] {
            let proxy = chosen(server, None, exceptions);
            let expect = Some("http://proxy:3128/");
            assert_eq!(proxy.as_deref(), expect, "{server} {exceptions}");
        }
        // What the kubeconfig names is meant for this server.
        let written = chosen("https://127.0.0.1", Some("http://other:1"), "*");
        assert_eq!(written.as_deref(), Some("http://other:1/"));
    }

    #[test]
    fn a_proxy_that_is_none() {
        let server = "https://10.0.0.1".parse().unwrap();
        assert!(choose(&server, Some("http://a b"), None, None).is_err());
    }
}
