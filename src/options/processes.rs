//! Processes on this machine: from the options as typed to a query on the fields that name the two ends of a flow.

use super::{OptionError, not_allowed, number};
use crate::cli::ProcessArgs;

/// The kernel keeps so many bytes of the name of a process.
const COMM: usize = 15;
/// Hexadecimal digits of the number of a container.
const ID: usize = 64;

/// What a flow has to match, if anything: one of the values of each option, at the same end.
pub(super) fn query(words: &ProcessArgs) -> Result<Option<String>, OptionError> {
    let conditions: Vec<Vec<Condition>> = [
        words.process.iter().map(|text| process(text)).collect::<Result<Vec<_>, _>>()?,
        words.pid.iter().map(|text| pid(text)).collect::<Result<_, _>>()?,
        words.container.iter().map(|text| container(text)).collect::<Result<_, _>>()?,
        words.cgroup.iter().map(|text| cgroup(text)).collect::<Result<_, _>>()?,
    ]
    .into_iter()
    .filter(|values| !values.is_empty())
    .collect();
    if conditions.is_empty() {
        return Ok(None);
    }
    let end = |end: &str| {
        let any = |values: &Vec<Condition>| {
            let texts: Vec<_> = values.iter().map(|(field, rest)| format!("{end}{field} {rest}")).collect();
            format!("({})", texts.join(" or "))
        };
        conditions.iter().map(any).collect::<Vec<_>>().join(" and ")
    };
    Ok(Some(format!("{} or {}", end("Src"), end("Dst"))))
}

/// The field of one end without its prefix, and what it is compared with.
type Condition = (&'static str, String);

fn process(text: &str) -> Result<Condition, OptionError> {
    let kept = &text[..text.floor_char_boundary(COMM)];
    let good = !text.is_empty() && !text.contains(char::is_control) && !text.contains('/');
    let allowed = "the name of a program without its path, such as nginx";
    let kept = kept.replace('"', "\\\"").replace("$(", "$");
    if good { Ok(("Comm", format!("= \"{kept}\""))) } else { Err(not_allowed("process", text, allowed)) }
}

fn pid(text: &str) -> Result<Condition, OptionError> {
    number("pid", text, std::num::NonZeroU32::MAX).map(|pid| ("Pid", format!("= {pid}")))
}

fn container(text: &str) -> Result<Condition, OptionError> {
    let good = (1..=ID).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let id = text.to_ascii_lowercase();
    let allowed = "the beginning of a container ID: up to 64 hexadecimal digits";
    if good { Ok(("Container", format!("=~ \"^{id}\""))) } else { Err(not_allowed("container", text, allowed)) }
}

/// Those below it too.
fn cgroup(text: &str) -> Result<Condition, OptionError> {
    let good = text.starts_with('/') && !text.contains(char::is_control);
    let path = escaped(text.trim_end_matches('/'));
    let allowed = "a path that begins with /, such as /system.slice/nginx.service";
    if good { Ok(("Cgroup", format!("=~ \"^{path}(/|$)\""))) } else { Err(not_allowed("cgroup", text, allowed)) }
}

/// A text as a regular expression that it alone matches, between quotes.
fn escaped(text: &str) -> String {
    let special = |c: char| !c.is_alphanumeric() && !matches!(c, '/' | '_' | '-' | ':' | '@' | ' ');
    text.chars().map(|c| if special(c) { format!("\\x{{{:x}}}", u32::from(c)) } else { c.to_string() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(change: impl FnOnce(&mut ProcessArgs)) -> Result<Option<String>, String> {
        let mut words = ProcessArgs::default();
        change(&mut words);
        let query = query(&words).map_err(|error| error.to_string())?;
        query.iter().for_each(|query| {
            netobserv_query::Query::read(query).unwrap_or_else(|error| panic!("{query}: {error}"));
        });
        Ok(query)
    }

    #[test]
    fn each_end_may_be_the_process() {
        assert_eq!(made(|_| {}), Ok(None));
        let curl = r#"(SrcComm = "curl") or (DstComm = "curl")"#;
        assert_eq!(made(|words| words.process = vec!["curl".into()]), Ok(Some(curl.into())));
        let both = "(SrcComm = \"a\" or SrcComm = \"b\") and (SrcPid = 7) or (DstComm = \"a\" or DstComm = \"b\") and (DstPid = 7)";
        let made = made(|words| {
            words.process = vec!["a".into(), "b".into()];
            words.pid = vec!["7".into()];
        });
        assert_eq!(made, Ok(Some(both.into())));
    }

    #[test]
    fn names_are_as_long_as_the_kernel_keeps_them_and_paths_are_no_expressions() {
        let long = made(|words| words.process = vec!["a-program-with-a-long-name".into()]).unwrap().unwrap();
        assert!(long.starts_with(r#"(SrcComm = "a-program-with-") or"#), "{long}");
        let quote = made(|words| words.process = vec![r#"a"b"#.into()]).unwrap().unwrap();
        assert!(quote.starts_with(r#"(SrcComm = "a\"b")"#), "{quote}");
        let path = made(|words| words.cgroup = vec!["/system.slice/a+b.service/".into()]).unwrap().unwrap();
        assert!(path.starts_with(r#"(SrcCgroup =~ "^/system\x{2e}slice/a\x{2b}b\x{2e}service(/|$)")"#), "{path}");
    }

    #[test]
    fn only_flows_of_this_machine_have_processes() {
        let words = |kind: &str| match crate::cli::read(["oc-netobserv", kind, "--process=curl"].map(Into::into)) {
            Ok(crate::cli::Request::Flows(words) | crate::cli::Request::Packets(words)) => words,
            other => panic!("{other:?}"),
        };
        let of_cluster = crate::options::Settings::new(&words("flows"), crate::plan::Kind::Flows).unwrap_err();
        assert_eq!(of_cluster, OptionError::OfThisMachine("process"));
        let of_packets = crate::options::Capture::packets(&words("packets")).unwrap_err();
        assert_eq!(of_packets, OptionError::OfAnotherCommand { option: "process", command: "packets" });
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refused = |change: fn(&mut ProcessArgs)| made(change).unwrap_err();
        assert!(refused(|words| words.process = vec!["/usr/bin/curl".into()]).contains("without its path"));
        assert!(refused(|words| words.pid = vec!["0".into()]).contains("from 1 to"));
        assert!(refused(|words| words.container = vec!["web".into()]).contains("hexadecimal"));
        assert!(refused(|words| words.cgroup = vec!["a".into()]).contains("begins with /"));
    }
}
