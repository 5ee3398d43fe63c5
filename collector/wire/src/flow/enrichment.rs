//! What the cluster adds to a flow.

use std::sync::Arc;

use compact_str::CompactString;

use super::{Holder, HolderRef};

/// What the cluster knows of a flow.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Enrichment {
    /// The sender.
    pub src: Endpoint,
    /// The receiver.
    pub dst: Endpoint,
    /// 0 into the node, 1 out of it, 2 within it.
    pub flow_direction: Option<u8>,
    /// Whose traffic it is.
    pub layer: Option<Layer>,
    /// What only a pipeline adds.
    pub pipeline: Option<Box<PipelineMarks>>,
}

/// Whose traffic a flow is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// An end is in a namespace of the user's.
    App,
    /// It is the platform's own.
    Infra,
}

impl Layer {
    /// As files have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Infra => "infra",
        }
    }

    /// By its name.
    pub(crate) fn of(name: &str) -> Option<Self> {
        [Self::App, Self::Infra].into_iter().find(|layer| layer.name() == name)
    }
}

/// What a flowlogs-pipeline adds to a flow and this program does not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PipelineMarks {
    /// Cluster the flow was seen in.
    pub cluster: CompactString,
    /// Kind of record, for pipelines that track connections.
    pub record_type: CompactString,
    /// Connection hash, for pipelines that track connections.
    pub hash_id: CompactString,
}

/// What the cluster knows of one end of a flow.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Endpoint {
    /// Who has the address.
    pub holder: Option<HolderRef>,
    /// Label of the subnet that contains the address.
    pub subnet: Option<Arc<CompactString>>,
}

impl Endpoint {
    /// Who has the address, to be changed.
    pub(crate) fn holder_mut(&mut self) -> &mut Holder {
        self.holder.get_or_insert_default().to_mut()
    }
}
