//! `doctor --local` with the real agent, as root and as nobody.

use netobserv_testkit::{Run, proc, require_privileged};

#[test]
fn the_agent_explains_itself() {
    let run = |word: &str| Run::new(&proc::binaries().agent).args([word]).finish();
    let help = run("--help");
    assert!(help.success() && help.stderr.is_empty(), "{help}");
    for word in ["doctor", "INTERFACES ", "TARGET_TLS_CA_CERT_PATH", "FLOW_FILTER_RULES", "SNAPLEN", "CAP_BPF"] {
        assert!(help.stdout.contains(word), "{word}: {help}");
    }
    assert!(help.stdout.lines().all(|line| line.len() <= 120), "{help}");
    assert_eq!(run("-h").stdout, help.stdout);
    assert_eq!(run("--version").stdout, concat!("netobserv-agent ", env!("CARGO_PKG_VERSION"), "\n"));
    let wrong = run("--frobnicate");
    assert!(wrong.code() == 2 && wrong.stderr.contains("see netobserv-agent --help"), "{wrong}");
}

#[test]
fn doctor_says_what_this_machine_can_do() {
    require_privileged!();
    let binaries = proc::binaries();
    let doctor = Run::new(&binaries.plugin).args(["doctor", "--local"]).env("NETOBSERV_AGENT_BIN", &binaries.agent);
    let said = doctor.finish();
    assert!(said.success(), "{said}");
    for line in [
        "yes count flows",
        "yes round-trip times",
        "yes dropped packets",
        "yes names of processes",
        "Flows can be captured",
    ] {
        assert!(said.stdout.contains(line), "{line}: {said}");
    }
    let nobody = Run::new(&binaries.plugin).args(["doctor", "--local"]).env("NETOBSERV_AGENT_BIN", &binaries.agent);
    let said = nobody.uid(65534).finish();
    assert_eq!(said.code(), 1, "{said}");
    assert!(said.stdout.contains("NO  capabilities") && said.stdout.contains("not tried"), "{said}");
}
