//! What is shown of the content: DNS, the first line of HTTP, and the kinds of TLS records with the name that a client asks for.

use std::net::{Ipv4Addr, Ipv6Addr};

use netobserv_wire::names::dns_rcode;

use super::{Decoder, Next};

/// Ports of DNS and of multicast DNS.
const DNS: [u16; 2] = [53, 5353];
/// Answers that are shown.
const MOST_ANSWERS: u16 = 8;
/// A name has 255 bytes at most; this many pointers in it are a loop.
const MOST_POINTERS: usize = 16;
/// Longest first line that is shown.
const LONGEST_LINE: usize = 200;
/// TLS (RFC 8446): the record of a handshake, its first message, and the extension with the server's name.
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;

impl Decoder<'_> {
    pub(super) fn stream(&mut self, src: u16, dst: u16) -> Option<Next> {
        let left = self.left();
        if left.is_empty() {
            return None;
        }
        if DNS.contains(&src) || DNS.contains(&dst) {
            // Over TCP the length comes first.
            self.dns(2)?;
        } else if let Some(line) = http_line(left) {
            let fields = vec![("First line", line.clone())];
            self.add("HTTP", left.len(), line, fields);
        } else if is_tls(left) {
            self.tls();
        }
        Some(Next::Data)
    }

    pub(super) fn datagram(&mut self, src: u16, dst: u16) -> Option<Next> {
        if DNS.contains(&src) || DNS.contains(&dst) {
            self.dns(0)?;
        }
        Some(Next::Data)
    }

    fn dns(&mut self, prefix: usize) -> Option<()> {
        let message = self.left().get(prefix..)?;
        let word = |at: usize| Some(u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?));
        let (id, flags, questions, answers) = (word(0)?, word(2)?, word(4)?, word(6)?);
        let (mut at, mut asked) = (12, String::new());
        for _ in 0..questions.min(1) {
            let (name, behind) = dns_name(message, at)?;
            asked = format!("{} {name}", record_type(word(behind)?));
            at = behind + 4;
        }
        let is_answer = flags & 0x8000 != 0;
        let code = dns_rcode(flags.into()).to_string();
        let mut fields = vec![("Id", format!("{id:#06x}")), ("Question", asked.clone())];
        let mut found = Vec::new();
        if is_answer {
            fields.push(("Code", code.clone()));
            found = dns_answers(message, at, answers.min(MOST_ANSWERS)).unwrap_or_default();
            fields.push(("Answers", answers.to_string()));
            fields.extend(found.iter().map(|answer| ("Answer", answer.clone())));
        }
        let info = match (is_answer, found.first()) {
            (false, _) => format!("query {asked}"),
            (true, Some(first)) => format!("{code} {asked}: {first}"),
            (true, None) => format!("{code} {asked}"),
        };
        self.add("DNS", self.left().len(), info, fields);
        Some(())
    }

    fn tls(&mut self) {
        let left = self.left();
        let length = usize::from(u16::from_be_bytes([left[3], left[4]])) + 5;
        let name = record_name(left);
        let mut fields = vec![("Record", name.clone()), ("Version", format!("{}.{}", left[1], left[2]))];
        let server = client_hello_name(left);
        let info = match &server {
            Some(server) => format!("{name} for {server}"),
            None => name,
        };
        fields.extend(server.map(|server| ("Server name", server)));
        fields.push(("Length", length.to_string()));
        self.add("TLS", left.len(), info, fields);
    }
}

/// The first line of a request or a response.
fn http_line(bytes: &[u8]) -> Option<String> {
    const BEGINNINGS: [&[u8]; 10] = [
        b"GET ",
        b"POST ",
        b"PUT ",
        b"HEAD ",
        b"DELETE ",
        b"PATCH ",
        b"OPTIONS ",
        b"CONNECT ",
        b"HTTP/1.",
        b"PRI * HTTP/2",
    ];
    BEGINNINGS.iter().find(|beginning| bytes.starts_with(beginning))?;
    let end = bytes.iter().position(|byte| *byte == b'\r' || *byte == b'\n').unwrap_or(bytes.len());
    Some(printable(&bytes[..end.min(LONGEST_LINE)]))
}

