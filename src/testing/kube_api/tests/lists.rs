//! Lists and their pages.

use serde_json::{Value, json};

use super::client::{ask, get, name, names};
use super::{pod, served, service};
use crate::kube::record::*;
use crate::testing::kube_api::{Api, Stored, Verb};

const SLICES: &str = "/apis/discovery.k8s.io/v1/endpointslices";
const IMPORTS: &str = "/apis/multicluster.x-k8s.io/v1alpha1/serviceimports";

/// A port of UDP.
fn port(name: &str, number: u16) -> Port {
    Port {
        name: name.into(),
        protocol: Protocol::Udp,
        number,
    }
}

/// The first item of a list.
fn only(api: &Api, path: &str) -> Value {
    get(api, path).json()["items"][0].clone()
}

#[test]
fn a_list_says_what_it_is() {
    let api = served(2);
    let mut answer = get(&api, "/api/v1/services");
    assert_eq!(
        (answer.code, answer.header("content-type")),
        (200, "application/json")
    );
    let list = answer.json();
    assert_eq!(
        (&list["kind"], &list["apiVersion"]),
        (&json!("ServiceList"), &json!("v1"))
    );
    assert_eq!(
        list["metadata"]["resourceVersion"],
        api.version().to_string()
    );
    assert_eq!(names(&list), ["ns/s0", "ns/s1"]);
    let first = &list["items"][0];
    assert!(first.get("kind").is_none());
    assert_eq!(first["spec"]["clusterIP"], "10.96.0.20");
    assert_eq!(first["metadata"]["resourceVersion"], "1001");
    assert_eq!(api.count(Verb::List, Some(Kind::Service)), 1);
    assert_eq!(api.count(Verb::List, Some(Kind::Pod)), 0);
    assert_eq!(api.asked()[0].target, "/api/v1/services");
}

#[test]
fn services_and_namespaces_have_their_form() {
    let api = Api::new();
    api.put(Object::Namespace("ns".into()));
    api.put(Object::Service(Service {
        namespace: "ns".into(),
        name: "out".into(),
        reach: Reach::Elsewhere,
        external_name: "example.net".into(),
        external_ips: vec!["192.0.2.7".parse().unwrap()],
        ingress: vec![
            Ingress::Host("lb".into()),
            Ingress::Ip("::7".parse().unwrap()),
        ],
        ports: vec![port("dns", 53)],
        ..Service::default()
    }));
    assert_eq!(
        only(&api, "/api/v1/namespaces")["status"]["phase"],
        "Active"
    );
    let service = only(&api, "/api/v1/services");
    assert_eq!(service["spec"]["type"], "ExternalName");
    assert_eq!(service["spec"]["externalName"], "example.net");
    assert_eq!(service["spec"]["externalIPs"], json!(["192.0.2.7"]));
    assert!(service["spec"].get("clusterIP").is_none());
    assert_eq!(
        service["spec"]["ports"],
        json!([{ "name": "dns", "protocol": "UDP", "port": 53 }])
    );
    assert_eq!(
        service["status"]["loadBalancer"]["ingress"],
        json!([{ "hostname": "lb" }, { "ip": "::7" }])
    );
}

#[test]
fn slices_imports_and_pods_have_their_form() {
    let api = Api::new();
    let endpoint = |ip: &str| Endpoint {
        ip: ip.parse().unwrap(),
        hostname: "h".into(),
        target: "t".into(),
        zone: "z".into(),
    };
    let mut slice = Stored::from(Object::Slice(Slice {
        namespace: "ns".into(),
        name: "s-1".into(),
        service: "s".into(),
        ports: vec![port("", 0)],
        endpoints: vec![endpoint("fd00::1")],
        triggered: Some(std::time::UNIX_EPOCH),
        ..Slice::default()
    }));
    slice.unready.push(endpoint("fd00::2"));
    api.put(slice);
    api.put(Object::Import(Import {
        namespace: "ns".into(),
        name: "i".into(),
        is_headless: true,
        ips: vec!["10.1.1.1".parse().unwrap()],
        ports: vec![port("p", 1)],
    }));
    api.put(pod("ns", "p", "web"));

    let slice = only(&api, SLICES);
    assert_eq!(
        slice["metadata"]["labels"]["kubernetes.io/service-name"],
        "s"
    );
    let time =
        &slice["metadata"]["annotations"]["endpoints.kubernetes.io/last-change-trigger-time"];
    assert_eq!(time, "1970-01-01T00:00:00.000000000Z");
    assert_eq!(slice["addressType"], "IPv6");
    assert_eq!(slice["endpoints"][0]["targetRef"]["name"], "t");
    assert_eq!(slice["endpoints"][0]["conditions"]["ready"], true);
    assert_eq!(slice["endpoints"][1]["conditions"]["ready"], false);
    assert_eq!(slice["ports"], json!([{ "protocol": "UDP" }]));
    let import = only(&api, IMPORTS);
    assert_eq!(import["kind"], "ServiceImport");
    assert_eq!(import["spec"]["type"], "Headless");
    assert_eq!(import["spec"]["ips"], json!(["10.1.1.1"]));
    let pod = only(&api, "/api/v1/pods");
    assert_eq!(pod["status"]["podIPs"], json!([{ "ip": "10.128.0.7" }]));
    assert_eq!(pod["metadata"]["labels"], json!({ "app": "web" }));
}

