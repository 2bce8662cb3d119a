//! The same roles by Terraform, by the controller, and by `rolectl apply` and `rolectl plan` without a cluster.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rolectl_tests::scenario::{Scenario, key_env};
use serde_json::json;
use tokio::time::Instant;

use crate::fixtures::{INLINE, POLICIES, TAGS, inline, name, spec, trust};
use crate::fleet::{Fleet, REQUESTS_PER_SECOND, allow_any_number_of_roles};
use crate::{Figures, Flags};

/// What it took to create the roles, and to find that there is nothing to do.
struct Took {
    create: Duration,
    no_op: Duration,
    /// AWS calls of the creation.
    create_calls: usize,
    /// AWS calls of the look that found nothing to do.
    no_op_calls: usize,
}

/// Creates the roles in an account of each, and then looks for changes where there are none.
pub async fn terraform(fleet: &Fleet, plugins: &Path) -> Result<Figures> {
    let roles = fleet.flags.terraform_roles;
    let theirs = by_terraform(fleet, plugins).await?;
    let controller = by_controller(fleet).await?;
    let files = by_files(fleet).await?;
    let per_role = |calls: usize| calls as f64 / roles as f64;
    let ratio = |a: Duration, b: Duration| a.as_secs_f64() / b.as_secs_f64();
    Ok(vec![
        ("roles", roles as f64),
        ("terraform_apply_s", theirs.create.as_secs_f64()),
        ("terraform_plan_s", theirs.no_op.as_secs_f64()),
        ("controller_create_s", controller.create.as_secs_f64()),
        ("controller_sweep_s", controller.no_op.as_secs_f64()),
        ("rolectl_apply_s", files.create.as_secs_f64()),
        ("rolectl_plan_s", files.no_op.as_secs_f64()),
        ("apply_vs_controller", ratio(theirs.create, controller.create)),
        ("plan_vs_controller", ratio(theirs.no_op, controller.no_op)),
        ("apply_vs_rolectl", ratio(theirs.create, files.create)),
        ("plan_vs_rolectl", ratio(theirs.no_op, files.no_op)),
        ("terraform_apply_calls_per_role", per_role(theirs.create_calls)),
        ("terraform_plan_calls_per_role", per_role(theirs.no_op_calls)),
        (
            "controller_create_calls_per_role",
            per_role(controller.create_calls),
        ),
        (
            "controller_sweep_calls_per_role",
            per_role(controller.no_op_calls),
        ),
        ("rolectl_apply_calls_per_role", per_role(files.create_calls)),
        ("rolectl_plan_calls_per_role", per_role(files.no_op_calls)),
    ])
}

