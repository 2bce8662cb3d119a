//! `rolectl exec` and `credential-process`: one code serves other AWS tools, too.

use std::collections::BTreeMap;
use std::process::Output;

use anyhow::{Context as _, Result, ensure};
use aws_credential_types::Credentials;
use rolectl_tests::scenario::Scenario;
use serde_json::{Value, json};

/// Runs `rolectl` as the operator and returns its output. Shows that stderr has no secret that AWS has given out.
async fn run(s: &Scenario<'_>, args: &[&str], env: &[(&str, &str)]) -> Result<Output> {
    let output = s.rolectl_as("operator", args, env).await?;
    let error = String::from_utf8_lossy(&output.stderr);
    s.assert_no_secret("stderr", &error)?;
    for secret in s.world.double.secrets().await? {
        ensure!(!error.contains(&secret), "stderr shows a secret");
    }
    Ok(output)
}

/// Runs it, shows that it ends with this code and that stderr has these words, and returns stdout.
async fn ends(
    s: &Scenario<'_>,
    args: &[&str],
    env: &[(&str, &str)],
    code: i32,
    says: &str,
) -> Result<String> {
    let output = run(s, args, env).await?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(code) && error.contains(says),
        "{args:?}: wanted {code} and {says:?}, got {:?}: {error}",
        output.status
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// Returns the environment that a command gets.
async fn environment(
    s: &Scenario<'_>,
    args: &[&str],
    env: &[(&str, &str)],
) -> Result<BTreeMap<String, String>> {
    let args = [&["exec"], args, &["--", "sh", "-c", "env"]].concat();
    let printed = ends(s, &args, env, 0, "").await?;
    let pairs = printed.lines().filter_map(|line| line.split_once('='));
    Ok(pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect())
}

fn credentials(key: &str, secret: &str, token: &str) -> Credentials {
    Credentials::new(key, secret, Some(token.to_owned()), None, "exec")
}

fn in_environment(environment: &BTreeMap<String, String>) -> Result<Credentials> {
    let of = |name: &str| environment.get(name).with_context(|| format!("no {name}"));
    Ok(credentials(
        of("AWS_ACCESS_KEY_ID")?,
        of("AWS_SECRET_ACCESS_KEY")?,
        of("AWS_SESSION_TOKEN")?,
    ))
}

/// Returns the ARN that AWS gives for these credentials.
async fn caller(s: &Scenario<'_>, credentials: Credentials) -> Result<String> {
    let sts = s.world.double.sts(credentials);
    sts.get_caller_identity().send().await?.arn.context("no arn")
}

#[tokio::test]
async fn a_command_gets_the_kept_session_or_the_role_of_an_account_and_nothing_else() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "exec", 1).await?;
    s.unlock().await?;
    let others = [
        ("AWS_SECURITY_TOKEN", "other"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "/other"),
        ("AWS_REGION", "eu-west-1"),
    ];
    let session = environment(&s, &["--session", "exec"], &others).await?;
    let arn = caller(&s, in_environment(&session)?).await?;
    ensure!(arn == format!("arn:aws:iam::{}:user/operator", s.main), "{arn}");
    for name in ["AWS_PROFILE", "AWS_SECURITY_TOKEN", "AWS_WEB_IDENTITY_TOKEN_FILE"] {
        ensure!(!session.contains_key(name), "{name} would win");
    }
    ensure!(
        session.get("AWS_REGION").map(String::as_str) == Some("eu-west-1")
            && session.get("AWS_DEFAULT_REGION").map(String::as_str) == Some("eu-west-1"),
        "{session:?}"
    );

    s.change_account(
        0,
        json!({"assumeRole": {"name": "rolectl", "sourceIdentity": true}}),
    )
    .await?;
    let account = environment(&s, &["--account", "exec-0"], &[]).await?;
    let arn = caller(&s, in_environment(&account)?).await?;
    let role = format!(
        "arn:aws:sts::{}:assumed-role/rolectl/rolectl-cli-exec-0",
        s.targets[0].1
    );
    ensure!(arn == role, "{arn}");
    let end: jiff::Timestamp = account
        .get("AWS_CREDENTIAL_EXPIRATION")
        .context("no end")?
        .parse()?;
    ensure!(end > jiff::Timestamp::now(), "{end}");
    let region = account.get("AWS_REGION").map(String::as_str);
    ensure!(region == Some("us-east-1"), "{region:?}");
    Ok(())
}

