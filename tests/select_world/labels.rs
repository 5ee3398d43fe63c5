//! Many pods whose labels change, and what comes to each of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use netobserv_testkit::Files;
use netobserv_testkit::wait::now_ms;

use super::{AT_CLIENT, send_each, socket, wait_sets};
use crate::cluster_world::Shop;

/// Pods with labels.
pub(crate) const PODS: u8 = 200;
/// Pods that change in a turn, which begins every second.
const CHANGE: u8 = 20;
/// The first pods belong all the time, and the next ones never.
const STEADY: u8 = 20;
const TURN: Duration = Duration::from_secs(1);
/// Between datagrams while labels change.
const PAUSE: Duration = Duration::from_millis(2);

/// Ports of what is sent after a change, with the number of the turn, while a change is under way, and to new pods.
const AFTER: u16 = 20_000;
const DURING: u16 = 30_000;
const NEW: u16 = 40_000;

/// The pods, all of them in the network namespace of the server, and what was sent to them.
pub(crate) struct Many<'a> {
    shop: &'a Shop,
    members: BTreeSet<u8>,
    wanted: BTreeMap<(u16, Ipv4Addr), u64>,
    /// When each new pod was put into the cluster, ms since 1970.
    began: BTreeMap<Ipv4Addr, u64>,
    /// From the change to the moment when all agents had it.
    pub(crate) changes: Vec<Duration>,
}

fn address(pod: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 99, 0, pod)
}

/// What the API server reports last in a turn: when agents have its address, they have all that came before.
fn mark(turn: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 99, 1, turn)
}

impl<'a> Many<'a> {
    pub(crate) fn new(shop: &'a Shop) -> Self {
        shop.server.netns.ip("route add local 10.99.0.0/16 dev lo");
        shop.client.netns.ip(&format!("route add 10.99.0.0/16 via {}", shop.server.address));
        let many = Self {
            shop,
            members: (1..=STEADY).collect(),
            wanted: BTreeMap::new(),
            began: BTreeMap::new(),
            changes: Vec::new(),
        };
        many.put("mark-0", mark(0), "none");
        (1..=PODS).for_each(|pod| many.put_member(pod));
        many
    }

    fn put_member(&self, pod: u8) {
        let tier = if self.members.contains(&pod) { "front" } else { "back" };
        self.put(&format!("many-{pod}"), address(pod), tier);
    }

    fn put(&self, name: &str, address: Ipv4Addr, tier: &str) {
        let labels = serde_json::json!({"app": "many", "tier": tier});
        self.shop.cluster.api().put(serde_json::json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"namespace": "shop", "name": name, "labels": labels,
                "annotations": {"test/workload": "true"}},
            "spec": {"nodeName": "node2", "containers": [{"name": "many"}]},
            "status": {"phase": "Running", "podIP": address.to_string(), "startTime": "2026-01-01T00:00:00Z"}}));
    }

    pub(crate) fn wait(&self, turn: u8) {
        let elements = (self.members.len(), usize::from(turn) + 1);
        wait_sets(self.shop, &format!("1 with {} elements; 2 with {} elements;", elements.0, elements.1));
    }

    /// So many changes, one a second, with datagrams to pods during and after each.
    pub(crate) fn change(&mut self, turns: u8) {
        let start = Instant::now();
        for turn in 1..=turns {
            sleep((start + TURN * u32::from(turn)).saturating_duration_since(Instant::now()));
            let others = PODS - 2 * STEADY;
            let changed: Vec<u8> = (0..CHANGE)
                .map(|pod| {
                    2 * STEADY + 1 + ((u16::from(turn) * u16::from(CHANGE) + u16::from(pod)) % u16::from(others)) as u8
                })
                .collect();
            for pod in &changed {
                if !self.members.remove(pod) {
                    self.members.insert(*pod);
                }
            }
            let over = AtomicBool::new(false);
            let rounds = scope(|scope| {
                let during = scope.spawn(|| self.send_during(turn, &over));
                changed.iter().for_each(|pod| self.put_member(*pod));
                let (began, put) = (Instant::now(), now_ms());
                self.put(&format!("mark-{turn}"), mark(turn), "none");
                self.wait(turn);
                let took = began.elapsed();
                over.store(true, Ordering::Relaxed);
                (during.join().expect("datagrams"), took, put)
            });
            let (rounds, took, put) = rounds;
            self.changes.push(took);
            self.began.insert(mark(turn), put);
            let during = (1..=STEADY).map(|pod| ((DURING + u16::from(turn), address(pod)), rounds));
            self.wanted.extend(during);
            let port = AFTER + u16::from(turn);
            send_each(self.shop, (1..=PODS).map(address), port);
            self.wanted.extend(self.members.iter().map(|pod| ((port, address(*pod)), 1)));
        }
    }

    /// Datagrams to pods that belong before and after, to pods that never do, and to the new one. Gives their number for each.
    fn send_during(&self, turn: u8, over: &AtomicBool) -> u64 {
        let (socket, mut rounds) = (socket(self.shop), 0);
        loop {
            // The last round begins when all agents have the change: it certainly reaches the new pod.
            let last = over.load(Ordering::Relaxed);
            for pod in 1..=2 * STEADY {
                socket.send_to(b"x", (address(pod), DURING + u16::from(turn))).expect("sent");
            }
            socket.send_to(b"x", (mark(turn), NEW)).expect("sent");
            rounds += 1;
            if last {
                return rounds;
            }
            sleep(PAUSE);
        }
    }

    /// Each packet of a member is in the files, and none of another pod. Gives how many packets that are.
    #[track_caller]
    pub(crate) fn check(&self, files: &Files) -> u64 {
        let db = files.database();
        let sql = format!(
            "SELECT DstPort, DstAddr, sum(Packets) FROM flow
            WHERE Proto = 17 AND DstPort BETWEEN {AFTER} AND {NEW} - 1 AND {AT_CLIENT} GROUP BY 1, 2"
        );
        let mut select = db.prepare(&sql).unwrap();
        let rows =
            select.query_map([], |row| Ok(((row.get::<_, u16>(0)?, row.get::<_, String>(1)?), row.get::<_, i64>(2)?)));
        let row = |((port, address), packets): ((u16, String), i64)| {
            ((port, address.parse().unwrap()), packets.cast_unsigned())
        };
        let found: BTreeMap<(u16, Ipv4Addr), u64> = rows.unwrap().map(Result::unwrap).map(row).collect();
        let missing: Vec<_> = self.wanted.iter().filter(|(key, count)| found.get(key) != Some(count)).collect();
        let foreign: Vec<_> = found.iter().filter(|(key, _)| !self.wanted.contains_key(key)).collect();
        assert!(missing.is_empty() && foreign.is_empty(), "missing: {missing:?}\nforeign: {foreign:?}");
        found.values().sum()
    }

    /// From the moment when a pod was put into the cluster to the first of its packets in the files, in ms, shortest first.
    #[track_caller]
    pub(crate) fn first_packets(&self, files: &Files) -> Vec<u64> {
        let of = |(address, put): (&Ipv4Addr, &u64)| {
            let sql = format!("SELECT min(TimeFlowStartMs) FROM flow WHERE DstAddr = '{address}' AND DstPort = {NEW}");
            files.number(&sql).checked_sub(*put).unwrap_or_else(|| panic!("no packet of {address} after {put}"))
        };
        let mut all: Vec<u64> = self.began.iter().map(of).collect();
        all.sort_unstable();
        all
    }
}
