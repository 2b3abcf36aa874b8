//! The files of tuning/kubernetes: they parse, they agree with one another, and their Corefiles load. No cluster and no helm are needed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use percoredns::corefile::{self, Corefile, Known, RealSource};
use percoredns::plugin::{BUILT, PLUGIN_CFG};
use serde_json::Value;

use crate::structure::load;

fn folder(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("tuning/kubernetes").join(name)
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn files(name: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder(name)).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{name} is empty");
    files
}

/// All objects of the YAML files in a folder.
fn objects(name: &str) -> Vec<Value> {
    let parse = |path: PathBuf| {
        let objects: Result<Vec<Value>, _> = serde_saphyr::from_multiple(&read(&path));
        objects.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    files(name).into_iter().flat_map(parse).collect()
}

#[track_caller]
fn one<'o>(objects: &'o [Value], kind: &str) -> &'o Value {
    let mut found = objects.iter().filter(|object| object["kind"] == kind);
    let first = found.next().unwrap_or_else(|| panic!("no {kind}"));
    assert!(found.next().is_none(), "more than one {kind}");
    first
}

/// The value at a path such as `/spec/selector`, which must be there.
#[track_caller]
fn at<'o>(object: &'o Value, path: &str) -> &'o Value {
    let found = object.pointer(path).filter(|value| !value.is_null());
    found.unwrap_or_else(|| {
        panic!(
            "{path} is missing in {} {}",
            object["kind"], object["metadata"]["name"]
        )
    })
}

