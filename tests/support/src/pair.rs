//! The smallest network: two namespaces joined by a veth pair. The right end is the one that tests capture.

use crate::blast::{Blast, Sent};
use crate::link::{Counters, Veth, link_counters};
use crate::netns::Netns;

/// Two namespaces and the wire between them. Neither end sends anything that a test did not ask for.
pub struct Pair {
    /// Where most traffic comes from.
    pub left: Netns,
    /// Where most captures look.
    pub right: Netns,
    /// `a` is left, `b` is right.
    pub veth: Veth,
}

impl Pair {
    /// Address of the left end of [`Pair::addressed`].
    pub const LEFT: &str = "10.0.0.1";
    /// Address of the right end of [`Pair::addressed`].
    pub const RIGHT: &str = "10.0.0.2";

    /// Without addresses: for frames that are built byte by byte.
    #[track_caller]
    pub fn silent() -> Self {
        Self::with(&[], &[])
    }

    /// With IPv4 addresses and fixed neighbours.
    #[track_caller]
    pub fn addressed() -> Self {
        Self::with(&["10.0.0.1/24"], &["10.0.0.2/24"])
    }

    #[track_caller]
    fn with(left_addresses: &[&str], right_addresses: &[&str]) -> Self {
        let (left, right) = (Netns::new("left"), Netns::new("right"));
        left.no_ipv6();
        right.no_ipv6();
        let veth = Veth::with_neighbours(&left, left_addresses, &right, right_addresses);
        Self { left, right, veth }
    }

    /// Name of the right end.
    pub fn captured(&self) -> &str {
        &self.veth.b.name
    }

    /// Counters of the right end.
    #[track_caller]
    pub fn counters(&self) -> Counters {
        link_counters(&self.right, &self.veth.b.name)
    }

    /// Sends `blast` from the left, and the same from the right with other addresses, at the same time.
    #[track_caller]
    pub fn blast_both_ways(&self, blast: &Blast) -> (Sent, Sent) {
        let back = Blast { net: blast.net + 1, ..blast.clone() };
        std::thread::scope(|scope| {
            let from_left = scope.spawn(|| blast.run(&self.left, &self.veth.a.name));
            let from_right = back.run(&self.right, &self.veth.b.name);
            (from_left.join().expect("the left sender"), from_right)
        })
    }

    /// One echo request from the left and its answer.
    ///
    /// # Panics
    /// When no answer comes. Needs [`Pair::addressed`].
    #[track_caller]
    pub fn ping(&self) {
        self.left.run("ping").args(["-c", "1", "-W", "5", Self::RIGHT]).output();
    }
}
