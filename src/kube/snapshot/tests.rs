//! Files that are whole, cut, damaged, foreign or of another cluster, and dumps that lie.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;

use super::file::{HEAD, HEAD_FIELDS};
use super::*;
use crate::kube::record::{
    Endpoint, Import, Ingress, Kind, Object, Pod, Port, Protocol, Reach, Service, Sink, Slice,
};
use crate::kube::store::{Keep, Kinds, Outline, Refused, Store, Writer};
use crate::runtime::clock;
use crate::runtime::clock::fake::FakeClock;
use crate::runtime::epoch::Pin;
use crate::testing::files::Dir;

const CLUSTER: [u8; 32] = [7; 32];
const ALL: Keep = Keep {
    targets: true,
    zones: true,
    pods: true,
};
const KINDS: [Kind; 5] = [
    Kind::Namespace,
    Kind::Service,
    Kind::Slice,
    Kind::Pod,
    Kind::Import,
];

fn writer(keep: Keep) -> Writer {
    Writer::new(Arc::new(Store::new()), keep)
}

fn list_all(writer: &mut Writer, objects: &[Object]) {
    for kind in KINDS {
        writer.list_begins(kind);
        let of_kind = objects.iter().filter(|object| object.kind() == kind);
        of_kind.for_each(|object| writer.put(object));
        writer.list_ends(kind);
    }
}

fn dump(writer: &Writer) -> (Outline, Vec<u8>) {
    let (outline, mut dump) = writer.dump(1_000);
    let mut body = Vec::new();
    while dump.step(writer.store(), &mut body) {}
    assert!(writer.vouches_for(&dump));
    (outline, body)
}

fn file(dir: &Dir) -> PathBuf {
    dir.path().join("kube.snapshot")
}

fn save(dir: &Dir, writer: Writer) -> Writer {
    let writer = Mutex::new(writer);
    write(&file(dir), &CLUSTER, &writer, &|| true).unwrap();
    writer.into_inner().unwrap()
}

fn reason(dir: &Dir) -> String {
    match read(&file(dir), &CLUSTER) {
        Ok(whole) => format!("{:?}", whole.map(|whole| whole.outline)),
        Err(reason) => reason.to_string(),
    }
}

// === objects ===

fn ip(last: u8, is_v6: bool) -> IpAddr {
    match is_v6 {
        true => Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last.into()).into(),
        false => Ipv4Addr::new(10, 0, 0, last).into(),
    }
}

fn ports(count: u8) -> Vec<Port> {
    let port = |nth| Port {
        name: format!("p{nth}"),
        protocol: [Protocol::Tcp, Protocol::Udp, Protocol::Sctp][usize::from(nth) % 3],
        number: 80 + u16::from(nth),
    };
    (0..count).map(port).collect()
}

fn object() -> impl Strategy<Value = Object> {
    let ips =
        || prop::collection::vec((0u8..20, any::<bool>()).prop_map(|(n, v6)| ip(n, v6)), 0..4);
    let place = || (0u8..3, 0u8..6).prop_map(|(ns, n)| (format!("n{ns}"), format!("o{n}")));
    let namespace = (0u8..3).prop_map(|n| Object::Namespace(format!("n{n}")));
    let service = (place(), ips(), ips(), 0u8..3, 0u8..4).prop_map(
        |((namespace, name), cluster_ips, external_ips, reach, count)| {
            let reach = [Reach::ClusterIp, Reach::Headless, Reach::Elsewhere][usize::from(reach)];
            Object::Service(Service {
                external_name: match reach {
                    Reach::Elsewhere => "www.example.com".into(),
                    _ => String::new(),
                },
                ingress: vec![
                    Ingress::Host("lb.example".into()),
                    Ingress::Ip(ip(9, false)),
                ],
                ports: ports(count),
                namespace,
                name,
                reach,
                cluster_ips,
                external_ips,
            })
        },
    );
    let slice = (place(), 0u8..6, ips(), any::<bool>(), any::<bool>()).prop_map(
        |((namespace, name), of, ips, is_imported, has_names)| {
            let text = |text: &str, ip: &IpAddr| match has_names {
                true => format!("{text}-{}", ip.to_string().replace(['.', ':'], "-")),
                false => String::new(),
            };
            Object::Slice(Slice {
                endpoints: ips
                    .iter()
                    .map(|ip| Endpoint {
                        ip: *ip,
                        hostname: text("host", ip),
                        target: text("pod", ip),
                        zone: text("zone", ip),
                    })
                    .collect(),
                ports: ports(1),
                service: format!("o{of}"),
                cluster: if is_imported {
                    "c1".into()
                } else {
                    String::new()
                },
                namespace,
                name,
                is_imported,
                triggered: None,
            })
        },
    );
    let pod = (place(), ips()).prop_map(|((namespace, name), ips)| {
        Object::Pod(Pod {
            labels: vec![("app".into(), name.clone())],
            namespace,
            name,
            ips,
        })
    });
    let import = (place(), ips()).prop_map(|((namespace, name), ips)| {
        Object::Import(Import {
            ports: ports(2),
            is_headless: ips.is_empty(),
            namespace,
            name,
            ips,
        })
    });
    prop_oneof![namespace, service, slice, pod, import]
}

