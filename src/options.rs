//! From words to a valid capture: every default and every check of a value lives here, and runs before any program is
//! started. What comes out needs no further check.

use std::num::{NonZeroU16, NonZeroU32, NonZeroU64};
use std::path::PathBuf;
use std::str::FromStr;

use netobserv_contract::duration;

use crate::cli::values::{LINES, LOG_LEVELS};
use crate::cli::{ClusterArgs, DoctorArgs, FlowsArgs};
use crate::plan::Kind;

pub mod after;
mod cluster;
mod error;
mod expression;
mod filter;
mod images;
mod interfaces;
mod metrics;
mod packets;
mod processes;
mod selectors;
mod why;
mod why_live;

pub use cluster::{Access, CopyChoice, Settings, YamlTarget, command};
pub use error::OptionError;
use expression::Expressions;
pub use filter::Rules;
pub use images::{ImageList, images_to_list, sources};
pub use metrics::{MetricsSettings, Scraper, dashboard};
pub use packets::{Keylog, PacketSettings};
pub use why::{Reading, Why, policy, why};
pub use why_live::{Connect, Live, PodName, Server};

const DEFAULT_MAX_TIME: &str = "5m";
/// Bytes of JSON; scripts of the original rely on this figure.
const DEFAULT_MAX_BYTES: &str = "50000000";
const DEFAULT_OUTPUT_DIR: &str = "./output";
const SUBNETS: &str = "a name and its networks, such as Pods=10.128.0.0/14,fd01::/48";

/// What every capture has, in a cluster or on this machine; every value is valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capture {
    /// Interface names and `/regex/` items separated by commas; empty for all.
    pub interfaces: String,
    /// The same for interfaces to leave out.
    pub exclude_interfaces: String,
    /// One packet in this many is counted.
    pub sampling: NonZeroU32,
    /// DNS transactions.
    pub dns: bool,
    /// Round-trip times.
    pub rtt: bool,
    /// Dropped packets.
    pub drops: bool,
    /// Nothing was typed about DNS, round-trip times, dropped packets.
    pub unasked: [bool; 3],
    /// Address translation is followed.
    pub translations: bool,
    /// Which packets are wanted.
    pub rules: Rules,
    /// In Go syntax, more than zero.
    pub max_time: String,
    /// Bytes of JSON after which the capture ends.
    pub max_bytes: NonZeroU64,
    /// One of the seven level names.
    pub log_level: String,
    /// Where `flow/` is made.
    pub output_dir: PathBuf,
    /// TCP port of 127.0.0.1; `None` for a private Unix socket.
    pub port: Option<NonZeroU16>,
    /// Begin also when nothing has the names of the rules yet.
    pub wait: bool,
    /// Only flows or packets that one of these matches; all without any.
    pub queries: Vec<String>,
    /// What all of them have to match.
    pub expression: Option<String>,
    /// Which side decides what of it: to be printed instead of a capture.
    pub explain: Option<String>,
    /// Records of packets that another record counts are shown too.
    pub all_observations: bool,
    /// What flows have to match besides.
    pub required: Option<String>,
    /// `NAME=CIDR[,CIDR...]`: labels of addresses.
    pub subnets: Vec<String>,
    /// What scripts demand, as the collector reads it.
    pub demands: Vec<String>,
    /// Lines of this form instead of a screen.
    pub lines: Option<&'static str>,
    /// What was typed, as the collector shows it.
    pub typed: String,
    /// Print what is started.
    pub verbose: bool,
    /// Print only what was asked for, warnings and errors.
    pub quiet: bool,
    /// What is special about packets; `None` for flows.
    pub packets: Option<PacketSettings>,
    /// What is special about metrics; `None` for flows.
    pub metrics: Option<MetricsSettings>,
}

