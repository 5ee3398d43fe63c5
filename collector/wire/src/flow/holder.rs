//! Who has an address, as many flows share it.

use std::net::IpAddr;
use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use compact_str::CompactString;

use super::Side;

/// A pod, service or node that has an address.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Holder {
    /// Name of the pod, service or node.
    pub name: CompactString,
    /// Its namespace; empty for nodes.
    pub namespace: CompactString,
    /// Pod, Service or Node.
    pub kind: CompactString,
    /// Name of the workload that owns it; its own where nothing does.
    pub owner_name: CompactString,
    /// Kind of that workload.
    pub owner_kind: CompactString,
    /// Address of its node.
    pub host_ip: Option<IpAddr>,
    /// Name of its node.
    pub host_name: CompactString,
    /// Zone of its node.
    pub zone: CompactString,
    /// "primary", or the name of the secondary network.
    pub network: CompactString,
    /// What a writer has made of it.
    pub ready: Ready,
}

/// What a holder looks like in a file, made once for all flows that it has a part in. A copy of a holder begins without: it may be
/// changed.
#[derive(Default)]
pub struct Ready([OnceLock<Box<[u8]>>; 2]);

impl Ready {
    /// Its text at this end of a flow; made by `make` the first time.
    pub fn text(&self, side: Side, make: impl FnOnce() -> Vec<u8>) -> &[u8] {
        self.0[side as usize].get_or_init(|| make().into())
    }

    /// Its text at this end of a flow, if it was made.
    pub fn made(&self, side: Side) -> Option<&[u8]> {
        self.0[side as usize].get().map(|text| &**text)
    }
}

impl Clone for Ready {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// It says nothing that the holder does not.
impl PartialEq for Ready {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl std::fmt::Debug for Ready {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Ready")
    }
}

/// A holder as flows carry it.
///
/// Flows go from thread to thread, and each that counts its references takes the count away from the other: that costs more than
/// to look the holder up. So one that many flows have is kept for good, and nothing is counted.
#[derive(Clone, Debug)]
pub enum HolderRef {
    /// It stays as long as the program. The number is its own, from 0: writers keep what they know of it in a list.
    Lasting(&'static Holder, u32),
    /// It goes with the last who has it.
    Counted(Arc<Holder>),
}

impl HolderRef {
    /// Keeps a holder for good. The caller sees to it that there are not too many.
    pub fn lasting(holder: Arc<Holder>) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let holder: &'static Arc<Holder> = Box::leak(Box::new(holder));
        Self::Lasting(holder, NEXT.fetch_add(1, Relaxed))
    }

    /// Whether both are the same in memory.
    pub fn is(&self, other: &Self) -> bool {
        std::ptr::eq::<Holder>(&raw const **self, &raw const **other)
    }

    pub(crate) fn to_mut(&mut self) -> &mut Holder {
        if let Self::Lasting(holder, _) = self {
            *self = holder.clone().into();
        }
        match self {
            Self::Counted(holder) => Arc::make_mut(holder),
            Self::Lasting(..) => unreachable!("it was replaced by a copy"),
        }
    }
}

impl Deref for HolderRef {
    type Target = Holder;

    fn deref(&self) -> &Holder {
        match self {
            Self::Lasting(holder, _) => holder,
            Self::Counted(holder) => holder,
        }
    }
}

impl PartialEq for HolderRef {
    fn eq(&self, other: &Self) -> bool {
        self.is(other) || **self == **other
    }
}

impl Default for HolderRef {
    fn default() -> Self {
        Holder::default().into()
    }
}

impl From<Arc<Holder>> for HolderRef {
    fn from(holder: Arc<Holder>) -> Self {
        Self::Counted(holder)
    }
}

impl From<Holder> for HolderRef {
    fn from(holder: Holder) -> Self {
        Self::Counted(Arc::new(holder))
    }
}
