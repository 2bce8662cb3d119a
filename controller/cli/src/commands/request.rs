//! Implements `rolectl reconcile`, `suspend` and `resume`: requests to the controller, written on an object.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use rolectl_core::selection::targets;
use rolectl_crds::{AwsAccount, IamRole, RECONCILE_ANNOTATION};
use serde_json::{Value, json};

use crate::cluster::{self, Flags, failed};
use crate::failure::Failure;
use crate::mfa;
use crate::named::{Named, ObjectArgs};
use crate::objects::ready_condition;
use crate::stdio::{eprintln, println};

/// Have the controller read AWS now, and correct what differs
///
/// Changes are applied at once in any case: this is for somebody who has changed a role in AWS, or has removed what was in the way.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rolectl reconcile role/app -n platform --wait
  rolectl reconcile account prod

Exit codes: 0 requested; with --wait, AWS was read and the object is Ready; 1 failed, not Ready, or not done in time, 2 wrong usage.")]
pub struct Reconcile {
    #[command(flatten)]
    object: ObjectArgs,
    /// Wait until the controller has read AWS and the object is Ready
    ///
    /// Drift that this read finds is corrected afterwards.
    #[arg(long)]
    wait: bool,
    /// How long to wait
    #[arg(long, default_value = "2m", value_parser = mfa::positive_duration, requires = "wait")]
    timeout: Duration,
}

/// Have the controller leave a role or an account as it is
///
/// Sets `spec.suspend`. Nothing is written to AWS for it until `rolectl resume`, whatever changes. Where Git has the object, write it there.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  rolectl suspend role/app -n platform

Exit codes: 0 suspended, 1 failed, 2 wrong usage.")]
pub struct Suspend {
    #[command(flatten)]
    object: ObjectArgs,
}

/// Have the controller reconcile a suspended role or account again
#[derive(Debug, Args)]
#[command(after_help = "Example:
  rolectl resume account/prod

Exit codes: 0 resumed, 1 failed, 2 wrong usage.")]
pub struct Resume {
    #[command(flatten)]
    object: ObjectArgs,
}

/// Patches an object. Returns its name for messages.
async fn patch(client: &Client, named: &Named, change: &Value) -> Result<String, Failure> {
    match named {
        Named::Role(name) => {
            let roles: Api<IamRole> = Api::default_namespaced(client.clone());
            let shown = format!("IamRole {}/{name}", client.default_namespace());
            patch_in(&roles, name, change, &shown).await?;
            Ok(shown)
        }
        Named::Account(name) => {
            let shown = format!("AwsAccount {name}");
            patch_in(&Api::<AwsAccount>::all(client.clone()), name, change, &shown).await?;
            Ok(shown)
        }
        Named::Session(name) => Err(Failure::new(
            format!("MfaSession {name} cannot be reconciled, suspended or resumed"),
            "name a role or an account; `rolectl unlock` and `rolectl lock` change a session",
        )
        .usage()),
    }
}

/// Patches an object. `shown` names it in messages.
pub(super) async fn patch_in<K>(api: &Api<K>, name: &str, change: &Value, shown: &str) -> Result<(), Failure>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let patched = api
        .patch_metadata(name, &PatchParams::default(), &Patch::Merge(change))
        .await;
    match patched {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Err(Failure::new(
            format!("there is no {shown}"),
            "correct the name, or give the namespace of a role with -n",
        )),
        Err(error) => Err(failed(&format!("change {shown}"), &error)),
    }
}

impl Suspend {
    pub async fn run(self, flags: &Flags) -> Result<(), Failure> {
        let shown = patch(&flags.client().await?, &self.object.named()?, &suspended(true)).await?;
        println!("{shown} is suspended: nothing is written to AWS for it.");
        Ok(())
    }
}

impl Resume {
    pub async fn run(self, flags: &Flags) -> Result<(), Failure> {
        let shown = patch(&flags.client().await?, &self.object.named()?, &suspended(false)).await?;
        println!("{shown} is resumed.");
        Ok(())
    }
}

fn suspended(suspend: bool) -> Value {
    json!({"spec": {"suspend": suspend}})
}

/// Time between two looks at the cluster.
const PAUSE: Duration = Duration::from_millis(500);

