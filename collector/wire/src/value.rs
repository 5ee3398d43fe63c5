//! A field's value on its way to a file: borrowed from the record, written without an allocation.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};

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
            Value::Ip(IpAddr::V6(address)) => write!(out, "{address}").unwrap_or_default(),
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

fn append_mac(mac: Mac, out: &mut Vec<u8>) {
    for (index, byte) in mac.into_iter().enumerate() {
        if index > 0 {
            out.push(b':');
        }
        append_hex(byte, out);
    }
}

fn append_hex(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
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
        for text in ["0.0.0.0", "10.0.123.255", "::", "fe80::1", "::ffff:10.0.0.1"] {
            let address: IpAddr = text.parse().unwrap();
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
