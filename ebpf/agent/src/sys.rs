//! System calls that the libraries do not offer: batch reads of BPF maps, test runs, and the barrier between
//! switching the flow maps and draining them.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    time::Duration,
};

use aya::Pod;
use nix::time::{ClockId, clock_gettime};

// enum bpf_cmd and the layouts of union bpf_attr: include/uapi/linux/bpf.h.
const BPF_PROG_TEST_RUN: i64 = 10;
const BPF_MAP_LOOKUP_AND_DELETE_BATCH: i64 = 25;
const BPF_MAP_UPDATE_BATCH: i64 = 26;
const BPF_MAP_DELETE_BATCH: i64 = 27;
const BPF_LINK_CREATE: i64 = 28;
const BPF_ITER_CREATE: i64 = 33;

#[repr(C)]
#[derive(Default)]
struct BatchAttr {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Default)]
struct TestRunAttr {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    _pad: u32,
}

/// bpf(2): a command with its part of union bpf_attr.
pub(crate) fn bpf<A>(command: i64, attr: &mut A) -> io::Result<i64> {
    // SAFETY: attr is a live, correctly sized prefix of union bpf_attr; every address in it points into
    // buffers that the callers below keep alive over the call.
    let rc = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<A>()) };
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(rc) }
}

/// Begins a walk of an iterator's program, over all that there is: what it writes is to be read from the descriptor.
pub fn iterate(program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    const BPF_TRACE_ITER: u32 = 28;
    // SAFETY: the kernel has just made the descriptor for us.
    let owned = |fd: i64| unsafe { OwnedFd::from_raw_fd(fd as i32) };
    // Program, target, type, flags, and where the walk is to go: nowhere in particular.
    let link = owned(bpf(BPF_LINK_CREATE, &mut [program.as_raw_fd() as u32, 0, BPF_TRACE_ITER, 0, 0, 0, 0, 0])?);
    bpf(BPF_ITER_CREATE, &mut [link.as_raw_fd() as u32, 0]).map(owned)
}

/// CLOCK_MONOTONIC, ns: the clock of the kernel programs.
pub(crate) fn now_ns() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |time| Duration::from(time).as_nanos() as u64)
}

/// Reads and empties a hash map (not per-CPU) in chunks, and keeps its buffers for the next time.
pub struct BatchReader<K, V> {
    keys: Vec<K>,
    values: Vec<V>,
}

impl<K: Pod, V: Pod> BatchReader<K, V> {
    /// A reader of `chunk` entries at a time.
    pub fn new(chunk: usize) -> Self {
        Self { keys: Vec::with_capacity(chunk), values: Vec::with_capacity(chunk) }
    }

    /// Hands every entry of the map to `each` and deletes it. Returns how many there were.
    /// Exact only while no program writes to the map.
    pub fn drain(&mut self, map: BorrowedFd<'_>, mut each: impl FnMut(&K, &V)) -> io::Result<usize> {
        // The cursor is a bucket number (u32); the kernel may write up to a key's length.
        let (mut cursor, mut next) = ([0u64; 8], [0u64; 8]);
        let mut first = true;
        let mut total = 0;
        loop {
            let mut attr = BatchAttr {
                in_batch: if first { 0 } else { cursor.as_ptr() as u64 },
                out_batch: next.as_mut_ptr() as u64,
                keys: self.keys.as_mut_ptr() as u64,
                values: self.values.as_mut_ptr() as u64,
                count: self.keys.capacity().min(self.values.capacity()) as u32,
                map_fd: map.as_raw_fd() as u32,
                ..Default::default()
            };
            let result = bpf(BPF_MAP_LOOKUP_AND_DELETE_BATCH, &mut attr);
            let errno = result.as_ref().err().and_then(io::Error::raw_os_error);
            if errno == Some(libc::ENOSPC) {
                // One bucket holds more than a chunk.
                let more = self.keys.capacity();
                self.keys.reserve(2 * more);
                self.values.reserve(2 * more);
                continue;
            }
            // ENOENT: the end is reached; count is valid anyway.
            if errno != Some(libc::ENOENT) {
                result?;
            }
            let count = attr.count as usize;
            // SAFETY: the kernel has filled `count` entries, no more than the capacity; Pod allows any bits.
            unsafe {
                self.keys.set_len(count);
                self.values.set_len(count);
            }
            self.keys.iter().zip(&self.values).for_each(|(key, value)| each(key, value));
            self.keys.clear();
            self.values.clear();
            total += count;
            if errno.is_some() {
                return Ok(total);
            }
            std::mem::swap(&mut cursor, &mut next);
            first = false;
        }
    }
}

