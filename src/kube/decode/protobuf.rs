//! Objects out of protobuf messages. Field numbers are those of the `generated.proto` files of the Kubernetes API.

use std::str;

use super::accept::{self, Accepted, Refused, Seen};
use super::proto::{Malformed, Value, fields};
use super::raw;
use crate::kube::record::Kind;

/// The object in an item of a list.
///
/// # Errors
/// It is refused.
pub(super) fn object(kind: Kind, message: &[u8], seen: &mut Seen) -> Accepted {
    let malformed = |_| Refused::Malformed;
    match kind {
        Kind::Namespace => accept::namespace(&bare(message).map_err(malformed)?, seen),
        Kind::Service => accept::service(&service(message).map_err(malformed)?, seen),
        Kind::Slice => accept::slice(&slice(message).map_err(malformed)?, seen),
        Kind::Pod => accept::pod(&pod(message).map_err(malformed)?, seen),
        // A custom resource: it has no such encoding.
        Kind::Import => Err(Refused::Malformed),
    }
}

/// What every kind has: field 1 is its metadata.
pub(super) fn bare(message: &[u8]) -> Result<raw::Bare<'_>, Malformed> {
    let mut bare = raw::Bare::default();
    fields(message, |number, value| {
        if let (1, Value::Octets(octets)) = (number, value) {
            bare.metadata = meta(octets)?;
        }
        Ok(())
    })?;
    Ok(bare)
}

/// The message within `k8s\0` and `runtime.Unknown`.
pub(super) fn unwrap(octets: &[u8]) -> Result<&[u8], Malformed> {
    let unknown = octets.strip_prefix(MAGIC).ok_or(Malformed)?;
    let mut raw: &[u8] = &[];
    fields(unknown, |number, value| {
        if let (2, Value::Octets(octets)) = (number, value) {
            raw = octets;
        }
        Ok(())
    })?;
    Ok(raw)
}

/// `metav1.WatchEvent`: its type and its object, which is still wrapped.
pub(super) fn event(message: &[u8]) -> Result<(&str, &[u8]), Malformed> {
    let mut event = ("", &[][..]);
    fields(message, |number, value| {
        match (number, value) {
            (1, Value::Octets(octets)) => event.0 = text(octets)?,
            (2, Value::Octets(extension)) => fields(extension, |number, value| {
                if let (1, Value::Octets(octets)) = (number, value) {
                    event.1 = octets;
                }
                Ok(())
            })?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(event)
}

/// `metav1.ListMeta`.
pub(super) fn list_meta(message: &[u8]) -> Result<raw::ListMeta<'_>, Malformed> {
    let mut meta = raw::ListMeta::default();
    fields(message, |number, value| {
        match (number, value) {
            (2, Value::Octets(octets)) => meta.resource_version = text(octets)?.into(),
            (3, Value::Octets(octets)) => meta.next = text(octets)?.into(),
            _ => {}
        }
        Ok(())
    })?;
    Ok(meta)
}

/// `metav1.Status`.
pub(super) fn status(message: &[u8]) -> Result<raw::Status<'_>, Malformed> {
    let mut status = raw::Status::default();
    fields(message, |number, value| {
        match (number, value) {
            (3, Value::Octets(octets)) => status.message = text(octets)?.into(),
            (5, Value::Octets(details)) => fields(details, |number, value| {
                if let (5, Value::Varint(seconds)) = (number, value) {
                    status.details.retry_after_seconds = seconds as i64;
                }
                Ok(())
            })?,
            (6, Value::Varint(code)) => status.code = code as i64,
            _ => {}
        }
        Ok(())
    })?;
    Ok(status)
}

fn service(message: &[u8]) -> Result<raw::Service<'_>, Malformed> {
    let mut service = raw::Service::default();
    fields(message, |number, value| {
        match (number, value) {
            (1, Value::Octets(octets)) => service.metadata = meta(octets)?,
            (2, Value::Octets(octets)) => service_spec(octets, &mut service.spec)?,
            (3, Value::Octets(octets)) => service_status(octets, &mut service.status)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(service)
}

fn service_spec<'a>(message: &'a [u8], spec: &mut raw::ServiceSpec<'a>) -> Result<(), Malformed> {
    fields(message, |number, value| {
        match (number, value) {
            (1, Value::Octets(octets)) => spec.ports.push(port(octets)?),
            (3, Value::Octets(octets)) => spec.cluster_ip = text(octets)?.into(),
            (4, Value::Octets(octets)) => spec.kind = text(octets)?.into(),
            (5, Value::Octets(octets)) => spec.external_ips.push(text(octets)?.into()),
            (10, Value::Octets(octets)) => spec.external_name = text(octets)?.into(),
            (18, Value::Octets(octets)) => spec.cluster_ips.push(text(octets)?.into()),
            _ => {}
        }
        Ok(())
    })
}

fn service_status<'a>(
    message: &'a [u8],
    status: &mut raw::ServiceStatus<'a>,
) -> Result<(), Malformed> {
    let ingress = &mut status.load_balancer.ingress;
    fields(message, |number, value| match (number, value) {
        (1, Value::Octets(balancer)) => fields(balancer, |number, value| {
            if let (1, Value::Octets(octets)) = (number, value) {
                ingress.push(one_ingress(octets)?);
            }
            Ok(())
        }),
        _ => Ok(()),
    })
}

fn one_ingress(message: &[u8]) -> Result<raw::Ingress<'_>, Malformed> {
    let mut ingress = raw::Ingress::default();
    fields(message, |number, value| {
        match (number, value) {
            (1, Value::Octets(octets)) => ingress.ip = text(octets)?.into(),
            (2, Value::Octets(octets)) => ingress.hostname = text(octets)?.into(),
            _ => {}
        }
        Ok(())
    })?;
    Ok(ingress)
}