/// Each object once, as it was put last.
fn last(objects: Vec<Object>) -> Vec<Object> {
    let mut by_name = BTreeMap::new();
    for object in objects {
        let (namespace, name) = match &object {
            Object::Namespace(name) => (String::new(), name.clone()),
            Object::Service(it) => (it.namespace.clone(), it.name.clone()),
            Object::Slice(it) => (it.namespace.clone(), it.name.clone()),
            Object::Pod(it) => (it.namespace.clone(), it.name.clone()),
            Object::Import(it) => (it.namespace.clone(), it.name.clone()),
        };
        by_name.insert((object.kind() as u8, namespace, name), object);
    }
    by_name.into_values().collect()
}

proptest! {
    /// What is read back is what was written, to the octet; the same list then changes nothing, which it would if an index or a key led
    /// elsewhere; and an empty one leaves nothing behind.
    #[test]
    fn what_is_written_is_read_back(
        objects in prop::collection::vec(object(), 0..60),
        gone in prop::collection::vec(object(), 0..20),
    ) {
        let dir = Dir::new();
        let mut before = writer(ALL);
        // Numbers have gaps.
        gone.iter().for_each(|object| before.put(object));
        let objects = last(objects);
        before.set_never_empty(Kinds::NONE);
        list_all(&mut before, &objects);
        let before = save(&dir, before);
        let whole = read(&file(&dir), &CLUSTER).unwrap().unwrap();
        let mut after = writer(ALL);
        after.restore(&whole.outline, &whole.body).unwrap();
        prop_assert_eq!(&dump(&after).1, &whole.body);
        for kind in KINDS {
            prop_assert_eq!(after.len(kind), before.len(kind), "{:?}", kind);
        }
        let store = Arc::clone(after.store());
        for (last, is_v6) in (0..20).flat_map(|last| [(last, false), (last, true)]) {
            let (address, pin) = (ip(last, is_v6), Pin::new());
            let [old, new] = [before.store(), &store].map(|store| {
                let view = store.view(&pin);
                let exposed = view.services_exposed_at(address).count();
                let services = view.services_at(address).count();
                (exposed, services, view.slices_at(address).count(), view.pods_at(address).count())
            });
            prop_assert_eq!(old, new, "{}", address);
        }
        prop_assert!(store.is_synced(Kinds::BASE) && store.is_restored(Kinds::BASE));
        prop_assert_eq!(store.modified_s(), before.store().modified_s());
        list_all(&mut after, &objects);
        prop_assert_eq!(store.changes(), 0);
        prop_assert!(!store.is_restored(Kinds::BASE));
        prop_assert_eq!(&dump(&after).1, &whole.body);
        after.set_never_empty(Kinds::NONE);
        list_all(&mut after, &[]);
        prop_assert_eq!(dump(&after).1.len(), 4 * 8, "nothing but the ends of four parts");
    }

    /// Whatever the blocks are, with a right checksum: no panic, and all or nothing.
    #[test]
    fn a_dump_that_lies_does_no_harm(
        objects in prop::collection::vec(object(), 1..30),
        lies in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut before = writer(ALL);
        list_all(&mut before, &objects);
        let (outline, mut body) = dump(&before);
        for (at, octet) in lies {
            let at = at.index(body.len());
            body[at] = octet;
        }
        let mut after = writer(ALL);
        let restored = after.restore(&outline, &body);
        prop_assert_eq!(restored.is_ok(), after.store().is_synced(Kinds::BASE));
        list_all(&mut after, &objects);
        let names = objects.iter().filter(|object| object.kind() == Kind::Service).count();
        prop_assert!(after.len(Kind::Service) <= names);
        for last in 0..20 {
            let (pin, store) = (Pin::new(), after.store());
            let view = store.view(&pin);
            let found = view.services_at(ip(last, false)).chain(view.services_at(ip(last, true)));
            for service in found {
                prop_assert!(service.slices().count() <= objects.len());
            }
        }
    }
}

