//! The flow programs with a filter, run by the kernel on frames that never touch an interface.
#![allow(dead_code, unreachable_pub, reason = "each test uses its part")]

use std::os::fd::{AsFd, OwnedFd};

use netobserv_agent::{
    drain::Maps,
    features::{self, Switches},
    filter::Filter,
    kernel,
    merge::Counted,
    rules::{Rule, parse::parse, sets::Sets},
    sys,
};
use netobserv_ebpf_common::{EGRESS, FlowCount, Key6, mapped};

/// Both programs and their maps, on no interface.
pub struct Lab {
    programs: [OwnedFd; 2],
    maps: Maps,
    filter: Filter,
    _ebpf: aya::Ebpf,
}

impl Lab {
    /// With the filter switched on and no rules yet, so that everything is kept.
    pub fn new(max_flows: u32, sampling: u32) -> Self {
        Self::with(Switches { max_flows, sampling, ..Default::default() })
    }

    /// The same with other features as well.
    pub fn with(switches: Switches) -> Self {
        let (switches, sampling) = (Switches { filter: true, sets: true, ..switches }, switches.sampling);
        let mut ebpf = features::load(switches).expect("the programs load");
        let programs = ["flow_ingress", "flow_egress"].map(|name| {
            let program = kernel::classifier(&mut ebpf, name).expect("a program").fd().expect("it is loaded");
            program.as_fd().try_clone_to_owned().expect("a descriptor")
        });
        let mut filter = Filter::take(&mut ebpf, sampling).expect("maps of the filter");
        filter.replace(&[], &Sets::default()).expect("no rules");
        Self { programs, maps: Maps::take(&mut ebpf).expect("maps"), filter, _ebpf: ebpf }
    }

    /// Puts rules in force, from their JSON.
    #[track_caller]
    pub fn rules(&mut self, json: &str) -> Vec<Rule> {
        let rules = parse(json).unwrap_or_else(|error| panic!("{json}: {error}"));
        self.put(&rules);
        rules
    }

    /// The same from what was read already.
    #[track_caller]
    pub fn put(&mut self, rules: &[Rule]) {
        self.put_sets(rules, &Sets::default());
    }

    /// The same with the sets that they name.
    #[track_caller]
    pub fn put_sets(&mut self, rules: &[Rule], sets: &Sets) {
        self.filter.replace(rules, sets).expect("the kernel takes the rules");
    }

    /// The program of a direction, to run it while rules are replaced.
    pub fn program(&self, direction: u8) -> OwnedFd {
        self.programs[usize::from(direction == EGRESS)].try_clone().expect("a descriptor")
    }

    /// Runs the program of a direction on a frame.
    #[track_caller]
    pub fn run(&self, direction: u8, frame: &[u8], times: u32) {
        let program = &self.programs[usize::from(direction == EGRESS)];
        let (verdict, _) = sys::test_run(program.as_fd(), frame, times).expect("a test run");
        assert_eq!(verdict as i32, -1, "TCX_NEXT: no packet is ever held up");
    }

    /// Runs the program once; false if the kernel itself refuses the frame.
    pub fn try_run(&self, direction: u8, frame: &[u8]) -> bool {
        let program = &self.programs[usize::from(direction == EGRESS)];
        match sys::test_run(program.as_fd(), frame, 1) {
            Ok((verdict, _)) => assert_eq!(verdict as i32, -1, "TCX_NEXT: no packet is ever held up"),
            Err(_) => return false,
        }
        true
    }

    /// All flows counted since the last time, IPv4 addresses mapped.
    pub fn flows(&mut self) -> Vec<(Key6, FlowCount)> {
        let mut flows = vec![];
        let each = |counted: Counted<'_>| flows.push(wide(counted));
        self.maps.drain_active(each).expect("the maps are read");
        self.maps.read_overflow(|counted| flows.push(wide(counted)));
        flows
    }

    /// How many packets were counted since the last time.
    pub fn packets(&mut self) -> u64 {
        self.flows().iter().map(|(_, count)| count.packets).sum()
    }
}

fn wide(counted: Counted<'_>) -> (Key6, FlowCount) {
    match counted {
        Counted::V4(key, count) => (Key6 { src: mapped(key.src), dst: mapped(key.dst), at: key.at }, *count),
        Counted::V6(key, count) => (*key, *count),
    }
}

/// Random numbers from a seed that the test prints (xorshift64*, Vigna 2016), the same on every run.
pub struct Random(u64);

impl Random {
    /// From a seed that is not zero.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        ((self.next() >> 32) as usize) % end
    }

    /// True in one of `n` cases.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of them.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}
