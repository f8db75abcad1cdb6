//! What an answer means: a pure function, so that every case can be tested without a network.
//!
//! A status code alone does not tell a permanent error from a passing one: StarbaseDB answers 500 for both
//! and 400 for what its platform throws. The body does.

use std::time::{Duration, SystemTime};

use super::reply::{Answer, Row};
use crate::reason::{Reason, ReasonCode};

/// What to do after a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// The text ran to its end; these are the rows of its last statement.
    Delivered(Vec<Row>),
    /// It may or may not have run; ask, and try again.
    Retry {
        /// The least time to wait, where the answer names one.
        after: Option<Duration>,
        /// Why.
        reason: Reason,
    },
    /// A statement of it will fail however often it is tried.
    Reject {
        /// Why.
        reason: Reason,
    },
}

/// A request that got no whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransportError {
    /// Whether time ran out, as opposed to a broken connection.
    pub timeout: bool,
    /// What happened, without the address and without headers.
    pub message: String,
}

/// Codes of errors of the replica as a whole, which pass without the write being at fault: those SQLite calls
/// transient, and those that a restart or free space mends.
const PASSING_CODES: [&str; 13] = [
    "SQLITE_FULL",
    "SQLITE_BUSY",
    "SQLITE_LOCKED",
    "SQLITE_IOERR",
    "SQLITE_NOMEM",
    "SQLITE_INTERRUPT",
    "SQLITE_CANTOPEN",
    "SQLITE_READONLY",
    "SQLITE_PROTOCOL",
    "SQLITE_CORRUPT",
    "SQLITE_NOTADB",
    "SQLITE_SCHEMA",
    "SQLITE_ABORT",
];

/// Errors without a code that pass, as measured on StarbaseDB.
const PASSING: [&str; 3] = ["storage is no longer accessible", "is no longer running", "overloaded"];

/// Errors without a code that are the text's own fault.
const PERMANENT: [&str; 4] = [
    "Wrong number of parameter bindings",
    "When executing multiple SQL statements",
    "did not contain a statement",
    "please use the state.storage.transaction",
];

/// The head did not find the row as it expects it.
const GUARD: &str = "NOT NULL constraint failed: tmp_afterquery_watermark.seq";

/// How much of a foreign body a reason quotes, in bytes.
const QUOTED: usize = 200;

/// What `status` and `body` mean; `retry_after` is the header of that name.
pub fn judge(answer: Result<(u16, Option<&str>, &[u8]), &TransportError>, now: SystemTime) -> Verdict {
    match answer {
        Err(error) => {
            let code = if error.timeout { ReasonCode::Timeout } else { ReasonCode::Connection };
            Verdict::Retry { after: None, reason: Reason::new(code, error.message.as_str()) }
        }
        Ok((status, retry_after, body)) => {
            let after = retry_after.and_then(|text| parse_retry_after(text, now));
            judge_answer(status, after, body)
        }
    }
}

fn judge_answer(status: u16, after: Option<Duration>, body: &[u8]) -> Verdict {
    let answer = serde_json::from_slice::<Answer>(body).ok();
    if (200..300).contains(&status)
        && let Some(Answer { result: Some(rows), .. }) = answer
    {
        return Verdict::Delivered(rows);
    }
    let error = answer.and_then(|answer| answer.error);
    let text = error.clone().unwrap_or_else(|| quote(body));
    let retry = |code, message: String| Verdict::Retry { after, reason: Reason::new(code, message) };
    match (status, error) {
        (200..300, None) => retry(ReasonCode::NotAReplica, format!("HTTP {status} without a result: {text}")),
        (401 | 403, _) => retry(ReasonCode::Unauthorized, format!("HTTP {status}: {text}")),
        (400, Some(error)) if error.contains("Unauthorized") => {
            retry(ReasonCode::Unauthorized, format!("HTTP 400: {error}; check auth_token"))
        }
        (404 | 405 | 410, _) => {
            retry(ReasonCode::NotAReplica, format!("HTTP {status}: {text}; check the URL"))
        }
        (300..400, _) => {
            retry(ReasonCode::NotAReplica, format!("HTTP {status}, a redirect; give the final URL"))
        }
        (413, _) => {
            Verdict::Reject { reason: Reason::new(ReasonCode::TooLarge, format!("HTTP 413: {text}")) }
        }
        (429, _) => retry(ReasonCode::RateLimited, format!("HTTP 429: {text}")),
        (500, Some(error)) => judge_sql_error(error, after),
        _ => retry(ReasonCode::Unavailable, format!("HTTP {status}: {text}")),
    }
}

/// What an `{"error": …}` with status 500 means.
fn judge_sql_error(error: String, after: Option<Duration>) -> Verdict {
    let retry = |code| Verdict::Retry { after, reason: Reason::new(code, error.as_str()) };
    let reject = |code| Verdict::Reject { reason: Reason::new(code, error.as_str()) };
    if error.starts_with(GUARD) {
        return retry(ReasonCode::Guard);
    }
    match sqlite_code(&error) {
        Some(code) if PASSING_CODES.contains(&code) => retry(ReasonCode::Unavailable),
        Some("SQLITE_CONSTRAINT") => reject(ReasonCode::Constraint),
        Some("SQLITE_TOOBIG") => reject(ReasonCode::TooLarge),
        Some(_) if error.contains("no such table") => reject(ReasonCode::NoSuchTable),
        Some(_) => reject(ReasonCode::Sql),
        None if PASSING.iter().any(|passing| error.contains(passing)) => retry(ReasonCode::Unavailable),
        None if PERMANENT.iter().any(|permanent| error.contains(permanent)) => reject(ReasonCode::Sql),
        // Unknown is never taken for permanent: a write given up on by mistake is lost, one tried again is not.
        None => retry(ReasonCode::Internal),
    }
}

