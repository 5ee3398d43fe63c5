//! Pictures of the screen at fixed sizes.

use std::time::Duration;

use netobserv_wire::flow::Interface;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;

use super::app::App;
use super::draw::draw;
use super::*;
use crate::counts::{Losses, Totals};

fn flow(number: u64, src: &str, dst: &str, proto: u8, interfaces: &[&str]) -> Flow {
    let ports = matches!(proto, 6 | 17);
    Flow {
        end_ms: 1_709_741_962_000 + number * 1_000,
        src_addr: src.parse().ok(),
        dst_addr: dst.parse().ok(),
        src_port: ports.then_some(40_000),
        dst_port: ports.then_some(443),
        proto: Some(proto),
        etype: 0x0800,
        bytes: 98 * 20_u64.pow(number as u32 % 5),
        packets: 7_u64.pow(number as u32 % 8),
        interfaces: interfaces.iter().map(|name| Interface { name: (*name).into(), ..Interface::default() }).collect(),
        ..Flow::default()
    }
}

fn app(losses: Losses) -> App {
    let mut app = App {
        max_time: Some(Duration::from_secs(300)),
        max_bytes: Some(50_000_000),
        files: "./output/flow/2024-03-06T161922Z.json, .db".into(),
        colours: true,
        ..App::default()
    };
    let arp = Flow { src_mac: Some([10, 88, 0, 0, 0, 1]), etype: 0x0806, bytes: 42, packets: 1, ..Flow::default() };
    let flows = [
        flow(0, "10.0.0.1", "10.0.0.2", 6, &["eth0"]),
        flow(1, "fd00:1234:5678:9abc::1", "fe80::1", 17, &["eth0", "br-ex", "veth12345"]),
        flow(2, "192.168.100.100", "8.8.8.8", 1, &["lo"]),
        flow(7, "fe80::1", "ff02::16", 58, &[]),
        arp,
    ];
    let totals = |flows| Totals { flows, json_bytes: 1_234_567, agents: 1, losses, ..Totals::default() };
    app.tick(Duration::from_secs(61), totals(1_000), VecDeque::new());
    app.tick(Duration::from_secs(62), totals(2_234), flows.into());
    app
}

fn picture(app: &App, width: u16, height: u16) -> TestBackend {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, app)).unwrap();
    terminal.backend().clone()
}

#[test]
fn a_small_terminal() {
    insta::assert_snapshot!(picture(&app(Losses::default()), 80, 24));
}

#[test]
fn a_large_terminal_that_tells_losses() {
    let losses = Losses { kernel_packets: 1_234, export_flows: 5, ..Losses::default() };
    let mut app = app(losses);
    app.log = Some("WARN some agents did not say their last word in 2s".into());
    insta::assert_snapshot!(picture(&app, 120, 40));
}

#[test]
fn losses_are_red_where_colours_are_wanted() {
    let mut app = app(Losses { kernel_packets: 1, ..Losses::default() });
    let colour = |app: &App| picture(app, 80, 24).buffer()[(0, 1)].fg;
    assert_eq!(colour(&app), Color::Red);
    app.colours = false;
    assert_eq!(colour(&app), Color::Reset);
}

#[test]
fn the_tiniest_terminal_does_not_break_it() {
    for (width, height) in [(1, 1), (10, 3), (79, 2)] {
        picture(&app(Losses::default()), width, height);
    }
}

#[test]
fn the_rate_is_that_of_the_last_seconds() {
    let mut app = App::default();
    for second in 0..10 {
        let flows = if second < 5 { second * 100 } else { 400 };
        app.tick(Duration::from_secs(second), Totals { flows, ..Totals::default() }, VecDeque::new());
        if second == 4 {
            assert_eq!(app.rate, 100.0);
        }
    }
    assert_eq!(app.rate, 0.0);
}

#[test]
fn the_screen_gets_the_latest_and_never_too_many() {
    let latest = Latest::default();
    let flows: Vec<_> = (0..1_000).map(|bytes| Flow { bytes, ..Flow::default() }).collect();
    latest.offer(&flows);
    latest.offer(&flows);
    let taken = latest.take();
    assert_eq!((taken.len(), taken[0].bytes, taken[KEPT - 1].bytes), (KEPT, 1_000 - KEPT as u64, 999));
    assert!(latest.take().is_empty());
}
