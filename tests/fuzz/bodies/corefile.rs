//! Any text as a Corefile: parsed, its keys checked, its arguments read as plugins read them.

use percoredns::corefile::{self, Args, Corefile, Known, Source, address};

/// What imports and environment references find. No value refers to itself: that runs into a bound that takes a tenth of
/// a second to reach, and has a test of its own.
struct Fake;

impl Source for Fake {
    fn env(&self, name: &str) -> Option<String> {
        let value = match name {
            "A" => "x y",
            "B" => "{$A}{%A%}",
            _ => return None,
        };
        Some(value.to_owned())
    }

    fn glob(&self, pattern: &str) -> Result<Vec<String>, String> {
        let name = pattern.rsplit('/').next().unwrap_or_default();
        Ok(match name {
            "f" | "g" | "gone" => vec![format!("/{name}")],
            "*" => vec!["/f".to_owned(), "/g".to_owned()],
            _ => Vec::new(),
        })
    }

    fn read(&self, path: &str) -> Result<String, String> {
        match path {
            "/f" => Ok("(s) {\n log {$A}\n import t\n}\n".to_owned()),
            "/g" => Ok("log a {\n class x\n}\n".to_owned()),
            _ => Err("no such file or directory".to_owned()),
        }
    }

    fn working_dir(&self) -> Result<String, String> {
        Ok("/".to_owned())
    }
}

fn parse(text: &str) -> Option<Corefile> {
    let known = |name: &str| if name == "no" { Known::No } else { Known::Yes };
    corefile::parse("Corefile", text, &known, &Fake).ok()
}

/// One input.
pub fn run(octets: &[u8]) {
    let text = String::from_utf8_lossy(octets);
    let Some(corefile) = parse(&text) else { return };
    assert_eq!(
        Some(corefile.digest()),
        parse(&text).map(|corefile| corefile.digest())
    );
    let mut overlap = address::Overlap::default();
    for block in &corefile.blocks {
        assert!(!block.keys.is_empty());
        for key in address::keys(block, 53).unwrap_or_default() {
            // Any outcome will do.
            let _ = overlap.add(&key, "", false);
        }
        for directive in &block.directives {
            let mut args = Args::new(directive);
            let mut lines = 0;
            while args.next() {
                corefile::zones::zones_of(args.val());
                args.remaining_args();
                while args.next_block() {
                    lines += 1;
                    assert!(lines <= directive.tokens.len(), "a block never ends");
                    args.remaining_args();
                }
            }
        }
    }
}