impl Capture {
    /// Checks the words that all captures have in common.
    fn new(words: &FlowsArgs, packets: bool) -> Result<Self, OptionError> {
        let all = switch("enable_all", words.enable_all.as_deref(), false)?;
        let expressions = Expressions::read(words, packets)?;
        let rules = filter::rules(&words.filter.0, &expressions)?;
        let explain = match switch("explain", words.explain.as_deref(), false)? {
            true => Some(expressions.explain(!words.filter.0.is_empty())?),
            false => None,
        };
        let interfaces = interfaces::check("interfaces", words.interfaces.as_deref().unwrap_or_default())?;
        let features = [
            switch("enable_dns", words.enable_dns.as_deref(), all)? || expressions.asks_for("Dns"),
            switch("enable_rtt", words.enable_rtt.as_deref(), all)? || expressions.asks_for("TimeFlowRtt"),
            switch("enable_pkt_drop", words.enable_pkt_drop.as_deref(), all)?
                || rules.drops
                || expressions.asks_for("PktDrop"),
        ];
        let typed = [&words.enable_dns, &words.enable_rtt, &words.enable_pkt_drop];
        let is_asked = |which: usize| words.enable_all.is_some() || typed[which].is_some() || features[which];
        let [dns, rtt, drops] = features;
        Ok(Self {
            dns,
            rtt,
            drops,
            unasked: [0, 1, 2].map(|which| !packets && !is_asked(which)),
            translations: switch("enable_pkt_translation", words.enable_pkt_translation.as_deref(), true)?,
            rules,
            exclude_interfaces: interfaces::check(
                "exclude_interfaces",
                words.exclude_interfaces.as_deref().unwrap_or(interfaces::left_out(&interfaces)),
            )?,
            interfaces,
            sampling: number("sampling", words.sampling.as_deref().unwrap_or("1"), NonZeroU32::MAX)?,
            max_time: max_time(words.max_time.as_deref().unwrap_or(DEFAULT_MAX_TIME))?,
            max_bytes: max_bytes(words.max_bytes.as_deref().unwrap_or(DEFAULT_MAX_BYTES))?,
            log_level: log_level(words.log_level.as_deref().unwrap_or("info"))?,
            output_dir: words.output_dir.clone().unwrap_or_else(|| DEFAULT_OUTPUT_DIR.into()),
            port: words.listen_port.as_deref().map(|text| number("listen-port", text, NonZeroU16::MAX)).transpose()?,
            wait: wait(words, &expressions)?,
            queries: expressions.queries(),
            expression: expressions.filter().map(str::to_owned),
            explain,
            all_observations: observations(words.observations.as_deref())?,
            required: processes::query(&words.processes)?,
            subnets: words.subnets.iter().map(|text| subnets(text)).collect::<Result<_, _>>()?,
            demands: why::demands(&words.demands)?,
            lines: lines(words)?,
            typed: options_text(&words.typed),
            verbose: words.verbose,
            quiet: words.quiet,
            packets: None,
            metrics: None,
        })
    }

    /// Checks the words of a capture of packets.
    ///
    /// # Errors
    ///
    /// A value is not allowed.
    pub fn packets(words: &FlowsArgs) -> Result<Self, OptionError> {
        let features = [
            ("enable_dns", &words.enable_dns),
            ("enable_rtt", &words.enable_rtt),
            ("observations", &words.observations),
            ("enable_pkt_translation", &words.enable_pkt_translation),
        ];
        let foreign = features.into_iter().chain(unbuilt(&words.cluster)).find(|(_, value)| value.is_some());
        if let Some((option, _)) = foreign {
            return Err(OptionError::OfAnotherCommand { option, command: "packets" });
        }
        refuse_metrics_options(words, "packets")?;
        if let Some(option) = words.processes.typed() {
            return Err(OptionError::OfAnotherCommand { option, command: "packets" });
        }
        let capture = Self::new(words, true)?;
        if !capture.demands.is_empty() {
            return Err(OptionError::DemandOfPackets);
        }
        let packets = Some(PacketSettings::new(words, &capture)?);
        Ok(Self { dns: false, rtt: false, packets, ..capture })
    }

