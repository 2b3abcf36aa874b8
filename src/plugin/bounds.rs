//! Bounds of single transports, as their directives spell them.

use crate::corefile::{Args, SetupError};

/// Reads the number behind the name of a bound, which a block may give once; 0 is no bound.
///
/// # Errors
/// No number, more than one word, or a second one, in CoreDNS's words.
pub(super) fn transport_bound(
    args: &mut Args<'_>,
    bound: &mut Option<usize>,
) -> Result<(), SetupError> {
    let name = args.val();
    let [word] = args.remaining_args()[..] else {
        return Err(args.arg_err());
    };
    let Ok(number) = word.parse() else {
        return Err(args.err(format!(
            "invalid {name} value '{word}': needs to be a whole number, 0 for no bound"
        )));
    };
    if bound.replace(number).is_some() {
        return Err(args.err(format!("{name} already defined for this server block")));
    }
    Ok(())
}
