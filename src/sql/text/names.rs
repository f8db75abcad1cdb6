//! Names as SQLite reads them: <https://sqlite.org/lang_keywords.html>.

use std::borrow::Cow;

/// The name a token stands for: its quotes are taken off, and quotes doubled inside are undone.
pub(crate) fn unquote(text: &str) -> Box<str> {
    unquoted(text).into()
}

/// The same, and no copy where the name stands in the text as it is.
pub(crate) fn unquoted(text: &str) -> Cow<'_, str> {
    let quote = match text.as_bytes() {
        [b'[', .., b']'] => return text[1..text.len() - 1].into(),
        [first @ (b'"' | b'`' | b'\''), .., last] if first == last => *first as char,
        _ => return text.into(),
    };
    let inner = &text[1..text.len() - 1];
    if !inner.contains(quote) {
        return inner.into();
    }
    let doubled: String = [quote, quote].iter().collect();
    inner.replace(&doubled, quote.encode_utf8(&mut [0; 4])).into()
}

#[cfg(test)]
mod tests {
    use super::unquote;

    #[test]
    fn every_quoting_is_undone() {
        let cases = [
            ("users", "users"),
            ("\"us\"\"ers\"", "us\"ers"),
            ("`us``ers`", "us`ers"),
            ("'it''s'", "it's"),
            ("[us]", "us"),
            ("\"\"", ""),
            ("\"a''b\"", "a''b"),
        ];
        for (text, name) in cases {
            assert_eq!(&*unquote(text), name, "{text}");
        }
    }
}
