//! `tls { acme DOMAIN...; email E; ca URL; storage DIR; ca_root FILE; resolver HOST:PORT }`.

use std::sync::Arc;

use super::setup::only;
use crate::corefile::{Args, SetupError};
use crate::plugin::SetupCx;
use crate::telemetry::log;
use crate::tls::acme::{DEFAULT_STORAGE, Manager, Settings};
use crate::tls::{self, ClientAuth, Live, Source, Tickets};
use crate::tune::AcmeChallenge;

/// A certificate and who keeps it current; it outlives the configuration.
struct Kept {
    live: Arc<Live>,
    manager: Manager,
}

pub(super) fn parse(args: &mut Args<'_>, cx: &mut SetupCx<'_>) -> Result<Arc<Live>, SetupError> {
    let mut settings = Settings::new(Vec::new(), cx.tune.acme_challenge);
    settings.storage = cx.path(DEFAULT_STORAGE);
    let mut given = false;
    while args.next_block() {
        match args.val() {
            "acme" => {
                given = true;
                let domains = args.remaining_args();
                settings
                    .domains
                    .extend(domains.iter().map(|domain| (*domain).to_owned()));
            }
            "email" => settings.email = Some(only(args)?.to_owned()),
            "ca" => settings.ca = only(args)?.to_owned(),
            "storage" => settings.storage = cx.path(only(args)?),
            "ca_root" => settings.ca_root = Some(cx.path(only(args)?)),
            "resolver" => settings.resolver = Some(only(args)?.to_owned()),
            other => return Err(args.err(format!("unknown option '{other}'"))),
        }
    }
    if !given {
        return Err(args.arg_err());
    }
    let settings = settings.check().map_err(|error| args.err(error))?;
    let tickets = Tickets::new().map_err(|error| args.err(error))?;
    let live = live(&settings, tickets).map_err(|error| args.err(error))?;
    let key = settings.key();
    let kept = cx
        .carry
        .obtain(&key, || Arc::new(Kept::open(settings, live)));
    let live = kept.live.clone();
    // Held by the hook, and then by the periodic work: whoever drops both ends the orders.
    cx.life.on_start.push(Box::new({
        let kept = kept.clone();
        move |started| kept.manager.start(&started.control)
    }));
    cx.life.on_stop.push(Box::new(move || drop(kept)));
    Ok(live)
}

/// What has no certificate yet.
fn live(settings: &Settings, tickets: Tickets) -> Result<Live, String> {
    let settings = tls::Settings {
        source: Source::Installed {
            answers_challenges: settings.challenge == AcmeChallenge::TlsAlpn01,
        },
        ca: None,
        client_auth: ClientAuth::NoCert,
        keylog: None,
    };
    Live::load(settings, Arc::new(tickets))
}

impl Kept {
    fn open(settings: Settings, live: Live) -> Kept {
        let live = Arc::new(live);
        let shown = live.clone();
        let manager = Manager::open(settings, move |issued| {
            if let Err(error) = shown.install(&issued.identity) {
                log::error(
                    Some("tls"),
                    format_args!("a new certificate cannot be shown: {error}"),
                );
            }
        });
        Kept { live, manager }
    }
}
