//! The rows of view Connections: one a conversation, in an order that does not change all the time.

use std::cmp::Reverse;
use std::net::IpAddr;
use std::time::Duration;

use netobserv_wire::Flow;
use netobserv_wire::flow::{Conversation, Drops, Process, Processes, Side};

use super::data::connections::pace::STEPS;
use super::data::connections::{Connection, Connections, State};
use super::filter::{self, Filter};
use super::names;
use super::problems::ProblemRow;
use super::views::Order;

/// Without packets for this long a conversation goes: one that has ended, one that has no end, and an open one.
const ENDED: Duration = Duration::from_secs(10);
const WITHOUT_END: Duration = Duration::from_secs(30);
const SILENT: Duration = Duration::from_secs(300);
/// From here on what is quiet fades.
const FADES: Duration = Duration::from_secs(5);
/// An answer takes less time than this.
const ANSWER: Duration = Duration::from_secs(2);
const TCP: u8 = 6;

/// One row.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ConnectionRow {
    pub(super) id: u64,
    pub(super) client: String,
    /// With its port.
    pub(super) server: String,
    pub(super) service: String,
    pub(super) protocol: String,
    /// Bytes a second to the server and from it.
    pub(super) rates: [u64; 2],
    pub(super) total: u64,
    pub(super) history: [u64; STEPS],
    /// Microseconds; 0 = not measured.
    pub(super) rtt_us: u64,
    pub(super) drops: u64,
    pub(super) state: String,
    /// It is blocked or unanswered now.
    pub(super) alarm: bool,
    /// It has ended, or is quiet.
    pub(super) fades: bool,
    pub(super) age: Duration,
}

/// The title of a conversation.
pub(super) fn title(connections: &Connections, one: &Connection) -> String {
    format!("{} → {}", names::client(connections, one), names::server(connections, one))
}

/// A row as it is now; `problems` is what is wrong with it.
pub(super) fn row(
    connections: &Connections,
    one: &Connection,
    problems: &[ProblemRow],
    now: Duration,
) -> ConnectionRow {
    let quiet = now.saturating_sub(one.last());
    let state = one.state();
    let fails = matches!(state, State::Asking | State::Refused) && one.key.proto == TCP;
    let mut problems = problems.iter().filter(|problem| problem.is_now && problem.is_of_connections());
    let (word, alarm) = match problems.find(|problem| fails && problem.is_of(one.key)) {
        Some(problem) => (problem.word().to_lowercase(), problem.is_alarm()),
        None if state == State::Asking && one.age(now) >= ANSWER => ("no answer".to_owned(), false),
        None => (word(state).to_owned(), false),
    };
    ConnectionRow {
        id: one.id,
        client: names::client(connections, one),
        server: names::server(connections, one),
        service: names::service(connections, one),
        protocol: names::protocol(one.key.proto),
        rates: one.pace.rates(now),
        total: one.total().bytes,
        history: one.pace.history(now),
        rtt_us: one.rtt_us.into(),
        drops: one.total().drops,
        state: word,
        alarm,
        fades: !alarm && (is_over(state) && quiet >= Duration::from_secs(1) || quiet >= FADES.max(one.pace.patience())),
        age: one.age(now),
    }
}

fn word(state: State) -> &'static str {
    match state {
        State::Asking => "asking",
        State::Refused => "refused",
        State::Open => "open",
        State::OneWay => "one way",
        State::Reset => "reset",
        State::Closed => "closed",
    }
}

fn is_over(state: State) -> bool {
    matches!(state, State::Closed | State::Reset | State::Refused)
}

/// Whether it is not shown any more.
fn is_gone(one: &Connection, now: Duration) -> bool {
    let quiet = now.saturating_sub(one.last());
    let state = one.state();
    let longest = match () {
        () if is_over(state) => ENDED.max(one.pace.patience()),
        () if one.key.proto != TCP || state == State::Asking => WITHOUT_END,
        () => SILENT,
    };
    quiet > longest
}

/// The numbers of all conversations that are shown, in order.
pub(super) fn order(connections: &mut Connections, order: Order, filters: &[Filter], now: Duration) -> Vec<u64> {
    // The larger, the higher; what is equal stands as it came.
    let mut rows: Vec<(Reverse<u64>, Reverse<u64>, u64)> = Vec::new();
    for one in connections.iter_mut().filter(|one| !is_gone(one, now)) {
        let by = match order {
            Order::Rate => one.pace.class(now).into(),
            Order::Total => one.total().bytes,
            Order::Rtt => one.rtt_us.into(),
            Order::Drops => one.total().drops,
            Order::Newest => u64::MAX - one.age(now).as_millis() as u64,
        };
        let age = one.age(now).as_millis() as u64;
        rows.push((Reverse(by), Reverse(age), one.id));
    }
    if !filters.is_empty() {
        rows.retain(|(.., id)| connections.get(*id).is_some_and(|one| passes(connections, one, filters)));
    }
    rows.sort_unstable();
    rows.into_iter().map(|(.., id)| id).collect()
}

/// Whether a conversation passes filters that are made for records.
pub(super) fn passes(connections: &Connections, one: &Connection, filters: &[Filter]) -> bool {
    let text = format!(
        "{} {} {} {} {}",
        title(connections, one),
        names::service(connections, one),
        names::protocol(one.key.proto),
        word(one.state()),
        names::address(one.key.src)
    );
    filter::pass(filters, text, &as_record(connections, one))
}

/// The EtherType of an address (IEEE 802 numbers); 0 without one.
pub(super) fn etype(address: Option<IpAddr>) -> u16 {
    address.map_or(0, |address| if address.is_ipv4() { 0x0800 } else { 0x86dd })
}

/// A record with all that is known of a conversation.
fn as_record(connections: &Connections, one: &Connection) -> Flow {
    let total = one.total();
    let port = |port: u16| Some(port).filter(|port| *port > 0);
    let mut flow = Flow {
        src_addr: one.key.src,
        dst_addr: one.key.dst,
        src_port: port(one.key.src_port),
        dst_port: port(one.key.dst_port),
        proto: Some(one.key.proto),
        etype: etype(one.key.src),
        bytes: total.bytes,
        packets: total.packets,
        rtt_ns: u64::from(one.rtt_us) * 1_000,
        conversation: Some(Conversation { id: one.id, from_client: Some(true) }),
        ..Flow::default()
    };
    let drops = Drops { packets: total.drops, ..Drops::default() };
    flow.drops = (total.drops > 0).then(|| Box::new(drops));
    let ends = connections.ends_of(one);
    let comm = |index: usize| ends[index].map(|end| end.process.clone()).unwrap_or_default();
    let [src, dst] = [0, 1].map(|index| Process { comm: comm(index), ..Process::default() });
    flow.processes = Some(Box::new(Processes { src, dst }));
    for (end, side) in ends.into_iter().zip([Side::Src, Side::Dst]) {
        if let Some(holder) = end.and_then(|end| end.holder_ref()) {
            flow.set_holder(side, holder.clone());
        }
    }
    flow
}
