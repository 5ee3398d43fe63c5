//! Live filters: words that are looked for in what is shown, `field:value`, `!not` and `/regular expression/`.

use std::net::IpAddr;

use netobserv_query::Network;
use netobserv_wire::{Field, Flow, Value, field};
use regex::{Regex, RegexBuilder};

use super::columns::{self, Column, shown};
use super::exact::Exact;
use compare::Compare;

mod compare;
mod kernel;

/// One filter, as it was typed and as it is meant.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    pub(super) text: String,
    not: bool,
    scope: Scope,
    what: What,
}

/// Where to look.
#[derive(Clone, Debug)]
enum Scope {
    Row,
    Fields(Vec<&'static Field>),
}

/// What to look for.
#[derive(Clone, Debug)]
enum What {
    /// In small letters.
    Word(String),
    Regex(Regex),
    /// Of addresses.
    Network(Network),
    /// Of numbers.
    Compare(Compare),
    /// Exactly the records that a row counts.
    Exact(Box<Exact>),
    /// Not a filter: why not. It hides nothing.
    Invalid(String),
}

impl Filter {
    /// Shows exactly the records that a row counts; `title` names it.
    pub(super) fn exactly(title: &str, exact: Exact) -> Self {
        Self { text: title.to_owned(), not: false, scope: Scope::Row, what: What::Exact(Box::new(exact)) }
    }

    /// The row that it stands for.
    pub(super) fn exact_mut(&mut self) -> Option<&mut Exact> {
        if let What::Exact(exact) = &mut self.what { Some(exact) } else { None }
    }

    pub(crate) fn parse(text: &str) -> Self {
        let (not, rest) = text.strip_prefix('!').map_or((false, text), |rest| (true, rest));
        if let Some(filter) = comparison(text, rest, not) {
            return filter;
        }
        let (mut scope, value) = scope(rest);
        let network = Network::parse(value);
        if let (Ok(Scope::Row), Some(_)) = (&scope, network) {
            scope = Ok(Scope::Fields(fields("ip")));
        }
        let what = match scope {
            Ok(_) => network.map_or_else(|| what(value), What::Network),
            Err(ref why) => What::Invalid(why.clone()),
        };
        Self { text: text.to_owned(), not, scope: scope.unwrap_or(Scope::Row), what }
    }

    /// What tells it from others.
    pub(super) fn signature(&self) -> String {
        match &self.what {
            What::Exact(exact) => format!("{:?}", exact.row()),
            _ => self.text.clone(),
        }
    }

    /// Why it is not a filter.
    pub(super) fn error(&self) -> Option<&str> {
        if let What::Invalid(why) = &self.what { Some(why) } else { None }
    }

    /// Whether a flow is shown; `row` is its row in small letters.
    pub(crate) fn passes(&self, row: &str, flow: &Flow) -> bool {
        let found = match &self.scope {
            Scope::Row if matches!(self.what, What::Exact(_)) => self.what.holds(flow),
            Scope::Row => self.what.is_in(row, false),
            Scope::Fields(fields) => fields.iter().any(|field| self.what.is_in_field(field, flow)),
        };
        self.is_hidden_by_nothing() || found != self.not
    }

    /// Whether a row without fields is shown.
    pub(super) fn passes_text(&self, row: &str) -> bool {
        self.is_hidden_by_nothing() || self.what.is_in(row, false) != self.not
    }

    /// An empty or invalid filter, which hides nothing.
    fn is_hidden_by_nothing(&self) -> bool {
        match &self.what {
            What::Word(word) => word.is_empty(),
            What::Regex(_) | What::Network(_) | What::Compare(_) | What::Exact(_) => false,
            What::Invalid(_) => true,
        }
    }
}

impl What {
    fn holds(&self, flow: &Flow) -> bool {
        matches!(self, What::Exact(exact) if exact.holds(flow))
    }

    fn is_in(&self, text: &str, whole: bool) -> bool {
        match self {
            What::Word(word) if whole => text == word,
            What::Word(word) => text.contains(word.as_str()),
            What::Regex(regex) => regex.is_match(text),
            What::Network(network) => addresses(text).any(|address| network.holds(address)),
            // A line of text has no fields.
            What::Compare(_) | What::Exact(_) | What::Invalid(_) => true,
        }
    }

