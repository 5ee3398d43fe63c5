//! What is a query and what is none, with the place that is told.

use super::*;

#[track_caller]
fn shape(query: &str) -> String {
    fn show(expr: &Expr) -> String {
        let list = |exprs: &[Expr], word: &str| format!("({})", exprs.iter().map(show).collect::<Vec<_>>().join(word));
        match expr {
            Expr::All(exprs) => list(exprs, " and "),
            Expr::Any(exprs) => list(exprs, " or "),
            Expr::Has(field, true) => format!("with {}", field.name()),
            Expr::Has(field, false) => format!("without {}", field.name()),
            Expr::Number(field, order, number) => format!("{} {order:?} {number}", field.name()),
            Expr::Text(field, is, parts) => format!("{} {is} {parts:?}", field.name()),
            Expr::Regex(field, is, regex) => format!("{} {is} /{regex}/", field.name()),
            other => other.to_string(),
        }
    }
    show(&Query::parse(query).unwrap_or_else(|error| panic!("{error}")).expr)
}

/// What is wrong, and the text at the place.
#[track_caller]
fn wrong(query: &str) -> (String, String) {
    let error = Query::parse(query).expect_err("it is no query");
    (error.what().to_owned(), query[error.at()].to_owned())
}

#[test]
fn and_binds_tighter_than_or() {
    assert_eq!(
        shape("SrcPort=1 or DstPort=2 and Proto=6 or Bytes>9"),
        "(SrcPort Equal 1 or (DstPort Equal 2 and Proto Equal 6) or Bytes Greater 9)"
    );
    assert_eq!(
        shape("(SrcPort=1 OR DstPort=2) And Proto!=6"),
        "((SrcPort Equal 1 or DstPort Equal 2) and Proto Different 6)"
    );
}

