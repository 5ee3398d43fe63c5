//! The table itself, and how each kind of value is read from a record.

use compact_str::CompactString;

use super::write::{
    holder_of, parse, parse_mac, put, put_ip, put_layer, put_some, put_subnet, put_text, set_directions,
    set_drop_causes, set_duplicate, set_first_direction, set_first_name, set_from_client, set_network_events,
    set_tls_types, texts,
};
use super::{Field, Set};
use crate::flow::{Endpoint, Enrichment, Flow, Holder, HolderRef, Interface, PipelineMarks, Processes, Xlat};
use crate::value::Value;

macro_rules! fields {
    ($($present:expr => { $($name:literal $kind:ident $unit:literal $meaning:literal: $get:expr, $set:expr;)* })*) => {
        /// Numbers of fields in the groups.
        pub(super) const SIZES: &[usize] = &[$([$($name),*].len()),*];

        /// Every field, in the order in which files show them.
        pub static FIELDS: &[Field] = &[$($(
            Field { name: $name, unit: $unit, meaning: $meaning, get: $get, set: Set::$kind($set) },
        )*)*];

        /// Whether a record has some of each group.
        pub(super) const PRESENT: &[fn(&Flow) -> bool] = &[$($present),*];
    };
}

fields! {
    |_| true => {
        "TimeFlowStartMs" Int "ms" "first packet, since 1970":
            |f| nonzero(f.start_ms), |f, v| put(&mut f.start_ms, v);
        "TimeFlowEndMs" Int "ms" "last packet, since 1970":
            |f| nonzero(f.end_ms), |f, v| put(&mut f.end_ms, v);
        "TimeReceived" Int "s" "arrival in the collector, since 1970":
            |f| nonzero(f.received_s), |f, v| put(&mut f.received_s, v);
        "SrcAddr" Text "" "source address":
            |f| ip(f.src_addr), |f, v| parse(&mut f.src_addr, v);
        "SrcPort" Int "" "source port of TCP, UDP, SCTP":
            |f| some(f.src_port), |f, v| put_some(&mut f.src_port, v);
        "DstAddr" Text "" "destination address":
            |f| ip(f.dst_addr), |f, v| parse(&mut f.dst_addr, v);
        "DstPort" Int "" "destination port of TCP, UDP, SCTP":
            |f| some(f.dst_port), |f, v| put_some(&mut f.dst_port, v);
        "Proto" Int "" "IP protocol number":
            |f| some(f.proto), |f, v| put_some(&mut f.proto, v);
        "Bytes" Int "bytes" "bytes seen, L2 header included":
            |f| nonzero(f.bytes), |f, v| put(&mut f.bytes, v);
        "Packets" Int "packets" "packets seen":
            |f| nonzero(f.packets), |f, v| put(&mut f.packets, v);
        "Flags" Int "" "OR of the TCP flags; 256 SYN+ACK, 512 FIN+ACK, 1024 RST+ACK":
            |f| some(f.flags), |f, v| put_some(&mut f.flags, v);
        "Dscp" Int "" "differentiated services code point":
            |f| some(f.dscp), |f, v| put_some(&mut f.dscp, v);
        "IcmpType" Int "" "ICMP or ICMPv6 type":
            |f| some(f.icmp_type), |f, v| put_some(&mut f.icmp_type, v);
        "IcmpCode" Int "" "ICMP or ICMPv6 code":
            |f| some(f.icmp_code), |f, v| put_some(&mut f.icmp_code, v);
        "Etype" Int "" "Ethernet type":
            |f| nonzero(f.etype.into()), |f, v| put(&mut f.etype, v);
        "SrcMac" Text "" "source MAC address":
            |f| mac(f.src_mac), |f, v| parse_mac(&mut f.src_mac, v);
        "DstMac" Text "" "destination MAC address":
            |f| mac(f.dst_mac), |f, v| parse_mac(&mut f.dst_mac, v);
        "Interface" Text "" "interface that counted the flow: the first of Interfaces":
            |f| f.first_interface().map_or(Value::Absent, |i| text(&i.name)), set_first_name;
        "IfDirection" Int "" "direction at that interface: 0 ingress, 1 egress, 3 both":
            |f| some(f.first_interface().map(|i| i.direction)), set_first_direction;
        "Interfaces" List "" "interfaces that saw the flow; `NAME@NAMESPACE` where several network namespaces have one of that name":
            |f| list(&f.interfaces, Value::Names), |f, v| texts(f, v, |i, name| i.name = name);
        "IfDirections" List "" "directions at these interfaces":
            |f| list(&f.interfaces, Value::Directions), set_directions;
        "Udns" List "" "user-defined networks of these interfaces":
            |f| list(&f.interfaces, Value::Udns), |f, v| texts(f, v, |i, name| i.udn = name);
        "AgentIP" Text "" "address of the agent's node":
            |f| ip(f.agent_ip), |f, v| parse(&mut f.agent_ip, v);
        "Sampling" Int "" "one packet in this many was captured":
            |f| nonzero(f.sampling.into()), |f, v| put(&mut f.sampling, v);
        "TimeFlowRttNs" Int "ns" "smoothed TCP round trip time":
            |f| nonzero(f.rtt_ns), |f, v| put(&mut f.rtt_ns, v);
        "NetworkEvents" Json "" "network policy events":
            |f| f.network_events.as_deref().map_or(Value::Absent, Value::Json), set_network_events;
    }

    |f| f.dns.is_some() => {
        "DnsErrno" Int "" "errno of the DNS tracker: 2 no query was seen, 110 no answer":
            |f| some(f.dns.as_ref().map(|d| d.errno)), |f, v| put(&mut f.dns_mut().errno, v);
        "DnsId" Int "" "DNS transaction id":
            |f| some(f.dns.as_ref().and_then(|d| d.id)), |f, v| put_some(&mut f.dns_mut().id, v);
        "DnsFlags" Int "" "DNS flags of the response":
            |f| some(f.dns.as_ref().and_then(|d| d.flags)), |f, v| put_some(&mut f.dns_mut().flags, v);
        "DnsFlagsResponseCode" Text "" "DNS response code":
            |f| f.dns.as_ref().map_or(Value::Absent, |d| text(&d.rcode)), |f, v| put_text(&mut f.dns_mut().rcode, v);
        "DnsLatencyMs" Int "ms" "from the first DNS query to the response, whole milliseconds; absent if not both were seen":
            |f| some(f.dns.as_ref().and_then(|d| d.latency_ms.map(clamp))), |f, v| put_some(&mut f.dns_mut().latency_ms, v);
        "DnsLatencyUs" Int "us" "the same, as exact as it was measured":
            |f| some(f.dns.as_ref().and_then(|d| d.latency_us.map(clamp))), |f, v| put_some(&mut f.dns_mut().latency_us, v);
        "DnsLatencyLastMs" Int "ms" "from the latest of several DNS queries to the response":
            |f| some(f.dns.as_ref().and_then(|d| d.latency_last_ms.map(clamp))), |f, v| put_some(&mut f.dns_mut().latency_last_ms, v);
        "DnsRetries" Int "" "how often the DNS query was asked again":
            |f| some(f.dns.as_ref().and_then(|d| d.retries)), |f, v| put_some(&mut f.dns_mut().retries, v);
        "DnsName" Text "" "name that was asked for":
            |f| f.dns.as_ref().map_or(Value::Absent, |d| text(&d.name)), |f, v| put_text(&mut f.dns_mut().name, v);
    }

    |f| f.drops.is_some() => {
        "PktDropBytes" Int "bytes" "bytes that the kernel dropped":
            |f| some(f.drops.as_ref().map(|d| clamp(d.bytes))), |f, v| put(&mut f.drops_mut().bytes, v);
        "PktDropPackets" Int "packets" "packets that the kernel dropped":
            |f| some(f.drops.as_ref().map(|d| clamp(d.packets))), |f, v| put(&mut f.drops_mut().packets, v);
        "PktDropLatestFlags" Int "" "TCP flags of the last dropped packet":
            |f| some(f.drops.as_ref().map(|d| d.flags)), |f, v| put(&mut f.drops_mut().flags, v);
        "PktDropLatestState" Text "" "TCP state at the last drop":
            |f| f.drops.as_ref().map_or(Value::Absent, |d| text(&d.state)), |f, v| put_text(&mut f.drops_mut().state, v);
        "PktDropLatestDropCause" Text "" "why the last packet was dropped":
            |f| f.drops.as_ref().map_or(Value::Absent, |d| text(&d.cause)), |f, v| put_text(&mut f.drops_mut().cause, v);
        "PktDropCauses" Json "" "every cause with its packets and bytes":
            |f| f.drops.as_ref().map_or(Value::Absent, |d| json(&d.causes)), set_drop_causes;
    }

    |f| f.conversation.is_some() => {
        "ConversationId" Int "" "the same number in all records of a conversation: both directions, before and after address translation, on all nodes":
            |f| nonzero(f.conversation.map_or(0, |c| c.id)), |f, v| put(&mut f.conversation_mut().id, v);
        "FromClient" Int "" "1 when the source opened the conversation, 0 when the destination did":
            |f| some(f.conversation.and_then(|c| c.from_client)), set_from_client;
    }

    |f| f.duplicate.is_some() => {
        "Duplicate" Text "" "the packets are counted in another record. translation: on the same node, under the address before translation; server: this is the server's node, the client's counts; forwarder: seen on the way. Absent: they count here":
            |f| f.duplicate.map_or(Value::Absent, |d| Value::Text(d.name())), set_duplicate;
    }

    |f| f.xlat.is_some() => {
        "ZoneId" Int "" "conntrack zone":
            |f| some(f.xlat.as_ref().map(|x| x.zone_id)), |f, v| put(&mut f.xlat_mut().zone_id, v);
        "XlatIcmpId" Int "" "identifier of ICMP echo messages after translation":
            |f| nonzero(f.xlat.as_ref().map_or(0, |x| x.icmp_id.into())), |f, v| put(&mut f.xlat_mut().icmp_id, v);
        "XlatSrcAddr" Text "" "source address after translation":
            |f| ip(f.xlat.as_ref().and_then(|x| x.src_addr)), |f, v| parse(&mut f.xlat_mut().src_addr, v);
        "XlatSrcPort" Int "" "source port after translation":
            |f| nonzero(f.xlat.as_ref().map_or(0, |x| x.src_port.into())), |f, v| put(&mut f.xlat_mut().src_port, v);
        "XlatDstAddr" Text "" "destination address after translation":
            |f| ip(f.xlat.as_ref().and_then(|x| x.dst_addr)), |f, v| parse(&mut f.xlat_mut().dst_addr, v);
        "XlatDstPort" Int "" "destination port after translation":
            |f| nonzero(f.xlat.as_ref().map_or(0, |x| x.dst_port.into())), |f, v| put(&mut f.xlat_mut().dst_port, v);
        "XlatSrcK8S_Name" Text "" "name of the pod, service or node that has the source address after translation":
            |f| part(&f.xlat, |x| &x.src, |h| &h.name), |f, v| put_text(&mut holder_of(&mut f.xlat_mut().src).name, v);
        "XlatSrcK8S_Namespace" Text "" "its namespace":
            |f| part(&f.xlat, |x| &x.src, |h| &h.namespace), |f, v| put_text(&mut holder_of(&mut f.xlat_mut().src).namespace, v);
        "XlatSrcK8S_Type" Text "" "Pod, Service or Node":
            |f| part(&f.xlat, |x| &x.src, |h| &h.kind), |f, v| put_text(&mut holder_of(&mut f.xlat_mut().src).kind, v);
        "XlatDstK8S_Name" Text "" "name of the pod, service or node that has the destination address after translation":
            |f| part(&f.xlat, |x| &x.dst, |h| &h.name), |f, v| put_text(&mut holder_of(&mut f.xlat_mut().dst).name, v);
        "XlatDstK8S_Namespace" Text "" "its namespace":
            |f| part(&f.xlat, |x| &x.dst, |h| &h.namespace), |f, v| put_text(&mut holder_of(&mut f.xlat_mut().dst).namespace, v);
        "XlatDstK8S_Type" Text "" "Pod, Service or Node":
            |f| part(&f.xlat, |x| &x.dst, |h| &h.kind), |f, v| put_text(&mut holder_of(&mut f.xlat_mut().dst).kind, v);
    }

    |f| f.origin.is_some() => {
        "OrigSrcAddr" Text "" "source address before translation":
            |f| ip(f.origin.as_ref().and_then(|x| x.src_addr)), |f, v| parse(&mut f.origin_mut().src_addr, v);
        "OrigSrcPort" Int "" "source port before translation":
            |f| nonzero(f.origin.as_ref().map_or(0, |x| x.src_port.into())), |f, v| put(&mut f.origin_mut().src_port, v);
        "OrigDstAddr" Text "" "destination address before translation":
            |f| ip(f.origin.as_ref().and_then(|x| x.dst_addr)), |f, v| parse(&mut f.origin_mut().dst_addr, v);
        "OrigDstPort" Int "" "destination port before translation":
            |f| nonzero(f.origin.as_ref().map_or(0, |x| x.dst_port.into())), |f, v| put(&mut f.origin_mut().dst_port, v);
        "OrigSrcK8S_Name" Text "" "name of the pod, service or node that has the source address before translation":
            |f| part(&f.origin, |x| &x.src, |h| &h.name), |f, v| put_text(&mut holder_of(&mut f.origin_mut().src).name, v);
        "OrigSrcK8S_Namespace" Text "" "its namespace":
            |f| part(&f.origin, |x| &x.src, |h| &h.namespace), |f, v| put_text(&mut holder_of(&mut f.origin_mut().src).namespace, v);
        "OrigSrcK8S_Type" Text "" "Pod, Service or Node":
            |f| part(&f.origin, |x| &x.src, |h| &h.kind), |f, v| put_text(&mut holder_of(&mut f.origin_mut().src).kind, v);
        "OrigDstK8S_Name" Text "" "name of the pod, service or node that has the destination address before translation":
            |f| part(&f.origin, |x| &x.dst, |h| &h.name), |f, v| put_text(&mut holder_of(&mut f.origin_mut().dst).name, v);
        "OrigDstK8S_Namespace" Text "" "its namespace":
            |f| part(&f.origin, |x| &x.dst, |h| &h.namespace), |f, v| put_text(&mut holder_of(&mut f.origin_mut().dst).namespace, v);
        "OrigDstK8S_Type" Text "" "Pod, Service or Node":
            |f| part(&f.origin, |x| &x.dst, |h| &h.kind), |f, v| put_text(&mut holder_of(&mut f.origin_mut().dst).kind, v);
    }

    |f| f.tls.is_some() => {
        "TLSVersion" Text "" "TLS version; ~ before it when the two sides differ":
            |f| f.tls.as_ref().map_or(Value::Absent, |t| text(&t.version)), |f, v| put_text(&mut f.tls_mut().version, v);
        "TLSTypes" List "" "kinds of TLS records seen":
            |f| f.tls.as_ref().map_or(Value::Absent, |t| Value::TlsTypes(t.types)), set_tls_types;
        "TLSCipherSuite" Text "" "TLS cipher suite":
            |f| f.tls.as_ref().map_or(Value::Absent, |t| text(&t.cipher_suite)), |f, v| put_text(&mut f.tls_mut().cipher_suite, v);
        "TLSGroup" Text "" "TLS key exchange group":
            |f| f.tls.as_ref().map_or(Value::Absent, |t| text(&t.group)), |f, v| put_text(&mut f.tls_mut().group, v);
    }

    |f| f.quic.is_some() => {
        "QuicVersion" Text "" "QUIC version":
            |f| f.quic.as_ref().map_or(Value::Absent, |q| text(&q.version)), |f, v| put_text(&mut f.quic_mut().version, v);
        "QuicSeenLongHdr" Int "" "1 when a long QUIC header was seen":
            |f| some(f.quic.as_ref().map(|q| q.long_header)), |f, v| put(&mut f.quic_mut().long_header, v);
        "QuicSeenShortHdr" Int "" "1 when a short QUIC header was seen":
            |f| some(f.quic.as_ref().map(|q| q.short_header)), |f, v| put(&mut f.quic_mut().short_header, v);
    }

    |f| f.ipsec.is_some() => {
        "IPSecRetCode" Int "" "return code of the IPsec transform":
            |f| some(f.ipsec.as_ref().and_then(|i| i.ret_code)), |f, v| put_some(&mut f.ipsec_mut().ret_code, v);
        "IPSecStatus" Text "" "success or error":
            |f| f.ipsec.as_ref().map_or(Value::Absent, |i| text(&i.status)), |f, v| put_text(&mut f.ipsec_mut().status, v);
    }

    |f| f.k8s.is_some() => {
        "FlowDirection" Int "" "direction at the node: 0 ingress, 1 egress, 2 inner":
            |f| some(f.k8s.as_ref().and_then(|k| k.flow_direction)), |f, v| put_some(&mut f.k8s_mut().flow_direction, v);
        "SrcK8S_Name" Text "" "name of the source pod, service or node":
            |f| src(f, |h| &h.name), |f, v| put_text(&mut f.k8s_mut().src.holder_mut().name, v);
        "SrcK8S_Namespace" Text "" "its namespace":
            |f| src(f, |h| &h.namespace), |f, v| put_text(&mut f.k8s_mut().src.holder_mut().namespace, v);
        "SrcK8S_Type" Text "" "Pod, Service or Node":
            |f| src(f, |h| &h.kind), |f, v| put_text(&mut f.k8s_mut().src.holder_mut().kind, v);
        "SrcK8S_OwnerName" Text "" "workload that owns it":
            |f| src(f, |h| &h.owner_name), |f, v| put_text(&mut f.k8s_mut().src.holder_mut().owner_name, v);
        "SrcK8S_OwnerType" Text "" "kind of that workload":
            |f| src(f, |h| &h.owner_kind), |f, v| put_text(&mut f.k8s_mut().src.holder_mut().owner_kind, v);
        "SrcK8S_HostIP" Text "" "address of its node":
            |f| ip(holder(f, |k| &k.src).and_then(|h| h.host_ip)), |f, v| put_ip(f, v, |k| &mut k.src);
        "SrcK8S_HostName" Text "" "name of its node":
            |f| src(f, |h| &h.host_name), |f, v| put_text(&mut f.k8s_mut().src.holder_mut().host_name, v);
        "SrcK8S_Zone" Text "" "zone of its node":
            |f| src(f, |h| &h.zone), |f, v| put_text(&mut f.k8s_mut().src.holder_mut().zone, v);
        "SrcK8S_NetworkName" Text "" "primary, or the secondary network":
            |f| src(f, |h| &h.network), |f, v| put_text(&mut f.k8s_mut().src.holder_mut().network, v);
        "SrcSubnetLabel" Text "" "label of the source subnet":
            |f| subnet(f, |k| &k.src), |f, v| put_subnet(&mut f.k8s_mut().src, v);
        "DstK8S_Name" Text "" "name of the destination pod, service or node":
            |f| dst(f, |h| &h.name), |f, v| put_text(&mut f.k8s_mut().dst.holder_mut().name, v);
        "DstK8S_Namespace" Text "" "its namespace":
            |f| dst(f, |h| &h.namespace), |f, v| put_text(&mut f.k8s_mut().dst.holder_mut().namespace, v);
        "DstK8S_Type" Text "" "Pod, Service or Node":
            |f| dst(f, |h| &h.kind), |f, v| put_text(&mut f.k8s_mut().dst.holder_mut().kind, v);
        "DstK8S_OwnerName" Text "" "workload that owns it":
            |f| dst(f, |h| &h.owner_name), |f, v| put_text(&mut f.k8s_mut().dst.holder_mut().owner_name, v);
        "DstK8S_OwnerType" Text "" "kind of that workload":
            |f| dst(f, |h| &h.owner_kind), |f, v| put_text(&mut f.k8s_mut().dst.holder_mut().owner_kind, v);
        "DstK8S_HostIP" Text "" "address of its node":
            |f| ip(holder(f, |k| &k.dst).and_then(|h| h.host_ip)), |f, v| put_ip(f, v, |k| &mut k.dst);
        "DstK8S_HostName" Text "" "name of its node":
            |f| dst(f, |h| &h.host_name), |f, v| put_text(&mut f.k8s_mut().dst.holder_mut().host_name, v);
        "DstK8S_Zone" Text "" "zone of its node":
            |f| dst(f, |h| &h.zone), |f, v| put_text(&mut f.k8s_mut().dst.holder_mut().zone, v);
        "DstK8S_NetworkName" Text "" "primary, or the secondary network":
            |f| dst(f, |h| &h.network), |f, v| put_text(&mut f.k8s_mut().dst.holder_mut().network, v);
        "DstSubnetLabel" Text "" "label of the destination subnet":
            |f| subnet(f, |k| &k.dst), |f, v| put_subnet(&mut f.k8s_mut().dst, v);
        "K8S_FlowLayer" Text "" "app or infra":
            |f| f.k8s.as_ref().and_then(|k| k.layer).map_or(Value::Absent, |layer| Value::Text(layer.name())), put_layer;
    }

    |f| f.k8s.as_ref().is_some_and(|k| k.pipeline.is_some()) => {
        "K8S_ClusterName" Text "" "cluster the flow was seen in":
            |f| mark(f, |m| &m.cluster), |f, v| put_text(&mut f.marks_mut().cluster, v);
        "_RecordType" Text "" "kind of record, where connections are tracked":
            |f| mark(f, |m| &m.record_type), |f, v| put_text(&mut f.marks_mut().record_type, v);
        "_HashId" Text "" "connection hash, where connections are tracked":
            |f| mark(f, |m| &m.hash_id), |f, v| put_text(&mut f.marks_mut().hash_id, v);
    }

    |f| f.processes.is_some() => {
        "SrcPid" Int "" "process that sends":
            |f| process(f, |p| nonzero(p.src.pid.into())), |f, v| put(&mut f.processes_mut().src.pid, v);
        "SrcComm" Text "" "its name":
            |f| process(f, |p| text(&p.src.comm)), |f, v| put_text(&mut f.processes_mut().src.comm, v);
        "SrcCgroup" Text "" "its control group":
            |f| process(f, |p| text(&p.src.cgroup)), |f, v| put_text(&mut f.processes_mut().src.cgroup, v);
        "SrcContainer" Text "" "number of its container":
            |f| process(f, |p| text(&p.src.container)), |f, v| put_text(&mut f.processes_mut().src.container, v);
        "DstPid" Int "" "process that receives":
            |f| process(f, |p| nonzero(p.dst.pid.into())), |f, v| put(&mut f.processes_mut().dst.pid, v);
        "DstComm" Text "" "its name":
            |f| process(f, |p| text(&p.dst.comm)), |f, v| put_text(&mut f.processes_mut().dst.comm, v);
        "DstCgroup" Text "" "its control group":
            |f| process(f, |p| text(&p.dst.cgroup)), |f, v| put_text(&mut f.processes_mut().dst.cgroup, v);
        "DstContainer" Text "" "number of its container":
            |f| process(f, |p| text(&p.dst.container)), |f, v| put_text(&mut f.processes_mut().dst.container, v);
    }
}

