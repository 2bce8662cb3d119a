//! Implements `rolectl lock`.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::DeleteParams;
use kube::{Api, Client};
use serde_json::json;

use rolectl_aws::error::AwsFailure;
use rolectl_core::arn::arn_account;
use rolectl_crds::{MfaSession, Phase};

use crate::cluster;
use crate::failure::Failure;
use crate::mfa::{Caller, CodeFlags};
use crate::output::agreed;
use crate::session_cache::Cache;
use crate::stdio::{eprintln, println};

/// Take the session away from the controller
///
/// Deletes the Secret, and the sessions that are kept on this machine. The controller makes no further AWS
/// call, and roles stay as they are. The session itself lives on in AWS until its end; nobody has its credentials any
/// more. With --revoke nobody could use them.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rolectl lock
  rolectl lock --revoke          when somebody may have got hold of the session

Exit codes: 0 the Secret is deleted and, with --revoke, older sessions are revoked; also where
no kubeconfig leads to a cluster. 1 failed, or you did not agree, 2 wrong usage.")]
pub struct Lock {
    /// Name of the MfaSession
    #[arg(long, default_value = "default")]
    session: String,
    /// Have AWS refuse all sessions of the user that were begun before now
    ///
    /// Puts the inline policy `AWSRevokeOlderSessions` on the user, as the IAM console does for roles, with your own key:
    /// everything is denied to sessions older than this moment. New ones work. Roles that were assumed on such a session
    /// live on to their end, an hour at most by default. Works without a cluster, too.
    #[arg(long)]
    revoke: bool,
    /// The user whose sessions end, for --revoke. Default: who unlocked, else you
    #[arg(long, requires = "revoke")]
    user: Option<String>,
    /// Profile with your key, for --revoke
    #[arg(long, requires = "revoke")]
    profile: Option<String>,
    /// Do not ask before --revoke
    #[arg(long, short = 'y', visible_alias = "auto-approve", requires = "revoke")]
    yes: bool,
}

/// Maximum time for the controller to notice that its Secret is deleted.
const PATIENCE: Duration = Duration::from_secs(5);
/// The name that the IAM console uses for a policy that revokes sessions.
const REVOKING_POLICY: &str = "AWSRevokeOlderSessions";

impl Lock {
    pub async fn run(self, flags: &cluster::Flags) -> Result<ExitCode, Failure> {
        flags.refuse_namespace()?;
        let client = flags.client().await;
        // No kubeconfig at all: a cluster that is configured and does not answer may have an open session.
        let has_no_config = client.is_err() && !flags.names_a_cluster();
        let found = match client {
            Ok(client) => self.session(client).await,
            Err(failure) => Err(failure),
        };
        let found = match found {
            Ok(None) => {
                // A typing error must neither revoke another session nor forget what is kept here.
                return Err(Failure::new(
                    format!("there is no MfaSession {}", self.session),
                    "correct --session. Nothing was changed",
                ));
            }
            Ok(Some(found)) => Ok(found),
            // The name may be wrong. AWS needs no cluster.
            Err(failure) if self.revoke && self.user.is_none() && !failure.has_no_cluster() => {
                return Err(failure);
            }
            Err(failure) => Err(failure),
        };
        // Asks before it changes anything.
        let revocation = if self.revoke {
            let session = found.as_ref().ok().map(|(_, session)| session);
            let Some(revocation) = self.revocation(session).await? else {
                println!("Nothing was changed.");
                return Ok(ExitCode::from(1));
            };
            Some(revocation)
        } else {
            None
        };
        match Cache::of_user().map_or(Ok(0), |cache| cache.delete_all()) {
            Ok(0) => {}
            Ok(1) => println!("Deleted 1 session that was kept here."),
            Ok(kept) => println!("Deleted {kept} sessions that were kept here."),
            Err(unusable) => eprintln!("warning: sessions that were kept here are not deleted: {unusable}"),
        }
        // The revocation must not depend on an unreachable cluster, nor the deletion of the Secret on AWS.
        let revoked = match revocation {
            Some(revocation) => revocation.carry_out().await,
            None => Ok(()),
        };
        let locked = match found {
            Ok((client, session)) => self.delete(&client, &session, &flags.controller_namespace).await,
            Err(failure) if has_no_config || (self.revoke && failure.has_no_cluster()) => {
                eprintln!("warning: a session in a cluster, if there is one, is not locked: {failure}");
                Ok(())
            }
            Err(failure) => Err(failure),
        };
        if let (Err(_), Err(failure)) = (&revoked, &locked) {
            eprintln!("{failure}");
        }
        revoked.and(locked).map(|()| ExitCode::SUCCESS)
    }

    async fn session(&self, client: Client) -> Result<Option<(Client, MfaSession)>, Failure> {
        let sessions: Api<MfaSession> = Api::all(client.clone());
        let session = cluster::get(&sessions, &self.session).await?;
        Ok(session.map(|session| (client, session)))
    }

