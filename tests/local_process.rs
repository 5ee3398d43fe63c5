//! Flows on a lone host name the processes at both ends, and never the wrong ones: what was there before the capture, what
//! comes and goes between two looks, what hands a connection on, and what takes a port that was another's.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use netobserv_testkit::{LocalCapture, Netns, Process, Signal, Veth, require_privileged, wait_for};
use serde_json::Value;

const PORT: u16 = 4747;
const RIGHT: &str = "10.0.0.2";
const RIGHT6: &str = "fd00::2";
const PATIENCE: Duration = Duration::from_secs(20);

/// Answers each datagram and each connection with what it got, until it is killed. With `fork` a child answers a connection.
const SERVER: &str = "
import os, socket, sys, threading
udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); udp.bind(('::', 4747))
tcp = socket.create_server(('::', 4747), family=socket.AF_INET6, dualstack_ipv6=True, backlog=500)
def answer(peer):
    while data := peer.recv(2000): peer.sendall(data)
    peer.close()
def datagrams():
    while True: data, peer = udp.recvfrom(2000); udp.sendto(data, peer)
fork = 'fork' in sys.argv
if not fork: threading.Thread(target=datagrams, daemon=True).start()
print('ready', flush=True)
while True:
    peer, _ = tcp.accept()
    if not fork: threading.Thread(target=answer, args=(peer,), daemon=True).start()
    elif os.fork() == 0: print('child', os.getpid(), flush=True); tcp.close(); answer(peer); os._exit(0)
    else: peer.close()
";
/// Talks over one socket of port 4848 until it is told to end: `tcp` or `udp`, to an address.
const CLIENT: &str = "
import socket, sys, time
kind, host = sys.argv[1:]
family = socket.AF_INET6 if ':' in host else socket.AF_INET
s = socket.socket(family, socket.SOCK_STREAM if kind == 'tcp' else socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(('', 4848)); s.settimeout(1); s.connect((host, 4747))
while True:
    try: s.send(b'x' * 100); s.recv(2000); print('answered', flush=True)
    except OSError: pass
    time.sleep(0.1)
";

/// Two namespaces on a wire, with a process in each, as every container has one.
struct World {
    left: Netns,
    right: Netns,
    interface: String,
    _inhabitants: [Process; 2],
}

impl World {
    fn new() -> Self {
        let (left, right) = (Netns::new("left"), Netns::new("right"));
        let veth = Veth::with_neighbours(&left, &["10.0.0.1/24", "fd00::1/64"], &right, &["10.0.0.2/24", "fd00::2/64"]);
        let inhabitants = [&left, &right].map(|ns| ns.run("sleep").args(["600"]).start());
        Self { left, right, interface: veth.b.name, _inhabitants: inhabitants }
    }

    fn capture(&self) -> LocalCapture {
        LocalCapture::of(&self.right, &self.interface, &["--output=text"])
    }

    fn server(&self, words: &[&str]) -> Process {
        let server = self.right.run("python3").args(["-c", SERVER]).args(words).start();
        assert!(wait_for(PATIENCE, || server.stdout().contains("ready")), "{}", server.stderr());
        server
    }

    /// A client that has had answers.
    fn client(&self, kind: &str, to: &str) -> Process {
        let client = self.left.run("python3").args(["-c", CLIENT, kind, to]).start();
        wait_for_answers(&client, 3);
        client
    }

    /// A connection by a process that is gone at once; returns its number.
    fn visit(&self, to: &str) -> u64 {
        let line = format!("exec 3<>/dev/tcp/{to}/{PORT}; echo hello >&3; read -r answer <&3; echo $$");
        self.left.run("bash").args(["-c", &line]).output().trim().parse().expect("a process number")
    }
}

#[track_caller]
fn wait_for_answers(client: &Process, more: usize) {
    let count = || client.stdout().matches("answered").count();
    let wanted = count() + more;
    assert!(wait_for(PATIENCE, || count() >= wanted), "{}", client.stderr());
}

fn kill(process: Process) {
    process.signal(Signal::SIGKILL);
    process.wait(PATIENCE);
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_millis() as u64
}

/// One direction of a conversation with the server.
struct Talk<'a> {
    client: u64,
    server: u64,
    start_ms: u64,
    end_ms: u64,
    flow: &'a Value,
}

fn talks(flows: &[Value], proto: u64) -> Vec<Talk<'_>> {
    let number = |flow: &Value, field: String| flow[&field].as_u64().unwrap_or(0);
    let talk = |flow| {
        let side = |side: &str| number(flow, format!("{side}Port")) == u64::from(PORT);
        let (client, server) = match (side("Src"), side("Dst")) {
            (false, true) => ("Src", "Dst"),
            (true, false) => ("Dst", "Src"),
            _ => return None,
        };
        Some(Talk {
            client: number(flow, format!("{client}Pid")),
            server: number(flow, format!("{server}Pid")),
            start_ms: number(flow, "TimeFlowStartMs".into()),
            end_ms: number(flow, "TimeFlowEndMs".into()),
            flow,
        })
    };
    flows.iter().filter(|flow| flow["Proto"] == proto).filter_map(talk).collect()
}

