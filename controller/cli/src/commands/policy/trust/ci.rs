//! Trust in the jobs of GitHub Actions and of GitLab CI/CD.

use clap::Args;

use super::check::{
    Repository, audience, environment, git_ref, issuer, project, refuse_wildcard, repository,
};
use super::document::TrustPolicy;
use super::{HomeFlags, OutputFlags, Written};
use crate::failure::Failure;

/// The issuer of the tokens of GitHub Actions.
const GITHUB: &str = "token.actions.githubusercontent.com";

/// Trust the jobs of one repository of GitHub Actions
///
/// The account needs an OIDC provider for token.actions.githubusercontent.com. A job with an environment has the environment in its
/// token, and no branch or tag.
#[derive(Debug, Args)]
#[command(override_usage = "rolectl policy trust github [OPTIONS] <OWNER/REPO>
         <--branch <BRANCH>|--environment <ENVIRONMENT>|--tag <TAG>|--pull-request|--any-ref>")]
#[command(after_help = "Examples:
  rolectl policy trust github octo-org/octo-repo --branch main --account-id 222222222222
  rolectl policy trust github octo-org@123456/octo-repo@456789 --environment production

Exit codes: 0 printed, 2 a value is refused.")]
pub(super) struct Github {
    /// The repository, as GitHub spells it. With ids where tokens have them, as in repositories made after 15 July 2026
    #[arg(value_name = "OWNER/REPO", value_parser = repository)]
    repository: Repository,
    #[command(flatten)]
    jobs: Jobs,
    /// Accept `*` and `?` in the names of the repository, the branch, the tag and the environment
    #[arg(long)]
    allow_wildcard: bool,
    /// Audience of the tokens
    #[arg(long, default_value = "sts.amazonaws.com", value_parser = audience)]
    audience: String,
    #[command(flatten)]
    pub(super) home: HomeFlags,
    #[command(flatten)]
    pub(super) output: OutputFlags,
}

/// The jobs of a repository that are trusted.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Jobs {
    /// Only jobs on this branch
    #[arg(long, value_parser = git_ref)]
    branch: Option<String>,
    /// Only jobs with this deployment environment
    #[arg(long, value_parser = environment)]
    environment: Option<String>,
    /// Only jobs on this tag
    #[arg(long, value_parser = git_ref)]
    tag: Option<String>,
    /// Only jobs of pull requests
    #[arg(long)]
    pull_request: bool,
    /// All jobs of the repository, on any branch that anybody pushes
    #[arg(long)]
    any_ref: bool,
}

impl Github {
    /// Follows
    /// [OIDC in AWS](https://docs.github.com/en/actions/how-tos/secure-your-work/security-harden-deployments/oidc-in-aws) and the
    /// [claims](https://docs.github.com/en/actions/reference/security/oidc#example-subject-claims).
    pub(super) fn policy(&self, account: &str) -> Result<Written, Failure> {
        let Repository { full_name, has_ids } = &self.repository;
        let checked = |what, value| refuse_wildcard(what, value, self.allow_wildcard);
        checked("repository", full_name)?;
        let Jobs {
            branch,
            environment,
            tag,
            pull_request,
            any_ref: _,
        } = &self.jobs;
        let jobs = if let Some(branch) = branch {
            checked("branch", branch)?;
            format!("ref:refs/heads/{branch}")
        } else if let Some(environment) = environment {
            checked("environment", environment)?;
            // The claim has `%3A` for each colon of a name.
            format!("environment:{}", environment.replace(':', "%3A"))
        } else if let Some(tag) = tag {
            checked("tag", tag)?;
            format!("ref:refs/tags/{tag}")
        } else if *pull_request {
            "pull_request".to_owned()
        } else {
            "*".to_owned()
        };
        let mut written = Written::from(web_identity(
            self.output.partition.name,
            account,
            GITHUB,
            &self.audience,
            format!("repo:{full_name}:{jobs}"),
        ));
        if !has_ids {
            // https://docs.github.com/en/actions/reference/security/oidc#immutable-subject-claims
            written.notes.push(
                "tokens of repositories that were made, renamed or transferred after 15 July 2026 name the ids of owner and repository: for these give OWNER@ID/REPO@ID".to_owned(),
            );
        }
        Ok(written)
    }
}

