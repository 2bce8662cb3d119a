//! Checks of the values that become parts of a trust policy. None accepts a `$`, which begins a variable of IAM and of an `IamRole`.

use rolectl_crds::{PARTITIONS, Partition};

use crate::failure::Failure;
use crate::values::{account_id, has_only, is_dns};

/// Parses the name of a role or a user, with its path if it has one:
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>.
pub(super) fn iam_name(text: &str) -> Result<String, String> {
    let name = text.rsplit('/').next().unwrap_or_default();
    let valid = has_only(text, 576, "+=,.@_-/")
        && has_only(name, 64, "+=,.@_-")
        && text.split('/').all(|segment| !segment.is_empty());
    if valid {
        Ok(text.to_owned())
    } else {
        Err("write the name as in IAM, with its path if it has one: deployer or ops/deployer".to_owned())
    }
}

/// Parses the id of an organization: <https://docs.aws.amazon.com/organizations/latest/APIReference/API_Organization.html>.
pub(super) fn org_id(text: &str) -> Result<String, String> {
    let valid = text.strip_prefix("o-").is_some_and(|id| {
        (10..=32).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase())
    });
    if valid {
        Ok(text.to_owned())
    } else {
        Err("the id of an organization is o- and 10 to 32 lower-case letters and digits".to_owned())
    }
}

/// Parses the name of a SAML provider: <https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateSAMLProvider.html>.
pub(super) fn saml_provider(text: &str) -> Result<String, String> {
    if has_only(text, 128, "._-") {
        Ok(text.to_owned())
    } else {
        Err("a SAML provider has a name of 1 to 128 letters, digits and characters of ._-".to_owned())
    }
}

/// Parses an audience, which is a URL or a name such as `sts.amazonaws.com`.
pub(super) fn audience(text: &str) -> Result<String, String> {
    if has_only(text, 255, ".:/_-") {
        Ok(text.to_owned())
    } else {
        Err("an audience is a name or a URL, such as sts.amazonaws.com".to_owned())
    }
}

/// Parses the issuer of tokens as IAM writes it: a host and possibly a path, without `https://`.
pub(super) fn issuer(text: &str) -> Result<String, String> {
    let text = text
        .strip_prefix("https://")
        .unwrap_or(text)
        .trim_end_matches('/');
    let host = text.split('/').next().unwrap_or_default();
    let labels = host
        .split('.')
        .all(|label| has_only(label, 63, "-") && !label.starts_with('-') && !label.ends_with('-'));
    let segments = text.split('/').all(|segment| has_only(segment, 255, "._-"));
    if labels && segments && host.contains('.') && text.len() <= 255 {
        let path = text.strip_prefix(host).unwrap_or_default();
        Ok(format!("{}{path}", host.to_ascii_lowercase()))
    } else {
        Err(
            "write a host, with a path if it has one, such as oidc.eks.eu-central-1.amazonaws.com/id/EXAMPLE"
                .to_owned(),
        )
    }
}

/// Parses the name of a service, such as `lambda`, or its principal, such as `lambda.amazonaws.com`.
pub(super) fn service(text: &str) -> Result<String, String> {
    let text = text.to_ascii_lowercase();
    let valid = text
        .split('.')
        .all(|label| has_only(label, 63, "-") && !label.starts_with('-'));
    if !valid || text.len() > 128 {
        return Err("write the name of a service, such as lambda or lambda.amazonaws.com".to_owned());
    }
    let is_whole = PARTITIONS
        .iter()
        .any(|partition| text.ends_with(&format!(".{}", partition.dns_suffix)));
    Ok(if is_whole {
        text
    } else {
        format!("{text}.amazonaws.com")
    })
}

/// Parses the ARN of an EKS cluster: <https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelastickubernetesservice.html>.
pub(super) fn cluster_arn(text: &str) -> Result<String, String> {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let valid = match parts[..] {
        ["arn", partition, "eks", region, account, resource] => {
            Partition::named(partition).is_ok_and(|partition| partition.has(region))
                && account_id(account).is_ok()
                && resource
                    .strip_prefix("cluster/")
                    .is_some_and(|name| has_only(name, 100, "_-"))
        }
        _ => false,
    };
    if valid {
        Ok(text.to_owned())
    } else {
        Err("write it as arn:aws:eks:eu-central-1:222222222222:cluster/NAME".to_owned())
    }
}

/// Parses the ARN of a resource. It may have wildcards, which [`refuse_wildcard`] refuses.
pub(super) fn source_arn(text: &str) -> Result<String, String> {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let valid = match parts[..] {
        ["arn", partition, service, _, account, resource] => {
            Partition::named(partition).is_ok()
                && (account.is_empty() || account.contains(['*', '?']) || account_id(account).is_ok())
                && has_only(service, 63, "-")
                && !resource.is_empty()
                && has_only(text, 1600, "+=,.@:/_-*?#~!")
        }
        _ => false,
    };
    if valid {
        Ok(text.to_owned())
    } else {
        Err("write an ARN, such as arn:aws:events:eu-central-1:222222222222:rule/nightly".to_owned())
    }
}

