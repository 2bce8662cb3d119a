//! What is to be done about one role in one account. The controller asks here, and `rolectl plan` asks the same.

use kube::ResourceExt as _;
use rolectl_crds::{AwsAccount, IamRole, MfaSessionSpec, Reason};

use super::desired::{AccountContext, DesiredRole, desired};
use super::guardrails;
use super::observed::ObservedRole;
use super::plan::{Known, Plan, Refusal, is_ours, plan};

/// The role as it should be in the account, or why it may not be there at all. `session` is the account's, where it is known.
pub fn wanted(
    role: &IamRole,
    owner: &str,
    account: &AwsAccount,
    session: Option<&MfaSessionSpec>,
) -> Result<DesiredRole, Refusal> {
    let context = AccountContext {
        name: account.name_any(),
        account_id: account.spec.account_id.clone(),
        partition: account.spec.partition.clone(),
        labels: account.labels().clone(),
        session_account_id: session
            .map(|session| session.account_id.clone())
            .unwrap_or_default(),
        ignore_tags: account.spec.ignore_tags.clone(),
    };
    let desired = desired(&role.spec, &role.name_any(), owner, &context)
        .map_err(|error| Refusal::new(error.reason(), error.to_string()))?;
    let mut through = account.spec.assumed_role_arn();
    if through.is_empty() {
        // The account is used directly: by the role whose session it is, or by the user.
        through = session
            .and_then(|session| session.role_arn.clone())
            .unwrap_or_default();
    }
    let works_through = through.rsplit('/').next().unwrap_or_default();
    if works_through.eq_ignore_ascii_case(&desired.name) {
        let message = format!(
            "{through} is the role that rolectl works through in this account: choose another roleName"
        );
        return Err(Refusal::new(Reason::GuardrailViolated, message));
    }
    check_guardrails(account, &desired, None)?;
    Ok(desired)
}

/// What brings the role in the account from what AWS has to what is wanted, or why nothing may be done.
pub fn decide(
    account: &AwsAccount,
    desired: &DesiredRole,
    observed: Option<&ObservedRole>,
    known: &Known<'_>,
) -> Result<Plan, Refusal> {
    check_guardrails(account, desired, observed)?;
    let guardrails = account.spec.guardrails.as_ref();
    let foreign = observed.filter(|observed| !is_ours(observed, &desired.owner, known.role_id));
    if let Some(message) =
        foreign.and_then(|_| guardrails.and_then(|g| guardrails::forbids_adoption(g, desired)))
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
        for (assume_role, session, name, refused) in [
            (Some("rolectl"), None, "rolectl", true),
            (Some("rolectl"), None, "admin", false),
            (None, Some(&direct), "admin", true),
            (None, Some(&direct), "app", false),
            // Where a role is assumed from a role's session, that one is in another account.
            (Some("rolectl"), Some(&direct), "admin", false),
        ] {
            let account = account(&json!({}), assume_role);
            let wanted = wanted(&role(name), "c/ns/x", &account, session);
            assert_eq!(wanted.is_err(), refused, "{assume_role:?} {session:?} {name}");
        }
    }
}