/// Trust the jobs of one project of GitLab CI/CD
///
/// The account needs an OIDC provider for the GitLab instance, with the audience that the job's `id_tokens` name.
#[derive(Debug, Args)]
#[command(override_usage = "rolectl policy trust gitlab [OPTIONS] <GROUP/PROJECT>
         <--branch <BRANCH>|--tag <TAG>|--any-ref>")]
#[command(after_help = "Examples:
  rolectl policy trust gitlab my-group/my-project --branch main --account-id 222222222222
  rolectl policy trust gitlab ops/infra/iam --host gitlab.example.com --tag 'v*' --allow-wildcard

Exit codes: 0 printed, 2 a value is refused.")]
pub(super) struct Gitlab {
    /// Path of the project
    #[arg(value_name = "GROUP/PROJECT", value_parser = project)]
    project: String,
    /// Host of the GitLab instance
    #[arg(long, default_value = "gitlab.com", value_parser = issuer)]
    host: String,
    #[command(flatten)]
    refs: Refs,
    /// Accept `*` and `?` in the names of the project, the branch and the tag
    #[arg(long)]
    allow_wildcard: bool,
    /// Audience of the tokens. Default: https:// and the host
    #[arg(long, value_parser = audience)]
    audience: Option<String>,
    #[command(flatten)]
    pub(super) home: HomeFlags,
    #[command(flatten)]
    pub(super) output: OutputFlags,
}

/// The jobs of a project that are trusted.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Refs {
    /// Only jobs on this branch
    #[arg(long, value_parser = git_ref)]
    branch: Option<String>,
    /// Only jobs on this tag
    #[arg(long, value_parser = git_ref)]
    tag: Option<String>,
    /// All jobs of the project, on any branch that anybody pushes
    #[arg(long)]
    any_ref: bool,
}

impl Gitlab {
    /// Follows [OIDC in AWS](https://docs.gitlab.com/ci/cloud_services/aws/) and the
    /// [claims](https://docs.gitlab.com/ci/cloud_services/#configure-a-conditional-role-with-oidc-claims).
    pub(super) fn policy(&self, account: &str) -> Result<Written, Failure> {
        let checked = |what, value| refuse_wildcard(what, value, self.allow_wildcard);
        checked("project", &self.project)?;
        let refs = if let Some(branch) = &self.refs.branch {
            checked("branch", branch)?;
            format!("ref_type:branch:ref:{branch}")
        } else if let Some(tag) = &self.refs.tag {
            checked("tag", tag)?;
            format!("ref_type:tag:ref:{tag}")
        } else {
            "*".to_owned()
        };
        let of_host = format!("https://{}", self.host);
        Ok(web_identity(
            self.output.partition.name,
            account,
            &self.host,
            self.audience.as_deref().unwrap_or(&of_host),
            format!("project_path:{}:{refs}", self.project),
        )
        .into())
    }
}

/// Returns a policy that trusts the tokens of an OIDC provider of the account with this audience and this subject:
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_create_for-idp_oidc.html>.
pub(super) fn web_identity(
    partition: &str,
    account: &str,
    issuer: &str,
    audience: &str,
    subject: String,
) -> TrustPolicy {
    TrustPolicy::of(
        "Federated",
        format!("arn:{partition}:iam::{account}:oidc-provider/{issuer}"),
        &["sts:AssumeRoleWithWebIdentity"],
    )
    .with("StringEquals", format!("{issuer}:aud"), audience)
    .with_text(format!("{issuer}:sub"), subject)
}
