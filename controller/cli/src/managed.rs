//! Finds out whether a controller manages the roles that `apply` and `destroy` are about to write.
//!
//! Two writers of one role undo each other's changes, and a role that `destroy` deletes comes back with another id. So
//! the cluster is asked before anything is written, also where the files have all objects.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use http::Request;
use jiff::Timestamp;
use kube::{Api, Client, ResourceExt as _};
use rolectl_core::names::full_name;
use rolectl_crds::{AwsAccount, IamRole};
use rolectl_kube::objects::Listing;

use crate::cluster;
use crate::failure::Failure;
use crate::times::moment;

/// How long the cluster may take to answer all questions.
const PATIENCE: Duration = Duration::from_secs(15);
/// How many names a message lists.
const LISTED: usize = 3;
/// Owner tags begin with this where nothing else is given.
const FILES: &str = "files";

/// What the cluster says about the roles and accounts of the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// No cluster could be asked.
    NotAsked {
        /// Why.
        why: String,
    },
    /// A cluster was asked and manages none of them.
    Free {
        /// URL of the API server.
        url: String,
    },
    /// A cluster answers, and does not say what it manages.
    Unclear {
        /// Why.
        why: String,
    },
    /// A controller manages some of them.
    Managed(Manager),
}

/// The cluster whose controller manages roles or accounts of the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manager {
    /// The cluster's name in owner tags, if its controller has written it.
    name: Option<String>,
    /// URL of the API server.
    url: String,
    /// Roles of the files that are `IamRoles` of the cluster, as `namespace/name`.
    roles: Vec<String>,
    /// Accounts of the files that a controller serves, with the time of its last sweep.
    accounts: Vec<String>,
}

/// The owner in whose name roles are written, and what the user must know before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permit {
    /// First part of the owner tags.
    pub cluster: String,
    /// What is printed before the plan.
    pub notice: String,
}

/// Asks the cluster about these roles and accounts. Fails where the user names a cluster that cannot be reached.
pub async fn ask(
    flags: &cluster::Flags,
    roles: &[IamRole],
    accounts: &[AwsAccount],
) -> Result<Answer, Failure> {
    let client = match flags.client().await {
        Ok(client) => client,
        Err(failure) if flags.names_a_cluster() => return Err(failure),
        Err(failure) => {
            return Ok(Answer::NotAsked {
                why: failure.what().to_owned(),
            });
        }
    };
    let url = flags.url().await.unwrap_or_else(|| "?".to_owned());
    let asked = tokio::time::timeout(PATIENCE, look(&client, &url, roles, accounts)).await;
    let Ok(answer) = asked else {
        let why = format!(
            "the cluster at {url} does not answer within {} seconds",
            PATIENCE.as_secs()
        );
        return Ok(Answer::Unclear { why });
    };
    match answer {
        Ok(answer) => Ok(answer),
        Err(kube::Error::Service(error)) => {
            let why = format!(
                "the cluster at {url} cannot be reached: {}",
                rolectl_core::causes::error_chain(&*error)
            );
            if flags.names_a_cluster() {
                return Err(Failure::new(
                    format!("{why}. Nothing was written"),
                    "correct --kubeconfig or --context, or leave them out to write without a cluster",
                ));
            }
            Ok(Answer::NotAsked { why })
        }
        Err(error) => Ok(Answer::Unclear {
            why: format!(
                "the cluster at {url} does not say what it manages: {}",
                rolectl_core::causes::error_chain(&error)
            ),
        }),
    }
}

async fn look(
    client: &Client,
    url: &str,
    roles: &[IamRole],
    accounts: &[AwsAccount],
) -> Result<Answer, kube::Error> {
    // Everybody who is logged in may ask this. Without it, a cluster that does not have our kinds would answer "forbidden".
    let group = Request::get(format!("/apis/{}", rolectl_crds::GROUP)).body(vec![]);
    let group = group.map_err(kube::Error::HttpError)?;
    match client.request_text(group).await {
        Err(kube::Error::Api(status)) if status.code == 404 => {
            return Ok(Answer::Free { url: url.to_owned() });
        }
        other => other?,
    };
    // Each is parsed alone: no spec, however it is written, hides an object.
    let mut there = BTreeSet::new();
    let mut listing = Listing::new(&Api::<IamRole>::all(client.clone()), PATIENCE);
    while let Some(role) = listing.next().await? {
        there.insert(role.map_or_else(|unreadable| unreadable.full_name(), |role| full_name(&role)));
    }
    let mut served = vec![];
    let mut listing = Listing::new(&Api::<AwsAccount>::all(client.clone()), PATIENCE);
    while let Some(account) = listing.next().await? {
        let account = account.map_err(|unreadable| {
            let why = format!(
                "AwsAccount {} cannot be read: {}",
                unreadable.full_name(),
                unreadable.problem
            );
            kube::Error::ReadEvents(io::Error::new(io::ErrorKind::InvalidData, why))
        });
        served.push(account?);
    }
    Ok(answer(url, roles, accounts, &there, &served, Timestamp::now()))
}

