//! What somebody outside does to a role: changes that no object asks for.

use std::collections::BTreeMap;

use rolectl_crds::OWNER_TAG;

use crate::aws::iam::{Role, State, Write};
use crate::spec::{MANAGED, PRINCIPALS, inline_document, policy_arn, trust};

/// A change by somebody outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutOfBandChange {
    /// Attaches a managed policy.
    Attach(u8),
    /// Detaches all managed policies.
    Detach,
    /// Puts an inline policy that allows.
    Allow,
    /// Puts an inline policy that only denies.
    Quarantine,
    /// Puts a permissions boundary.
    Bound,
    /// Lets another account assume the role.
    Trust(u8),
    /// Removes the owner tag.
    Untag,
    /// Gives the role to another owner.
    Claim,
    /// Deletes the role.
    Delete,
    /// Deletes the role and makes another one of its name.
    Replace,
    /// Makes a role of this name where there is none.
    Create,
    /// Makes an instance profile of this name where there is none.
    CreateProfile,
    /// Takes the role out of its instance profiles.
    Unlink,
}

impl OutOfBandChange {
    /// The requests that make the change. There are none where it does not fit.
    pub fn requests(self, state: &State, name: &str) -> Vec<Write> {
        let own = name.to_owned();
        let Ok(role) = state.role(name) else {
            return match self {
                Self::Create => vec![foreign_role(name)],
                Self::CreateProfile => vec![Write::CreateProfile(own, BTreeMap::new())],
                _ => vec![],
            };
        };
        match self {
            Self::Attach(n) => vec![Write::Attach(own, policy_arn(MANAGED[usize::from(n)]))],
            Self::Detach => detach(role),
            Self::Allow => {
                let document = inline_document("Allow", "iam:*").to_string();
                vec![Write::PutInline(own, "extra".to_owned(), document)]
            }
            Self::Quarantine => {
                let document = inline_document("Deny", "*").to_string();
                vec![Write::PutInline(own, "quarantine".to_owned(), document)]
            }
            Self::Bound => vec![Write::PutBoundary(own, policy_arn("ViewOnlyAccess"))],
            Self::Trust(n) => {
                let document = trust(&[PRINCIPALS[usize::from(n)]]).to_string();
                vec![Write::UpdateTrust(own, document)]
            }
            Self::Untag => vec![Write::Untag(own, [OWNER_TAG.to_owned()].into())],
            Self::Claim => {
                let tag = (OWNER_TAG.to_owned(), "other/team/role".to_owned());
                vec![Write::Tag(own, [tag].into())]
            }
            Self::Delete => removal(state, role),
            Self::Replace => {
                let mut all = removal(state, role);
                all.push(foreign_role(name));
                all
            }
            Self::Unlink => unlink(state, role),
            Self::Create | Self::CreateProfile => vec![],
        }
    }
}

fn foreign_role(name: &str) -> Write {
    Write::CreateRole(Box::new(Role {
        name: name.to_owned(),
        path: "/".to_owned(),
        trust: trust(&[PRINCIPALS[0]]).to_string(),
        max_session_duration: 3600,
        ..Role::default()
    }))
}

fn detach(role: &Role) -> Vec<Write> {
    let all = role.managed.iter();
    all.map(|arn| Write::Detach(role.name.clone(), arn.clone()))
        .collect()
}

fn unlink(state: &State, role: &Role) -> Vec<Write> {
    let all = state.profiles_of(&role.name).into_iter();
    all.map(|profile| Write::RemoveFromProfile(profile, role.name.clone()))
        .collect()
}

fn removal(state: &State, role: &Role) -> Vec<Write> {
    let inline = role.inline.keys();
    let inline = inline.map(|policy| Write::DeleteInline(role.name.clone(), policy.clone()));
    let mut all = unlink(state, role);
    all.extend(detach(role));
    all.extend(inline);
    all.push(Write::DeleteRole(role.name.clone()));
    all
}