fn small() -> Writer {
    let mut writer = writer(ALL);
    let objects = [
        Object::Namespace("shop".into()),
        Object::Service(Service {
            namespace: "shop".into(),
            name: "web".into(),
            cluster_ips: vec![ip(1, false)],
            ..Service::default()
        }),
        Object::Slice(Slice {
            namespace: "shop".into(),
            name: "web-1".into(),
            service: "web".into(),
            endpoints: vec![Endpoint {
                ip: ip(2, false),
                hostname: "a".into(),
                target: String::new(),
                zone: String::new(),
            }],
            ..Slice::default()
        }),
    ];
    list_all(&mut writer, &objects);
    writer
}

#[test]
fn every_cut_and_every_flipped_octet_is_refused() {
    let dir = Dir::new();
    save(&dir, small());
    let octets = fs::read(file(&dir)).unwrap();
    assert!(reason(&dir).starts_with("Some"));
    for len in 0..octets.len() {
        fs::write(file(&dir), &octets[..len]).unwrap();
        let reason = reason(&dir);
        assert_eq!(reason, Rejected::Length.to_string(), "{len}");
    }
    for at in 0..octets.len() {
        let mut flipped = octets.clone();
        flipped[at] ^= 0xff;
        fs::write(file(&dir), &flipped).unwrap();
        let read = read(&file(&dir), &CLUSTER);
        let is_fit = match read {
            Err(Rejected::Foreign) => at < 8,
            Err(Rejected::Version(_)) => (8..12).contains(&at),
            Err(Rejected::Length) => (60..68).contains(&at),
            Err(Rejected::Damaged) => at >= 12,
            _ => false,
        };
        assert!(is_fit, "{at}: {read:?}");
    }
    let mut longer = octets.clone();
    longer.push(0);
    fs::write(file(&dir), &longer).unwrap();
    assert_eq!(reason(&dir), Rejected::Length.to_string());
}

#[test]
fn files_that_are_none() {
    let dir = Dir::new();
    assert_eq!(reason(&dir), "None");
    save(&dir, small());
    let octets = fs::read(file(&dir)).unwrap();
    assert!(matches!(
        read(&file(&dir), &[8; 32]),
        Err(Rejected::Cluster)
    ));
    let mut old = octets.clone();
    old[8] = 0;
    fs::write(file(&dir), &old).unwrap();
    assert_eq!(
        reason(&dir),
        "it is of version 0, this program reads version 1"
    );
    fs::write(file(&dir), [b'x'; 400]).unwrap();
    assert_eq!(reason(&dir), "it is no snapshot of a cluster");
    fs::write(file(&dir), &octets).unwrap();
    fs::set_permissions(file(&dir), Permissions::from_mode(0o666)).unwrap();
    assert_eq!(reason(&dir), "everybody may write to it (chmod 600)");
    fs::remove_file(file(&dir)).unwrap();
    fs::create_dir(file(&dir)).unwrap();
    assert_eq!(reason(&dir), "it is no regular file");
}

#[test]
fn a_write_that_is_told_to_stop_leaves_the_old_file() {
    let dir = Dir::new();
    save(&dir, small());
    let octets = fs::read(file(&dir)).unwrap();
    let writer = Mutex::new(writer(ALL));
    let error = write(&file(&dir), &CLUSTER, &writer, &|| false).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::Interrupted);
    assert_eq!(fs::read(file(&dir)).unwrap(), octets);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    assert_eq!(
        octets.len() as u64,
        u64::from_le_bytes(octets[60..68].try_into().unwrap())
    );
    assert_eq!((HEAD_FIELDS, HEAD), (100, 132));
}