#[test]
fn selectors_and_namespaces_narrow() {
    let api = Api::new();
    let mut done = pod("ns", "done", "web");
    done.phase = "Succeeded".into();
    api.put_all([pod("ns", "a", "web"), pod("other", "a", "db"), done]);
    for (target, expect) in [
        ("/api/v1/pods", &["ns/a", "ns/done", "other/a"][..]),
        ("/api/v1/namespaces/other/pods", &["other/a"]),
        (
            "/api/v1/pods?labelSelector=app%20in%20(web)",
            &["ns/a", "ns/done"],
        ),
        ("/api/v1/pods?labelSelector=app!%3Dweb", &["other/a"]),
        (
            "/api/v1/pods?fieldSelector=status.phase!%3DSucceeded%2Cstatus.phase!%3DFailed",
            &["ns/a", "other/a"],
        ),
    ] {
        assert_eq!(names(&get(&api, target).json()), expect, "{target}");
    }
    assert_eq!(get(&api, "/api/v1/pods?labelSelector=a%20b").code, 400);
    assert_eq!(get(&api, "/api/v1/pods?fieldSelector=spec.x%3Dy").code, 400);
}

#[test]
fn pages_show_the_moment_of_the_first() {
    let api = served(5);
    let first = get(&api, "/api/v1/services?limit=2").json();
    assert_eq!(names(&first), ["ns/s0", "ns/s1"]);
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    let version = first["metadata"]["resourceVersion"].clone();
    // What is put, changed and removed meanwhile is not in the pages that follow.
    api.put(service("ns", "s2a"));
    api.put(service("ns", "s4"));
    api.remove(Kind::Service, "ns", "s2");
    let next = |list: &Value| {
        let token = list["metadata"]["continue"].as_str().unwrap();
        get(&api, &format!("/api/v1/services?limit=2&continue={token}")).json()
    };
    let second = next(&first);
    assert_eq!(names(&second), ["ns/s2", "ns/s3"]);
    assert_eq!(second["metadata"]["resourceVersion"], version);
    let third = next(&second);
    assert_eq!(names(&third), ["ns/s4"]);
    assert_eq!(third["items"][0]["metadata"]["resourceVersion"], "1005");
    assert!(third["metadata"].get("continue").is_none());
    assert_eq!(
        names(&get(&api, "/api/v1/services").json()),
        ["ns/s0", "ns/s1", "ns/s2a", "ns/s3", "ns/s4"]
    );
}

#[test]
fn an_old_token_is_expired_and_brings_a_new_one() {
    let api = served(3);
    let list = get(&api, "/api/v1/services?limit=1").json();
    let token = list["metadata"]["continue"].as_str().unwrap();
    api.compact();
    let target = format!("/api/v1/services?limit=1&continue={token}");
    let mut answer = get(&api, &target);
    assert_eq!(answer.code, 410);
    let status = answer.json();
    assert_eq!(
        (&status["kind"], &status["reason"]),
        (&json!("Status"), &json!("Expired"))
    );
    let token = status["metadata"]["continue"].as_str().unwrap();
    let list = get(&api, &format!("/api/v1/services?continue={token}")).json();
    assert_eq!(names(&list), ["ns/s1", "ns/s2"]);
    assert_eq!(get(&api, "/api/v1/services?continue=nonsense").code, 400);
    assert_eq!(get(&api, &format!("{target}&resourceVersion=5")).code, 400);
}

