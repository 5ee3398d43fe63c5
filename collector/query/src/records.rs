//! What flows and packets have, and so what can be asked of them.

use crate::error::QueryError;
use crate::{FieldId, Query, Used};

/// The fields that a packet has, apart from those of names.
const OF_PACKETS: [&str; 25] = [
    "TimeFlowStartMs",
    "TimeFlowEndMs",
    "SrcAddr",
    "DstAddr",
    "SrcPort",
    "DstPort",
    "Proto",
    "Bytes",
    "Packets",
    "Flags",
    "Dscp",
    "IcmpType",
    "IcmpCode",
    "Etype",
    "SrcMac",
    "DstMac",
    "Interface",
    "Interfaces",
    "IfDirection",
    "IfDirections",
    "Sampling",
    "PktDropBytes",
    "PktDropPackets",
    "PktDropLatestFlags",
    "PktDropLatestDropCause",
];

impl Query {
    /// Refuses what a flow does not have, or not yet when it is asked.
    ///
    /// # Errors
    /// The first such thing, with its place.
    pub fn check_flows(&self) -> Result<(), QueryError> {
        self.refuse(|used| match used {
            Used::Vlan => Some("flows do not have the VLAN tags of their packets: vlan works with packets".into()),
            Used::Field(field) if field.name() == "Duplicate" => Some(
                "Duplicate is known only after this: use the view flow_once of the database, or --observations".into(),
            ),
            Used::Field(_) | Used::Name(_) => None,
        })
    }

    /// Refuses what a packet does not have.
    ///
    /// # Errors
    /// The first such thing, with its place.
    pub fn check_packets(&self) -> Result<(), QueryError> {
        self.refuse(|used| match used {
            Used::Field(field) if !is_of_packets(*field) => {
                Some(format!("packets do not have {}: it works with flows", field.name()))
            }
            _ => None,
        })
    }

    /// Whether it asks for fields whose names begin so.
    #[must_use]
    pub fn asks_for(&self, beginnings: &[&str]) -> bool {
        self.used().any(|used| match used {
            Used::Field(field) => beginnings.iter().any(|beginning| field.name().starts_with(beginning)),
            _ => false,
        })
    }

    /// Whether it asks for names that the cluster gives to fields.
    #[must_use]
    pub fn asks_for_names(&self) -> bool {
        self.used().any(|used| matches!(used, Used::Field(field) if is_name(*field)))
    }
}

fn is_of_packets(field: FieldId) -> bool {
    OF_PACKETS.contains(&field.name()) || is_name(field)
}

fn is_name(field: FieldId) -> bool {
    let name = field.name();
    let translated = name.starts_with("Xlat") || name.starts_with("Orig");
    !translated && (name.contains("K8S_") && name != "K8S_ClusterName" || name.ends_with("SubnetLabel"))
}
