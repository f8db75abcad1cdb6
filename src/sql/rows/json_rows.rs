//! The rows of INSERTs as one JSON value, so that many of them can be sent ahead and then be inserted by one short
//! statement: all or nothing, however long they are.

use super::many_rows::ManyRows;
use crate::sql::{
    large::content::{LargeContent, LargeValue, push_reference, reference_at},
    text::{
        token::{Lexer, Token, TokenKind},
        trim::trim_end,
        words::is,
    },
};

/// What `head` ends with, and what SELECT takes the place of.
const VALUES: &str = "VALUES";

/// Rows for one table, gathered from one INSERT or from several that follow each other.
#[derive(Debug, Default)]
pub struct JsonRows {
    head: String,
    tail: String,
    columns: usize,
    json: String,
}

impl JsonRows {
    /// The rows of an INSERT, if they take at most `max` bytes. `None` where a value is no integer, float, text or NULL:
    /// JSON does not say others exactly.
    pub fn new(many: &ManyRows<'_>, large: &[LargeValue], max: usize) -> Option<Self> {
        let begin = trim_end(many.head());
        // A comment may stand behind the word.
        let word = begin.get(begin.len().checked_sub(VALUES.len())?..)?;
        word.eq_ignore_ascii_case(VALUES).then_some(())?;
        let mut rows = Self { head: many.head().into(), tail: many.tail().into(), ..Self::default() };
        rows.push(many, large, max).then_some(rows)
    }

    /// How many bytes it takes.
    pub fn len(&self) -> usize {
        self.json.len()
    }

    /// Whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.json.is_empty()
    }

    /// Adds the rows of an INSERT that differs in its rows alone. `false` where it is another one, or makes more than `max`
    /// bytes.
    pub fn push(&mut self, many: &ManyRows<'_>, large: &[LargeValue], max: usize) -> bool {
        let length = self.json.len();
        let done = (self.head == many.head() && self.tail == many.tail())
            && many.each().all(|row| self.row(row, large).is_some() && self.json.len() <= max);
        if !done {
            self.json.truncate(length);
        }
        done
    }

    /// `(cell, …)` as `[cell, …]`.
    fn row(&mut self, row: &str, large: &[LargeValue]) -> Option<()> {
        let mut lexer = Lexer::new(row);
        lexer.next();
        self.json.push(if self.json.is_empty() { '[' } else { ',' });
        self.json.push('[');
        let mut columns = 0;
        loop {
            self.cell(row, &mut lexer, large)?;
            columns += 1;
            let next = lexer.next();
            match next.kind {
                TokenKind::Comma => self.json.push(','),
                TokenKind::Close if next.end == row.len() => break,
                _ => return None,
            }
        }
        self.json.push(']');
        let known = std::mem::replace(&mut self.columns, columns);
        (known == 0 || known == columns).then_some(())
    }

    fn cell(&mut self, row: &str, lexer: &mut Lexer<'_>, large: &[LargeValue]) -> Option<()> {
        let mut token = lexer.next();
        if token.kind == TokenKind::Sign {
            if lexer.slice(token) == b"-" {
                self.json.push('-');
            }
            token = lexer.next();
            (token.kind == TokenKind::Number).then_some(())?;
        }
        let text = |token: Token| row.get(token.start..token.end);
        match token.kind {
            TokenKind::Number => self.json.push_str(text(token).filter(|number| is_json(number))?),
            TokenKind::Text => {
                let inner = text(token)?.strip_prefix('\'')?.strip_suffix('\'')?;
                self.json.push_str(&serde_json::to_string(&inner.replace("''", "'")).ok()?);
            }
            TokenKind::Word if is(lexer.slice(token), "NULL") => self.json.push_str("null"),
            TokenKind::Open => {
                let reference = reference_at(row, token.start)?;
                let value = large.iter().find(|value| value.id == reference.id)?;
                let LargeContent::Text(text) = &value.content else { return None };
                (!text.contains('\0')).then_some(())?;
                self.json.push_str(&serde_json::to_string(&**text).ok()?);
                lexer.go_to(reference.end);
            }
            _ => return None,
        }
        Some(())
    }

    /// The statement that inserts the rows, once the value is where `id` says.
    pub fn finish(self, id: u64) -> (String, LargeValue) {
        let Self { mut head, tail, columns, mut json } = self;
        json.push(']');
        let values = trim_end(&head).len().saturating_sub(VALUES.len());
        head.truncate(values);
        head.push_str("SELECT ");
        for column in 0..columns {
            if column > 0 {
                head.push(',');
            }
            head.push_str("value->>");
            head.push_str(itoa::Buffer::new().format(column));
        }
        head.push_str(" FROM json_each(");
        push_reference(&mut head, id);
        head.push_str(") ORDER BY key ");
        head.push_str(&tail);
        (head, LargeValue { id, content: LargeContent::Text(json.into()) })
    }
}

/// Whether a number means the same in JSON: one that fits 64 bits, or a float with digits on both sides.
fn is_json(number: &str) -> bool {
    let leads = number.len() > 1 && number.starts_with('0') && !number.starts_with("0.");
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits(number) {
        return !leads && number.parse::<i64>().is_ok();
    }
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    !leads && digits(whole) && digits(fraction) && digits(exponent.trim_start_matches(['-', '+']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(sql: &str) -> Option<String> {
        let many = ManyRows::find(sql)?;
        Some(JsonRows::new(&many, &[], usize::MAX)?.finish(7).0)
    }

    #[test]
    fn what_stands_before_the_rows_is_kept_whole_or_the_rows_are_left_alone() {
        let made = rows("INSERT INTO t(a) VALUES (1),(2)").unwrap();
        assert!(made.starts_with("INSERT INTO t(a) SELECT "), "{made}");
        assert!(rows("INSERT INTO t(a) values(1),(2)").is_some());
        assert_eq!(rows("INSERT INTO t(a) VALUES /* two */ (1),(2)"), None);
        assert_eq!(rows("INSERT INTO t(a) VALUES --\n(1),(2)"), None);
    }
}
