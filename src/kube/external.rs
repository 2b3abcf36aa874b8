//! The zones in which one server block tells services by the addresses that they have outside of the cluster: what *k8s_external* says of
//! them and a *cache* above goes by.

use super::Served;
use super::schema::{is_reverse, labels, reverse_address};
use super::store::View;
use crate::corefile::{Fall, ZoneName, longest_match};

/// See the module.
pub struct External {
    /// The zones; names of addresses are told in the first.
    pub zones: Vec<ZoneName>,
    /// The label of the branch with the server's own name, in lower case.
    pub apex: Box<[u8]>,
    /// Services without such addresses are answered with their endpoints.
    pub is_headless: bool,
    /// Which names that are not there the next plugin is asked for.
    pub fall: Fall,
}

impl External {
    /// Whether the lower-case wire name is answered from what is known of the cluster, now and here: a *cache* above neither keeps it nor
    /// answers it from what it kept before.
    pub fn owns(&self, served: &Served, view: View<'_>, name: &[u8]) -> bool {
        let Some(zone) = longest_match(&self.zones, name) else {
            return false;
        };
        if is_reverse(zone) {
            let ip = reverse_address(name);
            return ip.is_some_and(|ip| view.services_exposed_at(ip).next().is_some());
        }
        // While nothing is known, nothing falls through.
        if !self.fall.through(name) || !served.is_synced() {
            return true;
        }
        let mut room = [(0, &[][..]); LABELS];
        let Some(labels) = labels(name, zone.wire().len(), &mut room) else {
            return false;
        };
        match *labels {
            [] => true,
            [(_, apex), ..] if *apex == *self.apex => true,
            [(_, namespace)] => served.namespace(view, namespace).is_some(),
            [(_, namespace), (_, service), ..] => {
                let namespace = served.namespace(view, namespace);
                let service = namespace.and_then(|known| view.service(known, service, false));
                service
                    .is_some_and(|service| self.is_headless || service.externals().next().is_some())
            }
        }
    }
}

/// `_PORT._PROTOCOL.SERVICE.NAMESPACE` is the longest name in such a zone.
pub const LABELS: usize = 4;
