//! What is reported at the end of a capture of flows: of one with a screen ten lines, as its user has seen the rest.

use netobserv_explain::report::Report;

use crate::cli::Options;
use crate::output::Paths;
use crate::tui::Stage;

/// Most sentences about problems after a screen.
const SENTENCES: usize = 3;

/// What is known at the end.
pub(super) struct Ending<'a> {
    pub(super) options: &'a Options,
    pub(super) report: &'a Report,
    pub(super) had_screen: bool,
    pub(super) paths: &'a Paths,
}

impl Ending<'_> {
    /// The lines: conversations, problems, drops, where the files are and how to read them again.
    pub(super) fn lines(&self, stage: &Stage) -> Vec<String> {
        let demands = self.report.demand_lines();
        if !self.had_screen {
            return self.report.summary().into_iter().chain(demands).collect();
        }
        let mut lines = stage.report(self.report.sentences(SENTENCES));
        lines.extend(self.report.unknown_lines());
        lines.extend(demands);
        // The program that started this one reports where the files are for the user.
        if !self.options.child && self.options.session.is_none() {
            let (json, db) = (self.paths.json.display(), self.paths.db.display());
            lines.push(format!("Files: {json} and {db}"));
            lines.push(format!("Read them again: oc-netobserv replay {db}"));
        }
        lines
    }
}
