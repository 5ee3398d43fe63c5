//! `why CLIENT SERVER`: the capture that is made for it, from the words as typed.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use netobserv_contract::duration;
use netobserv_explain::demand::Pair;

use super::why::reading;
use super::{Capture, DEFAULT_OUTPUT_DIR, OptionError, Reading, Settings, filter, not_allowed, switch};
use crate::cli::{FilterArgs, FilterWord, FlowsArgs, WhyArgs};
use crate::plan::Kind;

/// How long is captured, in a cluster and on this machine.
const IN_CLUSTER: &str = "30s";
const HERE: &str = "10s";

/// A capture that `why` makes.
#[derive(Debug, Clone)]
pub struct Live {
    words: WhyArgs,
    client: End,
    server: End,
    port: Option<u16>,
    /// On this machine.
    pub local: bool,
    /// The connection is opened while it is captured.
    pub connects: bool,
}

/// A connection to be opened from a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connect {
    /// The pod that opens it.
    pub client: PodName,
    /// Where to.
    pub server: Server,
    /// The server's port.
    pub port: u16,
}

/// A pod, or one of a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodName {
    /// Its namespace; `None` for that of the context.
    pub namespace: Option<String>,
    /// Name of the pod or its workload.
    pub name: String,
}

/// Where a connection goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Server {
    /// An address or a host name.
    Host(String),
    /// A pod.
    Pod(PodName),
}

impl PodName {
    fn read(text: &str) -> Self {
        match text.split_once('/') {
            Some((namespace, name)) => Self { namespace: Some(namespace.to_owned()), name: name.to_owned() },
            None => Self { namespace: None, name: text.to_owned() },
        }
    }
}

/// One end, as typed.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    /// Everything, or everything outside.
    Any,
    /// An address or a network.
    Network(String),
    /// All of a namespace.
    Namespace(String),
    /// A pod or workload; or a service.
    Named { name: String, service: bool },
    /// A name that DNS has.
    Host(String),
}

impl End {
    fn read(word: &str) -> Self {
        let is_address = word.parse::<IpAddr>().is_ok();
        match word.split_once(':') {
            Some(("ns", name)) => return Self::Namespace(name.to_owned()),
            Some(("svc", name)) => return Self::Named { name: name.to_owned(), service: true },
            Some(("pod", name)) => return Self::Named { name: name.to_owned(), service: false },
            _ => {}
        }
        match word {
            "any" | "*" | "outside" => Self::Any,
            _ if is_address || filter::is_network(word) => Self::Network(word.to_owned()),
            _ if word.contains('.') && !word.contains('/') => Self::Host(word.to_owned()),
            _ => Self::Named { name: word.to_owned(), service: false },
        }
    }

    /// The option that selects it.
    fn selector(&self, peer: bool) -> Option<FilterWord> {
        let (option, value) = match self {
            Self::Any | Self::Host(_) => return None,
            Self::Network(net) if net.contains('/') => (if peer { "peer_cidr" } else { "cidr" }, net.clone()),
            Self::Network(address) if peer => ("peer_ip", address.clone()),
            Self::Network(address) if address.contains(':') => ("cidr", format!("{address}/128")),
            Self::Network(address) => ("cidr", format!("{address}/32")),
            Self::Namespace(name) => (if peer { "peer-ns" } else { "ns" }, name.clone()),
            Self::Named { name, service: true } => (if peer { "peer-svc" } else { "svc" }, name.clone()),
            Self::Named { name, service: false } => (if peer { "peer-pod" } else { "pod" }, name.clone()),
        };
        Some(FilterWord::Option(option, value))
    }

    /// Namespace and name of what may be a service.
    fn unclear(&self) -> Option<(&str, &str)> {
        match self {
            Self::Named { name, service: false } => name.split_once('/').filter(|(_, name)| !name.contains('*')),
            _ => None,
        }
    }
}

