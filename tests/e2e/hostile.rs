//! Attacks: a tenant who has nothing but the ClusterRole `rolectl-edit` in one namespace, an outsider in an account, a stolen
//! token. One module for each area.

mod access;
mod bounds;
mod cli;
mod deploy;
mod ownership;
mod plan;
mod watch;

use std::process::Output;

use anyhow::{Result, ensure};
use kube::{Api, Client};
use rolectl_crds::IamRole;
use rolectl_tests::scenario::Scenario;
use serde_json::{Value, json};

/// A user who has the ClusterRole `rolectl-edit` in the scenario's namespace, and no other right.
pub struct Tenant<'a> {
    scenario: &'a Scenario<'a>,
    /// Name of the user in Kubernetes, and of its kubeconfig: `rolectl_as(&tenant.user, ...)` runs the tool as this user.
    pub user: String,
    /// Kubernetes, as this user.
    pub client: Client,
}

impl<'a> Tenant<'a> {
    /// Makes the user and binds `rolectl-edit` to it.
    pub async fn of(scenario: &'a Scenario<'a>) -> Result<Tenant<'a>> {
        let user = format!("tenant-{}", scenario.name);
        scenario
            .world
            .plane
            .impersonate(&user, &user, &["system:authenticated"])?;
        let tenant = Tenant {
            scenario,
            client: scenario.world.plane.client(&user).await?,
            user,
        };
        tenant.bind("rolectl-edit").await?;
        Ok(tenant)
    }

    /// Gives the tenant a ClusterRole in its own namespace.
    pub async fn bind(&self, cluster_role: &str) -> Result<()> {
        let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": format!("{}-{cluster_role}", self.user), "namespace": self.scenario.name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": cluster_role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": self.user}]});
        self.scenario.apply(&binding).await
    }

    /// Roles of the tenant's namespace, with the tenant's rights.
    pub fn roles(&self) -> Api<IamRole> {
        Api::namespaced(self.client.clone(), &self.scenario.name)
    }

    /// Runs kubectl as the tenant, with `stdin`.
    pub async fn kubectl(&self, args: &[&str], stdin: &str) -> Result<Output> {
        self.scenario
            .world
            .plane
            .kubectl_as(&self.user, args, stdin)
            .await
    }

    /// `kubectl apply` of an object that the tenant may write.
    pub async fn apply(&self, object: &Value) -> Result<()> {
        let output = self.kubectl(&["apply", "-f", "-"], &object.to_string()).await?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "kubectl apply as {}: {error}", self.user);
        Ok(())
    }
}
