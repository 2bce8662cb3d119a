use clap::Parser;
use serde_json::{Value, json};

use super::*;
use crate::files;

#[derive(Debug, Parser)]
#[command(no_binary_name = true)]
struct Line {
    #[command(flatten)]
    trust: Trust,
}

/// Reads a command line. Splits at spaces.
fn parsed(line: &str) -> Result<Trust, clap::Error> {
    Line::try_parse_from(line.split(' ')).map(|line| line.trust)
}

/// Returns the policy of a command line, the warnings and the notes.
fn written(line: &str) -> (Value, Vec<String>, Vec<String>) {
    let trust = parsed(line).unwrap_or_else(|e| panic!("{line}: {e}"));
    let (written, warnings) = trust.kind.checked().unwrap_or_else(|e| panic!("{line}: {e}"));
    (written.policy.value().unwrap(), warnings, written.notes)
}

/// Returns the error of a command line, from clap or from the command, which has the exit code of wrong usage.
fn refused(line: &str) -> String {
    match parsed(line) {
        Err(error) => {
            assert_eq!(error.exit_code(), 2, "{line}");
            error.to_string()
        }
        Ok(trust) => match trust.kind.checked() {
            Ok((written, _)) => panic!("{line}: {}", written.policy.value().unwrap()),
            Err(failure) => {
                assert_eq!(failure.code(), 2, "{line}");
                failure.to_string()
            }
        },
    }
}

const GITHUB: &str = "token.actions.githubusercontent.com";

/// A command line of each kind, with each way to restrict it.
const ALL: [&str; 34] = [
    "account 111111111111 --role deployer",
    "account 111111111111 --role ops/deployer --mfa --external-id 8f2c71",
    "account 111111111111 --user anna --mfa",
    "account 111111111111 --mfa",
    "account 111111111111 --external-id a/b:c",
    "account 111111111111 --org-id o-a1b2c3d4e5",
    "account 111111111111 --whole-account",
    "account 111111111111 --role x --partition aws-cn",
    "github octo-org/octo-repo --branch main",
    "github octo-org/octo-repo --branch release/1.x --account-id 222222222222",
    "github octo-org@123456/octo-repo@456789 --environment Production:V1",
    "github octo-org/octo-repo --tag v1.0",
    "github octo-org/octo-repo --pull-request",
    "github octo-org/octo-repo --any-ref",
    "github octo-org/* --branch main --allow-wildcard",
    "github octo-org/octo-repo --branch main --partition aws-us-gov",
    "gitlab group/project --branch main",
    "gitlab group/sub/project --tag v* --allow-wildcard",
    "gitlab group/project --any-ref --host gitlab.example.com",
    "gitlab group/project --branch main --host code.example.com --audience sts",
    "irsa --oidc-provider oidc.eks.eu-central-1.amazonaws.com/id/ABC --namespace apps --service-account web",
    "irsa --oidc-provider https://oidc.eks.eu-central-1.amazonaws.com/id/ABC -n apps --service-account w* --allow-wildcard",
    "irsa --oidc-provider oidc.example.com --namespace apps --service-account web.v2 --account-id 222222222222",
    "pod-identity --cluster-arn arn:aws:eks:eu-central-1:222222222222:cluster/main",
    "pod-identity --namespace apps",
    "pod-identity --namespace apps --service-account web",
    "pod-identity --any-pod",
    "pod-identity -n apps --cluster-arn arn:aws-cn:eks:cn-north-1:222222222222:cluster/x --partition aws-cn",
    "service lambda",
    "service ecs-tasks.amazonaws.com --source-account 222222222222",
    "service events --source-arn arn:aws:events:eu-central-1:222222222222:rule/nightly",
    "service s3 --source-arn arn:aws:s3:::logs-* --source-account 222222222222 --allow-wildcard",
    "saml corporate",
    "saml corporate --partition aws-us-gov",
];

