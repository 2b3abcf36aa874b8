use crate::plugin::autopath::Autopath;
use crate::telemetry::metrics::registry;
use crate::testing::Host;
use crate::testing::directive::set_up_error;
use crate::testing::files::Dir;
use crate::testing::host::check_seen;

/// Names for each way through the path, and a zone that denies all others with the name that was tried last.
const ROWS: &str = "
 template IN A . {
  match ^(one\\.first|two\\.second|late\\.third)\\.example\\.$
  match ^www\\.example\\.net\\.$
  answer \"{{ .Name }} 3600 IN A 192.0.2.1\"
  fallthrough
 }
 template IN AAAA second.example {
  match ^two\\.
  rcode NOERROR
  fallthrough
 }
 template IN TXT second.example {
  match ^text\\.
  answer \"{{ .Name }} 77 IN TXT found\"
  fallthrough
 }
 template IN A second.example {
  match ^broken\\.
  answer \"no record\"
  fallthrough
 }
 template IN A second.example {
  match ^(late|refused)\\.
  rcode SERVFAIL
  fallthrough
 }
 template IN ANY . {
  rcode NXDOMAIN
  authority \"{{ .Name }} 5 IN TXT denied\"
 }
";

struct Block {
    host: Host,
    _dir: Dir,
}

fn block(arguments: &str, rows: &str) -> Block {
    let dir = Dir::new();
    let search = "search first.example SECOND.example. third.example\n";
    let file = dir.write("resolv.conf", search);
    let arguments = arguments.replace("FILE", &file);
    let corefile = format!(".:53 {{\n autopath {arguments}\n{rows}}}\n");
    let host = Host::new(&corefile).unwrap_or_else(|error| panic!("{corefile}\n{error}"));
    Block { host, _dir: dir }
}

fn check_all(block: &Block, table: &[(&str, &str)]) {
    for (query, expect) in table {
        check_seen(&block.host.ask(query), query, expect);
    }
}

#[test]
fn the_path_of_a_file() {
    check_all(
        &block("FILE", ROWS),
        &[
            (
                "one.first.example. A",
                "rcode: NOERROR\nanswer: one.first.example. 3600 IN A 192.0.2.1",
            ),
            (
                "two.first.example. A",
                "rcode: NOERROR
                 answer: two.first.example. 3600 IN CNAME two.second.example.
                 answer: two.second.example. 3600 IN A 192.0.2.1
                 authority:",
            ),
            (
                "WWW.Example.NET.First.example. A bufsize=1232",
                "rcode: NOERROR
                 answer: WWW.Example.NET.First.example. 3600 IN CNAME www.example.net.
                 answer: www.example.net. 3600 IN A 192.0.2.1",
            ),
            (
                "two.first.example. A +tcp",
                "answer: two.first.example. 3600 IN CNAME two.second.example.
                 answer: two.second.example. 3600 IN A 192.0.2.1",
            ),
            (
                "text.first.example. TXT",
                "answer: text.first.example. 77 IN CNAME text.second.example.
                 answer: text.second.example. 77 IN TXT \"found\"",
            ),
            // The name exists, though not with such a record: the walk ends there.
            (
                "two.first.example. AAAA",
                "rcode: NOERROR\nanswer:\nauthority:",
            ),
        ],
    );
}

#[test]
fn what_is_not_found_and_what_is_not_asked_for() {
    check_all(
        &block("FILE", ROWS),
        &[
            (
                "no.first.example. A",
                "rcode: NXDOMAIN\nanswer:\nauthority: no.first.example. 5 IN TXT \"denied\"",
            ),
            // Below another element or none of them.
            (
                "two.second.example. A",
                "answer: two.second.example. 3600 IN A 192.0.2.1",
            ),
            ("one.second.example. A", "rcode: NXDOMAIN"),
            ("two.example. A", "rcode: NXDOMAIN"),
            ("twofirst.example. A", "rcode: NXDOMAIN"),
            ("first.example. A", "rcode: NXDOMAIN"),
            ("example. A", "rcode: NXDOMAIN"),
            (". A", "rcode: NXDOMAIN"),
        ],
    );
}

#[test]
fn failures_on_the_way() {
    check_all(
        &block("FILE", ROWS),
        &[
            // One that a plugin reports is the answer, one that it only tells by the rcode is not.
            ("broken.first.example. A", "rcode: SERVFAIL\nanswer:"),
            (
                "late.first.example. A",
                "answer: late.first.example. 3600 IN CNAME late.third.example.
                 answer: late.third.example. 3600 IN A 192.0.2.1",
            ),
            (
                "refused.first.example. A",
                "rcode: NXDOMAIN\nauthority: refused.first.example. 5 IN TXT \"denied\"",
            ),
        ],
    );
}

