//! The words that only `metrics` has.

use clap::Args;

use super::values::{self, OneOf};

/// Options of a capture of metrics, as typed.
#[derive(Debug, Default, Clone, Args)]
#[command(next_help_heading = "Options of metrics")]
pub struct MetricsArgs {
    /// Metrics to count: those whose names contain one of these items, such as node_,workload_flows
    /// [default: namespace_flows_total, node_ingress_bytes_total, node_egress_bytes_total, workload_ingress_bytes_total, and those of
    /// each --enable_ option]
    #[arg(long = "include_list", alias = "include-list", value_name = "LIST")]
    pub include_list: Option<String>,
    /// Most series; what is above is counted under the label other [default: 10000]
    #[arg(long = "max-series", alias = "max_series", value_name = "N", allow_negative_numbers = true)]
    pub max_series: Option<String>,
    /// Who scrapes the metrics in the cluster: service-monitor (Prometheus operator), annotations, or none
    /// [default: on OpenShift its monitoring, with a dashboard in the console; otherwise none]
    #[arg(long, value_name = "WHERE", value_parser = OneOf(&values::SCRAPERS))]
    pub to: Option<String>,
    /// Serve the metrics at http://ADDRESS:PORT/metrics; with --local only [default: not at all]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<String>,
}

impl MetricsArgs {
    /// The first option that was typed, without dashes.
    #[must_use]
    pub fn typed(&self) -> Option<&'static str> {
        let all = [
            ("include_list", self.include_list.is_some()),
            ("max-series", self.max_series.is_some()),
            ("to", self.to.is_some()),
            ("listen", self.listen.is_some()),
        ];
        all.into_iter().find(|(_, typed)| *typed).map(|(option, _)| option)
    }
}

/// Options of `dashboard`, as typed.
#[derive(Debug, Default, Args)]
#[command(args_override_self = true)]
pub struct DashboardArgs {
    /// Metrics to show: those whose names contain one of these items, such as node_,workload_flows [default: all]
    #[arg(long = "include_list", alias = "include-list", value_name = "LIST")]
    pub include_list: Option<String>,
}
