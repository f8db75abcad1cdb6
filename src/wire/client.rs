//! HTTP: one POST, one answer, with limits on time and size.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};

use super::{sizes::MAX_SQL_BYTES, verdict::TransportError};
use crate::ground::{
    error::Error,
    quoted::{acts, one_line},
};

/// Idle connections are dropped before StarbaseDB drops them: it does so after 5 seconds, and a request on a
/// connection that is just being closed fails without telling whether it arrived.
const POOL_IDLE: Duration = Duration::from_secs(4);

/// The most of an answer that is read, in bytes. Ours are a row; a batch of 100,000 bytes returns at most
/// a few kilobytes of counts.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// The header by which a peer says what it takes: the version of this protocol, and the longest text in bytes.
const PEER: &str = "afterquery-peer";

/// Where a replica answers, and the token it wants.
#[derive(Clone)]
pub struct Endpoint {
    /// The address as the user gave it: how the replica is shown.
    pub base: Arc<str>,
    url: reqwest::Url,
    authorization: Option<HeaderValue>,
    proxy: Proxy,
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
    fn may_need_tls(&self) -> bool {
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

/// An HTTP client for one replica.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    endpoint: Endpoint,
    /// What the replica last said of the longest text it takes.
    text_bytes: Arc<AtomicUsize>,
}

impl Client {
    /// A client for `endpoint`, with limits on the time to connect and on a whole request.
    pub fn new(
        endpoint: Endpoint,
        connect_timeout: Duration,
        request_timeout: Duration,
    ) -> Result<Self, Error> {
        // Fails when the process has a provider already: then that one serves.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = match &endpoint.proxy {
            Proxy::None => reqwest::Client::builder().no_proxy(),
            Proxy::Environment => reqwest::Client::builder(),
            Proxy::At(url) => reqwest::Client::builder()
                .proxy(reqwest::Proxy::all(url.as_str()).map_err(|error| Error::Start(describe(&error)))?),
        };
        if endpoint.url.scheme() == "http" && !endpoint.proxy.may_need_tls() {
            // It asks nobody for certificates: a slim container has none, and none are needed.
            builder = builder.tls_certs_only([]);
        }
        let http = builder
            .connect_timeout(connect_timeout)
            .timeout(request_timeout)
            .pool_idle_timeout(POOL_IDLE)
            .pool_max_idle_per_host(1)
            .tcp_nodelay(true)
            .http1_only()
            // A redirected POST would become a GET, or send the token elsewhere.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("afterquery/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| {
                Error::Start(format!(
                    "{} (an https:// replica needs the system's CA certificates: install ca-certificates, or name a file with \
                     SSL_CERT_FILE)",
                    describe(&error)
                ))
            })?;
        Ok(Self { http, endpoint, text_bytes: Arc::new(AtomicUsize::new(MAX_SQL_BYTES)) })
    }

    /// The longest text that the replica said it takes, in bytes.
    pub fn text_bytes(&self) -> usize {
        self.text_bytes.load(Ordering::Relaxed)
    }

    /// Runs `sql` on the replica: the status, the `Retry-After` header and the body.
    pub async fn query(&self, sql: &str) -> Result<(u16, Option<String>, Vec<u8>), TransportError> {
        // Room for the escapes that SQL usually needs: growing step by step would copy a full text several times.
        let mut body = Vec::with_capacity(sql.len() + sql.len() / 16 + 64);
        serde_json::to_writer(&mut body, &Request { sql })
            .map_err(|error| TransportError { timeout: false, message: error.to_string() })?;
        let mut request = self.http.post(self.endpoint.url.clone()).header(CONTENT_TYPE, "application/json");
        if let Some(authorization) = &self.endpoint.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        let mut response = request.body(body).send().await.map_err(transport)?;
        let status = response.status().as_u16();
        let retry_after =
            response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
        if response.status().is_success() {
            let told = response.headers().get(PEER).and_then(|value| value.to_str().ok());
            self.text_bytes.store(told.and_then(told_bytes).unwrap_or(MAX_SQL_BYTES), Ordering::Relaxed);
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(transport)? {
            let room = MAX_ANSWER_BYTES - body.len();
            if chunk.len() > room {
                return Err(TransportError {
                    timeout: false,
                    message: format!("the answer is longer than {MAX_ANSWER_BYTES} bytes"),
                });
            }
            body.extend_from_slice(&chunk);
        }
        Ok((status, retry_after, body))
    }
}

/// What a peer's header says: `1 max_sql_bytes=4194304`. Of a version that is not known nothing is believed.
fn told_bytes(header: &str) -> Option<usize> {
    let mut words = header.split(' ');
    (words.next() == Some("1")).then_some(())?;
    words.find_map(|word| word.strip_prefix("max_sql_bytes=")?.parse().ok())
}

#[derive(serde::Serialize)]
struct Request<'a> {
    sql: &'a str,
}

fn transport(error: reqwest::Error) -> TransportError {
    TransportError { timeout: error.is_timeout(), message: describe(&error) }
}

/// The innermost cause: reqwest's own text only names the address, which the reader knows.
fn describe(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
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
    fn a_peer_says_how_long_a_text_it_takes() {
        assert_eq!(told_bytes("1 max_sql_bytes=4194304"), Some(4_194_304));
        assert_eq!(told_bytes("1 other=5 max_sql_bytes=7 more"), Some(7));
        for header in
            ["", "2 max_sql_bytes=7", "1", "max_sql_bytes=7", "1 max_sql_bytes=-1", "1 max_sql_bytes=1e9"]
        {
            assert_eq!(told_bytes(header), None, "{header}");
        }
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