#[test]
fn names_that_grow_too_long_are_left_out() {
    let label = "a".repeat(60);
    // Below the short first element it is a name, below the long second it is none.
    let dir = Dir::new();
    let long = format!("{label}.{label}.{label}.example");
    let file = dir.write("resolv.conf", &format!("search x {long} third.example"));
    let rows = ROWS.replacen("|late", &format!("|{label}\\.{label}"), 1);
    let host = Host::new(&format!(".:53 {{\n autopath {file}\n{rows}}}\n")).unwrap();
    let seen = host.ask(&format!("{label}.{label}.x. A"));
    assert_eq!(seen.answer.len(), 2, "{seen:?}");
    assert!(seen.answer[1].ends_with("third.example. 3600 IN A 192.0.2.1"));
}

#[test]
fn only_names_in_its_zones() {
    let block = block("other.example first.example FILE", ROWS);
    check_seen(
        &block.host.ask("two.first.example. A"),
        "in a zone",
        "rcode: NOERROR",
    );
    let block = self::block("other.example FILE", ROWS);
    check_seen(
        &block.host.ask("two.first.example. A"),
        "in none",
        "rcode: NXDOMAIN",
    );
}

#[test]
fn paths_without_elements_do_nothing() {
    for text in ["", "search\n", "search .\n"] {
        let dir = Dir::new();
        let file = dir.write("resolv.conf", text);
        let host = Host::new(&format!(".:53 {{\n autopath {file}\n{ROWS}}}\n")).unwrap();
        check_seen(
            &host.ask("two.first.example. A"),
            text,
            "rcode: NXDOMAIN\nauthority: two.first.example. 5 IN TXT \"denied\"",
        );
    }
}

#[test]
fn the_question_comes_back_through_rewrite_and_the_cache() {
    let rows = format!(" rewrite name suffix .alias. .first.example. answer auto\n cache\n{ROWS}");
    let block = block("FILE", &rows);
    for _ in 0..2 {
        check_seen(
            &block.host.ask("two.alias. A"),
            "rewritten",
            "answer: two.alias. 3600 IN CNAME two.second.example.
             answer: two.second.example. 3600 IN A 192.0.2.1",
        );
    }
}

#[test]
fn what_the_first_element_is_right_for_takes_the_short_way() {
    let rows = " hosts {\n  192.0.2.1 one.first.example two.second.example\n }\n";
    let block = block("FILE", rows);
    let queries = [
        "one.first.example. A",
        "one.first.example. A bufsize=1232",
        "two.second.example. A",
    ];
    for (query, both) in queries.iter().zip(block.host.ask_both_ways(&queries)) {
        assert_eq!(both.short, Some(both.long), "{query}");
    }
}

#[test]
fn successes_are_counted_by_server() {
    let dir = Dir::new();
    let file = dir.write("resolv.conf", "search first.example second.example");
    let corefile = format!("dns://.:5399 {{\n autopath {file}\n{ROWS}}}\n");
    let host = Host::new(&corefile).unwrap();
    let labels = [("server", "dns://:5399")];
    let value = || {
        let value = registry().value("coredns_autopath_success_total", &labels);
        value.unwrap_or(0.0)
    };
    let counts = [
        ("two.first.example. A", 1.0),
        ("no.first.example. A", 1.0),
        ("two.second.example. A", 1.0),
        ("one.first.example. A", 2.0),
        ("broken.first.example. A", 2.0),
    ];
    for (query, expected) in counts {
        host.ask(query);
        assert_eq!(value(), expected, "{query}");
    }
    host.ask_both_ways(&["one.first.example. A"]);
    assert!(value() > 2.0);
}

#[test]
fn the_path_of_erratic() {
    let rows = " template IN ANY a.example.org {\n  rcode NXDOMAIN\n }\n erratic {\n  drop 0\n }\n";
    let block = block("@erratic", rows);
    check_all(
        &block,
        &[
            (
                "x.a.example.org. A",
                "answer: x.a.example.org. 0 IN CNAME x.b.example.org.
                 answer: x.b.example.org. 0 IN A 192.0.2.53",
            ),
            (
                "x.b.example.org. A",
                "answer: x.b.example.org. 0 IN A 192.0.2.53",
            ),
        ],
    );
}

#[test]
fn lines_that_are_wrong() {
    for (lines, expected) in [
        ("autopath", "no resolv-conf specified"),
        (
            "autopath /nowhere/resolv.conf",
            "failed to parse \"/nowhere/resolv.conf\": open /nowhere/resolv.conf: ",
        ),
        (
            "autopath example.org /nowhere/resolv.conf",
            "failed to parse \"/nowhere/resolv.conf\"",
        ),
    ] {
        let error = set_up_error::<Autopath>("autopath", lines);
        assert!(error.starts_with(expected), "{lines}: {error}");
    }
    let error = Host::new(".:53 {\n autopath @whoami\n whoami\n}\n").err();
    assert_eq!(
        error.as_deref(),
        Some("plugin/autopath: whoami does not implement the AutoPather interface")
    );
    // As CoreDNS has it, one that is not there does no harm.
    let host = Host::new(".:53 {\n autopath @kubernetes\n whoami\n}\n").unwrap();
    assert_eq!(host.ask("a.example. A").rcode, "NOERROR");
}

