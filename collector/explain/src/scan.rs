//! Many ports of a server that are closed to one program of a client: one finding instead of one for each port.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::finding::{Finding, Kind, add};
use crate::traffic::between;

/// This many ports of one server that a client was refused at, or not answered, are a scan.
pub const PORTS: usize = 20;

/// Whose ports, and who tried them.
type Ends = (Option<IpAddr>, String, Option<IpAddr>);

fn ends(finding: &Finding) -> Ends {
    (finding.client.address, finding.client.name.clone(), finding.server.address)
}

/// Whether it may be one port of a scan.
#[must_use]
pub fn is_part(kind: Kind) -> bool {
    matches!(kind, Kind::Refused | Kind::Unanswered | Kind::NoListener)
}

/// Puts the ports of each scan together. To be called last: what objects of the cluster explain is no scan.
pub fn group(findings: &mut Vec<Finding>) {
    let mut scans = BTreeMap::<Ends, Vec<Finding>>::new();
    for finding in findings.iter().filter(|one| is_part(one.kind)) {
        scans.entry(ends(finding)).or_default().push(finding.clone());
    }
    scans.retain(|_, ports| ports.len() >= PORTS);
    if scans.is_empty() {
        return;
    }
    findings.retain(|one| !(is_part(one.kind) && scans.contains_key(&ends(one))));
    add(findings, scans.into_values().filter_map(|ports| scan(&ports)));
}

/// How long a scan took, in seconds.
#[must_use]
pub fn seconds(first_ms: u64, last_ms: u64) -> u64 {
    last_ms.saturating_sub(first_ms).div_ceil(1_000).max(1)
}

fn scan(ports: &[Finding]) -> Option<Finding> {
    let one = ports.first()?;
    let first_ms = ports.iter().map(|port| port.first_ms).min()?;
    let last_ms = ports.iter().map(|port| port.last_ms).max()?;
    let seconds = seconds(first_ms, last_ms);
    let number = ports.len();
    Some(Finding {
        kind: Kind::Scan,
        sentence: format!(
            "{} tried {number} ports of {} in {seconds} s, and none of them was open.",
            one.client, one.server
        ),
        evidence: vec![format!("{number} ports refused or did not answer")],
        remedy: "Find out what runs there: a scan, or a monitor, tries ports to find open ones.".into(),
        port: None,
        count: number as u64,
        first_ms,
        last_ms,
        records: between(&one.client, &one.server, None),
        ..one.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Certainty;
    use crate::observe::Party;

    fn refused(program: &str, port: u16) -> Finding {
        let party = |name: &str, address: &str| Party { name: name.to_owned(), address: address.parse().ok() };
        Finding {
            kind: Kind::Refused,
            sentence: String::new(),
            evidence: Vec::new(),
            certainty: Certainty::Seen,
            remedy: String::new(),
            change: String::new(),
            client: party(program, "10.0.0.1"),
            server: party("", "10.0.0.2"),
            protocol: Some(6),
            port: Some(port),
            asked: String::new(),
            count: 1,
            first_ms: u64::from(port),
            last_ms: u64::from(port) + 10,
            records: String::new(),
        }
    }

    #[test]
    fn the_ports_of_one_program_are_one_finding_and_those_of_others_are_not() {
        let mut findings: Vec<_> = (1..=25).map(|port| refused("python3", port * 100)).collect();
        findings.push(refused("curl", 7002));
        let policy = Finding { kind: Kind::Policy, ..refused("python3", 5432) };
        findings.push(policy);
        group(&mut findings);
        let found: Vec<_> = findings.iter().map(|one| (one.kind, one.port, one.count)).collect();
        assert_eq!(found, [(Kind::Policy, Some(5432), 1), (Kind::Refused, Some(7002), 1), (Kind::Scan, None, 25)]);
        assert_eq!(
            findings[2].sentence,
            "python3 (10.0.0.1) tried 25 ports of 10.0.0.2 in 3 s, and none of them was open."
        );
        let mut few: Vec<_> = (1..PORTS as u16).map(|port| refused("python3", port)).collect();
        group(&mut few);
        assert_eq!(few.len(), PORTS - 1);
    }
}
