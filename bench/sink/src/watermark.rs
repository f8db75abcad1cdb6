//! Just enough of the protocol (`src/wire/watermark.rs` of the library) to be a replica at no cost: the row is kept as
//! the texts say, and a head that does not find it as it expects fails. Nothing else of the SQL is looked at.

use std::{collections::HashMap, io::Write as _};

use memchr::memmem;

use crate::number;

/// What is counted as one write in a text without marks.
const WRITE: &[u8] = b"INSERT INTO users";

/// What stands behind each statement in a text of ours; `';'` follows at the end of a write, `'/9;'` at the end of nine.
const MARK: &[u8] = b"changes||changes()||'";

/// One origin's row.
#[derive(Debug, Clone, Copy)]
struct Row {
    id: u64,
    seq: u64,
    chain: u64,
}

/// The watermarks of one replica.
#[derive(Debug, Default)]
pub struct Watermarks(HashMap<Vec<u8>, Row>);

/// What to answer, and how many writes the text carried.
#[derive(Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
    /// Writes applied.
    pub writes: u64,
}

impl Reply {
    fn ok(rows: &[u8], writes: u64) -> Self {
        Self { status: 200, body: [b"{\"result\":[", rows, b"]}"].concat(), writes }
    }
}

/// Whose texts these are.
enum Text {
    Handshake,
    Inspect,
    Batch,
    Forget,
    Plain,
}

fn kind(sql: &[u8]) -> Text {
    if sql.starts_with(b"INSERT INTO tmp_afterquery_watermark") {
        Text::Batch
    } else if sql.starts_with(b"CREATE TABLE IF NOT EXISTS tmp_afterquery_watermark") {
        Text::Handshake
    } else if sql.starts_with(b"SELECT id,seq,step,chain,changes FROM tmp_afterquery_watermark") {
        Text::Inspect
    } else if memmem::find(&sql[..sql.len().min(200)], b"DELETE FROM tmp_afterquery_watermark").is_some() {
        Text::Forget
    } else {
        Text::Plain
    }
}

impl Watermarks {
    /// Answers the body of one request.
    pub fn answer(&mut self, body: &[u8]) -> Reply {
        let sql = after(body, b"{\"sql\":\"").unwrap_or(body);
        match kind(sql) {
            Text::Batch => self.batch(sql).unwrap_or_else(|| Reply {
                status: 500,
                body: b"{\"error\":\"NOT NULL constraint failed: tmp_afterquery_watermark.seq: SQLITE_CONSTRAINT\"}"
                    .to_vec(),
                writes: 0,
            }),
            Text::Handshake => {
                let next = self.0.len() as u64 + 1;
                self.0.entry(origin(sql)).or_insert(Row { id: next, seq: 0, chain: 0 });
                self.inspect(sql)
            }
            Text::Inspect => self.inspect(sql),
            Text::Forget => {
                self.0.remove(&origin(sql));
                Reply::ok(b"", 0)
            }
            Text::Plain => Reply::ok(b"", memmem::find_iter(sql, WRITE).count() as u64),
        }
    }

