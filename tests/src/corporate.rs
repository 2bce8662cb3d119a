//! A corporate network: AWS is behind TLS of a private certificate authority, and only an authenticating proxy leads to it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// The host that AWS has in this network. No DNS server knows it: only the proxy leads there.
pub const HOST: &str = "aws.corp.test";
/// The proxy's user.
pub const USER: &str = "proxyuser";
/// The proxy's password, which must show nowhere.
pub const PASSWORD: &str = "proxy-canary";
/// [`USER`] and [`PASSWORD`] as a `Proxy-Authorization`.
const AUTHORIZATION: &str = "Basic cHJveHl1c2VyOnByb3h5LWNhbmFyeQ==";

/// The network. It ends with the runtime that it was made on.
#[derive(Debug)]
pub struct Corporate {
    /// The certificate authority, in PEM.
    pub ca: PathBuf,
    /// Address of the proxy.
    address: String,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Corporate {
    /// Puts the double at `endpoint` behind TLS and a proxy.
    pub async fn start(endpoint: &str, dir: &Path) -> Result<Self> {
        let mut authority = CertificateParams::new(vec![])?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_key = KeyPair::generate()?;
        let ca = dir.join("ca.pem");
        std::fs::write(&ca, authority.self_signed(&authority_key)?.pem())?;
        let issuer = Issuer::new(authority, authority_key);
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(vec![HOST.to_owned()])?.signed_by(&key, &issuer)?;
        let private = PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let double = endpoint
            .strip_prefix("http://")
            .context("no http endpoint")?
            .to_owned();
        let tls = TcpListener::bind("127.0.0.1:0").await?;
        let aws = tls.local_addr()?.to_string();
        tokio::spawn(async move {
            while let Ok((client, _)) = tls.accept().await {
                let (acceptor, double) = (acceptor.clone(), double.clone());
                tokio::spawn(async move {
                    let client = acceptor.accept(client).await?;
                    join(client, TcpStream::connect(double).await?).await
                });
            }
        });
        let proxy = TcpListener::bind("127.0.0.1:0").await?;
        let address = proxy.local_addr()?.to_string();
        let seen = Arc::<Mutex<Vec<String>>>::default();
        let log = seen.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = proxy.accept().await {
                tokio::spawn(forward(client, aws.clone(), log.clone()));
            }
        });
        Ok(Self { ca, address, seen })
    }

    /// The value of `HTTPS_PROXY`.
    pub fn url(&self) -> String {
        format!("http://{USER}:{PASSWORD}@{}", self.address)
    }

    /// What the proxy was asked for, in order: `HOST:PORT`, or `refused` where the password was missing.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().map(|seen| seen.clone()).unwrap_or_default()
    }
}

/// Serves one `CONNECT`. Whatever host is asked for, only AWS is there.
async fn forward(client: TcpStream, aws: String, seen: Arc<Mutex<Vec<String>>>) -> Result<()> {
    let mut client = BufReader::new(client);
    let mut request = String::new();
    while !request.ends_with("\r\n\r\n") {
        if client.read_line(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let target = request.split_whitespace().nth(1).unwrap_or_default().to_owned();
    let authorized = request.lines().any(|line| {
        line.split_once(": ").is_some_and(|(name, value)| {
            name.eq_ignore_ascii_case("proxy-authorization") && value == AUTHORIZATION
        })
    });
    let note = if authorized { target.as_str() } else { "refused" };
    if let Ok(mut seen) = seen.lock() {
        seen.push(note.to_owned());
    }
    if !authorized || !request.starts_with("CONNECT ") || !target.starts_with(HOST) {
        client
            .write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            .await?;
        return Ok(());
    }
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    join(client, TcpStream::connect(aws).await?).await
}

async fn join(mut one: impl AsyncRead + AsyncWrite + Unpin, mut other: TcpStream) -> Result<()> {
    tokio::io::copy_bidirectional(&mut one, &mut other).await?;
    Ok(())
}
