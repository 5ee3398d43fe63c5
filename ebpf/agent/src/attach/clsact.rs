//! Filters on the clsact qdisc of an interface, over one netlink socket in one network namespace. They cost a hundredth of the time
//! that TCX links take, and stay when the process is killed that made them.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

use futures_util::TryStreamExt;
use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{TcAttribute, TcBpfFlags, TcFilterBpfOption, TcHandle, TcMessage, TcOption},
};
use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use tokio::runtime::Runtime;

use super::Hook;

/// TC_H_CLSACT, the one parent of the qdisc, and its handle (include/uapi/linux/pkt_sched.h).
const PARENT: TcHandle = TcHandle { major: 0xffff, minor: 0xfff1 };
const QDISC: TcHandle = TcHandle { major: 0xffff, minor: 0 };
/// ETH_P_ALL in network order, as the lower half of tcm_info has it.
const ALL_PROTOCOLS: u32 = 0x0003_u16.to_be() as u32;
/// Before every filter that does not ask for the same: those run first that came last.
const FIRST: u32 = 1;

/// A filter as it is found.
pub(super) struct Filter {
    priority: u32,
    handle: u32,
    /// Of a BPF program, as its owner named it.
    name: Option<String>,
}

impl Filter {
    /// Whether it is a capture's: of this agent, or of another one.
    pub(super) fn is_of_a_capture(&self) -> bool {
        self.name.as_deref().is_some_and(super::is_of_a_capture)
    }

    /// The handle of a capture's filter, which shows the capture it belongs to.
    pub(super) fn handle_of_a_capture(&self) -> Option<u32> {
        (self.is_of_a_capture() && self.priority == FIRST).then_some(self.handle)
    }

    /// Whether it is the one that this handle was given to.
    pub(super) fn is(&self, handle: u32) -> bool {
        self.handle_of_a_capture() == Some(handle)
    }
}

/// The qdiscs and filters of the namespace of the thread that opened it.
pub(super) struct Clsact {
    runtime: Runtime,
    handle: rtnetlink::Handle,
}

impl Clsact {
    pub(super) fn here() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let handle = runtime.block_on(async {
            let (connection, handle, _) = rtnetlink::new_connection()?;
            tokio::spawn(connection);
            io::Result::Ok(handle)
        })?;
        Ok(Self { runtime, handle })
    }

    /// Whether the qdisc was made now; false if there was one.
    pub(super) fn add_qdisc(&mut self, ifindex: u32) -> io::Result<bool> {
        let mut qdisc = TcMessage::with_index(ifindex as i32);
        (qdisc.header.parent, qdisc.header.handle) = (PARENT, QDISC);
        qdisc.attributes.push(TcAttribute::Kind("clsact".into()));
        match self.request(RouteNetlinkMessage::NewQueueDiscipline(qdisc), NLM_F_CREATE | NLM_F_EXCL) {
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(false),
            made => made.map(|()| true),
        }
    }

    /// Adds a filter at the head of the list.
    pub(super) fn add(
        &mut self,
        (ifindex, hook): (u32, Hook),
        handle: u32,
        program: BorrowedFd<'_>,
        name: &str,
    ) -> io::Result<()> {
        let mut filter = filter(ifindex, hook, handle);
        filter.attributes = vec![
            TcAttribute::Kind("bpf".into()),
            TcAttribute::Options(vec![
                TcOption::Bpf(TcFilterBpfOption::ProgFd(program.as_raw_fd() as u32)),
                TcOption::Bpf(TcFilterBpfOption::ProgName(name.into())),
                TcOption::Bpf(TcFilterBpfOption::Flags(TcBpfFlags::DirectAction)),
            ]),
        ];
        self.request(RouteNetlinkMessage::NewTrafficFilter(filter), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Removes a filter of ours.
    pub(super) fn remove(&mut self, ifindex: u32, hook: Hook, handle: u32) -> io::Result<()> {
        let mut filter = filter(ifindex, hook, handle);
        filter.attributes.push(TcAttribute::Kind("bpf".into()));
        self.request(RouteNetlinkMessage::DelTrafficFilter(filter), 0)
    }

    /// The filters in the order in which they run.
    pub(super) fn filters(&mut self, ifindex: u32, hook: Hook) -> io::Result<Vec<Filter>> {
        let request = self.handle.traffic_filter(ifindex as i32).get();
        let request = match hook {
            Hook::Ingress => request.ingress(),
            Hook::Egress => request.egress(),
        };
        let messages: Vec<TcMessage> = self.runtime.block_on(request.execute().try_collect()).map_err(io_error)?;
        // Each list of one priority begins with a message for the list itself, whose handle is 0.
        let filters = messages.iter().filter(|message| u32::from(message.header.handle) != 0);
        Ok(filters.map(Filter::of).collect())
    }

    /// Removes the qdisc unless filters are on it.
    pub(super) fn remove_qdisc_if_empty(&mut self, ifindex: u32) -> io::Result<()> {
        for hook in Hook::BOTH {
            if !self.filters(ifindex, hook)?.is_empty() {
                return Ok(());
            }
        }
        let mut qdisc = TcMessage::with_index(ifindex as i32);
        (qdisc.header.parent, qdisc.header.handle) = (PARENT, QDISC);
        self.request(RouteNetlinkMessage::DelQueueDiscipline(qdisc), 0)
    }

    fn request(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        let mut request = NetlinkMessage::from(message);
        request.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        let handle = &mut self.handle;
        self.runtime.block_on(async {
            let mut answers = handle.request(request).map_err(io_error)?;
            while let Some(answer) = futures_util::StreamExt::next(&mut answers).await {
                if let NetlinkPayload::Error(error) = answer.payload
                    && error.code.is_some()
                {
                    return Err(error.to_io());
                }
            }
            Ok(())
        })
    }
}

impl Filter {
    fn of(message: &TcMessage) -> Self {
        let options = message.attributes.iter().filter_map(|attribute| match attribute {
            TcAttribute::Options(options) => Some(options),
            _ => None,
        });
        let name = options.flatten().find_map(|option| match option {
            TcOption::Bpf(TcFilterBpfOption::ProgName(name)) => Some(name.clone()),
            _ => None,
        });
        Self { priority: message.header.info >> 16, handle: message.header.handle.into(), name }
    }
}

fn filter(ifindex: u32, hook: Hook, handle: u32) -> TcMessage {
    let mut message = TcMessage::with_index(ifindex as i32);
    let minor = match hook {
        Hook::Ingress => TcHandle::MIN_INGRESS,
        Hook::Egress => TcHandle::MIN_EGRESS,
    };
    message.header.parent = TcHandle { major: 0xffff, minor };
    message.header.handle = handle.into();
    message.header.info = FIRST << 16 | ALL_PROTOCOLS;
    message
}

fn io_error(error: rtnetlink::Error) -> io::Error {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io(),
        error => io::Error::other(error),
    }
}
