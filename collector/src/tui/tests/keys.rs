//! Keys and the mouse: before, what was pressed, after.

use crossterm::event::{KeyModifiers, MouseButton, MouseEvent, MouseEventKind};

use super::events;
use super::world::{World, between};
use crate::tui::app::Over;
use crate::tui::keys::{self, Effect};
use crate::tui::mouse::{self, Act};
use crate::tui::push::Kernel;
use crate::tui::views::{Metric, Order, View};

/// Presses keys by name: `a`, `Up`, `C-c`, `S-Right`, `A-3`; `text` in quotes is typed.
fn press(world: &mut World, keys: &str) -> Effect {
    let mut effect = Effect::None;
    for word in keys.split(' ').filter(|word| !word.is_empty()) {
        for key in events(word) {
            effect = keys::press(&mut world.app, key, &world.data);
            world.advance(0);
        }
    }
    effect
}

/// The choices in one line.
fn state(world: &World) -> String {
    let app = &world.app;
    let filters: Vec<_> = app.filters.iter().map(|filter| filter.text.as_str()).collect();
    let mut parts = vec![app.view.title().to_owned(), app.names().title().to_owned()];
    if !app.input.is_empty() || !filters.is_empty() {
        parts.push(format!("{}[{}]", app.input, filters.join(" ")));
    }
    if let Some(sort) = app.sort {
        parts.push(format!("by {}{}", sort.column.title, if sort.descending { " down" } else { " up" }));
    }
    parts.extend(app.cursor.map(|cursor| format!("at {cursor}")));
    parts.extend(app.paused.is_some().then(|| "paused".into()));
    parts.extend(app.path.iter().map(|step| format!("in {}", step.filter.text)));
    parts.extend((app.over != Over::Nothing).then(|| format!("{:?}", app.over)));
    parts.extend(app.most_rows.map(|rows| format!("{rows} rows")));
    parts.join(", ")
}

#[test]
fn each_key_does_what_the_help_says() {
    for (before, keys, after) in [
        ("", "Right", "Problems, Resource"),
        ("", "Left", "Raw, Resource"),
        ("", "Tab Tab", "Drops, Resource"),
        ("", "BackTab BackTab", "All, Resource"),
        ("", "C-d", "Problems, Resource"),
        ("", "4", "DNS, Resource"),
        ("", "A-9", "All, Resource"),
        ("", "0", "Raw, Resource"),
        ("4", "3", "Drops, Resource"),
        ("8", "PgDn", "Records, Subnet"),
        ("8", "PgUp", "Records, Owner"),
        ("8", "C-e C-e C-e", "Records, None"),
        ("", "PgDn", "Connections, Resource"),
        ("", "nodejs", "Connections, Resource, nodejs[]"),
        ("", "/nodejs", "Connections, Resource, nodejs[]"),
        ("", "/10.128", "Connections, Resource, 10.128[]"),
        ("", "/443 Enter", "Connections, Resource, [443]"),
        ("", "/ Esc 3", "Drops, Resource"),
        ("", "/ Back 3", "Drops, Resource"),
        ("", "nodejs Enter tcp", "Connections, Resource, tcp[nodejs]"),
        ("nodejs Enter tcp", "Back Back", "Connections, Resource, t[nodejs]"),
        ("nodejs Enter tcp", "C-u Back", "Connections, Resource"),
        ("nodejs Enter tcp Enter", "Del", "Connections, Resource"),
        ("", "//a(/ Enter", "Connections, Resource, /a(/[]"),
        ("", "/node.*/ Enter", "Connections, Resource, [/node.*/]"),
        ("nodejs", "3?<", "Connections, Resource, nodejs3?<[]"),
        ("nodejs", "Esc", "Connections, Resource"),
        ("8", "Up", "Records, Resource, at 0, paused"),
        ("8", "Up Up Up Down", "Records, Resource, at 1, paused"),
        ("8", "Home", "Records, Resource, at 333, paused"),
        ("8 Home", "End Down", "Records, Resource, at 0, paused"),
        ("8 Up Up", "Esc", "Records, Resource"),
        ("8 Up Up", "1", "Connections, Resource"),
        ("8 Up", "Enter", "Records, Resource, at 0, paused, Detail"),
        ("8", "Enter", "Records, Resource, at 0, paused, Detail"),
        ("8 Up Enter", "Enter", "Records, Resource, at 0, paused"),
        ("8 Up Enter", "Esc Esc", "Records, Resource"),
        ("8", "Space", "Records, Resource, paused"),
        ("8 Space", "Space", "Records, Resource"),
        ("8 Space", "3", "Drops, Resource, paused"),
        ("8", "C-Space", "Records, Resource, paused"),
        ("8", ">", "Records, Resource, by End Time down"),
        ("8", "> >", "Records, Resource, by Src Kind down"),
        ("8", "<", "Records, Resource, by Packets down"),
        ("8 <", ">", "Records, Resource"),
        ("8 <", "C-r", "Records, Resource, by Packets up"),
        ("8 <", "9", "All, Resource, by Packets down"),
        ("8", "-", "Records, Resource, 32 rows"),
        ("8 -", "+", "Records, Resource"),
        ("", "?", "Connections, Resource, Help"),
        ("", "F1", "Connections, Resource, Help"),
        ("?", "x", "Connections, Resource"),
        ("6", "PgDn Down Down", "Top, Resource, at 1"),
        ("7", "Up Enter", "Graph, Resource"),
        (
            "",
            "Down Down Enter",
            "Records, Resource, in sample-app/nodejs-7c9f6d5b8-x2x4p → sample-app/postgresql-0:5432",
        ),
        ("Down Down Enter", "Esc", "Connections, Resource, at 1"),
        (
            "Down Down Enter",
            "Up Esc",
            "Records, Resource, in sample-app/nodejs-7c9f6d5b8-x2x4p → sample-app/postgresql-0:5432",
        ),
        ("", "q x", "Connections, Resource, x[]"),
    ] {
        let mut world = World::new(120, 40);
        press(&mut world, before);
        press(&mut world, keys);
        assert_eq!(state(&world), after, "{before}, then {keys}");
    }
}

