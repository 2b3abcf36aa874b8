//! The search paths of pods, which *autopath* completes names by.

use std::net::IpAddr;
use std::sync::Arc;

use crate::corefile::{ZoneName, longest_match};
use crate::kube::Served;
use crate::limits;
use crate::runtime::epoch::Pin;
use crate::search::{SearchPath, resolv_conf};

/// `NAMESPACE.svc.ZONE`, `svc.ZONE`, `ZONE` and what the host searches: the path that the kubelet gives a pod.
pub(super) struct PodPath {
    served: Arc<Served>,
    /// What the host of the pods searches, which is taken for the same as ours.
    host: Vec<ZoneName>,
}

impl PodPath {
    /// The path of the pods of a cluster. A host without a resolv.conf searches nothing.
    pub(super) fn new(served: Arc<Served>) -> PodPath {
        let host = resolv_conf::search(HOST_FILE).unwrap_or_default();
        PodPath { served, host }
    }
}

impl SearchPath for PodPath {
    fn walk(&self, client: IpAddr, name: &[u8], each: &mut dyn FnMut(&[u8]) -> bool) {
        let Some(zone) = longest_match(&self.served.zones, name) else {
            return;
        };
        let pin = Pin::new();
        let view = self.served.view(&pin);
        let pod = view.pods_at(client).next();
        let Some(pod) = pod.filter(|_| self.served.knows_pods) else {
            return;
        };
        let namespace = view.namespace_name(pod.namespace());
        let (service_at, zone_at) = (1 + namespace.len(), 1 + namespace.len() + SERVICE.len());
        let mut octets = [0; limits::NAME_OCTETS];
        let len = zone_at + zone.wire().len();
        let Some(full) = octets.get_mut(..len).filter(|_| namespace.len() <= 63) else {
            return;
        };
        full[0] = namespace.len() as u8;
        full[1..service_at].copy_from_slice(namespace);
        full[service_at..zone_at].copy_from_slice(SERVICE);
        full[zone_at..].copy_from_slice(zone.wire());
        if each(full) && each(&full[service_at..]) && each(&full[zone_at..]) {
            // Whoever asks has seen enough.
            let _ = self.host.iter().map(ZoneName::wire).all(each);
        }
    }
}

const SERVICE: &[u8] = b"\x03svc";
const HOST_FILE: &str = "/etc/resolv.conf";
