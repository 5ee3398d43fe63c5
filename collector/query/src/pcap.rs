//! Conditions in the language of pcap filters: `tcp port 80`, `src net 10.0.0.0/8`, `vlan 5`. A subset: what is not understood is
//! refused with its place.

use std::net::IpAddr;
use std::ops::Range;

use netobserv_contract::selector::Kind as Selected;

use crate::cursor::{Asked, Cursor};
use crate::error::Wrong;
use crate::expr::Used;
use crate::expr::{End, Expr, Order, Part};
use crate::fields::FieldId;
use crate::lex::Token;
use crate::network::Network;
use crate::vocabulary::{KINDS, PROTOCOLS, is_word};
use crate::{compare, units};

pub(crate) const SRC_ADDR: FieldId = FieldId::of("SrcAddr");
pub(crate) const DST_ADDR: FieldId = FieldId::of("DstAddr");
pub(crate) const SRC_PORT: FieldId = FieldId::of("SrcPort");
pub(crate) const DST_PORT: FieldId = FieldId::of("DstPort");
pub(crate) const SRC_MAC: FieldId = FieldId::of("SrcMac");
pub(crate) const DST_MAC: FieldId = FieldId::of("DstMac");
pub(crate) const PROTO: FieldId = FieldId::of("Proto");
pub(crate) const ETYPE: FieldId = FieldId::of("Etype");
const BYTES: FieldId = FieldId::of("Bytes");

/// EtherTypes (IEEE 802 numbers).
pub(crate) const IPV4: i64 = 0x0800;
pub(crate) const IPV6: i64 = 0x86dd;
const ARP: i64 = 0x0806;

/// Words of pcap filters that are not in the subset, and what to do.
const REFUSED: [(&str, &str); 12] = [
    ("broadcast", "write ether dst ff:ff:ff:ff:ff:ff"),
    ("multicast", "write dst net 224.0.0.0/4 or dst net ff00::/8"),
    ("gateway", "write ether host with the address of the gateway"),
    ("mask", "write net with a length, such as net 10.0.0.0/8"),
    ("inbound", "use --direction=Ingress"),
    ("outbound", "use --direction=Egress"),
    ("rarp", "leave it out"),
    ("mpls", "leave it out"),
    ("pppoes", "leave it out"),
    ("geneve", "leave it out"),
    ("igmp", "write ip proto igmp"),
    ("protochain", "write ip6 proto"),
];

/// Refuses a word of the language of pcap that is not understood here.
pub(crate) fn refusal(name: &str, at: &Range<usize>) -> Option<Wrong> {
    let (word, instead) = REFUSED.iter().find(|(word, _)| word.eq_ignore_ascii_case(name))?;
    Some(Wrong::new(at.clone(), format!("{word} is not understood here: {instead}")))
}

/// A condition whose first word, at `at`, is one of [`is_word`].
pub(crate) fn condition(cursor: &mut Cursor<'_>, at: Range<usize>) -> Result<Expr, Wrong> {
    cursor.primitives += 1;
    let (mut asked, mut word, mut at) = (Asked::default(), cursor.query[at.clone()].to_ascii_lowercase(), at);
    match word.as_str() {
        "vlan" => return vlan(cursor, at),
        "less" | "greater" => return length(cursor, &word),
        _ => {}
    }
    if PROTOCOLS.contains(&word.as_str()) {
        let goes_on = cursor.peek_name().is_some_and(|next| is_end(next) || kind(next).is_some());
        if !goes_on {
            return whole_protocol(cursor, &word, at);
        }
        asked.proto = Some(word);
        (word, at) = next_name(cursor)?;
    }
    if let Some(end) = end(&word) {
        asked.end = Some(ends(cursor, end));
        if let Some(Token::Tagged(..)) = cursor.peek() {
            return named_end(cursor, &asked, at);
        }
        match cursor.peek_name().and_then(kind) {
            Some(kind) => {
                asked.kind = Some(kind);
                (_, at) = next_name(cursor)?;
            }
            None if matches!(cursor.peek(), Some(Token::Name)) => {
                let (_, at) = cursor.take("")?;
                return Err(Wrong::new(at, "host, net, port, portrange or an address is wanted here"));
            }
            None => {}
        }
    } else {
        asked.kind = kind(&word);
    }
    check(&asked, &at)?;
    values(cursor, asked)
}

