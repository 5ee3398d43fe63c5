//! What a program, or a person without a screen, reads: a line for each flow on standard output.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use netobserv_contract::plain;
use netobserv_stdio::{self as stdio, Broken};
use netobserv_wire::Flow;
use netobserv_wire::flow::{Dns, Drops, Holder, HolderRef, Process, Processes, Xlat};
use tracing::warn;

use crate::cli::Format;
use crate::feed::{Intake, Next};
use crate::human;
use crate::sink::json::Objects;
use crate::tui::text;

/// Lines are written at the latest after this time.
const TICK: Duration = Duration::from_millis(200);
/// Characters of an end of a flow: at least, and what others follow.
const END: usize = 21;
const LONGEST_END: usize = 56;

/// The writer at work, on a thread of its own.
#[derive(Debug)]
pub struct Lines {
    ended: Receiver<()>,
}

impl Lines {
    /// Starts to write.
    ///
    /// # Errors
    /// When the system has no more threads.
    pub fn start(intake: Intake, format: Format) -> io::Result<Self> {
        let (done, ended) = channel::<()>();
        std::thread::Builder::new().name("lines".into()).spawn(move || {
            let unprinted = write_all(&intake, format) + intake.missed();
            if unprinted > 0 {
                let unprinted = human::count(unprinted);
                warn!("{unprinted} flows were not printed: the reader is too slow; the files have them");
            }
            drop(done);
        })?;
        Ok(Self { ended })
    }

    /// Waits for the last lines, which come when the pipeline is closed; for a reader that has stopped only a while.
    pub fn finish(self) {
        stdio::stdout().hurry();
        // The other end is dropped when the thread ends.
        let _ = self.ended.recv_timeout(stdio::LONGEST);
    }
}

/// Gives the number of flows that a reader did not take who is still there. One that has seen enough, as `head` has, misses nothing.
fn write_all(intake: &Intake, format: Format) -> u64 {
    let mut page = Page { out: Vec::new(), ends: [END; 2], objects: Objects::default() };
    let mut unprinted = 0;
    loop {
        let rows = match intake.next(TICK) {
            Next::Rows(rows) => rows,
            Next::Nothing => continue,
            Next::End => return unprinted,
        };
        rows.iter().for_each(|flow| page.add(flow, format));
        match stdio::stdout().write_patiently(std::mem::take(&mut page.out)) {
            Ok(()) | Err(Broken::Gone) => {}
            Err(Broken::Stalled | Broken::Failed(_)) => unprinted += rows.len() as u64,
        }
    }
}

/// Lines that are not written yet.
struct Page {
    out: Vec<u8>,
    /// Widths of the two ends until now.
    ends: [usize; 2],
    objects: Objects,
}

impl Page {
    fn add(&mut self, flow: &Flow, format: Format) {
        match format {
            Format::Json => self.objects.append(flow, &mut self.out),
            Format::Text => {
                let line = line(flow, &mut self.ends);
                self.out.extend_from_slice(line.as_bytes());
            }
            Format::None => return,
        }
        self.out.push(b'\n');
    }
}

/// `16:19:22.017 TCP  10.0.0.1:40000  -> 10.0.0.2:443  10.1KB  12 eth0 RTT 1.2ms`.
pub(crate) fn line(flow: &Flow, widths: &mut [usize; 2]) -> String {
    let names = flow.k8s.as_ref();
    let src = names.and_then(|k8s| k8s.src.holder.as_deref());
    let dst = names.and_then(|k8s| k8s.dst.holder.as_deref());
    let ends =
        [end(src, flow.src_addr, flow.src_port, flow.src_mac), end(dst, flow.dst_addr, flow.dst_port, flow.dst_mac)];
    for (width, end) in widths.iter_mut().zip(&ends) {
        *width = (*width).max(end.chars().count()).min(LONGEST_END);
    }
    let protocol = flow.proto.map_or_else(|| format!("{:#06x}", flow.etype), |number| text::protocol(number.into()));
    let interfaces: Vec<_> = flow.interfaces.iter().map(|interface| interface.name.as_str()).collect();
    let line = format!(
        "{} {protocol:<9} {:<src$} -> {:<dst$} {:>7} {:>7} {}{}",
        text::time(flow.end_ms),
        ends[0],
        ends[1],
        human::bytes(flow.bytes),
        flow.packets,
        interfaces.join(","),
        extras(flow),
        src = widths[0],
        dst = widths[1],
    );
    // Names come from the network: nothing in them may steer a terminal.
    plain::line(line.trim_end()).into_owned()
}

fn end(names: Option<&Holder>, address: Option<IpAddr>, port: Option<u16>, mac: Option<[u8; 6]>) -> String {
    let port_text = port.map(|port| format!(":{port}")).unwrap_or_default();
    match (names.filter(|names| !names.name.is_empty()), address, mac) {
        (Some(names), ..) if names.namespace.is_empty() => format!("{}{port_text}", names.name),
        (Some(names), ..) => format!("{}/{}{port_text}", names.namespace, names.name),
        (_, Some(address), _) => {
            port.map_or_else(|| address.to_string(), |port| SocketAddr::new(address, port).to_string())
        }
        (_, None, Some(mac)) => mac.map(|byte| format!("{byte:02x}")).join(":"),
        (_, None, None) => "?".into(),
    }
}

