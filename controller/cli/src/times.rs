//! Shows times in the user's time zone, and ages in the form of kubectl.

use std::sync::OnceLock;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// The time zone of all output. The first value counts.
static ZONE: OnceLock<TimeZone> = OnceLock::new();

/// Shows all times in UTC, in place of the time zone of `TZ` or of the system.
pub fn show_utc() {
    let _ = ZONE.set(TimeZone::UTC);
}

fn zone() -> TimeZone {
    let system = || TimeZone::try_system().unwrap_or(TimeZone::UTC);
    ZONE.get_or_init(system).clone()
}

/// Returns a time and its distance from now: `2026-01-02 03:04:05 UTC (in 11h59m)`.
pub fn moment(at: Timestamp, now: Timestamp) -> String {
    let shown = at.to_zoned(zone()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string();
    format!("{shown} ({})", from_now(at.duration_since(now)))
}

/// Returns the time of day: `03:04:05 UTC`.
pub fn time_of_day(at: Timestamp) -> String {
    at.to_zoned(zone()).strftime("%H:%M:%S %Z").to_string()
}

/// Returns a distance in time as text: `in 11h59m` or `5s ago`.
pub fn from_now(distance: SignedDuration) -> String {
    let text = remaining(distance);
    if distance.is_negative() {
        format!("{text} ago")
    } else {
        format!("in {text}")
    }
}

/// Returns the length of a time with its minutes, however long it is: `36h0m`, `12m`, `5s`. A session's end must be exact.
pub fn remaining(time: SignedDuration) -> String {
    let seconds = time.unsigned_abs().as_secs();
    match (seconds / 3600, seconds % 3600 / 60) {
        (0, 0) => format!("{seconds}s"),
        (0, minutes) => format!("{minutes}m"),
        (hours, minutes) => format!("{hours}h{minutes}m"),
    }
}

/// Returns the age of something as kubectl writes it: `45s`, `5m30s`, `3h12m`, `2d4h`, `90d`. The precision decreases with the age, as in
/// [`HumanDuration`](https://pkg.go.dev/k8s.io/apimachinery/pkg/util/duration#HumanDuration). A time in the future, by the clock of
/// another machine, has the age `0s`.
pub fn age(at: Timestamp, now: Timestamp) -> String {
    let seconds = u64::try_from(now.duration_since(at).as_secs()).unwrap_or(0);
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let (days, years) = (hours / 24, hours / 24 / 365);
    let two = |first: u64, unit: char, second: u64, part: char| match second {
        0 => format!("{first}{unit}"),
        _ => format!("{first}{unit}{second}{part}"),
    };
    match (minutes, hours) {
        (..2, _) => format!("{seconds}s"),
        (..10, _) => two(minutes, 'm', seconds % 60, 's'),
        (_, ..3) => format!("{minutes}m"),
        (_, ..8) => two(hours, 'h', minutes % 60, 'm'),
        (_, ..48) => format!("{hours}h"),
        (_, ..192) => two(days, 'd', hours % 24, 'h'),
        _ if years < 2 => format!("{days}d"),
        _ if years < 8 => two(years, 'y', days % 365, 'd'),
        _ => format!("{years}y"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_shown_with_its_zone_and_its_distance() {
        show_utc();
        let now = Timestamp::UNIX_EPOCH;
        for (seconds, text) in [
            (43_199, "1970-01-01 11:59:59 UTC (in 11h59m)"),
            (129_600, "1970-01-02 12:00:00 UTC (in 36h0m)"),
            (90, "1970-01-01 00:01:30 UTC (in 1m)"),
            (-5, "1969-12-31 23:59:55 UTC (5s ago)"),
        ] {
            assert_eq!(moment(Timestamp::from_second(seconds).unwrap(), now), text);
        }
    }

    #[test]
    fn an_age_is_written_as_kubectl_writes_it() {
        const HOUR: i64 = 3600;
        const DAY: i64 = 24 * HOUR;
        // The examples of apimachinery's own test.
        for (seconds, text) in [
            (-5, "0s"),
            (0, "0s"),
            (70, "70s"),
            (120, "2m"),
            (190, "3m10s"),
            (600, "10m"),
            (3 * HOUR - 1, "179m"),
            (3 * HOUR, "3h"),
            (4 * HOUR + 30 * 60, "4h30m"),
            (8 * HOUR + 60, "8h"),
            (47 * HOUR, "47h"),
            (2 * DAY + HOUR, "2d1h"),
            (8 * DAY + HOUR, "8d"),
            (366 * DAY, "366d"),
            (2 * 365 * DAY + 3 * DAY, "2y3d"),
            (9 * 365 * DAY, "9y"),
        ] {
            let at = Timestamp::UNIX_EPOCH - SignedDuration::from_secs(seconds);
            assert_eq!(age(at, Timestamp::UNIX_EPOCH), text, "{seconds}");
        }
    }
}
