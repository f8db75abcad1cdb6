//! Replicating the rows a statement changed instead of the statement: as upserts or deletes by key.

use super::{
    classify::{Kind, Statement},
    names::unquote,
    token::{Lexer, Token, TokenKind},
    words::is,
};

/// Why rows cannot take a statement's place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// More than one statement, or one that is no write to a known table.
    #[error("rows can only stand for one INSERT, UPDATE or DELETE on a table that its text names")]
    NotOneWrite,
    /// The key is not among the columns.
    #[error("the rows have no column {0:?}, which is in the key")]
    NoKey(String),
    /// No key was named.
    #[error("key= must name the columns that identify a row")]
    EmptyKey,
    /// An UPDATE of the key: the rows tell the new one, not which row it was.
    #[error("the statement may set {0:?}, which is in the key: the rows do not tell what it was before")]
    KeyChanges(String),
    /// An UPDATE that removes other rows, of which the rows given do not tell.
    #[error("UPDATE OR REPLACE may delete rows that are not among those given")]
    Replaces,
}

/// The statement that puts one row on a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowStatement {
    /// Its text, with a placeholder for each value.
    pub sql: String,
    /// Which of the row's columns the placeholders take, by index.
    pub values: Vec<usize>,
}

/// The statement that puts one row of those that `statement` changed on a replica. `columns` are the row's, `key`
/// those that identify it.
pub fn rows_statement(
    sql: &str,
    statement: &Statement,
    columns: &[String],
    key: &[String],
) -> Result<RowStatement, RowError> {
    let (Kind::Write, Some(table)) = (statement.kind, &statement.table) else {
        return Err(RowError::NotOneWrite);
    };
    if key.is_empty() {
        return Err(RowError::EmptyKey);
    }
    let has = |list: &[String], name: &str| list.iter().any(|other| other.eq_ignore_ascii_case(name));
    if let Some(missing) = key.iter().find(|name| !has(columns, name)) {
        return Err(RowError::NoKey(missing.clone()));
    }
    let clauses = Clauses::read(sql, statement);
    if let Some(set) = key.iter().find(|name| clauses.may_set(name)) {
        return Err(RowError::KeyChanges(set.clone()));
    }
    let table = quote(table);
    let listed = |names: &[String]| names.iter().map(|name| quote(name)).collect::<Vec<_>>().join(",");
    if statement.verb == "DELETE" {
        let values: Vec<_> = (0..columns.len()).filter(|&at| has(key, &columns[at])).collect();
        // IS, because a key may be NULL.
        let equal: Vec<_> = values.iter().map(|&at| format!("{} IS ?", quote(&columns[at]))).collect();
        return Ok(RowStatement {
            sql: format!("DELETE FROM {table} WHERE {}", equal.join(" AND ")),
            values,
        });
    }
    let all = |sql| Ok(RowStatement { sql, values: (0..columns.len()).collect() });
    let values = format!("{table} ({}) VALUES ({})", listed(columns), vec!["?"; columns.len()].join(","));
    if statement.verb == "INSERT" && clauses.replaces {
        return all(format!("INSERT OR REPLACE INTO {values}"));
    }
    if clauses.replaces {
        return Err(RowError::Replaces);
    }
    let rest = columns.iter().filter(|name| !has(key, name));
    let set: Vec<_> = rest.map(|name| format!("{0}=excluded.{0}", quote(name))).collect();
    let action = if set.is_empty() { "NOTHING".into() } else { format!("UPDATE SET {}", set.join(",")) };
    all(format!("INSERT INTO {values} ON CONFLICT ({}) DO {action}", listed(key)))
}

fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// What of a statement's text decides whether rows can stand for it.
struct Clauses {
    /// Whether it is REPLACE or has OR REPLACE.
    replaces: bool,
    /// The names directly in front of an `=`, anywhere in it: every column that is set is among them.
    assigned: Vec<Box<str>>,
    /// Whether it may set columns in the form `(a, b) = …`.
    sets_rows: bool,
}

