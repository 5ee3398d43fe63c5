//! What names of a large cluster cost: how long a look-up takes, how much memory the index, and how much of the rate is left
//! when both ends of every flow have names.

use std::hint::black_box;
use std::time::Duration;

use netobserv_collector::enrich::Names;
use netobserv_collector::enrich::index::{Index, Question};
use netobserv_collector::enrich::subnets::Subnets;
use netobserv_collector::facts::{Fact, Identity, Owner, Pod, Service};
use netobserv_testkit::memory::{mib, of_process};

use crate::large::{NODE, PODS, SERVICES, batches, cluster, host_address, name, pod_address, service_address};
use crate::{BATCHES, RECORDS, Taken, take_for_with, verdict};

/// Of the rate without names.
const WANTED_RATIO: f64 = 0.85;
const WANTED_NANOS: f64 = 200.0;
const WANTED_MIB: f64 = 60.0;
const MEMORY_LIMIT: f64 = 400.0;
const LOOKUPS: u64 = 4_000_000;
/// Runs without and with names, in turns.
const PAIRS: usize = 5;

/// Measures and prints.
pub(crate) fn run(load: Duration) {
    measure_index();
    let (server, batches) = (cluster(), batches(BATCHES, RECORDS));
    let url = server.url();
    let part = load / (2 * PAIRS as u32);
    let plain = || take_for_with(&batches, part, |run| run);
    let named = || take_for_with(&batches, part, |run| run.env("NETOBSERV_KUBE_URL", &url));
    plain(); // The first run warms up.
    let runs: [_; PAIRS] = std::array::from_fn(|_| (plain(), named()));
    let mut ratios = runs.each_ref().map(|(plain, named)| named.rate / plain.rate);
    ratios.sort_by(f64::total_cmp);
    for (plain, named) in &runs {
        println!("without names {:.0} rows/s, with names on both ends {:.0} rows/s", plain.rate, named.rate);
    }
    let ratio = ratios[PAIRS / 2];
    println!(
        "with names: {ratio:.2} times the rate without, the median of {ratios:.2?}; {}",
        verdict(ratio >= WANTED_RATIO, "wanted at least 0.85")
    );
    let all = || runs.iter().flat_map(|(plain, named)| [plain, named]);
    let cpu = |taken: fn(&(Taken, Taken)) -> &Taken| runs.iter().map(|run| taken(run).cpu).sum::<f64>() / PAIRS as f64;
    println!("CPU a row: {:.2} us without names, {:.2} us with names", cpu(|run| &run.0), cpu(|run| &run.1));
    let lost: u64 = all().map(|taken: &Taken| taken.sent - taken.written).sum();
    println!("lost: {lost}, {}", verdict(lost == 0, "wanted 0"));
    let memory = runs.iter().map(|(_, named)| named.memory).fold(0.0, f64::max);
    println!(
        "resident memory with names: {memory:.0} MiB at most, {}",
        verdict(memory < MEMORY_LIMIT, "wanted less than 400")
    );
}

fn measure_index() {
    let before = resident();
    let mut index = Index::default();
    (0..PODS).for_each(|number| drop(index.apply(Fact::Pod(pod(number)), 0)));
    (0..SERVICES).for_each(|number| drop(index.apply(Fact::Service(service(number)), 0)));
    let memory = resident() - before;
    println!(
        "index of {PODS} pods and {SERVICES} services: {memory:.1} MiB, {}",
        verdict(memory < WANTED_MIB, "wanted less than 60")
    );
    let questions: Vec<_> = (0..PODS + SERVICES).map(|number| question(number * 7_919 % (PODS + SERVICES))).collect();
    let start = own_nanos();
    for number in 0..LOOKUPS {
        black_box(index.find(&questions[number as usize % questions.len()])).expect("a holder");
    }
    let nanos = (own_nanos() - start) / LOOKUPS as f64;
    println!("look-up: {nanos:.0} ns of CPU, {}", verdict(nanos < WANTED_NANOS, "wanted less than 200"));
    let names = Names::new(Subnets::default());
    (0..PODS).for_each(|number| names.learn(Fact::Pod(pod(number))));
    let flow = |number: u64| netobserv_wire::Flow {
        src_addr: Some(pod_address(number % PODS, false)),
        dst_addr: Some(pod_address(number * 7_919 % PODS, true)),
        start_ms: 1,
        ..Default::default()
    };
    let mut flows: Vec<_> = (0..LOOKUPS / 10).map(flow).collect();
    // In messages, as they come.
    let start = own_nanos();
    flows.chunks_mut(RECORDS as usize).for_each(|message| names.name(message));
    println!("naming a flow: {:.0} ns of CPU", (own_nanos() - start) / flows.len() as f64);
}

/// Nanoseconds that this thread has had a CPU.
fn own_nanos() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("its times");
    text.split(' ').next().and_then(|nanos| nanos.parse().ok()).expect("a number")
}

/// Resident memory of this process, MiB.
fn resident() -> f64 {
    mib(of_process(std::process::id().cast_signed(), "VmRSS").expect("this process"))
}

fn pod(number: u64) -> Pod {
    Pod {
        identity: Identity {
            uid: format!("00000000-0000-4000-8000-{number:012x}"),
            namespace: format!("namespace-{}", number % 50),
            name: name(number),
            owner: Some(Owner { kind: "ReplicaSet".into(), name: format!("workload-{}-7d9c6b5f4", number / 10) }),
            created_ms: 0,
        },
        node: format!("worker-{}.example.internal", number / NODE),
        host_ip: Some(host_address(number)),
        addresses: vec![pod_address(number, false), pod_address(number, true)],
        ..Pod::default()
    }
}

fn service(number: u64) -> Service {
    let identity = Identity {
        uid: format!("10000000-0000-4000-8000-{number:012x}"),
        namespace: format!("namespace-{}", number % 50),
        name: format!("workload-{number}"),
        ..Identity::default()
    };
    Service { identity, addresses: vec![service_address(number)], ..Service::default() }
}

fn question(number: u64) -> Question {
    let address =
        if number < PODS { pod_address(number, number.is_multiple_of(4)) } else { service_address(number - PODS) };
    Question { address, mac: None, port: Some((6, 8_080)), at_ms: 5 }
}
