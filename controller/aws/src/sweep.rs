//! One pass over an account: every role, complete, for two calls a page.
//!
//! [`GetAccountAuthorizationDetails`](https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetAccountAuthorizationDetails.html)
//! lacks a role's description and longest session, [`ListRoles`](https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListRoles.html)
//! lacks nearly all else; joined they are complete.

use std::collections::{BTreeSet, HashMap};

use percent_encoding::percent_decode_str;
use rolectl_core::role::ObservedRole;
use rolectl_core::role::observed::ObservedDocument;
use rolectl_core::snapshot::Swept;
use rolectl_core::widening::ManagedPolicies;
use rolectl_crds::{OWNER_TAG, Quotas};

use crate::account::Reader;
use crate::api::{DetailedRole, Iam};
use crate::error::AwsFailure;

/// Reads all roles of an account. Those whose name in lower case `matters`, and those that carry a tag of our cluster,
/// are taken in page by page; of the others only the names are. With `named`, the documents of the managed policies with these ARNs are
/// read, too, and those of all that the roles taken in have.
pub async fn sweep(
    account: &Reader<'_>,
    iam: &dyn Iam,
    matters: impl Fn(&str) -> bool,
    mut named: Option<BTreeSet<String>>,
) -> Result<Swept, AwsFailure> {
    let owner_prefix = account.owner_prefix();
    let mut described: HashMap<String, (String, i32)> = HashMap::new();
    let mut marker = None;
    loop {
        let request = iam.list_roles(marker.take());
        let page = account.call("ListRoles", request).await?;
        for role in page.items {
            described.insert(role.name, (role.description, role.max_session_duration));
        }
        marker = page.next;
        if marker.is_none() {
            break;
        }
    }
    let mut swept = Swept::default();
    let mut marker = None;
    loop {
        let request = iam.get_account_authorization_details(marker.take());
        let page = account.call("GetAccountAuthorizationDetails", request).await?;
        for detail in page.items {
            let key = detail.name.to_lowercase();
            match described.remove(&detail.name) {
                None => swept.unsettled.push(key),
                Some((description, duration)) => {
                    if matters(&key) || is_owned(&detail, owner_prefix) {
                        let known = account.snapshot.lock().last_seen(&key);
                        if let Some(named) = &mut named {
                            named.extend(detail.managed_policies.iter().cloned());
                            named.extend(detail.permissions_boundary.clone());
                        }
                        swept.add(key, &observed(detail, description, duration), known);
                    } else {
                        swept.others.push(key);
                    }
                }
            }
        }
        marker = page.next;
        if marker.is_none() {
            break;
        }
    }
    swept
        .unsettled
        .extend(described.into_keys().map(|name| name.to_lowercase()));
    if let Some(named) = named {
        account.set_policies(managed_policies(account, iam, &named).await);
    }
    Ok(swept)
}

/// Reads the documents of these managed policies. If a page cannot be read, none is known: the sweep still succeeds, and the policies count
/// as wider.
async fn managed_policies(account: &Reader<'_>, iam: &dyn Iam, named: &BTreeSet<String>) -> ManagedPolicies {
    let mut found = ManagedPolicies::of_arns(named);
    if named.is_empty() {
        return found;
    }
    let mut marker = None;
    loop {
        let request = iam.get_managed_policies(marker.take());
        let page = match account.call("GetAccountAuthorizationDetails", request).await {
            Ok(page) => page,
            Err(error) => {
                tracing::warn!(account = account.name, %error, "documents of managed policies not read");
                return ManagedPolicies::of_arns(named);
            }
        };
        for policy in page.items {
            if found.is_wanted(&policy.arn)
                && let ObservedDocument::Parsed(parsed) = document(&policy.document)
            {
                found.add(&policy.arn, parsed);
            }
        }
        marker = page.next;
        if marker.is_none() {
            return found;
        }
    }
}

/// Reads the account's [quotas](https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetAccountSummary.html).
/// A quota that the answer lacks is 0. Also returns how many roles AWS counts.
pub async fn quotas(account: &Reader<'_>, iam: &dyn Iam) -> Result<(Quotas, u32), AwsFailure> {
    let summary = account
        .call("GetAccountSummary", iam.get_account_summary())
        .await?;
    let quota = |name: &str| {
        let value = summary.get(name).copied();
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

fn is_owned(detail: &DetailedRole, owner_prefix: &str) -> bool {
    let owner = detail.tags.get(OWNER_TAG);
    owner.is_some_and(|owner| owner.starts_with(owner_prefix))
}

fn observed(detail: DetailedRole, description: String, max_session_duration: i32) -> ObservedRole {
    // Without `..`: a field added to what AWS shows must be looked at here.
    let DetailedRole {
        name,
        arn,
        role_id,
        path,
        trust,
        managed_policies,
        inline_policies,
        permissions_boundary,
        tags,
        instance_profiles,
    } = detail;
    let inline = inline_policies.into_iter();
    ObservedRole {
        name,
        arn,
        role_id,
        path,
        description,
        max_session_duration,
        trust: document(&trust),
        managed_policies,
        inline_policies: inline.map(|(name, text)| (name, document(&text))).collect(),
        permissions_boundary,
        tags,
        instance_profiles,
    }
}

/// Documents come URL-encoded by RFC 3986: a `+` is a plus.
fn document(encoded: &str) -> ObservedDocument {
    percent_decode_str(encoded).decode_utf8().map_or_else(
        |_| ObservedDocument::Unreadable(encoded.to_owned()),
        |text| ObservedDocument::read(&text),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_role_of_an_answer_is_read_without_a_panic(texts in prop::collection::vec("(%|%2|%7B|%22|%FF|\\{|\\}|\"Statement\"|\\PC){0,20}", 4), duration: i32) {
            let text = |n: usize| texts.get(n).cloned().unwrap_or_default();
            let detail = DetailedRole {
                name: text(0),
                trust: text(1),
                inline_policies: [(text(2), text(3))].into(),
                tags: [(OWNER_TAG.to_owned(), text(2))].into(),
                ..DetailedRole::default()
            };
            let role = observed(detail, text(0), duration);
            let packed = rolectl_core::role::PackedRole::new(&role);
            prop_assert_eq!(packed.unpack(), Some(role));
        }
    }
}
