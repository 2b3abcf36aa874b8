//! One order, from the account to the checked certificate (RFC 8555 section 7).

use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, Error, Identifier, NewAccount, NewOrder, Order, OrderStatus,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};

use super::challenge::{self, Proof};
use super::client::{Asked, Client, explain};
use super::issued::Issued;
use super::settings::Settings;
use super::storage::Storage;
use super::time::Time;
use crate::control::Control;
use crate::limits;

/// What an attempt needs.
#[derive(Clone)]
pub(super) struct Attempt {
    pub(super) settings: Settings,
    pub(super) storage: Storage,
    pub(super) control: Control,
    pub(super) time: Time,
    /// What the authority asked for last.
    pub(super) asked: Asked,
}

/// A certificate, and as PEM what is to be kept of it.
pub(super) struct Fresh {
    pub(super) issued: Issued,
    pub(super) pem: String,
}

/// Why there is no certificate.
pub(super) struct Failure {
    /// In one line.
    pub(super) text: String,
    /// The authority has had too many orders (RFC 8555 section 6.6).
    pub(super) is_rate_limited: bool,
    /// The authority does not know the account.
    is_account_gone: bool,
}

impl From<String> for Failure {
    fn from(text: String) -> Failure {
        let plain = |c: char| if c.is_control() { ' ' } else { c };
        Failure {
            text: text.chars().map(plain).collect(),
            is_rate_limited: false,
            is_account_gone: false,
        }
    }
}

impl Failure {
    /// What an authority answered, or that it did not, to `doing`.
    fn of(doing: &str, error: &Error) -> Failure {
        let kind = match error {
            Error::Api(problem) => problem.r#type.as_deref().unwrap_or_default(),
            _ => "",
        };
        let kind = kind.strip_prefix("urn:ietf:params:acme:error:");
        Failure {
            is_rate_limited: kind == Some("rateLimited"),
            is_account_gone: kind == Some("accountDoesNotExist"),
            ..Failure::from(format!("{doing}: {}", explain(error)))
        }
    }
}

impl Attempt {
    /// Orders a certificate.
    ///
    /// # Errors
    /// Why there is none; then nothing has changed but the account, which may be there now.
    pub(super) async fn order(&self) -> Result<Fresh, Failure> {
        let storage = self.storage.clone();
        blocking(move || storage.prepare()).await?;
        match self.order_with(self.account().await?).await {
            Err(failure) if failure.is_account_gone => {
                let storage = self.storage.clone();
                let forget = move || storage.forget_account().map_err(|error| error.to_string());
                blocking(forget).await?;
                self.order_with(self.account().await?).await
            }
            done => done,
        }
    }

    /// The stored account, or a new one, which is stored before it is used.
    async fn account(&self) -> Result<Account, Failure> {
        let (ca_root, asked) = (self.settings.ca_root.clone(), self.asked.clone());
        let storage = self.storage.clone();
        let read = move || Ok((Client::new(ca_root.as_deref(), asked)?, storage.account()?));
        let (client, stored) = blocking(read).await?;
        let builder = Account::builder_with_http(Box::new(client));
        let doing = format!("the authority {}", self.settings.ca);
        if let Some(stored) = stored {
            let account = builder.from_credentials(stored).await;
            return account.map_err(|error| Failure::of(&doing, &error));
        }
        let email = self.settings.email.as_ref();
        let contact = email.map(|email| format!("mailto:{email}"));
        let contact: Vec<&str> = contact.as_deref().into_iter().collect();
        let wanted = NewAccount {
            contact: &contact,
            // As CoreDNS does: who names an authority in the Corefile has agreed.
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let made = builder.create(&wanted, self.settings.ca.clone(), None);
        let doing = format!("{doing}, a new account");
        let (account, credentials) = made.await.map_err(|error| Failure::of(&doing, &error))?;
        let storage = self.storage.clone();
        blocking(move || storage.keep_account(&credentials)).await?;
        Ok(account)
    }

    async fn order_with(&self, account: Account) -> Result<Fresh, Failure> {
        let names = self.settings.domains.iter().cloned();
        let names: Vec<Identifier> = names.map(Identifier::Dns).collect();
        let order = account.new_order(&NewOrder::new(&names)).await;
        let mut order = order.map_err(|error| Failure::of("a new order", &error))?;
        if order.state().authorizations.len() > self.settings.domains.len() {
            return Err("the order has more authorizations than names"
                .to_owned()
                .into());
        }
        let proofs = self.proofs(&mut order).await?;
        if !proofs.is_empty() {
            // Held until the authority has decided.
            let _standing =
                challenge::stand(&self.settings, &proofs, &self.control, &self.time).await?;
            self.ask_to_look(&mut order).await?;
            self.settle(&mut order, &[OrderStatus::Pending]).await?;
        }
        if order.state().status != OrderStatus::Ready {
            return Err(self.refusal(&mut order).await);
        }
        self.finalize(&mut order).await
    }

    /// What the authority wants to see for names that it does not trust us with yet.
    async fn proofs(&self, order: &mut Order) -> Result<Vec<Proof>, Failure> {
        let mut proofs = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization =
                authorization.map_err(|error| Failure::of("an authorization", &error))?;
            let shown = authorization.identifier().to_string();
            if !self.settings.domains.contains(&shown) {
                return Err(format!("an authorization for {shown}, which was not ordered").into());
            }
            match authorization.status {
                AuthorizationStatus::Pending => {}
                AuthorizationStatus::Valid => continue,
                status => {
                    return Err(format!("the authorization for {shown} is {status:?}").into());
                }
            }
            let kind = self.settings.challenge;
            let Some(offered) = authorization.challenge(challenge::kind(kind)) else {
                return Err(format!(
                    "the authority does not offer the challenge {kind} for {shown}; see acme_challenge of -tune"
                )
                .into());
            };
            let host = shown.strip_prefix("*.").unwrap_or(&shown).to_owned();
            proofs.push(Proof {
                host,
                token: offered.token.clone(),
                authorization: offered.key_authorization(),
            });
        }
        Ok(proofs)
    }

