//! What agents are sent when a filter of the screen goes into the kernel, and what the screen says of their answers.

mod support;

use netobserv_wire::pbflow::{AgentStatus, KernelFilter, Records};
use support::pty::Pty;
use support::{Client, records};

/// What an agent hears that has filter `number`, or could not put it in force for this reason.
#[track_caller]
fn hears(agent: &Client, node: &str, number: u64, error: &str) -> Option<KernelFilter> {
    let status =
        AgentStatus { node: node.into(), filter: number, filter_error: error.into(), ..AgentStatus::default() };
    agent.send_records(Records { agent: Some(status), ..Records::default() }).expect("an answer").filter
}

#[test]
fn agents_are_told_and_their_answers_are_shown() {
    let mut pty = Pty::start(&[], (140, 30));
    let agent = pty.client();
    agent.send("n1", records::some(1, 10), false).unwrap();
    pty.wait_for("connections, sorted by");
    assert_eq!(hears(&agent, "n1", 0, ""), None);

    pty.press("F");
    pty.wait_for("nothing to put into the kernel: type a filter first");
    pty.press("nodejs\rF");
    pty.wait_for("not put into the kernel: nodejs is a text");
    pty.press("\x7fport:443\r!10.0.0.0/8\r");
    pty.wait_for("F: in the kernel too");
    pty.press("F");
    pty.wait_for("Files get only: port:443 !10.0.0.0/8 (0 of 1 nodes)");
    let filter = hears(&agent, "n1", 0, "").expect("a filter");
    assert_eq!(
        filter.lists,
        [r#"[{"action":"Accept","port":443}]"#, r#"[{"action":"Reject","ip_cidr":"10.0.0.0/8"}]"#]
    );
    assert_eq!(hears(&agent, "n1", filter.number, ""), Some(KernelFilter { lists: vec![], ..filter.clone() }));
    pty.wait_for("(1 of 1 nodes)");

    // One that joins later gets it, and cannot do it.
    assert_eq!(hears(&agent, "n2", 0, ""), Some(filter.clone()));
    pty.wait_for("(1 of 2 nodes)");
    hears(&agent, "n2", filter.number, "no room");
    pty.wait_for("n2 does not filter: no room");

    pty.press("F");
    pty.wait_for("All is captured again (0 of 2 nodes)");
    assert_eq!(hears(&agent, "n1", filter.number, ""), None);
    hears(&agent, "n1", 0, "");
    hears(&agent, "n2", 0, "");
    pty.wait_until("all of it", |text| !text.contains("captured again"));

    agent.send("n1", Vec::new(), true).unwrap();
    agent.send("n2", Vec::new(), true).unwrap();
    pty.press("\x11");
    assert!(pty.wait().success());
    pty.wait_for("UTC only this was captured: port:443 !10.0.0.0/8");
}
