//! An API server whose writes of statuses get no answer or a refusal, in front of the real one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::control_plane::ControlPlane;

/// The largest request that is passed on.
const MOST: usize = 16 * 1024 * 1024;

/// Passes all requests on, and keeps writes of statuses while it [`Self::hangs`], or answers them with an error while it
/// [`Self::refuses`]. It ends with the runtime that it was made on.
#[derive(Debug)]
pub struct SlowApi {
    /// A kubeconfig of the controller's user for it.
    pub kubeconfig: PathBuf,
    state: Arc<Kept>,
}

#[derive(Debug)]
struct Kept {
    url: String,
    client: reqwest::Client,
    hangs: AtomicBool,
    /// The code of the answer. 0: requests are passed on.
    refuses: AtomicU16,
    /// Writes that came and were kept.
    came: AtomicUsize,
    /// Those that the client gave up.
    left: AtomicUsize,
    released: Notify,
}

impl SlowApi {
    /// In front of the control plane. The kubeconfig is written into `dir`.
    pub async fn start(plane: &ControlPlane, dir: &Path) -> Result<Self> {
        let original = std::fs::read_to_string(plane.kubeconfig("rolectl-controller"))?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = format!("http://{}", listener.local_addr()?);
        let state = Arc::new(Kept {
            url: plane.url.clone(),
            // The server's certificate is made anew at each start and signed by nobody.
            client: reqwest::Client::builder()
                .tls_danger_accept_invalid_certs(true)
                .build()?,
            hangs: AtomicBool::new(false),
            refuses: AtomicU16::new(0),
            came: AtomicUsize::new(0),
            left: AtomicUsize::new(0),
            released: Notify::new(),
        });
        let kubeconfig = dir.join("slow-api.kubeconfig");
        std::fs::write(&kubeconfig, original.replace(&plane.url, &address))?;
        let app = Router::new().fallback(pass_on).with_state(state.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(Self { kubeconfig, state })
    }

    /// From now on writes of statuses get no answer, or are answered again.
    pub fn hangs(&self, hangs: bool) {
        self.state.hangs.store(hangs, Ordering::SeqCst);
        self.state.released.notify_waiters();
    }

    /// From now on writes of statuses are answered with this code, or are passed on.
    pub fn refuses(&self, code: Option<StatusCode>) {
        let code = code.map_or(0, |code| code.as_u16());
        self.state.refuses.store(code, Ordering::SeqCst);
    }

    /// How many writes were kept, and how many of these the client has given up.
    pub fn kept(&self) -> (usize, usize) {
        let count = |n: &AtomicUsize| n.load(Ordering::SeqCst);
        (count(&self.state.came), count(&self.state.left))
    }
}

/// Counts a write as given up, unless it was passed on in the end.
struct Waiting<'a>(&'a Kept, bool);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.1 {
            self.0.left.fetch_add(1, Ordering::SeqCst);
        }
    }
}

async fn pass_on(State(kept): State<Arc<Kept>>, request: Request) -> Response {
    if request.method() == Method::PATCH && request.uri().path().ends_with("/status") {
        if let Ok(code) = StatusCode::from_u16(kept.refuses.load(Ordering::SeqCst)) {
            kept.came.fetch_add(1, Ordering::SeqCst);
            return (code, "no statuses today").into_response();
        }
        while kept.hangs.load(Ordering::SeqCst) {
            kept.came.fetch_add(1, Ordering::SeqCst);
            let mut waiting = Waiting(&kept, false);
            let released = kept.released.notified();
            if kept.hangs.load(Ordering::SeqCst) {
                released.await;
            }
            waiting.1 = true;
        }
    }
    match answer(&kept, request).await {
        Ok(response) => response,
        Err(error) => (StatusCode::BAD_GATEWAY, format!("{error:#}")).into_response(),
    }
}

async fn answer(kept: &Kept, request: Request) -> Result<Response> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().context("no path")?;
    let mut headers = parts.headers;
    headers.remove("host");
    let body = to_bytes(body, MOST).await?;
    let sent = kept
        .client
        .request(parts.method, format!("{}{path}", kept.url))
        .headers(headers)
        .body(body);
    let answer = sent.send().await?;
    let (status, mut headers) = (answer.status(), answer.headers().clone());
    headers.remove("transfer-encoding");
    let mut response = Response::new(Body::from_stream(answer.bytes_stream()));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}
