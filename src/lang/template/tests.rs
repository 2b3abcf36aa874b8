//! Templates as people write them, cases of Go's own documentation, error texts, and bounds.

use proptest::prelude::*;

use super::*;
use crate::lang::expr::{self, List};

/// The data of a `template` block for `ip-10-7.example.org.` A.
#[derive(Debug)]
struct Sample {
    group: Group,
}

#[derive(Debug)]
struct Group;

impl Object for Group {
    fn type_name(&self) -> &str {
        "map[string]string"
    }

    fn field<'o>(&'o self, name: &str) -> Option<Value<'o>> {
        match name {
            "a" => Some("10".into()),
            "b" => Some("7".into()),
            _ => None,
        }
    }

    fn keys(&self) -> Option<Vec<&str>> {
        Some(vec!["b", "a"])
    }
}

impl Object for Sample {
    fn type_name(&self) -> &str {
        "*template.templateData"
    }

    fn field<'o>(&'o self, name: &str) -> Option<Value<'o>> {
        let list = |items: &[&'static str]| {
            Value::Plain(expr::Value::List(List::Owned(
                items.iter().map(|i| (*i).into()).collect(),
            )))
        };
        Some(match name {
            "Name" => "ip-10-7.example.org.".into(),
            "Zone" => "example.org.".into(),
            "Type" => "A".into(),
            "Match" => list(&["ip-10-7.example.org.", "10", "7"]),
            "Empty" => list(&[]),
            "Group" => Value::Object(&self.group),
            "Port" => expr::Value::Int(53).into(),
            "Half" => expr::Value::Float(0.5).into(),
            "No" => expr::Value::Bool(false).into(),
            "Nil" => expr::Value::Nil.into(),
            "Map" => expr::Value::Map(vec![
                ("y".into(), expr::Value::Int(2)),
                ("x".into(), "1".into()),
            ])
            .into(),
            _ => return None,
        })
    }

    fn call<'o>(&'o self, name: &str, args: &[Value<'o>]) -> Option<Result<Value<'o>, String>> {
        if name != "Meta" {
            return None;
        }
        Some(match args {
            [label] if label.as_str() == Some("geoip/city/name") => Ok("Berlin".into()),
            [_] => Ok("".into()),
            _ => Err(format!("want 1 argument, got {}", args.len())),
        })
    }
}

fn run(text: &str) -> Result<String, String> {
    let template = Template::parse("answer", text)?;
    let sample = Sample { group: Group };
    let root = Value::Object(&sample);
    let mut out = String::new();
    template.execute(&root, &mut out).map(|()| out)
}

fn check(text: &str, expect: &str) {
    assert_eq!(run(text), Ok(expect.to_string()), "{text}");
}

fn check_error(text: &str, expect: &str) {
    assert_eq!(run(text), Err(expect.to_string()), "{text}");
}

#[test]
fn records_as_people_write_them() {
    check(
        "{{ .Name }} 60 IN A {{ .Group.a }}.{{ .Group.b }}.0.1",
        "ip-10-7.example.org. 60 IN A 10.7.0.1",
    );
    check(
        "{{ .Name }} 60 IN TXT \"{{ index .Match 1 }}\"",
        "ip-10-7.example.org. 60 IN TXT \"10\"",
    );
    check(
        "{{ index .Match 0 }}/{{ index .Group \"b\" }}",
        "ip-10-7.example.org./7",
    );
    check(
        "{{ .Name }} CNAME {{ .Meta \"geoip/city/name\" }}.{{ .Zone }}",
        "ip-10-7.example.org. CNAME Berlin.example.org.",
    );
    check(
        "10.{{ parseInt .Group.a 16 8 }}.{{ parseInt \"ff\" 16 16 }}",
        "10.16.255",
    );
    check(
        "{{if eq .Type \"A\"}}v4{{else if eq .Type \"AAAA\"}}v6{{else}}other{{end}}",
        "v4",
    );
    check(
        "{{- range $i, $g := .Match }}{{if $i}},{{end}}{{$g}}{{end -}}",
        "ip-10-7.example.org.,10,7",
    );
    check("{{ $x := index .Match 1 }}{{ $x }}-{{ $.Type }}", "10-A");
}