    /// Numbers are compared as a whole: `port:80` is not port 8080.
    fn is_in_field(&self, field: &'static Field, flow: &Flow) -> bool {
        let value = field.get(flow);
        match (self, &value) {
            (What::Compare(compare), _) => return compare.holds(field, flow),
            (What::Network(network), Value::Ip(address)) => return network.holds(*address),
            (What::Network(_), _) => return false,
            (What::Word(word), Value::Ip(address)) if word.parse::<IpAddr>().is_ok() => {
                return word.parse() == Ok(*address);
            }
            _ => {}
        }
        let plain = shown(&value).to_lowercase();
        let whole = matches!(value, Value::Int(_));
        let shown = || columns::by_field(field.name).map(|column| column.text(flow).to_lowercase());
        value != Value::Absent
            && (self.is_in(&plain, whole)
                || shown().is_some_and(|text| self.is_in(&text, false) && (!whole || text != plain)))
    }
}

/// The addresses in a line of text, with or without a port behind them.
fn addresses(text: &str) -> impl Iterator<Item = IpAddr> {
    let words = text.split(|c: char| !c.is_ascii_hexdigit() && c != '.' && c != ':');
    let address = |word: &str| {
        let without_port = word.split_once(':').filter(|(_, port)| !port.contains(':')).map_or(word, |(host, _)| host);
        without_port.parse().or_else(|_| word.trim_end_matches(':').parse()).ok()
    };
    words.filter_map(address)
}

/// `field:` and what is behind it. An IPv6 address is no field.
fn scope(text: &str) -> (Result<Scope, String>, &str) {
    let Some((name, value)) = text.split_once(':') else { return (Ok(Scope::Row), text) };
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let may_be_address = name.chars().all(|c| c.is_ascii_hexdigit());
    match fields(name) {
        _ if !is_name || text.starts_with('/') => (Ok(Scope::Row), text),
        found if !found.is_empty() => (Ok(Scope::Fields(found)), value),
        _ if may_be_address => (Ok(Scope::Row), text),
        _ => (Err(format!("no field {name}")), value),
    }
}

fn fields(name: &str) -> Vec<&'static Field> {
    // What is searched for may stand before or after address translation.
    let alias = netobserv_query::SHORT.iter().find(|(alias, _)| alias.eq_ignore_ascii_case(name));
    if let Some((_, names)) = alias {
        let translated = names.iter().map(|name| format!("Xlat{name}"));
        let all = names.iter().map(|name| (*name).to_owned()).chain(translated);
        return all.filter_map(|name| field::by_name(&name)).collect();
    }
    let title = |column: &Column| column.title.replace(' ', "").eq_ignore_ascii_case(name);
    let column = columns::all().iter().find(|column| title(column)).map(|column| column.field);
    let known = field::FIELDS.iter().find(|field| field.name.eq_ignore_ascii_case(name) || Some(field.name) == column);
    known.into_iter().collect()
}

/// `bytes>1000`, where that is what it is.
fn comparison(text: &str, rest: &str, not: bool) -> Option<Filter> {
    let (name, compare, number) = compare::split(rest)?;
    let fields = fields(name);
    let what = match fields.first().map(|first| compare.with(number, first.name)) {
        None => What::Invalid(format!("no field {name}")),
        Some(None) => What::Invalid(format!("{number:?} is no number of {name}")),
        Some(Some(compare)) => What::Compare(compare),
    };
    Some(Filter { text: text.to_owned(), not, scope: Scope::Fields(fields), what })
}