    fn inspect(&self, sql: &[u8]) -> Reply {
        let row = self.0.get(&origin(sql)).map(|Row { id, seq, chain }| {
            format!(r#"{{"id":{id},"seq":{seq},"step":0,"chain":{chain},"changes":""}}"#)
        });
        Reply::ok(row.unwrap_or_default().as_bytes(), 0)
    }

    /// `… VALUES ('origin',(SELECT CASE WHEN seq=1 AND step=0 AND chain=2 THEN 1 END …),0,3,'',0,0) ON CONFLICT …`
    fn batch(&mut self, sql: &[u8]) -> Option<Reply> {
        // It grows with each value that was sent ahead.
        let head = &sql[..memmem::find(sql, b" ON CONFLICT (origin) DO")?];
        let row = self.0.get_mut(between(head, b"VALUES ('", b"'")?)?;
        let expected = after(head, b"WHEN seq=").map(number) == Some(row.seq)
            && after(head, b"AND chain=").map(number) == Some(row.chain);
        if !expected {
            return None;
        }
        let end = memmem::find(head, b",'',0,0)")?;
        let start = head[..end].iter().rposition(|&byte| byte == b',')? + 1;
        row.chain = number(&head[start..end]);
        row.seq = number(&sql[memmem::rfind(sql, b" SET seq=")? + 9..]);
        let (mut writes, mut answer) = (0, Vec::new());
        let _ = write!(answer, r#"{{"seq":{},"step":0,"chain":{},"changes":""#, row.seq, row.chain);
        for at in memmem::find_iter(sql, MARK) {
            let (count, text) = match sql.get(at + MARK.len()..).unwrap_or_default() {
                [b'/', count @ ..] => (number(count), format!("{0}/{0};", number(count))),
                [b';', ..] => (1, "1;".into()),
                _ => (0, "1,".into()),
            };
            writes += count;
            answer.extend_from_slice(text.as_bytes());
        }
        answer.extend_from_slice(b"\"}");
        Some(Reply::ok(&answer, writes))
    }
}

fn origin(sql: &[u8]) -> Vec<u8> {
    let at = memmem::rfind(sql, b"origin='").map_or(sql.len(), |at| at + 8);
    sql[at..].iter().copied().take_while(|&byte| byte != b'\'').collect()
}

fn after<'a>(text: &'a [u8], mark: &[u8]) -> Option<&'a [u8]> {
    memmem::find(text, mark).map(|at| &text[at + mark.len()..])
}

fn between<'a>(text: &'a [u8], from: &[u8], to: &[u8]) -> Option<&'a [u8]> {
    let rest = after(text, from)?;
    memmem::find(rest, to).map(|end| &rest[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    const BATCH: &str = r#"{"sql":"INSERT INTO tmp_afterquery_watermark (origin,seq,step,chain,changes,durable,seen) VALUES ('o',(SELECT CASE WHEN seq=0 AND step=0 AND chain=0 THEN 0 END FROM tmp_afterquery_watermark NOT INDEXED WHERE id=1 AND origin='o'),0,77,'',0,0) ON CONFLICT (origin) DO UPDATE SET seq=excluded.seq,step=excluded.step,chain=excluded.chain,changes='';INSERT INTO users VALUES (1);UPDATE tmp_afterquery_watermark SET seq=1,changes=changes||changes()||';' WHERE id=1;INSERT INTO users VALUES (2);UPDATE tmp_afterquery_watermark SET seq=2,changes=changes||changes()||';' WHERE id=1;SELECT seq,step,chain,changes FROM tmp_afterquery_watermark WHERE id=1"}"#;

    fn text(reply: &Reply) -> &str {
        std::str::from_utf8(&reply.body).unwrap()
    }

    #[test]
    fn a_batch_moves_the_row_and_runs_once() {
        let mut marks = Watermarks::default();
        let greeting =
            r#"{"sql":"CREATE TABLE IF NOT EXISTS tmp_afterquery_watermark (…);SELECT … WHERE origin='o'"}"#;
        assert!(text(&marks.answer(greeting.as_bytes())).contains(r#""id":1,"seq":0"#));
        let reply = marks.answer(BATCH.as_bytes());
        assert_eq!(text(&reply), r#"{"result":[{"seq":2,"step":0,"chain":77,"changes":"1;1;"}]}"#);
        assert_eq!(reply.writes, 2);
        assert_eq!(marks.answer(BATCH.as_bytes()).status, 500);
    }

    #[test]
    fn joined_writes_are_counted() {
        let mut marks = Watermarks::default();
        let greeting =
            r#"{"sql":"CREATE TABLE IF NOT EXISTS tmp_afterquery_watermark (…);SELECT … WHERE origin='o'"}"#;
        marks.answer(greeting.as_bytes());
        let joined = BATCH.replace("(1);UPDATE", "(1),(2),(3);UPDATE").replacen(
            "changes()||';'",
            "changes()||'/3;'",
            1,
        );
        let reply = marks.answer(joined.as_bytes());
        assert_eq!(text(&reply), r#"{"result":[{"seq":2,"step":0,"chain":77,"changes":"3/3;1;"}]}"#);
        assert_eq!(reply.writes, 4);
    }

    #[test]
    fn other_texts_are_counted() {
        let reply =
            Watermarks::default().answer(br#"{"sql": "INSERT INTO users VALUES (?)", "params": [1]}"#);
        assert_eq!((reply.status, reply.writes), (200, 1));
    }
}
