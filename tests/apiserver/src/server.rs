//! The server as a test holds it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::faults::Faults;
use crate::path::{Key, Target};
use crate::store::Store;
use crate::{http, store};

/// What all requests share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    store: Mutex<Store>,
    faults: Mutex<Faults>,
    requests: Mutex<Vec<String>>,
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
    listening: Mutex<Option<JoinHandle<()>>>,
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
        let server = Self { shared: Arc::default(), runtime, address, listening: Mutex::default() };
        server.listen(listener);
        server
    }

    fn listen(&self, listener: TcpListener) {
        let task = self.runtime.spawn(accept(listener, self.shared.clone()));
        *lock(&self.listening) = Some(task);
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
        let mut object = self.object(path).unwrap_or_else(|| panic!("no {path}"));
        store::merge(&mut object, patch);
        let key = Target::read(path).and_then(|target| target.key()).expect("the path of an object");
        self.shared.store().put(key, object);
        self.shared.changed();
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
        let key = Target::read(path).and_then(|target| target.key()).expect("the path of an object");
        assert!(self.shared.store().delete(&key).is_some(), "no {path}");
        self.shared.changed();
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
        let task = lock(&self.listening).take();
        if let Some(task) = task {
            task.abort();
            // The port is free once the task is gone.
            let _ = self.runtime.block_on(task);
        }
        self.cut();
    }

    /// Listens again after [`Server::down`], at the same address.
    ///
    /// # Panics
    /// When somebody else took the address.
    pub fn up(&self) {
        self.listen(self.runtime.block_on(TcpListener::bind(self.address)).expect("the same address"));
    }

    /// Method and path with query of every request until now.
    pub fn requests(&self) -> Vec<String> {
        lock(&self.shared.requests).clone()
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(converse(stream, shared.clone()));
    }
}

async fn converse(stream: TcpStream, shared: Arc<Shared>) {
    let mut cuts = shared.cuts.subscribe();
    let answer = service_fn(move |request| http::serve(shared.clone(), request));
    tokio::select! {
        _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer) => {}
        _ = cuts.changed() => {}
    }
}
