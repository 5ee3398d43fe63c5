//! A small cluster whose traffic is the same every time.

use std::sync::Arc;
use std::time::Duration;

use netobserv_wire::Flow;
use netobserv_wire::flow::{Dns, Drops, Endpoint, Enrichment, Holder, Interface, Layer};
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use crate::counts::{Losses, Totals};
use crate::once::Once;
use crate::tui::app::{App, Facts};
use crate::tui::data::Data;
use crate::tui::draw::draw;
use crate::tui::mouse::Buttons;
use crate::tui::refresh::Refresh;
use crate::tui::theme::Theme;
use crate::why::Watcher;

/// When the capture began, ms since 1970.
const START: u64 = 1_709_741_900_000;
/// Seconds of traffic.
const SECONDS: u64 = 62;

/// The screen with its data, without a terminal.
pub(super) struct World {
    pub(super) app: App,
    pub(super) data: Data,
    refresh: Refresh,
    watcher: Watcher,
    once: Once,
    totals: Totals,
    now: Duration,
}

impl World {
    /// With the traffic of a minute.
    pub(super) fn new(width: u16, height: u16) -> Self {
        let mut world = Self::empty(width, height);
        for second in 0..SECONDS {
            world.add(traffic(second), second);
        }
        world.now = Duration::from_secs(SECONDS);
        world.totals = Totals { flows: 12_345, json_bytes: 12_345_678, agents: 3, ..Totals::default() };
        world.refresh.counts(
            &mut world.app,
            Duration::from_secs(SECONDS - 2),
            &Totals { flows: 10_000, ..world.totals },
        );
        world.advance(0);
        world
    }

    /// Without any.
    pub(super) fn empty(width: u16, height: u16) -> Self {
        let facts = Facts {
            max_time: Some(Duration::from_secs(300)),
            max_bytes: Some(50_000_000),
            files: "./output/flow/2024-03-06T161820Z.json, .db".into(),
            expected: Some(3),
            options: "--enable_all|--protocol=TCP|or|--protocol=UDP|--port=53".into(),
        };
        let theme = Theme { colours: true, unicode: true };
        let mut world = Self {
            app: App::new(facts, theme, (width, height)),
            data: Data::new(1_000),
            refresh: Refresh::default(),
            watcher: Watcher::new(Default::default()),
            once: Once::new(Default::default(), false),
            totals: Totals::default(),
            now: Duration::ZERO,
        };
        world.advance(0);
        world
    }

    /// Sets which conversation each is of, as the pipeline does.
    pub(super) fn identify(&self, flows: &mut [Flow]) {
        self.once.identify(flows);
    }

    /// Flows come in the second `at` of the capture.
    pub(super) fn add(&mut self, flows: Vec<Flow>, at: u64) {
        self.watcher.look(&flows);
        self.data.add(flows.into(), Duration::from_secs(at));
        self.app.shown.elapsed = Duration::from_secs(at);
        self.refresh.take_in(&mut self.app, self.watcher.report().findings);
    }

    /// Time passes until `now`.
    pub(super) fn until(&mut self, now: Duration) {
        self.now = now;
        self.advance(0);
    }

    pub(super) fn lose(&mut self, losses: Losses) {
        self.totals.losses = losses;
    }

    /// Time passes, and the screen is brought up to date.
    pub(super) fn advance(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
        self.data.idle(self.now);
        self.refresh.counts(&mut self.app, self.now, &self.totals);
        self.refresh.take_in(&mut self.app, self.watcher.report().findings);
        self.refresh.data(&mut self.app, &mut self.data);
        // A slice of time may not be enough, on a machine that is busy.
        while self.app.shown.searching {
            self.refresh.data(&mut self.app, &mut self.data);
        }
    }

    /// What a terminal would show, and its buttons.
    pub(super) fn draw(&mut self) -> (TestBackend, Buttons) {
        self.advance(0);
        let mut terminal = Terminal::new(TestBackend::new(self.app.size.0, self.app.size.1)).unwrap();
        let mut buttons = Buttons::new();
        terminal.draw(|frame| buttons = draw(frame, &self.app)).unwrap();
        (terminal.backend().clone(), buttons)
    }

    /// The same as text.
    pub(super) fn text(&mut self) -> String {
        self.draw().0.to_string()
    }
}

