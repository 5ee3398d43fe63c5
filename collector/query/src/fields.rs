//! The fields that a query can name. A test of the collector holds this list against the table of the flow record.

/// What a field holds, and so what it can be compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A whole number.
    Number,
    /// A text.
    Text,
    /// A text: an IPv4 or IPv6 address.
    Address,
    /// A text: a MAC address.
    Mac,
    /// A list of texts; a comparison asks for one of them.
    Texts,
    /// A list of whole numbers; a comparison asks for one of them.
    Numbers,
    /// JSON, taken as its text.
    Json,
}

/// Index of a field in [`FIELDS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldId(u16);

impl FieldId {
    /// The field of this name. For constants: a name that is none does not compile.
    pub(crate) const fn of(name: &str) -> Self {
        let mut index = 0;
        while !same(FIELDS[index].0.as_bytes(), name.as_bytes()) {
            index += 1;
        }
        Self(index as u16)
    }

    /// Name of the field.
    pub fn name(self) -> &'static str {
        FIELDS[usize::from(self.0)].0
    }

    /// What it holds.
    pub fn kind(self) -> Kind {
        FIELDS[usize::from(self.0)].1
    }
}

const fn same(one: &[u8], other: &[u8]) -> bool {
    let mut at = 0;
    while at < one.len() && at < other.len() && one[at] == other[at] {
        at += 1;
    }
    at == one.len() && at == other.len()
}

macro_rules! fields {
    ($($kind:ident: $($name:literal)*;)*) => {
        /// Every field, with what it holds.
        pub const FIELDS: &[(&str, Kind)] = &[$($(($name, Kind::$kind),)*)*];
    };
}

fields! {
    Number: "TimeFlowStartMs" "TimeFlowEndMs" "TimeReceived" "SrcPort" "DstPort" "Proto" "Bytes" "Packets" "Flags" "Dscp"
        "IcmpType" "IcmpCode" "Etype" "IfDirection" "Sampling" "TimeFlowRttNs";
    Address: "SrcAddr" "DstAddr" "AgentIP";
    Mac: "SrcMac" "DstMac";
    Text: "Interface";
    Texts: "Interfaces" "Udns";
    Numbers: "IfDirections";
    Json: "NetworkEvents";
    Number: "DnsErrno" "DnsId" "DnsFlags" "DnsLatencyMs" "DnsLatencyUs" "DnsLatencyLastMs" "DnsRetries";
    Text: "DnsFlagsResponseCode" "DnsName";
    Number: "PktDropBytes" "PktDropPackets" "PktDropLatestFlags";
    Text: "PktDropLatestState" "PktDropLatestDropCause";
    Json: "PktDropCauses";
    Number: "ConversationId" "FromClient";
    Text: "Duplicate";
    Number: "ZoneId" "XlatIcmpId" "XlatSrcPort" "XlatDstPort";
    Address: "XlatSrcAddr" "XlatDstAddr";
    Text: "XlatSrcK8S_Name" "XlatSrcK8S_Namespace" "XlatSrcK8S_Type" "XlatDstK8S_Name" "XlatDstK8S_Namespace" "XlatDstK8S_Type";
    Number: "OrigSrcPort" "OrigDstPort";
    Address: "OrigSrcAddr" "OrigDstAddr";
    Text: "OrigSrcK8S_Name" "OrigSrcK8S_Namespace" "OrigSrcK8S_Type" "OrigDstK8S_Name" "OrigDstK8S_Namespace" "OrigDstK8S_Type";
    Text: "TLSVersion" "TLSCipherSuite" "TLSGroup" "QuicVersion";
    Texts: "TLSTypes";
    Number: "QuicSeenLongHdr" "QuicSeenShortHdr" "IPSecRetCode" "FlowDirection" "SrcPid" "DstPid";
    Text: "IPSecStatus" "SrcComm" "SrcCgroup" "SrcContainer" "DstComm" "DstCgroup" "DstContainer"
        "SrcK8S_Name" "SrcK8S_Namespace" "SrcK8S_Type" "SrcK8S_OwnerName" "SrcK8S_OwnerType" "SrcK8S_HostIP" "SrcK8S_HostName"
        "SrcK8S_Zone" "SrcK8S_NetworkName" "SrcSubnetLabel"
        "DstK8S_Name" "DstK8S_Namespace" "DstK8S_Type" "DstK8S_OwnerName" "DstK8S_OwnerType" "DstK8S_HostIP" "DstK8S_HostName"
        "DstK8S_Zone" "DstK8S_NetworkName" "DstSubnetLabel"
        "K8S_FlowLayer" "K8S_ClusterName" "_RecordType" "_HashId";
}

/// The field of this name, in capitals or not.
pub(crate) fn by_name(name: &str) -> Option<FieldId> {
    let index = FIELDS.iter().position(|(field, _)| field.eq_ignore_ascii_case(name));
    index.map(|index| FieldId(index as u16))
}
