//! What copying a packet costs in the kernel, next to counting it, with the same rule.
//!
//! Run by scripts/bench.sh. The rings are emptied between runs, outside the measured time, and each run continues where the
//! one before ended: so all of their memory is written again and again, as in use. Needs root; sends nothing anywhere.

#[allow(dead_code, reason = "each benchmark uses its part")]
mod support;

use std::{
    error::Error,
    hint::black_box,
    os::fd::{AsFd, OwnedFd},
    time::Instant,
};

use aya::Ebpf;
use netobserv_agent::{
    features::{self, Switches},
    filter::Filter,
    kernel,
    packets::reader::Ring,
    rules::{parse::parse, sets::Sets},
    sys,
};
use netobserv_ebpf_common::packets::MOST;
use support::median;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const ROUNDS: usize = 401;
/// Runs in one go: so many of the longest frames fit into the ring of a CPU.
const REPEAT: u32 = 120;
const RULE: &str = r#"[{"protocol":"TCP","port":80}]"#;
/// Most that copying a frame of 1,514 bytes may cost, in the cost of counting it.
const MOST_TIMES: f64 = 1.6;

fn main() -> Result<()> {
    if !support::wanted() {
        return Ok(());
    }
    let switches = Switches { max_flows: 50_000, sampling: 1, filter: true, ..Default::default() };
    let flows = load(switches)?;
    let flow_program = program(flows, "flow_ingress")?;
    println!("a packet copied for the agent, and the same packet counted:");
    for (length, most) in [(128, None), (256, None), (1514, Some(MOST_TIMES)), (3500, None)] {
        let mut packets = load(Switches { snaplen: Some(MOST as u32), ..switches })?;
        let mut ring = Ring::take(&mut packets, false)?;
        let packet_program = program(packets, "packet_ingress")?;
        let frame = frame(length);
        let (mut counted, mut copied, mut read) = (vec![], vec![], vec![]);
        for _ in 0..ROUNDS {
            counted.push(f64::from(sys::test_run(flow_program.1.as_fd(), &frame, REPEAT)?.1));
            copied.push(f64::from(sys::test_run(packet_program.1.as_fd(), &frame, REPEAT)?.1));
            let start = Instant::now();
            let count = ring.read(usize::MAX, |head, data| {
                black_box((head.time_ns, data.first().copied()));
            });
            read.push(start.elapsed().as_nanos() as f64 / count as f64);
            assert_eq!((count, ring.lost().len()), (REPEAT as usize, 0), "every packet found room");
        }
        let (counted, copied) = (median(counted), median(copied));
        let times = copied / counted;
        let verdict = most.map_or(String::new(), |most| {
            format!(" ({}, at most {most})", if times <= most { "good" } else { "NOT MET" })
        });
        let read = median(read);
        println!(
            "  {length:5} bytes {copied:6.1} ns, counted {counted:6.1} ns: {times:.2} times{verdict}; taken out {read:.0} ns"
        );
    }
    Ok(())
}

fn load(switches: Switches) -> Result<Ebpf> {
    let mut ebpf = features::load(switches)?;
    Filter::take(&mut ebpf, 1)?.replace(&parse(RULE)?, &Sets::default())?;
    Ok(ebpf)
}

/// A program, and what keeps it alive.
fn program(mut ebpf: Ebpf, name: &'static str) -> Result<(Ebpf, OwnedFd)> {
    let program = kernel::classifier(&mut ebpf, name)?.fd()?.try_clone()?;
    let program = program.as_fd().try_clone_to_owned()?;
    Ok((ebpf, program))
}

/// A TCP segment to port 80.
fn frame(length: usize) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
    frame.extend([0x45, 0]);
    frame.extend((length as u16 - 14).to_be_bytes());
    frame.extend([0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    frame.extend([0x10, 0, 0, 80, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 1, 0, 0, 0, 0, 0]);
    frame.resize(length, 7);
    frame
}
