//! The views, the enrichments, what Top is grouped by and sorted by: names, and what comes after what.

use netobserv_wire::Flow;

use super::columns::{self, Column};

/// Makes an enum with a list of all, titles, and a circle through them.
macro_rules! choices {
    ($(#[$doc:meta])* $name:ident { $($(#[$default:meta])* $choice:ident $title:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub(super) enum $name { $($(#[$default])* $choice,)* }

        impl $name {
            pub(super) const ALL: &[Self] = &[$(Self::$choice),*];

            pub(super) fn title(self) -> &'static str {
                match self { $(Self::$choice => $title),* }
            }

            /// The one that is `steps` further, around the circle.
            pub(super) fn step(self, steps: isize) -> Self {
                let here = Self::ALL.iter().position(|other| *other == self).unwrap_or(0) as isize;
                Self::ALL[(here + steps).rem_euclid(Self::ALL.len() as isize) as usize]
            }
        }
    };
}

choices! {
    /// What fills the screen.
    View {
        #[default] Connections "Connections",
        Problems "Problems",
        Drops "Drops",
        Dns "DNS",
        Rtt "RTT",
        Top "Top",
        Graph "Graph",
        Records "Records",
        All "All",
        Raw "Raw",
    }
}

choices! {
    /// Which names of the two ends the table shows.
    Names {
        None "None",
        Ports "IP & Port",
        Process "Process",
        Zone "Zone",
        Host "Host",
        Namespace "Namespace",
        Owner "Owner",
        #[default] Resource "Resource",
        Subnet "Subnet",
        All "All",
    }
}

choices! {
    /// By what Top groups.
    Group {
        #[default] Server "Client → server",
        Conversation "Conversation",
        Process "Process",
        Service "Service",
        Port "Port",
        Address "Address",
        Pod "Pod",
        Owner "Owner",
        Namespace "Namespace",
        Node "Node",
        Zone "Zone",
    }
}

choices! {
    /// By what Top sorts.
    Metric {
        #[default] Bytes "Bytes",
        Rate "Rate",
        Packets "Packets",
        Drops "Drops",
        DnsErrors "DNS errors",
    }
}

choices! {
    /// By what Connections are ordered.
    Order {
        #[default] Rate "Rate",
        Total "Total",
        Rtt "RTT",
        Drops "Drops",
        Newest "Newest",
    }
}

impl Group {
    /// The one that is `steps` further, of those that are `offered`.
    pub(super) fn next(self, steps: isize, offered: &[Self]) -> Self {
        let mut next = self.step(steps);
        while !offered.contains(&next) && next != self {
            next = next.step(steps.signum());
        }
        next
    }
}

impl View {
    /// Whether it is a table of flows.
    pub(super) fn is_table(self) -> bool {
        !matches!(self, View::Connections | View::Top | View::Problems | View::Graph)
    }

    /// Whether it sums records up, so that Enter on a row leads to the records.
    pub(super) fn is_summary(self) -> bool {
        matches!(self, View::Connections | View::Top | View::Problems)
    }

    /// Whether it shows some records only.
    pub(super) fn is_selective(self) -> bool {
        matches!(self, View::Drops | View::Dns | View::Rtt)
    }

    /// Whether it shows this record.
    pub(super) fn shows(self, flow: &Flow) -> bool {
        match self {
            View::Drops => flow.drops.as_ref().is_some_and(|drops| drops.packets > 0),
            View::Dns => flow.dns.is_some(),
            View::Rtt => flow.rtt_ns > 0,
            _ => true,
        }
    }

    /// The digit that leads here.
    pub(super) fn digit(self) -> usize {
        (Self::ALL.iter().position(|view| *view == self).unwrap_or(0) + 1) % 10
    }

    /// The view of a digit.
    pub(super) fn of_digit(digit: char) -> Option<Self> {
        let number = digit.to_digit(10)? as usize;
        Self::ALL.get((number + 9) % 10).copied()
    }
}

const ADDRESSES: &[&str] = &["SrcAddr", "SrcPort", "DstAddr", "DstPort"];
const PROCESS: &[&str] = &["SrcComm", "SrcPid", "SrcAddr", "SrcPort", "DstComm", "DstPid", "DstAddr", "DstPort"];
const CONTAINER: &[&str] = &["SrcContainer", "SrcCgroup", "DstContainer", "DstCgroup"];
const ZONE: &[&str] = &["SrcK8S_Zone", "DstK8S_Zone"];
const HOST: &[&str] = &["SrcK8S_HostIP", "SrcK8S_HostName", "DstK8S_HostIP", "DstK8S_HostName"];
const NAMESPACE: &[&str] = &["SrcK8S_Namespace", "DstK8S_Namespace"];
const OWNER: &[&str] = &[
    "SrcK8S_OwnerType",
    "SrcK8S_OwnerName",
    "SrcK8S_Namespace",
    "DstK8S_OwnerType",
    "DstK8S_OwnerName",
    "DstK8S_Namespace",
];
const RESOURCE: &[&str] =
    &["SrcK8S_Type", "SrcK8S_Name", "SrcK8S_Namespace", "DstK8S_Type", "DstK8S_Name", "DstK8S_Namespace"];
