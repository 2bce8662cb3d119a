//! `rolectl unlock`, `lock` and `status`: each failure has its own message, and changes nothing.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{Patch, PatchParams};
use rolectl_aws::session::SessionSecret;
use rolectl_crds::{MfaSession, Phase};
use rolectl_tests::scenario::{Operator, Scenario, key_env};
use rolectl_tests::tools::{Tools, root};
use serde_json::json;

async fn version(s: &Scenario<'_>) -> Result<Option<String>> {
    let api: Api<Secret> = Api::namespaced(s.client.clone(), &s.system());
    Ok(api
        .get_opt(&s.secret())
        .await?
        .and_then(|secret| secret.metadata.resource_version))
}

/// Runs `unlock` where it must fail with `says`, and shows that nothing was changed.
async fn fails(s: &Scenario<'_>, user: &str, args: &[&str], env: &[(&str, &str)], says: &str) -> Result<()> {
    let before = version(s).await?;
    let output = s.rolectl_as(user, args, env).await?;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        !output.status.success() && error.contains(says),
        "wanted {says:?}, got {:?}: {error}",
        output.status
    );
    ensure!(
        output.status.code() == Some(2) || error.contains("next: "),
        "a failure says what to do next: {error}"
    );
    s.assert_no_secret("the error", &error)?;
    ensure!(version(s).await? == before, "the Secret was changed");
    Ok(())
}