    /// Checks the words of a capture of flows.
    ///
    /// # Errors
    ///
    /// A value is not allowed.
    pub fn flows(words: &FlowsArgs) -> Result<Self, OptionError> {
        refuse_metrics_options(words, "flows")?;
        if let Some((option, _)) = words.packets.typed().into_iter().find(|(_, typed)| *typed) {
            return Err(OptionError::OfAnotherCommand { option, command: "flows" });
        }
        for (option, value) in unbuilt(&words.cluster) {
            if switch(option, value.as_deref(), false)? {
                return Err(OptionError::NotThere(option));
            }
        }
        Self::new(words, false)
    }

    /// What is captured.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match (&self.packets, &self.metrics) {
            (Some(_), _) => Kind::Packets,
            (None, Some(_)) => Kind::Metrics,
            (None, None) => Kind::Flows,
        }
    }

    /// The collector's options, in a cluster and on this machine.
    #[must_use]
    pub fn collector_args(&self) -> Vec<String> {
        let mut args = vec![
            format!("--options={}", self.typed),
            format!("--loglevel={}", self.log_level),
            format!("--maxtime={}", self.max_time),
            format!("--maxbytes={}", self.max_bytes),
        ];
        args.extend(self.queries.iter().map(|query| format!("--query={query}")));
        args.extend(self.expression.iter().chain(&self.required).map(|query| format!("--require={query}")));
        args.extend(self.subnets.iter().map(|subnets| format!("--subnets={subnets}")));
        args.extend(self.all_observations.then(|| "--observations=all".to_owned()));
        args.extend(self.rules.selections.iter().map(|term| format!("--select={term}")));
        args.extend(self.wait.then(|| "--wait".to_owned()));
        args.extend(self.lines.map(|lines| format!("--output={lines}")));
        args.extend(self.demands.iter().cloned());
        args.extend(self.quiet.then(|| "--quiet".to_owned()));
        args.extend(self.packets.iter().flat_map(PacketSettings::collector_args));
        args.extend(self.metrics.iter().flat_map(MetricsSettings::collector_args));
        args
    }
}

/// Features of the original that are not built yet.
fn unbuilt(words: &ClusterArgs) -> [(&'static str, &Option<String>); 3] {
    [
        ("enable_ipsec", &words.enable_ipsec),
        ("enable_network_events", &words.enable_network_events),
        ("enable_udn_mapping", &words.enable_udn_mapping),
    ]
}

fn refuse_metrics_options(words: &FlowsArgs, command: &'static str) -> Result<(), OptionError> {
    words.metrics.typed().map_or(Ok(()), |option| Err(OptionError::OfAnotherCommand { option, command }))
}

fn observations(text: Option<&str>) -> Result<bool, OptionError> {
    match text {
        None | Some("once") => Ok(false),
        Some("all") => Ok(true),
        Some(other) => Err(not_allowed("observations", other, "once or all")),
    }
}

fn subnets(text: &str) -> Result<String, OptionError> {
    let good = text
        .split_once('=')
        .is_some_and(|(name, list)| !name.is_empty() && list.split(',').all(|cidr| filter::is_network(cidr.trim())));
    if good { Ok(text.to_owned()) } else { Err(not_allowed("subnets", text, SUBNETS)) }
}

/// Whether names may be given before anything has them.
fn wait(words: &FlowsArgs, expressions: &Expressions) -> Result<bool, OptionError> {
    let wait = switch("wait", words.cluster.wait.as_deref(), false)?;
    if wait && words.filter.selector().is_none() && expressions.terms().next().is_none() {
        return Err(OptionError::Needs { option: "wait", other: "pod, --svc or another name in the cluster" });
    }
    Ok(wait)
}

/// The form of lines, when there is to be no screen.
fn lines(words: &FlowsArgs) -> Result<Option<&'static str>, OptionError> {
    let no_screen = switch("no-tui", words.no_tui.as_deref(), false)?;
    let Some(text) = words.output.as_deref() else { return Ok(no_screen.then_some("text")) };
    let found = LINES.into_iter().find(|form| *form == text);
    found.map(Some).ok_or_else(|| not_allowed("output", text, LINES.join(" or ")))
}

