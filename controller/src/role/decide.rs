//! What is to be done about one role in one account. The controller asks here, and `rolectl plan` asks the same.

use kube::ResourceExt as _;
use rolectl_crds::{AwsAccount, IamRole, MfaSessionSpec, Reason};

use super::desired::{AccountContext, DesiredRole, desired};
use super::guardrails;
use super::observed::ObservedRole;
use super::plan::{Known, Plan, Refusal, is_ours, plan};
use crate::aws::arn_account;

/// The role as it should be in the account, or why it may not be there at all. `session` is the account's, where it is known.
pub fn wanted(
    role: &IamRole,
    owner: &str,
    account: &AwsAccount,
    session: Option<&MfaSessionSpec>,
) -> Result<DesiredRole, Refusal> {
    let context = context(account, session);
    let desired = desired(&role.spec, &role.name_any(), owner, &context)
        .map_err(|error| Refusal::new(error.reason(), error.to_string()))?;
    let is_desired = |arn: &String| {
        let name = arn.rsplit('/').next().unwrap_or_default();
        name.eq_ignore_ascii_case(&desired.name)
    };
    if let Some(through) = works_through(account, session).into_iter().find(is_desired) {
        let message = format!(
            "{through} is the role that rolectl works through in this account: choose another roleName"
        );
        return Err(Refusal::new(Reason::GuardrailViolated, message));
    }
    check_guardrails(account, &desired, None)?;
    Ok(desired)
}

/// What the spec's variables stand for in the account.
pub fn context(account: &AwsAccount, session: Option<&MfaSessionSpec>) -> AccountContext {
    AccountContext {
        name: account.name_any(),
        account_id: account.spec.account_id.clone(),
        partition: account.spec.partition.clone(),
        labels: account.labels().clone(),
        session_account_id: session
            .map(|session| session.account_id.clone())
            .unwrap_or_default(),
        ignore_tags: account.spec.ignore_tags.clone(),
    }
}

/// ARNs of the roles in the account by which we come there: the one that is assumed, and the one whose session that is done on.
pub fn works_through(account: &AwsAccount, session: Option<&MfaSessionSpec>) -> Vec<String> {
    let of_session = session.and_then(|session| session.role_arn.clone());
    let here = of_session.filter(|arn| arn_account(arn) == account.spec.account_id);
    let assumed = Some(account.spec.assumed_role_arn()).filter(|arn| !arn.is_empty());
    assumed.into_iter().chain(here).collect()
}

/// What brings the role in the account from what AWS has to what is wanted, or why nothing may be done.
pub fn decide(
    account: &AwsAccount,
    desired: &DesiredRole,
    observed: Option<&ObservedRole>,
    known: &Known<'_>,
) -> Result<Plan, Refusal> {
    check_guardrails(account, desired, observed)?;
    let foreign = observed.filter(|observed| !is_ours(observed, &desired.owner, known.role_id));
    if let (Some(guardrails), Some(foreign)) = (&account.spec.guardrails, foreign)
        && let Some(message) = guardrails::forbids_adoption(guardrails, desired, foreign)
    {
        return Err(Refusal::new(Reason::GuardrailViolated, message));
    }
    plan(desired, observed, known)
}

fn check_guardrails(
    account: &AwsAccount,
    desired: &DesiredRole,
    observed: Option<&ObservedRole>,
) -> Result<(), Refusal> {
    let guardrails = account.spec.guardrails.as_ref();
    let broken =
        guardrails.and_then(|g| guardrails::violation(g, desired, observed, &account.spec.partition));
    broken.map_or(Ok(()), |message| {
        Err(Refusal::new(Reason::GuardrailViolated, message))
    })
}

#[cfg(test)]
mod tests {
    use rolectl_crds::{Adoption, OWNER_TAG};
    use serde_json::json;

    use super::super::fixtures::{observed, spec, wanted as fixture};
    use super::*;

    fn account(guardrails: &serde_json::Value, assume_role: Option<&str>) -> AwsAccount {
        serde_json::from_value(json!({
            "apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "AwsAccount", "metadata": {"name": "dev"},
            "spec": {"accountId": "222222222222", "guardrails": guardrails,
                "assumeRole": assume_role.map(|name| json!({"name": name}))},
        }))
        .unwrap()
    }

    #[test]
    fn the_guardrail_for_adoption_binds_what_is_not_ours_yet_and_lets_what_is_be_kept() {
        let desired = DesiredRole {
            adoption: Adoption::IfUnowned,
            ..fixture(&spec())
        };
        let ours = observed(&desired);
        let mut unowned = ours.clone();
        unowned.tags.remove(OWNER_TAG);
        for (most, there, allowed) in [
            ("Never", None, true),
            ("Never", Some(&ours), true),
            ("Never", Some(&unowned), false),
            ("IfUnowned", Some(&unowned), true),
        ] {
            let account = account(&json!({"adoption": most}), Some("rolectl"));
            let decided = decide(&account, &desired, there, &Known::default());
            let refused = decided.err().map(|refusal| refusal.reason);
            let expected = (!allowed).then_some(Reason::GuardrailViolated);
            assert_eq!(refused, expected, "{most} {there:?}");
        }
    }

    #[test]
    fn the_role_that_is_worked_through_is_out_of_reach_whoever_names_it() {
        let role = |name: &str| IamRole::new(name, spec());
        let direct = MfaSessionSpec {
            role_arn: Some("arn:aws:iam::222222222222:role/team/Admin".to_owned()),
            ..MfaSessionSpec::of_account("111111111111")
        };
        let elsewhere = MfaSessionSpec {
            role_arn: Some("arn:aws:iam::333333333333:role/admin".to_owned()),
            ..direct.clone()
        };
        for (assume_role, session, name, refused) in [
            (Some("rolectl"), None, "rolectl", true),
            (Some("rolectl"), None, "admin", false),
            (None, Some(&direct), "admin", true),
            (None, Some(&direct), "app", false),
            (Some("rolectl"), Some(&direct), "admin", true),
            (Some("rolectl"), Some(&elsewhere), "admin", false),
        ] {
            let account = account(&json!({}), assume_role);
            let wanted = wanted(&role(name), "c/ns/x", &account, session);
            assert_eq!(wanted.is_err(), refused, "{assume_role:?} {session:?} {name}");
        }
    }
}
