use std::time::Duration;

use netobserv_testkit::{Netns, Veth, require_privileged, wait_for};

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn connections_without_translation_stay_in_the_kernel() {
    require_privileged!();
    let [client, router] = ["client", "router"].map(Netns::new);
    let veth = Veth::with_neighbours(&client, &["10.41.0.2/24"], &router, &["10.41.0.1/24"]);
    router
        .run("nft")
        .arg("table ip f { chain in { type filter hook input priority 0; ct state new accept; }; }")
        .output();
    let source = router.enter(|| Source::open(1, "router".into()).unwrap());
    let datagram = || source.socket.recv(&mut Vec::with_capacity(DATAGRAM), libc::MSG_DONTWAIT).ok();
    assert!(wait_for(PATIENCE, || datagram().is_some()), "the list of before");
    client.enter(|| {
        let socket = std::net::UdpSocket::bind("10.41.0.2:0").unwrap();
        (1..100).for_each(|port| drop(socket.send_to(b"x", ("10.41.0.1", port))));
    });
    let count = || router.enter(|| std::fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count")).unwrap();
    assert!(wait_for(PATIENCE, || count().trim().parse::<u32>().unwrap() >= 99), "{}", count());
    assert_eq!(datagram(), None, "nothing is reported of {}", veth.b.name);
}
