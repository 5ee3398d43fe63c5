//! The server as a test holds it.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::faults::Faults;
use crate::path::{Key, Target};
use crate::store::Store;
use crate::{http, store, tls};

/// What all requests share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    store: Mutex<Store>,
    faults: Mutex<Faults>,
    requests: Mutex<Vec<String>>,
    /// What who comes over TLS may show.
    tokens: Mutex<HashSet<String>>,
    changes: watch::Sender<u64>,
    expiries: watch::Sender<u64>,
    cuts: watch::Sender<u64>,
}

impl Shared {
    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        lock(&self.store)
    }

    pub(crate) fn faults(&self) -> Faults {
        lock(&self.faults).clone()
    }

    pub(crate) fn note(&self, request: String) {
        lock(&self.requests).push(request);
    }

    pub(crate) fn admits(&self, token: &str) -> bool {
        lock(&self.tokens).contains(token)
    }

    pub(crate) fn changed(&self) {
        self.changes.send_modify(|number| *number += 1);
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub(crate) fn expiries(&self) -> watch::Receiver<u64> {
        self.expiries.subscribe()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running API server on a port of its own on the loopback address. It ends with this value.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    runtime: Runtime,
    address: SocketAddr,
    places: Mutex<Vec<Place>>,
}

/// An address, with or without TLS, and the task that listens there.
struct Place {
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    task: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Place")
            .field("address", &self.address)
            .field("tls", &self.tls.is_some())
            .finish_non_exhaustive()
    }
}

impl Server {
    /// Starts one without objects and without faults.
    ///
    /// # Panics
    /// When the system gives no port or thread.
    pub fn start() -> Self {
        Self::start_on(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    /// As [`Server::start`], at this address.
    ///
    /// # Panics
    /// When the address is taken.
    pub fn start_on(address: SocketAddr) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind(address)).expect("a free address");
        let address = listener.local_addr().expect("its address");
        let server = Self { shared: Arc::default(), runtime, address, places: Mutex::default() };
        server.listen(listener, None);
        server
    }

    /// Listens at one more address, over TLS and for tokens only. Returns the certificate of the authority, as PEM.
    ///
    /// # Panics
    /// When the address is taken.
    pub fn secure_on(&self, address: SocketAddr) -> String {
        let (authority, acceptor) = tls::acceptor(address.ip());
        let listener = self.runtime.block_on(TcpListener::bind(address)).expect("a free address");
        self.listen(listener, Some(acceptor));
        authority
    }

    /// From now on this token, and no other, is good.
    pub fn only_token(&self, token: &str) {
        *lock(&self.shared.tokens) = HashSet::from([token.to_owned()]);
    }

    fn listen(&self, listener: TcpListener, tls: Option<TlsAcceptor>) {
        let address = listener.local_addr().expect("its address");
        let task = Some(self.runtime.spawn(accept(listener, tls.clone(), self.shared.clone())));
        lock(&self.places).push(Place { address, tls, task });
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Creates an object, or replaces the one of its name. It needs `apiVersion`, `kind` and `metadata.name`.
    ///
    /// # Panics
    /// When it lacks one of them.
    #[track_caller]
    pub fn put(&self, object: Value) {
        self.put_all([object]);
    }

    /// Many objects at once: watches see them together.
    ///
    /// # Panics
    /// When one lacks its names.
    #[track_caller]
    pub fn put_all(&self, objects: impl IntoIterator<Item = Value>) {
        let mut store = self.shared.store();
        for object in objects {
            let key = Key::of(&object).unwrap_or_else(|| panic!("apiVersion, kind or name is missing: {object}"));
            store.put(key, object);
        }
        drop(store);
        self.shared.changed();
    }

    /// Lays a patch (RFC 7396) over the object of this path, such as `/api/v1/namespaces/shop/pods/a`.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn patch(&self, path: &str, patch: &Value) {
        assert!(self.patch_if_there(path, patch), "no {path}");
    }

    /// As [`Server::patch`], of an object that somebody else may just delete; whether it was there.
    pub fn patch_if_there(&self, path: &str, patch: &Value) -> bool {
        let Some(key) = Target::read(path).and_then(|target| target.key()) else { return false };
        let mut store = self.shared.store();
        let Some(mut object) = store.get(&key).map(|object| Value::clone(object)) else { return false };
        store::merge(&mut object, patch);
        store.put(key, object);
        drop(store);
        self.shared.changed();
        true
    }

    /// The object of this path.
    pub fn object(&self, path: &str) -> Option<Value> {
        let key = Target::read(path)?.key()?;
        self.shared.store().get(&key).map(|object| Value::clone(object))
    }

    /// The objects of this path, such as `/api/v1/pods`.
    pub fn objects(&self, path: &str) -> Vec<Value> {
        let Some(target) = Target::read(path) else { return Vec::new() };
        self.shared.store().list(&target).into_iter().map(|(_, object)| Value::clone(object)).collect()
    }

    /// Deletes the object of this path; a namespace goes with all that is in it.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn delete(&self, path: &str) {
        assert!(self.delete_if_there(path), "no {path}");
    }

    /// As [`Server::delete`], of an object that somebody else may just delete; whether it was there.
    pub fn delete_if_there(&self, path: &str) -> bool {
        let Some(key) = Target::read(path).and_then(|target| target.key()) else { return false };
        let there = self.shared.store().delete(&key).is_some();
        self.shared.changed();
        there
    }

    /// Changes what goes wrong from now on.
    pub fn faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut lock(&self.shared.faults));
    }

    /// Forgets what happened until now: who asks for an older version is told `410 Gone`.
    pub fn forget_history(&self) {
        self.shared.store().forget();
    }

    /// Tells every open watch `410 Gone`, and forgets what happened until now.
    pub fn expire_watches(&self) {
        self.forget_history();
        self.shared.expiries.send_modify(|number| *number += 1);
    }

    /// Cuts every open connection in the middle of what it says.
    pub fn cut(&self) {
        self.shared.cuts.send_modify(|number| *number += 1);
    }

    /// Cuts every open connection and refuses new ones.
    pub fn down(&self) {
        let tasks: Vec<_> = lock(&self.places).iter_mut().filter_map(|place| place.task.take()).collect();
        for task in tasks {
            task.abort();
            // The port is free once the task is gone.
            let _ = self.runtime.block_on(task);
        }
        self.cut();
    }

    /// Listens again after [`Server::down`], at the same addresses.
    ///
    /// # Panics
    /// When somebody else took one.
    pub fn up(&self) {
        // In the loop's head the lock would be held until its end.
        let places = std::mem::take(&mut *lock(&self.places));
        for place in places {
            self.listen(self.runtime.block_on(TcpListener::bind(place.address)).expect("the same address"), place.tls);
        }
    }

    /// Method and path with query of every request until now.
    pub fn requests(&self) -> Vec<String> {
        lock(&self.shared.requests).clone()
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, shared) = (tls.clone(), shared.clone());
        tokio::spawn(async move {
            match tls {
                None => converse(stream, false, shared).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        converse(stream, true, shared).await;
                    }
                }
            }
        });
    }
}

async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin, secure: bool, shared: Arc<Shared>) {
    let mut cuts = shared.cuts.subscribe();
    let answer = service_fn(move |request| http::serve(shared.clone(), request, secure));
    tokio::select! {
        _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer) => {}
        _ = cuts.changed() => {}
    }
}