#[test]
fn every_policy_passes_the_lint_and_reads_the_same_from_json_and_from_yaml() {
    for line in ALL {
        let (policy, warnings, _) = written(line);
        assert!(warnings.is_empty(), "{line}: {warnings:?}");

        let yaml = parsed(&format!("{line} -o yaml")).unwrap();
        let (yaml, warnings) = yaml.kind.checked().unwrap();
        assert!(warnings.is_empty(), "{line}: {warnings:?}");
        let block = Block {
            assume_role_policy: &yaml.policy,
        };
        let text = serde_saphyr::to_string(&block).unwrap();
        let read = files::parse("trust.yaml", &text).unwrap().remove(0).value;
        let filled = read["assumeRolePolicy"]
            .to_string()
            .replace("$(account.id)", "ACCOUNT_ID");
        assert_eq!(filled, policy.to_string(), "{line}");
    }
}

#[test]
fn each_kind_trusts_what_its_document_says() {
    for (line, principal, action, condition) in [
        (
            "account 111111111111 --role ops/deployer --mfa --external-id x1 --org-id o-a1b2c3d4e5",
            json!({"AWS": "arn:aws:iam::111111111111:role/ops/deployer"}),
            json!("sts:AssumeRole"),
            json!({
                "Bool": {"aws:MultiFactorAuthPresent": "true"},
                "StringEquals": {"aws:PrincipalOrgID": "o-a1b2c3d4e5", "sts:ExternalId": "x1"},
            }),
        ),
        (
            "github o/r --branch main --account-id 222222222222",
            json!({"Federated": format!("arn:aws:iam::222222222222:oidc-provider/{GITHUB}")}),
            json!("sts:AssumeRoleWithWebIdentity"),
            json!({"StringEquals": {
                format!("{GITHUB}:aud"): "sts.amazonaws.com",
                format!("{GITHUB}:sub"): "repo:o/r:ref:refs/heads/main",
            }}),
        ),
        (
            "gitlab g/s/p --tag v1 --account-id 222222222222",
            json!({"Federated": "arn:aws:iam::222222222222:oidc-provider/gitlab.com"}),
            json!("sts:AssumeRoleWithWebIdentity"),
            json!({"StringEquals": {
                "gitlab.com:aud": "https://gitlab.com",
                "gitlab.com:sub": "project_path:g/s/p:ref_type:tag:ref:v1",
            }}),
        ),
        (
            "irsa --oidc-provider oidc.eks.eu-west-1.amazonaws.com/id/A -n apps --service-account web --account-id 222222222222",
            json!({"Federated": "arn:aws:iam::222222222222:oidc-provider/oidc.eks.eu-west-1.amazonaws.com/id/A"}),
            json!("sts:AssumeRoleWithWebIdentity"),
            json!({"StringEquals": {
                "oidc.eks.eu-west-1.amazonaws.com/id/A:aud": "sts.amazonaws.com",
                "oidc.eks.eu-west-1.amazonaws.com/id/A:sub": "system:serviceaccount:apps:web",
            }}),
        ),
        (
            "pod-identity -n apps --service-account web --cluster-arn arn:aws:eks:eu-west-1:222222222222:cluster/m",
            json!({"Service": "pods.eks.amazonaws.com"}),
            json!(["sts:AssumeRole", "sts:TagSession"]),
            json!({
                "ArnEquals": {"aws:SourceArn": "arn:aws:eks:eu-west-1:222222222222:cluster/m"},
                "StringEquals": {
                    "aws:RequestTag/kubernetes-namespace": "apps",
                    "aws:RequestTag/kubernetes-service-account": "web",
                    "aws:SourceAccount": "222222222222",
                },
            }),
        ),
        (
            "service lambda --source-account 222222222222",
            json!({"Service": "lambda.amazonaws.com"}),
            json!("sts:AssumeRole"),
            json!({"StringEquals": {"aws:SourceAccount": "222222222222"}}),
        ),
        (
            "saml corp --account-id 222222222222 --partition aws-cn",
            json!({"Federated": "arn:aws-cn:iam::222222222222:saml-provider/corp"}),
            json!("sts:AssumeRoleWithSAML"),
            json!({"StringEquals": {"SAML:aud": "https://signin.amazonaws.cn/saml"}}),
        ),
    ] {
        let wanted = json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Principal": principal, "Action": action, "Condition": condition}]});
        assert_eq!(written(line).0, wanted, "{line}");
    }
}

