//! What a request asks for.

use super::object::{KINDS, names};
use super::script::Verb;
use super::select::Selector;
use crate::kube::record::Kind;

/// A request for objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) verb: Verb,
    pub(super) kind: Kind,
    /// The key of the object to get.
    pub(super) key: String,
    pub(super) selector: Selector,
    /// Objects in a page; 0 is all.
    pub(super) limit: usize,
    /// `continue`.
    pub(super) next: String,
    /// `resourceVersion`, which is not the same as none when it is 0.
    pub(super) version: Option<u64>,
    pub(super) timeout_s: u64,
    pub(super) bookmarks: bool,
}

impl Ask {
    /// Reads path and query. None is for paths that lead to no kind; an error is the client's.
    pub(super) fn read(path: &str, query: &str) -> Option<Result<Ask, String>> {
        let (kind, namespace, name) = place(path)?;
        Some(Ask::of(kind, namespace, name, &Parameters::read(query)))
    }

    fn of(
        kind: Kind,
        namespace: Option<&str>,
        name: Option<&str>,
        parameters: &Parameters,
    ) -> Result<Ask, String> {
        let is_watch = parameters.flag("watch");
        let is_initial = parameters.flag("sendInitialEvents");
        let matches = parameters.text("resourceVersionMatch");
        let verb = match (name, is_watch) {
            (Some(_), _) => Verb::Get,
            (None, true) if is_initial => Verb::WatchList,
            (None, true) => Verb::Watch,
            (None, false) => Verb::List,
        };
        let is_forbidden = match verb {
            Verb::WatchList => matches != "NotOlderThan",
            Verb::Watch => !matches.is_empty(),
            _ => is_initial,
        };
        if is_forbidden {
            return Err("sendInitialEvents and resourceVersionMatch do not fit".into());
        }
        let version = match parameters.text("resourceVersion") {
            "" => None,
            text => Some(text.parse().map_err(|_| "invalid resource version")?),
        };
        let labels = parameters.text("labelSelector");
        let fields = parameters.text("fieldSelector");
        Ok(Ask {
            verb,
            kind,
            key: key(namespace.unwrap_or_default(), name.unwrap_or_default()),
            selector: Selector::new(namespace.map(str::to_owned), labels, fields)?,
            limit: parameters.number("limit")? as usize,
            next: parameters.text("continue").to_owned(),
            version,
            timeout_s: parameters.number("timeoutSeconds")?,
            bookmarks: parameters.flag("allowWatchBookmarks"),
        })
    }
}

/// The key of an object.
pub(super) fn key(namespace: &str, name: &str) -> String {
    if namespace.is_empty() {
        return name.to_owned();
    }
    format!("{namespace}/{name}")
}

/// Kind, namespace and name in a path.
fn place(path: &str) -> Option<(Kind, Option<&str>, Option<&str>)> {
    let (group, rest) = ["/api/", "/apis/"]
        .iter()
        .find_map(|root| path.strip_prefix(root))
        .and_then(|rest| {
            // Groups have a slash before their version, the core has none.
            let words = if path.starts_with("/apis/") { 2 } else { 1 };
            let end = rest.match_indices('/').nth(words - 1)?.0;
            Some((&rest[..end], &rest[end + 1..]))
        })?;
    let words: Vec<&str> = rest.split('/').collect();
    let (namespace, resource, name) = match words[..] {
        [resource] => (None, resource, None),
        // What is within a namespace follows its name; alone, it is the namespace that is asked for.
        ["namespaces", name] => (None, "namespaces", Some(name)),
        ["namespaces", namespace, resource] => (Some(namespace), resource, None),
        ["namespaces", namespace, resource, name] => (Some(namespace), resource, Some(name)),
        _ => return None,
    };
    let kind = KINDS.into_iter().find(|kind| {
        let names = names(*kind);
        names.version == group && names.resource == resource
    })?;
    let is_within = namespace.is_some() || name.is_some();
    let is_fit = match kind {
        Kind::Namespace => namespace.is_none(),
        _ => !is_within || namespace.is_some(),
    };
    is_fit.then_some((kind, namespace, name))
}