const SUBNET: &[&str] = &["SrcSubnetLabel", "DstSubnetLabel"];
const NETWORK: &[&str] = &["SrcK8S_NetworkName", "DstK8S_NetworkName"];
const CLUSTER: &[&str] = &["K8S_ClusterName"];
const DIRECTION: &[&str] = &["FlowDirection"];
const PLACES: &[&str] = &["Interfaces", "IfDirections"];
const STANDARD: &[&str] = &["FlowDirection", "Proto", "Dscp", "Bytes", "Packets"];
const DROPS: &[&str] =
    &["PktDropBytes", "PktDropPackets", "PktDropLatestState", "PktDropLatestDropCause", "PktDropLatestFlags"];
const DNS: &[&str] = &["DnsId", "DnsName", "DnsLatencyUs", "DnsFlagsResponseCode", "DnsErrno"];
const RTT: &[&str] = &["TimeFlowRttNs"];
const MORE: &[&str] =
    &["NetworkEvents", "ZoneId", "XlatSrcAddr", "XlatSrcPort", "XlatDstAddr", "XlatDstPort", "Udns", "IPSecStatus"];

impl Names {
    /// The one that is `steps` further; captures of a cluster have no processes.
    pub(super) fn next(self, steps: isize, has_processes: bool) -> Self {
        let next = self.step(steps);
        if next == Self::Process && !has_processes { next.step(steps.signum()) } else { next }
    }

    /// Fields of the two ends, source first. Resource and Owner also have the ports' place when there are no names.
    fn fields(self) -> Vec<&'static str> {
        let parts: &[&[&str]] = match self {
            Names::None | Names::Ports => &[ADDRESSES],
            Names::Process => &[PROCESS, CONTAINER],
            Names::Zone => &[ZONE],
            Names::Host => &[HOST, DIRECTION],
            Names::Namespace => &[NAMESPACE],
            Names::Owner => &[OWNER],
            Names::Resource => &[RESOURCE],
            Names::Subnet => &[SUBNET],
            Names::All => &[CLUSTER, ZONE, HOST, NAMESPACE, OWNER, RESOURCE, SUBNET, NETWORK],
        };
        parts.concat()
    }
}

impl View {
    fn fields(self) -> Vec<&'static str> {
        let parts: &[&[&str]] = match self {
            View::Drops => &[DROPS],
            View::Dns => &[DNS],
            View::Rtt => &[RTT],
            View::All => &[STANDARD, DROPS, DNS, RTT, MORE],
            _ => &[STANDARD],
        };
        parts.concat()
    }
}

/// The columns of a table, from left to right, each once.
pub(super) fn columns(view: View, names: Names) -> Vec<&'static Column> {
    let mut fields = vec!["TimeFlowEndMs"];
    fields.extend(names.fields());
    fields.extend(PLACES);
    fields.extend(view.fields());
    let mut columns: Vec<&'static Column> = Vec::new();
    for column in fields.into_iter().filter_map(columns::by_field) {
        if !columns.iter().any(|there| std::ptr::eq(*there, column)) {
            columns.push(column);
        }
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_every_view_has_a_column() {
        for (view, names) in View::ALL.iter().flat_map(|view| Names::ALL.iter().map(move |names| (*view, *names))) {
            for field in names.fields().into_iter().chain(view.fields()).chain(PLACES.iter().copied()) {
                assert!(columns::by_field(field).is_some(), "{field}");
            }
        }
    }

    #[test]
    fn the_default_table_has_the_columns_of_the_contract() {
        let titles: Vec<_> = columns(View::Records, Names::Resource).iter().map(|column| column.title).collect();
        assert_eq!(
            titles,
            [
                "End Time",
                "Src Kind",
                "Src Name",
                "Src Namespace",
                "Dst Kind",
                "Dst Name",
                "Dst Namespace",
                "Interfaces",
                "Interface Dirs",
                "Node Dir",
                "L3 Protocol",
                "L3 DSCP",
                "Bytes",
                "Packets"
            ]
        );
    }

    #[test]
    fn choices_go_around() {
        assert_eq!((View::Connections.step(-1), View::Raw.step(1)), (View::Raw, View::Connections));
        assert_eq!(
            (View::of_digit('1'), View::of_digit('0'), View::Raw.digit()),
            (Some(View::Connections), Some(View::Raw), 0)
        );
        assert_eq!(Names::Resource.step(1), Names::Subnet);
        assert_eq!([true, false].map(|has| Names::Ports.next(1, has)), [Names::Process, Names::Zone]);
        assert_eq!(Names::Zone.next(-1, false), Names::Ports);
        assert!(View::Raw.is_table() && !View::Top.is_table());
        let offered = [Group::Server, Group::Conversation, Group::Service, Group::Address];
        assert_eq!(Group::Conversation.next(1, &offered), Group::Service);
        assert_eq!(Group::Server.next(-1, &offered), Group::Address);
    }
}
