//! `tls CERT KEY [CA] { client_auth MODE; keylog FILE }`.

use std::sync::Arc;
use std::time::Duration;

use crate::corefile::{Args, SetupError};
use crate::plugin::SetupCx;
use crate::tls::{ClientAuth, Live, Settings, Tickets};

pub(super) fn parse(args: &mut Args<'_>, cx: &mut SetupCx<'_>) -> Result<(), SetupError> {
    while args.next() {
        let settings = files(args, cx)?;
        let tickets = Tickets::new().map_err(|error| args.err(error))?;
        let tickets = cx
            .carry
            .obtain(&settings.tickets_key(), || Arc::new(tickets));
        let live = Live::load(settings, tickets).map_err(|error| args.err(error))?;
        // The last line of a block wins.
        cx.settings.tls = Some(Arc::new(live));
    }
    if let Some(live) = cx.settings.tls.clone() {
        cx.every(LOOK, "tls", move || live.refresh());
    }
    Ok(())
}

fn files(args: &mut Args<'_>, cx: &SetupCx<'_>) -> Result<Settings, SetupError> {
    let paths = args.remaining_args();
    let (cert, key, ca) = match paths[..] {
        [cert, key] => (cert, key, None),
        [cert, key, ca] => (cert, key, Some(ca)),
        _ => return Err(args.arg_err()),
    };
    let mut settings = Settings {
        cert: cx.path(cert),
        key: cx.path(key),
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
    Ok(settings)
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

fn only<'a>(args: &mut Args<'a>) -> Result<&'a str, SetupError> {
    match args.remaining_args()[..] {
        [word] => Ok(word),
        _ => Err(args.arg_err()),
    }
}

/// How often files are looked at: a new certificate is served within that time.
const LOOK: Duration = Duration::from_secs(2);