/// A pod, by number.
fn pod(number: usize) -> (Endpoint, &'static str) {
    let (name, namespace, address, owner, kind, node) = [
        ("nodejs-7c9f6d5b8-x2x4p", "sample-app", "10.128.2.18", "nodejs", "Deployment", 1),
        ("postgresql-0", "sample-app", "10.129.0.44", "postgresql", "StatefulSet", 2),
        ("nginx-5d59d67564-abcde", "web", "10.130.0.7", "nginx", "Deployment", 3),
        ("dns-default-8k2lp", "openshift-dns", "10.128.0.9", "dns-default", "DaemonSet", 1),
    ][number];
    let holder = Holder {
        name: name.into(),
        namespace: namespace.into(),
        kind: "Pod".into(),
        owner_name: owner.into(),
        owner_kind: kind.into(),
        host_ip: format!("192.168.1.{node}").parse().ok(),
        host_name: format!("worker-{node}.example.com").into(),
        zone: format!("eu-west-1{}", ["a", "b", "c"][node - 1]).into(),
        network: "primary".into(),
        ..Holder::default()
    };
    (Endpoint { holder: Some(holder.into()), subnet: Some(Arc::new("Pods".into())) }, address)
}

/// A flow between two pods.
pub(super) fn between(src: usize, dst: usize, ports: (u16, u16), second: u64) -> Flow {
    let ((src_end, src_addr), (dst_end, dst_addr)) = (pod(src), pod(dst));
    let eth0 = |direction| Interface { name: "eth0".into(), direction, ..Interface::default() };
    Flow {
        start_ms: START + second * 1_000,
        end_ms: START + second * 1_000 + 17 * (src as u64 + 1),
        src_addr: src_addr.parse().ok(),
        dst_addr: dst_addr.parse().ok(),
        src_port: Some(ports.0),
        dst_port: Some(ports.1),
        proto: Some(6),
        dscp: Some(0),
        etype: 0x0800,
        flags: Some(0x110),
        bytes: 1_000 * (src as u64 + 1) + 37 * second,
        packets: 10 + second,
        interfaces: [eth0(0), Interface { name: "br-ex".into(), ..eth0(1) }].into_iter().collect(),
        sampling: 1,
        k8s: Some(Enrichment {
            src: src_end,
            dst: dst_end,
            flow_direction: Some((second % 2) as u8),
            layer: Some(Layer::App),
            ..Enrichment::default()
        }),
        ..Flow::default()
    }
}

/// What happens in a second.
fn traffic(second: u64) -> Vec<Flow> {
    let rtt = |ms: u64| ms * 1_000_000;
    let mut flows = vec![
        Flow { rtt_ns: rtt(3 + second % 5), ..between(0, 1, (48_752, 5_432), second) },
        Flow { rtt_ns: rtt(2), ..between(1, 0, (5_432, 48_752), second) },
        between(2, 0, (51_234, 8_080), second),
        dns(second),
        outside(second),
    ];
    if (20..40).contains(&second) {
        flows.push(dropped(second));
    }
    if second.is_multiple_of(20) {
        flows.push(Flow { flags: Some(0x404), rtt_ns: rtt(180), ..between(2, 1, (51_300, 5_432), second) });
    }
    flows
}

/// The answer to a query.
fn dns(second: u64) -> Flow {
    let bad = second.is_multiple_of(3);
    let dns = Dns {
        id: Some(31_000 + second as u16),
        flags: Some(if bad { 0x8183 } else { 0x8180 }),
        rcode: if bad { "NXDomain".into() } else { "NoError".into() },
        latency_ms: Some(1 + second % 7),
        name: if bad { "postgres.sample-app.svc".into() } else { "postgresql.sample-app.svc.cluster.local".into() },
        ..Dns::default()
    };
    Flow { proto: Some(17), flags: None, dns: Some(Box::new(dns)), ..between(3, 0, (53, 40_000), second) }
}

/// What a network policy stops.
pub(super) fn dropped(second: u64) -> Flow {
    let drops = Drops {
        bytes: 74 * 3,
        packets: 3,
        flags: 0x02,
        state: "TCP_SYN_SENT".into(),
        cause: "OVS_DROP_EXPLICIT".into(),
        causes: r#"[{"Cause":"OVS_DROP_EXPLICIT","Packets":3,"Bytes":222}]"#.into(),
    };
    Flow {
        flags: Some(0x02),
        bytes: 222,
        packets: 3,
        drops: Some(Box::new(drops)),
        ..between(2, 1, (51_240, 5_432), second)
    }
}

/// A holder that the cluster does not know.
fn outside(second: u64) -> Flow {
    let mut flow = between(0, 0, (0, 0), second);
    flow.src_addr = "2001:db8::1234:5678".parse().ok();
    flow.dst_addr = "2001:db8:ffff:ffff:ffff:ffff:ffff:1".parse().ok();
    flow.etype = 0x86dd;
    (flow.proto, flow.src_port, flow.dst_port, flow.flags, flow.k8s) = (Some(58), None, None, None, None);
    (flow.icmp_type, flow.icmp_code) = (Some(128), Some(0));
    flow
}
