//! `rolectl lock`

use std::time::Duration;

use anstream::println;
use clap::Args;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::DeleteParams;
use rolectl::aws::arn_account;
use rolectl::aws::error::AwsFailure;
use serde_json::json;

use crate::failure::Failure;
use crate::mfa::{Buyer, CodeFlags};
use crate::output::agreed;
use crate::{cluster, session_cache};

/// Take the session away from the controller
///
/// Deletes the Secret, and sessions that `rolectl plan` and `apply` have kept here. The controller makes no further AWS
/// call, and roles stay as they are. The session itself lives on in AWS until its end; nobody has its credentials any
/// more. With --revoke nobody could use them.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rolectl lock
  rolectl lock --revoke          when somebody may have got hold of the session")]
pub struct Lock {
    /// Name of the MfaSession
    #[arg(long, default_value = "default")]
    session: String,
    /// Have AWS refuse all sessions of the user that were begun before now
    ///
    /// Puts the inline policy `AWSRevokeOlderSessions` on the user, as the IAM console does for roles, with your own key:
    /// everything is denied to sessions older than this moment. New ones work. Roles that were assumed on such a session
    /// live on to their end, an hour at most by default.
    #[arg(long)]
    revoke: bool,
    /// Profile with your key, for --revoke
    #[arg(long, requires = "revoke")]
    profile: Option<String>,
    /// Do not ask before --revoke
    #[arg(long, short = 'y', requires = "revoke")]
    yes: bool,
}

/// The name that AWS uses for such a policy.
const REVOKING_POLICY: &str = "AWSRevokeOlderSessions";

impl Lock {
    pub async fn run(self, flags: &cluster::Flags) -> Result<(), Failure> {
        let client = flags.client().await?;
        let session = cluster::session(&client, &self.session).await?;
        // Asked before anything is done.
        let revocation = if self.revoke {
            let Some(revocation) = self.revocation(&session.spec.account_id).await? else {
                println!("Nothing was changed.");
                return Ok(());
            };
            Some(revocation)
        } else {
            None
        };
        let secret = session.secret_name();
        let api: Api<Secret> = Api::namespaced(client, &flags.namespace);
        match api.delete(&secret, &DeleteParams::default()).await {
            Ok(_) => println!(
                "Locked session {}: the controller makes no further AWS call.",
                self.session
            ),
            Err(kube::Error::Api(status)) if status.code == 404 => {
                println!("Session {} was locked already.", self.session);
            }
            Err(error) => {
                return Err(cluster::failed(
                    &format!("delete Secret {}/{secret}", flags.namespace),
                    &error,
                ));
            }
        }
        match session_cache::forget_all() {
            0 => {}
            kept => println!("Forgot {kept} sessions that were kept here."),
        }
        match revocation {
            Some((buyer, now)) => revoke(&buyer, now).await,
            None => Ok(()),
        }
    }

    /// Whose sessions end, and up to which moment they were begun.
    async fn revocation(&self, account: &str) -> Result<Option<(Buyer, Timestamp)>, Failure> {
        let buyer = Buyer::find(&CodeFlags::of_profile(self.profile.clone())).await?;
        // AWS notes when a session began in whole seconds: of one that began in this second nobody could tell.
        let next = Timestamp::now().as_second() + 1;
        let (principal, now) = (&buyer.principal, Timestamp::from_second(next).unwrap_or_default());
        if arn_account(principal) != account {
            return Err(Failure::new(
                format!("your key is of {principal}, the session is of account {account}"),
                "use the key of the user whose sessions are to end (--profile)",
            ));
        }
        let question =
            format!("Deny everything to all sessions of {principal} that were begun before {now}?");
        let agreed = self.yes || agreed(&question)?;
        Ok(agreed.then_some((buyer, now)))
    }
}

async fn revoke(buyer: &Buyer, now: Timestamp) -> Result<(), Failure> {
    let principal = &buyer.principal;
    let policy = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Deny", "Action": ["*"], "Resource": ["*"],
        "Condition": {"DateLessThan": {"aws:TokenIssueTime": now.to_string()}}}]});
    let user = principal.rsplit('/').next().unwrap_or_default();
    let put = buyer
        .iam()
        .put_user_policy()
        .user_name(user)
        .policy_name(REVOKING_POLICY);
    let done = put.policy_document(policy.to_string()).send().await;
    done.map_err(|error| {
        Failure::new(
            format!("the sessions of {principal} were not revoked: {}", AwsFailure::new("PutUserPolicy", &error)),
            format!("give the user iam:PutUserPolicy on itself, or have an administrator put {REVOKING_POLICY} on it"),
        )
    })?;
    // The next session must not fall into the same second.
    tokio::time::sleep(Duration::from_secs(1)).await;
    println!(
        "Revoked all sessions of {principal} that were begun before {now}. Roles assumed on them end within their own time."
    );
    Ok(())
}
