//! A whole local capture beside the load: plugin, agent and collector, of real packets whose number the interface knows.

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;

use netobserv_testkit::capture::Sum;
use netobserv_testkit::link::Counters;
use netobserv_testkit::{Blast, LocalCapture, Pair, privilege};

use crate::memory::Memory;

/// Each second: so many flows of ten packets.
const FLOWS: u32 = 500;
const ROUNDS: u32 = 10;
/// Most resident memory of the agent, MiB.
const AGENT_MIB: f64 = 200.0;

/// The capture and its traffic.
pub(crate) struct Real {
    capture: LocalCapture,
    pair: Arc<Pair>,
    before: Counters,
    stop: Arc<AtomicBool>,
    traffic: JoinHandle<()>,
    memory: RefCell<Memory>,
}

/// Starts it where this machine can.
pub(crate) fn start(folder: &Path) -> Option<Real> {
    if let Err(why) = privilege::privileged() {
        println!("without an agent and real packets: {why}");
        return None;
    }
    let pair = Arc::new(Pair::silent());
    let dir = tempfile::tempdir_in(folder).expect("a folder");
    let words = [&format!("--interfaces={}", pair.captured()), "--max-bytes=100000000000", "--max-time=10h"];
    let mut capture = LocalCapture::start_in(dir, &words);
    capture.wait_attached(&pair.right, pair.captured());
    let (before, stop) = (pair.counters(), Arc::new(AtomicBool::new(false)));
    let memory = RefCell::new(Memory::of("agent", capture.child("netobserv-agent"), AGENT_MIB));
    let traffic = std::thread::spawn({
        let (pair, stop) = (pair.clone(), stop.clone());
        move || {
            let second = Blast { flows: FLOWS, rounds: ROUNDS, rate: Some(FLOWS * ROUNDS), ..Blast::default() };
            while !stop.load(Relaxed) {
                second.run(&pair.left, &pair.veth.a.name);
            }
        }
    });
    Some(Real { capture, pair, before, stop, traffic, memory })
}

impl Real {
    pub(crate) fn look(&self) {
        self.memory.borrow_mut().look();
    }

    /// Ends it and returns what is wrong.
    pub(crate) fn end(self) -> Vec<String> {
        self.stop.store(true, Relaxed);
        self.traffic.join().expect("the traffic");
        let counted = self.pair.counters().since(&self.before);
        let came = Sum { packets: counted.rx_packets, bytes: counted.rx_bytes };
        let ended = self.capture.stop();
        let files = ended.files();
        let (seen, lost) = (files.sum("IfDirection = 0"), files.lost());
        let rows = files.rows();
        println!("real packets: {} came, {} are in {rows} flows, {} lost", came.packets, seen.packets, lost.packets);
        let mut wrong = self.memory.borrow().verdict();
        if seen + lost != came {
            wrong.push(format!("the interface counted {came:?}, the capture {seen:?} and lost {lost:?}"));
        }
        files.assert_whole();
        wrong
    }
}
