//! `cache [TTL] [ZONES...] { success; denial; prefetch; serve_stale; serve_stale_policy; servfail; disable; keepttl }`, once.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::budget::Budget;
use super::{Config, Kept, Limits, Prefetch, Stale, warm};
use crate::cache::{Plan, Share, Store};
use crate::corefile::{Args, SetupError, ZoneName, origins_from_args_or_block};
use crate::lang::duration::{self, GoDuration};
use crate::limits;
use crate::plugin::SetupCx;
use crate::tune::{CoreSettings, Settings};

/// Reads the directive of a block and finds or makes its store.
pub(super) fn parse(args: &mut Args<'_>, cx: &mut SetupCx<'_>) -> Result<Config, SetupError> {
    let mut options = Options::default();
    let mut zones = None;
    while args.next() {
        if zones.is_some() {
            return Err(args.once_err());
        }
        let words = args.remaining_args();
        let mut names = &words[..];
        if let Some(ttl_s) = names.first().and_then(|word| atoi(word).ok()) {
            let ttl_s = positive_ttl(ttl_s)?;
            (options.success.ttl_max_s, options.denial.ttl_max_s) = (ttl_s, ttl_s);
            names = &names[1..];
        }
        zones = Some(origins_from_args_or_block(names, cx.zones));
        while args.next_block() {
            options.read(args)?;
        }
    }
    options.finish(zones.unwrap_or_default(), cx)
}

struct Options {
    success: Limits,
    denial: Limits,
    servfail_ttl_s: u32,
    keep_ttl: bool,
    prefetch: Option<Prefetch>,
    stale: Option<Stale>,
    prefer_positive: bool,
}

impl Default for Options {
    fn default() -> Options {
        let limits = |ttl_max_s| Limits {
            capacity: CAPACITY,
            ttl_max_s,
            ttl_min_s: TTL_MIN_S,
            disabled: Vec::new(),
        };
        Options {
            success: limits(TTL_MAX_S),
            denial: limits(TTL_MAX_S / 2),
            servfail_ttl_s: TTL_MIN_S,
            keep_ttl: false,
            prefetch: None,
            stale: None,
            prefer_positive: false,
        }
    }
}

impl Options {
    /// Reads the property that the cursor stands on.
    fn read(&mut self, args: &mut Args<'_>) -> Result<(), SetupError> {
        match args.val() {
            "success" => read_limits(&mut self.success, args),
            "denial" => read_limits(&mut self.denial, args),
            "prefetch" => {
                self.prefetch = prefetch(args)?;
                Ok(())
            }
            "serve_stale" => {
                self.stale = stale(args)?;
                Ok(())
            }
            "serve_stale_policy" => self.read_policy(args),
            "servfail" => {
                self.servfail_ttl_s = servfail(args)?;
                Ok(())
            }
            "disable" => self.read_disable(args),
            "keepttl" => {
                args.expect_line_end()?;
                self.keep_ttl = true;
                Ok(())
            }
            _ => Err(args.arg_err()),
        }
    }

    fn read_policy(&mut self, args: &mut Args<'_>) -> Result<(), SetupError> {
        let words = args.remaining_args();
        let [policy] = words[..] else {
            return Err(args.arg_err());
        };
        if self.prefer_positive {
            return Err(SetupError::plain(
                "serve_stale_policy can only be specified once",
            ));
        }
        if policy != "prefer_positive" {
            return Err(SetupError::plain(format!(
                "invalid value for serve_stale_policy: {policy}"
            )));
        }
        self.prefer_positive = true;
        Ok(())
    }

    fn read_disable(&mut self, args: &mut Args<'_>) -> Result<(), SetupError> {
        let words = args.remaining_args();
        let [kind, names @ ..] = &words[..] else {
            return Err(args.arg_err());
        };
        let zone = |name: &&str| {
            ZoneName::new(name)
                .ok_or_else(|| SetupError::plain(format!("invalid disabled zone: {name}")))
        };
        let zones = match names {
            [] => vec![ZoneName::root()],
            names => names.iter().map(zone).collect::<Result<_, _>>()?,
        };
        match *kind {
            "success" => self.success.disabled = zones,
            "denial" => self.denial.disabled = zones,
            _ => {
                return Err(SetupError::plain(
                    r#"cache type for disable must be "success" or "denial""#,
                ));
            }
        }
        Ok(())
    }

