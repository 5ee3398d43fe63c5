use super::*;

fn read(words: &str) -> Result<Options, NoCapture> {
    parse(format!("netobserv-collector {words}").split_whitespace().map(Into::into))
}

#[track_caller]
fn refused(words: &str) -> String {
    match read(words) {
        Err(NoCapture::Usage(text)) => text,
        other => panic!("{words}: {other:?}"),
    }
}

#[test]
fn defaults_are_those_of_the_contract() {
    let options = read("get-flows --insecure").unwrap();
    assert_eq!(options.listen, Listen::Port(9999));
    assert_eq!((options.max_time, options.max_bytes), (Some(Duration::from_secs(300)), Some(50_000_000)));
    assert_eq!(options.output_dir, PathBuf::from("./output"));
    assert_eq!((options.namespace.as_str(), options.filename), ("netobserv-cli", Name::StartTime));
}

#[test]
fn options_stand_on_either_side_of_the_command() {
    let options = read("--insecure --port 7 -l debug get-flows --maxtime=1.5h --maxbytes 0 -n other").unwrap();
    assert_eq!(options.listen, Listen::Port(7));
    assert_eq!((options.max_time, options.max_bytes), (Some(Duration::from_secs(5400)), None));
    assert_eq!((options.log_level, options.namespace.as_str()), (LevelFilter::DEBUG, "other"));
}

#[test]
fn times_are_those_of_go() {
    for word in ["3000000\u{b5}s", "3000000\u{3bc}s"] {
        let options = read(&format!("get-flows --insecure --maxtime={word}")).unwrap();
        assert_eq!(options.max_time, Some(Duration::from_secs(3)), "{word}");
    }
}

#[test]
fn what_is_required_holds_with_each_query() {
    let count = |words: &str| read(&format!("get-flows --insecure {words}")).unwrap().queries.len();
    assert_eq!(count("--require SrcPid=7"), 1);
    assert_eq!(count("--require SrcPid=7 --query Bytes>1 --query Bytes<1"), 2);
    assert!(refused("get-flows --insecure --require Nothing=7").contains("--require"));
}

#[test]
fn names_can_be_switched_off() {
    assert!(!read("get-flows --insecure --kube=off").unwrap().kube);
    assert!(!read("get-packets --insecure --kube off").unwrap().kube);
}

#[test]
fn a_place_to_listen_is_an_address_or_a_socket() {
    assert_eq!(read("get-flows --listen unix:/tmp/a").unwrap().listen, Listen::Unix("/tmp/a".into()));
    assert_eq!(read("get-flows --listen [::1]:80").unwrap().listen, Listen::Tcp("[::1]:80".parse().unwrap()));
    refused("get-flows --listen unix:");
    refused("get-flows --listen localhost");
    refused("get-flows --listen [::1]:80 --port 80");
}

#[test]
fn agents_from_other_machines_need_certificates_or_a_clear_word() {
    assert!(refused("get-flows").contains("port 9999: use --tls-dir with the certificates, or --insecure"));
    refused("get-flows --listen 0.0.0.0:1");
    refused("get-flows --tls-dir /x --insecure");
    assert_eq!(read("get-flows --tls-dir /x").unwrap().security, Security::Tls("/x".into()));
    assert_eq!(read("get-flows --listen 127.0.0.2:1").unwrap().security, Security::Plain);
    assert_eq!(read("get-flows --insecure").unwrap().security, Security::Plain);
}

#[test]
fn wrong_words_give_one_line_that_names_them() {
    for (words, named) in [
        ("get-flows --maxtime 5", "--maxtime"),
        ("get-flows --maxtime=-1s", "--maxtime"),
        ("get-flows --maxbytes 50MB", "--maxbytes"),
        ("get-flows --maxbytes=-1", "--maxbytes"),
        ("get-flows --port 65536", "--port"),
        ("get-flows --loglevel loud", "--loglevel"),
        ("get-flows --kube on", "--kube"),
        ("get-flows --subnets Pods=10.0.0.0", "--subnets"),
        ("get-flows --unknown", "--unknown"),
        ("get-flows --keep-rows 5", "--keep-rows"),
        ("get-flows -o yaml", "--output"),
        ("get-packets --format=pcap --tls-keylog=a", "--tls-keylog"),
        ("get-packets -w file", "--write"),
        ("get-packets --max-files 2", "--max-file-size"),
        ("get-packets --max-file-size 5", "--max-file-size"),
        ("get-flows --comments none", "--comments"),
        ("get-metrics --serve=0", "--serve"),
        ("", "subcommand"),
    ] {
        let text = refused(words);
        assert!(text.contains(named) && !text.contains('\n'), "{words}: {text}");
    }
}

#[test]
fn lines_are_asked_for_in_two_ways() {
    let lines = |words: &str| read(&format!("get-flows --insecure {words}")).unwrap().lines;
    assert_eq!((lines(""), lines("--no-tui")), (None, Some(Format::Text)));
    assert_eq!((lines("-o json"), lines("--no-tui -o json")), (Some(Format::Json), Some(Format::Json)));
}

#[test]
fn a_lease_is_that_of_a_session() {
    let options = read("get-flows --insecure --session 0a1b2c3d --lease 60s --keep 0 --expect-nodes 3").unwrap();
    assert_eq!((options.lease, options.keep, options.expect_nodes), (Some(Duration::from_secs(60)), Duration::ZERO, 3));
    assert!(read("get-flows --insecure --session=a --background").unwrap().background);
    for words in ["--lease 60s", "--background", "--session=a --background --lease=1s", "--session=a/b", "--session="] {
        refused(&format!("get-flows --insecure {words}"));
    }
}

#[test]
fn a_file_name_stays_in_its_folder() {
    let filename = |words: &str| read(&format!("get-flows --insecure {words}")).unwrap().filename;
    assert_eq!(filename("--filename my-capture_1.2"), Name::Given("my-capture_1.2".into()));
    assert_eq!(filename("--filename a --child"), Name::Reserved("a".into()));
    for name in ["../x", "a/b", "..", ".hidden", "a\\b"] {
        refused(&format!("get-flows --filename {name}"));
    }
    assert!(file_name("").is_err());
}

#[test]
fn help_and_version_are_no_errors() {
    for words in ["--help", "--version", "get-flows --help"] {
        assert!(matches!(read(words), Err(NoCapture::Asked(_))), "{words}");
    }
}
