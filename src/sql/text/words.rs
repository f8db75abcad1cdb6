//! A set of ASCII words, compared without case, hashed at compile time: one look-up is a few
//! nanoseconds and needs no allocation.

/// Up to 254 words in `SLOTS` slots (a power of two, well above the number of words).
pub(crate) struct Words<const SLOTS: usize> {
    words: &'static [&'static str],
    /// One more than the word's index; 0 is an empty slot.
    slots: [u8; SLOTS],
}

impl<const SLOTS: usize> Words<SLOTS> {
    pub const fn new(words: &'static [&'static str]) -> Self {
        assert!(words.len() < 255 && SLOTS.is_power_of_two() && SLOTS >= 2 * words.len());
        let mut slots = [0; SLOTS];
        let mut i = 0;
        while i < words.len() {
            let mut slot = hash(words[i].as_bytes()) & (SLOTS - 1);
            while slots[slot] != 0 {
                slot = (slot + 1) & (SLOTS - 1);
            }
            slots[slot] = i as u8 + 1;
            i += 1;
        }
        Self { words, slots }
    }

    /// The index of a word, in the order the set was made from.
    #[inline]
    pub fn find(&self, word: &[u8]) -> Option<usize> {
        if word.is_empty() {
            return None;
        }
        let mut slot = hash(word) & (SLOTS - 1);
        loop {
            let index = usize::from(self.slots[slot]).checked_sub(1)?;
            if self.words.get(index).is_some_and(|w| is(word, w)) {
                return Some(index);
            }
            slot = (slot + 1) & (SLOTS - 1);
        }
    }

    pub fn contains(&self, word: &[u8]) -> bool {
        self.find(word).is_some()
    }
}

/// Whether a token is this word, which is given in upper case, without regard to case.
///
/// All bytes are looked at, so that the compiler compares a constant word as one number.
#[inline(always)]
pub(crate) fn is(word: &[u8], expected: &str) -> bool {
    let differs =
        |(byte, letter): (&u8, u8)| (byte ^ letter) & if letter.is_ascii_uppercase() { !0x20 } else { !0 };
    word.len() == expected.len() && word.iter().zip(expected.bytes()).map(differs).fold(0, |a, b| a | b) == 0
}

const fn hash(word: &[u8]) -> usize {
    let n = word.len();
    let first = (word[0] | 0x20) as usize;
    let middle = (word[n / 2] | 0x20) as usize;
    let last = (word[n - 1] | 0x20) as usize;
    first.wrapping_mul(31) ^ middle.wrapping_mul(167) ^ last.wrapping_mul(7) ^ n.wrapping_mul(61)
}

/// The words that can never stand unquoted for a table's name: the keywords
/// (<https://sqlite.org/lang_keywords.html>) without those that SQLite's grammar lets fall back to
/// a name (`%fallback` and `idj` in <https://sqlite.org/src/file/src/parse.y>).
pub(crate) static RESERVED: Words<256> = Words::new(&[
    "ADD",
    "ALL",
    "ALTER",
    "AND",
    "AS",
    "AUTOINCREMENT",
    "BETWEEN",
    "CASE",
    "CHECK",
    "COLLATE",
    "COMMIT",
    "CONSTRAINT",
    "CREATE",
    "DEFAULT",
    "DEFERRABLE",
    "DELETE",
    "DISTINCT",
    "DROP",
    "ELSE",
    "ESCAPE",
    "EXCEPT",
    "EXISTS",
    "FOREIGN",
    "FROM",
    "GROUP",
    "HAVING",
    "IN",
    "INDEX",
    "INSERT",
    "INTERSECT",
    "INTO",
    "IS",
    "ISNULL",
    "JOIN",
    "LIMIT",
    "NOT",
    "NOTHING",
    "NOTNULL",
    "NULL",
    "ON",
    "OR",
    "ORDER",
    "PRIMARY",
    "REFERENCES",
    "RETURNING",
    "SELECT",
    "SET",
    "TABLE",
    "THEN",
    "TO",
    "TRANSACTION",
    "UNION",
    "UNIQUE",
    "UPDATE",
    "USING",
    "VALUES",
    "WHEN",
    "WHERE",
]);
