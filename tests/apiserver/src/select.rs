//! Label and field selectors: `a=b`, `a==b`, `a!=b`, `a`, `!a`, `a in (b,c)`, `a notin (b,c)`, joined by commas.

use serde_json::Value;

/// Whether an object's labels are those of a selector.
pub(crate) fn labels(object: &Value, selector: &str) -> bool {
    terms(selector).iter().all(|term| holds(term, |name| object["metadata"]["labels"][name].as_str()))
}

/// Whether an object's fields, such as `metadata.name`, are those of a selector.
pub(crate) fn fields(object: &Value, selector: &str) -> bool {
    let field = |path: &str| path.split('.').fold(object, |value, name| &value[name]).as_str();
    terms(selector).iter().all(|term| holds(term, field))
}

/// Parts between commas that do not stand in parentheses.
fn terms(selector: &str) -> Vec<&str> {
    let mut depth = 0;
    let outside = |character: char| {
        depth += i32::from(character == '(') - i32::from(character == ')');
        character == ',' && depth == 0
    };
    selector.split(outside).map(str::trim).filter(|term| !term.is_empty()).collect()
}

fn holds<'a>(term: &str, value: impl Fn(&str) -> Option<&'a str>) -> bool {
    let one_of = |name: &str, list: &str| {
        let list = list.trim().trim_start_matches('(').trim_end_matches(')');
        value(name.trim()).is_some_and(|value| list.split(',').any(|item| item.trim() == value))
    };
    if let Some((name, list)) = term.split_once(" notin ") {
        !one_of(name, list)
    } else if let Some((name, list)) = term.split_once(" in ") {
        one_of(name, list)
    } else if let Some((name, wanted)) = term.split_once("!=") {
        value(name.trim()) != Some(wanted.trim())
    } else if let Some((name, wanted)) = term.split_once('=') {
        value(name.trim()) == Some(wanted.trim_start_matches('=').trim())
    } else if let Some(name) = term.strip_prefix('!') {
        value(name).is_none()
    } else {
        value(term).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn selectors_select() {
        let object =
            json!({"metadata": {"name": "a", "labels": {"app": "web", "tier": "front"}}, "spec": {"nodeName": "n1"}});
        for selector in
            ["", "app=web", "app==web,tier", "app!=db", "!gone", "app in (db, web),tier=front", "app notin (db)"]
        {
            assert!(labels(&object, selector), "{selector}");
        }
        for selector in ["app=db", "app=web,gone", "!app", "app in (db)", "app notin (db, web)"] {
            assert!(!labels(&object, selector), "{selector}");
        }
        assert!(fields(&object, "metadata.name=a,spec.nodeName!=n2") && !fields(&object, "spec.nodeName=n2"));
    }
}
