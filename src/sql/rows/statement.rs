//! Replicating the rows a statement changed instead of the statement: as upserts or deletes by key.

use crate::sql::{
    meaning::classification::{Kind, Statement},
    text::{
        names::unquote,
        token::{Lexer, Token, TokenKind},
        words::is,
    },
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
    /// The statement sets a column of which the rows say nothing.
    #[error("the statement sets {0:?}, and the rows have no such column; RETURNING * gives all")]
    Lacks(String),
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
    if let Some(lacking) = clauses.assigned.iter().chain(&clauses.inserted).find(|name| !has(columns, name)) {
        return Err(RowError::Lacks(lacking.to_string()));
    }
    if clauses.replaces && statement.verb == "UPDATE" {
        return Err(RowError::Replaces);
    }
    let table = quote(table);
    let listed = |names: &[String]| names.iter().map(|name| quote(name)).collect::<Vec<_>>().join(",");
    let (keys, rest): (Vec<_>, Vec<_>) = (0..columns.len()).partition(|&at| has(key, &columns[at]));
    let each = |ats: &[usize], end: &str, between: &str| {
        ats.iter().map(|&at| format!("{}{end}", quote(&columns[at]))).collect::<Vec<_>>().join(between)
    };
    // IS, because a key may be NULL.
    let found = each(&keys, " IS ?", " AND ");
    if statement.verb == "DELETE" {
        return Ok(RowStatement { sql: format!("DELETE FROM {table} WHERE {found}"), values: keys });
    }
    if statement.verb == "UPDATE" {
        // The row is there. An upsert would ask for every column that must not be NULL. Only what the statement set
        // is set: a trigger may ask which columns are.
        let set: Vec<_> = rest.iter().copied().filter(|&at| clauses.may_set(&columns[at])).collect();
        let set = if set.is_empty() { &keys } else { &set };
        let sql = format!("UPDATE {table} SET {} WHERE {found}", each(set, "=?", ","));
        return Ok(RowStatement { sql, values: [&set[..], &keys[..]].concat() });
    }
    let all = |sql| Ok(RowStatement { sql, values: (0..columns.len()).collect() });
    let values = format!("{table} ({}) VALUES ({})", listed(columns), vec!["?"; columns.len()].join(","));
    if clauses.replaces {
        return all(format!("INSERT OR REPLACE INTO {values}"));
    }
    let set: Vec<_> = rest.iter().map(|&at| format!("{0}=excluded.{0}", quote(&columns[at]))).collect();
    let action = if set.is_empty() { "NOTHING".into() } else { format!("UPDATE SET {}", set.join(",")) };
    all(format!("INSERT INTO {values} ON CONFLICT ({}) DO {action}", listed(key)))
}

fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// What of a statement's text decides whether rows can stand for it.
#[derive(Default)]
struct Clauses {
    /// Whether it is REPLACE or has OR REPLACE.
    replaces: bool,
    /// The columns that are set one by one.
    assigned: Vec<Box<str>>,
    /// The columns that an INSERT names.
    inserted: Vec<Box<str>>,
    /// Whether it may set columns in the form `(a, b) = …`.
    sets_rows: bool,
}

/// Where in a statement the reader is.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Elsewhere,
    /// Behind INTO, where a list of columns may come.
    Target,
    /// In that list.
    Columns,
    /// Behind SET, at this depth of parentheses.
    Set(u32),
}

impl Clauses {
    fn read(sql: &str, statement: &Statement) -> Self {
        let end = statement.returning.unwrap_or(statement.span.end);
        let text = &sql[statement.span.start..end];
        let mut lexer = Lexer::new(text);
        let mut found = Self::default();
        let (mut place, mut depth) = (Place::Elsewhere, 0);
        // Whether a column to be set may come, and the name that came.
        let (mut expects, mut name) = (false, None::<Token>);
        let mut before: Option<Token> = None;
        loop {
            let token = lexer.next();
            let word = lexer.slice(token);
            let is_name = matches!(token.kind, TokenKind::Word | TokenKind::Quoted | TokenKind::Text);
            let unquoted = |token: Token| unquote(&text[token.start..token.end]);
            match token.kind {
                TokenKind::End => return found,
                TokenKind::Open => {
                    found.sets_rows |= expects && place == Place::Set(depth);
                    depth += 1;
                    place = if place == Place::Target { Place::Columns } else { place };
                }
                TokenKind::Close => {
                    depth = depth.saturating_sub(1);
                    place = if place == Place::Columns { Place::Elsewhere } else { place };
                }
                _ if place == Place::Columns && is_name => found.inserted.push(unquoted(token)),
                TokenKind::Word if is(word, "INTO") => place = Place::Target,
                TokenKind::Word if is(word, "SET") => place = Place::Set(depth),
                TokenKind::Word
                    if ["VALUES", "SELECT", "WITH", "DEFAULT"].iter().any(|end| is(word, end)) =>
                {
                    place = if place == Place::Target { Place::Elsewhere } else { place };
                }
                TokenKind::Word if place == Place::Set(depth) && is(word, "WHERE") => {
                    place = Place::Elsewhere
                }
                _ if word == b"=" => found.assigned.extend(name.map(unquoted)),
                _ => {}
            }
            if token.kind == TokenKind::Word && is(word, "REPLACE") {
                found.replaces |= before.is_none_or(|before| is(lexer.slice(before), "OR"));
            }
            name = Some(token).filter(|_| expects && is_name && place == Place::Set(depth));
            let is_set = token.kind == TokenKind::Word && is(word, "SET");
            expects = place == Place::Set(depth) && (is_set || token.kind == TokenKind::Comma);
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
    use super::*;
    use crate::sql::meaning::classify::classify;

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
            r#"UPDATE "t" SET "x"=? WHERE "id" IS ?"#
        );
        assert_eq!(
            of("UPDATE t SET \"X\" = random()", &["id", "x", "generated"], &["id"]).unwrap(),
            r#"UPDATE "t" SET "x"=? WHERE "id" IS ?"#
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
            ("UPDATE t SET x = random(), y = 'k'", &["id"], Lacks("y".into())),
            ("INSERT INTO t AS n (id, x, [y z]) VALUES (9, random(), 'k')", &["id"], Lacks("y z".into())),
            (
                "INSERT INTO t (id, x) VALUES (1, 2) ON CONFLICT DO UPDATE SET y = 3",
                &["id"],
                Lacks("y".into()),
            ),
        ] {
            assert_eq!(of(sql, &columns, key), Err(error), "{sql}");
        }
    }

    #[test]
    fn a_comparison_is_no_assignment() {
        for sql in [
            "UPDATE t SET x = random() WHERE id = 3 AND (id = 4)",
            "UPDATE t SET x = CASE WHEN id = 3 THEN random() ELSE (SELECT a, b = c FROM z) END",
            "UPDATE t SET x = random() FROM z WHERE z.y = 3",
        ] {
            assert!(of(sql, &["id", "x"], &["id"]).is_ok(), "{sql}");
        }
    }
}
