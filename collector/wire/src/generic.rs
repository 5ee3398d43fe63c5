//! A flowlogs-pipeline record (one JSON object) into a flow.

use serde_json::{Map, Value as Json};

use crate::field;
use crate::flow::Flow;

impl Flow {
    /// Reads the JSON object that a flowlogs-pipeline sends for one flow.
    ///
    /// Keys that the field table does not know, and values that do not fit it (ports as texts, flags as a
    /// list of names), are kept in [`Flow::other`] as they came. `now_s` stamps a record without an arrival time.
    ///
    /// # Errors
    /// When `json` is not one JSON object.
    pub fn from_generic(json: &[u8], now_s: u64) -> Result<Flow, serde_json::Error> {
        Ok(Self::from_map(serde_json::from_slice(json)?, now_s))
    }

    /// The same, of an object that is read already.
    pub fn from_map(record: Map<String, Json>, now_s: u64) -> Flow {
        let mut flow = Flow::default();
        let mut other = Map::new();
        for (key, value) in record {
            if !field::by_name(&key).is_some_and(|field| field.set(&mut flow, &value)) {
                other.insert(key, value);
            }
        }
        if !other.is_empty() {
            flow.other = Some(Box::new(other));
        }
        if flow.received_s == 0 {
            flow.received_s = now_s;
        }
        flow
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn unknown_and_unfitting_values_are_kept() {
        let record =
            json!({"SrcPort": "443(https)", "Flags": ["SYN"], "Duplicate": false, "Bytes": 7, "TimeReceived": 5});
        let flow = Flow::from_generic(record.to_string().as_bytes(), 9).unwrap();
        assert_eq!((flow.bytes, flow.received_s, flow.src_port, flow.flags), (7, 5, None, None));
        let other = json!({"SrcPort": "443(https)", "Flags": ["SYN"], "Duplicate": false});
        assert_eq!(Json::Object(*flow.other.unwrap()), other);
    }

    #[test]
    fn the_old_interface_keys_make_a_list_of_one() {
        let flow = Flow::from_generic(br#"{"Interface":"br-ex","IfDirection":1}"#, 9).unwrap();
        assert_eq!(flow.received_s, 9);
        assert_eq!((flow.interfaces[0].name.as_str(), flow.interfaces[0].direction), ("br-ex", 1));
        assert_eq!(flow.interfaces.len(), 1);
    }

    #[test]
    fn what_is_not_an_object_is_an_error() {
        assert!(Flow::from_generic(b"[1]", 0).is_err());
        assert!(Flow::from_generic(b"", 0).is_err());
    }
}
