//! The decision about one role in one account, for the controller and for `rolectl plan`.

use std::collections::BTreeSet;

use kube::ResourceExt as _;

use rolectl_crds::{
    ADOPTED_TAG, AwsAccount, DeletionPolicy, DriftPolicy, Ensure, IamRole, MfaSessionSpec, OWNER_TAG, Quotas,
    Reason,
};

use super::change::Change;
use super::desired::{AccountContext, DesiredRole, desired};
use super::guardrails;
use super::observed::ObservedRole;
use super::ownership::{PlanContext, is_ours};
use super::plan::{Plan, plan};
use super::refusal::Refusal;
use crate::arn::arn_account;
use crate::names::full_name;
use crate::policy::cache::DocumentCache;
use crate::selection::selector_error;

/// An account with everything that decisions about its roles depend on. The caller gathers it.
#[derive(Clone, Debug)]
pub struct AccountCase<'a> {
    /// The `AwsAccount`.
    pub object: &'a AwsAccount,
    /// The spec of its `MfaSession`. `None` if there is no such object.
    pub session: Option<&'a MfaSessionSpec>,
    /// The result of [`access_roles`] for the account.
    pub access_roles: &'a BTreeSet<String>,
    /// Its IAM quotas. `None` if they were not read yet.
    pub quotas: Option<Quotas>,
    /// The cache of parsed documents.
    pub documents: &'a DocumentCache,
}

/// An `IamRole` that wants a role in an account.
#[derive(Clone, Debug)]
pub struct Candidate<'a> {
    /// The `IamRole`.
    pub role: &'a IamRole,
    /// Value of the owner tag.
    pub owner: String,
    /// True if the account's `allowedNamespaces` allow its namespace.
    pub is_admitted: bool,
    /// The unique id of the role in AWS, if this process saw our owner tag on it before somebody removed the tag.
    pub role_id: Option<String>,
}

/// The decision about an candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The changes are allowed. The plan is empty if the role is in sync.
    Admitted(Plan),
    /// Another `IamRole` has precedence.
    Yields(Refusal),
    /// The role must not be changed.
    Refused(Refusal),
}

/// Checks the account and the namespace, which needs no call to AWS.
///
/// # Errors
/// When the account is suspended or does not allow the namespace.
pub fn check_access(account: &AwsAccount, candidate: &Candidate<'_>) -> Result<(), Refusal> {
    if account.spec.suspend {
        return Err(Refusal::new(Reason::Suspended, "the account is suspended"));
    }
    if !candidate.is_admitted {
        let namespace = candidate.role.metadata.namespace.as_deref();
        return Err(not_admitted(account, namespace.unwrap_or_default()));
    }
    Ok(())
}

/// Returns the refusal of a role in a namespace that the account does not allow.
pub fn not_admitted(account: &AwsAccount, namespace: &str) -> Refusal {
    let message = format!(
        "AwsAccount {} does not allow namespace {namespace}: its owner can add it to spec.allowedNamespaces",
        account.name_any()
    );
    Refusal::new(Reason::NamespaceNotAllowed, message)
}

