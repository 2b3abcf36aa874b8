//! *metadata*: lets plugins leave labels on queries for other plugins.

mod setup;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::corefile::{Args, SetupError, ZoneName};
use crate::plugin::{OpenCx, Plugin, Query, SetupCx};

/// See the README beside this file.
pub struct Metadata {
    zones: Arc<Vec<ZoneName>>,
}

impl Plugin for Metadata {
    type Config = Vec<ZoneName>;

    fn setup(args: &mut Args<'_>, cx: &mut SetupCx<'_>) -> Result<Vec<ZoneName>, SetupError> {
        setup::parse(args, cx)
    }

    fn open(config: &Arc<Vec<ZoneName>>, _: &OpenCx<'_>) -> Metadata {
        Metadata {
            zones: Arc::clone(config),
        }
    }

    fn on_metadata(&self, query: &mut Query) {
        // Another block may have been tried before and left its labels.
        query.meta.clear();
        query.meta.enabled = self
            .zones
            .iter()
            .any(|zone| zone.is_suffix_of(query.name()));
    }
}
