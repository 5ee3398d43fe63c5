//! One snapshot for each level and size.

use ratatui::style::Color;

use super::keys::press;
use super::world::World;
use crate::tui::theme::Theme;

const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (200, 60)];

fn snapshot(name: &str, keys: &str) {
    for (width, height) in SIZES {
        let mut world = World::new(width, height);
        press(&mut world, keys);
        insta::assert_snapshot!(format!("{name}_{width}x{height}"), world.draw().0.to_string());
    }
}

#[test]
fn conversations() {
    snapshot("talks", "");
    snapshot("talks_busy", "!/icmp/ Enter 10. Enter > Down Down Tab");
}

#[test]
fn the_packets_of_a_conversation() {
    snapshot("packets", "Enter");
    snapshot("packets_selected", "port:8080 Enter Enter Up Up");
}

#[test]
fn layers_and_bytes() {
    snapshot("packet_http", "port:8080 Enter Enter Home Enter");
    snapshot("packet_dropped", "cause:netfilter Enter Enter Enter");
    snapshot("packet_dns", "proto:udp Enter Enter Enter PgDn");
}

#[test]
fn what_both_ends_sent_as_text() {
    snapshot("stream", "port:8080 Enter C-t");
}

#[test]
fn help_and_nothing() {
    snapshot("help", "?");
    let mut world = World::empty(80, 24);
    insta::assert_snapshot!("empty_80x24", world.draw().0.to_string());
}

const LEVELS: [&str; 3] = ["", "Enter", "Enter Enter"];

#[test]
fn no_level_has_a_colour_without_colours_or_more_than_ascii_without_unicode() {
    for keys in LEVELS {
        let mut world = World::new(120, 40);
        world.app.theme = Theme { colours: false, unicode: false };
        press(&mut world, keys);
        for cell in &world.draw().0.buffer().content {
            assert!(cell.symbol().is_ascii(), "{keys:?}: {}", cell.symbol());
            assert_eq!((cell.fg, cell.bg), (Color::Reset, Color::Reset), "{keys:?}");
        }
    }
}

#[test]
fn any_size_can_be_drawn() {
    for (width, height) in [(1, 1), (10, 3), (79, 2), (80, 8), (300, 100)] {
        for keys in LEVELS {
            let mut world = World::new(width, height);
            press(&mut world, keys);
            press(&mut world, "Down Up PgDn");
            world.draw();
            press(&mut world, "?");
            world.draw();
        }
    }
}
