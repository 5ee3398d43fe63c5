//! The views that count each packet once: `flow_once` and `conversation`.

/// Name of the IP protocol of a record (IANA numbers).
pub(crate) const PROTOCOL: &str = "CASE Proto WHEN 1 THEN 'ICMP' WHEN 6 THEN 'TCP' WHEN 17 THEN 'UDP' WHEN 58 THEN 'ICMPv6' WHEN 132 THEN 'SCTP' ELSE Proto END";

/// An echo reply that reaches the program which waits for it: the kernel drops its own copy, and nothing is lost.
const HARMLESS: &str = "(Proto, coalesce(IcmpType, -1)) IN (VALUES (1, 0), (58, 129))
    AND PktDropLatestDropCause IN ('SKB_DROP_REASON_NO_SOCKET', 'SKB_DROP_REASON_NOT_SPECIFIED')";

/// Names an end: pod, service or node by what it is called, else a process, else its address.
fn named(names: &str, process: &str, address: &str) -> String {
    format!(
        "coalesce(nullif(ltrim(coalesce({names}Namespace, '') || '/' || coalesce({names}Name, ''), '/'), ''), {process}, {address})"
    )
}

/// The name of the end at one `side` of a record; of the `other` tuple, where the record has one.
fn end_name(side: &str, other: &str) -> String {
    let plain = named(&format!("{side}K8S_"), &format!("{side}Comm"), &format!("{side}Addr"));
    let translated = named(&format!("{other}{side}K8S_"), "NULL", &format!("{other}{side}Addr"));
    format!("CASE WHEN {other}{side}Addr IS NULL THEN {plain} ELSE {translated} END")
}

/// What is known of one end, by the direction of the record: `there` of records that the client sent, `back` of those it got.
fn end(there: &str, back: &str) -> String {
    format!("CASE WHEN coalesce(FromClient, 1) THEN {there} ELSE {back} END")
}

/// Of all records of a conversation, the best that is known: those that show both sides of an address translation come first.
fn best(value: &str) -> String {
    let translated = "XlatDstAddr IS NOT NULL OR OrigDstAddr IS NOT NULL";
    format!("coalesce(max(CASE WHEN {translated} THEN {value} END), max({value}))")
}

/// The client's end, as `part` of a tuple: before translation where that is known.
fn client(part: &str) -> String {
    best(&end(&format!("coalesce(OrigSrc{part}, Src{part})"), &format!("coalesce(OrigDst{part}, Dst{part})")))
}

/// What the client asked for: before translation.
fn asked(part: &str) -> String {
    best(&end(&format!("coalesce(OrigDst{part}, Dst{part})"), &format!("coalesce(OrigSrc{part}, Src{part})")))
}

/// Who answered: after translation.
fn server(part: &str) -> String {
    best(&end(&format!("coalesce(XlatDst{part}, Dst{part})"), &format!("coalesce(XlatSrc{part}, Src{part})")))
}

/// The sum of a column over the records that count, in one direction.
fn sum(column: &str, to_server: bool) -> String {
    let direction = if to_server { "coalesce(FromClient, 1)" } else { "NOT coalesce(FromClient, 1)" };
    format!("coalesce(sum({column}) FILTER (WHERE Duplicate IS NULL AND {direction}), 0)")
}

/// Packets that one node sent and the other did not get; NULL where that is not known.
fn lost(to_server: bool) -> String {
    let way = i32::from(to_server);
    format!(
        "(SELECT max(Sent - Arrived - Unsure, 0) FROM between_nodes WHERE between_nodes.ConversationId = flow.ConversationId
            AND ToServer = {way})"
    )
}

/// The statements that make the views. `flow` is there.
pub(super) fn statements() -> String {
    let client_name = best(&end(&end_name("Src", "Orig"), &end_name("Dst", "Orig")));
    let server_name = best(&end(&end_name("Dst", "Xlat"), &end_name("Src", "Xlat")));
    let service_of =
        |names: &str| format!("CASE WHEN {names}Type = 'Service' THEN {} END", named(names, "NULL", "NULL"));
    let service = best(&end(
        &format!("coalesce({}, {})", service_of("OrigDstK8S_"), service_of("DstK8S_")),
        &format!("coalesce({}, {})", service_of("OrigSrcK8S_"), service_of("SrcK8S_")),
    ));
    format!(
        "CREATE VIEW flow_once AS SELECT * FROM flow WHERE Duplicate IS NULL;
         CREATE VIEW conversation AS SELECT
            ConversationId AS id,
            {client_name} AS client, {server_name} AS server, {service} AS service,
            {PROTOCOL} AS protocol,
            {} AS port, {} AS client_addr, {} AS client_port, {} AS asked_addr, {} AS server_addr, {} AS server_port,
            strftime('%Y-%m-%dT%H:%M:%fZ', min(TimeFlowStartMs) / 1000.0, 'unixepoch') AS start,
            (max(TimeFlowEndMs) - min(TimeFlowStartMs)) / 1000.0 AS duration_s,
            {} AS packets_to_server, {} AS bytes_to_server, {} AS packets_to_client, {} AS bytes_to_client,
            round(avg(TimeFlowRttNs) / 1e6, 3) AS rtt_ms,
            coalesce(sum(PktDropPackets) FILTER (WHERE NOT ({HARMLESS})), 0) AS drops,
            {} AS lost_to_server, {} AS lost_to_client
         FROM flow WHERE ConversationId IS NOT NULL GROUP BY ConversationId;",
        asked("Port"),
        client("Addr"),
        client("Port"),
        asked("Addr"),
        server("Addr"),
        server("Port"),
        sum("Packets", true),
        sum("Bytes", true),
        sum("Packets", false),
        sum("Bytes", false),
        lost(true),
        lost(false),
    )
}
