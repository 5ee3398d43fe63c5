//! What matters about a record: what went wrong in it, who its ends are, how much it counts.

use std::net::IpAddr;

use netobserv_explain::traffic::meaning;
use netobserv_wire::Flow;
use netobserv_wire::flow::Process;

use super::Line;
use crate::human;
use crate::tui::columns::{cause, micros, time};
use crate::tui::data::{self, Data, causes};
use crate::tui::names;

/// Most causes of drops in the table.
const CAUSES: usize = 4;

pub(super) fn of(flow: &Flow, data: &Data) -> Vec<Line> {
    let mut lines = drops(flow);
    lines.extend(dns(flow));
    lines.extend((flow.rtt_ns > 0).then(|| line("Round trip", micros(flow.rtt_ns / 1_000))));
    lines.push(line("From", end(flow, 0, data)));
    lines.push(line("To", end(flow, 1, data)));
    lines.push(line("Counted", counted(flow)));
    lines
}

fn line(title: &'static str, text: String) -> Line {
    Line { title, text, alarm: false }
}

/// A table: packets, bytes, cause, and what that means.
fn drops(flow: &Flow) -> Vec<Line> {
    let Some(drops) = flow.drops.as_ref().filter(|drops| drops.packets > 0) else { return Vec::new() };
    let all = causes::of(drops);
    let widest = all.iter().take(CAUSES).map(|one| cause(&one.cause).chars().count()).max().unwrap_or(0);
    let row = |(index, one): (usize, &causes::Cause)| {
        let (packets, bytes) = (human::count(one.packets), human::bytes(one.bytes));
        let name = format!("{:widest$}", cause(&one.cause));
        let text = format!("{packets:>6} packets {bytes:>8}  {name}  {}", meaning(&one.cause));
        Line { title: if index == 0 { "Dropped" } else { "" }, text: text.trim_end().to_owned(), alarm: true }
    };
    all.iter().take(CAUSES).enumerate().map(row).collect()
}

fn dns(flow: &Flow) -> Option<Line> {
    let dns = flow.dns.as_ref()?;
    let latency = dns.latency_us.or(dns.latency_ms.map(|ms| ms * 1_000)).map(micros).unwrap_or_default();
    let answer = match dns.rcode.as_str() {
        "" if dns.errno == NO_ANSWER => "no answer",
        rcode => rcode,
    };
    let parts = [dns.name.as_str(), answer, &latency].map(str::to_owned);
    let text = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("  ");
    Some(Line { title: "DNS", text, alarm: data::dns_error(flow) })
}

/// ETIMEDOUT: how the agent records a query without an answer.
const NO_ANSWER: u32 = 110;

/// Name, address, process, node of an end.
fn end(flow: &Flow, side: usize, data: &Data) -> String {
    let (address, port) = [(flow.src_addr, flow.src_port), (flow.dst_addr, flow.dst_port)][side];
    let at = match port {
        Some(port) => format!("{}:{port}", names::address(address)),
        None => names::address(address),
    };
    let name = address.map(|address| names::of_address(&data.connections, address));
    let name = name.filter(|name| *name != names::address(address)).unwrap_or_default();
    let process = flow.processes.as_ref().map(|both| process([&both.src, &both.dst][side])).unwrap_or_default();
    let parts = [name, at, process, node(data, address)];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("  ")
}

fn process(process: &Process) -> String {
    match (process.comm.as_str(), process.pid) {
        ("", _) => String::new(),
        (name, 0) => format!("process {name}"),
        (name, pid) => format!("process {name} ({pid})"),
    }
}

fn node(data: &Data, address: Option<IpAddr>) -> String {
    let holder = address.and_then(|address| data.connections.ends.of(address)).and_then(|end| end.holder());
    let node = holder.map(|holder| holder.host_name.to_string()).filter(|node| !node.is_empty());
    node.map(|node| format!("on {node}")).unwrap_or_default()
}

/// How much, when, and how fast.
fn counted(flow: &Flow) -> String {
    let (bytes, packets) = (human::bytes(flow.bytes), human::count(flow.packets));
    let ms = flow.end_ms.saturating_sub(flow.start_ms);
    let rate = match ms {
        0 => String::new(),
        ms => format!(" in {ms} ms, {}/s", human::bytes(flow.bytes.saturating_mul(1_000) / ms)),
    };
    format!("{bytes} in {packets} packets{rate}, {} to {} UTC", time(flow.start_ms), time(flow.end_ms))
}