#[test]
fn what_is_known_is_not_replaced() {
    let (outline, body) = dump(&small());
    let mut known = small();
    assert_eq!(known.restore(&outline, &body), Err(Refused::Known));
    // One that has begun to hear from the server, but is not complete.
    let mut begun = writer(ALL);
    begun.list_begins(Kind::Namespace);
    begun.put(&Object::Namespace("a".into()));
    assert_eq!(begun.restore(&outline, &body), Err(Refused::Known));
    let mut empty = writer(ALL);
    for cut in 0..body.len() {
        let refused = empty.restore(&outline, &body[..cut]);
        assert_eq!(refused, Err(Refused::Senseless), "{cut}");
    }
    assert_eq!(dump(&empty).1.len(), 4 * 8);
    assert_eq!(empty.restore(&outline, &body), Ok(()));
}

#[test]
fn what_was_not_kept_is_not_denied() {
    let mut poor = writer(Keep::default());
    list_all(&mut poor, &[Object::Namespace("a".into())]);
    let (outline, body) = dump(&poor);
    let pods = Kinds::NONE.and(Kind::Pod);
    let slices = Kinds::NONE.and(Kind::Slice);
    let mut rich = writer(Keep {
        zones: true,
        ..Keep::default()
    });
    rich.restore(&outline, &body).unwrap();
    let store = Arc::clone(rich.store());
    let zones = Keep {
        zones: true,
        ..Keep::default()
    };
    assert!(store.is_synced(slices) && !store.is_synced(slices.with(zones)));
    assert!(store.is_synced(pods) && !store.is_synced(pods.with(ALL)));
    list_all(&mut rich, &[]);
    assert!(store.is_synced(slices.with(zones)) && !store.is_synced(slices.with(ALL)));
    assert!(store.is_synced(pods.with(zones)) && !store.is_synced(pods.with(ALL)));
    // What is written from here says so too.
    assert_eq!(dump(&rich).0.keep, zones);
    rich.set_keep(ALL);
    assert_eq!(dump(&rich).0.keep, zones);
    assert!(!store.is_synced(slices.with(ALL)));
    list_all(&mut rich, &[]);
    assert!(store.is_synced(slices.with(ALL)) && store.is_synced(pods.with(ALL)));
    // And what names a list of less is as poor as it.
    rich.set_keep(zones);
    rich.list_begins(Kind::Slice);
    assert!(!store.is_synced(slices.with(ALL)) && store.is_synced(slices.with(zones)));
}

#[test]
fn its_age_is_that_of_its_contents() {
    let clock = FakeClock::start();
    let dir = Dir::new();
    save(&dir, small());
    let written_s = clock::wall_s();
    clock.advance(Duration::from_secs(3_600));
    let whole = read(&file(&dir), &CLUSTER).unwrap().unwrap();
    assert_eq!(whole.outline.written_s, written_s);
    let mut after = writer(ALL);
    after.restore(&whole.outline, &whole.body).unwrap();
    let stale_s = |writer: &Writer| {
        let stale_ns = writer.store().stale_ns(Kinds::BASE);
        stale_ns.map(|ns| ns / clock::SECOND)
    };
    assert_eq!(stale_s(&after), Some(3_600));
    // The API does not answer, and what was restored is written again.
    KINDS.into_iter().for_each(|kind| after.lost(kind));
    clock.advance(Duration::from_secs(60));
    let mut after = save(&dir, after);
    let again = read(&file(&dir), &CLUSTER).unwrap().unwrap();
    assert_eq!(again.outline.written_s, written_s);
    assert_eq!(stale_s(&after), Some(3_660));
    list_all(&mut after, &[Object::Namespace("shop".into())]);
    assert_eq!(stale_s(&after), None);
    after.lost(Kind::Slice);
    clock.advance(Duration::from_secs(5));
    assert_eq!(stale_s(&after), Some(5));
    save(&dir, after);
    let last = read(&file(&dir), &CLUSTER).unwrap().unwrap();
    assert_eq!(last.outline.written_s, written_s + 3_660, "as of the loss");
}