/// Parses the name of a Kubernetes service account. It may have wildcards, which [`refuse_wildcard`] refuses.
pub(super) fn service_account(text: &str) -> Result<String, String> {
    let is_pattern = text.contains(['*', '?']) && has_only(text, 253, "-.*?");
    if is_pattern || is_dns(text, 253, "-.") {
        Ok(text.to_owned())
    } else {
        Err("a service account has 1 to 253 lower-case letters, digits and characters of -.".to_owned())
    }
}

/// Parses the name of a branch or a tag, by the characters of
/// [git check-ref-format](https://git-scm.com/docs/git-check-ref-format) that IAM accepts. It may have wildcards, which git refuses in
/// names and [`refuse_wildcard`] refuses.
pub(super) fn git_ref(text: &str) -> Result<String, String> {
    let valid = (1..=244).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_graphic() && !b"~^:[\\$\"'<>|`".contains(&b))
        && !text.starts_with("refs/")
        && !text.starts_with('/')
        && !text.ends_with('/')
        && !text.contains("//")
        && !text.contains("..");
    if valid {
        Ok(text.to_owned())
    } else if text.starts_with("refs/") {
        Err("leave out refs/heads/ or refs/tags/".to_owned())
    } else {
        Err("it is no name of a branch or a tag in ASCII characters".to_owned())
    }
}

/// Parses the name of a deployment environment of GitHub.
pub(super) fn environment(text: &str) -> Result<String, String> {
    let valid = (1..=255).contains(&text.len())
        && text
            .bytes()
            .all(|b| (b.is_ascii_graphic() || b == b' ') && !b"$\"\\'`".contains(&b))
        && text.trim() == text;
    if valid {
        Ok(text.to_owned())
    } else {
        Err("it is no name of an environment in ASCII characters".to_owned())
    }
}

/// Refuses a value with a wildcard of IAM unless the user allows one.
pub(super) fn refuse_wildcard(what: &str, value: &str, is_allowed: bool) -> Result<(), Failure> {
    if is_allowed || !value.contains(['*', '?']) {
        return Ok(());
    }
    Err(Failure::new(
        format!("{what} {value} has a wildcard, which lets in more than one"),
        "write the whole name, or give --allow-wildcard",
    )
    .usage())
}

/// A repository of GitHub, possibly with the ids of its owner and of itself.
#[derive(Clone, Debug)]
pub(super) struct Repository {
    pub(super) full_name: String,
    /// True if the names are followed by ids.
    pub(super) has_ids: bool,
}

/// Parses `OWNER/REPO` or `OWNER@ID/REPO@ID`, as the claim `sub` contains them. The name of the repository may have wildcards, which
/// [`refuse_wildcard`] refuses.
pub(super) fn repository(text: &str) -> Result<Repository, String> {
    let wrong = || "write it as OWNER/REPO, or as OWNER@ID/REPO@ID with the ids of both".to_owned();
    let (owner, name) = text.split_once('/').ok_or_else(wrong)?;
    let split = |part: &'_ str| match part.split_once('@') {
        Some((name, id)) => (name.to_owned(), Some(id.to_owned())),
        None => (part.to_owned(), None),
    };
    let ((owner, owner_id), (name, id)) = (split(owner), split(name));
    let is_id = |id: &Option<String>| {
        id.as_ref()
            .is_none_or(|id| (1..=20).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_digit()))
    };
    let valid = has_only(&owner, 64, "-_")
        && has_only(&name, 100, "._-*?")
        && name != "."
        && name != ".."
        && owner_id.is_some() == id.is_some()
        && is_id(&owner_id)
        && is_id(&id);
    if valid {
        Ok(Repository {
            full_name: text.to_owned(),
            has_ids: id.is_some(),
        })
    } else {
        Err(wrong())
    }
}

/// Parses the path of a project of GitLab, `GROUP/PROJECT` or `GROUP/SUBGROUP/PROJECT`. What follows the group may have wildcards,
/// which [`refuse_wildcard`] refuses.
pub(super) fn project(text: &str) -> Result<String, String> {
    let mut segments = text.split('/');
    let group = segments.next().unwrap_or_default();
    let rest: Vec<&str> = segments.collect();
    let valid = has_only(group, 255, "._-")
        && !rest.is_empty()
        && rest.iter().all(|segment| has_only(segment, 255, "._-*?"))
        && text.len() <= 1024;
    if valid {
        Ok(text.to_owned())
    } else {
        Err("write it as GROUP/PROJECT, or GROUP/SUBGROUP/PROJECT".to_owned())
    }
}
