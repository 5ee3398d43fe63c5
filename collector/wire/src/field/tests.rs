//! What holds for every field.

use super::*;
use serde_json::json;

fn sample(field: &Field) -> Json {
    match (field.kind(), field.name) {
        (Kind::Int, "FromClient") => json!(1),
        (Kind::Int, _) => json!(42),
        (Kind::Text, name) if name.ends_with("Mac") => json!("0a:58:00:00:00:ff"),
        (Kind::Text, name) if name.ends_with("Addr") || name.ends_with("IP") => json!("fd00::7"),
        (Kind::Text, "K8S_FlowLayer") => json!("infra"),
        (Kind::Text, "Duplicate") => json!("server"),
        (Kind::Text, _) => json!("some \"text\""),
        (Kind::List, "IfDirections") => json!([1, 3]),
        (Kind::List, "TLSTypes") => json!(["ServerHello", "Alert"]),
        (Kind::List, _) => json!(["one", "two"]),
        (Kind::Json, _) => json!([{"Name": "deny-all", "Action": "drop"}]),
    }
}

#[test]
fn every_field_gives_back_what_was_put_in() {
    for field in FIELDS {
        let (mut flow, mut out) = (Flow::default(), Vec::new());
        assert_eq!(field.get(&flow), Value::Absent, "{}", field.name);
        assert!(field.set(&mut flow, &sample(field)), "{}", field.name);
        field.get(&flow).append_json(&mut out);
        assert_eq!(serde_json::from_slice::<Json>(&out).unwrap(), sample(field), "{}", field.name);
    }
}

#[test]
fn a_value_of_another_kind_is_refused() {
    for field in FIELDS.iter().filter(|field| field.kind() != Kind::Json) {
        let mut flow = Flow::default();
        assert!(!field.set(&mut flow, &json!({"an": "object"})), "{}", field.name);
    }
    assert!(!by_name("SrcPort").unwrap().set(&mut Flow::default(), &json!(65536)));
    assert!(!by_name("SrcMac").unwrap().set(&mut Flow::default(), &json!("0a:58:00:00:00")));
    assert!(!by_name("K8S_FlowLayer").unwrap().set(&mut Flow::default(), &json!("other")));
    assert!(by_name("Bytes").unwrap().set(&mut Flow::default(), &json!(1.5e3)));
}

#[test]
fn a_field_is_present_only_where_its_group_is() {
    assert_eq!(GROUPS.iter().map(|group| group.fields.len()).sum::<usize>(), FIELDS.len());
    for group in GROUPS.iter() {
        for (index, field) in group.fields.iter().enumerate() {
            let mut flow = Flow::default();
            assert!(field.set(&mut flow, &sample(field)) && (group.present)(&flow), "{}", field.name);
            assert_eq!(field.name, FIELDS[group.first + index].name);
        }
    }
    assert_eq!(GROUPS.iter().filter(|group| (group.present)(&Flow::default())).count(), 1);
}

#[test]
fn names_differ_also_when_case_does_not_count() {
    let mut names: Vec<_> = FIELDS.iter().map(|field| field.name.to_lowercase()).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), FIELDS.len());
}
