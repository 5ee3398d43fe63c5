//! A page about a capture: what it is, what was lost, what went wrong, and who talked most.

use std::collections::BTreeMap;
use std::path::Path;

use netobserv_contract::plain;
use netobserv_explain::traffic::Watch;
use rusqlite::Connection;
use serde_json::{Value as Json, json};

use super::file::Capture;
use super::questions::find;
use super::table::Answer;
use crate::{human, why};

/// Rows of each part.
const ROWS: usize = 5;
/// Counters of table `capture` that are losses begin like this.
const LOST: [&str; 4] = ["lost_", "refused_", "filtered_unread", "portless_"];

/// What is known of a capture.
#[derive(Debug)]
pub(super) struct Summary {
    file: String,
    facts: BTreeMap<String, String>,
    totals: Totals,
    lost: Vec<(String, u64)>,
    /// Objects with a `sentence`, worst first.
    findings: Vec<Json>,
    top: Answer,
    drops: Answer,
    dns: Answer,
    slow: Answer,
}

#[derive(Debug, Default)]
struct Totals {
    flows: u64,
    conversations: u64,
    packets: u64,
    bytes: u64,
    start: Option<String>,
    end: Option<String>,
}

/// Reads all that the summary has.
///
/// # Errors
/// When the file cannot be read.
pub(super) fn of(capture: &Capture) -> anyhow::Result<Summary> {
    capture.group_once()?;
    let db = &capture.db;
    let facts = facts(db)?;
    let number = |text: &String| text.parse().ok().filter(|number| *number > 0);
    let lost = facts.iter().filter(|(name, _)| LOST.iter().any(|begin| name.starts_with(begin)));
    let lost = lost.filter_map(|(name, value)| Some((name.replace('_', " "), number(value)?))).collect();
    let answer =
        |name| find(name).map_or_else(|| Ok(Answer::default()), |question| Answer::of(db, question.sql, Some(ROWS)));
    Ok(Summary {
        file: capture.path.display().to_string(),
        totals: totals(db)?,
        lost,
        findings: findings(db)?,
        top: answer("top")?,
        drops: answer("drops")?,
        dns: answer("dns")?,
        slow: answer("slow")?,
        facts,
    })
}