    /// Tells the authority that the answers stand.
    async fn ask_to_look(&self, order: &mut Order) -> Result<(), Failure> {
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization =
                authorization.map_err(|error| Failure::of("an authorization", &error))?;
            if authorization.status != AuthorizationStatus::Pending {
                continue;
            }
            let kind = challenge::kind(self.settings.challenge);
            if let Some(mut offered) = authorization.challenge(kind) {
                let told = offered.set_ready().await;
                told.map_err(|error| Failure::of("a challenge", &error))?;
            }
        }
        Ok(())
    }

    /// Waits while the order is in one of these states.
    async fn settle(&self, order: &mut Order, passing: &[OrderStatus]) -> Result<(), Failure> {
        let mut pause = Duration::from_millis(limits::ACME_POLL_MS_MIN);
        let most = Duration::from_millis(limits::ACME_POLL_MS_MAX);
        let until_s = self.time.now_s() + limits::ACME_POLL_S;
        while passing.contains(&order.state().status) && order.state().error.is_none() {
            if self.time.now_s() >= until_s {
                let waited_s = limits::ACME_POLL_S;
                return Err(format!("the authority did not decide in {waited_s} s").into());
            }
            let asked = self.asked.last().unwrap_or_default();
            self.time.sleep(pause.max(asked).min(most)).await;
            pause = (2 * pause).min(most);
            let refreshed = order.refresh().await;
            refreshed.map_err(|error| Failure::of("the order", &error))?;
        }
        Ok(())
    }

    /// Why an order is not what it should be: of the order, or of the first challenge that failed.
    async fn refusal(&self, order: &mut Order) -> Failure {
        let state = order.state();
        if let Some(problem) = state.error.clone() {
            return Failure::of("the order", &Error::Api(problem));
        }
        let status = state.status;
        let mut authorizations = order.authorizations();
        while let Some(Ok(mut authorization)) = authorizations.next().await {
            if authorization.refresh().await.is_err() {
                break;
            }
            let shown = authorization.identifier().to_string();
            let failed = authorization.challenges.iter().find_map(|challenge| {
                let problem = challenge.error.clone()?;
                Some(Failure::of(&shown, &Error::Api(problem)))
            });
            if let Some(failure) = failed {
                return failure;
            }
        }
        format!("the order is {status:?}").into()
    }

    /// Asks for the certificate of a new key and checks what comes.
    async fn finalize(&self, order: &mut Order) -> Result<Fresh, Failure> {
        let text = |error: rcgen::Error| format!("a request for a certificate: {error}");
        let domains = &self.settings.domains;
        let key = KeyPair::generate().map_err(text)?;
        let mut params = CertificateParams::new(domains.clone()).map_err(text)?;
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&key).map_err(text)?;
        let finalized = order.finalize_csr(request.der()).await;
        finalized.map_err(|error| Failure::of("the request for the certificate", &error))?;
        let passing = [OrderStatus::Ready, OrderStatus::Processing];
        self.settle(order, &passing).await?;
        if order.state().status != OrderStatus::Valid {
            return Err(self.refusal(order).await);
        }
        let chain = order.certificate().await;
        let chain = chain.map_err(|error| Failure::of("the certificate", &error))?;
        let pem = format!("{}{}", key.serialize_pem(), chain.unwrap_or_default());
        let issued = Issued::read(pem.as_bytes(), domains)
            .map_err(|error| format!("what the authority issued is of no use: {error}"))?;
        if issued.not_after_s <= self.time.now_s() {
            return Err(
                "the certificate that the authority issued has ended already; is the clock right?"
                    .to_owned()
                    .into(),
            );
        }
        Ok(Fresh { issued, pem })
    }
}

/// Runs what reads or writes files beside the control thread.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(error.to_string()),
    }
}