/// The parameters of a query.
struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn read(query: &str) -> Parameters {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (unescape(key), unescape(value))
        });
        Parameters(pairs.collect())
    }

    fn text(&self, key: &str) -> &str {
        let found = self.0.iter().find(|(one, _)| one == key);
        found.map_or("", |(_, value)| value)
    }

    fn flag(&self, key: &str) -> bool {
        matches!(self.text(key), "1" | "true")
    }

    fn number(&self, key: &str) -> Result<u64, String> {
        match self.text(key) {
            "" => Ok(0),
            text => text.parse().map_err(|_| format!("invalid {key}: {text}")),
        }
    }
}

/// Text of a query: `%20` and `+` are spaces.
fn unescape(text: &str) -> String {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        rest = others;
        let escaped = others.get(..2).filter(|_| *first == b'%');
        let value = escaped
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (first, value) {
            (_, Some(value)) => {
                octets.push(value);
                rest = &others[2..];
            }
            (b'+', None) => octets.push(b' '),
            (other, None) => octets.push(*other),
        }
    }
    String::from_utf8_lossy(&octets).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_kinds() {
        let slices = "/apis/discovery.k8s.io/v1";
        for (path, expect) in [
            ("/api/v1/services", Some((Kind::Service, None, None))),
            ("/api/v1/namespaces", Some((Kind::Namespace, None, None))),
            (
                "/api/v1/namespaces/shop",
                Some((Kind::Namespace, None, Some("shop"))),
            ),
            (
                "/api/v1/namespaces/shop/pods",
                Some((Kind::Pod, Some("shop"), None)),
            ),
            (
                "/api/v1/namespaces/shop/pods/a",
                Some((Kind::Pod, Some("shop"), Some("a"))),
            ),
            ("/api/v1/endpointslices", None),
            ("/api/v1/services/a", None),
            ("/api/v2/services", None),
            ("/api/v1/namespaces/shop/namespaces", None),
            ("/api/v1", None),
            ("/api", None),
            ("/", None),
        ] {
            assert_eq!(place(path), expect, "{path}");
        }
        assert_eq!(
            place(&format!("{slices}/endpointslices")),
            Some((Kind::Slice, None, None))
        );
        assert_eq!(
            place(&format!("{slices}/namespaces/shop/endpointslices")),
            Some((Kind::Slice, Some("shop"), None))
        );
        assert_eq!(
            place("/apis/multicluster.x-k8s.io/v1alpha1/serviceimports"),
            Some((Kind::Import, None, None))
        );
    }

    #[test]
    fn queries_are_read() {
        let read = |query: &str| Ask::read("/api/v1/pods", query).unwrap();
        let ask = read("limit=500&continue=a%2Fb%3d&resourceVersion=0").unwrap();
        assert_eq!((ask.verb, ask.limit), (Verb::List, 500));
        assert_eq!((ask.next.as_str(), ask.version), ("a/b=", Some(0)));
        let ask = read("watch=1&timeoutSeconds=9&allowWatchBookmarks=true").unwrap();
        assert_eq!((ask.verb, ask.timeout_s), (Verb::Watch, 9));
        assert!(ask.bookmarks && ask.version.is_none());
        let initial = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
        assert_eq!(read(initial).unwrap().verb, Verb::WatchList);
        for wrong in [
            "limit=x",
            "resourceVersion=x",
            "watch=1&sendInitialEvents=true",
            "watch=1&resourceVersionMatch=NotOlderThan",
            "sendInitialEvents=true",
            "labelSelector=a%20b",
            "fieldSelector=spec.x%3Dy",
        ] {
            read(wrong).expect_err(wrong);
        }
    }
}