#[test]
fn each_restriction_of_github_is_its_claim() {
    for (restriction, operator, subject) in [
        ("--tag v1.0", "StringEquals", "repo:o/r:ref:refs/tags/v1.0"),
        (
            "--environment Prod:V1",
            "StringEquals",
            "repo:o/r:environment:Prod%3AV1",
        ),
        ("--pull-request", "StringEquals", "repo:o/r:pull_request"),
        ("--any-ref", "StringLike", "repo:o/r:*"),
        (
            "--branch rel-* --allow-wildcard",
            "StringLike",
            "repo:o/r:ref:refs/heads/rel-*",
        ),
    ] {
        let (policy, ..) = written(&format!("github o/r {restriction}"));
        let condition = &policy["Statement"][0]["Condition"];
        assert_eq!(condition[operator][format!("{GITHUB}:sub")], subject, "{policy}");
        assert_eq!(
            condition["StringEquals"][format!("{GITHUB}:aud")],
            "sts.amazonaws.com"
        );
    }
}

#[test]
fn what_would_let_in_more_than_the_user_names_is_refused() {
    for (line, says) in [
        ("account 11111111111 --mfa", "an account id has 12 digits"),
        (
            "account 111111111111",
            "would trust every role and user of account 111111111111",
        ),
        ("account 111111111111 --role a*", "write the name as in IAM"),
        ("account 111111111111 --role a --user b", "cannot be used with"),
        (
            "account 111111111111 --role a --whole-account",
            "cannot be used with",
        ),
        ("account 111111111111 --external-id ${x}", "an external id has"),
        ("account 111111111111 --org-id o-*", "the id of an organization"),
        (
            "account 111111111111 --mfa --partition aws-xx",
            "unknown AWS partition",
        ),
        ("github o/r", "required arguments were not provided"),
        ("github o/r --branch main --any-ref", "cannot be used with"),
        ("github o/r --branch *", "branch * has a wildcard"),
        ("github o/r --branch ma?n", "branch ma?n has a wildcard"),
        ("github o/r --environment p*", "environment p* has a wildcard"),
        ("github o/* --branch main", "repository o/* has a wildcard"),
        (
            "github o*/r --branch main --allow-wildcard",
            "write it as OWNER/REPO",
        ),
        ("github o/r/x --branch main", "write it as OWNER/REPO"),
        ("github o@1/r --branch main", "write it as OWNER/REPO"),
        ("github o/r:x --branch main", "write it as OWNER/REPO"),
        ("github o --branch main", "write it as OWNER/REPO"),
        ("github o/r --branch ${aws:x}", "no name of a branch"),
        ("github o/r --branch $(account.id)", "no name of a branch"),
        ("github o/r --branch a:b", "no name of a branch"),
        ("github o/r --branch refs/heads/main", "leave out refs/heads/"),
        ("github o/r --branch main --audience *", "an audience is"),
        (
            "github o/r --branch main --account-id 22",
            "an account id has 12 digits",
        ),
        ("gitlab g/p", "required arguments were not provided"),
        ("gitlab g* --any-ref", "write it as GROUP/PROJECT"),
        (
            "gitlab g*/p --any-ref --allow-wildcard",
            "write it as GROUP/PROJECT",
        ),
        ("gitlab g/p* --any-ref", "project g/p* has a wildcard"),
        ("gitlab g/p --tag v*", "tag v* has a wildcard"),
        ("gitlab g/p --any-ref --host *.example.com", "write a host"),
        (
            "irsa --oidc-provider x --namespace a --service-account b",
            "write a host",
        ),
        (
            "irsa --oidc-provider x.org --namespace a* --service-account b",
            "a namespace has",
        ),
        (
            "irsa --oidc-provider x.org --namespace a --service-account b*",
            "service account b* has a wildcard",
        ),
        (
            "irsa --oidc-provider x.org --namespace a --service-account b:c",
            "a service account has",
        ),
        ("pod-identity", "required arguments were not provided"),
        (
            "pod-identity --service-account a",
            "required arguments were not provided",
        ),
        ("pod-identity --any-pod --namespace a", "cannot be used with"),
        (
            "pod-identity --cluster-arn arn:aws:eks:eu-west-1:222222222222:cluster/*",
            "write it as arn:aws:eks",
        ),
        (
            "pod-identity --cluster-arn arn:aws:eks:cn-north-1:222222222222:cluster/a",
            "write it as arn:aws:eks",
        ),
        (
            "pod-identity --cluster-arn arn:aws-cn:eks:cn-north-1:222222222222:cluster/a",
            "give --partition aws-cn",
        ),
        ("service *", "write the name of a service"),
        ("service s3 --source-arn arn:aws:s3:::logs", "names no account"),
        (
            "service s3 --source-arn arn:aws:s3:::* --source-account 222222222222",
            "has a wildcard",
        ),
        (
            "service sns --source-arn arn:aws:sns:eu-west-1:222222222222:t --source-account 333333333333",
            "is not in account 333333333333",
        ),
        (
            "service sns --source-arn arn:aws-cn:sns:cn-north-1:222222222222:t",
            "give --partition aws-cn",
        ),
        ("saml a/b", "a SAML provider has a name"),
        ("saml corp --partition aws-iso", "give it with --audience"),
    ] {
        let error = refused(line);
        assert!(error.contains(says), "{line}: {error}");
    }
}