#[tokio::test]
async fn each_failure_of_unlock_has_its_own_message_and_changes_nothing() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "unlock", 1).await?;
    let session = ["--session", "unlock"];
    let unlock = |code: &'static str| ["unlock", "--mfa", code, "--session", "unlock"];
    fails(
        &s,
        "operator",
        &["unlock", "--mfa", "12345"],
        &[],
        "exactly 6 digits",
    )
    .await?;
    fails(
        &s,
        "operator",
        &["unlock", "--mfa", "123456", "--duration", "5m"],
        &[],
        "15m to 36h",
    )
    .await?;
    fails(
        &s,
        "operator",
        &["unlock", "--mfa", "123456", "--session", "nope"],
        &[],
        "there is no MfaSession nope",
    )
    .await?;
    fails(
        &s,
        "stranger",
        &unlock("123456"),
        &[],
        "you may not create Secret",
    )
    .await?;
    fails(
        &s,
        "operator",
        &unlock("123456"),
        &[("KUBECONFIG", "/nonexistent")],
        "no way to a cluster",
    )
    .await?;
    let gone = s.dir.join("gone.kubeconfig");
    std::fs::write(
        &gone,
        std::fs::read_to_string(s.world.plane.kubeconfig("operator"))?
            .replace(&s.world.plane.url, "https://127.0.0.1:1"),
    )?;
    fails(
        &s,
        "operator",
        &unlock("123456"),
        &[("KUBECONFIG", &gone.display().to_string())],
        "the cluster does not answer",
    )
    .await?;
    fails(
        &s,
        "operator",
        &unlock("123456"),
        &[("AWS_PROFILE", "nobody")],
        "no AWS key",
    )
    .await?;
    let temporary = [
        ("AWS_ACCESS_KEY_ID", "ASIAXXXXXXXXXXXXXXXX"),
        ("AWS_SECRET_ACCESS_KEY", "x"),
        ("AWS_SESSION_TOKEN", "x"),
    ];
    fails(
        &s,
        "operator",
        &unlock("123456"),
        &temporary,
        "is itself a session",
    )
    .await?;
    let wrong_key = [
        ("AWS_ACCESS_KEY_ID", "AKIAXXXXXXXXXXXXXXXX"),
        ("AWS_SECRET_ACCESS_KEY", "x"),
    ];
    fails(
        &s,
        "operator",
        &unlock("123456"),
        &wrong_key,
        "AWS does not take the key AKIAXXXXXXXXXXXXXXXX",
    )
    .await?;

    let no_aws = [("AWS_ENDPOINT_URL", "http://127.0.0.1:1")];
    fails(&s, "operator", &unlock("123456"), &no_aws, "AWS does not answer").await?;

    // A code that is wrong, and one that was used.
    let right = s.operator.code().await?;
    let wrong = format!("{:06}", (right.parse::<u32>()? + 1) % 1_000_000);
    fails(
        &s,
        "operator",
        &["unlock", "--mfa", &wrong, session[0], session[1]],
        &[],
        "AWS refused the code",
    )
    .await?;
    let output = s
        .rolectl_as(
            "operator",
            &["unlock", "--mfa", &right, session[0], session[1]],
            &[],
        )
        .await?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    fails(
        &s,
        "operator",
        &["unlock", "--mfa", &right, session[0], session[1]],
        &[],
        "already used",
    )
    .await?;

    // No device, and a second one.
    let root = s.world.double.iam(s.world.double.root(&s.main).await?);
    root.create_user().user_name("bare").send().await?;
    let key = root
        .create_access_key()
        .user_name("bare")
        .send()
        .await?
        .access_key
        .unwrap();
    let may = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iam:ListMFADevices","Resource":"*"}]}"#;
    root.put_user_policy()
        .user_name("bare")
        .policy_name("x")
        .policy_document(may)
        .send()
        .await?;
    let bare = [
        ("AWS_ACCESS_KEY_ID", key.access_key_id.as_str()),
        ("AWS_SECRET_ACCESS_KEY", key.secret_access_key.as_str()),
    ];
    fails(
        &s,
        "operator",
        &unlock("123456"),
        &bare,
        "has no MFA device that shows codes",
    )
    .await?;
    let second = root
        .create_virtual_mfa_device()
        .virtual_mfa_device_name("second")
        .send()
        .await?
        .virtual_mfa_device
        .unwrap();
    let seed = String::from_utf8(second.base32_string_seed.unwrap().into_inner())?;
    let now = u64::try_from(jiff::Timestamp::now().as_second())?;
    let totp = rolectl_tests::scenario::totp(&seed)?;
    root.enable_mfa_device()
        .user_name("operator")
        .serial_number(&second.serial_number)
        .authentication_code1(totp.generate(now - 30).to_string())
        .authentication_code2(totp.generate(now).to_string())
        .send()
        .await?;
    fails(&s, "operator", &unlock("123456"), &[], "several MFA devices").await?;
    // Named, it works.
    let code = s.operator.code().await?;
    let named = [
        "unlock",
        "--mfa",
        &code,
        session[0],
        session[1],
        "--serial",
        &s.operator.serial,
    ];
    let output = s.rolectl_as("operator", &named, &[]).await?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );

    // A key of another account.
    let stranger = Operator::enroll(&s.world.double, &s.targets[0].1, "alien").await?;
    let alien = key_env(&stranger.key);
    fails(
        &s,
        "operator",
        &unlock("123456"),
        &alien,
        "MfaSession unlock is of account",
    )
    .await?;

    // The root user, and a session for another partition.
    let root = s.world.double.root(&s.main).await?;
    fails(
        &s,
        "operator",
        &unlock("123456"),
        &key_env(&root),
        "the root user",
    )
    .await?;
    let china = json!({"apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "MfaSession", "metadata": {"name": "unlock-cn"},
        "spec": {"accountId": s.main, "region": "cn-north-1", "secretName": s.secret()}});
    s.apply(&china).await?;
    let other = ["unlock", "--mfa", "123456", "--session", "unlock-cn"];
    fails(&s, "operator", &other, &[], "is of partition aws-cn").await?;
    let mars = [("AWS_REGION", "us-mars-north-1")];
    fails(&s, "operator", &unlock("123456"), &mars, "unknown AWS region").await?;
    Ok(())
}