#[test]
fn version_zero_is_answered_whole_and_the_future_not_at_all() {
    let api = served(4);
    let list = get(&api, "/api/v1/services?limit=2&resourceVersion=0").json();
    assert_eq!(names(&list).len(), 4);
    let list = get(&api, "/api/v1/services?limit=2&resourceVersion=1").json();
    assert_eq!(names(&list).len(), 2);
    let mut answer = get(&api, "/api/v1/services?resourceVersion=99999");
    assert_eq!((answer.code, answer.header("retry-after")), (504, "1"));
    assert_eq!(answer.json()["reason"], "Timeout");
}

#[test]
fn one_object_and_what_is_not_there() {
    let api = served(1);
    let mut answer = get(&api, "/api/v1/namespaces/ns/services/s0");
    let object = answer.json();
    assert_eq!(
        (name(&object).as_str(), &object["kind"]),
        ("ns/s0", &json!("Service"))
    );
    assert_eq!(get(&api, "/api/v1/namespaces/ns/services/s1").code, 404);
    assert_eq!(get(&api, "/api/v1/nodes").code, 404);
    assert_eq!(get(&api, "/version").json()["major"], "1");
    assert_eq!(api.count(Verb::Get, None), 2);
    assert_eq!(api.count(Verb::Other, None), 2);
}

#[test]
fn an_object_that_is_made_again_is_another_one() {
    let api = served(1);
    let uid = || get(&api, "/api/v1/services").json()["items"][0]["metadata"]["uid"].clone();
    let first = uid();
    api.put(service("ns", "s0"));
    assert_eq!(uid(), first);
    assert!(api.remove(Kind::Service, "ns", "s0"));
    assert!(!api.remove(Kind::Service, "ns", "s0"));
    api.put(service("ns", "s0"));
    assert_ne!(uid(), first);
}

#[test]
fn octets_of_a_test_are_sent_as_they_are() {
    let api = served(1);
    let mut odd = service("ns", "odd");
    odd.octets = Some(br#"{"metadata":7}"#.to_vec());
    api.put(odd);
    let list = get(&api, "/api/v1/services").json();
    assert_eq!(list["items"][0], json!({ "metadata": 7 }));
}

#[test]
fn encodings_are_agreed_on() {
    let api = served(1);
    let protobuf = "application/vnd.kubernetes.protobuf";
    let both = format!("{protobuf};q=1, application/json");
    let path = "/api/v1/services";
    let type_of = |accept: &str, path: &str| {
        let answer = ask(&api, path, accept, "");
        (answer.code, answer.header("content-type").to_owned())
    };
    assert_eq!(type_of(&both, path), (200, protobuf.into()));
    assert_eq!(type_of("*/*", path), (200, "application/json".into()));
    assert_eq!(type_of("text/html", path), (406, "application/json".into()));
    assert_eq!(type_of(protobuf, IMPORTS).0, 406);
    assert_eq!(type_of(&both, IMPORTS), (200, "application/json".into()));
    api.script(|script| script.is_json_only = true);
    assert_eq!(type_of(&both, path), (200, "application/json".into()));
    assert_eq!(type_of(protobuf, path).0, 406);
}

#[test]
fn the_types_of_the_kubernetes_api_take_a_generated_cluster() {
    use k8s_openapi::List;
    use k8s_openapi::api::core::v1::{Namespace, Pod, Service};
    use k8s_openapi::api::discovery::v1::EndpointSlice;

    let api = Api::new();
    api.load(crate::testing::kube_api::Cluster::new(100, 3, 350));
    let octets = |path: &str| get(&api, path).octets().unwrap();
    let services: List<Service> = serde_json::from_slice(&octets("/api/v1/services")).unwrap();
    let slices: List<EndpointSlice> = serde_json::from_slice(&octets(SLICES)).unwrap();
    let pods: List<Pod> = serde_json::from_slice(&octets("/api/v1/pods")).unwrap();
    let spaces: List<Namespace> = serde_json::from_slice(&octets("/api/v1/namespaces")).unwrap();
    assert_eq!(
        (services.items.len(), pods.items.len(), spaces.items.len()),
        (100, 350, 7)
    );
    let headless = services
        .items
        .iter()
        .filter_map(|service| service.spec.as_ref());
    let headless = headless.filter(|spec| spec.cluster_ip.as_deref() == Some("None"));
    assert_eq!(headless.count(), 12);
    let endpoints = slices
        .items
        .iter()
        .filter_map(|slice| slice.endpoints.as_ref());
    let endpoints: usize = endpoints.map(Vec::len).sum();
    assert_eq!(endpoints, api.len(Kind::Slice) * 3);
}
