//! The query of a capture, made ready to be asked of every flow: fields are looked up once, and a flow costs no allocation.
//!
//! A comparison with a field that the flow does not have is false, except that its text is different from any (`!=`, `!~`).

use std::fmt::Debug;
use std::net::IpAddr;
use std::sync::Arc;

use netobserv_contract::selector::Term;
use netobserv_query::{End, Expr, FieldId, Network, Order, Part, Query, in_fields};
use netobserv_wire::field::{self, Field};
use netobserv_wire::flow::{Mac, Side};
use netobserv_wire::names::TLS_TYPES;
use netobserv_wire::{Flow, Value};
use regex::bytes::Regex;

/// Queries of which a flow must match one.
#[derive(Debug)]
pub struct Predicate(Vec<Node>);

/// What has the names of a cluster.
pub trait Members: Debug + Send + Sync {
    /// The number of what has this name; None if it is not followed.
    fn number(&self, term: &Term) -> Option<u32>;

    /// Whether an end belonged to it when it was seen.
    fn had(&self, number: u32, seen: &Seen) -> bool;
}

/// An end of a flow or packet, and when it was seen, in milliseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Its address, if it has one.
    pub address: Option<IpAddr>,
    /// Protocol and port.
    pub port: Option<(u8, u16)>,
    /// First packet.
    pub from_ms: u64,
    /// Last packet.
    pub to_ms: u64,
}

/// No names.
#[derive(Debug)]
struct Nothing;

impl Members for Nothing {
    fn number(&self, _: &Term) -> Option<u32> {
        None
    }

    fn had(&self, _: u32, _: &Seen) -> bool {
        false
    }
}

/// Memory that is used again from flow to flow.
#[derive(Debug, Default)]
pub struct Scratch {
    left: Vec<u8>,
    right: Vec<u8>,
    /// The VLAN tag of a packet. Flows have none.
    pub vlan: Option<u16>,
    /// The row that is shown of it.
    pub row: String,
}

impl Scratch {
    /// For something whose row is shown.
    pub fn of_row(row: String) -> Self {
        Self { row, ..Self::default() }
    }
}