/// Text without anything that a terminal would obey.
fn printable(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '.' }).collect()
}

fn is_tls(bytes: &[u8]) -> bool {
    matches!(bytes, [20..=23, 3, 0..=4, _, _, ..])
}

fn record_name(record: &[u8]) -> String {
    let name = match (record[0], record.get(5)) {
        (20, _) => "change cipher spec",
        (21, _) => "alert",
        (23, _) => "application data",
        (HANDSHAKE, Some(1)) => "client hello",
        (HANDSHAKE, Some(2)) => "server hello",
        (HANDSHAKE, Some(11)) => "certificate",
        (HANDSHAKE, Some(16)) => "client key exchange",
        _ => "handshake",
    };
    name.into()
}

/// The server's name in the extensions of a client hello.
fn client_hello_name(record: &[u8]) -> Option<String> {
    if record[0] != HANDSHAKE || *record.get(5)? != CLIENT_HELLO {
        return None;
    }
    // Record head, message head, version and random stand before the session's identity.
    let mut at = 5 + 4 + 2 + 32;
    let u16_at = |at: usize| Some(usize::from(u16::from_be_bytes(record.get(at..at + 2)?.try_into().ok()?)));
    at += 1 + usize::from(*record.get(at)?);
    at += 2 + u16_at(at)?;
    at += 1 + usize::from(*record.get(at)?);
    let end = at + 2 + u16_at(at)?;
    at += 2;
    while at + 4 <= end {
        let (kind, length) = (u16_at(at)?, u16_at(at + 2)?);
        if kind == usize::from(SERVER_NAME) {
            let name = u16_at(at + 7)?;
            return Some(printable(record.get(at + 9..at + 9 + name)?));
        }
        at += 4 + length;
    }
    None
}

/// A name at `at`, and where it ends.
fn dns_name(message: &[u8], mut at: usize) -> Option<(String, usize)> {
    let (mut name, mut behind, mut pointers) = (String::new(), None, 0);
    loop {
        let length = *message.get(at)?;
        match length {
            0 => break,
            0xc0.. => {
                pointers += 1;
                if pointers > MOST_POINTERS {
                    return None;
                }
                behind.get_or_insert(at + 2);
                at = usize::from(length & 0x3f) << 8 | usize::from(*message.get(at + 1)?);
            }
            _ => {
                let label = message.get(at + 1..at + 1 + usize::from(length))?;
                name.push_str(&printable(label));
                name.push('.');
                at += 1 + usize::from(length);
            }
        }
    }
    let name = if name.is_empty() { ".".into() } else { name.trim_end_matches('.').to_owned() };
    Some((name, behind.unwrap_or(at + 1)))
}

fn dns_answers(message: &[u8], mut at: usize, answers: u16) -> Option<Vec<String>> {
    let mut found = Vec::new();
    for _ in 0..answers {
        let (_, behind) = dns_name(message, at)?;
        let head: [u8; 10] = message.get(behind..behind + 10)?.try_into().ok()?;
        let (kind, length) = (u16::from_be_bytes([head[0], head[1]]), u16::from_be_bytes([head[8], head[9]]));
        let data = message.get(behind + 10..behind + 10 + usize::from(length))?;
        let value = match kind {
            1 => <[u8; 4]>::try_from(data).ok().map(|address| Ipv4Addr::from(address).to_string()),
            28 => <[u8; 16]>::try_from(data).ok().map(|address| Ipv6Addr::from(address).to_string()),
            2 | 5 | 12 => dns_name(message, behind + 10).map(|(name, _)| name),
            _ => None,
        };
        let value = value.unwrap_or_else(|| format!("{length} bytes"));
        found.push(format!("{} {value}", record_type(kind)));
        at = behind + 10 + usize::from(length);
    }
    Some(found)
}

/// Types of records (IANA).
fn record_type(number: u16) -> String {
    let name = match number {
        1 => "A",
        2 => "NS",
        5 => "CNAME",
        6 => "SOA",
        12 => "PTR",
        15 => "MX",
        16 => "TXT",
        28 => "AAAA",
        33 => "SRV",
        65 => "HTTPS",
        255 => "ANY",
        _ => return format!("type {number}"),
    };
    name.into()
}
