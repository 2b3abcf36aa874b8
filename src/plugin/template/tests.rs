//! Tests of *template*.

use super::*;
use crate::testing::directive::set_up_error;
use crate::testing::{Host, Seen, check_seen};

/// A block `. { metadata; template IN A example.org { LINES } whoami }` and what it answers.
fn ask(lines: &str, query: &str) -> Seen {
    ask_all(&format!("template IN A example.org {{\n{lines}\n}}"), query)
}

fn ask_all(templates: &str, query: &str) -> Seen {
    let corefile = format!(".:53 {{\n metadata\n errors\n {templates}\n whoami\n}}\n");
    Host::new(&corefile)
        .unwrap_or_else(|e| panic!("{corefile}\n{e}"))
        .ask(query)
}

fn check(lines: &str, query: &str, expect: &str) {
    check_seen(&ask(lines, query), lines, expect);
}

const PATTERN: &str = r"match ^ip-(?P<a>[0-9]*)-(?P<b>[0-9]*)[.]example[.]org[.]$";

#[test]
fn records_from_groups() {
    check(
        &format!(
            "{PATTERN}\n answer \"{{{{ .Name }}}} 60 IN A 10.0.{{{{ .Group.a }}}}.{{{{ .Group.b }}}}\""
        ),
        "IP-7-8.Example.org A",
        "rcode: NOERROR\nflags: qr aa rd\nanswer: IP-7-8.Example.org. 60 IN A 10.0.7.8",
    );
    check(
        &format!(
            "{PATTERN}\n answer \"x. A 10.0.{{{{ index .Match 1 }}}}.{{{{ index .Group \\\"2\\\" }}}}\""
        ),
        "ip-7-8.example.org A",
        "answer: x. 3600 IN A 10.0.7.8",
    );
    check(
        "match (.*)-(?P<n>[0-9a-f]+)[.]example[.]org[.]\nanswer \"{{ .Name }} 60 IN A 10.0.0.{{ parseInt .Group.n 16 16 }}\"",
        "x-0a.example.org A",
        "answer: x-0a.example.org. 60 IN A 10.0.0.10",
    );
}

#[test]
fn all_fields_are_there() {
    let value = |template: &str| {
        let lines = format!("var v 1 + 1\n answer \"t. 0 TXT \\\"{template}\\\"\"");
        let seen = ask(&lines, "A.example.org A from=192.0.2.7");
        seen.answer
            .first()
            .unwrap_or_else(|| panic!("{template}: {seen:?}"))
            .clone()
    };
    let check = |template: &str, expect: &str| {
        assert_eq!(
            value(template),
            format!("t. 0 IN TXT \"{expect}\""),
            "{template}"
        );
    };
    check(
        "{{ .Zone }} {{ .Name }} {{ .Class }} {{ .Type }}",
        "example.org. a.example.org. IN A",
    );
    check("{{ .Regex }} {{ .Remote }} {{ .Var.v }}", ".* 192.0.2.7 2");
    check(
        "{{ .Question.Name }} {{ .Question.Qtype }} {{ .Question.Qclass }}",
        "A.example.org. 1 1",
    );
    check(
        "{{ .Message.Id }} {{ .Message.RecursionDesired }} {{ .Message.Opcode }}",
        "29008 true 0",
    );
    check(
        "{{ .Message.CheckingDisabled }}{{ .Message.Rcode }}",
        "false0",
    );
    check(
        "{{ len .Match }} {{ len .Group }} {{ .Group.zz }}",
        "1 1 <no value>",
    );
    check(
        "{{ .Meta `no/such` }}|{{ range $k, $v := .Group }}{{ $k }}={{ $v }}{{ end }}",
        "|0=a.example.org.",
    );
}

#[test]
fn metadata_reaches_templates() {
    let seen = ask_all(
        "view here {\n expr true\n }\n template IN A {\n answer \"t. 0 TXT {{ .Meta `view/name` }}\"\n }",
        "a. A",
    );
    assert_eq!(seen.answer, ["t. 0 IN TXT \"here\""]);
}

#[test]
fn all_sections_and_several_templates() {
    check(
        "answer \"a. 1 A 192.0.2.1\" \"a. 1 A 192.0.2.2\"\n answer \"a. 1 A 192.0.2.3\"
         additional \"b. 1 A 192.0.2.4\"\n authority \"c. 1 NS d.\"",
        "x.example.org A",
        "answer: a. 1 IN A 192.0.2.1
         answer: a. 1 IN A 192.0.2.2
         answer: a. 1 IN A 192.0.2.3
         authority: c. 1 IN NS d.
         additional: b. 1 IN A 192.0.2.4",
    );
}

