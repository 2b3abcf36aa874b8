//! `root PATH`.

use std::fs;
use std::io;
use std::path::PathBuf;

use crate::corefile::import::go_io_error;
use crate::corefile::{Args, SetupError};
use crate::plugin::SetupCx;
use crate::telemetry::log;

pub(super) fn parse(args: &mut Args<'_>, cx: &mut SetupCx<'_>) -> Result<(), SetupError> {
    while args.next() {
        cx.settings.root = PathBuf::from(args.expect_arg()?);
    }
    let path = &cx.settings.root;
    let shown = path.display();
    match fs::metadata(path) {
        Ok(_) => Ok(()),
        // The directory may appear later.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            log::warning(
                Some("root"),
                format_args!("Root path does not exist: {shown}"),
            );
            Ok(())
        }
        Err(error) => {
            let reason = go_io_error(&error);
            Err(args.err(format!(
                "unable to access root path '{shown}': stat {shown}: {reason}"
            )))
        }
    }
}
