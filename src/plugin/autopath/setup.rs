//! `autopath [ZONES...] RESOLV-CONF | @PLUGIN`.

use std::sync::Arc;

use super::{Config, Path};
use crate::corefile::{Args, SetupError, origins_from_args_or_block};
use crate::plugin::{Offers, SetupCx};
use crate::search::{Fixed, resolv_conf};

pub(super) fn parse(args: &mut Args<'_>, cx: &mut SetupCx<'_>) -> Result<Config, SetupError> {
    let mut config = Config {
        zones: Vec::new(),
        path: Path::None,
    };
    // The last occurrence counts.
    while args.next() {
        let words = args.remaining_args();
        let Some((source, zones)) = words.split_last() else {
            return Err(SetupError::plain("no resolv-conf specified"));
        };
        config.zones = origins_from_args_or_block(zones, cx.zones);
        config.path = match source.strip_prefix('@') {
            Some(name) => offered(name, cx)?,
            None => {
                let search = resolv_conf::search(source).map_err(|error| {
                    let text = format!("failed to parse {source:?}: open {source}: {error}");
                    SetupError::plain(text)
                })?;
                Path::File(Fixed(search))
            }
        };
    }
    Ok(config)
}

/// A directive that is not in the block leaves nothing to do, as in CoreDNS; one that knows of no clients is an error.
fn offered(name: &str, cx: &SetupCx<'_>) -> Result<Path, SetupError> {
    if !cx.directives.contains(&name) {
        return Ok(Path::None);
    }
    match Offers::search_slot(name) {
        Some(slot) => Ok(Path::Offered(slot, Arc::clone(&cx.settings.offers))),
        None => Err(SetupError::plain(format!(
            "{name} does not implement the AutoPather interface"
        ))),
    }
}
