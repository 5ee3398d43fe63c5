//! Answers: objects, lists, and `Status` for what does not work.

use std::convert::Infallible;

use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::Response;
use hyper::body::Bytes;
use serde_json::{Value, json};

pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Why a request is refused.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) code: u16,
    reason: &'static str,
    message: String,
}

impl Refused {
    pub(crate) fn new(code: u16, message: impl Into<String>) -> Self {
        let reason = match code {
            400 => "BadRequest",
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "NotFound",
            405 => "MethodNotAllowed",
            409 => "Conflict",
            410 => "Expired",
            429 => "TooManyRequests",
            503 => "ServiceUnavailable",
            _ => "InternalError",
        };
        Self { code, reason, message: message.into() }
    }

    /// There is an object of this name already.
    pub(crate) fn exists(name: &str) -> Self {
        Self { code: 409, reason: "AlreadyExists", message: format!("\"{name}\" already exists") }
    }

    /// As an object of kind `Status`.
    pub(crate) fn status(&self) -> Value {
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
               "message": self.message, "reason": self.reason, "code": self.code})
    }

    pub(crate) fn answer(&self) -> Response<Body> {
        object(self.code, &self.status())
    }
}

/// A JSON body.
pub(crate) fn object(code: u16, value: &Value) -> Response<Body> {
    with_body(code, Full::new(Bytes::from(value.to_string())).boxed_unsync())
}

/// Any body of JSON.
pub(crate) fn with_body(code: u16, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = hyper::StatusCode::from_u16(code).unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static("application/json"));
    response
}

/// How a client wants its objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As they are.
    Whole,
    /// As `PartialObjectMetadata`.
    Metadata,
}

impl Form {
    pub(crate) fn wanted(accept: &str) -> Self {
        if accept.contains("as=PartialObjectMetadata") { Self::Metadata } else { Self::Whole }
    }

    pub(crate) fn of(self, object: &Value) -> Value {
        match self {
            Self::Whole => object.clone(),
            Self::Metadata => {
                json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
            }
        }
    }

    /// Kind and version of a list of what these are.
    pub(crate) fn list_type(self, version: &str, plural: &str, first: Option<&Value>) -> (String, String) {
        match self {
            Self::Metadata => ("PartialObjectMetadataList".into(), "meta.k8s.io/v1".into()),
            Self::Whole => {
                let kind = first.and_then(|object| object["kind"].as_str()).unwrap_or(plural);
                (format!("{kind}List"), version.into())
            }
        }
    }
}
