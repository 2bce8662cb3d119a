//! The check of a role against the IAM quotas of its account.

use rolectl_crds::{PROFILE_TAG, Quotas, Reason, TAG_PREFIX};

use super::desired::DesiredRole;
use super::kept::{keeps_inline, keeps_policy, unlisted_policies};
use super::observed::ObservedRole;
use super::refusal::Refusal;
use super::tags::{is_ignored, is_reserved_tag};
use crate::policy::Document;

/// Number of tags that IAM allows on a role, see
/// [IAM quotas](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html). Tags of AWS (`aws:`) do not count.
pub const TAGS_PER_ROLE: usize = 50;

/// Returns a quota as a limit. 0 is a quota that is not known, and limits nothing.
pub(super) fn limit(quota: u32) -> usize {
    usize::try_from(quota)
        .ok()
        .filter(|n| *n > 0)
        .unwrap_or(usize::MAX)
}

/// Checks that the role after the changes does not exceed a quota, so that no change is made for a plan that cannot be completed.
///
/// # Errors
/// When the role would exceed a quota.
pub fn check_quotas(
    desired: &DesiredRole,
    observed: Option<&ObservedRole>,
    quotas: Option<&Quotas>,
) -> Result<(), Refusal> {
    let exceeded = |quota: &str, limit: usize, count: usize, unit: &str, cure: &str| {
        let message = format!("{quota} of the account is {limit} {unit}, the role wants {count}: {cure}");
        Err(Refusal::new(Reason::QuotaExceeded, message))
    };
    let exclusive = desired.exclusive;
    let kept_tags = observed.iter().flat_map(|o| o.tags.keys()).filter(|key| {
        let stays = !exclusive.tags || is_ignored(&desired.ignore_tags, key) || key.starts_with(TAG_PREFIX);
        !desired.tags.contains_key(*key) && stays && !is_reserved_tag(key) && *key != PROFILE_TAG
    });
    let tags = desired.tags.len() + kept_tags.count();
    if tags > TAGS_PER_ROLE {
        return exceeded(
            "the number of tags on a role",
            TAGS_PER_ROLE,
            tags,
            "",
            "remove some from spec.tags",
        );
    }
    let Some(quotas) = quotas else {
        return Ok(());
    };

    let attached = limit(quotas.attached_policies_per_role);
    let kept = observed
        .iter()
        .flat_map(|o| unlisted_policies(desired, o))
        .filter(|arn| keeps_policy(desired, arn));
    let policies = desired.managed_policies.len() + kept.count();
    if policies > attached {
        let cure = "remove some from spec.managedPolicies or merge them, or have the quota raised";
        return exceeded(
            "AttachedPoliciesPerRoleQuota",
            attached,
            policies,
            "policies",
            cure,
        );
    }
    let trust = limit(quotas.assume_role_policy_size);
    let size = desired.trust.as_ref().map_or(0, Document::size);
    if size > trust {
        let cure = "shorten spec.assumeRolePolicy, for example by a Condition on aws:PrincipalArn, or have the quota raised";
        return exceeded("AssumeRolePolicySizeQuota", trust, size, "characters", cure);
    }
    let inline = limit(quotas.role_policy_size);
    let kept = observed
        .iter()
        .flat_map(|o| &o.inline_policies)
        .filter(|(name, d)| keeps_inline(desired, name, d) && !desired.inline_policies.contains_key(*name));
    let size: usize = desired
        .inline_policies
        .values()
        .map(Document::size)
        .chain(kept.map(|(_, d)| d.size()))
        .sum();
    if size > inline {
        let cure = "shorten spec.inlinePolicies, or move some into managed policies";
        return exceeded("RolePolicySizeQuota", inline, size, "characters", cure);
    }
    Ok(())
}