/// The server and its port, of a word such as `shop/db:5432`, `svc:shop/db:5432` or `[fd00::1]:80`.
fn with_port(word: &str) -> (String, Option<u16>) {
    let bare = |text: &str| text.trim_start_matches('[').trim_end_matches(']').to_owned();
    if word.parse::<IpAddr>().is_ok() || filter::is_network(word) {
        return (word.to_owned(), None);
    }
    match word.rsplit_once(':').map(|(head, port)| (head, port.parse::<u16>())) {
        Some((head, Ok(port))) if !["ns", "svc", "pod"].contains(&head) => (bare(head), Some(port)),
        _ => (bare(word), None),
    }
}

impl Live {
    /// Checks the words.
    pub(super) fn new(words: &WhyArgs) -> Result<Self, OptionError> {
        let local = switch("local", words.local.as_deref(), false)?;
        if let Some(option) = words.cluster.typed().first().filter(|_| local) {
            return Err(OptionError::ClusterOnly(option));
        }
        // On one machine the only end that is named is the server.
        let (client, server) = match (&words.client, &words.server) {
            (Some(server), None) if local => ("any", server.as_str()),
            (Some(client), Some(server)) => (client.as_str(), server.as_str()),
            _ => return Err(OptionError::NoEnds),
        };
        let connects = switch("connect", words.connect.as_deref(), local)?;
        let (host, port) = with_port(server);
        if connects && port.is_none() {
            return Err(OptionError::NoPort);
        }
        let live = Self {
            client: End::read(client),
            server: End::read(&host),
            port,
            local,
            connects,
            words: WhyArgs { client: Some(client.to_owned()), server: Some(server.to_owned()), ..words.clone() },
        };
        let ends = live.ends(None);
        Pair::read(&ends[0], &ends[1]).map_err(|error| OptionError::End(error.to_string()))?;
        live.check()?;
        Ok(live)
    }

    /// What can be checked before anything is started is checked here.
    fn check(&self) -> Result<(), OptionError> {
        if self.local {
            return self.capture().map(drop);
        }
        let typed = self.words.cluster.typed();
        let own = ["background", "copy", "yaml", "wait", "own-traffic", "only-these-nodes"];
        if let Some(option) = own.into_iter().find(|option| typed.contains(option)) {
            return Err(OptionError::OfAnotherCommand { option, command: "why" });
        }
        if self.client.selector(false).or(self.server.selector(false)).is_none() {
            return Err(OptionError::NoSelection);
        }
        if self.connects && !matches!(self.client, End::Named { service: false, .. }) {
            return Err(OptionError::NoPod);
        }
        self.settings().map(drop)
    }

    /// Names that may be those of services: which of the two ends, namespace, name.
    pub fn unclear(&self) -> impl Iterator<Item = (bool, &str, &str)> {
        let ends = [(false, &self.client), (true, &self.server)];
        ends.into_iter()
            .filter_map(|(is_server, end)| end.unclear().map(|(namespace, name)| (is_server, namespace, name)))
    }

    /// The name of this end is that of a service.
    pub fn is_service(&mut self, is_server: bool) {
        let end = if is_server { &mut self.server } else { &mut self.client };
        if let End::Named { service, .. } = end {
            *service = true;
        }
    }

    /// Host and port of the server, for a connection from this machine.
    #[must_use]
    pub fn host(&self) -> Option<(String, u16)> {
        let host = match &self.server {
            End::Host(name) | End::Network(name) | End::Named { name, .. } => name.clone(),
            End::Any | End::Namespace(_) => return None,
        };
        Some((host, self.port?))
    }

    /// What is captured on this machine: everything, of which the reader picks what concerns the two ends.
    ///
    /// # Errors
    ///
    /// A value is not allowed.
    pub fn capture(&self) -> Result<Capture, OptionError> {
        let words = FlowsArgs { local: Some("true".into()), ..self.flows(HERE, Vec::new())? };
        Capture::flows(&words)
    }

