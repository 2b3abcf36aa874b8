//! Options that a directive had and has no more, while the directive itself is still there.

use super::{Shape, Translation};

/// One old option.
struct Old {
    directive: &'static str,
    /// The words with which its line begins.
    begins: &'static [&'static str],
    /// The line that takes its place; empty for none.
    becomes: &'static [&'static str],
    why: &'static str,
}

/// Whether the directive has old options.
pub(super) fn has(directive: &str) -> bool {
    OPTIONS.iter().any(|old| old.directive == directive)
}

pub(super) fn translate(shape: &Shape<'_>, out: &mut Translation) {
    for line in &shape.lines {
        let words = shape.words(line);
        let is_it = |old: &&Old| old.directive == shape.text(0) && words.starts_with(old.begins);
        if let Some(old) = OPTIONS.iter().find(is_it) {
            out.remove(line.clone());
            if !old.becomes.is_empty() {
                out.replace(line.start, old.becomes);
            }
            out.note(line.start, old.why);
        }
    }
    out.remove_empty_braces(shape);
}

const TRANSFER: &str = "option 'transfer to' became the directive 'transfer' in CoreDNS 1.8.0, which is not built into percoredns yet: \
     the zone is not transferred and no NOTIFY is sent";
const NO_RELOAD: &str = "option 'no_reload' is written 'reload 0'";

const OPTIONS: &[Old] = &[
    Old {
        directive: "kubernetes",
        begins: &["upstream"],
        becomes: &[],
        why: "option 'upstream' was removed in CoreDNS 1.7.0: targets of ExternalName services are looked up through this server",
    },
    Old {
        directive: "kubernetes",
        begins: &["resyncperiod"],
        becomes: &[],
        why: "option 'resyncperiod' was removed in CoreDNS 1.7.0: the API server sends every change when it happens",
    },
    Old {
        directive: "kubernetes",
        begins: &["transfer", "to"],
        becomes: &[],
        why: TRANSFER,
    },
    Old {
        directive: "file",
        begins: &["transfer", "to"],
        becomes: &[],
        why: TRANSFER,
    },
    Old {
        directive: "file",
        begins: &["no_reload"],
        becomes: &["reload", "0"],
        why: NO_RELOAD,
    },
    Old {
        directive: "auto",
        begins: &["transfer", "to"],
        becomes: &[],
        why: TRANSFER,
    },
    Old {
        directive: "auto",
        begins: &["no_reload"],
        becomes: &["reload", "0"],
        why: NO_RELOAD,
    },
    Old {
        directive: "secondary",
        begins: &["transfer", "to"],
        becomes: &[],
        why: TRANSFER,
    },
];