    fn finish(self, zones: Vec<ZoneName>, cx: &mut SetupCx<'_>) -> Result<Config, SetupError> {
        if self.prefer_positive && self.stale.is_none() {
            return Err(SetupError::plain(
                "serve_stale_policy requires serve_stale to be enabled",
            ));
        }
        let grace_s = self.stale.map_or(0, |stale| stale.up_to_s);
        let (success, denial) = (self.success.capacity, self.denial.capacity);
        let plan = Plan {
            shares: shares(cx.tune),
            success,
            denial,
            grace_s,
        };
        let budget = cx
            .tune
            .cache_octets_max
            .map(|octets_max| cx.carry.obtain("cache octets", || Budget::new(octets_max)));
        let warmth = warm::keeper(cx);
        // The digest changes with anything in the block, so what is kept was made by the same directives.
        let kept = cx.carry.obtain(&format!("cache {}", cx.block_digest), || {
            let store = Store::planned(&plan);
            let budget = budget.map(|budget| budget.admit(&store));
            if let Some(keeper) = &warmth {
                keeper.warm(cx.block_digest, &store);
            }
            Arc::new(Kept {
                _warmth: warmth,
                _budget: budget,
                store,
                gauges: OnceLock::new(),
            })
        });
        Ok(Config {
            zones,
            success: self.success,
            denial: self.denial,
            servfail_ttl_s: self.servfail_ttl_s,
            keep_ttl: self.keep_ttl,
            prefetch: self.prefetch,
            stale: self.stale,
            prefer_positive: self.prefer_positive,
            offers: Arc::clone(&cx.settings.offers),
            kept,
        })
    }
}

fn shares(tune: &Settings) -> Vec<Share> {
    let share = |core: &CoreSettings| Share {
        weight: core.cache_share,
        huge_pages: core.huge_pages,
    };
    tune.cores.iter().map(share).collect()
}

/// `success|denial CAPACITY [TTL [MINTTL]]`; further words are ignored, as CoreDNS does.
fn read_limits(limits: &mut Limits, args: &mut Args<'_>) -> Result<(), SetupError> {
    let words = args.remaining_args();
    let Some(capacity) = words.first() else {
        return Err(args.arg_err());
    };
    let capacity = number(capacity)?;
    // Anything small is rounded up, as in CoreDNS.
    limits.capacity = usize::try_from(capacity).unwrap_or(0).max(CAPACITY_MIN);
    if limits.capacity > limits::CACHE_CAPACITY {
        let max = limits::CACHE_CAPACITY;
        return Err(SetupError::plain(format!(
            "cache capacity {capacity} is more than the {max} that are supported"
        )));
    }
    if let Some(ttl) = words.get(1) {
        limits.ttl_max_s = positive_ttl(number(ttl)?)?;
    }
    if let Some(ttl) = words.get(2) {
        let ttl = number(ttl)?;
        if ttl < 0 {
            return Err(SetupError::plain(format!(
                "cache min TTL can not be negative: {ttl}"
            )));
        }
        limits.ttl_min_s = seconds(ttl);
    }
    Ok(())
}

/// `prefetch AMOUNT [DURATION [PERCENTAGE%]]`; an amount of 0 switches it off.
fn prefetch(args: &mut Args<'_>) -> Result<Option<Prefetch>, SetupError> {
    let words = args.remaining_args();
    if words.is_empty() || words.len() > 3 {
        return Err(args.arg_err());
    }
    let amount = number(words[0])?;
    if amount < 0 {
        return Err(SetupError::plain(format!(
            "prefetch amount should be positive: {amount}"
        )));
    }
    let mut gap = Duration::from_secs(60);
    if let Some(word) = words.get(1) {
        gap = parse_duration(word)?.to_std().unwrap_or(Duration::ZERO);
    }
    let mut percent = 10;
    if let Some(word) = words.get(2) {
        let Some(digits) = word.strip_suffix('%') else {
            let last = word.chars().next_back().unwrap_or(' ');
            return Err(SetupError::plain(format!(
                "last character of percentage should be `%`, but is: '{last}'"
            )));
        };
        percent = number(digits)?;
        if !(10..=90).contains(&percent) {
            return Err(SetupError::plain(format!(
                "percentage should fall in range [10, 90]: {percent}"
            )));
        }
    }
    let amount = seconds(amount);
    Ok((amount > 0).then_some(Prefetch {
        amount,
        gap_ns: nanos(gap),
        percent: seconds(percent),
    }))
}

