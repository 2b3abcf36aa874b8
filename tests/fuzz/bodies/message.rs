//! Any octets as a message: judged, answered by a chain of plugins, and read, written and read again as a reply.

use std::net::SocketAddr;
use std::sync::Arc;

use percoredns::corefile::RealSource;
use percoredns::limits::MESSAGE_OCTETS;
use percoredns::plugin::{Carry, Proto, Role};
use percoredns::server::config::{self, Surroundings};
use percoredns::server::running::Running;
use percoredns::server::serve::{self, Arrival, Desk, Served};
use percoredns::tune::Settings;
use percoredns::wire::query::{self, Parsed, Verdict};
use percoredns::wire::reply::{Question, Reply};
use percoredns::wire::{HEADER, flag, u16_at};

/// Plugins that change what comes in or goes out and need neither files nor upstreams.
const COREFILE: &str = ".:53 {
 nsid ns1
 bufsize 1232
 any
 local
 chaos
 rewrite continue name suffix .a.test .b.test answer auto
 rewrite continue ttl suffix . 5
 rewrite edns0 local set 0xffee {qname}
 header {
  response set ra
 }
 loadbalance
 minimal
 whoami
}
example.org:53 {
}
";

thread_local! {
    static RUNNING: Running = running();
}

fn running() -> Running {
    let around = Surroundings {
        source: &RealSource,
        tune: &Arc::new(Settings::floating(1)),
        default_port: 53,
        carry: &Carry::default(),
        generation: 1,
    };
    let built = config::build("Corefile", COREFILE, &around);
    let config = built.map_or_else(|error| panic!("{error}"), |built| built.config);
    Running::open(Arc::new(config), 0, 1, Role::Packet)
}

/// One input.
pub fn run(octets: &[u8]) {
    judge(octets);
    for proto in [Proto::Udp, Proto::Tcp] {
        serve(octets, proto);
    }
    copy(octets);
}

fn judge(octets: &[u8]) {
    let mut parsed = Parsed::default();
    let verdict = query::parse(octets, &mut parsed);
    let is_silent = octets.len() < HEADER || octets[2] & 0x80 != 0;
    assert_eq!(verdict == Verdict::Ignore, is_silent);
    if verdict == Verdict::Accept {
        assert!(parsed.has_question);
    }
}

fn serve(octets: &[u8], proto: Proto) {
    let addr = SocketAddr::from(([127, 0, 0, 1], 53));
    let arrival = Arrival {
        peer: addr,
        local: addr,
        proto,
        listener: 0,
        now_ns: 1,
    };
    let (mut desk, mut out) = (Desk::default(), vec![0; MESSAGE_OCTETS]);
    RUNNING.with(|running| {
        // Twice: nothing of the first may be left on the desk.
        let first = answer(running, &mut desk, octets, &arrival, &mut out);
        let again = answer(running, &mut desk, octets, &arrival, &mut out);
        assert_eq!(first, again);
    });
}

/// The reply; empty when there is none or it has to be waited for.
fn answer(
    running: &Running,
    desk: &mut Desk,
    octets: &[u8],
    arrival: &Arrival,
    out: &mut [u8],
) -> Vec<u8> {
    let len = match serve::message(running, desk, octets, arrival, out) {
        Served::Reply(len) | Served::Rejected(len @ 1..) => len,
        Served::Rejected(0) | Served::Silent | Served::Parked(_) => return Vec::new(),
    };
    let reply = &out[..len];
    assert_eq!(reply[..2], octets[..2], "another id");
    assert!(reply[2] & 0x80 != 0 && octets[2] & 0x80 == 0);
    let read = Reply::default().read(reply);
    assert!(read.is_ok(), "{read:?}: {reply:?}");
    reply.to_vec()
}

/// A message that can be read can be written, and then says the same.
fn copy(octets: &[u8]) {
    let mut reply = Reply::default();
    if reply.read(octets).is_err() {
        return;
    }
    let question = Question {
        name: b"\x01a\x00",
        qtype: 1,
        qclass: 1,
    };
    let mut out = vec![0; MESSAGE_OCTETS];
    let len = reply.pack(7, 0, &question, &mut out);
    let len = len.expect("header and question fit");
    let mut again = Reply::default();
    again
        .read(&out[..len])
        .expect("what was written can be read");
    let is_cut = u16_at(&out, 2).is_ok_and(|flags| flags & flag::TC != 0);
    assert!(is_cut || again.records().len() == reply.records().len());
    let pairs = reply.records().iter().zip(again.records());
    if !is_cut {
        for (one, other) in pairs {
            assert_eq!(
                (one.section, one.rtype, one.class, one.ttl),
                (other.section, other.rtype, other.class, other.ttl)
            );
            assert!(reply.owner(one).eq_ignore_ascii_case(again.owner(other)));
            assert!(reply.rdata(one).eq_ignore_ascii_case(again.rdata(other)));
        }
    }
}
