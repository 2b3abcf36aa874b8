//! On which terms an endpoint speaks QUIC: connection ids, keys of the process, windows.

#![cfg_attr(
    not(test),
    deny(
        clippy::disallowed_macros,
        clippy::disallowed_methods,
        clippy::disallowed_types
    )
)]

use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use quinn_proto::crypto::rustls::QuicServerConfig;
use quinn_proto::{
    ConnectionId, ConnectionIdGenerator, EndpointConfig, IdleTimeout, InvalidCid, ServerConfig,
    TransportConfig, VarInt,
};
use rand::Rng;

use crate::corefile::address::Scheme;
use crate::limits;
use crate::server::config::{Listener, Timeouts};
use crate::server::http_counts::{HttpCounts, Responses};
use crate::server::running::Running;
use crate::tune::Settings;

/// What connections of a listener go by, for as long as nothing of it changes.
pub(super) struct Terms {
    /// The certificate and what else *tls* says, which tells whether these terms are current.
    tls: Arc<rustls::ServerConfig>,
    generation: u64,
    pub(super) quic: Arc<ServerConfig>,
    pub(super) scheme: Scheme,
    pub(super) timeouts: Timeouts,
    /// Streams of a request each that a connection may have open.
    pub(super) streams_max: u64,
    pub(super) tune: Arc<Settings>,
    /// Counters of responses over HTTP/3.
    pub(super) responses: Rc<Responses>,
}

impl Terms {
    /// The terms of a listener of that configuration: `current` if they still are. `None`: it has no certificate.
    pub(super) fn of(
        listener: &Listener,
        running: &Running,
        counts: &HttpCounts,
        current: Option<&Rc<Terms>>,
    ) -> Option<Rc<Terms>> {
        let generation = running.config.generation;
        let tls = listener.tls.as_ref()?.current(listener.scheme);
        if let Some(current) = current
            && current.generation == generation
            && Arc::ptr_eq(&current.tls, &tls)
        {
            return Some(current.clone());
        }
        let crypto: Arc<QuicServerConfig> = Arc::new(tls.clone().try_into().ok()?);
        let streams_max = match listener.load.streams_max {
            0 => limits::QUIC_STREAMS,
            max => max.min(limits::QUIC_STREAMS),
        } as u64;
        let mut quic = base(&crypto);
        quic.crypto = crypto;
        quic.transport = Arc::new(transport(listener, streams_max));
        Some(Rc::new(Terms {
            tls,
            generation,
            quic: Arc::new(quic),
            scheme: listener.scheme,
            timeouts: listener.timeouts,
            streams_max,
            tune: running.config.tune.clone(),
            responses: counts.responses("coredns_dns_https3_responses_total", &listener.label),
        }))
    }
}

/// Tokens of one core are taken by the others: there is one key in the process.
fn base(crypto: &Arc<QuicServerConfig>) -> ServerConfig {
    static BASE: OnceLock<ServerConfig> = OnceLock::new();
    let base = BASE.get_or_init(|| {
        let mut base = ServerConfig::with_crypto(crypto.clone());
        base.max_incoming(limits::QUIC_HANDSHAKES_UNPROVEN)
            .incoming_buffer_size(limits::QUIC_INCOMING_OCTETS)
            .incoming_buffer_size_total(limits::QUIC_INCOMING_OCTETS);
        base
    });
    base.clone()
}

fn transport(listener: &Listener, streams_max: u64) -> TransportConfig {
    let at_first = u32::try_from(streams_max).map_or(limits::QUIC_STREAMS_AT_FIRST, |max| {
        max.min(limits::QUIC_STREAMS_AT_FIRST)
    });
    let side_streams = match listener.scheme {
        Scheme::Https3 => limits::H3_SIDE_STREAMS,
        // RFC 9250 section 4.2: there are none.
        _ => 0,
    };
    let idle_ms = u32::try_from(listener.timeouts.idle.as_millis()).unwrap_or(u32::MAX);
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(at_first.into())
        .max_concurrent_uni_streams(side_streams.into())
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(idle_ms))))
        .stream_receive_window(limits::QUIC_STREAM_WINDOW.into())
        .receive_window(limits::QUIC_RECEIVE_WINDOW.into())
        .send_window(limits::QUIC_SEND_WINDOW)
        // Handshake messages are a stream too.
        .crypto_buffer_size(limits::QUIC_STREAM_WINDOW as usize)
        .datagram_receive_buffer_size(None)
        .datagram_send_buffer_size(0)
        // Replies are short: first come, first served.
        .send_fairness(false);
    transport
}

/// What all endpoints have in common, and ids that begin with the number of this socket.
pub(super) fn endpoint(socket: u16) -> EndpointConfig {
    // The key of stateless resets (RFC 9000 section 10.3): a core that lost its connections can still tell their clients.
    static BASE: OnceLock<EndpointConfig> = OnceLock::new();
    let mut config = BASE.get_or_init(EndpointConfig::default).clone();
    config.cid_generator(move || Box::new(Ids { socket }));
    config
}

/// Makes connection ids of 8 octets: the number of the socket, then 48 random bits.
struct Ids {
    socket: u16,
}

impl ConnectionIdGenerator for Ids {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut id = [0; ID_OCTETS];
        let (socket, random) = id.split_at_mut(2);
        socket.copy_from_slice(&self.socket.to_be_bytes());
        rand::rng().fill_bytes(random);
        ConnectionId::new(&id)
    }

    /// A packet that strayed here, such as one that was queued before the group grew, must not end a connection of another core.
    fn validate(&self, id: &ConnectionId) -> Result<(), InvalidCid> {
        match id.starts_with(&self.socket.to_be_bytes()) {
            true => Ok(()),
            false => Err(InvalidCid),
        }
    }

    fn cid_len(&self) -> usize {
        ID_OCTETS
    }

    fn cid_lifetime(&self) -> Option<std::time::Duration> {
        None
    }
}

const ID_OCTETS: usize = 8;
