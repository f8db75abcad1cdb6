//! What a write does, as text for the journal's file: readable with any tool that opens SQLite.

use serde::{Deserialize, Serialize};

use crate::{
    sql::{LargeContent, LargeValue, ReplicaSet},
    write::{Body, Reason, ReasonCode, SentStatement},
};

/// A body as JSON. A lone statement without large values, which nearly every write is, is stored as its bare text.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Stored {
    Statements(Vec<StoredStatement>),
    Unsendable { code: String, message: String },
}

#[derive(Serialize, Deserialize)]
struct StoredStatement {
    sql: String,
    targets: ReplicaSet,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    large: Vec<StoredValue>,
}

#[derive(Serialize, Deserialize)]
struct StoredValue {
    id: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hex: Option<String>,
}

/// The bare text of a body that needs no JSON.
pub fn plain(body: &Body, targets: ReplicaSet) -> Option<&str> {
    match body {
        Body::One(statement) if statement.large.is_none() && statement.targets == targets => {
            Some(&statement.sql)
        }
        _ => None,
    }
}

/// The body of a bare text.
pub fn from_plain(sql: &str, targets: ReplicaSet) -> Body {
    Body::One(SentStatement::new(sql.into(), None, targets))
}

/// Any body as JSON, with the replicas as `file` numbers them.
pub fn to_json(body: &Body, file: impl Fn(ReplicaSet) -> ReplicaSet) -> String {
    let stored = match body {
        Body::Unsendable(unsendable) => {
            let Reason { code, message } = &unsendable.reason;
            Stored::Unsendable { code: code.as_str().into(), message: message.to_string() }
        }
        _ => Stored::Statements(body.statements().iter().map(|s| store(s, &file)).collect()),
    };
    // Maps with keys that are no strings are the only thing JSON cannot say, and there are none.
    serde_json::to_string(&stored).unwrap_or_default()
}

/// The body of a JSON text, with the replicas as `here` numbers them; those of what cannot be sent are not in it. `None` where it is not one.
pub fn from_json(json: &str, here: impl Fn(ReplicaSet) -> ReplicaSet) -> Option<Body> {
    match serde_json::from_str(json).ok()? {
        Stored::Unsendable { code, message } => {
            Some(Body::unsendable(Reason::new(ReasonCode::named(&code)?, message), 0))
        }
        Stored::Statements(statements) => {
            let statements: Option<Vec<_>> = statements.into_iter().map(|s| restore(s, &here)).collect();
            Some(match <[SentStatement; 1]>::try_from(statements?) {
                Ok([one]) => Body::One(one),
                Err(many) => Body::Many(many.into()),
            })
        }
    }
}

fn store(statement: &SentStatement, file: impl Fn(ReplicaSet) -> ReplicaSet) -> StoredStatement {
    let values = statement.large.iter().flat_map(|values| values.iter());
    let large = values.map(|value| match &value.content {
        LargeContent::Text(text) => StoredValue { id: value.id, text: Some(text.to_string()), hex: None },
        LargeContent::Blob(bytes) => StoredValue { id: value.id, text: None, hex: Some(to_hex(bytes)) },
    });
    StoredStatement {
        sql: statement.sql.to_string(),
        targets: file(statement.targets),
        large: large.collect(),
    }
}

fn restore(statement: StoredStatement, here: impl Fn(ReplicaSet) -> ReplicaSet) -> Option<SentStatement> {
    let large = statement.large.into_iter().map(|value| {
        let content = match (value.text, value.hex) {
            (Some(text), None) => LargeContent::Text(text.into()),
            (None, Some(hex)) => LargeContent::Blob(from_hex(&hex)?.into()),
            _ => return None,
        };
        Some(LargeValue { id: value.id, content })
    });
    let large: Vec<_> = large.collect::<Option<_>>()?;
    let large = (!large.is_empty()).then(|| Box::new(large));
    Some(SentStatement::new(statement.sql.into(), large, here(statement.targets)))
}

fn to_hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    crate::sql::push_hex(&mut text, bytes);
    text
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = LargeValue> {
        let text = ".*".prop_map(|text: String| LargeContent::Text(text.into()));
        let blob = prop::collection::vec(any::<u8>(), 0..40).prop_map(|b| LargeContent::Blob(b.into()));
        (any::<u64>(), prop_oneof![text, blob]).prop_map(|(id, content)| LargeValue { id, content })
    }

    fn statement() -> impl Strategy<Value = SentStatement> {
        (".*", prop::collection::vec(value(), 0..3), any::<u64>()).prop_map(|(sql, large, targets)| {
            let large = (!large.is_empty()).then(|| Box::new(large));
            SentStatement::new(sql.into(), large, targets)
        })
    }

    proptest! {
        #[test]
        fn what_is_stored_comes_back(statements in prop::collection::vec(statement(), 0..4)) {
            let body = match <[SentStatement; 1]>::try_from(statements) {
                Ok([one]) => Body::One(one),
                Err(many) => Body::Many(many.into()),
            };
            let json = to_json(&body, |set| !set);
            prop_assert_eq!(from_json(&json, |set| !set), Some(body));
        }
    }

    #[test]
    fn what_cannot_be_sent_comes_back() {
        let reason = Reason::new(ReasonCode::Parameters, "row 3");
        let body = Body::unsendable(reason, 0);
        assert_eq!(from_json(&to_json(&body, |set| set), |set| set), Some(body));
        assert_eq!(from_json("{", |set| set), None);
    }
}
