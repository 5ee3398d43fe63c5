//! The forms of a report: text for a person, JSON, JUnit for CI systems, annotations for GitHub.

use serde::Serialize;

use crate::demand::Outcome;
use crate::finding::Finding;

/// Most sentences at the end of a capture.
const MOST_SENTENCES: usize = 5;

/// All that is reported.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// What went wrong, worst first.
    pub findings: Vec<Finding>,
    /// What cannot be known.
    pub unknown: Vec<String>,
    /// What is no fault, and could be better.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
    /// What the demands came to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub demands: Vec<Outcome>,
}

impl Report {
    /// Whether all demands are met.
    pub fn is_met(&self) -> bool {
        self.demands.iter().all(|one| one.met)
    }

    /// The sentences at the end of a capture, with a line that names how many more there are.
    pub fn summary(&self) -> Vec<String> {
        self.sentences(MOST_SENTENCES).into_iter().chain(self.unknown_lines()).collect()
    }

    /// The first findings in words, in at most `most` lines below a title; nothing without any.
    pub fn sentences(&self, most: usize) -> Vec<String> {
        if self.findings.is_empty() {
            return Vec::new();
        }
        let mut lines = vec!["What went wrong:".to_owned()];
        let shown = if self.findings.len() > most { most - 1 } else { most };
        lines.extend(self.findings.iter().take(shown).map(|one| format!("  {}", one.sentence)));
        let more = self.findings.len().saturating_sub(shown);
        lines.extend((more > 0).then(|| format!("  {more} more findings are in table finding of the database.")));
        lines
    }

    /// What cannot be known about the findings.
    pub fn unknown_lines(&self) -> Vec<String> {
        let unknown = self.unknown.iter().filter(|_| !self.findings.is_empty());
        unknown.map(|gap| format!("  Not known: {gap}.")).collect()
    }

    /// All findings with their evidence, for a person.
    pub fn text(&self) -> String {
        let mut lines = Vec::new();
        if self.findings.is_empty() {
            lines.push("Nothing went wrong in what was captured.".to_owned());
        }
        for (number, finding) in (1..).zip(&self.findings) {
            lines.push(format!("{number}. {}", finding.sentence));
            lines.push(format!("   {}: {}", finding.certainty.words(), finding.evidence.join("; ")));
            lines.push(format!("   What to do: {}", finding.remedy));
            if !finding.records.is_empty() {
                lines.push(format!("   Records: SELECT * FROM flow WHERE {}", finding.records));
            }
            if !finding.change.is_empty() {
                lines.push("   Change:".into());
                lines.extend(finding.change.lines().map(|line| format!("     {line}")));
            }
        }
        lines.extend(self.unknown.iter().map(|gap| format!("Not known: {gap}.")));
        lines.extend(self.hints.iter().map(|hint| format!("Hint: {hint}.")));
        lines.extend(self.demand_lines());
        lines.join("\n")
    }

    /// A line for each demand.
    pub fn demand_lines(&self) -> Vec<String> {
        let word = |met| if met { "met" } else { "NOT MET" };
        self.demands.iter().map(|one| format!("{}: {} ({})", word(one.met), one.demand, one.found)).collect()
    }

    /// As a JSON object.
    pub fn json(&self) -> String {
        // Texts and numbers only.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// As JUnit reads it: a test for each demand; without demands one that fails for any finding.
    pub fn junit(&self) -> String {
        let cases: Vec<(String, Option<String>)> = if self.demands.is_empty() {
            let sentences: Vec<_> = self.findings.iter().map(|one| one.sentence.as_str()).collect();
            vec![("nothing went wrong".into(), (!sentences.is_empty()).then(|| sentences.join("\n")))]
        } else {
            let case = |one: &Outcome| (one.demand.clone(), (!one.met).then(|| one.found.clone()));
            self.demands.iter().map(case).collect()
        };
        let failures = cases.iter().filter(|(_, failure)| failure.is_some()).count();
        let mut xml = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n  <testsuite name=\"netobserv\" tests=\"{}\" failures=\"{failures}\" errors=\"0\">\n",
            cases.len()
        );
        for (name, failure) in &cases {
            let name = escaped(name);
            match failure {
                None => xml += &format!("    <testcase classname=\"netobserv\" name=\"{name}\"/>\n"),
                Some(why) => {
                    let why = escaped(why);
                    xml += &format!(
                        "    <testcase classname=\"netobserv\" name=\"{name}\">\n      <failure message=\"{why}\"/>\n    </testcase>\n"
                    );
                }
            }
        }
        let findings: Vec<_> = self.findings.iter().map(|one| escaped(&one.sentence)).collect();
        xml += &format!("    <system-out>{}</system-out>\n  </testsuite>\n</testsuites>\n", findings.join("\n"));
        xml
    }

    /// As GitHub's workflow commands: an error for each demand that is not met, a warning for each finding.
    pub fn github(&self) -> String {
        let text = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
        let unmet = self.demands.iter().filter(|one| !one.met);
        let errors =
            unmet.map(|one| format!("::error title=netobserv::{}", text(&format!("{}: {}", one.demand, one.found))));
        let findings = self.findings.iter().map(|one| format!("::warning title=netobserv::{}", text(&one.sentence)));
        let lines: Vec<_> = errors.chain(findings).map(|line| line + "\n").collect();
        lines.concat()
    }
}

/// Text within XML; characters that XML cannot hold are left out.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\n' => out += "&#10;",
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}
