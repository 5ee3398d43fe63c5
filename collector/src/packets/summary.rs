//! What a person without a screen reads of a capture of packets: a line a second, and the account at the end.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::tally::Tally;
use crate::counts::Totals;
use crate::human;
use crate::summary::{attaching, captured, clock, from_agents, or_nothing, rejected, silence};

/// Where a capture stands.
pub(crate) fn line(elapsed: Duration, tally: &Tally, totals: &Totals) -> String {
    format!(
        "{} {} packets, {}, lost {}{}",
        clock(elapsed),
        human::count(tally.packets.load(Relaxed)),
        human::bytes(tally.bytes.load(Relaxed)),
        or_nothing(&tally.lost(totals)),
        attaching(totals),
    )
}

/// The account at the end; it lists what is lost and what may be.
pub(crate) fn account(
    elapsed: Duration,
    reason: &str,
    tally: &Tally,
    totals: &Totals,
    files: &[PathBuf],
) -> Vec<String> {
    let number = |counter: &AtomicU64| counter.load(Relaxed);
    let (packets, bytes) = (human::count(number(&tally.packets)), human::bytes(number(&tally.bytes)));
    let mut lines = vec![captured(elapsed, reason), format!("  {packets} packets, {bytes}{}", from_agents(totals))];
    let written =
        format!("{} packets, {}", human::count(number(&tally.written)), human::bytes(number(&tally.file_bytes)));
    lines.push(match files {
        [] => format!("  standard output: {written}"),
        [file] => format!("  {}: {written}", file.display()),
        [first, .., last] => {
            format!("  {} to {}: {} files; {written} in all", first.display(), last.display(), files.len())
        }
    });
    let told = [
        (&tally.removed_files, "older files removed to make room"),
        (&tally.filtered, "packets left out by the filter"),
        (&tally.sightings, "sightings of the same packets at other interfaces left out (--sightings=all keeps them)"),
        (&tally.late, "packets arrived too late to be in order of time"),
        (&tally.no_secrets, "lines of the key log are not secrets and were omitted"),
    ];
    for (counter, what) in told {
        lines.extend((number(counter) > 0).then(|| format!("  {} {what}", human::count(number(counter)))));
    }
    lines.push(format!("  lost: {}", or_nothing(&tally.lost(totals))));
    lines.extend(rejected(totals));
    lines.extend(silence(totals, "packets"));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counts::Losses;

    #[test]
    fn a_line_tells_what_is_lost() {
        let tally = Tally::default();
        tally.packets.store(1234, Relaxed);
        tally.bytes.store(99_000, Relaxed);
        let mut totals = Totals::default();
        assert_eq!(line(Duration::from_secs(3_723), &tally, &totals), "01:02:03 1,234 packets, 99KB, lost nothing");
        totals.losses = Losses { kernel_packets: 7, export_packets: 8, ..Losses::default() };
        tally.unwritten.store(9, Relaxed);
        let told = "lost in the kernel 7 packets, in the agents' queues 8 packets, not in the file 9 packets";
        assert!(line(Duration::ZERO, &tally, &totals).ends_with(told));
    }

    #[test]
    fn the_account_names_the_files() {
        let (tally, totals) =
            (Tally::default(), Totals { agents: 2, agents_without_last_word: 1, ..Totals::default() });
        tally.removed_files.store(3, Relaxed);
        let files = ["a-00004.pcapng".into(), "a-00005.pcapng".into()];
        let wanted = [
            "Captured for 1.5s (interrupted):",
            "  0 packets, 0B from 2 agents",
            "  a-00004.pcapng to a-00005.pcapng: 2 files; 0 packets, 0B in all",
            "  3 older files removed to make room",
            "  lost: nothing",
            "  1 of the agents did not report their end: packets of them may be missing",
        ];
        assert_eq!(account(Duration::from_millis(1500), "interrupted", &tally, &totals, &files), wanted);
    }
}
