//! What the kernel really reports.

use netobserv_testkit::{Blast, Netns as Lab, Veth, require_privileged, wait_for};
use netobserv_wire::pbflow::AgentStatus;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);
/// More than a socket has room for.
const CONNECTIONS: u32 = 50_000;
const RULES: &str =
    "table ip nat { chain in { type nat hook prerouting priority -100; udp dport 53000 dnat to 10.42.0.1; }; }";

#[test]
fn lost_messages_are_counted_and_all_connections_are_listed_anew() {
    require_privileged!();
    let [client, router] = ["client", "router"].map(Lab::new);
    let veth = Veth::with_neighbours(&client, &["10.41.0.2/24"], &router, &["10.41.0.1/24", "10.42.0.1/24"]);
    router.ip("route add 10.0.0.0/8 via 10.41.0.2");
    router.run("nft").arg(RULES).output();
    let (translations, netns) = (Translations::default(), Netns::open(&router.path()).unwrap());
    let source = netns.run(|| translations.open(&netns)).unwrap().expect("a socket");

    let blast = Blast { flows: CONNECTIONS, src_mac: veth.a.mac, dst_mac: veth.b.mac, ..Blast::default() };
    blast.run(&client, &veth.a.name);
    let count = || router.enter(|| std::fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count")).unwrap();
    assert!(wait_for(PATIENCE, || count().trim() == CONNECTIONS.to_string()), "{}", count());

    let (mut table, mut listener) = (Table::new(MOST), Listener::new(translations.clone()));
    let all = wait_for(PATIENCE, || {
        listener.read(&mut table);
        table.len() == CONNECTIONS as usize
    });
    assert!(all, "{} of {CONNECTIONS} connections", table.len());
    let mut status = AgentStatus::default();
    translations.unknown.report(&mut status);
    assert!(status.lost_translations > 0 && status.no_translations.is_empty(), "{status:?}");

    drop(source);
    listener.read(&mut table);
    (0..5).for_each(|_| table.begin_window());
    assert_eq!(table.len(), 0, "those of a namespace that is not followed any more are forgotten");
}
