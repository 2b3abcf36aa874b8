use std::collections::HashMap;

use super::*;

mod args;
mod digests;
mod field;
mod imports;
mod lexing;
mod properties;

/// An environment and a file system in memory.
#[derive(Default)]
pub(super) struct FakeSource {
    env: HashMap<&'static str, String>,
    files: Vec<(&'static str, String)>,
}

impl FakeSource {
    pub(super) fn env(mut self, name: &'static str, value: &str) -> Self {
        self.env.insert(name, value.to_owned());
        self
    }

    pub(super) fn file(mut self, path: &'static str, text: &str) -> Self {
        self.files.push((path, text.to_owned()));
        self
    }
}

impl Source for FakeSource {
    fn env(&self, name: &str) -> Option<String> {
        self.env.get(name).cloned()
    }

    fn glob(&self, pattern: &str) -> Result<Vec<String>, String> {
        let matches = |path: &str| match pattern.split_once('*') {
            Some((start, end)) => path.starts_with(start) && path.ends_with(end),
            None => path == pattern,
        };
        Ok(self
            .files
            .iter()
            .filter(|file| matches(file.0))
            .map(|file| file.0.to_owned())
            .collect())
    }

    fn read(&self, path: &str) -> Result<String, String> {
        let file = self.files.iter().find(|file| file.0 == path);
        file.map(|file| file.1.clone())
            .ok_or_else(|| "no such file or directory".to_owned())
    }

    fn working_dir(&self) -> Result<String, String> {
        Ok("/conf".to_owned())
    }
}

pub(super) fn parse_all(text: &str, source: &FakeSource) -> Result<Corefile, ParseError> {
    let known = |name: &str| match name {
        "foo" | "reverse" | "proxy" | "federation" | "alternate" => Known::No,
        "outside" => Known::Outside("a hint"),
        "later" => Known::NotBuilt,
        _ => Known::Yes,
    };
    parse("Corefile", text, &known, source)
}

/// `[key key] name=word,word/word name=...` per block, where `/` starts a line.
pub(super) fn show(corefile: &Corefile) -> String {
    let mut text = String::new();
    for block in &corefile.blocks {
        let keys: Vec<_> = block.keys.iter().map(|key| key.text.as_str()).collect();
        text.push_str(&format!("[{}]", keys.join(" ")));
        for directive in &block.directives {
            text.push_str(&format!(" {}=", directive.name));
            let mut previous: Option<&Token> = None;
            for token in &directive.tokens {
                match previous {
                    Some(previous) if previous.shares_line_with(token) => text.push(','),
                    Some(_) => text.push('/'),
                    None => {}
                }
                text.push_str(&token.text);
                previous = Some(token);
            }
        }
        text.push('\n');
    }
    text.trim_end().to_owned()
}

#[test]
fn structure_is_read() {
    #[track_caller]
    fn check(text: &str, want: &str) {
        let corefile = parse_all(text, &FakeSource::default()).map(|corefile| show(&corefile));
        assert_eq!(corefile.as_deref(), Ok(want), "{text}");
    }
    check("", "");
    check("# nothing\n", "");
    check("(snippet) {\n log\n}\n", "");
    check(".", "[.]");
    check("example.org", "[example.org]");
    check("example.org { }", "[example.org]");
    check(
        ".:53 {\n errors\n cache 30 {\n  success 1\n }\n}",
        "[.:53] errors=errors cache=cache,30,{/success,1/}",
    );
    check("a b, c,\nd {\n log\n}\ne {\n}", "[a b c d] log=log\n[e]");
    check("a\nlog\nerrors x y\n", "[a] log=log errors=errors,x,y");
    check(
        ". {\n log a\n errors\n log b {\n  c\n }\n}",
        "[.] log=log,a/log,b,{/c/} errors=errors",
    );
    check(
        ". {\n a {\n  b {\n   c\n  }\n  d\n }\n}",
        "[.] a=a,{/b,{/c/}/d/}",
    );
    // The brace of a directive may open on the next line; the plugin then sees no block on its own line.
    check(". {\n a x\n {\n  b\n }\n}", "[.] a=a,x/{/b/}");
    check(". {}\n", "[. {}]");
    // A missing closing brace goes unseen when the last word is one.
    check(". {\n a {\n }\n", "[.] a=a,{/}");
    check("{\n log\n}", "");
    check("\"\" . {\n}", "[.]");
    check(
        ". {\n log \"a b\nc\" d\n errors\n}",
        "[.] log=log,a b\nc,d errors=errors",
    );
}

#[test]
fn errors_have_their_place_and_wording() {
    #[track_caller]
    fn check(text: &str, want: &str) {
        let error = parse_all(text, &FakeSource::default()).unwrap_err();
        assert_eq!(error.to_string(), want, "{text}");
    }
    check(
        ". {\n errors\n foo x\n}",
        "Corefile:3 - Error during parsing: Unknown directive 'foo'",
    );
    check(
        ". {\n reverse\n}",
        "Corefile:2 - Error during parsing: Unknown directive 'reverse' (removed from CoreDNS: use 'template')",
    );
    check(
        ". {\n outside\n}",
        "Corefile:2 - Error during parsing: Unknown directive 'outside' (a hint)",
    );
    check(
        ". {\n later\n}",
        "Corefile:2 - Error during parsing: directive 'later' is part of CoreDNS but not built into percoredns yet; \
         remove it or serve this block with CoreDNS",
    );
    check(
        "a, {\n}",
        "Corefile:1 - Error during parsing: Expected another address but had '{' - check for extra comma",
    );
    check("a,", "Corefile:1 - Error during parsing: Unexpected EOF");
    check(
        ". {\n a {\n  b\n",
        "Corefile:3 - Error during parsing: Unexpected EOF",
    );
    check(
        ". {\n a b\n",
        "Corefile:2 - Syntax error: Unexpected token 'b', expecting '}'",
    );
    check(
        ". {\n a b }\n}",
        "Corefile:2 - Error during parsing: Unexpected '}' because no matching opening brace",
    );
    check(
        "(s)\nlog\n",
        "Corefile:2 - Syntax error: Unexpected token 'log', expecting '{'",
    );
    check(
        "(s) {\n log\n",
        "Corefile:2 - Syntax error: Unexpected token 'log', expecting '}'",
    );
    check(
        "(s) {\n}\n(s) {\n}\n",
        "Corefile:3 - Error during parsing: redeclaration of previously declared snippet s",
    );
    check(
        "(s) {\n log\n import s\n}\n",
        "Corefile:4 - Error during parsing: maximum snippet import depth (10000) exceeded",
    );
    check(
        ". {\n import\n}",
        "Corefile:2 - Error during parsing: Wrong argument count or unexpected line ending after 'import'",
    );
    check(
        ". {\n import \"\"\n}",
        "Corefile:2 - Error during parsing: Import requires a non-empty filepath",
    );
    check(
        ". {\n import a b\n}",
        "Corefile:2 - Error during parsing: Import takes only one argument (glob pattern or file)",
    );
    check(
        "import missing",
        "Corefile:1 - Error during parsing: File to import not found: missing",
    );
    check(
        "import a*b*",
        "Corefile:1 - Error during parsing: Glob pattern may only contain one wildcard (*), but has others: /conf/a*b*",
    );
}