/// `serve_stale [DURATION [immediate [TTL [RECHECK]] | verify [TIMEOUT [TTL [RECHECK]]]]]`; a duration of 0 switches it off.
fn stale(args: &mut Args<'_>) -> Result<Option<Stale>, SetupError> {
    let words = args.remaining_args();
    let up_to = match words.first() {
        Some(word) => parse_duration(word)?
            .to_std()
            .ok_or_else(|| SetupError::plain("invalid negative duration for serve_stale"))?,
        None => Duration::from_secs(3600),
    };
    let mut rest = words.get(2..).unwrap_or(&[]);
    let mut verify_ns = None;
    match words
        .get(1)
        .map(|word| word.to_ascii_lowercase())
        .as_deref()
    {
        None | Some("immediate") => {}
        Some("verify") => {
            let timeout = match rest {
                [word, ..] => not_negative(word, "verify timeout")?,
                [] => Duration::ZERO,
            };
            verify_ns = Some(nanos(timeout));
            rest = rest.get(1..).unwrap_or(&[]);
        }
        Some(mode) => {
            return Err(SetupError::plain(format!(
                "invalid value for serve_stale refresh mode: {mode}"
            )));
        }
    }
    if rest.len() > 2 {
        return Err(args.arg_err());
    }
    let reply_ttl = rest.first().map_or(Ok(Duration::ZERO), |word| {
        not_negative(word, "response TTL")
    })?;
    if reply_ttl.subsec_nanos() != 0 {
        return Err(SetupError::plain(
            "serve_stale response TTL must be a whole number of seconds",
        ));
    }
    let recheck = rest.get(1).map_or(Ok(Duration::ZERO), |word| {
        not_negative(word, "failure recheck")
    })?;
    if recheck > FIVE_MINUTES {
        return Err(SetupError::plain(
            "serve_stale failure recheck over 5 minutes is not permitted",
        ));
    }
    let up_to_s = seconds(up_to.as_secs().try_into().unwrap_or(i64::MAX));
    Ok((up_to_s > 0).then_some(Stale {
        up_to_s,
        verify_ns,
        reply_ttl_s: seconds(reply_ttl.as_secs().try_into().unwrap_or(i64::MAX)),
        recheck_ns: nanos(recheck),
    }))
}

/// `servfail DURATION` in whole seconds.
fn servfail(args: &mut Args<'_>) -> Result<u32, SetupError> {
    let words = args.remaining_args();
    let [word] = words[..] else {
        return Err(args.arg_err());
    };
    let Some(ttl) = parse_duration(word)?.to_std() else {
        return Err(SetupError::plain("invalid negative ttl for servfail"));
    };
    // RFC 2308 section 7.1: not longer than five minutes.
    if ttl > FIVE_MINUTES {
        return Err(SetupError::plain(
            "caching SERVFAIL responses over 5 minutes is not permitted",
        ));
    }
    Ok(ttl.as_secs() as u32)
}

fn not_negative(word: &str, what: &str) -> Result<Duration, SetupError> {
    let negative = || SetupError::plain(format!("invalid negative {what} for serve_stale: {word}"));
    parse_duration(word)?.to_std().ok_or_else(negative)
}

fn parse_duration(word: &str) -> Result<GoDuration, SetupError> {
    duration::parse(word).map_err(SetupError::plain)
}

fn positive_ttl(ttl_s: i64) -> Result<u32, SetupError> {
    if ttl_s <= 0 {
        return Err(SetupError::plain(format!(
            "cache TTL can not be zero or negative: {ttl_s}"
        )));
    }
    Ok(seconds(ttl_s))
}

fn number(word: &str) -> Result<i64, SetupError> {
    atoi(word).map_err(SetupError::plain)
}

/// Go's Atoi, with its words for what is none.
fn atoi(word: &str) -> Result<i64, String> {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    word.parse::<i64>().map_err(|error| {
        let reason = match error.kind() {
            PosOverflow | NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        format!("strconv.Atoi: parsing {word:?}: {reason}")
    })
}

/// A number of seconds, held at what a TTL may be (RFC 2181 section 8).
fn seconds(number: i64) -> u32 {
    number.clamp(0, i64::from(i32::MAX)) as u32
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// CoreDNS's 10,000, cut to a multiple of its 256 shards.
const CAPACITY: usize = 9_984;
/// Four entries in each of CoreDNS's 256 shards.
const CAPACITY_MIN: usize = 1_024;
const TTL_MAX_S: u32 = 3_600;
const TTL_MIN_S: u32 = 5;
const FIVE_MINUTES: Duration = Duration::from_secs(300);
