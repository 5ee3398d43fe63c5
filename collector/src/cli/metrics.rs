//! The words of `get-metrics`, and what they mean.

use clap::Args;
use netobserv_contract::metrics::{DEFAULT_LIST, DEFAULT_SERIES, Metric, chosen};

use super::Listen;

/// As typed.
#[derive(Debug, Args)]
pub struct MetricsWords {
    /// Metrics to count: those whose names contain one of these, separated by commas
    #[arg(long, value_name = "LIST", default_value = DEFAULT_LIST, value_parser = metrics)]
    include_list: Metrics,
    /// Answer GET /metrics here: PORT for all addresses, or ADDRESS:PORT
    #[arg(long, value_name = "ADDRESS", value_parser = serve)]
    serve: Option<Listen>,
    /// Most series; what is above is counted under the label other
    #[arg(long, value_name = "N", default_value_t = DEFAULT_SERIES, value_parser = clap::value_parser!(u64).range(1..=MOST_SERIES))]
    max_series: u64,
}

/// A series takes about 300 bytes, and a Prometheus reads all of them at once.
const MOST_SERIES: u64 = 1_000_000;

/// What `get-metrics` needs in addition to what every capture needs.
#[derive(Clone, Debug)]
pub struct MetricsOptions {
    /// What is counted.
    pub metrics: Vec<Metric>,
    /// Where the text is served; nowhere if `None`.
    pub serve: Option<Listen>,
    /// Most series.
    pub series: u64,
}

impl MetricsWords {
    /// What they mean.
    pub(crate) fn read(self) -> MetricsOptions {
        MetricsOptions { metrics: self.include_list.0, serve: self.serve, series: self.max_series }
    }
}

/// A type of its own: clap takes a vector for an option that is repeated.
#[derive(Clone, Debug)]
struct Metrics(Vec<Metric>);

fn metrics(list: &str) -> Result<Metrics, String> {
    chosen(list).map(Metrics).map_err(|item| format!("no metric's name contains '{item}'"))
}

fn serve(word: &str) -> Result<Listen, String> {
    let port = word.parse().ok().filter(|port| *port != 0).map(Listen::Port);
    let address = || word.parse().ok().map(Listen::Tcp);
    port.or_else(address).ok_or_else(|| "use PORT or ADDRESS:PORT".into())
}
