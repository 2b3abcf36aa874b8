//! Old directives, what the parser makes of them and what `migrate` prints.

use super::*;
use crate::corefile::tests::{FakeSource, parse_all, show};
use crate::corefile::{self, Known};

/// What the parser makes of a block of these directives, without the block's key, and its warnings.
#[track_caller]
fn check(directives: &str, want: &str, warnings: &[&str]) {
    let text = format!("example.org {{\n{directives}\n}}\n");
    let corefile = parse_all(&text, &FakeSource::default()).unwrap();
    assert_eq!(show(&corefile), format!("[example.org]{want}"), "{text}");
    assert_eq!(corefile.warnings, warnings, "{text}");
    // What `migrate` prints means the same, and holds nothing old.
    let migrated = migrate("Corefile", &text).unwrap();
    assert_eq!(migrated.changes, warnings.len(), "{}", migrated.text);
    let again = parse_all(&migrated.text, &FakeSource::default()).unwrap();
    assert_eq!(again.warnings, [""; 0], "{}", migrated.text);
    assert_eq!(again.digest(), corefile.digest(), "{}", migrated.text);
    let third = migrate("Corefile", &migrated.text).unwrap();
    assert_eq!((third.changes, third.text), (0, migrated.text));
}

const PROXY: &str = "plugin/proxy: Corefile:2 - deprecated: 'proxy' was removed in CoreDNS 1.5.0, 'forward' takes its place";

/// The warning of a `proxy` on line 2 with these notes besides.
fn proxy(notes: &[&str]) -> String {
    let mut text = PROXY.to_owned();
    for note in notes {
        text = text + "; " + note;
    }
    text
}

#[test]
fn proxy_is_forward() {
    let upstreams = " forward=forward,.,/etc/resolv.conf,192.0.2.1:5353";
    let head = "proxy . /etc/resolv.conf 192.0.2.1:5353";
    let one = |option: &str, want: &str, notes: &[&str]| {
        let text = format!("{head} {{\n {option}\n}}");
        check(&text, &format!("{upstreams}{want}"), &[&proxy(notes)]);
    };
    check(head, upstreams, &[PROXY]);
    check(
        &format!("{head} {{\n}}"),
        &format!("{upstreams},{{/}}"),
        &[PROXY],
    );
    one("except a.org b.org", ",{/except,a.org,b.org/}", &[]);
    one("max_fails 3", ",{/max_fails,3/}", &[]);
    one("policy random", ",{/policy,random/}", &[]);
    one("policy round_robin", ",{/policy,round_robin/}", &[]);
    one(
        "policy first",
        ",{/policy,sequential/}",
        &["policy 'first' is called 'sequential'"],
    );
    one(
        "policy least_conn",
        ",{/policy,random/}",
        &["'forward' has no policy 'least_conn', 'random' takes its place"],
    );
    one(
        "spray",
        "",
        &["'spray' is what 'forward' does anyway when all upstreams are down"],
    );
    one(
        "protocol dns",
        "",
        &["'protocol dns' is what 'forward' speaks anyway"],
    );
    one(
        "protocol dns force_tcp",
        ",{/force_tcp/}",
        &["'protocol dns force_tcp' is called 'force_tcp'"],
    );
    one(
        "fail_timeout 10s\n health_check /health:8080 10s\n max_fails 1",
        ",{/max_fails,1/}",
        &[
            "'forward' has no 'fail_timeout': an upstream that is down is used again as soon as it answers a probe",
            "'forward' does not ask the upstream's HTTP health page: it probes an upstream that fails with DNS queries",
        ],
    );
}

#[test]
fn the_longest_zone_of_proxy_stays_first() {
    let other = PROXY.replace(":2", ":4");
    let third = PROXY.replace(":2", ":5");
    check(
        "proxy . 192.0.2.1 {\n}\nproxy a.example.org 192.0.2.2\nproxy b.org 192.0.2.3",
        " forward=forward,a.example.org,192.0.2.2/forward,b.org,192.0.2.3/forward,.,192.0.2.1,{/}",
        &[PROXY, &other, &third],
    );
}

