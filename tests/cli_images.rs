//! `images` and `version -v`: what a capture runs, told without a cluster.

mod cli_world;

use cli_world::{Outcome, World};
use serde_json::{Value, json};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What is printed, with no call of `oc`.
#[track_caller]
fn printed(world: &World, words: &[&str]) -> String {
    let outcome = world.run(words);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{words:?}");
    assert_eq!(world.calls(), [""; 0]);
    outcome.stdout
}

fn ours(registry: &str) -> String {
    format!("{registry}/netobserv-rs/netobserv-cli:{VERSION}")
}

#[test]
fn the_text_is_what_a_capture_pulls() {
    let world = World::new();
    assert_eq!(printed(&world, &["images"]), format!("{}\n", ours("ghcr.io")));
    assert_eq!(printed(&world, &["images", "--registry=m.local:5000"]), format!("{}\n", ours("m.local:5000")));
    let world = world.env("NETOBSERV_REGISTRY", "env.local/x").env("NETOBSERV_AGENT_IMAGE", "other/agent:7");
    assert_eq!(printed(&world, &["images"]), format!("{}\nother/agent:7\n", ours("env.local/x")));
}

#[test]
fn the_text_names_the_images_of_the_objects() {
    let world = World::new();
    let image = printed(&world, &["images", "--registry=m.local"]);
    let yaml = printed(&world, &["flows", "--yaml=-", "--registry=m.local"]);
    let used: Vec<&str> = yaml.lines().filter_map(|line| line.trim().strip_prefix("image: ")).collect();
    assert_eq!(used.len(), 2, "{used:?}");
    assert!(used.iter().all(|name| name.trim_matches('"') == image.trim_end()), "{used:?}");
}

#[test]
fn json_says_where_each_image_goes() {
    let told = printed(
        &World::new(),
        &["images", "-o", "json", "--registry=m.local", "--agent-image=a/b@sha256:0123456789abcdef0123456789abcdef"],
    );
    let told: Value = serde_json::from_str(&told).expect("JSON");
    let agent = "a/b@sha256:0123456789abcdef0123456789abcdef";
    let expected = json!({"version": VERSION, "images": [
        {"source": ours("ghcr.io"), "image": ours("m.local"), "usedBy": ["collector"], "digest": null},
        {"source": agent, "image": agent, "usedBy": ["agent"], "digest": "sha256:0123456789abcdef0123456789abcdef"},
    ]});
    assert_eq!(told, expected);
}

#[test]
fn a_mapping_for_oc_image_mirror() {
    let told = printed(&World::new(), &["images", "--output=mirror", "--registry=m.local:5000/team"]);
    assert_eq!(told, format!("{}={}\n", ours("ghcr.io"), ours("m.local:5000/team")));
}

#[test]
fn an_image_digest_mirror_set() {
    let told = printed(&World::new(), &["images", "-o", "idms", "--registry=m.local:5000"]);
    let object: Value = serde_saphyr::from_str(&told).expect("YAML");
    let expected = json!({
        "apiVersion": "config.openshift.io/v1",
        "kind": "ImageDigestMirrorSet",
        "metadata": {"name": "netobserv-cli"},
        "spec": {"imageDigestMirrors": [{
            "source": "ghcr.io/netobserv-rs/netobserv-cli",
            "mirrors": ["m.local:5000/netobserv-rs/netobserv-cli"],
        }]},
    });
    assert_eq!(object, expected);
}

#[test]
fn what_cannot_be_listed_is_refused() {
    for (words, line) in [
        (&["images", "-o", "yaml"][..], "error: --output=yaml is not valid: use text, json, mirror or idms"),
        (
            &["images", "-o", "mirror"],
            "error: -o mirror needs the registry to mirror to: use --registry=HOST[/PATH] as well",
        ),
        (
            &["images", "--registry=https://m"],
            "error: --registry=https://m is not valid: use a registry such as registry.example.com:5000, or \
             registry.example.com/team",
        ),
        (&["images", "x"], "error: unexpected word x: options are written --name=value or --name value"),
    ] {
        let expected = Outcome { stdout: String::new(), stderr: format!("{line}\n"), code: Some(2) };
        assert_eq!(World::new().run(words), expected, "{words:?}");
    }
}

#[test]
fn the_version_with_what_a_capture_runs() {
    let world = World::new();
    let image = ours("ghcr.io");
    let expected = format!("Netobserv CLI version {VERSION}\ncollector: {image}\nagent: {image}\n");
    assert_eq!(printed(&world, &["version", "-v"]), expected);
    let words = ["version", "-v", "--registry=m.local", "--agent-image=a:1"];
    let expected = format!("Netobserv CLI version {VERSION}\ncollector: {}\nagent: a:1\n", ours("m.local"));
    assert_eq!(printed(&world, &words), expected);
}

#[test]
fn the_forms_are_offered() {
    let world = World::new();
    assert_eq!(
        printed(&world, &["__complete", "images", "--output="]),
        "--output=text\n--output=json\n--output=mirror\n--output=idms\n:4\n"
    );
    assert_eq!(printed(&world, &["__complete", "im"]), "images\n:4\n");
}
