//! The dashboard "NetObserv / On Demand", from one table of panels: for the console of OpenShift, which reads the Grafana 5 form,
//! and for a Grafana of today.

use serde_json::{Value, json};

use super::{Level, Measure, Metric, PREFIX};

/// Time over which rates are taken, of at least four scrapes.
const RATE: &str = "2m";
/// Series that a graph shows.
const TOP: u32 = 7;
/// Height of a panel in Grafana's grid, and the width of the whole grid.
const GRID: (usize, usize) = (8, 24);

/// One graph.
struct Panel {
    title: String,
    unit: &'static str,
    query: String,
    legend: String,
}

/// Graphs under one heading.
struct Row {
    title: &'static str,
    measures: &'static [Measure],
}

const ROWS: [Row; 5] = [
    Row {
        title: "Traffic rates",
        measures: &[
            Measure::EgressBytes,
            Measure::IngressBytes,
            Measure::EgressPackets,
            Measure::IngressPackets,
            Measure::Flows,
        ],
    },
    Row { title: "TCP latencies", measures: &[Measure::Rtt] },
    Row { title: "Byte and packet drops", measures: &[Measure::DropBytes, Measure::DropPackets] },
    Row { title: "DNS", measures: &[Measure::DnsLatency] },
    Row { title: "Network Policy", measures: &[Measure::PolicyEvents] },
];

/// The dashboard for the console of OpenShift, with the panels of these metrics.
#[must_use]
pub fn console(metrics: &[Metric]) -> Value {
    let mut rows = Vec::new();
    let mut id = 0;
    for (title, panels) in panels(metrics) {
        let panels: Vec<Value> = panels.iter().map(|panel| console_panel(panel, numbered(&mut id))).collect();
        rows.push(json!({
            "collapse": false, "editable": true, "height": "250px", "panels": panels, "showTitle": true, "title": title,
        }));
    }
    json!({
        "__inputs": [], "__requires": [], "annotations": { "list": [] }, "editable": true, "gnetId": null,
        "graphTooltip": 0, "hideControls": false, "id": null, "links": [], "refresh": "", "rows": rows,
        "schemaVersion": 16, "style": "dark", "tags": ["networking-observability"], "templating": { "list": [] },
        "time": { "from": "now-1h", "to": "now" }, "timezone": "browser", "title": "NetObserv / On Demand", "version": 0,
    })
}

fn console_panel(panel: &Panel, id: usize) -> Value {
    json!({
        "aliasColors": {}, "bars": false, "dashLength": 10, "dashes": false, "datasource": "prometheus", "fill": 1,
        "fillGradient": 0, "gridPos": {}, "id": id, "lines": true, "linewidth": 1, "links": [],
        "legend": { "avg": false, "current": false, "max": false, "min": false, "show": true, "total": false, "values": false },
        "nullPointMode": "null", "percentage": false, "pointradius": 2, "points": false, "renderer": "flot",
        "seriesOverrides": [], "span": 4, "stack": false, "steppedLine": false, "thresholds": [],
        "targets": [{
            "expr": panel.query, "format": "time_series", "intervalFactor": 2, "legendFormat": panel.legend, "refId": "A",
        }],
        "timeFrom": null, "timeShift": null, "title": panel.title, "type": "graph",
        "tooltip": { "shared": true, "sort": 0, "value_type": "individual" },
        "xaxis": { "buckets": null, "mode": "time", "name": null, "show": true, "values": [] },
        "yaxes": [
            { "format": panel.unit, "label": null, "logBase": 1, "max": null, "min": 0, "show": true },
            { "format": panel.unit, "label": null, "logBase": 1, "max": null, "min": null, "show": false },
        ],
    })
}

/// The dashboard for Grafana 10 and later, with the panels of these metrics. Its data source is chosen there.
#[must_use]
pub fn grafana(metrics: &[Metric]) -> Value {
    let (mut all, mut id, mut y) = (Vec::new(), 0, 0);
    for (title, panels) in panels(metrics) {
        let place = json!({ "h": 1, "w": GRID.1, "x": 0, "y": y });
        all.push(json!({
            "type": "row", "title": title, "id": numbered(&mut id), "gridPos": place, "panels": [], "collapsed": false,
        }));
        y += 1;
        for line in panels.chunks(Level::ALL.len()) {
            let width = GRID.1 / line.len();
            for (column, panel) in line.iter().enumerate() {
                let place = json!({ "h": GRID.0, "w": width, "x": column * width, "y": y });
                all.push(grafana_panel(panel, numbered(&mut id), place));
            }
            y += GRID.0;
        }
    }
    json!({
        "annotations": { "list": [] }, "editable": true, "graphTooltip": 1, "links": [], "panels": all, "refresh": "15s",
        "schemaVersion": 39, "tags": ["netobserv"],
        "templating": { "list": [{
            "name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "hide": 0,
            "includeAll": false, "multi": false, "refresh": 1, "regex": "", "current": {}, "options": [],
        }] },
        "time": { "from": "now-1h", "to": "now" }, "timezone": "browser", "title": "NetObserv / On Demand",
        "uid": "netobserv-on-demand", "version": 1,
    })
}