#[test]
fn what_has_no_equivalent_is_an_error() {
    #[track_caller]
    fn check(text: &str, want: &str) {
        let error = parse_all(text, &FakeSource::default()).unwrap_err();
        assert_eq!(error.to_string(), want, "{text}");
        let error = migrate("Corefile", text).unwrap_err();
        assert_eq!(error.to_string(), want, "{text}");
    }
    check(
        ". {\n proxy . 8.8.8.8 {\n  protocol https_google\n }\n}",
        "Corefile:3 - Error during parsing: 'protocol https_google' of 'proxy' is gone, as is Google's service; \
         remove the line to ask the upstreams in plain DNS",
    );
    check(
        ". {\n proxy . 192.0.2.1:443 {\n  protocol grpc insecure\n }\n}",
        "Corefile:3 - Error during parsing: 'protocol grpc' of 'proxy' became the directive 'grpc', which is not built into \
         percoredns yet; remove the line if the upstreams answer plain DNS too",
    );
    check(
        ". {\n proxy . 192.0.2.1 {\n  policy best\n }\n}",
        "Corefile:3 - Error during parsing: 'proxy' has no 'policy best'; replace 'proxy' by 'forward' and use its options",
    );
    check(
        ". {\n proxy . 192.0.2.1 {\n  max_concurrent 5\n }\n}",
        "Corefile:3 - Error during parsing: 'proxy' has no option 'max_concurrent'; \
         replace 'proxy' by 'forward' and use its options",
    );
    check(
        ". {\n federation cluster.local {\n  prod\n }\n}",
        "Corefile:3 - Error during parsing: a line of 'federation' is a name and its domain",
    );
    let names: String = (0..65).map(|i| format!("  n{i} example.org\n")).collect();
    check(
        &format!(". {{\n federation cluster.local {{\n{names} }}\n}}"),
        "Corefile:2 - Error during parsing: federation with more than 64 zones or names",
    );
}

#[test]
fn federations_of_this_cluster_are_rewritten() {
    let note = "plugin/federation: Corefile:2 - deprecated: 'federation' was removed in CoreDNS 1.7.0; 'rewrite' takes its place \
         for services of this cluster, names of services that only other clusters have, a CNAME before, are NXDOMAIN now";
    check(
        "federation cluster.local 10.0.0.0/8 {\n prod example.com\n Stage.x example.net\n upstream\n}",
        r" rewrite=rewrite,continue,name,regex,^(.+\.[^.]+)\.prod\.svc\.(cluster\.local|10\.in\-addr\.arpa)\.$,{1}.svc.{2}.,answer,name,^(.+)\.svc\.(cluster\.local|10\.in\-addr\.arpa)\.$,{1}.prod.svc.{2}./rewrite,continue,name,regex,^(.+\.[^.]+)\.stage\.x\.svc\.(cluster\.local|10\.in\-addr\.arpa)\.$,{1}.svc.{2}.,answer,name,^(.+)\.svc\.(cluster\.local|10\.in\-addr\.arpa)\.$,{1}.stage.x.svc.{2}.",
        &[note],
    );
    check(
        "federation {\n f example.com\n}",
        r" rewrite=rewrite,continue,name,regex,^(.+\.[^.]+)\.f\.svc\.(example\.org)\.$,{1}.svc.{2}.,answer,name,^(.+)\.svc\.(example\.org)\.$,{1}.f.svc.{2}.",
        &[note],
    );
    check("federation . {\n f example.com\n}", "", &[note]);
    check("federation cluster.local", "", &[note]);
}

const UPSTREAM: &str = "option 'upstream' was removed in CoreDNS 1.7.0: targets of ExternalName services are looked up through this server";
const RESYNC: &str = "option 'resyncperiod' was removed in CoreDNS 1.7.0: the API server sends every change when it happens";
const TRANSFER: &str = "option 'transfer to' became the directive 'transfer' in CoreDNS 1.8.0, which is not built into percoredns yet: \
     the zone is not transferred and no NOTIFY is sent";

