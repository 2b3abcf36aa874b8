//! `tls CERT KEY [CA] { client_auth MODE; keylog FILE }` or `tls { acme DOMAIN... }`.

use std::sync::Arc;

#[cfg(feature = "acme")]
use super::acme;
use crate::corefile::{Args, SetupError};
use crate::plugin::SetupCx;
use crate::tls::{ClientAuth, LOOK, Live, Settings, Source, Tickets};

pub(super) fn parse(args: &mut Args<'_>, cx: &mut SetupCx<'_>) -> Result<(), SetupError> {
    while args.next() {
        // The last line of a block wins.
        let live = match args.remaining_args()[..] {
            [] => authority(args, cx)?,
            [cert, key] => files(args, cx, cert, key, None)?,
            [cert, key, ca] => files(args, cx, cert, key, Some(ca))?,
            _ => return Err(args.arg_err()),
        };
        cx.settings.tls = Some(live);
    }
    if let Some(live) = cx.settings.tls.clone() {
        cx.every(LOOK, "tls", move || live.refresh());
    }
    Ok(())
}

fn files(
    args: &mut Args<'_>,
    cx: &SetupCx<'_>,
    cert: &str,
    key: &str,
    ca: Option<&str>,
) -> Result<Arc<Live>, SetupError> {
    let mut settings = Settings {
        source: Source::Files {
            cert: cx.path(cert),
            key: cx.path(key),
        },
        ca: ca.map(|ca| cx.path(ca)),
        client_auth: ClientAuth::default(),
        keylog: None,
    };
    while args.next_block() {
        match args.val() {
            "client_auth" => settings.client_auth = client_auth(args)?,
            "keylog" => settings.keylog = Some(cx.path(only(args)?)),
            other => return Err(args.err(format!("unknown option '{other}'"))),
        }
    }
    let tickets = Tickets::new().map_err(|error| args.err(error))?;
    let tickets = cx
        .carry
        .obtain(&settings.tickets_key(), || Arc::new(tickets));
    let live = Live::load(settings, tickets).map_err(|error| args.err(error))?;
    Ok(Arc::new(live))
}

#[cfg(feature = "acme")]
fn authority(args: &mut Args<'_>, cx: &mut SetupCx<'_>) -> Result<Arc<Live>, SetupError> {
    acme::parse(args, cx)
}

#[cfg(not(feature = "acme"))]
fn authority(args: &mut Args<'_>, _: &mut SetupCx<'_>) -> Result<Arc<Live>, SetupError> {
    match args.next_block() {
        true => Err(args.err("this build has no 'acme'; build with the feature of that name")),
        false => Err(args.arg_err()),
    }
}

fn client_auth(args: &mut Args<'_>) -> Result<ClientAuth, SetupError> {
    match only(args)? {
        "nocert" => Ok(ClientAuth::NoCert),
        "request" => Ok(ClientAuth::Request),
        "require" => Ok(ClientAuth::Require),
        "verify_if_given" => Ok(ClientAuth::VerifyIfGiven),
        "require_and_verify" => Ok(ClientAuth::RequireAndVerify),
        other => Err(args.err(format!("unknown authentication type '{other}'"))),
    }
}

pub(super) fn only<'a>(args: &mut Args<'a>) -> Result<&'a str, SetupError> {
    match args.remaining_args()[..] {
        [word] => Ok(word),
        _ => Err(args.arg_err()),
    }
}
