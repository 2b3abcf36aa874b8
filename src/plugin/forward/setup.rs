//! `forward FROM TO... { OPTIONS }`.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use super::Line;
use crate::corefile::address::Scheme;
use crate::corefile::zones::zones_of;
use crate::corefile::{Args, SetupError, ZoneName};
use crate::lang::duration::{self, GoDuration};
use crate::plugin::SetupCx;
use crate::upstream::target::{self, Takes, Target};
use crate::upstream::terms::{self, Terms};
use crate::upstream::{
    Address, Endpoint, Health, Method, Policy, PoolSettings, Probe, Protocol, Scope,
};
use crate::wire::name::NameBuf;
use crate::wire::rcode::Rcode;

pub(super) fn parse(args: &mut Args<'_>, cx: &mut SetupCx<'_>) -> Result<Vec<Line>, SetupError> {
    let mut lines = Vec::new();
    while args.next() {
        let from = terms::zone(args)?;
        let targets = terms::targets(args, &TAKES)?;
        let mut options = Options::default();
        while args.next_block() {
            options.read(args, cx)?;
        }
        lines.push(options.line(args, cx, from, targets)?);
    }
    Ok(lines)
}

/// The options as read so far, with CoreDNS's defaults.
struct Options {
    except: Vec<ZoneName>,
    force_tcp: bool,
    prefer_udp: bool,
    expire: GoDuration,
    max_age: GoDuration,
    max_idle: usize,
    read_timeout: Duration,
    fails_max: u32,
    attempts_max: Option<usize>,
    policy: Policy,
    interval: Duration,
    recursion_desired: bool,
    domain: NameBuf,
    concurrent_max: usize,
    next: Vec<Rcode>,
    next_on_nodata: bool,
    failover: Vec<Rcode>,
    failfast: bool,
    source: Option<IpAddr>,
    resolvers: Vec<SocketAddr>,
    terms: Terms,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            except: Vec::new(),
            force_tcp: false,
            prefer_udp: false,
            expire: GoDuration::from_secs(10),
            max_age: GoDuration::ZERO,
            max_idle: 0,
            read_timeout: Duration::from_secs(2),
            fails_max: 2,
            attempts_max: None,
            policy: Policy::Random,
            interval: Duration::from_millis(500),
            recursion_desired: true,
            domain: NameBuf::ROOT,
            concurrent_max: 0,
            next: Vec::new(),
            next_on_nodata: false,
            failover: Vec::new(),
            failfast: false,
            source: None,
            resolvers: Vec::new(),
            terms: Terms::default(),
        }
    }
}

impl Options {
    fn read(&mut self, args: &mut Args<'_>, cx: &SetupCx<'_>) -> Result<(), SetupError> {
        match args.val() {
            "except" => {
                let names = terms::some_args(args)?;
                let zones = names.iter().flat_map(|name| zones_of(name));
                self.except.extend(zones);
            }
            "force_tcp" => self.force_tcp = flag(args)?,
            "prefer_udp" => self.prefer_udp = flag(args)?,
            "next_on_nodata" => self.next_on_nodata = flag(args)?,
            "failfast_all_unhealthy_upstreams" => self.failfast = flag(args)?,
            "expire" => self.expire = span(args, "expire")?,
            "max_age" => self.max_age = span(args, "max_age")?,
            "max_idle_conns" => self.max_idle = count(args, "max_idle_conns")?,
            "max_concurrent" => self.concurrent_max = count(args, "max_concurrent")?,
            "max_fails" => self.fails_max = unsigned(args)?,
            "max_connect_attempts" => self.attempts_max = Some(unsigned(args)? as usize),
            "read_timeout" => self.read_timeout = read_timeout(args)?,
            "policy" => {
                let name = args.expect_arg()?;
                self.policy = Policy::parse(name)
                    .ok_or_else(|| args.err(format!("unknown policy '{name}'")))?;
            }
            "health_check" => self.read_health_check(args)?,
            "next" => self.next.extend(rcodes(args)?),
            "failover" => {
                let rcodes = rcodes(args)?;
                if rcodes.contains(&Rcode::NOERROR) {
                    return Err(args.err("NoError cannot be used in failover"));
                }
                self.failover.extend(rcodes);
            }
            "source_address" => {
                let text = args.expect_arg()?;
                let source = text.parse();
                let invalid = |_| args.err(format!("source_address: invalid IP address {text:?}"));
                self.source = Some(source.map_err(invalid)?);
            }
            "resolver" => {
                for text in terms::some_args(args)? {
                    let resolver = target::parse_resolver(text);
                    let invalid = || args.err(format!("resolver: not an IP address: {text:?}"));
                    self.resolvers.push(resolver.ok_or_else(invalid)?);
                }
            }
            "tls" => self.terms.read_tls(args, cx)?,
            "tls_servername" => self.terms.read_server_name(args)?,
            "doh_method" => {
                self.terms.method = match args.expect_arg()? {
                    "GET" => Method::Get,
                    "POST" => Method::Post,
                    other => {
                        return Err(
                            args.err(format!("unknown doh_method '{other}': it is GET or POST"))
                        );
                    }
                }
            }
            other => return Err(args.unknown_property(other)),
        }
        Ok(())
    }

