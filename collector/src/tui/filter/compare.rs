//! Comparisons in filters: `bytes>1000`, `rtt>=5ms`.

use std::cmp::Ordering;

use netobserv_wire::{Field, Flow, Value};

/// A number that a field is compared with, in the field's own unit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Compare {
    less: bool,
    equal: bool,
    number: i64,
}

/// The name of the field, what is compared, and the text of the number.
pub(super) fn split(text: &str) -> Option<(&str, Compare, &str)> {
    let at = text.find(['<', '>']).filter(|at| *at > 0)?;
    let (name, rest) = text.split_at(at);
    let less = rest.starts_with('<');
    let rest = &rest[1..];
    let (equal, number) = rest.strip_prefix('=').map_or((false, rest), |number| (true, number));
    let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    is_name.then_some((name, Compare { less, equal, number: 0 }, number))
}

impl Compare {
    /// The number for a field of this name: bytes with `k`, `M`, `G`, times with `us`, `ms`, `s`.
    pub(super) fn with(self, text: &str, field: &str) -> Option<Self> {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (digits, unit) = text.split_at(end);
        let number: f64 = digits.parse().ok()?;
        // How many nanoseconds the field's own unit has, where it is a time.
        let own = ["Ns", "Us", "Ms"].iter().position(|end| field.ends_with(end)).map(|at| 1e3_f64.powi(at as i32));
        let factor = match (own, unit.to_ascii_lowercase().trim_end_matches('b')) {
            (_, "") => 1.0,
            (Some(own), unit) => ["ns", "us", "ms", "s"]
                .iter()
                .position(|known| *known == unit)
                .map(|at| 1e3_f64.powi(at as i32) / own)?,
            (None, unit) => {
                ["k", "m", "g"].iter().position(|known| *known == unit).map(|at| 1e3_f64.powi(at as i32 + 1))?
            }
        };
        Some(Self { number: (number * factor) as i64, ..self })
    }

    pub(super) fn holds(self, field: &Field, flow: &Flow) -> bool {
        let Value::Int(value) = field.get(flow) else { return false };
        match value.cmp(&self.number) {
            Ordering::Less => self.less,
            Ordering::Greater => !self.less,
            Ordering::Equal => self.equal,
        }
    }
}
