//! Where the agent meets the collector: a Unix socket in a folder that only this user can enter, or a port of 127.0.0.1 where
//! both show certificates.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use netobserv_contract::files::create;

use super::folder::Folder;
use crate::certificates::Certificates;

const SOCKET: &str = "collector.sock";
const CA: &str = "ca.crt";
/// Certificate and key, by the names that the collector expects in its `--tls-dir`.
const COLLECTOR: (&str, &str) = ("tls.crt", "tls.key");
/// The same of the agent.
const AGENT: (&str, &str) = ("agent.crt", "agent.key");
/// `sun_path` of Linux, less the closing zero.
const LONGEST_SOCKET_PATH: usize = 107;

/// Why agent and collector cannot meet.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// Another program listens there.
    #[error("port {port} of 127.0.0.1 is in use: choose another --listen-port, or omit it")]
    InUse {
        /// The port.
        port: NonZeroU16,
    },
    /// The port cannot be had for another reason.
    #[error("cannot listen on port {port} of 127.0.0.1: {source}; choose another --listen-port, or omit it")]
    Port {
        /// The port.
        port: NonZeroU16,
        /// The system's error.
        source: io::Error,
    },
    /// There is no place for the socket.
    #[error("cannot make a folder for the socket in {}: {source}; set TMPDIR, or use --listen-port", parent.display())]
    Folder {
        /// Where it was tried.
        parent: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// There are no certificates.
    #[error("cannot make certificates for the port: {0}; omit --listen-port to use a socket")]
    Certificates(#[from] rcgen::Error),
    /// The place for the socket has too long a name.
    #[error("{} is too long for the name of a socket: set TMPDIR to a shorter folder, or use --listen-port", .0.display())]
    TooLong(PathBuf),
}

/// The meeting point. Its folder goes when this is dropped.
#[derive(Debug)]
pub(super) enum Endpoint {
    Socket {
        path: PathBuf,
        _folder: Folder,
    },
    /// Everybody on this machine reaches the port, so both ends show certificates, which are in the folder.
    Port {
        port: NonZeroU16,
        folder: Folder,
    },
}

impl Endpoint {
    /// Checks that `port` is free and makes certificates for a capture of this length, or makes a folder for a socket.
    pub(super) fn open(port: Option<NonZeroU16>, lasts: Duration) -> Result<Self, EndpointError> {
        let parent = std::env::temp_dir();
        match port {
            Some(port) => free_port(port).and_then(|()| Self::port_in(&parent, port, lasts)),
            None => Self::socket_in(&parent),
        }
    }

    fn socket_in(parent: &Path) -> Result<Self, EndpointError> {
        let folder = folder_in(parent)?;
        let path = folder.path().join(SOCKET);
        if path.as_os_str().len() > LONGEST_SOCKET_PATH {
            return Err(EndpointError::TooLong(path));
        }
        Ok(Self::Socket { path, _folder: folder })
    }

    fn port_in(parent: &Path, port: NonZeroU16, lasts: Duration) -> Result<Self, EndpointError> {
        let folder = folder_in(parent)?;
        let made = Certificates::local(lasts, SystemTime::now())?;
        for (name, text) in [
            (CA, &made.ca),
            (COLLECTOR.0, &made.collector.certificate),
            (COLLECTOR.1, &made.collector.key),
            (AGENT.0, &made.agent.certificate),
            (AGENT.1, &made.agent.key),
        ] {
            let written = create(&folder.path().join(name)).and_then(|mut file| file.write_all(text.as_bytes()));
            written.map_err(|source| EndpointError::Folder { parent: parent.to_owned(), source })?;
        }
        Ok(Self::Port { port, folder })
    }

    /// The collector's options.
    pub(super) fn collector_args(&self) -> Vec<OsString> {
        match self {
            Self::Socket { path, .. } => vec!["--listen".into(), unix_address(path)],
            Self::Port { port, folder } => vec![
                "--listen".into(),
                format!("{}:{port}", Ipv4Addr::LOCALHOST).into(),
                "--tls-dir".into(),
                folder.path().into(),
            ],
        }
    }

    /// The agent's variables for the same place.
    pub(super) fn target(&self) -> Vec<(&'static str, OsString)> {
        match self {
            Self::Socket { path, .. } => vec![("TARGET_HOST", unix_address(path))],
            Self::Port { port, folder } => vec![
                ("TARGET_HOST", Ipv4Addr::LOCALHOST.to_string().into()),
                ("TARGET_PORT", port.to_string().into()),
                ("TARGET_TLS_CA_CERT_PATH", folder.path().join(CA).into()),
                ("TARGET_TLS_USER_CERT_PATH", folder.path().join(AGENT.0).into()),
                ("TARGET_TLS_USER_KEY_PATH", folder.path().join(AGENT.1).into()),
            ],
        }
    }

    /// The collector can be reached.
    pub(super) fn is_listening(&self) -> bool {
        match self {
            Self::Socket { path, .. } => path.exists(),
            Self::Port { port, .. } => TcpStream::connect((Ipv4Addr::LOCALHOST, port.get())).is_ok(),
        }
    }
}

fn folder_in(parent: &Path) -> Result<Folder, EndpointError> {
    Folder::new(parent).map_err(|source| EndpointError::Folder { parent: parent.to_owned(), source })
}

fn unix_address(path: &Path) -> OsString {
    let mut address = OsString::from("unix:");
    address.push(path);
    address
}

/// The listener is gone again on return; the collector opens its own.
fn free_port(port: NonZeroU16) -> Result<(), EndpointError> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port.get())) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(EndpointError::InUse { port }),
        Err(source) => Err(EndpointError::Port { port, source }),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_socket_has_a_folder_that_goes_with_it() {
        let parent = tempfile::tempdir().unwrap();
        let endpoint = Endpoint::socket_in(parent.path()).unwrap();
        let listen = endpoint.collector_args().remove(1);
        assert!(listen.to_str().unwrap().starts_with("unix:/"));
        assert_eq!(endpoint.target(), [("TARGET_HOST", listen)]);
        assert!(!endpoint.is_listening());
        assert_eq!(parent.path().read_dir().unwrap().count(), 1);
        drop(endpoint);
        assert_eq!(parent.path().read_dir().unwrap().count(), 0);
    }

    #[test]
    fn a_port_that_is_taken_is_refused() {
        let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = NonZeroU16::new(other.local_addr().unwrap().port()).unwrap();
        let error = Endpoint::open(Some(port), Duration::ZERO).unwrap_err().to_string();
        assert_eq!(error, format!("port {port} of 127.0.0.1 is in use: choose another --listen-port, or omit it"));
    }

    #[test]
    fn a_port_has_certificates_that_only_this_user_can_read() {
        let parent = tempfile::tempdir().unwrap();
        let endpoint = Endpoint::port_in(parent.path(), NonZeroU16::MIN, Duration::from_secs(60)).unwrap();
        let Endpoint::Port { folder, .. } = &endpoint else { panic!("{endpoint:?}") };
        assert_eq!(endpoint.collector_args()[2..], [OsString::from("--tls-dir"), folder.path().into()]);
        let named: Vec<_> = endpoint.target().into_iter().skip(2).map(|(_, path)| PathBuf::from(path)).collect();
        assert!(named.len() == 3 && named.iter().all(|path| path.is_file()), "{named:?}");
        for entry in folder.path().read_dir().unwrap() {
            let mode = entry.unwrap().metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, 0o600);
        }
    }

    #[test]
    fn a_long_folder_is_told() {
        let parent = tempfile::tempdir().unwrap();
        let long = parent.path().join("x".repeat(120));
        std::fs::create_dir(&long).unwrap();
        assert!(Endpoint::socket_in(&long).unwrap_err().to_string().contains("use --listen-port"));
    }
}
