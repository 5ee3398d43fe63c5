//! The questions that have a name. What they ask is in docs/queries.md too, for those who want to change it.

/// A question.
pub(super) struct Question {
    /// What it is called.
    pub(super) name: &'static str,
    /// What it answers.
    pub(super) title: &'static str,
    /// The query, without its limit.
    pub(super) sql: &'static str,
}

/// When a ping reply reaches the program that waits for it, the kernel drops its own copy: nothing is lost.
macro_rules! harmless {
    () => {
        "(Cause IN ('SKB_DROP_REASON_NO_SOCKET', 'SKB_DROP_REASON_NOT_SPECIFIED')
            AND IcmpType IS NOT NULL AND (Proto, IcmpType) IN (VALUES (1, 0), (58, 129)))"
    };
}

/// All of them.
pub(super) const QUESTIONS: [Question; 9] = [
    Question {
        name: "top",
        title: "the largest conversations",
        sql: "SELECT client, service, server, port, protocol, bytes_to_server + bytes_to_client AS bytes,
                packets_to_server + packets_to_client AS packets, rtt_ms, drops, round(duration_s, 1) AS seconds
            FROM conversation ORDER BY bytes DESC",
    },
    Question {
        name: "workloads",
        title: "who sends most to whom: by workload, else by process, else by address",
        sql: "SELECT coalesce(SrcK8S_Namespace || '/' || SrcK8S_OwnerName, SrcComm, SrcAddr, SrcMac) AS sender,
                coalesce(DstK8S_Namespace || '/' || DstK8S_OwnerName, DstComm, DstAddr, DstMac) AS receiver,
                sum(Bytes) AS bytes, sum(Packets) AS packets
            FROM flow_once GROUP BY 1, 2 ORDER BY bytes DESC",
    },
    Question {
        name: "drops",
        title: "what was dropped, and why",
        sql: concat!(
            "SELECT coalesce(SrcK8S_Namespace || '/' || SrcK8S_Name, SrcAddr, SrcMac) AS sender,
                coalesce(DstK8S_Namespace || '/' || DstK8S_Name, DstAddr, DstMac) AS receiver, DstPort AS port,
                json_extract(one.value, '$.Cause') AS cause, sum(json_extract(one.value, '$.Packets')) AS packets,
                sum(json_extract(one.value, '$.Bytes')) AS bytes
            FROM (SELECT *, PktDropLatestDropCause AS Cause FROM flow WHERE PktDropPackets > 0) AS dropped,
                json_each(coalesce(PktDropCauses, json_array(
                    json_object('Cause', Cause, 'Packets', PktDropPackets, 'Bytes', PktDropBytes)))) AS one
            WHERE NOT ",
            harmless!(),
            " GROUP BY 1, 2, 3, 4 ORDER BY packets DESC"
        ),
    },
    Question {
        name: "unanswered",
        title: "connection attempts without an answer",
        sql: "SELECT client, server, port, sum(packets_to_server) AS tries, min(start) AS first, max(start) AS last FROM conversation
            WHERE protocol = 'TCP' AND packets_to_client = 0 AND id IN (SELECT ConversationId FROM flow WHERE Proto = 6
                GROUP BY ConversationId HAVING max(Flags & 2) AND NOT max(Flags & 16))
            GROUP BY 1, 2, 3 ORDER BY tries DESC",
    },
    Question {
        name: "dns",
        title: "names that do not resolve, and those that ask for them",
        sql: "SELECT CASE WHEN DnsErrno = 110 THEN coalesce(SrcK8S_Namespace || '/' || SrcK8S_Name, SrcComm, SrcAddr)
                    ELSE coalesce(DstK8S_Namespace || '/' || DstK8S_Name, DstComm, DstAddr) END AS client, DnsName AS name,
                CASE WHEN DnsErrno = 110 THEN 'no answer' ELSE DnsFlagsResponseCode END AS outcome, count(*) AS times
            FROM flow_once WHERE DnsErrno = 110 OR DnsFlagsResponseCode <> 'NoError' GROUP BY 1, 2, 3 ORDER BY times DESC",
    },
    Question {
        name: "slow-dns",
        title: "the slowest DNS answers, by server and name, in milliseconds",
        sql: "SELECT SrcAddr AS server, DnsName AS name, count(*) AS answers, round(avg(us) / 1e3, 3) AS mean_ms, max(us) / 1e3 AS max_ms
            FROM (SELECT *, coalesce(DnsLatencyUs, DnsLatencyMs * 1000) AS us FROM flow_once)
            WHERE us IS NOT NULL GROUP BY 1, 2 ORDER BY max_ms DESC",
    },
    Question {
        name: "slow",
        title: "the longest round trips of TCP, in milliseconds",
        sql: "SELECT client, server, port, round(rtt_ms, 3) AS rtt_ms, packets_to_server + packets_to_client AS packets
            FROM conversation WHERE rtt_ms > 0 ORDER BY rtt_ms DESC",
    },
    Question {
        name: "zones",
        title: "traffic between zones; without zones, between subnets",
        sql: "SELECT coalesce(SrcK8S_Zone, SrcSubnetLabel, rtrim(SrcAddr, '0123456789abcdef')) AS sender,
                coalesce(DstK8S_Zone, DstSubnetLabel, rtrim(DstAddr, '0123456789abcdef')) AS receiver, sum(Bytes) AS bytes
            FROM flow_once WHERE sender <> receiver GROUP BY 1, 2 ORDER BY bytes DESC",
    },
    Question {
        name: "time",
        title: "traffic second by second",
        sql: "SELECT strftime('%Y-%m-%dT%H:%M:%SZ', TimeFlowEndMs / 1000, 'unixepoch') AS second, count(*) AS flows,
                sum(Packets) AS packets, sum(Bytes) AS bytes
            FROM flow_once GROUP BY 1 ORDER BY 1",
    },
];

/// The question of this name.
pub(super) fn find(name: &str) -> Option<&'static Question> {
    QUESTIONS.iter().find(|question| question.name == name)
}

/// The question that is spelled nearly like this.
pub(super) fn similar(name: &str) -> Option<&'static str> {
    let distance = |question: &Question| strsim::damerau_levenshtein(name, question.name);
    QUESTIONS
        .iter()
        .min_by_key(|question| distance(question))
        .filter(|question| distance(question) <= 2)
        .map(|one| one.name)
}
