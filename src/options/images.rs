//! Which images a capture runs: as typed, as set in the environment, or those of this version.

use super::cluster::environment;
use super::{OptionError, did_you_mean, not_allowed};
use crate::cli::{ClusterArgs, ImagesArgs, SourceArgs};
use crate::images::{self as kinds, Images, PullPolicy, PullSecret};
use crate::mirror::Format;
use crate::programs::{Programs, ProgramsError};

pub(super) const COLLECTOR_IMAGE: &str = "NETOBSERV_COLLECTOR_IMAGE";
pub(super) const AGENT_IMAGE: &str = "NETOBSERV_AGENT_IMAGE";
pub(super) const REGISTRY: &str = "NETOBSERV_REGISTRY";

/// What `images` lists, and how.
#[derive(Debug, PartialEq, Eq)]
pub struct ImageList {
    /// Where they are published.
    pub source: Images,
    /// Where a capture takes them from.
    pub used: Images,
    /// The form of the list.
    pub format: Format,
}

/// Checks the words of `images`.
///
/// # Errors
///
/// A value is not allowed, or the form needs a mirror and none is named.
pub fn images_to_list(words: &ImagesArgs) -> Result<ImageList, OptionError> {
    let format = format(words.output.as_deref().unwrap_or("text"))?;
    let registry = words.sources.registry.clone().or_else(|| environment(REGISTRY));
    if format.needs_mirror() && registry.is_none() {
        return Err(OptionError::NoMirror(format.word()));
    }
    let used = sources(&words.sources)?;
    Ok(ImageList { source: named(&words.sources, Images::default())?, used, format })
}

fn format(text: &str) -> Result<Format, OptionError> {
    let names = Format::ALL.map(Format::word);
    let found = Format::ALL.into_iter().find(|format| format.word() == text);
    found
        .ok_or_else(|| not_allowed("output", text, format!("text, json, mirror or idms{}", did_you_mean(text, &names))))
}

/// The images of a capture. What the user names is taken as it is; the registry is that of the other images.
///
/// # Errors
///
/// A value is not allowed.
pub fn sources(words: &SourceArgs) -> Result<Images, OptionError> {
    let registry = words.registry.clone().or_else(|| environment(REGISTRY));
    named(words, registry.map_or_else(|| Ok(Images::default()), in_registry)?)
}

fn named(words: &SourceArgs, mut images: Images) -> Result<Images, OptionError> {
    if let Some(image) = words.collector_image.clone().or_else(|| environment(COLLECTOR_IMAGE)) {
        images.collector = reference("collector-image", image)?;
    }
    if let Some(image) = words.agent_image.clone().or_else(|| environment(AGENT_IMAGE)) {
        images.agent = reference("agent-image", image)?;
    }
    Ok(images)
}

/// The same, with how the cluster gets them.
pub(super) fn images(words: &ClusterArgs) -> Result<Images, OptionError> {
    let mut images = match &words.no_registry {
        Some(image) => Images::bare(reference("no-registry", image.clone())?),
        None => sources(&words.sources)?,
    };
    images.pull_policy = words.image_pull_policy.as_deref().map(pull_policy).transpose()?.or(images.pull_policy);
    images.pull_secret = words.pull_secret.as_deref().map(pull_secret).transpose()?;
    Ok(images)
}

/// Our programs, where the image does not hold them.
pub(super) fn programs(words: &ClusterArgs) -> Result<Option<Programs>, OptionError> {
    if words.no_registry.is_none() {
        return match words.programs {
            Some(_) => Err(OptionError::Needs { option: "programs", other: "no-registry" }),
            None => Ok(None),
        };
    }
    let others = ["collector-image", "agent-image", "registry", "yaml"];
    if let Some(other) = words.typed().into_iter().find(|option| others.contains(option)) {
        return Err(OptionError::Excludes { option: "no-registry", other });
    }
    let path = words.programs.clone().unwrap_or_else(Programs::beside_us);
    let unreadable = |error: ProgramsError| OptionError::Unreadable {
        option: "programs",
        value: path.display().to_string(),
        reason: error.to_string(),
    };
    Programs::open(&path).map(Some).map_err(unreadable)
}

fn in_registry(registry: String) -> Result<Images, OptionError> {
    let good = kinds::is_registry(&registry);
    if good { Ok(Images::in_registry(&registry)) } else { Err(not_allowed("registry", &registry, kinds::MIRROR)) }
}

fn reference(option: &'static str, image: String) -> Result<String, OptionError> {
    if kinds::is_reference(&image) { Ok(image) } else { Err(not_allowed(option, &image, kinds::REFERENCE)) }
}

fn pull_policy(text: &str) -> Result<PullPolicy, OptionError> {
    let all = [PullPolicy::Always, PullPolicy::IfNotPresent, PullPolicy::Never];
    let names = all.map(PullPolicy::word);
    let found = all.into_iter().find(|policy| policy.word().eq_ignore_ascii_case(text));
    let allowed = || format!("Always, IfNotPresent or Never{}", did_you_mean(text, &names));
    found.ok_or_else(|| not_allowed("image-pull-policy", text, allowed()))
}

/// The text of a Docker configuration.
fn pull_secret(path: &str) -> Result<PullSecret, OptionError> {
    let unreadable = |reason| OptionError::Unreadable { option: "pull-secret", value: path.to_owned(), reason };
    let config = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
    let parsed: Result<serde_json::Map<_, _>, _> = serde_json::from_str(&config);
    match parsed {
        Ok(_) => Ok(PullSecret(config)),
        Err(_) => Err(unreadable("is no JSON, as the configuration of a registry's client would be".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_replaces_the_registry() {
        let of = |registry: &str, agent: Option<&str>| {
            let (registry, agent_image) = (Some(registry.into()), agent.map(Into::into));
            sources(&SourceArgs { agent_image, registry, ..SourceArgs::default() }).unwrap()
        };
        let mirrored = of("mirror.local:5000/x/", None);
        assert!(mirrored.agent.starts_with("mirror.local:5000/x/netobserv-rs/"), "{mirrored:?}");
        let named = of("m", Some("a:1"));
        assert!(named.agent == "a:1" && named.collector.starts_with("m/"), "{named:?}");
    }
}
