//! A shop with a database: packets that are the same every time.

use std::sync::Arc;
use std::time::Duration;

use netobserv_testkit::Frame;
use netobserv_wire::Packet;
use netobserv_wire::flow::{Holder, HolderRef};
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use crate::packets::screen::Sightings;
use crate::packets::talks::NameLookup;
use crate::packets::window::Seen;
use crate::tui::app::Facts;
use crate::tui::mouse::Buttons;
use crate::tui::packets::app::App;
use crate::tui::packets::data::Data;
use crate::tui::packets::{draw, refresh};
use crate::tui::theme::Theme;

/// When the capture began, ns since 1970.
const START: u64 = 1_709_741_900_000_000_000;
const MS: u64 = 1_000_000;

/// The screen with its data.
pub(super) struct World {
    pub(super) app: App,
    pub(super) data: Data,
}

impl World {
    /// With the packets of a minute.
    pub(super) fn new(width: u16, height: u16) -> Self {
        let mut world = Self::empty(width, height);
        (0..60).for_each(|second| world.add(traffic(second)));
        world.app.shown.totals.agents = 3;
        world.app.shown.elapsed = Duration::from_secs(62);
        world.app.shown.rate = 1_234.4;
        world.app.shown.file_bytes = 12_345_678;
        world
    }

    /// Without any.
    pub(super) fn empty(width: u16, height: u16) -> Self {
        let facts = Facts {
            max_time: Some(Duration::from_secs(300)),
            max_bytes: Some(50_000_000),
            files: "./output/pcap/2024-03-06T161820Z.pcapng".into(),
            expected: Some(3),
            options: "--protocol=TCP|or|--protocol=UDP|--port=53".into(),
        };
        let theme = Theme { colours: true, unicode: true };
        Self { app: App::new(facts, theme, (width, height)), data: Data::new(Some(who())) }
    }

    pub(super) fn add(&mut self, seen: Vec<Seen>) {
        let places = ["worker-1/veth3a", "worker-2/eth0", "drop@worker-2"].map(Arc::from);
        self.data.add(&Sightings { seen, places: places.into() });
    }

    pub(super) fn refresh(&mut self) {
        refresh::data(&mut self.app, &self.data);
    }

    /// What a terminal would show, and its buttons.
    pub(super) fn draw(&mut self) -> (TestBackend, Buttons) {
        self.refresh();
        let mut terminal = Terminal::new(TestBackend::new(self.app.size.0, self.app.size.1)).unwrap();
        let mut buttons = Buttons::new();
        terminal.draw(|frame| buttons = draw::draw(frame, &self.app)).unwrap();
        (terminal.backend().clone(), buttons)
    }
}

fn who() -> NameLookup {
    Arc::new(|question| {
        let (name, namespace) = match question.address.to_string().as_str() {
            "10.128.2.18" => ("nodejs-7c9f6d5b8-x2x4p", "sample-app"),
            "10.129.0.44" => ("postgresql-0", "sample-app"),
            "10.128.0.9" => ("dns-default-8k2lp", "openshift-dns"),
            _ => return None,
        };
        Some(HolderRef::from(Holder {
            name: name.into(),
            namespace: namespace.into(),
            kind: "Pod".into(),
            ..Holder::default()
        }))
    })
}

fn between(src: &str, dst: &str) -> Frame {
    Frame::new([10, 88, 0, 0, 0, 1], [10, 88, 0, 0, 0, 2]).ipv4(src, dst)
}

/// A packet that was seen at a place, so many ms after the start.
pub(super) fn seen(frame: &Frame, ms: u64, place: usize) -> Seen {
    let data = frame.build();
    let packet = Packet {
        time_ns: START + ms * MS + 1_234,
        original: data.len() as u32,
        id: 0x1122_3344_5566_7788,
        data: data.into(),
        sampling: 1,
        ..Packet::default()
    };
    Seen { packet, place, lost: 0 }
}

/// What happens in a second.
fn traffic(second: u64) -> Vec<Seen> {
    const NODEJS: &str = "10.128.2.18";
    const POSTGRESQL: &str = "10.129.0.44";
    let at = second * 1_000;
    let to_database = between(NODEJS, POSTGRESQL).tcp(48_752, 5_432, 24).payload(120);
    let from_database = between(POSTGRESQL, NODEJS).tcp(5_432, 48_752, 24).payload(800);
    let request =
        between("192.0.2.7", NODEJS).tcp(51_234, 8_080, 24).carrying(b"GET /cart HTTP/1.1\r\nHost: shop\r\n\r\n");
    let response = between(NODEJS, "192.0.2.7").tcp(8_080, 51_234, 24).carrying(b"HTTP/1.1 200 OK\r\n\r\nhello");
    let ping = Frame::new([2; 6], [4; 6]).vlan(0x8100, 12).ipv6("2001:db8::1", "2001:db8::2").icmp(128, 0);
    let mut all = vec![
        seen(&to_database, at, 0),
        seen(&from_database, at + 3, 1),
        seen(&request, at + 10, 1),
        seen(&response, at + 17, 1),
        seen(&ping, at + 20, 1),
        seen(&between(NODEJS, "10.128.0.9").udp(40_000, 53).carrying(QUESTION), at + 30, 0),
    ];
    if second % 20 == 7 {
        let mut dropped = seen(&between("192.0.2.9", POSTGRESQL).tcp(51_300, 5_432, 2), at + 40, 2);
        dropped.packet.cause = Some("SKB_DROP_REASON_NETFILTER_DROP".into());
        all.push(dropped);
    }
    if second == 59 {
        let mut late = seen(&from_database, at + 50, 1);
        late.lost = 12;
        all.push(late);
    }
    all
}

/// The question for the address of `postgresql.sample-app.svc`.
const QUESTION: &[u8] =
    b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x0apostgresql\x0asample-app\x03svc\x00\x00\x01\x00\x01";