    async fn delete(&self, client: &Client, session: &MfaSession, namespace: &str) -> Result<(), Failure> {
        let secret = &session.secret_name();
        let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
        match api.delete(secret, &DeleteParams::default()).await {
            Ok(_) => println!(
                "Locked session {}: the controller makes no further AWS call.",
                self.session
            ),
            Err(kube::Error::Api(status)) if status.code == 404 => {
                if self.is_open(client).await? {
                    return Err(Failure::new(
                        format!(
                            "there is no Secret {namespace}/{secret}, and the session's status says that it is open"
                        ),
                        "name the controller's namespace with --controller-namespace; if it is this one, see whether the controller runs",
                    ));
                }
                println!("Session {} was locked already.", self.session);
            }
            Err(error) => {
                return Err(cluster::failed(
                    &format!("delete Secret {namespace}/{secret}"),
                    &error,
                ));
            }
        }
        Ok(())
    }

    /// Returns true if the status still shows an open session after [`PATIENCE`].
    async fn is_open(&self, client: &Client) -> Result<bool, Failure> {
        let start = tokio::time::Instant::now();
        loop {
            let session = cluster::session(client, &self.session).await?;
            let status = session.status.unwrap_or_default();
            let (phase, ends_at) = (status.phase, status.expires_at.map(|time| time.0));
            let open = !matches!(phase, Phase::Locked | Phase::Expired)
                && ends_at.is_none_or(|end| end > Timestamp::now());
            if !open || start.elapsed() > PATIENCE {
                return Ok(open);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Returns the user whose sessions are revoked and the time before which those began, or `None` if the user does not agree.
    ///
    /// The user is the one of `--user`, else the one who unlocked the session, else the caller.
    async fn revocation(&self, session: Option<&MfaSession>) -> Result<Option<Revocation>, Failure> {
        let unlocked_by = session.and_then(|session| session.status.as_ref()?.unlocked_by.clone());
        if let Some(role) = session.and_then(|session| session.spec.role_arn.as_ref()) {
            return Err(Failure::new(
                    format!("the session is one of a role, {role}, which no policy on a user ends"),
                    "revoke it at the role, in the IAM console or with the aws CLI (AWSRevokeOlderSessions), then run `rolectl lock`",
                )
                .usage());
        }
        let caller = Caller::find(&CodeFlags::of_profile(self.profile.clone()), session).await?;
        let account = session.map(|session| session.spec.account_id.as_str());
        if let Some(account) = account.filter(|account| arn_account(&caller.principal) != *account) {
            return Err(Failure::new(
                format!(
                    "your key is of {}, the session is of account {account}",
                    caller.principal
                ),
                "use a key of that account (--profile)",
            ));
        }
        let user = match self.user.clone().or(unlocked_by) {
            Some(user) => user,
            // The status of an expired session has no user, and an administrator does not mean their own sessions.
            None if self.yes || self.profile.is_some() => {
                return Err(Failure::new(
                    "it is not known who unlocked the session, so that somebody else's sessions might be revoked",
                    "name the user with --user; CloudTrail knows who called GetSessionToken",
                )
                .usage());
            }
            None => caller.principal.clone(),
        };
        let user = user.rsplit('/').next().unwrap_or_default().to_owned();
        // AWS records the start of a session in whole seconds, so the policy also covers the current second.
        let next = Timestamp::now().as_second() + 1;
        let before = Timestamp::from_second(next).unwrap_or_default();
        let account = arn_account(&caller.principal);
        let question = format!(
            "Deny everything to all sessions of user {user} in account {account} that were begun before {before}?"
        );
        let agreed = self.yes || agreed(&question)?;
        Ok(agreed.then_some(Revocation { caller, user, before }))
    }
}

/// A policy that denies all sessions of a user that began before a time.
struct Revocation {
    caller: Caller,
    user: String,
    before: Timestamp,
}

impl Revocation {
    async fn carry_out(self) -> Result<(), Failure> {
        let Self { caller, user, before } = self;
        let policy = json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Deny", "Action": ["*"], "Resource": ["*"],
            "Condition": {"DateLessThan": {"aws:TokenIssueTime": before.to_string()}}}]});
        let iam = caller.iam()?;
        let put = iam
            .put_user_policy()
            .user_name(&user)
            .policy_name(REVOKING_POLICY);
        let done = put.policy_document(policy.to_string()).send().await;
        done.map_err(|error| {
            let why = AwsFailure::new("PutUserPolicy", &error);
            Failure::new(
                format!("the sessions of user {user} were not revoked: {why}"),
                format!("have an administrator of the account run this (--user {user}), or put {REVOKING_POLICY} on the user"),
            )
        })?;
        // A new session must not begin in the second that the policy covers.
        tokio::time::sleep(Duration::from_secs(1)).await;
        println!(
            "Revoked all sessions of user {user} that were begun before {before}. Roles assumed on them end within their own time."
        );
        Ok(())
    }
}
