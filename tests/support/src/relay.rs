//! A wire with a delay, for kernels without netem: takes each frame off one interface and puts it on another one later.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::blast::open;
use crate::netns::Netns;

/// All EtherTypes (include/uapi/linux/if_ether.h).
const ETH_P_ALL: u16 = 3;
/// Longest wait before a look at whether the relay is to end.
const LOOK: Duration = Duration::from_millis(100);

/// Two interfaces of a namespace, joined with a delay each way. It ends when dropped.
pub struct Relay {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Relay {
    /// Joins `a` and `b`.
    ///
    /// # Panics
    /// When an interface is missing, or without CAP_NET_RAW.
    #[track_caller]
    pub fn new(ns: &Netns, a: &str, b: &str, delay: Duration) -> Self {
        let socket = |name: &str, ethertype| {
            ns.enter(|| open(name, ethertype)).unwrap_or_else(|error| panic!("packet socket on {name}: {error}"))
        };
        let stop = Arc::new(AtomicBool::new(false));
        // What sends must not receive, or it would be sent what it sends.
        let ways = [(socket(a, ETH_P_ALL), socket(b, 0)), (socket(b, ETH_P_ALL), socket(a, 0))];
        let threads = ways.map(|(from, to)| {
            let stop = stop.clone();
            std::thread::spawn(move || carry(&from, &to, delay, &stop))
        });
        Self { stop, threads: threads.into() }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn carry(from: &OwnedFd, to: &OwnedFd, delay: Duration, stop: &AtomicBool) {
    let mut late: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    while !stop.load(Relaxed) {
        let wait = late.front().map_or(LOOK, |(due, _)| due.saturating_duration_since(Instant::now()).min(LOOK));
        let timeout = PollTimeout::try_from(wait).expect("a short time");
        let _ = poll(&mut [PollFd::new(from.as_fd(), PollFlags::POLLIN)], timeout);
        while let Some(frame) = receive(from) {
            late.push_back((Instant::now() + delay, frame));
        }
        while late.front().is_some_and(|(due, _)| *due <= Instant::now()) {
            let (_, frame) = late.pop_front().expect("just looked at");
            // SAFETY: a live buffer with its length.
            unsafe { libc::send(to.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        }
    }
}

/// A frame that came in by the interface; None when there is none.
fn receive(from: &OwnedFd) -> Option<Vec<u8>> {
    loop {
        let mut frame = vec![0u8; 65_536];
        // SAFETY: sockaddr_ll is plain data.
        let mut sender = unsafe { std::mem::zeroed::<libc::sockaddr_ll>() };
        let mut length = size_of_val(&sender) as libc::socklen_t;
        // SAFETY: a live buffer and a whole address, each with its length.
        let got = unsafe {
            let (to, address) = (frame.as_mut_ptr().cast(), (&raw mut sender).cast());
            libc::recvfrom(from.as_raw_fd(), to, frame.len(), libc::MSG_DONTWAIT, address, &raw mut length)
        };
        if got < 0 {
            let error = io::Error::last_os_error();
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}");
            return None;
        }
        // What the other way sends is shown here, too.
        if sender.sll_pkttype != libc::PACKET_OUTGOING {
            frame.truncate(got.cast_unsigned());
            return Some(frame);
        }
    }
}
