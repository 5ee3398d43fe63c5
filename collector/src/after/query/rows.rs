//! What is printed of the records that meet a condition: each by itself, or sums of those that have something in common.

use anyhow::ensure;
use netobserv_query::fields_of;

use super::sql::Where;
use crate::sink::sqlite::views::PROTOCOL;

/// The order of rows: the largest first, times the earliest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Sort {
    Bytes,
    Packets,
    Drops,
    Rtt,
    /// The latency of DNS.
    Dns,
    /// The number of records.
    Count,
    Time,
}

/// What the view `conversation` knows: of all records together, so that both directions are in one row.
const OF_CONVERSATION: [&str; 5] = ["client", "server", "service", "port", "protocol"];
const SECOND: &str = "strftime('%Y-%m-%dT%H:%M:%SZ', TimeFlowEndMs / 1000, 'unixepoch')";
const MILLISECOND: &str = "strftime('%Y-%m-%dT%H:%M:%fZ', TimeFlowEndMs / 1000.0, 'unixepoch')";
const DNS_MS: &str = "coalesce(DnsLatencyUs / 1e3, DnsLatencyMs)";

/// The rows.
#[derive(Debug)]
pub(super) struct Rows {
    /// Columns and their names; none for single records.
    by: Vec<(String, String)>,
    sort: Option<Sort>,
}

impl Rows {
    /// Of these names.
    ///
    /// # Errors
    /// One is no field.
    pub(super) fn new(names: &[String], sort: Option<Sort>) -> anyhow::Result<Self> {
        let mut by: Vec<(String, String)> = Vec::new();
        for name in names.iter().map(|name| name.trim()) {
            ensure!(!name.is_empty(), "--by needs names, such as --by=client,server,port");
            let columns = match name {
                _ if OF_CONVERSATION.contains(&name) => vec![(format!("conversation.{name}"), name.to_owned())],
                "second" => vec![(SECOND.to_owned(), name.to_owned())],
                _ => {
                    let fields = fields_of(name).map_err(|error| anyhow::anyhow!("--by: {}", error.what()))?;
                    fields.into_iter().map(|it| (format!("\"{}\"", it.name()), it.name().to_owned())).collect()
                }
            };
            by.extend(columns);
        }
        by.dedup();
        Ok(Self { by, sort })
    }

    /// The query.
    pub(super) fn select(&self, condition: &Where) -> String {
        if self.by.is_empty() { self.records(condition) } else { self.sums(condition) }
    }

    /// Records that count, and those that only lost something.
    fn records(&self, condition: &Where) -> String {
        let end = |end: &str| {
            format!("coalesce({end}K8S_Namespace || '/' || {end}K8S_Name, {end}K8S_Name, {end}Comm, {end}Addr)")
        };
        let order = match self.sort {
            Some(Sort::Bytes) => "Bytes DESC",
            Some(Sort::Packets) => "Packets DESC",
            Some(Sort::Drops) => "PktDropPackets DESC",
            Some(Sort::Rtt) => "TimeFlowRttNs DESC",
            Some(Sort::Dns) => "dns_ms DESC",
            Some(Sort::Count | Sort::Time) | None => "TimeFlowEndMs",
        };
        format!(
            "SELECT {MILLISECOND} AS time, {} AS sender, SrcPort AS sport, {} AS receiver, DstPort AS dport, {PROTOCOL} AS protocol,
                Packets AS packets, Bytes AS bytes, round(TimeFlowRttNs / 1e6, 3) AS rtt_ms, PktDropPackets AS drops,
                PktDropLatestDropCause AS cause, DnsName AS dns, DnsFlagsResponseCode AS rcode, round({DNS_MS}, 3) AS dns_ms
             FROM flow WHERE {} AND (Duplicate IS NULL OR PktDropPackets > 0) ORDER BY {order}, TimeFlowEndMs, rowid",
            end("Src"),
            end("Dst"),
            condition.sql(),
        )
    }

    fn sums(&self, condition: &Where) -> String {
        let joins = self.by.iter().any(|(column, _)| column.starts_with("conversation."));
        let join = if joins { "LEFT JOIN conversation ON conversation.id = flow.ConversationId" } else { "" };
        let columns: Vec<_> = self.by.iter().map(|(column, name)| format!("{column} AS \"{name}\"")).collect();
        let groups: Vec<_> = (1..=self.by.len()).map(|number| number.to_string()).collect();
        let order = match self.sort {
            Some(Sort::Packets) => "packets DESC",
            Some(Sort::Drops) => "drops DESC",
            Some(Sort::Rtt) => "rtt_ms DESC",
            Some(Sort::Dns) => "dns_ms DESC",
            Some(Sort::Count) => "records DESC",
            Some(Sort::Time) => "min(TimeFlowStartMs)",
            Some(Sort::Bytes) | None => "bytes DESC",
        };
        format!(
            "SELECT {}, count(*) FILTER (WHERE Duplicate IS NULL) AS records,
                count(DISTINCT ConversationId) AS conversations,
                coalesce(sum(Packets) FILTER (WHERE Duplicate IS NULL), 0) AS packets,
                coalesce(sum(Bytes) FILTER (WHERE Duplicate IS NULL), 0) AS bytes,
                round(avg(TimeFlowRttNs) / 1e6, 3) AS rtt_ms, sum(PktDropPackets) AS drops, round(avg({DNS_MS}), 3) AS dns_ms
             FROM flow {join} WHERE {} GROUP BY {} ORDER BY {order}, {}",
            columns.join(", "),
            condition.sql(),
            groups.join(", "),
            groups.join(", "),
        )
    }
}
