//! Table cases of expr-lang's own documentation, the functions of CoreDNS, error texts, and bounds.

use proptest::prelude::*;

use super::*;

/// A query for `Client.example.org.` TXT from 192.0.2.7.
struct Sample;

impl Env for Sample {
    fn call<'e>(&'e self, name: &str, args: &[Value<'e>]) -> Result<Value<'e>, String> {
        Ok(match name {
            "bufsize" => Value::Int(1232),
            "class" => "IN".into(),
            "client_ip" => "192.0.2.7".into(),
            "do" => Value::Bool(true),
            "id" => Value::Int(4711),
            "incidr" => return incidr(args),
            "metadata" => match args {
                [Value::Str(label)] if label == "geoip/country/code" => "DE".into(),
                _ => "".into(),
            },
            "name" => "client.example.org.".into(),
            "opcode" => Value::Int(0),
            "port" => "40212".into(),
            "proto" => "udp".into(),
            "server_ip" => "192.0.2.1".into(),
            "server_port" => "53".into(),
            "size" => Value::Int(47),
            "type" => "TXT".into(),
            _ => return Err(format!("no function {name}")),
        })
    }
}

fn eval(text: &str) -> Result<Value<'static>, String> {
    let program = Program::compile(text, &DNS_FUNCTIONS)?;
    program.eval(&Sample).map(Value::into_owned)
}

/// Checks what an expression prints as (Go's `%v`).
fn check(text: &str, expect: &str) {
    match eval(text) {
        Ok(value) => assert_eq!(value.to_string(), expect, "{text}"),
        Err(error) => panic!("{text}: {error}"),
    }
}

fn check_true(text: &str) {
    check(text, "true");
}

/// Checks the first line of a compile error.
fn check_compile(text: &str, expect: &str) {
    let error = Program::compile(text, &DNS_FUNCTIONS).expect_err(text);
    assert_eq!(error.lines().next(), Some(expect), "{text}");
}

fn check_runtime(text: &str, expect: &str) {
    let program = Program::compile(text, &DNS_FUNCTIONS).unwrap_or_else(|e| panic!("{text}: {e}"));
    let error = program.eval(&Sample).expect_err(text);
    assert_eq!(error.lines().next(), Some(expect), "{text}");
}

#[test]
fn views_as_people_write_them() {
    check_true("incidr(client_ip(), '192.0.2.0/24')");
    check_true("incidr(client_ip(), '127.0.0.0/24') || incidr(client_ip(), '192.0.0.0/16')");
    check_true("type() == 'TXT' and name() == 'client.example.org.'");
    check_true("name() matches '^client[.]example[.]org[.]$'");
    check_true("type() in ['A', 'TXT'] && not (name() in ['a.', 'b.'])");
    check_true("metadata('geoip/country/code') in ['DE', 'FR']");
    check_true("metadata('no/such') == ''");
    check_true("any(['192.0.2.0/24', '10.0.0.0/8'], incidr(client_ip(), #))");
    check_true("none(['198.51.100.0/24'], {incidr(client_ip(), #)})");
    check_true("proto() == 'udp' ? do() : false");
    check_true(
        "server_port() == '53' && bufsize() >= 1232 && size() < 512 && id() == 4711 && opcode() == 0",
    );
    check_true(
        "name() endsWith 'example.org.' and name() startsWith 'client' and name() contains '.'",
    );
    check_true("name() not contains 'z' && name() not matches '^x' && type() not in ['A']");
    check_true("port() != server_port() && class() == 'IN' && server_ip() == \"192.0.2.1\"");
    check_true("hasPrefix(name(), 'client')");
}

#[test]
fn operators_and_ranks() {
    check("1 + 2 * 3", "7");
    check("(1 + 2) * 3", "9");
    check("2 ** 3 ** 2", "512");
    check("2 ^ 3", "8");
    check("-2 ** 2", "-4");
    check("7 % 3 - 1", "0");
    check("1 / 2", "0.5");
    check("4 / 2", "2");
    check("1.5 + 1", "2.5");
    check("10 - 2 - 3", "5");
    check("'a' + 'b'", "ab");
    check("1 == 1.0", "true");
    check("1 < 2 && 2 < 3 || false", "true");
    check("true || false && false", "true");
    check("1 < 2 < 3", "true");
    check("1 < 3 < 2", "false");
    check("1 < 2 < 3 < 4", "true");
    check("'a' < 'b'", "true");
    check("not true", "false");
    check("!true == false", "true");
    check("nil ?? 'x'", "x");
    check("'y' ?? 'x'", "y");
    check("true ? 1 : 2", "1");
    check("false ? 1 : true ? 2 : 3", "2");
    check("true ?: false", "true");
    check("if 1 > 2 { 'a' } else if 2 > 1 { 'b' } else { 'c' }", "b");
    check("let x = 2; let y = 3; x * y", "6");
    check("(let x = 2; x + 1) + 1", "4");
}

