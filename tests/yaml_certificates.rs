//! The certificates of a session: valid for what they are for, as long as they are needed, and no key is ever shown.

mod yaml_world;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use oc_netobserv::certificates::{Certificates, Pair};
use oc_netobserv::images::PullSecret;
use oc_netobserv::manifest::yaml_stream;
use oc_netobserv::plan::{Kind, Plan};
use x509_parser::extensions::ParsedExtension;
use x509_parser::pem::Pem;
use x509_parser::prelude::X509Certificate;
use yaml_world::{certificates, plan};

fn read<T>(pem: &str, look: impl FnOnce(&X509Certificate<'_>) -> T) -> T {
    let pem = Pem::iter_from_buffer(pem.as_bytes()).next().expect("a PEM block").expect("PEM");
    look(&pem.parse_x509().expect("a certificate"))
}

fn names(pem: &str) -> Vec<String> {
    read(pem, |certificate| {
        let names = certificate.subject_alternative_name().expect("extension");
        names.map_or(Vec::new(), |names| names.value.general_names.iter().map(ToString::to_string).collect())
    })
}

#[test]
fn a_certificate_is_for_one_end_only() {
    let made = certificates(&plan(Kind::Flows));
    let usage = |pem: &str| {
        read(pem, |certificate| {
            let usage = certificate.extended_key_usage().expect("extension").expect("extended key usage");
            (usage.value.server_auth, usage.value.client_auth, certificate.is_ca())
        })
    };
    assert_eq!(usage(&made.collector.certificate), (true, false, false));
    assert_eq!(usage(&made.agent.certificate), (false, true, false));
}

#[test]
fn the_collector_has_the_names_of_its_service() {
    let made = certificates(&Plan { namespace: "some-ns".into(), ..plan(Kind::Flows) });
    let expected = ["collector", "collector.some-ns", "collector.some-ns.svc", "collector.some-ns.svc.cluster.local"];
    assert_eq!(names(&made.collector.certificate), expected.map(|name| format!("DNSName({name})")));
    assert!(names(&made.agent.certificate).is_empty());
}

#[test]
fn the_agents_ask_for_a_name_that_the_collector_has() {
    let plan = plan(Kind::Flows);
    let host = plan.collector_host();
    assert!(names(&certificates(&plan).collector.certificate).contains(&format!("DNSName({host})")));
}

#[test]
fn the_authority_signs_ends_and_no_other_authority() {
    let made = certificates(&plan(Kind::Flows));
    let authority = read(&made.ca, |certificate| {
        let limits = certificate.basic_constraints().expect("extension").expect("basic constraints");
        assert_eq!((limits.value.ca, limits.value.path_len_constraint), (true, Some(0)));
        certificate.subject().to_string()
    });
    for Pair { certificate, .. } in [&made.collector, &made.agent] {
        assert_eq!(read(certificate, |certificate| certificate.issuer().to_string()), authority);
        let linked = |certificate: &X509Certificate<'_>| {
            certificate
                .extensions()
                .iter()
                .any(|e| matches!(e.parsed_extension(), ParsedExtension::AuthorityKeyIdentifier(_)))
        };
        assert!(read(certificate, linked));
    }
}

#[test]
fn they_outlive_the_capture_by_a_day_and_begin_an_hour_early() {
    let plan = Plan { max_time: Duration::from_secs(600), keep: Duration::from_secs(60), ..plan(Kind::Flows) };
    let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let made = Certificates::new(&plan, now).expect("certificates");
    for pem in [&made.ca, &made.collector.certificate, &made.agent.certificate] {
        let validity = read(pem, |c| (c.validity().not_before.timestamp(), c.validity().not_after.timestamp()));
        assert_eq!(validity, (1_800_000_000 - 3600, 1_800_000_000 + 600 + 60 + 86_400));
    }
}

#[test]
fn the_longest_capture_has_certificates_too() {
    let longest = Plan { max_time: Duration::MAX, keep: Duration::MAX, ..plan(Kind::Flows) };
    assert!(Certificates::new(&longest, SystemTime::now()).is_ok());
    assert_eq!(longest.deadline(), i32::MAX as u64);
    let largest = Plan { max_bytes: u64::MAX, ..plan(Kind::Flows) };
    assert_eq!(largest.file_space(), i64::MAX as u64);
}

#[test]
fn each_session_has_keys_of_its_own() {
    let [one, other] = [(); 2].map(|()| certificates(&plan(Kind::Flows)));
    assert_ne!(one.ca, other.ca);
    let keys = [one.collector.key, one.agent.key, other.collector.key, other.agent.key];
    let different: std::collections::BTreeSet<_> = keys.iter().collect();
    assert_eq!(different.len(), keys.len());
}

#[test]
fn keys_and_passwords_are_in_the_stream_only() {
    let mut plan = plan(Kind::Flows);
    plan.images.pull_secret = Some(PullSecret("password".into()));
    let made = certificates(&plan);
    let shown = format!("{made:?} {plan:?}");
    assert!(shown.contains("BEGIN CERTIFICATE"));
    assert!(!shown.contains("BEGIN PRIVATE KEY") && !shown.contains("password"), "{shown}");
    let whole = yaml_stream(&plan, &made).expect("documents");
    assert!(whole.matches("BEGIN PRIVATE KEY").count() == 2 && whole.contains("\"password\""));
}
