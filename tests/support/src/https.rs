//! HTTPS between two network namespaces, with the client's secrets in a key log (the format of SSLKEYLOGFILE).

use std::fmt::Display;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::{Finished, Netns, Process, Run, wait_for};

/// Where the server shows [`CONTENT`].
pub const PATH: &str = "/secret-path";
/// What it shows there.
pub const CONTENT: &str = "the secret content";

/// Longest time for the server to begin.
const SOON: Duration = Duration::from_secs(20);

const SERVER: &str = "
import http.server, ssl, sys
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1])
server = http.server.HTTPServer(('0.0.0.0', 443), http.server.SimpleHTTPRequestHandler)
server.socket = context.wrap_socket(server.socket, server_side=True)
print('ready', flush=True)
server.serve_forever()
";
const CLIENT: &str = "
import ssl, sys, urllib.request
context = ssl._create_unverified_context()
context.keylog_filename = sys.argv[1]
urllib.request.urlopen(sys.argv[2], context=context, timeout=3).read()
";

/// A server on port 443 of this namespace that shows the files of `dir`, until it is dropped.
///
/// # Panics
/// When it does not begin.
#[track_caller]
pub fn serve(netns: &Netns, dir: &Path) -> Process {
    fs::write(dir.join(&PATH[1..]), CONTENT).expect("a folder to write to");
    let (certificate, public) = (dir.join("certificate"), dir.join("public"));
    let words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=test", "-keyout"];
    let made = Run::new("openssl").args(words).arg(&certificate).arg("-out").arg(&public).finish();
    assert!(made.success(), "{made}");
    let both = [fs::read(&certificate).expect("a key"), fs::read(public).expect("a certificate")].concat();
    fs::write(&certificate, both).expect("a folder to write to");
    let server = netns.run("python3").args(["-c", SERVER]).arg(&certificate).dir(dir).start();
    assert!(wait_for(SOON, || server.stdout().contains("ready")), "{}", server.stderr());
    server
}

/// A request for [`PATH`] from this namespace; its secrets are added to `keys`.
pub fn ask(netns: &Netns, address: impl Display, keys: &Path) -> Finished {
    netns.run("python3").args(["-c", CLIENT]).arg(keys).arg(format!("https://{address}{PATH}")).finish()
}
