//! What tells damage.

/// A check sum of a row. SQLite has none in its pages, and a flipped bit must neither reach a replica as SQL nor hide a write.
pub fn sum_of(numbers: &[i64], text: &str) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    numbers.iter().for_each(|number| hasher.update(&number.to_le_bytes()));
    hasher.update(text.as_bytes());
    hasher.finalize()
}
