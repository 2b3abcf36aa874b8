//! The client with connections that notice when the other side is gone.
//!
//! A watch may be silent for a minute in the best of times. A server that dies, or a network that is cut, without a last word would be
//! taken for a quiet one, so the kernel is told to ask: by keepalive while nothing is under way, by the user timeout while something is.

use std::time::Duration;

use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{self, Client as HyperClient};
use hyper_util::rt::TokioExecutor;
use kube_client::client::{Body, ClientBuilder, ConfigExt};
use kube_client::{Client, Config};
use tower::BoxError;
use tower::util::MapErr;

use crate::limits;

/// A client for that server.
///
/// # Errors
/// The configuration is of no use.
pub(super) fn client(config: Config) -> Result<Client, kube_client::Error> {
    // Through a proxy the kernel sees only the way to it. And when a credential plugin's certificate ends only the client crate knows.
    if config.proxy_url.is_some() || config.auth_info.exec.is_some() {
        return Client::try_from(config);
    }
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    let idle = Duration::from_secs(limits::KUBE_KEEPALIVE_S);
    tcp.set_keepalive(Some(idle));
    tcp.set_keepalive_interval(Some(idle));
    tcp.set_keepalive_retries(Some(limits::KUBE_KEEPALIVES));
    tcp.set_tcp_user_timeout(Some(idle * (limits::KUBE_KEEPALIVES + 1)));
    let mut connector = TimeoutConnector::new(config.rustls_https_connector_with_connector(tcp)?);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_write_timeout(config.write_timeout);
    let http: HyperClient<_, Body> = legacy::Builder::new(TokioExecutor::new()).build(connector);
    let builder = ClientBuilder::new(
        MapErr::new(http, BoxError::from),
        config.default_namespace.clone(),
    )
    .with_layer(&config.extra_headers_layer()?);
    Ok(match config.auth_layer()? {
        Some(auth) => builder
            .with_layer(&auth)
            .with_layer(&config.base_uri_layer())
            .build(),
        None => builder.with_layer(&config.base_uri_layer()).build(),
    })
}
