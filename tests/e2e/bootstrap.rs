//! `rolectl bootstrap`: what it prints, whose account it trusts, and what it does where the role exists already.

use std::process::{Output, Stdio};

use anyhow::{Context as _, Result, ensure};
use rolectl_tests::scenario::{Scenario, key_env};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

/// No kubeconfig leads to a cluster.
const NO_CLUSTER: (&str, &str) = ("KUBECONFIG", "/nowhere");

/// Runs `rolectl bootstrap` as the operator, and shows that it ends with this code. Returns stdout and stderr.
async fn ends(s: &Scenario<'_>, args: &[&str], env: &[(&str, &str)], code: i32) -> Result<(String, String)> {
    let output = s
        .rolectl_as("operator", &[&["bootstrap"], args].concat(), env)
        .await?;
    let (stdout, stderr) = texts(&output);
    ensure!(
        output.status.code() == Some(code),
        "{args:?}: wanted {code}, got {:?}: {stdout}{stderr}",
        output.status
    );
    s.assert_no_secret("output", &format!("{stdout}{stderr}"))?;
    Ok((stdout, stderr))
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

#[tokio::test]
async fn the_main_account_is_that_of_the_session_or_else_of_the_key_and_stdout_stays_a_template() -> Result<()>
{
    let s = Scenario::new(crate::world().await?, "main-account", 0).await?;
    let root = format!("arn:aws:iam::{}:root", s.main);
    let (template, told) = ends(&s, &["--session", "main-account", "-o", "json"], &[], 0).await?;
    let template: Value = serde_json::from_str(&template)?;
    ensure!(
        told == format!("Main account {}, from MfaSession main-account\n", s.main),
        "{told}"
    );
    ensure!(
        template["apiVersion"] == "output.rolectl.dev/v1alpha1"
            && template["kind"] == "Bootstrap"
            && template.pointer("/trustPolicy/Statement/0/Principal/AWS") == Some(&json!(root))
            && template["permissions"]["Statement"].is_array()
            && template["serviceControlPolicy"]["Statement"].is_array()
            && template.pointer("/awsAccount/spec/sessionRef") == Some(&json!("main-account")),
        "{template}"
    );
    let (_, told) = ends(&s, &["--session", "typo"], &[], 1).await?;
    ensure!(told.contains("there is no MfaSession typo"), "{told}");

    let (template, told) = ends(&s, &[], &[NO_CLUSTER], 0).await?;
    ensure!(
        told == format!(
            "Main account {}, from your key (arn:aws:iam::{}:user/operator)\n",
            s.main, s.main
        ),
        "{told}"
    );
    ensure!(
        template.starts_with("AWSTemplateFormatVersion") && template.contains(&root),
        "{template}"
    );
    // The key of --apply is of the target account.
    let (_, told) = ends(&s, &["--apply"], &[NO_CLUSTER], 2).await?;
    ensure!(told.contains("--main-account ID or --user-arn ARN"), "{told}");
    let (_, told) = ends(&s, &["--profile", "nobody"], &[NO_CLUSTER], 2).await?;
    ensure!(
        told.contains("no AWS key in profile nobody") && told.contains("--main-account ID"),
        "{told}"
    );
    // Wrong input makes no request.
    let nowhere = [NO_CLUSTER, ("AWS_ENDPOINT_URL", "http://127.0.0.1:1")];
    let wrong = [
        "--partition",
        "aws-cn",
        "--boundary",
        "arn:aws:iam::aws:policy/PowerUserAccess",
    ];
    let (_, told) = ends(&s, &wrong, &nowhere, 2).await?;
    ensure!(told.contains("--partition is of partition aws-cn"), "{told}");
    Ok(())
}

#[tokio::test]
async fn terraform_fmt_has_nothing_to_change() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "terraform-fmt", 0).await?;
    for more in [
        &["--role-path", "/apps/eu/", "--external-id", "x:1"][..],
        &[
            "--partition",
            "aws-cn",
            "--boundary",
            "arn:aws-cn:iam::aws:policy/PowerUserAccess",
        ],
    ] {
        let args = [&["--main-account", "111111111111", "-o", "terraform"], more].concat();
        let (hcl, _) = ends(&s, &args, &[NO_CLUSTER], 0).await?;
        ensure!(hcl.contains("Version = \"2012-10-17\""), "{hcl}");
        let terraform = tokio::process::Command::new("terraform")
            .args(["fmt", "-check", "-diff", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        // A machine without Terraform has the snapshot of the unit test.
        let Ok(mut terraform) = terraform else {
            return Ok(());
        };
        let mut input = terraform.stdin.take().context("no stdin")?;
        input.write_all(hcl.as_bytes()).await?;
        drop(input);
        let output = terraform.wait_with_output().await?;
        let (diff, error) = texts(&output);
        ensure!(output.status.success(), "{diff}{error}\n{hcl}");
    }
    Ok(())
}

#[tokio::test]
async fn the_printed_account_has_nothing_that_lint_reports_once_it_is_filled_in() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "printed-account", 0).await?;
    let main = [
        "--main-account",
        "111111111111",
        "--role-path",
        "/apps/",
        "--external-id",
        "x:1",
    ];
    for (more, placeholder) in [(&["--allow-namespace", "team"][..], false), (&[], true)] {
        let (form, _) = ends(&s, &[&main[..], more].concat(), &[NO_CLUSTER], 0).await?;
        let account = form
            .split("# Then, for each account:\n")
            .nth(1)
            .and_then(|rest| rest.split("\n\n").next())
            .context("no AwsAccount")?;
        let uncommented = |line: &str| line.strip_prefix("# ").unwrap_or(line).to_owned();
        let account: Vec<String> = account.lines().map(uncommented).collect();
        let account = account
            .join("\n")
            .replace("name: NAME", "name: prod")
            .replace("ACCOUNT_ID", "\"222222222222\"");
        ensure!(account.contains("[NAMESPACE]") == placeholder, "{account}");
        let file = s.dir.join("account.yaml");
        std::fs::write(&file, account)?;
        let file = file.display().to_string();
        let output = s.rolectl_as("operator", &["lint", &file], &[]).await?;
        let (told, error) = texts(&output);
        ensure!(
            output.status.success() && told.contains("0 errors, 0 warnings"),
            "{told}{error}"
        );
    }
    Ok(())
}

