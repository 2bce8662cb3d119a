//! No secret shows: not in logs at their most talkative, nor in spans, statuses, events, metrics or what the tool prints.

use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result, ensure};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use rolectl_tests::control_plane::free_address;
use rolectl_tests::scenario::{Scenario, key_env};
use rolectl_tests::wait::until;
use serde_json::json;

use crate::once::write_files;

/// A collector of spans: what was sent to it, as it came.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<u8>>>);

impl Collector {
    async fn start(&self) -> Result<String> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let take = async |State(Self(all)): State<Self>, body: Bytes| {
            if let Ok(mut all) = all.lock() {
                all.extend_from_slice(&body);
            }
        };
        let router = Router::new()
            .route("/v1/traces", post(take))
            .with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(endpoint)
    }

    /// Names and attributes stand in protobuf as plain text.
    fn text(&self) -> String {
        self.0
            .lock()
            .map(|all| String::from_utf8_lossy(&all).into_owned())
            .unwrap_or_default()
    }
}

#[tokio::test]
async fn a_whole_life_at_trace_level_shows_no_secret_anywhere() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "secrecy", 2).await?;
    let collector = Collector::default();
    let address = free_address()?.to_string();
    s.start_controller_with(&[
        ("RUST_LOG", "trace"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.start().await?),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.name=named,team=platform"),
        ("AWS_SDK_UA_APP_ID", "secrecy"),
        ("ROLECTL_HEALTH_ADDRESS", &address),
    ])?;
    let mut shown = vec![];
    let mut tool = async |code: i32, args: &[&str], env: &[(&str, &str)]| -> Result<()> {
        let env = [&[("RUST_LOG", "trace")], env].concat();
        let output = s.rolectl_as("admin", args, &env).await?;
        let both = [output.stdout, output.stderr].concat();
        ensure!(
            output.status.code() == Some(code),
            "rolectl {} ended with {}, wanted {code}",
            args[0],
            output.status
        );
        shown.push((
            format!("rolectl {}", args.join(" ")),
            String::from_utf8_lossy(&both).into_owned(),
        ));
        Ok(())
    };

    let wrong = ["unlock", "--session", "secrecy", "--mfa", "000000"];
    tool(1, &wrong, &[]).await?;
    let code = s.operator.code().await?;
    tool(0, &["unlock", "--session", "secrecy", "--mfa", &code], &[]).await?;
    // Names of its own: other tests have roles for all accounts of the cluster.
    s.apply(&s.role(
        "canary",
        json!({"managedPolicies": ["ReadOnlyAccess"], "instanceProfile": {}}),
    ))
    .await?;
    s.role_is("canary", "True", "InSync").await?;
    // Failures of each sort, which are where a message might quote what was sent.
    let (_, id) = s.targets[0].clone();
    let faults = json!([
        {"action": "UpdateRole", "times": 1, "code": "Throttling", "status": 400},
        {"action": "UpdateRole", "times": 1, "code": "ServiceFailure", "status": 500},
    ]);
    s.world.double.faults(&id, faults).await?;
    s.apply(&s.role("canary", json!({"description": "other", "tags": {"a": "b"}})))
        .await?;
    s.apply(&s.role("canary-typo", json!({"managedPolicies": ["ReadOnlyAcess"]})))
        .await?;
    s.role_is("canary-typo", "False", "InvalidSpec").await?;
    s.role_is("canary", "True", "InSync").await?;
    for verb in [
        (0, &["status"][..]),
        (0, &["status", "-o", "json"]),
        (0, &["whoami", "-o", "yaml"]),
        (0, &["get", "roles", "-o", "json"]),
        (0, &["describe", "role", "canary", "-n", "secrecy", "--diff"]),
        (
            0,
            &["plan", "-n", "secrecy", "--account", "secrecy-0", "-o", "json"],
        ),
        (0, &["import", "--account", "secrecy-0"]),
        (0, &["version", "-o", "json"]),
    ] {
        tool(verb.0, verb.1, &[]).await?;
    }
    s.delete("canary").await?;
    // Without a cluster, on sessions that are kept in a file.
    let files = write_files(&s, &[s.role("filed", json!({}))])?;
    // The controller of this scenario serves the account.
    let f = ["-f", files.as_str(), "--yes", "--take-over"];
    let code = s.operator.code().await?;
    tool(0, &[&["apply", "--mfa", &code][..], &f].concat(), &[]).await?;
    ensure!(s.in_aws(0, "filed").await?.is_some(), "nothing was applied");
    tool(0, &[&["destroy"][..], &f].concat(), &[]).await?;
    let arn = format!("arn:aws:iam::{id}:role/rolectl");
    let code = s.operator.code().await?;
    let own = ["apply", "--mfa", &code, "--assume-role", &arn];
    tool(0, &[&own[..], &f].concat(), &[]).await?;
    tool(0, &["lint", &files], &[]).await?;
    tool(0, &["explain", "SessionLocked", "-o", "json"], &[]).await?;
    let root = s.world.double.root(&id).await?;
    let admin = key_env(&root);
    let bootstrap = ["bootstrap", "--main-account", &s.main, "--role-name", "made"];
    tool(0, &[&bootstrap[..], &["--apply", "--yes"]].concat(), &admin).await?;
    ensure!(s.in_aws(0, "made").await?.is_some(), "nothing was bootstrapped");
    let root = s.world.double.root(&s.main).await?;
    let admin = key_env(&root);
    let revoke = [
        "lock",
        "--session",
        "secrecy",
        "--revoke",
        "--yes",
        "--user",
        "operator",
    ];
    tool(0, &revoke, &admin).await?;
    // Where somebody types the code.
    let code = s.operator.code().await?;
    let unlock = ["unlock", "--session", "secrecy"];
    let (ended, terminal) = s
        .rolectl_on_terminal(
            "admin",
            &unlock,
            &[("RUST_LOG", "trace")],
            &[("MFA code of", &code)],
        )
        .await?;
    ensure!(ended == Some(0) && !terminal.contains(&code), "the code is shown");
    tool(0, &["lock", "--session", "secrecy"], &[]).await?;
    shown.push(("the terminal".to_owned(), terminal));
    // A Secret that makes no sense.
    let garbled = json!({"apiVersion": "v1", "kind": "Secret", "type": "iam.rolectl.dev/mfa-session", "metadata": {"name": s.secret(), "namespace": s.system()},
        "stringData": {"accessKeyId": "ASIAGARBLED", "secretAccessKey": "canary-of-a-garbled-secret", "sessionToken": "canary-of-a-garbled-secret", "expiration": "never"}});
    s.apply(&garbled).await?;
    until("the controller to have seen it", || async {
        let session = s
            .world
            .plane
            .kubectl(&["get", "mfasession", "secrecy", "-o", "yaml"])
            .await;
        let told = session.map_err(|e| e.to_string())?;
        told.contains("is not an RFC 3339 time").then_some(()).ok_or(told)
    })
    .await?;
    let metrics = reqwest::get(format!("http://{address}/metrics"))
        .await?
        .text()
        .await?;
    ensure!(
        s.end_controller("TERM").await?.success(),
        "it did not end in peace"
    );

    let spans = collector.text();
    for name in [
        "reconcile IamRole",
        "IAM/CreateRole",
        "STS/AssumeRole",
        "secrecy-0",
        "throttled",
        "named",
    ] {
        ensure!(spans.contains(name), "no span tells of {name}");
    }
    ensure!(!spans.contains("rolectl-controller"), "the name was not taken");
    // One for each call and each reconcile, no more and no less.
    let count = |name: &str| spans.matches(name).count();
    let mut calls = vec![];
    for target in 0..2 {
        calls.extend(s.calls(target, 0).await?.calls);
    }
    for action in [
        "CreateRole",
        "AttachRolePolicy",
        "TagRole",
        "GetAccountAuthorizationDetails",
    ] {
        let made = calls
            .iter()
            .filter(|call| call.app == "secrecy" && call.action == action);
        // Each has it twice: as its name and as `rpc.method`.
        let (made, told) = (made.count(), count(&format!("IAM/{action}")));
        ensure!(
            made > 0 && 2 * made == told,
            "{action}: {made} calls, told {told} times"
        );
    }
    let counted = metrics
        .lines()
        .filter(|line| line.starts_with("rolectl_reconciles_total{kind=\"IamRole\""))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok())
        .sum::<usize>();
    let told = count("reconcile IamRole");
    // It may have gone on for a moment after it was asked.
    ensure!(
        counted > 0 && (counted..=counted + 3).contains(&told),
        "{counted} reconciles, {told} spans"
    );
    let log = std::fs::read_to_string(s.log())?;
    ensure!(
        log.contains("TRACE") && log.len() > 10_000,
        "the log is not at its most talkative"
    );
    let in_cluster = [
        "get",
        "iamroles,awsaccounts,mfasessions,events,leases,configmaps",
        "-A",
        "-o",
        "yaml",
    ];
    shown.push(("the log".to_owned(), log));
    shown.push(("the spans".to_owned(), spans));
    shown.push(("the metrics".to_owned(), metrics));
    shown.push((
        "the cluster".to_owned(),
        s.world.plane.kubectl(&in_cluster).await?,
    ));

    let mut secrets = s.world.double.secrets().await?;
    ensure!(secrets.len() > 10, "the double keeps its secrets to itself");
    secrets.extend([s.operator.seed.clone(), "canary-of-a-garbled-secret".to_owned()]);
    for (what, text) in &shown {
        ensure!(!text.is_empty(), "{what} is empty");
        // Not which one: this is printed.
        let found = secrets.iter().any(|secret| text.contains(secret.as_str()));
        ensure!(!found, "{what} shows a secret");
    }
    // The search finds what is there.
    let kept = s.dir.join("aws/credentials");
    let kept = std::fs::read_to_string(kept).context("the operator's own profile")?;
    ensure!(
        secrets.iter().any(|secret| kept.contains(secret.as_str())),
        "the search is blind"
    );
    Ok(())
}
