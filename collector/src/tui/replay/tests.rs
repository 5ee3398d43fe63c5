//! The time axis as it is drawn, and keys.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use netobserv_explain::traffic::Watch;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::clock::Clock;
use super::{Left, Replayed, Shared};
use crate::tui::app::Facts;
use crate::tui::data::Data;
use crate::tui::scene::{Scene, locked};
use crate::tui::theme::Theme;

/// 2024-03-06T16:18:20Z, and a minute later.
const FROM: u64 = 1_709_741_900_000;
const TO: u64 = FROM + 60_000;

fn replayed() -> Replayed {
    let shared = Shared {
        clock: Mutex::new(Clock::new(FROM, TO, 1.0)),
        data: Mutex::new(Data::of_file(100)),
        watch: Mutex::new(Watch::default()),
        from_ms: FROM,
        begun: Mutex::default(),
        left: Left::default(),
        failed: Mutex::default(),
    };
    let facts = Facts { files: "output/flow/2024_03_06.db".into(), ..Facts::default() };
    Replayed::new(facts, Theme { colours: false, unicode: true }, Arc::new(shared))
}

/// Real time goes by in which everything is read.
fn pass(scene: &Replayed, seconds: u64) {
    let mut clock = locked(&scene.shared.clock);
    let (target, _) = clock.advance(Duration::from_secs(seconds));
    clock.reached(target, target, true);
}

/// The lines of the axis, and the last line.
fn lines(scene: &mut Replayed, width: u16) -> String {
    scene.resize(width, 24);
    scene.counts(Duration::ZERO);
    scene.data();
    let mut terminal = Terminal::new(TestBackend::new(width, 24)).unwrap();
    terminal.draw(|frame| scene.draw(frame)).unwrap();
    let text = terminal.backend().to_string();
    let lines: Vec<_> = text.lines().map(|line| line.trim_matches('"').trim_end()).collect();
    [lines[0], lines[1], lines[23]].join("\n")
}

fn press(scene: &mut Replayed, code: KeyCode, modifiers: KeyModifiers) {
    scene.key(KeyEvent::new(code, modifiers));
}

#[test]
fn the_time_axis() {
    let mut scene = replayed();
    let mut pictures = vec![lines(&mut scene, 100)];
    pass(&scene, 15);
    pictures.push(lines(&mut scene, 100));
    locked(&scene.shared.clock).found(FROM + 20_000, "Blocked".into());
    locked(&scene.shared.clock).found(FROM + 45_000, "Refused".into());
    press(&mut scene, KeyCode::Char('n'), KeyModifiers::CONTROL);
    pictures.push(lines(&mut scene, 100));
    pass(&scene, 0);
    press(&mut scene, KeyCode::Char('+'), KeyModifiers::NONE);
    pictures.push(lines(&mut scene, 80));
    press(&mut scene, KeyCode::End, KeyModifiers::CONTROL);
    pass(&scene, 0);
    press(&mut scene, KeyCode::Char('F'), KeyModifiers::NONE);
    pictures.push(lines(&mut scene, 60));
    press(&mut scene, KeyCode::Char('n'), KeyModifiers::CONTROL);
    pass(&scene, 1);
    pictures.push(lines(&mut scene, 40));
    insta::assert_snapshot!(pictures.join("\n\n"));
}

#[test]
fn a_replay_that_stands_shows_what_was_read_last() {
    let mut scene = replayed();
    scene.resize(120, 24);
    press(&mut scene, KeyCode::Char(' '), KeyModifiers::NONE);
    let flow = |port| netobserv_wire::Flow {
        src_addr: "10.0.0.1".parse().ok(),
        dst_addr: "10.0.0.2".parse().ok(),
        dst_port: Some(port),
        proto: Some(6),
        packets: 1,
        end_ms: FROM,
        ..Default::default()
    };
    for (number, port) in [(1, 80), (2, 443)] {
        locked(&scene.shared.data).add(vec![flow(port)].into(), Duration::ZERO);
        scene.counts(Duration::ZERO);
        scene.data();
        assert_eq!(scene.app.shown.connections.len(), number);
    }
}

#[test]
fn keys_of_the_axis_are_letters_of_a_filter_while_one_is_typed() {
    let mut scene = replayed();
    for letter in ['w', ' ', '+', ']', 'q'] {
        press(&mut scene, KeyCode::Char(letter), KeyModifiers::NONE);
    }
    assert_eq!(scene.app.input, "w +]q");
    assert!(locked(&scene.shared.clock).playing);
    press(&mut scene, KeyCode::Esc, KeyModifiers::NONE);
    press(&mut scene, KeyCode::Char(' '), KeyModifiers::NONE);
    assert!(!locked(&scene.shared.clock).playing);
}

#[test]
fn a_click_on_the_axis_goes_there() {
    let clock = Clock::new(FROM, TO, 1.0);
    let at = |column| super::axis::time_at(&clock, column, 100).map(|time| time - FROM);
    assert_eq!((at(9), at(90), at(8), at(91)), (Some(0), Some(60_000), None, None));
    assert_eq!(super::axis::time_at(&clock, 9, 10), None, "no room");
}
