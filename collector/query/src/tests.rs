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
        ("srcport = 1", "unknown field srcport; did you mean SrcPort?", "srcport"),
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
        ("SrcPort = 1 && DstPort = 2", "write and instead of &&", "&&"),
        ("!(SrcPort = 1)", "write !=, !~ or without(Field) instead of !", "!"),
        ("not SrcPort = 1", "there is no not: write !=, !~ or without(Field)", "not"),
        ("SrcK8S_Name = 'a'", "write \" instead of '", "'"),
        ("SrcK8S_Name = \"a", "the string has no end: \" is missing", "\"a"),
        ("SrcK8S_Name = a", "write strings in quotes: \"a\"; another field's value is \"$(a)\"", "a"),
        ("SrcPort = \"80\"", "SrcPort is a number: write it without quotes", "\"80\""),
        ("SrcK8S_Name = 80", "SrcK8S_Name is a text: write \"80\"", "80"),
        ("SrcK8S_Name > 80", "> compares numbers, and SrcK8S_Name is a text", ">"),
        ("SrcK8S_Name > \"a\"", "> compares numbers; a text has = != =~ !~", ">"),
        ("SrcPort =~ 80", "write regular expressions in quotes", "80"),
        ("SrcAddr = 10.0.0.1", "10.0.0.1 is not a whole number; write texts, such as addresses, in quotes", "10.0.0.1"),
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