/// Whether a controller has ever served the account, by what the cluster has as its status.
fn is_served(account: &AwsAccount) -> bool {
    let status = account.status.as_ref();
    status.is_some_and(|s| s.cluster.is_some() || s.last_sweep_time.is_some() || !s.conditions.is_empty())
}

fn answer(
    url: &str,
    roles: &[IamRole],
    accounts: &[AwsAccount],
    there: &BTreeSet<String>,
    served: &[AwsAccount],
    now: Timestamp,
) -> Answer {
    let managed = roles.iter().map(full_name).filter(|name| there.contains(name));
    let managed: BTreeSet<String> = managed.collect();
    let ids: BTreeSet<&str> = accounts.iter().map(|a| a.spec.account_id.as_str()).collect();
    // By id: the same account may have another name in the files.
    let of_files: Vec<&AwsAccount> = served
        .iter()
        .filter(|account| is_served(account) && ids.contains(account.spec.account_id.as_str()))
        .collect();
    if managed.is_empty() && of_files.is_empty() {
        return Answer::Free { url: url.to_owned() };
    }
    let name = |account: &AwsAccount| account.status.as_ref()?.cluster.clone();
    let described = of_files.iter().map(|account| {
        let swept = account.status.as_ref().and_then(|s| s.last_sweep_time.as_ref());
        let swept = swept.map_or_else(|| "never".to_owned(), |at| moment(at.0, now));
        format!(
            "{} ({}, last sweep: {swept})",
            account.name_any(),
            account.spec.account_id
        )
    });
    Answer::Managed(Manager {
        name: of_files.iter().copied().chain(served).find_map(name),
        url: url.to_owned(),
        roles: managed.into_iter().collect(),
        accounts: described.collect(),
    })
}

impl Manager {
    fn cluster(&self) -> String {
        match &self.name {
            Some(name) => format!("{name} ({})", self.url),
            None => self.url.clone(),
        }
    }

    /// What is managed there, for a message.
    fn managed(&self) -> String {
        match (self.roles.as_slice(), self.accounts.as_slice()) {
            ([], accounts) => format!(
                "{} {}",
                if accounts.len() == 1 {
                    "account"
                } else {
                    "accounts"
                },
                listed(accounts)
            ),
            (roles, _) => listed(roles),
        }
    }

    /// The sentence that names all of it.
    fn sentence(&self) -> String {
        let count = if self.roles.is_empty() {
            self.accounts.len()
        } else {
            self.roles.len()
        };
        let verb = if count == 1 { "is" } else { "are" };
        format!(
            "{} {verb} managed by the controller of cluster {}",
            self.managed(),
            self.cluster()
        )
    }
}

