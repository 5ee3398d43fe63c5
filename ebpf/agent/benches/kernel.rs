//! What a packet costs in the kernel, and what draining costs the agent.
//!
//! Run by scripts/bench.sh. Each figure is next to a baseline of the same run: an empty program, on the same
//! frames, through the same system call. Needs root; sends nothing anywhere.

mod support;

use std::{
    error::Error,
    io,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    time::{Duration, Instant},
};

use netobserv_agent::{
    drain::{Drainer, Maps},
    features::{self, Switches},
    filter::Filter,
    kernel,
    losses::KernelLosses,
    rules::{parse::parse, sets::Sets},
    sys,
};
use netobserv_wire::pbflow::AddressSet;
use nix::time::{ClockId, clock_gettime};
use support::median;

const REPEAT: u32 = 1_000_000;
const ROUNDS: usize = 15;
const FLOWS: u32 = 1_000;
const EMPTY: &str = "empty program";
const DRAINED: u32 = 100_000;
/// 10.0.0.1, the sender of all frames of IPv4.
const CLIENT: u32 = 0x0a00_0001;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    if !support::wanted() {
        return Ok(());
    }
    for (title, follow_netns) in [("one namespace followed", false), ("all namespaces followed", true)] {
        println!("flow program, {title}:");
        packet_cost(follow_netns)?;
    }
    filter_cost()?;
    set_cost()?;
    drain_cost()
}

fn packet_cost(follow_netns: bool) -> Result<()> {
    let empty = empty_program()?;
    let mut ebpf = features::load(Switches { max_flows: 50_000, sampling: 1, follow_netns, ..Default::default() })?;
    let program = kernel::classifier(&mut ebpf, "flow_ingress")?.fd()?.try_clone()?;
    for (family, make) in [("IPv4", v4_frame as fn(u32) -> Vec<u8>), ("IPv6", v6_frame)] {
        let frames: Vec<_> = (0..FLOWS).map(make).collect();
        let hot =
            |fd: &dyn AsFd| -> io::Result<f64> { Ok(f64::from(sys::test_run(fd.as_fd(), &frames[0], REPEAT)?.1)) };
        compare(&format!("{family}, one hot flow"), EMPTY, 3.5, || hot(&empty), || hot(&program))?;
        let many = |fd: &dyn AsFd| round_robin(fd, &frames);
        compare(&format!("{family}, {FLOWS} flows round robin"), EMPTY, 6.0, || many(&empty), || many(&program))?;
    }
    Ok(())
}

