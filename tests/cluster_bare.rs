//! A cluster that can pull our image from nowhere: any image with a shell does, and the plugin brings the programs.

mod cluster_world;
mod image_world;

use cluster_world::{Shop, capture, files};
use image_world::archive;
use netobserv_testkit::require_privileged;

/// Any image but ours.
const SHELL: &str = "registry.example.com/tools/shell:9";

/// The static programs of the real image, through shells of another image: the capture is the same, and nothing stays.
#[test]
fn a_capture_without_a_registry() {
    const NAME: &str = "a_capture_without_a_registry";
    require_privileged!();
    let Some(programs) = archive::find(NAME) else { return };
    let shop = Shop::open(2);
    let (image, programs) = (format!("--no-registry={SHELL}"), format!("--programs={}", programs.display()));
    let plugin = capture(&shop, &["flows", "--max-time=6s", "--copy=true", &image, &programs]);
    let done = shop.browse_until_end(plugin);
    assert!(done.success(), "{done}\n{}", shop.cluster.logs());
    let pods = done.stdout.lines().filter(|line| line.starts_with("copying our program to ")).count();
    assert!(pods > 0, "{done}");
    let flows = files(&shop).flows();
    let named = |flow: &&serde_json::Value| flow["SrcK8S_Name"] == "client-1" && flow["DstK8S_Name"] == "server-1";
    for agent in ["10.77.1.1", "10.77.2.1"] {
        let seen = flows.iter().filter(named).any(|flow| flow["AgentIP"] == agent);
        assert!(seen, "not seen on {agent}: {} flows\n{}", flows.len(), shop.cluster.logs());
    }
    assert_eq!(files(&shop).rows(), flows.len() as u64);
    assert_eq!(shop.cluster.left_behind(), Vec::<String>::new());
}

/// A file that is something else is refused before the cluster hears of anything.
#[test]
fn wrong_programs_are_refused_before_the_cluster_is_asked() {
    require_privileged!();
    let shop = Shop::open(1);
    let image = format!("--no-registry={SHELL}");
    for (words, said) in [
        (
            vec!["--programs=/etc/passwd"],
            "--programs=/etc/passwd: this is not the image of the release: it is not a tar archive\n",
        ),
        (vec!["--programs=/nowhere.oci.tar"], "No such file"),
        (vec!["--registry=r.example.com"], "--no-registry cannot be combined with --registry"),
        (vec!["--yaml"], "--no-registry cannot be combined with --yaml"),
    ] {
        let words: Vec<_> = ["flows", &image].into_iter().chain(words).collect();
        let done = shop.cluster.plugin(&words).finish();
        assert!(done.code() == 2 && done.stderr.contains(said), "{words:?}: {done}");
    }
    let alone = shop.cluster.plugin(&["flows", "--programs=/etc/passwd"]).finish();
    assert!(alone.code() == 2 && alone.stderr.contains("--programs requires --no-registry"), "{alone}");
    assert_eq!(shop.cluster.left_behind(), Vec::<String>::new());
}