/// The first few names, and how many more there are.
fn listed(names: &[String]) -> String {
    let first = names.iter().take(LISTED).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(LISTED) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

impl Answer {
    /// In whose name the roles may be written: by default never in the name of a cluster, which is its controller's own.
    pub fn permit(self, take_over: bool, given: Option<String>) -> Result<Permit, Failure> {
        let directly = |cluster: String, why: String| {
            let notice = format!("Writes to AWS directly as owner {cluster}/NAMESPACE/NAME. {why}");
            Permit { cluster, notice }
        };
        let files = || given.clone().unwrap_or_else(|| FILES.to_owned());
        match self {
            Self::NotAsked { why } => Ok(directly(
                files(),
                format!("No cluster was asked whether it manages these roles: {why}"),
            )),
            Self::Free { url } => Ok(directly(
                files(),
                format!("The cluster at {url} manages none of these roles and accounts."),
            )),
            Self::Unclear { why } if take_over => Ok(directly(files(), format!("--take-over: {why}"))),
            Self::Unclear { why } => Err(Failure::new(
                format!(
                    "cannot find out whether a controller manages these roles: {why}. Nothing was written"
                ),
                "ask for the ClusterRole rolectl-operator (deploy/rbac), point KUBECONFIG at the cluster whose controller manages the accounts, or give --take-over if you are sure that none does",
            )),
            Self::Managed(manager) if take_over => match given.or_else(|| manager.name.clone()) {
                Some(cluster) => Ok(directly(
                    cluster,
                    format!(
                        "--take-over: {}, which changes back what differs from its own objects.",
                        manager.sentence()
                    ),
                )),
                None => Err(Failure::new(
                    format!(
                        "{}, which has not written its name in owner tags yet. Nothing was written",
                        manager.sentence()
                    ),
                    "give --cluster-name, as the controller has it",
                )),
            },
            Self::Managed(manager) => Err(Failure::new(
                format!("{}. Nothing was written", manager.sentence()),
                "change the roles there with kubectl, or give --take-over to write to AWS nevertheless",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const URL: &str = "https://cluster";

    fn account(name: &str, id: &str, status: &Value) -> AwsAccount {
        serde_json::from_value(
            json!({"apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "AwsAccount",
            "metadata": {"name": name}, "spec": {"accountId": id}, "status": status}),
        )
        .unwrap()
    }

    fn role(namespace: &str, name: &str) -> IamRole {
        serde_json::from_value(
            json!({"apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "IamRole",
            "metadata": {"name": name, "namespace": namespace}, "spec": {"accounts": {"names": ["prod"]}, "assumeRolePolicy": {}}}),
        )
        .unwrap()
    }

    fn asked(there: &[&str], served: &[AwsAccount]) -> Answer {
        let there = there.iter().map(|name| (*name).to_owned()).collect();
        let files = [account("prod", "222222222222", &Value::Null)];
        answer(
            URL,
            &[role("platform", "app")],
            &files,
            &there,
            served,
            Timestamp::UNIX_EPOCH,
        )
    }

    #[test]
    fn a_role_or_an_account_that_a_controller_manages_is_refused_and_others_are_not() {
        let swept = json!({"cluster": "production", "lastSweepTime": "1970-01-01T00:00:00Z"});
        let denied = json!({"conditions": [{"type": "Ready", "status": "False", "reason": "AccessDenied", "message": "",
            "lastTransitionTime": "1970-01-01T00:00:00Z"}]});
        for (there, served, refused) in [
            (&[][..], vec![], false),
            (&["platform/other", "team/app"], vec![], false),
            (&["platform/app"], vec![], true),
            (&[], vec![account("prod", "333333333333", &swept)], false),
            // Nobody serves it yet.
            (&[], vec![account("prod", "222222222222", &Value::Null)], false),
            // By its id, whatever its name is.
            (&[], vec![account("production", "222222222222", &swept)], true),
            (&[], vec![account("prod", "222222222222", &denied)], true),
        ] {
            let answer = asked(there, &served);
            let permitted = answer.clone().permit(false, Some("production".to_owned()));
            assert_eq!(permitted.is_err(), refused, "{there:?} {served:?}: {answer:?}");
        }
    }

    #[test]
    fn the_name_of_a_cluster_is_taken_only_on_request() {
        let swept = json!({"cluster": "production"});
        let managed = asked(&["platform/app"], &[account("prod", "222222222222", &swept)]);
        let unclear = Answer::Unclear {
            why: "forbidden".to_owned(),
        };
        let free = Answer::Free { url: URL.to_owned() };
        for (answer, take_over, given, cluster) in [
            (&managed, false, None, None),
            (&managed, false, Some("production"), None),
            (&managed, true, None, Some("production")),
            (&managed, true, Some("other"), Some("other")),
            (&unclear, false, None, None),
            (&unclear, true, None, Some("files")),
            (&free, false, None, Some("files")),
            (&free, false, Some("mine"), Some("mine")),
        ] {
            let permit = answer.clone().permit(take_over, given.map(str::to_owned));
            let got = permit.as_ref().ok().map(|permit| permit.cluster.as_str());
            assert_eq!(got, cluster, "{answer:?} {take_over} {given:?}");
        }
    }

    #[test]
    fn a_refusal_names_the_roles_the_cluster_and_the_ways_out() {
        let managed = asked(
            &["platform/app"],
            &[account("prod", "222222222222", &json!({"cluster": "production"}))],
        );
        let failure = managed.permit(false, None).unwrap_err().to_string();
        assert_eq!(
            failure,
            "error: platform/app is managed by the controller of cluster production (https://cluster). Nothing was written\n  \
             next: change the roles there with kubectl, or give --take-over to write to AWS nevertheless"
        );
        let many: Vec<String> = (0..5).map(|n| format!("a/r{n}")).collect();
        assert_eq!(listed(&many), "a/r0, a/r1, a/r2 and 2 more");
    }
}