/// Ports of services and of slices agree in these fields.
fn port(message: &[u8]) -> Result<raw::Port<'_>, Malformed> {
    let mut port = raw::Port::default();
    fields(message, |number, value| {
        match (number, value) {
            (1, Value::Octets(octets)) => port.name = text(octets)?.into(),
            (2, Value::Octets(octets)) => port.protocol = text(octets)?.into(),
            (3, Value::Varint(number)) => port.port = number as i64,
            _ => {}
        }
        Ok(())
    })?;
    Ok(port)
}

fn slice(message: &[u8]) -> Result<raw::Slice<'_>, Malformed> {
    let mut slice = raw::Slice::default();
    fields(message, |number, value| {
        match (number, value) {
            (1, Value::Octets(octets)) => slice.metadata = meta(octets)?,
            (2, Value::Octets(octets)) => slice.endpoints.push(endpoint(octets)?),
            (3, Value::Octets(octets)) => slice.ports.push(port(octets)?),
            (4, Value::Octets(octets)) => slice.address_type = text(octets)?.into(),
            _ => {}
        }
        Ok(())
    })?;
    Ok(slice)
}

fn endpoint(message: &[u8]) -> Result<raw::Endpoint<'_>, Malformed> {
    let mut endpoint = raw::Endpoint::default();
    fields(message, |number, value| {
        match (number, value) {
            (1, Value::Octets(octets)) => endpoint.addresses.push(text(octets)?.into()),
            (2, Value::Octets(conditions)) => fields(conditions, |number, value| {
                if let (1, Value::Varint(ready)) = (number, value) {
                    endpoint.conditions.ready = Some(ready != 0);
                }
                Ok(())
            })?,
            (3, Value::Octets(octets)) => endpoint.hostname = text(octets)?.into(),
            (4, Value::Octets(reference)) => fields(reference, |number, value| {
                if let (3, Value::Octets(octets)) = (number, value) {
                    endpoint.target_ref.name = text(octets)?.into();
                }
                Ok(())
            })?,
            (7, Value::Octets(octets)) => endpoint.zone = text(octets)?.into(),
            _ => {}
        }
        Ok(())
    })?;
    Ok(endpoint)
}

fn pod(message: &[u8]) -> Result<raw::Pod<'_>, Malformed> {
    let mut pod = raw::Pod::default();
    fields(message, |number, value| {
        match (number, value) {
            (1, Value::Octets(octets)) => pod.metadata = meta(octets)?,
            (3, Value::Octets(octets)) => pod_status(octets, &mut pod.status)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(pod)
}

fn pod_status<'a>(message: &'a [u8], status: &mut raw::PodStatus<'a>) -> Result<(), Malformed> {
    fields(message, |number, value| {
        match (number, value) {
            (6, Value::Octets(octets)) => status.pod_ip = text(octets)?.into(),
            (12, Value::Octets(pod_ip)) => fields(pod_ip, |number, value| {
                if let (1, Value::Octets(octets)) = (number, value) {
                    status.pod_ips.push(raw::PodIp {
                        ip: text(octets)?.into(),
                    });
                }
                Ok(())
            })?,
            _ => {}
        }
        Ok(())
    })
}

fn meta(message: &[u8]) -> Result<raw::Meta<'_>, Malformed> {
    let mut meta = raw::Meta::default();
    fields(message, |number, value| {
        match (number, value) {
            (1, Value::Octets(octets)) => meta.name = text(octets)?.into(),
            (3, Value::Octets(octets)) => meta.namespace = text(octets)?.into(),
            (6, Value::Octets(octets)) => meta.resource_version = text(octets)?.into(),
            (11, Value::Octets(octets)) => meta.labels.0.push(pair(octets)?),
            (12, Value::Octets(octets)) => meta.annotations.0.push(pair(octets)?),
            _ => {}
        }
        Ok(())
    })?;
    Ok(meta)
}

/// An entry of a map of strings.
fn pair(message: &[u8]) -> Result<(raw::Text<'_>, raw::Text<'_>), Malformed> {
    let mut pair = (raw::Text::default(), raw::Text::default());
    fields(message, |number, value| {
        match (number, value) {
            (1, Value::Octets(octets)) => pair.0 = text(octets)?.into(),
            (2, Value::Octets(octets)) => pair.1 = text(octets)?.into(),
            _ => {}
        }
        Ok(())
    })?;
    Ok(pair)
}

fn text(octets: &[u8]) -> Result<&str, Malformed> {
    str::from_utf8(octets).map_err(|_| Malformed)
}

/// Before every message.
pub(super) const MAGIC: &[u8] = b"k8s\0";
