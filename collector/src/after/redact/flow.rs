//! A flow without what identifies anything: every field is either kept or replaced, and one that is new has to be added here.

use std::sync::Arc;

use compact_str::CompactString;
use netobserv_wire::Flow;
use netobserv_wire::flow::{
    Conversation, Dns, Drops, Endpoint, Enrichment, Holder, HolderRef, Interface, Ipsec, PipelineMarks, Process,
    Processes, Quic, Ready, Tls, Xlat,
};
use serde_json::{Map, Value as Json};

use super::pseudonym::Pseudonyms;

/// Longest word of a protocol or of the kernel.
const LONGEST: usize = 64;
/// The fields of a network event that are the same in all clusters.
const EVENT_WORDS: [&str; 4] = ["Feature", "Type", "Action", "Direction"];
/// The one field of records of the Go program that decides what counts.
const DUPLICATE: &str = "Duplicate";

impl Pseudonyms {
    /// The same flow with other addresses and names. What no field is known for is left out; its names are returned.
    pub(super) fn flow(&mut self, flow: &mut Flow) -> Vec<String> {
        // Without `..`: what is new must be decided on.
        #[rustfmt::skip]
        let Flow {
            start_ms: _, end_ms: _, received_s: _, bytes: _, packets: _, rtt_ns: _, sampling: _, flags: _, etype: _,
            src_port: _, dst_port: _, proto: _, dscp: _, icmp_type: _, icmp_code: _, duplicate: _,
            src_mac, dst_mac, src_addr, dst_addr, agent_ip, interfaces, dns, drops, xlat, origin, conversation, tls, quic, ipsec,
            network_events, processes, k8s, other,
        } = flow;
        for mac in [src_mac, dst_mac].into_iter().flatten() {
            *mac = self.mac(*mac);
        }
        for address in [src_addr, dst_addr, agent_ip].into_iter().flatten() {
            *address = self.address(*address);
        }
        for Interface { name, udn, direction: _ } in interfaces {
            self.replace([name, udn]);
        }
        if let Some(Conversation { id, from_client: _ }) = conversation {
            *id = Pseudonyms::conversation(self, *id);
        }
        self.protocols(dns.as_deref_mut(), tls.as_deref_mut(), quic.as_deref_mut(), ipsec.as_deref_mut());
        if let Some(Drops { bytes: _, packets: _, flags: _, state, cause, causes }) = drops.as_deref_mut() {
            self.words([state, cause]);
            *causes = self.json(causes, &["Cause"]);
        }
        for tuple in [xlat, origin].into_iter().flatten() {
            self.tuple(tuple);
        }
        if let Some(events) = network_events {
            *events = self.json(events, &EVENT_WORDS);
        }
        if let Some(Processes { src, dst }) = processes.as_deref_mut() {
            for Process { pid: _, comm, cgroup, container } in [src, dst] {
                self.replace([comm, cgroup, container]);
            }
        }
        if let Some(k8s) = k8s {
            self.enrichment(k8s);
        }
        left_out(other)
    }

    fn protocols(
        &mut self,
        dns: Option<&mut Dns>,
        tls: Option<&mut Tls>,
        quic: Option<&mut Quic>,
        ipsec: Option<&mut Ipsec>,
    ) {
        if let Some(dns) = dns {
            #[rustfmt::skip]
            let Dns { errno: _, id: _, flags: _, rcode, latency_ms: _, latency_us: _, latency_last_ms: _, retries: _, name } = dns;
            self.replace([name]);
            self.words([rcode]);
        }
        if let Some(Tls { version, types: _, cipher_suite, group }) = tls {
            self.words([version, cipher_suite, group]);
        }
        if let Some(Quic { version, long_header: _, short_header: _ }) = quic {
            self.words([version]);
        }
        if let Some(Ipsec { ret_code: _, status }) = ipsec {
            self.words([status]);
        }
    }

    fn tuple(&mut self, tuple: &mut Xlat) {
        let Xlat { zone_id: _, icmp_id: _, src_addr, dst_addr, src_port: _, dst_port: _, src, dst } = tuple;
        for address in [src_addr, dst_addr].into_iter().flatten() {
            *address = self.address(*address);
        }
        self.holders([src, dst]);
    }

    fn enrichment(&mut self, k8s: &mut Enrichment) {
        let Enrichment { src, dst, flow_direction: _, layer: _, pipeline } = k8s;
        for Endpoint { holder, subnet } in [src, dst] {
            self.holders([holder]);
            if let Some(label) = subnet {
                *label = Arc::new(self.name(label));
            }
        }
        if let Some(PipelineMarks { cluster, record_type, hash_id }) = pipeline.as_deref_mut() {
            self.replace([cluster, hash_id]);
            self.words([record_type]);
        }
    }

    fn holders<const N: usize>(&mut self, ends: [&mut Option<HolderRef>; N]) {
        for end in ends.into_iter().flatten() {
            let mut holder = Holder::clone(end);
            #[rustfmt::skip]
            let Holder { name, namespace, kind, owner_name, owner_kind, host_ip, host_name, zone, network, ready } = &mut holder;
            self.replace([name, namespace, kind, owner_name, owner_kind, host_name, zone, network]);
            *host_ip = host_ip.map(|address| self.address(address));
            *ready = Ready::default();
            *end = holder.into();
        }
    }

    fn replace<const N: usize>(&mut self, texts: [&mut CompactString; N]) {
        for text in texts {
            *text = self.name(text);
        }
    }

    /// Words of protocols and of the kernel stay. Other texts may be in a file that this program did not write.
    fn words<const N: usize>(&mut self, texts: [&mut CompactString; N]) {
        for text in texts {
            if !is_word(text) {
                *text = self.name(text);
            }
        }
    }

    /// A JSON array of objects, with the numbers in it and the texts of these keys.
    fn json(&mut self, text: &str, words: &[&str]) -> Box<str> {
        if text.is_empty() {
            return text.into();
        }
        let Ok(Json::Array(mut list)) = serde_json::from_str(text) else { return "[]".into() };
        for object in &mut list {
            match object {
                Json::Object(object) => self.object(object, words),
                other => *other = Json::Null,
            }
        }
        Json::Array(list).to_string().into()
    }

    fn object(&mut self, object: &mut Map<String, Json>, words: &[&str]) {
        object.retain(|key, value| is_word(key) && (value.is_number() || value.is_string()));
        for (key, value) in object {
            if let Json::String(text) = value
                && !(words.contains(&key.as_str()) && is_word(text))
            {
                *text = self.name(text).into();
            }
        }
    }
}

fn left_out(other: &mut Option<Box<Map<String, Json>>>) -> Vec<String> {
    let Some(mut fields) = other.take() else { return Vec::new() };
    let duplicate = fields.remove(DUPLICATE).filter(Json::is_boolean);
    *other = duplicate.map(|value| Box::new(Map::from_iter([(DUPLICATE.to_owned(), value)])));
    fields.into_iter().map(|(name, _)| name).collect()
}

fn is_word(text: &str) -> bool {
    text.len() <= LONGEST && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_- ~+().".contains(&byte))
}