#[tokio::test]
async fn status_tells_people_and_programs_the_same() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "status", 1).await?;
    s.start_controller()?;
    s.unlock().await?;
    s.apply(&s.role("app", serde_json::json!({}))).await?;
    s.role_is("app", "True", "InSync").await?;
    let output = s.rolectl_as("operator", &["status"], &[]).await?;
    let table = String::from_utf8(output.stdout)?;
    let line = |starts: &str| {
        table
            .lines()
            .find(|l| l.starts_with(starts))
            .map(|l| l.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    ensure!(
        line("status/app").as_deref() == Some("status/app InSync 1/1"),
        "{table}"
    );
    ensure!(
        line("status ").is_some_and(|l| l.starts_with("status Unlocked")),
        "{table}"
    );
    ensure!(line("status-0").is_some_and(|l| l.contains("InSync")), "{table}");
    let output = s.rolectl_as("operator", &["status", "-o", "json"], &[]).await?;
    let all: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let role = all["roles"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|r| r["name"] == "app" && r["namespace"] == "status")
        .cloned()
        .unwrap_or_default();
    ensure!(
        role["ready"] == "True" && role["accounts"][0]["accountId"] == s.targets[0].1.as_str(),
        "{role}"
    );
    let output = s.rolectl_as("operator", &["status", "-o", "yaml"], &[]).await?;
    ensure!(String::from_utf8(output.stdout)?.contains("phase: Unlocked"));
    Ok(())
}

#[tokio::test]
async fn lock_takes_the_session_away_and_again_is_no_error() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "lock", 1).await?;
    s.unlock().await?;
    ensure!(version(&s).await?.is_some());
    s.lock().await?;
    ensure!(version(&s).await?.is_none());
    s.lock().await
}

#[tokio::test]
async fn the_reference_holds_the_help_of_every_verb() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "help", 0).await?;
    let mut page = "<!-- Generated by `INSTA_UPDATE=always cargo test --test e2e the_reference_holds`. Do not edit. -->\n\n\
        # rolectl\n\nWhat each verb says with `--help`.\n"
        .to_owned();
    // Depth first, in the order of the help.
    let mut verbs = vec![String::new()];
    while let Some(verb) = verbs.pop() {
        let args: Vec<&str> = verb.split_whitespace().chain(["--help"]).collect();
        let output = s.rolectl_as("operator", &args, &[]).await?;
        let help = String::from_utf8(output.stdout)?;
        let help: Vec<&str> = help.lines().map(str::trim_end).collect();
        let commands = help.iter().skip_while(|line| **line != "Commands:").skip(1);
        let commands = commands.take_while(|line| !line.is_empty());
        let commands: Vec<String> = commands
            .filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')))
            .filter_map(|line| line.split_whitespace().next())
            .filter(|command| *command != "help")
            .map(|command| format!("{verb} {command}").trim().to_owned())
            .collect();
        ensure!(
            !commands.is_empty() || help.iter().any(|line| line.starts_with("Exit codes")),
            "{verb} does not tell its exit codes"
        );
        verbs.extend(commands.into_iter().rev());
        let title = format!("rolectl {verb}");
        write!(
            page,
            "\n## {}\n\n```text\n{}\n```\n",
            title.trim_end(),
            help.join("\n")
        )?;
    }
    let file = root().join("docs/reference/rolectl.md");
    // insta's own, by which snapshots are written, too.
    #[allow(clippy::disallowed_methods)]
    if std::env::var_os("INSTA_UPDATE").is_some_and(|update| update == "always") {
        std::fs::write(&file, &page)?;
    }
    let on_disk = std::fs::read_to_string(&file).unwrap_or_default();
    let stale = page.lines().zip(on_disk.lines()).find(|(now, then)| now != then);
    ensure!(
        page == on_disk,
        "docs/reference/rolectl.md is stale, its first line says how to write it anew: {stale:?}"
    );
    Ok(())
}

