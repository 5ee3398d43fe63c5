use super::*;

fn local() -> FlowsArgs {
    FlowsArgs { local: Some("true".into()), ..FlowsArgs::default() }
}

#[track_caller]
fn refused(words: FlowsArgs) -> String {
    Capture::new(&words, false).expect_err("the value is wrong").to_string()
}

#[test]
fn defaults() {
    let capture = Capture::new(&local(), false).unwrap();
    assert_eq!(capture.interfaces, "");
    assert_eq!(capture.exclude_interfaces, "lo");
    for (wanted, excluded) in [("eth0,lo", ""), ("lo", ""), ("/lo/", "lo"), ("lo0", "lo")] {
        let words = FlowsArgs { interfaces: Some(wanted.into()), ..local() };
        assert_eq!(Capture::new(&words, false).unwrap().exclude_interfaces, excluded, "{wanted}");
    }
    assert_eq!(capture.sampling.get(), 1);
    assert_eq!(capture.max_time, "5m");
    assert_eq!(capture.max_bytes.get(), 50_000_000);
    assert_eq!(capture.log_level, "info");
    assert_eq!(capture.output_dir, PathBuf::from("./output"));
    assert_eq!(capture.port, None);
}

#[test]
fn lines_instead_of_a_screen() {
    let lines = |no_tui: Option<&str>, output: Option<&str>| {
        let words = FlowsArgs { no_tui: no_tui.map(Into::into), output: output.map(Into::into), ..local() };
        Capture::new(&words, false).map(|capture| capture.lines)
    };
    assert_eq!((lines(None, None), lines(Some("true"), None)), (Ok(None), Ok(Some("text"))));
    assert_eq!(lines(Some("false"), Some("json")), Ok(Some("json")));
    assert_eq!(lines(None, Some("yaml")).unwrap_err().to_string(), "--output=yaml is not valid: use text or json");
}

#[test]
fn sampling_is_a_number_from_one() {
    for text in ["0", "-1", "+1", "1.5", "x", "", "4294967296"] {
        assert_eq!(
            refused(FlowsArgs { sampling: Some(text.into()), ..local() }),
            format!("--sampling={text} is not valid: use a whole number from 1 to 4294967295")
        );
    }
}

#[test]
fn all_features_at_once_but_for_those_switched_off() {
    let on = |words| Capture::new(&words, false).map(|c| (c.dns, c.rtt, c.drops)).unwrap();
    assert_eq!(on(local()), (false, false, false));
    let all = FlowsArgs { enable_all: Some("true".into()), ..local() };
    assert_eq!(on(FlowsArgs { enable_rtt: Some("false".into()), ..all }), (true, false, true));
    assert_eq!(on(FlowsArgs { enable_pkt_drop: Some("true".into()), ..local() }), (false, false, true));
    assert_eq!(
        refused(FlowsArgs { enable_dns: Some("on".into()), ..local() }),
        "--enable_dns=on is not valid: use true or false"
    );
}

#[test]
fn port_is_a_tcp_port() {
    for text in ["0", "65536", "http", "-9"] {
        assert!(
            refused(FlowsArgs { listen_port: Some(text.into()), ..local() }).ends_with("from 1 to 65535"),
            "{text}"
        );
    }
}

#[test]
fn bytes_are_a_number_that_fits() {
    for text in ["0", "-5", "50MB", "1e6", "9223372036854775808", "99999999999999999999"] {
        assert!(
            refused(FlowsArgs { max_bytes: Some(text.into()), ..local() })
                .ends_with("use a whole number of bytes from 1 to 9223372036854775807"),
            "{text}"
        );
    }
    let largest = FlowsArgs { max_bytes: Some(i64::MAX.to_string()), ..local() };
    assert_eq!(Capture::new(&largest, false).unwrap().max_bytes.get(), i64::MAX as u64);
}

#[test]
fn time_is_more_than_zero_and_has_a_unit() {
    for text in ["0", "0s", "-1s", "10", "5 m", "abc", ""] {
        assert_eq!(
            refused(FlowsArgs { max_time: Some(text.into()), ..local() }),
            format!("--max-time={text} is not valid: use a duration above zero such as 30s, 5m or 1h30m")
        );
    }
}

#[test]
fn level_is_one_of_seven() {
    assert_eq!(
        refused(FlowsArgs { log_level: Some("verbose".into()), ..local() }),
        "--log-level=verbose is not valid: use one of trace, debug, info, warn, error, fatal, panic"
    );
}

#[test]
fn what_only_a_cluster_has_is_refused() {
    let words = |cluster| FlowsArgs { cluster, ..local() };
    let background = ClusterArgs { background: Some("true".into()), ..ClusterArgs::default() };
    let message = "--background applies to a cluster only: omit it, or omit --local";
    assert_eq!(is_local(&words(background.clone())).unwrap_err().to_string(), message);
    assert!(!is_local(&FlowsArgs { local: None, ..words(background) }).unwrap());
    let unbuilt = ClusterArgs { enable_ipsec: Some("true".into()), ..ClusterArgs::default() };
    assert_eq!(Capture::flows(&words(unbuilt)).unwrap_err(), OptionError::NotThere("enable_ipsec"));
}

#[test]
fn local_is_true_or_false() {
    assert!(is_local(&local()).unwrap());
    assert!(!is_local(&FlowsArgs::default()).unwrap());
    let wrong = FlowsArgs { local: Some("yes".into()), ..FlowsArgs::default() };
    assert_eq!(is_local(&wrong).unwrap_err().to_string(), "--local=yes is not valid: use true or false");
}
