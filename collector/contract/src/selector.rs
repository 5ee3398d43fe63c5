//! What a user names in a cluster: pods, workloads, services, labels, namespaces, nodes. Read by the plugin, before anything is
//! done, and by the collector, which knows what has these names.

mod labels;
mod name;

use std::fmt;
use std::str::FromStr;

pub use labels::{Labels, Requirement};
pub use name::{Name, Pattern};

/// What can be named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A pod by its name, or those of the workload of this name.
    Pod,
    /// The pods of a Deployment.
    Deployment,
    /// The pods of a StatefulSet.
    StatefulSet,
    /// The pods of a DaemonSet.
    DaemonSet,
    /// The pods of a Job, or of the Jobs of a CronJob.
    Job,
    /// A service: its addresses, its node ports and what is behind it.
    Service,
    /// Pods with labels.
    Label,
    /// All that is in a namespace.
    Namespace,
    /// A node and its pods.
    Node,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Pod,
        Self::Deployment,
        Self::StatefulSet,
        Self::DaemonSet,
        Self::Job,
        Self::Service,
        Self::Label,
        Self::Namespace,
        Self::Node,
    ];

    /// The option that names it, without dashes.
    #[must_use]
    pub fn option(self) -> &'static str {
        match self {
            Self::Pod => "pod",
            Self::Deployment => "deploy",
            Self::StatefulSet => "statefulset",
            Self::DaemonSet => "daemonset",
            Self::Job => "job",
            Self::Service => "svc",
            Self::Label => "label",
            Self::Namespace => "ns",
            Self::Node => "node",
        }
    }

    /// What people call it.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Pod => "pod",
            Self::Deployment => "deployment",
            Self::StatefulSet => "statefulset",
            Self::DaemonSet => "daemonset",
            Self::Job => "job",
            Self::Service => "service",
            Self::Label => "pods with label",
            Self::Namespace => "namespace",
            Self::Node => "node",
        }
    }

    /// The kind of this option.
    #[must_use]
    pub fn of_option(option: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.option() == option)
    }
}

/// One name, or a condition on labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// Of what.
    pub kind: Kind,
    /// What is wanted.
    pub wanted: Wanted,
    text: String,
}

/// What a term asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Something of this name.
    Name(Name),
    /// Pods with these labels.
    Labels(Labels),
}

impl Term {
    /// Reads a value of an option.
    ///
    /// # Errors
    /// It is none, and what would be one.
    pub fn read(kind: Kind, text: &str) -> Result<Self, String> {
        let wanted = match kind {
            Kind::Label => Wanted::Labels(text.parse()?),
            Kind::Namespace | Kind::Node => Wanted::Name(Name::without_namespace(text)?),
            _ => Wanted::Name(text.parse()?),
        };
        Ok(Self { kind, wanted, text: text.to_owned() })
    }

    /// The name or the condition, as it was given.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.words(), self.text)
    }
}

/// A term of one selection, as the plugin hands it to the collector: `NUMBER:OPTION=VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbered {
    /// Number of the selection, as filter rules name it; from 1.
    pub number: u32,
    /// Part of it.
    pub term: Term,
}

impl fmt::Display for Numbered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}={}", self.number, self.term.kind.option(), self.term.text)
    }
}

impl FromStr for Numbered {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once(':').and_then(|(number, rest)| Some((number, rest.split_once('=')?)));
        let (number, (option, value)) = parts.ok_or("use NUMBER:OPTION=VALUE, such as 1:pod=shop/web")?;
        let number = number.parse().ok().filter(|number| *number > 0).ok_or("its number is a whole one from 1")?;
        let kind = Kind::of_option(option).ok_or_else(|| format!("{option} cannot be selected"))?;
        Ok(Self { number, term: Term::read(kind, value)? })
    }
}

/// All that one end has to be: of each kind that is named, one of the values; of labels, all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// In the order in which they were given.
    pub terms: Vec<Term>,
}

impl Selection {
    /// Whether something fits, given which of the terms it fits.
    pub fn fits(&self, fits: impl Fn(&Term) -> bool) -> bool {
        Kind::ALL.into_iter().all(|kind| {
            let mut of_kind = self.terms.iter().filter(|term| term.kind == kind).peekable();
            match kind {
                _ if of_kind.peek().is_none() => true,
                Kind::Label => of_kind.all(&fits),
                _ => of_kind.any(&fits),
            }
        })
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<_> = self.terms.iter().map(Term::to_string).collect();
        f.write_str(&texts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn term(option: &str, value: &str) -> Term {
        Term::read(Kind::of_option(option).unwrap(), value).unwrap()
    }

    #[test]
    fn what_is_handed_over_is_read_again() {
        for text in ["1:pod=shop/web", "2:label=app in (a,b),!old,tier!=x", "12:ns=shop*", "3:svc=front"] {
            assert_eq!(text.parse::<Numbered>().unwrap().to_string(), text);
        }
        for (text, why) in [
            ("pod=web", "use NUMBER:OPTION=VALUE"),
            ("0:pod=web", "whole one from 1"),
            ("1:table=web", "table cannot be selected"),
            ("1:pod=Web", "small letters"),
        ] {
            let error = text.parse::<Numbered>().unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn one_of_the_names_and_each_kind() {
        let both = Selection { terms: vec![term("pod", "web"), term("pod", "db"), term("ns", "shop")] };
        let fits = |pod: &str, namespace: &str| {
            both.fits(|term| match (&term.wanted, term.kind) {
                (Wanted::Name(name), Kind::Namespace) => name.matches("", namespace),
                (Wanted::Name(name), _) => name.matches(namespace, pod),
                (Wanted::Labels(_), _) => false,
            })
        };
        assert!(fits("web", "shop") && fits("db", "shop"));
        assert!(!fits("web", "bank") && !fits("cache", "shop"));
        assert_eq!(both.to_string(), "pod web, pod db, namespace shop");
    }

    #[test]
    fn all_labels_have_to_be_there() {
        let both = Selection { terms: vec![term("label", "app=web"), term("label", "tier")] };
        let fits = |labels: &[(&str, &str)]| {
            both.fits(|term| match &term.wanted {
                Wanted::Labels(wanted) => {
                    wanted.match_all(|key| labels.iter().find(|(its, _)| *its == key).map(|(_, value)| *value))
                }
                Wanted::Name(_) => false,
            })
        };
        assert!(fits(&[("app", "web"), ("tier", "1")]));
        assert!(!fits(&[("app", "web")]) && !fits(&[("tier", "1")]));
    }
}
