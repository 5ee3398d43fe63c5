//! The workload of the article that began this project: `nodejs` asks `postgresql`, which a policy keeps from it, and a name
//! server for names, some of them wrong; `router` asks `nodejs`. The recorded scenes and the show have it in common.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::path::Path;

use netobserv_testkit::Process;
use netobserv_testkit::wait::now_ms;

use crate::{Cluster, Workload};

/// What a person types on the node of the database to have the policy.
pub const WRONG_POLICY: &str = "add table bridge scene; add chain bridge scene pods { type filter hook forward priority 0; }; \
     add rule bridge scene pods tcp dport 5432 drop";
/// What a person types there to be rid of it.
pub const NO_POLICY: &str = "delete table bridge scene";
/// Node of the database, from 0.
const DATABASE: usize = 1;

/// The cluster and who lives in it: `nodejs` and `dns` on the first node, `postgresql` on the second, `router` on the last.
pub struct Scene {
    /// Addresses and namespaces of the pods, in the order of their names in `PODS`.
    pub workloads: Vec<Workload>,
    // Programs end before their namespaces.
    _programs: Vec<Process>,
    /// Last: the pods' namespaces end before the nodes'.
    pub cluster: Cluster,
}

/// Namespace and name of the Deployments.
pub const PODS: [(&str, &str); 4] =
    [("sample-app", "nodejs"), ("sample-app", "postgresql"), ("openshift-ingress", "router"), ("openshift-dns", "dns")];

impl Scene {
    /// Starts it on two nodes or more, without the policy.
    ///
    /// # Panics
    /// When namespaces or programs cannot be made.
    #[track_caller]
    pub fn open(nodes: u8) -> Self {
        let cluster = Cluster::start(nodes);
        let places = [0, DATABASE, usize::from(nodes) - 1, 0];
        let workloads: Vec<Workload> =
            PODS.iter().zip(places).map(|((namespace, name), node)| cluster.deploy(namespace, name, node)).collect();
        let [nodejs, postgresql, router, dns] = &workloads[..] else { unreachable!("four pods") };
        let run = |pod: &Workload, role: &str, others: &[Ipv4Addr]| {
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenes_world/workload.py");
            let others = others.iter().map(Ipv4Addr::to_string);
            pod.netns.run("python3").arg(script).arg(role).args(others).dir(cluster.home()).start()
        };
        let programs = vec![
            run(postgresql, "postgresql", &[]),
            run(dns, "dns", &[]),
            run(nodejs, "nodejs", &[postgresql.address, dns.address]),
            run(router, "router", &[nodejs.address, dns.address]),
        ];
        Self { workloads, _programs: programs, cluster }
    }

    /// Changes the rules of the node of the database: [`WRONG_POLICY`], or as [`Self::correct`] does.
    #[track_caller]
    pub fn nft(&self, words: &str) {
        self.cluster.nodes()[DATABASE].netns.run("nft").arg(words).output();
    }

    /// Takes the policy away. Gives the time in which that was done, ms since 1970: what is sent meanwhile may be dropped or not.
    #[track_caller]
    pub fn correct(&self) -> RangeInclusive<u64> {
        let begun = now_ms();
        self.nft(NO_POLICY);
        begun..=now_ms()
    }

    /// Name of that node.
    pub fn database_node(&self) -> &str {
        &self.cluster.nodes()[DATABASE].name
    }
}
