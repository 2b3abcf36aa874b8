//! Objects as the API server writes them, cut down to what is read of them. Both encodings fill these, so that there is one place that
//! judges what they say ([`super::accept`]). Text is borrowed from the bytes wherever it has no escapes.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

/// Text of an object, borrowed where it can be; a bare `Cow` below an `Option` would always be copied.
#[derive(Default, Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Text<'a> {
        Text(Cow::Borrowed(text))
    }
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// `metav1.ObjectMeta`.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Meta<'a> {
    #[serde(borrow, deserialize_with = "or_default")]
    pub name: Text<'a>,
    #[serde(borrow, deserialize_with = "or_default")]
    pub namespace: Text<'a>,
    #[serde(borrow, deserialize_with = "or_default")]
    pub resource_version: Text<'a>,
    #[serde(borrow, deserialize_with = "or_default")]
    pub labels: Pairs<'a>,
    #[serde(borrow, deserialize_with = "or_default")]
    pub annotations: Pairs<'a>,
}

/// A map of strings, in the order in which it is written.
#[derive(Default)]
pub(super) struct Pairs<'a>(pub Vec<(Text<'a>, Text<'a>)>);

impl Pairs<'_> {
    /// The value of a key.
    pub fn value(&self, key: &str) -> Option<&str> {
        let pair = self.0.iter().find(|pair| *pair.0 == *key)?;
        Some(&pair.1)
    }
}

/// An object of which only the metadata count: a namespace, or any object in a bookmark.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Bare<'a> {
    #[serde(borrow, deserialize_with = "or_default")]
    pub metadata: Meta<'a>,
}

/// `v1.Service`.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Service<'a> {
    #[serde(borrow, deserialize_with = "or_default")]
    pub metadata: Meta<'a>,
    #[serde(borrow, deserialize_with = "or_default")]
    pub spec: ServiceSpec<'a>,
    #[serde(borrow, deserialize_with = "or_default")]
    pub status: ServiceStatus<'a>,
}

/// `v1.ServiceSpec`.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ServiceSpec<'a> {
    #[serde(borrow, deserialize_with = "or_default")]
    pub ports: Vec<Port<'a>>,
    #[serde(borrow, rename = "clusterIP", deserialize_with = "or_default")]
    pub cluster_ip: Text<'a>,
    #[serde(borrow, rename = "clusterIPs", deserialize_with = "or_default")]
    pub cluster_ips: Vec<Text<'a>>,
    #[serde(borrow, rename = "type", deserialize_with = "or_default")]
    pub kind: Text<'a>,
    #[serde(borrow, rename = "externalIPs", deserialize_with = "or_default")]
    pub external_ips: Vec<Text<'a>>,
    #[serde(borrow, deserialize_with = "or_default")]
    pub external_name: Text<'a>,
}

/// `v1.ServiceStatus`.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ServiceStatus<'a> {
    #[serde(borrow, deserialize_with = "or_default")]
    pub load_balancer: LoadBalancer<'a>,
}

/// `v1.LoadBalancerStatus`.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct LoadBalancer<'a> {
    #[serde(borrow, deserialize_with = "or_default")]
    pub ingress: Vec<Ingress<'a>>,
}

/// `v1.LoadBalancerIngress`.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Ingress<'a> {
    #[serde(borrow, deserialize_with = "or_default")]
    pub ip: Text<'a>,
    #[serde(borrow, deserialize_with = "or_default")]
    pub hostname: Text<'a>,
}

/// `v1.ServicePort`, `v1.EndpointPort` and the port of a ServiceImport.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Port<'a> {
    #[serde(borrow, deserialize_with = "or_default")]
    pub name: Text<'a>,
    #[serde(borrow, deserialize_with = "or_default")]
    pub protocol: Text<'a>,
    #[serde(deserialize_with = "or_default")]
    pub port: i64,
}

/// `discovery.v1.EndpointSlice`.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Slice<'a> {
    #[serde(borrow, deserialize_with = "or_default")]
    pub metadata: Meta<'a>,
    #[serde(borrow, deserialize_with = "or_default")]
    pub endpoints: Vec<Endpoint<'a>>,
    #[serde(borrow, deserialize_with = "or_default")]
    pub ports: Vec<Port<'a>>,
    #[serde(borrow, deserialize_with = "or_default")]
    pub address_type: Text<'a>,
}

/// `discovery.v1.Endpoint`.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Endpoint<'a> {
    #[serde(borrow, deserialize_with = "or_default")]
    pub addresses: Vec<Text<'a>>,
    #[serde(deserialize_with = "or_default")]
    pub conditions: Conditions,
    #[serde(borrow, deserialize_with = "or_default")]
    pub hostname: Text<'a>,
    #[serde(borrow, deserialize_with = "or_default")]
    pub target_ref: Reference<'a>,
    #[serde(borrow, deserialize_with = "or_default")]
    pub zone: Text<'a>,
}

/// `discovery.v1.EndpointConditions`.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Conditions {
    pub ready: Option<bool>,
}

/// `v1.ObjectReference`.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Reference<'a> {
    #[serde(borrow, deserialize_with = "or_default")]
    pub name: Text<'a>,
}

/// `v1.Pod`.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Pod<'a> {
    #[serde(borrow, deserialize_with = "or_default")]
    pub metadata: Meta<'a>,
    #[serde(borrow, deserialize_with = "or_default")]
    pub status: PodStatus<'a>,
}

/// `v1.PodStatus`.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct PodStatus<'a> {
    #[serde(borrow, rename = "podIP", deserialize_with = "or_default")]
    pub pod_ip: Text<'a>,
    #[serde(borrow, rename = "podIPs", deserialize_with = "or_default")]
    pub pod_ips: Vec<PodIp<'a>>,
}

/// `v1.PodIP`.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct PodIp<'a> {
    #[serde(borrow, deserialize_with = "or_default")]
    pub ip: Text<'a>,
}

/// `multicluster.v1alpha1.ServiceImport`, which has no protobuf form.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Import<'a> {
    #[serde(borrow, deserialize_with = "or_default")]
    pub metadata: Meta<'a>,
    #[serde(borrow, deserialize_with = "or_default")]
    pub spec: ImportSpec<'a>,
}

/// `multicluster.v1alpha1.ServiceImportSpec`.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct ImportSpec<'a> {
    #[serde(borrow, deserialize_with = "or_default")]
    pub ports: Vec<Port<'a>>,
    #[serde(borrow, deserialize_with = "or_default")]
    pub ips: Vec<Text<'a>>,
    #[serde(borrow, rename = "type", deserialize_with = "or_default")]
    pub kind: Text<'a>,
}

/// `metav1.ListMeta`.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ListMeta<'a> {
    #[serde(borrow, deserialize_with = "or_default")]
    pub resource_version: Text<'a>,
    #[serde(borrow, rename = "continue", deserialize_with = "or_default")]
    pub next: Text<'a>,
}

/// `metav1.Status`.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Status<'a> {
    #[serde(borrow, deserialize_with = "or_default")]
    pub message: Text<'a>,
    #[serde(deserialize_with = "or_default")]
    pub code: i64,
    #[serde(deserialize_with = "or_default")]
    pub details: StatusDetails,
}

/// `metav1.StatusDetails`.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct StatusDetails {
    #[serde(deserialize_with = "or_default")]
    pub retry_after_seconds: i64,
}

/// Go writes null for what is empty.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Pairs<'a>, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a map of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<'de>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}
