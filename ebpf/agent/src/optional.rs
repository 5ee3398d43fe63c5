//! Features that are captured where the kernel can, and left out where it cannot, with the reason: variables with the value `auto`, and
//! names of processes.

use crate::{features::Switches, kernel::KernelError};

/// The variable, and what it captures in words.
const FEATURES: [(&str, &str); 3] = [
    ("ENABLE_PROCESS", "names of processes"),
    ("ENABLE_RTT", "round-trip times"),
    ("ENABLE_PKT_DROPS", "dropped packets"),
];

/// What was left out, each with its reason.
pub(crate) type LeftOut = Vec<String>;

/// Loads what these switches ask for, with `load`. Where that fails, features that are `optional` are switched off: the one that the kernel
/// names, else the one without which it succeeds.
///
/// # Errors
/// The reason for which it fails also without them.
pub(crate) fn load<T>(
    switches: &mut Switches,
    optional: &[&'static str],
    load: impl Fn(Switches) -> Result<T, KernelError>,
) -> Result<(T, LeftOut), KernelError> {
    let mut left_out = LeftOut::new();
    loop {
        let error = match load(*switches) {
            Ok(loaded) => return Ok((loaded, left_out)),
            Err(error) => error,
        };
        let on: Vec<&'static str> = optional.iter().copied().filter(|name| *switch(switches, name)).collect();
        let named = match &error {
            KernelError::Unavailable { setting, .. } => on.iter().find(|name| *name == setting).copied(),
            KernelError::NotAllowed(_) | KernelError::TooOld(_) | KernelError::NoProc => return Err(error),
            _ => on.iter().find(|name| load(without(*switches, name)).is_ok()).or(on.first()).copied(),
        };
        let Some(name) = named else { return Err(error) };
        *switch(switches, name) = false;
        left_out.push(words(name, &error));
    }
}

fn without(switches: Switches, name: &str) -> Switches {
    let mut less = switches;
    *switch(&mut less, name) = false;
    less
}

fn switch<'a>(switches: &'a mut Switches, name: &str) -> &'a mut bool {
    match name {
        "ENABLE_RTT" => &mut switches.rtt,
        "ENABLE_PKT_DROPS" => &mut switches.drops,
        _ => &mut switches.sockets,
    }
}

fn title(name: &str) -> &'static str {
    FEATURES.iter().find(|(variable, _)| *variable == name).map_or("a feature", |(_, title)| title)
}

fn words(name: &str, error: &KernelError) -> String {
    match error {
        KernelError::Unavailable { why, .. } => format!("{}: {why}", title(name)),
        error => format!("{}: {error}", title(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [&str; 3] = ["ENABLE_PROCESS", "ENABLE_RTT", "ENABLE_PKT_DROPS"];

    fn everything() -> Switches {
        Switches { rtt: true, drops: true, sockets: true, ..Switches::default() }
    }

    fn left(switches: Switches) -> [bool; 3] {
        [switches.sockets, switches.rtt, switches.drops]
    }

    fn unavailable(setting: &'static str) -> KernelError {
        KernelError::Unavailable { setting, why: "it has no tracepoint".into() }
    }

    #[test]
    fn only_what_the_kernel_cannot_do_is_left_out() {
        let mut switches = everything();
        let kernel = |switches: Switches| match () {
            () if switches.rtt => Err(unavailable("ENABLE_RTT")),
            () if switches.drops => Err(unavailable("ENABLE_PKT_DROPS")),
            () => Ok(()),
        };
        let ((), left_out) = load(&mut switches, &ALL, kernel).unwrap();
        assert_eq!(left(switches), [true, false, false]);
        assert_eq!(left_out, ["round-trip times: it has no tracepoint", "dropped packets: it has no tracepoint"]);
    }

    #[test]
    fn an_error_that_names_no_feature_leaves_out_the_one_that_causes_it() {
        let mut switches = everything();
        let kernel = |switches: Switches| {
            if switches.drops { Err(KernelError::Load("the verifier refuses it".into())) } else { Ok(()) }
        };
        let ((), left_out) = load(&mut switches, &ALL, kernel).unwrap();
        assert_eq!(left(switches), [true, true, false]);
        assert_eq!(left_out, ["dropped packets: cannot load the kernel programs: the verifier refuses it"]);
        let mut switches = everything();
        let kernel = |_: Switches| Err::<(), _>(KernelError::Load("it refuses everything".into()));
        assert!(load(&mut switches, &ALL, kernel).is_err());
        assert_eq!(left(switches), [false; 3]);
    }

    #[test]
    fn what_was_asked_for_is_an_error() {
        let mut switches = everything();
        let error = load(&mut switches, &["ENABLE_PROCESS"], |_| Err::<(), _>(unavailable("ENABLE_RTT"))).unwrap_err();
        assert_eq!(error.to_string(), "ENABLE_RTT=true is not available on this kernel: it has no tracepoint");
        let refused = load(&mut switches, &ALL, |_| Err::<(), _>(KernelError::NotAllowed("EPERM".into())));
        assert!(refused.is_err() && left(switches) == [true; 3], "rights are no matter of a feature");
    }
}
