//! A field's value on its way to a file: borrowed from the record, written without an allocation.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::flow::{Interface, Mac};
use crate::names::TLS_TYPES;

/// What a field of one record holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// The record does not have this field.
    Absent,
    /// A number.
    Int(i64),
    /// A text.
    Text(&'a str),
    /// A text: an address.
    Ip(IpAddr),
    /// A text: a MAC address.
    Mac(Mac),
    /// A list: the names of these interfaces.
    Names(&'a [Interface]),
    /// A list: the directions of these interfaces.
    Directions(&'a [Interface]),
    /// A list: the networks of these interfaces.
    Udns(&'a [Interface]),
    /// A list: the names of the TLS record types in these bits.
    TlsTypes(u8),
    /// JSON, as its text.
    Json(&'a str),
}

impl Value<'_> {
    /// Appends the value as JSON. Nothing is appended for an absent value.
    pub fn append_json(&self, out: &mut Vec<u8>) {
        match *self {
            Value::Absent => {}
            Value::Int(number) => out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes()),
            Value::Text(text) => append_quoted(text, out),
            Value::Ip(_) | Value::Mac(_) => {
                out.push(b'"');
                self.append_text(out);
                out.push(b'"');
            }
            _ => self.append_text(out),
        }
    }

    /// Appends the value as plain text: texts without quotes, lists as JSON.
    pub fn append_text(&self, out: &mut Vec<u8>) {
        match *self {
            Value::Absent => {}
            Value::Int(_) => self.append_json(out),
            Value::Text(text) | Value::Json(text) => out.extend_from_slice(text.as_bytes()),
            Value::Ip(IpAddr::V4(address)) => append_ipv4(address, out),
            Value::Ip(IpAddr::V6(address)) => append_ipv6(address, out),
            Value::Mac(mac) => append_mac(mac, out),
            Value::Names(list) => append_list(list, out, |interface, out| append_quoted(&interface.name, out)),
            Value::Udns(list) => append_list(list, out, |interface, out| append_quoted(&interface.udn, out)),
            Value::Directions(list) => {
                append_list(list, out, |interface, out| Value::Int(interface.direction.into()).append_json(out));
            }
            Value::TlsTypes(bits) => {
                let set = TLS_TYPES.iter().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1).map(|(_, name)| name);
                append_list(set, out, |name, out| append_quoted(name, out));
            }
        }
    }
}

/// Appends `text` as a JSON string.
pub fn append_quoted(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        out.extend_from_slice(&rest[..at]);
        append_escaped(rest[at], out);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

fn append_escaped(byte: u8, out: &mut Vec<u8>) {
    match byte {
        b'"' => out.extend_from_slice(b"\\\""),
        b'\\' => out.extend_from_slice(b"\\\\"),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        _ => {
            out.extend_from_slice(b"\\u00");
            append_hex(byte, out);
        }
    }
}

fn append_list<T>(list: impl IntoIterator<Item = T>, out: &mut Vec<u8>, append: impl Fn(T, &mut Vec<u8>)) {
    out.push(b'[');
    for (index, item) in list.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        append(item, out);
    }
    out.push(b']');
}

fn append_ipv4(address: Ipv4Addr, out: &mut Vec<u8>) {
    for (index, octet) in address.octets().into_iter().enumerate() {
        if index > 0 {
            out.push(b'.');
        }
        out.extend_from_slice(itoa::Buffer::new().format(octet).as_bytes());
    }
}

/// As the standard library does (RFC 5952), in a third of the time: the longest run of zeros is left out.
fn append_ipv6(address: Ipv6Addr, out: &mut Vec<u8>) {
    if address.to_ipv4_mapped().is_some() {
        return write!(out, "{address}").unwrap_or_default();
    }
    let segments = address.segments();
    let (mut zeros, mut run) = (0..0, 0..0);
    for (index, segment) in segments.iter().enumerate() {
        run = if *segment == 0 { run.start..index + 1 } else { index + 1..index + 1 };
        if run.len() > zeros.len().max(1) {
            zeros = run.clone();
        }
    }
    for (index, segment) in segments.into_iter().enumerate() {
        if zeros.contains(&index) {
            if index == zeros.start {
                out.extend_from_slice(b"::");
            }
            continue;
        }
        if index > 0 && index != zeros.end {
            out.push(b':');
        }
        append_short_hex(segment, out);
    }
}

/// Without zeros in front.
fn append_short_hex(number: u16, out: &mut Vec<u8>) {
    let nibbles = (16 - number.leading_zeros()).div_ceil(4).max(1);
    (0..nibbles).rev().for_each(|nibble| out.push(DIGITS[usize::from(number >> (4 * nibble) & 0xf)]));
}

fn append_mac(mac: Mac, out: &mut Vec<u8>) {
    for (index, byte) in mac.into_iter().enumerate() {
        if index > 0 {
            out.push(b':');
        }
        append_hex(byte, out);
    }
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

fn append_hex(byte: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 0xf)]]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(value: Value) -> String {
        let mut out = Vec::new();
        value.append_json(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn texts_are_escaped_as_json_wants() {
        for text in ["", "eth0", "a\"b\\c", "line\nfeed\r\ttab", "\u{1}\u{1f}\u{7f}", "é漢🦀"] {
            let parsed: String = serde_json::from_str(&json(Value::Text(text))).unwrap();
            assert_eq!(parsed, text);
        }
    }

    #[test]
    fn addresses_are_written_as_the_standard_library_does() {
        for text in ["0.0.0.0", "10.0.123.255", "::", "::1", "1::", "fe80::1", "::ffff:10.0.0.1", "1:0:2:0:0:3:0:0"] {
            let address: IpAddr = text.parse().unwrap();
            assert_eq!(json(Value::Ip(address)), format!("\"{address}\""));
        }
        // Each segment 0 or not, in every combination, with numbers of all lengths.
        for zeros in 0..256_u16 {
            let segment = |index: u16| if zeros >> index & 1 == 1 { 0 } else { 0xfedc_u16 >> (index % 4 * 4) };
            let address = IpAddr::from(std::array::from_fn(|index| segment(index as u16)) as [u16; 8]);
            assert_eq!(json(Value::Ip(address)), format!("\"{address}\""));
        }
        assert_eq!(json(Value::Mac([0, 0x1f, 0xa0, 9, 0xff, 1])), "\"00:1f:a0:09:ff:01\"");
    }

    #[test]
    fn lists_are_json_in_either_form() {
        let eth0 = Interface { name: "eth0".into(), udn: "".into(), direction: 1 };
        let list = [eth0.clone(), Interface { direction: 0, ..eth0 }];
        assert_eq!(json(Value::Names(&list)), r#"["eth0","eth0"]"#);
        assert_eq!(json(Value::Directions(&list)), "[1,0]");
        assert_eq!(json(Value::Udns(&list)), r#"["",""]"#);
        assert_eq!(json(Value::TlsTypes(0b10_0001)), r#"["ClientHello","AppData"]"#);
        assert_eq!(json(Value::Names(&[])), "[]");
    }

    #[test]
    fn numbers_keep_their_sign() {
        assert_eq!(json(Value::Int(i64::MAX)), i64::MAX.to_string());
        assert_eq!(json(Value::Int(-22)), "-22");
    }
}