#[track_caller]
fn parse_corefile(text: &str) -> Corefile {
    let known = |name: &str| match PLUGIN_CFG.contains(&name) {
        true => Known::Yes,
        false => Known::No,
    };
    let corefile = corefile::parse("Corefile", text, &known, &RealSource);
    let corefile = corefile.unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(corefile.warnings, [""; 0]);
    let mut directives = corefile.blocks.iter().flat_map(|block| &block.directives);
    // *kubernetes* asks for the API server when it is set up.
    if directives
        .all(|directive| directive.name != "kubernetes" && BUILT.contains(&directive.name.as_str()))
    {
        load(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    }
    corefile
}

/// The first argument of a directive, in whatever block it stands.
#[track_caller]
fn argument(corefile: &Corefile, name: &str) -> Option<String> {
    let mut found = corefile
        .blocks
        .iter()
        .filter_map(|block| block.directive(name));
    let directive = found.next().unwrap_or_else(|| panic!("no {name}"));
    let words = directive.tokens.iter().map(|token| token.text.as_str());
    words
        .skip(1)
        .find(|word| *word != "{")
        .filter(|word| word.contains(':'))
        .map(str::to_owned)
}

/// Whether all of `selector` stands among the labels.
fn selects(selector: &Value, labels: &Value) -> bool {
    let selector = selector.as_object().unwrap();
    !selector.is_empty() && selector.iter().all(|(key, value)| labels[key] == *value)
}

/// What every pod of ours has, whichever way it was written.
fn check_pod(workload: &Value, config_map: &Value, service_account: &Value, corefile: &Corefile) {
    let labels = at(workload, "/spec/template/metadata/labels");
    assert!(selects(at(workload, "/spec/selector/matchLabels"), labels));
    let pod = at(workload, "/spec/template/spec");
    assert_eq!(
        pod["serviceAccountName"],
        service_account["metadata"]["name"]
    );
    assert_eq!(at(pod, "/dnsPolicy"), "Default");
    at(pod, "/priorityClassName");
    assert_eq!(
        at(pod, "/securityContext/seccompProfile/type"),
        "RuntimeDefault"
    );
    assert_eq!(
        at(pod, "/volumes/0/configMap/name"),
        &config_map["metadata"]["name"]
    );
    let container = at(pod, "/containers/0");
    assert_eq!(
        at(container, "/volumeMounts/0/name"),
        at(pod, "/volumes/0/name")
    );
    let mount = at(container, "/volumeMounts/0/mountPath").as_str().unwrap();
    let path = at(pod, "/volumes/0/configMap/items/0/path")
        .as_str()
        .unwrap();
    assert_eq!(
        at(container, "/args/1"),
        &Value::from(format!("{mount}/{path}"))
    );
    let security = at(container, "/securityContext");
    assert_eq!(security["readOnlyRootFilesystem"], true);
    assert_eq!(security["allowPrivilegeEscalation"], false);
    assert_eq!(security["capabilities"]["drop"], Value::from(vec!["ALL"]));
    assert_eq!(
        security["capabilities"]["add"],
        Value::from(vec!["NET_BIND_SERVICE"])
    );
    at(container, "/resources/requests/memory");
    at(container, "/resources/limits/memory");
    check_ports(container, corefile);
}

/// Probes and ports are where the Corefile puts them.
fn check_ports(container: &Value, corefile: &Corefile) {
    for (probe, path, directive, default) in [
        ("livenessProbe", "/health", "health", ":8080"),
        ("readinessProbe", "/ready", "ready", ":8181"),
    ] {
        let get = at(container, &format!("/{probe}/httpGet"));
        assert_eq!(get["path"], path);
        let host = get["host"].as_str().unwrap_or_default();
        let address = argument(corefile, directive).unwrap_or_else(|| default.to_owned());
        assert_eq!(format!("{host}:{}", get["port"]), address, "{probe}");
    }
    let ports = at(container, "/ports").as_array().unwrap();
    let port = |name: &str| {
        let found = ports.iter().find(|port| port["name"] == name);
        found.unwrap_or_else(|| panic!("no port {name}"))["containerPort"].clone()
    };
    assert_eq!(
        argument(corefile, "prometheus").unwrap(),
        format!(":{}", port("metrics"))
    );
    for block in &corefile.blocks {
        for key in &block.keys {
            assert!(
                key.text.ends_with(&format!(":{}", port("dns"))),
                "{}",
                key.text
            );
        }
    }
    assert_eq!(port("dns"), port("dns-tcp"));
}

#[test]
fn the_deployment_takes_the_place_of_kube_dns() {
    let objects = objects("deployment");
    let (account, map) = (one(&objects, "ServiceAccount"), one(&objects, "ConfigMap"));
    let deployment = one(&objects, "Deployment");
    for object in &objects {
        at(object, "/apiVersion");
        let is_cluster_wide = object["kind"].as_str().unwrap().starts_with("ClusterRole");
        assert_eq!(
            object["metadata"]["namespace"] == "kube-system",
            !is_cluster_wide
        );
    }
    let corefile = parse_corefile(at(map, "/data/Corefile").as_str().unwrap());
    check_pod(deployment, map, account, &corefile);
    let labels = at(deployment, "/spec/template/metadata/labels");
    let service = one(&objects, "Service");
    assert_eq!(service["metadata"]["name"], "kube-dns");
    assert_eq!(
        at(service, "/spec/selector"),
        &serde_json::json!({ "k8s-app": "kube-dns" })
    );
    assert!(selects(at(service, "/spec/selector"), labels));
    let named: BTreeSet<&str> = at(deployment, "/spec/template/spec/containers/0/ports")
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|port| port["name"].as_str())
        .collect();
    for port in at(service, "/spec/ports").as_array().unwrap() {
        assert!(
            named.contains(port["targetPort"].as_str().unwrap()),
            "{port}"
        );
    }
    let budget = one(&objects, "PodDisruptionBudget");
    let selector = at(budget, "/spec/selector/matchLabels");
    assert_eq!(selector, at(deployment, "/spec/selector/matchLabels"));
    // One pod of CoreDNS must not count as one of ours.
    assert!(!selects(
        selector,
        &serde_json::json!({ "k8s-app": "kube-dns" })
    ));
}

#[test]
fn the_role_allows_what_is_watched_and_no_more() {
    let objects = objects("deployment");
    let role = one(&objects, "ClusterRole");
    let mut allowed = BTreeSet::new();
    for rule in at(role, "/rules").as_array().unwrap() {
        assert_eq!(rule["verbs"], Value::from(vec!["list", "watch"]));
        let words = |key: &str| {
            rule[key]
                .as_array()
                .unwrap()
                .iter()
                .map(|word| word.as_str().unwrap())
                .collect::<Vec<_>>()
        };
        for group in words("apiGroups") {
            allowed.extend(
                words("resources")
                    .into_iter()
                    .map(|resource| format!("{group}/{resource}")),
            );
        }
    }
    let want = [
        "/namespaces",
        "/pods",
        "/services",
        "discovery.k8s.io/endpointslices",
    ];
    assert_eq!(allowed.iter().collect::<Vec<_>>(), want);
    let binding = one(&objects, "ClusterRoleBinding");
    assert_eq!(at(binding, "/roleRef/name"), &role["metadata"]["name"]);
    let account = one(&objects, "ServiceAccount");
    for key in ["name", "namespace"] {
        assert_eq!(binding["subjects"][0][key], account["metadata"][key]);
    }
}

