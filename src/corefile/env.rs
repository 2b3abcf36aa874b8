//! `{$NAME}` and `{%NAME%}` inside a token, replaced by the value of an environment variable.

/// Replaces the references of `text` until none is left; a value may hold further references.
///
/// An unset variable is empty, an empty name or a missing end stops the replacement. `octets_left` pays for the text
/// scanned, because a value that refers to itself has no end; `None` when it runs out.
pub(super) fn expand(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    octets_left: &mut usize,
) -> Option<String> {
    let text = expand_form(text.to_owned(), "{%", "%}", lookup, octets_left)?;
    expand_form(text, "{$", "}", lookup, octets_left)
}

fn expand_form(
    mut text: String,
    open: &str,
    close: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    octets_left: &mut usize,
) -> Option<String> {
    while let Some(start) = text.find(open) {
        let Some(length) = text[start..].find(close) else {
            break;
        };
        let end = start + length;
        // `{%}` closes inside its own opening; both it and `{%%}` have no name.
        if end <= start + open.len() {
            break;
        }
        let value = lookup(&text[start + open.len()..end]).unwrap_or_default();
        let reference = text[start..end + close.len()].to_owned();
        // Priced before it is built: every occurrence is replaced, so one step can multiply the text.
        let grown = text.matches(&reference).count().saturating_mul(value.len());
        *octets_left = octets_left
            .checked_sub(text.len().saturating_add(grown).saturating_add(STEP_OCTETS))?;
        text = text.replace(&reference, &value);
    }
    Some(text)
}

/// What one replacement costs beside its text: the look-up and the copies.
const STEP_OCTETS: usize = 64;
