//! What the tests and the benchmarks share: network namespaces, exact traffic, the real binaries as
//! processes, and honest skipping where a machine cannot run a test.
//!
//! Everything here panics with a sentence instead of returning errors: a test that cannot set up its world
//! has failed, and the caller's line is the useful part of the message.

pub mod blast;
pub mod bpf;
pub mod capture;
pub mod corpus;
pub mod dice;
pub mod ethtool;
pub mod follow;
pub mod frame;
pub mod https;
pub mod link;
pub mod memory;
pub mod names;
pub mod netns;
pub mod pair;
pub mod privilege;
pub mod proc;
pub mod relay;
pub mod session;
pub mod socket;
pub mod terminal;
pub mod tmpfs;
pub mod trace;
pub mod tun;
pub mod wait;

pub use blast::{Blast, Sender, Sent};
pub use capture::Files;
pub use dice::Dice;
pub use frame::Frame;
pub use link::{Counters, Veth, link_counters};
pub use netns::Netns;
pub use nix::sys::signal::Signal;
pub use pair::Pair;
pub use proc::{Finished, Process, Run};
pub use relay::Relay;
pub use session::{Ended, LocalCapture};
pub use trace::Trace;
pub use tun::Tun;
pub use wait::wait_for;

/// Returns from the calling test, saying why, when this machine cannot load kernel programs.
///
/// With `NETOBSERV_REQUIRE_PRIVILEGED=1` that is a failure: so a test run that must not skip does not.
#[macro_export]
macro_rules! require_privileged {
    () => {
        if let Err(why) = $crate::privilege::privileged() {
            fn here() {}
            $crate::privilege::skip($crate::privilege::function_of(&here), &why);
            return;
        }
    };
    // With the name of the test: of tests written before the macro found it itself.
    ($test:expr) => {
        $crate::require_privileged!()
    };
}
