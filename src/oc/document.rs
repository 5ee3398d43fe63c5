//! An object as it is handed to `oc`.

/// Objects that are made in one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The namespace.
    Namespace,
    /// Service accounts, what they may do, and their secrets.
    Access,
    /// The collector's service.
    Service,
    /// The agents' DaemonSet.
    Agents,
    /// The collector's pod.
    Collector,
}

/// One object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// When it is made.
    pub stage: Stage,
    /// Kubernetes kind.
    pub kind: &'static str,
    /// `metadata.name`.
    pub name: String,
    /// The text, ending with a line break, without `---`.
    pub yaml: String,
}
