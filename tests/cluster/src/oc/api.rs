//! Requests to the API server: one connection each, from inside its network namespace.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use serde_json::Value;

use crate::world::World;

/// The way to the server.
pub(crate) struct Api {
    address: String,
    netns: Mutex<fs::File>,
}

impl Api {
    pub(crate) fn open(world: &World) -> Result<Self, String> {
        let read = |path: std::path::PathBuf| fs::read_to_string(path).map_err(|_| unreachable(""));
        let address = read(world.address_file())?;
        let netns = fs::File::open(read(world.netns_file())?).map_err(|_| unreachable(&address))?;
        Ok(Self { address, netns: Mutex::new(netns) })
    }

    /// The object or list of a path; `None` for 404.
    pub(crate) fn get(&self, path: &str) -> Result<Option<Value>, String> {
        self.call("GET", path, &Value::Null)
    }

    /// Status and answer; `None` for 404.
    pub(crate) fn call(&self, method: &str, path: &str, body: &Value) -> Result<Option<Value>, String> {
        let answer = self.exchange(method, path, body).map_err(|_| unreachable(&self.address))?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| unreachable(&self.address))?;
        let status: u16 = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        let value: Value = serde_json::from_str(body).unwrap_or_default();
        let message = value["message"].as_str().unwrap_or(body);
        match status {
            200..300 => Ok(Some(value)),
            404 => Ok(None),
            403 => Err(format!("Error from server (Forbidden): {message}")),
            409 => Err(format!("Error from server (AlreadyExists): {message}")),
            _ => Err(format!("Error from server (InternalError): {status} {message}")),
        }
    }

    fn exchange(&self, method: &str, path: &str, body: &Value) -> std::io::Result<String> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let mut stream = self.connect()?;
        // HTTP/1.0: the answer ends with the connection, and comes in one piece.
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: api\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    fn connect(&self) -> std::io::Result<TcpStream> {
        let netns = self.netns.lock().unwrap_or_else(std::sync::PoisonError::into_inner).try_clone()?;
        let address = self.address.parse().map_err(|_| std::io::ErrorKind::InvalidInput)?;
        // A thread of its own: the process stays in the namespace it was started in.
        let connect = move || {
            setns(netns, CloneFlags::CLONE_NEWNET)?;
            TcpStream::connect_timeout(&address, Duration::from_secs(5))
        };
        std::thread::spawn(connect).join().unwrap_or_else(|_| Err(std::io::ErrorKind::Other.into()))
    }
}

fn unreachable(address: &str) -> String {
    format!("The connection to the server {address} was refused - did you specify the right host or port?")
}
