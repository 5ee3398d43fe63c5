//! Answers `GET /metrics`, and nothing else.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::registry::Registry;
use super::text::{self, Form};
use crate::counts::Counts;

/// Connections at a time; more wait.
const CONNECTIONS: usize = 16;
/// Longest connection: a peer that is slow or silent gives its place to another.
const LONGEST: Duration = Duration::from_secs(60);
/// After an error of the system, which is mostly that there are too many files open.
const PAUSE: Duration = Duration::from_millis(200);

/// What is served.
pub(crate) struct Served {
    pub(crate) registry: Arc<Registry>,
    pub(crate) counts: Arc<Counts>,
}

/// Serves until the task is ended.
pub(crate) async fn serve(listener: TcpListener, served: Arc<Served>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                debug!("no connection for /metrics: {error}");
                sleep(PAUSE).await;
                continue;
            }
        };
        let served = served.clone();
        tokio::spawn(async move {
            let answer = service_fn(|request| {
                let answer = answer(&request, &served);
                async { Ok::<_, Infallible>(answer) }
            });
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
            if let Ok(Err(error)) = timeout(LONGEST, connection).await {
                debug!("a connection for /metrics ended: {error}");
            }
            drop(place);
        });
    }
}

fn answer(request: &Request<Incoming>, served: &Served) -> Response<Full<Bytes>> {
    match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/metrics") => {
            let accept = request.headers().get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
            let form = Form::accepted(&accept.collect::<Vec<_>>().join(","));
            let text = text::render(&served.registry, &served.counts.totals(), form);
            let mut response = Response::new(Full::new(text.into()));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(form.content_type()));
            response
        }
        (_, "/metrics") => {
            let mut response = refused(StatusCode::METHOD_NOT_ALLOWED, "use GET\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            response
        }
        _ => refused(StatusCode::NOT_FOUND, "the metrics are at /metrics\n"),
    }
}

fn refused(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response
}
