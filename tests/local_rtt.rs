//! Round-trip times of TCP over a wire with a known delay.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use netobserv_testkit::link::neighbours;
use netobserv_testkit::{LocalCapture, Netns, Relay, Veth, require_privileged};
use serde_json::Value;

/// Of the wire, there and back.
const DELAY: Duration = Duration::from_millis(50);
const TURNS: usize = 20;

/// Sends a few bytes forth and back, `TURNS` times. Gives the longest time that one took: the wire is a program, which a busy
/// machine lets wait.
fn talk(client: &Netns, server: &Netns, address: &str) -> Duration {
    // For both families: its IPv4 connections have mapped addresses.
    let listener = server.enter(|| TcpListener::bind("[::]:0")).expect("listen");
    let port = listener.local_addr().expect("an address").port();
    let echo = std::thread::spawn(move || {
        let (mut peer, _) = listener.accept().expect("a connection");
        let mut byte = [0];
        while peer.read(&mut byte).is_ok_and(|count| count > 0) {
            peer.write_all(&byte).expect("an answer");
        }
    });
    let target: SocketAddr = format!("{address}:{port}").parse().expect("an address");
    let mut begun = Instant::now();
    let mut longest = Duration::ZERO;
    let mut turn = || {
        longest = longest.max(begun.elapsed());
        begun = Instant::now();
    };
    let mut stream = client.enter(|| TcpStream::connect(target)).expect("connect");
    turn();
    stream.set_nodelay(true).expect("no delay");
    let mut byte = [7];
    for _ in 0..TURNS {
        stream.write_all(&byte).expect("a byte");
        stream.read_exact(&mut byte).expect("its echo");
        turn();
    }
    drop(stream);
    echo.join().expect("the server");
    longest
}

/// The times of the flows from `src` to `dst`, in ns.
fn times(flows: &[Value], src: &str, dst: &str) -> Vec<u64> {
    let between = flows.iter().filter(|flow| flow["SrcAddr"] == src && flow["DstAddr"] == dst && flow["Proto"] == 6);
    between.filter_map(|flow| flow["TimeFlowRttNs"].as_u64()).collect()
}

#[test]
fn a_link_of_fifty_milliseconds() {
    require_privileged!();
    let [left, middle, right, other] = ["left", "middle", "right", "other"].map(Netns::new);
    middle.no_ipv6();
    let near = Veth::new(&left, &["10.7.0.1/24", "fd07::1/64"], &middle, &[]);
    let far = Veth::new(&middle, &[], &right, &["10.7.0.2/24", "fd07::2/64"]);
    // Asking for a neighbour's address takes a round trip, too: the first packet would wait for it.
    neighbours(&left, &near.a.name, &["10.7.0.2", "fd07::2"], far.b.mac);
    neighbours(&right, &far.b.name, &["10.7.0.1", "fd07::1"], near.a.mac);
    let elsewhere = Veth::new(&left, &["10.8.0.1/24"], &other, &["10.8.0.2/24"]);
    let _wire = Relay::new(&middle, &near.b.name, &far.a.name, DELAY / 2);

    let capture = LocalCapture::of(&right, &far.b.name, &["--enable_rtt"]);
    let longest = ["10.7.0.2", "[fd07::2]"].map(|address| talk(&left, &right, address));
    talk(&left, &other, "10.8.0.2");
    let flows = capture.stop().files().flows();

    for ((a, b), longest) in [("10.7.0.1", "10.7.0.2"), ("fd07::1", "fd07::2")].into_iter().zip(longest) {
        // Both sockets are on this machine, so both directions have their receiver's time.
        for (src, dst) in [(a, b), (b, a)] {
            let times = times(&flows, src, dst);
            println!("{src} -> {dst}: {times:?} ns, the longest turn {longest:?}");
            assert!(!times.is_empty(), "no time from {src} to {dst}: {flows:#?}");
            let (least, most) = (DELAY.mul_f64(0.9).as_nanos(), longest.mul_f64(1.1).as_nanos());
            assert!(times.iter().all(|ns| (least..=most).contains(&u128::from(*ns))), "{times:?}");
        }
    }
    let stray =
        flows.iter().filter(|flow| flow.to_string().contains(&elsewhere.b.name) || flow["DstAddr"] == "10.8.0.2");
    assert_eq!(stray.count(), 0, "an interface that is not captured");
}

#[test]
fn without_the_option_there_is_none() {
    require_privileged!();
    let [left, right] = ["left", "right"].map(Netns::new);
    let veth = Veth::new(&left, &["10.7.0.1/24"], &right, &["10.7.0.2/24"]);
    let capture = LocalCapture::of(&right, &veth.b.name, &[]);
    talk(&left, &right, "10.7.0.2");
    let flows = capture.stop().files().flows();
    assert!(flows.iter().any(|flow| flow["Proto"] == 6), "{flows:#?}");
    assert!(flows.iter().all(|flow| flow.get("TimeFlowRttNs").is_none()), "{flows:#?}");
}