fn next_name(cursor: &mut Cursor<'_>) -> Result<(String, Range<usize>), Wrong> {
    let (_, at) = cursor.take("")?;
    Ok((cursor.query[at.clone()].to_ascii_lowercase(), at))
}

fn kind(name: &str) -> Option<&'static str> {
    KINDS.into_iter().find(|kind| kind.eq_ignore_ascii_case(name))
}

fn end(name: &str) -> Option<End> {
    match name.to_ascii_lowercase().as_str() {
        "src" => Some(End::Src),
        "dst" => Some(End::Dst),
        _ => None,
    }
}

fn is_end(name: &str) -> bool {
    end(name).is_some()
}

/// `src or dst` is either of both.
fn ends(cursor: &mut Cursor<'_>, first: End) -> End {
    let both = cursor
        .peek_two_names()
        .is_some_and(|(or, other)| or.eq_ignore_ascii_case("or") && end(other).is_some_and(|other| other != first));
    if both {
        cursor.skip(2);
    }
    if both { End::Either } else { first }
}

/// A protocol and nothing behind it.
fn whole_protocol(cursor: &mut Cursor<'_>, word: &str, at: Range<usize>) -> Result<Expr, Wrong> {
    if matches!(cursor.peek(), Some(Token::Number(_) | Token::Word)) {
        let (_, at) = cursor.take("")?;
        let kind = if matches!(word, "tcp" | "udp" | "sctp") { "port" } else { "host" };
        return Err(Wrong::new(at, format!("{kind} is missing before this: write {word} {kind} ...")));
    }
    if word == "ether" {
        return Err(Wrong::new(at, "write ether host, ether src or ether dst with an address"));
    }
    cursor.last = None;
    Ok(protocol(cursor, word, &at))
}

/// The packets of a protocol.
fn protocol(cursor: &mut Cursor<'_>, word: &str, at: &Range<usize>) -> Expr {
    let etype = |number| Expr::Number(ETYPE, Order::Equal, number);
    let proto = |number| Expr::Number(PROTO, Order::Equal, number);
    let (field, expr) = match word {
        "ip" => (ETYPE, etype(IPV4)),
        "ip6" => (ETYPE, etype(IPV6)),
        "arp" => (ETYPE, etype(ARP)),
        "icmp" => (PROTO, Expr::All(vec![etype(IPV4), proto(1)])),
        "icmp6" => (PROTO, Expr::All(vec![etype(IPV6), proto(58)])),
        other => (PROTO, proto(units::named(PROTO, other).unwrap_or(-1))),
    };
    cursor.used(Used::Field(field), at.clone());
    expr
}

/// Refuses words that do not go together.
fn check(asked: &Asked, at: &Range<usize>) -> Result<(), Wrong> {
    let proto = asked.proto.as_deref().unwrap_or_default();
    let kind = asked.kind.unwrap_or("host");
    let allowed: &[&str] = match kind {
        "port" | "portrange" => &["", "tcp", "udp", "sctp"],
        "proto" => &["", "ip", "ip6"],
        "net" => &["", "ip", "ip6"],
        _ => &["", "ip", "ip6", "ether"],
    };
    if proto == "arp" {
        return Err(Wrong::new(at.clone(), "addresses in ARP packets cannot be compared: write arp alone"));
    }
    if kind == "proto" && asked.end.is_some() {
        return Err(Wrong::new(at.clone(), "a protocol has no direction: leave src or dst out"));
    }
    let good = allowed.contains(&proto);
    if good { Ok(()) } else { Err(Wrong::new(at.clone(), format!("{proto} does not go with {kind}"))) }
}

/// One value, or several in parentheses.
fn values(cursor: &mut Cursor<'_>, asked: Asked) -> Result<Expr, Wrong> {
    let open = match cursor.peek() {
        Some(Token::Open) => cursor.take("")?.1,
        _ => {
            let (token, at) = cursor.take(&format!("{} is missing here", wanted(&asked)))?;
            return value(cursor, asked, &token, at);
        }
    };
    let mut exprs = vec![];
    loop {
        let (token, at) = cursor.take(&format!("{} is missing here", wanted(&asked)))?;
        exprs.push(value(cursor, asked.clone(), &token, at)?);
        if !cursor.took_keyword("or") {
            break;
        }
    }
    cursor.close(open)?;
    Ok(Expr::any(exprs))
}

