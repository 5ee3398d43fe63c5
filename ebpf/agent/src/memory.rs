//! Whether the control group of this process leaves it the memory that it needs. What goes beyond is killed by the kernel, without a word.

use std::{
    fs,
    path::{Path, PathBuf},
};

use netobserv_ebpf_common::{FlowCount, Key4, Key6};

use crate::{packets, rules::Rule, settings::Settings};

/// Where control groups are: version 2, and the memory of version 1.
const ROOTS: [(&str, &str, &str); 2] =
    [("/sys/fs/cgroup", "", "memory.max"), ("/sys/fs/cgroup/memory", "memory", "memory.limit_in_bytes")];
/// What the kernel adds to an entry of a hash map.
const ENTRY: u64 = 64;
/// The program itself, its ring buffers and the messages on their way, as measured.
const BASE: u64 = 40 << 20;
/// Translated connections, as many as are kept.
const TRANSLATIONS: u64 = 20 << 20;
/// What waits for the collector at most.
const QUEUE: u64 = 32 << 20;

/// Sets of addresses of the largest size, in the kernel and here.
const SETS: u64 = 20 << 20;

/// What the agent needs with these settings, in bytes.
pub(crate) fn needed(settings: &Settings) -> u64 {
    // Packets have a ring buffer and a queue of their own, and no flow maps.
    let (waiting, flows) = match settings.snaplen {
        Some(_) => (packets::QUEUE_BYTES as u64 + u64::from(packets::RING_BYTES), 0),
        None if settings.translations => (QUEUE + TRANSLATIONS, u64::from(settings.max_flows)),
        None => (QUEUE, u64::from(settings.max_flows)),
    };
    let families = [size_of::<Key4>(), size_of::<Key6>()];
    let entries: u64 = families.map(|key| 2 * ((key + size_of::<FlowCount>()) as u64 + ENTRY)).iter().sum();
    let sets = if settings.rules.iter().any(Rule::has_sets) { SETS } else { 0 };
    BASE + waiting + sets + flows * entries
}

/// What this process and its control group may use, in bytes; None without a limit.
pub(crate) fn limit() -> Option<u64> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    ROOTS.iter().filter_map(|(root, controller, file)| smallest(Path::new(root), &group(&own, controller), file)).min()
}

/// The path of this process's group in the lines of /proc/PID/cgroup: number:controllers:path.
fn group(lines: &str, controller: &str) -> PathBuf {
    let path = lines.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let is_it = parts.next()?.split(',').any(|name| name == controller);
        parts.next().filter(|_| is_it)
    });
    PathBuf::from(path.unwrap_or_default().trim_start_matches('/'))
}

/// The smallest limit of a group and of those above it. In a container the path may be the host's: then the root is the group.
fn smallest(root: &Path, group: &Path, file: &str) -> Option<u64> {
    let limits = group.ancestors().filter_map(|group| fs::read_to_string(root.join(group).join(file)).ok());
    limits.filter_map(|text| text.trim().parse().ok()).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_limit_of_all_groups_counts() {
        let root = tempfile::tempdir().unwrap();
        let lines = "3:cpu,memory:/old\n0::/a/b\n";
        let group = group(lines, "");
        std::fs::create_dir_all(root.path().join(&group)).unwrap();
        assert_eq!(smallest(root.path(), &group, "memory.max"), None);
        for (path, text) in [("a/b", "max\n"), ("a", "67108864\n"), ("", "99999999\n")] {
            std::fs::write(root.path().join(path).join("memory.max"), text).unwrap();
        }
        assert_eq!(smallest(root.path(), &group, "memory.max"), Some(64 << 20));
        assert_eq!(super::group(lines, "memory"), Path::new("old"));
    }
}