/// The rule for the option multicluster: a comment in the manifest, behind a value in the chart.
#[test]
fn the_right_to_read_imports_can_be_given() {
    let manifest = read(&folder("deployment/rbac.yaml"));
    let whole = manifest.replace("  # - ", "  - ").replace("  #   ", "    ");
    let objects: Vec<Value> = serde_saphyr::from_multiple(&whole).unwrap();
    let rules = at(one(&objects, "ClusterRole"), "/rules")
        .as_array()
        .unwrap();
    let rule = serde_json::json!({
        "apiGroups": ["multicluster.x-k8s.io"],
        "resources": ["serviceimports"],
        "verbs": ["list", "watch"],
    });
    assert_eq!(rules.last(), Some(&rule));
    let template = read(&folder("chart/templates/rbac.yaml"));
    let (_, behind) = template
        .split_once("{{- if .Values.deployment.multicluster }}")
        .unwrap();
    let (text, _) = behind.split_once("{{- end }}").unwrap();
    assert_eq!(serde_saphyr::from_str::<Vec<Value>>(text).unwrap(), [rule]);
    assert_eq!(values()["deployment"]["multicluster"], false);
}

#[test]
fn the_node_s_cache_listens_on_its_address() {
    let objects = objects("node-local");
    let map = one(&objects, "ConfigMap");
    let set = one(&objects, "DaemonSet");
    let corefile = parse_corefile(at(map, "/data/Corefile").as_str().unwrap());
    check_pod(set, map, one(&objects, "ServiceAccount"), &corefile);
    let pod = at(set, "/spec/template/spec");
    assert_eq!(pod["hostNetwork"], true);
    assert_eq!(pod["automountServiceAccountToken"], false);
    let script = at(pod, "/initContainers/0/command/2").as_str().unwrap();
    assert!(script.contains("ip addr add 169.254.20.10/32 "), "{script}");
    for block in &corefile.blocks {
        let bind = block.directive("bind").unwrap();
        assert_eq!(bind.tokens[1].text, "169.254.20.10");
    }
    // The Service of the Deployment is its upstream.
    let service = objects_of_service();
    let forward = corefile.blocks[0].directive("forward").unwrap();
    assert_eq!(
        &Value::from(forward.tokens[2].text.as_str()),
        at(&service, "/spec/clusterIP")
    );
}

fn objects_of_service() -> Value {
    one(&objects("deployment"), "Service").clone()
}

// === the chart ===

fn values() -> Value {
    serde_saphyr::from_str(&read(&folder("chart/values.yaml"))).unwrap()
}

/// The inside of every `{{ ... }}`.
fn actions(text: &str) -> Vec<&str> {
    let mut actions = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        assert!(!before.contains("}}"), "}}}} without {{{{: {before}");
        let (action, after) = after.split_once("}}").expect("{{ without }}");
        assert!(!action.contains("{{"), "{action}");
        actions.push(action.trim_matches('-').trim());
        rest = after;
    }
    assert!(!rest.contains("}}"), "{rest}");
    actions
}

#[test]
fn templates_and_values_of_the_chart_agree() {
    let values = values();
    let mut used = BTreeSet::new();
    let (mut defined, mut included) = (BTreeSet::new(), BTreeSet::new());
    for path in files("chart/templates") {
        let text = read(&path);
        let mut open = 0_usize;
        for action in actions(&text) {
            let mut words = action.split_whitespace();
            match words.next() {
                Some("if" | "with" | "range" | "define") => open += 1,
                Some("end") => open = open.checked_sub(1).expect("end without a beginning"),
                _ => {}
            }
            let words: Vec<&str> = action
                .split(|c: char| c.is_whitespace() || "()|".contains(c))
                .collect();
            for pair in words.windows(2) {
                match pair[0] {
                    "define" => assert!(defined.insert(pair[1].to_owned()), "{}", pair[1]),
                    "include" => drop(included.insert(pair[1].to_owned())),
                    _ => {}
                }
            }
            for value in words
                .iter()
                .filter_map(|word| word.strip_prefix(".Values."))
            {
                let pointer = format!("/{}", value.replace('.', "/"));
                assert!(
                    values.pointer(&pointer).is_some(),
                    "{}: .Values.{value}",
                    path.display()
                );
                used.insert(pointer);
            }
        }
        assert_eq!(open, 0, "{}", path.display());
    }
    assert_eq!(defined, included);
    // No value that nothing reads: what is not used whole must be used in its parts.
    let mut left = vec![(String::new(), &values)];
    while let Some((pointer, value)) = left.pop() {
        match value.as_object().filter(|_| !used.contains(&pointer)) {
            Some(parts) => left.extend(
                parts
                    .iter()
                    .map(|(key, part)| (format!("{pointer}/{key}"), part)),
            ),
            None => assert!(used.contains(&pointer), "{pointer} is read by no template"),
        }
    }
}

