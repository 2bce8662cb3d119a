//! Implements `rolectl unlock`.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Resource as _, ResourceExt};
use serde_json::json;

use rolectl_aws::account::{Account, AccountEnvironment};
use rolectl_aws::api::Aws;
use rolectl_aws::sdk::SdkAws;
use rolectl_aws::session::{OpenSession, SessionSecret, Sessions};
use rolectl_core::arn::arn_partition;
use rolectl_crds::{MfaSession, SESSION_SECRET_TYPE};

use crate::cluster;
use crate::failure::Failure;
use crate::kept_session::{self, subject};
use crate::mfa::{self, Caller};
use crate::output::table;
use crate::session_cache::Key;
use crate::stdio::{eprintln, println};
use crate::times::moment;

/// Open a session with a code from your MFA device
///
/// Requests a session from AWS with your key and the code, stores it for the controller, and shows which accounts
/// accept it. The code is used once. Whatever fails before that changes nothing.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rolectl unlock                                       asks for the code
  rolectl unlock --mfa 123456 --profile main --duration 8h
  rolectl unlock --mfa-process 'op item get aws --otp' --wait
  rolectl unlock --replace                             takes over from another operator
  rolectl unlock --session dev --assume-role arn:aws:iam::222222222222:role/admin --mfa 123456

Exit codes: 0 the session is stored, whatever the accounts answer, 1 nothing is stored, or with --wait the controller has
not taken it up, 2 wrong usage.")]
pub struct Unlock {
    #[command(flatten)]
    mfa: mfa::CodeFlags,
    /// Name of the MfaSession
    #[arg(long, default_value = "default", conflicts_with = "all")]
    session: String,
    /// Every MfaSession that your key may open, with the one code
    #[arg(long)]
    all: bool,
    /// Open the session of this role with the code, not one of your user
    ///
    /// For a user who may assume one role under MFA and nothing else. The MfaSession must say so in `spec.roleArn`, by which it is
    /// done without this flag, too, and the AwsAccount on it have no `assumeRole`.
    #[arg(long, value_name = "ARN", value_parser = mfa::role_arn, conflicts_with = "all")]
    assume_role: Option<String>,
    /// Length of the session, 15m to 36h. Default: the MfaSession's durationSeconds; of a role what AWS gives, 1h
    #[arg(long, value_parser = mfa::duration_seconds)]
    duration: Option<i32>,
    /// End the work under way on the session that this one replaces
    ///
    /// Without it a change that has begun is finished on the session before, and everything else moves to the new one. Use it to
    /// take over from another operator: no further call is made on their session. What was ended is done again on yours.
    #[arg(long)]
    replace: bool,
    /// Return once the controller has taken the session up
    #[arg(long)]
    wait: bool,
    /// Do not keep the session on this machine
    ///
    /// The session is kept in ~/.cache/rolectl until it ends, and only you can read it, so that `rolectl plan` needs no second code.
    #[arg(long)]
    no_keep: bool,
}

/// Maximum time for the controller to begin to use a session.
const PATIENCE: Duration = Duration::from_mins(1);

impl Unlock {
    pub async fn run(self, flags: &cluster::Flags) -> Result<(), Failure> {
        flags.refuse_namespace()?;
        // Checks everything that can fail before it uses the code.
        let client = flags.client().await?;
        let mut sessions = if self.all {
            cluster::sessions(&client).await?
        } else {
            vec![cluster::session(&client, &self.session).await?]
        };
        let caller = Caller::find(&self.mfa, representative(&sessions)).await?;
        if self.all {
            sessions.retain(|session| caller.check_access(session).is_ok());
            // A code is valid for one session.
            for session in sessions.extract_if(.., |session| session.spec.role_arn.is_some()) {
                eprintln!(
                    "left out: MfaSession {} is of a role, unlock it by itself",
                    session.name_any()
                );
            }
        }
        let Some(first) = sessions.first() else {
            return Err(Failure::new(
                format!("no MfaSession is one that {} may open", caller.principal),
                "use another key (--profile), or apply an MfaSession of that account",
            ));
        };
        let role = &first.spec.role_arn;
        if let Some(given) = self
            .assume_role
            .as_ref()
            .filter(|given| Some(*given) != role.as_ref())
        {
            return Err(Failure::new(
                format!("MfaSession {} is not of role {given}", first.name_any()),
                format!("set its spec.roleArn to {given}, or name another with --session"),
            ));
        }
        // The principal that AWS will report for the session.
        let principal = role.as_deref().map_or_else(
            || caller.principal.clone(),
            |role| mfa::assumed_role_arn(role, &caller.principal),
        );
        for session in &sessions {
            caller.check_access(session)?;
            for verb in ["create", "patch"] {
                cluster::check_secret_access(
                    &client,
                    &flags.controller_namespace,
                    &session.secret_name(),
                    verb,
                )
                .await?;
            }
        }
        let region = first.spec.region.clone();
        let mut session_secret = caller.request_session(first, self.duration).await?;
        session_secret.replace = self.replace;

        let secrets: Api<Secret> = Api::namespaced(client.clone(), &flags.controller_namespace);
        let now = Timestamp::now();
        for session in &sessions {
            store(&secrets, session, &session_secret).await?;
            println!("Unlocked session {} as {}", session.name_any(), principal);
        }
        println!("Ends at {}", moment(session_secret.expires_at, now));
        if !self.no_keep {
            let key = Key {
                principal: caller.principal.clone(),
                subject: subject(first).to_owned(),
            };
            kept_session::keep(&key, &session_secret);
        }
        let names: Vec<String> = sessions.iter().map(ResourceExt::name_any).collect();
        if self.wait {
            for name in &names {
                wait_for_controller(
                    &client,
                    name,
                    session_secret.expires_at,
                    &flags.controller_namespace,
                )
                .await?;
            }
        }
        let aws = SdkAws::new(caller.base.clone());
        let sts = aws.sts(
            session_secret.credentials(),
            arn_partition(&principal),
            region.as_deref(),
        )?;
        let open = Sessions::default().open("rolectl", session_secret, principal, sts, now);
        show_accounts(&client, &flags.controller_namespace, aws, &open, &names).await
    }
}

