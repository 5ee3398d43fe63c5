//! View Problems: twenty situations as records of a capture, ten faults and ten that are none, and what is said of each.

mod support;

use serde_json::{Value, json};
use support::pty::Pty;

const SYN: u32 = 0x02;
const RST_ACK: u32 = 0x414;
const SYN_ACK: u32 = 0x112;
const RESPONSE: u32 = 0x8180;

/// Records between 10.1.N.1 and 10.1.N.2, one after the other.
struct Situation {
    number: usize,
    records: Vec<Value>,
}

impl Situation {
    /// A record to the server or back, with these fields besides.
    fn add(mut self, to_server: bool, port: u16, proto: u8, fields: Value) -> Self {
        let (client, server) = (format!("10.1.{}.1", self.number), format!("10.1.{}.2", self.number));
        let start = 1_709_741_900_000_u64 + 100 * self.records.len() as u64;
        let mut record = if to_server {
            json!({"SrcAddr": client, "SrcPort": 40_000, "DstAddr": server, "DstPort": port})
        } else {
            json!({"SrcAddr": server, "SrcPort": port, "DstAddr": client, "DstPort": 40_000})
        };
        let common = json!({"TimeFlowStartMs": start, "TimeFlowEndMs": start + 50, "Proto": proto, "Etype": 2048,
            "Packets": 1, "Bytes": 60, "Sampling": 1});
        for fields in [common, fields] {
            record.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
        }
        self.records.push(record);
        self
    }

    fn tcp(self, to_server: bool, flags: u32) -> Self {
        self.add(to_server, 5_432, 6, json!({"Flags": flags}))
    }

    fn dropped(self, proto: u8, flags: u32, cause: &str) -> Self {
        let cause = format!("SKB_DROP_REASON_{cause}");
        let fields = json!({"Flags": flags, "PktDropPackets": 3, "PktDropBytes": 180, "PktDropLatestDropCause": cause,
            "PktDropLatestFlags": flags});
        self.add(true, 5_432, proto, fields)
    }

    fn answer(self, name: &str, code: &str) -> Self {
        let fields = json!({"DnsId": 7, "DnsFlags": RESPONSE, "DnsFlagsResponseCode": code, "DnsName": name,
            "DnsLatencyMs": 1});
        self.add(false, 53, 17, fields)
    }

    fn echo(self, to_server: bool, cause: Option<&str>) -> Self {
        let fields = json!({"IcmpType": if to_server { 8 } else { 0 }, "IcmpCode": 0, "SrcPort": 0, "DstPort": 0});
        let mut echo = self.add(to_server, 0, 1, fields);
        if let (Some(record), Some(cause)) = (echo.records.last_mut(), cause) {
            record["PktDropPackets"] = json!(1);
            record["PktDropLatestDropCause"] = json!(format!("SKB_DROP_REASON_{cause}"));
        }
        echo
    }
}

/// What makes a situation, and what is said of it.
type Fault = (fn(Situation) -> Situation, &'static str, &'static str);

const FAULTS: [Fault; 10] = [
    (|it| it.dropped(6, SYN, "NETFILTER_DROP"), "Blocked", "a firewall rule drops every SYN"),
    (|it| it.dropped(17, 0, "NETFILTER_DROP"), "Blocked", "a firewall rule drops packets"),
    (|it| it.dropped(17, 0, "IP_OUTNOROUTES"), "No route", "there is no way to the destination"),
    (|it| it.tcp(true, SYN).tcp(true, SYN), "Unanswered", "no packet came back"),
    (|it| it.tcp(true, SYN).tcp(false, RST_ACK), "Refused", "nothing listens there, or a filter rejects"),
    (|it| it.dropped(17, 0, "NO_SOCKET"), "Refused", "nothing listens there"),
    (
        |it| it.add(true, 53, 17, json!({"DnsErrno": 110, "DnsId": 7, "DnsName": "db.shop"})),
        "DNS",
        "db.shop and got no answer",
    ),
    (|it| it.answer("mail.shop", "ServFail"), "DNS", "mail.shop, and the server answered ServFail"),
    (|it| it.answer("nothing.shop", "NXDomain"), "DNS", "nothing.shop, which does not exist"),
    (|it| it.tcp(true, 0x12).tcp(false, SYN_ACK).tcp(false, RST_ACK), "Broken off", "the server broke off"),
];