/// Runs `rolectl bootstrap --apply` for a role as the administrator of the target account. Returns all that it printed, without the
/// numbers of this run.
async fn applied(s: &Scenario<'_>, role: &str, more: &[&str], code: i32) -> Result<String> {
    let account = &s.targets.first().context("no target")?.1;
    let root = s.world.double.root(account).await?;
    let admin = [&key_env(&root)[..], &[NO_CLUSTER]].concat();
    let args = ["--main-account", &s.main, "--role-name", role, "--apply"];
    let (stdout, stderr) = ends(s, &[&args, more].concat(), &admin, code).await?;
    let all = format!("{stdout}{stderr}");
    Ok(all.replace(account, "<account>").replace(&s.main, "<main>"))
}

/// Puts this document on role `keeper` as rolectl's inline policy and as one of somebody else, and attaches a managed policy.
async fn put_policies(iam: &aws_sdk_iam::Client, document: &Value) -> Result<()> {
    for name in ["rolectl", "theirs"] {
        iam.put_role_policy()
            .role_name("keeper")
            .policy_name(name)
            .policy_document(document.to_string())
            .send()
            .await?;
    }
    iam.attach_role_policy()
        .role_name("keeper")
        .policy_arn("arn:aws:iam::aws:policy/ReadOnlyAccess")
        .send()
        .await?;
    Ok(())
}

/// Removes the policies of somebody else from role `keeper`.
async fn remove_theirs(iam: &aws_sdk_iam::Client) -> Result<()> {
    iam.delete_role_policy()
        .role_name("keeper")
        .policy_name("theirs")
        .send()
        .await?;
    iam.detach_role_policy()
        .role_name("keeper")
        .policy_arn("arn:aws:iam::aws:policy/ReadOnlyAccess")
        .send()
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_role_that_is_another_is_shown_and_not_changed_unasked() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "bootstrap-differs", 1).await?;
    let account = s.targets.first().context("no target")?.1.clone();
    let iam = s.hands(0).await?;
    let trust = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole",
        "Principal": {"AWS": account}}]});
    iam.create_role()
        .role_name("keeper")
        .assume_role_policy_document(trust.to_string())
        .description("mine")
        .max_session_duration(7200)
        .send()
        .await?;
    let all = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iam:*", "Resource": "*"}]});
    put_policies(&iam, &all).await?;
    let told = applied(&s, "keeper", &[], 1).await?;
    insta::assert_snapshot!("bootstrap_differs", told);
    applied(&s, "keeper", &["--dry-run"], 1).await?;
    // The main account would get what the other policies allow.
    let told = applied(&s, "keeper", &["--update", "--yes"], 1).await?;
    ensure!(
        told.contains("has other policies: with the new trust policy"),
        "{told}"
    );
    remove_theirs(&iam).await?;
    let seen = s.in_aws(0, "keeper").await?;
    let told = applied(&s, "keeper", &["--update", "--dry-run"], 0).await?;
    insta::assert_snapshot!("bootstrap_update_dry_run", told);
    // Without a terminal nobody can agree.
    applied(&s, "keeper", &["--update"], 2).await?;
    ensure!(
        format!("{:?}", s.in_aws(0, "keeper").await?) == format!("{seen:?}"),
        "it was changed"
    );
    Ok(())
}