fn wanted(asked: &Asked) -> &'static str {
    match asked.kind {
        Some("port") => "the number of a port",
        Some("portrange") => "a range of ports, such as 80-90,",
        Some("net") => "a network, such as 10.0.0.0/8,",
        Some("proto") => "the number of a protocol",
        _ if asked.proto.as_deref() == Some("ether") => "a MAC address",
        _ => "an address",
    }
}

/// A value without a word before it: an address, or one more of what came before.
pub(crate) fn bare(cursor: &mut Cursor<'_>, at: Range<usize>) -> Result<Expr, Wrong> {
    let text = &cursor.query[at.clone()];
    let address = text.parse::<IpAddr>().is_ok() || Network::parse(text).is_some();
    cursor.primitives += 1;
    let asked = match cursor.last.clone() {
        Some(asked) => asked,
        None if address => Asked::default(),
        None => {
            let what = format!("{text} is no condition: write a field or a word such as port before it");
            return Err(Wrong::new(at, what));
        }
    };
    // `host 10.0.0.1 or 10.1.0.0/16`
    let asked = match asked.kind {
        Some("host" | "net") | None if address => Asked { kind: None, ..asked },
        _ => asked,
    };
    value(cursor, asked, &Token::Word, at)
}

fn value(cursor: &mut Cursor<'_>, asked: Asked, token: &Token, at: Range<usize>) -> Result<Expr, Wrong> {
    let text = cursor.query[at.clone()].to_owned();
    let wrong = |at: Range<usize>| Wrong::new(at, format!("{} is wanted here", wanted(&asked)));
    if *token == Token::Name {
        return Err(by_name(&asked, &text, at));
    }
    if !matches!(token, Token::Number(_) | Token::Word) {
        return Err(wrong(at));
    }
    let ethernet = asked.proto.as_deref() == Some("ether");
    let made = match asked.kind {
        Some("port") => port(&text).map(|port| ports(&asked, port, port)),
        Some("portrange") => text.split_once('-').and_then(|(first, last)| {
            let (first, last) = (port(first)?, port(last)?);
            (first <= last).then(|| ports(&asked, first, last))
        }),
        Some("proto") => text.parse::<u8>().ok().map(|number| Expr::Number(PROTO, Order::Equal, number.into())),
        Some("net") => network(&text, &at)?.map(|network| addresses(&asked, network)),
        _ if ethernet => compare::is_mac(&text).then(|| macs(&asked, &text)),
        Some(_) => text.parse().ok().map(|address| addresses(&asked, Network::host(address))),
        // Without a word, either of both.
        None => match text.parse() {
            Ok(address) => Some(addresses(&asked, Network::host(address))),
            Err(_) => network(&text, &at)?.filter(|_| text.contains('/')).map(|network| addresses(&asked, network)),
        },
    };
    let expr = made.ok_or_else(|| wrong(at.clone()))?;
    let expr = match asked.proto.as_deref().filter(|_| !ethernet) {
        Some(proto) => Expr::All(vec![protocol(cursor, proto, &at), expr]),
        None => expr,
    };
    let used = match asked.kind {
        Some("port" | "portrange") => SRC_PORT,
        Some("proto") => PROTO,
        _ if ethernet => SRC_MAC,
        _ => SRC_ADDR,
    };
    cursor.used(Used::Field(used), at);
    cursor.last = Some(asked);
    Ok(expr)
}

/// Refuses a name where a number or an address stands.
fn by_name(asked: &Asked, text: &str, at: Range<usize>) -> Wrong {
    let why = match asked.kind {
        Some("port" | "portrange") => "names of ports are not looked up: write the number".to_owned(),
        Some("proto") => "write the number of the protocol".to_owned(),
        Some("net") => "names of networks are not looked up: write the address".to_owned(),
        _ => format!("names of hosts are not looked up: write the address, or pod:{text}, svc:{text}"),
    };
    let known = is_word(text);
    let keyword = ["and", "or", "not"].iter().any(|word| word.eq_ignore_ascii_case(text));
    Wrong::new(at, if known || keyword { format!("{} is missing before this", wanted(asked)) } else { why })
}

