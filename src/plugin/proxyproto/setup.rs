//! `proxyproto { allow CIDR...; default use|ignore|reject|skip; udp_session_tracking DURATION [MAX] }`.

use std::sync::Arc;

use crate::corefile::{Args, SetupError};
use crate::lang::cidr::Net;
use crate::lang::duration;
use crate::limits;
use crate::plugin::SetupCx;
use crate::transport::proxy::{Policy, Tracking, Treatment};

pub(super) fn parse(args: &mut Args<'_>, cx: &mut SetupCx<'_>) -> Result<(), SetupError> {
    let (mut allow, mut default, mut tracking) = (Vec::new(), None, None);
    while args.next() {
        args.expect_line_end()?;
        while args.next_block() {
            match args.val() {
                "allow" => {
                    for word in args.remaining_args() {
                        let net = Net::parse(word)
                            .map_err(|error| SetupError::plain(format!("{word}: {error}")))?;
                        allow.push(net);
                    }
                }
                "default" => default = Some(treatment(args)?),
                "udp_session_tracking" => tracking = self::tracking(args)?,
                other => return Err(args.err(format!("unknown option '{other}'"))),
            }
        }
    }
    // Who names no proxy believes all, unless told otherwise.
    let unsaid = match allow.is_empty() {
        true => Treatment::Use,
        false => Treatment::Ignore,
    };
    cx.settings.proxies = Some(Arc::new(Policy {
        allow: allow.into_iter().collect(),
        others: default.unwrap_or(unsaid),
        tracking,
    }));
    Ok(())
}

fn treatment(args: &mut Args<'_>) -> Result<Treatment, SetupError> {
    let words = args.remaining_args();
    let [word] = words[..] else {
        return Err(args.arg_err());
    };
    match &*word.to_lowercase() {
        "use" => Ok(Treatment::Use),
        "ignore" => Ok(Treatment::Ignore),
        "reject" => Ok(Treatment::Reject),
        "skip" => Ok(Treatment::Skip),
        _ => Err(args.arg_err()),
    }
}

/// None for a time that is not positive, which turns it off.
fn tracking(args: &mut Args<'_>) -> Result<Option<Tracking>, SetupError> {
    let words = args.remaining_args();
    let (time, sessions) = match words[..] {
        [time] => (time, limits::PROXY_SESSIONS),
        [time, sessions] => (time, self::sessions(sessions)?),
        _ => return Err(args.arg_err()),
    };
    let ttl = duration::parse(time).map_err(|error| {
        SetupError::plain(format!(
            "udp_session_tracking: invalid duration {time:?}: {error}"
        ))
    })?;
    let ttl_ns = u64::try_from(ttl.nanos()).ok().filter(|ttl| *ttl > 0);
    Ok(ttl_ns.map(|ttl_ns| Tracking { ttl_ns, sessions }))
}

fn sessions(word: &str) -> Result<usize, SetupError> {
    let number: Option<i64> = word.parse().ok().filter(|number| *number > 0);
    let number = number.ok_or_else(|| {
        SetupError::plain(format!(
            "udp_session_tracking: invalid max sessions {word:?}: must be a positive integer"
        ))
    })?;
    let most = limits::PROXY_SESSIONS_MAX;
    usize::try_from(number)
        .ok()
        .filter(|number| *number <= most)
        .ok_or_else(|| {
            SetupError::plain(format!(
                "udp_session_tracking: max sessions {word} exceeds what memory is kept for ({most})"
            ))
        })
}