#[tokio::test]
async fn a_role_that_exists_is_updated_when_asked_and_keeps_what_somebody_added() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "bootstrap-update", 1).await?;
    let told = applied(&s, "keeper", &["--dry-run"], 0).await?;
    ensure!(
        told.contains("+ role keeper in account <account> will be created")
            && told.contains("+ statement NotItself")
            && told.contains("Nothing was changed (--dry-run)."),
        "{told}"
    );
    ensure!(s.in_aws(0, "keeper").await?.is_none(), "a dry run made a role");
    applied(&s, "keeper", &["--yes"], 0).await?;
    let as_needed = "Role keeper in account <account> is as needed.\n";
    ensure!(applied(&s, "keeper", &[], 0).await? == as_needed);
    ensure!(applied(&s, "keeper", &["--update", "--auto-approve"], 0).await? == as_needed);

    let iam = s.hands(0).await?;
    let few = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iam:ListRoles", "Resource": "*"}]});
    put_policies(&iam, &few).await?;
    iam.update_role()
        .role_name("keeper")
        .description("mine")
        .max_session_duration(7200)
        .send()
        .await?;
    let bounded = ["--boundary", "arn:aws:iam::aws:policy/PowerUserAccess"];
    let told = applied(&s, "keeper", &[&bounded[..], &["--update", "--yes"]].concat(), 0).await?;
    for words in [
        "Done: ~ permissions boundary arn:aws:iam::aws:policy/PowerUserAccess\n",
        "Done: ~ inline policy rolectl\n",
        "Done: ~ description \"mine\" -> ",
        "Updated role keeper in account <account> with 3 calls.\n",
    ] {
        ensure!(told.contains(words), "{words}: {told}");
    }
    // What somebody else has put on the role stays, and is named.
    let told = applied(&s, "keeper", &bounded, 1).await?;
    ensure!(
        told.starts_with(
            "Role keeper in account <account> differs from what is needed:\n  ! inline policy theirs is additional, and stays\n  ! managed policy arn:aws:iam::aws:policy/ReadOnlyAccess is additional, and stays\nerror: "
        ),
        "{told}"
    );
    let told = applied(&s, "keeper", &[&bounded[..], &["--update", "--yes"]].concat(), 0).await?;
    ensure!(told.contains("There is nothing to update."), "{told}");
    remove_theirs(&iam).await?;
    ensure!(applied(&s, "keeper", &bounded, 0).await? == as_needed);
    Ok(())
}

#[tokio::test]
async fn a_role_that_an_iam_role_manages_is_not_taken() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "bootstrap-owned", 1).await?;
    let account = s.targets.first().context("no target")?.1.clone();
    let root = s.world.double.root(&account).await?;
    let admin = [&key_env(&root)[..], &[NO_CLUSTER]].concat();
    let trust = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole",
        "Principal": {"AWS": account}}]});
    let tag = aws_sdk_iam::types::Tag::builder()
        .key("iam.rolectl.dev/owner")
        .value("c/ns/app")
        .build()?;
    s.hands(0)
        .await?
        .create_role()
        .role_name("app")
        .assume_role_policy_document(trust.to_string())
        .tags(tag)
        .send()
        .await?;
    let args = [
        "--main-account",
        &s.main,
        "--role-name",
        "app",
        "--apply",
        "--update",
        "--yes",
    ];
    let (_, told) = ends(&s, &args, &admin, 1).await?;
    ensure!(told.contains("is managed by IamRole c/ns/app"), "{told}");
    // A boundary of another account cannot be put on a role.
    let boundary = format!("arn:aws:iam::{}:policy/limit", s.main);
    let args = [
        "--main-account",
        &s.main,
        "--boundary",
        &boundary,
        "--apply",
        "--yes",
    ];
    let (_, told) = ends(&s, &args, &admin, 2).await?;
    ensure!(told.contains("is a policy of account"), "{told}");
    Ok(())
}
