//! Flows on a lone host name the processes at both ends, and never the wrong ones: what was there before the capture, what
//! comes and goes between two looks, what hands a connection on, and what takes a port that was another's.

use std::net::IpAddr;
use std::path::Path;

use netobserv_testkit::wait::now_ms;
use netobserv_testkit::{Signal, require_privileged, wait_for};
use serde_json::Value;

mod process_world;
use process_world::{Cgroup, PATIENCE, PORT, RIGHT, Talk, World, kill, pid, talks, told, visitors, wait_for_named};

const RIGHT6: &str = "fd00::2";

#[test]
fn both_ends_are_named_in_all_files_and_on_the_lines() {
    require_privileged!();
    let world = World::new();
    let number = format!("{:064x}", std::process::id());
    let container = Cgroup::new(&format!("docker-{number}.scope"));
    let server = world.server(&[]);
    container.add(&server);
    let capture = world.capture();
    let mut clients = vec![];
    for (kind, to) in [("tcp", RIGHT), ("udp", RIGHT), ("tcp", RIGHT6), ("udp", RIGHT6)] {
        let (client, proto) = (world.client(&[kind, to]), if kind == "tcp" { 6 } else { 17 });
        wait_for_named(&capture, proto, pid(&client), pid(&server));
        clients.push((proto, to.parse::<IpAddr>().unwrap(), pid(&client)));
        kill(client);
    }
    let curls = visitors(&capture, (6, pid(&server)), 1, || {
        let curl = world.left.run("curl").args(["-s", "-m", "1", &format!("telnet://{RIGHT}:{PORT}")]).start();
        let number = pid(&curl);
        curl.wait(PATIENCE);
        number
    });
    let ended = capture.stop();
    let (files, flows) = (ended.files(), ended.files().flows());
    for (proto, address, client) in clients {
        let ends = |talk: &&Talk<'_>| ["SrcAddr", "DstAddr"].map(|end| talk.flow[end] == address.to_string());
        let found = talks(&flows, proto);
        let found: Vec<_> =
            found.iter().filter(|talk| ends(talk).contains(&true) && !curls.contains(&talk.client)).collect();
        let named = found.iter().filter(|talk| (talk.client, talk.server) == (client, pid(&server)));
        assert!(named.count() >= 2, "{proto} {address}: {flows:?}");
        for talk in found {
            assert!([client, 0].contains(&talk.client), "{client}: {}", talk.flow);
            assert!([pid(&server), 0].contains(&talk.server), "{}", talk.flow);
        }
    }
    let of_curl = format!("SrcComm = 'curl' AND DstComm LIKE 'python3%' AND DstPid = {}", pid(&server));
    assert!(files.sum(&of_curl).packets > 2, "{flows:?}");
    let numbers = curls.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    assert_eq!(
        files.number(&format!("SELECT count(*) FROM flow WHERE SrcComm = 'curl' AND SrcPid NOT IN ({numbers})")),
        0
    );
    let to_server = format!("DstCgroup = '/docker-{number}.scope' AND DstContainer = '{number}'");
    assert!(files.sum(&format!("{of_curl} AND {to_server}")).packets > 2, "the container of the server");
    let json = |flow: &&Value| flow["SrcComm"] == "curl" && flow["DstContainer"] == number.as_str();
    assert!(flows.iter().any(|flow| json(&flow)));
    let line = |curl: &u64| ended.finished.stdout.contains(&format!("PROC curl({curl}) -> python3"));
    assert!(curls.iter().any(line), "{}", ended.finished);
    kill(server);
}

#[test]
fn flows_of_one_program_are_kept_and_no_others() {
    require_privileged!();
    let world = World::new();
    let server = world.server(&[]);
    let capture = world.capture_with(&["--process=bash", "--query=Proto = 6"]);
    let other = world.client(&["tcp", RIGHT]);
    let came = visitors(&capture, (6, pid(&server)), 3, || world.visit(RIGHT));
    kill(other);
    let ended = capture.stop();
    let flows = ended.files().flows();
    assert!(came.len() >= 3 && flows.len() >= 6, "{flows:?}");
    for flow in &flows {
        assert!([&flow["SrcComm"], &flow["DstComm"]].iter().any(|comm| **comm == "bash"), "{flow}");
    }
    assert!(ended.finished.stderr.contains("left out by the query"), "{}", ended.finished);
    kill(server);
}

