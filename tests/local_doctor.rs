//! `doctor --local` with the real agent, as root and as nobody.

use netobserv_testkit::{Run, proc, require_privileged};

#[test]
fn doctor_says_what_this_machine_can_do() {
    require_privileged!("doctor_says_what_this_machine_can_do");
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
