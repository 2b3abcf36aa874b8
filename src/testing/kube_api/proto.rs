//! Objects as protobuf, with the field numbers of `generated.proto` in the Kubernetes API.

use std::time::{SystemTime, UNIX_EPOCH};

use super::object::{Entry, Stored, names};
use super::{Failure, MANAGED_FIELDS, MANAGER, rfc3339};
use crate::kube::record::{Endpoint, Ingress, Kind, Object, Port, Protocol, Reach, Service, Slice};

// === the encoding ===

/// What precedes an object that says its own type.
const MAGIC: &[u8] = b"k8s\0";

/// A base 128 number, the low digits first.
pub(super) fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Octets that [`varint`] takes.
pub(super) fn varint_len(value: u64) -> usize {
    let mut octets = Vec::with_capacity(10);
    varint(&mut octets, value);
    octets.len()
}

fn tag(out: &mut Vec<u8>, field: u64, wire_type: u64) {
    varint(out, field << 3 | wire_type);
}

fn number(out: &mut Vec<u8>, field: u64, value: u64) {
    tag(out, field, 0);
    varint(out, value);
}

fn octets(out: &mut Vec<u8>, field: u64, value: &[u8]) {
    tag(out, field, 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn text(out: &mut Vec<u8>, field: u64, value: &str) {
    octets(out, field, value.as_bytes());
}

/// A message within a message. Its length comes before it and is known after it, so it is moved.
fn nested(out: &mut Vec<u8>, field: u64, body: impl FnOnce(&mut Vec<u8>)) {
    tag(out, field, 2);
    let start = out.len();
    body(out);
    let end = out.len();
    varint(out, (end - start) as u64);
    out[start..].rotate_left(end - start);
}

fn pair(out: &mut Vec<u8>, field: u64, key: &str, value: &str) {
    nested(out, field, |out| {
        text(out, 1, key);
        text(out, 2, value);
    });
}

// === lists, events, failures ===

/// What precedes the items of a list: magic, type, and the beginning of the raw message, whose items take `items_len` octets with their
/// tags and lengths.
pub(super) fn list_head(
    kind: Kind,
    version: u64,
    next: &str,
    remaining: Option<usize>,
    items_len: u64,
) -> Vec<u8> {
    let names = names(kind);
    let mut head = MAGIC.to_vec();
    type_meta(&mut head, names.version, names.list);
    let mut meta = Vec::new();
    nested(&mut meta, 1, |out| {
        text(out, 1, "");
        text(out, 2, &version.to_string());
        text(out, 3, next);
        if let Some(remaining) = remaining {
            number(out, 4, remaining as u64);
        }
    });
    tag(&mut head, 2, 2);
    varint(&mut head, meta.len() as u64 + items_len);
    head.extend_from_slice(&meta);
    head
}

/// What follows the items of a list: the rest of the envelope.
pub(super) fn list_tail() -> Vec<u8> {
    let mut tail = Vec::new();
    envelope_end(&mut tail);
    tail
}

/// Octets that an item of that length takes in a list.
pub(super) fn item_len(len: usize) -> u64 {
    (1 + varint_len(len as u64) + len) as u64
}

/// An item of a list.
pub(super) fn item(out: &mut Vec<u8>, object: &[u8]) {
    octets(out, 2, object);
}

/// One frame of a watch: the length in four octets, then a WatchEvent whose object is in an envelope of its own.
pub(super) fn frame(out: &mut Vec<u8>, what: &str, api: &str, kind: &str, object: &[u8]) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    text(out, 1, what);
    nested(out, 2, |out| {
        nested(out, 1, |out| envelope(out, api, kind, object));
    });
    let len = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&len.to_be_bytes());
}

/// A message with magic and type.
pub(super) fn envelope(out: &mut Vec<u8>, api: &str, kind: &str, object: &[u8]) {
    out.extend_from_slice(MAGIC);
    type_meta(out, api, kind);
    octets(out, 2, object);
    envelope_end(out);
}

fn type_meta(out: &mut Vec<u8>, api: &str, kind: &str) {
    nested(out, 1, |out| {
        text(out, 1, api);
        text(out, 2, kind);
    });
}

fn envelope_end(out: &mut Vec<u8>) {
    text(out, 3, "");
    text(out, 4, "");
}

/// A metav1.Status.
pub(super) fn status(failure: &Failure) -> Vec<u8> {
    let mut out = Vec::new();
    nested(&mut out, 1, |out| {
        text(out, 1, "");
        text(out, 2, "");
        text(out, 3, &failure.next);
    });
    text(&mut out, 2, "Failure");
    text(&mut out, 3, &failure.message);
    text(&mut out, 4, failure.reason());
    if let Some(seconds) = failure.retry_after_s {
        nested(&mut out, 5, |out| number(out, 5, u64::from(seconds)));
    }
    number(&mut out, 6, u64::from(failure.code));
    out
}

/// An empty object of that kind with a version: what a bookmark carries.
pub(super) fn bookmark(version: u64, ends_initial: bool) -> Vec<u8> {
    let mut out = Vec::new();
    nested(&mut out, 1, |out| {
        text(out, 1, "");
        text(out, 6, &version.to_string());
        if ends_initial {
            pair(out, 12, "k8s.io/initial-events-end", "true");
        }
    });
    out
}

// === objects ===

