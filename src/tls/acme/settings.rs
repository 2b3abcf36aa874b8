//! What `acme` of *tls* says.

use std::collections::BTreeSet;
use std::path::PathBuf;

use http::Uri;

use crate::corefile::host_port;
use crate::limits;
use crate::tune::AcmeChallenge;
use crate::wire::name::NameBuf;

/// What one certificate is ordered with. Equal settings are one certificate, so [`Settings::key`] tells managers apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The names, in the order of the Corefile; `*.` in front of one stands for all names below.
    pub domains: Vec<String>,
    /// Where the authority may write to.
    pub email: Option<String>,
    /// URL of the authority's directory.
    pub ca: String,
    /// Directory of the files, below *root*.
    pub storage: PathBuf,
    /// Root certificates, in PEM, by which alone the authority is known; `None`: those of the system.
    pub ca_root: Option<PathBuf>,
    /// `HOST:PORT` of a resolver that must show the answer to a DNS challenge before the authority is told to look.
    pub resolver: Option<String>,
    /// How the names are proven to be ours.
    pub challenge: AcmeChallenge,
    /// Where HTTP challenges are answered: authorities ask on port 80 (RFC 8555 section 8.3).
    pub http_addr: String,
}

impl Settings {
    /// Settings for these names that say no more than the Corefile must.
    pub fn new(domains: Vec<String>, challenge: AcmeChallenge) -> Settings {
        Settings {
            domains,
            email: None,
            ca: DEFAULT_CA.to_owned(),
            storage: DEFAULT_STORAGE.into(),
            ca_root: None,
            resolver: None,
            challenge,
            http_addr: HTTP_ADDR.to_owned(),
        }
    }

    /// Lower-cases the names, leaves out those that were there already, and finds what no authority would take.
    ///
    /// # Errors
    /// What is wrong, and what to write instead; it follows the name of the file and the line.
    pub fn check(mut self) -> Result<Settings, String> {
        if self.domains.is_empty() {
            return Err("acme requires at least one domain".to_owned());
        }
        if self.domains.len() > limits::ACME_DOMAINS {
            let most = limits::ACME_DOMAINS;
            return Err(format!(
                "acme takes at most {most} domains for one certificate; use several server blocks"
            ));
        }
        for domain in &mut self.domains {
            domain.make_ascii_lowercase();
            if domain.ends_with('.') {
                domain.pop();
            }
            check_domain(domain)?;
            if domain.starts_with("*.") && self.challenge != AcmeChallenge::Dns01 {
                let challenge = self.challenge;
                return Err(format!(
                    "acme domain {domain:?}: a wildcard needs the challenge dns-01, and acme_challenge of -tune says {challenge}"
                ));
            }
        }
        let mut seen = BTreeSet::new();
        self.domains.retain(|domain| seen.insert(domain.clone()));
        let uri: Option<Uri> = self.ca.parse().ok();
        if uri.is_none_or(|uri| uri.scheme_str() != Some("https") || uri.host().is_none()) {
            return Err(format!("ca {:?} is no https URL of a directory", self.ca));
        }
        if let Some(email) = &self.email {
            let parts = email.split_once('@');
            let is_plain = email.bytes().all(|octet| octet.is_ascii_graphic());
            if !is_plain || parts.is_none_or(|(user, host)| user.is_empty() || host.is_empty()) {
                return Err(format!(
                    "email {email:?} is no address like admin@example.org"
                ));
            }
        }
        if let Some(resolver) = &self.resolver {
            match host_port(resolver) {
                Ok((host, port)) if !host.is_empty() && port != 0 => {}
                Ok(_) => return Err(format!("resolver {resolver:?} is not HOST:PORT")),
                Err(error) => return Err(format!("resolver {resolver:?}: {error}")),
            }
        }
        Ok(self)
    }

    /// What tells managers apart, for [`crate::plugin::Carry`].
    pub fn key(&self) -> String {
        format!("{self:?}")
    }

    /// The names as a log line shows them.
    pub(super) fn shown(&self) -> String {
        match self.domains.as_slice() {
            [] => String::new(),
            [one] => one.clone(),
            [first, rest @ ..] => format!("{first} and {} more", rest.len()),
        }
    }
}

