//! Clocks and points in time, with nanoseconds, as files and logs carry them.
//!
//! Knows UTC only: no zones, no calendars beyond RFC 3339.

use std::fmt;
use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

/// A point in time: seconds since 1970 UTC (negative before) and nanoseconds after them, below 1e9.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    pub seconds: i64,
    pub nanoseconds: u32,
}

impl Timestamp {
    pub const EPOCH: Self = Self::new(0, 0);

    pub const fn new(seconds: i64, nanoseconds: u32) -> Self {
        Self { seconds, nanoseconds }
    }

    /// The wall clock.
    pub fn now() -> Self {
        clock_gettime(ClockId::Realtime).into()
    }
}

impl From<Timespec> for Timestamp {
    fn from(time: Timespec) -> Self {
        let nanoseconds = u32::try_from(time.tv_nsec).expect("the kernel keeps nanoseconds below 1e9");
        Self { seconds: time.tv_sec, nanoseconds }
    }
}

impl From<Timestamp> for Timespec {
    fn from(time: Timestamp) -> Self {
        Self { tv_sec: time.seconds, tv_nsec: time.nanoseconds.into() }
    }
}

/// RFC 3339 in UTC with all nine digits, as Docker writes log times: `2025-01-31T23:59:59.000000001Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil_date(self.seconds.div_euclid(SECONDS_A_DAY));
        let second = self.seconds.rem_euclid(SECONDS_A_DAY);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        let nanoseconds = self.nanoseconds;
        write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanoseconds:09}Z")
    }
}

/// The wall clock as Docker writes it into logs and records.
pub fn now_rfc3339_nano() -> String {
    Timestamp::now().to_string()
}

/// Time since boot that never goes back and stands still while the machine sleeps.
pub fn monotonic() -> Duration {
    elapsed(ClockId::Monotonic)
}

/// Time since boot, sleep included: what `/proc/<pid>/stat` counts start times in.
pub fn boottime() -> Duration {
    elapsed(ClockId::Boottime)
}

fn elapsed(clock: ClockId) -> Duration {
    let time = Timestamp::from(clock_gettime(clock));
    Duration::new(u64::try_from(time.seconds).expect("these clocks start at boot"), time.nanoseconds)
}

/// Days since 1970-01-01 to (year, month, day) in the Gregorian calendar.
/// Source: Howard Hinnant, "chrono-compatible low-level date algorithms", civil_from_days.
fn civil_date(days: i64) -> (i64, i64, i64) {
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

const SECONDS_A_DAY: i64 = 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_rfc3339() {
        let table = [
            (0, 0, "1970-01-01T00:00:00.000000000Z"),
            (-1, 999_999_999, "1969-12-31T23:59:59.999999999Z"),
            (951_782_400, 1, "2000-02-29T00:00:00.000000001Z"),
            (1_735_689_599, 0, "2024-12-31T23:59:59.000000000Z"),
            (4_102_444_800, 0, "2100-01-01T00:00:00.000000000Z"),
        ];
        for (seconds, nanoseconds, text) in table {
            assert_eq!(Timestamp::new(seconds, nanoseconds).to_string(), text);
        }
    }

    #[test]
    fn clocks_run() {
        assert!(Timestamp::now().seconds > 1_700_000_000);
        let before = monotonic();
        assert!(boottime() >= before, "sleep only adds");
    }
}
