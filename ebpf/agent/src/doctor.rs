//! `netobserv-agent doctor`: what this kernel can do, feature by feature, and why not.
//!
//! Nothing is guessed from version numbers that can be tried: the programs are loaded, and attached to the loopback
//! interface of a network namespace made for that and gone afterwards. Without the rights to try, it reports that.

use std::{
    fmt::Write as _,
    fs, io,
    path::Path,
    sync::{Arc, mpsc},
};

use nix::sched::{CloneFlags, unshare};

use crate::{
    attach::Probes,
    btf::Btf,
    drain::Maps,
    drops::{self, Causes},
    features::{self, Switches},
    interfaces::{InterfaceId, Link},
    kernel::{self, KernelError, OLDEST},
    netns::{self, Netns},
    process::sockets::Sockets,
    rtt,
    settings::{AttachMode, DEFAULT_MAX_FLOWS, Direction},
    tracepoint,
    watch::Interface,
};

// include/uapi/linux/capability.h.
const CAPABILITIES: [(u32, &str); 4] =
    [(39, "CAP_BPF"), (38, "CAP_PERFMON"), (12, "CAP_NET_ADMIN"), (21, "CAP_SYS_ADMIN")];

/// The answer to one question.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Answer {
    Yes,
    No,
    /// It could not be tried.
    Unknown,
}

/// A question with its answer and the details.
#[derive(Debug)]
struct Finding {
    answer: Answer,
    about: &'static str,
    says: String,
}

impl Finding {
    /// From what was tried.
    fn of(about: &'static str, tried: Result<String, String>) -> Self {
        let (answer, says) = match tried {
            Ok(says) => (Answer::Yes, says),
            Err(why) => (Answer::No, why),
        };
        Self { answer, about, says }
    }

    /// The same for a feature, which is not tried without the rights to load programs at all.
    fn of_feature(about: &'static str, tried: Result<String, KernelError>) -> Self {
        match tried {
            Err(KernelError::NotAllowed(_)) => {
                Self { answer: Answer::Unknown, about, says: "not tried, for want of the capabilities above".into() }
            }
            tried => Self::of(about, tried.map_err(text)),
        }
    }
}

/// What was found out. Shown, it is the text for the user.
#[derive(Debug)]
pub struct Report {
    findings: Vec<Finding>,
    /// Whether flows can be captured.
    pub good: bool,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for Finding { answer, about, says } in &self.findings {
            let mark = match answer {
                Answer::Yes => "yes",
                Answer::No => "NO",
                Answer::Unknown => "?",
            };
            writeln!(f, "{mark:<4}{about:<22}{says}")?;
        }
        f.write_str(if self.good {
            "Flows can be captured on this machine.\n"
        } else {
            "Flows cannot be captured on this machine, or not by this user: see above.\n"
        })
    }
}

/// Looks and tries.
pub fn examine() -> Report {
    if let Err(error) = kernel::check_proc() {
        return Report { findings: vec![Finding::of("proc file system", Err(text(error)))], good: false };
    }
    let btf = Btf::of_this_kernel();
    let mut findings = vec![
        Finding::of("kernel", kernel::check_version(&kernel::release()).map(|()| version()).map_err(text)),
        Finding::of("kernel types (BTF)", btf.as_ref().map(|_| crate::btf::VMLINUX.to_owned()).map_err(text)),
        capabilities(),
    ];
    let basics = Switches { max_flows: DEFAULT_MAX_FLOWS, sampling: 1, ..Default::default() };
    let flows = features::load(Switches { follow_netns: btf.is_ok(), ..basics });
    let says = |_| format!("with {} of kernel memory for {DEFAULT_MAX_FLOWS} flows (CACHE_MAX_FLOWS)", memory());
    findings.push(Finding::of("count flows", flows.as_ref().map(says).map_err(text)));
    let mut good = flows.is_ok();
    if let Ok(mut ebpf) = flows {
        let read = Maps::take(&mut ebpf).map_err(text).and_then(|mut maps| read_maps(&mut maps));
        good &= read.is_ok();
        findings.push(Finding::of("read them in batches", read));
        drop(ebpf);
        let places = attach();
        good &= places.iter().any(|place| place.answer != Answer::No);
        findings.extend(places);
    }
    findings.push(namespaces());
    let features = [
        ("filter rules", try_load(Switches { filter: true, ..basics }, |_| Ok(()))),
        ("DNS", try_load(Switches { dns_port: 53, ..basics }, |_| Ok(()))),
        ("round-trip times", rtt(basics)),
        ("dropped packets", dropped(basics, btf.as_ref().ok())),
        ("names of processes", named(basics)),
    ];
    findings.extend(features.map(|(about, tried)| Finding::of_feature(about, tried)));
    Report { findings, good }
}

/// An error as one line.
fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn version() -> String {
    format!("{} ({}.{} or newer is needed)", kernel::release(), OLDEST.0, OLDEST.1)
}

fn capabilities() -> Finding {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let has = |(bit, _): &&(u32, &str)| netns::capability(&status, *bit);
    let names = |list: Vec<&(u32, &str)>| list.iter().map(|(_, name)| *name).collect::<Vec<_>>().join(", ");
    let (there, missing): (Vec<_>, Vec<_>) = CAPABILITIES.iter().partition(has);
    let mut says = names(there.clone());
    if !missing.is_empty() {
        let _ = write!(says, "{}without {}", if there.is_empty() { "" } else { "; " }, names(missing.clone()));
    }
    // CAP_SYS_ADMIN, the last one, stands for CAP_BPF and CAP_PERFMON, too.
    let enough = netns::capability(&status, 12)
        && (netns::capability(&status, 21) || netns::capability(&status, 39) && netns::capability(&status, 38));
    Finding { answer: if enough { Answer::Yes } else { Answer::No }, about: "capabilities", says }
}

