//! Made-up conditions on made-up records: SQL finds the records that the live query keeps.

use netobserv_query::Query;
use netobserv_wire::Flow;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::Where;
use crate::query::{Predicate, Scratch};
use crate::sink::sqlite::import::Import;

/// Values of some fields: few, so that conditions hold now and then.
fn record() -> impl Strategy<Value = Map<String, Value>> {
    let field = |name: &'static str, values: Vec<Value>| {
        proptest::option::weighted(0.7, proptest::sample::select(values)).prop_map(move |value| (name, value))
    };
    let fields = vec![
        field("SrcAddr", vec![json!("10.0.0.1"), json!("10.1.0.1"), json!("fd00::1")]).boxed(),
        field("DstAddr", vec![json!("10.0.0.1"), json!("192.0.2.7")]).boxed(),
        field("SrcPort", vec![json!(80), json!(40_000)]).boxed(),
        field("DstPort", vec![json!(80), json!(443), json!(53)]).boxed(),
        field("Proto", vec![json!(6), json!(17)]).boxed(),
        field("Etype", vec![json!(2048), json!(34_525)]).boxed(),
        field("Bytes", vec![json!(0), json!(100), json!(5_000)]).boxed(),
        field("SrcMac", vec![json!("02:00:00:00:00:0a")]).boxed(),
        field("SrcK8S_Name", vec![json!("web-1"), json!("db"), json!("it's")]).boxed(),
        field("SrcK8S_Namespace", vec![json!("shop"), json!("bank")]).boxed(),
        field("DstK8S_Namespace", vec![json!("shop"), json!("bank")]).boxed(),
        field("SrcK8S_Type", vec![json!("Pod"), json!("Service")]).boxed(),
        field("SrcK8S_OwnerName", vec![json!("web")]).boxed(),
        field("DnsFlagsResponseCode", vec![json!("NoError"), json!("NXDomain")]).boxed(),
        field("DnsId", vec![json!(7)]).boxed(),
        field("TimeFlowRttNs", vec![json!(1_000), json!(9_000_000)]).boxed(),
        field("PktDropPackets", vec![json!(3)]).boxed(),
        field("Interfaces", vec![json!(["eth0"]), json!(["eth0", "br-ex"])]).boxed(),
        field("TLSTypes", vec![json!(["ClientHello"]), json!(["ClientHello", "AppData"])]).boxed(),
    ];
    let directions = field("IfDirections", vec![json!([0]), json!([1]), json!([0, 1])]);
    (fields, directions).prop_map(|(fields, (name, directions))| {
        let mut record: Map<_, _> =
            fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
        // A direction is of an interface.
        let interfaces = record.get("Interfaces").and_then(Value::as_array).map(Vec::len);
        if let Some(directions) = directions.filter(|list| list.as_array().map(Vec::len) == interfaces) {
            record.insert(name.to_owned(), directions);
        }
        record
    })
}

/// Conditions that are no more than one.
const LEAVES: &[&str] = &[
    "DstPort = 80",
    "DstPort != 80",
    "port=443",
    "port!=443",
    "Bytes >= 100",
    "bytes>1k",
    "rtt>5ms",
    "SrcAddr = 10.0.0.0/8",
    "SrcAddr != 10.0.0.0/8",
    "ip:10.0.0.1",
    "ip:10.0",
    "SrcAddr = \"fd00:0::1\"",
    "SrcAddr != \"10.0.0.1\"",
    "SrcMac = \"02:00:00:00:00:0A\"",
    "SrcK8S_Name = \"it's\"",
    "SrcK8S_Name != \"db\"",
    "SrcK8S_Name =~ \"^w\"",
    "SrcK8S_Name !~ \"^w\"",
    "SrcK8S_Namespace = \"$(DstK8S_Namespace)\"",
    "SrcK8S_Namespace != \"$(DstK8S_Namespace)\"",
    "SrcK8S_Name = \"we$(DnsName)b-1\"",
    "DstPort =~ \"^4\"",
    "with(DnsId)",
    "without(DnsId)",
    "rcode:nx",
    "rcode:/error$/",
    "Interfaces = \"eth0\"",
    "Interfaces != \"br-ex\"",
    "if:br",
    "Interfaces !~ \"^br\"",
    "IfDirections = 1",
    "IfDirections != 1",
    "IfDirections > 0",
    "TLSTypes = \"AppData\"",
    "TLSTypes != \"AppData\"",
    "pod:shop/web*",
    "pod:web",
    "src svc:db",
    "ns:shop",
    "dst ns:b*k",
    "tcp port 80",
    "udp",
    "ip6",
    "src net 10.0.0.0/8",
    "drops>0",
];

