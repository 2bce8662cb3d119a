//! IAM of one account, written from the
//! [IAM API reference](https://docs.aws.amazon.com/IAM/latest/APIReference/welcome.html) and not from the code that it tests.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

/// An error that AWS answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// Its code.
    pub code: &'static str,
    /// Its message.
    pub message: String,
}

/// What an operation answers.
pub type Result<T> = std::result::Result<T, ApiError>;

fn error<T>(code: &'static str, message: impl Into<String>) -> Result<T> {
    Err(ApiError {
        code,
        message: message.into(),
    })
}

/// A role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Role {
    /// Name, as it was created.
    pub name: String,
    /// Path.
    pub path: String,
    /// ARN.
    pub arn: String,
    /// Unique id.
    pub id: String,
    /// Trust policy.
    pub trust: String,
    /// Description.
    pub description: String,
    /// Longest session in seconds.
    pub max_session_duration: i32,
    /// ARNs of attached managed policies.
    pub managed: BTreeSet<String>,
    /// Inline policies.
    pub inline: BTreeMap<String, String>,
    /// ARN of the permissions boundary.
    pub boundary: Option<String>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
}

/// An instance profile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// Name, as it was created.
    pub name: String,
    /// The role in it, in lower case.
    pub role: Option<String>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
}

/// Everything in an account. IAM compares names without case, so the keys are in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Roles.
    pub roles: BTreeMap<String, Role>,
    /// Instance profiles.
    pub profiles: BTreeMap<String, Profile>,
    /// Quotas.
    pub limits: Limits,
}

/// Quotas of an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// `RolesQuota`.
    pub roles: usize,
    /// `AttachedPoliciesPerRoleQuota`.
    pub attached: usize,
}

/// IAM of an account: its state now, and what a late read may still show.
#[derive(Debug)]
pub struct Iam {
    /// The account's id.
    pub id: String,
    /// Principals that IAM does not know.
    pub unknown_principals: BTreeSet<String>,
    history: VecDeque<(Instant, Arc<State>)>,
    ids: u64,
}

/// No read trails a write by more than this.
pub const LONGEST_LAG: Duration = Duration::from_secs(9);

impl State {
    /// The role of this name.
    pub fn role(&self, name: &str) -> Result<&Role> {
        match self.roles.get(&name.to_lowercase()) {
            Some(role) => Ok(role),
            None => error(
                "NoSuchEntity",
                format!("The role with name {name} cannot be found."),
            ),
        }
    }

    fn role_mut(&mut self, name: &str) -> Result<&mut Role> {
        match self.roles.get_mut(&name.to_lowercase()) {
            Some(role) => Ok(role),
            None => error(
                "NoSuchEntity",
                format!("The role with name {name} cannot be found."),
            ),
        }
    }

    /// The instance profile of this name.
    pub fn profile(&self, name: &str) -> Result<&Profile> {
        match self.profiles.get(&name.to_lowercase()) {
            Some(profile) => Ok(profile),
            None => error(
                "NoSuchEntity",
                format!("Instance Profile {name} cannot be found."),
            ),
        }
    }

    fn profile_mut(&mut self, name: &str) -> Result<&mut Profile> {
        match self.profiles.get_mut(&name.to_lowercase()) {
            Some(profile) => Ok(profile),
            None => error(
                "NoSuchEntity",
                format!("Instance Profile {name} cannot be found."),
            ),
        }
    }

    /// Names of the instance profiles that contain the role, as they were created.
    pub fn profiles_of(&self, role: &str) -> BTreeSet<String> {
        let key = role.to_lowercase();
        let with = self
            .profiles
            .values()
            .filter(|profile| profile.role.as_ref() == Some(&key));
        with.map(|profile| profile.name.clone()).collect()
    }
}

