//! Ways to AWS that are not direct: proxies and private certificate authorities.

use anyhow::{Result, ensure};
use kube::Api;
use kube::api::PostParams;
use rolectl_crds::{AwsAccount, MfaSession, MfaSessionSpec, PARTITIONS, Phase};
use rolectl_tests::corporate::{Corporate, HOST, PASSWORD};
use rolectl_tests::scenario::Scenario;
use serde_json::json;

/// The address of the proxied host, as `CONNECT` names it.
fn target() -> String {
    format!("{HOST}:443")
}

#[tokio::test]
async fn controller_and_tool_reach_aws_through_a_proxy_and_a_private_ca() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "proxy", 1).await?;
    let network = Corporate::start(&s.world.double.endpoint, &s.dir).await?;
    let (proxy, ca) = (network.url(), network.ca.display().to_string());
    let aws = format!("https://{HOST}");
    let env = [
        ("AWS_ENDPOINT_URL", aws.as_str()),
        ("HTTPS_PROXY", proxy.as_str()),
        // The API server is not in that network.
        ("NO_PROXY", "localhost,127.0.0.1"),
        ("AWS_CA_BUNDLE", ca.as_str()),
        ("RUST_LOG", "trace"),
    ];
    s.start_controller_with(&env)?;
    let code = s.operator.code().await?;
    let unlock = ["unlock", "--mfa", &code, "--session", &s.name];
    let output = s.rolectl_as("operator", &unlock, &env).await?;
    let mut shown = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    ensure!(output.status.success() && shown.contains(" ok"), "{shown}");
    s.session_is(Phase::Unlocked).await?;
    s.apply(&s.role("app", json!({}))).await?;
    s.role_is("app", "True", "InSync").await?;
    let seen = network.seen();
    ensure!(
        !seen.is_empty() && seen.iter().all(|asked| *asked == target()),
        "the proxy was asked for {seen:?}"
    );
    shown += &std::fs::read_to_string(s.log())?;
    ensure!(shown.contains("TRACE"), "the log is at trace");
    ensure!(!shown.contains(PASSWORD), "the proxy's password shows");
    Ok(())
}

#[tokio::test]
async fn what_the_network_is_set_to_is_never_bypassed() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "bypass", 0).await?;
    let network = Corporate::start(&s.world.double.endpoint, &s.dir).await?;
    let (proxy, ca) = (network.url(), network.ca.display().to_string());
    let aws = format!("https://{HOST}");
    let direct = s.world.double.endpoint.as_str();
    let missing = s.dir.join("missing.pem").display().to_string();
    let no_certificate = s.dir.join("none.pem");
    std::fs::write(&no_certificate, "no certificate")?;
    let no_certificate = no_certificate.display().to_string();
    let lower = [
        ("AWS_ENDPOINT_URL", aws.as_str()),
        ("https_proxy", proxy.as_str()),
        ("no_proxy", "127.0.0.1"),
        ("SSL_CERT_FILE", ca.as_str()),
    ];
    let output = s.rolectl_as("operator", &["whoami"], &lower).await?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // Each would reach the double if what was set were ignored.
    for (env, says) in [
        (
            vec![("HTTPS_PROXY", "socks5://user:proxy-canary@127.0.0.1:1")],
            "HTTPS_PROXY",
        ),
        (
            vec![("http_proxy", "http://user:proxy canary@127.0.0.1:1")],
            "http_proxy",
        ),
        (vec![("AWS_CA_BUNDLE", missing.as_str())], "AWS_CA_BUNDLE"),
        (
            vec![("AWS_CA_BUNDLE", no_certificate.as_str())],
            "no usable PEM certificate",
        ),
        (
            vec![("HTTP_PROXY", "http://127.0.0.1:1"), ("AWS_ENDPOINT_URL", direct)],
            "AWS does not answer",
        ),
    ] {
        let mut all = vec![("NO_PROXY", "localhost"), ("AWS_ENDPOINT_URL", direct)];
        all.extend(env);
        let output = s.rolectl_as("operator", &["whoami"], &all).await?;
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(
            !output.status.success() && error.contains(says),
            "{all:?}: {error}"
        );
        ensure!(!error.contains("canary"), "a password shows: {error}");
    }
    // The client of the API server reads the variable, too.
    let socks = [("HTTPS_PROXY", "socks5://user:proxy-canary@127.0.0.1:1")];
    let output = s.rolectl_as("operator", &["status"], &socks).await?;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        !output.status.success() && error.contains("HTTPS_PROXY") && !error.contains("canary"),
        "{error}"
    );
    // Without its CA the host is not trusted.
    let output = s
        .rolectl_as(
            "operator",
            &["whoami"],
            &[
                ("AWS_ENDPOINT_URL", &aws),
                ("HTTPS_PROXY", &proxy),
                ("NO_PROXY", "127.0.0.1"),
            ],
        )
        .await?;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        !output.status.success() && error.contains("AWS does not answer"),
        "{error}"
    );
    ensure!(!error.contains(PASSWORD), "a password shows: {error}");
    Ok(())
}

#[tokio::test]
async fn the_api_server_takes_a_region_with_its_own_partition_only() -> Result<()> {
    let client = crate::world().await?.plane.client("admin").await?;
    let accounts: Api<AwsAccount> = Api::all(client.clone());
    let sessions: Api<MfaSession> = Api::all(client);
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let account = |partition: &str, region: &str| -> Result<AwsAccount> {
        Ok(serde_json::from_value(json!({
            "apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "AwsAccount", "metadata": {"name": "region"},
            "spec": {"accountId": "123456789012", "partition": partition, "region": region}}))?)
    };
    for partition in PARTITIONS {
        for other in PARTITIONS {
            let taken = accounts
                .create(&dry, &account(partition.name, other.region)?)
                .await;
            ensure!(
                taken.is_ok() == (partition == other),
                "{} in {}: {taken:?}",
                other.region,
                partition.name
            );
        }
    }
    for (partition, region) in [
        ("aws-mars", "us-east-1"),
        ("aws", "us-east-1.evil.example"),
        ("aws", "US-EAST-1"),
    ] {
        let taken = accounts.create(&dry, &account(partition, region)?).await;
        ensure!(taken.is_err(), "{region} in {partition}");
    }
    let session = MfaSession::new(
        "region",
        MfaSessionSpec {
            region: Some("evil.example".to_owned()),
            ..MfaSessionSpec::of_account("123456789012")
        },
    );
    ensure!(sessions.create(&dry, &session).await.is_err());
    Ok(())
}
