//! `grpc FROM TO... { except; tls; tls_servername; policy; fallthrough }`.

use std::time::Duration;

use super::Line;
use crate::corefile::address::Scheme;
use crate::corefile::zones::zones_of;
use crate::corefile::{Args, Fall, SetupError};
use crate::limits;
use crate::plugin::SetupCx;
use crate::upstream::target::Takes;
use crate::upstream::terms::{self, Terms};
use crate::upstream::{Endpoint, Health, Policy, PoolSettings, Scope};

pub(super) fn parse(args: &mut Args<'_>, cx: &mut SetupCx<'_>) -> Result<Line, SetupError> {
    args.next();
    let from = terms::zone(args)?;
    let targets = terms::targets(args, &TAKES)?;
    let (mut except, mut policy, mut fall) = (Vec::new(), Policy::Random, Fall::default());
    let mut options = Terms::default();
    while args.next_block() {
        match args.val() {
            "except" => {
                let names = terms::some_args(args)?;
                except.extend(names.iter().flat_map(|name| zones_of(name)));
            }
            "tls" => options.read_tls(args, cx)?,
            "tls_servername" => options.read_server_name(args)?,
            "policy" => {
                let name = args.expect_arg()?;
                policy = Policy::parse(name)
                    .ok_or_else(|| args.err(format!("unknown policy '{name}'")))?;
            }
            "fallthrough" => fall = Fall::from_args(&args.remaining_args()),
            other => return Err(args.unknown_property(other)),
        }
    }
    if args.next() {
        return Err(args.once_err());
    }
    let endpoints = options.endpoints(cx, &targets, &[]);
    let endpoints = endpoints.map_err(|error| args.err(error))?;
    terms::watch(cx, "grpc", &endpoints);
    let health = |endpoint: Endpoint| {
        let key = format!("grpc {}", endpoint.key());
        cx.carry.obtain(&key, || Health::new(None, endpoint))
    };
    Ok(Line {
        scope: Scope { from, except },
        policy,
        fall,
        sockets: PoolSettings {
            proxy: None,
            expire: Duration::from_secs(limits::GRPC_IDLE_S),
            max_age: Duration::ZERO,
            max_idle: 0,
            read_timeout: Duration::from_millis(limits::FORWARD_DEADLINE_MS),
            source: None,
        },
        upstreams: endpoints.into_iter().map(health).collect(),
    })
}

const TAKES: Takes = Takes {
    plugin: "grpc",
    schemes: &[Scheme::Grpc],
    bare: Scheme::Grpc,
    paths: true,
};