#[cfg(feature = "kubernetes")]
mod pods {
    use crate::kube::record::{Object, Reach, Service};
    use crate::testing::cluster::{Fixture, pod, service};

    const OUTSIDE: &str = "autopath @kubernetes
 hosts {
  192.0.2.1 www.example.net
  fallthrough
 }";

    fn objects() -> Vec<Object> {
        vec![
            Object::Namespace("shop".into()),
            Object::Namespace("bank".into()),
            Object::Service(service("shop", "web", &["10.96.0.1"])),
            Object::Service(service("bank", "web", &["10.96.0.2"])),
            Object::Service(service("bank", "vault", &["10.96.0.3"])),
            Object::Service(Service {
                reach: Reach::Elsewhere,
                external_name: "www.example.net".into(),
                ..service("shop", "alias", &[])
            }),
            pod("shop", "web-0", "10.1.0.1"),
            pod("bank", "web-0", "fd00:1::1"),
        ]
    }

    #[test]
    fn each_client_has_the_path_of_its_namespace() {
        Fixture::new(&objects(), "pods verified", OUTSIDE).check_all(&[
            (
                "web.shop.svc.cluster.local. A from=10.1.0.1",
                "answer: web.shop.svc.cluster.local. 5 IN A 10.96.0.1",
            ),
            (
                "vault.bank.shop.svc.cluster.local. A from=10.1.0.1",
                "rcode: NOERROR
                 answer: vault.bank.shop.svc.cluster.local. 5 IN CNAME vault.bank.svc.cluster.local.
                 answer: vault.bank.svc.cluster.local. 5 IN A 10.96.0.3",
            ),
            (
                "vault.bank.svc.shop.svc.cluster.local. A from=10.1.0.1",
                "answer: vault.bank.svc.shop.svc.cluster.local. 5 IN CNAME vault.bank.svc.cluster.local.
                 answer: vault.bank.svc.cluster.local. 5 IN A 10.96.0.3",
            ),
            (
                "www.example.net.shop.svc.cluster.local. A from=10.1.0.1",
                "answer: www.example.net.shop.svc.cluster.local. 3600 IN CNAME www.example.net.
                 answer: www.example.net. 3600 IN A 192.0.2.1",
            ),
            (
                "www.example.net.bank.svc.cluster.local. A from=fd00:1::1",
                "answer: www.example.net.bank.svc.cluster.local. 3600 IN CNAME www.example.net.
                 answer: www.example.net. 3600 IN A 192.0.2.1",
            ),
            // An alias in the first element needs no other, one further on has its own.
            (
                "alias.shop.svc.cluster.local. A from=10.1.0.1",
                "answer: alias.shop.svc.cluster.local. 5 IN CNAME www.example.net.
                 answer: www.example.net. 3600 IN A 192.0.2.1",
            ),
            (
                "alias.shop.bank.svc.cluster.local. A from=fd00:1::1",
                "answer: alias.shop.bank.svc.cluster.local. 5 IN CNAME alias.shop.svc.cluster.local.
                 answer: alias.shop.svc.cluster.local. 5 IN CNAME www.example.net.
                 answer: www.example.net. 3600 IN A 192.0.2.1",
            ),
            // The first element of somebody else's path, and what nobody's path leads to.
            ("www.example.net.bank.svc.cluster.local. A from=10.1.0.1", "rcode: NXDOMAIN"),
            ("vault.bank.shop.svc.cluster.local. A from=10.1.9.9", "rcode: NXDOMAIN"),
        ]);
    }

    #[test]
    fn without_verified_pods_it_does_nothing() {
        for options in ["", "pods insecure"] {
            Fixture::new(&objects(), options, OUTSIDE).check(
                "www.example.net.shop.svc.cluster.local. A from=10.1.0.1",
                "rcode: NXDOMAIN",
            );
        }
        Fixture::unsynced("pods verified", OUTSIDE).check(
            "www.example.net.shop.svc.cluster.local. A from=10.1.0.1",
            "rcode: SERVFAIL",
        );
    }

    #[test]
    fn names_in_the_cluster_are_found_without_the_long_way() {
        let fixture = Fixture::new(&objects(), "pods verified", "autopath @kubernetes");
        let query = "web.shop.svc.cluster.local. A from=10.1.0.1";
        let both = fixture.host.ask_both_ways(&[query]).remove(0);
        assert_eq!(both.short, Some(both.long));
    }
}
