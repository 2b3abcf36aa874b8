//! What is kept of a Kubernetes object while it is on its way from the API server to the store: what DNS needs of it and no more.
//!
//! One value of each kind is enough for a whole list: a decoder fills it, the store reads it, the next object overwrites it.

use std::net::IpAddr;
use std::time::SystemTime;

/// The kinds of objects that are watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `v1` Namespace.
    Namespace,
    /// `v1` Service.
    Service,
    /// `discovery.k8s.io/v1` EndpointSlice.
    Slice,
    /// `v1` Pod.
    Pod,
    /// `multicluster.x-k8s.io/v1alpha1` ServiceImport.
    Import,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 5] = [
        Kind::Namespace,
        Kind::Service,
        Kind::Slice,
        Kind::Pod,
        Kind::Import,
    ];

    /// The plural that the API server and the log call it by.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Namespace => "namespaces",
            Kind::Service => "services",
            Kind::Slice => "endpointslices",
            Kind::Pod => "pods",
            Kind::Import => "serviceimports",
        }
    }
}

/// One object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Object {
    /// A namespace, of which only the name counts.
    Namespace(String),
    /// A service of this cluster.
    Service(Service),
    /// Some endpoints of a service.
    Slice(Slice),
    /// A pod.
    Pod(Pod),
    /// A service of the cluster set.
    Import(Import),
}

/// A Service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Service {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// How it is reached.
    pub reach: Reach,
    /// `spec.clusterIPs`, or `spec.clusterIP` of old servers.
    pub cluster_ips: Vec<IpAddr>,
    /// `spec.externalName`, empty but for [`Reach::Elsewhere`].
    pub external_name: String,
    /// `spec.externalIPs`.
    pub external_ips: Vec<IpAddr>,
    /// `status.loadBalancer.ingress`.
    pub ingress: Vec<Ingress>,
    /// `spec.ports`.
    pub ports: Vec<Port>,
}

/// How a service is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reach {
    /// By addresses of its own.
    #[default]
    ClusterIp,
    /// By those of its endpoints: `clusterIP: None`.
    Headless,
    /// By another name: type ExternalName.
    Elsewhere,
}

/// One way in through a load balancer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ingress {
    /// `ip`.
    Ip(IpAddr),
    /// `hostname`.
    Host(String),
}

/// A port of a service or of endpoints.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Port {
    /// Empty where there is none.
    pub name: String,
    /// TCP where nothing is said.
    pub protocol: Protocol,
    /// The port number; endpoints may have none, which is 0.
    pub number: u16,
}

/// The protocol of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    #[default]
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// An EndpointSlice. Endpoints that are not ready are left out by the decoder (`conditions.ready` is false; unknown counts as ready),
/// and so is a slice of address type FQDN as a whole (it is delivered without endpoints).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Slice {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// Label `kubernetes.io/service-name`, or `multicluster.kubernetes.io/service-name` of imported ones; empty where there is none.
    pub service: String,
    /// Label `multicluster.kubernetes.io/source-cluster` of imported slices; empty for those of this cluster.
    pub cluster: String,
    /// Whether it belongs to a ServiceImport.
    pub is_imported: bool,
    /// `ports`.
    pub ports: Vec<Port>,
    /// `endpoints`, one for each address of each.
    pub endpoints: Vec<Endpoint>,
    /// Annotation `endpoints.kubernetes.io/last-change-trigger-time`.
    pub triggered: Option<SystemTime>,
}

/// One address of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The address.
    pub ip: IpAddr,
    /// `hostname`, empty where there is none.
    pub hostname: String,
    /// `targetRef.name`, empty where there is none.
    pub target: String,
    /// `zone`, empty where there is none.
    pub zone: String,
}

/// A Pod.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pod {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `status.podIP` and `status.podIPs`, each address once; none until the pod has one.
    pub ips: Vec<IpAddr>,
    /// `metadata.labels`, in the order of the object.
    pub labels: Vec<(String, String)>,
}

/// A ServiceImport.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Import {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `spec.type` is Headless.
    pub is_headless: bool,
    /// `spec.ips`.
    pub ips: Vec<IpAddr>,
    /// `spec.ports`.
    pub ports: Vec<Port>,
}

impl Object {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Object::Namespace(_) => Kind::Namespace,
            Object::Service(_) => Kind::Service,
            Object::Slice(_) => Kind::Slice,
            Object::Pod(_) => Kind::Pod,
            Object::Import(_) => Kind::Import,
        }
    }
}

/// Where a watcher puts what it hears. Calls for one kind come in order; those of different kinds may alternate.
pub trait Sink: Send {
    /// A list of all objects of that kind begins. It may begin anew before it has ended: the first one then counts for nothing, except that
    /// what it held is there.
    fn list_begins(&mut self, kind: Kind);

    /// The object is there, new or as it is now.
    fn put(&mut self, object: &Object);

    /// The object is gone. Only namespace and name are sure to be filled in.
    fn remove(&mut self, object: &Object);

    /// What was not put since the list began is gone, and the kind is in step with the server. Much of it may wait for [`Sink::sweep`].
    fn list_ends(&mut self, kind: Kind);

    /// Takes some of what is gone away, and says whether to come again: it is called until then, and others have their turn in between.
    fn sweep(&mut self, kind: Kind) -> bool;

    /// The server was heard of: a watch is open and brought an event, a bookmark, or its first response, and is not within a list.
    fn heard(&mut self, kind: Kind);

    /// The watch has ended or failed and is not up again yet: what is known grows old.
    fn lost(&mut self, kind: Kind);
}
