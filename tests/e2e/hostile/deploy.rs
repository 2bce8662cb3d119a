//! RBAC and admission policies of `deploy/`.

use anyhow::{Result, ensure};
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use rolectl_crds::{AwsAccount, MfaSession};
use rolectl_tests::scenario::Scenario;
use rolectl_tests::wait::until;
use serde_json::json;

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
