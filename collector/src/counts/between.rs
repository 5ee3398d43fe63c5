//! What one node sent and the other did not get: the loss on the way between them.

use std::collections::BTreeMap;

use compact_str::CompactString;

/// Packets of one direction of a conversation, as the nodes at its two ends counted them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Between {
    /// Number of the conversation.
    pub conversation: u64,
    /// Whether they go to the server.
    pub to_server: bool,
    /// Node that sent them.
    pub from: CompactString,
    /// Node that they were sent to.
    pub to: CompactString,
    /// Packets that were sent.
    pub sent: u64,
    /// Packets that arrived.
    pub arrived: u64,
    /// So many packets may have been on their way, or in a window of one node only, when the capture ended.
    pub unsure: u64,
}

impl Between {
    /// Packets that were lost for sure.
    pub fn lost(&self) -> u64 {
        self.sent.saturating_sub(self.arrived).saturating_sub(self.unsure)
    }
}

/// Lines for the summary: the pairs of nodes between which packets were lost, the worst first.
pub fn lines(all: &[Between]) -> Vec<String> {
    const MOST: usize = 5;
    let mut pairs = BTreeMap::<_, (u64, u64, bool)>::new();
    for between in all {
        let (sent, lost, exact) = pairs.entry((&between.from, &between.to)).or_insert((0, 0, true));
        let missing = between.lost();
        *sent += between.sent;
        *lost += if missing > 0 { between.sent - between.arrived } else { 0 };
        *exact &= missing == 0 || between.unsure == 0;
    }
    let mut pairs: Vec<_> = pairs.into_iter().filter(|(_, (_, lost, _))| *lost > 0).collect();
    pairs.sort_by_key(|(_, (_, lost, _))| std::cmp::Reverse(*lost));
    let more = pairs.len().saturating_sub(MOST);
    let count = crate::human::count;
    let line = |((from, to), (sent, lost, exact)): (_, (u64, u64, bool))| {
        let about = if exact { "" } else { "about " };
        format!("  lost between nodes: {about}{} of {} packets from {from} to {to}", count(lost), count(sent))
    };
    let lines = pairs.into_iter().take(MOST).map(line);
    lines.chain((more > 0).then(|| format!("  lost between nodes: {more} more pairs of nodes"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_of_nodes_with_losses_are_listed() {
        let between = |from: &str, to: &str, sent, arrived, unsure| Between {
            conversation: 1,
            to_server: true,
            from: from.into(),
            to: to.into(),
            sent,
            arrived,
            unsure,
        };
        let all = [
            between("n1", "n2", 1_000, 950, 0),
            between("n1", "n2", 500, 500, 0),
            between("n2", "n1", 900, 880, 40),
            between("n3", "n1", 900, 300, 40),
            between("n3", "n2", 10, 11, 0),
        ];
        let wanted = [
            "  lost between nodes: about 600 of 900 packets from n3 to n1",
            "  lost between nodes: 50 of 1,500 packets from n1 to n2",
        ];
        assert_eq!(lines(&all), wanted);
    }
}