/// What lives for a few milliseconds ends long before anybody looks; the kernel noted who made it and who closed it.
#[test]
fn short_lives_are_named_too() {
    require_privileged!();
    const VISITS: usize = 40;
    let world = World::new();
    let server = world.server(&[]);
    let capture = world.capture();
    let mut to = [RIGHT, RIGHT6].into_iter().cycle();
    let over_tcp = visitors(&capture, (6, pid(&server)), VISITS, || world.visit(to.next().unwrap()));
    let over_udp = visitors(&capture, (17, pid(&server)), VISITS / 2, || world.ask(to.next().unwrap()));
    let ended = capture.stop();
    let flows = ended.files().flows();
    for (proto, came) in [(6, over_tcp), (17, over_udp)] {
        for talk in talks(&flows, proto) {
            assert!(talk.client == 0 || came.contains(&talk.client), "{came:?} {}", talk.flow);
            assert!([0, pid(&server)].contains(&talk.server), "{} {}", pid(&server), talk.flow);
        }
    }
    kill(server);
}

/// A server of Go listens so, and takes plain connections as plain ones.
#[test]
fn a_server_of_multipath_connections_is_named() {
    require_privileged!();
    if !Path::new("/proc/sys/net/mptcp").exists() {
        println!("SKIPPED: this kernel has no MPTCP");
        return;
    }
    let world = World::new();
    let server = world.server(&["mptcp"]);
    let capture = world.capture();
    let came = visitors(&capture, (6, pid(&server)), 3, || world.visit(RIGHT));
    let ended = capture.stop();
    for talk in talks(&ended.files().flows(), 6) {
        assert!(talk.client == 0 || came.contains(&talk.client), "{came:?} {}", talk.flow);
        assert!([0, pid(&server)].contains(&talk.server), "{} {}", pid(&server), talk.flow);
    }
    kill(server);
}

#[test]
fn a_connection_that_is_refused_has_a_name() {
    require_privileged!();
    let world = World::new();
    let capture = world.capture();
    // Who refuses is the kernel, so nobody is known to receive.
    let came = visitors(&capture, (6, 0), 3, || {
        let line = format!("exec 3<>/dev/tcp/{RIGHT}/{PORT}");
        let bash = world.left.run("bash").args(["-c", &line]).start();
        let number = pid(&bash);
        assert!(!bash.wait(PATIENCE).success());
        number
    });
    let ended = capture.stop();
    for talk in talks(&ended.files().flows(), 6) {
        assert!(talk.server == 0 && (talk.client == 0 || came.contains(&talk.client)), "{came:?} {}", talk.flow);
    }
}

/// Neither a parent that only listens nor one that made a connection and left it has what its child has.
#[test]
fn a_child_that_has_a_connection_is_named() {
    require_privileged!();
    let world = World::new();
    for kind in ["fork", "hand"] {
        a_child_has_a_connection(&world, kind);
    }
}

fn a_child_has_a_connection(world: &World, kind: &str) {
    let server = world.server(&[kind]);
    let capture = world.capture();
    let client = world.client(&["tcp", RIGHT, "pass"]);
    let (taker, heir) = (told(&server, "child"), told(&client, "child"));
    wait_for_named(&capture, 6, heir, taker);
    let parents = [pid(&server), pid(&client)];
    let ended = capture.stop();
    netobserv_testkit::proc::signal(heir as i32, Signal::SIGKILL);
    [client, server].into_iter().for_each(kill);
    let flows = ended.files().flows();
    let found = talks(&flows, 6);
    let times: Vec<_> = found.iter().filter(|talk| talk.server == taker).map(|talk| talk.start_ms).collect();
    for talk in &found {
        assert!([0, heir, parents[1]].contains(&talk.client), "{heir}: {}", talk.flow);
        assert!([0, taker, parents[0]].contains(&talk.server), "{taker}: {}", talk.flow);
        let late = times.first().is_some_and(|first| talk.start_ms > *first);
        assert!(!late || talk.server != parents[0], "the parent after the child: {}", talk.flow);
    }
}

