//! What `rolectl` shows of a cluster: the same words each time, and only what is asked for.

use anyhow::{Context as _, Result, ensure};
use rolectl_tests::scenario::{Scenario, World};
use rolectl_tests::wait::until;
use serde_json::{Value, json};

/// A cluster with a role in sync, one that drifted and is only reported, and one that cannot be.
async fn cluster(name: &str) -> Result<Scenario<'static>> {
    let s = Scenario::new(crate::world().await?, name, 2).await?;
    let reader = |actions: &[&str]| json!({"Version": "2012-10-17", "Statement": [{"Sid": "Read", "Effect": "Allow", "Action": actions, "Resource": "*"}]});
    let first = json!({"names": [s.targets[0].0]});
    s.apply(&s.role("good", json!({"managedPolicies": ["ReadOnlyAccess"]})))
        .await?;
    s.apply(&s.role(
        "changed",
        json!({"accounts": first, "drift": "Report", "inlinePolicies": {"reader": reader(&["s3:GetObject"])}}),
    ))
    .await?;
    s.apply(&s.role(
        "typo",
        json!({"accounts": first, "managedPolicies": ["ReadOnlyAcess"]}),
    ))
    .await?;
    s.start_controller()?;
    // A role that is only reported is made by hand.
    let iam = s.hands(0).await?;
    let trust = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ec2.amazonaws.com"}}]});
    let owner = aws_sdk_iam::types::Tag::builder()
        .key("iam.rolectl.dev/owner")
        .value(format!("test/{name}/changed"))
        .build()?;
    iam.create_role()
        .role_name("changed")
        .tags(owner)
        .assume_role_policy_document(trust.to_string())
        .send()
        .await?;
    iam.put_role_policy()
        .role_name("changed")
        .policy_name("reader")
        .policy_document(reader(&["s3:GetObject", "s3:PutObject"]).to_string())
        .send()
        .await?;
    s.unlock().await?;
    s.role_is("good", "True", "InSync").await?;
    s.role_is("changed", "False", "Drifted").await?;
    s.role_is("typo", "False", "InvalidSpec").await?;
    // The counts of an account follow the changes of its roles by some seconds.
    for (target, counts) in [(0, (3, 1)), (1, (1, 0))] {
        until("the counts of the account", || async {
            let account = s.account_is(target, "InSync").await.map_err(|e| e.to_string())?;
            let roles = account.status.and_then(|status| status.roles);
            match roles.map(|roles| (roles.managed, roles.drifted)) {
                Some(there) if there == counts => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await?;
    }
    Ok(s)
}

/// Runs it as an administrator, and returns what it printed, with names for what differs from run to run.
async fn shown(s: &Scenario<'_>, args: &[&str]) -> Result<String> {
    let output = s.rolectl_as("admin", args, &[]).await?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "rolectl {}: {error}", args.join(" "));
    let mut text = String::from_utf8(output.stdout)?;
    s.assert_no_secret("the output", &format!("{text}{error}"))?;
    for (n, (_, id)) in s.targets.iter().enumerate() {
        text = text.replace(id, &format!("<account {n}>"));
    }
    Ok(text.replace(&s.main, "<main>"))
}

/// Moments are other ones each time: `2026-01-02 03:04:05 UTC (in 11h 59m)`.
fn timeless(text: &str) -> String {
    let mut pieces = text.split(" UTC (");
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let date = out.len() - "2026-01-02 03:04:05".len();
        out.replace_range(date.., "<moment>");
        out.push_str(piece.split_once(')').map_or("", |(_, rest)| rest));
    }
    out
}

#[tokio::test]
async fn get_describe_status_and_whoami_show_who_is_what_where_and_why() -> Result<()> {
    let s = cluster("shown").await?;
    insta::assert_snapshot!("get", shown(&s, &["get", "roles", "-n", "shown"]).await?);
    insta::assert_snapshot!(
        "get_state",
        shown(&s, &["get", "roles", "-n", "shown", "--state", "drifted"]).await?
    );
    for role in ["good", "changed", "typo"] {
        insta::assert_snapshot!(
            format!("describe_{role}"),
            shown(&s, &["describe", "role", role, "-n", "shown"]).await?
        );
    }
    insta::assert_snapshot!(
        "describe_diff",
        shown(&s, &["describe", "role", "changed", "-n", "shown", "--diff"]).await?
    );
    // Other tests have their objects in the same cluster.
    let status = shown(&s, &["status"]).await?;
    let ours = |line: &&str| line.starts_with("shown") || line.contains("STATE") || line.contains("PHASE");
    let status: Vec<&str> = status.lines().filter(ours).collect();
    insta::assert_snapshot!("status", ageless(&columns(&status)));
    let whoami = shown(&s, &["whoami"]).await?;
    let others = |line: &&str| !line.contains("may not open");
    let whoami: Vec<&str> = whoami.lines().filter(others).collect();
    insta::assert_snapshot!("whoami", timeless(&whoami.join("\n")));
    Ok(())
}

