//! What `why`, `policy` and the demands of scripts may be, and the words that the collector gets for them.

use std::ffi::OsString;
use std::path::Path;

use netobserv_explain::demand::Demands;

use super::{Live, OptionError, not_allowed};
use crate::cli::values::{LINES, POLICIES};
use crate::cli::{DemandArgs, PolicyArgs, WhyArgs};

/// A command of the collector that reads a finished capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// Its words.
    pub args: Vec<OsString>,
    /// Print what is started.
    pub verbose: bool,
}

/// Checks what scripts demand, and writes it as the collector reads it.
///
/// # Errors
///
/// A demand cannot be read.
pub(super) fn demands(words: &DemandArgs) -> Result<Vec<String>, OptionError> {
    let mut demands = Demands::default();
    let mut args = Vec::new();
    let groups =
        [("fail-on", &words.fail_on), ("expect", &words.expect), ("forbid", &words.forbid), ("report", &words.report)];
    for (option, values) in groups {
        for value in values {
            let wrong =
                |error: netobserv_explain::demand::DemandError| OptionError::Demand { option, why: error.to_string() };
            match option {
                "fail-on" => demands.fail_on(value).map_err(wrong)?,
                "expect" => demands.expect(value).map_err(wrong)?,
                "forbid" => demands.forbid(value).map_err(wrong)?,
                _ => check_report(value)?,
            }
            args.push(format!("--{option}={value}"));
        }
    }
    Ok(args)
}

fn check_report(form: &str) -> Result<(), OptionError> {
    let is_known = form == "github" || form.strip_prefix("junit:").is_some_and(|file| !file.is_empty());
    if is_known { Ok(()) } else { Err(not_allowed("report", form, "junit:FILE or github")) }
}

/// What `why` is to read.
#[derive(Debug)]
pub enum Why {
    /// A finished capture.
    Finished(Reading),
    /// A capture that is still to be made.
    Live(Box<Live>),
}

/// Checks the words of `why`.
///
/// # Errors
///
/// A value is not allowed, or there is nothing to look for.
pub fn why(words: &WhyArgs) -> Result<Why, OptionError> {
    if let Some(other) = words.output.as_deref().filter(|form| !LINES.contains(form)) {
        return Err(not_allowed("output", other, "text or json"));
    }
    demands(&words.demands)?;
    let Some(from) = &words.from else { return Ok(Why::Live(Box::new(Live::new(words)?))) };
    let live = [
        ("for", words.duration.is_some()),
        ("connect", words.connect.is_some()),
        ("local", words.local.is_some()),
        ("interfaces", words.interfaces.is_some()),
        ("output-dir", words.output_dir.is_some()),
    ];
    let typed = live.into_iter().find(|(_, typed)| *typed).map(|(option, _)| option);
    match typed.or(words.cluster.typed().first().copied()) {
        Some(option) => Err(OptionError::Excludes { option, other: "from" }),
        None => Ok(Why::Finished(reading(words, from, [&words.client, &words.server].into_iter().flatten())?)),
    }
}

/// The words of the program that reads the database of a capture.
pub(super) fn reading<'a>(
    words: &WhyArgs,
    from: &Path,
    ends: impl Iterator<Item = &'a String>,
) -> Result<Reading, OptionError> {
    let mut args: Vec<OsString> = vec!["why".into(), "--from".into(), from.into()];
    for objects in &words.objects {
        args.extend(["--objects".into(), objects.into()]);
    }
    args.extend(words.output.iter().map(|form| format!("--output={form}").into()));
    args.extend(demands(&words.demands)?.into_iter().map(OsString::from));
    // A name may begin with a dash; what follows these two does not begin an option.
    args.push("--".into());
    args.extend(ends.map(OsString::from));
    Ok(Reading { args, verbose: words.verbose })
}

/// Checks the words of `policy`.
///
/// # Errors
///
/// A value is not allowed, or there is nothing to do.
pub fn policy(words: &PolicyArgs) -> Result<Reading, OptionError> {
    let from = words.from.as_ref().ok_or(OptionError::NoCaptureFile("policy"))?;
    if words.objects.is_empty() {
        return Err(OptionError::NoObjects);
    }
    if let Some(other) = words.output.as_deref().filter(|form| !POLICIES.contains(form)) {
        return Err(not_allowed("output", other, "yaml"));
    }
    let mut args: Vec<OsString> = vec!["policy".into(), "--from".into(), from.into()];
    for objects in &words.objects {
        args.extend(["--objects".into(), objects.into()]);
    }
    match (&words.ns, &words.check) {
        (Some(_), Some(_)) => return Err(OptionError::Excludes { option: "ns", other: "check" }),
        (None, None) => return Err(OptionError::NoPolicyTask),
        (Some(namespace), None) => args.push(format!("--ns={namespace}").into()),
        (None, Some(file)) => args.extend(["--check".into(), file.into()]),
    }
    Ok(Reading { args, verbose: words.verbose })
}
