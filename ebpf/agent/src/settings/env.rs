//! The values of variables: each is read in one way, and a wrong one is named with what would be right.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use netobserv_contract::duration;
use netobserv_ebpf_common::packets::MOST;

use super::{
    SettingError, Settings, Target,
    names::{NOT_SERVED, misspelt},
};
use crate::{
    rules::{
        Rule,
        parse::{RuleError, parse},
    },
    tls::{self, Tls},
};

/// Least time between two records of a flow: below, draining would cost more than capturing.
const SHORTEST: Duration = Duration::from_millis(100);
/// Least bytes of a packet: the headers up to the ports, IPv6 and VLAN tags included.
const SHORTEST_SNAPLEN: u32 = 64;

/// A feature with this value is on where the kernel can do it.
const AUTO: &str = "auto";
/// The features that may have it.
const OPTIONAL: [&str; 2] = ["ENABLE_RTT", "ENABLE_PKT_DROPS"];

/// The variables by name.
pub(super) struct Env(HashMap<String, String>);

impl Env {
    pub(super) fn of(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(variables.into_iter().collect())
    }

    pub(super) fn text<'a>(&'a self, name: &str, default: &'a str) -> &'a str {
        self.0.get(name).map_or(default, |value| value.trim())
    }

    pub(super) fn error(&self, name: &str, why: impl Into<String>) -> SettingError {
        SettingError { name: name.to_owned(), value: self.text(name, "").to_owned(), why: why.into() }
    }

    pub(super) fn refuse_unknown(&self) -> Result<(), SettingError> {
        for (name, off) in NOT_SERVED {
            if !off.contains(&self.text(name, "").to_lowercase().as_str()) {
                let allowed = off.iter().filter(|value| !value.is_empty()).copied().collect::<Vec<_>>();
                let allowed = if allowed.is_empty() { "leave it unset".to_owned() } else { allowed.join(" or ") };
                return Err(self.error(name, format!("this agent does not do that yet; allowed: {allowed}")));
            }
        }
        let mut names: Vec<_> = self.0.keys().collect();
        names.sort();
        for name in names {
            if let Some(meant) = misspelt(name) {
                return Err(self.error(name, format!("unknown setting; did you mean {meant}?")));
            }
        }
        Ok(())
    }

    pub(super) fn number(&self, name: &str, default: u32, least: u32, most: u32) -> Result<u32, SettingError> {
        let text = self.text(name, "");
        if text.is_empty() {
            return Ok(default);
        }
        let value = text.parse::<u32>().ok().filter(|value| (least..=most).contains(value));
        value.ok_or_else(|| self.error(name, format!("a whole number from {least} to {most} is wanted")))
    }

    pub(super) fn flag(&self, name: &str) -> Result<bool, SettingError> {
        self.switch(name, "false")
    }

    /// A feature, which may also be wanted only where the kernel can do it.
    pub(super) fn feature(&self, name: &str) -> Result<bool, SettingError> {
        let words = [("true", true), ("false", false), ("1", true), ("0", false), (AUTO, true)];
        self.choice(name, "false", &words)
    }

