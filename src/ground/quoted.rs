//! What others say, fit to be shown: on one line, of bounded length, with nothing in it that acts on a terminal.

use std::{fmt, ops::Deref, sync::Arc};

/// The most of a replica's words that a reason quotes, in bytes. SQLite's own messages are shorter unless they quote the
/// text they are about.
pub const MAX_TOLD_BYTES: usize = 300;

/// The longest message of a reason, in bytes: one sentence of ours with a quotation in it. A replica can have a reason kept
/// for each write, and there may be a million.
pub const MAX_MESSAGE_BYTES: usize = 1_000;

/// The longest log message, in bytes. It may name several reasons and paths.
pub const MAX_LOG_BYTES: usize = 4_000;

/// A text on one line, of bounded length, without control characters. The only form in which a foreign text is kept or
/// shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quoted(Arc<str>);

impl Quoted {
    /// `text`, at most `max` bytes of it.
    pub fn new(text: &str, max: usize) -> Self {
        Self(one_line(text, max).into())
    }

    /// A replica's words.
    pub fn told(text: &str) -> Self {
        Self::new(text, MAX_TOLD_BYTES)
    }

    /// The text, to keep.
    pub fn share(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }

    /// The beginning of a body that is no answer of a replica.
    pub fn body(body: &[u8]) -> Self {
        let begin = &body[..body.len().min(MAX_TOLD_BYTES)];
        let quoted = Self::told(&String::from_utf8_lossy(begin));
        if quoted.is_empty() { Self("an empty body".into()) } else { quoted }
    }
}

impl Deref for Quoted {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

/// `text` on one line of at most `max` bytes: white space becomes one space, what a terminal or a log viewer would act on
/// is escaped, and `…` stands where something was cut off. Doing it twice changes nothing.
pub fn one_line(text: &str, max: usize) -> String {
    let mut line = String::with_capacity(text.len().min(max));
    let mut pending = false;
    for c in text.chars() {
        if is_blank(c) {
            pending = !line.is_empty();
            continue;
        }
        let before = line.len();
        if std::mem::take(&mut pending) {
            line.push(' ');
        }
        if acts(c) {
            line.extend(c.escape_unicode());
        } else {
            line.push(c);
        }
        if line.len() > max {
            line.truncate(before);
            return cut(line, max);
        }
    }
    line
}

/// `text` on its lines and as long as it is, with what acts escaped: for what a user asked to see.
pub fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if acts(c) && !matches!(c, '\n' | '\t') {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Marks that something is missing at the end.
fn cut(mut line: String, max: usize) -> String {
    const MARK: char = '…';
    while line.len() + MARK.len_utf8() > max && line.pop().is_some() {}
    line.push(MARK);
    line
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

/// Whether a terminal, a log viewer or a reader is led astray by `c`: control characters, line and paragraph separators, marks
/// of writing direction, and what is not seen at all.
pub fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_acts_is_escaped_and_lines_become_one() {
        let text = "a\r\nCRITICAL root\t\u{1b}[31mred\u{7}\u{202e}txt\u{2028}x\0";
        assert_eq!(&*Quoted::told(text), "a CRITICAL root \\u{1b}[31mred\\u{7}\\u{202e}txt\\u{2028}x\\u{0}");
        assert_eq!(escaped("a\n\t\u{1b}b"), "a\n\t\\u{1b}b");
        assert_eq!(&*Quoted::told("  größe 🙂 हिन्दी  "), "größe 🙂 हिन्दी");
        assert_eq!(&*Quoted::body(b" \n"), "an empty body");
        assert_eq!(&*Quoted::body(b"<h1>\xff\xfe"), "<h1>\u{fffd}\u{fffd}");
    }

    #[test]
    fn what_is_too_long_is_cut_with_a_mark() {
        assert_eq!(one_line("abcdef", 6), "abcdef");
        assert_eq!(one_line("abcdefg", 6), "abc…");
        assert_eq!(one_line(&"ä".repeat(1_000_000), 7), "ää…");
        assert!(Quoted::body(&vec![b'\x1b'; 1 << 20]).len() <= MAX_TOLD_BYTES);
    }

    proptest! {
        #[test]
        fn any_text_becomes_a_bounded_line_and_stays_it(text in any::<String>(), max in 3..400usize) {
            let line = one_line(&text, max);
            prop_assert!(line.len() <= max);
            prop_assert!(!line.chars().any(acts));
            prop_assert_eq!(one_line(&line, max), line);
        }

        #[test]
        fn so_does_any_body(body: Vec<u8>) {
            let quoted = Quoted::body(&body);
            prop_assert!(quoted.len() <= MAX_TOLD_BYTES && !quoted.chars().any(acts));
        }
    }
}