/// A control group of the unified hierarchy, removed when dropped.
struct Cgroup(PathBuf);

impl Cgroup {
    fn new(name: &str) -> Self {
        let mounts = fs::read_to_string("/proc/self/mounts").expect("mounts");
        let unified = mounts.lines().find_map(|line| line.split(" cgroup2 ").next().filter(|left| *left != line));
        let point = unified.and_then(|left| left.split(' ').nth(1)).expect("the unified hierarchy");
        let folder = Path::new(point).join(name);
        fs::create_dir(&folder).expect("a control group");
        Self(folder)
    }

    fn add(&self, process: &Process) {
        fs::write(self.0.join("cgroup.procs"), process.pid().to_string()).expect("a process in a control group");
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // The kernel lets go of a process that has just ended a moment later.
        let _ = wait_for(PATIENCE, || fs::remove_dir(&self.0).is_ok());
    }
}

#[test]
fn both_ends_are_named_in_all_files_and_on_the_lines() {
    require_privileged!("both_ends_are_named_in_all_files_and_on_the_lines");
    let world = World::new();
    let number = format!("{:064x}", std::process::id());
    let container = Cgroup::new(&format!("docker-{number}.scope"));
    let server = world.server(&[]);
    container.add(&server);
    let capture = world.capture();
    let mut clients = vec![];
    for (kind, to) in [("tcp", RIGHT), ("udp", RIGHT), ("tcp", RIGHT6), ("udp", RIGHT6)] {
        let client = world.client(kind, to);
        // UDP is named when somebody looks, which is not in every window.
        wait_for_answers(&client, if kind == "udp" { 100 } else { 30 });
        clients.push((if kind == "tcp" { 6 } else { 17 }, to.parse::<IpAddr>().unwrap(), client.pid() as u64));
        kill(client);
    }
    let curl = world.left.run("curl").args(["-s", "-m", "5", &format!("telnet://{RIGHT}:{PORT}")]).start();
    let curl_pid = curl.pid() as u64;
    curl.wait(PATIENCE);
    let ended = capture.stop();
    let (files, flows) = (ended.files(), ended.files().flows());
    for (proto, address, client) in clients {
        let ends = |talk: &&Talk<'_>| ["SrcAddr", "DstAddr"].map(|end| talk.flow[end] == address.to_string());
        let found = talks(&flows, proto);
        let found: Vec<_> = found.iter().filter(|talk| ends(talk).contains(&true) && talk.client != curl_pid).collect();
        let named = found.iter().filter(|talk| (talk.client, talk.server) == (client, server.pid() as u64));
        assert!(named.count() >= if proto == 17 { 1 } else { 2 }, "{proto} {address}: {flows:?}");
        for talk in found {
            // UDP may be without a name before the first look, but has never a wrong one.
            assert!([client, if proto == 17 { 0 } else { client }].contains(&talk.client), "{client}: {}", talk.flow);
            assert_eq!(talk.server, server.pid() as u64, "{}", talk.flow);
        }
    }
    let of_curl = "SrcComm = 'curl' AND DstComm LIKE 'python3%'";
    assert!(files.sum(&format!("{of_curl} AND SrcPid = {curl_pid} AND DstPid = {}", server.pid())).packets > 2);
    let (_, to_server) = (0, format!("DstCgroup = '/docker-{number}.scope' AND DstContainer = '{number}'"));
    assert!(files.sum(&format!("{of_curl} AND {to_server}")).packets > 2, "the container of the server");
    let json = |flow: &&Value| flow["SrcComm"] == "curl" && flow["DstContainer"] == number.as_str();
    assert!(flows.iter().any(|flow| json(&flow)));
    let line = format!("PROC curl({curl_pid}) -> python3");
    assert!(ended.finished.stdout.contains(&line), "{line}\n{}", ended.finished);
    kill(server);
}

/// A connection of a few milliseconds ends long before anybody looks; the kernel noted who began it.
#[test]
fn short_connections_are_named_too() {
    require_privileged!("short_connections_are_named_too");
    const CONNECTIONS: usize = 100;
    let world = World::new();
    let server = world.server(&[]);
    let capture = world.capture();
    let wanted: BTreeSet<u64> =
        (0..CONNECTIONS).map(|i| world.visit(if i % 2 == 0 { RIGHT } else { RIGHT6 })).collect();
    let ended = capture.stop();
    let flows = ended.files().flows();
    let found = talks(&flows, 6);
    let named: BTreeSet<u64> = found.iter().map(|talk| talk.client).collect();
    assert!(found.len() >= CONNECTIONS * 2, "{} flows", found.len());
    assert_eq!(named, wanted);
    assert!(found.iter().all(|talk| talk.server == server.pid() as u64 && talk.flow["SrcComm"] != ""));
    kill(server);
}

