//! The words that agents and collector share: the protocol, and the flow record with its field table.

mod convert;
pub mod field;
pub mod flow;
mod generic;
pub mod names;
pub mod packet;
mod unwatched;
pub mod value;

pub use convert::address;
pub use field::{FIELDS, Field, GROUPS};
pub use flow::Flow;
pub use packet::Packet;
pub use value::Value;

/// Messages and service of `pbflow`, the protocol of the agents.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub mod pbflow {
    tonic::include_proto!("pbflow");
}

/// Messages and service of `genericmap`, what a flowlogs-pipeline sends.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub mod genericmap {
    tonic::include_proto!("genericmap");
}

/// Messages and service of `netobserv`: packets, in a protocol of this project's own.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub mod netobserv {
    tonic::include_proto!("netobserv");
}
