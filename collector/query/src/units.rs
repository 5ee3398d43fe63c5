//! Numbers with units, and numbers that have names.

use crate::fields::FieldId;

/// IP protocols by their names (IANA).
const PROTOCOLS: [(&str, i64); 11] = [
    ("icmp", 1),
    ("igmp", 2),
    ("tcp", 6),
    ("udp", 17),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("icmp6", 58),
    ("icmpv6", 58),
    ("ipv6-icmp", 58),
    ("sctp", 132),
];
/// Of times, in nanoseconds.
const TIMES: [(&str, f64); 5] = [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9)];
/// Of all others.
const SIZES: [(&str, f64); 6] = [("k", 1e3), ("kb", 1e3), ("m", 1e6), ("mb", 1e6), ("g", 1e9), ("gb", 1e9)];

/// Reads a number as the field has it. A short name of a time needs a unit, as it does not say which the field has.
pub(crate) fn read(field: FieldId, word: &str, short: bool) -> Result<i64, String> {
    let own = own_unit(field);
    if let Ok(number) = word.parse() {
        return match own {
            Some(_) if short => Err(format!("the unit is missing: write {number}ms, {number}us or {number}s")),
            _ => Ok(number),
        };
    }
    if let Some(hex) = word.strip_prefix("0x").and_then(|hex| i64::from_str_radix(hex, 16).ok()) {
        return Ok(hex);
    }
    let end = word.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-')).unwrap_or(word.len());
    let (number, unit) = (word[..end].parse::<f64>().ok(), word[end..].to_lowercase());
    let units: &[(&str, f64)] = if own.is_some() { &TIMES } else { &SIZES };
    let factor = units.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    match number.zip(factor) {
        Some((number, factor)) => Ok((number * factor / own.unwrap_or(1.0)).round() as i64),
        None if own.is_some() => Err(format!("{word} is not a time: write a number with ns, us, ms or s")),
        None => Err(format!("{word} is not a whole number; write texts, such as addresses, in quotes")),
    }
}

/// The unit of a field that is a time, in nanoseconds.
fn own_unit(field: FieldId) -> Option<f64> {
    [("Ns", 1.0), ("Us", 1e3), ("Ms", 1e6)]
        .into_iter()
        .find(|(end, _)| field.name().ends_with(end))
        .map(|(_, unit)| unit)
}

/// The number that has this name in a field.
pub(crate) fn named(field: FieldId, name: &str) -> Option<i64> {
    let is = |(known, _): &&(&str, i64)| known.eq_ignore_ascii_case(name) && field.name() == "Proto";
    PROTOCOLS.iter().find(is).map(|(_, number)| *number)
}