impl AccountCase<'_> {
    /// Returns the desired role of the candidate in this account.
    ///
    /// # Errors
    /// When the spec is invalid, or the account does not allow such a role.
    pub fn desired(&self, candidate: &Candidate<'_>) -> Result<DesiredRole, Refusal> {
        let Candidate { role, owner, .. } = candidate;
        let context = context(self.object, self.session);
        let desired = desired(&role.spec, &role.name_any(), owner, &context, self.documents)
            .map_err(|error| Refusal::new(error.reason(), error.to_string()))?;
        if let Some(through) = protects(self.access_roles, &desired.name) {
            let message = format!(
                "{through} is the role that rolectl works through in this account: choose another roleName"
            );
            return Err(Refusal::new(Reason::GuardrailViolated, message));
        }
        let guardrails = self.object.spec.guardrails.as_ref();
        if let Some(message) = guardrails::forbids_deletion_policy(guardrails, role.spec.deletion_policy) {
            return Err(Refusal::new(Reason::GuardrailViolated, message));
        }
        self.check_guardrails(&desired, None, false)?;
        Ok(desired)
    }

    /// Returns what this process saw of the candidate's role, in addition to the current state in AWS.
    pub fn known<'k>(&self, candidate: &'k Candidate<'_>) -> PlanContext<'k> {
        PlanContext {
            role_id: candidate.role_id.as_deref(),
            quotas: self.quotas,
            ..PlanContext::default()
        }
    }

    /// Returns the decision about the changes from the `observed` role in AWS to the `desired` one. `rivals` are the other `IamRole`s
    /// that want a role of the same name in this account.
    pub fn admit(
        &self,
        candidate: &Candidate<'_>,
        desired: &DesiredRole,
        rivals: &[Candidate<'_>],
        observed: Option<&ObservedRole>,
    ) -> Admission {
        let duplicate = |other: &Candidate<'_>| {
            let message = format!(
                "IamRole {} manages role {} in this account already: delete one of the two",
                full_name(other.role),
                desired.name
            );
            Refusal::new(Reason::Duplicate, message)
        };
        if let Some(other) = self.prevailing(candidate, rivals, observed) {
            return Admission::Yields(duplicate(other));
        }
        match self.decide(desired, observed, &self.known(candidate)) {
            Ok(plan) => Admission::Admitted(plan),
            Err(refusal) if refusal.reason == Reason::GuardrailViolated => Admission::Refused(refusal),
            Err(refusal) => {
                let mut owners = rivals.iter();
                let owner = owners.find(|rival| rival.is_owner(observed));
                Admission::Refused(owner.map_or(refusal, duplicate))
            }
        }
    }

    /// Returns the changes for an candidate whose spec was refused. If the reason is a guardrail, the managed policies that the account
    /// denies are detached. `None` means that nothing changes.
    pub fn enforce(
        &self,
        candidate: &Candidate<'_>,
        refusal: &Refusal,
        observed: Option<&ObservedRole>,
    ) -> Option<Plan> {
        let may_write =
            refusal.reason == Reason::GuardrailViolated && candidate.role.spec.drift != DriftPolicy::Report;
        let observed = observed.filter(|_| may_write)?;
        enforce(self.object, &candidate.owner, observed, &self.known(candidate))
    }

    /// Returns the rival with precedence over the candidate: the one whose owner tag the role in AWS carries, or, if there is none,
    /// the oldest that could create the role.
    fn prevailing<'r, 'a>(
        &self,
        candidate: &Candidate<'_>,
        rivals: &'r [Candidate<'a>],
        observed: Option<&ObservedRole>,
    ) -> Option<&'r Candidate<'a>> {
        // The owner tag comes before the age, or neither could continue, because the role carries only one owner tag. Creation
        // times are whole seconds, so the uid decides between equal ones. Objects from files have neither: they rank last, and two
        // of them with the same name are both refused.
        let rank = |candidate: &Candidate<'_>| {
            let metadata = &candidate.role.metadata;
            let created = metadata.creation_timestamp.as_ref().map(|t| t.0);
            (
                !candidate.is_owner(observed),
                created.is_none(),
                created,
                metadata.uid.clone(),
            )
        };
        let own_rank = rank(candidate);
        rivals.iter().find(|rival| {
            rank(rival) <= own_rank && (rival.is_owner(observed) || self.competes(rival, observed))
        })
    }

    /// Returns true if the rival could create or take over the role if it were the only one. An `IamRole` that may not use the
    /// account, is suspended or has an invalid spec blocks nobody.
    fn competes(&self, rival: &Candidate<'_>, observed: Option<&ObservedRole>) -> bool {
        let role = rival.role;
        let is_idle = role.spec.suspend || role.metadata.deletion_timestamp.is_some();
        if is_idle || !rival.is_admitted || selector_error(role).is_some() {
            return false;
        }
        let desired = self.desired(rival);
        desired.is_ok_and(|desired| self.decide(&desired, observed, &self.known(rival)).is_ok())
    }

    /// Returns the changes from the observed role to the desired one, or why the role must not be changed.
    fn decide(
        &self,
        desired: &DesiredRole,
        observed: Option<&ObservedRole>,
        known: &PlanContext<'_>,
    ) -> Result<Plan, Refusal> {
        let account = self.object;
        let ours = observed.is_some_and(|observed| is_ours(observed, &desired.owner, known.role_id));
        self.check_guardrails(desired, observed, ours)?;
        if let Some(foreign) = observed.filter(|_| !ours)
            && let Some(message) =
                guardrails::forbids_adoption(account.spec.guardrails.as_ref(), desired, foreign)
        {
            return Err(Refusal::new(Reason::GuardrailViolated, message));
        }
        let mut plan = plan(desired, observed, known)?;
        let retains =
            account.spec.guardrails.as_ref().and_then(|g| g.deletion_policy) == Some(DeletionPolicy::Retain);
        if retains && plan.changes.contains(&Change::DeleteRole) {
            let message = "the account wants deletionPolicy: Retain, so no role is deleted there, and ensure is Absent: delete the IamRole instead";
            return Err(Refusal::new(Reason::GuardrailViolated, message));
        }
        if desired.ensure == Ensure::Present
            && let Some(observed) = observed
        {
            detach_first(&mut plan.changes, denied_on(account, observed));
        }
        // The guardrail limits the adoption of instance profiles, too.
        let most = account.spec.guardrails.as_ref().and_then(|g| g.adoption);
        for change in &mut plan.changes {
            if let Change::AddInstanceProfile(profile) = change {
                profile.adoption = profile.adoption.min(most.unwrap_or_default());
            }
        }
        Ok(plan)
    }

    /// Returns the refusal of a role that breaks a guardrail of the account.
    fn check_guardrails(
        &self,
        desired: &DesiredRole,
        observed: Option<&ObservedRole>,
        is_ours: bool,
    ) -> Result<(), Refusal> {
        let Some(guardrails) = &self.object.spec.guardrails else {
            return Ok(());
        };
        let context = context(self.object, self.session);
        match guardrails::violation(guardrails, desired, observed, is_ours, &context, self.documents) {
            Some(message) => Err(Refusal::new(Reason::GuardrailViolated, message)),
            None => Ok(()),
        }
    }
}

