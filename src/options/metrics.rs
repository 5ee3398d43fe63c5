//! What is special about a capture of metrics: which are counted, into how many series, and who reads them.

use std::net::SocketAddr;

use netobserv_contract::metrics::{self, DEFAULT_LIST, DEFAULT_SERIES, Measure, Metric};

use super::{Capture, OptionError, is_local, not_allowed, switch};
use crate::cli::{DashboardArgs, FlowsArgs, values};

/// How long metrics are counted.
const MAX_TIME: &str = "1h";
/// What the collector takes.
const MOST_SERIES: u64 = 1_000_000;
const LIST: &str = "parts of names of metrics separated by commas, such as node_,workload_flows";

/// Who scrapes the metrics of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scraper {
    /// On OpenShift its monitoring; elsewhere there is no reader.
    #[default]
    OfTheCluster,
    /// A Prometheus of the Prometheus operator.
    ServiceMonitor,
    /// A Prometheus that finds pods by their annotations.
    Annotations,
    /// There is no reader.
    Off,
}

/// One capture of metrics; every value is valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsSettings {
    /// What is counted.
    pub list: String,
    /// Most series.
    pub series: u64,
    /// Where this machine serves them.
    pub listen: Option<SocketAddr>,
    /// Who reads them in a cluster.
    pub scraper: Scraper,
}

impl MetricsSettings {
    /// The metrics that are counted.
    #[must_use]
    pub fn metrics(&self) -> Vec<Metric> {
        // The list was checked.
        metrics::chosen(&self.list).unwrap_or_default()
    }

    /// Options of the collector.
    pub(super) fn collector_args(&self) -> Vec<String> {
        let mut args = vec![format!("--include-list={}", self.list), format!("--max-series={}", self.series)];
        args.extend(self.listen.map(|address| format!("--serve={address}")));
        args
    }

    fn new(words: &FlowsArgs, capture: &mut Capture) -> Result<Self, OptionError> {
        let typed = &words.metrics;
        let list = match typed.include_list.as_deref() {
            None => with_features(capture),
            Some(list) => {
                let metrics = metrics::chosen(list).map_err(|item| not_in(list, &item))?;
                enable(capture, list, &metrics);
                list.to_owned()
            }
        };
        Ok(Self {
            list,
            series: typed.max_series.as_deref().map_or(Ok(DEFAULT_SERIES), series)?,
            listen: typed.listen.as_deref().map(|text| listen(text, words)).transpose()?,
            scraper: typed.to.as_deref().map_or(Ok(Scraper::OfTheCluster), |text| scraper(text, words))?,
        })
    }
}

impl Capture {
    /// Checks the words of a capture of metrics.
    ///
    /// # Errors
    ///
    /// A value is not allowed.
    pub fn metrics(words: &FlowsArgs) -> Result<Self, OptionError> {
        let foreign = |option| Err(OptionError::OfAnotherCommand { option, command: "metrics" });
        let of_files = [
            ("max-bytes", words.max_bytes.is_some()),
            ("output", words.output.is_some()),
            ("observations", words.observations.is_some()),
        ];
        let of_packets = words.packets.typed();
        if let Some((option, _)) = of_files.into_iter().chain(of_packets).find(|(_, typed)| *typed) {
            return foreign(option);
        }
        if let Some(option) = words.demands.first() {
            return foreign(option);
        }
        for (option, value) in super::unbuilt(&words.cluster) {
            if switch(option, value.as_deref(), false)? {
                return Err(OptionError::NotThere(option));
            }
        }
        let mut capture = Self::new(words, false)?;
        if words.max_time.is_none() {
            MAX_TIME.clone_into(&mut capture.max_time);
        }
        // There are no lines of flows: without a screen, the progress is printed.
        capture.lines = capture.lines.map(|_| "none");
        capture.metrics = Some(MetricsSettings::new(words, &mut capture)?);
        Ok(capture)
    }
}

/// The dashboard that the words ask for, as JSON.
///
/// # Errors
///
/// An item of the list fits no metric.
pub fn dashboard(words: &DashboardArgs) -> Result<String, OptionError> {
    let metrics = match words.include_list.as_deref() {
        None => Metric::all().collect(),
        Some(list) => metrics::chosen(list).map_err(|item| not_in(list, &item))?,
    };
    Ok(format!("{:#}\n", metrics::grafana(&metrics)))
}

/// The usual metrics and those of the features that are on.
fn with_features(capture: &Capture) -> String {
    let features =
        [(capture.rtt, Measure::Rtt), (capture.drops, Measure::DropPackets), (capture.dns, Measure::DnsLatency)];
    let items = features.into_iter().filter(|(on, _)| *on).filter_map(|(_, measure)| measure.of_feature());
    std::iter::once(DEFAULT_LIST).chain(items).collect::<Vec<_>>().join(",")
}

/// An item that means nothing but metrics of one feature asks for the feature.
fn enable(capture: &mut Capture, list: &str, metrics: &[Metric]) {
    for item in list.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let of_item = metrics::chosen(item).unwrap_or_default();
        let only = |wanted: &[Measure]| of_item.iter().all(|metric| wanted.contains(&metric.measure));
        debug_assert!(of_item.iter().all(|metric| metrics.contains(metric)));
        capture.rtt |= only(&[Measure::Rtt]);
        capture.drops |= only(&[Measure::DropPackets, Measure::DropBytes]);
        capture.dns |= only(&[Measure::DnsLatency]);
    }
}

