//! Objects as JSON.

use serde_json::{Map, Value, json};

use super::object::{Entry, Stored, names};
use super::proto::{protocol, triggered};
use super::{Failure, MANAGED_FIELDS, MANAGER, TRIGGERED, rfc3339};
use crate::kube::record::{Endpoint, Ingress, Kind, Object, Port, Reach, Service};

/// What precedes the items of a list.
pub(super) fn list_head(kind: Kind, version: u64, next: &str, remaining: Option<usize>) -> Vec<u8> {
    let names = names(kind);
    let mut meta = json!({ "resourceVersion": version.to_string() });
    if !next.is_empty() {
        meta["continue"] = next.into();
    }
    if let Some(remaining) = remaining {
        meta["remainingItemCount"] = remaining.into();
    }
    let (list, api) = (names.list, names.version);
    format!("{{\"kind\":\"{list}\",\"apiVersion\":\"{api}\",\"metadata\":{meta},\"items\":[")
        .into_bytes()
}

/// One line of a watch.
pub(super) fn line(out: &mut Vec<u8>, what: &str, object: &[u8]) {
    out.extend_from_slice(format!("{{\"type\":\"{what}\",\"object\":").as_bytes());
    out.extend_from_slice(object);
    out.extend_from_slice(b"}\n");
}

/// A metav1.Status.
pub(super) fn status(failure: &Failure) -> Vec<u8> {
    let mut status = json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": failure.message,
        "reason": failure.reason(),
        "code": failure.code,
    });
    if !failure.next.is_empty() {
        status["metadata"]["continue"] = failure.next.as_str().into();
    }
    if let Some(seconds) = failure.retry_after_s {
        status["details"] = json!({ "retryAfterSeconds": seconds });
    }
    status.to_string().into_bytes()
}

/// An empty object of that kind with a version: what a bookmark carries.
pub(super) fn bookmark(kind: Kind, version: u64, ends_initial: bool) -> Vec<u8> {
    let names = names(kind);
    let mut object = json!({
        "kind": names.kind,
        "apiVersion": names.version,
        "metadata": { "resourceVersion": version.to_string(), "creationTimestamp": null },
    });
    if ends_initial {
        object["metadata"]["annotations"] = json!({ "k8s.io/initial-events-end": "true" });
    }
    object.to_string().into_bytes()
}

/// An object. In a list those of built-in kinds do not say what they are, elsewhere all do.
pub(super) fn object(out: &mut Vec<u8>, entry: &Entry, stored: &Stored, in_list: bool) {
    let kind = stored.object.kind();
    let mut whole = Map::new();
    if !in_list || kind == Kind::Import {
        let names = names(kind);
        whole.insert("kind".into(), names.kind.into());
        whole.insert("apiVersion".into(), names.version.into());
    }
    whole.insert("metadata".into(), metadata(entry, stored));
    let mut add = |key: &str, value: Value| whole.insert(key.into(), value);
    match &stored.object {
        Object::Namespace(_) => {
            add("spec", json!({ "finalizers": ["kubernetes"] }));
            add("status", json!({ "phase": stored.phase }));
        }
        Object::Service(service) => {
            add("spec", service_spec(service));
            add("status", json!({ "loadBalancer": ingress(service) }));
        }
        Object::Slice(slice) => {
            let ready = slice.endpoints.iter().map(|one| (one, true));
            let unready = stored.unready.iter().map(|one| (one, false));
            let endpoints = ready.chain(unready);
            let endpoints =
                endpoints.map(|(one, is_ready)| endpoint(&slice.namespace, one, is_ready));
            add("addressType", super::address_type(slice).into());
            add("endpoints", endpoints.collect());
            add("ports", slice.ports.iter().map(port).collect());
        }
        Object::Pod(pod) => {
            let ips: Vec<Value> = pod.ips.iter().map(|ip| json!({ "ip": ip })).collect();
            let mut status = json!({ "phase": stored.phase, "hostIP": "192.0.2.1" });
            if let Some(first) = pod.ips.first() {
                status["podIP"] = json!(first);
                status["podIPs"] = ips.into();
            }
            add("spec", json!({ "nodeName": "node-1" }));
            add("status", status);
        }
        Object::Import(import) => {
            let kind = if import.is_headless {
                "Headless"
            } else {
                "ClusterSetIP"
            };
            let ports: Vec<Value> = import.ports.iter().map(port).collect();
            add(
                "spec",
                json!({ "type": kind, "ips": import.ips, "ports": ports }),
            );
        }
    }
    out.extend_from_slice(Value::from(whole).to_string().as_bytes());
}

