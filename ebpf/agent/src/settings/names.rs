//! The names of settings: those that are served, those that are refused, and those that are spelled nearly like one.

use crate::tls;

/// The settings, and what each does: its default in brackets.
const SERVED: &[(&str, &str)] = &[
    ("INTERFACES", "Interfaces to watch, names or /regular expressions/ [all]"),
    ("EXCLUDE_INTERFACES", "Interfaces to leave out [lo]"),
    ("REQUIRE_INTERFACES", "Each interface named in INTERFACES must exist at the start [false]"),
    ("CACHE_ACTIVE_TIMEOUT", "A record is sent for each flow once in this time [1s]"),
    ("CACHE_MAX_FLOWS", "Entries of each flow map in the kernel [50000]"),
    ("SAMPLING", "Look at one packet in so many [1]"),
    ("DIRECTION", "ingress, egress or both [both]"),
    ("TC_ATTACH_MODE", "tcx, tc or any [any]"),
    ("LOG_LEVEL", "trace, debug, info, warn or error [info]"),
    ("TARGET_HOST", "Host of the collector, or unix:/path/of/socket"),
    ("TARGET_PORT", "TCP port of the collector [9999]"),
    ("TARGET_PLAINTEXT", "Send without encryption [false]"),
    ("COLLECTOR_LOST_TIMEOUT", "Capture nothing when the collector has been away for this long [60s]"),
    (tls::CA, "File with the certificate of the CA that the collector must show"),
    (tls::CERTIFICATE, "File with the certificate of this agent"),
    (tls::KEY, "File with its key"),
    ("AGENT_IP", "Address of this agent in the records [found by itself]"),
    ("NODE_NAME", "Name of this node in the records [the name of the host]"),
    ("GRPC_MESSAGE_MAX_FLOWS", "Records of one message [10000]"),
    ("FLOW_FILTER_RULES", "Filter rules, a JSON array; the first that matches decides [keep all]"),
    ("ENABLE_RTT", "Round-trip times of TCP connections; auto: where the kernel can [false]"),
    ("ENABLE_PKT_DROPS", "Packets that the kernel dropped, and why; auto: where the kernel can [false]"),
    ("ENABLE_PROCESS", "Processes at the ends of flows [false]"),
    ("ENABLE_PKT_TRANSLATION", "Addresses before and after translation, and packets counted under one of them [true]"),
    ("ENABLE_DNS_TRACKING", "Latency, response code and name of DNS queries [false]"),
    ("DNS_TRACKING_PORT", "A port of DNS servers, next to 53 [53]"),
    ("STALE_ENTRIES_EVICT_TIMEOUT", "A DNS query is reported as not answered after this time [5s]"),
    ("ENABLE_PCA", "Capture packets instead of flows [false]"),
    ("SNAPLEN", "Bytes of each packet that are kept [whole packets]"),
    ("PCA_ALL", "Capture packets without any filter rule [false]"),
    ("EXPORT", "grpc, the only one [grpc]"),
    ("LISTEN_INTERFACES", "watch, the only one [watch]"),
];

/// Settings of the original that switch on what this agent does not do, with the values that leave it off.
pub(super) const NOT_SERVED: &[(&str, &[&str])] = &[
    ("ENABLE_NETWORK_EVENTS_MONITORING", OFF),
    ("ENABLE_UDN_MAPPING", OFF),
    ("ENABLE_IPSEC_TRACKING", OFF),
    ("ENABLE_OPENSSL_TRACKING", OFF),
    ("ENABLE_TLS_TRACKING", OFF),
    ("QUIC_TRACKING_MODE", &["", "0"]),
    ("METRICS_ENABLE", OFF),
    ("EBPF_PROGRAM_MANAGER_MODE", OFF),
    ("INTERFACE_IPS", &[""]),
    ("AGENT_IP_IFACE", &["", "external"]),
    ("AGENT_IP_TYPE", &["", "any"]),
    ("KAFKA_BROKERS", &[""]),
    ("FLP_CONFIG", &[""]),
    ("PPROF_ADDR", &[""]),
    ("TCX_ATTACH_ANCHOR_INGRESS", &["", "none", "head"]),
    ("TCX_ATTACH_ANCHOR_EGRESS", &["", "none", "head"]),
    ("FLOWS_TARGET_HOST", &[""]),
    ("FLOWS_TARGET_PORT", &[""]),
    ("PCA_SERVER_PORT", &[""]),
];
const OFF: &[&str] = &["", "false", "0"];

/// Whether a variable of this name is a setting.
pub fn serves(name: &str) -> bool {
    SERVED.iter().any(|(setting, _)| *setting == name)
}

/// A line for each setting.
pub fn list() -> String {
    SERVED.iter().fold(String::new(), |text, (name, what)| format!("{text}  {name:<28} {what}\n"))
}

/// The setting that was probably meant by a name one or two letters off.
pub(super) fn misspelt(name: &str) -> Option<&'static str> {
    let mut known = SERVED.iter().map(|(name, _)| *name).chain(NOT_SERVED.iter().map(|(name, _)| *name));
    if name.len() < 8 || known.clone().any(|setting| setting == name) {
        return None;
    }
    known.find(|setting| setting.len() >= 8 && strsim::damerau_levenshtein(setting, name) <= 2)
}