/// Returns a table without its ages, which are other ones each time: `9s`, `in 11h59m`.
fn ageless(table: &str) -> String {
    let is_age = |cell: &str| {
        let cell = cell.strip_prefix("in ").unwrap_or(cell);
        cell.starts_with(|c: char| c.is_ascii_digit())
            && cell.ends_with(['s', 'm', 'h'])
            && cell.chars().all(|c| c.is_ascii_digit() || "smh".contains(c))
    };
    let line = |line: &str| {
        let cells = line
            .split(" | ")
            .map(|cell| if is_age(cell) { "<age>" } else { cell });
        cells.collect::<Vec<_>>().join(" | ") + "\n"
    };
    table.lines().map(line).collect()
}

/// Cells that stand apart by two blanks or more, whose width other tests' objects do not change.
fn columns(lines: &[&str]) -> String {
    let cells = |line: &str| {
        let cells = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty());
        cells.collect::<Vec<_>>().join(" | ")
    };
    lines.iter().map(|line| cells(line) + "\n").collect()
}

#[tokio::test]
async fn status_and_version_warn_that_no_controller_is_running() -> Result<()> {
    crate::world().await?;
    // A control plane of its own: in the shared one controllers of other tests write statuses.
    let world = World::start("e2e-dead").await?;
    let s = Scenario::new(&world, "dead", 1).await?;
    let controller = async |user: &str| -> Result<Value, String> {
        let output = s.rolectl_as(user, &["status", "-o", "json"], &[]).await;
        let output = output.map_err(|e| e.to_string())?;
        let json: Value = serde_json::from_slice(&output.stdout)
            .map_err(|e| format!("{e}: {}", String::from_utf8_lossy(&output.stderr)))?;
        Ok(json["controller"].clone())
    };
    let is = async |running: Value| {
        until(&format!("status to show running: {running}"), || async {
            let found = controller("operator").await?;
            if found["running"] == running {
                Ok(found)
            } else {
                Err(found.to_string())
            }
        })
        .await
    };
    is(Value::Null).await?;
    s.unlock().await?;
    // The second one ends in order and gives its Leases back.
    for (signal, verbs) in [("KILL", &["status", "version"][..]), ("TERM", &[])] {
        s.start_controller_with(&[("ROLECTL_SHARDS", "1")])?;
        s.account_is(0, "InSync").await?;
        is(json!(true)).await?;
        s.end_controller(signal).await?;
        is(json!(false)).await?;
        for verb in verbs {
            let output = s.rolectl_as("operator", &[verb], &[]).await?;
            let text = String::from_utf8_lossy(&output.stdout);
            ensure!(
                output.status.success() && text.contains("no controller is running (last seen "),
                "{verb}: {text}"
            );
        }
    }
    // Who may not read Leases is not warned before a sweep is overdue.
    let stranger = controller("stranger").await.map_err(anyhow::Error::msg)?;
    ensure!(
        stranger["running"].is_null() && stranger["lastSeen"].is_string(),
        "{stranger}"
    );
    Ok(())
}

#[tokio::test]
async fn unlock_and_lock_tell_whose_session_for_how_long_and_what_answered() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "told", 2).await?;
    s.start_controller()?;
    let code = s.operator.code().await?;
    let unlock = [
        "unlock",
        "--session",
        "told",
        "--mfa",
        &code,
        "--wait",
        "--duration",
        "8h",
    ];
    insta::assert_snapshot!("unlock", timeless(&shown(&s, &unlock).await?));
    insta::assert_snapshot!(
        "lock",
        timeless(&shown(&s, &["lock", "--session", "told"]).await?)
    );
    Ok(())
}

