//! What the screen reports when it is left: the conversations with the most bytes, and what the kernel dropped, by cause.

use std::time::Duration;

use super::columns::cause;
use super::data::Data;
use super::top;
use super::views::{Group, Metric};
use crate::human;

/// Conversations that are reported.
const CONVERSATIONS: usize = 3;
/// Causes of drops that are reported by name.
const CAUSES: usize = 5;
const TITLE: &str = "Most bytes: ";

/// The lines of the report, with those about problems in their place.
pub(super) fn lines(data: &Data, problems: Vec<String>) -> Vec<String> {
    conversations(data).into_iter().chain(problems).chain(drops(data)).collect()
}

fn conversations(data: &Data) -> Vec<String> {
    let rows = top::rows(&data.connections, Group::Server, Metric::Bytes, Duration::MAX);
    let line = |(index, row): (usize, &top::TopRow)| {
        let (sent, received) = (human::bytes(row.sent), human::bytes(row.received));
        let title = if index == 0 { TITLE } else { "" };
        format!("{title:width$}{}  {sent} to the server, {received} back", row.who, width = TITLE.len())
    };
    rows.iter().take(CONVERSATIONS).enumerate().map(line).collect()
}

fn drops(data: &Data) -> Option<String> {
    let mut causes: Vec<(&str, u64)> = data.causes.iter().collect();
    causes.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    let others: u64 = causes.iter().skip(CAUSES).map(|(_, packets)| packets).sum();
    let named = causes.iter().take(CAUSES).map(|(name, packets)| format!("{} {}", cause(name), human::count(*packets)));
    let others = (others > 0).then(|| format!("others {}", human::count(others)));
    let list = named.chain(others).collect::<Vec<_>>().join(", ");
    (!list.is_empty()).then(|| format!("Dropped packets by cause: {list}"))
}

#[cfg(test)]
mod tests {
    use netobserv_wire::Flow;
    use netobserv_wire::flow::Drops;

    use super::*;

    fn flow(client: u8, bytes: u64) -> Flow {
        Flow {
            src_addr: format!("10.0.0.{client}").parse().ok(),
            dst_addr: "10.0.1.1".parse().ok(),
            src_port: Some(40_000),
            dst_port: Some(443),
            proto: Some(6),
            packets: 1,
            bytes,
            ..Flow::default()
        }
    }

    fn dropped(causes: &str, cause: &str, packets: u64) -> Flow {
        let drops = Drops { packets, cause: cause.into(), causes: causes.into(), ..Drops::default() };
        Flow { drops: Some(Box::new(drops)), ..flow(1, 0) }
    }

    #[test]
    fn conversations_problems_and_drops_in_this_order() {
        let mut data = Data::new(100);
        let causes = r#"[{"Cause":"SKB_DROP_REASON_NETFILTER_DROP","Packets":2},{"Cause":"NO_SOCKET","Packets":1}]"#;
        let rows = vec![
            flow(1, 10),
            flow(2, 2_000),
            flow(3, 30),
            flow(4, 40),
            dropped(causes, "NO_SOCKET", 3),
            dropped("", "SKB_DROP_REASON_NETFILTER_DROP", 30),
        ];
        data.add(rows.into(), Duration::ZERO);
        assert_eq!(
            lines(&data, vec!["What went wrong:".into(), "  All of it.".into()]),
            [
                "Most bytes: 10.0.0.2 → 10.0.1.1:443 TCP  2KB to the server, 0B back",
                "            10.0.0.4 → 10.0.1.1:443 TCP  40B to the server, 0B back",
                "            10.0.0.3 → 10.0.1.1:443 TCP  30B to the server, 0B back",
                "What went wrong:",
                "  All of it.",
                "Dropped packets by cause: NETFILTER_DROP 32, NO_SOCKET 1",
            ]
        );
        assert!(lines(&Data::new(1), Vec::new()).is_empty(), "an idle capture has nothing to report");
    }
}
