//! Names of AWS services, in actions and in principals.

use std::collections::HashSet;
use std::sync::LazyLock;

use crate::spelling::nearest;

/// The prefixes of actions.
static PREFIXES: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    include_str!("services.txt")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect()
});

/// Services that roles are often made for, as in `NAME.amazonaws.com`. Not all have the name of a prefix.
const PRINCIPALS: [&str; 44] = [
    "apigateway",
    "appsync",
    "autoscaling",
    "backup",
    "batch",
    "bedrock",
    "cloudformation",
    "cloudtrail",
    "codebuild",
    "codedeploy",
    "codepipeline",
    "config",
    "datasync",
    "dms",
    "ds",
    "ec2",
    "ecs",
    "ecs-tasks",
    "edgelambda",
    "eks",
    "eks-fargate-pods",
    "elasticbeanstalk",
    "elasticmapreduce",
    "events",
    "export.rds",
    "firehose",
    "glue",
    "iot",
    "kinesisanalytics",
    "lambda",
    "logs",
    "monitoring.rds",
    "pipes",
    "pods.eks",
    "rds",
    "redshift",
    "s3",
    "sagemaker",
    "scheduler",
    "ssm",
    "states",
    "storagegateway",
    "transfer",
    "vpc-flow-logs",
];

/// Shortest word for which a suggestion is made.
const SHORTEST: usize = 3;

/// Returns a warning for an action of a service that is not known. It may be newer than this list.
pub(super) fn action_warning(action: &str) -> Option<String> {
    let (prefix, _) = action.split_once(':')?;
    if prefix.contains(['*', '?', '$']) || PREFIXES.contains(prefix.to_ascii_lowercase().as_str()) {
        return None;
    }
    // Almost any two short words are similar.
    let near = (prefix.len() >= SHORTEST).then(|| nearest(prefix, PREFIXES.iter().copied()));
    let hint = near.flatten().map_or_else(
        || "the action allows and denies nothing, unless the service is newer than this rolectl".to_owned(),
        |near| format!("did you mean {near}?"),
    );
    Some(format!(
        "has action {action}, but the service prefix {prefix} is not in rolectl's list: {hint}"
    ))
}

/// Returns true if a service principal, such as `lambda.amazonaws.com`, is in the list. A service may be newer than the list.
pub fn is_listed_service(principal: &str) -> bool {
    let service = principal
        .strip_suffix(".amazonaws.com")
        .or_else(|| principal.strip_suffix(".amazonaws.com.cn"));
    service.is_some_and(|service| PRINCIPALS.contains(&service) || PREFIXES.contains(service))
}

/// Returns a warning for a service principal that is probably a misspelling.
pub(super) fn principal_warning(principal: &str) -> Option<String> {
    let service = principal.strip_suffix(".amazonaws.com")?;
    if service.contains('$') || PRINCIPALS.contains(&service) || PREFIXES.contains(service) {
        return None;
    }
    let near = nearest(service, PRINCIPALS.into_iter())?;
    Some(format!(
        "has service principal {principal}, which is not in rolectl's list: did you mean {near}.amazonaws.com?"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelled_service_has_a_warning() {
        for (action, hint) in [
            ("s3:GetObject", None),
            ("S3:GetObject", None),
            ("*", None),
            ("s*:Get", None),
            ("dynamdb:GetItem", Some("did you mean dynamodb?")),
            (
                "nothinglikeit:Get",
                Some("the service prefix nothinglikeit is not in rolectl's list"),
            ),
        ] {
            let warning = action_warning(action);
            assert_eq!(warning.is_some(), hint.is_some(), "{action}: {warning:?}");
            assert!(
                warning.unwrap_or_default().contains(hint.unwrap_or_default()),
                "{action}"
            );
        }
        for (principal, hint) in [
            ("lambda.amazonaws.com", None),
            ("ecs-tasks.amazonaws.com", None),
            ("brand-new-thing.amazonaws.com", None),
            ("lamda.amazonaws.com", Some("did you mean lambda.amazonaws.com?")),
        ] {
            let warning = principal_warning(principal);
            assert_eq!(warning.is_some(), hint.is_some(), "{principal}: {warning:?}");
            assert!(
                warning.unwrap_or_default().contains(hint.unwrap_or_default()),
                "{principal}"
            );
        }
    }
}