#[test]
fn every_comparison_is_read() {
    for (query, wanted) in [
        ("Bytes<=-3", "Bytes AtMost -3"),
        ("Bytes >= 3", "Bytes AtLeast 3"),
        ("Bytes<3", "Bytes Less 3"),
        ("IPSecRetCode = -22", "IPSecRetCode Equal -22"),
        (r#"SrcK8S_Name = "a\"b\d""#, r#"SrcK8S_Name true [Literal("a\"b\\d")]"#),
        (r#"SrcK8S_Name != `a\"b`"#, r#"SrcK8S_Name false [Literal("a\\\"b")]"#),
        (r#"SrcK8S_Name =~ "^a\\""#, r"SrcK8S_Name true /^a\\/"),
        (r#"DstPort !~ "^80""#, "DstPort false /^80/"),
        ("with(DnsId) and WITHOUT ( SrcPort )", "(with DnsId and without SrcPort)"),
        (r#"SrcMac = "0a:1B:00:00:00:01""#, r#"SrcMac true [Literal("0a:1B:00:00:00:01")]"#),
        (r#"Interfaces = """#, r#"Interfaces true [Literal("")]"#),
    ] {
        assert_eq!(shape(query), wanted, "{query}");
    }
}

#[test]
fn another_field_stands_for_its_value() {
    let port = Query::parse(r#"SrcAddr != "$(DstAddr)" and SrcK8S_Name = "x-$(DstK8S_Name)-$(""#).unwrap();
    let Expr::All(factors) = port.expr else { panic!("two factors") };
    let Expr::Text(_, false, parts) = &factors[0] else { panic!("a text") };
    assert!(matches!(parts[..], [Part::Value(field)] if field.name() == "DstAddr"));
    let Expr::Text(_, true, parts) = &factors[1] else { panic!("a text") };
    assert!(matches!(&parts[..], [Part::Literal(a), Part::Value(_), Part::Literal(b)] if a == "x-" && b == "-$("));
    assert_eq!(wrong(r#"SrcAddr = "$(DstAdr)""#).0, "unknown field DstAdr; did you mean DstAddr?");
    assert_eq!(wrong(r#"SrcAddr =~ "$(DstAddr)""#).0, "$(Field) works only in strings after = and !=");
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    for (query, what, place) in [
        ("", "the query is empty: write a condition, such as SrcK8S_Namespace = \"default\" and DstPort = 80", ""),
        ("  ", "the query is empty: write a condition, such as SrcK8S_Namespace = \"default\" and DstPort = 80", ""),
        ("SrcPort = 1 and DstProt = 2", "unknown field DstProt; did you mean DstPort?", "DstProt"),
        ("SrcPort = 1 and", "a condition is missing here", ""),
        ("and SrcPort = 1", "a condition is missing before this", "and"),
        ("SrcPort", "one of = != =~ !~ < <= > >= is missing here", ""),
        ("SrcPort 80", "one of = != =~ !~ < <= > >= is wanted here", "80"),
        ("SrcPort =", "a number is missing here", ""),
        ("SrcAddr =", "a string in quotes is missing here", ""),
        ("SrcPort = 1 DstPort = 2", "and or or is missing before this", "DstPort"),
        ("(SrcPort = 1", "this is never closed: a ) is missing", "("),
        ("(SrcPort = 1 DstPort = 2)", "and, or or a ) is missing before this", "DstPort"),
        ("SrcPort = 1)", "nothing was opened that this could close", ")"),
        ("SrcPort == 1", "write = instead of ==", "=="),
        ("SrcK8S_Name = 'a'", "write \" instead of '", "'"),
        ("SrcK8S_Name = \"a", "the string has no end: \" is missing", "\"a"),
        ("SrcK8S_Name = a", "write strings in quotes: \"a\"; another field's value is \"$(a)\"", "a"),
        ("SrcPort = \"80\"", "SrcPort is a number: write it without quotes", "\"80\""),
        ("SrcK8S_Name = 80", "SrcK8S_Name is a text: write \"80\"", "80"),
        ("SrcK8S_Name > 80", "> compares numbers, and SrcK8S_Name is a text", ">"),
        ("SrcK8S_Name > \"a\"", "> compares numbers; a text has = != =~ !~", ">"),
        ("SrcPort =~ 80", "write regular expressions in quotes", "80"),
        (
            "Bytes > 99999999999999999999",
            "99999999999999999999 is not a whole number; write texts, such as addresses, in quotes",
            "99999999999999999999",
        ),
        (
            "SrcAddr = \"10.0\"",
            "SrcAddr is an address, and this is none; SrcAddr =~ \"...\" matches part of one",
            "\"10.0\"",
        ),
        ("SrcK8S_Name =~ \"a(b\"", "not a regular expression: unclosed group", "("),
        ("SrcK8S_Name =~ \"a\\\"(b\"", "not a regular expression: unclosed group", "\"a\\\"(b\""),
        ("with SrcPort", "a ( is missing before this", "SrcPort"),
        ("with(6)", "a field is wanted here", "6"),
        ("SrcPort = 1 ; DstPort = 2", "';' means nothing here", ";"),
    ] {
        assert_eq!(wrong(query), (what.to_owned(), place.to_owned()), "{query}");
    }
}

#[test]
fn the_message_points_at_the_place_and_lists_the_fields() {
    let error = Query::parse("DstPort = 80\tand Ä").unwrap_err().to_string();
    assert_eq!(error, "'Ä' means nothing here\n  DstPort = 80 and Ä\n                   ^");
    let error = Query::parse("DstProt = 80").unwrap_err().to_string();
    let lines: Vec<_> = error.lines().collect();
    assert_eq!(lines[..3], ["unknown field DstProt; did you mean DstPort?", "  DstProt = 80", "  ^^^^^^^"]);
    assert!(lines[3].starts_with("fields: TimeFlowStartMs") && error.contains(" SrcK8S_Namespace "), "{error}");
    assert!(lines.iter().all(|line| line.len() <= 100), "{error}");
}

#[test]
fn other_ways_to_write_the_same() {
    for (query, same) in [
        ("srcport=1 && !(DstPort=2) || not Proto=6", "(SrcPort = 1 and not (DstPort = 2)) or not (Proto = 6)"),
        ("SrcAddr = 10.0.0.1 and DstAddr = \"10.0.0.0/8\"", "SrcAddr = \"10.0.0.1\" and DstAddr = 10.0.0.0/8"),
        ("port=80", "SrcPort = 80 or DstPort = 80"),
        ("port!=80", "SrcPort != 80 and DstPort != 80"),
        ("src=10.0.0.1 or src=\"web\"", "SrcAddr = \"10.0.0.1\" or SrcK8S_Name = \"web\""),
        ("proto=tcp and rtt>1.5ms and latency<2us", "Proto = 6 and TimeFlowRttNs > 1500000 and DnsLatencyUs < 2"),
        ("bytes>=10k and packets<2M and etype=0x800", "Bytes >= 10000 and Packets < 2000000 and Etype = 2048"),
        ("ip:10.0.0.1", "SrcAddr = \"10.0.0.1\" or DstAddr = \"10.0.0.1\""),
        (
            "dns:/^a(b|c)/ or dns:Shop",
            "(DnsName =~ `^a(b|c)` or DnsFlagsResponseCode =~ `^a(b|c)`) or (DnsName =~ `Shop` or DnsFlagsResponseCode =~ `Shop`)",
        ),
        ("proc:a-program-with-a-long-name", "SrcComm =~ `a\\-program\\-with\\-` or DstComm =~ `a\\-program\\-with\\-`"),
        (
            "pod:shop/web and dst svc:db or label:\"app in (a,b)\"",
            "(pod:shop/web and dst svc:db) or label:\"app in (a,b)\"",
        ),
        ("(ns:shop)", "ns:shop"),
        ("tcp port 80", "Proto = 6 and (SrcPort = 80 or DstPort = 80)"),
        ("tcp dst port 80 or 443", "(Proto = 6 and DstPort = 80) or (Proto = 6 and DstPort = 443)"),
        ("src or dst port 80", "SrcPort = 80 or DstPort = 80"),
        (
            "port (80 or 443) and udp",
            "((SrcPort = 80 or DstPort = 80) or (SrcPort = 443 or DstPort = 443)) and Proto = 17",
        ),
        ("src net 192.168.1 and 10.0.0.1", "SrcAddr = 192.168.1.0/24 and SrcAddr = 10.0.0.1/32"),
        ("fd00::1 or ::1/128 and tcp", ""),
        ("vlan 5 and ip6 proto 58 and less 100", "vlan 5 and (Etype = 34525 and Proto = 58) and Bytes <= 100"),
        ("ether src aa:bb:cc:00:00:01", "SrcMac = \"aa:bb:cc:00:00:01\""),
    ] {
        match Query::parse(query) {
            Ok(read) => assert_eq!(read.expr.to_string(), same, "{query}"),
            Err(error) => assert_eq!(same, "", "{error}"),
        }
    }
}

#[test]
fn what_is_shown_means_the_same_when_it_is_typed() {
    for query in [
        "port=80 and not (proto:tcp or rtt>5ms)",
        "src pod:shop/web and dst label:\"app in (a,b)\" or SrcK8S_Name = \"a\\\"b\"",
        "vlan 7 and ip:10.0.0.0/8 and SrcAddr != \"$(DstAddr)\" and with(DnsId)",
    ] {
        let shown = Query::parse(query).unwrap().expr.to_string();
        assert_eq!(Query::parse(&shown).unwrap().expr.to_string(), shown, "{query}");
    }
}

#[test]
fn conditions_of_pcap_that_are_not_understood_point_at_the_place() {
    for (query, what, place) in [
        ("tcp port http", "names of ports are not looked up: write the number", "http"),
        ("tcp port", "the number of a port is missing here", ""),
        ("tcp port and host 10.0.0.1", "the number of a port is missing before this", "and"),
        ("port 70000", "the number of a port is wanted here", "70000"),
        ("portrange 90-80", "a range of ports, such as 80-90, is wanted here", "90-80"),
        ("portrange 80", "a range of ports, such as 80-90, is wanted here", "80"),
        ("host web", "names of hosts are not looked up: write the address, or pod:web, svc:web", "web"),
        ("host 10.0.0", "an address is wanted here", "10.0.0"),
        ("host 10.0.0.1 port 80", "and or or is missing before this", "port"),
        ("host 10.0.0.0/8", "an address is wanted here", "10.0.0.0/8"),
        ("net 10.0.0.1/8", "this has bits behind its length: write 10.0.0.0/8, or host with the address", "10.0.0.1/8"),
        (
            "net 10 mask 255.0.0.0",
            "mask is not understood here: write net with a length, such as net 10.0.0.0/8",
            "mask",
        ),
        ("net 300", "a network, such as 10.0.0.0/8, is wanted here", "300"),
        ("tcp host 10.0.0.1", "tcp does not go with host", "host"),
        ("icmp port 80", "icmp does not go with port", "port"),
        ("ip port 80", "ip does not go with port", "port"),
        ("tcp 80", "port is missing before this: write tcp port ...", "80"),
        ("arp host 10.0.0.1", "addresses in ARP packets cannot be compared: write arp alone", "host"),
        ("ether", "write ether host, ether src or ether dst with an address", "ether"),
        ("ether host 10.0.0.1", "a MAC address is wanted here", "10.0.0.1"),
        ("src proto 6", "a protocol has no direction: leave src or dst out", "proto"),
        ("ip proto 300", "the number of a protocol is wanted here", "300"),
        ("src", "an address is missing here", ""),
        ("src tcp", "host, net, port, portrange or an address is wanted here", "tcp"),
        ("src and dst 10.0.0.1", "host, net, port, portrange or an address is wanted here", "and"),
        ("80", "80 is no condition: write a field or a word such as port before it", "80"),
        ("port 80 or 10.0.0.1", "the number of a port is wanted here", "10.0.0.1"),
        ("tcp[13] & 2 != 0", "bytes of a packet, such as tcp[13], cannot be compared here", "["),
        ("broadcast", "broadcast is not understood here: write ether dst ff:ff:ff:ff:ff:ff", "broadcast"),
        ("inbound and tcp", "inbound is not understood here: use --direction=Ingress", "inbound"),
        ("vlan 5000", "the number of a VLAN is at most 4095", "5000"),
        ("less than", "a number of bytes is wanted here", "than"),
        ("port (80 or 443", "this is never closed: a ) is missing", "("),
        ("port (80 and 443)", "and, or or a ) is missing before this", "and"),
        ("prot 80", "unknown field prot; did you mean Proto?", "prot"),
        ("tpc port 80", "unknown field tpc; did you mean tcp?", "tpc"),
        ("tcp or udp and port 53", MIXED, "and"),
        ("port 80 or bytes>1 && udp", MIXED, "&&"),
        ("(host 10.0.0.1 or tcp and udp)", MIXED, "and"),
        ("tcp & udp", "'&' means nothing here", "&"),
        ("tcp ||", "a condition is missing here", ""),
        ("|| tcp", "a condition is missing before this", "||"),
        ("not", "a condition is missing here", ""),
        ("!", "a condition is missing here", ""),
        ("tcp not udp", "and or or is missing before this", "not"),
        ("()", "a condition begins with a field, such as in SrcK8S_Namespace = \"default\" and DstPort = 80", ")"),
        ("podd:web", "unknown name podd; did you mean pod?", "podd"),
        ("pod:", "a value is missing after the colon", ""),
        ("pod:Web", "a name has small letters, digits, - and . only, and * for any of them, not W", "Web"),
        ("label:app=we*b", "we*b is no value of a label", "app=we*b"),
        ("src proc:nginx", "src and dst go with what a cluster has, and with addresses; not with proc:", "proc:nginx"),
        ("tcp src pod:web", "write the protocol as a condition of its own: tcp and src pod:...", "pod:web"),
        ("rtt>5", "the unit is missing: write 5ms, 5us or 5s", "5"),
        ("rtt>5min", "5min is not a time: write a number with ns, us, ms or s", "5min"),
        ("bytes>5x", "5x is not a whole number; write texts, such as addresses, in quotes", "5x"),
        ("port=http", "a number is missing here", "http"),
        ("pid:x", "pid is a number, and this is none", "x"),
        ("dns:/a(/", "not a regular expression: unclosed group", "/a(/"),
    ] {
        assert_eq!(wrong(query), (what.to_owned(), place.to_owned()), "{query}");
    }
}

const MIXED: &str =
    "tcpdump reads A or B and C as (A or B) and C, and this program as A or (B and C): write parentheses";

#[test]
fn what_a_query_is_about_is_known_with_its_place() {
    let query = Query::parse("pod:a and rtt>5ms and vlan and (pod:a or pod:b)").unwrap();
    let terms: Vec<_> = query.terms().into_iter().map(netobserv_contract::selector::Term::to_string).collect();
    assert_eq!(terms, ["pod a", "pod b"]);
    let refused = |used: &Used| (*used == Used::Vlan).then(|| "no tags here".to_owned());
    let error = query.refuse(refused).unwrap_err();
    assert_eq!((error.what(), error.at()), ("no tags here", 22..26));
    assert!(query.refuse(|_| None).is_ok());
}

#[test]
fn nesting_has_an_end() {
    let nested = |depth| format!("{}SrcPort = 1{}", "(".repeat(depth), ")".repeat(depth));
    assert!(Query::parse(&nested(100)).is_ok());
    assert_eq!(wrong(&nested(100_000)).0, "more than 100 parentheses in one another");
    assert!(Query::parse(&vec!["SrcPort = 1"; 10_000].join(" or ")).is_ok());
}

#[test]
fn the_older_form_says_the_same() {
    for (list, query) in [
        ("SrcK8S_Namespace~openshift", "SrcK8S_Namespace =~ `openshift`"),
        ("SrcAddr~^10\\.{1,2}, DstPort~443|80", "SrcAddr =~ `^10\\.{1,2}` and DstPort =~ `443|80`"),
        ("DnsName~a`\"\\\\", "DnsName =~ \"a`\\\"\\\\\""),
    ] {
        assert_eq!(regexes::query(list).unwrap(), query);
        assert!(Query::parse(query).is_ok(), "{query}");
    }
    let error = |list| regexes::query(list).unwrap_err();
    assert_eq!(error("SrcAddr~10,DstProt~1").what(), "unknown field DstProt; did you mean DstPort?");
    assert_eq!(error("SrcAddr~10,DstProt~1").at(), 11..18);
    assert_eq!(error("SrcAddr~(").what(), "not a regular expression: unclosed group");
    assert!(error("SrcAddr").what().starts_with("write Field~expression"));
    assert!(Query::read("SrcK8S_Name~a,SrcPort~8").is_ok() && Query::read("SrcK8S_Name =~ `a~b`").is_ok());
    assert_eq!(Query::read("SrcPort ~ (").unwrap_err().what(), "not a regular expression: unclosed group");
}

#[test]
fn what_a_record_does_not_have_is_refused_at_its_place() {
    let flows = |text: &str| Query::parse(text).unwrap().check_flows().map_err(|error| error.at());
    assert_eq!(flows("tcp and vlan 5"), Err(8..12));
    assert_eq!(flows("with(Duplicate)"), Err(5..14));
    assert_eq!(flows("SrcAddr = \"$(Duplicate)\""), Err(10..24));
    assert_eq!(flows("rtt>5ms and pod:web and src port 80"), Ok(()));
    let packets = |text: &str| Query::parse(text).unwrap().check_packets().map_err(|error| error.at());
    assert_eq!(packets("tcp and rtt>5ms"), Err(8..11));
    assert_eq!(packets("dns:shop"), Err(0..8));
    assert_eq!(
        packets("vlan 5 and cause:NETFILTER and name:web and pod:web and flags=2 and ether src 02:00:00:00:00:01"),
        Ok(())
    );
    let query = Query::parse("name:web and rtt>5ms").unwrap();
    assert!(query.asks_for_names() && query.asks_for(&["TimeFlowRtt"]) && !query.asks_for(&["Dns"]));
}

#[test]
fn what_is_typed_has_words_of_the_row_besides() {
    for (text, read) in [
        ("web", "web"),
        ("nodejs-7c9", "nodejs-7c9"),
        ("web rtt>5ms", "web and TimeFlowRttNs > 5000000"),
        ("web or tcp port 80", "web or (Proto = 6 and (SrcPort = 80 or DstPort = 80))"),
        ("!web (udp or /a b/)", "not (web) and (Proto = 17 or /a b/)"),
        ("/a(b)/ and \"two words\"", "/a(b)/ and \"two words\""),
        ("port 80 or 443", "(SrcPort = 80 or DstPort = 80) or (SrcPort = 443 or DstPort = 443)"),
        ("443", "443"),
        ("dns", "dns"),
    ] {
        let query = Query::typed(text).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(query.expr.to_string(), read, "{text}");
    }
    for text in ["web", "nodejs-7c9", "/a/", "443", "tcp udp"] {
        assert!(Query::parse(text).is_err(), "{text} is of the screen only");
    }
    for (text, what) in
        [("web or", "missing"), ("x>1", "unknown field x"), ("porr:1", "unknown name porr"), ("/(/", "unclosed")]
    {
        let error = Query::typed(text).unwrap_err();
        assert!(error.what().contains(what), "{text}: {error}");
    }
}
