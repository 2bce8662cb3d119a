//! Checks of a role against the policy documents of its account that no role may exceed: `ceiling` and `trustCeiling`.

use std::collections::BTreeSet;
use std::sync::Arc;

use rolectl_crds::{Guardrails, PolicyJson};

use super::access::is_only_deny;
use super::desired::{AccountContext, DesiredRole, read_document, variables};
use super::kept::keeps_inline;
use super::observed::{ObservedDocument, ObservedRole};
use crate::bounded::display;
use crate::policy::cache::{DocumentCache, ReadDocument};
use crate::policy::inclusion::{Attached, Budget, Inclusion, Policies, inclusion_of};
use crate::policy::lint::{Finding, Place, Severity};
use crate::policy::{Caseless, Document, Effect, MAX_BYTES, PolicyDocument, PolicyError, Scope, Statement};
use crate::variables::VARIABLE;

/// Length of the longest description of what exceeds a ceiling, in bytes. Leaves room in a message for what to do about it.
const EXCESS: usize = 600;
/// The two documents, for one account.
pub(super) struct Ceilings<'a> {
    context: &'a AccountContext,
    permissions: Option<Arc<ReadDocument>>,
    trust: Option<Arc<ReadDocument>>,
    /// All comparisons of a role share it.
    budget: Budget,
}

/// Returns the documents that are set, with their fields below `guardrails`.
fn declared(guardrails: &Guardrails) -> impl Iterator<Item = (&'static str, &PolicyJson, Place)> {
    let permissions = guardrails.ceiling.iter();
    let permissions = permissions.map(|policy| ("ceiling", policy, Place::Identity));
    let trust = guardrails.trust_ceiling.iter();
    permissions.chain(trust.map(|policy| ("trustCeiling", policy, Place::Trust)))
}

/// Returns all findings about the documents, each with its field below `guardrails`. One with an error cannot be enforced.
pub fn findings(
    guardrails: &Guardrails,
    context: &AccountContext,
    documents: &DocumentCache,
) -> Vec<(&'static str, Finding)> {
    declared(guardrails)
        .flat_map(|(field, policy, place)| {
            let (_, findings) = Arc::unwrap_or_clone(cached(policy, place, context, documents));
            findings.into_iter().map(move |finding| (field, finding))
        })
        .collect()
}

/// Returns the problem of each document that cannot be enforced, with its field below `guardrails`.
pub(super) fn problems(
    guardrails: &Guardrails,
    context: &AccountContext,
    documents: &DocumentCache,
) -> Vec<(&'static str, PolicyError)> {
    declared(guardrails)
        .filter_map(|(field, policy, place)| Some((field, read(policy, place, context, documents).err()?)))
        .collect()
}

/// Returns a document with its findings. Its variables are replaced once for all roles, and not each time: the key in the cache is the
/// text with the values of the variables, which is no JSON and so is the key of nothing else.
fn cached(
    policy: &PolicyJson,
    place: Place,
    context: &AccountContext,
    documents: &DocumentCache,
) -> Arc<ReadDocument> {
    let variables = variables(context);
    let read = || read_document(policy, place, &variables, &context.partition, documents);
    let is_plain = !policy.as_str().contains(VARIABLE);
    if is_plain || policy.text_len() > MAX_BYTES {
        return read();
    }
    let key = format!("{}{variables:?}", policy.as_str());
    documents.read(&key, place, &context.partition, || Arc::unwrap_or_clone(read()))
}

/// Reads one document, or returns why it cannot be enforced.
fn read(
    policy: &PolicyJson,
    place: Place,
    context: &AccountContext,
    documents: &DocumentCache,
) -> Result<Arc<ReadDocument>, PolicyError> {
    let read = cached(policy, place, context, documents);
    let (document, findings) = &*read;
    // A document that AWS refuses has no meaning that a role could be compared with.
    let errors = findings
        .iter()
        .filter(|finding| finding.severity == Severity::Error);
    let errors: Vec<_> = errors.map(|finding| finding.problem.clone()).collect();
    if document.is_some() && errors.is_empty() {
        Ok(read)
    } else {
        Err(PolicyError(errors))
    }
}

impl<'a> Ceilings<'a> {
    /// Reads the documents.
    ///
    /// # Errors
    /// The field of the first one that cannot be enforced, and its problem.
    pub fn of(
        guardrails: &Guardrails,
        context: &'a AccountContext,
        documents: &DocumentCache,
    ) -> Result<Self, (&'static str, PolicyError)> {
        let mut ceilings = Self {
            context,
            permissions: None,
            trust: None,
            budget: Budget::default(),
        };
        for (field, policy, place) in declared(guardrails) {
            let document = read(policy, place, context, documents).map_err(|error| (field, error))?;
            match place {
                Place::Identity => ceilings.permissions = Some(document),
                Place::Trust => ceilings.trust = Some(document),
            }
        }
        Ok(ceilings)
    }