/// The options as the collector shows them.
fn options_text(typed: &[String]) -> String {
    let bare: Vec<&str> = typed.iter().map(|word| word.trim_start_matches('-')).collect();
    bare.join("|")
}

/// Whether the words ask for a capture on this machine.
///
/// # Errors
///
/// The value is neither true nor false, or there are options that only a cluster has.
pub fn is_local(words: &FlowsArgs) -> Result<bool, OptionError> {
    let local = switch("local", words.local.as_deref(), false)?;
    let selector = words.filter.selector();
    match words.cluster.typed().first().copied().or(selector) {
        Some(option) if local => Err(OptionError::ClusterOnly(option)),
        _ => Ok(local),
    }
}

/// `; did you mean X?` when `text` is spelled nearly like one of `words`; X in small letters when `text` is.
fn did_you_mean(text: &str, words: &[&str]) -> String {
    let distance = |word: &str| strsim::damerau_levenshtein(&text.to_lowercase(), &word.to_lowercase());
    let nearest = words.iter().map(|word| (distance(word), *word)).min_by_key(|(distance, _)| *distance);
    match nearest {
        Some((1 | 2, word)) if text.len() > 2 => {
            let small = !text.chars().any(char::is_uppercase) && text.chars().any(char::is_lowercase);
            format!("; did you mean {}?", if small { word.to_lowercase() } else { word.to_owned() })
        }
        _ => String::new(),
    }
}

fn not_allowed(option: &'static str, value: &str, allowed: impl Into<String>) -> OptionError {
    OptionError::NotAllowed { option, value: value.to_owned(), allowed: allowed.into() }
}

/// Whether `doctor` is to look at this machine, as it does where that has a kernel to look at: there is nothing else yet.
///
/// # Errors
///
/// It is not.
pub fn check_doctor(words: &DoctorArgs) -> Result<(), OptionError> {
    let here = switch("local", words.local.as_deref(), cfg!(target_os = "linux"))?;
    if here { Ok(()) } else { Err(OptionError::DoctorNeedsLocal) }
}

fn switch(option: &'static str, text: Option<&str>, default: bool) -> Result<bool, OptionError> {
    match text {
        None => Ok(default),
        Some("true") => Ok(true),
        Some("false") => Ok(false),
        Some(other) => Err(not_allowed(option, other, "true or false")),
    }
}

/// A whole number from 1; the type of `largest` is what makes it so.
fn number<N: FromStr + std::fmt::Display>(option: &'static str, text: &str, largest: N) -> Result<N, OptionError> {
    // `+7` parses in Rust, and nowhere else that this value goes to.
    Some(text)
        .filter(|text| text.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| not_allowed(option, text, format!("a whole number from 1 to {largest}")))
}

/// The collector keeps its count in the signed 64 bits of its SQLite column.
fn max_bytes(text: &str) -> Result<NonZeroU64, OptionError> {
    const LARGEST: NonZeroU64 = NonZeroU64::new(i64::MAX as u64).unwrap();
    number("max-bytes", text, LARGEST)
        .ok()
        .filter(|bytes| *bytes <= LARGEST)
        .ok_or_else(|| not_allowed("max-bytes", text, format!("a whole number of bytes from 1 to {LARGEST}")))
}

fn max_time(text: &str) -> Result<String, OptionError> {
    match duration::parse(text) {
        Ok(time) if !time.is_zero() => Ok(text.to_owned()),
        _ => Err(not_allowed("max-time", text, "a duration above zero such as 30s, 5m or 1h30m")),
    }
}

fn log_level(text: &str) -> Result<String, OptionError> {
    if LOG_LEVELS.contains(&text) {
        return Ok(text.to_owned());
    }
    let similar = did_you_mean(text, &LOG_LEVELS);
    Err(not_allowed("log-level", text, format!("one of {}{similar}", LOG_LEVELS.join(", "))))
}

#[cfg(test)]
mod tests;
