//! HTTP: one POST, one answer, with limits on time and size.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};

use super::{
    endpoint::{Endpoint, Proxy},
    sizes::MAX_SQL_BYTES,
    verdict::TransportError,
};
use crate::ground::error::Error;

/// Idle connections are dropped before StarbaseDB drops them: it does so after 5 seconds, and a request on a
/// connection that is just being closed fails without telling whether it arrived.
const POOL_IDLE: Duration = Duration::from_secs(4);

/// The most of an answer that is read, in bytes. Ours are a row; a batch of 100,000 bytes returns at most
/// a few kilobytes of counts.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// The header by which a peer says what it takes: the version of this protocol, and the longest text in bytes.
const PEER: &str = "afterquery-peer";

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
    fn a_peer_says_how_long_a_text_it_takes() {
        assert_eq!(told_bytes("1 max_sql_bytes=4194304"), Some(4_194_304));
        assert_eq!(told_bytes("1 other=5 max_sql_bytes=7 more"), Some(7));
        for header in
            ["", "2 max_sql_bytes=7", "1", "max_sql_bytes=7", "1 max_sql_bytes=-1", "1 max_sql_bytes=1e9"]
        {
            assert_eq!(told_bytes(header), None, "{header}");
        }
    }
}