#[tokio::test]
async fn revoking_ends_every_session_that_was_begun_before() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "revoke", 1).await?;
    s.start_controller()?;
    s.unlock().await?;
    s.account_is(0, "InSync").await?;
    // Whoever has the Secret has this.
    let api: Api<Secret> = Api::namespaced(s.client.clone(), &s.system());
    let stolen = SessionSecret::from_secret(api.get(&s.secret()).await?)?;
    let assume = async || {
        let sts = s.world.double.sts(stolen.credentials());
        let role = format!("arn:aws:iam::{}:role/rolectl", s.targets[0].1);
        sts.assume_role()
            .role_arn(role)
            .role_session_name("thief")
            .send()
            .await
    };
    assume().await?;

    let revoke = ["lock", "--session", "revoke", "--revoke"];
    fails(&s, "operator", &revoke, &[], "no terminal to ask on").await?;
    // An administrator's key; what is revoked is the session of who unlocked.
    let root = s.world.double.root(&s.main).await?;
    let admin = key_env(&root);
    let output = s
        .rolectl_as("operator", &[&revoke[..], &["--yes"]].concat(), &admin)
        .await?;
    let told = String::from_utf8(output.stdout)?;
    ensure!(
        output.status.success() && told.contains("Revoked all sessions of user operator"),
        "{told} {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let iam = s.world.double.iam(s.operator.key.clone());
    let put = iam
        .get_user_policy()
        .user_name("operator")
        .policy_name("AWSRevokeOlderSessions")
        .send()
        .await?;
    ensure!(
        put.policy_document().contains("TokenIssueTime"),
        "{}",
        put.policy_document()
    );
    ensure!(assume().await.is_err(), "the stolen session still works");
    // Once it is over nobody knows any more who unlocked it, and the administrator is not meant.
    s.session_is(Phase::Locked).await?;
    fails(
        &s,
        "operator",
        &[&revoke[..], &["--yes"]].concat(),
        &admin,
        "name the user with --user",
    )
    .await?;
    // Nor does it need a cluster.
    let named = [&revoke[..], &["--yes", "--user", "operator"]].concat();
    let away = [admin[0], admin[1], ("KUBECONFIG", "/nowhere")];
    let output = s.rolectl_as("operator", &named, &away).await?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // A session that is begun later works.
    s.unlock().await?;
    s.account_is(0, "InSync").await?;
    Ok(())
}

#[tokio::test]
async fn whoami_get_and_describe_tell_people_and_programs() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "tells", 1).await?;
    s.start_controller()?;
    s.unlock().await?;
    s.apply(&s.role("app", json!({}))).await?;
    s.apply(&s.role("typo", json!({"managedPolicies": ["ReadOnlyAcess"]})))
        .await?;
    s.role_is("app", "True", "InSync").await?;
    s.role_is("typo", "False", "InvalidSpec").await?;
    let told = async |args: &[&str]| -> Result<String> {
        let output = s.rolectl_as("operator", args, &[]).await?;
        ensure!(
            output.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let told = String::from_utf8(output.stdout)?;
        s.assert_no_secret("the output", &told)?;
        Ok(told)
    };
    let me = told(&["whoami"]).await?;
    ensure!(
        me.contains(&format!("arn:aws:iam::{}:user/operator", s.main))
            && me.contains("tells (Unlocked): may open it"),
        "{me}"
    );
    let json: serde_json::Value =
        serde_json::from_str(&told(&["get", "roles", "-n", "tells", "-o", "json"]).await?)?;
    ensure!(
        json["items"].as_array().map(Vec::len) == Some(2) && json["items"][1]["state"] == "InvalidSpec",
        "{json}"
    );
    let drifted = told(&["get", "roles", "-n", "tells", "--state", "invalidspec"]).await?;
    ensure!(
        drifted.lines().count() == 2 && drifted.contains("Did you mean ReadOnlyAccess?"),
        "{drifted}"
    );
    let typo = told(&["describe", "role", "typo", "-n", "tells"]).await?;
    ensure!(
        typo.contains("Stalled") && typo.contains("What to do: Correct the field"),
        "{typo}"
    );
    let version = told(&["version"]).await?;
    ensure!(
        version.starts_with("Client      0.1.0\nController  0.1.0 (of session "),
        "{version}"
    );
    Ok(())
}

