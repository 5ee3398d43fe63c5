//! The words of `images` and `version`: what a capture runs, and where it comes from.

use clap::Args;

use super::values::{self, OneOf};

/// Options of `images`, as typed.
#[derive(Debug, Default, Args)]
#[command(args_override_self = true)]
pub struct ImagesArgs {
    /// Format of the list: text, json, mirror (for oc image mirror) or idms (YAML for OpenShift) [default: text]
    #[arg(short = 'o', long = "output", value_name = "FORMAT", value_parser = OneOf(&values::LISTS))]
    pub output: Option<String>,
    /// Which images they are.
    #[command(flatten)]
    pub sources: SourceArgs,
}

/// Options of `version`, as typed.
#[derive(Debug, Default, Args)]
#[command(args_override_self = true)]
pub struct VersionArgs {
    /// Also print the images of a capture
    #[arg(short = 'v', long)]
    pub verbose: bool,
    /// Which images they are.
    #[command(flatten)]
    pub sources: SourceArgs,
}

/// Where the images of a capture come from.
#[derive(Debug, Default, Clone, Args)]
pub struct SourceArgs {
    /// Image of the collector [default: $NETOBSERV_COLLECTOR_IMAGE, or the one of this version]
    #[arg(long = "collector-image", alias = "collector_image", value_name = "IMAGE")]
    pub collector_image: Option<String>,
    /// Image of the agents [default: $NETOBSERV_AGENT_IMAGE, or the one of this version]
    #[arg(long = "agent-image", alias = "agent_image", value_name = "IMAGE")]
    pub agent_image: Option<String>,
    /// Pull the images of this version from this mirror of ghcr.io [default: $NETOBSERV_REGISTRY]
    #[arg(long, value_name = "HOST[/PATH]")]
    pub registry: Option<String>,
}
