//! Durations as Kubernetes writes them: `1h30m`, `1.5h`, `500ms`.

use std::time::Duration;

/// Longest duration, in milliseconds: a hundred years.
const LONGEST: f64 = 100.0 * 365.0 * 86_400_000.0;

/// Returns a duration that is not negative. `None`: it is none, or too long. The parser of kube panics for very long ones.
pub fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut sum = 0.0;
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let number = rest.find(|c: char| c != '.' && !c.is_ascii_digit())?;
        let (number, after) = rest.split_at_checked(number)?;
        let unit = after
            .find(|c: char| c == '.' || c.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(unit)?;
        let unit = match unit {
            "h" => 3_600_000.0,
            "m" => 60_000.0,
            "s" => 1000.0,
            "ms" => 1.0,
            _ => return None,
        };
        sum += number.parse::<f64>().ok()? * unit;
        rest = after;
    }
    (sum <= LONGEST).then(|| Duration::from_secs_f64(sum / 1000.0))
}

/// Returns a duration in milliseconds, as [`parse`] does.
pub fn milliseconds(text: &str) -> Option<i64> {
    i64::try_from(parse(text)?.as_millis()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_numbers_and_units() {
        for (text, wanted) in [
            ("1h30m", Some(5_400_000)),
            ("1.5h", Some(5_400_000)),
            ("500ms", Some(500)),
            ("0", Some(0)),
            ("10s", Some(10_000)),
            ("", None),
            ("5", None),
            ("-5s", None),
            ("5d", None),
            ("1..5h", None),
            ("99999999999999999999h", None),
        ] {
            assert_eq!(milliseconds(text), wanted, "{text}");
        }
    }
}
