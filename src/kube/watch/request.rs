//! The paths of requests to the API server.

use super::Wanted;
use crate::kube::record::Kind;
use crate::limits;

/// How old a list may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Age {
    /// As the server has it in memory. It ignores the page size then and sends all at once, which costs it least.
    Any,
    /// That version or a newer one, as far as the server has it in memory.
    NotBefore(String),
    /// Of now, which the server may have to ask etcd for, page by page.
    Latest,
}

/// A list, or the page of it that begins at `next`.
pub(super) fn list(kind: Kind, wanted: &Wanted, age: &Age, next: &str) -> String {
    let mut path = collection(kind, wanted);
    let limit = limits::KUBE_PAGE.to_string();
    match age {
        _ if !next.is_empty() => path.and("limit", &limit).and("continue", next),
        Age::Any => path.and("limit", &limit).and("resourceVersion", "0"),
        Age::NotBefore(version) => path
            .and("resourceVersion", version)
            .and("resourceVersionMatch", "NotOlderThan"),
        Age::Latest => path.and("limit", &limit),
    };
    path.text
}

/// A watch of what comes after that version; without one, of all that is there and what comes after.
pub(super) fn watch(kind: Kind, wanted: &Wanted, version: Option<&str>, seconds: u64) -> String {
    let mut path = collection(kind, wanted);
    path.and("watch", "true")
        .and("allowWatchBookmarks", "true")
        .and("timeoutSeconds", &seconds.to_string());
    match version {
        Some(version) => path.and("resourceVersion", version),
        None => path
            .and("sendInitialEvents", "true")
            .and("resourceVersionMatch", "NotOlderThan"),
    };
    path.text
}

fn collection(kind: Kind, wanted: &Wanted) -> Path {
    let (path, labels) = match kind {
        Kind::Namespace => ("/api/v1/namespaces", &wanted.namespace_labels),
        Kind::Service => ("/api/v1/services", &wanted.labels),
        Kind::Slice => ("/apis/discovery.k8s.io/v1/endpointslices", &wanted.labels),
        Kind::Pod => ("/api/v1/pods", &wanted.labels),
        Kind::Import => (IMPORTS, &None),
    };
    let mut path = Path {
        text: path.to_owned(),
        is_begun: false,
    };
    if let Some(labels) = labels {
        path.and("labelSelector", labels);
    }
    if kind == Kind::Pod {
        path.and("fieldSelector", ALIVE);
    }
    path
}

/// A path with a query that grows.
struct Path {
    text: String,
    is_begun: bool,
}

impl Path {
    fn and(&mut self, name: &str, value: &str) -> &mut Path {
        self.text.push(if self.is_begun { '&' } else { '?' });
        self.is_begun = true;
        self.text.push_str(name);
        self.text.push('=');
        for octet in value.bytes() {
            // RFC 3986 section 2.3.
            if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) {
                self.text.push(char::from(octet));
            } else {
                let digits = [octet >> 4, octet & 15].map(|digit| HEX[usize::from(digit)]);
                self.text.push('%');
                self.text.extend(digits.map(char::from));
            }
        }
        self
    }
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";
const IMPORTS: &str = "/apis/multicluster.x-k8s.io/v1alpha1/serviceimports";
/// Pods that have ended keep an address that others may have by now.
const ALIVE: &str = "status.phase!=Succeeded,status.phase!=Failed,status.phase!=Unknown";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_lists() {
        let wanted = Wanted {
            labels: Some("app in (a,b)".into()),
            namespace_labels: Some("x=y".into()),
            slices: true,
            pods: true,
            imports: true,
        };
        let at = |version: &str| Age::NotBefore(version.to_owned());
        for (kind, age, next, expect) in [
            (
                Kind::Service,
                Age::Any,
                "",
                "/api/v1/services?labelSelector=app%20in%20%28a%2Cb%29&limit=500&resourceVersion=0",
            ),
            (
                Kind::Namespace,
                Age::Latest,
                "",
                "/api/v1/namespaces?labelSelector=x%3Dy&limit=500",
            ),
            (
                Kind::Namespace,
                Age::Any,
                "t+k=",
                "/api/v1/namespaces?labelSelector=x%3Dy&limit=500&continue=t%2Bk%3D",
            ),
            (
                Kind::Import,
                at("17"),
                "",
                "/apis/multicluster.x-k8s.io/v1alpha1/serviceimports?resourceVersion=17&resourceVersionMatch=NotOlderThan",
            ),
        ] {
            assert_eq!(list(kind, &wanted, &age, next), expect);
        }
    }

    #[test]
    fn paths_of_watches() {
        let wanted = Wanted::default();
        assert_eq!(
            watch(Kind::Slice, &wanted, Some("9"), 300),
            "/apis/discovery.k8s.io/v1/endpointslices?watch=true&allowWatchBookmarks=true&timeoutSeconds=300&resourceVersion=9"
        );
        assert_eq!(
            watch(Kind::Pod, &wanted, None, 301),
            "/api/v1/pods?fieldSelector=status.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed%2Cstatus.phase%21%3DUnknown&watch=true&allowWatchBookmarks=true&timeoutSeconds=301&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
        );
    }
}