#[tokio::test]
async fn a_code_buys_the_session_of_one_role_and_the_controller_keeps_its_account_on_it() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "own-session", 2).await?;
    let id = &s.targets[0].1;
    let arn = format!("arn:aws:iam::{id}:role/rolectl");
    let unlock = ["unlock", "--session", "own-session", "--mfa", "123456"];
    // Nothing is bought for a session that is not declared so.
    let given = [&unlock[..], &["--assume-role", &arn]].concat();
    fails(
        &s,
        "operator",
        &given,
        &[],
        "MfaSession own-session is not of role",
    )
    .await?;
    let no_arn = [&unlock[..], &["--assume-role", "rolectl"]].concat();
    fails(
        &s,
        "operator",
        &no_arn,
        &[],
        "arn:aws:iam::222222222222:role/name",
    )
    .await?;
    let sessions: Api<MfaSession> = Api::all(s.client.clone());
    let own = Patch::Merge(json!({"spec": {"roleArn": arn}}));
    sessions
        .patch("own-session", &PatchParams::default(), &own)
        .await?;
    s.change_account(0, json!({"assumeRole": null})).await?;
    let long = [&unlock[..], &["--duration", "13h"]].concat();
    fails(
        &s,
        "operator",
        &long,
        &[],
        "the session of a role lasts 12h at most",
    )
    .await?;

    s.start_controller()?;
    let code = s.operator.code().await?;
    let unlock = ["unlock", "--session", "own-session", "--mfa", &code, "--wait"];
    let output = s.rolectl_as("operator", &unlock, &[]).await?;
    let told = String::from_utf8(output.stdout)?;
    let who = format!("arn:aws:sts::{id}:assumed-role/rolectl/operator");
    ensure!(
        output.status.success() && told.contains(&format!("Unlocked session own-session as {who}")),
        "{told} {}",
        String::from_utf8_lossy(&output.stderr)
    );
    ensure!(told.contains("(in 59m)") || told.contains("(in 1h 0m)"), "{told}");
    // Operators are still of the main account, and the role that is worked through is out of reach.
    let trust = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole",
        "Principal": {"AWS": "arn:aws:iam::$(session.accountId):root"}}]});
    let first = json!({"names": ["own-session-0"]});
    s.apply(&s.role("app", json!({"accounts": first, "assumeRolePolicy": trust})))
        .await?;
    s.apply(&s.role("rolectl", json!({"accounts": first, "adoption": "Always"})))
        .await?;
    s.role_is("app", "True", "InSync").await?;
    s.role_is("rolectl", "False", "GuardrailViolated").await?;
    ensure!(s.owned_roles(0).await? == ["app"]);
    let made = s
        .in_aws(0, "app")
        .await?
        .and_then(|role| role.assume_role_policy_document);
    ensure!(
        made.as_ref().is_some_and(|trust| trust.contains(&s.main)),
        "{made:?}"
    );
    // No policy on a user ends it, whoever asks.
    let revoke = ["lock", "--session", "own-session", "--revoke", "--yes"];
    let named = [&revoke[..], &["--user", "operator"]].concat();
    for args in [&revoke[..], &named] {
        fails(&s, "operator", args, &[], "is one of a role").await?;
    }
    s.lock().await?;
    s.session_is(Phase::Locked).await?;
    fails(&s, "operator", &named, &[], "is one of a role").await?;
    Ok(())
}

