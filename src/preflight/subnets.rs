//! The subnets that OpenShift knows by name, for the labels of addresses: of its machines, pods and services.

use serde_json::Value;

use crate::oc::{Call, Oc, OcError};
use crate::progress::Progress;

/// `NAME=CIDR,CIDR` for each kind of subnet.
pub(super) fn read(oc: &Oc, openshift: bool, progress: Progress) -> Result<Vec<String>, OcError> {
    let mut found: Vec<(&str, Vec<String>)> = Vec::new();
    if openshift {
        let install: Value = serde_saphyr::from_str(&oc.run(&Call::install_config())?)
            .map_err(|error| oc.garbage(&Call::install_config(), error))?;
        let network: Value = oc.json(&Call::network())?.unwrap_or_default();
        found.push(("Machines", cidrs(&install["networking"]["machineNetwork"])));
        found.push(("Pods", cidrs(&network["spec"]["clusterNetwork"])));
        found.push(("Services", cidrs(&network["spec"]["serviceNetwork"])));
    }
    found.retain(|(_, cidrs)| !cidrs.is_empty());
    let words = "Checking the cluster: subnets";
    progress.step(if found.is_empty() { "Didn't found subnets" } else { "Found subnets:" }, words);
    for (name, cidrs) in &found {
        progress.step(&format!("    {name}: {}", cidrs.join(",")), words);
    }
    Ok(found.into_iter().map(|(name, cidrs)| format!("{name}={}", cidrs.join(","))).collect())
}

/// Networks as texts, or as objects with a `cidr`.
fn cidrs(list: &Value) -> Vec<String> {
    let text = |item: &Value| item.as_str().or_else(|| item["cidr"].as_str()).map(str::to_owned);
    list.as_array().into_iter().flatten().filter_map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn networks_are_texts_or_objects() {
        assert_eq!(cidrs(&json!([{"cidr": "10.0.0.0/16"}, "172.30.0.0/16", 3])), ["10.0.0.0/16", "172.30.0.0/16"]);
        assert_eq!(cidrs(&Value::Null), [""; 0]);
    }
}
