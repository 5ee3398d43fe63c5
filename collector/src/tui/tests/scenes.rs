//! Every view with the traffic that was recorded (scripts/record-scenes.sh): three scenes of a cluster, and a busy machine.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use netobserv_wire::Flow;
use serde_json::{Map, Value};

use super::world::World;
use crate::tui::keys;
use crate::tui::views::View;

const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (200, 60)];
const SCENES: [&str; 4] = ["policy-drop", "nodejs", "nxdomain", "machine"];

/// The records of a scene, by the second of its capture.
fn records(scene: &str) -> BTreeMap<u64, Vec<Flow>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenes").join(scene).with_extension("json");
    let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let all: Vec<Map<String, Value>> = serde_json::from_slice(&text).expect("an array of flows");
    let flows: Vec<Flow> = all.into_iter().map(|record| Flow::from_map(record, 0)).collect();
    let first = flows.iter().map(|flow| flow.end_ms).min().expect("a flow");
    let mut seconds = BTreeMap::<u64, Vec<Flow>>::new();
    for flow in flows {
        seconds.entry((flow.end_ms - first) / 1_000 + 1).or_default().push(flow);
    }
    seconds
}

/// A screen at the end of a scene.
fn played(scene: &str, (width, height): (u16, u16)) -> World {
    let mut world = World::empty(width, height);
    for (second, mut flows) in records(scene) {
        world.identify(&mut flows);
        world.add(flows, second);
        world.until(Duration::from_secs(second));
    }
    world
}

/// Each line without the blanks at its end.
fn lines(text: &str) -> String {
    text.lines().map(|line| line.trim_matches('"').trim_end().to_owned() + "\n").collect()
}

#[test]
fn every_view_of_the_recorded_scenes() {
    for scene in SCENES {
        for size in SIZES {
            let mut world = played(scene, size);
            let mut text = String::new();
            for view in View::ALL {
                keys::switch_view(&mut world.app, *view);
                text += &lines(&world.text());
            }
            insta::assert_snapshot!(format!("{scene}_{}x{}", size.0, size.1), text);
        }
    }
}
