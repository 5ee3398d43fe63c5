//! One program for all targets: the variable FUZZ_TARGET names the one that it feeds. Each is a function of `fuzz_targets` (collector: `foreign`) in the crate
//! that it is about; two crates at once only meet here.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use netobserv_agent::settings::Settings;

static TARGET: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let here: [(&str, fn(&[u8])); 1] = [("options", options)];
    let all = here
        .into_iter()
        .chain(netobserv_agent::fuzz_targets::ALL)
        .chain(netobserv_collector::foreign::ALL)
        .chain(oc_netobserv::fuzz_targets::ALL);
    let found = all.into_iter().find(|(other, _)| *other == name);
    found.unwrap_or_else(|| panic!("FUZZ_TARGET={name} is no target")).1
});

fuzz_target!(|bytes: &[u8]| TARGET(bytes));

/// What the plugin makes of a command line, the agents understand.
fn options(bytes: &[u8]) {
    if let Some(mut env) = oc_netobserv::fuzz_targets::settings(bytes) {
        let fixed = [("TARGET_HOST", "127.0.0.1"), ("TARGET_PORT", "9999")];
        for (name, value) in fixed {
            env.retain(|(other, _)| other != name);
            env.push((name.to_owned(), value.to_owned()));
        }
        if let Err(error) = Settings::read(env.clone()) {
            panic!("the agent refuses what the plugin made: {error}\n{env:?}");
        }
    }
}
