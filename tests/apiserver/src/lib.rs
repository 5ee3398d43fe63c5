//! An API server for tests: real HTTP, any kind of object, list and watch with resource versions, and on demand the
//! faults that a real one has on a bad day.
//!
//! It knows nothing of what the objects mean: no controllers, no validation, no defaults, and no schema.
//! What it does as Kubernetes does: names of paths, resource versions, pages, watches with bookmarks, `410 Gone` for
//! versions that are too old, label and field selectors, `PartialObjectMetadata`, and answers of kind `Status`.

mod answer;
mod faults;
mod http;
mod path;
mod select;
mod server;
mod store;
mod tls;
mod verbs;
mod watch;

pub use faults::Faults;
pub use server::Server;
pub use store::{Store, merge};
