//! The objects of a capture of metrics: what a Prometheus needs to read them, and a dashboard for the console of OpenShift.

use netobserv_contract::metrics;
use serde_json::json;

use super::{Document, Made, ManifestError, Stage, access, document};
use crate::plan::{Monitoring, Plan};

/// What belongs to `stage`.
pub(super) fn documents(plan: &Plan, stage: Stage) -> Result<Vec<Document>, ManifestError> {
    let Some(monitoring) = plan.metrics.as_ref().map(|metrics| metrics.monitoring) else { return Ok(vec![]) };
    match (monitoring, stage) {
        (Monitoring::OpenShift, Stage::Access) => Ok(vec![role(plan)?, role_binding(plan)?]),
        (Monitoring::OpenShift, Stage::Service) => Ok(vec![service(plan)?, service_monitor(plan)?, dashboard(plan)?]),
        (Monitoring::ServiceMonitor, Stage::Service) => Ok(vec![service(plan)?, service_monitor(plan)?]),
        _ => Ok(vec![]),
    }
}

fn role(plan: &Plan) -> Made {
    access(plan, "Role", "netobserv-cli-metrics", include_str!("../../yaml/metrics-role.yml"))
}

fn role_binding(plan: &Plan) -> Made {
    access(plan, "RoleBinding", "netobserv-cli-metrics", include_str!("../../yaml/metrics-role-binding.yml"))
}

fn service(plan: &Plan) -> Made {
    let text = include_str!("../../yaml/metrics-service.yml");
    document(plan, Stage::Service, "Service", "netobserv-cli", text, [])
}

fn service_monitor(plan: &Plan) -> Made {
    let text = include_str!("../../yaml/service-monitor.yml");
    document(plan, Stage::Service, "ServiceMonitor", "netobserv-cli", text, [])
}

fn dashboard(plan: &Plan) -> Made {
    let text = include_str!("../../yaml/metrics-dashboard.yml");
    let counted = plan.metrics.iter().flat_map(|metrics| &metrics.counted).copied().collect::<Vec<_>>();
    let more = [("dashboard", json!(metrics::console(&counted).to_string()))];
    document(plan, Stage::Service, "ConfigMap", &plan.cluster_name(), text, more)
}
