//! Collects the objects of files and cluster, and the name of the owner.

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, ResourceExt as _};

use rolectl_aws::account::AccountEnvironment;
use rolectl_aws::sdk::SdkAws;
use rolectl_core::selection::targets;

use super::scope::Scope;
use super::sessions::FleetSessions;
use super::{Fleet, FleetFlags, from_cluster, from_files};
use crate::failure::Failure;
use crate::once::Inventory;
use crate::stdio::eprintln;
use crate::waiting::aws_config_of;
use crate::{cluster, files, managed};

/// What a command does with the objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Shows the changes.
    Show,
    /// Writes to AWS without the controller. With `take_over` it also writes roles that a controller manages.
    Write { take_over: bool },
}

impl FleetFlags {
    /// Collects the objects of the files, and of the cluster where the files are not complete. Returns the client if the cluster
    /// was needed.
    pub(super) async fn collect(
        &self,
        flags: &cluster::Flags,
        purpose: Purpose,
    ) -> Result<(Fleet, Option<Client>), Failure> {
        let mut inventory = Inventory::default();
        from_files::add_objects(&mut inventory, &files::objects(&self.files())?, flags)?;
        let complete =
            !self.files().is_empty() && !inventory.accounts.is_empty() && !inventory.sessions.is_empty();
        let client = if complete {
            None
        } else {
            Some(flags.client().await?)
        };
        let default = client
            .as_ref()
            .map_or("default", |client| client.default_namespace());
        for role in &mut inventory.roles {
            role.metadata.namespace.get_or_insert_with(|| default.to_owned());
        }
        let scope = Scope {
            role: self.role.clone(),
            // The full name of the role has the namespace.
            namespace: flags.namespace.clone().filter(|_| self.role.is_none()),
        };
        let reported_name = match &client {
            Some(client) => {
                from_cluster::add_objects(&mut inventory, client, self.files().is_empty(), &scope).await?
            }
            None => None,
        };
        inventory.cluster = match purpose {
            Purpose::Show => self.name_to_show(reported_name, client.as_ref()).await?,
            Purpose::Write { take_over } => {
                // The role ID in a status must not prove ownership.
                inventory.roles.iter_mut().for_each(|role| role.status = None);
                let permit = self.permit(&inventory, flags, take_over).await?;
                eprintln!("{}", permit.notice);
                permit.cluster
            }
        };
        let aws = SdkAws::new(aws_config_of(None).await);
        let owner_prefix = format!("{}/", inventory.cluster);
        let environment = AccountEnvironment::alone(aws, "cli".to_owned(), owner_prefix);
        let described = inventory
            .accounts
            .iter()
            .map(kube::ResourceExt::name_any)
            .collect();
        let mut fleet = Fleet {
            described,
            inventory,
            sessions: FleetSessions::default(),
            environment,
            left_out: vec![],
            scope,
        };
        if !self.accounts.is_empty() {
            fleet.restrict_to(&self.accounts)?;
        }
        Ok((fleet, client))
    }

    /// Returns the name of the cluster in owner tags for a command that only shows: the name that the controller uses.
    async fn name_to_show(
        &self,
        reported: Option<String>,
        client: Option<&Client>,
    ) -> Result<String, Failure> {
        match (self.cluster_name.clone().or(reported), client) {
            (Some(name), _) => Ok(name),
            (None, None) => Ok("files".to_owned()),
            (None, Some(client)) => {
                let api: Api<Namespace> = Api::all(client.clone());
                let system = api.get("kube-system").await.map_err(|_| {
                    Failure::new(
                        "no controller has said yet what it calls this cluster, and you may not read the namespace kube-system",
                        "give --cluster-name, as the controller has it",
                    )
                })?;
                Ok(system.uid().unwrap_or_default())
            }
        }
    }

    /// Asks the cluster for the permission to write these roles without its controller.
    pub async fn permit(
        &self,
        inventory: &Inventory,
        flags: &cluster::Flags,
        take_over: bool,
    ) -> Result<managed::Permit, Failure> {
        let mut accounts = inventory.accounts.clone();
        accounts.retain(|account| self.accounts.is_empty() || self.accounts.contains(&account.name_any()));
        accounts.retain(|account| inventory.roles.iter().any(|role| targets(role, account)));
        let answer = managed::ask(flags, &inventory.roles, &accounts).await?;
        answer.permit(take_over, self.cluster_name.clone())
    }
}