#[tokio::test]
async fn the_exit_code_is_the_commands_own_or_that_of_a_shell() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "exec-code", 0).await?;
    s.unlock().await?;
    let exec = |command: &[&'static str]| [&["exec", "--session", "exec-code", "--"], command].concat();
    ends(&s, &exec(&["sh", "-c", "exit 7"]), &[], 7, "").await?;
    ends(&s, &exec(&["/nonexistent"]), &[], 127, "is not found").await?;
    ends(&s, &exec(&["/etc/passwd"]), &[], 126, "cannot be run").await?;
    ends(&s, &["exec", "--session", "exec-code"], &[], 2, "COMMAND").await?;
    // It is the process itself, so a signal ends it.
    let output = run(&s, &exec(&["sh", "-c", "kill -TERM $$"]), &[]).await?;
    let signal = std::os::unix::process::ExitStatusExt::signal(&output.status);
    ensure!(signal == Some(15), "{:?}", output.status);
    Ok(())
}

#[tokio::test]
async fn a_credential_process_prints_awss_format_and_nothing_without_a_session() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "process", 1).await?;
    let process = ["credential-process", "--account", "process-0"];
    // Nobody is there to type a code.
    let nothing = ends(&s, &process, &[], 1, "no MFA code was given").await?;
    ensure!(nothing.is_empty(), "{nothing}");
    s.unlock().await?;
    let printed = ends(&s, &process, &[], 0, "").await?;
    let parsed: Value = serde_json::from_str(&printed)?;
    ensure!(
        parsed["Version"] == 1 && parsed.as_object().is_some_and(|o| o.len() == 5),
        "fields"
    );
    let of = |name: &str| parsed[name].as_str().with_context(|| format!("no {name}"));
    let end: jiff::Timestamp = of("Expiration")?.parse()?;
    ensure!(end > jiff::Timestamp::now(), "{end}");
    let credentials = credentials(of("AccessKeyId")?, of("SecretAccessKey")?, of("SessionToken")?);
    let arn = caller(&s, credentials).await?;
    ensure!(
        arn.contains(&format!("::{}:assumed-role/rolectl/", s.targets[0].1)),
        "{arn}"
    );

    // A terminal keeps what it shows.
    let (code, shown) = s.rolectl_on_terminal("operator", &process, &[], &[]).await?;
    ensure!(code == Some(2) && shown.contains("--force"), "{code:?}: {shown}");
    ensure!(!shown.contains("AccessKeyId"), "a secret is shown");

    // The profile that runs rolectl cannot be the one with the key.
    let config = s.dir.join("own-process");
    std::fs::write(
        &config,
        "[profile own]\ncredential_process = rolectl credential-process\n",
    )?;
    let own = [
        ("AWS_CONFIG_FILE", config.to_str().context("path")?),
        ("AWS_PROFILE", "own"),
    ];
    ends(&s, &process, &own, 1, "gets its credentials from rolectl").await?;
    Ok(())
}

#[tokio::test]
async fn a_locked_a_foreign_and_an_unknown_account_are_refused() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "exec-refused", 2).await?;
    let exec = |account: &'static str| ["exec", "--account", account, "--", "env"];
    ends(
        &s,
        &exec("exec-refused-0"),
        &[],
        2,
        "An MFA code is needed: no session of",
    )
    .await?;
    s.unlock().await?;
    ends(
        &s,
        &exec("exec-refused-typo"),
        &[],
        2,
        "there is no AwsAccount exec-refused-typo",
    )
    .await?;
    // Without a role it is the session's own account, and the object names another.
    s.change_account(0, json!({"assumeRole": null})).await?;
    let printed = ends(
        &s,
        &exec("exec-refused-0"),
        &[],
        1,
        "the credentials are for account",
    )
    .await?;
    ensure!(printed.is_empty(), "the command was run");

    // The same from files, without a cluster.
    let files = crate::once::write_files(&s, &[])?;
    let args = [
        "exec",
        "-f",
        &files,
        "--account",
        "exec-refused-1",
        "--",
        "sh",
        "-c",
        "echo run",
    ];
    let no_cluster = [("KUBECONFIG", "/nowhere")];
    let printed = ends(&s, &args, &no_cluster, 0, "").await?;
    ensure!(printed == "run\n", "{printed}");
    let other = [&args[..4], &["other", "--", "true"]].concat();
    ends(&s, &other, &no_cluster, 1, "no way to a cluster").await?;

    s.lock().await?;
    ends(&s, &args, &no_cluster, 2, "no MFA code was given").await?;
    Ok(())
}
