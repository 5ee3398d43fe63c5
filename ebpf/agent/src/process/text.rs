//! What /proc tells of processes, and of sockets and addresses below /proc/PID/net, read from its text.

use netobserv_ebpf_common::{ETH_IPV4, ETH_IPV6, mapped};

use crate::merge::FlowId;

/// 0.0.0.0, mapped.
pub(super) const ANY_IPV4: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0];

/// Name and start of a process, from /proc/PID/stat (proc_pid_stat(5): fields 2 and 22). A name may hold parentheses.
pub(super) fn stat(text: &str) -> Option<(String, u64)> {
    let (head, tail) = text.rsplit_once(')')?;
    let (_, name) = head.split_once('(')?;
    Some((name.to_owned(), tail.split_ascii_whitespace().nth(19)?.parse().ok()?))
}

/// Two numbers.
pub(super) fn pair(text: &str) -> Option<(u16, u16)> {
    let mut words = text.split_ascii_whitespace().map(str::parse);
    Some((words.next()?.ok()?, words.next()?.ok()?))
}

/// A socket of a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Socket {
    /// The flow that it receives. What has no other end has zeros there.
    pub(super) flow: FlowId,
    /// Number of the socket's file; 0 when no process has it any more.
    pub(super) inode: u64,
}

/// The socket of a line of `tcp`, `tcp6`, `udp` or `udp6` (Documentation/networking/proc_net_tcp.rst).
pub(super) fn socket(line: &str, proto: u8) -> Option<Socket> {
    let mut words = line.split_ascii_whitespace();
    let (local, remote) = (words.nth(1)?, words.next()?);
    let inode = words.nth(6)?.parse().ok()?;
    let ((dst, dst_port), (src, src_port)) = (end(local)?, end(remote)?);
    Some(Socket { flow: FlowId { src, dst, src_port, dst_port, eth_proto: family(&dst), proto }, inode })
}

/// `0100007F:0050`: words of 32 bits as the machine holds them, and the port as a number.
fn end(word: &str) -> Option<([u8; 16], u16)> {
    let (address, port) = word.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let part = |i: usize| u32::from_str_radix(address.get(i * 8..i * 8 + 8)?, 16).ok();
    if address.len() == 8 {
        return Some((mapped(part(0)?), port));
    }
    let mut bytes = [0; 16];
    for i in 0..4 {
        bytes[i * 4..i * 4 + 4].copy_from_slice(&part(i)?.to_ne_bytes());
    }
    Some((bytes, port))
}

/// The EtherType that packets of a socket with this address have.
fn family(address: &[u8; 16]) -> u16 {
    if is_mapped(address) { ETH_IPV4 } else { ETH_IPV6 }
}

/// Whether this is an IPv4 address.
pub(super) fn is_mapped(address: &[u8; 16]) -> bool {
    address.starts_with(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff])
}

/// Own addresses in `fib_trie`: each is a line of its own, and the line below says what it is.
pub(super) fn own_ipv4(trie: &str) -> Vec<[u8; 16]> {
    let mut found = Vec::new();
    let mut address = None;
    for line in trie.lines() {
        if let Some(text) = line.trim_start().strip_prefix("|-- ") {
            address = text.trim().parse().ok();
        } else if line.trim_end().ends_with("/32 host LOCAL")
            && let Some(address) = address.take()
        {
            found.push(std::net::Ipv4Addr::to_ipv6_mapped(&address).octets());
        }
    }
    found
}

/// Own addresses in `if_inet6`: 32 digits at the beginning of each line.
pub(super) fn own_ipv6(table: &str) -> Vec<[u8; 16]> {
    let address = |line: &str| u128::from_str_radix(line.get(..32)?, 16).ok().map(u128::to_be_bytes);
    table.lines().filter_map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_a_name_and_a_start() {
        let text = "42 (a (b) c) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1000 200\n";
        assert_eq!(stat(text), Some(("a (b) c".into(), 98765)));
        assert_eq!(stat("42 (a) S 1"), None);
    }

    #[test]
    fn a_line_is_a_socket() {
        let line =
            "   0: 0100007F:1F90 0200000A:C350 01 00000000:00000000 00:00000000 00000000  1000        0 41234 1 0";
        let Socket { flow, inode } = socket(line, 6).unwrap();
        assert_eq!((inode, flow.proto, flow.eth_proto), (41234, 6, ETH_IPV4));
        assert_eq!((flow.dst[12..].to_vec(), flow.dst_port), (vec![127, 0, 0, 1], 8080));
        assert_eq!((flow.src[12..].to_vec(), flow.src_port), (vec![10, 0, 0, 2], 50000));
        assert_eq!(socket("  sl  local_address rem_address   st tx_queue", 6), None);
    }

    #[test]
    fn a_line_of_ipv6_is_a_socket_of_either_family() {
        let line = |address: &str| format!(" 1: {address}:0035 {}:0000 07 0:0 00:0 0 0 0 7 2 0", "0".repeat(32));
        let loopback = socket(&line("00000000000000000000000001000000"), 17).unwrap().flow;
        assert_eq!((u128::from_be_bytes(loopback.dst), loopback.dst_port, loopback.eth_proto), (1, 53, ETH_IPV6));
        let mapped = socket(&line("0000000000000000FFFF00000100007F"), 17).unwrap().flow;
        assert_eq!((mapped.dst[12..].to_vec(), mapped.eth_proto), (vec![127, 0, 0, 1], ETH_IPV4));
    }

    #[test]
    fn own_addresses_are_found_among_routes() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 10.0.0.0\n        /24 link UNICAST\n     |-- 10.0.0.2\n        /32 host LOCAL\n     |-- 10.0.0.255\n        /32 link BROADCAST\n";
        assert_eq!(own_ipv4(trie), [mapped(u32::from_ne_bytes([10, 0, 0, 2]))]);
        assert_eq!(own_ipv6("fd530000000000000000000000000001 02 40 00 80 eth0\n")[0][..2], [0xfd, 0x53]);
    }
}
