//! What shells and manual readers get from the program itself.

mod cli_world;

use std::path::Path;

use cli_world::World;
use netobserv_testkit::proc::Run;

#[track_caller]
fn printed(words: &[&str]) -> String {
    let outcome = World::new().run(words);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{words:?}");
    outcome.stdout
}

/// What kubectl and oc would offer, without the line for the shell.
#[track_caller]
fn offered(words: &[&str]) -> Vec<String> {
    let words: Vec<&str> = [&["__complete"], words].concat();
    let said = printed(&words);
    let mut lines: Vec<String> = said.lines().map(str::to_owned).collect();
    let directive = lines.pop().expect("a directive");
    assert!([":4", ":6"].contains(&directive.as_str()), "{directive}");
    lines
}

#[test]
fn commands_are_offered_first() {
    let offered = offered(&[""]);
    for command in ["flows", "packets", "follow", "stop", "copy", "cleanup", "version", "help", "completion", "man"] {
        assert!(offered.iter().any(|word| word == command), "{command} in {offered:?}");
    }
    assert!(!offered.iter().any(|word| word.starts_with('_')), "{offered:?}");
    assert_eq!(self::offered(&["fl"]), ["flows"]);
}

#[test]
fn options_are_offered_in_both_spellings() {
    for typed in ["--exclude_i", "--exclude-i"] {
        let offered = offered(&["flows", typed]);
        assert_eq!(offered.len(), 1, "{offered:?}");
        assert!(offered[0].starts_with(typed) && offered[0].ends_with('='), "{offered:?}");
    }
}

#[test]
fn values_are_offered_where_there_are_few() {
    assert_eq!(offered(&["flows", "--protocol=ICMP"]), ["--protocol=ICMP", "--protocol=ICMPv6"]);
    assert_eq!(offered(&["flows", "--protocol", "T"]), ["TCP"]);
    assert_eq!(offered(&["flows", "--enable_rtt="]), ["--enable_rtt=true", "--enable_rtt=false"]);
    assert_eq!(offered(&["flows", "--log-level", "w"]), ["warn"]);
    assert_eq!(offered(&["flows", "--image-pull-policy=N"]), ["--image-pull-policy=Never"]);
    assert_eq!(offered(&["flows", "-o", ""]), ["text", "json"]);
    assert_eq!(offered(&["packets", "--format=pcap"]), ["--format=pcapng", "--format=pcap"]);
    assert_eq!(offered(&["images", "-o", "i"]), ["idms"]);
    assert_eq!(offered(&["query", "-o", ""]), ["table", "json", "csv"], "each command has its own forms");
    assert_eq!(offered(&["policy", "-o", ""]), ["yaml"]);
}

#[test]
fn interfaces_of_this_machine_are_offered_for_a_capture_on_it() {
    for (typed, found) in [
        (&["flows", "--local", "--interfaces=l"][..], "--interfaces=lo"),
        (&["packets", "--local", "--exclude-interfaces=eth7,l"], "--exclude-interfaces=eth7,lo"),
        (&["flows", "--local", "-i", "l"], "lo"),
    ] {
        assert!(offered(typed).iter().any(|word| word == found), "{typed:?}: {:?}", offered(typed));
    }
    assert!(offered(&["flows", "--interfaces="]).is_empty(), "nodes of a cluster have others");
}

#[test]
fn each_option_is_offered_once() {
    for command in ["flows", "packets", "follow", "stop", "copy", "cleanup", "doctor", "images", "version"] {
        let mut names: Vec<String> = offered(&[command, "--"]).iter().map(|word| word.replace('_', "-")).collect();
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all, "{command}: {names:?}");
    }
    for shell in ["elvish", "powershell"] {
        let script = printed(&["completion", shell]);
        assert!(script.contains("enable_rtt") && !script.contains("enable-rtt"), "{shell} offers both spellings");
    }
}

#[test]
fn a_rule_can_be_followed_by_another() {
    assert_eq!(offered(&["flows", "--port=80", "o"]), ["or"]);
}

#[test]
fn options_that_do_nothing_are_not_offered() {
    assert!(offered(&["flows", "--enable_filter"]).is_empty());
}

