//! Which images a capture runs, and how a cluster gets them.

use std::sync::LazyLock;

use regex::Regex;

/// Registry of the images when no mirror is named.
pub const REGISTRY: &str = "ghcr.io";
/// Their path in a registry: one image holds the collector and the agent.
pub const REPOSITORY: &str = "netobserv-rs/netobserv-cli";
/// Digest of the image that was released with this plugin; the build of a release sets it.
pub const RELEASED: Option<&str> = option_env!("NETOBSERV_IMAGE_DIGEST");

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
    /// They hold a shell and not our programs, which are handed over to each pod.
    pub bare: bool,
}

impl Default for Images {
    fn default() -> Self {
        Self::in_registry(REGISTRY)
    }
}

impl Images {
    /// The images of this version in another registry: `host`, or `host/path` for a mirror that puts a folder in front.
    #[must_use]
    pub fn in_registry(registry: &str) -> Self {
        let image = format!("{}/{REPOSITORY}:{}", registry.trim_end_matches('/'), env!("CARGO_PKG_VERSION"));
        Self { collector: image.clone(), agent: image, pull_policy: None, pull_secret: None, bare: false }
    }

    /// An image that is on the nodes already, for both.
    #[must_use]
    pub fn bare(image: String) -> Self {
        let pull_policy = Some(PullPolicy::IfNotPresent);
        Self { collector: image.clone(), agent: image, pull_policy, pull_secret: None, bare: true }
    }

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

/// What [`is_reference`] takes, in words.
pub const REFERENCE: &str =
    "an image such as registry.example.com:5000/team/netobserv-cli:1.0 (a lowercase path, then :tag or @digest)";
/// What [`is_registry`] takes, in words.
pub const MIRROR: &str = "a registry such as registry.example.com:5000, or registry.example.com/team";

// The grammar of image references (distribution/reference, also used by every container engine).
const HOST: &str = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?";
const PART: &str = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*";
const TAG: &str = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}";
const DIGEST: &str = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}";
/// Of the path, host included.
const LONGEST: usize = 255;

/// Whether a container engine would understand this as the name of an image.
#[must_use]
pub fn is_reference(text: &str) -> bool {
    static WHOLE: LazyLock<Regex> =
        LazyLock::new(|| pattern(&format!("((?:{HOST}/)?{PART}(?:/{PART})*)(?::{TAG})?(?:@{DIGEST})?")));
    WHOLE.captures(text).is_some_and(|found| found[1].len() <= LONGEST)
}

/// Whether this can stand in front of an image's path.
#[must_use]
pub fn is_registry(text: &str) -> bool {
    static WHOLE: LazyLock<Regex> = LazyLock::new(|| pattern(&format!("{HOST}(?:/{PART})*/?")));
    WHOLE.is_match(text) && text.len() + REPOSITORY.len() < LONGEST
}

/// Matches whole texts only.
fn pattern(text: &str) -> Regex {
    Regex::new(&format!(r"\A(?:{text})\z")).expect("the pattern is constant")
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

/// Credentials of a registry: the text of a Docker configuration file. The capture makes a Secret of it, as its namespace
/// is new and has none.
#[derive(Clone, PartialEq, Eq)]
pub struct PullSecret(pub String);

impl PullSecret {
    /// Name of the Secret.
    pub const NAME: &str = "netobserv-cli-pull";
}

/// Never the credentials.
impl std::fmt::Debug for PullSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PullSecret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn references_are_what_engines_understand() {
        let digest = format!("quay.io/a/b@{DIGEST}");
        let both = format!("localhost:5000/b:1.0@{DIGEST}");
        for good in ["busybox", "a/b", "ghcr.io/a/b:1.0", "h:5000/a__b/c-d.e:v1_x", "[::1]:5000/a", &digest, &both] {
            assert!(is_reference(good), "{good}");
        }
        let long = format!("h.io/{}", "a/".repeat(130) + "b");
        for bad in [
            "",
            " ",
            "a/B",
            "ghcr.io/A",
            "a:",
            "a:b:c",
            "a b",
            "-a",
            "a/",
            "/a",
            "a//b",
            "a@sha256:12",
            "a:1\n",
            "a:$(x)",
            &long,
            "https://ghcr.io/a",
            "h.io/a___b",
        ] {
            assert!(!is_reference(bad), "{bad:?}");
        }
    }

    #[test]
    fn our_own_references_are_good() {
        let ours = Images::default();
        assert!(is_reference(&ours.collector) && is_reference(&ours.agent));
    }

    #[test]
    fn a_mirror_replaces_the_registry_and_keeps_the_path() {
        for (registry, image) in [
            ("mirror.example.com:5000", "mirror.example.com:5000/netobserv-rs/netobserv-cli:"),
            ("mirror.example.com/team/", "mirror.example.com/team/netobserv-rs/netobserv-cli:"),
        ] {
            assert!(is_registry(registry));
            let images = Images::in_registry(registry);
            assert_eq!(images.collector, format!("{image}{}", env!("CARGO_PKG_VERSION")));
            assert!(is_reference(&images.agent));
        }
        for bad in ["", "https://h", "h/A", "h:port", "h /a", "h:5000:a"] {
            assert!(!is_registry(bad), "{bad:?}");
        }
    }

    #[test]
    fn what_never_changes_is_pulled_once() {
        let policy = |image: &str| Images { collector: image.into(), ..Images::default() }.collector_pull_policy();
        for fixed in ["a:1.0", "h:5000/a:v2", &format!("a@{DIGEST}"), &format!("a:main@{DIGEST}")] {
            assert_eq!(policy(fixed), PullPolicy::IfNotPresent, "{fixed}");
        }
        for moving in ["a", "h:5000/a", "a:latest", "h:5000/a:main"] {
            assert_eq!(policy(moving), PullPolicy::Always, "{moving}");
        }
        let forced = Images { pull_policy: Some(PullPolicy::Never), ..Images::default() };
        assert_eq!((forced.agent_pull_policy().word(), forced.collector_pull_policy().word()), ("Never", "Never"));
    }

    #[test]
    fn credentials_are_never_shown() {
        let secret = PullSecret("hidden".into());
        assert_eq!(format!("{secret:?}"), "PullSecret(..)");
    }
}
