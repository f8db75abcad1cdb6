//! White space and letters as SQLite sees them. What Rust calls white space or a letter's other case is of Unicode: the
//! methods of `str` that ask for it are forbidden in `clippy.toml`, and what is here is used in their place.

use super::bytes::is_space;

/// A text up to its first NUL: SQLite reads a C string, and runs no more of it.
pub(crate) fn c_string(sql: &str) -> &str {
    memchr::memchr(0, sql.as_bytes()).map_or(sql, |end| &sql[..end])
}

/// A text without the spaces at its end.
///
/// The vertical tab is one of them: where SQLite took the text, it stands in a run of spaces.
pub(crate) fn trim_end(sql: &str) -> &str {
    // What is cut off is ASCII, so it ends between two characters.
    &sql[..trimmed_len(sql.as_bytes())]
}

/// How many bytes there are without the spaces at the end.
pub fn trimmed_len(sql: &[u8]) -> usize {
    sql.iter().rposition(|byte| !is_space(*byte)).map_or(0, |last| last + 1)
}

#[cfg(test)]
mod tests {
    use super::{c_string, trim_end};

    #[test]
    fn only_what_sqlite_skips_is_cut_off() {
        for end in [" ", "\t", "\n", "\x0c", "\r", " \x0b", " \t\r\n"] {
            assert_eq!(trim_end(&format!("DELETE FROM t{end}")), "DELETE FROM t", "{end:?}");
        }
        for end in
            ["\u{85}", "\u{a0}", "\u{1680}", "\u{2003}", "\u{2028}", "\u{202f}", "\u{3000}", "\u{feff}"]
        {
            let sql = format!("DELETE FROM t{end}");
            assert_eq!(trim_end(&sql), sql, "{end:?}");
        }
        assert_eq!((trim_end(""), trim_end(" \n")), ("", ""));
    }

    #[test]
    fn a_text_ends_at_its_first_nul() {
        assert_eq!(c_string("DELETE FROM t\0; DROP TABLE t\0"), "DELETE FROM t");
        assert_eq!((c_string("\0a"), c_string("é"), c_string("")), ("", "é", ""));
    }
}