fn port(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// `10.0.0.0/8`, or the first parts of an IPv4 address. Bits behind the length are a mistake.
fn network(text: &str, at: &Range<usize>) -> Result<Option<Network>, Wrong> {
    if let Some(network) = Network::parse(text) {
        let exact = text.split('/').next().and_then(|address| address.parse::<IpAddr>().ok());
        let all = network.to_string();
        let begins = all.split('/').next().and_then(|address| address.parse::<IpAddr>().ok());
        let good = exact == begins;
        let why = || {
            Wrong::new(at.clone(), format!("this has bits behind its length: write {all}, or host with the address"))
        };
        return if good { Ok(Some(network)) } else { Err(why()) };
    }
    let parts: Vec<&str> = text.split('.').collect();
    let good = parts.len() <= 4 && parts.iter().all(|part| port(part).is_some_and(|part| part < 256));
    let whole = [parts.join("."), vec!["0"; 4 - parts.len().min(4)].join(".")].join(".");
    Ok(Network::parse(&format!("{}/{}", whole.trim_end_matches('.'), parts.len() * 8)).filter(|_| good))
}

/// A condition on the sender, the receiver, or one of both.
fn either(asked: &Asked, src: Expr, dst: Expr) -> Expr {
    match asked.end {
        Some(End::Src) => src,
        Some(End::Dst) => dst,
        _ => Expr::Any(vec![src, dst]),
    }
}

fn addresses(asked: &Asked, network: Network) -> Expr {
    either(asked, Expr::Within(SRC_ADDR, network), Expr::Within(DST_ADDR, network))
}

fn macs(asked: &Asked, text: &str) -> Expr {
    let mac = |field| Expr::Text(field, true, vec![Part::Literal(text.to_owned())]);
    either(asked, mac(SRC_MAC), mac(DST_MAC))
}

fn ports(asked: &Asked, first: u16, last: u16) -> Expr {
    let range = |field| match first == last {
        true => Expr::Number(field, Order::Equal, first.into()),
        false => Expr::All(vec![
            Expr::Number(field, Order::AtLeast, first.into()),
            Expr::Number(field, Order::AtMost, last.into()),
        ]),
    };
    either(asked, range(SRC_PORT), range(DST_PORT))
}

/// `src pod:shop/web`
fn named_end(cursor: &mut Cursor<'_>, asked: &Asked, before: Range<usize>) -> Result<Expr, Wrong> {
    let (token, at) = cursor.take("")?;
    let Token::Tagged(length, value) = token else { return Err(Wrong::new(at, "a name is wanted here")) };
    let name = cursor.query[at.start..at.start + length].to_ascii_lowercase();
    if asked.proto.is_some() {
        return Err(Wrong::new(at, "write the protocol as a condition of its own: tcp and src pod:..."));
    }
    let value_at = at.start + length + 1..at.end;
    match Selected::of_option(&name) {
        Some(kind) => {
            let end = asked.end.unwrap_or(End::Either);
            compare::named(cursor, end, kind, &value, (before.start..at.end, value_at))
        }
        None => {
            Err(Wrong::new(at, format!("src and dst go with what a cluster has, and with addresses; not with {name}:")))
        }
    }
}

fn vlan(cursor: &mut Cursor<'_>, at: Range<usize>) -> Result<Expr, Wrong> {
    cursor.used(Used::Vlan, at);
    cursor.last = None;
    if !matches!(cursor.peek(), Some(Token::Number(_) | Token::Word)) {
        return Ok(Expr::Vlan(None));
    }
    let (_, at) = cursor.take("")?;
    let number = port(&cursor.query[at.clone()]).filter(|number| *number < 4096);
    number.map(|number| Expr::Vlan(Some(number))).ok_or_else(|| Wrong::new(at, "the number of a VLAN is at most 4095"))
}

fn length(cursor: &mut Cursor<'_>, word: &str) -> Result<Expr, Wrong> {
    let (token, at) = cursor.take("a number of bytes is missing here")?;
    let Token::Number(bytes) = token else { return Err(Wrong::new(at, "a number of bytes is wanted here")) };
    cursor.used(Used::Field(BYTES), at);
    cursor.last = None;
    Ok(Expr::Number(BYTES, if word == "less" { Order::AtMost } else { Order::AtLeast }, bytes))
}
