//! `nsid [DATA...]`.

use crate::corefile::{Args, SetupError};
use crate::transport::interfaces;

pub(super) fn parse(args: &mut Args<'_>) -> Result<String, SetupError> {
    args.next();
    let words = args.remaining_args();
    let data = match words[..] {
        [] => interfaces::hostname(),
        _ => words.join(" "),
    };
    if args.next() {
        return Err(args.once_err());
    }
    Ok(data)
}
