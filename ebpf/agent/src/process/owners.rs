//! What the kernel programs noted of processes that connect and listen.

use aya::{
    Ebpf, EbpfLoader,
    maps::{HashMap, MapData},
};
use netobserv_ebpf_common::{ETH_IPV4, ETH_IPV6, Key6, Owner, Point, filter::DIRECTION_UNKNOWN};

use super::text;
use crate::{
    btf::{Btf, BtfError},
    kernel::{self, KernelError},
    merge::FlowId,
    rtt,
};

/// The maps: who owns a flow, and who is connecting. The kernel forgets the least used itself.
pub const MAPS: [(&str, u32); 2] = [("OWNERS", 65_536), ("CONNECTING", 4096)];
/// The programs, and where they sit.
pub const PROGRAMS: [(&str, &str); 2] = [("owner_seen", "inet_sock_set_state"), ("owner_refused", "tcp_receive_reset")];

/// Byte offsets that the programs read at. What is read of a socket's flow are the members that [`crate::rtt`] reads.
#[derive(Debug)]
pub struct Offsets {
    flow: rtt::Offsets,
    others: [(&'static str, u32); 7],
}

impl Offsets {
    /// Of the running kernel.
    ///
    /// # Errors
    /// A member or a tracepoint that this kernel does not have.
    pub fn find(btf: &Btf) -> Result<Self, BtfError> {
        for (_, tracepoint) in PROGRAMS {
            btf.tracepoint(tracepoint)?.ok_or_else(|| BtfError::Missing(format!("tracepoint {tracepoint}")))?;
        }
        Ok(Self {
            flow: rtt::Offsets::find(btf)?,
            others: [
                ("NET_INUM", btf.offset("net", "ns.inum")?),
                ("SK_NET", btf.offset("sock", "__sk_common.skc_net.net")?),
                ("SK_PROTOCOL", btf.offset("sock", "sk_protocol")?),
                ("TASK_LEADER", btf.offset("task_struct", "group_leader")?),
                ("TASK_FLAGS", btf.offset("task_struct", "flags")?),
                ("TASK_START", btf.offset("task_struct", "start_boottime")?),
                ("TASK_COMM", btf.offset("task_struct", "comm")?),
            ],
        })
    }

    /// Writes them into the programs' constants.
    pub fn set<'a>(&'a self, loader: &mut EbpfLoader<'a>) {
        self.flow.set(loader);
        for (name, offset) in &self.others {
            loader.override_global(name, offset, true);
        }
    }
}

/// The map of owners.
pub struct Owners(HashMap<MapData, Key6, Owner>);

impl Owners {
    /// Takes it out of the object.
    pub fn take(ebpf: &mut Ebpf) -> Result<Self, KernelError> {
        kernel::take_map(ebpf, MAPS[0].0).map(Self)
    }

    /// Who has begun the connection that receives this flow, in whatever namespace.
    pub fn connected(&self, flow: &FlowId) -> Option<Owner> {
        self.get(flow, 0)
    }

    /// Who listens for this flow in one of these namespaces; nobody if several do.
    pub fn listening(&self, flow: &FlowId, homes: &[u32]) -> Option<Owner> {
        let in_home = |netns: &u32| listeners(flow).find_map(|listener| self.get(&listener, *netns));
        let mut found = homes.iter().filter_map(in_home);
        let first = found.next()?;
        found.next().is_none().then_some(first)
    }

    fn get(&self, flow: &FlowId, netns: u32) -> Option<Owner> {
        let at = Point {
            src_port: flow.src_port,
            dst_port: flow.dst_port,
            eth_proto: flow.eth_proto,
            proto: flow.proto,
            direction: DIRECTION_UNKNOWN,
            device: u64::from(netns),
        };
        self.0.get(&Key6 { src: flow.src, dst: flow.dst, at }, 0).ok()
    }
}

/// As the kernel program notes what listens for this flow: on its address, or on all of its family; what listens on all of
/// IPv6 takes IPv4 too, unless its program says otherwise.
fn listeners(flow: &FlowId) -> impl Iterator<Item = FlowId> {
    let v4 = text::is_mapped(&flow.dst);
    let zeros = if v4 { text::ANY_IPV4 } else { [0; 16] };
    let of = |src, dst, eth_proto| FlowId { src, dst, src_port: 0, eth_proto, ..*flow };
    let own = if v4 { ETH_IPV4 } else { ETH_IPV6 };
    // A socket for both families that is bound to an IPv4 address has zeros of IPv6 at the other end.
    let mixed = v4.then(|| of([0; 16], flow.dst, own));
    let all6 = v4.then(|| of([0; 16], [0; 16], ETH_IPV6));
    [Some(of(zeros, flow.dst, own)), mixed, Some(of(zeros, zeros, own)), all6].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_listens_for_one_family_only_is_not_taken_for_the_other() {
        let flow = |dst| FlowId { src: dst, dst, src_port: 9, dst_port: 80, eth_proto: ETH_IPV6, proto: 6 };
        let v6 = flow([0xfd; 16]);
        let found: Vec<_> = listeners(&v6).map(|listener| (listener.src, listener.dst, listener.src_port)).collect();
        assert_eq!(found, [([0; 16], [0xfd; 16], 0), ([0; 16], [0; 16], 0)]);
        let v4 = FlowId { eth_proto: ETH_IPV4, ..flow(netobserv_ebpf_common::mapped(7)) };
        let families: Vec<_> = listeners(&v4).map(|listener| listener.eth_proto).collect();
        assert_eq!(families, [ETH_IPV4, ETH_IPV4, ETH_IPV4, ETH_IPV6]);
    }
}
