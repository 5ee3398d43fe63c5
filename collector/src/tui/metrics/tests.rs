//! The screen of metrics at fixed sizes, and its keys.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use netobserv_contract::metrics::chosen;
use netobserv_wire::Flow;
use netobserv_wire::flow::{Holder, HolderRef, Side};
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::*;

/// Bytes from node a to two others, for some seconds.
fn world(names: &str) -> Metrics {
    let metrics = chosen(names).unwrap();
    let registry = Arc::new(Registry::new(&metrics, 1_000));
    let source = MetricsSource { started: Instant::now(), counts: Arc::default(), registry, series: 1_000 };
    let history = History::new(&source.registry);
    let state = State::new(history.metrics(), 1_000);
    let theme = Theme { colours: false, unicode: true };
    let mut world = Metrics { state, theme, history, source, noted: Duration::ZERO };
    for second in 1..=20_u64 {
        for (node, bytes) in [("b", 3_000), ("c", 1_000)] {
            let mut flow = Flow { bytes: bytes * second, packets: second, rtt_ns: 1_500_000, ..Flow::default() };
            for (side, name) in [(Side::Src, "a"), (Side::Dst, node)] {
                flow.set_holder(side, HolderRef::from(Holder { host_name: name.into(), ..Holder::default() }));
            }
            world.source.registry.add(&[flow]);
        }
        world.counts(Duration::from_secs(second));
    }
    world.data();
    world
}

fn seen(world: &mut Metrics, size: (u16, u16)) -> String {
    let mut terminal = Terminal::new(TestBackend::new(size.0, size.1)).unwrap();
    world.resize(size.0, size.1);
    world.data();
    world.state.log = None;
    terminal.draw(|frame| world.draw(frame)).unwrap();
    let buffer = terminal.backend().buffer();
    let rows = buffer.content.chunks(usize::from(size.0));
    rows.map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>().trim_end().to_owned() + "\n").collect()
}

fn press(world: &mut Metrics, code: KeyCode) -> Effect {
    world.key(KeyEvent::new(code, KeyModifiers::NONE))
}

#[test]
fn graphs_have_rates_and_the_selected_one_its_largest_series() {
    let mut world = world("node_egress_bytes_total,node_flows_total");
    let text = seen(&mut world, (80, 24));
    for part in [
        "Metrics  00:00:20  0 flows, lost nothing  4 of 1,000 series",
        "› node_egress_bytes_total                           80KB/s   most 80KB/s",
        "  node_flows_total                                     2/s   most 2/s",
        "Largest of node_egress_bytes_total",
        "   75%       630KB  a → b",
        "   25%       210KB  a → c",
    ] {
        assert!(text.lines().any(|line| line == part), "'{part}' in\n{text}");
    }
    assert!(text.contains('█') && text.contains('▅'), "{text}");
    press(&mut world, KeyCode::Down);
    let text = seen(&mut world, (80, 24));
    assert!(text.contains("› node_flows_total") && text.contains("   50%          20  a → b"), "{text}");
}

#[test]
fn histograms_show_their_mean() {
    let mut world = world("node_rtt_seconds");
    let text = seen(&mut world, (80, 24));
    assert!(text.contains("1.5ms   most 1.5ms") && text.contains("Most observations of node_rtt_seconds"), "{text}");
}

#[test]
fn keys_select_widen_pause_and_quit() {
    let mut world = world("node_,namespace_");
    let metrics = world.state.graphs.len();
    assert_eq!(press(&mut world, KeyCode::Up), Effect::None);
    assert_eq!((world.state.selected, press(&mut world, KeyCode::End)), (0, Effect::None));
    assert_eq!(world.state.selected, metrics - 1);
    // The last one is among those that there is room for.
    let name = world.state.graphs[metrics - 1].metric.name();
    assert!(seen(&mut world, (80, 20)).contains(&format!("› {name}")));
    for _ in 0..9 {
        press(&mut world, KeyCode::Right);
    }
    assert!(seen(&mut world, (80, 24)).contains("range 6h"));
    press(&mut world, KeyCode::Char('-'));
    assert!(seen(&mut world, (80, 24)).contains("range 1h"));
    press(&mut world, KeyCode::Char(' '));
    assert!(seen(&mut world, (80, 24)).contains("PAUSED"));
    assert_eq!(press(&mut world, KeyCode::Char('q')), Effect::Quit);
}

/// Any size that a terminal may have, and one without Unicode.
#[test]
fn it_fits_every_size() {
    let mut world = world("node_,namespace_,workload_");
    world.theme.unicode = false;
    for size in [(1, 1), (10, 3), (20, 8), (80, 24), (300, 100)] {
        let text = seen(&mut world, size);
        assert!(text.is_ascii(), "{size:?}\n{text}");
    }
}
