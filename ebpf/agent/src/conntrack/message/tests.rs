use std::net::IpAddr;

use super::*;

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = (value.len() as u16 + 4).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// As the kernel nests them.
fn nested(kind: u16, attributes: &[Vec<u8>]) -> Vec<u8> {
    attribute(kind | 0x8000, &attributes.concat())
}

fn message(kind: u16, flags: u16, number: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32 + 16).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(number.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes
}

fn ip(address: &str) -> Vec<u8> {
    match address.parse().unwrap() {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

fn side(kind: u16, (src, dst): (&str, &str), proto: &[Vec<u8>]) -> Vec<u8> {
    let first = if src.contains(':') { 3 } else { 1 };
    let addresses = nested(1, &[attribute(first, &ip(src)), attribute(first + 1, &ip(dst))]);
    nested(kind, &[addresses, nested(2, proto)])
}

fn ports(proto: u8, from: u16, to: u16) -> Vec<Vec<u8>> {
    vec![attribute(1, &[proto]), attribute(2, &from.to_be_bytes()), attribute(3, &to.to_be_bytes())]
}

/// A connection from 10.0.0.1:1000 to 10.96.0.1:80, whose replies come from `from`, for `to`.
fn connection(kind: u16, (from, to): (&str, &str), reply_ports: (u16, u16)) -> Vec<u8> {
    let parts = [
        vec![2, 0, 0, 0],
        side(1, ("10.0.0.1", "10.96.0.1"), &ports(6, 1_000, 80)),
        side(2, (from, to), &ports(6, reply_ports.0, reply_ports.1)),
        attribute(3, &0x1b8u32.to_be_bytes()),
        attribute(12, &77u32.to_be_bytes()),
        attribute(18, &5u16.to_be_bytes()),
    ];
    message(kind, 0, 0, &parts.concat())
}

fn all(bytes: &[u8]) -> Vec<News> {
    let mut found = vec![];
    read(bytes, |news| found.push(news));
    found
}

fn mapped(address: &str) -> [u8; 16] {
    match address.parse().unwrap() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

#[test]
fn a_translated_connection_has_both_tuples() {
    let bytes = [
        connection(NEW, ("10.0.0.9", "10.0.0.254"), (8_080, 2_000)),
        connection(NEW, ("10.96.0.1", "10.0.0.1"), (80, 1_000)),
        connection(DELETE, ("10.0.0.9", "10.0.0.254"), (8_080, 2_000)),
    ];
    let origin = Tuple { src: mapped("10.0.0.1"), dst: mapped("10.96.0.1"), src_port: 1_000, dst_port: 80 };
    let target = Tuple { src: mapped("10.0.0.254"), dst: mapped("10.0.0.9"), src_port: 2_000, dst_port: 8_080 };
    let wanted = Translation { origin, target, proto: 6, zone: 5, id: 77 };
    assert_eq!(all(&bytes.concat()), [News::Open(wanted), News::Closed(wanted)]);
}

#[test]
fn an_echo_has_an_identifier_and_an_address_of_ipv6_is_whole() {
    let echo = |id: u16, kind: u8| {
        vec![attribute(1, &[58]), attribute(7, &id.to_be_bytes()), attribute(8, &[kind]), attribute(9, &[0])]
    };
    let parts = [
        vec![10, 0, 0, 0],
        side(1, ("fd00::1", "fd00:1::2"), &echo(7, 128)),
        side(2, ("fd00:1::2", "fd00:1::1"), &echo(9, 129)),
    ];
    let found = all(&message(NEW, 0, 0, &parts.concat()));
    let [News::Open(Translation { origin, target, proto: 58, .. })] = found[..] else { panic!("{found:?}") };
    assert_eq!((origin.src, origin.src_port, origin.dst_port), (mapped("fd00::1"), 7, 0));
    assert_eq!((target.src, target.dst, target.src_port), (mapped("fd00:1::1"), mapped("fd00:1::2"), 9));
}

#[test]
fn ends_and_refusals_of_a_list_are_known() {
    let done = |flags: i32, errno: i32| message(3, flags as u16, LIST_NUMBER, &errno.to_ne_bytes());
    assert_eq!(all(&done(2, 0)), [News::Listed(false)]);
    assert_eq!(all(&done(2 | libc::NLM_F_DUMP_INTR, 0)), [News::Listed(true)]);
    let refused = |number| message(2, 0, number, &(-libc::EPERM).to_ne_bytes());
    assert_eq!(all(&refused(LIST_NUMBER)), [News::Refused(libc::EPERM)]);
    assert_eq!(all(&refused(FILLING_NUMBER)), []);
    assert_eq!(all(&message(2, 0, LIST_NUMBER, &i32::MIN.to_ne_bytes())), [News::Refused(i32::MIN)]);
    let filling = [vec![0; 4], attribute(1, &7u32.to_be_bytes()), attribute(2, &9u32.to_be_bytes())].concat();
    assert_eq!(all(&message(STATISTICS, 0, FILLING_NUMBER, &filling)), [News::Filling(7, 9)]);
}

#[test]
fn wrong_lengths_and_cut_messages_do_no_harm() {
    let good = connection(NEW, ("10.0.0.9", "10.0.0.254"), (8_080, 2_000));
    for length in 0..good.len() {
        assert_eq!(all(&good[..length]), []);
    }
    for at in 0..good.len() {
        for value in [0, 1, 3, 4, 5, 0x7f, 0xff] {
            let mut bad = good.clone();
            bad[at] = value;
            bad.extend(&good);
            assert!(all(&bad).len() <= 2);
        }
    }
}