/// Table `capture`.
fn facts(db: &Connection) -> rusqlite::Result<BTreeMap<String, String>> {
    let mut select =
        db.prepare("SELECT name, CAST(value AS TEXT) FROM capture WHERE value IS NOT NULL AND value <> ''")?;
    select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

fn totals(db: &Connection) -> rusqlite::Result<Totals> {
    // A file of the Go program has no times in its database.
    let time = |what: &str| format!("strftime('%Y-%m-%dT%H:%M:%SZ', {what} / 1000, 'unixepoch')");
    let sql = format!(
        "SELECT count(*), count(DISTINCT ConversationId), coalesce(sum(Packets) FILTER (WHERE Duplicate IS NULL), 0),
            coalesce(sum(Bytes) FILTER (WHERE Duplicate IS NULL), 0), {}, {} FROM flow",
        time("nullif(min(TimeFlowStartMs), 0)"),
        time("nullif(max(TimeFlowEndMs), 0)")
    );
    db.query_row(&sql, [], |row| {
        let number = |at| row.get::<_, i64>(at).map(i64::cast_unsigned);
        Ok(Totals {
            flows: number(0)?,
            conversations: number(1)?,
            packets: number(2)?,
            bytes: number(3)?,
            start: row.get(4)?,
            end: row.get(5)?,
        })
    })
}

/// What the capture itself found; of a file without that, what its records show.
fn findings(db: &Connection) -> anyhow::Result<Vec<Json>> {
    let saved = "SELECT kind, sentence, evidence, certainty, remedy, client, server, protocol, port, count FROM finding ORDER BY number";
    if let Ok(saved) = Answer::of(db, saved, None) {
        return Ok(saved.objects());
    }
    let mut watch = Watch::default();
    let end = why::database::read_from(db, |seen| watch.add(seen))?;
    watch.until(end);
    let mut findings = watch.findings();
    netobserv_explain::scan::group(&mut findings);
    Ok(findings.iter().filter_map(|finding| serde_json::to_value(finding).ok()).collect())
}

impl Summary {
    fn fact(&self, name: &str) -> Option<&str> {
        self.facts.get(name).map(String::as_str)
    }

    /// As a page of text.
    pub(super) fn text(&self) -> String {
        let mut lines = vec![format!("{}: {}", self.file, self.period())];
        lines.extend(self.fact("options").map(|options| format!("  options: {options}")));
        lines.push(format!("  {}", self.amounts()));
        lines.push(format!("  lost: {}", self.losses()));
        lines.extend(
            ["unwatched", "without_agent", "collector_killed"]
                .iter()
                .filter_map(|name| self.fact(name))
                .map(|fact| format!("  {fact}")),
        );
        lines.push(String::new());
        lines.extend(self.sentences());
        let parts = [
            ("Largest conversations", &self.top),
            ("Dropped packets", &self.drops),
            ("Names that do not resolve", &self.dns),
            ("Longest round trips", &self.slow),
        ];
        for (title, answer) in parts.into_iter().filter(|(_, answer)| !answer.is_empty()) {
            lines.push(format!("\n{title}:"));
            lines.extend(answer.table().lines().map(|line| format!("  {line}")));
        }
        lines.push(format!("\n{}", next(Path::new(&self.file))));
        plain::lines(&lines.join("\n")).into_owned()
    }

    /// How much was captured.
    pub(super) fn amounts(&self) -> String {
        let totals = &self.totals;
        let agents = self.fact("agents").and_then(|agents| agents.parse().ok());
        format!(
            "{}, {}, {} in {}{}",
            counted(totals.conversations, "conversation"),
            counted(totals.packets, "packet"),
            human::bytes(totals.bytes),
            counted(totals.flows, "flow"),
            agents.map_or_else(String::new, |agents| format!(" from {}", counted(agents, "agent"))),
        )
    }

    /// Objects with a `sentence`, worst first.
    pub(super) fn findings(&self) -> &[Json] {
        &self.findings
    }

    /// Table `capture`.
    pub(super) fn facts(&self) -> &BTreeMap<String, String> {
        &self.facts
    }

    fn sentences(&self) -> Vec<String> {
        if self.findings.is_empty() {
            return vec!["Nothing went wrong in what was captured.".into()];
        }
        let shown = self.findings.iter().take(ROWS).filter_map(|finding| finding["sentence"].as_str());
        let more = self.findings.len().saturating_sub(ROWS);
        let more = (more > 0).then(|| format!("  and {} more, see oc netobserv why", human::count(more as u64)));
        let sentences = shown.map(|sentence| format!("  {sentence}")).chain(more);
        std::iter::once("What went wrong:".to_owned()).chain(sentences).collect()
    }

    /// When it was.
    pub(super) fn period(&self) -> String {
        let start = self.fact("start").or(self.totals.start.as_deref());
        let end = self.fact("end").or(self.totals.end.as_deref());
        match (start, end) {
            (Some(start), Some(end)) => {
                let reason = self.fact("end_reason").map(|reason| format!(", {reason}")).unwrap_or_default();
                format!("{start} to {end}{reason}")
            }
            (Some(start), None) => format!("began {start}, without an end: it still runs, or was killed"),
            _ => "times are not recorded".into(),
        }
    }

    /// What was lost, in words.
    pub(super) fn losses(&self) -> String {
        if self.facts.is_empty() {
            return "not recorded in this file".into();
        }
        let lost = self.lost.iter().map(|(name, number)| format!("{name} {}", human::count(*number)));
        let lost = lost.collect::<Vec<_>>().join(", ");
        if lost.is_empty() { "nothing".into() } else { lost }
    }

    /// As one JSON object.
    pub(super) fn json(&self) -> Json {
        let totals = &self.totals;
        json!({
            "file": self.file, "start": self.fact("start").or(totals.start.as_deref()),
            "end": self.fact("end").or(totals.end.as_deref()), "capture": self.facts,
            "flows": totals.flows, "conversations": totals.conversations, "packets": totals.packets, "bytes": totals.bytes,
            "lost": self.lost.iter().cloned().collect::<BTreeMap<_, _>>(), "findings": self.findings, "top": self.top.objects(), "drops": self.drops.objects(),
            "dns": self.dns.objects(), "slow": self.slow.objects(),
        })
    }
}

fn counted(number: u64, what: &str) -> String {
    format!("{} {what}{}", human::count(number), if number == 1 { "" } else { "s" })
}

/// The commands to run next. Causes are found in databases only.
fn next(file: &Path) -> String {
    let why = if file.extension().is_some_and(|end| end == "db") {
        format!("oc netobserv why --from={}, or ", file.display())
    } else {
        String::new()
    };
    format!("Next: {why}oc netobserv query {} top", file.display())
}
