//! Files on their way home: broken transfers, damaged ones, names that are taken or that lead elsewhere; and the commands
//! about a capture in the background.
#![cfg(target_os = "linux")]

mod cli_world;

use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::Path;

use cli_world::World;
use netobserv_testkit::require_privileged;

/// Bytes that do not compress well, the same each time.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_u32;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 24) as u8
    };
    (0..length).map(|_| byte()).collect()
}

fn fetches(world: &World) -> Vec<String> {
    world.calls().into_iter().filter_map(|line| line.split(" fetch ").nth(1).map(str::to_owned)).collect()
}

#[test]
fn a_transfer_that_broke_is_taken_up_where_it_stopped() {
    let data = noise(3_000_000);
    let world = World::new().file("pod/flow/big.db", &data).env("FAKE_CUT", "1000000");
    let outcome = world.run(&["copy"]);
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    assert!(outcome.stderr.starts_with("warning: cannot fetch flow/big.db: `oc exec"), "{outcome:#?}");
    let calls = fetches(&world);
    let [first, second] = &calls[..] else { panic!("two transfers: {calls:?}") };
    assert_eq!(first, "flow/big.db");
    let offset: u64 = second.strip_prefix("flow/big.db --offset=").expect("an offset").parse().expect("a number");
    assert!((500_000..1_000_000).contains(&offset), "{offset}");
    assert!(std::fs::read(world.path("output/flow/big.db")).unwrap() == data);
    assert_eq!(std::fs::read_dir(world.path("output/flow")).unwrap().count(), 1);
}

#[test]
fn a_part_of_an_earlier_try_is_the_beginning() {
    let data = noise(100_000);
    let world = World::new().file("pod/flow/t.db", &data);
    std::fs::create_dir_all(world.path("output/flow")).unwrap();
    std::fs::write(world.path("output/flow/.t.db.x1Y2z3.part"), &data[..40_000]).unwrap();
    assert_eq!(world.run(&["copy"]).code, Some(0));
    assert_eq!(fetches(&world), ["flow/t.db --offset=40000"]);
    assert!(std::fs::read(world.path("output/flow/t.db")).unwrap() == data);
    assert_eq!(std::fs::read_dir(world.path("output/flow")).unwrap().count(), 1);
    // A part of something else is found out by the digest, and begun anew.
    let world = World::new().file("pod/flow/t.db", &data);
    std::fs::create_dir_all(world.path("output/flow")).unwrap();
    std::fs::write(world.path("output/flow/.t.db.x1Y2z3.part"), vec![0; 40_000]).unwrap();
    assert_eq!(world.run(&["copy"]).code, Some(0));
    assert_eq!(fetches(&world), ["flow/t.db --offset=40000", "flow/t.db"]);
    assert!(std::fs::read(world.path("output/flow/t.db")).unwrap() == data);
}

/// Another user of the machine who knows the name of the capture puts links where its files come to.
#[test]
fn planted_links_are_not_followed() {
    let world = World::new().file("pod/flow/t.json", "[\n]\n");
    std::fs::create_dir_all(world.path("output/flow")).unwrap();
    std::fs::write(world.path("victim"), "precious").unwrap();
    for name in [".t.json.part", ".t.json.planted.part"] {
        symlink(world.path("victim"), world.path("output/flow").join(name)).unwrap();
    }
    symlink(world.path("made"), world.path("output/flow/t.json")).unwrap();
    let outcome = world.run(&["copy"]);
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    assert_eq!(std::fs::read_to_string(world.path("victim")).unwrap(), "precious");
    assert!(!world.path("made").exists(), "a link that leads nowhere is a name that is taken");
    assert_eq!(std::fs::read_to_string(world.path("output/flow/t-2.json")).unwrap(), "[\n]\n");
}

#[test]
fn what_is_copied_is_for_the_user_alone() {
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o7777;
    for umask in ["0", "0777"] {
        let world = World::new().file("pod/flow/t.json", "[\n]\n").file("pod/pcap/t.pcapng", "");
        let script = format!("umask {umask}; exec \"$NETOBSERV\" copy --output-dir=a/b");
        let outcome = world.run_shell(&script);
        assert_eq!(outcome.code, Some(0), "{outcome:#?}");
        let (folder, file) = (["a", "a/b", "a/b/flow", "a/b/pcap"], ["a/b/flow/t.json", "a/b/pcap/t.pcapng"]);
        assert_eq!(folder.map(|name| mode(&world.path(name))), [0o700; 4], "umask {umask}");
        assert_eq!(file.map(|name| mode(&world.path(name))), [0o600; 2], "umask {umask}");
    }
}

