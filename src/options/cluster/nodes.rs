//! Which names decide on which nodes agents run.

use serde_json::Value;

use super::super::{OptionError, Rules, switch};
use crate::cli::ClusterArgs;

/// The numbers of the selections whose nodes have agents, as the collector reads them; None for agents on all nodes.
pub(super) fn check(words: &ClusterArgs, rules: &Rules) -> Result<Option<String>, OptionError> {
    if !switch("only-these-nodes", words.only_these_nodes.as_deref(), false)? {
        return Ok(None);
    }
    if words.no_registry.is_some() {
        // Our programs are copied to the pods that there are at the start.
        return Err(OptionError::Excludes { option: "only-these-nodes", other: "no-registry" });
    }
    of_rules(rules.json.as_deref().unwrap_or("[]")).map(Some)
}

/// A packet that a rule keeps passes the node of either end that it names.
fn of_rules(json: &str) -> Result<String, OptionError> {
    let rules: Vec<Value> = serde_json::from_str(json).unwrap_or_default();
    let keep =
        rules.iter().filter(|rule| !rule["action"].as_str().is_some_and(|word| word.eq_ignore_ascii_case("reject")));
    let number =
        |rule: &Value| rule["set"].as_u64().or_else(|| rule["peer_set"].as_u64()).ok_or(OptionError::NodesOfNothing);
    let mut numbers = keep.map(number).collect::<Result<Vec<_>, _>>()?;
    numbers.sort_unstable();
    numbers.dedup();
    if numbers.is_empty() {
        return Err(OptionError::NodesOfNothing);
    }
    Ok(numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_that_keeps_something_names_it() {
        assert_eq!(of_rules(r#"[{"set":2},{"peer_set":1},{"set":2,"port":80}]"#), Ok("1,2".to_owned()));
        assert_eq!(of_rules(r#"[{"action":"Reject","port":22},{"set":1}]"#), Ok("1".to_owned()));
        for rules in ["[]", r#"[{"set":1},{"port":80}]"#, r#"[{"not_set":1}]"#, r#"[{"action":"Reject","set":1}]"#] {
            assert_eq!(of_rules(rules), Err(OptionError::NodesOfNothing), "{rules}");
        }
    }
}
