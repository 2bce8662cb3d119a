//! A real etcd and kube-apiserver on free loopback ports.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result, ensure};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};

use crate::process::{Process, Spawn};
use crate::tools::Tools;
use crate::wait::until;

/// Who speaks to the API server: the user's name, its groups, and its token (of a server that lives for a test).
const USERS: &[(&str, &str, &str)] = &[
    ("admin", "system:masters", "admin-token"),
    (
        "system:serviceaccount:rolectl-system:rolectl-controller",
        "system:serviceaccounts",
        "controller-token",
    ),
    ("operator", "operators", "operator-token"),
    ("stranger", "strangers", "stranger-token"),
];

/// A running control plane. Ends when dropped.
#[derive(Debug)]
pub struct ControlPlane {
    /// Where logs and certificates lie.
    pub dir: PathBuf,
    /// URL of the API server.
    pub url: String,
    /// URL of etcd.
    etcd_url: String,
    kubectl: PathBuf,
    apiserver: Mutex<Option<Process>>,
    spawn: (PathBuf, Vec<String>),
    _etcd: Process,
}

/// An address of this machine at which nothing listens, and that is given out once.
///
/// Its port is below those that Linux gives to outgoing connections (`net.ipv4.ip_local_port_range`): one of the many connections of the
/// tests could otherwise take it before the server that it is meant for listens.
pub fn free_address() -> Result<SocketAddr> {
    const PORTS: std::ops::Range<u32> = 20_000..32_000;
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    // Each process begins elsewhere, since several may run at the same time.
    let first = std::process::id().wrapping_mul(97);
    for _ in PORTS {
        let n = first.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(PORTS.start + n % (PORTS.end - PORTS.start))?;
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            return Ok(listener.local_addr()?);
        }
    }
    anyhow::bail!("no port of {PORTS:?} is free")
}

fn free_port() -> Result<u16> {
    free_address().map(|address| address.port())
}

impl ControlPlane {
    /// Starts both, in `dir`, and waits until the API server is ready. Another program may take a port first, so it tries twice.
    pub async fn start(tools: &Tools, dir: &Path) -> Result<Self> {
        match Self::start_once(tools, dir).await {
            Ok(plane) => Ok(plane),
            Err(error) => {
                eprintln!("{error:#}; once more, with other ports");
                Self::start_once(tools, dir).await
            }
        }
    }

