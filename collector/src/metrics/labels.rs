//! What a flow is counted under.

use compact_str::CompactString;
use netobserv_contract::metrics::Level;
use netobserv_wire::Flow;
use netobserv_wire::flow::{Enrichment, Holder, Side};
use smallvec::SmallVec;

/// Values in the order of the labels.
pub(super) type Values<'a> = SmallVec<[&'a str; 13]>;

/// The two ends of a flow at a level.
pub(super) fn ends(flow: &Flow, level: Level) -> Values<'_> {
    let holder = |side| flow.holder(side).map(|holder| &**holder);
    let pair = |get: fn(&Holder) -> &str| [Side::Src, Side::Dst].map(|side| holder(side).map_or("", get));
    let mut values = Values::new();
    if level == Level::Node {
        values.extend(pair(|holder| &holder.host_name));
        return values;
    }
    values.extend(pair(|holder| &holder.namespace));
    let names = flow.k8s.as_ref();
    values.push(names.and_then(|names| names.layer).map_or("", |layer| layer.name()));
    let subnet = |end: fn(&Enrichment) -> &netobserv_wire::flow::Endpoint| {
        names.and_then(|names| end(names).subnet.as_ref()).map_or("", |subnet| subnet.as_str())
    };
    values.extend([subnet(|names| &names.src), subnet(|names| &names.dst)]);
    if level == Level::Workload {
        values.extend(pair(|holder| &holder.owner_name));
        values.extend(pair(|holder| &holder.owner_kind));
        values.extend(pair(|holder| &holder.kind));
    }
    values
}

/// Labels as a user reads them: `shop/web → shop/db`, and in brackets what is not about the ends.
pub(super) fn shown(labels: &[CompactString], level: Level) -> String {
    let label = |index: usize| labels.get(index).map_or("", CompactString::as_str);
    let first = |names: [&str; 2]| names.into_iter().find(|name| !name.is_empty()).unwrap_or("-").to_owned();
    // Namespaces are followed by the layer and the two subnets, and these by the two owners.
    let end = |side: usize| match (level, label(side), label(5 + side)) {
        (Level::Node, node, _) => first([node, ""]),
        (Level::Workload, namespace, owner) if !namespace.is_empty() => format!("{namespace}/{owner}"),
        (Level::Workload, _, owner) => first([owner, label(3 + side)]),
        (Level::Namespace, namespace, _) => first([namespace, label(3 + side)]),
    };
    let more: Vec<&str> = labels.iter().skip(level.labels().len()).map(CompactString::as_str).collect();
    let more = if more.is_empty() { String::new() } else { format!(" ({})", more.join(", ")) };
    format!("{} → {}{more}", end(0), end(1))
}

/// Whether a flow leaves a node, and whether it arrives at one.
///
/// A conversation is counted at one of its ends only, so that a flow between two nodes does both. Without names, as on a lone
/// machine, the interface that counted it decides.
pub(super) fn directions(flow: &Flow) -> (bool, bool) {
    let Some(names) = &flow.k8s else { return by_interface(flow) };
    let at_node =
        |side| flow.holder(side).is_some_and(|holder| holder.host_ip.is_some() || !holder.host_name.is_empty());
    match (at_node(Side::Src), at_node(Side::Dst), names.flow_direction) {
        (false, false, Some(direction)) => (direction != 0, direction != 1),
        (false, false, None) => by_interface(flow),
        (src, dst, _) => (src, dst),
    }
}

fn by_interface(flow: &Flow) -> (bool, bool) {
    match flow.first_interface().map(|interface| interface.direction) {
        Some(0) => (false, true),
        Some(1) => (true, false),
        Some(_) => (true, true),
        None => (false, false),
    }
}

#[cfg(test)]
mod tests {
    use netobserv_wire::flow::{HolderRef, Interface};

    use super::*;

    fn with(src: Option<&str>, dst: Option<&str>, direction: u8) -> Flow {
        let mut flow = Flow::default();
        flow.interfaces.push(Interface { direction, ..Interface::default() });
        for (side, node) in [(Side::Src, src), (Side::Dst, dst)] {
            let holder = |node: &str| Holder { host_name: node.into(), ..Holder::default() };
            node.into_iter().for_each(|node| flow.set_holder(side, HolderRef::from(holder(node))));
        }
        flow
    }

    #[test]
    fn a_flow_between_nodes_leaves_one_and_arrives_at_the_other() {
        assert_eq!(directions(&with(Some("a"), Some("b"), 1)), (true, true));
        assert_eq!(directions(&with(Some("a"), None, 0)), (true, false));
        assert_eq!(directions(&with(None, Some("b"), 1)), (false, true));
    }

    #[test]
    fn labels_are_shown_as_ends() {
        let shown = |labels: &[&str], level| {
            let labels: Vec<CompactString> = labels.iter().map(|label| CompactString::from(*label)).collect();
            shown(&labels, level)
        };
        assert_eq!(shown(&["n1", ""], Level::Node), "n1 → -");
        assert_eq!(shown(&["shop", "", "app", "", "Machines"], Level::Namespace), "shop → Machines");
        let workload = ["shop", "", "app", "", "", "web", "node1", "Deployment", "Node", "Pod", "Node"];
        assert_eq!(shown(&workload, Level::Workload), "shop/web → node1");
        assert_eq!(
            shown(&[&workload[..], &["TCP_X", "NO_SOCKET"]].concat(), Level::Workload),
            "shop/web → node1 (TCP_X, NO_SOCKET)"
        );
    }

    #[test]
    fn without_names_the_interface_decides() {
        let of = |direction| directions(&with(None, None, direction));
        assert_eq!([of(0), of(1), of(3)], [(false, true), (true, false), (true, true)]);
        let mut named = with(None, None, 1);
        named.k8s = Some(Enrichment { flow_direction: Some(0), ..Enrichment::default() });
        assert_eq!(directions(&named), (false, true));
    }
}
