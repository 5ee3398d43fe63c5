//! Sizes, durations and times as people read them.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};

/// `456B`, `11KB`, `10.1KB`, `50MB`: powers of 1,000, three digits at most.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KB", "MB", "GB", "TB", "PB", "EB"];
    let (mut number, mut unit) = (bytes as f64, 0);
    while number >= 999.5 && unit < UNITS.len() - 1 {
        number /= 1000.0;
        unit += 1;
    }
    let places = if number < 9.995 { 2 } else { usize::from(number < 99.95) };
    let text = format!("{number:.*}", if unit == 0 { 0 } else { places });
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{}", UNITS[unit])
}

/// As Go prints a duration: `5m0s`, `1h30m0s`, `1.5s`, `500ms`.
pub fn duration(time: Duration) -> String {
    let nanos = time.as_nanos();
    if nanos == 0 {
        return "0s".into();
    }
    for (unit, size) in [("ns", 1), ("µs", 1_000), ("ms", 1_000_000)] {
        if nanos < size * 1_000 {
            return format!("{}{unit}", nanos as f64 / size as f64);
        }
    }
    let (hours, minutes) = (time.as_secs() / 3600, time.as_secs() / 60 % 60);
    let seconds = (time.as_millis() % 60_000) as f64 / 1e3;
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// UTC, to the second, as RFC 3339.
pub fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// `1234567` as `1,234,567`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits() {
        let cases =
            [(0, "0B"), (456, "456B"), (999, "999B"), (11_000, "11KB"), (10_140, "10.1KB"), (1_234_000, "1.23MB")];
        for (number, text) in cases {
            assert_eq!(bytes(number), text);
        }
        assert_eq!((bytes(50_000_000), bytes(999_999)), ("50MB".into(), "1MB".into()));
        assert_eq!(bytes(u64::MAX), "18.4EB");
    }

    #[test]
    fn durations_are_those_of_go() {
        let cases = [
            (0, "0s"),
            (500, "500ms"),
            (1_500, "1.5s"),
            (300_000, "5m0s"),
            (5_400_000, "1h30m0s"),
            (60_250, "1m0.25s"),
            (1_503, "1.503s"),
        ];
        for (ms, text) in cases {
            assert_eq!(duration(Duration::from_millis(ms)), text);
        }
        assert_eq!(duration(Duration::from_micros(1500)), "1.5ms");
    }

    #[test]
    fn counts_have_thousands() {
        let texts = [0, 999, 1_000, 1_234_567].map(count);
        assert_eq!(texts, ["0", "999", "1,000", "1,234,567"]);
    }
}
