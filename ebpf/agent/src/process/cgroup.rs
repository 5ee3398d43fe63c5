//! Control groups: their paths, and the containers that they are made for.

use std::{
    fs::{self, File},
    os::{
        fd::{AsFd, AsRawFd},
        unix::fs::MetadataExt,
    },
};

use crate::sys;

/// Inode number of the unified hierarchy's root.
const ROOT: u64 = 1;

/// The path in the unified hierarchy, else the longest of the others (cgroups(7): number, controllers, path).
pub(super) fn path(text: &str) -> String {
    let paths = text.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':');
        let unified = parts.next()? == "0";
        parts.nth(1).map(|path| (unified, path)).filter(|(_, path)| *path != "/")
    });
    let best = paths.max_by_key(|(unified, path)| (*unified, path.len()));
    best.map_or_else(String::new, |(_, path)| path.to_owned())
}

/// Number of the container that a control group belongs to: 64 hexadecimal digits in the name of a folder, which Docker, containerd, CRI-O
/// and podman all make, with or without systemd (`docker-N.scope`, `cri-containerd-N.scope`, `/docker/N`). Their monitors (`conmon`)
/// are next to the container.
pub(super) fn container(path: &str) -> &str {
    let number = |folder: &str| {
        let scope = folder.strip_suffix(".scope").unwrap_or(folder);
        let at = scope.rfind('-').map_or(0, |dash| dash + 1);
        let is_number = scope.len() - at == 64 && scope[at..].bytes().all(|byte| byte.is_ascii_hexdigit());
        (is_number && !scope.contains("conmon")).then_some(at..at + 64)
    };
    path.rsplit('/').find_map(|folder| number(folder).map(|range| &folder[range])).unwrap_or_default()
}

/// The unified hierarchy, to ask for paths by number.
pub(super) struct Cgroups {
    root: Option<(File, String)>,
}

impl Cgroups {
    /// Where it is mounted.
    pub(super) fn find() -> Self {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let point = mounts.lines().find_map(|line| {
            let mut words = line.split(' ').skip(1);
            let point = words.next()?;
            (words.next()? == "cgroup2").then_some(point)
        });
        let open = |point: &str| {
            let root = File::open(point).ok()?;
            // In a container, what is mounted may be a part of it.
            let whole = root.metadata().is_ok_and(|folder| folder.ino() == ROOT);
            whole.then_some((root, point.to_owned()))
        };
        Self { root: point.and_then(open) }
    }

    /// Its root.
    pub(super) fn root(&self) -> Option<&File> {
        self.root.as_ref().map(|(root, _)| root)
    }

    /// Path of the control group with this number; empty for the root, None if it has gone or may not be asked for.
    pub(super) fn path(&self, id: u64) -> Option<String> {
        let (root, point) = self.root.as_ref()?;
        let folder = sys::open_by_id(root.as_fd(), id).ok()?;
        let path = fs::read_link(format!("/proc/self/fd/{}", folder.as_raw_fd())).ok()?;
        path.to_str()?.strip_prefix(point.as_str()).map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUMBER: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn the_unified_control_group_comes_first() {
        let hybrid = "9:name=systemd:/a/longer/path\n4:memory:/x\n0::/unified\n";
        assert_eq!(path(hybrid), "/unified");
        assert_eq!(path("9:name=systemd:/a/longer/path\n4:memory:/x\n0::/\n"), "/a/longer/path");
        assert_eq!(path("0::/\n"), "");
    }

    #[test]
    fn a_container_has_a_long_number() {
        for path in [
            "/system.slice/docker-N.scope",
            "/kubepods.slice/kubepods-pod1_2.slice/cri-containerd-N.scope",
            "/kubepods/besteffort/pod12-34/N",
            "/docker/N/init.scope",
            "/machine.slice/libpod-N.scope/container",
        ] {
            assert_eq!(container(&path.replace('N', NUMBER)), NUMBER, "{path}");
        }
        for path in ["", "/", "/user.slice/user-0.slice/session-1.scope", "/system.slice/crio-conmon-N.scope"] {
            assert_eq!(container(&path.replace('N', NUMBER)), "", "{path}");
        }
        assert_eq!(container(&format!("/docker/{}", &NUMBER[1..])), "");
    }
}