    fn read_health_check(&mut self, args: &mut Args<'_>) -> Result<(), SetupError> {
        let interval = parse_span(args)?;
        self.interval = interval.to_std().ok_or_else(|| {
            let nanos = interval.nanos();
            args.err(format!("health_check can't be negative: {nanos}"))
        })?;
        self.domain = NameBuf::ROOT;
        while args.next_arg() {
            match args.val() {
                "no_rec" => self.recursion_desired = false,
                "domain" => {
                    let text = args.expect_arg()?;
                    let name = NameBuf::from_text(text);
                    let invalid = |_| args.err(format!("health_check: invalid domain name {text}"));
                    self.domain = name.map_err(invalid)?.to_lower();
                }
                other => return Err(args.err(format!("health_check: unknown option {other}"))),
            }
        }
        Ok(())
    }

    fn line(
        self,
        args: &Args<'_>,
        cx: &mut SetupCx<'_>,
        from: ZoneName,
        targets: Vec<Target>,
    ) -> Result<Line, SetupError> {
        let (expire, max_age) = (self.expire, self.max_age);
        if max_age > GoDuration::ZERO && max_age < expire {
            return Err(args.err(format!(
                "max_age ({max_age}) must not be less than expire ({expire})"
            )));
        }
        let endpoints = self.terms.endpoints(cx, &targets, &self.resolvers);
        let endpoints = endpoints.map_err(|error| args.err(error))?;
        if let Some(source) = self.source
            && let Some(other) = of_another_family(&endpoints, source)
        {
            return Err(args.err(format!(
                "source_address {source} is of another family than the upstream {other}"
            )));
        }
        let protocol = if self.force_tcp {
            Protocol::Tcp
        } else {
            Protocol::Udp
        };
        terms::watch(cx, "forward", &endpoints);
        let health = |endpoint: Endpoint| {
            let key = format!("forward {} {}", endpoint.key(), protocol.as_str());
            cx.carry
                .obtain(&key, || Health::new(Some("forward"), endpoint))
        };
        let upstreams: Vec<_> = endpoints.into_iter().map(health).collect();
        Ok(Line {
            scope: Scope {
                from,
                except: self.except,
            },
            policy: self.policy,
            force_tcp: self.force_tcp,
            prefer_udp: self.prefer_udp,
            fails_max: self.fails_max,
            attempts_max: self.attempts_max.unwrap_or(2 * upstreams.len()),
            concurrent_max: self.concurrent_max,
            concurrent: AtomicUsize::new(0),
            next: self.next,
            next_on_nodata: self.next_on_nodata,
            failover: self.failover,
            failfast: self.failfast,
            sockets: PoolSettings {
                proxy: Some("forward"),
                expire: expire.to_std().unwrap_or_default(),
                max_age: max_age.to_std().unwrap_or_default(),
                // Each core has a pool of its own; together they keep what the Corefile allows.
                max_idle: self.max_idle.div_ceil(cx.cores.max(1)),
                read_timeout: self.read_timeout,
                source: self.source,
            },
            probe: Probe {
                interval: self.interval,
                recursion_desired: self.recursion_desired,
                domain: self.domain,
                protocol,
                source: self.source,
            },
            upstreams,
        })
    }
}

fn of_another_family(endpoints: &[Endpoint], source: IpAddr) -> Option<SocketAddr> {
    let mut addresses = endpoints.iter().filter_map(|to| match to.address {
        Address::Ip(addr) => Some(addr),
        Address::Path(_) => None,
    });
    addresses.find(|to| to.is_ipv4() != source.is_ipv4())
}

// === arguments ===

fn flag(args: &mut Args<'_>) -> Result<bool, SetupError> {
    args.expect_line_end()?;
    Ok(true)
}

fn parse_span(args: &mut Args<'_>) -> Result<GoDuration, SetupError> {
    let text = args.expect_arg()?;
    duration::parse(text).map_err(|error| args.err(error))
}

fn span(args: &mut Args<'_>, name: &str) -> Result<GoDuration, SetupError> {
    let span = parse_span(args)?;
    if span < GoDuration::ZERO {
        return Err(args.err(format!("{name} can't be negative: {span}")));
    }
    Ok(span)
}

fn read_timeout(args: &mut Args<'_>) -> Result<Duration, SetupError> {
    let span = parse_span(args)?;
    match span.to_std() {
        Some(timeout) if !timeout.is_zero() => Ok(timeout),
        _ => Err(args.err(format!("read_timeout must be greater than 0: {span}"))),
    }
}

fn count(args: &mut Args<'_>, name: &str) -> Result<usize, SetupError> {
    let text = args.expect_arg()?;
    let number: i64 = text
        .parse()
        .map_err(|_| args.err(format!("strconv.Atoi: parsing {text:?}: invalid syntax")))?;
    usize::try_from(number).map_err(|_| args.err(format!("{name} can't be negative: {number}")))
}

fn unsigned(args: &mut Args<'_>) -> Result<u32, SetupError> {
    let text = args.expect_arg()?;
    let is_number = !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
    let why = if is_number {
        "value out of range"
    } else {
        "invalid syntax"
    };
    let number = if is_number { text.parse().ok() } else { None };
    number.ok_or_else(|| args.err(format!("strconv.ParseUint: parsing {text:?}: {why}")))
}

fn rcodes(args: &mut Args<'_>) -> Result<Vec<Rcode>, SetupError> {
    let words = terms::some_args(args)?;
    let rcodes = words.iter().map(|word| {
        let invalid = || args.err(format!("{word} is not a valid rcode"));
        Rcode::parse(&word.to_ascii_uppercase()).ok_or_else(invalid)
    });
    rcodes.collect()
}

const TAKES: Takes = Takes {
    plugin: "forward",
    schemes: &[
        Scheme::Dns,
        Scheme::Tls,
        Scheme::Https,
        Scheme::Quic,
        Scheme::Https3,
    ],
    bare: Scheme::Dns,
    paths: false,
};