#[test]
fn some_keys_reach_beyond_the_state() {
    let mut world = World::new(80, 24);
    assert_eq!(press(&mut world, "C-q"), Effect::Quit);
    assert_eq!(press(&mut world, "C-c"), Effect::Quit);
    assert_eq!(press(&mut world, "C-l"), Effect::Redraw);
    assert_eq!(press(&mut world, "q"), Effect::None);
    assert!(world.text().contains("End the capture"));
    assert_eq!(press(&mut world, "x C-u q Enter"), Effect::Quit);
    assert_eq!(press(&mut world, "q Esc y"), Effect::None, "another key continues");
}

#[test]
fn a_filter_shows_its_rows_at_once() {
    let mut world = World::new(120, 40);
    press(&mut world, "8");
    press(&mut world, "!nodejs");
    assert_eq!((world.app.shown.rows.len(), world.app.shown.matching), (33, 86));
    assert!(!world.text().contains("nodejs-7c9f6d5b8-x2x4p"));
    press(&mut world, "C-u cause:explicit");
    assert_eq!(world.app.shown.matching, 20);
    assert!(world.app.shown.rows.iter().all(|flow| flow.drops.is_some()));
    press(&mut world, "C-u nowhere");
    assert!(world.text().contains("No flow passes the filters"));
}

#[test]
fn a_filter_means_the_same_in_every_view() {
    let mut world = World::new(160, 40);
    press(&mut world, "6 port:5432");
    assert!(!world.app.shown.top.is_empty());
    assert!(world.app.shown.top.iter().all(|row| row.who.contains(":5432")), "{:?}", world.app.shown.top);
    world.app.input = "dst port 1".into();
    assert!(world.text().contains("No conversation passes the filters"), "{}", world.text());
    world.app.input = "pod:nodejs-7 or port:1".into();
    assert!(
        world.text().contains("pod:nodejs-7 is a whole name, pod:nodejs-7* also its beginning"),
        "{}",
        world.text()
    );
    let all = world.app.shown.problems.len();
    press(&mut world, "C-u 2 port:5432");
    assert!(all > 0 && world.app.shown.problems_shown.iter().all(|row| row.which.port == Some(5432)));
    press(&mut world, "C-u port:1");
    assert!(world.app.shown.problems_shown.is_empty());
}

