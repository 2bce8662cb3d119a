//! Principals of sessions: what an ARN of a caller names, and who may unlock an `MfaSession`.

use rolectl_core::arn::{arn_account, arn_partition};
use rolectl_crds::MfaSessionSpec;

/// What an ARN of a caller names, by
/// [IAM identifiers](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-arns).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Principal<'a> {
    /// An IAM user.
    User,
    /// The session of a role of this name.
    AssumedRole(&'a str),
    /// The root user of an account.
    Root,
    /// A federated user (`GetFederationToken`).
    FederatedUser,
    /// Anything else, and what is no ARN.
    Other,
}

impl<'a> Principal<'a> {
    /// Reads the ARN of a caller.
    pub fn of(arn: &'a str) -> Self {
        let mut parts = arn.splitn(6, ':');
        let mut next = || parts.next().unwrap_or_default();
        let (prefix, partition, service, region, account, resource) =
            (next(), next(), next(), next(), next(), next());
        let is_id = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
        if prefix != "arn" || partition.is_empty() || !region.is_empty() || !is_id || arn.len() > 2048 {
            return Self::Other;
        }
        let mut path = resource.split('/');
        let (kind, name, end) = (path.next(), path.next().unwrap_or_default(), path.next_back());
        match (service, kind) {
            ("iam", Some("root")) if resource == "root" => Self::Root,
            ("iam", Some("user")) if !resource.ends_with('/') && !name.is_empty() => Self::User,
            ("sts", Some("assumed-role")) if !name.is_empty() && end.is_some_and(|end| !end.is_empty()) => {
                Self::AssumedRole(name)
            }
            ("sts", Some("federated-user")) if !name.is_empty() => Self::FederatedUser,
            _ => Self::Other,
        }
    }

    /// Why no session of this principal may be used, whatever the object says.
    pub const fn refusal(self) -> Option<&'static str> {
        match self {
            Self::User | Self::AssumedRole(_) => None,
            Self::Root => Some("the root user, which no policy limits: use an IAM user with an MFA device"),
            Self::FederatedUser => {
                Some("a federated user, whose session cannot call IAM: use an IAM user with an MFA device")
            }
            Self::Other => Some("neither an IAM user nor a role: use an IAM user with an MFA device"),
        }
    }
}

/// Checks that a caller is of the account, and is the user or role, that the object asks for.
///
/// # Errors
/// Says what differs. Sessions of root and of federated users are never right.
pub fn check_principal(spec: &MfaSessionSpec, principal: &str) -> Result<(), String> {
    let kind = Principal::of(principal);
    if let Some(why) = kind.refusal() {
        return Err(format!("the session is of {principal}, {why}"));
    }
    let partition = spec.partition().map_err(|error| format!("spec: {error}"))?;
    if let Some(partition) = partition.filter(|partition| partition.name != arn_partition(principal)) {
        return Err(format!(
            "the session is of {principal}, the MfaSession is of partition {}: unlock with a key of that partition",
            partition.name
        ));
    }
    if let Some(role) = &spec.role_arn {
        let name = role.rsplit('/').next().unwrap_or_default();
        let is_role = arn_account(principal) == arn_account(role)
            && matches!(kind, Principal::AssumedRole(of) if of == name);
        return if is_role {
            Ok(())
        } else {
            Err(format!("the session is of {principal}, spec.roleArn is {role}"))
        };
    }
    if matches!(kind, Principal::AssumedRole(_)) {
        return Err(format!(
            "the session is of {principal}, and a role's session needs spec.roleArn"
        ));
    }
    if arn_account(principal) != spec.account_id {
        return Err(format!(
            "the session is of {principal}, spec.accountId is {}: unlock with a key of that account",
            spec.account_id
        ));
    }
    match &spec.user_arn {
        Some(user) if user != principal => Err(format!(
            "the session is of {principal}, only {user} may unlock this one (spec.userArn)"
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_the_user_or_role_that_the_object_names_may_unlock_and_never_root_or_a_federated_user() {
        let of_account = MfaSessionSpec::of_account("111111111111");
        let of_user = MfaSessionSpec {
            user_arn: Some("arn:aws:iam::111111111111:user/team/op".to_owned()),
            ..of_account.clone()
        };
        let of_role = MfaSessionSpec {
            role_arn: Some("arn:aws:iam::222222222222:role/path/admin".to_owned()),
            ..of_account.clone()
        };
        let of_china = MfaSessionSpec {
            region: Some("cn-north-1".to_owned()),
            ..of_account.clone()
        };
        for (spec, principal, fit) in [
            (&of_account, "arn:aws:iam::111111111111:user/op", true),
            (&of_account, "arn:aws:iam::222222222222:user/op", false),
            (&of_account, "arn:aws:iam::111111111111:root", false),
            (&of_account, "arn:aws:sts::111111111111:federated-user/op", false),
            (
                &of_account,
                "arn:aws:sts::111111111111:assumed-role/admin/op",
                false,
            ),
            (&of_account, "arn:aws:iam::111111111111:group/op", false),
            (&of_account, "111111111111", false),
            (&of_user, "arn:aws:iam::111111111111:user/team/op", true),
            (&of_user, "arn:aws:iam::111111111111:user/op", false),
            (&of_user, "arn:aws:iam::111111111111:root", false),
            (&of_role, "arn:aws:sts::222222222222:assumed-role/admin/op", true),
            (&of_role, "arn:aws:sts::222222222222:assumed-role/other/op", false),
            (&of_role, "arn:aws:sts::111111111111:assumed-role/admin/op", false),
            (
                &of_role,
                "arn:aws:iam::222222222222:user/:assumed-role/admin/",
                false,
            ),
            (
                &of_role,
                "arn:aws-cn:sts::222222222222:assumed-role/admin/op",
                false,
            ),
            (&of_role, "arn:aws:iam::222222222222:root", false),
            (&of_china, "arn:aws-cn:iam::111111111111:user/op", true),
            (&of_china, "arn:aws:iam::111111111111:user/op", false),
        ] {
            let found = check_principal(spec, principal);
            assert_eq!(found.is_ok(), fit, "{principal}: {found:?}");
        }
        for (principal, says) in [
            ("arn:aws:iam::111111111111:root", "root user"),
            ("arn:aws:sts::111111111111:federated-user/op", "federated user"),
        ] {
            let why = check_principal(&of_account, principal).unwrap_err();
            assert!(why.contains(says) && why.contains("use an IAM user"), "{why}");
        }
    }

    proptest! {
        #[test]
        fn any_arn_of_a_caller_is_read_without_a_panic(arn in "(arn|aws|:|iam|sts|/|user|root|assumed-role|[0-9]{12}|\\PC){0,12}") {
            let _ = (Principal::of(&arn).refusal(), arn_account(&arn), arn_partition(&arn));
        }
    }
}