impl Clauses {
    fn read(sql: &str, statement: &Statement) -> Self {
        let end = statement.returning.unwrap_or(statement.span.end);
        let text = &sql[statement.span.start..end];
        let mut lexer = Lexer::new(text);
        let mut found = Self { replaces: false, assigned: Vec::new(), sets_rows: false };
        let mut set_clause = false;
        let mut before: Option<Token> = None;
        loop {
            let token = lexer.next();
            if token.kind == TokenKind::End {
                return found;
            }
            let word = lexer.slice(token);
            if token.kind == TokenKind::Word {
                found.replaces |=
                    is(word, "REPLACE") && before.is_none_or(|before| is(lexer.slice(before), "OR"));
                set_clause = is(word, "SET") || (set_clause && !is(word, "WHERE"));
            }
            if let Some(before) = before.filter(|_| set_clause) {
                if word == b"="
                    && matches!(before.kind, TokenKind::Word | TokenKind::Quoted | TokenKind::Text)
                {
                    found.assigned.push(unquote(&text[before.start..before.end]));
                }
                let starts = is(lexer.slice(before), "SET") || before.kind == TokenKind::Comma;
                found.sets_rows |= starts && token.kind == TokenKind::Open;
            }
            before = Some(token);
        }
    }

    /// Whether it may set `column`. In doubt it may.
    fn may_set(&self, column: &str) -> bool {
        self.sets_rows || self.assigned.iter().any(|name| name.eq_ignore_ascii_case(column))
    }
}

#[cfg(test)]
mod tests {
    use super::super::classify;
    use super::*;

    fn of(sql: &str, columns: &[&str], key: &[&str]) -> Result<String, RowError> {
        let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        rows_statement(sql, &classify(sql).statements[0], &own(columns), &own(key))
            .map(|statement| statement.sql)
    }

    #[test]
    fn each_verb_has_its_form() {
        assert_eq!(
            of("INSERT INTO t VALUES (1, random()) RETURNING *", &["id", "x"], &["id"]).unwrap(),
            r#"INSERT INTO "t" ("id","x") VALUES (?,?) ON CONFLICT ("id") DO UPDATE SET "x"=excluded."x""#
        );
        assert_eq!(
            of("UPDATE t SET x = random() WHERE id = 1", &["id", "x"], &["ID"]).unwrap(),
            r#"INSERT INTO "t" ("id","x") VALUES (?,?) ON CONFLICT ("ID") DO UPDATE SET "x"=excluded."x""#
        );
        assert_eq!(
            of("DELETE FROM [a b] WHERE random() > 0", &["x", "id"], &["id"]).unwrap(),
            r#"DELETE FROM "a b" WHERE "id" IS ?"#
        );
        assert_eq!(
            of("REPLACE INTO t VALUES (1, random())", &["id", "x"], &["id"]).unwrap(),
            r#"INSERT OR REPLACE INTO "t" ("id","x") VALUES (?,?)"#
        );
        assert!(of("INSERT INTO t VALUES (1)", &["id"], &["id"]).unwrap().ends_with("DO NOTHING"));
    }

    #[test]
    fn what_rows_do_not_tell_is_refused() {
        use RowError::*;
        let columns = ["id", "x"];
        let id = || "id".to_owned();
        for (sql, key, error) in [
            ("SELECT 1", &["id"][..], NotOneWrite),
            ("INSERT INTO t VALUES (1, 2)", &[], EmptyKey),
            ("INSERT INTO t VALUES (1, 2)", &["name"], NoKey("name".into())),
            ("UPDATE t SET x = random(), \"ID\" = 3", &["id"], KeyChanges(id())),
            ("UPDATE t SET (x, id) = (random(), 3)", &["id"], KeyChanges(id())),
            (
                "INSERT INTO t VALUES (1, 2) ON CONFLICT DO UPDATE SET id = random()",
                &["id"],
                KeyChanges(id()),
            ),
            ("UPDATE OR REPLACE t SET x = random()", &["id"], Replaces),
        ] {
            assert_eq!(of(sql, &columns, key), Err(error), "{sql}");
        }
    }

    #[test]
    fn a_comparison_is_no_assignment() {
        assert!(of("UPDATE t SET x = random() WHERE id = 3 AND (id = 4)", &["id", "x"], &["id"]).is_ok());
    }
}
