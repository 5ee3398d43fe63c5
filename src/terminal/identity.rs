//! Who is at the keyboard, for the notes on the namespace: others read them to know whom to ask.

/// `user@host`, each `unknown` where the system does not know.
pub(crate) fn user_and_host() -> String {
    let user = first_variable(&["USER", "LOGNAME", "USERNAME"]);
    let host = first_variable(&["HOSTNAME", "COMPUTERNAME"]).or_else(host_name);
    format!("{}@{}", user.as_deref().unwrap_or("unknown"), host.as_deref().unwrap_or("unknown"))
}

fn first_variable(names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
}

/// Most shells keep the variable to themselves, and most systems have one of these files.
fn host_name() -> Option<String> {
    let files = ["/proc/sys/kernel/hostname", "/etc/hostname"];
    let name = files.iter().find_map(|file| std::fs::read_to_string(file).ok())?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}
