//! What has to be in a registry before a capture can run in an air-gapped cluster, in the forms that the tools for
//! mirroring read. No cluster is asked.

use std::fmt::Write as _;

use serde_json::json;

use crate::images::{Images, RELEASED};

/// How the list is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One reference a line.
    Text,
    /// One JSON document.
    Json,
    /// `SOURCE=DESTINATION`, for `oc image mirror --filename`.
    Mirror,
    /// An ImageDigestMirrorSet of OpenShift.
    Idms,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Text, Self::Json, Self::Mirror, Self::Idms];

    /// As it is typed.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
            Self::Mirror => "mirror",
            Self::Idms => "idms",
        }
    }

    /// Makes sense only with a mirror.
    #[must_use]
    pub fn needs_mirror(self) -> bool {
        matches!(self, Self::Mirror | Self::Idms)
    }
}

/// An image to be mirrored.
#[derive(Debug, PartialEq, Eq)]
struct Item<'a> {
    source: &'a str,
    /// Where a capture takes it from.
    used: &'a str,
    uses: Vec<&'static str>,
}

/// The list: `source` names the images where they are published, `used` as a capture with the same options runs them.
#[must_use]
pub fn list(source: &Images, used: &Images, format: Format) -> String {
    let items = items(source, used);
    match format {
        Format::Text => items.iter().map(|item| format!("{}\n", item.used)).collect(),
        Format::Json => as_json(&items),
        Format::Mirror => mapping(&items),
        Format::Idms => digest_mirror_set(&items),
    }
}

/// Each image once: one image may hold both programs.
fn items<'a>(source: &'a Images, used: &'a Images) -> Vec<Item<'a>> {
    let collector = Item { source: &source.collector, used: &used.collector, uses: vec!["collector"] };
    let agent = Item { source: &source.agent, used: &used.agent, uses: vec!["agent"] };
    if (collector.source, collector.used) == (agent.source, agent.used) {
        return vec![Item { uses: vec!["collector", "agent"], ..collector }];
    }
    vec![collector, agent]
}

fn as_json(items: &[Item<'_>]) -> String {
    let image = |item: &Item<'_>| json!({ "source": item.source, "image": item.used, "usedBy": item.uses, "digest": digest(item.source) });
    let images: Vec<_> = items.iter().map(image).collect();
    format!("{:#}\n", json!({ "version": env!("CARGO_PKG_VERSION"), "images": images }))
}

fn mapping(items: &[Item<'_>]) -> String {
    let moved = items.iter().filter(|item| item.source != item.used);
    moved.map(|item| format!("{}={}\n", item.source, item.used)).collect()
}

/// OpenShift follows it only for images that are named by digest.
fn digest_mirror_set(items: &[Item<'_>]) -> String {
    let mut text = "apiVersion: config.openshift.io/v1\nkind: ImageDigestMirrorSet\nmetadata:\n  name: netobserv-cli\n\
                    spec:\n  imageDigestMirrors:\n"
        .to_owned();
    let mut pairs: Vec<_> = items.iter().map(|item| (path(item.source), path(item.used))).collect();
    pairs.dedup();
    for (source, mirror) in pairs.into_iter().filter(|(source, mirror)| source != mirror) {
        let _ = write!(text, "  - source: {source}\n    mirrors:\n    - {mirror}\n");
    }
    text
}

/// A reference without tag and digest.
#[must_use]
pub fn path(reference: &str) -> &str {
    let named = reference.split_once('@').map_or(reference, |(name, _)| name);
    let folder = named.rfind('/').map_or(0, |slash| slash + 1);
    named[folder..].rfind(':').map_or(named, |colon| &named[..folder + colon])
}

/// That of the reference; for the image of this version, that of its release.
#[must_use]
pub fn digest(reference: &str) -> Option<&str> {
    let given = reference.split_once('@').map(|(_, digest)| digest);
    given.or_else(|| RELEASED.filter(|_| reference == Images::default().collector))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(collector: &str, agent: &str) -> Images {
        Images { collector: collector.into(), agent: agent.into(), ..Images::default() }
    }

    #[test]
    fn an_image_with_both_programs_is_listed_once() {
        let ours = Images::default();
        let text = list(&ours, &ours, Format::Text);
        assert_eq!(text, format!("{}\n", ours.collector));
        let two = images("a/c:1", "b/d@sha256:12");
        assert_eq!(list(&two, &two, Format::Text), "a/c:1\nb/d@sha256:12\n");
        assert_eq!(list(&two, &two, Format::Mirror), "");
    }

    #[test]
    fn paths_end_before_the_tag_and_the_digest() {
        for (reference, wanted) in [
            ("ghcr.io/a/b:1.0", "ghcr.io/a/b"),
            ("h:5000/a/b", "h:5000/a/b"),
            ("h:5000/a/b:2@sha256:12", "h:5000/a/b"),
            ("b", "b"),
        ] {
            assert_eq!(path(reference), wanted);
        }
    }

    #[test]
    fn a_mirror_set_names_each_place_once() {
        let source = images("ghcr.io/a/b:1", "ghcr.io/a/b:2");
        let used = images("m:5000/a/b:1", "m:5000/a/b:2");
        let text = list(&source, &used, Format::Idms);
        assert_eq!(text.matches("source: ghcr.io/a/b\n").count(), 1, "{text}");
        assert!(text.ends_with("    mirrors:\n    - m:5000/a/b\n"), "{text}");
        let mapping = list(&source, &used, Format::Mirror);
        assert_eq!(mapping, "ghcr.io/a/b:1=m:5000/a/b:1\nghcr.io/a/b:2=m:5000/a/b:2\n");
    }

    #[test]
    fn a_digest_is_that_of_the_reference() {
        assert_eq!(digest("a@sha256:12"), Some("sha256:12"));
        assert_eq!(digest("a:1"), None);
        assert_eq!(digest(&Images::default().agent), RELEASED);
    }
}
