//! What the kernel programs report of sockets: their events, and a walk over all open files.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::fd::{AsFd, OwnedFd},
};

use aya::{
    Btf as AyaBtf, Ebpf, EbpfLoader, Endianness,
    maps::{Array, MapData, RingBuf},
    programs::{CgroupAttachMode, CgroupSock, Iter, cgroup_sock::CgroupSockLink, tp_btf::BtfTracePointLink},
};
use netobserv_ebpf_common::SocketSeen;

use super::cgroup::Cgroups;
use crate::{
    btf::{self, Btf, BtfError},
    kernel::{self, Feature, KernelError},
    rtt, sys, tracepoint,
};

/// Room for about 37,000 events: they are read ten times a second.
const RING_BYTES: u32 = 4 << 20;
const RING: &str = "SOCKETS";
const LOST: &str = "SOCKETS_LOST";
/// Sees connections that come in.
const CHANGED: (&str, &str) = ("socket_changed", "inet_sock_set_state");
/// See sockets that are made and closed.
const OF_CGROUP: [&str; 2] = ["socket_made", "socket_closed"];
/// Sees what is open.
const OPEN: &str = "socket_open";
/// The kernel's function that stands for that iterator.
const OPEN_FILES: &str = "bpf_iter_task_file";
/// Number of the first of all process namespaces (include/linux/proc_ns.h).
const INIT_PIDNS: &str = "pid:[4026531836]";

/// Byte offsets that the programs read at. Those of a socket's addresses are [`crate::rtt`]'s.
#[derive(Debug)]
pub struct Offsets {
    addresses: rtt::Offsets,
    others: Vec<(&'static str, u32)>,
    iterator: u32,
}

impl Offsets {
    /// Of the running kernel; on a machine that can be seen as a whole, because what is not seen would be taken for not there.
    ///
    /// # Errors
    /// What this kernel does not have, or what cannot be seen from here.
    pub fn find(btf: &Btf) -> Result<Self, KernelError> {
        let unavailable = |why: &str| KernelError::Unavailable { setting: "ENABLE_PROCESS", why: why.into() };
        if fs::read_link("/proc/self/ns/pid").is_ok_and(|own| own.as_os_str() != INIT_PIDNS) {
            return Err(unavailable("this is a container that does not see all processes"));
        }
        if Cgroups::find().root().is_none() {
            return Err(unavailable("the root of the unified control groups (cgroup2) is not mounted"));
        }
        let missing = |name: &str| BtfError::Missing(name.to_owned());
        btf.tracepoint(CHANGED.1)?.ok_or_else(|| missing("tracepoint inet_sock_set_state"))?;
        let iterator = btf.function(OPEN_FILES)?.ok_or_else(|| missing("iterator over open files"))?;
        let member = |(name, of, path): (&'static str, &str, &str)| Ok((name, btf.offset(of, path)?));
        let others = MEMBERS.map(member).into_iter().collect::<Result<_, BtfError>>()?;
        Ok(Self { addresses: rtt::Offsets::find(btf)?, others, iterator })
    }
}

impl Feature for Offsets {
    fn configure<'a>(&'a self, loader: &mut EbpfLoader<'a>) {
        self.addresses.set(loader);
        for (name, offset) in &self.others {
            loader.override_global(name, offset, true);
        }
        loader.override_global("COOKIES", &1u32, true).map_max_entries(RING, RING_BYTES);
    }

