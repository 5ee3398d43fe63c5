//! Packets: from the batches of the agents to files that Wireshark opens.
//!
//! [`intake`] takes batches in, bounded by bytes. One thread ([`writer`]) puts the packets of all agents in order
//! ([`window`]), keeps one copy of each ([`once`]), knows where each was seen ([`places`]) and who talks to whom ([`talks`]), and hands them to a format
//! (`sink::pcapng`, `sink::pcap`).

pub mod comment;
pub mod filter;
pub mod headers;
pub mod intake;
pub mod keylog;
pub mod once;
pub mod packet_file;
pub mod places;
pub mod screen;
pub(crate) mod summary;
pub mod talks;
pub mod tally;
pub mod window;
pub mod writer;
