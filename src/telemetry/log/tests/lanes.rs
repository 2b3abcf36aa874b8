//! Lanes, and the lines of queries that go through them.

use std::net::SocketAddr;

use proptest::prelude::*;

use super::*;
use crate::wire::name::NameBuf;
use crate::wire::rcode::Rcode;
use crate::wire::types;

fn lane() -> (Arc<Lane>, LaneEnd, SharedCounter) {
    let dropped = dropped_of_a_test();
    let lane = Arc::new(Lane::new(dropped.clone()));
    (Arc::clone(&lane), LaneEnd::new(lane), dropped)
}

fn drained(lane: &Lane, octets_max: usize) -> (usize, String) {
    let mut batch = Vec::new();
    let lines = lane.drain(&mut batch, &mut Page::default(), lane.end(), octets_max);
    (lines, String::from_utf8(batch).unwrap())
}

#[test]
fn a_query_becomes_the_line_that_tools_parse() {
    let (lane, end, _) = lane();
    assert!(end.push_query(&SAMPLE));
    let line = "[INFO] 192.0.2.10:40212 - 29008 \"A IN example.org. udp 29 false 512\" NOERROR qr,aa,rd 56 0.000037s\n";
    assert_eq!(drained(&lane, usize::MAX), (1, line.to_owned()));
    assert_eq!(line, format!("[INFO] {SAMPLE}\n"));
    assert_eq!(capture::lines(|| query(&SAMPLE)), [line.trim_end()]);
}

#[test]
fn text_and_queries_keep_their_order() {
    let (lane, end, _) = lane();
    // More than the circle holds, so that lines of all kinds lie across its end.
    for round in 0..20_000 {
        let long = "x".repeat(round % 23);
        assert_eq!(end.push_text("", None, format_args!("{long}")), Some(true));
        assert!(end.push_query(&SAMPLE));
        assert_eq!(
            drained(&lane, usize::MAX),
            (2, format!("{long}\n[INFO] {SAMPLE}\n"))
        );
    }
}

#[test]
fn a_full_lane_drops_and_counts_and_recovers() {
    let (lane, end, dropped) = lane();
    for _ in 0..2 {
        let before = dropped.value();
        let pushed = (0..limits::LOG_LANE_WORDS)
            .filter(|_| end.push_query(&SAMPLE))
            .count();
        let words = SAMPLE.pack().1 + SAMPLE.name.len().div_ceil(8);
        assert_eq!(pushed, limits::LOG_LANE_WORDS / words);
        let lost = dropped.value() - before;
        assert_eq!(lost as usize, limits::LOG_LANE_WORDS - pushed);
        assert_eq!(drained(&lane, usize::MAX).0, pushed);
        assert!(lane.is_empty());
    }
}

#[test]
fn a_drain_of_a_lane_stops_at_its_bounds() {
    let (lane, end, _) = lane();
    (0..8).for_each(|i| assert_eq!(end.push_text("", None, format_args!("{i}")), Some(true)));
    assert_eq!(drained(&lane, 5), (3, "0\n1\n2\n".to_owned()));
    assert!(!lane.is_done());
    drop(end);
    assert!(!lane.is_done());
    assert_eq!(drained(&lane, 100), (5, "3\n4\n5\n6\n7\n".to_owned()));
    assert!(lane.is_done());
}

#[test]
fn a_message_that_logs_is_no_trouble() {
    struct Nested<'a>(&'a LaneEnd);
    impl fmt::Display for Nested<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            assert_eq!(self.0.push_text("", None, format_args!("inner")), None);
            assert!(self.0.push_query(&SAMPLE));
            f.write_str("outer")
        }
    }
    let (lane, end, _) = lane();
    let outer = end.push_text("", None, format_args!("{}", Nested(&end)));
    assert_eq!(outer, Some(true));
    let expect = format!("[INFO] {SAMPLE}\nouter\n");
    assert_eq!(drained(&lane, usize::MAX), (2, expect));
}

proptest! {
    #[test]
    fn a_query_reads_back_and_its_text_is_that_of_the_formatter(
        name in prop_oneof![
            proptest::collection::vec("[a-zA-Z0-9_-]{1,20}", 0..9),
            proptest::collection::vec("[a-z*/]{1,63}", 0..3),
            proptest::collection::vec(Just("x".repeat(62)), 4),
        ],
        qtype in prop_oneof![Just(types::A), Just(types::AAAA), 0u16..400, any::<u16>()],
        peer: SocketAddr, v4: [u8; 4], is_v4: bool,
        (is_tcp, dnssec_ok) in any::<(bool, bool)>(),
        (id, query_octets, size_limit) in any::<(u16, u16, u16)>(),
        reply_octets in prop_oneof![0u32..600, any::<u32>()],
        spent_ns in prop_oneof![0u64..2_000_000, 0u64..2_000_000_000, Just(1_000_000_000), Just(100_000_000), Just(0)],
        rcode in prop_oneof![Just(0u16), 0u16..24, any::<u16>()],
        flags: u16, opcode: Option<u8>,
    ) {
        let name = NameBuf::from_text(&format!("{}.", name.join("."))).unwrap();
        let mut peer = match peer {
            // The scope and the flow of an address are not shown.
            SocketAddr::V6(peer) => SocketAddr::new((*peer.ip()).into(), peer.port()),
            peer => peer,
        };
        if is_v4 {
            peer.set_ip(v4.into());
        }
        let line = QueryLine {
            peer, id, qtype, name: name.as_wire(), is_tcp, query_octets, dnssec_ok, size_limit,
            rcode: Rcode(rcode), reply_flags: flags, reply_octets, spent_ns, opcode,
        };
        let (lane, end, _) = lane();
        prop_assert!(end.push_query(&line));
        let (head, len) = line.pack();
        let mut words = head[..len].to_vec();
        words.extend(line.name.chunks(8).map(|chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            u64::from_le_bytes(word)
        }));
        let mut room = [0; NAME_ROOM];
        let (read, len) = QueryLine::unpack(|at| words[at], &mut room);
        prop_assert_eq!((read, len), (line, words.len()));
        prop_assert_eq!(drained(&lane, usize::MAX), (1, format!("[INFO] {line}\n")));
    }
}
