//! Durations as Go writes them (`1h30m`, `1.5s`, `300ms`), because scripts and settings of NetObserv pass them.

use std::time::Duration;

/// Not a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a duration such as 30s, 5m or 1h30m")]
pub struct NotADuration;

/// Go keeps a duration in signed 64 bits of nanoseconds.
const LARGEST: u128 = i64::MAX as u128;
/// In nanoseconds. Microseconds have two signs that look the same, and Go reads both: MICRO SIGN and GREEK SMALL LETTER MU.
const UNITS: [(&str, u128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Reads one or more numbers, each with its unit, without blanks; a lone `0` needs none. What is less than a nanosecond is cut off.
///
/// # Errors
/// When it is something else, has a sign, or is too long for Go (292 years).
pub fn parse(text: &str) -> Result<Duration, NotADuration> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    nanoseconds(text).map(Duration::from_nanos).ok_or(NotADuration)
}

fn nanoseconds(text: &str) -> Option<u64> {
    let (mut rest, mut nanos) = (text, 0_u128);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (part, after) = one_part(rest)?;
        nanos = nanos.checked_add(part)?;
        rest = after;
    }
    (nanos <= LARGEST).then_some(nanos as u64)
}

/// One number with its unit, in nanoseconds, and the text after it.
fn one_part(text: &str) -> Option<(u128, &str)> {
    let number_end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, rest) = text.split_at(number_end);
    let unit_end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(unit_end);
    let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit)?;
    Some((scaled(number, *scale)?, rest))
}

/// `number` (digits with at most one point) times `scale`, cut to whole nanoseconds.
fn scaled(number: &str, scale: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    // An hour has 13 digits of nanoseconds: what comes after them is less than one.
    let fraction = &fraction[..fraction.len().min(13)];
    let part = if fraction.is_empty() { 0 } else { fraction.parse::<u128>().ok()? * scale };
    whole.checked_mul(scale)?.checked_add(part / 10_u128.pow(fraction.len() as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_durations() {
        for (text, nanos) in [
            ("30s", 30_000_000_000),
            ("5m", 300_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("1m0.25s", 60_250_000_000),
            ("1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("300ms", 300_000_000),
            ("2us", 2_000),
            ("3000000\u{b5}s", 3_000_000_000),
            ("3000000\u{3bc}s", 3_000_000_000),
            ("1h1m1s1ms1us1ns", 3_661_001_001_001),
            ("1s1s", 2_000_000_000),
            ("0", 0),
            ("0s", 0),
            ("0.1ns", 0),
            ("0.9ns", 0),
            ("0.00000000000000000001h", 0),
            ("9007199254740993ns", 9_007_199_254_740_993),
            ("9223372036854775807ns", i64::MAX as u64),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
    }

    #[test]
    fn not_go_durations() {
        for text in [
            "",
            "+",
            "+1s",
            "-1s",
            "1",
            "5",
            "s",
            ".",
            ".s",
            "..s",
            "1..5s",
            "1.2.3s",
            "1 s",
            "1d",
            "1x",
            "1S",
            "s1",
            "1s2",
            "1m5",
            "1s,2s",
            "--1s",
            "1e3s",
            "9223372036854775808ns",
            "2562048h",
            "999999999h",
            "99999999999999999999999999999999999999999h",
            "1\u{b5}",
            "1\u{3bc}",
        ] {
            assert_eq!(parse(text), Err(NotADuration), "{text}");
        }
    }
}