/// What only some flows have.
fn extras(flow: &Flow) -> String {
    let rtt = (flow.rtt_ns > 0).then(|| format!(" RTT {}", text::micros(flow.rtt_ns / 1_000)));
    let drops = flow.drops.as_deref().filter(|drops| drops.packets > 0).map(drops);
    let processes = flow.processes.as_deref().map(processes);
    let translated = flow.xlat.as_deref().map(|xlat| translated(flow, xlat));
    [translated, processes, rtt, flow.dns.as_deref().map(dns), drops].into_iter().flatten().collect()
}

/// The end that address translation changes: the pod behind a service, the node in front of a pod.
fn translated(flow: &Flow, after: &Xlat) -> String {
    let holder = |holder: &Option<HolderRef>| holder.as_deref().map(|holder| end(Some(holder), None, None, None));
    let one = |mark: &str, names, address: Option<IpAddr>, port: u16| {
        let named = holder(names).or_else(|| address.map(|address| address.to_string())).unwrap_or_default();
        if port == 0 { format!(" ({mark}{named})") } else { format!(" ({mark}{named}:{port})") }
    };
    let src = (flow.src_addr, flow.src_port.unwrap_or(0)) != (after.src_addr, after.src_port);
    let dst = (flow.dst_addr, flow.dst_port.unwrap_or(0)) != (after.dst_addr, after.dst_port);
    let src = src.then(|| one("from ", &after.src, after.src_addr, after.src_port));
    let dst = dst.then(|| one("to ", &after.dst, after.dst_addr, after.dst_port));
    [src, dst].into_iter().flatten().collect()
}

fn processes(processes: &Processes) -> String {
    let one = |process: &Process| match (process.comm.as_str(), process.pid) {
        ("", _) => "?".to_owned(),
        (name, 0) => name.to_owned(),
        (name, pid) => format!("{name}({pid})"),
    };
    format!(" PROC {} -> {}", one(&processes.src), one(&processes.dst))
}

fn dns(dns: &Dns) -> String {
    let code = match (dns.errno, dns.rcode.as_str()) {
        (110, _) => "no answer",
        (_, code) => code,
    };
    let latency = dns.latency_us.map(text::micros).or(dns.latency_ms.map(|ms| format!("{ms}ms")));
    let latency = latency.map(|latency| format!(" {latency}")).unwrap_or_default();
    let words = [" DNS", code, dns.name.as_str()];
    format!("{}{latency}", words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" "))
}

fn drops(drops: &Drops) -> String {
    format!(" DROP {} {}", human::count(drops.packets), text::cause(&drops.cause))
}

#[cfg(test)]
mod tests {
    use super::*;
    use netobserv_wire::flow::Interface;

    fn flow() -> Flow {
        Flow {
            end_ms: 1_709_741_962_017,
            src_addr: "10.0.0.1".parse().ok(),
            dst_addr: "fd00::2".parse().ok(),
            src_port: Some(40_000),
            dst_port: Some(443),
            proto: Some(6),
            bytes: 10_140,
            packets: 12,
            interfaces: [Interface { name: "eth0".into(), ..Interface::default() }].into_iter().collect(),
            ..Flow::default()
        }
    }

    #[test]
    fn a_line_has_what_the_flow_has() {
        let mut widths = [END; 2];
        let plain = "16:19:22.017 TCP       10.0.0.1:40000        -> [fd00::2]:443          10.1KB      12 eth0";
        assert_eq!(line(&flow(), &mut widths), plain);
        let drops = Drops { packets: 3, cause: "SKB_DROP_REASON_NO_SOCKET".into(), ..Drops::default() };
        let nx = Dns {
            rcode: "NXDomain".into(),
            name: "a.example".into(),
            latency_ms: Some(7),
            latency_us: Some(7_300),
            ..Dns::default()
        };
        let full = Flow { drops: Some(Box::new(drops)), dns: Some(Box::new(nx)), rtt_ns: 1_500_000, ..flow() };
        let curl = Process { pid: 42, comm: "curl".into(), ..Process::default() };
        let processes = Some(Box::new(Processes { src: curl, ..Processes::default() }));
        let full = Flow { processes, ..full };
        let wanted = format!("{plain} PROC curl(42) -> ? RTT 1.5ms DNS NXDomain a.example 7.3ms DROP 3 NO_SOCKET");
        assert_eq!(line(&full, &mut widths), wanted);
    }

    #[test]
    fn a_line_names_who_answers_behind_a_service() {
        let pod = Holder { name: "web-1".into(), namespace: "shop".into(), ..Holder::default() };
        let after = Xlat {
            src_addr: "10.0.0.1".parse().ok(),
            src_port: 40_000,
            dst_addr: "fd00::9".parse().ok(),
            dst_port: 80,
            dst: Some(pod.into()),
            ..Xlat::default()
        };
        let line = line(&Flow { xlat: Some(Box::new(after)), ..flow() }, &mut [END; 2]);
        assert!(line.ends_with(" 12 eth0 (to shop/web-1:80)"), "{line}");
    }

    #[test]
    fn columns_stay_where_they_are_and_nothing_steers_the_terminal() {
        let mut widths = [END; 2];
        let long = Flow { src_addr: "fd00:1111:2222:3333:4444:5555:6666:7777".parse().ok(), ..flow() };
        let first = line(&long, &mut widths);
        assert_eq!(first.find("->"), line(&flow(), &mut widths).find("->"));
        let evil = Dns { name: "a\u{1b}[2Jb\u{202e}c\u{200b}".into(), ..Dns::default() };
        let text = line(&Flow { dns: Some(Box::new(evil)), ..flow() }, &mut widths);
        assert!(text.ends_with("DNS a?[2Jb?c?"), "{text}");
    }
}
