//! Keys and the mouse: before, what was pressed, after.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};

use super::world::{World, seen};
use crate::tui::keys::Effect;
use crate::tui::mouse::Act;
use crate::tui::packets::app::Level;
use crate::tui::packets::keys;
use crate::tui::tests::events;

/// Presses keys by name; see [`events`].
pub(super) fn press(world: &mut World, keys: &str) -> Effect {
    let mut effect = Effect::None;
    world.refresh();
    for key in keys.split(' ').filter(|word| !word.is_empty()).flat_map(events) {
        effect = keys::press(&mut world.app, key, &world.data);
        world.refresh();
    }
    effect
}

/// The choices in one line.
fn state(world: &World) -> String {
    let app = &world.app;
    let filters: Vec<_> = app.kept_filters().iter().map(|filter| filter.text.as_str()).collect();
    let mut parts = vec![match &app.level {
        Level::Talks => "talks".to_owned(),
        Level::Packets(_) => "packets".to_owned(),
        Level::Packet(_, kept, scroll) => format!("packet {} +{scroll}", kept.number),
        Level::Stream(_, scroll) => format!("stream +{scroll}"),
    }];
    if !app.input.is_empty() || !filters.is_empty() {
        parts.push(format!("{}[{}]", app.input, filters.join(" ")));
    }
    parts.push(format!("{}{}", app.sort.column.title(), if app.sort.descending { "" } else { " up" }));
    parts.extend(app.list().cursor.map(|cursor| format!("at {cursor} of {}", app.list().len)));
    parts.extend(app.paused.is_some().then(|| "paused".into()));
    parts.extend(app.addresses.then(|| "addresses".into()));
    parts.extend(app.help.then(|| "help".into()));
    parts.join(", ")
}

#[test]
fn each_key_does_what_the_help_says() {
    for (before, keys, after) in [
        ("", "Down", "talks, Bytes, at 0 of 5, paused"),
        ("", "Up", "talks, Bytes, at 0 of 5, paused"),
        ("", "Down Down Down", "talks, Bytes, at 2 of 5, paused"),
        ("", "End", "talks, Bytes, at 4 of 5, paused"),
        ("End", "Home", "talks, Bytes, at 0 of 5, paused"),
        ("Down", "PgDn", "talks, Bytes, at 4 of 5, paused"),
        ("Down", "Esc", "talks, Bytes"),
        ("", "Space", "talks, Bytes, paused"),
        ("Space", "Space", "talks, Bytes"),
        ("", ">", "talks, Sent"),
        ("", "<", "talks, Packets"),
        ("", "C-r", "talks, Bytes up"),
        ("", "Tab", "talks, Bytes, addresses"),
        ("Tab", "BackTab", "talks, Bytes"),
        ("", "nodejs", "talks, nodejs[], Bytes"),
        ("", "nodejs Enter tcp", "talks, tcp[nodejs], Bytes"),
        ("nodejs Enter tcp", "Back Back Back", "talks, [nodejs], Bytes"),
        ("nodejs Enter", "Back", "talks, Bytes"),
        ("nodejs Enter udp Enter", "Del", "talks, Bytes"),
        ("nodejs", "C-u", "talks, Bytes"),
        ("nodejs", "Esc", "talks, Bytes"),
        ("", "/a( Enter", "talks, /a([], Bytes"),
        ("", "?", "talks, Bytes, help"),
        ("", "F1", "talks, Bytes, help"),
        ("?", "x", "talks, Bytes"),
        ("", "Enter", "packets, Bytes"),
        ("", "Right", "packets, Bytes"),
        ("Space", "Enter", "packets, Bytes, paused"),
        ("Enter", "Esc", "talks, Bytes"),
        ("Enter", "Left", "talks, Bytes"),
        ("Enter", "Up", "packets, Bytes, at 120 of 121, paused"),
        ("Enter", "Home", "packets, Bytes, at 0 of 121, paused"),
        ("Enter", "Enter", "packet 364 +0, Bytes, at 120 of 121, paused"),
        ("Enter Home", "Enter Right", "packet 2 +0, Bytes, at 1 of 121, paused"),
        ("Enter Home Enter", "Left", "packet 1 +0, Bytes, at 0 of 121, paused"),
        ("Enter Home Enter", "Down Down Up", "packet 1 +1, Bytes, at 0 of 121, paused"),
        ("Enter Home Enter PgDn", "Home", "packet 1 +0, Bytes, at 0 of 121, paused"),
        ("Enter Home Enter", "Esc", "packets, Bytes, at 0 of 121, paused"),
        ("Enter Home Enter", "Enter", "packets, Bytes, at 0 of 121, paused"),
        ("Enter Home Enter", "text", "packet 1 +0, Bytes, at 0 of 121, paused"),
        ("Enter", "C-t", "stream +0, Bytes"),
        ("", "C-t", "stream +0, Bytes"),
        ("Enter C-t", "Esc", "packets, Bytes"),
        ("Enter Home Enter C-t", "Esc", "packets, Bytes, at 0 of 121, paused"),
        ("Enter", "len Space 800 Enter", "packets, [len 800], Bytes"),
        ("Enter len Space 800 Enter", "Esc", "talks, Bytes"),
        ("Enter Home", "Esc", "talks, Bytes"),
    ] {
        let mut world = World::new(120, 40);
        press(&mut world, before);
        press(&mut world, keys);
        assert_eq!(state(&world), after, "{before:?}, then {keys:?}");
    }
}