#[test]
fn a_folder_of_another_user_is_told() {
    require_privileged!();
    let world = World::new().file("pod/flow/t.json", "[\n]\n");
    std::fs::create_dir_all(world.path("output/flow")).unwrap();
    chown(world.path("output/flow"), Some(65_534), None).unwrap();
    let outcome = world.run(&["copy"]);
    let warning = "warning: ./output/flow belongs to another user (uid 65534), who can replace the files in it\n";
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), warning));
}

#[test]
fn copies_at_the_same_moment_do_each_other_no_harm() {
    let world = World::new().file("pod/flow/big.db", noise(1_000_000));
    let copies: Vec<_> = (0..4).map(|_| world.start(&["copy"])).collect();
    for copy in copies {
        let outcome = copy.outcome();
        assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    }
    let files: Vec<_> = std::fs::read_dir(world.path("output/flow")).unwrap().map(|e| e.unwrap().path()).collect();
    assert!((1..=4).contains(&files.len()), "{files:?}");
    assert!(files.iter().all(|file| std::fs::read(file).unwrap() == noise(1_000_000)), "{files:?}");
}

#[test]
fn a_file_that_stays_damaged_is_told_and_not_kept_under_its_name() {
    let list = r#"[{"path":"flow/t.json","size":4,"sha256":"00"}]"#;
    let world = World::new().file("pod/flow/t.json", "[\n]\n").file("answers/files", list);
    let outcome = world.run(&["copy"]);
    assert_eq!(outcome.code, Some(1));
    let line = "error: flow/t.json did not arrive complete in 5 attempts: its SHA-256 differs; if the capture is still \
                running, end it with 'oc netobserv stop' and copy again\n";
    assert_eq!(outcome.stderr, line);
    assert!(!world.path("output/flow/t.json").exists());
}

#[test]
fn what_is_there_is_not_overwritten() {
    let world = World::new().file("pod/flow/t.json", "[\n]\n");
    std::fs::create_dir_all(world.path("output/flow")).unwrap();
    std::fs::write(world.path("output/flow/t.json"), "mine").unwrap();
    std::fs::write(world.path("output/zz.txt"), "also mine").unwrap();
    for _ in 0..2 {
        assert_eq!(world.run(&["copy"]).code, Some(0));
    }
    let read = |name: &str| std::fs::read_to_string(world.path(name)).unwrap();
    assert_eq!((read("output/flow/t.json").as_str(), read("output/flow/t-2.json").as_str()), ("mine", "[\n]\n"));
    assert_eq!(read("output/zz.txt"), "also mine");
    // The same file again is no other file.
    let world = World::new().file("pod/flow/t.json", "[\n]\n");
    for _ in 0..2 {
        assert_eq!(world.run(&["copy"]).code, Some(0));
    }
    assert_eq!(std::fs::read_dir(world.path("output/flow")).unwrap().count(), 1);
}

#[test]
fn a_collector_cannot_write_elsewhere() {
    for path in ["../../x", "/tmp/x", "flow/../../x", ".bashrc", "bin/oc", "flow/run.sh", "flow/.hidden.json"] {
        let list = format!(r#"[{{"path":"{path}","size":0,"sha256":""}}]"#);
        let world = World::new().file("answers/files", list);
        let outcome = world.run(&["copy"]);
        assert_eq!(outcome.code, Some(1));
        assert!(outcome.stderr.contains("not a file of a capture"), "{outcome:?}");
        assert_eq!(fetches(&world), [""; 0]);
    }
}

#[test]
fn copy_says_where_files_go() {
    let world = World::new().file("pod/flow/t.json", "[\n]\n");
    let outcome = world.run(&["copy", "--output-dir=a b", "-n", "mine"]);
    assert_eq!(outcome.stdout, "Copying collector files to a b...\na b/flow/t.json (4 bytes)\n");
    assert!(world.path("a b/flow/t.json").exists());
    assert!(world.calls().iter().all(|line| line.starts_with("exec -n mine collector")));
    let outcome = World::new().file("pod/flow/t.json", "").run(&["copy"]);
    assert_eq!(outcome.stdout, "Copying collector files to ./output...\n./output/flow/t.json (0 bytes)\n");
}

#[test]
fn a_folder_that_cannot_be_written_is_told_before_anything_is_made() {
    let world = World::new().file("pod/flow/t.json", "[\n]\n");
    std::fs::write(world.path("file"), "").unwrap();
    let outcome = world.run(&["flows", "--output-dir=file/x"]);
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.stderr.starts_with("error: cannot write file/x: "), "{outcome:?}");
    assert!(outcome.stderr.ends_with("choose another folder with --output-dir\n"), "{outcome:?}");
    assert_eq!(world.calls(), [""; 0]);
    assert_eq!(world.run(&["flows", "--output-dir=file/x", "--copy=false"]).code, Some(0));
}