#[test]
fn zones_classes_and_types() {
    let answer = "answer \"t. 1 A 192.0.2.1\"";
    let seen = ask(answer, "a.test A");
    assert_eq!(seen.additional.len(), 2, "whoami: {seen:?}");
    // Another type or class is the next plugin's too.
    assert!(ask(answer, "a.example.org TXT").answer.is_empty());
    assert_eq!(ask(answer, "a.example.org ANY").answer.len(), 1);
    let any = format!("template ANY ANY {{\n{answer}\n}}");
    assert_eq!(ask_all(&any, "a.test TXT").answer.len(), 1);
    let chaos = "template CH TXT {\n answer \"{{ .Name }} 0 CH TXT {{ .Class }}\"\n }";
    assert!(ask_all(chaos, "a.test TXT").answer.is_empty());
    // The longest zone is the one that is told.
    let zones = "template IN A org example.org {\n answer \"t. 1 TXT {{ .Zone }}\"\n }";
    assert_eq!(
        ask_all(zones, "a.example.org A").answer,
        ["t. 1 IN TXT \"example.org.\""]
    );
}

#[test]
fn no_match_is_a_failure_or_falls_through() {
    let lines = "match ^yes\n answer \"t. 1 A 192.0.2.1\"";
    check(
        lines,
        "yes.example.org A",
        "rcode: NOERROR\nanswer: t. 1 IN A 192.0.2.1",
    );
    check(lines, "no.example.org A", "rcode: SERVFAIL\nanswer:");
    let seen = ask(&format!("{lines}\n fallthrough"), "no.example.org A");
    assert_eq!((seen.rcode.as_str(), seen.additional.len()), ("NOERROR", 2));
    let some = format!("{lines}\n fallthrough no.example.org");
    assert_eq!(ask(&some, "no.example.org A").rcode, "NOERROR");
    assert_eq!(ask(&some, "other.example.org A").rcode, "SERVFAIL");
    let two = "template IN A {\n match ^a\n answer \"a. 1 A 192.0.2.1\"\n fallthrough\n }
        template IN A {\n match ^b ^c\n answer \"b. 1 A 192.0.2.1\"\n }";
    assert_eq!(ask_all(two, "a. A").answer, ["a. 1 IN A 192.0.2.1"]);
    assert_eq!(ask_all(two, "c. A").answer, ["b. 1 IN A 192.0.2.1"]);
    assert_eq!(ask_all(two, "d. A").rcode, "SERVFAIL");
}

#[test]
fn variables_and_conditions() {
    let lines = "match ^(?P<host>.*)-(.*)[.]example[.]org[.]$
        var host group('host') + '.' + group(2)
        var shout upper(host)
        expr incidr(client_ip(), '127.0.0.0/8')
        expr group('none') == '' and group(9) == ''
        answer \"{{ .Var.host }}. 1 TXT {{ .Var.shout }}\"";
    check(
        lines,
        "a-b.example.org A",
        "rcode: NOERROR\nanswer: a.b. 1 IN TXT \"A.B\"",
    );
    check(
        lines,
        "a-b.example.org A from=192.0.2.1",
        "rcode: SERVFAIL\nanswer:",
    );
    // An error in a condition is no match, in a variable a failure.
    check(
        "expr incidr('x', '::/0')\n answer \"a. 1 A 192.0.2.1\"",
        "x.example.org A",
        "rcode: SERVFAIL",
    );
    check(
        "var x int(name())\n answer \"a. 1 A 192.0.2.1\"",
        "x.example.org A",
        "rcode: SERVFAIL",
    );
}

#[test]
fn rcodes_and_extended_errors() {
    check(
        "rcode NXDOMAIN",
        "x.example.org A",
        "rcode: NXDOMAIN\nflags: qr aa rd\nanswer:",
    );
    check(
        "rcode REFUSED",
        "x.example.org A",
        "rcode: REFUSED\nflags: qr aa rd",
    );
    // Nothing is written, so the server answers: no AA.
    check(
        "rcode SERVFAIL\n answer \"{{ .Nope }}\"",
        "x.example.org A",
        "rcode: SERVFAIL\nflags: qr rd\nanswer:",
    );
    let seen = ask(
        "rcode NXDOMAIN\n ederror 21 \"not here\"",
        "x.example.org A bufsize=1232",
    );
    assert_eq!(
        seen.opt,
        Some((1232, false, vec![(15, b"\0\x15not here".to_vec())]))
    );
    let seen = ask("ederror 21", "x.example.org A");
    assert_eq!(
        seen.opt.map(|opt| opt.2),
        Some(vec![(15, b"\0\x15".to_vec())])
    );
}

#[test]
fn failures_are_counted_and_logged() {
    let value = |name: &str, template: &str| {
        let labels = [
            ("server", "dns://:53"),
            ("zone", "example.org."),
            ("view", ""),
            ("class", "IN"),
            ("type", "A"),
            ("section", "answer"),
            ("template", template),
        ];
        registry().value(name, &labels).unwrap_or(0.0)
    };
    check(
        "answer \"{{ .Nope }}\"",
        "x.example.org A",
        "rcode: SERVFAIL",
    );
    assert_eq!(value(TEMPLATE_FAILURES, "{{ .Nope }}"), 1.0);
    check(
        "answer \"x. A {{ .Name }}\"",
        "x.example.org A",
        "rcode: SERVFAIL",
    );
    assert_eq!(value(RECORD_FAILURES, "x. A {{ .Name }}"), 1.0);
    let labels = [
        ("server", "dns://:53"),
        ("zone", "example.org."),
        ("view", ""),
        ("class", "IN"),
        ("type", "A"),
    ];
    assert!(
        registry()
            .value("coredns_template_matches_total", &labels)
            .is_some_and(|count| count >= 2.0)
    );
}

#[test]
fn cnames_are_followed_on_this_server() {
    let templates = "template IN ANY alias.test {
            answer \"{{ .Name }} 5 CNAME host.test.\"
        }
        template IN ANY host.test {
            answer \"{{ .Name }} 5 A 192.0.2.1\"
        }";
    let cname = "alias.test. 5 IN CNAME host.test.";
    assert_eq!(
        ask_all(templates, "alias.test A").answer,
        [cname, "host.test. 5 IN A 192.0.2.1"]
    );
    assert_eq!(ask_all(templates, "alias.test TXT").answer, [cname]);
    // In circles it ends, with as many as were found.
    let circle = "template IN A {\n answer \"{{ .Name }} 5 CNAME x{{ .Name }}\"\n }";
    let seen = ask_all(circle, "a.test A");
    assert_eq!(seen.rcode, "NOERROR");
    assert!(seen.answer.len() > 1 && seen.answer.len() < 20, "{seen:?}");
}

