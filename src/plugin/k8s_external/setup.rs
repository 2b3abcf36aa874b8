//! `k8s_external [ZONES...] { options }`.

use std::sync::Arc;

use super::Config;
use crate::corefile::{Args, Fall, SetupError, origins_from_args_or_block};
use crate::kube::External;
use crate::plugin::SetupCx;
use crate::wire::name::NameBuf;

pub(super) fn parse(args: &mut Args<'_>, cx: &mut SetupCx<'_>) -> Result<Config, SetupError> {
    let mut external = External {
        zones: Vec::new(),
        apex: Box::from(&b"dns"[..]),
        is_headless: false,
        fall: Fall::default(),
    };
    let mut ttl_s = 5;
    // The last occurrence tells the zones, all of them the options.
    while args.next() {
        external.zones = origins_from_args_or_block(&args.remaining_args(), cx.zones);
        while args.next_block() {
            property(&mut external, &mut ttl_s, args)?;
        }
    }
    if !cx.directives.contains(&"kubernetes") {
        return Err(SetupError::plain("kubernetes plugin not loaded"));
    }
    let external = Arc::new(external);
    let offers = Arc::clone(&cx.settings.offers);
    // The directive is set up once in a block.
    let _ = offers.external.set(Arc::clone(&external));
    Ok(Config {
        offers,
        external,
        ttl_s,
    })
}

fn property(
    external: &mut External,
    ttl_s: &mut u32,
    args: &mut Args<'_>,
) -> Result<(), SetupError> {
    let name = args.val();
    let words = args.remaining_args();
    match (name, &words[..]) {
        ("ttl", [text, ..]) => {
            let ttl: i64 = text.parse().map_err(|_| {
                SetupError::plain(format!("strconv.Atoi: parsing {text:?}: invalid syntax"))
            })?;
            let is_valid = (0..=TTL_S_MAX).contains(&ttl);
            *ttl_s = u32::try_from(ttl)
                .ok()
                .filter(|_| is_valid)
                .ok_or_else(|| args.err(format!("ttl must be in range [0, {TTL_S_MAX}]: {ttl}")))?;
        }
        ("apex", [label, ..]) => {
            external.apex = apex(label)
                .ok_or_else(|| args.err(format!("apex must be one label of a name: {label}")))?;
        }
        ("headless", _) => external.is_headless = true,
        ("fallthrough", zones) => external.fall = Fall::from_args(zones),
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