/// A program with a filter against one without, and packets that no rule wants against one that is counted.
fn filter_cost() -> Result<()> {
    const WITHOUT: &str = "without a filter";
    println!("flow program with filter rules:");
    let (_plain, unfiltered) = flow_program(None)?;
    let frame = v4_frame(1);
    let hot = |fd: &OwnedFd| -> io::Result<f64> { Ok(f64::from(sys::test_run(fd.as_fd(), &frame, REPEAT)?.1)) };
    let first = |n: u32| format!(r#"{{"ip_cidr":"172.16.{n}.0/24","peer_cidr":"10.{n}.0.0/16","port":{}}}"#, 1000 + n);
    let others = (0..63).map(first).collect::<Vec<_>>().join(",");
    let last = r#"{"ip_cidr":"10.0.0.0/8","port":80}"#;
    for (title, most, rules) in [
        ("one rule, hot flow", 1.25, r#"[{"protocol":"TCP","port":80}]"#.to_owned()),
        ("one rule on TCP flags, hot flow", 1.25, r#"[{"tcp_flags":"ACK"}]"#.to_owned()),
        ("64 rules, the last one fits", 2.5, format!("[{others},{last}]")),
        (
            "64 rules, each packet judged",
            2.5,
            format!(r#"[{{"tcp_flags":"RST"}},{},{last}]"#, &others[..others.rfind(",{").unwrap_or(0)]),
        ),
    ] {
        let (_ebpf, filtered) = flow_program(Some(&rules))?;
        compare(title, WITHOUT, most, || hot(&unfiltered), || hot(&filtered))?;
    }
    let frames: Vec<_> = (0..FLOWS).map(v4_frame).collect();
    let (_ebpf, filtered) = flow_program(Some(last).map(|rule| format!("[{rule}]")).as_deref())?;
    let many = |fd: &OwnedFd| round_robin(fd, &frames);
    compare("one rule, 1000 flows round robin", WITHOUT, 1.25, || many(&unfiltered), || many(&filtered))?;
    let (_none, unwanted) = flow_program(Some(r#"[{"ip_cidr":"192.0.2.0/24"}]"#))?;
    compare("unwanted, 1000 flows round robin", "counted ones", 1.0, || many(&unfiltered), || many(&unwanted))?;
    for (title, rules) in [
        ("unwanted, by its port", r#"[{"protocol":"TCP","port":443}]"#.to_owned()),
        ("unwanted, by its address", r#"[{"ip_cidr":"192.0.2.0/24"}]"#.to_owned()),
        ("rejected by its address", r#"[{"ip_cidr":"10.0.0.0/8","action":"Reject"}]"#.to_owned()),
        ("unwanted by 64 rules", format!(r#"[{others},{{"ip_cidr":"192.0.2.0/24","port":80}}]"#)),
    ] {
        let (_ebpf, filtered) = flow_program(Some(&rules))?;
        compare(title, "a counted packet", 1.0, || hot(&unfiltered), || hot(&filtered))?;
    }
    Ok(())
}

/// A rule that names a set against one that names a network; how long a set takes to be in force, and its memory.
fn set_cost() -> Result<()> {
    const ONE_RULE: &str = "with one rule";
    println!("flow program with a set of addresses:");
    let frames: Vec<_> = (0..FLOWS).map(v4_frame).collect();
    let (_one, plain) = flow_program(Some(r#"[{"ip_cidr":"10.0.0.0/8"}]"#))?;
    for (count, most) in [(1_000_u32, 1.15), (100_000, 1.4)] {
        let switches = Switches { max_flows: 50_000, sampling: 1, filter: true, sets: true, ..Default::default() };
        let mut ebpf = features::load(switches)?;
        let (mut filter, rules) = (Filter::take(&mut ebpf, 1)?, parse(r#"[{"set":1}]"#)?);
        let program = kernel::classifier(&mut ebpf, "flow_ingress")?.fd()?.try_clone()?;
        let program = program.as_fd().try_clone_to_owned()?;
        let empty = map_memory()?;
        let start = Instant::now();
        filter.replace(&rules, &addresses(count, 0)?)?;
        let (first, start) = (start.elapsed(), Instant::now());
        filter.replace(&rules, &addresses(count, 1)?)?;
        filter.replace(&rules, &addresses(count, 2)?)?;
        let later = start.elapsed() / 2;
        let full = map_memory()?;
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        println!(
            "  {count} addresses: in force after {first:.1?}, one that changes {later:.1?}; the maps take {:.1} MiB more",
            mib(full.saturating_sub(empty))
        );
        let hot = |fd: &OwnedFd| -> io::Result<f64> { Ok(f64::from(sys::test_run(fd.as_fd(), &frames[1], REPEAT)?.1)) };
        compare(&format!("{count} addresses, hot flow"), ONE_RULE, most, || hot(&plain), || hot(&program))?;
        let many = |fd: &OwnedFd| round_robin(fd, &frames);
        let title = format!("{count} addresses, {FLOWS} flows round robin");
        compare(&title, ONE_RULE, most, || many(&plain), || many(&program))?;
    }
    Ok(())
}

/// The address that all frames come from, and others; the last one is another each `turn`.
fn addresses(count: u32, turn: u32) -> Result<Sets> {
    let others = (1..count - 1).chain([count + turn]).map(|number| 0x0b00_0000 + number);
    let ipv4 = [CLIENT].into_iter().chain(others).flat_map(u32::to_be_bytes).collect();
    Ok(Sets::read(&[AddressSet { number: 1, ipv4, ..AddressSet::default() }])?)
}

/// What the maps of this process take, in bytes, as the kernel reports it for each of their descriptors.
fn map_memory() -> io::Result<u64> {
    let mut all = 0;
    for entry in std::fs::read_dir("/proc/self/fdinfo")? {
        let text = std::fs::read_to_string(entry?.path()).unwrap_or_default();
        let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
        all += value("map_id:").and_then(|_| value("memlock:")).unwrap_or(0);
    }
    Ok(all)
}

/// The program at ingress, and what keeps it alive.
fn flow_program(rules: Option<&str>) -> Result<(aya::Ebpf, OwnedFd)> {
    let switches = Switches { max_flows: 50_000, sampling: 1, filter: rules.is_some(), ..Default::default() };
    let mut ebpf = features::load(switches)?;
    if let Some(rules) = rules {
        Filter::take(&mut ebpf, 1)?.replace(&parse(rules)?, &Sets::default())?;
    }
    let program = kernel::classifier(&mut ebpf, "flow_ingress")?.fd()?.try_clone()?;
    let program = program.as_fd().try_clone_to_owned()?;
    Ok((ebpf, program))
}

/// Mean ns a run, each run with the next frame. The kernel's own clock calls are in it, for both programs alike.
fn round_robin(program: &dyn AsFd, frames: &[Vec<u8>]) -> io::Result<f64> {
    const TURNS: usize = 20;
    let mut total = 0.0;
    for frame in frames.iter().cycle().take(TURNS * frames.len()) {
        total += f64::from(sys::test_run(program.as_fd(), frame, 1)?.1);
    }
    Ok(total / (TURNS * frames.len()) as f64)
}

/// Measures in turns, so that what else the machine does hits both, and prints the ratio of the medians.
fn compare(
    title: &str,
    base_title: &str,
    most: f64,
    mut base: impl FnMut() -> io::Result<f64>,
    mut ours: impl FnMut() -> io::Result<f64>,
) -> Result<()> {
    let (mut bases, mut figures) = (vec![], vec![]);
    for _ in 0..ROUNDS {
        bases.push(base()?);
        figures.push(ours()?);
    }
    let (base, ours) = (median(bases), median(figures));
    let ratio = ours / base;
    println!("  {title:34} {ours:6.1} ns, {base_title} {base:5.1} ns: {ratio:.2} times ({})", verdict(ratio, most));
    Ok(())
}

fn verdict(figure: f64, most: f64) -> String {
    format!("{}, at most {most}", if figure <= most { "good" } else { "NOT MET" })
}

/// CPU time of this thread for draining full maps, a flow.
fn drain_cost() -> Result<()> {
    let mut costs = vec![];
    for _ in 0..5 {
        let mut ebpf = features::load(Switches {
            max_flows: 2 * DRAINED,
            sampling: 1,
            follow_netns: false,
            ..Default::default()
        })?;
        let program = kernel::classifier(&mut ebpf, "flow_ingress")?.fd()?.try_clone()?;
        for flow in 0..DRAINED {
            sys::test_run(program.as_fd(), &v4_frame(flow), 1)?;
        }
        let mut maps = Maps::take(&mut ebpf)?;
        let before = cpu_time()?;
        let mut read = 0;
        let took = maps.drain_active(|_| read += 1)?;
        assert_eq!((took, read), (DRAINED as usize, DRAINED as usize), "every flow is read");
        costs.push(cpu_time()?.checked_sub(before).unwrap().as_nanos() as f64 / f64::from(DRAINED) / 1000.0);
        drop(maps);
    }
    let cost = median(costs);
    println!("draining {DRAINED} flows:\n  up to the map read {cost:.3} us of CPU a flow ({})", verdict(cost, 0.6));
    merge_cost()
}

/// The same with what follows: joining interfaces and making records.
fn merge_cost() -> Result<()> {
    let mut ebpf =
        features::load(Switches { max_flows: 2 * DRAINED, sampling: 1, follow_netns: false, ..Default::default() })?;
    let program = kernel::classifier(&mut ebpf, "flow_ingress")?.fd()?.try_clone()?;
    for flow in 0..DRAINED {
        sys::test_run(program.as_fd(), &v4_frame(flow), 1)?;
    }
    let mut drainer = Drainer::new(Maps::take(&mut ebpf)?, 2 * DRAINED, Arc::new(KernelLosses::default()));
    let before = cpu_time()?;
    let records = drainer.end_window()?;
    let cost = cpu_time()?.checked_sub(before).unwrap().as_nanos() as f64 / f64::from(DRAINED) / 1000.0;
    println!("  up to the record   {cost:.3} us of CPU a flow ({} records)", records.len());
    Ok(())
}

fn cpu_time() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}

/// `return TCX_NEXT`, and nothing else.
fn empty_program() -> io::Result<OwnedFd> {
    const BPF_PROG_TYPE_SCHED_CLS: u32 = 3;
    support::empty_program(BPF_PROG_TYPE_SCHED_CLS, -1, "bench_empty")
}

/// A TCP segment of 100 bytes, of flow number `flow`.
fn v4_frame(flow: u32) -> Vec<u8> {
    let mut frame = ethernet(0x0800);
    let addresses = [10, 0, 0, 1, 10, (flow >> 16) as u8, (flow >> 8) as u8, flow as u8];
    frame.extend([0x45, 0, 0, 86, 0, 0, 0x40, 0, 64, 6, 0, 0]);
    frame.extend(addresses);
    tcp(&mut frame, flow)
}

fn v6_frame(flow: u32) -> Vec<u8> {
    let mut frame = ethernet(0x86dd);
    frame.extend([0x60, 0, 0, 0, 0, 46, 6, 64]);
    frame.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    frame.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    frame.extend([(flow >> 16) as u8, (flow >> 8) as u8, flow as u8]);
    tcp(&mut frame, flow)
}

fn ethernet(eth_proto: u16) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    frame.extend(eth_proto.to_be_bytes());
    frame
}

fn tcp(frame: &mut Vec<u8>, flow: u32) -> Vec<u8> {
    frame.extend((1024 + (flow % 60_000) as u16).to_be_bytes());
    frame.extend(80u16.to_be_bytes());
    frame.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 1, 0, 0, 0, 0, 0]);
    frame.resize(100, 0);
    std::mem::take(frame)
}
