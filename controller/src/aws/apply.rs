//! Carries out a plan, call by call. Each call that succeeds is in the snapshot before the next begins, so
//! that whatever happens next, what was done is known.

use aws_sdk_iam::Client;
use aws_sdk_iam::types::Tag;
use rolectl_crds::OWNER_TAG;
use tokio::time::Instant;

use super::account::Account;
use super::error::{AwsFailure, Class};
use crate::role::plan::{Change, Identity};
use crate::role::{ObservedRole, Plan};

/// What became of a plan. A status is made from this, never from the plan.
#[derive(Debug, Default)]
pub struct Applied {
    /// Changes made.
    pub done: Vec<Change>,
    /// The change that failed, and why. The ones after it were not tried.
    pub failed: Option<(Change, AwsFailure)>,
    /// The role as it is now.
    pub role: Option<ObservedRole>,
}

/// What we hold to be true was shown by AWS at least this recently, or is asked for again before a write.
const FRESH: std::time::Duration = std::time::Duration::from_secs(10);

/// Proves that an existing role is still the one that we know, before the first write to it: between two
/// sweeps somebody may have made another role under its name.
pub async fn verify(
    account: &Account,
    iam: &Client,
    role: &ObservedRole,
    seen: Instant,
) -> Result<bool, AwsFailure> {
    if seen.elapsed() < FRESH {
        return Ok(true);
    }
    let answer = match account
        .call("GetRole", iam.get_role().role_name(&role.name).send())
        .await
    {
        Ok(answer) => answer,
        Err(failure) if failure.class == Class::Vanished => return Ok(false),
        Err(failure) => return Err(failure),
    };
    let same = answer.role.is_some_and(|now| {
        let owner = now
            .tags
            .into_iter()
            .flatten()
            .find(|tag| tag.key == OWNER_TAG)
            .map(|tag| tag.value);
        now.role_id == role.role_id && owner.as_ref() == role.tags.get(OWNER_TAG)
    });
    if same {
        account.snapshot.lock().confirmed(&role.name, Instant::now());
    }
    Ok(same)
}

/// Carries out `plan` on the role called `name`.
pub async fn apply(
    account: &Account,
    iam: &Client,
    name: &str,
    plan: Plan,
    before: Option<ObservedRole>,
) -> Applied {
    let mut applied = Applied {
        role: before,
        ..Applied::default()
    };
    for change in plan.changes {
        if account.is_shutting_down() {
            let failure = AwsFailure {
                operation: change.operation(),
                code: None,
                message: "interrupted by shutdown; goes on at the next start".to_owned(),
                class: Class::Conflict,
            };
            applied.failed = Some((change, failure));
            return applied;
        }
        // Boxed: the futures of the SDK are large, and thousands of these may wait.
        match Box::pin(execute(account, iam, name, &change)).await {
            Ok(created) => {
                applied.role = change.after(applied.role, created);
                account
                    .snapshot
                    .lock()
                    .wrote(name, applied.role.clone(), Instant::now());
                applied.done.push(change);
            }
            Err(failure) => {
                // AWS contradicts what we knew, or may have done what it did not say: look before trying again.
                let contradicted = matches!(failure.class, Class::Vanished | Class::Exists | Class::Conflict);
                let lost_answer = failure.class == Class::Transient;
                if contradicted || lost_answer {
                    account.snapshot.lock().doubt(name, Instant::now());
                }
                applied.failed = Some((change, failure));
                return applied;
            }
        }
    }
    applied
}

