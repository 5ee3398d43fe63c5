//! What single words of the command line may be: each to a value, or to a hint of what to write instead.

use std::time::Duration;

use tracing::level_filters::LevelFilter;

use super::Listen;
use crate::enrich::subnets::Subnets;
use crate::enrich::watch;

pub(super) fn kube(word: &str) -> Result<bool, String> {
    match word {
        "auto" => Ok(watch::in_cluster()),
        "off" => Ok(false),
        _ => Err("use auto or off".into()),
    }
}

pub(super) fn subnets(word: &str) -> Result<String, String> {
    Subnets::default().add(word).map(|()| word.to_owned())
}

pub(super) fn log_level(word: &str) -> Result<LevelFilter, String> {
    match word {
        "trace" => Ok(LevelFilter::TRACE),
        "debug" => Ok(LevelFilter::DEBUG),
        "info" => Ok(LevelFilter::INFO),
        "warn" | "warning" => Ok(LevelFilter::WARN),
        "error" | "fatal" | "panic" => Ok(LevelFilter::ERROR),
        _ => Err("use trace, debug, info, warn or error".into()),
    }
}

pub(super) fn listen(word: &str) -> Result<Listen, String> {
    match word.strip_prefix("unix:") {
        Some("") => Err("name the socket: unix:/path/of/socket".into()),
        Some(path) => Ok(Listen::Unix(path.into())),
        None => word.parse().map(Listen::Tcp).map_err(|_| "use ADDRESS:PORT or unix:/path/of/socket".into()),
    }
}

pub(super) fn keep_rows(word: &str) -> Result<u32, String> {
    word.parse().ok().filter(|rows| (100..=10_000_000).contains(rows)).ok_or_else(|| "use 100 to 10000000".into())
}

/// A duration as Go writes them.
pub(crate) fn duration(word: &str) -> Result<Duration, String> {
    netobserv_contract::duration::parse(word).map_err(|_| "use a duration such as 30s, 5m or 1h30m".into())
}

pub(super) fn session(word: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let good = (1..=63).contains(&word.len()) && word.chars().all(plain);
    if good { Ok(word.into()) } else { Err("use the value of the label netobserv.io/session".into()) }
}

/// A name that stays in the folder and is not hidden.
pub(super) fn file_name(word: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.+:@".contains(c);
    if word.is_empty() || word.starts_with('.') || !word.chars().all(plain) {
        return Err("use letters, digits and - _ . only, no folder".into());
    }
    Ok(word.to_owned())
}