    /// The capture in a cluster. Everything of the client is captured, its DNS and messages of routers too; the rule with both ends
    /// before it has the server's name looked up.
    ///
    /// # Errors
    ///
    /// A value is not allowed.
    pub fn settings(&self) -> Result<Settings, OptionError> {
        let own = self.client.selector(false);
        let peer = self.server.selector(own.is_some());
        let mut rules: Vec<_> = own.iter().cloned().chain(peer.clone()).collect();
        if let (Some(own), Some(_)) = (own, peer) {
            rules.extend([FilterWord::Or, own]);
        }
        let words = FlowsArgs { cluster: self.words.cluster.clone(), ..self.flows(IN_CLUSTER, rules)? };
        let mut settings = Settings::new(&words, Kind::Flows)?;
        settings.copy = super::CopyChoice::Yes;
        // The report alone is for standard output; what happens until then is shown.
        (settings.data_on_stdout, settings.access.quiet) = (true, false);
        settings.connect = self.connection();
        Ok(settings)
    }

    fn flows(&self, usually: &str, rules: Vec<FilterWord>) -> Result<FlowsArgs, OptionError> {
        let lasts = self.words.duration.clone().unwrap_or_else(|| usually.to_owned());
        if duration::parse(&lasts).ok().is_none_or(|time| time.is_zero()) {
            return Err(not_allowed("for", &lasts, "a duration above zero such as 30s or 5m"));
        }
        Ok(FlowsArgs {
            enable_all: Some("true".into()),
            max_time: Some(lasts),
            interfaces: self.words.interfaces.clone(),
            output_dir: Some(self.output_dir()),
            verbose: self.words.verbose,
            quiet: true,
            typed: self.ends(None).into(),
            filter: FilterArgs(rules),
            ..FlowsArgs::default()
        })
    }

    fn connection(&self) -> Option<Connect> {
        let End::Named { name: client, .. } = &self.client else { return None };
        let port = self.port.filter(|_| self.connects)?;
        let server = match &self.server {
            End::Named { name, service: true } => {
                let (namespace, name) = name.split_once('/').unwrap_or(("default", name));
                Server::Host(format!("{name}.{namespace}.svc"))
            }
            End::Named { name, .. } => Server::Pod(PodName::read(name)),
            End::Host(name) | End::Network(name) => Server::Host(name.clone()),
            End::Any | End::Namespace(_) => return None,
        };
        Some(Connect { client: PodName::read(client), server, port })
    }

    /// Where the files arrive.
    #[must_use]
    pub fn output_dir(&self) -> PathBuf {
        self.words.output_dir.clone().unwrap_or_else(|| DEFAULT_OUTPUT_DIR.into())
    }

    /// The two ends as the reader takes them; a host name is `address`, where that is known.
    fn ends(&self, address: Option<IpAddr>) -> [String; 2] {
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        let server = match (&self.server, address) {
            (_, Some(address @ IpAddr::V6(_))) => format!("[{address}]{port}"),
            (_, Some(address)) => format!("{address}{port}"),
            (End::Host(_), None) if !self.local => format!("any{port}"),
            _ => self.words.server.clone().unwrap_or_default(),
        };
        [self.words.client.clone().unwrap_or_default(), server]
    }

