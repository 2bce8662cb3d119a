//! RBAC and admission policies of `deploy/`.

use anyhow::{Result, ensure};
use kube::api::{ListParams, Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client};
use rolectl_crds::{AwsAccount, FINALIZER, IamRole, MfaSession};
use rolectl_tests::scenario::Scenario;
use rolectl_tests::wait::until;
use serde_json::{Value, json};

use super::Tenant;

#[tokio::test]
async fn a_tenant_writes_roles_of_its_own_namespace_and_nothing_else() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "tenant", 1).await?;
    let tenant = Tenant::of(&s).await?;
    let role = s.role("app", json!({}));
    // A new binding takes a moment to reach the authorizer.
    until("the tenant's rights", || async {
        tenant.apply(&role).await.map_err(|e| e.to_string())
    })
    .await?;
    let mut elsewhere = role.clone();
    elsewhere["metadata"]["namespace"] = json!("default");
    ensure!(
        tenant.apply(&elsewhere).await.is_err(),
        "wrote a role of another namespace"
    );
    let (list, params) = (ListParams::default(), PatchParams::default());
    let accounts: Api<AwsAccount> = Api::all(tenant.client.clone());
    let sessions: Api<MfaSession> = Api::all(tenant.client.clone());
    let forbidden = |error: &kube::Error| matches!(error, kube::Error::Api(e) if e.code == 403);
    ensure!(
        accounts.list(&list).await.is_err_and(|e| forbidden(&e)),
        "read accounts"
    );
    ensure!(
        sessions.list(&list).await.is_err_and(|e| forbidden(&e)),
        "read sessions"
    );
    let forged = Patch::Merge(json!({"status": {"accounts": []}}));
    let answer = tenant.roles().patch_status("app", &params, &forged).await;
    ensure!(answer.is_err_and(|e| forbidden(&e)), "wrote a status");
    Ok(())
}

/// The scenario's objects of our kinds: a role, an account and a session.
fn objects(s: &Scenario<'_>, client: &Client) -> [(String, Api<DynamicObject>); 3] {
    let role = ApiResource::erase::<IamRole>(&());
    let account = ApiResource::erase::<AwsAccount>(&());
    let session = ApiResource::erase::<MfaSession>(&());
    [
        (
            "app".to_owned(),
            Api::namespaced_with(client.clone(), &s.name, &role),
        ),
        (format!("{}-0", s.name), Api::all_with(client.clone(), &account)),
        (s.name.clone(), Api::all_with(client.clone(), &session)),
    ]
}

/// Waits until the API server refuses with these words: a policy or a label takes a moment to be in force.
async fn refused(
    api: &Api<DynamicObject>,
    name: &str,
    subresource: &str,
    patch: &Value,
    says: &str,
) -> Result<()> {
    let (params, change) = (PatchParams::default(), Patch::Merge(patch));
    until(&format!("{name}: {patch} to be refused"), || async {
        let answer = if subresource.is_empty() {
            api.patch(name, &params, &change).await
        } else {
            api.patch_subresource(subresource, name, &params, &change).await
        };
        match answer {
            Err(error) if error.to_string().contains(says) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
}

#[tokio::test]
async fn nobody_but_the_controller_writes_a_status_whatever_rights_rbac_gives() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "statuses", 1).await?;
    s.apply(&s.role("app", json!({}))).await?;
    let label = ["label", "namespace", "statuses", "admission=on"];
    s.world.plane.kubectl(&label).await?;
    let forged = json!({"status": {"conditions": []}});
    let says = "only the ServiceAccount of the rolectl controller writes a status";
    // A tenant who is the administrator of the namespace.
    let tenant = Tenant::of(&s).await?;
    tenant.bind("cluster-admin").await?;
    let [(role, roles), ..] = objects(&s, &tenant.client);
    refused(&roles, &role, "status", &forged, says).await?;
    // The cluster's administrator.
    let all = objects(&s, &s.client);
    for (name, api) in &all {
        refused(api, name, "status", &forged, says).await?;
    }
    // Another ServiceAccount of the controller's name.
    let other = "system:serviceaccount:statuses:rolectl-controller";
    let plane = &s.world.plane;
    plane.impersonate("namesake", other, &["system:masters"])?;
    for (name, api) in &objects(&s, &plane.client("namesake").await?) {
        refused(api, name, "status", &forged, says).await?;
    }
    for (name, api) in &objects(&s, &plane.client("rolectl-controller").await?) {
        api.patch_subresource("status", name, &PatchParams::default(), &Patch::Merge(&forged))
            .await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_controllers_token_changes_only_its_own_finalizer() -> Result<()> {
    let s = Scenario::new(crate::world().await?, "token", 1).await?;
    s.apply(&s.role("app", json!({}))).await?;
    // What RBAC gives is not what is tested here.
    let user = "system:serviceaccount:rolectl-system:rolectl-controller";
    let plane = &s.world.plane;
    plane.impersonate("stolen-token", user, &["system:masters"])?;
    let foreign = json!({"metadata": {"finalizers": ["example.com/backup"]}});
    let (ours, none) = (
        json!({"metadata": {"finalizers": ["example.com/backup", FINALIZER]}}),
        json!({"metadata": {"finalizers": null}}),
    );
    let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "00000000-0000-0000-0000-000000000000"});
    let owner = json!({"metadata": {"ownerReferences": [owner]}});
    let annotation = json!({"metadata": {"annotations": {"iam.rolectl.dev/reconcile": "now"}}});
    let label = json!({"metadata": {"labels": {"scenario": "another"}}});
    let finalizers = "adds and removes only its own finalizer";
    let admin = objects(&s, &s.client);
    for ((name, api), (_, admin)) in objects(&s, &plane.client("stolen-token").await?)
        .iter()
        .zip(&admin)
    {
        refused(api, name, "", &annotation, "annotations or owner references").await?;
        refused(api, name, "", &owner, "annotations or owner references").await?;
        refused(api, name, "", &label, "what others have declared").await?;
        refused(api, name, "", &foreign, finalizers).await?;
        let params = PatchParams::default();
        admin.patch(name, &params, &Patch::Merge(&foreign)).await?;
        refused(api, name, "", &none, finalizers).await?;
        // What it must be able to do.
        api.patch(name, &params, &Patch::Merge(&ours)).await?;
        refused(api, name, "", &none, finalizers).await?;
        api.patch(name, &params, &Patch::Merge(&foreign)).await?;
        admin.patch(name, &params, &Patch::Merge(&none)).await?;
    }
    Ok(())
}