#[test]
fn the_chart_installs_what_the_manifests_do() {
    let values = values();
    let corefile = |name: &str| {
        let objects = objects(name);
        let text = one(&objects, "ConfigMap")["data"]["Corefile"]
            .as_str()
            .unwrap()
            .to_owned();
        parse_corefile(&text).digest()
    };
    let of_chart = |name: &str| parse_corefile(values[name]["corefile"].as_str().unwrap()).digest();
    assert_eq!(of_chart("deployment"), corefile("deployment"));
    assert_eq!(of_chart("nodeLocal"), corefile("node-local"));
    assert_eq!(
        &values["service"]["clusterIP"],
        at(&objects_of_service(), "/spec/clusterIP")
    );
    assert_eq!(values["nodeLocal"]["address"], "169.254.20.10");
    let chart: Value = serde_saphyr::from_str(&read(&folder("chart/Chart.yaml"))).unwrap();
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
    for name in ["deployment", "node-local"] {
        let objects = objects(name);
        let kind = if name == "deployment" {
            "Deployment"
        } else {
            "DaemonSet"
        };
        let container = at(one(&objects, kind), "/spec/template/spec/containers/0").clone();
        assert_eq!(
            container["image"],
            format!("percoredns:{}", env!("CARGO_PKG_VERSION"))
        );
        let resources = if name == "deployment" {
            &values["deployment"]
        } else {
            &values["nodeLocal"]
        };
        assert_eq!(container["resources"], resources["resources"]);
        if kind == "DaemonSet" {
            let nodes = at(one(&objects, kind), "/spec/template/spec/nodeSelector");
            assert_eq!(nodes, &resources["nodeSelector"]);
        }
    }
}

/// What stands in a template outside of its actions must not drift from the manifests.
#[test]
fn lines_of_the_templates_are_lines_of_the_manifests() {
    let plain = |name: &str| {
        let text = read(&folder(name));
        let lines = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.map(str::to_owned).collect::<BTreeSet<_>>()
    };
    for (template, manifest) in [
        (
            "chart/templates/deployment.yaml",
            "deployment/deployment.yaml",
        ),
        ("chart/templates/service.yaml", "deployment/service.yaml"),
        (
            "chart/templates/node-local.yaml",
            "node-local/daemon-set.yaml",
        ),
    ] {
        let known = &plain(manifest) | &plain("chart/templates/_helpers.tpl");
        let own = [
            "---",
            "apiVersion: v1",
            "kind: ConfigMap",
            "kind: PodDisruptionBudget",
            "apiVersion: policy/v1",
            "data:",
            "Corefile: |",
        ];
        for line in plain(template) {
            assert!(
                line.contains("{{") || known.contains(&line) || own.contains(&line.as_str()),
                "{template}: {line:?} is not in {manifest}"
            );
        }
    }
}

#[test]
fn the_seccomp_profile_allows_io_uring() {
    let path = folder("../seccomp.json");
    let profile: Value = serde_json::from_str(&read(&path)).unwrap();
    assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
    let rules = profile["syscalls"].as_array().unwrap();
    let allowed: BTreeSet<&str> = rules
        .iter()
        .filter(|rule| rule["action"] == "SCMP_ACT_ALLOW")
        .flat_map(|rule| rule["names"].as_array().unwrap())
        .filter_map(Value::as_str)
        .collect();
    for call in [
        "io_uring_setup",
        "io_uring_enter",
        "io_uring_register",
        "epoll_pwait",
        "sendmmsg",
        "connect",
    ] {
        assert!(allowed.contains(call), "{call}");
    }
}
