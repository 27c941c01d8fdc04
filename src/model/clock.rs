//! Kazoo's calendar: seconds since year 0, and UTC texts. Functions of a given time; nothing here
//! reads a clock except [`unix_now`] and [`unix_millis`].

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds between year 0 and 1970 ("Gregorian seconds" = Unix seconds + this).
pub const GREGORIAN_OFFSET: u64 = 62_167_219_200;

/// The wall clock in Unix seconds. Called by the shell only; the core takes time as an argument.
pub fn unix_now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// The same in milliseconds.
pub fn unix_millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}

/// Unix seconds as Kazoo's Gregorian seconds.
pub fn gregorian(unix: u64) -> u64 {
    unix + GREGORIAN_OFFSET
}

/// `YYYY-MM-DDThh:mm:ssZ`, as in the REST envelope (kazoo-rest.md A.2).
pub fn iso8601(unix: u64) -> String {
    let (year, month, day) = civil(unix / 86_400);
    let second = unix % 86_400;
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

/// Year, month and day of a day counted from 1970-01-01 (proleptic Gregorian calendar;
/// H. Hinnant's `civil_from_days`).
fn civil(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let era = z / 146_097;
    let day_of_era = z % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_days() {
        assert_eq!(iso8601(0), "1970-01-01T00:00:00Z");
        assert_eq!(iso8601(1_795_370_854), "2026-11-22T18:07:34Z");
        assert_eq!(iso8601(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(iso8601(4_107_542_399), "2100-02-28T23:59:59Z");
    }

    #[test]
    fn year_zero() {
        assert_eq!(gregorian(0), 62_167_219_200);
    }
}
