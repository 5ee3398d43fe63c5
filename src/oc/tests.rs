use super::*;

#[test]
fn the_name_of_the_plugin_tells_its_program() {
    for (path, name) in [
        ("/x/kubectl-netobserv", "kubectl"),
        ("kubectl", "kubectl"),
        ("/x/oc-netobserv", "oc"),
        ("netobserv", "oc"),
        ("", "oc"),
    ] {
        assert_eq!(title(OsStr::new(path)), name, "{path}");
    }
}

#[test]
fn errors_are_one_line() {
    let error = FailedCall {
        what: "create the namespace".into(),
        line: "oc create -f -".into(),
        how: "ended with exit code 1".into(),
        text: one_line("a\n\n b \n"),
        advice: "try again",
    };
    let line = "cannot create the namespace: `oc create -f -` ended with exit code 1: a / b; try again";
    assert_eq!(error.to_string(), line);
    assert_eq!(seconds(Duration::from_millis(1250)), "1.3 s");
    assert_eq!(seconds(Duration::from_secs(60)), "60 s");
}