fn condition() -> impl Strategy<Value = String> {
    let leaf = proptest::sample::select(LEAVES).prop_map(|leaf| format!("({leaf})"));
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|it| format!("not {it}")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} and {b})")),
            (inner.clone(), inner).prop_map(|(a, b)| format!("({a} or {b})")),
        ]
    })
}

/// The numbers of the records that SQL finds, and of those that the live query keeps.
fn both(records: &[Map<String, Value>], condition: &str) -> (Vec<usize>, Vec<usize>) {
    let flows: Vec<_> = records.iter().map(|record| Flow::from_map(record.clone(), 0)).collect();
    let query = Query::read(condition).unwrap_or_else(|error| panic!("{error}"));
    let predicate = Predicate::without_names(std::slice::from_ref(&query)).unwrap();
    let kept = (0..flows.len()).filter(|at| predicate.holds(&flows[*at], &mut Scratch::default())).collect();
    let mut import = Import::new().unwrap();
    flows.into_iter().for_each(|flow| import.add(flow).unwrap());
    let db = import.finish().unwrap();
    let made = Where::of(Some(&query.expr)).unwrap();
    made.prepare(&db).unwrap();
    let mut select = db.prepare(&format!("SELECT rowid - 1 FROM flow WHERE {} ORDER BY 1", made.sql())).unwrap();
    let found =
        select.query_map([], |row| row.get::<_, i64>(0).map(|row| row as usize)).unwrap().collect::<Result<_, _>>();
    (found.unwrap_or_else(|error| panic!("{condition}: {error}")), kept)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_file_has_the_records_that_the_live_query_keeps(
        records in proptest::collection::vec(record(), 1..24),
        conditions in proptest::collection::vec(condition(), 1..6),
    ) {
        for condition in conditions {
            let (found, kept) = both(&records, &condition);
            prop_assert_eq!(found, kept, "{}", condition);
        }
    }
}

/// Each leaf is true of some of these records and false of others, so that the test above compares something.
#[test]
fn each_condition_holds_sometimes_and_sometimes_not() {
    let full = json!({"SrcAddr": "10.0.0.1", "DstAddr": "192.0.2.7", "SrcPort": 40_000, "DstPort": 80, "Proto": 6, "Etype": 2048,
        "Bytes": 5_000, "SrcK8S_Name": "it's", "SrcK8S_Namespace": "shop", "DstK8S_Namespace": "bank", "SrcK8S_Type": "Pod",
        "SrcK8S_OwnerName": "web", "DnsFlagsResponseCode": "NXDomain", "DnsId": 7, "TimeFlowRttNs": 9_000_000, "PktDropPackets": 3,
        "Interfaces": ["eth0", "br-ex"], "IfDirections": [0, 1], "TLSTypes": ["ClientHello", "AppData"],
        "SrcMac": "02:00:00:00:00:0a"});
    let other = json!({"SrcAddr": "fd00::1", "DstAddr": "10.0.0.1", "SrcPort": 443, "DstPort": 443, "Proto": 17, "Etype": 34_525,
        "SrcK8S_Name": "web-1", "SrcK8S_Namespace": "shop", "DstK8S_Namespace": "shop", "SrcK8S_Type": "Pod",
        "DnsFlagsResponseCode": "NoError", "Interfaces": ["lo"], "IfDirections": [0]});
    let service = json!({"SrcK8S_Type": "Service", "SrcK8S_Name": "db", "SrcAddr": "10.1.0.1", "Bytes": 100});
    let records: Vec<_> =
        [full, other, service, json!({})].into_iter().map(|it| it.as_object().unwrap().clone()).collect();
    for leaf in LEAVES {
        let (found, kept) = both(&records, leaf);
        assert_eq!(found, kept, "{leaf}");
        assert!(!found.is_empty() && found.len() < records.len(), "{leaf}: {found:?}");
    }
}
