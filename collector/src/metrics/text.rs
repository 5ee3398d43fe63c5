//! The text exposition: of Prometheus (0.0.4), and OpenMetrics (1.0), which has examples as well.
//!
//! Written here, as the crates for it (prometheus, prometheus-client) keep the series themselves: without a limit on their number,
//! in 64-bit floats, and in one of the two forms only.

use std::fmt::Write as _;

use netobserv_contract::metrics::{BUCKETS, Measure, Metric, PREFIX};

use super::histogram::{Exemplar, Histogram};
use super::registry::Registry;
use super::table::Table;
use crate::counts::Totals;

/// Which text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// What every Prometheus reads.
    Prometheus,
    /// With examples, and with a mark at the end.
    OpenMetrics,
}

impl Form {
    /// The one that the header `Accept` asks for.
    #[must_use]
    pub fn accepted(accept: &str) -> Self {
        let refused = |part: &str| part.replace(' ', "").contains(";q=0") && !part.replace(' ', "").contains(";q=0.");
        let open = |part: &&str| part.trim().starts_with("application/openmetrics-text") && !refused(part);
        if accept.split(',').any(|part| open(&part)) { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// For the header `Content-Type`.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// All metrics now, and those of the capture itself.
#[must_use]
pub fn render(registry: &Registry, totals: &Totals, form: Form) -> String {
    let mut page = Page { text: String::new(), form };
    let sums = registry.sums();
    for table in &sums.tables {
        for (place, measure) in table.wanted() {
            page.metric(table, place, measure);
        }
    }
    page.family("other_observations_total", "counter", "Observations under the label other, above the limit of series");
    for table in &sums.tables {
        for (place, measure) in table.wanted() {
            let name = PREFIX.to_owned() + &Metric { level: table.level, measure }.name();
            page.sample("other_observations_total", &[("metric", &name)], table.over[place], "");
        }
    }
    let (used, limit) = (sums.room.used, sums.room.limit);
    drop(sums);
    page.single("series", "gauge", "Series in use, those labeled other apart", used);
    page.single("series_limit", "gauge", "Most series in use", limit);
    page.capture(totals);
    if form == Form::OpenMetrics {
        page.text.push_str("# EOF\n");
    }
    page.text
}

struct Page {
    text: String,
    form: Form,
}

impl Page {
    /// The lines before a metric. In OpenMetrics a counter's name is without its ending here.
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let shown = match self.form {
            Form::OpenMetrics => name.strip_suffix("_total").unwrap_or(name),
            Form::Prometheus => name,
        };
        // Writing to a string does not fail, here and below.
        let _ = write!(self.text, "# HELP {PREFIX}{shown} {help}.\n# TYPE {PREFIX}{shown} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display, after: &str) {
        let _ = write!(self.text, "{PREFIX}{name}");
        for (index, (label, value)) in labels.iter().enumerate() {
            let _ = write!(self.text, "{}{label}=\"{}\"", if index == 0 { '{' } else { ',' }, escaped(value));
        }
        let _ = writeln!(self.text, "{} {value}{after}", if labels.is_empty() { "" } else { "}" });
    }

    fn single(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.family(name, kind, help);
        self.sample(name, &[], value, "");
    }

    fn metric(&mut self, table: &Table, place: usize, measure: Measure) {
        let metric = Metric { level: table.level, measure };
        let name = metric.name();
        let kind = if measure.is_histogram() { "histogram" } else { "counter" };
        self.family(&name, kind, &format!("{}, by {}", measure.title(), table.level.name()));
        let labels: Vec<&str> = metric.labels().collect();
        for row in table.rows_of(place) {
            let labels: Vec<(&str, &str)> = labels.iter().copied().zip(row.labels.iter().map(|v| v.as_str())).collect();
            match &row.histogram {
                Some(histogram) if measure.is_histogram() => self.histogram(&name, &labels, histogram),
                _ => self.sample(&name, &labels, row.counters[place], ""),
            }
        }
    }

    fn histogram(&mut self, name: &str, labels: &[(&str, &str)], histogram: &Histogram) {
        let mut count = 0;
        for (index, more) in histogram.buckets.iter().enumerate() {
            count += more;
            let bound = BUCKETS.get(index).map_or("+Inf".to_owned(), |bound| self.bound(*bound));
            let labels = [labels, &[("le", bound.as_str())]].concat();
            let example = histogram.exemplars[index].filter(|_| self.form == Form::OpenMetrics);
            let example = example.map(exemplar).unwrap_or_default();
            self.sample(&format!("{name}_bucket"), &labels, count, &example);
        }
        self.sample(&format!("{name}_sum"), labels, seconds(histogram.sum_nanos), "");
        self.sample(&format!("{name}_count"), labels, histogram.count(), "");
    }

    /// OpenMetrics wants whole numbers with a point.
    fn bound(&self, bound: f64) -> String {
        match self.form {
            Form::OpenMetrics => format!("{bound:?}"),
            Form::Prometheus => bound.to_string(),
        }
    }

    /// What the capture itself saw, and what it lost.
    fn capture(&mut self, totals: &Totals) {
        self.single("capture_flows_total", "counter", "Flow records, each packet in one of them", totals.flows);
        self.single("capture_packets_total", "counter", "Packets of these flows", totals.packets);
        self.single("capture_bytes_total", "counter", "Bytes of these flows", totals.bytes);
        self.single("capture_agents", "gauge", "Agents that have reported", totals.agents);
        let losses = &totals.losses;
        self.family("lost_total", "counter", "What could not be counted, by stage and unit");
        for (stage, unit, number) in [
            ("kernel", "packets", losses.kernel_packets),
            ("kernel_drops", "packets", losses.drop_events),
            ("kernel_dns", "messages", losses.dns_messages),
            ("agent_queue", "flows", losses.export_flows),
            ("unreadable", "flows", totals.malformed_flows),
        ] {
            self.sample("lost_total", &[("stage", stage), ("unit", unit)], number, "");
        }
        let without = seconds(u128::from(totals.without_agent_ms) * 1_000_000);
        self.family(
            "without_agent_seconds_total",
            "counter",
            "Time in which nodes captured nothing, all nodes together",
        );
        self.sample("without_agent_seconds_total", &[], without, "");
    }
}

/// Whole nanoseconds as seconds, exactly.
fn seconds(nanos: u128) -> String {
    format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000)
}

fn exemplar(seen: Exemplar) -> String {
    let (value, at) = (seconds(seen.nanos.into()), seen.at_ms);
    format!(" # {{conversation=\"{}\"}} {value} {}.{:03}", seen.conversation, at / 1_000, at % 1_000)
}

fn escaped(value: &str) -> std::borrow::Cow<'_, str> {
    if value.contains(['\\', '"', '\n']) {
        return value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").into();
    }
    value.into()
}

#[cfg(test)]
mod tests;