// Reading.

fn clamp(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn nonzero<'a>(number: u64) -> Value<'a> {
    if number == 0 { Value::Absent } else { Value::Int(clamp(number)) }
}

fn some<'a>(number: Option<impl Into<i64>>) -> Value<'a> {
    number.map_or(Value::Absent, |number| Value::Int(number.into()))
}

fn text(text: &CompactString) -> Value<'_> {
    if text.is_empty() { Value::Absent } else { Value::Text(text) }
}

fn json(text: &str) -> Value<'_> {
    if text.is_empty() { Value::Absent } else { Value::Json(text) }
}

fn ip<'a>(address: Option<std::net::IpAddr>) -> Value<'a> {
    address.map_or(Value::Absent, Value::Ip)
}

fn mac<'a>(address: Option<crate::flow::Mac>) -> Value<'a> {
    address.map_or(Value::Absent, Value::Mac)
}

fn process(flow: &Flow, part: fn(&Processes) -> Value<'_>) -> Value<'_> {
    flow.processes.as_deref().map_or(Value::Absent, part)
}

fn list<'a>(interfaces: &'a [Interface], part: fn(&'a [Interface]) -> Value<'a>) -> Value<'a> {
    if interfaces.is_empty() { Value::Absent } else { part(interfaces) }
}

