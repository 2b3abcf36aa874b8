//! *proxy* (CoreDNS up to 1.4) to *forward*.

use std::ops::Range;

use super::{Shape, Translation, zone_labels};
use crate::corefile::SetupError;

pub(super) const NAME: &str = "proxy";

/// Both directives take the same zone and upstreams, and an upstream that fails is set aside by both; what differs is how it comes back.
pub(super) fn translate(shape: &Shape<'_>, out: &mut Translation) -> Result<(), SetupError> {
    out.replace(0, &["forward"]);
    out.note(
        0,
        "'proxy' was removed in CoreDNS 1.5.0, 'forward' takes its place",
    );
    let zone = shape.tokens.get(1).map_or("", |token| &token.text);
    out.zone_labels = Some(zone_labels(zone));
    for line in &shape.lines {
        option(shape, line, out)?;
    }
    out.remove_empty_braces(shape);
    Ok(())
}

fn option(shape: &Shape<'_>, line: &Range<usize>, out: &mut Translation) -> Result<(), SetupError> {
    let at = line.start;
    let mut drop = |why: &str| {
        out.remove(line.clone());
        out.note(at, why);
    };
    match shape.words(line)[..] {
        ["except", ..]
        | ["max_fails", ..]
        | ["policy", "random" | "round_robin" | "sequential"] => {}
        ["policy", "first"] => {
            out.replace(at + 1, &["sequential"]);
            out.note(at, "policy 'first' is called 'sequential'");
        }
        ["policy", policy @ ("least_conn" | "header")] => {
            out.replace(at + 1, &["random"]);
            out.note(
                at,
                format!("'forward' has no policy '{policy}', 'random' takes its place"),
            );
        }
        ["fail_timeout", ..] => drop(
            "'forward' has no 'fail_timeout': an upstream that is down is used again as soon as it answers a probe",
        ),
        ["health_check", ..] => drop(
            "'forward' does not ask the upstream's HTTP health page: it probes an upstream that fails with DNS queries",
        ),
        ["spray"] => drop("'spray' is what 'forward' does anyway when all upstreams are down"),
        ["protocol", "dns"] => drop("'protocol dns' is what 'forward' speaks anyway"),
        ["protocol", "dns", how @ ("force_tcp" | "prefer_udp")] => {
            out.remove(at..at + 2);
            out.note(at, format!("'protocol dns {how}' is called '{how}'"));
        }
        ["protocol", "https_google", ..] => {
            return Err(shape.err(
                at,
                "'protocol https_google' of 'proxy' is gone, as is Google's service; \
                 remove the line to ask the upstreams in plain DNS",
            ));
        }
        ["protocol", "grpc", ..] => {
            return Err(shape.err(
                at,
                "'protocol grpc' of 'proxy' became the directive 'grpc', which is not built into percoredns yet; \
                 remove the line if the upstreams answer plain DNS too",
            ));
        }
        ["policy" | "protocol", ..] => {
            let message = format!("'proxy' has no '{}'", shape.words(line).join(" "));
            return Err(shape.err(at, message + REMEDY));
        }
        [option, ..] => {
            return Err(shape.err(at, format!("'proxy' has no option '{option}'{REMEDY}")));
        }
        [] => {}
    }
    Ok(())
}

const REMEDY: &str = "; replace 'proxy' by 'forward' and use its options";