/// A host name of letters, digits and hyphens, perhaps behind `*.` (RFC 5280 section 4.2.1.6).
fn check_domain(domain: &str) -> Result<(), String> {
    let host = domain.strip_prefix("*.").unwrap_or(domain);
    let is_label = |label: &str| {
        let inner = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'-';
        !label.is_empty()
            && label.bytes().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_address = host.parse::<std::net::Ipv4Addr>().is_ok();
    // In front of it stands the label of the DNS challenge, and both are one name.
    let fits = answer_name(domain).is_some();
    if !is_address && fits && host.split('.').all(is_label) {
        return Ok(());
    }
    Err(format!(
        "acme domain {domain:?} is no host name (names of other scripts are written as xn--...)"
    ))
}

/// The name at which a DNS challenge for the domain is answered (RFC 8555 section 8.4), in lower-case wire form.
pub(super) fn answer_name(domain: &str) -> Option<NameBuf> {
    let host = domain.strip_prefix("*.").unwrap_or(domain);
    let name = NameBuf::from_text(&format!("_acme-challenge.{host}.")).ok()?;
    Some(name.to_lower())
}

/// The directory of Let's Encrypt, which CoreDNS takes too where the Corefile names none.
pub const DEFAULT_CA: &str = "https://acme-v02.api.letsencrypt.org/directory";
/// Below *root*; CoreDNS's name.
pub const DEFAULT_STORAGE: &str = ".coredns/acme";
const HTTP_ADDR: &str = ":80";

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(domain: &str) -> Settings {
        Settings::new(vec![domain.to_owned()], AcmeChallenge::Dns01)
    }

    #[test]
    fn names_are_lower_case_and_have_no_final_dot() {
        for (written, expect) in [
            ("Example.ORG.", "example.org"),
            ("*.a-b.example", "*.a-b.example"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ] {
            let checked = settings(written).check().unwrap();
            assert_eq!(checked.domains, [expect]);
        }
    }

    #[test]
    fn a_name_stands_once() {
        let domains = ["b.example", "a.example", "B.example."].map(str::to_owned);
        let settings = Settings::new(domains.into(), AcmeChallenge::Dns01);
        assert_eq!(
            settings.check().unwrap().domains,
            ["b.example", "a.example"]
        );
    }

    #[test]
    fn what_no_authority_takes_is_an_error() {
        let long = format!("{}.example", "a.".repeat(118));
        for domain in [
            "",
            ".",
            "*",
            "*.",
            "a..b",
            "a_b.example",
            "-a.example",
            "a.*.example",
            "192.0.2.1",
            "::1",
            "b\u{fc}cher.example",
            &*"a".repeat(64),
            &long,
        ] {
            let error = settings(domain).check().unwrap_err();
            assert!(error.contains("is no host name"), "{domain:?}: {error}");
        }
        let check = |change: fn(&mut Settings), expect: &str| {
            let mut settings = settings("example.org");
            change(&mut settings);
            assert_eq!(settings.check().unwrap_err(), expect);
        };
        check(|s| s.domains.clear(), "acme requires at least one domain");
        check(
            |s| s.domains = vec!["a.example".to_owned(); 101],
            "acme takes at most 100 domains for one certificate; use several server blocks",
        );
        check(
            |s| {
                s.domains = vec!["*.example.org".to_owned()];
                s.challenge = AcmeChallenge::Http01;
            },
            "acme domain \"*.example.org\": a wildcard needs the challenge dns-01, and acme_challenge of -tune says http-01",
        );
        for ca in ["http://ca.example/dir", "ca.example", "https:///", ""] {
            let mut settings = settings("example.org");
            settings.ca = ca.to_owned();
            let expect = format!("ca {ca:?} is no https URL of a directory");
            assert_eq!(settings.check().unwrap_err(), expect);
        }
        check(
            |s| s.email = Some("admin".to_owned()),
            "email \"admin\" is no address like admin@example.org",
        );
        check(
            |s| s.resolver = Some("192.0.2.1".to_owned()),
            "resolver \"192.0.2.1\": address 192.0.2.1: missing port in address",
        );
        check(
            |s| s.resolver = Some(":53".to_owned()),
            "resolver \":53\" is not HOST:PORT",
        );
    }

    #[test]
    fn settings_that_differ_have_other_keys() {
        let one = settings("example.org");
        assert_eq!(one.key(), one.clone().key());
        let other = Settings {
            email: Some("a@example.org".to_owned()),
            ..one.clone()
        };
        assert_ne!(one.key(), other.key());
    }
}
