//! `any`: nothing to configure.

use crate::corefile::Args;
use crate::telemetry::log;

/// CoreDNS does not look at what follows, so a Corefile may have it; a warning is all it gets.
pub(super) fn parse(args: &mut Args<'_>) {
    while args.next() {
        if args.val() != args.name() {
            let (word, line) = (args.val(), args.line());
            log::warning(
                Some("any"),
                format_args!("'{word}' on line {line} is ignored: any takes no arguments"),
            );
        }
    }
}
