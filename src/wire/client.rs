//! HTTP: one POST, one answer, with limits on time and size.

use std::{fmt, sync::Arc, time::Duration};

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};

use super::verdict::TransportError;
use crate::error::Error;

/// Idle connections are dropped before StarbaseDB drops them: it does so after 5 seconds, and a request on a
/// connection that is just being closed fails without telling whether it arrived.
const POOL_IDLE: Duration = Duration::from_secs(4);

/// The most of an answer that is read, in bytes. Ours are a row; a batch of 100,000 bytes returns at most
/// a few kilobytes of counts.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// Where a replica answers, and the token it wants.
#[derive(Clone)]
pub struct Endpoint {
    /// The address as the user gave it: how the replica is shown.
    pub base: Arc<str>,
    url: reqwest::Url,
    authorization: Option<HeaderValue>,
}

impl Endpoint {
    /// Checks an address and a token.
    pub fn new(base: &str, token: Option<&str>) -> Result<Self, Error> {
        let shown = redact(base);
        let invalid = |problem: &str| Error::InvalidUrl { url: shown.clone(), problem: problem.into() };
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
        Ok(Self { base: base.trim_end_matches('/').into(), url, authorization })
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

/// The address without user and password, for messages.
fn redact(base: &str) -> String {
    match (base.find("://"), base.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => format!("{}://…{}", &base[..scheme], &base[at..]),
        _ => base.to_owned(),
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
        let mut http = reqwest::Client::builder();
        if endpoint.url.scheme() == "http" {
            // It asks nobody for certificates: a slim container has none, and none are needed.
            http = http.tls_certs_only([]);
        }
        let http = http
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
        Ok(Self { http, endpoint })
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
            assert!(error.contains(word) && error.contains(url), "{error}");
        }
        assert_eq!(Endpoint::new("http://h:1/base/", None).unwrap().url.as_str(), "http://h:1/base/query");
    }

    #[test]
    fn secrets_are_in_no_message() {
        let error = Endpoint::new("https://me:s3cret@eu.example.com", None).unwrap_err().to_string();
        assert!(error.contains("auth_token") && !error.contains("s3cret"), "{error}");
        let error = Endpoint::new("https://eu.example.com", Some("s3cret\n")).unwrap_err().to_string();
        assert!(!error.contains("s3cret"), "{error}");
        let endpoint = Endpoint::new("https://eu.example.com", Some("s3cret")).unwrap();
        let client = Client::new(endpoint, Duration::from_secs(1), Duration::from_secs(1)).unwrap();
        assert!(!format!("{client:?}").contains("s3cret"));
    }
}