fn not_in(list: &str, item: &str) -> OptionError {
    let names: Vec<String> = Metric::all().map(Metric::name).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let similar = super::did_you_mean(item, &names);
    not_allowed("include_list", list, format!("{LIST}{similar}"))
}

fn series(text: &str) -> Result<u64, OptionError> {
    super::number("max-series", text, MOST_SERIES)
        .ok()
        .filter(|number| (1..=MOST_SERIES).contains(number))
        .ok_or_else(|| not_allowed("max-series", text, format!("a whole number from 1 to {MOST_SERIES}")))
}

fn listen(text: &str, words: &FlowsArgs) -> Result<SocketAddr, OptionError> {
    if !is_local(words)? {
        return Err(OptionError::ListenInCluster);
    }
    text.parse().map_err(|_| not_allowed("listen", text, "ADDRESS:PORT, such as 127.0.0.1:9401 or [::]:9401"))
}

fn scraper(text: &str, words: &FlowsArgs) -> Result<Scraper, OptionError> {
    if is_local(words)? {
        return Err(OptionError::ClusterOnly("to"));
    }
    match text {
        "service-monitor" => Ok(Scraper::ServiceMonitor),
        "annotations" => Ok(Scraper::Annotations),
        "none" => Ok(Scraper::Off),
        other => {
            let similar = super::did_you_mean(other, &values::SCRAPERS);
            Err(not_allowed("to", other, format!("service-monitor, annotations or none{similar}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::cli::{Request, read};

    fn capture(words: &[&str]) -> Result<Capture, OptionError> {
        match read(["oc-netobserv", "metrics"].iter().chain(words).map(OsString::from)) {
            Ok(Request::Metrics(words)) => Capture::metrics(&words),
            other => panic!("{words:?} gave {other:?}"),
        }
    }

    #[track_caller]
    fn refused(words: &[&str]) -> String {
        capture(words).expect_err("the words are wrong").to_string()
    }

    #[test]
    fn features_bring_their_metrics() {
        let list = |words: &[&str]| capture(words).unwrap().metrics.unwrap().list;
        assert_eq!(list(&[]), DEFAULT_LIST);
        assert_eq!(list(&["--enable_rtt"]), format!("{DEFAULT_LIST},rtt_seconds"));
        assert_eq!(list(&["--enable_all"]), format!("{DEFAULT_LIST},rtt_seconds,drop_,dns_latency_seconds"));
        let all = capture(&["--enable_all", "--enable_dns=false"]).unwrap();
        assert!(!all.dns && all.rtt && !all.metrics.unwrap().list.contains("dns"));
    }

    #[test]
    fn a_list_brings_its_features() {
        let node = capture(&["--include_list=node_,flows"]).unwrap();
        assert_eq!((node.rtt, node.drops, node.dns), (false, false, false), "node_ means more than these");
        let drops = capture(&["--include_list=node_drop,rtt_seconds"]).unwrap();
        assert_eq!((drops.rtt, drops.drops, drops.dns), (true, true, false));
        assert_eq!(drops.metrics.unwrap().metrics().len(), 5);
    }

    #[test]
    fn the_collector_gets_what_was_checked() {
        let here = capture(&["--local", "--listen=127.0.0.1:9401", "--max-series=50", "--no-tui"]).unwrap();
        let args = here.collector_args();
        for word in ["--serve=127.0.0.1:9401", "--max-series=50", "--maxtime=1h", "--output=none"] {
            assert!(args.iter().any(|arg| arg == word), "{word} in {args:?}");
        }
        assert!(capture(&["--max-time=10s"]).unwrap().collector_args().contains(&"--maxtime=10s".to_owned()));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (words, line) in [
            (vec!["--max-bytes=1"], "--max-bytes is invalid option for metrics"),
            (vec!["--snaplen=64"], "--snaplen is invalid option for metrics"),
            (vec!["--fail-on=drops>0"], "--fail-on is invalid option for metrics"),
            (
                vec!["--include_list=node_flow_total"],
                "--include_list=node_flow_total is not valid: use parts of names of metrics separated by commas, such as node_,workload_flows; did you mean node_flows_total?",
            ),
            (vec!["--max-series=0"], "--max-series=0 is not valid: use a whole number from 1 to 1000000"),
            (vec!["--local", "--to=none"], "--to applies to a cluster only: omit it, or omit --local"),
            (
                vec!["--to=annotation"],
                "--to=annotation is not valid: use service-monitor, annotations or none; did you mean annotations?",
            ),
            (
                vec!["--local", "--listen=9401"],
                "--listen=9401 is not valid: use ADDRESS:PORT, such as 127.0.0.1:9401 or [::]:9401",
            ),
        ] {
            assert_eq!(refused(&words), line);
        }
        assert!(refused(&["--listen=127.0.0.1:1"]).contains("--local"));
    }
}
