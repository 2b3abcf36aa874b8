//! A whole configuration without sockets: `check(corefile, query, expect)`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use domain::base::Message;
use domain::base::zonefile_fmt::{DisplayKind, ZonefileFmt};
use domain::rdata::AllRecordData;

use crate::cache::Pin;
use crate::corefile::{RealSource, Source};
use crate::plugin::{Carry, Lifecycle, Proto};
use crate::runtime::{self, Backend, clock};
use crate::server::config::{self, Surroundings};
use crate::server::serve::{self, Arrival, Desk, Served};
use crate::server::short::Glance;
use crate::server::tasks::{self, Env};
use crate::tune::{CoreSettings, Settings};
use crate::wire::edns;
use crate::wire::name::NameBuf;
use crate::wire::{flag, types};

/// UDP size, DO and options of an OPT record.
pub type SeenOpt = (u16, bool, Vec<(u16, Vec<u8>)>);

/// What a client saw.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// `NOERROR`; empty when nothing was sent.
    pub rcode: String,
    /// Header flags in wire order, `qr aa rd ra`.
    pub flags: String,
    /// Records as `name ttl class type rdata`.
    pub answer: Vec<String>,
    /// Records of the authority section.
    pub authority: Vec<String>,
    /// Records of the additional section without OPT.
    pub additional: Vec<String>,
    /// UDP size, DO and options of the OPT record.
    pub opt: Option<SeenOpt>,
    /// Octets of the reply.
    pub size: usize,
}

/// A query to ask: `name TYPE [class=CH] [+do] [+cd] [+ad] [-rd] [+tcp] [bufsize=N] [from=ADDR] [opt=CODE:HEX]`.
/// Without `bufsize`, `+do` or `opt` it has no OPT record.
pub struct Host {
    pub(crate) config: Arc<config::Config>,
    /// What the configuration wants done beside answering.
    pub life: Lifecycle,
}

impl Host {
    /// Builds a configuration from Corefile text; keys without a port get 53, and no socket is opened.
    pub fn new(corefile: &str) -> Result<Host, String> {
        Host::with(corefile, &RealSource, &Carry::default())
    }

    /// The same with files, environment and what an earlier configuration left.
    pub fn with(corefile: &str, source: &dyn Source, carry: &Carry) -> Result<Host, String> {
        Host::tuned(corefile, source, carry, &Arc::new(Settings::floating(1)))
    }

    /// The same with what `-tune` would set.
    pub fn tuned(
        corefile: &str,
        source: &dyn Source,
        carry: &Carry,
        tune: &Arc<Settings>,
    ) -> Result<Host, String> {
        let around = Surroundings {
            source,
            tune,
            default_port: 53,
            carry,
            generation: 1,
        };
        let built = config::build("Corefile", corefile, &around)?;
        Ok(Host {
            config: Arc::new(built.config),
            life: built.life,
        })
    }

    /// Asks on the first listener.
    pub fn ask(&self, query: &str) -> Seen {
        self.ask_all(&[query]).pop().unwrap_or_default()
    }

    /// Asks one after the other, on one thread with one set of plugin instances.
    pub fn ask_all(&self, queries: &[&str]) -> Vec<Seen> {
        let asks: Vec<(Vec<u8>, Arrival)> = queries.iter().map(|query| encode(query)).collect();
        let config = self.config.clone();
        runtime::block_on(Backend::Epoll, async move {
            let env = env(config);
            let mut seen = Vec::new();
            for (bytes, arrival) in asks {
                let arrival = Arrival {
                    now_ns: clock::now_ns(),
                    ..arrival
                };
                seen.push(answer(&env, &bytes, &arrival).await);
            }
            seen
        })
        .expect("an executor")
    }
}

impl Host {
    /// Answers a message as a client's of the first listener over UDP; `None` for no reply.
    pub fn reply(&self, message: &[u8]) -> Option<Vec<u8>> {
        let config = self.config.clone();
        let (_, mut arrival) = encode(".");
        let message = message.to_vec();
        runtime::block_on(Backend::Epoll, async move {
            arrival.now_ns = clock::now_ns();
            reply(&env(config), &message, &arrival).await
        })
        .expect("an executor")
    }
}

/// The replies that the short way and the long way give to one query whose answer is in memory.
pub struct BothWays {
    /// `None`: the short way left it to the long one.
    pub short: Option<Vec<u8>>,
    /// Empty: no reply without waiting.
    pub long: Vec<u8>,
}