    async fn start_once(tools: &Tools, dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let (client_port, peer_port, port) = (free_port()?, free_port()?, free_port()?);
        // The one of a run that has just ended is taken away by its supervisor, which may take some seconds.
        let data = dir.join(format!("etcd-{}-{client_port}", std::process::id()));
        let etcd_url = format!("http://127.0.0.1:{client_port}");
        let peer_url = format!("http://127.0.0.1:{peer_port}");
        let (etcd, _) = Process::spawn(Spawn {
            name: "etcd",
            program: &tools.etcd,
            args: [
                "--unsafe-no-fsync",
                &format!("--data-dir={}", data.display()),
                &format!("--listen-client-urls={etcd_url}"),
                &format!("--advertise-client-urls={etcd_url}"),
                &format!("--listen-peer-urls={peer_url}"),
                &format!("--initial-advertise-peer-urls={peer_url}"),
                &format!("--initial-cluster=default={peer_url}"),
                "--log-level=warn",
            ]
            .map(str::to_owned)
            .to_vec(),
            env: vec![],
            log: &dir.join("etcd.log"),
            remove_at_end: Some(&data),
            pipe: false,
        })?;
        let tokens: String = USERS
            .iter()
            .enumerate()
            .map(|(n, (user, group, token))| format!("{token},{user},uid-{n},\"{group}\"\n"))
            .collect();
        std::fs::write(dir.join("tokens.csv"), tokens)?;
        service_account_keys(dir)?;
        let path = |name: &str| dir.join(name).display().to_string();
        let args = vec![
            format!("--cert-dir={}", path("certs")),
            format!("--secure-port={port}"),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--etcd-servers={etcd_url}"),
            "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-key-file={}", path("sa.pub")),
            format!("--service-account-signing-key-file={}", path("sa.key")),
            "--authorization-mode=RBAC".to_owned(),
            format!("--token-auth-file={}", path("tokens.csv")),
            "--disable-admission-plugins=ServiceAccount".to_owned(),
        ];
        let plane = Self {
            url: format!("https://127.0.0.1:{port}"),
            etcd_url,
            dir: dir.to_owned(),
            kubectl: tools.kubectl.clone(),
            apiserver: Mutex::new(None),
            spawn: (tools.apiserver.clone(), args),
            _etcd: etcd,
        };
        for (user, _, token) in USERS {
            let name = user.rsplit(':').next().unwrap_or(user);
            let user = json!({"token": token});
            std::fs::write(plane.kubeconfig(name), kubeconfig(&plane.url, name, &user))?;
        }
        plane.start_apiserver()?;
        plane.ready().await?;
        Ok(plane)
    }

    /// Removes an object from etcd, past its finalizers, as the API server does when a finalizer is set at the moment of a
    /// deletion. `resource` is its group and plural, `group/plural`.
    pub async fn erase(&self, resource: &str, namespace: &str, name: &str) -> Result<()> {
        let key = format!("/registry/{resource}/{namespace}/{name}");
        let key = serde_json::to_value(k8s_openapi::ByteString(key.into_bytes()))?;
        let url = format!("{}/v3/kv/deleterange", self.etcd_url);
        let request = reqwest::Client::new().post(url);
        let answer = request.json(&serde_json::json!({"key": key})).send().await?;
        let answer: serde_json::Value = answer.error_for_status()?.json().await?;
        ensure!(answer["deleted"] == "1", "nothing was removed: {answer}");
        Ok(())
    }

    /// Starts the API server, as after [`Self::stop_apiserver`].
    pub fn start_apiserver(&self) -> Result<()> {
        let (program, args) = &self.spawn;
        let (process, _) = Process::spawn(Spawn {
            name: "kube-apiserver",
            program,
            args: args.clone(),
            env: vec![],
            log: &self.dir.join("kube-apiserver.log"),
            remove_at_end: None,
            pipe: false,
        })?;
        *self.lock() = Some(process);
        Ok(())
    }

    /// Takes the API server away, as an outage does.
    pub fn stop_apiserver(&self) -> Result<()> {
        let process = self.lock().take().context("the API server does not run")?;
        process.signal("KILL")?;
        drop(process);
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Process>> {
        self.apiserver
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Waits until the API server is ready and has made its own namespaces.
    pub async fn ready(&self) -> Result<()> {
        let client = self.client("admin").await?;
        let log = self.dir.join("kube-apiserver.log");
        until("the API server to be ready", || async {
            if let Some(status) = self.lock().as_ref().and_then(Process::ended) {
                // No use in waiting on.
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                let last: Vec<&str> = said.lines().rev().take(3).collect();
                return Ok(Err(anyhow::anyhow!(
                    "kube-apiserver ended ({status}); the last lines of {}, the newest first: {last:#?}",
                    log.display()
                )));
            }
            let request = http::Request::get("/readyz")
                .body(vec![])
                .map_err(|e| e.to_string())?;
            client.request_text(request).await.map_err(|e| e.to_string())?;
            let namespaces: kube::Api<k8s_openapi::api::core::v1::Namespace> = kube::Api::all(client.clone());
            namespaces
                .get("kube-system")
                .await
                .map(|_| Ok(()))
                .map_err(|e| e.to_string())
        })
        .await?
    }

    /// Kubeconfig of a user: `admin`, `rolectl-controller`, `operator` or `stranger`.
    pub fn kubeconfig(&self, user: &str) -> PathBuf {
        self.dir.join(format!("{user}.kubeconfig"))
    }

    /// Writes the kubeconfig `name` of a user who is not in the token file: admin impersonates that user, so RBAC and admission
    /// policies see the user's name and groups.
    pub fn impersonate(&self, name: &str, user: &str, groups: &[&str]) -> Result<()> {
        let user = json!({"token": "admin-token", "as": user, "as-groups": groups});
        std::fs::write(self.kubeconfig(name), kubeconfig(&self.url, name, &user))?;
        Ok(())
    }

    /// A client of a user. Each test has its own patience: see [`crate::wait`].
    pub async fn client(&self, user: &str) -> Result<Client> {
        let kubeconfig = Kubeconfig::read_from(self.kubeconfig(user))?;
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        config.default_retry = false;
        // It runs while a connection is idle, too, and ends it under the request that comes next.
        config.read_timeout = None;
        Ok(Client::try_from(config)?)
    }

    /// Runs kubectl as admin, with `stdin`.
    pub async fn kubectl_with(&self, args: &[&str], stdin: &str) -> Result<Output> {
        self.kubectl_as("admin", args, stdin).await
    }

    /// Runs kubectl with the kubeconfig of `user`, with `stdin`.
    pub async fn kubectl_as(&self, user: &str, args: &[&str], stdin: &str) -> Result<Output> {
        use tokio::io::AsyncWriteExt as _;
        let mut child = tokio::process::Command::new(&self.kubectl)
            .args(args)
            .env("KUBECONFIG", self.kubeconfig(user))
            .env("HOME", &self.dir)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("kubectl")?;
        if let Some(mut pipe) = child.stdin.take() {
            pipe.write_all(stdin.as_bytes()).await?;
        }
        Ok(child.wait_with_output().await?)
    }

    /// Runs kubectl as admin, and returns what it prints.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String> {
        let output = self.kubectl_with(args, "").await?;
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        ensure!(output.status.success(), "kubectl {}: {err}{out}", args.join(" "));
        Ok(out.into_owned())
    }

    /// `kubectl apply -f -`.
    pub async fn apply(&self, manifest: &str) -> Result<String> {
        let output = self.kubectl_with(&["apply", "-f", "-"], manifest).await?;
        ensure!(
            output.status.success(),
            "kubectl apply: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// The API server signs with a key of its own; no test reads what it signs.
fn service_account_keys(dir: &Path) -> Result<()> {
    let pair = rcgen::KeyPair::generate()?;
    std::fs::write(dir.join("sa.key"), pair.serialize_pem())?;
    std::fs::write(dir.join("sa.pub"), pair.public_key_pem())?;
    Ok(())
}

fn kubeconfig(url: &str, name: &str, user: &Value) -> String {
    // The server's certificate is made anew at each start and signed by nobody.
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": url, "insecure-skip-tls-verify": true}}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": name}}],
    })
    .to_string()
}