/// Returns the session whose partition the lookup of the key uses: the first, if all sessions are in the same partition.
fn representative(sessions: &[MfaSession]) -> Option<&MfaSession> {
    let (first, others) = sessions.split_first()?;
    let partition = first.spec.partition();
    others
        .iter()
        .all(|other| other.spec.partition() == partition)
        .then_some(first)
}

/// Waits until the status of the session shows that the controller uses it.
async fn wait_for_controller(
    client: &Client,
    name: &str,
    expires_at: Timestamp,
    namespace: &str,
) -> Result<(), Failure> {
    eprintln!("Waiting for the controller to take up session {name} ...");
    let start = tokio::time::Instant::now();
    loop {
        let session = cluster::session(client, name).await?;
        let status = session.status.unwrap_or_default();
        if status.expires_at.map(|time| time.0) == Some(expires_at) {
            return Ok(());
        }
        if start.elapsed() > PATIENCE {
            let message = status
                .conditions
                .first()
                .map(|c| c.message.clone())
                .unwrap_or_default();
            return Err(Failure::new(
                format!(
                    "the session is stored, and the controller has not taken it up within {} s: {message}",
                    PATIENCE.as_secs()
                ),
                format!("look at the controller: kubectl -n {namespace} get pods, and its log"),
            ));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Assumes the role of each account on these sessions, and prints the answers.
async fn show_accounts(
    client: &Client,
    namespace: &str,
    aws: Arc<dyn Aws>,
    open: &OpenSession,
    sessions: &[String],
) -> Result<(), Failure> {
    let accounts = match cluster::accounts(client).await {
        Ok(accounts) => accounts,
        Err(failure) => {
            // The session is stored, so the command succeeds.
            eprintln!("warning: accounts not shown: {}", failure.what());
            return Ok(());
        }
    };
    let ours = accounts
        .into_iter()
        .filter(|a| sessions.contains(&a.spec.session_ref) && !a.spec.suspend);
    // The command assumes the role to test it, and makes no call there.
    let environment = AccountEnvironment::alone(aws, namespace.to_owned(), String::new());
    let mut answers: Vec<Vec<String>> = futures::stream::iter(ours)
        .map(|account| async {
            let name = account.name_any();
            let id = account.spec.account_id.clone();
            let target = Account::new(&name, account.spec, environment.clone());
            let answer = match target.iam(open, None).await {
                Ok(_) => "ok".to_owned(),
                Err(error) => error.to_string(),
            };
            vec![name, id, answer]
        })
        .buffer_unordered(16)
        .collect()
        .await;
    answers.sort();
    if answers.is_empty() {
        println!("\nNo AwsAccount refers to this session yet.");
        return Ok(());
    }
    println!("\n{}", table(&["ACCOUNT", "ID", "ANSWER"], answers));
    Ok(())
}

/// Stores a session in the Secret of its `MfaSession`.
pub(super) async fn store(
    secrets: &Api<Secret>,
    session: &MfaSession,
    session_secret: &SessionSecret,
) -> Result<(), Failure> {
    let name = &session.secret_name();
    // Kubernetes deletes the Secret with its MfaSession.
    let owners: Vec<OwnerReference> = session.owner_ref(&()).into_iter().collect();
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "ownerReferences": owners},
        "type": SESSION_SECRET_TYPE,
        "data": session_secret.to_data(),
    });
    let params = PatchParams::apply("rolectl").force();
    match secrets.patch(name, &params, &Patch::Apply(&secret)).await {
        Ok(_) => Ok(()),
        // The message of the API server can contain the object, and so the credentials. The reason and the code cannot.
        Err(kube::Error::Api(status)) => Err(Failure::new(
            format!(
                "could not store the session in Secret {name}: {} (code {})",
                status.reason, status.code
            ),
            "correct the cause and unlock with the next code; this session is not stored anywhere and ends by itself",
        )),
        Err(_) => Err(Failure::new(
            format!("could not store the session in Secret {name}: the cluster does not answer"),
            "unlock with the next code once it does; this session is lost and ends by itself",
        )),
    }
}
