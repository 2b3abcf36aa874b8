//! *federation* (CoreDNS up to 1.6) to *rewrite*.
//!
//! The old directive answered `name.ns.FEDERATION.svc.zone` with the service `name.ns.svc.zone` if that existed in this cluster, else
//! with a CNAME that named the region and zone of a node. The first half is a *rewrite*; the second has no equivalent, because nothing
//! reads the labels of nodes any more, and the notes say so.

use super::{Shape, Translation};
use crate::corefile::zones::zones_of;
use crate::corefile::{SetupError, Token};
use crate::limits;

pub(super) const NAME: &str = "federation";

pub(super) fn translate(
    shape: &Shape<'_>,
    keys: &[Token],
    out: &mut Translation,
) -> Result<(), SetupError> {
    let mut zones: Vec<&str> = shape.words(&(1..shape.head.end));
    if zones.is_empty() {
        zones = keys.iter().map(|key| key.text.as_str()).collect();
    }
    let patterns: Vec<String> = zones.iter().filter_map(|zone| pattern(zone)).collect();
    if patterns.len() > limits::FEDERATION_NAMES || shape.lines.len() > limits::FEDERATION_NAMES {
        let message = format!(
            "federation with more than {} zones or names",
            limits::FEDERATION_NAMES
        );
        return Err(shape.err(0, message));
    }
    out.note(
        0,
        "'federation' was removed in CoreDNS 1.7.0; 'rewrite' takes its place for services of this cluster, \
         names of services that only other clusters have, a CNAME before, are NXDOMAIN now",
    );
    out.remove(0..shape.tokens.len());
    for line in &shape.lines {
        match shape.words(line)[..] {
            ["upstream", ..] => {}
            // Without a zone below the root nothing ever had such a name.
            [_, _] if patterns.is_empty() => {}
            [name, _domain] => {
                let rule = rule(name, &patterns.join("|"));
                out.replace(line.start, &rule.each_ref().map(String::as_str));
            }
            _ => {
                let message = "a line of 'federation' is a name and its domain";
                return Err(shape.err(line.start, message));
            }
        }
    }
    Ok(())
}

/// The words of a rule of *rewrite* that takes the label of a federation out of names, and puts it back into replies.
///
/// `zones` is the inside of a group of a regular expression. Two labels stand in front of a federation's: in `x.NAME.svc.zone` NAME is
/// a namespace.
pub(crate) fn rule(name: &str, zones: &str) -> [String; 10] {
    let literal = escape(name);
    [
        "rewrite".to_owned(),
        "continue".to_owned(),
        "name".to_owned(),
        "regex".to_owned(),
        format!(r"^(.+\.[^.]+)\.{literal}\.svc\.({zones})\.$"),
        "{1}.svc.{2}.".to_owned(),
        "answer".to_owned(),
        "name".to_owned(),
        format!(r"^(.+)\.svc\.({zones})\.$"),
        format!("{{1}}.{}.svc.{{2}}.", name.to_lowercase()),
    ]
}

/// A zone as part of a regular expression, without its last dot. `None` for the root and for what is no zone.
pub(crate) fn pattern(zone: &str) -> Option<String> {
    // A reference to the environment is replaced later; what comes then stays as it is.
    if zone.contains("{$") || zone.contains("{%") {
        return Some(zone.to_owned());
    }
    let zones = zones_of(zone);
    let zone = zones.first()?.as_str().trim_end_matches('.');
    (!zone.is_empty()).then(|| escape(zone))
}

/// The text in lower case, its octets standing for themselves in a regular expression.
fn escape(text: &str) -> String {
    regex::escape(&text.to_lowercase())
}