#[test]
fn some_keys_have_an_effect_outside() {
    for (keys, wanted) in [("C-c", Effect::Quit), ("C-q", Effect::Quit), ("C-l", Effect::Redraw), ("x", Effect::None)] {
        assert_eq!(press(&mut World::new(120, 40), keys), wanted, "{keys}");
    }
}

#[test]
fn filters_know_the_fields_of_flows_and_what_packets_say() {
    for (filter, talks) in [
        ("nodejs", 3),
        ("!nodejs", 2),
        ("port:5432", 2),
        ("ns:openshift-dns", 1),
        ("cause:netfilter", 1),
        ("if:veth3a", 2),
        ("/icmp|2001/", 1),
        ("192.0.2.", 2),
        ("proto:udp", 1),
    ] {
        let mut world = World::new(120, 40);
        press(&mut world, filter);
        assert_eq!(world.app.list().len, talks, "{filter}");
    }
    let mut world = World::new(120, 40);
    press(&mut world, "port:8080 Enter Enter GET");
    assert_eq!((world.app.list().len, world.app.shown.kept), (60, 120));
}

#[test]
fn a_pause_holds_the_list_still_and_nothing_is_lost() {
    let mut world = World::new(120, 40);
    press(&mut world, "Down");
    let before: Vec<u64> = world.app.shown.talks.iter().map(|talk| talk.flow.packets).collect();
    let frame = netobserv_testkit::Frame::new([2; 6], [4; 6]).ipv4("10.128.2.18", "10.129.0.44").tcp(48_752, 5_432, 24);
    world.add(vec![seen(&frame, 61_000, 0); 3]);
    world.refresh();
    let after: Vec<u64> = world.app.shown.talks.iter().map(|talk| talk.flow.packets).collect();
    assert_eq!((after, world.app.shown.news), (before.clone(), 3));
    press(&mut world, "Esc");
    assert_eq!(world.app.shown.talks[0].flow.packets, before[0] + 3);
}

#[test]
fn the_mouse_does_what_it_points_at() {
    let mut world = World::new(120, 40);
    let click = |world: &mut World, wanted: &Act| {
        let (_, buttons) = world.draw();
        let (area, _) = buttons.iter().find(|(_, act)| act == wanted).expect("a button");
        let event = MouseEvent {
            kind: MouseEventKind::Down(MouseButton::Left),
            column: area.x,
            row: area.y,
            modifiers: KeyModifiers::NONE,
        };
        keys::mouse(&mut world.app, event, &buttons, &world.data);
        world.refresh();
    };
    click(&mut world, &Act::Sort("Packets"));
    click(&mut world, &Act::Sort("Packets"));
    assert_eq!(state(&world), "talks, Packets up");
    click(&mut world, &Act::Line(1));
    click(&mut world, &Act::Line(1));
    assert!(matches!(world.app.level, Level::Packets(_)), "{}", state(&world));
    click(&mut world, &Act::Pause);
    assert!(world.app.paused.is_some());
    click(&mut world, &Act::Close);
    assert!(matches!(world.app.level, Level::Talks));
    keys::press(&mut world.app, KeyEvent::from(KeyCode::Char('x')), &world.data);
}
