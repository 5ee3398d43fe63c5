//! A cluster on one machine, with nothing between the real plugin, the real collector and the real agents but this:
//! network namespaces as nodes, processes in namespaces of their own as pods, the API server of the enrichment tests as
//! the store of objects, and a program that is called as `oc`.
//!
//! ```text
//!   plugin -> oc (src/oc) -> API server <- kubelet (this process): starts and ends pods
//!                 `--------- exec, logs ---------> pods
//! ```

mod cluster;
mod kubelet;
pub mod oc;
pub mod pod;
pub mod scene;
pub mod world;

pub use cluster::{Cluster, Node, Workload};