#[tokio::test]
async fn one_code_unlocks_every_session_of_the_users_account_and_none_of_a_role() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "every", 1).await?;
    let session = |name: &str, more: &serde_json::Value| {
        let mut spec = json!({"accountId": s.main, "secretName": s.secret()});
        if let (Some(spec), Some(more)) = (spec.as_object_mut(), more.as_object()) {
            spec.extend(more.clone());
        }
        json!({"apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "MfaSession", "metadata": {"name": name}, "spec": spec})
    };
    let role = format!("arn:aws:iam::{}:role/rolectl", s.targets[0].1);
    s.apply(&session("every-second", &json!({}))).await?;
    s.apply(&session("every-role", &json!({"roleArn": role}))).await?;
    let foreign = json!({"userArn": format!("arn:aws:iam::{}:user/another", s.main)});
    s.apply(&session("every-foreign", &foreign)).await?;
    let code = s.operator.code().await?;
    let output = s
        .rolectl_as("operator", &["unlock", "--all", "--mfa", &code], &[])
        .await?;
    let (told, error) = (
        String::from_utf8(output.stdout)?,
        String::from_utf8(output.stderr)?,
    );
    ensure!(output.status.success(), "{error}");
    let opened = told.lines().filter(|line| line.starts_with("Unlocked session "));
    let opened: Vec<&str> = opened.filter_map(|line| line.split(' ').nth(2)).collect();
    ensure!(opened == ["every", "every-second"], "{told}");
    ensure!(
        error.contains("left out: MfaSession every-role is of a role"),
        "{error}"
    );
    Ok(())
}

#[tokio::test]
async fn a_lock_in_the_wrong_place_is_told_and_revokes_nobody() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "astray", 1).await?;
    s.start_controller()?;
    s.unlock().await?;
    s.session_is(Phase::Unlocked).await?;
    let lock = ["lock", "--session", "astray"];
    let there = [&lock[..], &["--controller-namespace", "default"]].concat();
    let says = "the session's status says that it is open";
    let output = s.rolectl_as("admin", &there, &[]).await?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1) && error.contains(says), "{error}");
    for verb in ["lock", "unlock"] {
        fails(
            &s,
            "operator",
            &[verb, "-n", "default"],
            &[],
            "--controller-namespace default",
        )
        .await?;
    }
    let typo = ["lock", "--session", "nope", "--revoke", "--yes"];
    fails(&s, "operator", &typo, &[], "there is no MfaSession nope").await?;
    let iam = s.world.double.iam(s.world.double.root(&s.main).await?);
    let policies = iam
        .list_user_policies()
        .user_name("operator")
        .send()
        .await?
        .policy_names;
    ensure!(
        !policies.contains(&"AWSRevokeOlderSessions".to_owned()),
        "{policies:?}"
    );
    Ok(())
}

#[tokio::test]
async fn revoking_asks_first_and_tells_when_the_secret_could_not_be_deleted() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "revoke-asks", 1).await?;
    s.start_controller()?;
    s.unlock().await?;
    s.session_is(Phase::Unlocked).await?;
    let root = s.world.double.root(&s.main).await?;
    let admin = key_env(&root);
    let args = ["lock", "--session", "revoke-asks", "--revoke"];
    let before = version(&s).await?;
    let question = "Deny everything to all sessions of user operator";
    let (ended, shown) = s
        .rolectl_on_terminal("operator", &args, &admin, &[(question, "no")])
        .await?;
    ensure!(
        ended == Some(1) && shown.contains("Nothing was changed."),
        "{ended:?} {shown}"
    );
    ensure!(version(&s).await? == before, "the Secret is gone");
    // Who may see the session, but not delete the Secret, revokes all the same, and hears of it.
    let (ended, shown) = s
        .rolectl_on_terminal("stranger", &args, &admin, &[(question, "yes")])
        .await?;
    ensure!(
        ended == Some(1)
            && shown.contains("Revoked all sessions of user operator")
            && shown.contains("delete Secret"),
        "{ended:?} {shown}"
    );
    let (ended, shown) = s
        .rolectl_on_terminal("operator", &args, &admin, &[(question, "yes")])
        .await?;
    ensure!(
        ended == Some(0) && version(&s).await?.is_none(),
        "{ended:?} {shown}"
    );
    Ok(())
}

