//! `percoredns migrate`, and servers that start on old Corefiles.

use std::process::Command;

use crate::client;
use crate::server::{BINARY, Folder, Server};
use crate::upstream::Upstream;

/// The Corefile that kubeadm installed with Kubernetes 1.11.
pub const KUBEADM_1_11: &str = ".:53 {
    errors
    health
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
       upstream
       fallthrough in-addr.arpa ip6.arpa
    }
    prometheus :9153
    proxy . /etc/resolv.conf
    cache 30
    reload
}
";

const MIGRATED: &str = ".:53 {
    errors
    health
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
       # migrated: option 'upstream' was removed in CoreDNS 1.7.0: targets of ExternalName services are looked up through this server
       fallthrough in-addr.arpa ip6.arpa
    }
    prometheus :9153
    # migrated: 'proxy' was removed in CoreDNS 1.5.0, 'forward' takes its place
    forward . /etc/resolv.conf
    cache 30
    reload
}
";

/// Exit code, standard output and standard error of `percoredns migrate` on this text.
fn migrate(text: &str) -> (Option<i32>, String, String) {
    let folder = Folder::new();
    folder.write("old", text);
    let mut command = Command::new(BINARY);
    let done = command.args(["migrate", "old"]).current_dir(folder.path());
    let done = done.output().expect("the binary starts");
    let text = |octets| String::from_utf8(octets).expect("UTF-8");
    (done.status.code(), text(done.stdout), text(done.stderr))
}

#[test]
fn the_first_corefile_of_kubeadm_is_migrated_once() {
    let (code, text, notes) = migrate(KUBEADM_1_11);
    assert_eq!((code, text.as_str()), (Some(0), MIGRATED));
    assert_eq!(notes, "old: 2 directives changed\n");
    let (code, text, notes) = migrate(&text);
    assert_eq!((code, text.as_str()), (Some(0), MIGRATED));
    assert_eq!(notes, "old: nothing is old, nothing was changed\n");
}

#[test]
fn an_error_has_its_place_and_prints_no_corefile() {
    let old = ". {\n    proxy . 8.8.8.8 {\n        protocol https_google\n    }\n}\n";
    let (code, text, notes) = migrate(old);
    assert_eq!((code, text.as_str()), (Some(1), ""));
    assert!(
        notes.starts_with("old:3 - Error during parsing: 'protocol https_google'"),
        "{notes}"
    );
}

#[test]
fn proxy_answers_and_says_that_it_is_old() {
    let upstream = Upstream::start();
    let old = format!(
        ".:0 {{\n    proxy . {} {{\n        policy first\n        fail_timeout 5s\n    }}\n}}\n",
        upstream.addr
    );
    let server = Server::start(&old);
    let warnings = || {
        let lines = server.lines().into_iter();
        let lines = lines.filter(|line| line.contains("deprecated"));
        lines.collect::<Vec<_>>()
    };
    let before = warnings();
    assert_eq!(before.len(), 1, "{before:?}");
    let start = "[WARNING] plugin/proxy: Corefile:2 - deprecated: 'proxy' was removed in CoreDNS 1.5.0, 'forward' takes its place; ";
    assert!(before[0].starts_with(start), "{before:?}");
    let reply = server.ask("www.example.org A");
    assert_eq!(reply.answer, ["www.example.org. 60 IN A 192.0.2.77"]);
    // A reload says it again, until the file is migrated.
    let outcome = server.reload(&format!("{old}# changed\n"));
    assert_eq!(outcome, "[INFO] Reloading complete");
    assert_eq!(warnings().len(), 2);
    let (_, new, _) = migrate(&old);
    assert_eq!(server.reload(&new), "[INFO] Reloading complete");
    assert_eq!(warnings().len(), 2);
}

#[test]
fn a_federated_name_of_this_cluster_is_answered() {
    let server = Server::start(
        "cluster.local:0 {\n    federation cluster.local {\n        prod example.com\n    }\n    \
         hosts {\n        192.0.2.5 web.shop.svc.cluster.local\n        192.0.2.6 web.prod.svc.cluster.local\n        no_reverse\n    }\n}\n",
    );
    server.wait_for(|line| {
        line.starts_with("[WARNING] plugin/federation: Corefile:2 - deprecated: ")
    });
    let addr = server.addr("cluster.local.:");
    for (name, answer) in [
        ("Web.shop.PROD.svc.cluster.local", "192.0.2.5"),
        ("web.shop.svc.cluster.local", "192.0.2.5"),
        // A namespace that is called like the federation.
        ("web.prod.svc.cluster.local", "192.0.2.6"),
    ] {
        let reply = client::udp(addr, &format!("{name} A"));
        let owner = reply
            .answer
            .first()
            .and_then(|record| record.split(' ').next());
        let owner = owner.unwrap_or_default().to_lowercase();
        assert_eq!(owner, format!("{}.", name.to_lowercase()), "{reply:?}");
        assert!(reply.answer[0].ends_with(answer), "{reply:?}");
    }
}