impl Candidate<'_> {
    /// Returns true if the role in AWS carries the candidate's owner tag.
    fn is_owner(&self, observed: Option<&ObservedRole>) -> bool {
        observed.and_then(|role| role.tags.get(OWNER_TAG)) == Some(&self.owner)
    }
}

/// Returns the account's values for the variables and names in a spec.
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
        ignore_policies: account.spec.ignore_policies.clone(),
    }
}

/// Returns the ARNs of the roles that rolectl itself uses in the AWS account of `account`: those that one of the `accounts` makes it
/// assume, and those of the `sessions`. No `IamRole` may change them, because that would change the permissions of rolectl.
pub fn access_roles<'a>(
    account: &AwsAccount,
    accounts: impl IntoIterator<Item = &'a AwsAccount>,
    sessions: impl IntoIterator<Item = &'a MfaSessionSpec>,
) -> BTreeSet<String> {
    let id = &account.spec.account_id;
    let accounts = accounts.into_iter().filter(|other| other.spec.account_id == *id);
    let assumed = accounts.map(|other| other.spec.assumed_role_arn());
    let assumed = assumed.chain([account.spec.assumed_role_arn()]);
    let of_sessions = sessions
        .into_iter()
        .filter_map(|session| session.role_arn.clone());
    let here = of_sessions.filter(|arn| arn_account(arn) == id);
    assumed.filter(|arn| !arn.is_empty()).chain(here).collect()
}