    /// Returns true if there is a ceiling for permissions.
    pub const fn limits_permissions(&self) -> bool {
        self.permissions.is_some()
    }

    /// Returns a message about the first inline policy of the role that is not shown to be within the ceiling. Each is compared alone, so
    /// that the removal of one policy never makes another one exceed the ceiling.
    pub fn exceeded_by_inline(&self, role: &DesiredRole, observed: Option<&ObservedRole>) -> Option<String> {
        let (ceiling, _) = self.permissions.as_deref()?;
        let ceiling = ceiling.as_ref()?;
        for (name, document) in &role.inline_policies {
            if let Some(excess) = self.excess(ceiling, document) {
                return Some(format!(
                    "inline policy {name} is not shown to be within the account's guardrails.ceiling: {excess}. Narrow it, or have the account's owner widen the ceiling"
                ));
            }
        }
        let unlisted = observed
            .into_iter()
            .flat_map(|observed| &observed.inline_policies);
        let stays = unlisted.filter(|(name, document)| {
            !role.inline_policies.contains_key(*name)
                && !is_only_deny(document)
                && keeps_inline(role, name, document)
        });
        for (name, document) in stays {
            let excess = match document {
                ObservedDocument::Parsed(document) => self.excess(ceiling, document),
                ObservedDocument::Unreadable(_) => Some("it cannot be read".to_owned()),
            };
            if let Some(excess) = excess {
                return Some(format!(
                    "inline policy {name}, which is on the role and not in the spec, is not shown to be within the account's guardrails.ceiling: {excess}. Delete it in AWS, or have the account's owner widen the ceiling"
                ));
            }
        }
        None
    }

    /// Returns a message if the role's trust policy is not shown to be within `trustCeiling`.
    pub fn exceeded_by_trust(&self, role: &DesiredRole) -> Option<String> {
        let (ceiling, _) = self.trust.as_deref()?;
        let excess = self.excess(ceiling.as_ref()?, role.trust.as_ref()?)?;
        Some(format!(
            "the trust policy is not shown to be within the account's guardrails.trustCeiling: {excess}. Narrow it, or have the account's owner widen trustCeiling"
        ))
    }

    /// Returns what a document may allow and the ceiling does not. `None` if it allows no more.
    fn excess(&self, ceiling: &Document, document: &Document) -> Option<String> {
        let inner = document.canonical();
        let is_same = ceiling == document;
        if is_same || !inner.has(Effect::Allow) {
            return None;
        }
        let outer = concerning(ceiling.canonical(), inner);
        let side = |called, document| Policies {
            called,
            documents: vec![(None, document)],
            unread: vec![],
        };
        let found = inclusion_of(
            &side("the ceiling", &outer),
            &side("the role", inner),
            Attached::AsTrust(&self.context.account_id),
            &self.budget,
        );
        (!found.is_shown()).then(|| shown(&found))
    }
}

/// Returns the statements of a ceiling that have an action of a service for which the other document has an Allow. The others neither
/// allow nor deny anything that it allows. Most of a long ceiling is about other services.
fn concerning(ceiling: &PolicyDocument, inner: &PolicyDocument) -> PolicyDocument {
    let allows = inner.statements.iter().filter(|s| s.effect == Effect::Allow);
    let services: Option<Vec<BTreeSet<&str>>> = allows.map(services).collect();
    let services: Option<BTreeSet<&str>> = services.map(|all| all.into_iter().flatten().collect());
    let concerns = |statement: &&Statement| match (&services, &statement.action) {
        (Some(services), Scope::Only(actions)) => actions.iter().any(|action| {
            service(action).is_none_or(|service| services.iter().any(|s| s.eq_ignore_ascii_case(service)))
        }),
        _ => true,
    };
    PolicyDocument {
        version: ceiling.version.clone(),
        id: None,
        statements: ceiling.statements.iter().filter(concerns).cloned().collect(),
    }
}

/// Returns the services of the actions of a statement. `None` if they cannot be listed.
fn services(statement: &Statement) -> Option<BTreeSet<&str>> {
    match &statement.action {
        Scope::Only(actions) => actions.iter().map(service).collect(),
        Scope::AllBut(_) => None,
    }
}

/// Returns the service of an action. `None` if the action is of more than one service.
fn service(action: &Caseless) -> Option<&str> {
    let (service, _) = action.as_str().split_once(':')?;
    let is_name = service.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    is_name.then_some(service)
}

/// Returns the first part that exceeds the ceiling and the number of the others.
fn shown(found: &Inclusion) -> String {
    let first = found.excess.first().map(|excess| display(excess, EXCESS));
    let first = first.unwrap_or_default();
    match found.count.saturating_sub(1) {
        0 => first,
        more => format!("{first} (and {more} more)"),
    }
}

#[cfg(test)]
mod tests;
