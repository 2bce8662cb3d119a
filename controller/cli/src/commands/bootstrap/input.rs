//! Checks the flags of `rolectl bootstrap` before any request.
//!
//! Values that end up in an object are checked by the schema of their field in the CRDs.

use rolectl_core::arn::{arn_account, arn_partition};
use rolectl_core::role::managed_policy::arn_problem;
use rolectl_crds::Partition;

use crate::failure::Failure;
use crate::schema::takes;
use crate::values::{account_id, checked, partition};

/// Longest ARN that IAM has.
const LONGEST_ARN: usize = 2048;

/// Parses the name of the role.
pub fn role_name(text: &str) -> Result<String, String> {
    checked(
        "IamRole",
        &["spec", "roleName"],
        text,
        "the name of a role has 1 to 64 letters, digits and characters of _+=,.@-",
    )
}

/// Parses the path of roles.
pub fn role_path(text: &str) -> Result<String, String> {
    checked(
        "IamRole",
        &["spec", "path"],
        text,
        "a path begins and ends with a slash, and has at most 512 printable ASCII characters and no space",
    )
    .and_then(|path| {
        // In the policy that limits the role to this path they would match other paths.
        if path.contains(['*', '?', '$', '{']) {
            Err("a path here has none of * ? $ {, which are wildcards and variables in a policy".to_owned())
        } else {
            Ok(path)
        }
    })
}

fn is_path(text: &str) -> bool {
    takes("IamRole", &["spec", "path"], text)
}

/// Parses the ARN of an IAM user.
pub fn user_arn(text: &str) -> Result<String, String> {
    let form = "write it as arn:aws:iam::111111111111:user/NAME";
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let ["arn", of, "iam", "", account, resource] = parts[..] else {
        return Err(format!("it is not the ARN of an IAM user: {form}"));
    };
    partition(of)?;
    account_id(account).map_err(|why| format!("{why}: {form}"))?;
    let Some((path, name)) = resource.strip_prefix("user").and_then(|r| r.rsplit_once('/')) else {
        return Err(format!("it is not the ARN of an IAM user: {form}"));
    };
    // A user has the path of a role, and a name like that of a role.
    if is_path(&format!("{path}/")) && role_name(name).is_ok() && text.len() <= LONGEST_ARN {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "the path or the name of the user has characters that IAM does not allow: {form}"
        ))
    }
}

/// Parses the ARN of a permissions boundary.
pub fn boundary(text: &str) -> Result<String, String> {
    let form = "write it as arn:aws:iam::ACCOUNT:policy/NAME, with `aws` as ACCOUNT for a policy of AWS";
    // A policy has the path of a role, and a name like that of an instance profile.
    let is_arn = text.split_once(":policy").is_some_and(|(_, reference)| {
        reference.rsplit_once('/').is_some_and(|(path, name)| {
            is_path(&format!("{path}/")) && takes("IamRole", &["spec", "instanceProfile", "name"], name)
        })
    });
    if !is_arn || !text.starts_with("arn:") || text.len() > LONGEST_ARN {
        return Err(format!("it is not the ARN of a policy: {form}"));
    }
    partition(arn_partition(text))?;
    match arn_problem(text, arn_partition(text)) {
        None => Ok(text.to_owned()),
        Some(problem) => Err(problem),
    }
}

/// A value that names a partition: what it is, for messages, and the name.
pub type Named<'a> = (&'a str, &'a str);

