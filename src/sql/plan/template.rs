//! A statement ready to be sent: its text, with holes where literals take the place of placeholders.

use std::borrow::Cow;

use crate::sql::{
    freezing::column_names::{TextNamed, text_named},
    large::content::{LargeContent, LargeValue, new_id},
    meaning::classification::{Kind, Placeholder, Statement},
    rows::one_row::row_start,
    text::{
        bytes::is_name_byte,
        literal::{Value, literal_exceeds, push_literal},
        token::{Lexer, TokenKind},
        trim::trim_end,
    },
};

/// Where parameters come from. One implementation reads Python objects, another plain values.
pub trait Parameters {
    /// Gives the value for `hole` to `take`, exactly once, or says in words why there is none.
    fn bind(&self, hole: &Hole, take: &mut dyn FnMut(Value<'_>)) -> Result<(), String>;
}

/// A placeholder in a statement that is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hole {
    /// The parameter it takes, from 1.
    pub index: u32,
    /// Its name without the first character, where it is named.
    pub name: Option<Box<str>>,
    /// An integer here must not look like a literal: ORDER BY 1 means the first column.
    ordinal: bool,
    /// Where the placeholder stands in the text.
    start: u32,
    end: u32,
}

/// A rendered statement.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rendered {
    /// The text, without a `;`.
    pub sql: String,
    /// The values it names.
    pub large: Vec<LargeValue>,
}

/// The text of one statement without its RETURNING, and its holes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    text: Box<str>,
    holes: Box<[Hole]>,
    /// Where the row begins of an INSERT with one row of constants.
    row: Option<u16>,
    /// How many parameters the statement takes.
    parameters: u32,
}

impl Template {
    /// The template of `statement`, which stands in `sql`.
    pub fn new(sql: &str, statement: &Statement) -> Self {
        let start = statement.span.start;
        let end = statement.returning.unwrap_or(statement.span.end);
        let body = trim_end(&sql[start..end]);
        let put_in = put_in(sql, statement, body);
        let mut text = String::with_capacity(body.len() + 1);
        let mut from = 0;
        for (at, what) in &put_in {
            text.push_str(&body[from..*at]);
            text.push_str(what);
            from = *at;
        }
        text.push_str(&body[from..]);
        if statement.returning.is_some() && body.contains("--") {
            // A comment may now be last; it must not swallow what is put after it.
            text.push('\n');
        }
        let hole = |p: &Placeholder| {
            let at = p.span.start - start;
            // What is put directly behind a placeholder comes after its literal.
            let shift: usize =
                put_in.iter().take_while(|(place, _)| *place <= at).map(|(_, what)| what.len()).sum();
            Hole {
                index: p.index,
                name: p.named.then(|| sql[p.span.start + 1..p.span.end].into()),
                ordinal: p.ordinal,
                start: (at + shift) as u32,
                end: (at + shift + p.span.len()) as u32,
            }
        };
        let holes = statement.placeholders.iter().filter(|p| p.span.end <= end).map(hole).collect();
        let parameters = statement.placeholders.iter().map(|p| p.index).max().unwrap_or(0);
        let row = row_start(&text);
        Self { text: text.into(), holes, row, parameters }
    }

    /// How many parameters a sequence for this statement has.
    pub fn parameters(&self) -> u32 {
        self.parameters
    }

    /// Where the row begins of an INSERT with one row of constants: in the rendered text, too.
    pub fn row(&self) -> Option<u16> {
        self.row
    }

    /// The text without parameters put in.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The statement with literals for its placeholders. Values whose literal is longer than `max_literal`
    /// bytes are set apart.
    pub fn render(&self, parameters: &dyn Parameters, max_literal: usize) -> Result<Rendered, String> {
        self.render_into(String::new(), parameters, max_literal)
    }