impl Host {
    /// Asks each query once as a client would, which fills caches, and then on both ways.
    pub fn ask_both_ways(&self, queries: &[&str]) -> Vec<BothWays> {
        let asks: Vec<(Vec<u8>, Arrival)> = queries.iter().map(|query| encode(query)).collect();
        let config = self.config.clone();
        runtime::block_on(Backend::Epoll, async move {
            let env = env(config);
            let mut both = Vec::new();
            for (bytes, arrival) in asks {
                let arrival = Arrival {
                    now_ns: clock::now_ns(),
                    ..arrival
                };
                answer(&env, &bytes, &arrival).await;
                both.push(both_ways(&env, &bytes, &arrival));
            }
            both
        })
        .expect("an executor")
    }
}

fn both_ways(env: &Rc<Env>, bytes: &[u8], arrival: &Arrival) -> BothWays {
    let (mut desk, mut glance) = (Desk::default(), Glance::default());
    let running = env.newest().expect("a configuration");
    let mut out = vec![0xa5; 65_535];
    let short = glance
        .look(&running, arrival.listener, bytes)
        .then(|| glance.answer(&running, bytes, arrival, &Pin::new(), &mut out));
    let short = short.flatten().map(|len| out[..len].to_vec());
    let long = match serve::long(&running, &mut desk, bytes, arrival, &mut out) {
        Served::Reply(len) | Served::Rejected(len) => out[..len].to_vec(),
        Served::Silent | Served::Parked(_) => Vec::new(),
    };
    BothWays { short, long }
}

/// What a task thread of a process with one core has.
fn env(config: std::sync::Arc<config::Config>) -> Rc<Env> {
    let peer = tasks::Peer::new(runtime::mailbox(1).0, &CoreSettings::default());
    let env = Env::new(0, 1, vec![peer]);
    env.open(config);
    env
}

async fn answer(env: &Rc<Env>, bytes: &[u8], arrival: &Arrival) -> Seen {
    let reply = reply(env, bytes, arrival).await;
    reply.map_or_else(Seen::default, |reply| decode(&reply))
}

async fn reply(env: &Rc<Env>, bytes: &[u8], arrival: &Arrival) -> Option<Vec<u8>> {
    let (mut desk, mut out) = (Desk::default(), vec![0; 65_535]);
    let running = env.newest().expect("a configuration");
    match serve::message(&running, &mut desk, bytes, arrival, &mut out) {
        Served::Reply(len) | Served::Rejected(len @ 1..) => {
            out.truncate(len);
            Some(out)
        }
        Served::Rejected(0) | Served::Silent => None,
        Served::Parked(run) => tasks::complete(env, &mut desk.query, run).await,
    }
}

/// Asks one query of a fresh configuration and compares the rcode, flags and records that `expect` names, one a line:
/// `rcode: NOERROR`, `flags: qr aa rd`, `answer: a. 60 IN A 192.0.2.1` (repeated, in order; `answer:` alone means none), likewise
/// `authority:` and `additional:`; `silent` for no reply.
pub fn check(corefile: &str, query: &str, expect: &str) {
    let host = Host::new(corefile).unwrap_or_else(|error| panic!("{corefile}\n{error}"));
    check_seen(&host.ask(query), query, expect);
}

/// The comparison of [`check`].
pub fn check_seen(seen: &Seen, query: &str, expect: &str) {
    let mut wanted: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in expect
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let values = wanted.entry(field.trim()).or_default();
        values.extend(Some(value.trim()).filter(|value| !value.is_empty()));
    }
    for (field, values) in wanted {
        let got: Vec<&str> = match field {
            "rcode" => vec![&seen.rcode],
            "flags" => vec![&seen.flags],
            "answer" => seen.answer.iter().map(String::as_str).collect(),
            "authority" => seen.authority.iter().map(String::as_str).collect(),
            "additional" => seen.additional.iter().map(String::as_str).collect(),
            "silent" => {
                assert_eq!(seen.rcode, "", "{query}: a reply was sent: {seen:?}");
                continue;
            }
            other => panic!("unknown field {other:?} in an expectation"),
        };
        assert_eq!(got, values, "{query}: {field}; all of it: {seen:#?}");
    }
}

