//! A value as SQL text that gives back exactly that value, with its type.
//!
//! Why literals and not parameters: a replica reads parameters from JSON, where an integer becomes a
//! float, a large one loses digits and bytes cannot be said at all. A literal has none of this.

/// A value as SQLite stores it: <https://www.sqlite.org/datatype3.html>.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// NULL.
    Null,
    /// A 64-bit integer.
    Integer(i64),
    /// A 64-bit float. NaN is stored as NULL, as SQLite does.
    Real(f64),
    /// Text, any Unicode, NUL included.
    Text(&'a str),
    /// Bytes.
    Blob(&'a [u8]),
}

/// Decimal floats are exact between these on every SQLite that was measured; outside, SQLite's own
/// decimal conversion is up to 3 units in the last place off.
const EXACT_DECIMALS: std::ops::Range<f64> = 1e-50..1e100;

/// Appends `value` as an SQL literal (or a constant expression without a column's affinity).
pub fn push_literal(out: &mut String, value: Value<'_>) {
    match value {
        Value::Null => out.push_str("NULL"),
        Value::Integer(n) => out.push_str(itoa::Buffer::new().format(n)),
        Value::Real(x) => push_real(out, x),
        Value::Text(text) => push_text(out, text),
        Value::Blob(bytes) => {
            out.push_str("x'");
            push_hex(out, bytes);
            out.push('\'');
        }
    }
}

/// How many bytes [`push_literal`] would append at most; exact for text and blobs without NUL.
pub fn literal_len(value: Value<'_>) -> usize {
    match value {
        Value::Null => 4,
        Value::Integer(_) => 20,
        Value::Real(_) => 24,
        Value::Text(text) if memchr::memchr(0, text.as_bytes()).is_some() => 2 * text.len() + 20,
        Value::Text(text) => text.len() + 2 + memchr::memchr_iter(b'\'', text.as_bytes()).count(),
        Value::Blob(bytes) => 2 * bytes.len() + 3,
    }
}

/// Whether the literal may be longer than `max` bytes. Most are so short that nothing need be counted.
pub fn literal_exceeds(value: Value<'_>, max: usize) -> bool {
    let length = match value {
        Value::Text(text) => text.len(),
        Value::Blob(bytes) => bytes.len(),
        Value::Null | Value::Integer(_) | Value::Real(_) => return false,
    };
    2 * length + 20 > max && literal_len(value) > max
}

fn push_real(out: &mut String, x: f64) {
    let size = x.abs();
    if x.is_nan() {
        out.push_str("NULL");
    } else if size.is_infinite() {
        // A decimal beyond the largest float reads as infinity.
        out.push_str(if x > 0.0 { "9e999" } else { "-9e999" });
    } else if size == 0.0 || EXACT_DECIMALS.contains(&size) {
        out.push_str(zmij::Buffer::new().format_finite(x));
    } else {
        push_scaled_real(out, x);
    }
}

/// A float whose decimal form SQLite may misread, as an exact product: an integer of 53 bits times
/// powers of two that SQLite reads exactly. Each product but the last is a normal float times a power of
/// two, so no step rounds; the last is the value itself, so it is exact even where that is subnormal.
fn push_scaled_real(out: &mut String, x: f64) {
    const STEP: i32 = 100;
    const UP: &str = "*1.2676506002282294e30"; // 2^100
    const DOWN: &str = "*7.888609052210118e-31"; // 2^-100

    let bits = x.abs().to_bits();
    let field = (bits >> 52) as i32;
    let fraction = bits & ((1 << 52) - 1);
    let (mantissa, mut exponent) =
        if field == 0 { (fraction, -1074) } else { (fraction | 1 << 52, field - 1075) };

    out.push_str(if x < 0.0 { "(-" } else { "(" });
    out.push_str(itoa::Buffer::new().format(mantissa));
    out.push_str(".0");
    // The odd part goes first: what is left then are whole steps, and only the last may be subnormal.
    let odd = exponent % STEP;
    if odd != 0 {
        out.push('*');
        out.push_str(zmij::Buffer::new().format_finite(2f64.powi(odd)));
        exponent -= odd;
    }
    while exponent != 0 {
        out.push_str(if exponent > 0 { UP } else { DOWN });
        exponent -= STEP * exponent.signum();
    }
    out.push(')');
}

/// Up to so many bytes one look at each is cheaper than two searches that are made for long texts.
const SHORT_TEXT: usize = 64;

fn push_text(out: &mut String, text: &str) {
    if text.len() <= SHORT_TEXT
        && !text.bytes().fold(false, |found, byte| found | (byte == b'\'') | (byte == 0))
    {
        out.push('\'');
        out.push_str(text);
        return out.push('\'');
    }
    if memchr::memchr(0, text.as_bytes()).is_some() {
        // No SQL text may hold a NUL. The plus takes away the affinity that CAST gives.
        out.push_str("(+CAST(x'");
        push_hex(out, text.as_bytes());
        out.push_str("' AS TEXT))");
        return;
    }
    out.push('\'');
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'\'', rest.as_bytes()) {
        out.push_str(&rest[..=at]);
        out.push('\'');
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
    out.push('\'');
}

/// Appends bytes as hexadecimal digits.
pub fn push_hex(out: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.reserve(2 * bytes.len());
    for byte in bytes {
        out.push(char::from(DIGITS[usize::from(byte >> 4)]));
        out.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rusqlite::{Connection, types::ValueRef};

    fn literal(value: Value<'_>) -> String {
        let mut out = String::new();
        push_literal(&mut out, value);
        assert!(out.len() <= literal_len(value) || matches!(value, Value::Real(_)));
        out
    }

    /// What SQLite makes of the literal, and of the same value as a bound parameter.
    fn both(db: &Connection, value: Value<'_>, bound: impl rusqlite::ToSql) {
        let sql = format!("SELECT {0} IS ?1, typeof({0}) = typeof(?1), {0}", literal(value));
        db.query_row(&sql, [bound], |row| {
            assert_eq!(row.get_ref(0)?, ValueRef::Integer(1), "{sql}");
            assert_eq!(row.get_ref(1)?, ValueRef::Integer(1), "{sql}");
            match (value, row.get_ref(2)?) {
                (Value::Real(want), ValueRef::Real(got)) => {
                    assert_eq!(want.to_bits(), got.to_bits(), "{sql}")
                }
                (Value::Text(want), ValueRef::Text(got)) => assert_eq!(want.as_bytes(), got),
                (Value::Blob(want), ValueRef::Blob(got)) => assert_eq!(want, got),
                (Value::Integer(want), ValueRef::Integer(got)) => assert_eq!(want, got),
                (Value::Null, ValueRef::Null) => {}
                (want, got) => panic!("{want:?} became {got:?}"),
            }
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn the_edges_come_back_as_they_were() {
        let db = Connection::open_in_memory().unwrap();
        for n in [0, 1, -1, i64::MAX, i64::MIN, 1 << 53] {
            both(&db, Value::Integer(n), n);
        }
        for x in [0.0, 1.0, -2.5, f64::MIN_POSITIVE, 5e-324, -5e-324, f64::MAX, f64::MIN, 1e-51, 1e100] {
            both(&db, Value::Real(x), x);
        }
        both(&db, Value::Real(f64::INFINITY), f64::INFINITY);
        both(&db, Value::Real(f64::NEG_INFINITY), f64::NEG_INFINITY);
        both(&db, Value::Null, rusqlite::types::Null);
        assert_eq!(literal(Value::Real(f64::NAN)), "NULL");
        for text in ["", "'", "''", "a'b'c", "\0", "a\0b'", "-- no comment", "é😀"] {
            both(&db, Value::Text(text), text);
        }
        both(&db, Value::Blob(b""), b"".as_slice());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn any_float_comes_back_bit_for_bit(bits: u64) {
            let x = f64::from_bits(bits);
            prop_assume!(!x.is_nan());
            both(&Connection::open_in_memory().unwrap(), Value::Real(x), x);
        }

        #[test]
        fn any_integer_text_and_blob_comes_back(n: i64, text: String, blob: Vec<u8>) {
            let db = Connection::open_in_memory().unwrap();
            both(&db, Value::Integer(n), n);
            both(&db, Value::Text(&text), &text);
            both(&db, Value::Blob(&blob), &blob);
        }
    }
}
