//! What `migrate` prints for whole files, and why it refuses others.

use super::*;

#[track_caller]
fn stdout(text: &str) -> String {
    let exit = migrate("f", text).unwrap();
    assert_eq!(exit.code, 0);
    exit.stdout
}

#[test]
fn a_corefile_is_printed_anew() {
    let exit = migrate("f", ". {\n proxy . 192.0.2.1\n import x.conf\n}\n").unwrap();
    assert!(
        exit.stdout.contains("\n forward . 192.0.2.1\n"),
        "{}",
        exit.stdout
    );
    let want = "f: 1 directive changed\n\
        f: what 'import x.conf' brings was not looked at; at start percoredns logs what is old in it\n";
    assert_eq!(exit.stderr, want);
    let same = ". {\n  forward . 192.0.2.1 # up\n}\n";
    let exit = migrate("f", same).unwrap();
    assert_eq!((exit.code, exit.stdout.as_str()), (0, same));
    assert_eq!(exit.stderr, "f: nothing is old, nothing was changed\n");
}

#[test]
fn one_file_is_asked_for() {
    for args in [&[][..], &["a", "b"]] {
        let exit = run(args.iter().map(OsString::from));
        assert_eq!(exit.code, 1);
        assert!(exit.stderr.contains("takes one file"), "{}", exit.stderr);
    }
    let exit = run([OsString::from("-x")]);
    assert_eq!(exit.code, 2);
    assert_eq!(run([OsString::from("-h")]).code, 0);
    let exit = run([OsString::from("/no/such/file")]);
    assert_eq!(exit.code, 1);
    assert_eq!(
        exit.stderr,
        "open /no/such/file: no such file or directory\n"
    );
}

#[test]
fn corefiles_are_no_config_maps() {
    for text in [
        "",
        ".:53 {\n log\n}",
        "# kind: ConfigMap\n. {\n}",
        "kind.example {\n}",
        "(kind) {\n}",
    ] {
        assert!(!is_config_map(text), "{text}");
    }
    for text in [
        "kind: ConfigMap",
        "a: b\n \"kind\" : \"ConfigMap\"",
        "{\"kind\":\"ConfigMap\"}",
        "---\nx: y",
    ] {
        assert!(is_config_map(text), "{text}");
    }
}

#[cfg(feature = "kubernetes")]
mod config_maps {
    use super::*;
    use crate::corefile::{self, Known, RealSource};

    const KUBE_DNS: &str = r#"apiVersion: v1
kind: ConfigMap
metadata:
  name: kube-dns
  namespace: kube-system
data:
  federations: |
    {"prod": "example.com"}
  stubDomains: |
    {"acme.local": ["192.0.2.1", "192.0.2.2:5353"], "b.example.": ["ns.acme.local"], "none.example": []}
  upstreamNameservers: |
    ["198.51.100.1", "198.51.100.2"]
"#;

    #[test]
    fn the_corefile_inside_is_migrated() {
        let yaml = "kind: ConfigMap\napiVersion: v1\ndata:\n  Corefile: |\n    .:53 {\n        proxy . /etc/resolv.conf\n    }\n";
        let want = ".:53 {\n    # migrated: 'proxy' was removed in CoreDNS 1.5.0, 'forward' takes its place\n    \
            forward . /etc/resolv.conf\n}\n";
        assert_eq!(stdout(yaml), want);
        let json = r#"{"apiVersion":"v1","kind":"ConfigMap","data":{"Corefile":".:53 {\n    proxy . /etc/resolv.conf\n}\n"}}"#;
        assert_eq!(stdout(json), want);
        let bad = yaml.replace(
            "/etc/resolv.conf",
            "192.0.2.1 {\n            spread\n        }",
        );
        let error = migrate("f", &bad).unwrap_err();
        assert!(error.starts_with("f:data.Corefile:3 - Error"), "{error}");
    }

    #[test]
    fn kube_dns_becomes_a_corefile() {
        let text = stdout(KUBE_DNS);
        let known = |_: &str| Known::Yes;
        let corefile = corefile::parse("f", &text, &known, &RealSource).unwrap();
        assert_eq!(corefile.warnings, [""; 0]);
        let forwards: Vec<(&str, Vec<&str>)> = corefile
            .blocks
            .iter()
            .map(|block| {
                let forward = block.directive("forward").unwrap();
                let words = forward.tokens.iter().map(|token| token.text.as_str());
                (block.keys[0].text.as_str(), words.collect())
            })
            .collect();
        let want = [
            (
                ".:53",
                vec![
                    "forward",
                    ".",
                    "198.51.100.1",
                    "198.51.100.2",
                    "{",
                    "max_concurrent",
                    "1000",
                    "}",
                ],
            ),
            (
                "acme.local:53",
                vec!["forward", ".", "192.0.2.1", "192.0.2.2:5353"],
            ),
            ("b.example:53", vec!["forward", ".", "ns.acme.local"]),
        ];
        assert_eq!(forwards, want);
        assert!(text.contains(r"rewrite continue name regex ^(.+\.[^.]+)\.prod\.svc\.(cluster\.local)\.$ {1}.svc.{2}. answer name "));
        assert_eq!(stdout(&text), text);
        // Nothing set: the node's name servers, no further blocks.
        let text = stdout("kind: ConfigMap\nmetadata: {name: kube-dns}\n");
        assert!(
            text.contains("    forward . /etc/resolv.conf {\n"),
            "{text}"
        );
        assert_eq!(text.matches(":53 {").count(), 1);
    }

    #[test]
    fn what_is_wrong_is_named() {
        #[track_caller]
        fn check(from: &str, to: &str, want: &str) {
            assert!(KUBE_DNS.contains(from), "{from}");
            let error = migrate("f", &KUBE_DNS.replace(from, to)).unwrap_err();
            assert!(error.starts_with(want), "{error}");
        }
        check(
            "kind: ConfigMap",
            "kind: List",
            "f - is of kind 'List'; save one ConfigMap with kubectl",
        );
        check("data:\n", "data: [\n", "f:");
        check(
            "  stubDomains",
            "  stubDomain",
            "f:data.stubDomain - neither CoreDNS",
        );
        check(
            "[\"198.51.100.1\"",
            "[198.51",
            "f:data.upstreamNameservers - ",
        );
        check(
            "acme.local\"",
            "acme local\"",
            "f:data.stubDomains - \"acme local\" is no domain name",
        );
        check(
            "acme.local\"",
            "a {\"",
            "f:data.stubDomains - \"a {\" is no domain name",
        );
        check(
            "\"192.0.2.1\"",
            "\"x\\n}\"",
            "f:data.stubDomains - \"x\\n}\" is neither",
        );
        check(
            "\"prod\"",
            "\"(prod\"",
            "f:data.federations - \"(prod\" is no domain name",
        );
        let many = format!("[{}\"198.51.100.1\"", "\"192.0.2.9\", ".repeat(15));
        check(
            "[\"198.51.100.1\"",
            &many,
            "f:data.upstreamNameservers - a list of more than 15",
        );
    }
}
