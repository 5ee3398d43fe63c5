use super::*;
use serde_json::{Value, from_value, json};

fn read(spec: Value, status: Value, networks: Option<&str>) -> Pod {
    pod(Identity::default(), secondary(networks, None), from_value(spec).unwrap(), from_value(status).unwrap())
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn a_pod_has_both_families_and_its_other_networks() {
    let networks = r#"[{"name": "ovn-kubernetes", "ips": ["10.1.0.5"], "mac": "0a:58:0a:01:00:05", "default": true},
        {"name": "shop/storage", "interface": "net1", "ips": ["192.168.7.5"], "mac": "02:00:00:00:00:07"}]"#;
    let status = json!({"podIP": "10.1.0.5", "podIPs": [{"ip": "10.1.0.5"}, {"ip": "fd01::5"}], "hostIP": "10.0.0.1",
        "startTime": "2026-03-01T10:00:00Z", "phase": "Running"});
    let pod =
        read(json!({"nodeName": "n1", "containers": [{"ports": [{"containerPort": 80}]}]}), status, Some(networks));
    assert_eq!(pod.addresses, [ip("10.1.0.5"), ip("fd01::5")]);
    assert_eq!((pod.host_ip, pod.node.as_str(), pod.host_ports.len()), (Some(ip("10.0.0.1")), "n1", 0));
    let mac = [2, 0, 0, 0, 0, 7];
    assert_eq!(pod.secondary, [Secondary { address: ip("192.168.7.5"), mac, network: "shop/storage".into() }]);
    assert_eq!((pod.started_ms, pod.finished_ms), (Some(1_772_359_200_000), None));
}

#[test]
fn user_defined_networks_of_ovn_are_known_too() {
    let multus = r#"[{"name": "shop/blue", "ips": ["10.200.0.12"], "mac": "0a:58:0a:c8:00:0c"}]"#;
    let ovn = r#"{"default": {"ip_addresses": ["10.128.0.5/23"], "mac_address": "0a:58:0a:80:00:05", "role": "primary"},
        "shop/blue": {"ip_addresses": ["10.200.0.12/24", "fd20::c/64"], "mac_address": "0a:58:0a:c8:00:0c"},
        "shop/old": {"ip_address": "10.201.0.1/24", "mac_address": "0a:58:0a:c9:00:01"},
        "shop/none": {"ip_addresses": ["10.202.0.1/24"]}}"#;
    let found = |multus, ovn| {
        let all =
            secondary(multus, ovn).into_iter().map(|one| format!("{} {} {:x}", one.network, one.address, one.mac[5]));
        all.collect::<Vec<_>>()
    };
    assert_eq!(found(None, Some(ovn)), ["shop/blue 10.200.0.12 c", "shop/blue fd20::c c", "shop/old 10.201.0.1 1"]);
    assert_eq!(found(Some(multus), Some(ovn)).len(), 3);
    assert_eq!(found(Some("?"), Some("[]")), [""; 0]);
}

#[test]
fn a_pod_on_the_host_network_has_ports_of_the_node() {
    let spec = json!({"hostNetwork": true, "containers": [{"ports": [
        {"containerPort": 9100, "protocol": "TCP"}, {"containerPort": 53, "hostPort": 5353, "protocol": "UDP"}]}]});
    let pod = read(spec, json!({"podIP": "10.0.0.1", "hostIP": "10.0.0.1"}), None);
    assert_eq!((pod.addresses.len(), pod.host_ports), (0, vec![(6, 9100), (17, 5353)]));
}

#[test]
fn a_pod_that_is_over_gives_its_address_back() {
    let ended = |time: &str| json!({"state": {"terminated": {"finishedAt": time}}});
    let mut status = json!({"phase": "Succeeded", "podIP": "10.1.0.5", "containerStatuses":
        [ended("2026-03-01T10:00:05Z"), ended("2026-03-01T10:00:01Z")]});
    assert_eq!(read(json!({}), status.clone(), None).finished_ms, Some(1_772_359_205_999));
    status["phase"] = "Running".into();
    assert_eq!(read(json!({}), status, None).finished_ms, None);
}

#[test]
fn a_node_has_its_internal_address_first() {
    let status = json!({"addresses": [{"type": "Hostname", "address": "n1"}, {"type": "ExternalIP", "address": "1.2.3.4"},
        {"type": "InternalIP", "address": "10.0.0.1"}]});
    let subnets = r#"{"default": ["10.128.4.0/23", "fd01:0:0:4::/64"], "blue": "10.9.0.0/24"}"#;
    let node = node(Identity::default(), Some("z1"), Some(subnets), &from_value(status).unwrap());
    let wanted = ["10.0.0.1", "1.2.3.4", "10.9.0.2", "10.128.4.2", "fd01:0:0:4::2"];
    assert_eq!((node.addresses, node.zone.as_str()), (wanted.map(ip).to_vec(), "z1"));
}

#[test]
fn a_service_has_all_its_addresses_once() {
    let spec = json!({"clusterIP": "172.30.0.1", "clusterIPs": ["172.30.0.1", "fd02::1"], "externalIPs": ["5.6.7.8"]});
    let status = json!({"loadBalancer": {"ingress": [{"ip": "9.9.9.9"}, {"hostname": "lb.example"}]}});
    let service = service(Identity::default(), &from_value(spec).unwrap(), &from_value(status).unwrap());
    assert_eq!(service.addresses, ["172.30.0.1", "fd02::1", "5.6.7.8", "9.9.9.9"].map(ip));
    let headless = from_value(json!({"clusterIP": "None", "clusterIPs": ["None"]})).unwrap();
    assert!(super::service(Identity::default(), &headless, &ServiceStatus::default()).addresses.is_empty());
}
