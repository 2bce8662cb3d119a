//! The bare loop: the AWS calls and Kubernetes writes of a case and nothing else. It is what the controller is
//! compared with.

use std::time::Duration;

use anyhow::Result;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use rolectl_crds::{FINALIZER, IamRole};
use rolectl_tests::scenario::Scenario;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::fixtures::{INLINE, POLICIES, TAGS, inline, name, spec, trust};
use crate::fleet::{Fleet, allow_any_number_of_roles};
use crate::process::own_cpu_seconds;

/// What the bare loop used.
pub struct Used {
    /// From its begin to its end.
    pub wall: Duration,
    /// CPU seconds for what the controller does too.
    pub cpu: f64,
}

/// Creates the same roles, with the same AWS calls and Kubernetes writes.
pub async fn create(fleet: &Fleet) -> Result<Used> {
    let bare = Scenario::with(fleet.s.world, "bare", fleet.flags.accounts, |_| {}).await?;
    allow_any_number_of_roles(&bare).await?;
    let mut clients = vec![];
    for n in 0..bare.targets.len() {
        clients.push(bare.hands(n).await?);
    }
    let statuses = statuses(&bare).await?;
    // In the case itself it is the user, not the controller, who applies the objects. So this part of the loop is
    // measured alone and subtracted: a dry run costs the client the same and leaves nothing behind.
    let before = own_cpu_seconds()?;
    apply_all(fleet, &bare, &PatchParams::apply("bench").force().dry_run()).await?;
    let users_cpu = own_cpu_seconds()? - before;

    let (start, before) = (Instant::now(), own_cpu_seconds()?);
    let (api, bare, clients) = (bare.roles(), &bare, &clients);
    stream::iter(0..fleet.flags.roles)
        .map(anyhow::Ok)
        .try_for_each_concurrent(fleet.flags.in_flight, |n| {
            let (api, statuses) = (api.clone(), statuses.clone());
            async move {
                write_object(&api, &name(n), &role(bare, n, "")).await?;
                for iam in fleet.of(clients, n) {
                    create_in_aws(iam, &name(n), bare).await?;
                }
                write_status(&statuses, &name(n)).await
            }
        })
        .await?;
    Ok(Used {
        wall: start.elapsed(),
        cpu: own_cpu_seconds()? - before - users_cpu,
    })
}

/// Reads each account once, and for each role makes the one call and the one write that its change needs.
pub async fn resume(fleet: &Fleet) -> Result<Duration> {
    let bare = Scenario::new(fleet.s.world, "bare-resume", 0).await?;
    let api = bare.roles();
    for n in 0..fleet.flags.roles {
        write_object(&api, &name(n), &role(&bare, n, "x")).await?;
    }
    let mut clients = vec![];
    for n in 0..fleet.s.targets.len() {
        clients.push(fleet.s.hands(n).await?);
    }
    let statuses = statuses(&bare).await?;
    let start = Instant::now();
    for iam in &clients {
        iam.list_roles()
            .max_items(1000)
            .into_paginator()
            .send()
            .try_collect()
            .await?;
        iam.get_account_authorization_details()
            .max_items(1000)
            .into_paginator()
            .send()
            .try_collect()
            .await?;
    }
    let clients = &clients;
    stream::iter(0..fleet.flags.roles)
        .map(anyhow::Ok)
        .try_for_each_concurrent(fleet.flags.in_flight, |n| {
            let statuses = statuses.clone();
            async move {
                for iam in fleet.of(clients, n) {
                    iam.update_role()
                        .role_name(name(n))
                        .description("changed while locked")
                        .max_session_duration(3600)
                        .send()
                        .await?;
                }
                write_status(&statuses, &name(n)).await
            }
        })
        .await?;
    Ok(start.elapsed())
}

fn role(bare: &Scenario<'_>, n: usize, description: &str) -> Value {
    bare.role(&name(n), spec(&json!({"names": ["x"]}), description))
}

async fn apply_all(fleet: &Fleet, bare: &Scenario<'_>, params: &PatchParams) -> Result<()> {
    let api = bare.roles();
    stream::iter(0..fleet.flags.roles)
        .map(anyhow::Ok)
        .try_for_each_concurrent(fleet.flags.in_flight, |n| {
            let api = api.clone();
            async move {
                api.patch(&name(n), params, &Patch::Apply(role(bare, n, "")))
                    .await?;
                Ok(())
            }
        })
        .await
}

async fn create_in_aws(iam: &aws_sdk_iam::Client, name: &str, s: &Scenario<'_>) -> Result<()> {
    let mut create = iam
        .create_role()
        .role_name(name)
        .assume_role_policy_document(trust(&s.main).to_string());
    for (key, value) in TAGS.into_iter().chain([("iam.rolectl.dev/owner", "bench")]) {
        let tag = aws_sdk_iam::types::Tag::builder().key(key).value(value).build()?;
        create = create.tags(tag);
    }
    create.send().await?;
    for arn in POLICIES {
        iam.attach_role_policy()
            .role_name(name)
            .policy_arn(arn)
            .send()
            .await?;
    }
    iam.put_role_policy()
        .role_name(name)
        .policy_name(INLINE)
        .policy_document(inline().to_string())
        .send()
        .await?;
    Ok(())
}

/// Writes the object and then the finalizer, as the user and the controller do.
async fn write_object(api: &Api<IamRole>, name: &str, role: &Value) -> Result<()> {
    let made = api
        .patch(name, &PatchParams::apply("bench").force(), &Patch::Apply(role))
        .await?;
    let patch = json!({"metadata": {"finalizers": [FINALIZER], "resourceVersion": made.resource_version()}});
    api.patch(name, &PatchParams::default(), &Patch::Merge(&patch))
        .await?;
    Ok(())
}

/// A client as the controller, because the admission policy `rolectl-status` lets nobody else write a status.
async fn statuses(s: &Scenario<'_>) -> Result<Api<IamRole>> {
    let client = s.world.plane.client("rolectl-controller").await?;
    Ok(Api::namespaced(client, &s.name))
}

async fn write_status(api: &Api<IamRole>, name: &str) -> Result<()> {
    let status = json!({"apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "IamRole", "metadata": {"name": name}, "status": {
        "observedGeneration": 1, "summary": "1/1",
        "conditions": [{"type": "Ready", "status": "True", "reason": "InSync", "message": "in sync in 1 account", "observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z"}],
        "accounts": [{"name": "x", "accountId": "000000000000", "state": "InSync", "arn": "arn:aws:iam::000000000000:role/x", "roleId": "AROAXXXXXXXXXXXXXXXXX", "lastAppliedGeneration": 1}]}});
    api.patch_status(
        name,
        &PatchParams::apply("bench-status").force(),
        &Patch::Apply(&status),
    )
    .await?;
    Ok(())
}