    /// The same in a buffer that was used before.
    pub fn render_into(
        &self,
        mut buffer: String,
        parameters: &dyn Parameters,
        max_literal: usize,
    ) -> Result<Rendered, String> {
        buffer.clear();
        buffer.reserve(self.text.len() + 24 * self.holes.len());
        let mut rendered = Rendered { sql: buffer, large: Vec::new() };
        let mut from = 0;
        for hole in &self.holes {
            let (start, end) = (hole.start as usize, hole.end as usize);
            rendered.sql.push_str(&self.text[from..start]);
            // A literal could join what stands beside it: `LIMIT?`, `x-?`, `?AND`.
            if touches(self.text[..start].bytes().next_back()) {
                rendered.sql.push(' ');
            }
            parameters.bind(hole, &mut |value| rendered.push(hole, value, max_literal))?;
            if touches(self.text.as_bytes().get(end).copied()) {
                rendered.sql.push(' ');
            }
            from = end;
        }
        rendered.sql.push_str(&self.text[from..]);
        Ok(rendered)
    }
}

/// What is put into the text of a statement, which is `body` of `sql`, and where, in order: nothing that changes what it means.
fn put_in(sql: &str, statement: &Statement, body: &str) -> Vec<(usize, Cow<'static, str>)> {
    let gaps = hex_ends(body).into_iter().map(|at| (at, Cow::Borrowed(" ")));
    let names = names_of_columns(sql, statement)
        .into_iter()
        .map(|TextNamed { span, alias }| (span.end - statement.span.start, Cow::Owned(alias)));
    let mut all: Vec<_> = gaps.chain(names).collect();
    all.sort_by_key(|(at, _)| *at);
    all
}

/// The columns that would get another name by a literal in them.
fn names_of_columns(sql: &str, statement: &Statement) -> Vec<TextNamed> {
    if statement.kind != Kind::Ddl || statement.placeholders.is_empty() {
        return Vec::new();
    }
    let mut named = text_named(sql, statement);
    named.retain(|column| statement.placeholders.iter().any(|p| column.span.contains(&p.span.start)));
    named
}

impl Rendered {
    fn push(&mut self, hole: &Hole, value: Value<'_>, max_literal: usize) {
        let content = match value {
            Value::Text(text) if literal_exceeds(value, max_literal) => LargeContent::Text(text.into()),
            Value::Blob(bytes) if literal_exceeds(value, max_literal) => LargeContent::Blob(bytes.into()),
            Value::Integer(_) if hole.ordinal => {
                self.sql.push('(');
                push_literal(&mut self.sql, value);
                return self.sql.push_str("+0)");
            }
            _ => return push_literal(&mut self.sql, value),
        };
        let value = LargeValue { id: new_id(), content };
        self.sql.push_str(&value.reference());
        self.large.push(value);
    }
}

/// Where a hexadecimal number ends directly before a name or a keyword. SQLite reads that as two tokens up to 3.45, and
/// refuses it from then on; with a space between them all read the same.
fn hex_ends(sql: &str) -> Vec<usize> {
    let bytes = sql.as_bytes();
    if !bytes.windows(2).any(|pair| pair[0] == b'0' && pair[1] | 0x20 == b'x') {
        return Vec::new();
    }
    let mut lexer = Lexer::new(sql);
    let mut ends = Vec::new();
    loop {
        let token = lexer.next();
        let text = lexer.slice(token);
        match token.kind {
            TokenKind::End => return ends,
            TokenKind::Number if text.len() > 2 && text[1] | 0x20 == b'x' => {
                ends.extend(bytes.get(token.end).filter(|byte| is_name_byte(**byte)).map(|_| token.end));
            }
            _ => {}
        }
    }
}

fn touches(neighbour: Option<u8>) -> bool {
    !matches!(neighbour, None | Some(b' ' | b'\t' | b'\n' | b'\r' | b'(' | b')' | b',' | b'=' | b';'))
}

/// Plain values, by position: for the Rust tests and for callers without Python.
impl Parameters for [Value<'_>] {
    fn bind(&self, hole: &Hole, take: &mut dyn FnMut(Value<'_>)) -> Result<(), String> {
        let value = self.get(hole.index as usize - 1);
        value.map(|value| take(*value)).ok_or_else(|| format!("there is no parameter {}", hole.index))
    }
}
