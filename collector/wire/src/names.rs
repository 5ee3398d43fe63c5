//! Names of the numbers in a record, as the flow files spell them.

use compact_str::{CompactString, ToCompactString, format_compact};

/// Names of the bits in a record's TLS record types, lowest bit first.
pub const TLS_TYPES: [&str; 6] = ["ClientHello", "ServerHello", "OtherHandshake", "ChangeCipher", "Alert", "AppData"];

/// Name of the response code in the low four bits of DNS flags (RFC 1035, 2136).
pub fn dns_rcode(flags: u32) -> CompactString {
    let name = match flags & 0xf {
        0 => "NoError",
        1 => "FormErr",
        2 => "ServFail",
        3 => "NXDomain",
        4 => "NotImp",
        5 => "Refused",
        6 => "YXDomain",
        7 => "YXRRSet",
        8 => "NXRRSet",
        9 => "NotAuth",
        10 => "NotZone",
        _ => "UnDefined",
    };
    CompactString::const_new(name)
}

/// Name of a kernel TCP state (include/net/tcp_states.h).
pub fn tcp_state(state: u32) -> CompactString {
    let name = match state {
        1 => "TCP_ESTABLISHED",
        2 => "TCP_SYN_SENT",
        3 => "TCP_SYN_RECV",
        4 => "TCP_FIN_WAIT1",
        5 => "TCP_FIN_WAIT2",
        6 => "TCP_TIME_WAIT",
        7 => "TCP_CLOSE",
        8 => "TCP_CLOSE_WAIT",
        9 => "TCP_LAST_ACK",
        10 => "TCP_LISTEN",
        11 => "TCP_CLOSING",
        12 => "TCP_NEW_SYN_RECV",
        _ => "TCP_INVALID_STATE",
    };
    CompactString::const_new(name)
}

/// A drop reason of the kernel, as its number: the names differ from kernel to kernel, and only the agent can tell them.
pub fn drop_cause(cause: u32) -> CompactString {
    cause.to_compact_string()
}

/// Name of a TLS version, with "~ " before it when the two sides named different ones.
pub fn tls_version(version: u32, mismatch: bool) -> CompactString {
    let name = match version {
        0x0300 => "SSLv3",
        0x0301 => "TLS 1.0",
        0x0302 => "TLS 1.1",
        0x0303 => "TLS 1.2",
        0x0304 => "TLS 1.3",
        other => return format_compact!("{}{}", if mismatch { "~ " } else { "" }, hex4(other)),
    };
    if mismatch { format_compact!("~ {name}") } else { CompactString::const_new(name) }
}

/// Name of a TLS cipher suite (IANA registry; the suites of TLS 1.3 and the usual ones of 1.2), else its number.
pub fn tls_cipher_suite(suite: u32) -> CompactString {
    CompactString::const_new(match suite {
        0x1301 => "TLS_AES_128_GCM_SHA256",
        0x1302 => "TLS_AES_256_GCM_SHA384",
        0x1303 => "TLS_CHACHA20_POLY1305_SHA256",
        0xc009 => "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
        0xc00a => "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
        0xc013 => "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
        0xc014 => "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
        0xc02b => "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        0xc02c => "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        0xc02f => "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        0xc030 => "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        0xcca8 => "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        0xcca9 => "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        other => return hex4(other),
    })
}

/// Name of a TLS key exchange group (IANA registry), else its number.
pub fn tls_group(group: u32) -> CompactString {
    CompactString::const_new(match group {
        23 => "CurveP256",
        24 => "CurveP384",
        25 => "CurveP521",
        29 => "X25519",
        30 => "X448",
        4587 => "SecP256r1MLKEM768",
        4588 => "X25519MLKEM768",
        4589 => "SecP384r1MLKEM1024",
        other => return hex4(other),
    })
}

/// Name of a QUIC version as it is on the wire (RFC 9000, 9369), else its number.
pub fn quic_version(version: u32) -> CompactString {
    match version {
        1 => CompactString::const_new("QUIC v1"),
        0x6b33_43cf => CompactString::const_new("QUIC v2"),
        0xff00_0000..=0xff00_00ff => format_compact!("QUIC draft-{}", version & 0xff),
        other => format_compact!("0x{other:08X}"),
    }
}

fn hex4(number: u32) -> CompactString {
    format_compact!("0x{number:04X}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_without_a_name_are_shown_as_they_are() {
        assert_eq!(tls_version(0x7f1c, true), "~ 0x7F1C");
        assert_eq!(tls_cipher_suite(0x0a0a), "0x0A0A");
        assert_eq!(quic_version(0xff00_001d), "QUIC draft-29");
        assert_eq!(drop_cause(77), "77");
    }

    #[test]
    fn response_codes_use_the_low_four_bits() {
        assert_eq!(dns_rcode(0x8183), "NXDomain");
        assert_eq!(dns_rcode(0x800b), "UnDefined");
    }

    #[test]
    fn state_zero_is_an_invalid_state() {
        assert_eq!(tcp_state(0), "TCP_INVALID_STATE");
        assert_eq!(tcp_state(12), "TCP_NEW_SYN_RECV");
    }
}