#[derive(Debug)]
enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    Has(&'static Field, bool),
    Number(&'static Field, Order, i64),
    Text(&'static Field, bool, Text),
    Regex(&'static Field, bool, Regex),
    Within(&'static Field, Network),
    Named(End, u32, Arc<dyn Members>),
    Vlan(Option<u16>),
    Row(Regex),
}

#[derive(Debug)]
enum Text {
    Literal(String),
    Ip(IpAddr),
    Mac(Mac),
    Parts(Vec<Piece>),
}

#[derive(Debug)]
enum Piece {
    Literal(String),
    Value(&'static Field),
}

impl Predicate {
    /// What any of `queries` keeps; `None` without queries, which keeps everything.
    pub fn new(queries: &[Query], members: &Arc<dyn Members>) -> Option<Self> {
        let nodes: Option<Vec<_>> = queries.iter().map(|query| node(&query.expr, members)).collect();
        nodes.filter(|nodes| !nodes.is_empty()).map(Self)
    }

    /// The same where names are those that records have.
    pub fn without_names(queries: &[Query]) -> Option<Self> {
        let nothing: Arc<dyn Members> = Arc::new(Nothing);
        Self::new(queries, &nothing)
    }

    /// Whether a flow is wanted.
    pub fn holds(&self, flow: &Flow, scratch: &mut Scratch) -> bool {
        self.0.iter().any(|node| node.holds(flow, scratch))
    }
}

/// `None` only if the language had a field that the flow record has not; a test below sees to that.
fn node(expr: &Expr, members: &Arc<dyn Members>) -> Option<Node> {
    let all = |exprs: &[Expr]| exprs.iter().map(|expr| node(expr, members)).collect::<Option<Vec<_>>>();
    Some(match expr {
        Expr::All(exprs) => Node::All(all(exprs)?),
        Expr::Any(exprs) => Node::Any(all(exprs)?),
        Expr::Not(expr) => Node::Not(Box::new(node(expr, members)?)),
        Expr::Named(end, term) => match members.number(term) {
            Some(number) => Node::Named(*end, number, members.clone()),
            // Where nothing is followed, records have names; those without labels.
            None => in_fields(*end, term).map_or(Some(Node::Any(vec![])), |expr| node(&expr, members))?,
        },
        leaf => leaf_node(leaf)?,
    })
}

fn leaf_node(expr: &Expr) -> Option<Node> {
    Some(match expr {
        Expr::Has(field, is) => Node::Has(find(*field)?, *is),
        Expr::Number(field, order, number) => Node::Number(find(*field)?, *order, *number),
        Expr::Text(field, is, parts) => {
            let field = find(*field)?;
            Node::Text(field, *is, text(field, parts)?)
        }
        Expr::Regex(field, is, regex) => Node::Regex(find(*field)?, *is, regex.clone()),
        Expr::Within(field, network) => Node::Within(find(*field)?, *network),
        Expr::Vlan(number) => Node::Vlan(*number),
        Expr::Row(_, regex) => Node::Row(regex.clone()),
        _ => return None,
    })
}

fn find(field: FieldId) -> Option<&'static Field> {
    field::by_name(field.name())
}

/// An address is compared as one, however it is written.
fn text(field: &Field, parts: &[Part]) -> Option<Text> {
    if let [Part::Literal(text)] = parts {
        let mut flow = Flow::default();
        let known = field.set(&mut flow, &text.as_str().into());
        return Some(match field.get(&flow) {
            Value::Ip(address) if known => Text::Ip(address),
            Value::Mac(mac) if known => Text::Mac(mac),
            _ => Text::Literal(text.clone()),
        });
    }
    let piece = |part: &Part| match part {
        Part::Literal(text) => Some(Piece::Literal(text.clone())),
        Part::Value(field) => find(*field).map(Piece::Value),
    };
    parts.iter().map(piece).collect::<Option<_>>().map(Text::Parts)
}

impl Node {
    fn holds(&self, flow: &Flow, scratch: &mut Scratch) -> bool {
        match self {
            Node::All(nodes) => nodes.iter().all(|node| node.holds(flow, scratch)),
            Node::Any(nodes) => nodes.iter().any(|node| node.holds(flow, scratch)),
            Node::Has(field, is) => (field.get(flow) != Value::Absent) == *is,
            Node::Number(field, order, number) => has_number(field.get(flow), *order, *number),
            Node::Text(field, is, text) => has_text(field.get(flow), text, flow, scratch) == *is,
            Node::Regex(field, is, regex) => matches(field.get(flow), regex, scratch) == *is,
            Node::Not(node) => !node.holds(flow, scratch),
            Node::Within(field, network) => {
                matches!(field.get(flow), Value::Ip(address) if network.holds(address))
            }
            Node::Named(end, number, members) => {
                let is = |side| members.had(*number, &seen(flow, side));
                match end {
                    End::Src => is(Side::Src),
                    End::Dst => is(Side::Dst),
                    End::Either => is(Side::Src) || is(Side::Dst),
                }
            }
            Node::Row(regex) => regex.is_match(scratch.row.as_bytes()),
            Node::Vlan(number) => scratch.vlan.is_some_and(|tag| number.is_none_or(|number| number == tag)),
        }
    }
}

/// An end of a flow, as selections know it.
fn seen(flow: &Flow, side: Side) -> Seen {
    let (address, port) = match side {
        Side::Src => (flow.src_addr, flow.src_port),
        Side::Dst => (flow.dst_addr, flow.dst_port),
    };
    Seen { address, port: flow.proto.zip(port), from_ms: flow.start_ms, to_ms: flow.end_ms }
}

/// Of a list, one number is enough; for `!=`, none of them may be equal.
fn has_number(value: Value<'_>, order: Order, number: i64) -> bool {
    match value {
        Value::Int(is) => order.holds(is, number),
        Value::Directions(list) if order == Order::Different => list.iter().all(|i| i64::from(i.direction) != number),
        Value::Directions(list) => list.iter().any(|i| order.holds(i.direction.into(), number)),
        _ => false,
    }
}

fn has_text(value: Value<'_>, text: &Text, flow: &Flow, scratch: &mut Scratch) -> bool {
    match (value, text) {
        (Value::Absent, _) => false,
        (Value::Ip(address), Text::Ip(wanted)) => address == *wanted,
        (Value::Mac(address), Text::Mac(wanted)) => address == *wanted,
        (value, Text::Literal(wanted)) => any_text(value, &mut scratch.left, |text| text == wanted.as_bytes()),
        (value, Text::Parts(pieces)) => {
            let Scratch { left, right, .. } = scratch;
            right.clear();
            pieces.iter().for_each(|piece| piece.append(flow, right));
            any_text(value, left, |text| text == right.as_slice())
        }
        _ => false,
    }
}

fn matches(value: Value<'_>, regex: &Regex, scratch: &mut Scratch) -> bool {
    value != Value::Absent && any_text(value, &mut scratch.left, |text| regex.is_match(text))
}

/// Whether the value's text, or one of a list's, is as wanted.
fn any_text(value: Value<'_>, memory: &mut Vec<u8>, mut wanted: impl FnMut(&[u8]) -> bool) -> bool {
    match value {
        Value::Text(text) | Value::Json(text) => wanted(text.as_bytes()),
        Value::Names(list) => list.iter().any(|interface| wanted(interface.name.as_bytes())),
        Value::Udns(list) => list.iter().any(|interface| wanted(interface.udn.as_bytes())),
        Value::TlsTypes(bits) => {
            TLS_TYPES.iter().enumerate().any(|(bit, name)| bits >> bit & 1 == 1 && wanted(name.as_bytes()))
        }
        Value::Directions(list) => list.iter().any(|interface| {
            memory.clear();
            Value::Int(interface.direction.into()).append_text(memory);
            wanted(memory)
        }),
        other => {
            memory.clear();
            other.append_text(memory);
            wanted(memory)
        }
    }
}

impl Piece {
    fn append(&self, flow: &Flow, out: &mut Vec<u8>) {
        match self {
            Piece::Literal(text) => out.extend_from_slice(text.as_bytes()),
            Piece::Value(field) => field.get(flow).append_text(out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use netobserv_query::{FIELDS, Kind};
    use serde_json::json;

    #[test]
    fn the_language_knows_the_fields_of_the_record() {
        let known: Vec<_> = FIELDS.iter().map(|(name, _)| *name).collect();
        for field in netobserv_wire::FIELDS {
            assert!(known.contains(&field.name), "collector/query/src/fields.rs lacks {}", field.name);
        }
        for (name, kind) in FIELDS {
            let field = field::by_name(name).unwrap_or_else(|| panic!("the record has no {name}"));
            let wanted = match kind {
                Kind::Number => field::Kind::Int,
                Kind::Text | Kind::Address | Kind::Mac => field::Kind::Text,
                Kind::Texts | Kind::Numbers => field::Kind::List,
                Kind::Json => field::Kind::Json,
            };
            assert_eq!(field.kind(), wanted, "{name}");
        }
    }

    fn flow() -> Flow {
        let record = json!({
            "SrcAddr": "10.0.0.1", "DstAddr": "fd00::1", "SrcPort": 33000, "DstPort": 80, "Proto": 6, "Bytes": 500, "SrcMac": "0a:1b:00:00:00:01",
            "Interfaces": ["eth0", "br-ex"], "IfDirections": [1, 0], "SrcK8S_Name": "shop-1", "SrcK8S_Namespace": "shop", "DstK8S_Namespace": "shop",
            "TLSTypes": ["ClientHello", "AppData"], "NetworkEvents": [{"Action": "drop"}], "AgentIP": "10.0.0.1",
        });
        Flow::from_generic(record.to_string().as_bytes(), 0).unwrap()
    }

    fn alone(queries: &[Query]) -> Option<Predicate> {
        Predicate::without_names(queries)
    }

    #[track_caller]
    fn holds(query: &str) -> bool {
        let query = Query::parse(query).unwrap_or_else(|error| panic!("{error}"));
        alone(&[query]).unwrap().holds(&flow(), &mut Scratch::default())
    }

    #[test]
    fn comparisons_hold_as_they_say() {
        for query in [
            "DstPort = 80",
            "DstPort != 81 and Bytes > 499 and Bytes >= 500 and Bytes < 501 and Bytes <= 500",
            r#"SrcAddr = "10.0.0.1" and SrcAddr = "$(AgentIP)" and SrcAddr != "$(DstAddr)""#,
            r#"DstAddr = "fd00:0:0::1" and DstAddr =~ "^fd00::1$" and DstPort =~ "^8""#,
            r#"SrcMac = "0A:1B:00:00:00:01""#,
            r#"SrcK8S_Namespace = "$(DstK8S_Namespace)" and SrcK8S_Name = "$(SrcK8S_Namespace)-1""#,
            r#"Interfaces = "br-ex" and Interfaces =~ "^eth" and Interfaces != "lo" and Interface = "eth0""#,
            "IfDirections = 0 and IfDirections = 1 and IfDirections != 3 and IfDirections > 0",
            r#"TLSTypes = "AppData" and TLSTypes != "Alert" and NetworkEvents =~ "drop""#,
            "with(DstPort) and without(IcmpType)",
            "DstPort = 1 or SrcPort = 33000 and Proto = 6",
        ] {
            assert!(holds(query), "{query}");
        }
        for query in [
            "DstPort != 80",
            r#"SrcAddr = "10.0.0.2""#,
            r#"SrcK8S_Name != "shop-1""#,
            r#"Interfaces != "eth0""#,
            "IfDirections != 1",
            r#"Interfaces !~ "^br""#,
            r#"SrcK8S_Name = "SHOP-1""#,
            r#"SrcK8S_Name = "shop""#,
            "(DstPort = 1 or SrcPort = 33000) and Proto = 17",
        ] {
            assert!(!holds(query), "{query}");
        }
    }

    #[test]
    fn a_missing_field_is_different_and_nothing_else() {
        for query in
            ["IcmpType = 0", "IcmpType != 0", "IcmpType < 9", "IcmpType > -1", r#"DnsName = """#, r#"DnsName =~ """#]
        {
            assert!(!holds(query), "{query}");
        }
        assert!(holds(r#"DnsName != "x""#) && holds(r#"DnsName !~ "x""#));
    }

    #[test]
    fn one_of_several_queries_is_enough() {
        let queries = ["DstPort = 1", "DstPort = 80"].map(|query| Query::parse(query).unwrap());
        let holds = |queries: &[Query]| alone(queries).unwrap().holds(&flow(), &mut Scratch::default());
        assert!(holds(&queries) && !holds(&queries[..1]));
        assert!(alone(&[]).is_none());
    }
}
