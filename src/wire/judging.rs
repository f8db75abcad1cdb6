//! From the answer to the verdict: a pure function.

use std::time::{Duration, SystemTime};

use super::{
    reply::{Answer, Told, quoted},
    verdict::{TransportError, Verdict},
};
use crate::{
    ground::quoted::Quoted,
    write::{Reason, ReasonCode},
};

/// Codes of errors of the replica as a whole, which pass without the write being at fault: those SQLite calls
/// transient, and those that a restart or free space mends.
const PASSING_CODES: [&str; 11] = [
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
];

/// Errors without a code that pass: measured on StarbaseDB, or the platform's own words for its own trouble.
const PASSING: [&str; 7] = [
    "storage is no longer accessible",
    "is no longer running",
    "overloaded",
    "Exceeded allowed storage",
    "Network connection lost",
    "its code was updated",
    "Cannot resolve Durable Object",
];

/// Errors without a code that are the text's own fault.
const PERMANENT: [&str; 4] = [
    "Wrong number of parameter bindings",
    "When executing multiple SQL statements",
    "did not contain a statement",
    "please use the state.storage.transaction",
];

/// The head did not find the row as it expects it.
const GUARD: &str = "NOT NULL constraint failed: tmp_afterquery_watermark.seq";

/// What StarbaseDB says of a token that is none of its own where AUTH_JWKS_ENDPOINT is set: it reads the token as a JWT.
const NO_JWT: [&str; 6] =
    ["JWS", "JWT", "JWK", "JSON Web Key", "signature verification failed", "claim timestamp check failed"];

/// What an allowlist says of a text.
const NOT_ALLOWED: &str = "Query not allowed";

/// What `status` and `body` mean; `retry_after` is the header of that name. Of the values in `sql` nothing is repeated.
pub fn judge(
    answer: Result<(u16, Option<&str>, &[u8]), &TransportError>,
    sql: Option<&str>,
    now: SystemTime,
) -> Verdict {
    match answer {
        Err(error) => {
            let code = if error.timeout { ReasonCode::Timeout } else { ReasonCode::Connection };
            Verdict::Retry { after: None, reason: Reason::new(code, &error.message) }
        }
        Ok((status, retry_after, body)) => {
            let after = retry_after.and_then(|text| parse_retry_after(text, now));
            judge_answer(status, after, body, sql)
        }
    }
}

fn judge_answer(status: u16, after: Option<Duration>, body: &[u8], sql: Option<&str>) -> Verdict {
    let answer = serde_json::from_slice::<Answer>(body).ok();
    if (200..300).contains(&status)
        && let Some(Answer { result: Some(rows), .. }) = answer
    {
        return Verdict::Delivered(rows);
    }
    let error = answer.and_then(|answer| answer.error);
    if let (500, Some(error)) = (status, &error) {
        return judge_sql_error(error, after, sql);
    }
    let text = error.as_ref().map_or_else(|| quoted(body, sql), |error| error.quoted(sql));
    let retry = |code, message: String| Verdict::Retry { after, reason: Reason::new(code, message) };
    match (status, &error) {
        (200..300, None) => retry(ReasonCode::NotAReplica, format!("HTTP {status} without a result: {text}")),
        (401 | 403, _) => retry(ReasonCode::Unauthorized, format!("HTTP {status}: {text}")),
        (400, Some(error)) if error.contains_any(&["Unauthorized"]) => {
            retry(ReasonCode::Unauthorized, format!("HTTP 400: {text}; check auth_token"))
        }
        (400, Some(error)) if error.contains_any(&NO_JWT) => retry(
            ReasonCode::Unauthorized,
            format!(
                "HTTP 400: {text}; the replica takes auth_token for a JWT, as StarbaseDB does with AUTH_JWKS_ENDPOINT when \
                 it is none of its own tokens; give its ADMIN_AUTHORIZATION_TOKEN as auth_token"
            ),
        ),
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
        _ => retry(ReasonCode::Unavailable, format!("HTTP {status}: {text}")),
    }
}

/// What an `{"error": …}` with status 500 means.
fn judge_sql_error(error: &Told, after: Option<Duration>, sql: Option<&str>) -> Verdict {
    let text = error.quoted(sql);
    let retry = |code| Verdict::Retry { after, reason: Reason::new(code, &*text) };
    let reject = |code| Verdict::Reject { reason: Reason::new(code, &*text) };
    if error.starts_with(GUARD) {
        return retry(ReasonCode::Guard);
    }
    match error.sqlite_code() {
        Some(code) if PASSING_CODES.contains(&code) => retry(ReasonCode::Unavailable),
        // As a rule not the fault of the text; tried alone often enough, it is taken to be.
        Some("SQLITE_ABORT" | "SQLITE_SCHEMA") => retry(ReasonCode::Internal),
        Some("SQLITE_CONSTRAINT") => reject(ReasonCode::Constraint),
        Some("SQLITE_TOOBIG") => reject(ReasonCode::TooLarge),
        Some(_) if error.contains_any(&["no such table"]) => reject(ReasonCode::NoSuchTable),
        Some(_) => reject(ReasonCode::Sql),
        None if error.contains_any(&PASSING) => retry(ReasonCode::Unavailable),
        None if error.contains_any(&PERMANENT) => reject(ReasonCode::Sql),
        None if is_for_clients(error) => Verdict::Retry { after, reason: client_token(&text) },
        // Unknown is never taken for permanent: a write given up on by mistake is lost, one tried again is not.
        None => retry(ReasonCode::Internal),
    }
}

