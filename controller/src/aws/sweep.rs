//! One pass over an account: every role, complete, for two calls a page.
//!
//! [`GetAccountAuthorizationDetails`](https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetAccountAuthorizationDetails.html)
//! lacks a role's description and longest session, [`ListRoles`](https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListRoles.html)
//! lacks nearly all else; joined they are complete.

use std::collections::HashMap;

use aws_sdk_iam::types::{EntityType, RoleDetail};
use percent_encoding::percent_decode_str;
use rolectl_crds::{OWNER_TAG, Quotas};

use super::account::Account;
use super::bucket::Lane;
use super::error::AwsFailure;
use rolectl_core::role::ObservedRole;
use rolectl_core::role::observed::ObservedDocument;
use rolectl_core::snapshot::Swept;

/// Roles asked for in one page. AWS may give fewer; only `IsTruncated` ends.
const PAGE: i32 = 1000;

/// Reads all roles of an account. Those whose name in lower case `matters`, and those that carry a tag of our cluster,
/// are taken in page by page; of the others only the names are.
pub async fn sweep(
    account: &Account,
    iam: &aws_sdk_iam::Client,
    owner_prefix: &str,
    matters: impl Fn(&str) -> bool,
) -> Result<Swept, AwsFailure> {
    let mut described: HashMap<String, (String, i32)> = HashMap::new();
    let mut marker = None;
    loop {
        let page = account
            .call_in(
                Lane::Sweep,
                "ListRoles",
                iam.list_roles().max_items(PAGE).set_marker(marker.take()).send(),
            )
            .await?;
        for role in page.roles {
            let text = role.description.unwrap_or_default();
            described.insert(role.role_name, (text, role.max_session_duration.unwrap_or(3600)));
        }
        marker = page.marker.filter(|_| page.is_truncated);
        if marker.is_none() {
            break;
        }
    }
    let mut swept = Swept::default();
    let mut marker = None;
    loop {
        let request = iam
            .get_account_authorization_details()
            .filter(EntityType::Role)
            .max_items(PAGE)
            .set_marker(marker.take());
        let page = account
            .call_in(Lane::Sweep, "GetAccountAuthorizationDetails", request.send())
            .await?;
        for detail in page.role_detail_list.into_iter().flatten() {
            let name = detail.role_name.clone().unwrap_or_default();
            match described.remove(&name) {
                None => swept.unsettled.push(name.to_lowercase()),
                Some((description, duration)) => {
                    let key = name.to_lowercase();
                    if matters(&key) || is_owned(&detail, owner_prefix) {
                        let known = account.snapshot.lock().last_seen(&key);
                        swept.add(key, &observed(detail, description, duration), known);
                    } else {
                        swept.others.push(key);
                    }
                }
            }
        }
        marker = page.marker.filter(|_| page.is_truncated);
        if marker.is_none() {
            break;
        }
    }
    swept
        .unsettled
        .extend(described.into_keys().map(|name| name.to_lowercase()));
    Ok(swept)
}

/// Reads the account's [quotas](https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetAccountSummary.html).
/// One that AWS does not tell is 0. With them comes how many roles AWS counts.
pub async fn quotas(account: &Account, iam: &aws_sdk_iam::Client) -> Result<(Quotas, u32), AwsFailure> {
    let answer = account
        .call_in(Lane::Sweep, "GetAccountSummary", iam.get_account_summary().send())
        .await?;
    let map = answer.summary_map.unwrap_or_default();
    // By text: the SDK has no name yet for some of the keys.
    let quota = |name: &str| {
        let value = map
            .iter()
            .find(|(key, _)| key.as_str() == name)
            .map(|(_, value)| *value);
        value.and_then(|n| u32::try_from(n).ok()).unwrap_or_default()
    };
    let quotas = Quotas {
        roles: quota("RolesQuota"),
        attached_policies_per_role: quota("AttachedPoliciesPerRoleQuota"),
        assume_role_policy_size: quota("AssumeRolePolicySizeQuota"),
        role_policy_size: quota("RolePolicySizeQuota"),
    };
    Ok((quotas, quota("Roles")))
}

fn is_owned(detail: &RoleDetail, owner_prefix: &str) -> bool {
    let mut tags = detail.tags.iter().flatten();
    tags.any(|tag| tag.key == OWNER_TAG && tag.value.starts_with(owner_prefix))
}

fn observed(detail: RoleDetail, description: String, max_session_duration: i32) -> ObservedRole {
    let tags = detail
        .tags
        .into_iter()
        .flatten()
        .map(|tag| (tag.key, tag.value))
        .collect();
    let inline = detail.role_policy_list.into_iter().flatten();
    let profiles = detail.instance_profile_list.into_iter().flatten();
    ObservedRole {
        name: detail.role_name.unwrap_or_default(),
        arn: detail.arn.unwrap_or_default(),
        role_id: detail.role_id.unwrap_or_default(),
        path: detail.path.unwrap_or_default(),
        description,
        max_session_duration,
        trust: document(detail.assume_role_policy_document.as_deref()),
        managed_policies: detail
            .attached_managed_policies
            .into_iter()
            .flatten()
            .filter_map(|p| p.policy_arn)
            .collect(),
        inline_policies: inline
            .filter_map(|p| Some((p.policy_name?, document(p.policy_document.as_deref()))))
            .collect(),
        permissions_boundary: detail
            .permissions_boundary
            .and_then(|b| b.permissions_boundary_arn),
        tags,
        instance_profiles: profiles.map(|p| p.instance_profile_name).collect(),
    }
}

/// Documents come URL-encoded by RFC 3986: a `+` is a plus.
fn document(encoded: Option<&str>) -> ObservedDocument {
    let encoded = encoded.unwrap_or_default();
    percent_decode_str(encoded).decode_utf8().map_or_else(
        |_| ObservedDocument::Unreadable(encoded.to_owned()),
        |text| ObservedDocument::read(&text),
    )
}
