//! What is read, and the words of what is refused.

use super::*;

fn read(pairs: &[(&str, &str)]) -> Result<Settings, String> {
    let target = [("TARGET_HOST", "collector"), ("TARGET_PLAINTEXT", "true")];
    let pairs = target.iter().chain(pairs).map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    Settings::read(pairs).map_err(|error| error.to_string())
}

#[test]
fn defaults() {
    let settings = read(&[("PATH", "/bin"), ("ENABLE_RTT", "false"), ("FLOW_FILTER_RULES", "[]")]).unwrap();
    assert_eq!(settings.target, Target::Tcp("collector:9999".into()));
    assert_eq!(settings.window, Duration::from_secs(1));
    assert_eq!(settings.sampling, 1);
    assert_eq!(settings.direction, Direction::Both);
    assert_eq!(settings.attach_mode, AttachMode::Any);
    assert!(!settings.selection.matches("lo") && settings.selection.matches("eth0"));
}

#[test]
fn targets() {
    assert_eq!(read(&[("TARGET_HOST", "unix:/x.sock")]).unwrap().target, Target::Unix("/x.sock".into()));
    let v6 = read(&[("TARGET_HOST", "fd00::1"), ("TARGET_PORT", "1234")]).unwrap();
    assert_eq!(v6.target, Target::Tcp("[fd00::1]:1234".into()));
}

#[test]
fn another_machine_is_reached_with_certificates_or_by_a_clear_word() {
    let plain = |host, flag| read(&[("TARGET_HOST", host), ("TARGET_PLAINTEXT", flag)]);
    assert_eq!(
        plain("collector", "false").unwrap_err(),
        "TARGET_HOST=collector: another machine is reached with certificates (TARGET_TLS_CA_CERT_PATH), or without encryption with \
         TARGET_PLAINTEXT=true"
    );
    for host in ["127.0.0.1", "::1", "localhost", "unix:/x.sock"] {
        assert!(plain(host, "").is_ok(), "{host}");
    }
    let error = read(&[("TARGET_TLS_USER_KEY_PATH", "/k")]).unwrap_err();
    assert_eq!(error, "TARGET_TLS_USER_CERT_PATH=: it is wanted with TARGET_TLS_USER_KEY_PATH");
    let error = read(&[("TARGET_TLS_CA_CERT_PATH", "/nowhere")]).unwrap_err();
    assert!(error.starts_with("TARGET_TLS_CA_CERT_PATH=/nowhere: a file in PEM form is wanted: "), "{error}");
}

#[test]
fn wrong_values_are_named_with_what_is_allowed() {
    let cases = [
        ("SAMPLING", "-1", "a whole number from 0 to 4294967295 is wanted"),
        ("CACHE_MAX_FLOWS", "x", "a whole number from 16 to 10000000 is wanted"),
        ("CACHE_ACTIVE_TIMEOUT", "5", "a duration of at least 100ms is wanted, such as 1s or 1m30s"),
        ("CACHE_ACTIVE_TIMEOUT", "1ms", "a duration of at least 100ms is wanted, such as 1s or 1m30s"),
        ("DIRECTION", "up", "allowed: ingress, egress, both"),
        ("TC_ATTACH_MODE", "xdp", "allowed: tcx, tc, any"),
        ("EXPORT", "kafka", "allowed: grpc"),
        ("TARGET_PORT", "70000", "a whole number from 1 to 65535 is wanted"),
        ("AGENT_IP", "10.0.0", "an IPv4 or IPv6 address is wanted"),
        ("ENABLE_RTT", "yes", "allowed: true, false, 1, 0, auto"),
        ("ENABLE_IPSEC_TRACKING", "true", "this agent does not do that yet; allowed: false or 0"),
        ("SNAPLEN", "63", "0 for whole frames, or 64 to 65560, is wanted"),
        ("SNAPLEN", "100000", "a whole number from 0 to 65560 is wanted"),
        ("FLOW_FILTER_RULES", "{}", "a JSON array of rules is wanted"),
        ("KAFKA_BROKERS", "b:1", "this agent does not do that yet; allowed: leave it unset"),
        ("CACHE_MAX_FLOW", "1", "unknown setting; did you mean CACHE_MAX_FLOWS?"),
    ];
    for (name, value, why) in cases {
        assert_eq!(read(&[(name, value)]).unwrap_err(), format!("{name}={value}: {why}"));
    }
    let error = read(&[("FLOW_FILTER_RULES", r#"[{},{"port":0}]"#)]).unwrap_err();
    assert_eq!(error, "FLOW_FILTER_RULES, rule 2, port=0: a port from 1 to 65535 is wanted");
    let error = read(&[("EXCLUDE_INTERFACES", "/(/")]).unwrap_err();
    assert!(error.starts_with("EXCLUDE_INTERFACES=/(/: /(/: not a regular expression"), "{error}");
}

#[test]
fn a_rule_about_drops_needs_drops() {
    let rules = ("FLOW_FILTER_RULES", r#"[{"action":"Accept"},{"drops":true}]"#);
    let error = read(&[rules]).unwrap_err();
    assert_eq!(error, "FLOW_FILTER_RULES, rule 2, drops=true: ENABLE_PKT_DROPS=true is needed for that");
    assert!(read(&[rules, ("ENABLE_PKT_DROPS", "true")]).unwrap().drops);
}

#[test]
fn packets_need_a_rule_or_all() {
    let pca = ("ENABLE_PCA", "true");
    let error = read(&[pca]).unwrap_err();
    let why = "capturing packets needs a rule, or PCA_ALL=true to capture each and every one";
    assert_eq!(error, format!("FLOW_FILTER_RULES=: {why}"));
    assert_eq!(read(&[pca, ("PCA_ALL", "true")]).unwrap().snaplen, Some(65_560));
    let rule = ("FLOW_FILTER_RULES", r#"[{"port":80}]"#);
    assert_eq!(read(&[pca, rule, ("SNAPLEN", "128")]).unwrap().snaplen, Some(128));
    assert_eq!(read(&[("SNAPLEN", "128")]).unwrap().snaplen, None);
    for feature in ["ENABLE_RTT", "ENABLE_PROCESS"] {
        let error = read(&[pca, rule, (feature, "true")]).unwrap_err();
        assert_eq!(error, format!("{feature}=true: is of flows, not of packets (ENABLE_PCA=true)"));
    }
    assert!(read(&[("ENABLE_PROCESS", "true")]).unwrap().process && !read(&[]).unwrap().process);
}

#[test]
fn a_target_is_needed() {
    let error = Settings::read([]).unwrap_err().to_string();
    assert!(error.starts_with("TARGET_HOST=: the collector's host name"), "{error}");
}
