//! Watches: what happens to objects, line by line, for as long as the client likes.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, StreamBody};
use hyper::Response;
use hyper::body::{Bytes, Frame};
use serde_json::{Value, json};
use tokio::sync::mpsc::{Sender, channel};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use crate::answer::{Body, Refused, with_body};
use crate::http::Words;
use crate::server::Shared;
use crate::verbs::{selected, wanted};

/// How often a client that wants bookmarks gets one. Kubernetes: about a minute.
const BOOKMARK: Duration = Duration::from_millis(500);
/// Longest watch without `timeoutSeconds`.
const LONGEST: u64 = 1_800;

/// One watch under way.
struct Watch {
    shared: Arc<Shared>,
    words: Words,
    version: u64,
    lines: Sender<Bytes>,
}

/// The client is gone, or has been told that it is over.
struct Over;

/// Answers with the objects that there are, if they are asked for, and all that happens from then on.
pub(crate) fn start(shared: &Arc<Shared>, words: Words) -> Result<Response<Body>, Refused> {
    let (lines, receiver) = channel(64);
    let all = words.is_set("sendInitialEvents") || matches!(words.get("resourceVersion"), "" | "0");
    let version = match words.get("resourceVersion") {
        _ if all => 0,
        text => text.parse().map_err(|_| Refused::new(400, "not a resource version"))?,
    };
    let mut watch = Watch { shared: shared.clone(), words, version, lines };
    tokio::spawn(async move {
        let begun = if all { watch.send_all().await } else { Ok(()) };
        if begun.is_ok() {
            let _ = watch.run().await;
        }
    });
    let body = StreamBody::new(ReceiverStream::new(receiver).map(|line| Ok(Frame::data(line))));
    Ok(with_body(200, body.boxed_unsync()))
}

impl Watch {
    /// What there is, and a bookmark that says that this was all.
    async fn send_all(&mut self) -> Result<(), Over> {
        let (version, objects) = {
            let store = self.shared.store();
            let objects: Vec<_> = selected(&store, &self.words).into_iter().map(|(_, object)| object.clone()).collect();
            (store.version(), objects)
        };
        self.version = version;
        for object in objects {
            self.send("ADDED", self.words.form.of(&object)).await?;
        }
        if self.words.is_set("sendInitialEvents") {
            self.bookmark(json!({"k8s.io/initial-events-end": "true"})).await?;
        }
        Ok(())
    }

    async fn run(&mut self) -> Result<(), Over> {
        let longest = self.words.get("timeoutSeconds").parse().unwrap_or(LONGEST);
        let end = tokio::time::sleep(Duration::from_secs(longest));
        tokio::pin!(end);
        let mut bookmarks = interval_at(Instant::now() + BOOKMARK, BOOKMARK);
        bookmarks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut changes = self.shared.changes();
        let mut expired = self.shared.expiries();
        loop {
            self.send_news().await?;
            tokio::select! {
                () = &mut end => return Ok(()),
                () = self.lines.closed() => return Err(Over),
                _ = changes.changed() => {}
                _ = expired.changed() => return self.send_gone().await,
                _ = bookmarks.tick() => if self.words.is_set("allowWatchBookmarks") {
                    self.bookmark(json!({})).await?;
                },
            }
        }
    }

    async fn send_news(&mut self) -> Result<(), Over> {
        let (version, events) = {
            let store = self.shared.store();
            (store.version(), store.since(self.version, &self.words.target))
        };
        let Some(events) = events else { return self.send_gone().await };
        for event in events {
            if wanted(&event.object, &self.words) {
                self.send(event.kind, self.words.form.of(&event.object)).await?;
            }
        }
        self.version = version;
        Ok(())
    }

    async fn send_gone(&mut self) -> Result<(), Over> {
        self.send("ERROR", Refused::new(410, format!("too old resource version: {}", self.version)).status()).await?;
        Err(Over)
    }

    async fn bookmark(&mut self, annotations: Value) -> Result<(), Over> {
        let metadata = json!({"resourceVersion": self.version.to_string(), "annotations": annotations});
        let collection = &self.words.target.collection;
        self.send(
            "BOOKMARK",
            json!({"kind": collection.plural, "apiVersion": collection.version, "metadata": metadata}),
        )
        .await
    }

    async fn send(&self, kind: &str, object: Value) -> Result<(), Over> {
        if self.shared.faults().silent {
            return Ok(());
        }
        let line = format!("{}\n", json!({"type": kind, "object": object}));
        self.lines.send(line.into()).await.map_err(|_| Over)
    }
}
