use super::*;

#[track_caller]
fn check(text: &str, source: &FakeSource, want: &str) {
    let corefile = parse_all(text, source).map(|corefile| show(&corefile));
    assert_eq!(corefile.as_deref(), Ok(want), "{text}");
}

#[track_caller]
fn check_error(text: &str, source: &FakeSource, want: &str) {
    let error = parse_all(text, source).unwrap_err();
    assert_eq!(error.to_string(), want, "{text}");
}

#[test]
fn references_are_replaced_after_lexing() {
    let source = FakeSource::default()
        .env("PORT", "1053")
        .env("TWO", "a b")
        .env("FAR", "{$PORT}")
        .env("NAME", "log")
        .env("PER", "{$PORT}{%PORT%}")
        .env("LINES", "a\nb");
    check(".:{$PORT} {\n}", &source, "[.:1053]");
    check(".:{%PORT%} {\n}", &source, "[.:1053]");
    check(". {\n log {$TWO} x\n}", &source, "[.] log=log,a b,x");
    check(". {\n log {$FAR}\n}", &source, "[.] log=log,1053");
    check(". {\n {$NAME} x\n log y\n}", &source, "[.] log=log,x/log,y");
    check(". {\n log {$NONE}x {$NONE}\n}", &source, "[.] log=log,x,");
    check(
        ". {\n log \"{$PORT} {{ $x }}\"\n}",
        &source,
        "[.] log=log,1053 {{ $x }}",
    );
    // The form with % goes first, so what it brings in the other form is replaced and not the other way round.
    check(". {\n log {$PER}\n}", &source, "[.] log=log,1053{%PORT%}");
    check(". {\n log {%FAR%}\n}", &source, "[.] log=log,1053");
    check(
        ". {\n log {$} {$PORT}{$}{$PORT}{$FAR} {$PORT {%}\n}",
        &source,
        "[.] log=log,{$},1053{$}1053{$FAR},{$PORT,{%}",
    );
    // The braces were tested before the replacement.
    check(
        ". {\n log {$OPEN}\n}",
        &FakeSource::default().env("OPEN", "{"),
        "[.] log=log,{",
    );
    // A value with a line break hides the next one from the test for a new line.
    check(
        ". {\n log {$LINES}\n errors\n}",
        &source,
        "[.] log=log,a\nb,errors",
    );
}

#[test]
fn references_without_end_are_errors() {
    let source = FakeSource::default()
        .env("SELF", "{$SELF}")
        .env("A", "{$B}{$B}")
        .env("B", "{$A}{$A}");
    for name in ["SELF", "A"] {
        let error = parse_all(&format!(". {{\n log {{${name}}}\n}}"), &source).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "Corefile:2 - Error during parsing: environment references in '{{${name}}}' expand without end"
            )
        );
    }
}

#[test]
fn snippets_are_replayed() {
    let none = FakeSource::default();
    let check = |text: &str, want: &str| check(text, &none, want);
    check(
        "(s) {\n log\n errors\n}\n. {\n import s\n cache\n}",
        "[.] log=log errors=errors cache=cache",
    );
    check(
        "(s) {\n log a {\n  b\n }\n}\n. {\n import s\n}\nx {\n import s\n}",
        "[.] log=log,a,{/b/}\n[x] log=log,a,{/b/}",
    );
    check(
        "(s) {\n max 1\n}\n. {\n forward . x {\n  import s\n }\n}",
        "[.] forward=forward,.,x,{/max,1/}",
    );
    check(
        "(a) {\n log\n}\n(b) {\n import a\n errors\n}\n. {\n import b\n}",
        "[.] log=log errors=errors",
    );
    check("(s) {\n}\n. {\n import s\n log\n}", "[.] log=log");
    check(
        "(s) {\n a.org {\n  log\n }\n}\nimport s\n",
        "[a.org] log=log",
    );
    check("(s)", "[(s)]");
}

#[test]
fn an_import_that_opens_a_snippet_inside_braces_is_a_word() {
    // It stands further up in the file than the brace, so it does not start a line; CoreDNS hands it to the plugin too.
    check(
        "(b) {\n max 1\n}\n(a) {\n import b\n}\n. {\n forward . x {\n  import a\n }\n}",
        &FakeSource::default(),
        "[.] forward=forward,.,x,{/import,b/}",
    );
}

