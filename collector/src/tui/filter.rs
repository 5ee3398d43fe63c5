//! Live filters: the query language (`netobserv_query`), and words and `/regular expressions/` that are looked for in what is shown.

use std::ops::Range;
use std::sync::Arc;

use netobserv_contract::selector::Wanted;
use netobserv_query::{Expr, Query, Used};
use netobserv_wire::Flow;

use super::exact::Exact;
use crate::query::{Predicate, Scratch};

mod kernel;

/// One filter, as it was typed and as it is meant.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    pub(super) text: String,
    what: What,
}

/// What to look for.
#[derive(Clone, Debug)]
enum What {
    Query(Arc<(Query, Predicate)>),
    /// Exactly the records that a row counts.
    Exact(Box<Exact>),
    /// Not a filter: why not, and where. It hides nothing.
    Invalid(String, Range<usize>),
}

impl Filter {
    /// Shows exactly the records that a row counts; `title` names it.
    pub(super) fn exactly(title: &str, exact: Exact) -> Self {
        Self { text: title.to_owned(), what: What::Exact(Box::new(exact)) }
    }

    /// The row that it stands for.
    pub(super) fn exact_mut(&mut self) -> Option<&mut Exact> {
        if let What::Exact(exact) = &mut self.what { Some(exact) } else { None }
    }

    pub(crate) fn parse(text: &str) -> Self {
        let checked = Query::typed(text).and_then(|query| query.refuse(unknown).map(|()| query));
        let what = match checked {
            Ok(query) => match Predicate::without_names(std::slice::from_ref(&query)) {
                Some(predicate) => What::Query(Arc::new((query, predicate))),
                None => What::Invalid("records do not have this".into(), 0..text.len()),
            },
            Err(error) => What::Invalid(error.what().to_owned(), error.at()),
        };
        Self { text: text.to_owned(), what }
    }

    /// What distinguishes it from others.
    pub(super) fn signature(&self) -> String {
        match &self.what {
            What::Exact(exact) => format!("{:?}", exact.row()),
            _ => self.text.clone(),
        }
    }

    /// Why it is not a filter, and which bytes of it are wrong.
    pub(super) fn error(&self) -> Option<(&str, Range<usize>)> {
        if let What::Invalid(why, at) = &self.what { Some((why, at.clone())) } else { None }
    }

    /// Whether the text of a row matters.
    pub(super) fn reads_rows(&self) -> bool {
        matches!(&self.what, What::Query(query) if reads_rows(&query.0.expr))
    }

    /// Whether a record is shown; `scratch` has its row.
    pub(crate) fn passes(&self, scratch: &mut Scratch, flow: &Flow) -> bool {
        match &self.what {
            What::Query(query) => query.1.holds(flow, scratch),
            What::Exact(exact) => exact.holds(flow),
            What::Invalid(..) => true,
        }
    }

    /// It was typed, and is not of a row that was entered.
    pub(super) fn is_typed(&self) -> bool {
        !matches!(self.what, What::Exact(_))
    }
}

/// Whether something with this row passes all of these.
pub(super) fn pass<'a>(filters: impl IntoIterator<Item = &'a Filter>, row: String, flow: &Flow) -> bool {
    let mut scratch = Scratch::of_row(row);
    filters.into_iter().all(|filter| filter.passes(&mut scratch, flow))
}

/// What to do when nothing passes.
pub(super) fn advice(filters: &[Filter]) -> String {
    let queries =
        filters.iter().filter_map(|filter| if let What::Query(query) = &filter.what { Some(query) } else { None });
    let names: Vec<_> = queries.flat_map(|query| query.0.terms()).filter(|term| !term.text().contains('*')).collect();
    let whole = names.first().map(|term| {
        let (kind, text) = (term.kind.option(), term.text());
        format!("; {kind}:{text} is a whole name, {kind}:{text}* also its beginning")
    });
    format!("Backspace removes one{}", whole.unwrap_or_default())
}

