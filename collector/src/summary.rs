//! What a person without a screen reads: a line a second, and the account at the end.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use netobserv_contract::plain;
use netobserv_stdio as stdio;

use crate::counts::Totals;
use crate::human;
use crate::output::Paths;

static MUTE: AtomicBool = AtomicBool::new(false);

/// From now on nothing is printed: the reader is gone, and may have left a terminal behind that takes no more bytes.
pub fn mute() {
    MUTE.store(true, Relaxed);
}

/// Prints a line to standard output. Whether that works is asked at the end.
pub fn say(line: &str) {
    if !MUTE.load(Relaxed) {
        let _ = stdio::stdout().write(format!("{}\n", plain::lines(line)));
    }
}

/// Prints a line to standard error.
pub fn complain(line: &str) {
    let _ = stdio::stderr().write(format!("{}\n", plain::lines(line)));
}

/// Where a capture stands.
pub fn line(elapsed: Duration, totals: &Totals) -> String {
    format!(
        "{} {} flows, {} packets, {}, lost {}{}{}",
        clock(elapsed),
        human::count(totals.flows),
        human::count(totals.packets),
        human::bytes(totals.bytes),
        or_nothing(&totals.lost()),
        refused(totals),
        attaching(totals),
    )
}

/// How many interfaces are watched, until all are.
pub(crate) fn attaching(totals: &Totals) -> String {
    match totals.attaching {
        0 => String::new(),
        all => format!(", {} of {} interfaces watched", human::count(totals.interfaces), human::count(all)),
    }
}

/// The account at the end; it lists what is lost and what may be.
pub fn account(elapsed: Duration, reason: &str, totals: &Totals, paths: &Paths) -> Vec<String> {
    let file = |path: &std::path::Path, rows| format!("  {}: {} flows", path.display(), human::count(rows));
    let files = vec![file(&paths.json, totals.json_rows), file(&paths.db, totals.sqlite_rows)];
    account_of(elapsed, reason, totals, files)
}

/// The same with these lines about what was written.
pub(crate) fn account_of(elapsed: Duration, reason: &str, totals: &Totals, written: Vec<String>) -> Vec<String> {
    let mut lines = vec![
        captured(elapsed, reason),
        format!(
            "  {} flows, {} packets, {}{}",
            human::count(totals.flows),
            human::count(totals.packets),
            human::bytes(totals.bytes),
            from_agents(totals),
        ),
    ];
    lines.extend(written);
    lines.push(format!("  lost: {}{}", or_nothing(&totals.lost()), refused(totals)));
    let filtered = format!("  left out by the query: {} flows", human::count(totals.filtered_flows));
    lines.extend((totals.filtered_flows > 0).then_some(filtered));
    let own = format!(
        "  left out as the capture's own: {} flows, {} (--own-traffic keeps them)",
        human::count(totals.own_flows),
        human::bytes(totals.own_bytes)
    );
    lines.extend((totals.own_flows > 0).then_some(own));
    let duplicates = format!(
        "  not counted again: {} records of packets that were seen after address translation or on another node",
        human::count(totals.duplicates)
    );
    lines.extend((totals.duplicates > 0).then_some(duplicates));
    let refused = format!("  {} connections were not let in", human::count(totals.refused_connections));
    lines.extend((totals.refused_connections > 0).then_some(refused));
    lines.extend(rejected(totals));
    let stretched = human::duration(Duration::from_millis(totals.stretched_ms.into()));
    let stretched = format!(
        "  {} agents counted for up to {stretched} at a time, as records waited: this collector, the network or their CPU was too slow",
        totals.stretched_agents
    );
    lines.extend((totals.stretched_agents > 0).then_some(stretched));
    lines.extend(silence(totals, "flows"));
    let unnamed = format!(
        "  names came late, and the time to fill them in did not do: {} flows of the JSON file and {} of the SQLite file may lack some",
        human::count(totals.json_unnamed),
        human::count(totals.sqlite_unnamed)
    );
    lines.extend((totals.json_unnamed + totals.sqlite_unnamed > 0).then_some(unnamed));
    lines
}

/// Hours, minutes and seconds.
pub(crate) fn clock(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// First line of an account.
pub(crate) fn captured(elapsed: Duration, reason: &str) -> String {
    format!("Captured for {} ({reason}):", human::duration(Duration::from_millis(elapsed.as_millis() as u64)))
}

/// From how many agents it all came; begins with a space, empty for none.
pub(crate) fn from_agents(totals: &Totals) -> String {
    match totals.agents {
        0 => String::new(),
        1 => " from 1 agent".into(),
        agents => format!(" from {agents} agents"),
    }
}

/// What was lost, as a list.
pub(crate) fn or_nothing(lost: &[String]) -> String {
    if lost.is_empty() { "nothing".into() } else { lost.join(", ") }
}

/// Reports that `what` may be missing of agents whose last message did not come, at the end or before they were restarted.
pub(crate) fn silence(totals: &Totals, what: &str) -> Vec<String> {
    let (silent, restarted) = (totals.agents_without_last_word, totals.agents_started_anew);
    let silent_line = format!("  {silent} of the agents did not report their end: {what} of them may be missing");
    let restarted_line =
        format!("  {restarted} agents broke off and were restarted: {what} of the moments between are missing");
    let lines = [(silent, silent_line), (restarted, restarted_line)];
    lines.into_iter().filter(|(number, _)| *number > 0).map(|(_, line)| line).collect()
}

/// Messages of peers that broke a rule. The log names the peers.
pub(crate) fn rejected(totals: &Totals) -> Option<String> {
    let number = totals.refused_messages;
    let line =
        || format!("  {} messages broke a rule and were refused: the log has their senders", human::count(number));
    (number > 0).then(line)
}

/// Refused is not lost: an agent keeps it and sends it again. A flowlogs-pipeline does not, so it is reported.
fn refused(totals: &Totals) -> String {
    match totals.refused_flows {
        0 => String::new(),
        flows => format!("; refused {} flows for want of room", human::count(flows)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counts::Losses;

    #[test]
    fn a_quiet_capture_lost_nothing() {
        let totals = Totals { flows: 1234, packets: 5, bytes: 99_000, ..Totals::default() };
        assert_eq!(line(Duration::from_secs(3_723), &totals), "01:02:03 1,234 flows, 5 packets, 99KB, lost nothing");
    }

    #[test]
    fn the_account_names_files_and_stages() {
        let losses = Losses { kernel_packets: 7, ..Losses::default() };
        let totals = Totals {
            flows: 2,
            json_rows: 2,
            sqlite_rows: 1,
            sqlite_lost: 1,
            refused_flows: 3,
            agents: 2,
            agents_without_last_word: 1,
            agents_started_anew: 2,
            json_unnamed: 1_200,
            losses,
            ..Totals::default()
        };
        let paths = Paths { json: "output/flow/a.json".into(), db: "output/flow/a.db".into() };
        let wanted = [
            "Captured for 1.5s (interrupted):",
            "  2 flows, 0 packets, 0B from 2 agents",
            "  output/flow/a.json: 2 flows",
            "  output/flow/a.db: 1 flows",
            "  lost: in the kernel 7 packets, not in the SQLite file 1 flows; refused 3 flows for want of room",
            "  1 of the agents did not report their end: flows of them may be missing",
            "  2 agents broke off and were restarted: flows of the moments between are missing",
            "  names came late, and the time to fill them in did not do: 1,200 flows of the JSON file and 0 of the SQLite file may lack some",
        ];
        assert_eq!(account(Duration::from_millis(1500), "interrupted", &totals, &paths), wanted);
    }
}
