//! Durations as Go writes them, which settings and options of NetObserv are given in: `1h30m`, `500ms`, `1.5s`.

use std::time::Duration;

/// Not a duration.
#[derive(Debug, PartialEq, Eq)]
pub struct NotADuration;

/// Longest first, so that `ms` is not read as `m`. Nanoseconds each.
const UNITS: [(&str, f64); 7] =
    [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];

/// Reads one or more numbers, each with its unit, without blanks; a lone `0` needs none. Negative ones are refused.
pub fn parse(text: &str) -> Result<Duration, NotADuration> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let (mut rest, mut total) = (text, 0.0);
    if rest.is_empty() {
        return Err(NotADuration);
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or(NotADuration)?;
        let number: f64 = rest[..digits].parse().map_err(|_| NotADuration)?;
        rest = &rest[digits..];
        let (unit, ns) = UNITS.iter().find(|(unit, _)| rest.starts_with(unit)).ok_or(NotADuration)?;
        rest = &rest[unit.len()..];
        total += number * ns;
    }
    // Go's own limit: 2^63 ns, about 292 years.
    if total < i64::MAX as f64 { Ok(Duration::from_nanos(total.round() as u64)) } else { Err(NotADuration) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_writes() {
        let cases =
            [("5m", 300_000), ("1h30m", 5_400_000), ("500ms", 500), ("1.5s", 1_500), ("0", 0), ("1m0.25s", 60_250)];
        for (text, ms) in cases {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        assert_eq!(parse("3us"), Ok(Duration::from_micros(3)));
    }

    #[test]
    fn refuses_the_rest() {
        for text in ["", "5", "s", "1 s", "-1s", "1x", "1s2", ".", "..s", "1e3s", "999999999h"] {
            assert_eq!(parse(text), Err(NotADuration), "{text}");
        }
    }
}
