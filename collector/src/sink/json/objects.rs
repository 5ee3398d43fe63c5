//! Flows as JSON objects: in the file, and as lines for a program.
//!
//! Half of an object with names is what is known of the two holders, the same in all their flows: it is made into text once and
//! copied.

use netobserv_wire::field::Side;
use netobserv_wire::flow::{Holder, HolderRef};
use netobserv_wire::value::append_quoted;
use netobserv_wire::{Field, Flow, GROUPS, Value};
use smallvec::SmallVec;

use crate::ahead::{AHEAD, CACHE_LINE, fetch};

/// Writes flows as JSON objects.
#[derive(Debug)]
pub struct Objects {
    /// What the fields of each group make.
    groups: Vec<Vec<Part>>,
}

/// A part of an object. Each begins with a comma; that of the first becomes the bracket.
#[derive(Debug)]
enum Part {
    /// A field with its name as it is in an object.
    Field(Vec<u8>, &'static Field),
    /// What is known of the holder at this end.
    Holder(Side, Vec<Part>),
}

impl Default for Objects {
    fn default() -> Self {
        Self { groups: GROUPS.iter().map(|group| parts(group.fields)).collect() }
    }
}

fn parts(fields: &'static [Field]) -> Vec<Part> {
    let mut parts = Vec::new();
    for field in fields {
        let mut key = vec![b','];
        append_quoted(field.name, &mut key);
        key.push(b':');
        let part = Part::Field(key, field);
        match (field.of_holder(), parts.last_mut()) {
            (Some((side, _)), Some(Part::Holder(last, parts))) if *last == side => parts.push(part),
            (Some((side, _)), _) => parts.push(Part::Holder(side, vec![part])),
            (None, _) => parts.push(part),
        }
    }
    parts
}

impl Objects {
    /// Gets ready for these flows, which are appended next; some dozens at a time.
    ///
    /// From a flow to the text of its holder are four steps, each of which waits for memory. Done one step for all flows after the
    /// other, they wait together.
    pub fn prepare(&self, flows: &[Flow]) {
        let mut holders = SmallVec::<[(Side, &Holder); 2 * AHEAD]>::new();
        for flow in flows {
            for side in [Side::Src, Side::Dst] {
                if let Some(HolderRef::Lasting(holder, _)) = flow.holder(side) {
                    fetch(&holder.ready);
                    holders.push((side, holder));
                }
            }
        }
        for (side, holder) in holders {
            holder.ready.made(side).into_iter().flat_map(|text| text.iter().step_by(CACHE_LINE)).for_each(fetch);
        }
    }

    /// Appends `flow` as one object, without a line feed.
    pub fn append(&self, flow: &Flow, out: &mut Vec<u8>) {
        let start = out.len();
        for (_, parts) in GROUPS.iter().zip(&self.groups).filter(|(group, _)| (group.present)(flow)) {
            parts.iter().for_each(|part| part.append(flow, out));
        }
        for (name, value) in flow.other.iter().flat_map(|other| other.iter()) {
            out.push(b',');
            append_quoted(name, out);
            out.push(b':');
            out.extend_from_slice(value.to_string().as_bytes());
        }
        match out.get_mut(start) {
            Some(comma) => *comma = b'{',
            None => out.push(b'{'),
        }
        out.push(b'}');
    }
}

impl Part {
    fn append(&self, flow: &Flow, out: &mut Vec<u8>) {
        match self {
            Self::Field(key, field) => {
                let value = field.get(flow);
                if value != Value::Absent {
                    out.extend_from_slice(key);
                    value.append_json(out);
                }
            }
            Self::Holder(side, parts) => {
                let Some(holder) = flow.holder(*side) else { return };
                let make = |out: &mut Vec<u8>| parts.iter().for_each(|part| part.append(flow, out));
                let HolderRef::Lasting(holder, _) = holder else { return make(out) };
                out.extend_from_slice(holder.ready.text(*side, || {
                    let mut text = Vec::new();
                    make(&mut text);
                    text
                }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value as Json, json};
    use std::sync::Arc;

    fn object(flow: &Flow) -> Json {
        let mut out = b"[".to_vec();
        Objects::default().append(flow, &mut out);
        out.push(b']');
        serde_json::from_slice::<Vec<Json>>(&out).unwrap().remove(0)
    }

    #[test]
    fn a_flow_of_nothing_is_an_empty_object() {
        assert_eq!(object(&Flow::default()), json!({}));
    }

    #[test]
    fn a_holder_is_the_same_made_anew_or_copied() {
        let web = Holder { name: "web \"1\"".into(), kind: "Pod".into(), ..Holder::default() };
        let wanted = json!({"Bytes": 7, "SrcK8S_Name": "web \"1\"", "SrcK8S_Type": "Pod", "DstK8S_Name": "web \"1\"", "DstK8S_Type": "Pod"});
        for lasting in [false, true] {
            let holder = || if lasting { HolderRef::lasting(Arc::new(web.clone())) } else { web.clone().into() };
            let mut flow = Flow { bytes: 7, ..Flow::default() };
            flow.set_holder(Side::Src, holder());
            flow.set_holder(Side::Dst, holder());
            assert_eq!((object(&flow), object(&flow)), (wanted.clone(), wanted.clone()), "{lasting}");
        }
    }

    #[test]
    fn one_holder_at_both_ends_has_a_text_for_each() {
        let web = HolderRef::lasting(Arc::new(Holder { name: "web".into(), ..Holder::default() }));
        let mut flow = Flow::default();
        flow.set_holder(Side::Src, web.clone());
        assert_eq!(object(&flow), json!({"SrcK8S_Name": "web"}));
        flow.set_holder(Side::Dst, web);
        assert_eq!(object(&flow), json!({"SrcK8S_Name": "web", "DstK8S_Name": "web"}));
    }

    #[test]
    fn a_holder_that_is_changed_is_written_as_it_is_then() {
        let mut flow = Flow::default();
        flow.set_holder(Side::Src, HolderRef::lasting(Arc::new(Holder { name: "old".into(), ..Holder::default() })));
        assert_eq!(object(&flow), json!({"SrcK8S_Name": "old"}));
        netobserv_wire::field::by_name("SrcK8S_Name").unwrap().set(&mut flow, &json!("new"));
        assert_eq!(object(&flow), json!({"SrcK8S_Name": "new"}));
    }
}