/// Whether StarbaseDB treats the texts as a client's: with an allowlist it compares them with a list, and with row level
/// security it parses them with a parser that does not know ours.
fn is_for_clients(error: &Told) -> bool {
    error.starts_with(NOT_ALLOWED) || error.starts_with("Expected ") && error.contains_any(&[" found."])
}

fn client_token(text: &Quoted) -> Reason {
    Reason::new(
        ReasonCode::ClientToken,
        format!(
            "auth_token is a client's token, and the replica's allowlist or row level security lets no writes through: give \
             its ADMIN_AUTHORIZATION_TOKEN as auth_token ({text})"
        ),
    )
}

/// `Retry-After` is seconds or a date: <https://www.rfc-editor.org/rfc/rfc9110#field.retry-after>.
#[expect(clippy::disallowed_methods, reason = "a header is no SQL")]
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
        judge(Ok((status, None, body.as_bytes())), None, SystemTime::UNIX_EPOCH)
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
            (400, r#"{"error":"Invalid Compact JWS"}"#, ("retry", "unauthorized")),
            (400, r#"{"error":"Invalid JWT payload, subject not found."}"#, ("retry", "unauthorized")),
            (500, r#"{"error":"Query not allowed"}"#, ("retry", "client_token")),
            (
                500,
                r##"{"error":"Expected \"#\", \"--\", \"/*\" but \"W\" found."}"##,
                ("retry", "client_token"),
            ),
            (500, r#"{"error":"database schema has changed: SQLITE_SCHEMA"}"#, ("retry", "internal")),
            (500, r#"{"error":"file is not a database: SQLITE_NOTADB"}"#, ("retry", "unavailable")),
            (
                500,
                r#"{"error":"Exceeded allowed storage in Durable Objects free tier."}"#,
                ("retry", "unavailable"),
            ),
            (500, r#"{"error":null}"#, ("retry", "unavailable")),
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
    fn what_a_replica_says_is_bounded_quoted_and_without_values() {
        let long = "A".repeat(900_000);
        let body =
            serde_json::json!({"error": format!("x\nCRITICAL \u{1b}[31m'hunter2'{long}: SQLITE_CONSTRAINT")});
        let body = body.to_string();
        for status in [200, 400, 401, 404, 413, 429, 500, 503] {
            let verdict =
                judge(Ok((status, None, body.as_bytes())), Some("SELECT 'hunter2'"), SystemTime::UNIX_EPOCH);
            let (Verdict::Retry { reason, .. } | Verdict::Reject { reason }) = verdict else {
                panic!("{status}")
            };
            assert!(reason.message.len() <= crate::ground::quoted::MAX_MESSAGE_BYTES, "{status}");
            assert!(!reason.message.chars().any(crate::ground::quoted::acts), "{reason}");
            assert!(!reason.message.contains("hunter2"), "{reason}");
        }
    }

    mod any_answer {
        use proptest::prelude::*;

        use super::*;

        fn json() -> impl Strategy<Value = serde_json::Value> {
            let leaf = prop_oneof![
                Just(serde_json::Value::Null),
                any::<bool>().prop_map(Into::into),
                any::<u64>().prop_map(Into::into),
                any::<i64>().prop_map(Into::into),
                any::<f64>().prop_map(Into::into),
                any::<String>().prop_map(Into::into),
                "[0-9,;/-]{0,40}".prop_map(Into::into),
            ];
            let key = prop_oneof![
                "result|error|id|seq|step|chain|changes".prop_map(|key: String| key),
                any::<String>()
            ];
            leaf.prop_recursive(6, 60, 6, move |inner| {
                prop_oneof![
                    prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                    prop::collection::hash_map(key.clone(), inner, 0..6)
                        .prop_map(|map| map.into_iter().collect()),
                ]
            })
        }

        proptest! {
            #[test]
            fn is_judged(status in 0..1000u16, answer in json(), after in any::<Option<String>>(), sql: String) {
                let body = answer.to_string();
                let answer = Ok((status, after.as_deref(), body.as_bytes()));
                match judge(answer, Some(&sql), SystemTime::UNIX_EPOCH) {
                    Verdict::Delivered(rows) => prop_assert!((200..300).contains(&status) && rows.len() <= 2),
                    Verdict::Retry { reason, .. } => prop_assert!(!reason.message.chars().any(crate::ground::quoted::acts)),
                    Verdict::Reject { .. } => prop_assert!(matches!(status, 413 | 500)),
                }
            }

            #[test]
            fn so_is_any_body(status in 0..1000u16, body: Vec<u8>) {
                judge(Ok((status, None, &body)), None, SystemTime::UNIX_EPOCH);
            }
        }
    }

    #[test]
    fn depth_is_bounded() {
        for unit in ["[", "{\"a\":", "{\"result\":["] {
            assert_eq!(name(&of(200, &unit.repeat(100_000))).1, "not_a_replica");
        }
    }

    #[test]
    fn retry_after_is_read_in_both_its_forms() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let after = |header| match judge(Ok((503, Some(header), b"")), None, now) {
            Verdict::Retry { after, .. } => after,
            other => panic!("{other:?}"),
        };
        assert_eq!(after("7"), Some(Duration::from_secs(7)));
        assert_eq!(after("Sun, 06 Nov 1994 08:49:47 GMT"), Some(Duration::from_secs(10)));
        assert_eq!(after("Sun, 06 Nov 1994 08:49:27 GMT"), Some(Duration::ZERO));
        assert_eq!(after("soon"), None);
    }
}