/// A request that changes something.
#[derive(Clone, Debug)]
pub enum Write {
    /// `CreateRole`. The unique id is given by IAM.
    CreateRole(Box<Role>),
    /// `DeleteRole`.
    DeleteRole(String),
    /// `UpdateRole`: the role, its description, its longest session in seconds.
    UpdateRole(String, String, i32),
    /// `UpdateAssumeRolePolicy`.
    UpdateTrust(String, String),
    /// `TagRole`.
    Tag(String, BTreeMap<String, String>),
    /// `UntagRole`.
    Untag(String, BTreeSet<String>),
    /// `PutRolePermissionsBoundary`.
    PutBoundary(String, String),
    /// `DeleteRolePermissionsBoundary`.
    DeleteBoundary(String),
    /// `AttachRolePolicy`.
    Attach(String, String),
    /// `DetachRolePolicy`.
    Detach(String, String),
    /// `PutRolePolicy`: the role, the name of the policy, the document.
    PutInline(String, String, String),
    /// `DeleteRolePolicy`.
    DeleteInline(String, String),
    /// `CreateInstanceProfile`.
    CreateProfile(String, BTreeMap<String, String>),
    /// `DeleteInstanceProfile`.
    DeleteProfile(String),
    /// `AddRoleToInstanceProfile`: the profile, then the role.
    AddToProfile(String, String),
    /// `RemoveRoleFromInstanceProfile`: the profile, then the role.
    RemoveFromProfile(String, String),
    /// `TagInstanceProfile`.
    TagProfile(String, BTreeMap<String, String>),
    /// `UntagInstanceProfile`.
    UntagProfile(String, String),
}

impl Write {
    /// The role that is written, or the name of the profile.
    pub fn target(&self) -> &str {
        match self {
            Self::CreateRole(role) => &role.name,
            Self::AddToProfile(_, role) | Self::RemoveFromProfile(_, role) => role,
            Self::DeleteRole(name)
            | Self::UpdateRole(name, ..)
            | Self::UpdateTrust(name, _)
            | Self::Tag(name, _)
            | Self::Untag(name, _)
            | Self::PutBoundary(name, _)
            | Self::DeleteBoundary(name)
            | Self::Attach(name, _)
            | Self::Detach(name, _)
            | Self::PutInline(name, ..)
            | Self::DeleteInline(name, _)
            | Self::CreateProfile(name, _)
            | Self::DeleteProfile(name)
            | Self::TagProfile(name, _)
            | Self::UntagProfile(name, _) => name,
        }
    }

    /// Returns true if the request is about an instance profile and not about a role.
    pub const fn is_about_profile(&self) -> bool {
        matches!(
            self,
            Self::CreateProfile(..)
                | Self::DeleteProfile(_)
                | Self::AddToProfile(..)
                | Self::RemoveFromProfile(..)
                | Self::TagProfile(..)
                | Self::UntagProfile(..)
        )
    }
}

impl Iam {
    /// An account without roles.
    pub fn new(id: &str, limits: Limits) -> Self {
        Self {
            id: id.to_owned(),
            unknown_principals: BTreeSet::new(),
            history: VecDeque::from([(
                Instant::now(),
                Arc::new(State {
                    limits,
                    ..State::default()
                }),
            )]),
            ids: 0,
        }
    }

    /// The state now.
    pub fn now(&self) -> Arc<State> {
        self.history
            .back()
            .map(|(_, state)| state.clone())
            .unwrap_or_default()
    }

    /// The state that a read shows which trails the writes by this time.
    pub fn trailing(&self, lag: Duration) -> Arc<State> {
        let then = Instant::now().checked_sub(lag);
        let seen = self
            .history
            .iter()
            .rev()
            .find(|(at, _)| then.is_none_or(|then| *at <= then));
        seen.or(self.history.front())
            .map(|(_, state)| state.clone())
            .unwrap_or_default()
    }

    fn push(&mut self, state: State) {
        let now = Instant::now();
        self.history.push_back((now, Arc::new(state)));
        // One entry older than any read is kept.
        while self.history.len() > 1 && self.history.get(1).is_some_and(|(at, _)| *at + LONGEST_LAG < now) {
            self.history.pop_front();
        }
    }

    /// Carries out a request.
    ///
    /// # Errors
    /// The error that AWS documents for this request. The state is unchanged.
    pub fn write(&mut self, write: &Write) -> Result<()> {
        let mut state = (*self.now()).clone();
        self.carry_out(&mut state, write)?;
        self.push(state);
        Ok(())
    }

    fn check_trust(&self, trust: &str) -> Result<()> {
        match self
            .unknown_principals
            .iter()
            .find(|arn| trust.contains(arn.as_str()))
        {
            Some(arn) => error(
                "MalformedPolicyDocument",
                format!("Invalid principal in policy: \"AWS\":\"{arn}\""),
            ),
            None => Ok(()),
        }
    }