fn grafana_panel(panel: &Panel, id: usize, place: Value) -> Value {
    let source = json!({ "type": "prometheus", "uid": "${datasource}" });
    json!({
        "type": "timeseries", "title": panel.title, "id": id, "gridPos": place, "datasource": source,
        "fieldConfig": { "defaults": { "unit": panel.unit, "min": 0 }, "overrides": [] },
        "options": { "legend": { "displayMode": "list", "placement": "bottom", "showLegend": true },
            "tooltip": { "mode": "multi", "sort": "desc" } },
        "targets": [{ "datasource": source, "expr": panel.query, "legendFormat": panel.legend, "refId": "A" }],
    })
}

fn numbered(id: &mut usize) -> usize {
    *id += 1;
    *id
}

/// The graphs of these metrics under their headings; headings without a graph are left out.
fn panels(metrics: &[Metric]) -> Vec<(&'static str, Vec<Panel>)> {
    let of = |row: &Row| {
        let all = row.measures.iter().flat_map(|measure| Level::ALL.map(|level| Metric { level, measure: *measure }));
        all.filter(|metric| metrics.contains(metric)).flat_map(graphs).collect::<Vec<_>>()
    };
    ROWS.iter().map(|row| (row.title, of(row))).filter(|(_, panels)| !panels.is_empty()).collect()
}

fn graphs(metric: Metric) -> Vec<Panel> {
    if !metric.measure.is_histogram() {
        return vec![counter(metric)];
    }
    [("Median", "0.5"), ("99th percentile", "0.99")].map(|(word, share)| quantile(metric, word, share)).into()
}

fn counter(metric: Metric) -> Panel {
    let (names, legend) = ends(metric.level);
    let unit = match metric.measure {
        Measure::EgressBytes | Measure::IngressBytes | Measure::DropBytes => "Bps",
        Measure::EgressPackets | Measure::IngressPackets | Measure::DropPackets => "pps",
        _ => "short",
    };
    let query = format!("topk({TOP}, sum(rate({PREFIX}{}[{RATE}])) by ({names}))", metric.name());
    Panel { title: title(metric, ""), unit, query, legend }
}

fn quantile(metric: Metric, word: &str, share: &str) -> Panel {
    let (names, legend) = ends(metric.level);
    let rate = format!("sum(rate({PREFIX}{}_bucket[{RATE}])) by (le, {names})", metric.name());
    let query = format!("topk({TOP}, histogram_quantile({share}, {rate}))");
    Panel { title: title(metric, &format!(", {}", word.to_lowercase())), unit: "s", query, legend }
}

fn title(metric: Metric, more: &str) -> String {
    let per = match metric.measure {
        Measure::Rtt | Measure::DnsLatency => "",
        _ => " per second",
    };
    format!("{}{per}{more}, by {}", metric.measure.title(), metric.level.name())
}

/// Labels of a graph's lines, and its legend.
fn ends(level: Level) -> (&'static str, String) {
    let (names, legend) = match level {
        Level::Node => ("SrcK8S_HostName, DstK8S_HostName", "{{SrcK8S_HostName}} -> {{DstK8S_HostName}}"),
        Level::Namespace => ("SrcK8S_Namespace, DstK8S_Namespace", "{{SrcK8S_Namespace}} -> {{DstK8S_Namespace}}"),
        Level::Workload => (
            "SrcK8S_Namespace, SrcK8S_OwnerName, DstK8S_Namespace, DstK8S_OwnerName",
            "{{SrcK8S_Namespace}}/{{SrcK8S_OwnerName}} -> {{DstK8S_Namespace}}/{{DstK8S_OwnerName}}",
        ),
    };
    (names, legend.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{DEFAULT_LIST, chosen};

    #[test]
    fn a_dashboard_shows_the_metrics_that_are_counted_and_no_others() {
        let metrics = chosen(DEFAULT_LIST).unwrap();
        for dashboard in [console(&metrics), grafana(&metrics)] {
            let text = dashboard.to_string();
            for metric in Metric::all() {
                let shown = text.contains(&format!("({PREFIX}{}[", metric.name()));
                assert_eq!(shown, metrics.contains(&metric), "{}", metric.name());
            }
        }
        let all: Vec<Metric> = Metric::all().collect();
        let rows = console(&all)["rows"].as_array().unwrap().len();
        assert_eq!(rows, ROWS.len());
        assert!(
            console(&all)
                .to_string()
                .contains("histogram_quantile(0.99, sum(rate(on_demand_netobserv_node_rtt_seconds_bucket[2m]")
        );
    }

    #[test]
    fn no_two_panels_share_a_number_or_a_place() {
        let all: Vec<Metric> = Metric::all().collect();
        let dashboard = grafana(&all);
        let panels = dashboard["panels"].as_array().unwrap();
        let seen =
            |key: &str| panels.iter().map(|panel| panel[key].to_string()).collect::<std::collections::BTreeSet<_>>();
        assert_eq!([seen("id").len(), seen("gridPos").len()], [panels.len(); 2]);
    }
}
