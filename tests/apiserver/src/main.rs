//! The server as a program: `netobserv-test-apiserver [ADDRESS:PORT] [FILE.json ...]` serves the objects of the files (an object, a
//! list of objects, or an object of kind `List`) until it is killed. It prints its URL when it listens.

use std::net::{Ipv4Addr, SocketAddr};

use netobserv_test_apiserver::Server;
use serde_json::Value;

fn main() {
    let mut words = std::env::args().skip(1).peekable();
    let address = words.peek().and_then(|word| word.parse().ok());
    if address.is_some() {
        words.next();
    }
    let server = Server::start_on(address.unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))));
    for file in words {
        let text = std::fs::read(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
        let value: Value = serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
        server.put_all(objects(value));
    }
    println!("{}", server.url());
    loop {
        std::thread::park();
    }
}

fn objects(value: Value) -> Vec<Value> {
    match value {
        Value::Array(list) => list,
        Value::Object(mut object) if object.get("kind").is_some_and(|kind| kind == "List") => {
            objects(object.remove("items").unwrap_or_default())
        }
        Value::Null => Vec::new(),
        object => vec![object],
    }
}
