//! Who is let in over TCP: agents with the session's certificate, whatever else knocks at the same time.

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use netobserv_testkit::{Files, Process, Signal, wait_for};
use netobserv_wire::pbflow::collector_client::CollectorClient;
use netobserv_wire::pbflow::{AgentStatus, CollectorReply, Records};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use support::{SOON, program, records};
use tempfile::TempDir;
use tonic::Status;
use tonic::transport::{Endpoint, Uri};

type Ca = CertifiedIssuer<'static, KeyPair>;

fn ca(name: &str) -> Ca {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate and its key in PEM; `valid` are the years from which and until which.
fn pair(ca: &Ca, valid: (i32, i32)) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    (params.not_before, params.not_after) = (rcgen::date_time_ymd(valid.0, 1, 1), rcgen::date_time_ymd(valid.1, 1, 1));
    (params.signed_by(&key, ca).unwrap().pem(), key.serialize_pem())
}

const VALID: (i32, i32) = (2000, 2100);

struct Lab {
    dir: TempDir,
    ca: Ca,
    address: SocketAddr,
    process: Process,
}

impl Lab {
    fn tls() -> Self {
        let (dir, ca) = (tempfile::tempdir().unwrap(), ca("session"));
        let (certificate, key) = pair(&ca, VALID);
        for (name, text) in [("ca.crt", ca.pem()), ("tls.crt", certificate), ("tls.key", key)] {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let tls = dir.path().to_str().unwrap().to_owned();
        Self::start(dir, ca, &["--tls-dir", &tls])
    }

    fn plain() -> Self {
        Self::start(tempfile::tempdir().unwrap(), ca("unused"), &["--insecure"])
    }

    #[track_caller]
    fn start(dir: TempDir, ca: Ca, words: &[&str]) -> Self {
        // Free now, and hardly taken within a moment.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let run = program(&["get-flows", "--listen", &address.to_string(), "-l", "debug", "--output-dir"]);
        let process = run.arg(output(dir.path())).args(words).start();
        assert!(wait_for(SOON, || process.stderr().contains("Started collector")), "{}", process.stderr());
        Self { dir, ca, address, process }
    }

    /// What a client with (or without) this certificate trusts and shows.
    fn client(&self, own: Option<(String, String)>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
                builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap()
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        config
    }

    /// What a client without a valid certificate gets to read.
    fn knock(&self, config: ClientConfig) -> String {
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
        if let Err(error) = connection.complete_io(&mut stream) {
            return error.to_string();
        }
        StreamOwned::new(connection, stream)
            .read(&mut [0; 1])
            .map_or_else(|error| error.to_string(), |_| "let in".into())
    }

    /// Sends some flows as an agent does.
    fn send(&self, tls: Option<ClientConfig>, number: u64) -> Result<CollectorReply, Status> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (address, config) = (self.address, tls.map(Arc::new));
        let agent = AgentStatus { node: "n1".into(), last: true, ..AgentStatus::default() };
        let records = Records { entries: records::some(0, number), agent: Some(agent), sequence: 0 };
        runtime.block_on(async {
            let endpoint = Endpoint::from_static("http://collector").timeout(SOON);
            let connected = match config {
                None => Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await,
                Some(config) => {
                    let open = tower_connector(address, config);
                    endpoint.connect_with_connector(open).await
                }
            };
            let channel = connected.map_err(|error| Status::unavailable(error.to_string()))?;
            CollectorClient::new(channel).send(records).await.map(tonic::Response::into_inner)
        })
    }

    #[track_caller]
    fn wait_for_log(&self, words: &str) {
        assert!(wait_for(SOON, || self.process.stderr().contains(words)), "{words}: {}", self.process.stderr());
    }

    /// Rows in the files, and connections that were refused.
    fn end(self) -> (u64, u64) {
        self.process.signal(Signal::SIGTERM);
        let finished = self.process.wait(SOON);
        assert!(finished.success(), "{finished}");
        let files = Files::of(&output(self.dir.path()));
        (files.rows(), files.number("SELECT value FROM capture WHERE name = 'refused_connections'"))
    }
}

fn output(dir: &Path) -> std::path::PathBuf {
    dir.join("output")
}

fn tower_connector(
    address: SocketAddr,
    config: Arc<ClientConfig>,
) -> impl tonic::codegen::Service<
    Uri,
    Response = hyper_util::rt::TokioIo<tokio_rustls::client::TlsStream<tokio::net::TcpStream>>,
    Error = std::io::Error,
    Future = impl Future<
        Output = std::io::Result<hyper_util::rt::TokioIo<tokio_rustls::client::TlsStream<tokio::net::TcpStream>>>,
    > + Send,
> + Send {
    tower::service_fn(move |_: Uri| {
        let config = config.clone();
        async move {
            let stream = tokio::net::TcpStream::connect(address).await?;
            let name = ServerName::try_from("localhost").unwrap();
            tokio_rustls::TlsConnector::from(config).connect(name, stream).await.map(hyper_util::rt::TokioIo::new)
        }
    })
}