#[test]
fn a_connection_that_is_refused_has_a_name() {
    require_privileged!("a_connection_that_is_refused_has_a_name");
    let world = World::new();
    let capture = world.capture();
    let line = format!("exec 3<>/dev/tcp/{RIGHT}/{PORT}");
    let bash = world.left.run("bash").args(["-c", &line]).start();
    let pid = bash.pid() as u64;
    assert!(!bash.wait(PATIENCE).success());
    let ended = capture.stop();
    let flows = ended.files().flows();
    let ends: Vec<_> = talks(&flows, 6).iter().map(|talk| (talk.client, talk.server)).collect();
    assert_eq!(ends, [(pid, 0); 2]);
}

/// The process that listens stands for a connection until it is seen who took that.
#[test]
fn a_child_that_takes_a_connection_is_named() {
    require_privileged!("a_child_that_takes_a_connection_is_named");
    let world = World::new();
    let server = world.server(&["fork"]);
    let capture = world.capture();
    let client = world.client("tcp", RIGHT);
    let child = server.stdout().split("child ").nth(1).and_then(|rest| rest.trim().parse().ok()).expect("a child");
    wait_for_answers(&client, 60);
    let client_pid = client.pid() as u64;
    let parent = server.pid() as u64;
    kill(client);
    kill(server);
    let ended = capture.stop();
    let flows = ended.files().flows();
    let mut found = talks(&flows, 6);
    found.sort_by_key(|talk| talk.start_ms);
    let servers: Vec<_> = found.iter().map(|talk| talk.server).collect();
    assert!(servers.iter().all(|pid| [parent, child].contains(pid)), "{parent} {child}: {servers:?}");
    assert!(found.iter().all(|talk| talk.client == client_pid), "{client_pid}: {found:?}", found = flows);
    let first = servers.iter().position(|pid| *pid == child).unwrap_or_else(|| panic!("no child {child}: {servers:?}"));
    // Both directions of a window may stand in either order.
    assert!(servers[first + 2..].iter().all(|pid| *pid == child), "{parent} {child}: {servers:?}");
}

/// A server ends and another takes its port, while a client goes on from the same port to the same.
#[test]
fn a_port_that_another_process_takes_has_the_name_of_each_in_its_time() {
    require_privileged!("a_port_that_another_process_takes_has_the_name_of_each_in_its_time");
    let world = World::new();
    let capture = world.capture();
    let first = world.server(&[]);
    let client = world.client("udp", RIGHT);
    wait_for_answers(&client, 30);
    let visits = [world.visit(RIGHT), 0];
    // Who listened is asked for at the end of a window, a second long.
    wait_for_answers(&client, 30);
    let first_pid = first.pid() as u64;
    let ending = now_ms();
    kill(first);
    let gone = now_ms();
    let second = world.server(&[]);
    wait_for_answers(&client, 30);
    let visits = [visits[0], world.visit(RIGHT)];
    let (second_pid, client_pid) = (second.pid() as u64, client.pid() as u64);
    // Taken by another client at once.
    kill(client);
    let heir = world.client("udp", RIGHT);
    wait_for_answers(&heir, 30);
    let heir_pid = heir.pid() as u64;
    kill(heir);
    kill(second);
    let ended = capture.stop();
    let flows = ended.files().flows();
    for proto in [6, 17] {
        for talk in talks(&flows, proto) {
            let mut right = vec![0];
            // A record of the moment between them is of both.
            right.extend((talk.start_ms <= gone).then_some(first_pid));
            right.extend((talk.end_ms >= ending).then_some(second_pid));
            assert!(right.contains(&talk.server), "{first_pid} until {gone}, {second_pid}: {}", talk.flow);
        }
    }
    let (tcp, udp) = (talks(&flows, 6), talks(&flows, 17));
    for (client, server) in [(visits[0], first_pid), (visits[1], second_pid)] {
        let found = tcp.iter().filter(|talk| (talk.client, talk.server) == (client, server)).count();
        let all: Vec<_> = tcp.iter().map(|talk| talk.flow.to_string()).collect();
        assert_eq!(found, 2, "{client} {server}: {all:#?}");
    }
    // A socket of UDP may be gone before the next look: then it has no name, and never another's.
    for talk in udp {
        assert!([0, client_pid, heir_pid].contains(&talk.client), "{client_pid} {heir_pid}: {}", talk.flow);
    }
}
