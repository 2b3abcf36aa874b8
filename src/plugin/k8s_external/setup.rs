//! `k8s_external [ZONES...] { options }`.

use std::sync::Arc;

use super::Config;
use crate::corefile::{Args, Fall, SetupError, origins_from_args_or_block};
use crate::plugin::SetupCx;
use crate::wire::name::NameBuf;

pub(super) fn parse(args: &mut Args<'_>, cx: &mut SetupCx<'_>) -> Result<Config, SetupError> {
    let mut config = Config {
        offers: Arc::clone(&cx.settings.offers),
        zones: Vec::new(),
        apex: Box::from(&b"dns"[..]),
        ttl_s: 5,
        is_headless: false,
        fall: Fall::default(),
    };
    // The last occurrence tells the zones, all of them the options.
    while args.next() {
        config.zones = origins_from_args_or_block(&args.remaining_args(), cx.zones);
        while args.next_block() {
            property(&mut config, args)?;
        }
    }
    match cx.directives.contains(&"kubernetes") {
        true => Ok(config),
        false => Err(SetupError::plain("kubernetes plugin not loaded")),
    }
}

fn property(config: &mut Config, args: &mut Args<'_>) -> Result<(), SetupError> {
    let name = args.val();
    let words = args.remaining_args();
    match (name, &words[..]) {
        ("ttl", [text, ..]) => {
            let ttl: i64 = text.parse().map_err(|_| {
                SetupError::plain(format!("strconv.Atoi: parsing {text:?}: invalid syntax"))
            })?;
            let is_valid = (0..=TTL_S_MAX).contains(&ttl);
            config.ttl_s = u32::try_from(ttl)
                .ok()
                .filter(|_| is_valid)
                .ok_or_else(|| args.err(format!("ttl must be in range [0, {TTL_S_MAX}]: {ttl}")))?;
        }
        ("apex", [label, ..]) => {
            config.apex = apex(label)
                .ok_or_else(|| args.err(format!("apex must be one label of a name: {label}")))?;
        }
        ("headless", _) => config.is_headless = true,
        ("fallthrough", zones) => config.fall = Fall::from_args(zones),
        ("ttl" | "apex", _) => return Err(args.arg_err()),
        (other, _) => return Err(args.unknown_property(other)),
    }
    Ok(())
}

/// The label in lower case.
fn apex(text: &str) -> Option<Box<[u8]>> {
    let name = NameBuf::from_text(text).ok()?.to_lower();
    match name.as_wire() {
        [len, label @ .., 0] if usize::from(*len) == label.len() => Some(label.into()),
        _ => None,
    }
}

const TTL_S_MAX: i64 = 3600;