#[test]
fn literals() {
    check("0x1F + 0b11 + 0o17 + 1_000", "1049");
    check(".5 + 1e2", "100.5");
    check("1e21", "1e+21");
    check("0.00001", "1e-05");
    check(r#"'a\'b' + "c\"d" + `e\f`"#, r#"a'bc"de\f"#);
    check(r"'\x41\u00e9\101\t|'", "AéA\t|");
    check("[1, 2, 'x', [true, nil],]", "[1 2 x [true <nil>]]");
    check(
        "{a: 1, 'b': 2, 3: 4, ('c' + 'd'): 5, in: 6}",
        "map[3:4 a:1 b:2 cd:5 in:6]",
    );
    check("1 // one\n + 1 /* two */", "2");
    check("true == true", "true");
}

#[test]
fn members_and_slices() {
    check("[1, 2, 3][0]", "1");
    check("[1, 2, 3][-1]", "3");
    check("{a: {b: 5}}.a.b", "5");
    check("{a: {b: 5}}['a']['b']", "5");
    check("{a: 1}.x", "<nil>");
    check("{a: 1}.x?.y.z", "<nil>");
    check("[1, 2, 3, 4][1:3]", "[2 3]");
    check("[1, 2, 3, 4][:-1]", "[1 2 3]");
    check("[1, 2, 3, 4][2:]", "[3 4]");
    check("[1, 2, 3, 4][3:1]", "[]");
    check("name()[:6]", "client");
    check("name()[-4:]", "org.");
    check("'aé'[0:2]", "a");
    check_runtime(
        "[1][1 + 0 * id()]",
        "index out of range: 1 (array length is 1) (1:4)",
    );
}

#[test]
fn ranges_and_membership() {
    check("1..3", "[1 2 3]");
    check("3..1", "[]");
    check("2 in 1..3", "true");
    check("id() in 4000..9223372036854775807", "true");
    check("'a' in {a: 1}", "true");
    check("'b' in {a: 1}", "false");
    check("nil in [nil]", "true");
    check("1.0 in [1]", "true");
    check("[1] in [[1]]", "true");
    check("len(1..10000)", "10000");
    check_runtime("1..10001", "range has too many items (1:2)");
    check_runtime("0..9223372036854775807", "range has too many items (1:2)");
}

#[test]
fn predicates() {
    check("all([1, 2], # > 0)", "true");
    check("all([], # > 0)", "true");
    check("any([], # > 0)", "false");
    check("none([1, 2], {# > 2})", "true");
    check("one([1, 2], # > 1)", "true");
    check("one([2, 2], # > 1)", "false");
    check("filter(1..5, # % 2 == 1)", "[1 3 5]");
    check("map(1..3, # * #)", "[1 4 9]");
    check("map(['a', 'b'], #index)", "[0 1]");
    check("count([true, false, true])", "2");
    check("count(1..9, # > 6)", "3");
    check("sum(1..4)", "10");
    check("sum([{n: 1}, {n: 2}], .n)", "3");
    check("filter([{n: 1}, {n: 2}], .n > 1)", "[map[n:2]]");
    check("find([1, 2, 3], # > 1)", "2");
    check("find([1], # > 1)", "<nil>");
    check("findIndex([1, 2, 3], # > 1)", "1");
    check("findLast([1, 2, 3], # > 1)", "3");
    check("findLastIndex([1, 2, 3], # < 3)", "1");
    check("reduce(1..4, #acc + #)", "10");
    check("reduce(1..4, #acc + #, 100)", "110");
    check("any([[1], [2]], any(#, # == 2))", "true");
    check("1..3 | map(# + 1) | filter(# > 2) | len()", "2");
    check(
        "let allowed = ['A', 'TXT']; any(allowed, # == type())",
        "true",
    );
}

#[test]
fn functions_over_text() {
    check("lower('AbC') + upper('AbC')", "abcABC");
    check(
        "trim('  a ') + trim('__b_', '_') + trimPrefix('xc', 'x') + trimSuffix('dx', 'x')",
        "abcd",
    );
    check("split('a.b.c', '.')", "[a b c]");
    check("split('a.b.c', '.', 2)", "[a b.c]");
    check("split('aé', '')", "[a é]");
    check("split('', '.')", "[]");
    check("len(split('', '.'))", "1");
    check("len(split('', ''))", "0");
    check("splitAfter('a.b', '.')", "[a. b]");
    check("replace('a.b.c', '.', '-')", "a-b-c");
    check("replace('a.b.c', '.', '-', 1)", "a-b.c");
    check("repeat('ab', 2)", "abab");
    check("join(['a', 'b'], '.') + join(['c', 'd'])", "a.bcd");
    check("indexOf('abcb', 'b') + lastIndexOf('abcb', 'b')", "4");
    check("indexOf('abc', 'x')", "-1");
    check("hasPrefix('abc', 'ab') && hasSuffix('abc', 'bc')", "true");
    check("len('aé')", "2");
    check("name() | split('.') | first()", "client");
    check("int('12') + int(3.7)", "15");
    check("float('1.5')", "1.5");
    check("string(12) + string(true)", "12true");
}

#[test]
fn functions_over_numbers_and_lists() {
    check("abs(-5) + ceil(1.2) + floor(1.8) + round(2.5)", "11");
    check("max(1, 3, 2) + min([4, 2])", "5");
    check("mean([1, 2, 3]) + median([1, 2, 3, 4])", "4.5");
    check("first([1, 2]) + last([1, 2])", "3");
    check("first([])", "<nil>");
    check("take([1, 2, 3], 2)", "[1 2]");
    check("get([1], 5) ?? get({a: 2}, 'a')", "2");
    check(
        "keys({a: 1, b: 2}) == ['a', 'b'] && values({a: 1}) == [1]",
        "true",
    );
    check(
        "reverse([1, 2]) == [2, 1] && uniq([1, 1, 2]) == [1, 2]",
        "true",
    );
    check("concat([1], [2, 3])", "[1 2 3]");
    check("flatten([1, [2, [3]]])", "[1 2 3]");
    check("sort([3, 1, 2])", "[1 2 3]");
    check("sort(['b', 'a'], 'desc')", "[b a]");
    check(
        "bitand(6, 3) + bitor(6, 3) + bitxor(6, 3) + bitshl(1, 4) + bitshr(16, 2)",
        "34",
    );
    check("bitushr(-1, 63) + bitnot(0) + bitnand(7, 2)", "5");
}

#[test]
fn addresses_in_networks() {
    let check = |ip: &'static str, cidr: &'static str, expect| {
        assert_eq!(
            incidr(&[ip.into(), cidr.into()]),
            Ok(Value::Bool(expect)),
            "{ip} {cidr}"
        );
    };
    check("10.1.2.3", "10.0.0.0/8", true);
    check("11.1.2.3", "10.0.0.0/8", false);
    check("10.1.2.3", "0.0.0.0/0", true);
    check("10.1.2.3", "10.1.2.3/32", true);
    check("2001:db8::1", "2001:db8::/32", true);
    check("2001:db9::1", "2001:db8::/32", false);
    check("2001:db8::1", "::/0", true);
    check("::ffff:10.1.2.3", "10.0.0.0/8", true);
    check("10.1.2.3", "::/0", false);
    let fails = |ip: &'static str, cidr: &'static str, expect: &str| {
        assert_eq!(incidr(&[ip.into(), cidr.into()]), Err(expect.to_string()));
    };
    fails("x", "10.0.0.0/8", "first argument is not an IP address");
    fails("10.0.0.1", "10.0.0.0", "invalid CIDR address: 10.0.0.0");
    fails(
        "10.0.0.1",
        "10.0.0.0/33",
        "invalid CIDR address: 10.0.0.0/33",
    );
    fails("10.0.0.1", "::/129", "invalid CIDR address: ::/129");
    fails(
        "10.0.0.1",
        "10.0.0.0/+8",
        "invalid CIDR address: 10.0.0.0/+8",
    );
}

#[test]
fn mistakes_are_found_at_compile_time() {
    check_compile("foo()", "unknown name foo (1:1)");
    check_compile("1 + foo", "unknown name foo (1:5)");
    check_compile("name == 'x'", "name is a function: write name() (1:1)");
    check_compile(
        "incidr(client_ip())",
        "not enough arguments to call incidr (1:1)",
    );
    check_compile("name('x')", "too many arguments to call name (1:1)");
    check_compile(
        "incidr(1, 'x')",
        "cannot use int as argument (type string) to call incidr  (1:8)",
    );
    check_compile(
        "type() == 1",
        "invalid operation: == (mismatched types string and int) (1:8)",
    );
    check_compile(
        "do() && name()",
        "invalid operation: && (mismatched types bool and string) (1:6)",
    );
    check_compile(
        "not name() in ['a']",
        "invalid operation: not (mismatched type string) (1:1)",
    );
    check_compile(
        "size() matches 'x'",
        "invalid operation: matches (mismatched types int and string) (1:8)",
    );
    check_compile(
        "'a' in 'abc'",
        "invalid operation: in (mismatched types string and string) (1:5)",
    );
    check_compile(
        "name() matches '(?=x)'",
        "error parsing regexp: invalid or unsupported Perl syntax: `(?=` (1:16)",
    );
    check_compile(
        "any(name(), # == 'x')",
        "builtin any takes only array (got string) (1:5)",
    );
    check_compile(
        "filter([1], 2)",
        "predicate should return boolean (got int) (1:1)",
    );
    check_compile(
        "name() ? 1 : 2",
        "non-bool expression (type string) used as condition (1:1)",
    );
    check_compile(
        "nil ?? 1 || 2",
        "Operator (||) and coalesce expressions (??) cannot be mixed. Wrap either by parentheses. (1:10)",
    );
    check_compile("let name = 1; name", "cannot redeclare builtin name (1:5)");
    check_compile(
        "let a = 1; let a = 2; a",
        "cannot redeclare variable a (1:16)",
    );
}

#[test]
fn syntax_errors_show_the_place() {
    check_compile("", "unexpected token EOF (1:1)");
    check_compile("1 +", "unexpected token EOF (1:4)");
    check_compile("(1", "unexpected token EOF (1:3)");
    check_compile("1 2", "unexpected token Number(\"2\") (1:3)");
    check_compile("'abc", "literal not terminated (1:1)");
    check_compile("`abc", "literal not terminated (1:1)");
    check_compile(r"'\.'", "unable to unescape string (1:2)");
    check_compile("a @ b", "unrecognized character: U+0040 '@' (1:3)");
    check_compile("1x", "bad number syntax: \"1\" (1:1)");
    check_compile(
        "99999999999999999999",
        "bad number syntax: \"99999999999999999999\" (1:1)",
    );
    check_compile("# == 1", "unexpected token Operator(\"#\") (1:1)");
    check_compile("'a'.b()", "b is no method (1:4)");
    check_compile("/* x", "unclosed comment (1:1)");
    let error = Program::compile("do() &&\n  foo()", &DNS_FUNCTIONS).unwrap_err();
    assert_eq!(error, "unknown name foo (2:3)\n |   foo()\n | ..^");
}

#[test]
fn runtime_errors() {
    check_runtime(
        "incidr('x', '10.0.0.0/8')",
        "first argument is not an IP address (1:1)",
    );
    check_runtime("id() % 0", "integer divide by zero (1:6)");
    check_runtime(
        "[1, 'a'][0] + [1, 'a'][1]",
        "invalid operation: + (mismatched types int and string) (1:13)",
    );
    check_runtime("repeat('x', 100000)", "text is too long (1:1)");
    check_runtime(
        "int(name())",
        "invalid operation: int(client.example.org.) (1:1)",
    );
    check_runtime(
        "name() matches ('(' + 'x')",
        "error parsing regexp: missing closing ): `(x` (1:8)",
    );
    check_runtime(
        "reduce([], #acc)",
        "reduce of empty array with no initial value (1:8)",
    );
}

#[test]
fn types_are_known_where_they_can_be() {
    let returns = |text: &str| Program::compile(text, &DNS_FUNCTIONS).unwrap().returns();
    assert_eq!(returns("name() == 'x'"), Type::Bool);
    assert_eq!(returns("name() + 'x'"), Type::Str);
    assert_eq!(returns("size() + 1"), Type::Int);
    assert_eq!(returns("[1][0]"), Type::Any);
}

#[test]
fn variables_come_from_the_environment() {
    struct Two;
    impl Env for Two {
        fn call<'e>(&'e self, name: &str, _: &[Value<'e>]) -> Result<Value<'e>, String> {
            Err(name.into())
        }

        fn variable<'e>(&'e self, place: usize) -> Option<Value<'e>> {
            [Value::from("x"), Value::Int(2)].get(place).cloned()
        }
    }
    let variable = |name: &str, kind| Variable {
        name: name.into(),
        kind,
    };
    let known = [variable("a", Type::Str), variable("b", Type::Int)];
    let program = Program::compile_with("a + string(b * 2)", &[], &known).unwrap();
    assert_eq!(program.eval(&Two).unwrap().to_string(), "x4");
    let error = Program::compile_with("a * 2", &[], &known).unwrap_err();
    assert!(error.starts_with("invalid operation: * (mismatched types string and int)"));
    for word in ["in", "true", "filter", "len", "reduce"] {
        assert!(is_reserved(word), "{word}");
    }
    assert!(!is_reserved("answer"));
}