/// Returns the ARN among `through` whose role has this name. IAM compares names without regard to case and path.
pub fn protects<'a>(through: &'a BTreeSet<String>, role_name: &str) -> Option<&'a String> {
    through.iter().find(|arn| {
        let name = arn.rsplit('/').next().unwrap_or_default();
        name.eq_ignore_ascii_case(role_name)
    })
}

/// Returns the reason why a role must not be removed, if it is one that rolectl itself uses.
pub fn forbids_removal(through: &BTreeSet<String>, role_name: &str) -> Option<String> {
    let arn = protects(through, role_name)?;
    Some(format!(
        "{arn} is the role that rolectl works through in this account, and is not deleted: set deletionPolicy: Retain, or have the AwsAccount assume another role"
    ))
}

/// Returns the plan for a managed role whose spec breaks a guardrail. It detaches the managed policies that the account denies and
/// changes nothing else. `None` if there are none.
fn enforce(
    account: &AwsAccount,
    owner: &str,
    observed: &ObservedRole,
    known: &PlanContext<'_>,
) -> Option<Plan> {
    let denied = denied_on(account, observed);
    let may = is_ours(observed, owner, known.role_id) && !observed.is_reserved();
    (may && !denied.is_empty()).then(|| Plan {
        changes: denied.into_iter().map(Change::DetachPolicy).collect(),
        ..Plan::default()
    })
}

/// Returns the managed policies on the role that the account denies.
fn denied_on(account: &AwsAccount, observed: &ObservedRole) -> Vec<String> {
    let guardrails = account.spec.guardrails.as_ref();
    let denied = guardrails.map(|g| guardrails::denied_on(g, &account.spec.ignore_policies, observed));
    denied.into_iter().flatten().collect()
}

/// Moves the detaching of denied policies before all other changes, except for the owner tag of a role that is taken over. If it fails,
/// the changes after it are not made.
fn detach_first(changes: &mut Vec<Change>, denied: Vec<String>) {
    let is_denied = |change: &Change| matches!(change, Change::DetachPolicy(arn) if denied.contains(arn));
    changes.retain(|change| !is_denied(change));
    let claims = |change: &Change| matches!(change, Change::Tag(tags) if tags.contains_key(OWNER_TAG));
    let claimed = changes.iter().position(claims);
    let at = claimed.map_or(0, |at| at + 1);
    changes.splice(at..at, denied.into_iter().map(Change::DetachPolicy));
}