    fn load(&self, ebpf: &mut Ebpf, btf: &Btf) -> Result<(), KernelError> {
        tracepoint::load(ebpf, btf, CHANGED.0, CHANGED.1)?;
        for name in OF_CGROUP {
            of_cgroup(ebpf, name)?.load().map_err(|error| kernel::classify(&error))?;
        }
        let stub = btf::function_stub(OPEN_FILES, self.iterator);
        let stub = AyaBtf::parse(&stub, Endianness::default()).map_err(|_| BtfError::Malformed)?;
        iterator(ebpf)?.load("task_file", &stub).map_err(|error| kernel::classify(&error))
    }
}

const MEMBERS: [(&str, &str, &str); 15] = [
    ("NET_INUM", "net", "ns.inum"),
    ("SOCKET_SK", "socket", "sk"),
    ("SK_NET", "sock", "__sk_common.skc_net.net"),
    ("SK_PROTOCOL", "sock", "sk_protocol"),
    ("INET_SPORT", "inet_sock", "inet_sport"),
    ("TASK_TGID", "task_struct", "tgid"),
    ("TASK_LEADER", "task_struct", "group_leader"),
    ("TASK_FLAGS", "task_struct", "flags"),
    ("TASK_START", "task_struct", "start_time"),
    ("TASK_BOOT", "task_struct", "start_boottime"),
    ("TASK_COMM", "task_struct", "comm"),
    ("TASK_CGROUPS", "task_struct", "cgroups"),
    ("CSS_CGROUP", "css_set", "dfl_cgrp"),
    ("CGROUP_NODE", "cgroup", "kn"),
    ("NODE_ID", "kernfs_node", "id"),
];

/// The programs at work, until this is dropped.
pub struct Sockets {
    events: RingBuf<MapData>,
    lost: Array<MapData, u64>,
    iterator: OwnedFd,
    _links: (BtfTracePointLink, Vec<CgroupSockLink>),
}

impl Sockets {
    /// Switches the loaded programs on.
    ///
    /// # Errors
    /// The kernel's error.
    pub fn start(ebpf: &mut Ebpf) -> Result<Self, KernelError> {
        let events = kernel::take_map(ebpf, RING)?;
        let lost = kernel::take_map(ebpf, LOST)?;
        let cgroups = Cgroups::find();
        let mut of_cgroups = Vec::new();
        for name in OF_CGROUP {
            let root = cgroups.root().ok_or(KernelError::NotInObject("control groups"))?;
            let program = of_cgroup(ebpf, name)?;
            // Flags of zero: a link coexists with others by itself.
            let link = program.attach(root, CgroupAttachMode::Single).and_then(|id| program.take_link(id));
            of_cgroups.push(link.map_err(|error| kernel::classify(&error))?);
        }
        let changed = tracepoint::attach(ebpf, CHANGED.0)?;
        let iterator = iterator(ebpf)?.fd().map_err(|error| kernel::classify(&error))?.as_fd().try_clone_to_owned();
        let iterator = iterator.map_err(|error| KernelError::Load(error.to_string()))?;
        Ok(Self { events, lost, iterator, _links: (changed, of_cgroups) })
    }

    /// Hands over the events since the last time, in their order. Returns how many have been lost since the start.
    pub fn events(&mut self, mut each: impl FnMut(&SocketSeen)) -> u64 {
        while let Some(item) = self.events.next() {
            read_each(&item, &mut each);
        }
        self.lost.get(&0, 0).unwrap_or(u64::MAX)
    }

    /// Hands over each socket of each process that has it.
    ///
    /// # Errors
    /// The kernel's error at reading.
    pub fn open(&self, mut each: impl FnMut(&SocketSeen)) -> io::Result<()> {
        const RECORD: usize = size_of::<SocketSeen>();
        let mut file = File::from(sys::iterate(self.iterator.as_fd())?);
        let (mut buffer, mut filled) = (vec![0; 512 * RECORD], 0);
        loop {
            let count = file.read(&mut buffer[filled..])?;
            if count == 0 {
                return Ok(());
            }
            filled += count;
            let whole = filled / RECORD * RECORD;
            read_each(&buffer[..whole], &mut each);
            buffer.copy_within(whole..filled, 0);
            filled -= whole;
        }
    }
}

fn read_each(bytes: &[u8], each: &mut impl FnMut(&SocketSeen)) {
    for record in bytes.chunks_exact(size_of::<SocketSeen>()) {
        // SAFETY: the kernel program wrote exactly this record; read_unaligned asks no alignment.
        each(&unsafe { record.as_ptr().cast::<SocketSeen>().read_unaligned() });
    }
}

fn of_cgroup<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut CgroupSock, KernelError> {
    let program = ebpf.program_mut(name).ok_or(KernelError::NotInObject(name))?;
    program.try_into().map_err(|_| KernelError::NotInObject(name))
}

fn iterator(ebpf: &mut Ebpf) -> Result<&mut Iter, KernelError> {
    let program = ebpf.program_mut(OPEN).ok_or(KernelError::NotInObject(OPEN))?;
    program.try_into().map_err(|_| KernelError::NotInObject(OPEN))
}