async fn execute(
    account: &Account,
    iam: &Client,
    name: &str,
    change: &Change,
) -> Result<Option<Identity>, AwsFailure> {
    let op = change.operation();
    match change {
        Change::CreateRole(role) => {
            let description = Some(role.description.clone()).filter(|text| !text.is_empty());
            let request = iam
                .create_role()
                .role_name(name)
                .path(&role.path)
                .set_description(description)
                .max_session_duration(role.max_session_duration)
                .assume_role_policy_document(role.trust.as_ref().map_or("", |t| t.as_str()))
                .set_permissions_boundary(role.permissions_boundary.clone())
                .set_tags(Some(tags(op, &role.tags)?));
            let created = account.call(op, request.send()).await?.role;
            return Ok(created.map(|r| Identity {
                arn: r.arn,
                role_id: r.role_id,
            }));
        }
        Change::Tag(map) => {
            account
                .call(
                    op,
                    iam.tag_role()
                        .role_name(name)
                        .set_tags(Some(tags(op, map)?))
                        .send(),
                )
                .await?;
        }
        Change::UpdateTrustPolicy(document, _) => {
            let request = iam
                .update_assume_role_policy()
                .role_name(name)
                .policy_document(document.as_str());
            account.call(op, request.send()).await?;
        }
        Change::PutBoundary(arn) => {
            let request = iam
                .put_role_permissions_boundary()
                .role_name(name)
                .permissions_boundary(arn);
            account.call(op, request.send()).await?;
        }
        Change::UpdateRole {
            description,
            max_session_duration,
            what: _,
        } => {
            let request = iam
                .update_role()
                .role_name(name)
                .description(description)
                .max_session_duration(*max_session_duration);
            account.call(op, request.send()).await?;
        }
        Change::AttachPolicy(arn) => {
            account
                .call(
                    op,
                    iam.attach_role_policy().role_name(name).policy_arn(arn).send(),
                )
                .await?;
        }
        Change::PutInlinePolicy(policy, document, _) => {
            let request = iam
                .put_role_policy()
                .role_name(name)
                .policy_name(policy)
                .policy_document(document.as_str());
            account.call(op, request.send()).await?;
        }
        Change::DetachPolicy(arn) => {
            gone_is_done(
                account
                    .call(
                        op,
                        iam.detach_role_policy().role_name(name).policy_arn(arn).send(),
                    )
                    .await,
            )?;
        }
        Change::DeleteInlinePolicy(policy) => {
            gone_is_done(
                account
                    .call(
                        op,
                        iam.delete_role_policy()
                            .role_name(name)
                            .policy_name(policy)
                            .send(),
                    )
                    .await,
            )?;
        }
        Change::DeleteBoundary => {
            gone_is_done(
                account
                    .call(op, iam.delete_role_permissions_boundary().role_name(name).send())
                    .await,
            )?;
        }
        Change::Untag(keys) => {
            let request = iam
                .untag_role()
                .role_name(name)
                .set_tag_keys(Some(keys.iter().cloned().collect()));
            gone_is_done(account.call(op, request.send()).await)?;
        }
        Change::AddInstanceProfile(profile, owner) => add_profile(account, iam, name, profile, owner).await?,
        Change::RemoveInstanceProfile(profile, owner) => {
            remove_profile(account, iam, name, profile, owner).await?;
        }
        Change::DeleteRole => {
            gone_is_done(account.call(op, iam.delete_role().role_name(name).send()).await)?;
        }
    }
    Ok(None)
}

async fn add_profile(
    account: &Account,
    iam: &Client,
    role: &str,
    profile: &str,
    owner: &str,
) -> Result<(), AwsFailure> {
    const OP: &str = "CreateInstanceProfile";
    let tags = tags(OP, &[(OWNER_TAG.to_owned(), owner.to_owned())].into())?;
    let create = iam
        .create_instance_profile()
        .instance_profile_name(profile)
        .set_tags(Some(tags));
    match account.call(OP, create.send()).await {
        Err(failure) if failure.class != Class::Exists => return Err(failure),
        _ => {}
    }
    let add = iam
        .add_role_to_instance_profile()
        .instance_profile_name(profile)
        .role_name(role);
    account
        .call("AddRoleToInstanceProfile", add.send())
        .await
        .map(|_| ())
}

async fn remove_profile(
    account: &Account,
    iam: &Client,
    role: &str,
    profile: &str,
    owner: &str,
) -> Result<(), AwsFailure> {
    let remove = iam
        .remove_role_from_instance_profile()
        .instance_profile_name(profile)
        .role_name(role);
    gone_is_done(account.call("RemoveRoleFromInstanceProfile", remove.send()).await)?;
    let found = account
        .call(
            "GetInstanceProfile",
            iam.get_instance_profile().instance_profile_name(profile).send(),
        )
        .await;
    let ours = match found {
        Ok(answer) => answer.instance_profile.is_some_and(|p| {
            p.tags
                .into_iter()
                .flatten()
                .any(|tag| tag.key == OWNER_TAG && tag.value == owner)
        }),
        Err(failure) if failure.class == Class::Vanished => false,
        Err(failure) => return Err(failure),
    };
    if ours {
        let delete = iam.delete_instance_profile().instance_profile_name(profile);
        gone_is_done(account.call("DeleteInstanceProfile", delete.send()).await)?;
    }
    Ok(())
}

/// What we want gone and is gone already is done.
fn gone_is_done<T>(result: Result<T, AwsFailure>) -> Result<(), AwsFailure> {
    match result {
        Ok(_) => Ok(()),
        Err(failure)
            if failure
                .code
                .as_deref()
                .is_some_and(|code| code.starts_with("NoSuchEntity")) =>
        {
            Ok(())
        }
        Err(failure) => Err(failure),
    }
}

fn tags(
    operation: &'static str,
    map: &std::collections::BTreeMap<String, String>,
) -> Result<Vec<Tag>, AwsFailure> {
    map.iter()
        .map(|(key, value)| {
            Tag::builder()
                .key(key)
                .value(value)
                .build()
                .map_err(|error| AwsFailure {
                    operation,
                    code: None,
                    message: error.to_string(),
                    class: Class::Invalid,
                })
        })
        .collect()
}
