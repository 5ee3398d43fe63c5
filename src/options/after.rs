//! The words that the collector gets for `summary`, `query`, `diff`, `report`, `export`, `merge`, `redact` and `mcp`.

use std::ffi::OsString;
use std::path::Path;

use super::Reading;
use crate::cli::{
    DiffArgs, ExportArgs, McpArgs, MergeArgs, QueryArgs, RedactArgs, ReplayArgs, ReportArgs, SummaryArgs,
};

/// The words of a program of the collector: options first; what follows `--` may begin with a dash.
fn reading(
    name: &str,
    options: impl IntoIterator<Item = impl Into<OsString>>,
    words: impl IntoIterator<Item = OsString>,
    verbose: bool,
) -> Reading {
    let mut args: Vec<OsString> = vec![name.into()];
    args.extend(options.into_iter().map(Into::into));
    args.push("--".into());
    args.extend(words);
    Reading { args, verbose }
}

fn option(name: &str, value: Option<impl ToString>) -> Option<String> {
    value.map(|value| format!("--{name}={}", value.to_string()))
}

/// The words of `summary`.
#[must_use]
pub fn summary(words: &SummaryArgs) -> Reading {
    reading("summary", option("output", words.output.as_ref()), words.file.iter().map(OsString::from), words.verbose)
}

/// The words of `query`.
#[must_use]
pub fn query(words: &QueryArgs) -> Reading {
    let options = [
        option("sql", words.sql.as_ref()),
        option("by", words.by.as_ref()),
        option("sort", words.sort.as_ref()),
        option("output", words.output.as_ref()),
        option("limit", words.limit),
    ];
    reading("query", options.into_iter().flatten(), words.words.iter().map(OsString::from), words.verbose)
}

/// The words of `replay`.
#[must_use]
pub fn replay(words: &ReplayArgs) -> Reading {
    let options =
        [option("from", words.from.as_ref()), option("to", words.to.as_ref()), option("speed", words.speed.as_ref())];
    reading("replay", options.into_iter().flatten(), words.file.iter().map(OsString::from), words.verbose)
}

/// The words of `diff`.
#[must_use]
pub fn diff(words: &DiffArgs) -> Reading {
    let kinds = words.fail_on.iter().map(|kinds| format!("--fail-on={kinds}"));
    let options = kinds.chain(option("output", words.output.as_ref()));
    reading("diff", options, [&words.before, &words.after].map(OsString::from), words.verbose)
}

/// The words of `mcp`.
#[must_use]
pub fn mcp(words: &McpArgs) -> Reading {
    reading("mcp", None::<OsString>, None, words.verbose)
}

/// The words of `report`.
#[must_use]
pub fn report(words: &ReportArgs) -> Reading {
    let files = words.file.iter().map(OsString::from);
    reading("report", words.output.as_deref().map(output), files, words.verbose)
}

/// The words of `export`.
#[must_use]
pub fn export(words: &ExportArgs) -> Reading {
    reading("export", [output(words.output.as_ref())], words.file.iter().map(OsString::from), words.verbose)
}

/// The words of `merge`.
#[must_use]
pub fn merge(words: &MergeArgs) -> Reading {
    let files = words.files.iter().map(OsString::from);
    reading("merge", [output(&words.output)], files, words.verbose)
}

/// The words of `redact`.
#[must_use]
pub fn redact(words: &RedactArgs) -> Reading {
    let files = words.files.iter().map(OsString::from);
    reading("redact", words.output.as_deref().map(output), files, words.verbose)
}

/// The option with a path, which need not be Unicode.
fn output(path: &Path) -> OsString {
    let mut option = OsString::from("--output=");
    option.push(path);
    option
}
