//! The agent serves every setting that the manifests of a cluster give it: the plugin meets the pods there and nowhere else.

use netobserv_agent::settings::{Settings, serves};

const MANIFEST: &str = include_str!("../../../yaml/agents.yml");
/// Blocks of the manifest of which one is left when it is filled.
const KINDS: [&str; 2] = ["flows", "packets"];

/// The manifest as it is for one kind of capture.
fn manifest(kind: &str) -> String {
    let foreign = KINDS.map(|kind| format!("#if {kind}")).into_iter().find(|line| !line.ends_with(kind));
    let mut inside = false;
    let lines = MANIFEST.lines().filter(|line| {
        let line = line.trim();
        inside = if inside { line != "#end" } else { Some(line) == foreign.as_deref() };
        !inside
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Names in capitals with their values: in quotes, plain, or the default of a hole (`${NAME:-"value"}`). A hole without a
/// default is left out, as is what Kubernetes fills in.
fn variables(manifest: &str) -> Vec<(String, Option<String>)> {
    let lines: Vec<&str> = manifest.lines().map(str::trim).collect();
    let names = lines.windows(2).filter_map(|pair| Some((pair[0].strip_prefix("- name: ")?, pair[1])));
    let settings = names.filter(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'));
    settings.map(|(name, next)| (name.to_owned(), next.strip_prefix("value: ").and_then(value))).collect()
}

fn value(text: &str) -> Option<String> {
    let text = match text.strip_prefix("${") {
        Some(hole) => hole.split_once(":-")?.1.strip_suffix('}')?,
        None => text,
    };
    Some(text.trim_matches('"').to_owned())
}

#[test]
fn every_variable_of_the_manifests_is_a_setting() {
    for kind in KINDS {
        let variables = variables(&manifest(kind));
        assert!(variables.len() > 10, "{kind}: {variables:?}");
        assert_eq!(variables.iter().any(|(name, _)| name == "ENABLE_PCA"), kind == "packets");
        for (name, _) in variables {
            assert!(serves(&name), "{kind}: {name}");
        }
    }
}

#[test]
fn the_defaults_of_the_manifests_are_valid() {
    for kind in KINDS {
        let given = variables(&manifest(kind)).into_iter().filter_map(|(name, value)| Some((name, value?)));
        // The hole that has no default; and a packet capture without a filter is refused, as it should be.
        let more = [("TARGET_HOST", "collector.netobserv-cli.svc"), ("FLOW_FILTER_RULES", r#"[{"port":80}]"#)];
        // Both ways to the collector stand in the file; one of them is left when it is filled.
        let one_way = given.filter(|(name, _)| !name.starts_with("TARGET_TLS_"));
        let settings = one_way.chain(more.map(|(name, value)| (name.to_owned(), value.to_owned())));
        if let Err(error) = Settings::read(settings) {
            panic!("{kind}: {error}");
        }
    }
}
