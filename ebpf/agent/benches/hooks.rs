//! What the features cost: the hooks for round-trip times and drops, each next to an empty program on the same
//! tracepoint, and the flow program with everything switched on next to the plain one.
//!
//! Run by scripts/bench.sh. Needs root; sends on the loopback interface only.

mod support;

use std::{
    error::Error,
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream, UdpSocket},
    os::fd::{AsFd, AsRawFd, OwnedFd},
};

use aya::{
    programs::loaded_programs,
    sys::{Stats, enable_stats},
};
use netobserv_agent::{
    drops,
    features::{self, Switches},
    filter::Filter,
    kernel, rtt,
    rules::{parse::parse, sets::Sets},
    sys, tracepoint,
};
use support::median;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const ROUNDS: usize = 15;
const REPEAT: u32 = 1_000_000;
const SEGMENTS: usize = 20_000;
const ON: Switches = Switches {
    max_flows: 50_000,
    sampling: 1,
    follow_netns: false,
    filter: false,
    sets: false,
    dns_port: 0,
    rtt: false,
    drops: false,
    snaplen: None,
    sockets: false,
};

fn main() -> Result<()> {
    if !support::wanted() {
        return Ok(());
    }
    everything_on()?;
    println!("hooks, as the kernel measures them in use (the measuring is in it, for both programs alike):");
    hook("a received TCP segment", Switches { rtt: true, ..ON }, rtt::PROGRAM, rtt::TRACEPOINT, talk)?;
    hook("a dropped datagram", Switches { drops: true, ..ON }, drops::PROGRAM, drops::TRACEPOINT, knock)
}

/// A plain TCP segment, with DNS, round-trip times, drops and a filter rule on.
fn everything_on() -> Result<()> {
    let all = Switches { filter: true, dns_port: 53, rtt: true, drops: true, ..ON };
    let (mut plain, mut full) = (features::load(ON)?, features::load(all)?);
    Filter::take(&mut full, 1)?.replace(&parse(r#"[{"protocol":"TCP","port":80}]"#)?, &Sets::default())?;
    let plain = kernel::classifier(&mut plain, "flow_ingress")?.fd()?.try_clone()?;
    let full = kernel::classifier(&mut full, "flow_ingress")?.fd()?.try_clone()?;
    let (mut without, mut with) = (vec![], vec![]);
    let frame = segment();
    for _ in 0..ROUNDS {
        without.push(f64::from(sys::test_run(plain.as_fd(), &frame, REPEAT)?.1));
        with.push(f64::from(sys::test_run(full.as_fd(), &frame, REPEAT)?.1));
    }
    let (without, with) = (median(without), median(with));
    let ratio = with / without;
    let verdict = if ratio <= 1.5 { "good" } else { "NOT MET" };
    println!("flow program with DNS, round-trip times, drops and a filter rule, plain TCP segment:");
    println!("  {with:6.1} ns, without them {without:5.1} ns: {ratio:.2} times ({verdict}, at most 1.5)");
    Ok(())
}

/// A hook in use, next to an empty program on the same tracepoint.
fn hook(
    title: &str,
    switches: Switches,
    program: &'static str,
    point: &str,
    traffic: fn() -> io::Result<()>,
) -> Result<()> {
    let mut ebpf = features::load(switches)?;
    let _link = tracepoint::attach(&mut ebpf, program)?;
    let (empty, _empty_link) = empty_program(point)?;
    let _stats = enable_stats(Stats::RunTime)?;
    let (mut bases, mut figures) = (vec![], vec![]);
    for _ in 0..ROUNDS {
        let before = (used(program)?, used(empty)?);
        traffic()?;
        figures.push(mean(used(program)?, before.0));
        bases.push(mean(used(empty)?, before.1));
    }
    let (base, figure) = (median(bases), median(figures));
    println!("  {title:24} {figure:6.1} ns, empty program {base:5.1} ns: {:.1} ns more", figure - base);
    Ok(())
}

/// Ns and runs of a loaded program so far.
fn used(name: &str) -> Result<(f64, u64)> {
    let mut programs = loaded_programs().filter_map(std::result::Result::ok);
    let info = programs.find(|info| info.name_as_str() == Some(name)).ok_or("the program is not loaded")?;
    Ok((info.run_time().as_nanos() as f64, info.run_count()))
}

fn mean(now: (f64, u64), before: (f64, u64)) -> f64 {
    (now.0 - before.0) / (now.1 - before.1).max(1) as f64
}

/// One byte forth and back, again and again.
fn talk() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut near = TcpStream::connect(listener.local_addr()?)?;
    let (mut far, _) = listener.accept()?;
    near.set_nodelay(true)?;
    let mut byte = [0];
    for _ in 0..SEGMENTS {
        near.write_all(&byte)?;
        far.read_exact(&mut byte)?;
    }
    Ok(())
}

/// Datagrams to a closed port.
fn knock() -> io::Result<()> {
    let nobody = UdpSocket::bind("127.0.0.1:0")?.local_addr()?;
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    for _ in 0..SEGMENTS {
        socket.send_to(&[0; 100], nobody)?;
    }
    Ok(())
}

/// `return 0`, and nothing else, on a raw tracepoint. Returns its name, and what keeps it there.
fn empty_program(point: &str) -> io::Result<(&'static str, [OwnedFd; 2])> {
    const NAME: &str = "bench_empty";
    const BPF_RAW_TRACEPOINT_OPEN: i64 = 17;
    const BPF_PROG_TYPE_RAW_TRACEPOINT: u32 = 17;
    let program = support::empty_program(BPF_PROG_TYPE_RAW_TRACEPOINT, 0, NAME)?;
    let point = std::ffi::CString::new(point)?;
    let link = support::bpf(BPF_RAW_TRACEPOINT_OPEN, &(point.as_ptr() as u64, program.as_raw_fd() as u64))?;
    Ok((NAME, [program, link]))
}

/// A TCP segment of 100 bytes to port 80.
fn segment() -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
    frame.extend([0x45, 0, 0, 86, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    frame.extend([0x10, 0, 0, 80, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 1, 0, 0, 0, 0, 0]);
    frame.resize(100, 0);
    frame
}