#[tokio::test]
async fn as_a_plugin_of_kubectl_it_takes_kubectls_flags() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "plugin", 1).await?;
    s.apply(&s.role("app", json!({}))).await?;
    let bin = s.dir.join("bin");
    std::fs::create_dir_all(&bin)?;
    std::os::unix::fs::symlink(&s.world.tools.rolectl, bin.join("kubectl-rolectl"))?;
    let kubectl = Tools::kubectl()?;
    let path = format!("{}:/usr/bin:/bin", bin.display());
    // The current context of this one leads nowhere.
    let config = s.dir.join("kubeconfig");
    let working = std::fs::read_to_string(s.world.plane.kubeconfig("operator"))?;
    let mut leads_nowhere: serde_json::Value = serde_json::from_str(&working)?;
    let context = std::mem::replace(&mut leads_nowhere["current-context"], json!("nowhere"));
    std::fs::write(&config, leads_nowhere.to_string())?;
    let context = context.as_str().context("no context")?;
    let run = async |args: &[&str]| -> Result<(Option<i32>, String)> {
        let output = tokio::process::Command::new(&kubectl)
            .arg("rolectl")
            .args(args)
            .env_clear()
            .env("PATH", &path)
            .env("HOME", &s.dir)
            .output()
            .await?;
        let told = [output.stdout, output.stderr].concat();
        Ok((output.status.code(), String::from_utf8_lossy(&told).into_owned()))
    };
    let file = config.display().to_string();
    let way = ["--kubeconfig", &file, "--context", context];
    let (code, told) = run(&[&["get", "roles", "-n", "plugin"], &way[..]].concat()).await?;
    ensure!(
        code == Some(0) && told.contains("plugin/app  -        -      the controller has not looked yet"),
        "{code:?} {told}"
    );
    // The namespace of the context, as kubectl takes it. Without one, `get` and `status` show all.
    let (code, told) = run(&[&["get", "roles"], &way[..]].concat()).await?;
    ensure!(code == Some(0) && told.contains("plugin/app"), "{told}");
    let elsewhere = s.dir.join("elsewhere");
    let mut with_namespace = leads_nowhere.clone();
    with_namespace["contexts"][0]["context"]["namespace"] = json!("elsewhere");
    std::fs::write(&elsewhere, with_namespace.to_string())?;
    let elsewhere = elsewhere.display().to_string();
    for (verb, more, shows) in [
        (&["get", "roles"][..], &[][..], false),
        (&["get", "roles"], &["-A"], true),
        (&["status"], &[], false),
        (&["status"], &["-A"], true),
        (&["status"], &["-n", "plugin"], true),
    ] {
        let way = ["--kubeconfig", &elsewhere, "--context", context];
        let (code, told) = run(&[verb, more, &way[..]].concat()).await?;
        ensure!(
            code == Some(0) && told.contains("plugin/app") == shows,
            "{verb:?} {more:?}: {told}"
        );
    }
    for (args, ends, says) in [
        (
            &["get", "roles", "no-such"][..],
            1,
            "there is no IamRole no-such in the cluster",
        ),
        (&["get", "roles", "--state", "drift"], 2, "there is no such state"),
        (&["get", "roles", "-A", "-n", "plugin"], 2, "cannot be used with"),
        (
            &["plan", "--detailed-exitcode", "--no-such-flag"],
            1,
            "unexpected argument",
        ),
        (&["plan", "--no-such-flag"], 2, "unexpected argument"),
    ] {
        let (code, told) = run(&[args, &way[..]].concat()).await?;
        ensure!(
            code == Some(ends) && told.contains(says),
            "{args:?}: {code:?} {told}"
        );
    }
    let (code, told) = run(&["status", "--kubeconfig", &file]).await?;
    ensure!(code == Some(1) && told.contains("no way to a cluster"), "{told}");
    Ok(())
}

#[tokio::test]
async fn status_can_be_watched_without_colours_and_until_ctrl_c() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "watched", 0).await?;
    let clears = "\x1b[H\x1b[2J";
    let plain = [("NO_COLOR", "1")];
    // Before the table there may be a warning about another scenario, whose controller has ended.
    let (_, shown) = s
        .rolectl_on_terminal("operator", &["status", "-w"], &plain, &[("watched", "\x03")])
        .await?;
    ensure!(
        shown.contains(clears) && shown.contains("watched") && !shown.contains("\x1b[3"),
        "{shown:?}"
    );
    Ok(())
}