/// The primary code at the end of a message: `…: SQLITE_X` or `…: SQLITE_X (extended: SQLITE_X_Y)`. Only there: a
/// table may be called anything.
fn sqlite_code(error: &str) -> Option<&str> {
    let error = error.split_once(" (extended: SQLITE_").map_or(error, |(message, _)| message);
    let (_, code) = error.trim_end_matches('.').rsplit_once(": ")?;
    code.starts_with("SQLITE_").then_some(code)
}

fn quote(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(QUOTED)]);
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.is_empty() { "an empty body".into() } else { line }
}

/// `Retry-After` is seconds or a date: <https://www.rfc-editor.org/rfc/rfc9110#field.retry-after>.
fn parse_retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, body: &str) -> Verdict {
        judge(Ok((status, None, body.as_bytes())), SystemTime::UNIX_EPOCH)
    }

    fn name(verdict: &Verdict) -> (&'static str, &'static str) {
        match verdict {
            Verdict::Delivered(_) => ("delivered", ""),
            Verdict::Retry { reason, .. } => ("retry", reason.code.as_str()),
            Verdict::Reject { reason } => ("reject", reason.code.as_str()),
        }
    }

    #[test]
    fn each_known_answer_has_its_verdict() {
        let cases = [
            (200, r#"{"result":[]}"#, ("delivered", "")),
            (200, r#"{"result":[{"seq":1,"step":0,"chain":7,"changes":"1;"}]}"#, ("delivered", "")),
            (200, "<html>login</html>", ("retry", "not_a_replica")),
            (200, r#"{"ok":true}"#, ("retry", "not_a_replica")),
            (400, r#"{"error":"Unauthorized request"}"#, ("retry", "unauthorized")),
            (400, r#"{"error":"Durable Object is overloaded."}"#, ("retry", "unavailable")),
            (401, "", ("retry", "unauthorized")),
            (404, "Not found", ("retry", "not_a_replica")),
            (302, "", ("retry", "not_a_replica")),
            (413, "", ("reject", "too_large")),
            (429, "", ("retry", "rate_limited")),
            (502, "<html>", ("retry", "unavailable")),
            (500, "<html>", ("retry", "unavailable")),
            (
                500,
                r#"{"error":"UNIQUE constraint failed: t.a: SQLITE_CONSTRAINT"}"#,
                ("reject", "constraint"),
            ),
            (500, r#"{"error":"no such table: t: SQLITE_ERROR"}"#, ("reject", "no_such_table")),
            (500, r#"{"error":"near \"x\": syntax error at offset 0: SQLITE_ERROR"}"#, ("reject", "sql")),
            (500, r#"{"error":"database or disk is full: SQLITE_FULL"}"#, ("retry", "unavailable")),
            (500, r#"{"error":"file is not a database: SQLITE_NOTADB"}"#, ("retry", "unavailable")),
            (500, r#"{"error":"database schema has changed: SQLITE_SCHEMA"}"#, ("retry", "unavailable")),
            (500, r#"{"error":"internal error; reference = abc"}"#, ("retry", "internal")),
            (
                500,
                r#"{"error":"NOT NULL constraint failed: tmp_afterquery_watermark.seq: SQLITE_CONSTRAINT"}"#,
                ("retry", "guard"),
            ),
            (500, r#"{"error":"something new"}"#, ("retry", "internal")),
            (500, r#"{"error":"no such column: SQLITE_FULL: SQLITE_ERROR"}"#, ("reject", "sql")),
            (500, r#"{"error":"no such table: overloaded: SQLITE_ERROR"}"#, ("reject", "no_such_table")),
            (
                500,
                r#"{"error":"UNIQUE constraint failed: t.a: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_UNIQUE)"}"#,
                ("reject", "constraint"),
            ),
            (500, r#"{"error":"statement too long: SQLITE_TOOBIG"}"#, ("reject", "too_large")),
        ];
        for (status, body, expected) in cases {
            assert_eq!(name(&of(status, body)), expected, "{status} {body}");
        }
    }

    #[test]
    fn retry_after_is_read_in_both_its_forms() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let after = |header| match judge(Ok((503, Some(header), b"")), now) {
            Verdict::Retry { after, .. } => after,
            other => panic!("{other:?}"),
        };
        assert_eq!(after("7"), Some(Duration::from_secs(7)));
        assert_eq!(after("Sun, 06 Nov 1994 08:49:47 GMT"), Some(Duration::from_secs(10)));
        assert_eq!(after("Sun, 06 Nov 1994 08:49:27 GMT"), Some(Duration::ZERO));
        assert_eq!(after("soon"), None);
    }
}