    /// The features that are wanted where the kernel can do them. Names of processes always are no more than that.
    pub(super) fn optional(&self) -> Vec<&'static str> {
        let auto = OPTIONAL.into_iter().filter(|name| self.text(name, "").eq_ignore_ascii_case(AUTO));
        auto.chain(["ENABLE_PROCESS"]).collect()
    }

    pub(super) fn switch(&self, name: &str, default: &str) -> Result<bool, SettingError> {
        self.choice(name, default, &[("true", true), ("false", false), ("1", true), ("0", false)])
    }

    pub(super) fn choice<T: Copy>(&self, name: &str, default: &str, of: &[(&str, T)]) -> Result<T, SettingError> {
        let text = self.text(name, default).to_lowercase();
        let text = if text.is_empty() { default } else { &text };
        let found = of.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        found.ok_or_else(|| {
            let words = of.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
            self.error(name, format!("allowed: {words}"))
        })
    }

    pub(super) fn duration(&self, name: &str, default: &str) -> Result<Duration, SettingError> {
        let why = "a duration of at least 100ms is wanted, such as 1s or 1m30s";
        let duration = duration::parse(self.text(name, default));
        duration.ok().filter(|duration| *duration >= SHORTEST).ok_or_else(|| self.error(name, why))
    }

    /// Most bytes of each packet; None when flows are captured.
    pub(super) fn snaplen(&self) -> Result<Option<u32>, SettingError> {
        // 0 is tcpdump's way to ask for all of it.
        let all = MOST as u32;
        let snaplen = match self.number("SNAPLEN", 0, 0, all)? {
            0 => all,
            1..SHORTEST_SNAPLEN => {
                return Err(
                    self.error("SNAPLEN", format!("0 for whole frames, or {SHORTEST_SNAPLEN} to {all}, is wanted"))
                );
            }
            some => some,
        };
        Ok(self.flag("ENABLE_PCA")?.then_some(snaplen))
    }

    /// What goes together with packets.
    pub(super) fn check_packets(&self, settings: &Settings) -> Result<(), SettingError> {
        let all = self.flag("PCA_ALL")?;
        if settings.snaplen.is_none() {
            return Ok(());
        }
        if settings.rules.is_empty() && !all {
            let why = "capturing packets needs a rule, or PCA_ALL=true to capture each and every one";
            return Err(self.error("FLOW_FILTER_RULES", why));
        }
        let of_flows = [
            ("ENABLE_RTT", settings.rtt),
            ("ENABLE_DNS_TRACKING", settings.dns_port != 0),
            ("ENABLE_PROCESS", settings.process),
        ];
        for (name, on) in of_flows {
            if on {
                return Err(self.error(name, "is of flows, not of packets (ENABLE_PCA=true)"));
            }
        }
        Ok(())
    }

    pub(super) fn dns_port(&self) -> Result<u16, SettingError> {
        let port = self.number("DNS_TRACKING_PORT", 53, 1, 65535)? as u16;
        Ok(if self.flag("ENABLE_DNS_TRACKING")? { port } else { 0 })
    }

    /// The message names the rule and its key, not the whole list.
    pub(super) fn rules(&self) -> Result<Vec<Rule>, SettingError> {
        const NAME: &str = "FLOW_FILTER_RULES";
        let rules = parse(self.text(NAME, "")).map_err(|error| match error {
            RuleError::List(why) => self.error(NAME, why),
            RuleError::Condition { rule, key, value, why } => {
                SettingError { name: format!("{NAME}, rule {rule}, {key}"), value, why }
            }
        })?;
        if let Some(at) = rules.iter().position(|rule| rule.drops)
            && !self.feature("ENABLE_PKT_DROPS")?
        {
            let (name, why) =
                (format!("{NAME}, rule {}, drops", at + 1), "ENABLE_PKT_DROPS=true is needed for that".into());
            return Err(SettingError { name, value: "true".into(), why });
        }
        Ok(rules)
    }

    /// The original's default, 0, keeps every packet; so does 1.
    pub(super) fn sampling(&self) -> Result<u32, SettingError> {
        Ok(self.number("SAMPLING", 1, 0, u32::MAX)?.max(1))
    }

    pub(super) fn target(&self) -> Result<Target, SettingError> {
        let host = self.text("TARGET_HOST", "");
        if host.is_empty() {
            return Err(self.error("TARGET_HOST", "the collector's host name, or unix:/path of its socket, is wanted"));
        }
        if let Some(path) = host.strip_prefix("unix:") {
            return Ok(Target::Unix(path.to_owned()));
        }
        let port = self.number("TARGET_PORT", 9999, 1, 65535)?;
        // A literal IPv6 address is in brackets before a port (RFC 3986, 3.2.2).
        let address = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        match self.tls(host)? {
            Some(tls) => Ok(Target::Tls(address, tls)),
            None if is_local(host) || self.flag("TARGET_PLAINTEXT")? => Ok(Target::Tcp(address)),
            None => Err(self.error(
                "TARGET_HOST",
                format!("another machine is reached with certificates ({}), or without encryption with TARGET_PLAINTEXT=true", tls::CA),
            )),
        }
    }

    fn tls(&self, host: &str) -> Result<Option<Tls>, SettingError> {
        let path = |name| Some(self.text(name, "")).filter(|path| !path.is_empty());
        let own = match (path(tls::CERTIFICATE), path(tls::KEY)) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (None, _) => return Err(self.error(tls::CERTIFICATE, format!("it is wanted with {}", tls::KEY))),
            (_, None) => return Err(self.error(tls::KEY, format!("it is wanted with {}", tls::CERTIFICATE))),
        };
        match path(tls::CA) {
            None if own.is_some() => Err(self.error(tls::CA, format!("it is wanted with {}", tls::CERTIFICATE))),
            None => Ok(None),
            Some(ca) => Tls::read(host, ca, own).map(Some).map_err(|(name, why)| self.error(name, why)),
        }
    }

    pub(super) fn agent_ip(&self) -> Result<Option<IpAddr>, SettingError> {
        match self.text("AGENT_IP", "") {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| self.error("AGENT_IP", "an IPv4 or IPv6 address is wanted")),
        }
    }

    pub(super) fn node(&self) -> String {
        match self.text("NODE_NAME", "") {
            "" => nix::unistd::gethostname().map_or_else(|_| "localhost".into(), |name| name.to_string_lossy().into()),
            name => name.to_owned(),
        }
    }
}

/// Whether nothing between here and there can listen.
fn is_local(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}