/// The bytes of a query in the notation of [`Host`].
pub fn encode(query: &str) -> (Vec<u8>, Arrival) {
    let mut words = query.split_whitespace();
    let name = NameBuf::from_text(words.next().expect("a name")).expect("a valid name");
    let qtype = types::parse(words.next().unwrap_or("A")).expect("a type");
    let (mut flags, mut qclass, mut opt, mut options) =
        (flag::RD, types::CLASS_IN, None, Vec::new());
    let mut arrival = Arrival {
        peer: SocketAddr::from(([127, 0, 0, 1], 40212)),
        local: SocketAddr::from(([127, 0, 0, 1], 53)),
        proto: Proto::Udp,
        listener: 0,
        now_ns: 0,
    };
    for word in words {
        match word.split_once('=').unwrap_or((word, "")) {
            ("+do", _) => opt = Some((opt.map_or(4096, |opt: (u16, u16)| opt.0), edns::DO)),
            ("+cd", _) => flags |= flag::CD,
            ("+ad", _) => flags |= flag::AD,
            ("-rd", _) => flags &= !flag::RD,
            ("+tcp", _) => arrival.proto = Proto::Tcp,
            ("class", class) => qclass = types::parse_class(class).expect("a class"),
            ("bufsize", size) => {
                opt = Some((size.parse().expect("a size"), opt.map_or(0, |opt| opt.1)))
            }
            ("from", peer) => {
                arrival.peer = SocketAddr::new(peer.parse().expect("an address"), 40212)
            }
            ("listener", index) => arrival.listener = index.parse().expect("an index"),
            ("opt", option) => {
                let (code, hex) = option.split_once(':').unwrap_or((option, ""));
                let octet = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
                let data: Vec<u8> = (0..hex.len()).step_by(2).map(octet).collect();
                options.extend(code.parse::<u16>().expect("a code").to_be_bytes());
                options.extend((data.len() as u16).to_be_bytes());
                options.extend(data);
                opt = Some(opt.unwrap_or((4096, 0)));
            }
            other => panic!("unknown word {other:?} in a query"),
        }
    }
    let mut bytes = vec![0x71, 0x50];
    for word in [flags, 1, 0, 0, u16::from(opt.is_some())] {
        bytes.extend(word.to_be_bytes());
    }
    bytes.extend(name.as_wire());
    bytes.extend(qtype.to_be_bytes());
    bytes.extend(qclass.to_be_bytes());
    if let Some((size, flags)) = opt {
        let start = bytes.len();
        bytes.resize(start + 11 + options.len(), 0);
        edns::write_opt(&mut bytes[start..], size, 0, flags, &options).expect("room");
    }
    (bytes, arrival)
}

/// Reads a reply with a parser that is not ours.
pub fn decode(reply: &[u8]) -> Seen {
    let message = Message::from_octets(reply).expect("a header");
    let header = message.header();
    let bits = [
        (header.qr(), "qr"),
        (header.aa(), "aa"),
        (header.tc(), "tc"),
        (header.rd(), "rd"),
        (header.ra(), "ra"),
        (header.ad(), "ad"),
        (header.cd(), "cd"),
    ];
    let flags: Vec<&str> = bits
        .into_iter()
        .filter(|bit| bit.0)
        .map(|bit| bit.1)
        .collect();
    let mut seen = Seen {
        flags: flags.join(" "),
        size: reply.len(),
        ..Seen::default()
    };
    let high = message
        .opt()
        .map_or(0, |opt| opt.rcode(header).to_int() >> 4);
    seen.rcode =
        crate::wire::rcode::Rcode(u16::from(header.rcode().to_int()) | high << 4).to_string();
    let (_, answer, authority, additional) = message.sections().expect("whole sections");
    for (section, into) in [
        (answer, &mut seen.answer),
        (authority, &mut seen.authority),
        (additional, &mut seen.additional),
    ] {
        for record in section {
            let record = record.expect("a whole record");
            if record.rtype().to_int() == types::OPT {
                continue;
            }
            let record = record
                .into_any_record::<AllRecordData<_, _>>()
                .expect("valid rdata");
            let owner = record.owner().to_string();
            let dot = if owner == "." { "" } else { "." };
            let (ttl, class) = (record.ttl().as_secs(), record.class());
            into.push(format!(
                "{owner}{dot} {ttl} {class} {} {}",
                record.rtype(),
                record.data().display_zonefile(DisplayKind::Simple)
            ));
        }
    }
    if let Some(opt) = message.opt() {
        let mut own = crate::wire::reply::Reply::default();
        own.read(reply).expect("our parser agrees");
        let options = own
            .edns
            .iter()
            .map(|option| (option.0, option.1.to_vec()))
            .collect();
        seen.opt = Some((opt.udp_payload_size(), opt.dnssec_ok(), options));
    }
    seen
}
