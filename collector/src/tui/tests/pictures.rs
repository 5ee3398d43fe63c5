//! One snapshot for each view, enrichment and size.

use crossterm::event::{KeyCode, KeyEvent};
use ratatui::style::Color;

use super::world::{World, dropped};
use crate::counts::Losses;
use crate::tui::app::Over;
use crate::tui::keys;
use crate::tui::push::Kernel;
use crate::tui::theme::Theme;
use crate::tui::views::{Group, Names, View};

const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (200, 60)];

fn slug(text: &str) -> String {
    text.to_lowercase().replace([' ', '&'], "-")
}

fn snapshot(name: &str, draw: impl Fn(&mut World)) {
    for (width, height) in SIZES {
        let mut world = World::new(width, height);
        draw(&mut world);
        insta::assert_snapshot!(format!("{name}_{width}x{height}"), world.text());
    }
}

fn press(world: &mut World, code: KeyCode) {
    keys::press(&mut world.app, KeyEvent::from(code), &world.data);
    world.advance(0);
}

#[test]
fn every_view() {
    for view in View::ALL {
        snapshot(&format!("view_{}", slug(view.title())), |world| keys::switch_view(&mut world.app, *view));
    }
}

#[test]
fn every_enrichment() {
    for names in Names::ALL {
        snapshot(&format!("names_{}", slug(names.title())), |world| {
            keys::switch_view(&mut world.app, View::Records);
            world.app.names = Some(*names);
        });
    }
}

#[test]
fn every_grouping_of_top() {
    for group in Group::ALL {
        snapshot(&format!("top_{}", slug(group.title())), |world| {
            keys::switch_view(&mut world.app, View::Top);
            world.app.group = *group;
        });
    }
}

#[test]
fn the_detail_of_a_flow() {
    snapshot("detail", |world| {
        keys::switch_view(&mut world.app, View::Records);
        (0..5).for_each(|_| press(world, KeyCode::Up));
        press(world, KeyCode::Enter);
    });
}

#[test]
fn the_detail_of_a_record_begins_with_what_went_wrong() {
    for (name, view) in [("dropped", View::Drops), ("dns", View::Dns)] {
        snapshot(&format!("detail_{name}"), |world| {
            keys::switch_view(&mut world.app, view);
            world.advance(0);
            press(world, KeyCode::Up);
            press(world, KeyCode::Enter);
        });
    }
}

#[test]
fn what_is_blocked_now_is_above_the_connections() {
    snapshot("blocked", |world| {
        for second in 62..66 {
            world.add(vec![dropped(second)], second);
        }
        world.advance(4_000);
    });
}

#[test]
fn help_lies_over_the_view() {
    snapshot("help", |world| world.app.over = Over::Help);
}

#[test]
fn filters_order_pause_and_losses() {
    snapshot("busy", |world| {
        keys::switch_view(&mut world.app, View::Records);
        world.lose(Losses { kernel_packets: 1_234, export_flows: 5, ..Losses::default() });
        world.app.filters.push(crate::tui::filter::Filter::parse("port:5432"));
        world.app.input = "!/drop(".into();
        keys::sort_by_field(&mut world.app, "Bytes");
        world.advance(0);
        press(world, KeyCode::Down);
    });
}

#[test]
fn a_filter_in_the_kernel() {
    snapshot("pushed", |world| {
        world.app.filters.push(crate::tui::filter::Filter::parse("port:5432"));
        let text = "port:5432".to_owned();
        world.app.shown.kernel = Some(Kernel { text, wanted: true, done: 2, nodes: 3, refused: None });
        world.advance(0);
    });
}

#[test]
fn what_is_captured_by_name() {
    snapshot("selected", |world| {
        world.app.shown.selected = vec!["pod shop/web: 3 addresses on 2 nodes".into()];
        world.advance(0);
    });
}

#[test]
fn nothing_has_come_yet() {
    let mut world = World::empty(80, 24);
    insta::assert_snapshot!("empty_80x24", world.text());
}

#[test]
fn what_went_wrong_is_red_where_colours_are_wanted() {
    let mut world = World::new(120, 40);
    world.lose(Losses { kernel_packets: 1, ..Losses::default() });
    let colour = |world: &mut World| world.draw().0.buffer()[(0, 1)].fg;
    assert_eq!(colour(&mut world), Color::Red);
    world.app.theme.colours = false;
    assert_eq!(colour(&mut world), Color::Reset);
}

#[test]
fn no_view_has_a_colour_without_colours_or_more_than_ascii_without_unicode() {
    for view in View::ALL {
        let mut world = World::new(120, 40);
        world.app.theme = Theme { colours: false, unicode: false };
        keys::switch_view(&mut world.app, *view);
        let (backend, _) = world.draw();
        for cell in &backend.buffer().content {
            assert!(cell.symbol().is_ascii(), "{view:?}: {}", cell.symbol());
            assert_eq!((cell.fg, cell.bg), (Color::Reset, Color::Reset), "{view:?}");
        }
    }
}

#[test]
fn no_view_paints_the_background() {
    for view in View::ALL {
        let mut world = World::new(120, 40);
        keys::switch_view(&mut world.app, *view);
        assert!(world.draw().0.buffer().content.iter().all(|cell| cell.bg == Color::Reset), "{view:?}");
    }
}

#[test]
fn any_size_can_be_drawn() {
    for (width, height) in [(1, 1), (10, 3), (79, 2), (80, 8), (300, 100)] {
        for view in View::ALL {
            let mut world = World::new(width, height);
            keys::switch_view(&mut world.app, *view);
            for over in [Over::Nothing, Over::Help, Over::Detail] {
                world.app.over = over;
                press(&mut world, KeyCode::Up);
                world.draw();
            }
        }
    }
}
