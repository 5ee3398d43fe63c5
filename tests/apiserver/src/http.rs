//! One request: its words, and who answers it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::{Method, Request, Response};
use serde_json::{Value, json};

use crate::answer::{Body, Form, Refused, object};
use crate::path::Target;
use crate::server::Shared;
use crate::{verbs, watch};

/// The words of a request.
pub(crate) struct Words {
    pub(crate) target: Target,
    pub(crate) query: BTreeMap<String, String>,
    pub(crate) form: Form,
}

impl Words {
    /// A parameter of the query, or "".
    pub(crate) fn get(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }

    pub(crate) fn is_set(&self, name: &str) -> bool {
        matches!(self.get(name), "true" | "1")
    }
}

/// Answers a request. One that came over TLS must show a token.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    request: Request<Incoming>,
    secure: bool,
) -> Result<Response<Body>, Infallible> {
    let shown = request.headers().get("authorization").and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    if secure && !shown.is_some_and(|token| shared.admits(token)) {
        return Ok(Refused::new(401, "Unauthorized").answer());
    }
    shared.note(format!("{} {}", request.method(), request.uri()));
    let faults = shared.faults();
    tokio::time::sleep(faults.delay).await;
    Ok(answer(&shared, request).await.unwrap_or_else(|refused| refused.answer()))
}

async fn answer(shared: &Arc<Shared>, request: Request<Incoming>) -> Result<Response<Body>, Refused> {
    let faults = shared.faults();
    if let Some(code) = faults.broken {
        return Err(Refused::new(code, "not today"));
    }
    let (path, method) = (request.uri().path().to_owned(), request.method().clone());
    let Some(target) = Target::read(&path) else { return elsewhere(&path) };
    if faults.absent.contains(&target.collection.plural) {
        return Err(Refused::new(404, "the server could not find the requested resource"));
    }
    if faults.forbidden.contains(&target.collection.plural) {
        let what = format!("{} is forbidden: User \"tester\" cannot do this", target.collection.plural);
        return Err(Refused::new(403, what));
    }
    let accept = request.headers().get("accept").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let words = Words { target, query: query(request.uri().query().unwrap_or_default()), form: Form::wanted(accept) };
    let body = request.into_body().collect().await.map_err(|error| Refused::new(400, error.to_string()))?.to_bytes();
    let body = || serde_json::from_slice::<Value>(&body).map_err(|error| Refused::new(400, error.to_string()));
    match (method, words.target.name.is_some()) {
        (Method::GET, _) if words.is_set("watch") => watch::start(shared, words),
        (Method::GET, true) => verbs::get(shared, &words),
        (Method::GET, false) => verbs::list(shared, &words),
        (Method::POST, _) => verbs::create(shared, &words, body()?),
        (Method::PUT, true) => verbs::replace(shared, &words, body()?),
        (Method::PATCH, true) => verbs::patch(shared, &words, &body()?),
        (Method::DELETE, true) => verbs::delete(shared, &words, &body().unwrap_or_default()),
        (Method::DELETE, false) => verbs::delete_all(shared, &words),
        _ => Err(Refused::new(405, "this does not go here")),
    }
}

fn elsewhere(path: &str) -> Result<Response<Body>, Refused> {
    match path {
        "/version" => Ok(object(200, &json!({"major": "1", "minor": "33", "gitVersion": "v1.33.0"}))),
        "/healthz" | "/livez" | "/readyz" => Ok(object(200, &json!("ok"))),
        path => Err(Refused::new(404, format!("no {path} here"))),
    }
}

fn query(text: &str) -> BTreeMap<String, String> {
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), decode(value))
    };
    text.split('&').filter(|part| !part.is_empty()).map(pair).collect()
}

/// Takes percent signs and plus signs out of a part of a query.
fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let escaped = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let escaped = escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| *first == b'%');
        bytes.push(escaped.unwrap_or(if *first == b'+' { b' ' } else { *first }));
        rest = &after[if escaped.is_some() { 2 } else { 0 }..];
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_decoded() {
        let words = query("labelSelector=app%3Dweb%2Ctier&watch=1&x=a+b%");
        assert_eq!(words["labelSelector"], "app=web,tier");
        assert_eq!((words["watch"].as_str(), words["x"].as_str()), ("1", "a b%"));
    }
}