/// Runs `terraform apply` and `terraform plan`. `terraform init` is not measured.
async fn by_terraform(fleet: &Fleet, plugins: &Path) -> Result<Took> {
    let s = Scenario::with(fleet.s.world, "terraform", 1, |_| {}).await?;
    allow_any_number_of_roles(&s).await?;
    let (_, account) = s.targets.first().context("no account")?;
    let root = s.world.double.root(account).await?;
    let dir = tempfile::tempdir()?;
    let (endpoint, roles) = (&s.world.double.endpoint, fleet.flags.terraform_roles);
    std::fs::write(
        dir.path().join("main.tf"),
        configuration(endpoint, roles, &s.main),
    )?;
    let run = async |args: &[&str]| {
        let start = Instant::now();
        let output = tokio::process::Command::new("terraform")
            .args(args)
            .args(["-input=false", "-no-color"])
            .current_dir(dir.path())
            .envs(key_env(&root))
            // Terraform asks its maker for newer versions, which has no place in the measured time.
            .env("CHECKPOINT_DISABLE", "1")
            .output()
            .await
            .context("could not run terraform: is it installed?")?;
        let took = start.elapsed();
        ensure!(
            output.status.success(),
            "terraform {args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(took)
    };
    let parallelism = format!("-parallelism={}", fleet.flags.terraform_parallelism);
    run(&["init", &format!("-plugin-dir={}", plugins.display())]).await?;
    measure(
        &s,
        run(&["apply", "-auto-approve", &parallelism]),
        // With this flag a plan that has changes does not end with 0.
        run(&["plan", "-detailed-exitcode", &parallelism]),
    )
    .await
}

/// Applies the roles for a controller of their own. The no-op is a sweep.
async fn by_controller(fleet: &Fleet) -> Result<Took> {
    let flags = Flags {
        roles: fleet.flags.terraform_roles,
        accounts: 1,
        everywhere: false,
        ..fleet.flags.clone()
    };
    let ours = Fleet::start(flags, fleet.s.world, "against-terraform").await?;
    let create = async {
        let start = Instant::now();
        let (applied, ready) = tokio::join!(ours.apply_all(""), ours.all_ready());
        applied?;
        ready?;
        let took = start.elapsed();
        ours.grace().await;
        Ok(took)
    };
    let no_op = async { Ok(ours.sweep_all().await?.took) };
    measure(&ours.s, create, no_op).await
}

/// Runs `rolectl apply` and `rolectl plan` on files, without a cluster.
async fn by_files(fleet: &Fleet) -> Result<Took> {
    let s = Scenario::with(fleet.s.world, "files-against-terraform", 1, |_| {}).await?;
    allow_any_number_of_roles(&s).await?;
    let file = write_files(&s, fleet.flags.terraform_roles)?;
    let run = async |args: &[&str]| {
        let start = Instant::now();
        let output = s
            .rolectl_as("operator", args, &[("KUBECONFIG", "/nowhere")])
            .await?;
        let took = start.elapsed();
        ensure!(
            output.status.success(),
            "rolectl {}: {}{}",
            args.first().copied().unwrap_or_default(),
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(took)
    };
    let code = s.operator.code().await?;
    measure(
        &s,
        run(&["apply", "--yes", "-f", &file, "--mfa", &code]),
        // The session of the first command is kept for the second, which needs no code.
        run(&["plan", "--detailed-exitcode", "-f", &file]),
    )
    .await
}

/// Runs one after the other and counts the AWS calls of each in the first account.
async fn measure(
    s: &Scenario<'_>,
    create: impl Future<Output = Result<Duration>>,
    no_op: impl Future<Output = Result<Duration>>,
) -> Result<Took> {
    let before = s.calls(0, 0).await?.total;
    let create = create.await?;
    let created = s.calls(0, 0).await?.total;
    let no_op = no_op.await?;
    Ok(Took {
        create,
        no_op,
        create_calls: created - before,
        no_op_calls: s.calls(0, created).await?.total,
    })
}

/// Session, account and roles in one file. Returns its path.
fn write_files(s: &Scenario<'_>, roles: usize) -> Result<String> {
    let mut objects = vec![
        json!({"apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "MfaSession", "metadata": {"name": "main"}, "spec": {"accountId": s.main}}),
    ];
    for (account, id) in &s.targets {
        objects.push(json!({
            "apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "AwsAccount", "metadata": {"name": account},
            "spec": {"accountId": id, "sessionRef": "main", "assumeRole": {"name": "rolectl"}, "allowedNamespaces": {"from": "All"},
                // Terraform has no ceiling either.
                "requestsPerSecond": REQUESTS_PER_SECOND, "burst": REQUESTS_PER_SECOND}}));
    }
    let names: Vec<&String> = s.targets.iter().map(|(name, _)| name).collect();
    objects.extend((0..roles).map(|n| s.role(&name(n), spec(&json!({"names": names}), ""))));
    let mut text = String::new();
    for object in objects {
        writeln!(text, "---\n{object}")?;
    }
    let file = s.dir.join("all.yaml");
    std::fs::write(&file, text)?;
    Ok(file.display().to_string())
}

/// The roles as a Terraform configuration.
fn configuration(endpoint: &str, roles: usize, main: &str) -> String {
    let tags: Vec<String> = TAGS
        .iter()
        .map(|(key, value)| format!("{key} = \"{value}\""))
        .collect();
    let attachments = POLICIES
        .iter()
        .enumerate()
        .fold(String::new(), |mut all, (n, arn)| {
            let _ = write!(
                all,
                r#"
resource "aws_iam_role_policy_attachment" "a{n}" {{
  count      = {roles}
  role       = aws_iam_role.r[count.index].name
  policy_arn = "{arn}"
}}
"#
            );
            all
        });
    format!(
        r#"
terraform {{
  required_providers {{
    aws = {{
      source = "hashicorp/aws"
    }}
  }}
}}
provider "aws" {{
  region                      = "us-east-1"
  skip_credentials_validation = true
  skip_requesting_account_id  = true
  skip_metadata_api_check     = true
  endpoints {{
    iam = "{endpoint}"
    sts = "{endpoint}"
  }}
}}
resource "aws_iam_role" "r" {{
  count              = {roles}
  name               = format("role-%05d", count.index)
  assume_role_policy = jsonencode({trust})
  tags               = {{ {tags} }}
}}
{attachments}
resource "aws_iam_role_policy" "i" {{
  count  = {roles}
  name   = "{INLINE}"
  role   = aws_iam_role.r[count.index].name
  policy = jsonencode({inline})
}}
"#,
        trust = trust(main),
        tags = tags.join(", "),
        inline = inline(),
    )
}
