//! Plugin, collector and agents of different versions: told, kept, and nothing else.

mod support;

use netobserv_testkit::{Signal, wait_for};
use netobserv_wire::pbflow::{AgentStatus, Records};
use support::{Collector, SOON};

const OWN: &str = env!("CARGO_PKG_VERSION");

/// An agent of this version says hello.
#[track_caller]
fn hello(collector: &Collector, version: &str) {
    let status = AgentStatus { node: "n1".into(), version: version.into(), last: true, ..AgentStatus::default() };
    collector.client().send_records(Records { agent: Some(status), ..Records::default() }).unwrap();
}

#[test]
fn other_versions_are_told_at_once_at_the_end_and_in_the_database() {
    let collector = Collector::start_with(&[], |run| run.env("NETOBSERV_CLI_VERSION", "9.9.9"));
    let plugin = format!("versions differ: this collector is {OWN}, the plugin is 9.9.9");
    assert!(wait_for(SOON, || collector.process.stderr().contains(&plugin)), "{}", collector.process.stderr());
    hello(&collector, "8.0.0");
    let ended = collector.stop(Signal::SIGINT);
    let all = format!("  {plugin}, the agent of n1 is 8.0.0: use the images that 'oc netobserv images' lists\n");
    assert!(ended.finished.stdout.contains(&all), "{}", ended.finished);
    assert_eq!([ended.said("version"), ended.said("plugin_version")], [OWN, "9.9.9"]);
}

#[test]
fn one_version_is_no_news() {
    let collector = Collector::start_with(&[], |run| run.env("NETOBSERV_CLI_VERSION", OWN));
    hello(&collector, OWN);
    let ended = collector.stop(Signal::SIGINT);
    assert!(!ended.finished.to_string().contains("versions differ"), "{}", ended.finished);
}
