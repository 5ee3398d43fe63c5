//! The name of this program as the user knows it, for advice that can be typed.

use std::ffi::OsString;
use std::path::Path;

/// As it was called. `oc` and `kubectl` start their plugins by the whole path; the user has typed `oc netobserv` then.
pub(crate) fn called() -> String {
    as_typed(&std::env::args_os().next().unwrap_or_default())
}

fn as_typed(first_word: &OsString) -> String {
    let path = Path::new(first_word);
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    match (path.is_absolute(), name.starts_with("kubectl")) {
        (false, _) if !name.is_empty() => first_word.to_string_lossy().into_owned(),
        (_, true) => "kubectl netobserv".to_owned(),
        _ => "oc netobserv".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_is_named_by_the_program_that_started_it() {
        for (word, name) in [
            ("oc-netobserv", "oc-netobserv"),
            ("./oc-netobserv", "./oc-netobserv"),
            ("/usr/bin/oc-netobserv", "oc netobserv"),
            ("/usr/bin/kubectl-netobserv", "kubectl netobserv"),
            ("", "oc netobserv"),
        ] {
            assert_eq!(as_typed(&word.into()), name, "{word}");
        }
    }
}