/// Returns the partition in which all values agree. `None` if there is no value.
pub fn agreed_partition(values: &[Option<Named<'_>>]) -> Result<Option<&'static Partition>, Failure> {
    let mut named = values.iter().flatten();
    let Some((first, name)) = named.next() else {
        return Ok(None);
    };
    if let Some((other, differs)) = named.find(|(_, other)| other != name) {
        return Err(Failure::new(
            format!("{first} is of partition {name}, and {other} of partition {differs}"),
            "correct one of the two; a partition has accounts, users and policies of its own",
        )
        .usage());
    }
    Ok(Some(Partition::named(name).map_err(Failure::from)?))
}

/// Returns an error if the boundary cannot be put on a role of this account.
pub fn check_boundary(boundary: Option<&str>, account: &str) -> Result<(), Failure> {
    match boundary.map(|arn| (arn, arn_account(arn))) {
        Some((arn, owner)) if owner != "aws" && owner != account => Err(Failure::new(
            format!("--boundary {arn} is a policy of account {owner}, and the role is of account {account}"),
            "name a policy of that account or of AWS",
        )
        .usage()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::external_id;

    #[test]
    fn a_name_a_path_and_an_external_id_are_as_aws_takes_them() {
        for (check, right, wrong) in [
            (
                role_name as fn(&str) -> Result<String, String>,
                vec!["a", "A+=,.@_-9"],
                vec!["", "a b", "a/b", "é"],
            ),
            (
                role_path,
                vec!["/", "/a/", "/a!~/b/"],
                vec!["", "a/", "/a", "//x", "/a b/", "/é/", "/a\u{7f}/"],
            ),
            (external_id, vec!["ab", "a_+=,.@:/-"], vec!["", "a", "a b", "a\n"]),
        ] {
            for text in right {
                assert_eq!(check(text).as_deref(), Ok(text));
            }
            for text in wrong {
                assert!(check(text).is_err(), "{text:?}");
            }
        }
        let long = |length: usize| "x".repeat(length);
        assert!(role_name(&long(64)).is_ok() && role_name(&long(65)).is_err());
        assert!(external_id(&long(1224)).is_ok() && external_id(&long(1225)).is_err());
        assert!(role_path(&format!("/{}/", long(510))).is_ok());
        assert!(role_path(&format!("/{}/", long(511))).is_err());
    }

    #[test]
    fn a_user_is_an_iam_user_of_a_partition_that_exists() {
        for right in [
            "arn:aws:iam::111111111111:user/operator",
            "arn:aws-cn:iam::111111111111:user/team/a:b/op@x",
        ] {
            assert_eq!(user_arn(right).as_deref(), Ok(right));
        }
        for wrong in [
            "operator",
            "arn:aws:iam::111111111111:root",
            "arn:aws:iam::111111111111:role/operator",
            "arn:aws:iam::111111111111:user",
            "arn:aws:iam::111111111111:user/",
            "arn:aws:iam::111111111111:user/*",
            "arn:aws:iam::111111111111:userx/operator",
            "arn:aws:iam:eu-west-1:111111111111:user/operator",
            "arn:aws:sts::111111111111:user/operator",
            "arn:aws:iam::11111111111:user/operator",
            "arn:aws-mars:iam::111111111111:user/operator",
            "arn:aws:iam::111111111111:user/a b/operator",
        ] {
            assert!(user_arn(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_boundary_is_the_arn_of_a_policy() {
        for right in [
            "arn:aws:iam::aws:policy/PowerUserAccess",
            "arn:aws-cn:iam::222222222222:policy/team/limit",
        ] {
            assert_eq!(boundary(right).as_deref(), Ok(right));
        }
        for wrong in [
            "PowerUserAccess",
            "arn:aws:iam::aws:policy/",
            "arn:aws:iam::aws:role/PowerUserAccess",
            "arn:aws:s3::aws:policy/PowerUserAccess",
            "arn:aws:iam::22:policy/limit",
            "arn:aws:iam::aws:policy/PowerUserAccéss",
            "arn:aws:iam::aws:policy/poweruseraccess",
            "arn:aws-mars:iam::aws:policy/PowerUserAccess",
            "arn:aws:iam::aws:policy/a b",
        ] {
            assert!(boundary(wrong).is_err(), "{wrong}");
        }
        let limit = "arn:aws:iam::222222222222:policy/limit";
        assert!(check_boundary(Some(limit), "222222222222").is_ok());
        assert!(check_boundary(Some("arn:aws:iam::aws:policy/PowerUserAccess"), "333333333333").is_ok());
        assert_eq!(check_boundary(Some(limit), "333333333333").unwrap_err().code(), 2);
    }

    #[test]
    fn all_values_are_of_one_partition() {
        let of = |values: &[Option<Named<'_>>]| agreed_partition(values).map(|p| p.map(|p| p.name));
        assert_eq!(of(&[None, None]).unwrap(), None);
        assert_eq!(
            of(&[None, Some(("--user-arn", "aws-cn"))]).unwrap(),
            Some("aws-cn")
        );
        let error = of(&[Some(("--partition", "aws")), Some(("--user-arn", "aws-cn"))]).unwrap_err();
        assert_eq!(error.code(), 2);
        assert_eq!(
            error.what(),
            "--partition is of partition aws, and --user-arn of partition aws-cn"
        );
    }
}