    #[allow(clippy::too_many_lines, reason = "one arm for each operation")]
    fn carry_out(&mut self, state: &mut State, write: &Write) -> Result<()> {
        match write {
            Write::CreateRole(role) => {
                let key = role.name.to_lowercase();
                if state.roles.contains_key(&key) {
                    return error(
                        "EntityAlreadyExists",
                        format!("Role with name {} already exists.", role.name),
                    );
                }
                if state.roles.len() >= state.limits.roles {
                    return error(
                        "LimitExceeded",
                        format!("Cannot exceed quota for RolesPerAccount: {}", state.limits.roles),
                    );
                }
                self.check_trust(&role.trust)?;
                self.ids += 1;
                let id = format!("AROA{}{:010}", &self.id[..4], self.ids);
                let arn = format!("arn:aws:iam::{}:role{}{}", self.id, role.path, role.name);
                state.roles.insert(
                    key,
                    Role {
                        arn,
                        id,
                        ..(**role).clone()
                    },
                );
            }
            Write::DeleteRole(name) => {
                let role = state.role(name)?;
                let conflict = if !role.managed.is_empty() {
                    Some("must detach all policies first")
                } else if !role.inline.is_empty() {
                    Some("must delete policies first")
                } else if state.profiles_of(name).is_empty() {
                    None
                } else {
                    Some("must remove roles from instance profile first")
                };
                if let Some(conflict) = conflict {
                    return error("DeleteConflict", format!("Cannot delete entity, {conflict}."));
                }
                state.roles.remove(&name.to_lowercase());
            }
            Write::UpdateRole(name, description, duration) => {
                let role = state.role_mut(name)?;
                role.description.clone_from(description);
                role.max_session_duration = *duration;
            }
            Write::UpdateTrust(name, document) => {
                self.check_trust(document)?;
                state.role_mut(name)?.trust.clone_from(document);
            }
            Write::Tag(name, tags) => state.role_mut(name)?.tags.extend(tags.clone()),
            Write::Untag(name, keys) => state.role_mut(name)?.tags.retain(|key, _| !keys.contains(key)),
            Write::PutBoundary(name, arn) => state.role_mut(name)?.boundary = Some(arn.clone()),
            Write::DeleteBoundary(name) => state.role_mut(name)?.boundary = None,
            Write::Attach(name, arn) => {
                let attached = state.limits.attached;
                let role = state.role_mut(name)?;
                if role.managed.len() >= attached && !role.managed.contains(arn) {
                    return error(
                        "LimitExceeded",
                        format!("Cannot exceed quota for PoliciesPerRole: {attached}"),
                    );
                }
                role.managed.insert(arn.clone());
            }
            Write::Detach(name, arn) => {
                if !state.role_mut(name)?.managed.remove(arn) {
                    return error("NoSuchEntity", format!("Policy {arn} was not found."));
                }
            }
            Write::PutInline(name, policy, document) => {
                state
                    .role_mut(name)?
                    .inline
                    .insert(policy.clone(), document.clone());
            }
            Write::DeleteInline(name, policy) => {
                if state.role_mut(name)?.inline.remove(policy).is_none() {
                    return error(
                        "NoSuchEntity",
                        format!("The role policy with name {policy} cannot be found."),
                    );
                }
            }
            Write::CreateProfile(name, tags) => {
                let key = name.to_lowercase();
                if state.profiles.contains_key(&key) {
                    return error(
                        "EntityAlreadyExists",
                        format!("Instance Profile {name} already exists."),
                    );
                }
                let profile = Profile {
                    name: name.clone(),
                    role: None,
                    tags: tags.clone(),
                };
                state.profiles.insert(key, profile);
            }
            Write::DeleteProfile(name) => {
                if state.profile(name)?.role.is_some() {
                    return error(
                        "DeleteConflict",
                        "Cannot delete entity, must remove roles from instance profile first.",
                    );
                }
                state.profiles.remove(&name.to_lowercase());
            }
            Write::AddToProfile(name, role) => {
                state.profile(name)?;
                let role = state.role(role)?.name.to_lowercase();
                let profile = state.profile_mut(name)?;
                if profile.role.is_some() {
                    return error(
                        "LimitExceeded",
                        "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1",
                    );
                }
                profile.role = Some(role);
            }
            Write::RemoveFromProfile(name, role) => {
                let key = role.to_lowercase();
                let profile = state.profile_mut(name)?;
                if profile.role.as_ref() != Some(&key) {
                    return error(
                        "NoSuchEntity",
                        format!("The role with name {role} cannot be found."),
                    );
                }
                profile.role = None;
            }
            Write::TagProfile(name, tags) => state.profile_mut(name)?.tags.extend(tags.clone()),
            Write::UntagProfile(name, key) => {
                state.profile_mut(name)?.tags.remove(key);
            }
        }
        Ok(())
    }
}
