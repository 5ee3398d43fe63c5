//! Frames that every network has, and cut ones.

use crate::tui::packets::numbers::Base;
use netobserv_testkit::Frame;

use super::{layers, summary};

fn frame() -> Frame {
    Frame::new([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
}

fn ipv4() -> Frame {
    frame().ipv4("10.0.0.1", "10.0.0.2")
}

/// A client hello that asks for `name` (RFC 8446).
fn client_hello(name: &str) -> Vec<u8> {
    let size = |number: usize| (number as u16).to_be_bytes();
    let mut server = vec![0, 0];
    server.extend(size(name.len() + 5));
    server.extend(size(name.len() + 3));
    server.push(0);
    server.extend(size(name.len()));
    server.extend(name.as_bytes());
    let grease: &[u8] = &[0x0a, 0x0a, 0, 1, 0];
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([2, 9, 9]);
    body.extend([0, 2, 0x13, 0x01, 1, 0]);
    body.extend(size(server.len() + grease.len()));
    body.extend(grease);
    body.extend(server);
    let mut record = vec![22, 3, 1];
    record.extend(size(body.len() + 4));
    record.extend([1, 0]);
    record.extend(size(body.len()));
    record.extend(body);
    record
}

/// A question for the address of `demo.test`, and the answer when there is one.
fn dns(flags: u16, answer: &[u8]) -> Vec<u8> {
    let mut message = vec![0x12, 0x34];
    message.extend(flags.to_be_bytes());
    message.extend([0, 1, 0, u8::from(!answer.is_empty()), 0, 0, 0, 0]);
    message.extend(b"\x04demo\x04test\x00\x00\x01\x00\x01");
    message.extend(answer);
    message
}

#[test]
fn the_last_known_layer_sums_a_frame_up() {
    let answer = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7];
    for (frame, name, info) in [
        (ipv4().tcp(48752, 80, 2), "TCP", "48752 → 80 [SYN] seq 1 ack 1 win 65535 len 0"),
        (ipv4().udp(9, 10).payload(30), "UDP", "9 → 10 len 30"),
        (ipv4().icmp(8, 0), "ICMP", "echo request id 7 seq 1"),
        (frame().ipv6("fd00::1", "fd00::2").icmp(129, 0), "ICMPv6", "echo reply id 7 seq 1"),
        (ipv4().sctp(5, 6), "SCTP", "5 → 6"),
        (frame().vlan(0x8100, 5).ipv4("10.0.0.1", "10.0.0.2").udp(1, 2), "UDP", "1 → 2 len 0"),
        (ipv4().fragment(7, 64, false).udp(1, 2).payload(64), "IPv4", "10.0.0.1 → 10.0.0.2 UDP"),
        (ipv4().udp(4000, 53).carrying(&dns(0x0100, &[])), "DNS", "query A demo.test"),
        (ipv4().udp(53, 4000).carrying(&dns(0x8180, &answer)), "DNS", "NoError A demo.test: A 192.0.2.7"),
        (ipv4().udp(53, 4000).carrying(&dns(0x8183, &[])), "DNS", "NXDomain A demo.test"),
        (ipv4().tcp(4000, 80, 24).carrying(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"), "HTTP", "GET /x HTTP/1.1"),
        (ipv4().tcp(80, 4000, 24).carrying(b"HTTP/1.1 200 OK\r\n\r\n"), "HTTP", "HTTP/1.1 200 OK"),
        (ipv4().tcp(4000, 443, 24).carrying(&client_hello("shop.test")), "TLS", "client hello for shop.test"),
        (ipv4().tcp(443, 4000, 24).carrying(&[23, 3, 3, 0, 2, 1, 2]), "TLS", "application data"),
        (frame().other(0x88cc, &[1, 2, 3]), "Ethernet", "02:00:00:00:00:01 → 02:00:00:00:00:02"),
    ] {
        assert_eq!(summary(&frame.build(), Base::default()), (name, info.to_owned()));
    }
}

#[test]
fn the_length_of_a_segment_is_that_on_the_wire() {
    for frame in [ipv4(), frame().ipv6("fd00::1", "fd00::2")] {
        let bytes = frame.tcp(48752, 80, 16).payload(10_512).build();
        for kept in [bytes.len(), 2_048, 90] {
            let (name, info) = summary(&bytes[..kept], Base::default());
            assert_eq!(
                (name, info.as_str()),
                ("TCP", "48752 → 80 [ACK] seq 1 ack 1 win 65535 len 10512"),
                "{kept} kept"
            );
        }
    }
}

#[test]
fn layers_lie_side_by_side_and_cover_the_frame() {
    let bytes = frame().vlan(0x88a8, 7).vlan(0x8100, 5).ipv6("fd00::1", "fd00::2").extension(0, &[1, 4, 0, 0, 0, 0]);
    let bytes = bytes.tcp(1, 2, 0x12).payload(9).build();
    let layers = layers(&bytes, Base::default());
    let names: Vec<_> = layers.iter().map(|layer| layer.name).collect();
    assert_eq!(names, ["Ethernet", "802.1ad", "802.1Q", "IPv6", "Hop-by-hop", "TCP", "Data"]);
    assert_eq!((layers[0].bytes.start, layers[6].bytes.end), (0, bytes.len()));
    assert!(layers.windows(2).all(|pair| pair[0].bytes.end == pair[1].bytes.start), "{layers:?}");
    assert!(layers[5].fields.contains(&("Flags", "SYN,ACK".into())), "{layers:?}");
}

#[test]
fn padding_belongs_to_no_layer() {
    let mut bytes = ipv4().tcp(1, 2, 16).build();
    bytes.extend([0; 6]);
    assert_eq!(layers(&bytes, Base::default()).last().unwrap().name, "TCP");
}

#[test]
fn what_asks_who_has_an_address() {
    let mut arp = vec![0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1];
    arp.extend([0, 0, 0, 0, 0, 0, 10, 0, 0, 2]);
    assert_eq!(
        summary(&frame().other(0x0806, &arp).build(), Base::default()),
        ("ARP", "who has 10.0.0.2? tell 10.0.0.1".into())
    );
}

#[test]
fn cut_or_senseless_frames_do_no_harm() {
    let answer = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7];
    let frames = [
        ipv4().tcp(4000, 443, 24).carrying(&client_hello("shop.test")),
        ipv4().udp(53, 4000).carrying(&dns(0x8180, &answer)),
        ipv4().tcp(53, 4000, 24).carrying(&[&[0, 50], dns(0x8180, &answer).as_slice()].concat()),
        frame().ipv6("fd00::1", "fd00::2").extension(60, &[1, 4, 0, 0, 0, 0]).fragment(1, 0, true).udp(1, 2),
    ];
    for frame in frames {
        let bytes = frame.build();
        for length in 0..bytes.len() {
            layers(&bytes[..length], Base::default());
        }
        for at in 0..bytes.len() {
            for value in [0, 0x45, 0x7f, 0xc0, 0xff] {
                let mut broken = bytes.clone();
                broken[at] = value;
                layers(&broken, Base::default());
            }
        }
    }
    layers(&[0xff; 300], Base::default());
}

#[test]
fn a_name_that_points_at_itself_ends() {
    let mut message = dns(0x0100, &[]);
    message[12..14].copy_from_slice(&[0xc0, 12]);
    assert_eq!(summary(&ipv4().udp(1, 53).carrying(&message).build(), Base::default()).0, "UDP");
}

#[test]
fn nothing_that_a_terminal_would_obey_comes_through() {
    let bytes = ipv4().tcp(4000, 80, 24).carrying(b"GET /\x1b[31m HTTP/1.1\r\n").build();
    assert_eq!(summary(&bytes, Base::default()).1, "GET /.[31m HTTP/1.1");
}
