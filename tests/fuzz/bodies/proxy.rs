//! Any octets as what a proxy sends: a header is found or not, whatever stands behind it, and taken off a datagram the same way.

use std::net::SocketAddr;
use std::sync::Arc;

use percoredns::limits::PROXY_HEADER_OCTETS;
use percoredns::transport::proxy::{
    Front, Header, Policy, Proxies, Sessions, Tracking, Treatment, Verdict, read,
};

const TREATMENTS: [Treatment; 4] = [
    Treatment::Use,
    Treatment::Ignore,
    Treatment::Reject,
    Treatment::Skip,
];

thread_local! {
    static PROXIES: [Proxies; 4] = TREATMENTS.map(proxies);
}

fn proxies(others: Treatment) -> Proxies {
    let tracking = Tracking {
        ttl_ns: 100,
        sessions: 2,
    };
    let policy = Policy {
        allow: std::iter::empty().collect(),
        others,
        tracking: Some(tracking),
    };
    let sessions = Sessions::new(tracking.sessions);
    Proxies::new(Arc::new(policy), Some(Arc::new(sessions)))
}

/// One input.
pub fn run(octets: &[u8]) {
    let front = read(octets);
    match front {
        Ok(Front::Header(header)) => whole(octets, header),
        // What decides stands at the front: no octet more takes it back.
        Ok(Front::Bare) | Err(_) => assert_eq!(read(&[octets, b"\r\n"].concat()), front),
        Ok(Front::Begun) => assert!(octets.len() < PROXY_HEADER_OCTETS),
    }
    PROXIES.with(|proxies| {
        for (proxies, treatment) in proxies.iter().zip(TREATMENTS) {
            take_off(proxies, treatment, octets);
        }
    });
}

fn whole(octets: &[u8], header: Header) {
    assert!((1..=octets.len().min(PROXY_HEADER_OCTETS)).contains(&header.len));
    for cut in 0..header.len {
        assert_eq!(read(&octets[..cut]), Ok(Front::Begun));
    }
    assert_eq!(read(&octets[..header.len]), Ok(Front::Header(header)));
}

fn take_off(proxies: &Proxies, treatment: Treatment, octets: &[u8]) {
    let peer = SocketAddr::from(([127, 0, 0, 1], 5000));
    if let Verdict::Open(len, ends) = proxies.judge(treatment, octets) {
        assert!(len <= octets.len() && (ends.is_none() || treatment == Treatment::Use));
    }
    if let Some((client, rest)) = proxies.unwrap_datagram(peer, octets, 1) {
        assert!(octets.ends_with(rest));
        assert!(client == peer || treatment == Treatment::Use);
    }
}
