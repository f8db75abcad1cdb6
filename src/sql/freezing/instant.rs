//! One instant as SQLite writes it: <https://sqlite.org/lang_datefunc.html>.

use std::fmt::Write;

/// An instant, in milliseconds since 1970-01-01 00:00:00 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instant(pub i64);

impl Instant {
    /// `YYYY-MM-DD`
    pub fn date(self) -> String {
        let (year, month, day) = civil(self.0.div_euclid(86_400_000));
        format!("{year:04}-{month:02}-{day:02}")
    }

    /// `HH:MM:SS`
    pub fn time(self) -> String {
        let seconds = self.0.rem_euclid(86_400_000) / 1000;
        format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
    }

    /// `YYYY-MM-DD HH:MM:SS`
    pub fn timestamp(self) -> String {
        format!("{} {}", self.date(), self.time())
    }

    /// The timestamp with a fraction that a date function reads as exactly this millisecond. Some
    /// versions of SQLite round what they read to milliseconds and some cut it off: two tenths of a
    /// millisecond more give the same in both.
    pub fn time_value(self) -> String {
        let mut text = self.timestamp();
        // Writing to a String does not fail.
        let _ = write!(text, ".{:03}2", self.0.rem_euclid(1000));
        text
    }
}

/// Year, month and day of a number of days since 1970-01-01, in the Gregorian calendar.
///
/// Howard Hinnant's algorithm, <https://howardhinnant.github.io/date_algorithms.html#civil_from_days>.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::Instant;

    #[test]
    fn instants_are_written_as_sqlite_writes_them() {
        let cases = [
            (0, "1970-01-01 00:00:00.0002"),
            (-1, "1969-12-31 23:59:59.9992"),
            (951_782_399_999, "2000-02-28 23:59:59.9992"),
            (951_782_400_000, "2000-02-29 00:00:00.0002"),
            (1_709_251_199_001, "2024-02-29 23:59:59.0012"),
            (4_102_444_799_500, "2099-12-31 23:59:59.5002"),
        ];
        for (milliseconds, text) in cases {
            assert_eq!(Instant(milliseconds).time_value(), text);
        }
    }
}
