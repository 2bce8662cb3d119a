//! Flags that select the objects and the credentials of a command.

use std::collections::BTreeSet;

use clap::Args;

use kube::ResourceExt as _;
use rolectl_aws::actor::report::Goal;
use rolectl_aws::session::SessionSecret;
use rolectl_core::names::full_name;
use rolectl_core::removals::waits_by_status;
use rolectl_crds::{ApprovalsFor, AwsAccount, IamRole, MfaSession};

use super::{Fleet, Purpose};
use crate::failure::Failure;
use crate::once::{Intent, Inventory};
use crate::{cluster, mfa};

/// Flags that select the objects and the credentials of a command.
#[derive(Debug, Default, Args)]
pub struct FleetFlags {
    /// Files and folders with IamRoles, AwsAccounts and MfaSessions; `-` is stdin. Roles come from the cluster without them
    #[arg(value_name = "PATH")]
    paths: Vec<String>,
    /// As PATH, for those who are used to kubectl
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    filenames: Vec<String>,
    /// Only these AwsAccounts
    #[arg(long = "account", value_name = "NAME")]
    pub accounts: Vec<String>,
    /// Name of the cluster in owner tags. Default: the name that the controller reports; `files` without a cluster, and where roles are written
    #[arg(long, env = "ROLECTL_CLUSTER_NAME", hide_env_values = true)]
    pub(super) cluster_name: Option<String>,
    /// Open the session of this role with the code, and manage its account only
    ///
    /// For a user who may assume one role under MFA and nothing else.
    #[arg(long, value_name = "ARN", value_parser = mfa::role_arn)]
    pub(super) assume_role: Option<String>,
    /// Length of the session; a new one is opened. Default: the MfaSession's durationSeconds; of a role what AWS gives, 1h
    #[arg(long, value_parser = mfa::duration_seconds)]
    pub(super) duration: Option<i32>,
    #[command(flatten)]
    pub(super) mfa: mfa::CodeFlags,
    /// Only this role of the cluster, as `namespace/name`.
    #[arg(skip)]
    pub(super) role: Option<String>,
}

impl FleetFlags {
    /// Returns the flags that select one role of the cluster.
    pub fn of_role(role: &IamRole, cluster_name: Option<String>, mfa: mfa::CodeFlags) -> Self {
        Self {
            mfa,
            cluster_name,
            role: Some(full_name(role)),
            ..Self::default()
        }
    }

    /// Returns the flags of a command that uses one session and no role.
    pub fn of_session(files: Vec<String>, mfa: mfa::CodeFlags) -> Self {
        Self {
            filenames: files,
            mfa,
            ..Self::default()
        }
    }

    /// Returns the flags of a command that works on roles of the cluster in these accounts, or in all.
    pub fn of_accounts(accounts: Vec<String>, cluster_name: Option<String>, mfa: mfa::CodeFlags) -> Self {
        Self {
            accounts,
            cluster_name,
            mfa,
            ..Self::default()
        }
    }

    /// Collects the objects of the cluster, with this open session of the `MfaSession` and those accounts on it in which changes may wait for
    /// an approval.
    pub async fn fleet_on(
        &self,
        flags: &cluster::Flags,
        session: &MfaSession,
        session_secret: SessionSecret,
    ) -> Result<Fleet, Failure> {
        let (mut fleet, _) = self.collect(flags, Purpose::Show).await?;
        let name = session.name_any();
        let Inventory { roles, accounts, .. } = &fleet.inventory;
        let names = accounts.iter().map(AwsAccount::name_any);
        let parked: BTreeSet<String> = names
            .filter(|name| roles.iter().any(|role| waits_by_status(role, name)))
            .collect();
        fleet.leave_out(|account| {
            let session = &account.spec.session_ref;
            if *session != name {
                Some(format!(
                    "its session is {session}: run the command with --session {session}"
                ))
            } else if account.spec.suspend {
                Some("it is suspended".to_owned())
            } else if account.spec.approvals_for() == ApprovalsFor::None
                && !parked.contains(&account.name_any())
            {
                Some("nothing waits there for an approval".to_owned())
            } else {
                None
            }
        });
        let region = session.spec.region.as_deref();
        fleet
            .sessions
            .open(&*fleet.environment.aws, &name, region, session_secret)?;
        Ok(fleet)
    }

    /// Returns the files and folders that are given.
    pub fn files(&self) -> Vec<String> {
        self.paths.iter().chain(&self.filenames).cloned().collect()
    }

    /// Collects the objects, and opens the sessions of the accounts that the roles target.
    pub async fn fleet(&self, flags: &cluster::Flags, purpose: Purpose) -> Result<Fleet, Failure> {
        let (fleet, client) = self.collect(flags, purpose).await?;
        if !fleet
            .inventory
            .roles
            .iter()
            .any(|role| fleet.scope.contains(role))
        {
            return Err(Failure::new(
                "there is no IamRole to look at",
                "give files or folders, or apply some to the cluster",
            ));
        }
        let accounts = fleet.targeted(Intent::Make(Goal::Keep));
        self.open_sessions(fleet, client.as_ref(), flags, accounts).await
    }

    /// Collects the objects, and opens the sessions of the accounts that are named. They need no role.
    pub async fn named_accounts(&self, flags: &cluster::Flags) -> Result<(Fleet, Vec<AwsAccount>), Failure> {
        let (mut fleet, client) = self.collect(flags, Purpose::Show).await?;
        fleet.restrict_to(&self.accounts)?;
        let accounts = fleet.inventory.accounts.clone();
        let fleet = self
            .open_sessions(fleet, client.as_ref(), flags, accounts)
            .await?;
        if let Some((account, why)) = fleet.left_out.first() {
            return Err(Failure::new(
                format!("AwsAccount {} cannot be read: {why}", account.name_any()),
                "correct --account or --assume-role",
            ));
        }
        let accounts = fleet.inventory.accounts.clone();
        Ok((fleet, accounts))
    }
}