#[tokio::test]
async fn the_verbs_that_need_no_cluster_are_at_hand_without_one() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "at-hand", 0).await?;
    let alone = async |args: &[&str]| -> Result<String> {
        let output = s
            .rolectl_as("stranger", args, &[("KUBECONFIG", "/nowhere")])
            .await?;
        ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?)
    };
    insta::assert_snapshot!("explain", alone(&["explain"]).await?);
    insta::assert_snapshot!("explain_one", alone(&["explain", "Drifted"]).await?);
    for (shell, sign) in [
        ("bash", "complete -F _rolectl"),
        ("zsh", "#compdef rolectl"),
        ("fish", "complete -c rolectl"),
    ] {
        ensure!(alone(&["completions", shell]).await?.contains(sign), "{shell}");
    }
    let pages = s.dir.join("man");
    std::fs::create_dir_all(&pages)?;
    alone(&["man", &pages.display().to_string()]).await?;
    let page = std::fs::read_to_string(pages.join("rolectl-unlock.1"))?;
    ensure!(
        page.contains(".SH OPTIONS") && page.contains("\\-\\-mfa"),
        "{page}"
    );
    insta::assert_snapshot!("version", alone(&["version"]).await?);
    insta::assert_snapshot!("version_client", alone(&["version", "--client"]).await?);
    Ok(())
}

#[tokio::test]
async fn what_programs_read_is_json_or_yaml_and_goes_through_a_pipe() -> Result<()> {
    let s = cluster("piped").await?;
    let json: Value =
        serde_json::from_str(&shown(&s, &["get", "roles", "-n", "piped", "-o", "json"]).await?)?;
    ensure!(
        json["apiVersion"] == "output.rolectl.dev/v1alpha1" && json["kind"] == "RoleList",
        "{json}"
    );
    let states: Vec<(&str, &str)> = json["items"]
        .as_array()
        .context("a list")?
        .iter()
        .filter_map(|line| Some((line["name"].as_str()?, line["state"].as_str()?)))
        .collect();
    ensure!(
        states
            == [
                ("changed", "Drifted"),
                ("good", "InSync"),
                ("good", "InSync"),
                ("typo", "InvalidSpec")
            ],
        "{states:?}"
    );
    let yaml = shown(&s, &["get", "roles", "-n", "piped", "-o", "yaml"]).await?;
    let parsed: Value = serde_saphyr::from_str(&yaml)?;
    ensure!(parsed == json, "YAML and JSON differ");
    for verb in ["status", "whoami", "version"] {
        let json: Value = serde_json::from_str(&shown(&s, &[verb, "-o", "json"]).await?)?;
        let yaml: Value = serde_saphyr::from_str(&shown(&s, &[verb, "-o", "yaml"]).await?)?;
        ensure!(
            json["kind"].is_string() && yaml["kind"] == json["kind"],
            "{verb}: {json}"
        );
    }
    // A reader that goes away is no error to shout about.
    let line = format!("'{}' get roles -A | head -1", s.world.tools.rolectl.display());
    let output = tokio::process::Command::new("sh")
        .args(["-c", &line])
        .env("KUBECONFIG", s.world.plane.kubeconfig("admin"))
        .output()
        .await?;
    let error = String::from_utf8_lossy(&output.stderr);
    // Another test has objects in this cluster that cannot be read, and the tool names them.
    let mut about_this = error
        .lines()
        .filter(|line| !line.starts_with("Warning: IamRole nested/"));
    ensure!(output.status.success() && about_this.next().is_none(), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_yubikeys_code_is_taken_from_ykman() -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let s = Scenario::new(crate::world().await?, "ykman", 1).await?;
    let code = s.operator.code().await?;
    let bin = s.dir.join("bin");
    std::fs::create_dir_all(&bin)?;
    let ykman = bin.join("ykman");
    std::fs::write(
        &ykman,
        format!("#!/bin/sh\n[ \"$*\" = 'oath accounts code --single aws' ] && echo {code}\n"),
    )?;
    std::fs::set_permissions(&ykman, std::fs::Permissions::from_mode(0o755))?;
    let path = format!("{}:/usr/bin:/bin", bin.display());
    let args = ["unlock", "--session", "ykman", "--ykman", "aws"];
    let output = s.rolectl_as("operator", &args, &[("PATH", &path)]).await?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
