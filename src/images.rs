//! Which images a capture runs, and how a cluster gets them.

/// Registry of the images when no mirror is named.
pub const REGISTRY: &str = "ghcr.io";
/// Their path in a registry: one image holds the collector and the agent.
pub const REPOSITORY: &str = "netobserv-rs/netobserv-cli";

/// The images of a capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Images {
    /// Of the collector's pod.
    pub collector: String,
    /// Of the agents.
    pub agent: String,
    /// When a node asks the registry; `None` = by the tag, each image on its own.
    pub pull_policy: Option<PullPolicy>,
    /// Credentials of the registry.
    pub pull_secret: Option<PullSecret>,
}

impl Default for Images {
    fn default() -> Self {
        let image = format!("{REGISTRY}/{REPOSITORY}:{}", env!("CARGO_PKG_VERSION"));
        Self { collector: image.clone(), agent: image, pull_policy: None, pull_secret: None }
    }
}

impl Images {
    /// When a node asks the registry for the collector's image.
    #[must_use]
    pub fn collector_pull_policy(&self) -> PullPolicy {
        self.pull_policy.unwrap_or_else(|| by_tag(&self.collector))
    }

    /// The same for the agent's.
    #[must_use]
    pub fn agent_pull_policy(&self) -> PullPolicy {
        self.pull_policy.unwrap_or_else(|| by_tag(&self.agent))
    }
}

/// A version or a digest never changes its meaning; `latest`, a branch or nothing may.
fn by_tag(reference: &str) -> PullPolicy {
    let name = reference.rsplit('/').next().unwrap_or(reference);
    let tag = name.split_once(':').map_or("", |(_, tag)| tag);
    let version = tag.strip_prefix('v').unwrap_or(tag).starts_with(|c: char| c.is_ascii_digit());
    if name.contains('@') || version { PullPolicy::IfNotPresent } else { PullPolicy::Always }
}

/// `imagePullPolicy` of Kubernetes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullPolicy {
    /// At each start.
    Always,
    /// Once for each node.
    IfNotPresent,
    /// The image is on the nodes already.
    Never,
}

impl PullPolicy {
    /// As Kubernetes writes it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            PullPolicy::Always => "Always",
            PullPolicy::IfNotPresent => "IfNotPresent",
            PullPolicy::Never => "Never",
        }
    }
}

/// Credentials of a registry.
#[derive(Clone, PartialEq, Eq)]
pub enum PullSecret {
    /// A Secret of the namespace.
    Existing(String),
    /// The text of a Docker configuration file: the capture makes a Secret of it.
    Config(String),
}

impl PullSecret {
    /// Name of the Secret.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            PullSecret::Existing(name) => name,
            PullSecret::Config(_) => "netobserv-cli-pull",
        }
    }
}

/// Never the credentials.
impl std::fmt::Debug for PullSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PullSecret({})", self.name())
    }
}
