//! How each kind of value is put into a record. Each function answers whether the value fits.

use std::sync::Arc;

use compact_str::CompactString;
use serde_json::Value as Json;

use crate::flow::{Duplicate, Endpoint, Enrichment, Flow, Holder, HolderRef, Interface, Layer};
use crate::names::TLS_TYPES;

/// The number, also when it was written as 12.0 or 1.2e1.
pub(super) fn whole(number: &serde_json::Number) -> Option<i64> {
    const LIMIT: f64 = 9e15;
    let from_float =
        || number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < LIMIT).map(|float| float as i64);
    number.as_i64().or_else(from_float)
}

pub(super) fn put<T: TryFrom<i64>>(place: &mut T, value: i64) -> bool {
    T::try_from(value).map(|value| *place = value).is_ok()
}

pub(super) fn put_some<T: TryFrom<i64>>(place: &mut Option<T>, value: i64) -> bool {
    T::try_from(value).map(|value| *place = Some(value)).is_ok()
}

pub(super) fn put_text(place: &mut CompactString, value: &str) -> bool {
    *place = value.into();
    true
}

pub(super) fn parse<T: std::str::FromStr>(place: &mut Option<T>, value: &str) -> bool {
    value.parse().map(|value| *place = Some(value)).is_ok()
}

pub(super) fn put_ip(flow: &mut Flow, value: &str, end: fn(&mut Enrichment) -> &mut Endpoint) -> bool {
    let Ok(address) = value.parse() else { return false };
    end(flow.k8s_mut()).holder_mut().host_ip = Some(address);
    true
}

pub(super) fn holder_of(end: &mut Option<HolderRef>) -> &mut Holder {
    end.get_or_insert_default().to_mut()
}

pub(super) fn set_from_client(flow: &mut Flow, value: i64) -> bool {
    let client = match value {
        0 => false,
        1 => true,
        _ => return false,
    };
    flow.conversation_mut().from_client = Some(client);
    true
}

pub(super) fn set_duplicate(flow: &mut Flow, name: &str) -> bool {
    let duplicate = Duplicate::of(name);
    if duplicate.is_some() {
        flow.duplicate = duplicate;
    }
    duplicate.is_some()
}

pub(super) fn put_subnet(end: &mut Endpoint, value: &str) -> bool {
    end.subnet = Some(Arc::new(value.into()));
    true
}

pub(super) fn put_layer(flow: &mut Flow, value: &str) -> bool {
    let layer = Layer::of(value);
    if layer.is_some() {
        flow.k8s_mut().layer = layer;
    }
    layer.is_some()
}

pub(super) fn parse_mac(place: &mut Option<crate::flow::Mac>, value: &str) -> bool {
    let mut mac = [0; 6];
    let mut parts = value.split(':');
    for byte in &mut mac {
        match parts.next().map(|part| u8::from_str_radix(part, 16)) {
            Some(Ok(number)) => *byte = number,
            _ => return false,
        }
    }
    *place = Some(mac);
    parts.next().is_none()
}

pub(super) fn set_first_name(flow: &mut Flow, name: &str) -> bool {
    flow.interface_mut(0).name = name.into();
    true
}

pub(super) fn set_first_direction(flow: &mut Flow, direction: i64) -> bool {
    u8::try_from(direction).map(|direction| flow.interface_mut(0).direction = direction).is_ok()
}

pub(super) fn texts(flow: &mut Flow, values: &[Json], set: fn(&mut Interface, CompactString)) -> bool {
    let Some(values) = values.iter().map(Json::as_str).collect::<Option<Vec<_>>>() else { return false };
    for (index, value) in values.into_iter().enumerate() {
        set(flow.interface_mut(index), value.into());
    }
    true
}

pub(super) fn set_directions(flow: &mut Flow, values: &[Json]) -> bool {
    let number = |value: &Json| value.as_u64().and_then(|number| u8::try_from(number).ok());
    let Some(values) = values.iter().map(number).collect::<Option<Vec<_>>>() else { return false };
    for (index, value) in values.into_iter().enumerate() {
        flow.interface_mut(index).direction = value;
    }
    true
}

pub(super) fn set_tls_types(flow: &mut Flow, values: &[Json]) -> bool {
    let bit = |value: &Json| TLS_TYPES.iter().position(|name| value.as_str() == Some(name));
    let Some(bits) = values.iter().map(bit).collect::<Option<Vec<_>>>() else { return false };
    flow.tls_mut().types = bits.into_iter().fold(0, |types, bit| types | 1 << bit);
    true
}

pub(super) fn set_drop_causes(flow: &mut Flow, value: &Json) -> bool {
    flow.drops_mut().causes = value.to_string().into();
    true
}

pub(super) fn set_network_events(flow: &mut Flow, value: &Json) -> bool {
    flow.network_events = Some(value.to_string().into());
    true
}
