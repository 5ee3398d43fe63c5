//! The counters at one moment, and what was lost by them.

use std::time::Duration;

use netobserv_wire::pbflow::AgentStatus;

/// Losses before the collector. All from the start of the capture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Packets that found no room in the kernel.
    pub kernel_packets: u64,
    /// Bytes of these packets.
    pub kernel_bytes: u64,
    /// Dropped packets that were not counted as such for want of room in the kernel.
    pub drop_events: u64,
    /// DNS messages that found no room in the kernel.
    pub dns_messages: u64,
    /// Flows that found no room in an agent's export queue.
    pub export_flows: u64,
    /// Packets of these flows.
    pub export_packets: u64,
    /// Bytes of these flows.
    pub export_bytes: u64,
    /// Packets that took the overflow path; not lost.
    pub overflow_packets: u64,
    /// Fragments that were counted with ports 0; not lost.
    pub portless_fragments: u64,
}

/// All counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Flows accepted.
    pub flows: u64,
    /// Packets of these flows.
    pub packets: u64,
    /// Bytes of these flows.
    pub bytes: u64,
    /// Flows that were refused because there was no room; an agent sends them again.
    pub refused_flows: u64,
    /// Flows that could not be read.
    pub malformed_flows: u64,
    /// Flows that the query did not want.
    pub filtered_flows: u64,
    /// Flows of the capture itself that were left out.
    pub own_flows: u64,
    /// Bytes of these flows.
    pub own_bytes: u64,
    /// Records of packets that are counted in another record.
    pub duplicates: u64,
    /// Connections that were not let in.
    pub refused_connections: u64,
    /// Messages that were refused for good: they broke a limit, or were not a node's own.
    pub refused_messages: u64,
    /// Rows in the JSON file.
    pub json_rows: u64,
    /// Bytes of the JSON file.
    pub json_bytes: u64,
    /// Rows that the JSON file does not have.
    pub json_lost: u64,
    /// Rows of the JSON file that were not filled in with late names, for want of time.
    pub json_unnamed: u64,
    /// Rows in the SQLite file.
    pub sqlite_rows: u64,
    /// Rows that the SQLite file does not have.
    pub sqlite_lost: u64,
    /// Rows of the SQLite file that were not filled in with late names, for want of time.
    pub sqlite_unnamed: u64,
    /// Agents heard of.
    pub agents: u64,
    /// Agents that did not report that nothing follows.
    pub agents_without_last_word: u64,
    /// Interfaces with probes on them.
    pub interfaces: u64,
    /// Interfaces that are to have probes, while agents put them there; else 0.
    pub attaching: u64,
    /// Interfaces that were not watched, or not all the time.
    pub unwatched: u64,
    /// How often an agent broke off without a last message and was restarted.
    pub agents_started_anew: u64,
    /// Agents that counted for longer than they should, because records waited to be sent.
    pub stretched_agents: u64,
    /// The longest such time, in milliseconds.
    pub stretched_ms: u32,
    /// Filters that were put into the kernels of all nodes, and taken back.
    pub filter_changes: u64,
    /// For how long nodes captured nothing, all nodes together, in milliseconds.
    pub without_agent_ms: u64,
    /// How often the collector was killed.
    pub collector_kills: u64,
    /// Nodes that captured nothing for a while.
    pub without_agent_nodes: u64,
    /// Their losses together.
    pub losses: Losses,
}

impl Losses {
    pub(super) fn of(status: &AgentStatus) -> Self {
        Self {
            kernel_packets: status.lost_kernel_packets,
            kernel_bytes: status.lost_kernel_bytes,
            drop_events: status.lost_drop_events,
            dns_messages: status.lost_dns_messages,
            export_flows: status.lost_export_flows,
            export_packets: status.lost_export_packets,
            export_bytes: status.lost_export_bytes,
            overflow_packets: status.overflow_packets,
            portless_fragments: status.portless_fragments,
        }
    }

    fn each(self) -> [u64; 9] {
        [
            self.kernel_packets,
            self.kernel_bytes,
            self.drop_events,
            self.dns_messages,
            self.export_flows,
            self.export_packets,
            self.export_bytes,
            self.overflow_packets,
            self.portless_fragments,
        ]
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            kernel_packets: self.kernel_packets.saturating_add(other.kernel_packets),
            kernel_bytes: self.kernel_bytes.saturating_add(other.kernel_bytes),
            drop_events: self.drop_events.saturating_add(other.drop_events),
            dns_messages: self.dns_messages.saturating_add(other.dns_messages),
            export_flows: self.export_flows.saturating_add(other.export_flows),
            export_packets: self.export_packets.saturating_add(other.export_packets),
            export_bytes: self.export_bytes.saturating_add(other.export_bytes),
            overflow_packets: self.overflow_packets.saturating_add(other.overflow_packets),
            portless_fragments: self.portless_fragments.saturating_add(other.portless_fragments),
        }
    }

    /// A counter that went back: the agent was restarted.
    pub(super) fn any_below(self, other: Self) -> bool {
        self.each().iter().zip(other.each()).any(|(now, then)| *now < then)
    }
}

impl Totals {
    /// What was lost, stage by stage, in words; empty when nothing was.
    pub fn lost(&self) -> Vec<String> {
        let stages = [
            ("in the kernel", self.losses.kernel_packets, "packets"),
            ("of the drops", self.losses.drop_events, "packets"),
            ("of DNS", self.losses.dns_messages, "messages"),
            ("in the agents' queues", self.losses.export_flows, "flows"),
            ("unreadable", self.malformed_flows, "flows"),
            ("not in the JSON file", self.json_lost, "flows"),
            ("not in the SQLite file", self.sqlite_lost, "flows"),
        ];
        let lost = stages.into_iter().filter(|(_, number, _)| *number > 0);
        let lost = lost.map(|(stage, number, what)| format!("{stage} {} {what}", crate::human::count(number)));
        lost.chain(self.without_agent()).chain(self.killed()).chain(self.unwatched()).collect()
    }

    /// What a killed collector took along, in words; `None` when none was.
    pub fn killed(&self) -> Option<String> {
        match self.collector_kills {
            0 => None,
            1 => Some("in a killed collector up to 1s".into()),
            kills => Some(format!("in a collector that was killed {kills} times up to 1s each")),
        }
    }

    /// The time in which nodes captured nothing, in words; `None` when there was none.
    pub fn without_agent(&self) -> Option<String> {
        let tenths = self.without_agent_ms.div_ceil(100) * 100;
        let time = crate::human::duration(Duration::from_millis(tenths));
        let nodes = if self.without_agent_nodes == 1 { "node" } else { "nodes" };
        (tenths > 0).then(|| format!("without an agent {time} on {} {nodes}", self.without_agent_nodes))
    }

    /// How many interfaces were not watched, in words.
    pub fn unwatched(&self) -> Option<String> {
        let plural = if self.unwatched == 1 { " that was" } else { "s that were" };
        let number = crate::human::count(self.unwatched);
        (self.unwatched > 0).then(|| format!("packets of {number} interface{plural} not watched all the time"))
    }
}