#[test]
fn files_are_imported() {
    let source = FakeSource::default()
        .file("/conf/log", "log a\n")
        .file("/conf/conf.d/1.conf", "a.org {\n errors\n}\n")
        .file("/conf/conf.d/2.conf", "import ../log2\n")
        .file("/conf/log2", "(s) {\n log b\n}\nb.org {\n import s\n}\n")
        .file("/etc/empty", "");
    check(
        ". {\n import log\n errors\n}",
        &source,
        "[.] log=log,a errors=errors",
    );
    check(
        "import conf.d/*.conf\nc.org {\n import s\n}",
        &source,
        "[a.org] errors=errors\n[b.org] log=log,b\n[c.org] log=log,b",
    );
    check(". {\n import /etc/empty\n}", &source, "[.]");
    check("import /etc/empty", &source, "");
    check(
        ". {\n import /etc/empty\n log\n import /conf/log\n}",
        &source,
        "[.] log=log/log,a",
    );
    check_error(
        ". {\n import nothing\n}",
        &source,
        "Corefile:2 - Error during parsing: File to import not found: nothing",
    );
    check_error(
        "a,\nimport /etc/empty",
        &source,
        "Corefile:0 - Error during parsing: Unexpected EOF",
    );

    let corefile = parse_all("import none/*\nimport log\n", &source).unwrap();
    assert_eq!(
        corefile.warnings,
        ["No files matching import glob pattern: none/*"]
    );
}

#[test]
fn imported_tokens_keep_their_file() {
    let source = FakeSource::default()
        .file("/conf/bad", "\nfoo\n")
        .file("/conf/dir/import", "import missing\n");
    check_error(
        ". {\n import bad\n}",
        &source,
        "/conf/bad:2 - Error during parsing: Unknown directive 'foo'",
    );
    check_error(
        ". {\n import dir/import\n}",
        &source,
        "/conf/dir/import:1 - Error during parsing: File to import not found: missing",
    );
}

#[test]
fn relative_imports_start_at_the_importing_file() {
    let source = FakeSource::default().file("/etc/coredns/log", "log\n");
    let corefile = parse(
        "/etc/coredns/Corefile",
        ". {\n import log\n}",
        &|_| Known::Yes,
        &source,
    )
    .unwrap();
    assert_eq!(show(&corefile), "[.] log=log");
}

#[test]
fn imports_without_end_are_errors() {
    let source = FakeSource::default().file("/conf/loop", "import loop\n");
    check_error(
        "import loop",
        &source,
        "/conf/loop:1 - Error during parsing: maximum file import depth (100000) exceeded",
    );
    // Two snippets that import each other are only found by counting.
    let text = "(a) {\n import b\n}\n(b) {\n import a\n}\n. {\n import a\n}";
    check_error(
        text,
        &FakeSource::default(),
        "Corefile:5 - Error during parsing: maximum snippet import depth (10000) exceeded",
    );
    // A snippet that doubles with each level reaches the bound of tokens before that of imports.
    let mut bomb = String::from("(s0) {\n x\n}\n");
    for i in 1..40 {
        bomb.push_str(&format!("(s{i}) {{\n"));
        for _ in 0..30 {
            bomb.push_str(&format!(" log {}\n", "x ".repeat(500)));
        }
        bomb.push_str(&format!(" import s{}\n import s{}\n}}\n", i - 1, i - 1));
    }
    bomb.push_str(". {\n import s39\n}\n");
    let error = parse_all(&bomb, &FakeSource::default()).unwrap_err();
    assert_eq!(
        error.message(),
        "configuration is too large with its imports"
    );
}

#[test]
fn the_real_source_reads_the_file_system() {
    let source = RealSource;
    let dir = source.working_dir().unwrap();
    assert_eq!(
        source.glob(&format!("{dir}/Cargo.tom?")).unwrap(),
        [format!("{dir}/Cargo.toml")]
    );
    assert_eq!(source.glob(&format!("{dir}/nothing*")).unwrap(), [""; 0]);
    assert!(source.read("Cargo.toml").unwrap().contains("[package]"));
    assert_eq!(source.read("src"), Err("is a directory".to_owned()));
    assert_eq!(
        source.read("/missing"),
        Err("open /missing: no such file or directory".to_owned())
    );
    assert_eq!(source.env("PERCOREDNS_TEST_UNSET"), None);
    assert_eq!(source.env("a=b"), None);
    assert_eq!(source.env(""), None);
    assert_eq!(source.env("a\0b"), None);
}