/// Of those that listen together, the one that took a connection has it.
#[test]
fn the_worker_that_took_a_connection_is_named() {
    require_privileged!();
    let world = World::new();
    let server = world.server(&["workers"]);
    let capture = world.capture();
    let first = world.client(&["tcp", RIGHT]);
    let busy = told(&server, "worker");
    wait_for_named(&capture, 6, pid(&first), busy);
    // While one is busy, the other takes them.
    world.visit(RIGHT);
    let printed =
        || server.stdout().split("worker ").skip(1).map(|rest| rest.trim().parse::<u64>()).collect::<Vec<_>>();
    let others = || printed().into_iter().flatten().find(|pid| *pid != busy);
    assert!(wait_for(PATIENCE, || others().is_some()), "{:?}", printed());
    let other = others().expect("another worker");
    let came = visitors(&capture, (6, other), 3, || world.visit(RIGHT));
    let first_pid = pid(&first);
    kill(first);
    let ended = capture.stop();
    for child in server.children("python3") {
        netobserv_testkit::proc::signal(child, Signal::SIGKILL);
    }
    kill(server);
    for talk in talks(&ended.files().flows(), 6) {
        let right = if talk.client == first_pid { busy } else { other };
        assert!(talk.client == 0 || [0, right].contains(&talk.server), "{busy} {other} {came:?} {}", talk.flow);
    }
}

/// A server ends and another takes its port, while a client goes on from the same port to the same.
#[test]
fn a_port_that_another_process_takes_has_the_name_of_each_in_its_time() {
    require_privileged!();
    let world = World::new();
    let capture = world.capture();
    let first = world.server(&[]);
    let client = world.client(&["udp", RIGHT]);
    let (first_pid, client_pid) = (pid(&first), pid(&client));
    wait_for_named(&capture, 17, client_pid, first_pid);
    let early = visitors(&capture, (6, first_pid), 2, || world.visit(RIGHT));
    let ending = now_ms();
    kill(first);
    let gone = now_ms();
    let second = world.server(&[]);
    let second_pid = pid(&second);
    wait_for_named(&capture, 17, client_pid, second_pid);
    let late = visitors(&capture, (6, second_pid), 2, || world.visit(RIGHT));
    let leaving = now_ms();
    kill(client);
    let left = now_ms();
    // Taken by another client at once.
    let heir = world.client(&["udp", RIGHT]);
    let heir_pid = pid(&heir);
    wait_for_named(&capture, 17, heir_pid, second_pid);
    [heir, second].into_iter().for_each(kill);
    let ended = capture.stop();
    let flows = ended.files().flows();
    let came: Vec<_> = early.union(&late).copied().collect();
    for (proto, visitors) in [(6, came), (17, vec![])] {
        for talk in talks(&flows, proto) {
            let (mut servers, mut clients) = (vec![0], visitors.clone());
            servers.extend((talk.end_ms <= gone).then_some(first_pid));
            servers.extend((talk.start_ms >= ending).then_some(second_pid));
            clients.push(0);
            clients.extend((proto == 17 && talk.end_ms <= left).then_some(client_pid));
            clients.extend((proto == 17 && talk.start_ms >= leaving).then_some(heir_pid));
            assert!(servers.contains(&talk.server), "{first_pid} until {gone}, {second_pid}: {}", talk.flow);
            assert!(clients.contains(&talk.client), "{client_pid} until {left}, {heir_pid}: {}", talk.flow);
        }
    }
}

/// While two processes have one port, no datagram is said to be of one of them.
#[test]
fn a_port_that_two_processes_share_is_of_neither() {
    require_privileged!();
    let world = World::new();
    let servers = [world.server(&["share", "idle"]), world.server(&["share", "idle"])];
    let capture = world.capture();
    let client = world.client(&["udp", RIGHT]);
    let client_pid = pid(&client);
    // What both have in common may be told.
    let shared = |talk: &Talk<'_>| talk.flow["SrcComm"].as_str().is_some_and(|name| name.starts_with("python3"));
    let of_server = |talk: &Talk<'_>| talk.flow["SrcPort"] == PORT && talk.client == client_pid && shared(talk);
    let said = || talks(&capture.files().flows(), 17).iter().filter(|talk| of_server(talk)).count();
    assert!(wait_for(PATIENCE, || said() >= 3), "{:?}", capture.files().flows());
    kill(client);
    let ended = capture.stop();
    servers.into_iter().for_each(kill);
    for talk in talks(&ended.files().flows(), 17) {
        assert!(talk.server == 0 && [0, client_pid].contains(&talk.client), "{client_pid}: {}", talk.flow);
    }
}