#[test]
fn options_that_are_gone_are_dropped() {
    check(
        "kubernetes cluster.local {\n resyncperiod 5m\n pods insecure\n upstream 192.0.2.1 192.0.2.2\n transfer to *\n}",
        " kubernetes=kubernetes,cluster.local,{/pods,insecure/}",
        &[&format!(
            "plugin/kubernetes: Corefile:3 - deprecated: {RESYNC}; {UPSTREAM}; {TRANSFER}"
        )],
    );
    check(
        "kubernetes cluster.local {\n upstream\n}",
        " kubernetes=kubernetes,cluster.local",
        &[&format!(
            "plugin/kubernetes: Corefile:3 - deprecated: {UPSTREAM}"
        )],
    );
    check(
        "file db.example.org {\n no_reload\n transfer to 192.0.2.1\n upstream\n}",
        " file=file,db.example.org,{/reload,0/upstream/}",
        &[&format!(
            "plugin/file: Corefile:3 - deprecated: option 'no_reload' is written 'reload 0'; {TRANSFER}"
        )],
    );
    check(
        "secondary {\n transfer from 192.0.2.1\n transfer to 192.0.2.2\n}",
        " secondary=secondary,{/transfer,from,192.0.2.1/}",
        &[&format!(
            "plugin/secondary: Corefile:4 - deprecated: {TRANSFER}"
        )],
    );
    // What is current stays, also where a word of another directive's old form is in it.
    check(
        "forward . 192.0.2.1 {\n policy random\n}",
        " forward=forward,.,192.0.2.1,{/policy,random/}",
        &[],
    );
    check(
        "template IN A {\n upstream\n}",
        " template=template,IN,A,{/upstream/}",
        &[],
    );
}

#[test]
fn what_takes_the_place_must_be_built() {
    let known = |name: &str| match name {
        "forward" => Known::NotBuilt,
        _ => Known::Yes,
    };
    let parsed = corefile::parse(
        "Corefile",
        ".\nproxy . 192.0.2.1",
        &known,
        &FakeSource::default(),
    );
    let error = parsed.unwrap_err().to_string();
    assert!(error.starts_with("Corefile:2 - "), "{error}");
    assert!(
        error.contains("'forward' is part of CoreDNS but not built"),
        "{error}"
    );
}

#[test]
fn warnings_name_the_snippet_s_line() {
    let text = "(up) {\n proxy . 192.0.2.1\n}\na.org {\n import up\n}\nb.org {\n import up\n}\n";
    let corefile = parse_all(text, &FakeSource::default()).unwrap();
    assert_eq!(corefile.warnings, [PROXY, PROXY]);
    let migrated = migrate("Corefile", text).unwrap();
    assert_eq!(migrated.changes, 1);
    assert_eq!(migrated.imports, [""; 0]);
}

// === the text ===

#[track_caller]
fn check_text(text: &str, want: &str) {
    let migrated = migrate("Corefile", text).unwrap();
    assert_eq!(migrated.text, want);
    assert_eq!(migrate("Corefile", want).unwrap().text, want);
}

#[test]
fn layout_and_comments_stay() {
    check_text(
        "\u{feff}# head\r\n. {   # the root\r\n\tproxy   .  192.0.2.1 { # here\r\n\t\tspray # why\r\n\t\tpolicy  first # one\r\n\t}\r\n\r\n\tlog\r\n}\r\n# tail",
        "\u{feff}# head\r\n. {   # the root\r\n\t# migrated: 'proxy' was removed in CoreDNS 1.5.0, 'forward' takes its place\n\
         \tforward   .  192.0.2.1 { # here\r\n\
         \t\t# migrated: 'spray' is what 'forward' does anyway when all upstreams are down\n\t\t# why\r\n\
         \t\t# migrated: policy 'first' is called 'sequential'\n\t\tpolicy  sequential # one\r\n\t}\r\n\r\n\tlog\r\n}\r\n# tail",
    );
    // A comment never lands inside a quoted word, though its line break does.
    check_text(
        "a {\n log . \"x\n{remote}\"\n proxy . 192.0.2.1\n}",
        "a {\n log . \"x\n{remote}\"\n # migrated: 'proxy' was removed in CoreDNS 1.5.0, 'forward' takes its place\n forward . 192.0.2.1\n}",
    );
    // No braces around the only block, keys on several lines, the environment.
    check_text(
        "a.org,\nb.org:{$PORT}\nproxy {$FROM} {$TO}",
        "a.org,\nb.org:{$PORT}\n# migrated: 'proxy' was removed in CoreDNS 1.5.0, 'forward' takes its place\nforward {$FROM} {$TO}",
    );
    check_text("", "");
    check_text("# nothing\n", "# nothing\n");
}