#[test]
fn mistakes_are_refused() {
    let check = |lines: &str, expect: &str| {
        let error = set_up_error::<Template>("template", lines);
        assert!(error.contains(expect), "{lines}: {error}");
    };
    let within = |line: &str| format!("template IN A {{\n{line}\n}}");
    check(
        "template",
        "Wrong argument count or unexpected line ending after 'template'",
    );
    check(
        "template IN",
        "Wrong argument count or unexpected line ending after 'IN'",
    );
    check("template XX A", "invalid query class XX");
    check("template IN XX", "invalid RR class XX");
    for option in [
        "match",
        "answer",
        "additional",
        "authority",
        "var",
        "var x",
        "expr",
        "rcode",
        "ederror",
        "ederror 1 2 3",
        "foo",
    ] {
        check(
            &within(option),
            "Wrong argument count or unexpected line ending",
        );
    }
    check(
        &within("match ("),
        "could not parse regex: (, error parsing regexp: missing closing ): `(`",
    );
    check(
        &within(&format!("match {}", "a".repeat(10_001))),
        "regex pattern too long: 10001 > 10000",
    );
    check(
        &within("answer \"{{ .Name\""),
        "could not compile template: {{ .Name, template: answer:1: unclosed action",
    );
    check(
        &within("authority \"{{ foo }}\""),
        "template: authority:1: function \"foo\" not defined",
    );
    check(&within("var 1x 1"), "invalid variable name \"1x\"");
    check(&within("var name 1"), "variable name \"name\" is reserved");
    check(
        &within("var group 1"),
        "variable name \"group\" is reserved",
    );
    check(&within("var len 1"), "variable name \"len\" is reserved");
    check(
        &within("var x 1\nvar x 2"),
        "variable name \"x\" is reserved",
    );
    check(
        &within("var x y"),
        "could not compile expression: x, unknown name y (1:1)",
    );
    check(
        &within("expr y"),
        "could not compile expression: unknown name y (1:1)",
    );
    check(
        &within("var x 1\nexpr x == 'a'"),
        "mismatched types int and string",
    );
    check(&within("rcode FOO"), "unknown rcode FOO");
    check(
        &within("ederror x"),
        "error parsing extended DNS error code x",
    );
    check(
        &within("ederror 65536"),
        "error parsing extended DNS error code 65536",
    );
    assert!(Host::new(&format!(".:53 {{\n {}\n}}\n", within("upstream 8.8.8.8 x"))).is_ok());
}

#[test]
fn rules_that_multiply_lookups_end_in_servfail() {
    // Each name has three targets that match again: 3^8 lookups if only their depth were bounded.
    let answers: String = ["a", "b", "c"]
        .map(|label| format!("answer \"{{{{ .Name }}}} CNAME {label}.{{{{ .Name }}}}\"\n"))
        .concat();
    check(&answers, "x.example.org A", "rcode: SERVFAIL");
    // One target at a time is a chain that ends at the depth.
    check(
        "answer \"{{ .Name }} CNAME a.{{ .Name }}\"",
        "x.example.org A",
        "rcode: NOERROR",
    );
}
