use super::*;

fn directive(text: &str) -> Directive {
    let corefile = parse_all(&format!(". {{\n{text}\n}}"), &FakeSource::default()).unwrap();
    corefile.blocks[0].directives[0].clone()
}

#[test]
fn plugins_read_occurrences_lines_and_blocks() {
    let directive = directive("forward . a b {\n  policy x\n  expire\n}\nforward c d");
    let mut args = Args::new(&directive);
    assert_eq!((args.val(), args.line(), args.name()), ("", 0, "forward"));
    assert!(args.next());
    assert_eq!(
        (args.val(), args.file(), args.line()),
        ("forward", "Corefile", 2)
    );
    assert_eq!(args.remaining_args(), [".", "a", "b"]);
    assert!(args.next_block());
    assert_eq!((args.val(), args.line()), ("policy", 3));
    assert_eq!(args.remaining_args(), ["x"]);
    assert!(args.next_block());
    assert_eq!(args.val(), "expire");
    assert!(!args.next_arg());
    assert_eq!(
        args.arg_err().to_string(),
        "Corefile:4 - Error during parsing: Wrong argument count or unexpected line ending after 'expire'"
    );
    assert!(!args.next_block());
    assert!(args.next());
    assert_eq!((args.val(), args.line()), ("forward", 6));
    assert!(args.next_arg() && args.next_arg() && !args.next_arg());
    assert!(!args.next_block() && !args.next_line() && !args.next());
    assert_eq!(args.val(), "d");
}

#[test]
fn empty_blocks_and_blocks_on_other_lines_do_not_open() {
    let empty = directive("a {\n}");
    let mut args = Args::new(&empty);
    assert!(args.next() && !args.next_block());
    let below = directive("a\n{\nb\n}");
    let mut args = Args::new(&below);
    assert!(args.next() && !args.next_block());
    assert_eq!(args.val(), "a");
    assert!(args.next_line());
    assert_eq!(args.val(), "{");
    assert_eq!(
        args.arg_err().to_string(),
        "Corefile:3 - Error during parsing: Unexpected token '{', expecting argument"
    );
}

#[test]
fn the_first_closing_brace_ends_a_block() {
    let nested = directive("a {\n b {\n  c\n }\n d\n}");
    let mut args = Args::new(&nested);
    let mut words = Vec::new();
    assert!(args.next());
    while args.next_block() {
        words.push(args.val());
    }
    assert_eq!(words, ["b", "{", "c"]);
    assert!(args.next());
    assert_eq!(args.val(), "d");
}

#[test]
fn unclosed_blocks_end_with_the_tokens() {
    let mut cut = directive("a {\n b\n}");
    cut.tokens.pop();
    let mut args = Args::new(&cut);
    assert!(args.next() && args.next_block() && !args.next_block() && !args.next_block());
}

#[test]
fn quoted_arguments_may_span_lines() {
    let spanning = directive("a \"b\nc\" d {\n e\n}");
    let mut args = Args::new(&spanning);
    assert!(args.next());
    assert_eq!(args.remaining_args(), ["b\nc", "d"]);
    assert!(args.next_block());
    assert_eq!((args.val(), args.line()), ("e", 4));
}

#[test]
fn errors_name_the_current_token() {
    let directive = directive("a b");
    let mut args = Args::new(&directive);
    assert_eq!(
        args.err("m").to_string(),
        "Corefile:0 - Error during parsing: m"
    );
    assert!(args.next());
    assert_eq!(
        args.unknown_property("x").to_string(),
        "Corefile:2 - Error during parsing: unknown property 'x'"
    );
    assert_eq!(
        args.syntax_err("y").to_string(),
        "Corefile:2 - Syntax error: Unexpected token 'a', expecting 'y'"
    );
    assert_eq!(
        args.eof_err().to_string(),
        "Corefile:2 - Error during parsing: Unexpected EOF"
    );
    assert_eq!(args.expect_arg(), Ok("b"));
    assert_eq!(args.expect_line_end(), Ok(()));
    assert!(args.expect_arg().is_err());
    assert_eq!(SetupError::plain("m").to_string(), "m");
}