#[test]
fn each_shell_has_a_script() {
    for shell in ["elvish", "powershell"] {
        let script = printed(&["completion", shell]);
        for word in ["oc-netobserv", "enable_rtt", "cleanup"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    for shell in ["bash", "fish", "zsh", "ZSH"] {
        let script = printed(&["completion", shell]);
        assert!(script.contains("kubectl-netobserv") && script.contains(" __complete "), "{shell}: {script}");
    }
}

#[test]
fn another_shell_is_a_mistake() {
    for (words, said) in [
        (&["completion", "tcsh"][..], "error: unsupported shell tcsh: use bash, elvish, fish, powershell or zsh\n"),
        (&["completion"], "error: completion needs a shell: use bash, elvish, fish, powershell or zsh\n"),
        (&["man", "nonsense"], "Unknown command nonsense. Use 'oc netobserv help' to display options\n"),
    ] {
        let outcome = World::new().run(words);
        assert_eq!((outcome.code, outcome.stdout.as_str(), outcome.stderr.as_str()), (Some(2), "", said), "{words:?}");
    }
}

/// The script is run by the shell it is for: what it offers is what a person sees.
#[test]
fn bash_completes_with_the_script() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("completion.bash");
    std::fs::write(&script, printed(&["completion", "bash"])).expect("a file");
    let ask = |line: &str| {
        let (script, program) = (script.display(), env!("CARGO_BIN_EXE_oc-netobserv"));
        let set = format!("COMP_LINE='{line}'; COMP_POINT={}", line.len());
        let program = format!("source {script}; {set}; _oc_netobserv {program}; echo \"${{COMPREPLY[@]}}\"");
        Run::new("bash").args(["--norc", "-c", &program]).output().trim_end_matches('\n').to_owned()
    };
    assert_eq!(ask("oc-netobserv fl"), "flows");
    assert_eq!(ask("oc-netobserv flows --protocol ICMP"), "ICMP ICMPv6");
    assert_eq!(ask("oc-netobserv flows --protocol=ICMP"), "ICMP ICMPv6");
    assert_eq!(ask("oc-netobserv flows --enable_rtt="), "true false");
    assert_eq!(ask("oc-netobserv flows --enable-rt"), "--enable-rtt");
    assert_eq!(ask("oc-netobserv flows --interfaces "), "");
    assert!(ask("oc-netobserv ").starts_with("flows packets "));
}

/// The shell, where this machine has it.
fn has(shell: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = std::env::split_paths(&path).any(|folder| folder.join(shell).exists());
    if !there {
        eprintln!("skipped: there is no {shell}");
    }
    there
}

/// What `compadd` gets is what zsh offers.
#[test]
fn zsh_completes_with_the_script() {
    if !has("zsh") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("script"), printed(&["completion", "zsh"])).expect("a file");
    let ask = |words: &[&str]| {
        let program = env!("CARGO_BIN_EXE_oc-netobserv");
        let words: String = std::iter::once(&program).chain(words).map(|word| format!(" '{word}'")).collect();
        let line = format!(
            "compdef() {{ : }}; compadd() {{ print -r -- \"$@\" }}; compset() {{ : }}; _files() {{ print files }}; \
             source {}; words=({words}); CURRENT=$#words; _oc_netobserv",
            folder.path().join("script").display()
        );
        Run::new("zsh").args(["-f", "-c", &line]).output().trim_end().to_owned()
    };
    assert_eq!(ask(&["fl"]), "-- flows");
    assert_eq!(ask(&["flows", "--protocol=ICMP"]), "-- --protocol=ICMP --protocol=ICMPv6");
    assert_eq!(ask(&["flows", "--protocol", ""]), "-- TCP UDP SCTP ICMP ICMPv6");
    assert_eq!(ask(&["flows", "--exclude-i"]), "-S  -- --exclude-interfaces=");
    assert_eq!(ask(&["flows", "--local", "-i", "lo"]).split(' ').nth(1), Some("lo"));
    assert_eq!(ask(&["flows", "--output-dir", ""]), "files");
}

#[test]
fn fish_completes_with_the_script() {
    if !has("fish") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("script");
    std::fs::write(&script, printed(&["completion", "fish"])).expect("a file");
    let bin = Path::new(env!("CARGO_BIN_EXE_oc-netobserv")).parent().expect("a folder").display();
    let ask = |line: &str| {
        let line = format!("set -x PATH {bin} $PATH; source {}; complete -C '{line}'", script.display());
        let home = folder.path().to_str().expect("UTF-8");
        Run::new("fish").args(["--no-config", "-c", &line]).env("HOME", home).output().trim_end().to_owned()
    };
    assert_eq!(ask("oc-netobserv fl"), "flows");
    assert_eq!(ask("oc-netobserv flows --protocol=ICMP"), "--protocol=ICMP\n--protocol=ICMPv6");
    assert_eq!(ask("oc-netobserv flows --enable-rt"), "--enable-rtt");
}

#[test]
fn a_link_answers_kubectl() {
    let folder = tempfile::tempdir().expect("a folder");
    let link = folder.path().join("kubectl_complete-netobserv");
    std::os::unix::fs::symlink(Path::new(env!("CARGO_BIN_EXE_oc-netobserv")), &link).expect("a link");
    assert_eq!(Run::new(&link).args(["flows", "--acti"]).output(), "--action=\n:6\n");
    assert_eq!(Run::new(&link).args(["flows", "--action", "R"]).output(), "Reject\n:4\n");
}

#[test]
fn the_manual_has_the_options_of_a_command() {
    let whole = printed(&["man"]);
    assert!(whole.contains(".TH oc-netobserv 1") && whole.contains("packets"), "{whole}");
    for page in [&whole, &printed(&["man", "flows"])] {
        let page = page.replace("\\-", "-");
        let (_, examples) = page.split_once(".SH EXAMPLES\n.PP\n.nf\n").expect("examples as they are typed");
        let (examples, rest) = examples.split_once("\n.fi\n").expect("an end of the examples");
        assert!(examples.lines().any(|line| line.starts_with("  oc netobserv flows  ")), "{examples}");
        for section in [".SH EXIT STATUS", ".SH ENVIRONMENT", ".SH FILES"] {
            assert!(rest.contains(section), "{section} is not in {rest}");
        }
        assert!(!page.contains(".SH EXTRA"));
    }
    let flows = printed(&["man", "flows"]);
    assert!(flows.contains(r"\-\-enable_rtt") && flows.contains("netobserv\\-flows"), "{flows}");
}
