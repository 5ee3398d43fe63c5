//! Names in a cluster: from the options as typed to the numbers by which rules name what the collector looks up.

use netobserv_contract::selector::{Kind, Numbered, Term};

use super::{OptionError, not_allowed};

/// Which ends of a packet are meant, and the key of a rule for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// One end.
    This,
    /// The other end.
    Peer,
    /// Neither end.
    Not,
}

const ROLES: [(Role, &str, &str); 3] =
    [(Role::This, "", "set"), (Role::Peer, "peer-", "peer_set"), (Role::Not, "not-", "not_set")];

/// What a rule names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Roles([Vec<Term>; 3]);

/// What all rules name. The same things have the same number.
#[derive(Debug, Default)]
pub(super) struct Selections(Vec<Vec<Term>>);

/// What an option names, if it does.
pub(super) fn of_option(option: &str) -> Option<(Role, Kind)> {
    ROLES.iter().rev().find_map(|(role, prefix, _)| Some((*role, Kind::of_option(option.strip_prefix(prefix)?)?)))
}

/// Reads the value of an option.
pub(super) fn read(option: &'static str, kind: Kind, text: &str) -> Result<Term, OptionError> {
    Term::read(kind, text).map_err(|why| {
        let form = match kind {
            Kind::Label => "conditions on labels such as app=web or 'app in (a,b)'",
            Kind::Namespace | Kind::Node => "a name",
            _ => "a name, or NAMESPACE/NAME",
        };
        not_allowed(option, text, format!("{form}: {why}"))
    })
}

impl Roles {
    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(Vec::is_empty)
    }

    pub(super) fn add(&mut self, role: Role, term: Term) {
        let terms = &mut self.0[role as usize];
        if !terms.contains(&term) {
            terms.push(term);
        }
    }

    /// The keys of the rule, with their numbers.
    pub(super) fn numbers(self, selections: &mut Selections) -> impl Iterator<Item = (&'static str, u32)> {
        let named = ROLES.iter().zip(self.0).filter(|(_, terms)| !terms.is_empty());
        named.map(|((_, _, key), terms)| (*key, selections.number(terms)))
    }
}

impl Selections {
    pub(super) fn number(&mut self, terms: Vec<Term>) -> u32 {
        let known = self.0.iter().position(|known| *known == terms);
        let index = known.unwrap_or_else(|| {
            self.0.push(terms);
            self.0.len() - 1
        });
        // There are 64 rules at most.
        u32::try_from(index + 1).unwrap_or(u32::MAX)
    }

    /// Gives each of these a number, if it has none.
    pub(super) fn add_all<'a>(&mut self, terms: impl Iterator<Item = &'a Term>) {
        for term in terms {
            self.number(vec![term.clone()]);
        }
    }

    /// As the collector reads them.
    pub(super) fn words(self) -> Vec<String> {
        let numbered = (1..)
            .zip(self.0)
            .flat_map(|(number, terms)| terms.into_iter().map(move |term| Numbered { number, term }.to_string()));
        numbered.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::expression::Expressions;
    use super::super::filter::rules;
    use super::*;
    use crate::cli::FilterWord;

    fn made(words: &[(&'static str, &str)]) -> Result<(String, Vec<String>), String> {
        let word = |(name, value): &(&'static str, &str)| match *name {
            "or" => FilterWord::Or,
            name => FilterWord::Option(name, (*value).to_owned()),
        };
        let words: Vec<_> = words.iter().map(word).collect();
        let rules = rules(&words, &Expressions::default()).map_err(|error| error.to_string())?;
        Ok((rules.json.unwrap_or_default(), rules.selections))
    }

    #[test]
    fn options_have_their_ends() {
        assert_eq!(of_option("pod"), Some((Role::This, Kind::Pod)));
        assert_eq!(of_option("peer-svc"), Some((Role::Peer, Kind::Service)));
        assert_eq!(of_option("not-label"), Some((Role::Not, Kind::Label)));
        assert_eq!((of_option("port"), of_option("peer-ip"), of_option("not-")), (None, None, None));
    }

    #[test]
    fn rules_name_by_numbers() {
        let words = [
            ("pod", "shop/web"),
            ("ns", "shop"),
            ("not-node", "n1"),
            ("port", "80"),
            ("or", ""),
            ("peer-pod", "shop/web"),
            ("peer-ns", "shop"),
            ("label", "app in (a,b)"),
        ];
        let (json, selections) = made(&words).unwrap();
        assert_eq!(json, r#"[{"not_set":2,"port":80,"set":1},{"peer_set":1,"set":3}]"#);
        assert_eq!(selections, ["1:pod=shop/web", "1:ns=shop", "2:node=n1", "3:label=app in (a,b)"]);
    }

    #[test]
    fn names_that_cannot_be_are_refused_with_their_option() {
        let names = "a name has small letters, digits, - and . only, and * for any of them";
        let wrong = format!("--pod=Web is not valid: use a name, or NAMESPACE/NAME: {names}, not W");
        assert_eq!(made(&[("pod", "Web")]), Err(wrong));
        let wrong = format!("--peer-ns=a/b is not valid: use a name: {names}, not /");
        assert_eq!(made(&[("peer-ns", "a/b")]), Err(wrong));
        let form = "use conditions on labels such as app=web or 'app in (a,b)'";
        let wrong = format!(
            "--not-label=app of (x) is not valid: {form}: after app, use =VALUE, !=VALUE, in (A,B) or notin (A,B), not of (x)"
        );
        assert_eq!(made(&[("not-label", "app of (x)")]), Err(wrong));
    }
}