#[test]
fn text_and_trimming() {
    check("", "");
    check("plain", "plain");
    check("a {{- \"b\" -}} c", "abc");
    check("a {{ \"b\" -}}\n\t c", "a bc");
    check("a{{/* no */}}b", "ab");
    check("a {{- /* no */ -}} b", "ab");
    check("{{3}}{{- 4}} {{-5}}", "34 -5");
    check("{{\"{{\"}}", "{{");
}

#[test]
fn literals() {
    check(r#"{{"a\n\"\x41\u00e9\101\\"}}"#, "a\n\"AéA\\");
    check("{{`a\\n`}}", "a\\n");
    check("{{'a'}} {{'\\n'}}", "97 10");
    check(
        "{{1}} {{-2}} {{0x1F}} {{1_000}} {{017}} {{0b11}}",
        "1 -2 31 1000 15 3",
    );
    check("{{1.5}} {{1e3}} {{.5}} {{1e-7}}", "1.5 1000 0.5 1e-07");
    check("{{true}} {{false}}", "true false");
}

#[test]
fn fields_and_missing_values() {
    check("{{.Group.zz}}", "<no value>");
    check("{{index .Group \"zz\"}}", "");
    check("{{.Map.x}}{{.Map.z}}", "1<no value>");
    check("{{.Nil}}", "<no value>");
    check("{{.Match}}", "[ip-10-7.example.org. 10 7]");
    check("{{.Group}}", "map[a:10 b:7]");
    check("{{.Map}}", "map[x:1 y:2]");
    check("{{(index .Match 1)}}{{(print .Zone)}}", "10example.org.");
    check("{{with .Group}}{{.a}}{{end}}", "10");
    check("{{$g := .Group}}{{$g.a}}", "10");
    check("{{.Half}} {{.Port}} {{.No}}", "0.5 53 false");
}

#[test]
fn control() {
    check("{{if .No}}a{{else}}b{{end}}", "b");
    check("{{if .Empty}}a{{end}}", "");
    check("{{if .Group.zz}}a{{else}}b{{end}}", "b");
    check(
        "{{if 0}}a{{else if 0.0}}b{{else if \"\"}}c{{else}}d{{end}}",
        "d",
    );
    check(
        "{{with .No}}a{{else with .Zone}}{{.}}{{else}}c{{end}}",
        "example.org.",
    );
    check("{{with $x := 5}}{{$x}}{{.}}{{end}}", "55");
    check("{{if $x := .Port}}{{$x}}{{end}}", "53");
    check(
        "{{range .Match}}[{{.}}]{{end}}",
        "[ip-10-7.example.org.][10][7]",
    );
    check("{{range .Empty}}x{{else}}none{{end}}", "none");
    check(
        "{{range $k, $v := .Group}}{{$k}}={{$v}};{{end}}",
        "a=10;b=7;",
    );
    check("{{range $k, $v := .Map}}{{$k}}={{$v}};{{end}}", "x=1;y=2;");
    check("{{range 3}}{{.}}{{end}}", "012");
    check("{{range .Nil}}x{{else}}none{{end}}", "none");
    check(
        "{{range 5}}{{if eq . 2}}{{continue}}{{end}}{{if eq . 4}}{{break}}{{end}}{{.}}{{end}}",
        "013",
    );
    check("{{$x := 1}}{{range 2}}{{$x = .}}{{end}}{{$x}}", "1");
    check("{{$x := 1}}{{if true}}{{$x := 2}}{{$x}}{{end}}{{$x}}", "21");
    check("{{$i := 9}}{{range $i = .Match}}{{end}}{{$i}}", "7");
}

#[test]
fn pipelines() {
    check("{{.Zone | print}}", "example.org.");
    check("{{\"a\" | printf \"%s-%s\" \"b\"}}", "b-a");
    check("{{index .Match 1 | len}}", "2");
    check(
        "{{.Group.a | printf \"%05s|\" | printf \"%q\"}}",
        "\"00010|\"",
    );
    check("{{\"geoip/city/name\" | .Meta}}", "Berlin");
    check("{{(.Meta \"geoip/city/name\") | len}}", "6");
    check("{{print (len .Match) (len .Zone)}}", "3 12");
}

#[test]
fn defined_templates() {
    check(
        "{{define \"x\"}}<{{.}}>{{end}}{{template \"x\" .Type}}{{template \"x\" \"b\"}}",
        "<A><b>",
    );
    check(
        "{{define \"x\"}}<{{.}}>{{end}}{{template \"x\"}}",
        "<<no value>>",
    );
    check("{{block \"x\" .Type}}<{{.}}>{{end}}", "<A>");
    check(
        "{{define \"x\"}}{{$.a}}{{end}}{{template \"x\" .Group}}",
        "10",
    );
}

#[test]
fn logic_and_comparison() {
    check(
        "{{and 1 0 2}} {{or 0 2}} {{not 0}} {{and 1 2}} {{or 0 \"\"}}",
        "0 2 true 2 ",
    );
    check("{{or true (index .Match 99)}}", "true");
    check("{{and false (index .Match 99)}}", "false");
    check(
        "{{eq 1 1}} {{eq .Type \"B\" \"A\"}} {{ne 1 2}}",
        "true true true",
    );
    check(
        "{{lt 1 2}} {{le 2 2}} {{gt \"b\" \"a\"}} {{ge 1.5 2.5}}",
        "true true true false",
    );
    check("{{eq .Nil .Group.zz}} {{eq .Nil 1}}", "true false");
}

#[test]
fn functions() {
    check(
        "{{len .Match}} {{len .Zone}} {{len .Group}} {{len .Map}}",
        "3 12 2 2",
    );
    check(
        "{{slice .Zone 0 7}} {{slice .Match 1 3}} {{slice .Zone 8}} {{slice .Match 0 1 2}}",
        "example [10 7] org. [ip-10-7.example.org.]",
    );
    check(
        "{{index .Match 1}}{{index \"abc\" 1}}{{index .Map \"x\"}}",
        "10981",
    );
    check("{{print \"a\" 1 2 \"b\" 3}}", "a1 2b3");
    check("{{println \"a\" 1}}", "a 1\n");
    check(
        "{{html \"<a b='\\\"&'>\"}}",
        "&lt;a b=&#39;&#34;&amp;&#39;&gt;",
    );
    check("{{js \"it's <b>\\n\"}}", r"it\'s \u003Cb\u003E\u000A");
    check("{{urlquery \"a b/ü~\"}}", "a+b%2F%C3%BC~");
    check(
        "{{parseInt \"-80\" 16 8}} {{parseInt \"0x1f\" 0 64}} {{parseInt \"017\" 0 0}} {{parseInt \"+7\" 8 8}}",
        "-128 31 15 7",
    );
}

#[test]
fn printf_verbs() {
    check(
        "{{printf \"%d|%5d|%-5d|%05d|%+d\" 7 7 7 7 7}}",
        "7|    7|7    |00007|+7",
    );
    check(
        "{{printf \"%x %X %#x %o %b %c %U %q\" 255 255 255 8 5 65 65 65}}",
        "ff FF 0xff 10 101 A U+0041 'A'",
    );
    check(
        "{{printf \"%s|%5s|%-5s|%.2s|%q|%x\" \"abc\" \"abc\" \"abc\" \"abc\" \"a\\\"\" \"abc\"}}",
        "abc|  abc|abc  |ab|\"a\\\"\"|616263",
    );
    check(
        "{{printf \"%f %.2f %e %g %8.3f\" 1.5 1.5 1500.0 1.5 1.5}}",
        "1.500000 1.50 1.500000e+03 1.5    1.500",
    );
    check(
        "{{printf \"%v %v %t %T %T\" .Match 1 true 1 \"a\"}}",
        "[ip-10-7.example.org. 10 7] 1 true int string",
    );
    check("{{printf \"%03d.%*d\" 5 4 7}}", "005.   7");
    check("{{printf \"100%% %d\" \"x\"}}", "100% %!d(string=x)");
    check("{{printf \"%d %d\" 1}}", "1 %!d(MISSING)");
    check("{{printf \"%d\" 1 2}}", "1%!(EXTRA int=2)");
    check("{{printf \"%\"}}", "%!(NOVERB)");
    check("{{printf \"%s\" .Match}}", "[ip-10-7.example.org. 10 7]");
    check("{{printf \"%d\" .Nil}}", "%!d(<nil>)");
    check(
        "{{printf \"%-06d|%06.2f|%+05d\" 1 -1.5 3}}",
        "1     |-01.50|+0003",
    );
}

#[test]
fn parse_errors() {
    check_error("{{.Name", "template: answer:1: unclosed action");
    check_error(
        "a\n{{foo}}",
        "template: answer:2: function \"foo\" not defined",
    );
    check_error("{{$x}}", "template: answer:1: undefined variable \"$x\"");
    check_error(
        "{{if true}}{{$x := 1}}{{end}}{{$x}}",
        "template: answer:1: undefined variable \"$x\"",
    );
    check_error("{{}}", "template: answer:1: missing value for command");
    check_error("{{if}}{{end}}", "template: answer:1: missing value for if");
    check_error("{{if true}}", "template: answer:1: unexpected EOF");
    check_error("{{end}}", "template: answer:1: unexpected {{end}}");
    check_error("{{else}}", "template: answer:1: unexpected {{else}}");
    check_error(
        "{{if true}}{{else}}{{else}}{{end}}",
        "template: answer:1: expected end; found {{else}}",
    );
    check_error("{{(1}}", "template: answer:1: unclosed left paren");
    check_error("{{1)}}", "template: answer:1: unexpected \")\" in command");
    check_error("{{\"a}}", "template: answer:1: unterminated quoted string");
    check_error(
        "{{`a}}",
        "template: answer:1: unterminated raw quoted string",
    );
    check_error(
        "{{'a}}",
        "template: answer:1: unterminated character constant",
    );
    check_error(
        "{{1 | 2}}",
        "template: answer:1: non executable command in pipeline stage 2",
    );
    check_error("{{1 |}}", "template: answer:1: missing command in pipeline");
    check_error("{{| 1}}", "template: answer:1: unexpected \"|\" in command");
    check_error(
        "{{break}}",
        "template: answer:1: {{break}} outside {{range}}",
    );
    check_error("{{/* a}}", "template: answer:1: unclosed comment");
    check_error(
        "{{/* a */b}}",
        "template: answer:1: comment ends before closing delimiter",
    );
    check_error(
        "{{#}}",
        "template: answer:1: unexpected bad character U+0023 '#' in command",
    );
    check_error("{{.a#}}", "template: answer:1: bad character U+0023 '#'");
    check_error("{{1x}}", "template: answer:1: bad number syntax: \"1x\"");
    check_error(
        "{{template x}}",
        "template: answer:1: unexpected \"x\" in template clause",
    );
    check_error(
        "{{range $a, $b, $c := .}}{{end}}",
        "template: answer:1: too many declarations in range",
    );
    check_error("{{define \"x\"}}", "template: answer:1: unexpected EOF");
    check_error(
        "{{a := 1}}",
        "template: answer:1: function \"a\" not defined",
    );
    check_error("{{with nil}}", "template: answer:1: unexpected EOF");
}

#[test]
fn execution_errors() {
    let at = "template: answer:1";
    check_error(
        "{{.Foo}}",
        &format!(
            "{at}:2: executing \"answer\" at <.Foo>: can't evaluate field Foo in type *template.templateData"
        ),
    );
    check_error(
        "a\n b{{.Foo}}",
        "template: answer:2:4: executing \"answer\" at <.Foo>: can't evaluate field Foo in type *template.templateData",
    );
    check_error(
        "{{index .Match 9}}",
        &format!(
            "{at}:2: executing \"answer\" at <index>: error calling index: index out of range: 9"
        ),
    );
    check_error(
        "{{.Name.x}}",
        &format!(
            "{at}:2: executing \"answer\" at <.Name.x>: can't evaluate field x in type string"
        ),
    );
    check_error(
        "{{.Nil.x}}",
        &format!("{at}:2: executing \"answer\" at <.Nil.x>: nil data; no entry for key \"x\""),
    );
    check_error(
        "{{nil}}",
        &format!("{at}:2: executing \"answer\" at <nil>: nil is not a command"),
    );
    check_error(
        "{{.Name 1}}",
        &format!(
            "{at}:2: executing \"answer\" at <.Name>: Name has arguments but cannot be invoked as function"
        ),
    );
    check_error(
        "{{1 2}}",
        &format!("{at}:2: executing \"answer\" at <1>: can't give argument to non-function 1"),
    );
    check_error(
        "{{.Meta}}",
        &format!(
            "{at}:2: executing \"answer\" at <.Meta>: error calling Meta: want 1 argument, got 0"
        ),
    );
    check_error(
        "{{not}}",
        &format!(
            "{at}:2: executing \"answer\" at <not>: wrong number of args for not: want 1 got 0"
        ),
    );
    check_error(
        "{{eq 1 \"a\"}}",
        &format!(
            "{at}:2: executing \"answer\" at <eq>: error calling eq: incompatible types for comparison"
        ),
    );
    check_error(
        "{{eq 1}}",
        &format!(
            "{at}:2: executing \"answer\" at <eq>: error calling eq: missing argument for comparison"
        ),
    );
    check_error(
        "{{lt true false}}",
        &format!(
            "{at}:2: executing \"answer\" at <lt>: error calling lt: invalid type for comparison"
        ),
    );
    check_error(
        "{{parseInt \"zz\" 10 8}}",
        &format!(
            "{at}:2: executing \"answer\" at <parseInt>: error calling parseInt: strconv.ParseInt: parsing \"zz\": invalid syntax"
        ),
    );
    check_error(
        "{{parseInt \"128\" 10 8}}",
        &format!(
            "{at}:2: executing \"answer\" at <parseInt>: error calling parseInt: strconv.ParseInt: parsing \"128\": value out of range"
        ),
    );
    check_error(
        "{{parseInt 1 10 8}}",
        &format!(
            "{at}:2: executing \"answer\" at <parseInt>: error calling parseInt: wrong type for value; expected string; got int"
        ),
    );
    check_error(
        "{{range true}}{{end}}",
        &format!("{at}:8: executing \"answer\" at <true>: range can't iterate over true"),
    );
    check_error(
        "{{template \"x\"}}",
        &format!("{at}:2: executing \"answer\" at <template>: template \"x\" not defined"),
    );
    check_error(
        "{{slice .Zone 3 1}}",
        &format!(
            "{at}:2: executing \"answer\" at <slice>: error calling slice: invalid slice index: 3 > 1"
        ),
    );
    check_error(
        "{{define \"x\"}}{{.Foo}}{{end}}{{template \"x\" .}}",
        &format!(
            "{at}:16: executing \"x\" at <.Foo>: can't evaluate field Foo in type *template.templateData"
        ),
    );
}

#[test]
fn bounds_hold() {
    let deep = "{{if true}}".repeat(500) + &"{{end}}".repeat(500);
    assert!(run(&deep).unwrap_err().contains("nests too deeply"));
    let parens = format!("{{{{{}1{}}}}}", "(".repeat(5000), ")".repeat(5000));
    assert!(run(&parens).unwrap_err().contains("nests too deeply"));
    let chain = "{{if false}}".to_string() + &"{{else if false}}".repeat(500) + "{{end}}";
    assert!(run(&chain).unwrap_err().contains("nests too deeply"));
    let endless = "{{define \"x\"}}{{template \"x\"}}{{end}}{{template \"x\"}}";
    assert!(
        run(endless)
            .unwrap_err()
            .contains("exceeded maximum template depth")
    );
    assert!(
        run("{{range 10000}}{{range 10000}}{{end}}{{end}}")
            .unwrap_err()
            .contains("too many steps")
    );
    assert!(
        run("{{range 10001}}{{end}}")
            .unwrap_err()
            .contains("too many items")
    );
    assert!(
        run("{{range 10000}}{{$.Name}}{{end}}")
            .unwrap_err()
            .contains("output is longer")
    );
    assert!(
        run("{{$x := .Name}}{{range 100}}{{$x = print $x $x}}{{end}}")
            .unwrap_err()
            .contains("too long")
    );
    assert!(run("{{printf \"%99999999d\" 1}}").is_ok());
    assert!(
        run(&" ".repeat(70_000))
            .unwrap_err()
            .contains("longer than")
    );
}

proptest! {
    #[test]
    fn any_text_gives_text_or_an_error(text in "(\\{\\{.{0,20}\\}\\}|.){0,8}") {
        let _ = run(&text);
    }

    #[test]
    fn any_shape_gives_text_or_an_error(
        parts in prop::collection::vec(prop::sample::select(vec![
            "{{", "}}", "{{- ", " -}}", "if ", "else ", "end", "range ", "with ", "define \"x\"", "template \"x\" ", "block \"x\" ",
            "break", "continue", ".Name ", ".Match ", ".Group.a ", ".Foo ", "$", "$x ", ":= ", "= ", ", ", "| ", "(", ")", "1 ",
            "\"a\" ", "'a' ", "nil ", "true ", "index ", "printf \"%d %s\" ", "len ", "eq ", "and ", "slice ", "parseInt ", ".", " ",
            "{{end}}", "{{if .No}}", "{{range 3}}", "{{$x := 1}}", "text",
        ]), 0..24)
    ) {
        let _ = run(&parts.concat());
    }
}