/// An object, without envelope. ServiceImports have no such form: of them only the metadata is written.
pub(super) fn object(out: &mut Vec<u8>, entry: &Entry, stored: &Stored) {
    nested(out, 1, |out| metadata(out, entry, stored));
    match &stored.object {
        Object::Namespace(_) => {
            nested(out, 2, |out| text(out, 1, "kubernetes"));
            nested(out, 3, |out| text(out, 1, &stored.phase));
        }
        Object::Service(service) => {
            nested(out, 2, |out| service_spec(out, service));
            nested(out, 3, |out| service_status(out, service));
        }
        Object::Slice(slice) => endpoint_slice(out, slice, &stored.unready),
        Object::Pod(pod) => {
            // A spec is what most of a real pod is made of; nobody here reads it.
            nested(out, 2, |out| text(out, 10, "node-1"));
            nested(out, 3, |out| {
                text(out, 1, &stored.phase);
                text(out, 5, "192.0.2.1");
                if let Some(first) = pod.ips.first() {
                    text(out, 6, &first.to_string());
                }
                for ip in &pod.ips {
                    nested(out, 12, |out| text(out, 1, &ip.to_string()));
                }
            });
        }
        Object::Import(_) => {}
    }
}

fn metadata(out: &mut Vec<u8>, entry: &Entry, stored: &Stored) {
    text(out, 1, stored.name());
    text(out, 2, "");
    text(out, 3, stored.namespace());
    text(out, 4, "");
    text(out, 5, &entry.uid());
    text(out, 6, &entry.version.to_string());
    number(out, 7, 0);
    nested(out, 8, |out| {
        number(out, 1, 1_700_000_000);
        number(out, 2, 0);
    });
    for (key, value) in stored.all_labels() {
        pair(out, 11, key, value);
    }
    if let Some(time) = triggered(stored) {
        pair(out, 12, super::TRIGGERED, &rfc3339(time));
    }
    nested(out, 17, |out| {
        text(out, 1, MANAGER);
        text(out, 2, "Update");
        text(out, 3, "v1");
        text(out, 6, "FieldsV1");
        nested(out, 7, |out| text(out, 1, MANAGED_FIELDS));
    });
}

/// Seconds and nanoseconds since 1970 of what a slice says of its last change.
pub(super) fn triggered(stored: &Stored) -> Option<(u64, u32)> {
    let Object::Slice(slice) = &stored.object else {
        return None;
    };
    let since: SystemTime = slice.triggered?;
    let since = since.duration_since(UNIX_EPOCH).ok()?;
    Some((since.as_secs(), since.subsec_nanos()))
}

fn service_spec(out: &mut Vec<u8>, service: &Service) {
    for port in &service.ports {
        nested(out, 1, |out| {
            port_head(out, port);
            nested(out, 4, |out| {
                number(out, 1, 0);
                number(out, 2, u64::from(port.number));
                text(out, 3, "");
            });
            number(out, 5, 0);
        });
    }
    pair(out, 2, "app", &service.name);
    let ips = super::cluster_ips(service);
    text(out, 3, ips.first().map_or("", String::as_str));
    text(out, 4, super::service_type(service));
    for ip in &service.external_ips {
        text(out, 5, &ip.to_string());
    }
    text(out, 7, "None");
    text(out, 10, &service.external_name);
    if service.reach != Reach::Elsewhere {
        text(out, 17, "SingleStack");
    }
    for ip in &ips {
        text(out, 18, ip);
    }
    for ip in &service.cluster_ips {
        text(out, 19, if ip.is_ipv4() { "IPv4" } else { "IPv6" });
    }
}

fn service_status(out: &mut Vec<u8>, service: &Service) {
    nested(out, 1, |out| {
        for ingress in &service.ingress {
            nested(out, 1, |out| match ingress {
                Ingress::Ip(ip) => text(out, 1, &ip.to_string()),
                Ingress::Host(host) => text(out, 2, host),
            });
        }
    });
}

fn port_head(out: &mut Vec<u8>, port: &Port) {
    text(out, 1, &port.name);
    text(out, 2, protocol(port.protocol));
    number(out, 3, u64::from(port.number));
}

/// The name of a protocol.
pub(super) fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
        Protocol::Sctp => "SCTP",
    }
}

fn endpoint_slice(out: &mut Vec<u8>, slice: &Slice, unready: &[Endpoint]) {
    for one in &slice.endpoints {
        nested(out, 2, |out| endpoint(out, slice, one, true));
    }
    for one in unready {
        nested(out, 2, |out| endpoint(out, slice, one, false));
    }
    for port in &slice.ports {
        nested(out, 3, |out| {
            text(out, 1, &port.name);
            text(out, 2, protocol(port.protocol));
            // A port of endpoints may have no number, which is not the same as zero.
            if port.number != 0 {
                number(out, 3, u64::from(port.number));
            }
        });
    }
    text(out, 4, super::address_type(slice));
}

fn endpoint(out: &mut Vec<u8>, slice: &Slice, endpoint: &Endpoint, is_ready: bool) {
    text(out, 1, &endpoint.ip.to_string());
    nested(out, 2, |out| {
        number(out, 1, u64::from(is_ready));
        number(out, 2, u64::from(is_ready));
        number(out, 3, 0);
    });
    if !endpoint.hostname.is_empty() {
        text(out, 3, &endpoint.hostname);
    }
    if !endpoint.target.is_empty() {
        nested(out, 4, |out| {
            text(out, 1, "Pod");
            text(out, 2, &slice.namespace);
            text(out, 3, &endpoint.target);
        });
    }
    text(out, 6, "node-1");
    if !endpoint.zone.is_empty() {
        text(out, 7, &endpoint.zone);
    }
}
