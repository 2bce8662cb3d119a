//! What is to be done about one role in one account. The controller asks here, and `rolectl plan` asks the same.

use kube::ResourceExt as _;
use rolectl_crds::{AwsAccount, IamRole, Reason};

use super::desired::{AccountContext, DesiredRole, desired};
use super::guardrails;
use super::observed::ObservedRole;
use super::plan::{Known, Plan, Refusal, plan};

/// The role as it should be in the account, or why it may not be there at all. `session_account` is the account of the
/// operator's session, where it is known.
pub fn wanted(
    role: &IamRole,
    owner: &str,
    account: &AwsAccount,
    session_account: Option<&str>,
) -> Result<DesiredRole, Refusal> {
    let context = AccountContext {
        name: account.name_any(),
        account_id: account.spec.account_id.clone(),
        partition: account.spec.partition.clone(),
        labels: account.labels().clone(),
        session_account_id: session_account.unwrap_or_default().to_owned(),
        ignore_tags: account.spec.ignore_tags.clone(),
    };
    let desired = desired(&role.spec, &role.name_any(), owner, &context)
        .map_err(|error| Refusal::new(error.reason(), error.to_string()))?;
    let through = account.spec.assumed_role_arn();
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