#[test]
fn only_the_sessions_certificate_is_let_in() {
    let lab = Lab::tls();
    lab.send(Some(lab.client(Some(pair(&lab.ca, VALID)))), 7).expect("let in");
    for (own, alert, told) in [
        (None, "CertificateRequired", "it has no certificate"),
        (Some(pair(&lab.ca, (2000, 2001))), "CertificateExpired", "its certificate has expired"),
        (Some(pair(&lab.ca, (2090, 2100))), "CertificateExpired", "its certificate is not valid yet"),
        (Some(pair(&ca("other"), VALID)), "UnknownCA", "its certificate is not of this session's CA"),
    ] {
        let answer = lab.knock(lab.client(own));
        assert!(answer.contains(alert), "{told}: {answer}");
        lab.wait_for_log("refused a connection from 127.0.0.1:");
        lab.wait_for_log(told);
    }
    assert!(lab.send(None, 7).is_err(), "plaintext");
    lab.wait_for_log("it does not speak TLS");
    lab.send(Some(lab.client(Some(pair(&lab.ca, VALID)))), 5).expect("still let in");
    assert_eq!(lab.end(), (12, 5));
}

#[test]
fn an_older_tls_is_refused() {
    let lab = Lab::tls();
    let mut roots = RootCertStore::empty();
    roots.add(lab.ca.der().clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let old = builder.with_protocol_versions(&[&rustls::version::TLS12]).unwrap();
    let answer = lab.knock(old.with_root_certificates(roots).with_no_client_auth());
    assert!(answer.contains("ProtocolVersion") || answer.contains("alert"), "{answer}");
    lab.wait_for_log("it does not speak TLS 1.3");
}

#[test]
fn tls_at_a_collector_without_it_is_told() {
    let lab = Lab::plain();
    assert!(lab.send(Some(lab.client(None)), 7).is_err());
    lab.wait_for_log("it speaks TLS, and this collector was started with --insecure");
    lab.send(None, 7).expect("let in");
    assert_eq!(lab.end(), (7, 1));
}

#[test]
fn certificates_that_are_not_there_end_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let finished =
        program(&["get-flows", "--listen", "127.0.0.1:0", "--tls-dir"]).arg(dir.path()).dir(dir.path()).finish();
    assert_eq!(finished.code(), 1, "{finished}");
    assert!(finished.stderr.contains("ca.crt") && finished.stderr.contains("--tls-dir names the folder"), "{finished}");
}

/// One flood at a time: both together need more files than this process may have open.
static FLOOD: Mutex<()> = Mutex::new(());

/// Ten thousand connections that say nothing, garbage, and a scan; agents come and go meanwhile.
fn flood(lab: &Lab, agent: &dyn Fn(u64)) {
    const IDLE: usize = 10_000;
    let _turn = FLOOD.lock().unwrap_or_else(PoisonError::into_inner);
    let mut idle = Vec::with_capacity(IDLE);
    for number in 0..IDLE {
        idle.push(TcpStream::connect(lab.address).expect("a connection"));
        if number % 2_500 == 1_250 {
            agent(1);
        }
    }
    for number in 0_u32..1_000 {
        let mut stream = TcpStream::connect(lab.address).expect("a connection");
        let garbage: Vec<u8> = (0..200).map(|at| (number.wrapping_mul(2_654_435_761) >> (at % 24)) as u8).collect();
        // It may be closed already.
        let _ = stream.write_all(&garbage);
    }
    for _ in 0..1_000 {
        drop(TcpStream::connect(lab.address).expect("a connection"));
    }
    agent(1);
    drop(idle);
    agent(1);
}

/// This test holds both ends' worth of files on its own side only.
fn raise_file_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    assert!(hard > 11_000, "a limit of {hard} open files is too low for this test");
}

#[test]
fn ten_thousand_idle_connections_leave_a_capture_with_tls_running() {
    raise_file_limit();
    let lab = Lab::tls();
    let own = pair(&lab.ca, VALID);
    flood(&lab, &|flows| {
        lab.send(Some(lab.client(Some(own.clone()))), flows).expect("let in");
    });
    lab.wait_for_log("too many idle connections");
    assert!(lab.process.stderr().lines().count() < 100, "the log is not flooded");
    let (rows, refused) = lab.end();
    assert_eq!(rows, 6);
    assert!(refused >= 11_000, "{refused}");
}

#[test]
fn ten_thousand_idle_connections_leave_a_capture_without_tls_running() {
    raise_file_limit();
    let lab = Lab::plain();
    flood(&lab, &|flows| {
        lab.send(None, flows).expect("let in");
    });
    let (rows, refused) = lab.end();
    assert_eq!(rows, 6);
    assert!(refused >= 11_000, "{refused}");
}

/// With few files allowed, those that say nothing have to go all the same.
#[test]
fn a_low_limit_of_open_files_is_no_end() {
    let (dir, address) =
        (tempfile::tempdir().unwrap(), TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let words = format!(
        "ulimit -n 200; exec {} get-flows --listen {address} --insecure --output-dir {}",
        env!("CARGO_BIN_EXE_netobserv-collector"),
        output(dir.path()).display()
    );
    let process = netobserv_testkit::Run::new("sh").args(["-c", &words]).start();
    assert!(wait_for(SOON, || process.stderr().contains("Started collector")), "{}", process.stderr());
    let lab = Lab { dir, ca: ca("unused"), address, process };
    let idle: Vec<_> =
        (0..400).filter_map(|_| TcpStream::connect_timeout(&address, Duration::from_secs(5)).ok()).collect();
    // Places come free as fast as the machine is; until then there may be none, and agents ask again.
    let mut last = None;
    let let_in = wait_for(SOON, || lab.send(None, 3).map_err(|error| last = Some(error)).is_ok());
    assert!(let_in, "{last:?}");
    drop(idle);
    assert_eq!(lab.end().0, 3);
}