const HARMLESS: [fn(Situation) -> Situation; 10] = [
    |it| it.tcp(true, 0x13).tcp(false, 0x113),
    |it| it.echo(true, None).echo(false, Some("NO_SOCKET")),
    |it| it.tcp(true, 0x12).tcp(false, SYN_ACK).dropped(6, 0x10, "TCP_OLD_DATA"),
    |it| {
        it.answer("db.shop.svc.cluster.local", "NXDomain")
            .answer("db.svc.cluster.local", "NXDomain")
            .answer("db", "NoError")
    },
    // A query for an address of IPv6 where there is none of that kind: an answer without a record.
    |it| it.answer("web.shop", "NoError"),
    |it| it.add(true, 123, 17, json!({})).add(false, 123, 17, json!({})),
    |it| it.tcp(true, 0x10).tcp(false, 0x10),
    // A connection that is closed with data unread after both said that they are done.
    |it| it.tcp(true, 0x13).tcp(false, 0x113).tcp(true, 0x04),
    |it| it.dropped(6, 0x10, "NO_SOCKET"),
    |it| it.add(true, 5_432, 6, json!({"Flags": 0x10, "TimeFlowRttNs": 180_000_000})),
];

#[test]
fn ten_faults_have_their_words_and_ten_harmless_situations_have_none() {
    let mut pty = Pty::start(&[], (200, 60));
    let agent = pty.client();
    let all = FAULTS.iter().map(|(make, ..)| *make).chain(HARMLESS);
    for (number, make) in all.enumerate() {
        for record in make(Situation { number, records: Vec::new() }).records {
            agent.send_generic(&record.to_string()).expect("an accepted record");
        }
    }
    pty.press("2");
    let says = |screen: &str, number: usize, (_, word, what): &Fault| {
        let ends = format!("10.1.{number}.1 → 10.1.{number}.2");
        screen.lines().any(|line| line.starts_with(word) && line.contains(&ends) && line.contains(what))
    };
    pty.wait_until("all that is wrong", |screen| {
        screen.contains("10 problems") && FAULTS.iter().enumerate().all(|(number, fault)| says(screen, number, fault))
    });
    // The worst first: what is blocked or unanswered before what is refused, and a name that does not exist after that.
    let screen = pty.text();
    let place = |text: &str| screen.find(text).unwrap_or_else(|| panic!("{text}:\n{screen}"));
    assert!(place("a firewall rule drops every SYN") < place("no packet came back"));
    assert!(place("no packet came back") < place("nothing listens there, or"));
    assert!(place("nothing listens there, or") < place("which does not exist"));
    let (hints, problems): (Vec<&str>, Vec<&str>) = screen.lines().partition(|line| line.starts_with("  Hint: "));
    assert!(matches!(hints[..], [hint] if hint.contains("names asked for each answer")), "{screen}");
    for number in FAULTS.len()..FAULTS.len() + HARMLESS.len() {
        let screen = problems.join("\n");
        assert!(!screen.contains(&format!("10.1.{number}.")), "{number} is harmless:\n{screen}");
    }
}

#[test]
fn a_scan_is_one_line() {
    let mut pty = Pty::start(&[], (160, 40));
    let agent = pty.client();
    for port in 1..=60 {
        let situation = Situation { number: 1, records: Vec::new() };
        let scan = situation.add(true, port, 6, json!({"Flags": SYN})).add(false, port, 6, json!({"Flags": RST_ACK}));
        for record in scan.records {
            agent.send_generic(&record.to_string()).expect("an accepted record");
        }
    }
    pty.press("2");
    pty.wait_until("one line for all ports", |screen| {
        let is_scan = |line: &str| line.starts_with("Scan") && line.contains("10.1.1.1 → 10.1.1.2 ");
        screen.contains("1 problem")
            && screen.lines().any(|line| is_scan(line) && line.contains("tried 60 closed ports in 1 s"))
    });
}