/// Writes many entries of a map in one go, `values[n]` under `keys[n]`.
pub fn write_batch<K: Pod, V: Pod>(map: BorrowedFd<'_>, keys: &[K], values: &[V]) -> io::Result<()> {
    assert_eq!(keys.len(), values.len(), "a value for each key");
    let mut attr = BatchAttr {
        keys: keys.as_ptr() as u64,
        values: values.as_ptr() as u64,
        count: keys.len() as u32,
        map_fd: map.as_raw_fd() as u32,
        ..Default::default()
    };
    if keys.is_empty() { Ok(()) } else { bpf(BPF_MAP_UPDATE_BATCH, &mut attr).map(drop) }
}

/// Removes many entries of a map in one go; all of them have to be there.
pub fn remove_batch<K: Pod>(map: BorrowedFd<'_>, keys: &[K]) -> io::Result<()> {
    let mut attr = BatchAttr {
        keys: keys.as_ptr() as u64,
        count: keys.len() as u32,
        map_fd: map.as_raw_fd() as u32,
        ..Default::default()
    };
    if keys.is_empty() { Ok(()) } else { bpf(BPF_MAP_DELETE_BATCH, &mut attr).map(drop) }
}

/// Has a socket take only what a classic BPF program lets pass.
pub fn attach_filter(socket: BorrowedFd<'_>, program: &[libc::sock_filter]) -> io::Result<()> {
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
    let size = size_of::<libc::sock_fprog>() as u32;
    // SAFETY: the kernel copies the program, which is alive over the call, and does not write to it.
    let rc = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, (&raw const filter).cast(), size)
    };
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// How many messages a socket has lost so far for want of room.
pub fn dropped_messages(socket: BorrowedFd<'_>) -> io::Result<u64> {
    // include/uapi/linux/sock_diag.h: SK_MEMINFO_VARS, SK_MEMINFO_DROPS.
    const COUNT: usize = 9;
    const DROPS: usize = 8;
    let (mut values, mut size) = ([0u32; COUNT], (COUNT * size_of::<u32>()) as u32);
    // SAFETY: the kernel writes at most `size` bytes, which `values` has.
    let rc = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            values.as_mut_ptr().cast(),
            &raw mut size,
        )
    };
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(u64::from(values[DROPS])) }
}

/// Waits until every program that was running when this was called has ended.
///
/// MEMBARRIER_CMD_GLOBAL is the kernel's synchronize_rcu(), and BPF programs run inside RCU read sections.
/// Kernels with nohz_full CPUs refuse it: then a pause far longer than any program takes replaces it.
pub fn wait_for_running_programs() {
    const MEMBARRIER_CMD_GLOBAL: i64 = 1;
    // SAFETY: takes three integers, touches no memory of ours.
    let rc = unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if rc != 0 {
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Runs a tc program `repeat` times on a frame, without any interface. Returns its verdict and the mean time of
/// a run in ns, as the kernel measured it.
pub fn test_run(program: BorrowedFd<'_>, frame: &[u8], repeat: u32) -> io::Result<(u32, u32)> {
    test_run_offloaded(program, frame, repeat, Offload::default())
}

/// What segmentation offload has on a packet: bytes of payload in each segment, and number of segments.
#[derive(Clone, Copy, Debug, Default)]
pub struct Offload {
    /// 0 = it is no super-packet.
    pub size: u32,
    /// 0 = not counted yet.
    pub segments: u32,
}

/// The same for a super-packet.
pub fn test_run_offloaded(
    program: BorrowedFd<'_>,
    frame: &[u8],
    repeat: u32,
    offload: Offload,
) -> io::Result<(u32, u32)> {
    // struct __sk_buff of include/uapi/linux/bpf.h, in words: its length and the two members that are set.
    const WORDS: usize = 48;
    const SEGMENTS: usize = 41;
    const SIZE: usize = 44;
    let mut context = [0u32; WORDS];
    (context[SEGMENTS], context[SIZE]) = (offload.segments, offload.size);
    let mut attr = TestRunAttr {
        ctx_in: context.as_ptr() as u64,
        ctx_size_in: size_of_val(&context) as u32,
        prog_fd: program.as_raw_fd() as u32,
        data_in: frame.as_ptr() as u64,
        data_size_in: frame.len() as u32,
        repeat,
        ..Default::default()
    };
    bpf(BPF_PROG_TEST_RUN, &mut attr)?;
    Ok((attr.retval, attr.duration))
}

/// Opens the folder of a control group by its number, `root` being any folder of its file system (open_by_handle_at(2);
/// FILEID_KERNFS of include/linux/exportfs.h). Needs CAP_DAC_READ_SEARCH.
pub fn open_by_id(root: BorrowedFd<'_>, id: u64) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Handle {
        bytes: u32,
        kind: i32,
        id: [u8; 8],
    }
    let mut handle = Handle { bytes: 8, kind: 0xfe, id: id.to_ne_bytes() };
    let flags = libc::O_PATH | libc::O_CLOEXEC | libc::O_DIRECTORY;
    // SAFETY: the handle is a struct file_handle with eight bytes behind its head, alive over the call.
    let fd = unsafe { libc::syscall(libc::SYS_open_by_handle_at, root.as_raw_fd(), &raw mut handle, flags) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}