fn mark(flow: &Flow, part: fn(&PipelineMarks) -> &CompactString) -> Value<'_> {
    flow.k8s.as_ref().and_then(|k8s| k8s.pipeline.as_ref()).map_or(Value::Absent, |marks| text(part(marks)))
}

fn holder(flow: &Flow, end: fn(&Enrichment) -> &Endpoint) -> Option<&Holder> {
    flow.k8s.as_ref().and_then(|k8s| end(k8s).holder.as_deref())
}

fn src(flow: &Flow, part: fn(&Holder) -> &CompactString) -> Value<'_> {
    holder(flow, |k8s| &k8s.src).map_or(Value::Absent, |holder| text(part(holder)))
}

fn dst(flow: &Flow, part: fn(&Holder) -> &CompactString) -> Value<'_> {
    holder(flow, |k8s| &k8s.dst).map_or(Value::Absent, |holder| text(part(holder)))
}

#[allow(clippy::ref_option, clippy::elidable_lifetime_names)] // Called with fields, in a table.
fn part(
    xlat: &Option<Box<Xlat>>,
    end: fn(&Xlat) -> &Option<HolderRef>,
    part: fn(&Holder) -> &CompactString,
) -> Value<'_> {
    xlat.as_deref().and_then(|xlat| end(xlat).as_deref()).map_or(Value::Absent, |holder| text(part(holder)))
}

fn subnet(flow: &Flow, end: fn(&Enrichment) -> &Endpoint) -> Value<'_> {
    let subnet = flow.k8s.as_ref().and_then(|k8s| end(k8s).subnet.as_deref());
    subnet.map_or(Value::Absent, |subnet| Value::Text(subnet))
}