/// Kernel memory of the maps that this process holds, as the kernel reports it.
fn memory() -> String {
    let files = fs::read_dir("/proc/self/fdinfo").into_iter().flatten().flatten();
    let bytes: u64 = files.filter_map(|file| map_memory(&file.path())).sum();
    format!("{} MiB", bytes >> 20)
}

fn map_memory(path: &Path) -> Option<u64> {
    let info = fs::read_to_string(path).ok()?;
    info.contains("map_type:").then_some(())?;
    info.lines().find_map(|line| line.strip_prefix("memlock:"))?.trim().parse().ok()
}

fn read_maps(maps: &mut Maps) -> Result<String, String> {
    maps.drain_active(|_| {}).map(|_| "lookup and delete in one call".to_owned()).map_err(text)
}

/// Loads the programs with one feature, and does what belongs to it. Returns what memory that takes, flows included.
fn try_load(
    switches: Switches,
    then: impl FnOnce(&mut aya::Ebpf) -> Result<(), KernelError>,
) -> Result<String, KernelError> {
    let mut ebpf = features::load(switches)?;
    then(&mut ebpf)?;
    Ok(format!("{} together with the flows", memory()))
}

fn rtt(basics: Switches) -> Result<String, KernelError> {
    let hook = |ebpf: &mut aya::Ebpf| tracepoint::attach(ebpf, rtt::PROGRAM).map(drop);
    let memory = try_load(Switches { rtt: true, ..basics }, hook)?;
    Ok(format!("{memory}; tracepoint {}", rtt::TRACEPOINT))
}

fn dropped(basics: Switches, btf: Option<&Btf>) -> Result<String, KernelError> {
    let hook = |ebpf: &mut aya::Ebpf| tracepoint::attach(ebpf, drops::PROGRAM).map(drop);
    let memory = try_load(Switches { drops: true, ..basics }, hook)?;
    let causes = btf.and_then(|btf| Causes::find(btf).ok()).flatten().unwrap_or_default();
    Ok(format!("{memory}; tracepoint {} with {} reasons by name", drops::TRACEPOINT, causes.count()))
}

fn named(basics: Switches) -> Result<String, KernelError> {
    let mut count = 0;
    let walk = |ebpf: &mut aya::Ebpf| {
        let walked = Sockets::start(ebpf)?.open(|_| count += 1);
        walked.map_err(|error| KernelError::Load(error.to_string()))
    };
    let memory = try_load(Switches { sockets: true, ..basics }, walk)?;
    Ok(format!("{memory}; {count} sockets have one now"))
}

fn namespaces() -> Finding {
    let says = |text: &str| text.to_owned();
    Finding::of(
        "other namespaces",
        if netns::may_enter_others() {
            Ok(says("interfaces in all named network namespaces are followed"))
        } else {
            Err(says("only the own network namespace is followed: CAP_SYS_ADMIN is missing"))
        },
    )
}

/// Both ways to attach, tried where nothing else is.
fn attach() -> [Finding; 2] {
    let ways = [("attach by TCX", AttachMode::Tcx), ("attach by clsact", AttachMode::Tc)];
    let lab = throw_away_namespace().map(Arc::new);
    ways.map(|(about, mode)| match &lab {
        Ok(lab) => Finding::of(about, attach_in(lab, mode)),
        Err(why) => {
            Finding { answer: Answer::Unknown, about, says: format!("not tried, as no namespace could be made: {why}") }
        }
    })
}

/// A network namespace without a name, which goes when it is let go of.
fn throw_away_namespace() -> io::Result<Netns> {
    let (made, wait) = mpsc::channel();
    // unshare(2) moves one thread, and for good: so the thread is thrown away.
    let maker = std::thread::spawn(move || {
        let netns = unshare(CloneFlags::CLONE_NEWNET).map_err(io::Error::from);
        let _ = made.send(netns.and_then(|()| Netns::open(Path::new("/proc/thread-self/ns/net"))));
    });
    let netns = wait.recv().unwrap_or_else(|error| Err(io::Error::other(error)));
    let _ = maker.join();
    netns
}

fn attach_in(lab: &Arc<Netns>, mode: AttachMode) -> Result<String, String> {
    let switches = Switches { max_flows: 16, sampling: 1, ..Default::default() };
    let ebpf = features::load(switches).map_err(text)?;
    let mut probes = Probes::new(ebpf, features::programs(&switches), mode, Direction::Both).map_err(text)?;
    // The loopback interface is the first one of every namespace.
    let place = InterfaceId { netns: lab.inode, ifindex: 1 };
    let mut attached = Ok(());
    probes.attach(
        vec![Interface { place, name: "lo".into(), link: Link::Ethernet, up: true, netns: lab.clone() }],
        |_, went, _| {
            attached = went;
            true
        },
    );
    probes.detach_all();
    attached.map_err(text)?;
    Ok(match mode {
        AttachMode::Tc => "filters on a qdisc; they are removed when the agent ends cleanly".into(),
        AttachMode::Tcx | AttachMode::Any => "links that go when the agent ends, whatever ends it".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_always_says_something() {
        let report = examine();
        let shown = report.to_string();
        for about in ["kernel", "capabilities", "count flows", "round-trip times", "dropped packets"] {
            assert!(shown.contains(about), "{shown}");
        }
        assert!(shown.ends_with("see above.\n") || report.good, "{shown}");
    }
}
