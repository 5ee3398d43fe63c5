//! What a manual page has beyond the options: the examples as they are typed, and what scripts need to know.

use std::fmt::Write as _;

use clap::Command;
use clap::builder::Resettable;

const EXIT_STATUS: [(&str, &str); 4] = [
    ("0", "Success, or the reader of standard output closed it."),
    ("1", "Failure; standard error has the reason. With doctor: flows cannot be captured on this machine."),
    ("2", "The command line or a value is wrong. Nothing was started."),
    ("other", "In a cluster, the exit status of a capture that failed there, such as 137."),
];

const ENVIRONMENT: [(&str, &str); 10] = [
    ("NETOBSERV_NAMESPACE", "Used without --namespace."),
    ("NETOBSERV_COLLECTOR_IMAGE", "Used without --collector-image."),
    ("NETOBSERV_AGENT_IMAGE", "Used without --agent-image."),
    ("NETOBSERV_REGISTRY", "Used without --registry."),
    ("NETOBSERV_K8S_CLI", "The program for accessing the cluster, instead of oc or kubectl in PATH."),
    ("NETOBSERV_AGENT_BIN", "The agent for captures with --local, instead of the one in this program's folder."),
    ("NETOBSERV_COLLECTOR_BIN", "The collector for captures with --local."),
    ("NO_COLOR", "No colors, if it is set and not empty."),
    ("TERM", "If it is dumb or empty, there is no screen and no escape sequences."),
    ("LC_ALL, LC_CTYPE, LANG", "Whether the screen may use more than ASCII."),
];

const FILES: [(&str, &str); 4] = [
    ("./output/flow/TIME.json", "The flows of a capture, an array of objects. --output-dir chooses another folder."),
    ("./output/flow/TIME.db", "The same in an SQLite database, with a table about the capture."),
    ("./output/pcap/TIME.pcapng", "The packets of a capture."),
    (
        "netobserv-cli-VERSION.oci.tar",
        "The programs for --no-registry; expected in this program's folder, unless --programs names the file.",
    ),
];

/// A page in roff.
pub(super) fn page(command: Command) -> Option<String> {
    let below = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let mut page = Vec::new();
    let shown = command.after_help(Resettable::Reset).version(env!("CARGO_PKG_VERSION"));
    clap_mangen::Man::new(shown).render(&mut page).ok()?;
    let mut page = String::from_utf8_lossy(&page).into_owned();
    let (examples, notes): (Vec<&str>, Vec<&str>) =
        below.split("\n\n").filter(|text| !text.is_empty()).partition(|text| text.starts_with("Examples:\n"));
    for (title, paragraphs) in [("EXAMPLES", examples), ("NOTES", notes)] {
        as_typed(&mut page, title, &paragraphs);
    }
    for (title, entries) in [("EXIT STATUS", &EXIT_STATUS[..]), ("ENVIRONMENT", &ENVIRONMENT), ("FILES", &FILES)] {
        let _ = writeln!(page, ".SH {title}");
        for (name, what) in entries {
            let _ = writeln!(page, ".TP\n\\fB{}\\fR\n{}", escaped(name), escaped(what));
        }
    }
    Some(page)
}

/// Paragraphs whose lines stay lines.
fn as_typed(page: &mut String, title: &str, paragraphs: &[&str]) {
    if paragraphs.is_empty() {
        return;
    }
    let _ = writeln!(page, ".SH {title}");
    for paragraph in paragraphs {
        let _ = writeln!(page, ".PP\n.nf");
        for line in paragraph.lines().filter(|line| *line != "Examples:") {
            let _ = writeln!(page, "{}", escaped(line));
        }
        let _ = writeln!(page, ".fi");
    }
}

/// Text that roff prints as it is: a dot or a quote at the start of a line would be a request.
fn escaped(line: &str) -> String {
    let text = line.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}
