//! Objects as the server holds them.

use std::sync::Arc;

use super::cluster::Cluster;
use crate::kube::record::{Endpoint, Import, Kind, Object, Pod, Service, Slice};

/// An object, and what a server knows of it beyond the record.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// What DNS needs of it.
    pub object: Object,
    /// `metadata.labels`, beside those that follow from the record (the service of a slice, the labels of a pod).
    pub labels: Vec<(String, String)>,
    /// `status.phase` of pods and namespaces.
    pub phase: String,
    /// Endpoints of a slice with `conditions.ready` false, which the record leaves out. They come after the others.
    pub unready: Vec<Endpoint>,
    /// Octets to send in place of the object, in whichever encoding they were written: for objects that no server would make.
    pub octets: Option<Vec<u8>>,
}

impl Stored {
    /// The object with labels.
    pub fn labelled(object: impl Into<Stored>, labels: &[(&str, &str)]) -> Stored {
        let mut stored = object.into();
        for (key, value) in labels {
            stored.labels.push(((*key).into(), (*value).into()));
        }
        stored
    }

    /// `metadata.namespace`, empty for a namespace.
    pub fn namespace(&self) -> &str {
        match &self.object {
            Object::Namespace(_) => "",
            Object::Service(Service { namespace, .. })
            | Object::Slice(Slice { namespace, .. })
            | Object::Pod(Pod { namespace, .. })
            | Object::Import(Import { namespace, .. }) => namespace,
        }
    }

    /// `metadata.name`.
    pub fn name(&self) -> &str {
        match &self.object {
            Object::Namespace(name)
            | Object::Service(Service { name, .. })
            | Object::Slice(Slice { name, .. })
            | Object::Pod(Pod { name, .. })
            | Object::Import(Import { name, .. }) => name,
        }
    }

    /// All labels that the server shows.
    pub(super) fn all_labels(&self) -> Vec<(&str, &str)> {
        let mut all: Vec<(&str, &str)> = Vec::new();
        match &self.object {
            Object::Namespace(name) => all.push(("kubernetes.io/metadata.name", name)),
            Object::Pod(pod) => all.extend(pod.labels.iter().map(pair)),
            Object::Slice(slice) => {
                let label = if slice.is_imported {
                    "multicluster.kubernetes.io/service-name"
                } else {
                    "kubernetes.io/service-name"
                };
                if !slice.service.is_empty() {
                    all.push((label, &slice.service));
                }
                if !slice.cluster.is_empty() {
                    all.push(("multicluster.kubernetes.io/source-cluster", &slice.cluster));
                }
            }
            Object::Service(_) | Object::Import(_) => {}
        }
        all.extend(self.labels.iter().map(pair));
        all
    }
}

impl From<Object> for Stored {
    fn from(object: Object) -> Stored {
        let phase = match object.kind() {
            Kind::Namespace => "Active",
            Kind::Pod => "Running",
            Kind::Service | Kind::Slice | Kind::Import => "",
        };
        Stored {
            object,
            labels: Vec::new(),
            phase: phase.into(),
            unready: Vec::new(),
            octets: None,
        }
    }
}

fn pair((key, value): &(String, String)) -> (&str, &str) {
    (key, value)
}

/// An object or where it comes from: a generated cluster is made anew whenever it is asked for, so that it takes no memory.
#[derive(Clone)]
pub(super) enum Content {
    /// An object of the test.
    Held(Arc<Stored>),
    /// One of those kind and number in a cluster.
    Made(Arc<Cluster>, Kind, u32),
}

impl Content {
    /// The object.
    pub(super) fn stored(&self) -> Arc<Stored> {
        match self {
            Content::Held(stored) => Arc::clone(stored),
            Content::Made(cluster, kind, number) => Arc::new(cluster.object(*kind, *number)),
        }
    }
}

/// An object in a table.
#[derive(Clone)]
pub(super) struct Entry {
    /// The object.
    pub(super) content: Content,
    /// `metadata.resourceVersion`.
    pub(super) version: u64,
    /// The version with which it was made, from which its uid follows.
    pub(super) made: u64,
}

impl Entry {
    /// `metadata.uid`: another one when an object is made again under its old name.
    pub(super) fn uid(&self) -> String {
        let low = self.made;
        format!("6b7c0f2e-5a0d-4c1b-9e3f-{low:012x}")
    }
}

/// What the API calls a kind.
pub(super) struct Names {
    /// `apiVersion`.
    pub(super) version: &'static str,
    /// `kind`.
    pub(super) kind: &'static str,
    /// `kind` of a list.
    pub(super) list: &'static str,
    /// The word in paths.
    pub(super) resource: &'static str,
}

/// The names of a kind.
pub(super) fn names(kind: Kind) -> Names {
    let (version, kind, list, resource) = match kind {
        Kind::Namespace => ("v1", "Namespace", "NamespaceList", "namespaces"),
        Kind::Service => ("v1", "Service", "ServiceList", "services"),
        Kind::Pod => ("v1", "Pod", "PodList", "pods"),
        Kind::Slice => (
            "discovery.k8s.io/v1",
            "EndpointSlice",
            "EndpointSliceList",
            "endpointslices",
        ),
        Kind::Import => (
            "multicluster.x-k8s.io/v1alpha1",
            "ServiceImport",
            "ServiceImportList",
            "serviceimports",
        ),
    };
    Names {
        version,
        kind,
        list,
        resource,
    }
}

/// All kinds.
pub(super) const KINDS: [Kind; 5] = [
    Kind::Namespace,
    Kind::Service,
    Kind::Slice,
    Kind::Pod,
    Kind::Import,
];