#[test]
fn the_table_is_sorted_and_scrolls_with_the_selection() {
    let mut world = World::new(80, 24);
    press(&mut world, "8");
    press(&mut world, "<");
    let packets: Vec<_> = world.app.shown.rows.iter().map(|flow| flow.packets).collect();
    assert!(packets.is_sorted_by(|a, b| a >= b) && packets[0] == 71, "{packets:?}");
    press(&mut world, "Down Down End");
    assert_eq!(world.app.shown.rows.last().map(|flow| flow.packets), Some(3));
    assert_eq!(world.app.selected().map(|flow| flow.packets), Some(3));
    press(&mut world, "Home");
    assert_eq!((world.app.offset, world.app.selected().map(|flow| flow.packets)), (0, Some(71)));
}

#[test]
fn f_is_for_the_kernel_while_nothing_is_typed() {
    let pushed = || Some(Kernel { text: "tcp".into(), wanted: true, done: 0, nodes: 1, refused: None });
    for (kernel, keys, effect) in [
        (None, "F", Effect::Kernel),
        (None, "a F", Effect::None),
        (None, "a C-f", Effect::Kernel),
        (None, "tcp Enter F", Effect::Kernel),
        (None, "? F", Effect::None),
        (None, "tcp Enter Back", Effect::None),
        (pushed(), "tcp Enter Back", Effect::TakeBack),
        (pushed(), "tcp Enter udp Enter Back", Effect::None),
        (pushed(), "tcp Enter udp Enter Del", Effect::TakeBack),
        (pushed(), "t Back", Effect::TakeBack),
    ] {
        let mut world = World::new(120, 40);
        world.app.shown.kernel = kernel.clone();
        assert_eq!(press(&mut world, keys), effect, "{kernel:?} {keys}");
    }
}

#[test]
fn a_pause_loses_nothing() {
    let mut world = World::new(120, 40);
    press(&mut world, "8");
    press(&mut world, "Space");
    let before = world.app.shown.rows.clone();
    world.add((0..2_000).map(|port| between(0, 1, (port, 80), 70)).collect(), 70);
    world.advance(1_000);
    assert_eq!(world.app.shown.rows, before, "rows stay although they are long gone from what is kept");
    assert!(world.text().contains("PAUSED, 2,000 new"));
    press(&mut world, "Space");
    assert_eq!(world.app.shown.kept, 1_000);
    assert!(world.app.shown.rows.iter().all(|flow| flow.src_port >= Some(1_000)));
}

#[test]
fn every_button_does_something() {
    for view in View::ALL {
        let mut world = World::new(120, 40);
        keys::switch_view(&mut world.app, *view);
        press(&mut world, "tcp Enter -");
        let (_, buttons) = world.draw();
        for (area, act) in buttons.clone() {
            let mut world = World::new(120, 40);
            keys::switch_view(&mut world.app, *view);
            press(&mut world, "tcp Enter -");
            world.draw();
            let before = state(&world) + &format!("{:?} {:?} {:?}", world.app.group, world.app.metric, world.app.order);
            let place = MouseEventKind::Down(MouseButton::Left);
            let click = MouseEvent { kind: place, column: area.x, row: area.y, modifiers: KeyModifiers::NONE };
            mouse::apply(&mut world.app, click, &buttons, &world.data);
            let after = state(&world) + &format!("{:?} {:?} {:?}", world.app.group, world.app.metric, world.app.order);
            let stays = act == Act::View(*view)
                || act == Act::Metric(Metric::Bytes)
                || act == Act::Order(Order::Rate)
                || matches!(act, Act::Names(_) if *view == View::Raw);
            assert_eq!(before == after, stays, "{view:?} {act:?}: {before} -> {after}");
        }
    }
}

#[test]
fn a_second_click_opens_and_the_wheel_scrolls() {
    let mut world = World::new(120, 40);
    press(&mut world, "8");
    let event = |kind, row| MouseEvent { kind, column: 3, row, modifiers: KeyModifiers::NONE };
    let down = MouseEventKind::Down(MouseButton::Left);
    for expected in ["Records, Resource, at 28, paused", "Records, Resource, at 28, paused, Detail"] {
        let (_, buttons) = world.draw();
        mouse::apply(&mut world.app, event(down, 9), &buttons, &world.data);
        assert_eq!(state(&world), expected);
    }
    press(&mut world, "Esc");
    mouse::apply(&mut world.app, event(MouseEventKind::ScrollUp, 9), &Vec::new(), &world.data);
    assert_eq!(state(&world), "Records, Resource, at 31, paused");
}