#[test]
fn files_that_cannot_be_fetched_wait_for_another_try() {
    let world = World::new().file("pod/flow/t.json", "[\n]\n").env("FAKE_BREAK", "fail:cli fetch");
    let outcome = world.run(&["flows"]);
    assert_eq!(outcome.code, Some(1));
    let last = outcome.stderr.lines().last().expect("an error");
    assert!(
        last.starts_with(
            "error: flow/t.json did not arrive complete in 5 attempts: cannot fetch flow/t.json: `oc exec"
        )
    );
    assert!(
        last.ends_with(
            "the collector still has them: 'oc netobserv copy' tries again, 'oc netobserv cleanup' gives up"
        )
    );
    assert_eq!(outcome.stderr.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{outcome:#?}");
    let world = world.env("FAKE_BREAK", "");
    assert_eq!(world.run(&["copy"]).code, Some(0));
    assert!(world.path("output/flow/t.json").exists());
}

#[test]
fn follow_shows_the_log() {
    let world = World::new().file("answers/logs", "one\ntwo\n");
    let outcome = world.run(&["follow", "-n", "mine"]);
    assert_eq!((outcome.code, outcome.stdout.as_str(), outcome.stderr.as_str()), (Some(0), "one\ntwo\n", ""));
    assert_eq!(world.calls(), ["logs collector -n mine -f"]);
    let outcome = held(&["pod.collector"]).env("FAKE_BREAK", "fail:logs").run(&["follow"]);
    assert!(outcome.code == Some(1) && outcome.stderr.contains("`oc logs collector"), "{outcome:?}");
}

/// A namespace that a session holds, with these objects.
fn held(objects: &[&str]) -> World {
    let world = World::new().file("session", "0badcafe").file("by", "me@here");
    let objects = ["namespace.netobserv-cli"].iter().chain(objects);
    objects.fold(world, |world, object| world.file(&format!("objects/{object}"), ""))
}

#[test]
fn without_a_capture_there_is_nothing_to_follow_to_stop_or_to_copy() {
    let broken = [("follow", "fail:logs"), ("stop", ""), ("copy", "fail:cli files")];
    for (command, fault) in broken {
        let outcome = World::new().env("FAKE_BREAK", fault).run(&[command]);
        let line = "error: there is no capture in namespace netobserv-cli: use -n for another one\n";
        assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(1), line), "{command}");
    }
    for (command, fault) in [("follow", "fail:logs"), ("copy", "fail:cli files")] {
        let outcome = held(&["daemonset.netobserv-cli"]).env("FAKE_BREAK", fault).run(&[command]);
        let line = "error: the collector of the capture in namespace netobserv-cli is gone, and its files with it: 'oc netobserv \
                    cleanup' removes the rest\n";
        assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(1), line), "{command}");
    }
}

#[test]
fn follow_ends_with_ctrl_c() {
    let world = World::new().env("FAKE_BREAK", "hang:logs");
    let plugin = world.start(&["follow"]);
    world.wait_for_call("logs");
    plugin.signal("INT");
    assert_eq!(plugin.outcome().code, Some(0));
}

#[test]
fn stop_ends_the_capture_and_removes_the_agents_only() {
    let world = held(&["daemonset.netobserv-cli", "pod.collector"]);
    let outcome = world.run(&["stop"]);
    assert_eq!(
        outcome.stdout,
        "Deleting daemonset... \nUse 'oc netobserv copy' to copy the files, and 'oc netobserv cleanup' to remove the rest\n"
    );
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
    assert_eq!(world.objects(), ["namespace.netobserv-cli", "pod.collector"]);
    assert!(world.calls()[1].ends_with("network-observability-cli finish"), "{:#?}", world.calls());
    let outcome = World::new().run(&["stop"]);
    assert_eq!(outcome.stderr, "error: there is no capture in namespace netobserv-cli: use -n for another one\n");
}