fn metadata(entry: &Entry, stored: &Stored) -> Value {
    let mut meta = json!({
        "name": stored.name(),
        "uid": entry.uid(),
        "resourceVersion": entry.version.to_string(),
        "creationTimestamp": "2023-11-14T22:13:20Z",
        "managedFields": [{
            "manager": MANAGER,
            "operation": "Update",
            "apiVersion": "v1",
            "fieldsType": "FieldsV1",
            "fieldsV1": serde_json::from_str::<Value>(MANAGED_FIELDS).unwrap_or_default(),
        }],
    });
    if !stored.namespace().is_empty() {
        meta["namespace"] = stored.namespace().into();
    }
    let labels: Map<String, Value> = stored
        .all_labels()
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.into()))
        .collect();
    if !labels.is_empty() {
        meta["labels"] = labels.into();
    }
    if let Some(time) = triggered(stored) {
        meta["annotations"] = json!({ TRIGGERED: rfc3339(time) });
    }
    meta
}

fn service_spec(service: &Service) -> Value {
    let mut spec = json!({
        "selector": { "app": service.name },
        "sessionAffinity": "None",
        "type": super::service_type(service),
    });
    if !service.ports.is_empty() {
        spec["ports"] = service.ports.iter().map(port).collect();
    }
    let ips = super::cluster_ips(service);
    if let Some(first) = ips.first() {
        spec["clusterIP"] = first.as_str().into();
        spec["clusterIPs"] = ips.into();
        spec["ipFamilyPolicy"] = "SingleStack".into();
    }
    if service.reach == Reach::Elsewhere {
        spec["externalName"] = service.external_name.as_str().into();
    }
    if !service.external_ips.is_empty() {
        spec["externalIPs"] = json!(service.external_ips);
    }
    spec
}

fn ingress(service: &Service) -> Value {
    let one = |ingress: &Ingress| match ingress {
        Ingress::Ip(ip) => json!({ "ip": ip }),
        Ingress::Host(host) => json!({ "hostname": host }),
    };
    if service.ingress.is_empty() {
        return json!({});
    }
    json!({ "ingress": service.ingress.iter().map(one).collect::<Vec<_>>() })
}

fn port(port: &Port) -> Value {
    let mut one = json!({ "protocol": protocol(port.protocol) });
    if !port.name.is_empty() {
        one["name"] = port.name.as_str().into();
    }
    if port.number != 0 {
        one["port"] = port.number.into();
    }
    one
}

fn endpoint(namespace: &str, endpoint: &Endpoint, is_ready: bool) -> Value {
    let mut one = json!({
        "addresses": [endpoint.ip],
        "conditions": { "ready": is_ready, "serving": is_ready, "terminating": false },
        "nodeName": "node-1",
    });
    if !endpoint.hostname.is_empty() {
        one["hostname"] = endpoint.hostname.as_str().into();
    }
    if !endpoint.target.is_empty() {
        one["targetRef"] =
            json!({ "kind": "Pod", "namespace": namespace, "name": endpoint.target });
    }
    if !endpoint.zone.is_empty() {
        one["zone"] = endpoint.zone.as_str().into();
    }
    one
}