#[test]
fn without_an_account_the_policy_has_a_placeholder_and_a_note_says_so() {
    let (policy, _, notes) = written("saml corp");
    assert!(
        policy
            .to_string()
            .contains("arn:aws:iam::ACCOUNT_ID:saml-provider/corp")
    );
    assert!(notes.iter().any(|note| note.contains("ACCOUNT_ID")), "{notes:?}");
    let (policy, _, notes) = written("saml corp -o yaml");
    assert!(
        policy
            .to_string()
            .contains("arn:aws:iam::$(account.id):saml-provider/corp")
    );
    assert!(notes.is_empty(), "{notes:?}");
}

#[test]
fn an_unknown_service_is_named_with_the_one_that_was_probably_meant() {
    let (_, warnings, _) = written("service lamda");
    assert!(
        warnings
            .iter()
            .any(|w| w.contains("did you mean lambda.amazonaws.com?")),
        "{warnings:?}"
    );
    let (_, warnings, notes) = written("service brand-new-thing");
    assert!(warnings.is_empty(), "{warnings:?}");
    assert!(
        notes.iter().any(|note| note.contains("is not in rolectl's list")),
        "{notes:?}"
    );
    let (.., notes) = written("service lambda");
    assert!(
        !notes.iter().any(|note| note.contains("is not in rolectl's list")),
        "{notes:?}"
    );
}

proptest::proptest! {
    /// Whatever is accepted without --allow-wildcard, no value of the policy has a wildcard or a variable.
    #[test]
    fn any_input_makes_a_policy_without_wildcards_or_an_error(a in "[ -~]{0,12}", b in "[ -~]{0,12}", kind in 0..6_usize) {
        let lines = [
            vec!["account", "111111111111", "--role", &a, "--external-id", &b],
            vec!["github", "o/r", "--environment", &a, "--audience", "x"],
            vec!["github", &a, "--branch", &b],
            vec!["gitlab", &a, "--tag", &b],
            vec!["irsa", "--oidc-provider", &a, "--namespace", "apps", "--service-account", &b],
            vec!["service", &a, "--source-arn", &b, "--source-account", "222222222222"],
        ];
        if let Ok(line) = Line::try_parse_from(&lines[kind])
            && let Ok((written, _)) = line.trust.kind.checked()
        {
            let text = written.policy.value().unwrap().to_string();
            proptest::prop_assert!(!text.contains(['*', '?', '$']), "{text}");
        }
    }
}
