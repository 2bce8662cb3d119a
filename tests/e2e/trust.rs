//! `rolectl policy trust`: what it prints is accepted by `rolectl lint` and by AWS.

use anyhow::{Context as _, Result, ensure};
use rolectl_tests::scenario::Scenario;
use serde_json::json;

/// Each kind of trust policy, with the account of the role in place of HOME.
const KINDS: [&str; 7] = [
    "account 111111111111 --mfa",
    "github octo-org/octo-repo --branch main --account-id HOME",
    "gitlab group/project --branch main --account-id HOME",
    "irsa --oidc-provider oidc.eks.eu-central-1.amazonaws.com/id/A1 --namespace apps --service-account web --account-id HOME",
    "pod-identity -n apps --cluster-arn arn:aws:eks:eu-central-1:HOME:cluster/main",
    "service lambda --source-account HOME",
    "saml corporate --account-id HOME",
];

#[tokio::test]
async fn aws_accepts_each_trust_policy_and_lint_has_no_finding() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "trust", 1).await?;
    let iam = s.hands(0).await?;
    let (_, home) = s.targets.first().context("no account")?;
    for (n, kind) in KINDS.iter().enumerate() {
        let kind = kind.replace("HOME", home);
        let args: Vec<&str> = ["policy", "trust"].into_iter().chain(kind.split(' ')).collect();
        let output = s.rolectl_as("operator", &args, &[]).await?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success() && !error.contains("Warning"),
            "{kind}: {error}"
        );
        let policy = String::from_utf8(output.stdout)?;
        iam.create_role()
            .role_name(format!("trust-{n}"))
            .assume_role_policy_document(&policy)
            .send()
            .await
            .with_context(|| format!("{kind}: {policy}"))?;

        let yaml = s
            .rolectl_as("operator", &[&args[..], &["-o", "yaml"]].concat(), &[])
            .await?;
        let block = String::from_utf8(yaml.stdout)?;
        let indented = block
            .lines()
            .map(|line| format!("  {line}\n"))
            .collect::<String>();
        let file = s.dir.join(format!("trust-{n}.yaml"));
        let head = "apiVersion: iam.rolectl.dev/v1alpha1\nkind: IamRole\nmetadata: {name: app, namespace: apps}\nspec:\n  accounts: {names: [dev]}\n";
        std::fs::write(&file, format!("{head}{indented}"))?;
        let lint = s
            .rolectl_as("operator", &["lint", &file.display().to_string()], &[])
            .await?;
        let text = String::from_utf8_lossy(&lint.stdout);
        ensure!(text == "1 checked: 0 errors, 0 warnings\n", "{kind}: {text}");
    }
    // The engine makes a role of the field, with the account filled in.
    let output = s
        .rolectl_as(
            "operator",
            &["policy", "trust", "saml", "corp", "-o", "yaml"],
            &[],
        )
        .await?;
    let block: serde_json::Value = serde_saphyr::from_str(&String::from_utf8(output.stdout)?)?;
    s.apply(&s.role("app", json!({"assumeRolePolicy": block["assumeRolePolicy"]})))
        .await?;
    s.start_controller()?;
    s.unlock().await?;
    s.role_is("app", "True", "InSync").await?;
    let role = s.in_aws(0, "app").await?.context("no role")?;
    let trust = role.assume_role_policy_document.unwrap_or_default();
    // AWS answers with a URL-encoded document.
    let trust = percent_encoding::percent_decode_str(&trust)
        .decode_utf8()?
        .into_owned();
    ensure!(
        trust.contains(&format!("arn:aws:iam::{home}:saml-provider/corp")),
        "{trust}"
    );
    Ok(())
}

#[tokio::test]
async fn a_wildcard_is_refused_before_anything_is_printed() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "trust-wild", 0).await?;
    let args = ["policy", "trust", "github", "octo-org/octo-repo", "--branch", "*"];
    let output = s.rolectl_as("operator", &args, &[]).await?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(2) && output.stdout.is_empty() && error.contains("--allow-wildcard"),
        "{error}"
    );
    Ok(())
}
