//! `why CLIENT SERVER`: a capture of the two ends, the connection between them if that is wanted, and the reader's report on it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use crate::error::NoDatabase;
use crate::oc::{Call, Oc};
use crate::options::{Live, Reading};
use crate::progress::warn;
use crate::session::SessionError;
use crate::signal::Interrupts;
use crate::{Error, local, session};

/// Between two connections from this machine, and the longest wait for one.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(3);

/// Captures and reports.
///
/// # Errors
///
/// The capture fails, or a demand is not met.
pub fn run(mut live: Live, called_as: &OsStr) -> Result<(), Error> {
    let folder = live.output_dir().join("flow");
    let before = databases(&folder);
    let address = if live.local {
        capture_here(&live)?
    } else {
        find_services(&mut live, called_as)?;
        let settings = live.settings()?;
        session::run(&settings, called_as)?;
        if settings.access.dry_run {
            return Ok(());
        }
        None
    };
    let new = databases(&folder).difference(&before).last().cloned();
    let db = new.ok_or(NoDatabase(folder))?;
    let reading: Reading = live.reading(&db, address)?;
    Ok(local::read(&reading)?)
}

fn databases(folder: &Path) -> BTreeSet<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|ending| ending == "db")).collect()
}

/// A name may be that of a service: the cluster knows. Nothing was created yet, so that Ctrl-C may end the program as it does without us.
fn find_services(live: &mut Live, called_as: &OsStr) -> Result<(), Error> {
    let settings = live.settings()?;
    let oc = Oc::find(called_as, &settings.access, Interrupts::default()).map_err(SessionError::from)?;
    let mut services = Vec::new();
    for (is_server, namespace, name) in live.unclear() {
        let found = oc.run(&Call::service(namespace, name)).map_err(SessionError::from)?;
        services.extend((!found.trim().is_empty()).then_some(is_server));
    }
    services.into_iter().for_each(|is_server| live.is_service(is_server));
    Ok(())
}

/// Captures on this machine; gives the address of the server, if it is known.
fn capture_here(live: &Live) -> Result<Option<IpAddr>, Error> {
    let capture = live.capture()?;
    let target = live.host();
    let (end, over) = channel::<()>();
    thread::scope(|scope| {
        let connected = scope.spawn(move || match &target {
            Some((host, port)) if live.connects => connect(host, *port, &over),
            Some((host, port)) => resolve(host, *port).ok().map(|address| address.ip()),
            None => None,
        });
        let captured = local::run(&capture);
        drop(end);
        let address = connected.join().ok().flatten();
        captured?;
        Ok(address)
    })
}

fn resolve(host: &str, port: u16) -> std::io::Result<SocketAddr> {
    let mut addresses = (host, port).to_socket_addrs()?;
    addresses.next().ok_or_else(|| std::io::Error::other("the name has no address"))
}

/// Opens the connection again and again until `over` is closed: from some moment on it is captured.
fn connect(host: &str, port: u16, over: &Receiver<()>) -> Option<IpAddr> {
    let (mut tried, mut opened, mut last, mut address) = (0, 0, String::new(), None);
    while over.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
        tried += 1;
        let tried_one = resolve(host, port).and_then(|to| {
            address = Some(to.ip());
            TcpStream::connect_timeout(&to, LONGEST)
        });
        match tried_one {
            Ok(_) => opened += 1,
            Err(error) => last = error.to_string(),
        }
    }
    let why = if opened < tried { format!("; the last error: {last}") } else { String::new() };
    warn(&format!("{opened} of {tried} connections from this machine to {host}:{port} were opened{why}"));
    address
}
