//! What each byte means to SQLite's tokenizer: `aiClass` and `IdChar` of
//! <https://sqlite.org/src/file/src/tokenize.c>.

/// What a byte that begins a token means.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Letter,
    X,
    Digit,
    Space,
    Quote,
    Bracket,
    Question,
    Sigil,
    Minus,
    Plus,
    Slash,
    Dot,
    Open,
    Close,
    Comma,
    Semi,
    Less,
    Greater,
    Equal,
    Bang,
    Pipe,
    Single,
    Bom,
    Illegal,
}

const fn class_of(byte: u8) -> Class {
    match byte {
        b'x' | b'X' => Class::X,
        b'a'..=b'z' | b'A'..=b'Z' | b'_' => Class::Letter,
        b'0'..=b'9' => Class::Digit,
        b' ' | b'\t' | b'\n' | b'\r' | 0x0c => Class::Space,
        b'\'' | b'"' | b'`' => Class::Quote,
        b'[' => Class::Bracket,
        b'?' => Class::Question,
        b'$' | b'@' | b'#' | b':' => Class::Sigil,
        b'-' => Class::Minus,
        b'+' => Class::Plus,
        b'/' => Class::Slash,
        b'.' => Class::Dot,
        b'(' => Class::Open,
        b')' => Class::Close,
        b',' => Class::Comma,
        b';' => Class::Semi,
        b'<' => Class::Less,
        b'>' => Class::Greater,
        b'=' => Class::Equal,
        b'!' => Class::Bang,
        b'|' => Class::Pipe,
        b'*' | b'%' | b'&' | b'~' => Class::Single,
        0xef => Class::Bom,
        0x80.. => Class::Letter,
        _ => Class::Illegal,
    }
}

/// Whether a byte can stand in a name.
pub const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

/// The vertical tab continues a run of spaces but does not begin one, as in SQLite.
pub const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | 0x09..=0x0d)
}

/// The class of each byte.
pub static CLASS: [Class; 256] = {
    let mut table = [Class::Illegal; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = class_of(byte as u8);
        byte += 1;
    }
    table
};

/// `is_name_byte` of each byte.
pub static NAME_BYTE: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = is_name_byte(byte as u8);
        byte += 1;
    }
    table
};
