//! What `why`, `policy` and the demands of scripts may be, and the words that the collector gets for them.

use std::ffi::OsString;

use netobserv_explain::demand::Demands;

use super::{OptionError, not_allowed};
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

/// Checks the words of `why`.
///
/// # Errors
///
/// A value is not allowed, or there is no file.
pub fn why(words: &WhyArgs) -> Result<Reading, OptionError> {
    let from = words.from.as_ref().ok_or(OptionError::NoCaptureFile("why"))?;
    if let Some(other) = words.output.as_deref().filter(|form| !["text", "json"].contains(form)) {
        return Err(not_allowed("output", other, "text or json"));
    }
    let mut args: Vec<OsString> = vec!["why".into(), "--from".into(), from.into()];
    for objects in &words.objects {
        args.extend(["--objects".into(), objects.into()]);
    }
    args.extend(words.output.iter().map(|form| format!("--output={form}").into()));
    args.extend(demands(&words.demands)?.into_iter().map(OsString::from));
    // A name may begin with a dash; what follows these two does not begin an option.
    args.push("--".into());
    args.extend([&words.client, &words.server].into_iter().flatten().map(OsString::from));
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
    if let Some(other) = words.output.as_deref().filter(|form| *form != "yaml") {
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
