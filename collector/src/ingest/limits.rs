//! What a peer may report of itself and of what it saw: every text and every list has an end, far beyond what an agent needs. A message that
//! goes further is refused as a whole.

use netobserv_wire::netobserv::{PacketBatch, PacketInterface};
use netobserv_wire::pbflow::{AgentStatus, Record};
use prost::bytes::Bytes;
use prost::{DecodeError, Message as _};

use super::decode::count;

/// Longest name of an object in Kubernetes.
const LONGEST_NODE: usize = 253;
const LONGEST_VERSION: usize = 100;
/// Why a filter is not in force, in words; what is longer is cut.
const LONGEST_REASON: usize = 1_000;
/// An encoded status.
const LONGEST_STATUS: usize = 64 << 10;
/// Interfaces that one batch may describe, and the name of one: those of the kernel have 15 bytes, `drop@` and a node more.
const MOST_INTERFACES: usize = 16_384;
const LONGEST_INTERFACE: usize = LONGEST_NODE + 16;
/// Causes that one batch may name. Kernels have some hundred.
const MOST_CAUSES: usize = 4_096;
const LONGEST_CAUSE: usize = 256;
/// Interfaces at which one flow may be seen: a broadcast is seen at all of a bridge.
const MOST_SIGHTINGS: usize = 4_096;
/// Causes and network events of one flow.
const MOST_NOTES: usize = 256;

/// Field numbers of the lists in a `PacketBatch`. An empty entry takes two bytes of a message, and fifty times as much memory.
const INTERFACES: u32 = 3;
const CAUSES: u32 = 4;

/// Why a message is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] DecodeError),
    #[error("{what} may have {most} bytes at most")]
    Long { what: &'static str, most: usize },
    #[error("it may name {most} {what} at most")]
    Many { what: &'static str, most: usize },
    #[error("{0}")]
    Speaker(String),
}

/// Reads what an agent reports about itself.
pub(crate) fn read_status(bytes: &[u8]) -> Result<AgentStatus, Broken> {
    short("what an agent reports about itself", bytes.len(), LONGEST_STATUS)?;
    // An agent of another project may mean something else by this field.
    status(AgentStatus::decode(bytes).ok())
}

/// Looks at what an agent reports about itself.
pub(crate) fn status(status: Option<AgentStatus>) -> Result<AgentStatus, Broken> {
    let mut status = status.unwrap_or_default();
    short("the name of a node", status.node.len(), LONGEST_NODE)?;
    short("a version", status.version.len(), LONGEST_VERSION)?;
    let cut = status.filter_error.floor_char_boundary(LONGEST_REASON);
    status.filter_error.truncate(cut);
    let cut = status.lacking.floor_char_boundary(LONGEST_REASON);
    status.lacking.truncate(cut);
    Ok(status)
}

/// Reads a batch of packets, whose payload is read later.
pub(crate) fn batch(message: Bytes) -> Result<PacketBatch, Broken> {
    few("interfaces", count(&message, INTERFACES)?, MOST_INTERFACES)?;
    few("causes", count(&message, CAUSES)?, MOST_CAUSES)?;
    let batch = PacketBatch::decode(message)?;
    let name = |interface: &PacketInterface| short("the name of an interface", interface.name.len(), LONGEST_INTERFACE);
    batch.interfaces.iter().try_for_each(name)?;
    batch.causes.iter().try_for_each(|cause| short("the name of a cause", cause.len(), LONGEST_CAUSE))?;
    Ok(batch)
}

/// Whether the lists of a record have an end.
pub(crate) fn is_usual(record: &Record) -> bool {
    record.dup_list.len() <= MOST_SIGHTINGS
        && record.network_events_metadata.len() <= MOST_NOTES
        && record.pkt_drop_causes.len() <= MOST_NOTES
}

fn short(what: &'static str, length: usize, most: usize) -> Result<(), Broken> {
    if length <= most { Ok(()) } else { Err(Broken::Long { what, most }) }
}

fn few(what: &'static str, number: usize, most: usize) -> Result<(), Broken> {
    if number <= most { Ok(()) } else { Err(Broken::Many { what, most }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use netobserv_wire::pbflow::DupMapEntry;

    fn said(node: usize, version: usize, reason: usize) -> Vec<u8> {
        let text = |length| "\u{e9}".repeat(length / 2) + if length % 2 == 1 { "x" } else { "" };
        let (node, version, filter_error) = (text(node), text(version), text(reason));
        AgentStatus { node, version, filter_error, ..AgentStatus::default() }.encode_to_vec()
    }

    #[test]
    fn texts_of_an_agent_have_an_end() {
        assert_eq!(read_status(&said(253, 100, 5_000)).unwrap().filter_error.len(), 1_000);
        for (said, why) in [
            (said(254, 1, 0), "the name of a node may have 253 bytes at most"),
            (said(1, 101, 0), "a version may have 100 bytes at most"),
            (said(1, 1, 70_000), "what an agent reports about itself may have 65536 bytes at most"),
        ] {
            assert_eq!(read_status(&said).unwrap_err().to_string(), why);
        }
        assert_eq!(read_status(&[0xff]).unwrap(), AgentStatus::default());
    }

    #[test]
    fn lists_of_a_batch_have_an_end() {
        let read = |interfaces: usize, name: usize, causes: usize, cause: usize| {
            let interface = PacketInterface { name: "x".repeat(name), ..PacketInterface::default() };
            let (interfaces, causes) = (vec![interface; interfaces], vec!["x".repeat(cause); causes]);
            batch(PacketBatch { interfaces, causes, ..PacketBatch::default() }.encode_to_vec().into())
        };
        assert_eq!(read(16_384, 15, 4_096, 40).unwrap().interfaces.len(), 16_384);
        for (refused, why) in [
            (read(16_385, 0, 0, 0), "it may name 16384 interfaces at most"),
            (read(1, 300, 0, 0), "the name of an interface may have 269 bytes at most"),
            (read(0, 0, 4_097, 0), "it may name 4096 causes at most"),
            (read(0, 0, 1, 257), "the name of a cause may have 256 bytes at most"),
        ] {
            assert_eq!(refused.unwrap_err().to_string(), why);
        }
    }

    #[test]
    fn lists_of_a_record_have_an_end() {
        let seen = |number| Record { dup_list: vec![DupMapEntry::default(); number], ..Record::default() };
        assert!(is_usual(&seen(MOST_SIGHTINGS)) && !is_usual(&seen(MOST_SIGHTINGS + 1)));
    }
}