fn what(text: &str) -> What {
    let Some(pattern) = text.strip_prefix('/') else { return What::Word(text.to_lowercase()) };
    // The last / may still be to come.
    let pattern = pattern.strip_suffix('/').unwrap_or(pattern);
    match RegexBuilder::new(pattern).case_insensitive(true).size_limit(1 << 20).build() {
        Ok(regex) => What::Regex(regex),
        Err(error) => {
            What::Invalid(error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use netobserv_wire::flow::{Dns, Enrichment, Holder, Process, Processes};

    fn flow() -> Flow {
        let mut k8s = Enrichment::default();
        let holder = Holder { name: "nodejs-7c9".into(), namespace: "shop".into(), ..Holder::default() };
        k8s.src.holder = Some(holder.into());
        let dns = Dns { rcode: "NXDomain".into(), name: "db.shop.svc".into(), ..Dns::default() };
        let curl = Process { pid: 42, comm: "curl".into(), container: "c0ffee".into(), ..Process::default() };
        Flow {
            src_addr: "fd00::1".parse().ok(),
            dst_addr: "10.0.0.2".parse().ok(),
            src_port: Some(40_080),
            dst_port: Some(8_080),
            proto: Some(6),
            dns: Some(Box::new(dns)),
            k8s: Some(k8s),
            bytes: 1_234,
            rtt_ns: 6_000_000,
            processes: Some(Box::new(Processes { src: curl, ..Processes::default() })),
            ..Flow::default()
        }
    }

    fn passes(text: &str) -> bool {
        let row = "10:00:00 pod nodejs-7c9 shop fd00::1 10.0.0.2 tcp";
        Filter::parse(text).passes(row, &flow())
    }

    #[test]
    fn each_form_finds_what_it_should() {
        for (text, wanted) in [
            ("", true),
            ("NodeJS", true),
            ("!nodejs", false),
            ("nowhere", false),
            ("!nowhere", true),
            ("fd00::1", true),
            ("fd00::2", false),
            ("/node.*shop/", true),
            ("/^node/", false),
            ("!/^node/", true),
            ("/node.*sh", true),
            ("port:8080", true),
            ("port:80", false),
            ("dport:40080", false),
            ("port:/^80/", true),
            ("SrcK8S_Name:nodejs", true),
            ("srcname:nodejs", true),
            ("ns:shop", true),
            ("ns:nodejs", false),
            ("proto:tcp", true),
            ("proto:6", true),
            ("rcode:nxdomain", true),
            ("!rcode:NXDomain", false),
            ("cause:no", false),
            ("10.0.0.0/8", true),
            ("!10.0.0.0/8", false),
            ("ip:10.1.0.0/16", false),
            ("fd00::/8", true),
            ("::/0", true),
            ("dst:0.0.0.0/0", true),
            ("ip:10.0.0", true),
            ("ip:10.0.0.2", true),
            ("ip:10.0.0.20", false),
            ("ip:0.0.0.2", false),
            ("bytes>1000", true),
            ("bytes>1.5k", false),
            ("!bytes>1.5k", true),
            ("Bytes<=1234", true),
            ("rtt>5ms", true),
            ("rtt>=6ms", true),
            ("rtt<6ms", false),
            ("latency>1s", false),
            ("proc:curl", true),
            ("comm:cur", true),
            ("pid:42", true),
            ("pid:4", false),
            ("container:c0ffee", true),
            ("svc:nodejs", true),
        ] {
            assert_eq!(passes(text), wanted, "{text}");
        }
    }

    #[test]
    fn networks_are_found_in_lines_of_top_too() {
        for (text, line, wanted) in [
            ("10.0.0.0/8", "10.1.2.3:443 → shop/web:80 tcp", true),
            ("10.0.0.0/8", "shop/db-10:443 → 192.0.2.1:80 tcp", false),
            ("!10.0.0.0/8", "dropped 3 → 10.0.0.1", false),
            ("fd00::/8", "[fd00::1]:443 → shop/web:80 tcp", true),
        ] {
            assert_eq!(Filter::parse(text).passes_text(line), wanted, "{text} {line}");
        }
    }

    #[test]
    fn an_invalid_filter_says_why_and_hides_nothing() {
        for (text, why) in [
            ("/a(/", "unclosed group"),
            ("nofield:x", "no field nofield"),
            ("!/[/", "unclosed"),
            ("x>1", "no field x"),
            ("rtt>5kg", "no number"),
        ] {
            let filter = Filter::parse(text);
            assert!(filter.error().is_some_and(|error| error.contains(why)), "{text}: {:?}", filter.error());
            assert!(passes(text), "{text}");
        }
        assert!(Filter::parse("port:80").error().is_none());
    }
}