/// Returns whether a role is deleted or retained when its object is deleted.
///
/// Without `deletionPolicy` in the spec, a role that was taken over is retained, because it existed before.
///
/// # Errors
/// When the account requires another `deletionPolicy` than the spec has. Either of the two must change first.
pub fn deletion_policy(
    role: &IamRole,
    account: &AwsAccount,
    observed: Option<&ObservedRole>,
) -> Result<DeletionPolicy, Refusal> {
    let guardrails = account.spec.guardrails.as_ref();
    let only = guardrails.and_then(|g| g.deletion_policy);
    let adopted = observed.is_some_and(|role| role.tags.contains_key(ADOPTED_TAG));
    match (only, role.spec.deletion_policy) {
        (Some(DeletionPolicy::Retain), _) => Ok(DeletionPolicy::Retain),
        (_, None) if adopted => Ok(DeletionPolicy::Retain),
        (_, None) => Ok(DeletionPolicy::Delete),
        (_, Some(policy)) => match guardrails::forbids_deletion_policy(guardrails, Some(policy)) {
            Some(message) => Err(Refusal::new(Reason::GuardrailViolated, message)),
            None => Ok(policy),
        },
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use rolectl_crds::{Adoption, IamRoleSpec};

    use super::*;
    use crate::fixtures::{observed, spec, wanted as fixture};

    fn account(guardrails: &Value, assume_role: Option<&str>) -> AwsAccount {
        serde_json::from_value(json!({
            "apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "AwsAccount", "metadata": {"name": "dev"},
            "spec": {"accountId": "222222222222", "guardrails": guardrails,
                "assumeRole": assume_role.map(|name| json!({"name": name}))},
        }))
        .unwrap()
    }

    fn case<'a>(
        account: &'a AwsAccount,
        session: Option<&'a MfaSessionSpec>,
        access_roles: &'a BTreeSet<String>,
        documents: &'a DocumentCache,
    ) -> AccountCase<'a> {
        AccountCase {
            object: account,
            session,
            access_roles,
            quotas: None,
            documents,
        }
    }

    fn wanted(
        role: &IamRole,
        owner: &str,
        account: &AwsAccount,
        session: Option<&MfaSessionSpec>,
        access_roles: &BTreeSet<String>,
    ) -> Result<DesiredRole, Refusal> {
        let candidate = Candidate {
            role,
            owner: owner.to_owned(),
            is_admitted: true,
            role_id: None,
        };
        case(account, session, access_roles, &DocumentCache::default()).desired(&candidate)
    }

    fn decide(
        account: &AwsAccount,
        desired: &DesiredRole,
        observed: Option<&ObservedRole>,
        known: &PlanContext<'_>,
    ) -> Result<Plan, Refusal> {
        case(account, None, &BTreeSet::new(), &DocumentCache::default()).decide(desired, observed, known)
    }

    #[test]
    fn the_guardrail_for_adoption_limits_roles_that_are_not_managed_yet_and_no_others() {
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
            let decided = decide(&account, &desired, there, &PlanContext::default());
            let refused = decided.err().map(|refusal| refusal.reason);
            let expected = (!allowed).then_some(Reason::GuardrailViolated);
            assert_eq!(refused, expected, "{most} {there:?}");
        }
    }

    #[test]
    fn a_denied_policy_is_detached_before_anything_else_whoever_attached_it() {
        let guarded = account(
            &json!({"deniedManagedPolicies": ["Administrator*"], "adoption": "IfUnowned"}),
            Some("rolectl"),
        );
        let lines = |plan: &Plan| -> Vec<String> {
            let lines = plan.changes.iter().map(ToString::to_string);
            lines
                .map(|line| line.replace("managed policy arn:aws:iam::aws:policy/", ""))
                .collect()
        };
        let mut s = spec();
        s.managed_policies = vec!["NotThere".into()];
        let mut there = observed(&fixture(&spec()));
        there.trust = super::super::observed::ObservedDocument::read("{}");
        there.managed_policies = ["AdministratorAccess", "AWSDenyAll"]
            .map(|name| format!("arn:aws:iam::aws:policy/{name}"))
            .into();
        let mut unowned = there.clone();
        unowned.tags.remove(OWNER_TAG);
        for exclusive in [true, false] {
            s.exclusive.managed_policies = exclusive;
            let desired = DesiredRole {
                adoption: Adoption::IfUnowned,
                ..fixture(&s)
            };
            let ours = decide(&guarded, &desired, Some(&there), &PlanContext::default()).unwrap();
            assert_eq!(
                lines(&ours),
                ["- AdministratorAccess", "+ NotThere", "~ trust policy"]
            );
            let adopted = decide(&guarded, &desired, Some(&unowned), &PlanContext::default());
            if exclusive {
                let adopted = lines(&adopted.unwrap());
                assert!(adopted[0].starts_with("+ tags "), "{adopted:?}");
                assert_eq!(
                    adopted[1..],
                    ["- AdministratorAccess", "+ NotThere", "~ trust policy"]
                );
            } else {
                assert_eq!(adopted.unwrap_err().reason, Reason::GuardrailViolated);
            }
        }
        // The spec itself names it: it is refused, and the policy does not stay on the role for that.
        let owner = &fixture(&spec()).owner;
        let enforced = enforce(&guarded, owner, &there, &PlanContext::default()).unwrap();
        assert_eq!(lines(&enforced), ["- AdministratorAccess"]);
        assert_eq!(enforce(&guarded, owner, &unowned, &PlanContext::default()), None);
        let lenient = account(&json!({}), None);
        assert_eq!(enforce(&lenient, owner, &there, &PlanContext::default()), None);
    }

    #[test]
    fn a_role_that_was_taken_over_is_retained_unless_its_deletion_policy_is_delete() {
        use DeletionPolicy::{Delete, Retain};
        let ours = observed(&fixture(&spec()));
        let mut adopted = ours.clone();
        adopted.tags.insert(ADOPTED_TAG.into(), "true".into());
        for (only, asked, there, ends) in [
            (None, None, &ours, Some(Delete)),
            (None, None, &adopted, Some(Retain)),
            (None, Some(Delete), &adopted, Some(Delete)),
            (None, Some(Retain), &ours, Some(Retain)),
            (Some("Delete"), None, &ours, Some(Delete)),
            (Some("Delete"), None, &adopted, Some(Retain)),
            (Some("Delete"), Some(Retain), &ours, None),
            (Some("Retain"), None, &ours, Some(Retain)),
            (Some("Retain"), Some(Delete), &ours, Some(Retain)),
        ] {
            let guardrails = only.map_or(json!({}), |only| json!({"deletionPolicy": only}));
            let account = account(&guardrails, None);
            let mut role = IamRole::new("app", spec());
            role.spec.deletion_policy = asked;
            let end = deletion_policy(&role, &account, Some(there)).ok();
            assert_eq!(end, ends, "{only:?} {asked:?}");
            let refused = wanted(&role, "c/ns/app", &account, None, &BTreeSet::new()).is_err();
            assert_eq!(refused, only.is_some() && asked.is_some(), "{only:?} {asked:?}");
        }
    }

    #[test]
    fn no_object_can_change_the_role_that_rolectl_assumes() {
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
            let through = access_roles(&account, [&account], session);
            let wanted = wanted(&role(name), "c/ns/x", &account, session, &through);
            assert_eq!(wanted.is_err(), refused, "{assume_role:?} {session:?} {name}");
        }
    }

    #[test]
    fn no_object_can_change_or_remove_the_roles_that_rolectl_uses_through_any_object_of_the_aws_account() {
        let (first, second) = (
            account(&json!({}), Some("rolectl")),
            account(&json!({}), Some("other")),
        );
        let mut stranger = account(&json!({}), Some("elsewhere"));
        stranger.spec.account_id = "333333333333".into();
        let session = MfaSessionSpec {
            role_arn: Some("arn:aws:iam::222222222222:role/team/Admin".to_owned()),
            ..MfaSessionSpec::of_account("222222222222")
        };
        let through = access_roles(&first, [&first, &second, &stranger], [&session]);
        for (name, refused) in [
            ("rolectl", true),
            ("OTHER", true),
            ("admin", true),
            ("elsewhere", false),
            ("app", false),
        ] {
            let role = IamRole::new(
                "x",
                IamRoleSpec {
                    role_name: Some(name.into()),
                    ..spec()
                },
            );
            let wanted = wanted(&role, "c/ns/x", &first, None, &through);
            assert_eq!(wanted.is_err(), refused, "{name}");
            assert_eq!(forbids_removal(&through, name).is_some(), refused, "{name}");
        }
    }

    /// An `IamRole` that was made in this second, in a namespace of its own name.
    fn made_in(second: i64, name: &str, change: impl FnOnce(&mut IamRole)) -> IamRole {
        let mut role = IamRole::new("app", spec());
        role.metadata.namespace = Some(name.to_owned());
        role.metadata.uid = Some(format!("uid-{name}"));
        let created = jiff::Timestamp::from_second(second).unwrap();
        role.metadata.creation_timestamp = Some(Time(created));
        change(&mut role);
        role
    }

    fn candidate(role: &IamRole, is_admitted: bool) -> Candidate<'_> {
        Candidate {
            role,
            owner: format!("c/{}", full_name(role)),
            is_admitted,
            role_id: None,
        }
    }

    /// Returns the message of `admit` about the object with precedence. `None` if the candidate has it.
    fn first(
        mine: &Candidate<'_>,
        rivals: &[Candidate<'_>],
        observed: Option<&ObservedRole>,
    ) -> Option<String> {
        let (account, through, documents) = (
            account(&json!({}), None),
            BTreeSet::new(),
            DocumentCache::default(),
        );
        let session = MfaSessionSpec::of_account("111111111111");
        let case = AccountCase {
            object: &account,
            session: Some(&session),
            access_roles: &through,
            quotas: None,
            documents: &documents,
        };
        let desired = case.desired(mine).unwrap();
        match case.admit(mine, &desired, rivals, observed) {
            Admission::Admitted(_) => None,
            Admission::Yields(refusal) | Admission::Refused(refusal) => {
                assert_eq!(refusal.reason, Reason::Duplicate, "{refusal}");
                Some(refusal.message)
            }
        }
    }

    type Edit = fn(&mut IamRole);

    #[test]
    fn among_objects_of_one_role_name_the_oldest_that_could_create_the_role_has_precedence() {
        let mine = made_in(5, "mine", |_| {});
        let mine = candidate(&mine, true);
        let cases: [(&str, i64, bool, Edit, bool); 8] = [
            ("older", 4, true, |_| {}, true),
            ("younger", 6, true, |_| {}, false),
            (
                "of the same second, and the uid decides",
                5,
                true,
                |r| r.metadata.uid = Some("a".into()),
                true,
            ),
            (
                "of the same second, and the uid decides",
                5,
                true,
                |r| r.metadata.uid = Some("z".into()),
                false,
            ),
            (
                "in a namespace that the account does not admit",
                4,
                false,
                |_| {},
                false,
            ),
            ("suspended", 4, true, |r| r.spec.suspend = true, false),
            (
                "being deleted",
                4,
                true,
                |r| r.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH)),
                false,
            ),
            (
                "of a spec that cannot be carried out",
                4,
                true,
                |r| r.spec.path = "/aws-service-role/x/".into(),
                false,
            ),
        ];
        for (what, second, is_admitted, change, comes_first) in cases {
            let other = made_in(second, "other", change);
            let message = first(&mine, &[candidate(&other, is_admitted)], None);
            assert_eq!(message.is_some(), comes_first, "{what}");
            if let Some(message) = message {
                assert_eq!(
                    message,
                    "IamRole other/app manages role app in this account already: delete one of the two"
                );
            }
        }
    }

    #[test]
    fn the_owner_of_the_role_has_precedence_over_an_older_object() {
        let (older, younger) = (
            made_in(4, "older", |_| {}),
            made_in(5, "younger", |r| r.spec.suspend = true),
        );
        let (older, younger) = (candidate(&older, true), candidate(&younger, false));
        let mut role = observed(&fixture(&spec()));
        role.tags.insert(OWNER_TAG.to_owned(), younger.owner.clone());
        let message = first(&older, std::slice::from_ref(&younger), Some(&role)).unwrap();
        assert!(message.starts_with("IamRole younger/app manages"), "{message}");
        assert_eq!(first(&younger, &[older], Some(&role)), None);
    }

    #[test]
    fn two_objects_of_one_role_name_in_files_are_both_refused() {
        let from_file = |name: &str| {
            made_in(0, name, |role| {
                role.metadata.uid = None;
                role.metadata.creation_timestamp = None;
            })
        };
        let (one, other) = (from_file("one"), from_file("other"));
        for (mine, rival) in [(&one, &other), (&other, &one)] {
            assert!(first(&candidate(mine, true), &[candidate(rival, true)], None).is_some());
        }
        // One that is in the cluster is older.
        let there = made_in(5, "there", |_| {});
        assert_eq!(
            first(&candidate(&there, true), &[candidate(&one, true)], None),
            None
        );
        assert!(first(&candidate(&one, true), &[candidate(&there, true)], None).is_some());
    }

    #[test]
    fn an_account_is_not_used_while_it_is_suspended_or_does_not_allow_the_namespace() {
        let role = made_in(5, "team", |_| {});
        let mut account = account(&json!({}), None);
        assert_eq!(check_access(&account, &candidate(&role, true)), Ok(()));
        let refusal = check_access(&account, &candidate(&role, false)).unwrap_err();
        assert_eq!(refusal.reason, Reason::NamespaceNotAllowed);
        assert!(
            refusal.message.contains("does not allow namespace team"),
            "{refusal}"
        );
        account.spec.suspend = true;
        let refusal = check_access(&account, &candidate(&role, false)).unwrap_err();
        assert_eq!(refusal.reason, Reason::Suspended);
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let text = r"(\$\(account\.id\)|\$\(|\)|\*|arn:aws:iam::aws:policy/|/|Allow|sts:AssumeRole|Present|Always|\PC){0,4}";
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            text.prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(text, inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    const FIELDS: [&str; 14] = [
        "roleName",
        "path",
        "ensure",
        "description",
        "maxSessionDuration",
        "assumeRolePolicy",
        "managedPolicies",
        "inlinePolicies",
        "permissionsBoundary",
        "tags",
        "instanceProfile",
        "exclusive",
        "adoption",
        "accounts",
    ];

    proptest! {
        #[test]
        fn any_spec_is_refused_when_it_is_read_or_decided_upon_within_bounds(changes in prop::collection::vec((prop::sample::select(&FIELDS[..]), any_value()), 0..4), guardrails in any_value()) {
            let mut spec = serde_json::to_value(spec()).unwrap();
            for (field, value) in changes {
                spec[field] = value;
            }
            let role = json!({"apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "IamRole",
                "metadata": {"name": "app", "namespace": "team", "uid": "1"}, "spec": spec});
            let Ok(role) = serde_json::from_value::<IamRole>(role) else { return Ok(()); };
            // The schema of the CRD refuses other names before the object gets here.
            let is_in_names = |c: char| c.is_ascii_alphanumeric() || "+=,.@-_".contains(c);
            let profile = role.spec.instance_profile.as_ref();
            let profile = profile.map(|profile| profile.name.as_deref().unwrap_or_else(|| crate::names::name_in_aws(&role)));
            if profile.is_some_and(|name| name.is_empty() || !name.chars().all(is_in_names)) {
                return Ok(());
            }
            let guardrails = json!({"allowedRoleNames": guardrails});
            let account = json!({"apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "AwsAccount", "metadata": {"name": "dev"},
                "spec": {"accountId": "222222222222", "guardrails": guardrails}});
            let account = serde_json::from_value(account).unwrap_or_else(|_| self::account(&json!({}), None));
            let (through, documents) = (BTreeSet::new(), DocumentCache::default());
            let case = AccountCase {
                object: &account,
                session: None,
                access_roles: &through,
                quotas: None,
                documents: &documents,
            };
            let candidate = candidate(&role, true);
            match case.desired(&candidate) {
                Err(refusal) => prop_assert!(refusal.message.len() <= 4 * crate::bounded::MESSAGE, "{}", refusal.message.len()),
                Ok(desired) => match case.admit(&candidate, &desired, &[], None) {
                    Admission::Admitted(plan) => {
                        // What is planned is all that is left to do.
                        let made = plan.changes.iter().fold(None, |role, change| {
                            let identity = crate::role::change::Identity { arn: "arn".to_owned(), role_id: "id".to_owned() };
                            change.after(role, Some(identity))
                        });
                        let again = case.admit(&candidate, &desired, &[], made.as_ref());
                        prop_assert!(matches!(&again, Admission::Admitted(plan) if plan.is_empty()), "{again:?}");
                    }
                    Admission::Yields(refusal) | Admission::Refused(refusal) => {
                        prop_assert!(refusal.message.len() <= 4 * crate::bounded::MESSAGE);
                    }
                },
            }
        }
    }
}