#[test]
fn directives_change_places_with_their_comments() {
    let note = "# migrated: 'proxy' was removed in CoreDNS 1.5.0, 'forward' takes its place";
    check_text(
        ". {\n  proxy . 192.0.2.1 {\n    except a\n  }\n  # of the company\n  proxy b.org 192.0.2.2\n  log\n}\n",
        &format!(
            ". {{\n  {note}\n  {MOVED}\n  forward b.org 192.0.2.2\n  # of the company\n  {note}\n  {MOVED}\n  \
             forward . 192.0.2.1 {{\n    except a\n  }}\n  log\n}}\n"
        ),
    );
}

#[test]
fn what_cannot_move_is_an_error() {
    let text = ". { proxy . 192.0.2.1\n proxy b.org 192.0.2.2\n}\n";
    let error = migrate("Corefile", text).unwrap_err().to_string();
    assert!(error.starts_with("Corefile:1 - "), "{error}");
    assert!(error.ends_with("put each on lines of its own"), "{error}");
}

#[test]
fn what_would_mean_something_else_is_an_error() {
    for text in [
        // The last brace is the directive's, and the block's own is missing.
        ". { federation a {\n}\n",
        ". {\n proxy . 192.0.2.1\n forward . 192.0.2.2\n}\n",
    ] {
        let error = migrate("Corefile", text).unwrap_err().to_string();
        assert!(
            error.starts_with("Corefile: what is old in it cannot be changed"),
            "{error}"
        );
    }
}

#[test]
fn imports_of_files_are_named() {
    let text = "import top\n(s) {\n log\n}\n. {\n import s\n import conf/*.conf\n hosts {\n  import inline\n }\n}\n";
    let migrated = migrate("Corefile", text).unwrap();
    assert_eq!(migrated.text, text);
    assert_eq!(migrated.imports, ["top", "conf/*.conf", "inline"]);
}

const MOVED: &str = "# migrated: moved, for the first 'forward' that matches is taken, and of 'proxy' the one with the longest zone";

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 512, failure_persistence: None, ..Default::default() })]
    /// Whatever the text, `migrate` does not panic, and what it prints holds nothing old.
    #[test]
    fn any_text_is_migrated_once(words in proptest::collection::vec(proptest::sample::select(WORDS), 0..40)) {
        let text = words.concat();
        if let Ok(once) = migrate("Corefile", &text) {
            let again = migrate("Corefile", &once.text);
            let again = again.map_err(|error| format!("{error}\n{text}\n{}", once.text)).unwrap();
            proptest::prop_assert_eq!((again.changes, &again.text), (0, &once.text), "{}", text);
            let known = |_: &str| Known::Yes;
            let parse = |text: &str| corefile::parse("Corefile", text, &known, &FakeSource::default());
            if let (Ok(before), Ok(after)) = (parse(&text), parse(&once.text)) {
                proptest::prop_assert_eq!(after.warnings.len(), 0);
                proptest::prop_assert_eq!(before.blocks.len(), after.blocks.len());
            }
        }
    }
}

const WORDS: &[&str] = &[
    "proxy ",
    "federation ",
    "kubernetes ",
    "file ",
    "upstream ",
    "no_reload ",
    "transfer to x ",
    "policy first ",
    "spray ",
    "{ ",
    "{\n",
    "}\n",
    "} ",
    "\n",
    "\n",
    "\n",
    ". ",
    "a.org ",
    "b.c.org ",
    "\"q\n\" ",
    "\"\" ",
    "# c\n",
    "#c ",
    "(s) ",
    "import s ",
    "import ",
    ", ",
    "\r\n",
    "é ",
    "protocol dns force_tcp ",
    "x y\n",
];