impl Reconcile {
    pub async fn run(self, flags: &Flags) -> Result<(), Failure> {
        let named = self.object.named()?;
        let client = flags.client().await?;
        let before = if self.wait {
            reads(&client, &named).await?
        } else {
            Reads::new()
        };
        let change =
            json!({"metadata": {"annotations": {RECONCILE_ANNOTATION: Timestamp::now().to_string()}}});
        let shown = patch(&client, &named, &change).await?;
        println!("{shown}: reconciliation requested.");
        if !self.wait {
            return Ok(());
        }
        let start = tokio::time::Instant::now();
        let mut told = String::new();
        loop {
            match state(&client, &named, &before).await? {
                State::Ready => {
                    println!("{shown}: AWS was read, and the object is Ready.");
                    return Ok(());
                }
                State::NotReady(message) => {
                    return Err(Failure::new(
                        format!("{shown}: AWS was read, and the object is not Ready: {message}"),
                        "rolectl describe shows more; correct what the message names",
                    ));
                }
                State::Waits(what) => {
                    if what != told {
                        eprintln!("Waiting for {what} ...");
                        told = what;
                    }
                }
            }
            if start.elapsed() > self.timeout {
                return Err(Failure::new(
                    format!("{shown} was not reconciled within {} s", self.timeout.as_secs()),
                    format!(
                        "it waits for {told}; rolectl status shows the session, the accounts and the controller"
                    ),
                ));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// How far a request is.
enum State {
    Ready,
    NotReady(String),
    Waits(String),
}

/// When each account was read last, by its name. The time is the controller's.
type Reads = BTreeMap<String, Option<Timestamp>>;

/// Returns the accounts of the object, each with its last read.
async fn reads(client: &Client, named: &Named) -> Result<Reads, Failure> {
    let accounts = match named {
        Named::Account(name) => {
            let account = cluster::get(&Api::<AwsAccount>::all(client.clone()), name).await?;
            account.into_iter().collect()
        }
        Named::Role(name) => {
            let role = cluster::get(&Api::<IamRole>::default_namespaced(client.clone()), name).await?;
            let mut accounts = cluster::accounts(client).await?;
            accounts.retain(|account| role.as_ref().is_some_and(|role| targets(role, account)));
            accounts
        }
        Named::Session(_) => vec![],
    };
    let read = |account: AwsAccount| {
        let last = account.status.and_then(|status| status.last_sweep_time);
        Some((account.metadata.name?, last.map(|time| time.0)))
    };
    Ok(accounts.into_iter().filter_map(read).collect())
}

async fn state(client: &Client, named: &Named, before: &Reads) -> Result<State, Failure> {
    let now = reads(client, named).await?;
    let mut unread = now.iter().filter(|(name, last)| before.get(*name) == Some(*last));
    if let Some((first, _)) = unread.next() {
        let more = match unread.count() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        return Ok(State::Waits(format!(
            "the controller to read account {first}{more}"
        )));
    }
    Ok(match condition(client, named).await? {
        Some((status, message)) if status == "False" => State::NotReady(message),
        Some((status, _)) if status == "True" => State::Ready,
        Some((_, message)) => State::Waits(message),
        None => State::Waits("the controller to report".to_owned()),
    })
}

/// Returns the condition `Ready`, if it is about the present spec.
async fn condition(client: &Client, named: &Named) -> Result<Option<(String, String)>, Failure> {
    let gone = || {
        Failure::new(
            "the object was deleted meanwhile",
            "check whether the deletion was intended",
        )
    };
    Ok(match named {
        Named::Account(name) => {
            let account = cluster::get(&Api::<AwsAccount>::all(client.clone()), name).await?;
            let account = account.ok_or_else(gone)?;
            ready(account.status.as_ref().map(|status| status.conditions.as_slice()))
        }
        Named::Role(name) => {
            let role = cluster::get(&Api::<IamRole>::default_namespaced(client.clone()), name).await?;
            let role = role.ok_or_else(gone)?;
            let status = role.status.as_ref();
            let is_seen = status.and_then(|status| status.observed_generation) == role.metadata.generation;
            ready(
                status
                    .filter(|_| is_seen)
                    .map(|status| status.conditions.as_slice()),
            )
        }
        Named::Session(_) => None,
    })
}

/// Returns status and message of the condition `Ready`.
fn ready(conditions: Option<&[Condition]>) -> Option<(String, String)> {
    let ready = ready_condition(conditions?)?;
    Some((
        ready.status.clone(),
        format!("{}: {}", ready.reason, ready.message),
    ))
}
