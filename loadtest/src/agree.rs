//! Checks that servers give the same answers before their speed is compared: a fast wrong answer wins nothing.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use crate::corpus::{Kind, fresh_name, host_name};
use crate::message::{self, Answer};
use crate::scenario::{Scenario, Service};

/// The questions that every server is asked: hosts all over the zone and, where the scenario knows them, other types, names that
/// do not exist and names that only the origin knows.
pub fn sample(scenario: &Scenario, names: u32, zone: &str) -> Vec<(String, u16)> {
    let step = (names / HOSTS).max(1);
    let mut questions: Vec<(String, u16)> = (0..names)
        .step_by(step as usize)
        .map(|n| (host_name(n, zone), A))
        .collect();
    questions.push((host_name(names - 1, zone).to_ascii_uppercase(), A));
    // What a hosts file does not hold is not defined: SERVFAIL, NXDOMAIN and NODATA are all in use.
    if scenario.service != Service::Hosts {
        questions.extend([(host_name(0, zone), AAAA), (zone.to_owned(), A)]);
        questions.extend((0..5).map(|n| (format!("nosuch{n}.{zone}"), A)));
        // From the top, where the generator never gets.
        questions.extend((0..3).map(|n| (fresh_name(FRESH_LAST - n, zone), A)));
    }
    if scenario.kind == Kind::Mixed {
        questions.extend([(zone.to_owned(), MX), (zone.to_owned(), TXT)]);
    }
    questions
}

/// Asks one question, up to three times a second apart.
pub fn ask(server: SocketAddr, name: &str, qtype: u16, patience: Duration) -> io::Result<Answer> {
    let socket = UdpSocket::bind(if server.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    })?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(patience))?;
    let mut query = message::query(name, qtype, Some(1232)).map_err(io::Error::other)?;
    let mut last = io::Error::from(io::ErrorKind::TimedOut);
    let mut buffer = [0; 4096];
    for id in 1..=3u16 {
        query[..2].copy_from_slice(&id.to_be_bytes());
        socket.send(&query)?;
        match socket.recv(&mut buffer) {
            Ok(len) => match message::read_answer(&buffer[..len]) {
                Some(answer) => return Ok(answer),
                None => last = io::Error::other("a reply that is not well-formed"),
            },
            Err(e) => last = e,
        }
    }
    Err(last)
}

/// For each server, in order, what it answered otherwise than the majority; an empty list means that it agrees.
pub fn differences(
    servers: &[(&str, SocketAddr)],
    questions: &[(String, u16)],
) -> Vec<Vec<String>> {
    let mut differences = vec![Vec::new(); servers.len()];
    for (name, qtype) in questions {
        let answers: Vec<Result<Answer, String>> = servers
            .iter()
            .map(|(_, address)| ask(*address, name, *qtype, PATIENCE).map_err(|e| e.to_string()))
            .collect();
        let Some(right) = majority(&answers) else {
            continue;
        };
        for (i, answer) in answers
            .iter()
            .enumerate()
            .filter(|(_, answer)| *answer != right)
        {
            differences[i].push(format!(
                "{name} TYPE{qtype}: {}, others {}",
                show(answer),
                show(right)
            ));
        }
    }
    differences
}

/// The most frequent value, on a tie the one that comes first.
fn majority<T: PartialEq>(values: &[T]) -> Option<&T> {
    let votes: HashMap<usize, usize> = (0..values.len())
        .map(|i| (i, values.iter().filter(|v| **v == values[i]).count()))
        .collect();
    let winner = (0..values.len()).max_by_key(|i| (votes[i], std::cmp::Reverse(*i)))?;
    values.get(winner)
}

fn show(answer: &Result<Answer, String>) -> String {
    match answer {
        Ok(answer) => format!(
            "rcode {} with {} records{}",
            answer.rcode,
            answer.records.len(),
            if answer.truncated { ", truncated" } else { "" }
        ),
        Err(e) => e.clone(),
    }
}

const HOSTS: u32 = 50;
const PATIENCE: Duration = Duration::from_secs(1);
const A: u16 = 1;
const AAAA: u16 = 28;
const MX: u16 = 15;
const TXT: u16 = 16;
const FRESH_LAST: u32 = (1 << 31) - 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::Origin;
    use crate::scenario::SCENARIOS;

    #[test]
    fn majorities_and_ties() {
        assert_eq!(majority::<u8>(&[]), None);
        assert_eq!(majority(&[1, 2, 2]), Some(&2));
        assert_eq!(majority(&[3, 1]), Some(&3));
    }

    #[test]
    fn the_odd_server_out_is_named() {
        let (a, b) = (
            Origin::start(100, "example.org").unwrap(),
            Origin::start(100, "example.org").unwrap(),
        );
        let short = Origin::start(90, "example.org").unwrap();
        let servers = [
            ("a", a.address()),
            ("b", b.address()),
            ("short", short.address()),
        ];
        let found = differences(&servers, &sample(&SCENARIOS[0], 100, "example.org"));
        assert!(found[0].is_empty() && found[1].is_empty(), "{found:?}");
        assert!(
            found[2].iter().any(|line| line.contains(
                "h000098.example.org TYPE1: rcode 3 with 0 records, others rcode 0 with 1"
            )),
            "{found:?}"
        );
    }
}
