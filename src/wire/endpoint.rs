//! Where a replica is, and who may ask it.

use std::{fmt, sync::Arc};

use reqwest::header::HeaderValue;

use crate::ground::{
    error::Error,
    quoted::{acts, one_line},
};

/// Where a replica answers, and the token it wants.
#[derive(Clone)]
pub struct Endpoint {
    /// The address as the user gave it: how the replica is shown.
    pub base: Arc<str>,
    pub(super) url: reqwest::Url,
    pub(super) authorization: Option<HeaderValue>,
    pub(super) proxy: Proxy,
}

impl Endpoint {
    /// Whether it is the same address.
    pub fn is_at(&self, other: &Self) -> bool {
        self.url == other.url
    }

    /// Checks an address and a token.
    pub fn new(base: &str, token: Option<&str>) -> Result<Self, Error> {
        let shown = redact(base);
        let invalid = |problem: &str| Error::InvalidUrl { url: shown.clone(), problem: problem.into() };
        if base.chars().any(acts) {
            return Err(invalid("it holds a control character"));
        }
        let mut url = reqwest::Url::parse(base)
            .map_err(|error| invalid(&format!("{error}; write for example https://eu.example.com")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(invalid("its scheme must be http or https"));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(invalid("it names no host"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid("it holds a user or password; pass the token as auth_token instead"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(invalid("it must not have a ? or # part; give the base, without /query"));
        }
        let path = format!("{}/query", url.path().trim_end_matches('/'));
        url.set_path(&path);
        let authorization = token.map(bearer).transpose()?;
        Ok(Self { base: base.trim_end_matches('/').into(), url, authorization, proxy: Proxy::None })
    }
}

impl Endpoint {
    /// The same behind a proxy.
    pub fn behind(self, proxy: Proxy) -> Self {
        Self { proxy, ..self }
    }
}

fn bearer(token: &str) -> Result<HeaderValue, Error> {
    let header = HeaderValue::from_str(&format!("Bearer {token}"));
    let mut header = header.map_err(|_| Error::InvalidOption {
        option: "auth_token",
        value: "(hidden)".into(),
        problem: "it holds a character that no HTTP header may hold, such as a line break".into(),
    })?;
    // Kept out of every debug print.
    header.set_sensitive(true);
    Ok(header)
}

/// The address for messages: without a user, a password, and whatever follows `?` or `#`, where tokens are put.
fn redact(base: &str) -> String {
    const SHOWN: usize = 200;
    let (shown, hidden) = match base.find(['?', '#']) {
        Some(at) => (&base[..at], "?…"),
        None => (base, ""),
    };
    let shown = match (shown.find("://"), shown.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => format!("{}://…{}", &shown[..scheme], &shown[at..]),
        (None, Some(at)) => format!("…{}", &shown[at..]),
        _ => shown.to_owned(),
    };
    one_line(&(shown + hidden), SHOWN)
}

/// Which proxy stands between us and a replica.
#[derive(Clone, Default)]
pub enum Proxy {
    /// None, whatever the environment says: an `http://` replica's token would be shown to it.
    #[default]
    None,
    /// The one that the environment or the system names for the address, if any.
    Environment,
    /// This one.
    At(Arc<reqwest::Url>),
}

impl Proxy {
    /// Reads a setting: `"env"`, or the proxy's address, which may hold a user and a password.
    pub fn new(setting: &str) -> Result<Self, Error> {
        if setting == "env" {
            return Ok(Self::Environment);
        }
        let invalid =
            |problem: String| Error::InvalidOption { option: "proxy", value: redact(setting), problem };
        let url = reqwest::Url::parse(setting).map_err(|error| {
            invalid(format!("{error}; write for example http://proxy.example.com:3128, or \"env\""))
        })?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
            return Err(invalid("it must be an http or https address with a host, or \"env\"".into()));
        }
        Ok(Self::At(Arc::new(url)))
    }

    /// Whether it may have to be spoken to by TLS.
    pub(super) fn may_need_tls(&self) -> bool {
        match self {
            Self::None => false,
            Self::Environment => true,
            Self::At(url) => url.scheme() == "https",
        }
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Environment => f.write_str("Environment"),
            Self::At(url) => write!(f, "At({})", redact(url.as_str())),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({})", self.base)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::client::Client;
    use super::*;

    #[test]
    fn an_address_that_cannot_be_used_is_named_with_what_to_do() {
        for (url, word) in [
            ("", "relative"),
            ("eu.example.com", "relative"),
            ("ftp://eu.example.com", "scheme"),
            ("https://eu.example.com/?a=1", "without /query"),
        ] {
            let error = Endpoint::new(url, None).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
            assert!(error.contains(url.split('?').next().unwrap()), "{error}");
        }
        assert_eq!(Endpoint::new("http://h:1/base/", None).unwrap().url.as_str(), "http://h:1/base/query");
    }

    #[test]
    fn secrets_are_in_no_message() {
        let error = Endpoint::new("https://me:s3cret@eu.example.com", None).unwrap_err().to_string();
        assert!(error.contains("auth_token") && !error.contains("s3cret"), "{error}");
        for url in [
            "https://eu.example.com/?token=s3cret",
            "https://eu.example.com/#s3cret",
            "https://s3cret@eu.example.com",
            "http://u:s3cret@[::1",
            "u:s3cret@host",
            "http://a?b@s3cret",
        ] {
            let error = Endpoint::new(url, None).unwrap_err().to_string();
            assert!(!error.contains("s3cret"), "{error}");
            let error = Proxy::new(url);
            assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
        }
        assert!(!format!("{:?}", Proxy::new("http://me:s3cret@proxy:3128").unwrap()).contains("s3cret"));
        let error = Endpoint::new("http://h/\n", None).unwrap_err().to_string();
        assert!(error.contains("control character") && !error.contains('\n'), "{error}");
        let error = Endpoint::new("https://eu.example.com", Some("s3cret\n")).unwrap_err().to_string();
        assert!(!error.contains("s3cret"), "{error}");
        let endpoint = Endpoint::new("https://eu.example.com", Some("s3cret")).unwrap();
        let client = Client::new(endpoint, Duration::from_secs(1), Duration::from_secs(1)).unwrap();
        assert!(!format!("{client:?}").contains("s3cret"));
    }
}