/// What records do not have.
fn unknown(used: &Used) -> Option<String> {
    match used {
        Used::Name(term) if matches!(term.wanted, Wanted::Labels(_)) => {
            Some("records do not have labels: use --label when the capture starts".into())
        }
        Used::Vlan => Some("what is shown does not have VLAN tags".into()),
        _ => None,
    }
}

fn reads_rows(expr: &Expr) -> bool {
    match expr {
        Expr::All(exprs) | Expr::Any(exprs) => exprs.iter().any(reads_rows),
        Expr::Not(expr) => reads_rows(expr),
        Expr::Row(..) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use netobserv_wire::flow::{Dns, Enrichment, Holder, Process, Processes};

    fn flow() -> Flow {
        let mut k8s = Enrichment::default();
        let holder = Holder {
            name: "nodejs-7c9".into(),
            namespace: "shop".into(),
            kind: "Pod".into(),
            owner_name: "nodejs".into(),
            owner_kind: "Deployment".into(),
            host_name: "n1".into(),
            ..Holder::default()
        };
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
        let row = "10:00:00 Pod nodejs-7c9 shop fd00::1 10.0.0.2 TCP";
        pass([&Filter::parse(text)], row.to_owned(), &flow())
    }

    #[test]
    fn each_form_finds_what_it_should() {
        for (text, wanted) in [
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
            ("pod:nodejs-7c9", true),
            ("pod:shop/nodejs-7c9", true),
            ("pod:nodejs", true),
            ("pod:node", false),
            ("pod:node*", true),
            ("src pod:nodejs", true),
            ("dst pod:nodejs", false),
            ("deploy:nodejs", true),
            ("svc:nodejs", false),
            ("node:n1", true),
            ("ns:shop", true),
            ("ns:nodejs", false),
            ("proto:tcp", true),
            ("proto:6", true),
            ("rcode:nxdomain", true),
            ("!rcode:NXDomain", false),
            ("cause:no", false),
            ("nodejs-7c9", true),
            ("7c9", true),
            ("shop rtt>5ms bytes>1k", true),
            ("shop rtt>5ms bytes>2k", false),
            ("nowhere or port:8080", true),
            ("tcp and not port 80", true),
            ("tcp port 8080", true),
            ("(nowhere or shop) proc:curl", true),
            ("\"nodejs-7c9 shop\"", true),
            ("/js-.c9/ /shop/", true),
            ("DstPort = 8080 and SrcK8S_Namespace = \"shop\"", true),
            ("SrcK8S_Name~^node,DstPort~80", true),
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
        ] {
            assert_eq!(passes(text), wanted, "{text}");
        }
    }

    #[test]
    fn an_invalid_filter_says_why_and_hides_nothing() {
        for (text, why, at) in [
            ("/a(/", "unclosed group", 0..4),
            ("nofield:x", "unknown name nofield", 0..7),
            ("shop x>1", "unknown field x", 5..6),
            ("rtt>5kg", "not a time", 4..7),
            ("rtt>5", "the unit is missing", 4..5),
            ("port:", "a value is missing", 5..5),
            ("(shop", "never closed", 0..1),
            ("pod:Web", "small letters", 4..7),
            ("label:app=web", "use --label", 0..13),
        ] {
            let filter = Filter::parse(text);
            let (error, place) = filter.error().unwrap_or_else(|| panic!("{text} is not refused"));
            assert!(error.contains(why), "{text}: {error}");
            assert_eq!(place, at, "{text}");
            assert!(passes(text), "{text}");
        }
        assert!(Filter::parse("port:80").error().is_none());
    }

    #[test]
    fn what_the_options_take_is_taken_on_the_screen_too() {
        for text in [
            "pod:shop/web and dst port 443 and rtt>5ms",
            "tcp port 80 and host 10.0.0.1",
            "SrcK8S_Namespace = \"shop\" and DnsFlagsResponseCode != \"NoError\" and with(DnsId)",
            "not (udp or icmp6) and src net 10.0.0.0/8",
        ] {
            let (option, typed) = (Query::read(text).unwrap(), Query::typed(text).unwrap());
            assert_eq!(option.expr.to_string(), typed.expr.to_string());
            assert!(Filter::parse(text).error().is_none(), "{text}");
        }
    }
}