#[test]
fn bounds_hold() {
    let long_or = vec!["name() == 'x'"; 2000].join(" || ");
    check(&long_or, "false");
    let open = "(".repeat(5000) + "1" + &")".repeat(5000);
    assert!(
        eval(&open)
            .unwrap_err()
            .starts_with("expression nests too deeply")
    );
    let minus = "-".repeat(5000) + "1";
    assert!(
        eval(&minus)
            .unwrap_err()
            .starts_with("expression nests too deeply")
    );
    let sum = vec!["1"; 5000].join(" + ");
    assert!(
        eval(&sum)
            .unwrap_err()
            .starts_with("expression nests too deeply")
    );
    let arrays = "[".repeat(60) + &"]".repeat(60);
    assert!(
        eval(&arrays)
            .unwrap_err()
            .starts_with("array nests too deeply")
    );
    let indexes = "a".to_string() + &"[0]".repeat(500);
    assert!(
        eval(&format!("let a = [1]; {indexes}"))
            .unwrap_err()
            .starts_with("expression nests too deeply")
    );
    let chain = (0..20).fold("1".to_string(), |inner, _| format!("(1 < {inner} + 1 < 9)"));
    assert!(
        eval(&chain)
            .unwrap_err()
            .starts_with("comparison chain is too complex")
    );
    assert!(
        eval(&"x".repeat(70_000))
            .unwrap_err()
            .starts_with("expression is longer")
    );
    for text in [
        "count(1..10000, count(1..10000, # > 0) > 0)",
        "reduce(1..10000, [#acc, #acc])",
        "reduce(1..10000, concat(#acc, #acc), [1])",
        "reduce(1..10000, #acc + #acc, 'x')",
        "let a = 1..9999; map(1..9999, a)",
        "reduce(1..10000, [#acc])",
        "count(1..10000, name() matches ('x' + string(#)))",
    ] {
        assert!(eval(text).is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn any_text_gives_a_value_or_an_error(text in ".{0,80}") {
        let _ = eval(&text);
    }

    #[test]
    fn any_shape_gives_a_value_or_an_error(
        words in prop::collection::vec(prop::sample::select(vec![
            "1", "2.5", "'a'", "name()", "do()", "size()", "[", "]", "(", ")", "{", "}", ",", ":", "?", "??", ".", "?.",
            "..", "+", "-", "*", "**", "/", "%", "==", "<", ">=", "and", "or", "not", "in", "matches", "contains", "#",
            "#acc", "let", "x", "=", ";", "any(", "map(", "filter(", "reduce(", "len(", "split(", "repeat(", "|", "if",
            "else", "nil", "true", "a:", "1..3", "[1, 2]", "concat(", "flatten(", "uniq(", "sort(",
        ]), 0..24)
    ) {
        let _ = eval(&words.join(" "));
    }
}