    /// The words of the program that reads the database.
    ///
    /// # Errors
    ///
    /// A value is not allowed.
    pub fn reading(&self, db: &Path, address: Option<IpAddr>) -> Result<Reading, OptionError> {
        reading(&self.words, db, self.ends(address).iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ClusterArgs;

    fn words(client: &str, server: &str) -> WhyArgs {
        WhyArgs { client: Some(client.into()), server: Some(server.into()), ..WhyArgs::default() }
    }

    /// The rules of the agents, what the collector looks up, and the ends of the reader.
    fn made(client: &str, server: &str) -> (String, Vec<String>, [String; 2]) {
        let live = Live::new(&words(client, server)).expect("words that are right");
        let settings = live.settings().expect("settings");
        let rules = settings.agent_env.iter().find(|(name, _)| name == "FLOW_FILTER_RULES").map(|(_, rules)| rules);
        let selected = settings.collector_args.iter().filter_map(|arg| arg.strip_prefix("--select="));
        (rules.cloned().unwrap_or_default(), selected.map(str::to_owned).collect(), live.ends(None))
    }

    #[test]
    fn the_client_is_captured_and_the_server_is_looked_up() {
        let ends = |client: &str, server: &str| [client.to_owned(), server.to_owned()];
        let both = r#"[{"peer_set":2,"set":1},{"set":1}]"#;
        let (rules, selected, read) = made("shop/web", "svc:shop/db:5432");
        assert_eq!((rules.as_str(), read), (both, ends("shop/web", "svc:shop/db:5432")));
        assert_eq!(selected, ["1:pod=shop/web", "2:svc=shop/db"]);
        let (rules, selected, read) = made("ns:shop", "198.51.100.7:443");
        assert_eq!(rules, r#"[{"peer_ip":"198.51.100.7","set":1},{"set":1}]"#);
        assert_eq!((selected, read), (vec!["1:ns=shop".to_owned()], ends("ns:shop", "198.51.100.7:443")));
        let (rules, _, read) = made("shop/web", "db.example.com:5432");
        assert_eq!((rules.as_str(), read), (r#"[{"set":1}]"#, ends("shop/web", "any:5432")));
        let (rules, _, read) = made("any", "[fd00::1]:80");
        assert_eq!((rules.as_str(), read), (r#"[{"ip_cidr":"fd00::1/128"}]"#, ends("any", "[fd00::1]:80")));
    }

    #[test]
    fn wrong_words_are_refused_before_anything_is_started() {
        let refused = |words: WhyArgs| Live::new(&words).expect_err("wrong words").to_string();
        assert!(refused(words("any", "outside")).starts_with("why captures the client or the server by name"));
        assert!(
            refused(WhyArgs { client: Some("shop/web".into()), ..WhyArgs::default() })
                .starts_with("why needs a client and")
        );
        let connect = |client: &str, server: &str| WhyArgs { connect: Some("true".into()), ..words(client, server) };
        assert_eq!(refused(connect("shop/web", "shop/db")), "--connect needs the server's port: SERVER:PORT");
        assert!(refused(connect("ns:shop", "shop/db:1")).starts_with("--connect needs a pod or a workload"));
        let lasts = WhyArgs { duration: Some("0s".into()), ..words("shop/web", "shop/db") };
        assert_eq!(refused(lasts), "--for=0s is not valid: use a duration above zero such as 30s or 5m");
        let cluster = ClusterArgs { background: Some("true".into()), ..ClusterArgs::default() };
        assert!(refused(WhyArgs { cluster: cluster.clone(), ..words("shop/web", "shop/db") }).contains("--background"));
        let local = WhyArgs { local: Some("true".into()), cluster, ..words("any", "127.0.0.1:80") };
        assert_eq!(refused(local), OptionError::ClusterOnly("background").to_string());
        assert!(refused(words("shop/Web", "shop/db")).contains("--pod=shop/Web"));
    }

    #[test]
    fn a_name_that_is_a_service_is_connected_to_by_its_name() {
        let words = WhyArgs { connect: Some("true".into()), ..words("shop/web", "shop/db:5432") };
        let mut live = Live::new(&words).expect("words that are right");
        assert_eq!(live.unclear().collect::<Vec<_>>(), [(false, "shop", "web"), (true, "shop", "db")]);
        let pod = |name: &str| PodName { namespace: Some("shop".into()), name: name.into() };
        let to = |server| Some(Connect { client: pod("web"), server, port: 5432 });
        assert_eq!(live.connection(), to(Server::Pod(pod("db"))));
        live.is_service(true);
        assert_eq!(live.connection(), to(Server::Host("db.shop.svc".into())));
    }
}
