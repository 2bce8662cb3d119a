//! Tests of the parser, the canonical form, the diff and the lint: tables for single rules, properties for all documents.

use std::cmp::Ordering;

use proptest::prelude::*;
use proptest::sample::{Index, subsequence};
use serde_json::{Map, Value, json};

use super::lint::{Place, Severity, lint_value};
use super::*;
use crate::bounded;

fn doc(statement: &Value) -> PolicyDocument {
    PolicyDocument::from_value(&json!({"Version": "2012-10-17", "Statement": statement})).unwrap()
}

fn error(value: &Value) -> String {
    PolicyDocument::from_value(value).unwrap_err().to_string()
}

#[test]
fn documents_with_the_same_effect_are_equal() {
    let base = json!({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "arn:aws:iam::111111111111:root"}});
    let with = |key: &str, value: Value| {
        let mut s = base.clone();
        s[key] = value;
        s
    };
    for (what, same) in [
        ("a list of one statement", json!([base])),
        ("a list of one action", with("Action", json!(["sts:AssumeRole"]))),
        (
            "a repeated action",
            with("Action", json!(["sts:AssumeRole", "sts:assumerole"])),
        ),
        (
            "another case of action and effect",
            json!({"Effect": "allow", "Action": "STS:assumerole", "Principal": {"AWS": ["111111111111"]}}),
        ),
        (
            "the bare account id",
            with("Principal", json!({"AWS": "111111111111"})),
        ),
        (
            "another partition's root",
            with("Principal", json!({"AWS": "arn:aws-cn:iam::111111111111:root"})),
        ),
        (
            "an empty kind of principal",
            with("Principal", json!({"AWS": "111111111111", "Service": []})),
        ),
        ("a statement twice", json!([base, base])),
        ("an empty condition", with("Condition", json!({}))),
        (
            "an operator without keys",
            with("Condition", json!({"StringEquals": {}})),
        ),
        ("an empty Sid", with("Sid", json!(""))),
    ] {
        assert_eq!(doc(&base), doc(&same), "{what}");
    }
    let condition =
        |c: Value| doc(&json!({"Effect": "Allow", "Action": "a:b", "Resource": "*", "Condition": c}));
    for (what, one, other) in [
        (
            "booleans and their strings",
            json!({"Bool": {"aws:MultiFactorAuthPresent": "true"}}),
            json!({"bool": {"AWS:multifactorauthpresent": [true]}}),
        ),
        (
            "numbers and their strings",
            json!({"NumericLessThan": {"k": 5}}),
            json!({"NumericLessThan": {"k": ["5.0"]}}),
        ),
        (
            "an address and its /32",
            json!({"IpAddress": {"aws:SourceIp": "10.0.0.1"}}),
            json!({"IpAddress": {"aws:SourceIp": ["10.0.0.1/32"]}}),
        ),
        (
            "an instant and its seconds",
            json!({"DateLessThan": {"aws:CurrentTime": "2026-01-02T00:00:00Z"}}),
            json!({"DateLessThan": {"aws:CurrentTime": 1_767_312_000}}),
        ),
        (
            "the order of values",
            json!({"StringLike": {"k": ["a", "b"]}}),
            json!({"stringlike": {"K": ["b", "a", "b"]}}),
        ),
    ] {
        assert_eq!(condition(one), condition(other), "{what}");
    }
    let missing = PolicyDocument::from_value(&json!({"Statement": base})).unwrap();
    let old = PolicyDocument::from_value(&json!({"Version": "2008-10-17", "Statement": base})).unwrap();
    assert_eq!(missing, old, "a missing Version is 2008-10-17");
    let empty = PolicyDocument::from_value(&json!({})).unwrap();
    assert_eq!(empty, empty.clone(), "an empty document is equal to itself");
    assert_eq!(
        empty,
        PolicyDocument::from_value(&json!({"Statement": []})).unwrap()
    );
}

#[test]
fn the_same_text_in_any_encoding_is_the_same_document() {
    let plain = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::a/é*"}}"#;
    let escaped = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::a\/\u00e9*"}}"#;
    let url = percent_encoding::utf8_percent_encode(plain, percent_encoding::NON_ALPHANUMERIC).to_string();
    let spaced = format!("\n  {}\t", plain.replace(',', " ,\n"));
    for (what, text) in [
        ("escapes", escaped),
        ("URL-encoding", &url),
        ("white space", &spaced),
    ] {
        assert_eq!(
            Document::parse(plain).unwrap(),
            Document::parse(text).unwrap(),
            "{what}"
        );
    }
    assert_eq!(
        Document::parse(&spaced).unwrap().size(),
        plain.chars().count(),
        "white space is free"
    );
}

#[test]
fn documents_with_different_effects_are_not_equal() {
    let of = |p: Value| doc(&json!({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": p}));
    let resource = |r: &str| doc(&json!({"Effect": "Allow", "Action": "s3:GetObject", "Resource": r}));
    let condition =
        |c: Value| doc(&json!({"Effect": "Allow", "Action": "a:b", "Resource": "*", "Condition": c}));
    let sid = |s: &str| doc(&json!({"Sid": s, "Effect": "Allow", "Action": "a:b", "Resource": "*"}));
    for (what, one, other) in [
        (
            "everybody is more than every AWS principal",
            of(json!("*")),
            of(json!({"AWS": "*"})),
        ),
        (
            "accounts",
            of(json!({"AWS": "111111111111"})),
            of(json!({"AWS": "222222222222"})),
        ),
        (
            "a user is not its account",
            of(json!({"AWS": "111111111111"})),
            of(json!({"AWS": "arn:aws:iam::111111111111:user/root"})),
        ),
        (
            "kinds of principal",
            of(json!({"AWS": "x"})),
            of(json!({"Federated": "x"})),
        ),
        (
            "the case of resources",
            resource("arn:aws:s3:::a"),
            resource("arn:aws:s3:::A"),
        ),
        (
            "the case of values",
            condition(json!({"StringEquals": {"k": "a"}})),
            condition(json!({"StringEquals": {"k": "A"}})),
        ),
        ("the case of a Sid", sid("a"), sid("A")),
        (
            "operators",
            condition(json!({"StringEquals": {"k": "a"}})),
            condition(json!({"StringLike": {"k": "a"}})),
        ),
        (
            "IfExists",
            condition(json!({"StringEquals": {"k": "a"}})),
            condition(json!({"StringEqualsIfExists": {"k": "a"}})),
        ),
        (
            "a number under a string operator",
            condition(json!({"StringEquals": {"k": "5"}})),
            condition(json!({"StringEquals": {"k": "5.0"}})),
        ),
        (
            "a key without values, which never holds",
            condition(json!({})),
            condition(json!({"StringEquals": {"k": []}})),
        ),
    ] {
        assert_ne!(one, other, "{what}");
    }
}

#[test]
fn the_error_of_an_invalid_document_names_the_element_and_the_problem() {
    let with = |s: Value| json!({"Version": "2012-10-17", "Statement": [s]});
    for (bad, says) in [
        (json!([]), "is not a JSON object"),
        (json!({"Version": 2012}), "Version is 2012: write \"2012-10-17\""),
        (
            json!({"Statements": []}),
            "has the unknown element Statements: did you mean Statement?",
        ),
        (with(json!("x")), "Statement[0] is not an object"),
        (
            with(json!({"Action": "a:b"})),
            "Statement[0] has no Effect: write Allow or Deny",
        ),
        (
            with(json!({"Effect": "Maybe", "Action": "a:b"})),
            "Statement[0].Effect is \"Maybe\": write Allow or Deny",
        ),
        (
            with(json!({"Effect": "Allow"})),
            "Statement[0] has neither Action nor NotAction",
        ),
        (
            with(json!({"Effect": "Allow", "Action": "AssumeRole"})),
            "Statement[0].Action holds \"AssumeRole\": write it as service:Action",
        ),
        (
            with(json!({"Effect": "Allow", "Action": [1]})),
            "Statement[0].Action holds 1, which is not a string: quote it, because YAML may have changed what was written",
        ),
        (
            with(json!({"Effect": "Allow", "Action": "a:b", "NotAction": "a:c"})),
            "Statement[0].NotAction is used together with its opposite: keep one of the two",
        ),
        (
            with(json!({"Effect": "Allow", "Action": "a:b", "Principal": "me"})),
            "Statement[0].Principal is neither \"*\" nor an object such as {\"AWS\": \"arn:...\"}",
        ),
        (
            with(json!({"Effect": "Allow", "Action": "a:b", "Principal": {"Aws": "1"}})),
            "Statement[0].Principal has the unknown element Aws: did you mean AWS?",
        ),
        (
            with(json!({"Effect": "Allow", "Action": "a:b", "Condition": {"Bool": {"k": true, "K": false}}})),
            "Statement[0].Condition.Bool.k occurs twice in different case: keep one of the two",
        ),
        // Several at once, so that several can be mended at once.
        (
            with(json!({"Efect": "Allow", "Actions": "a:b"})),
            "Statement[0] has the unknown element Actions: did you mean Action?; Statement[0] has the unknown element Efect: did you mean Effect?; Statement[0] has no Effect: write Allow or Deny; and 1 more problem",
        ),
    ] {
        assert_eq!(error(&bad), says);
    }
    assert!(
        Document::parse("{")
            .unwrap_err()
            .to_string()
            .starts_with("is not JSON: ")
    );
}

#[test]
fn a_deleted_principal_is_recognized_by_its_unique_id() {
    let d = doc(
        &json!({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": ["AROAEXAMPLEEXAMPLE12", "111111111111"]}}),
    );
    assert_eq!(
        d.deleted_principals().collect::<Vec<_>>(),
        ["AROAEXAMPLEEXAMPLE12"]
    );
}

#[test]
fn a_diff_names_the_statements_and_the_elements_that_change() {
    let before = json!([
        {"Sid": "Read", "Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket"], "Resource": "*"},
        {"Effect": "Deny", "Action": "s3:DeleteObject", "Resource": "*"},
        {"Effect": "Allow", "Action": "ec2:RunInstances", "Resource": "*", "Condition": {"StringEquals": {"aws:RequestedRegion": "eu-west-1"}}},
    ]);
    let after = json!([
        {"Sid": "Read", "Effect": "Allow", "Action": ["s3:getobject", "s3:GetObjectTagging"], "Resource": "*"},
        {"Effect": "Allow", "Action": "ec2:RunInstances", "Resource": "*", "Condition": {"StringEquals": {"aws:RequestedRegion": ["eu-west-1", "eu-north-1"]}}},
        {"Sid": "New", "Effect": "Allow", "NotAction": "iam:*", "NotResource": "arn:aws:s3:::x"},
    ]);
    let lines: Vec<String> = doc(&before)
        .diff(&doc(&after))
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        lines,
        [
            "~ statement \"Allow ec2:RunInstances\"",
            "    + Condition StringEquals aws:RequestedRegion \"eu-north-1\"",
            "+ statement New",
            "    + Effect Allow",
            "    + NotAction iam:*",
            "    + NotResource arn:aws:s3:::x",
            "~ statement Read",
            "    + Action s3:GetObjectTagging",
            "    - Action s3:ListBucket",
            "- statement \"Deny s3:DeleteObject\"",
        ]
    );
    let old = PolicyDocument::from_value(&json!({"Statement": before})).unwrap();
    assert_eq!(
        old.diff(&doc(&before))[0].to_string(),
        "~ Version 2008-10-17 -> 2012-10-17"
    );
}

#[test]
fn the_canonical_text_reads_like_a_document_of_a_person() {
    let d = doc(&json!([
        {"Resource": ["b", "a"], "Action": ["s3:Get*"], "Effect": "Allow", "Sid": "X"},
        {"Effect": "Deny", "NotPrincipal": {"AWS": ["arn:aws:iam::111111111111:root"]}, "Action": "sts:*", "Condition": {"Bool": {"k": [true]}}},
    ]));
    let expected = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Deny", "NotPrincipal": {"AWS": "111111111111"}, "Action": "sts:*", "Condition": {"Bool": {"k": "true"}}},
        {"Sid": "X", "Effect": "Allow", "Action": "s3:Get*", "Resource": ["a", "b"]},
    ]});
    assert_eq!(serde_json::from_str::<Value>(&d.pretty()).unwrap(), expected);
    let (version, statement) = (
        d.pretty().find("Version").unwrap(),
        d.pretty().find("Statement").unwrap(),
    );
    assert!(version < statement, "elements stand in AWS's order");
}

fn findings(statement: &Value, place: Place) -> Vec<String> {
    let value = json!({"Version": "2012-10-17", "Statement": statement});
    let show = |f: &lint::Finding| {
        format!(
            "{}: {f}",
            if f.severity == Severity::Error {
                "error"
            } else {
                "warning"
            }
        )
    };
    lint_value(&value, place).iter().map(show).collect()
}

#[test]
fn lint_finds_what_a_trust_policy_must_not_contain() {
    let trusts = |p: Value| json!({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": p});
    for (statement, says) in [
        (
            json!({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "111111111111"}, "Resource": "*"}),
            "error: Statement[0] has a Resource, which a trust policy must not have: remove it",
        ),
        (
            json!({"Effect": "Allow", "Action": "sts:AssumeRole"}),
            "error: Statement[0] has no Principal: say who may assume the role",
        ),
        (
            json!({"Effect": "Allow", "Action": "s3:GetObject", "Principal": {"AWS": "111111111111"}}),
            "error: Statement[0].Action holds s3:GetObject: a trust policy speaks of sts: actions only, such as sts:AssumeRole",
        ),
        (
            json!({"Effect": "Allow", "Action": "sts:AssumeRole", "NotPrincipal": {"AWS": "111111111111"}}),
            "error: Statement[0] has NotPrincipal, which IAM does not allow in a trust policy: name who may in Principal, or deny with a Condition ArnNotEquals on aws:PrincipalArn",
        ),
        (
            json!({"Effect": "Deny", "Action": "sts:*", "NotPrincipal": {"AWS": "111111111111"}}),
            "error: Statement[0] has NotPrincipal, which IAM does not allow in a trust policy: name who may in Principal, or deny with a Condition ArnNotEquals on aws:PrincipalArn",
        ),
        (
            trusts(json!("*")),
            "error: Statement[0] lets everybody in the world assume the role: name principals, or add a Condition that only callers of yours meet, such as aws:PrincipalOrgID with your organization's id",
        ),
        (
            trusts(json!({"AWS": ["*"]})),
            "error: Statement[0] lets everybody in the world assume the role: name principals, or add a Condition that only callers of yours meet, such as aws:PrincipalOrgID with your organization's id",
        ),
        (
            trusts(json!({"AWS": "arn:aws:iam::111111111111:role/*"})),
            "error: Statement[0].Principal.AWS holds arn:aws:iam::111111111111:role/*: a principal knows no wildcards; trust the account and add a Condition on aws:PrincipalArn",
        ),
        (
            trusts(json!({"AWS": "alice"})),
            "error: Statement[0].Principal.AWS holds alice: write an account id of 12 digits or an ARN",
        ),
        (
            trusts(json!({"Service": "ec2"})),
            "error: Statement[0].Principal.Service holds ec2: write it as ec2.amazonaws.com",
        ),
        (
            trusts(json!({"AWS": "AROAEXAMPLEEXAMPLE12"})),
            "warning: Statement[0].Principal.AWS holds AROAEXAMPLEEXAMPLE12, the id of a principal that was deleted: name its successor",
        ),
        (
            trusts(json!({"AWS": "12345678901"})),
            "error: Statement[0].Principal.AWS holds 12345678901, which has 11 digits: an account id has 12, and in YAML it needs quotes",
        ),
        (
            trusts(json!({"AWS": "arn:aws:iam::12345678901:role/x"})),
            "error: Statement[0].Principal.AWS holds arn:aws:iam::12345678901:role/x: the account in an ARN has 12 digits, as in arn:aws:iam::123456789012:role/NAME",
        ),
        (
            trusts(json!({"AWS": "arn:aws:iam::111111111111:group/x"})),
            "error: Statement[0].Principal.AWS holds arn:aws:iam::111111111111:group/x: a group is no principal; name its users, or a role that they assume",
        ),
        (
            trusts(json!({"AWS": "arn:aws:iam::111111111111:saml-provider/x"})),
            "error: Statement[0].Principal.AWS holds arn:aws:iam::111111111111:saml-provider/x: write an identity provider under Federated",
        ),
        (
            trusts(json!({"AWS": "arn:aws:sts::111111111111:assumed-role/x"})),
            "error: Statement[0].Principal.AWS holds arn:aws:sts::111111111111:assumed-role/x: write an account, a user, a role, or one session as arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION",
        ),
        (
            trusts(json!({"Service": "https://ec2.amazonaws.com/"})),
            "error: Statement[0].Principal.Service holds https://ec2.amazonaws.com/: write it as ec2.amazonaws.com",
        ),
        (
            trusts(json!({"Service": "*"})),
            "error: Statement[0].Principal.Service holds *: write the service's name, such as ec2.amazonaws.com",
        ),
        (
            json!({"Effect": "Allow", "Action": "sts:AssumeRoleWithSAML", "Principal": {"Federated": "arn:aws:iam::111111111111:saml-provider/x"}}),
            "warning: Statement[0] accepts every assertion of arn:aws:iam::111111111111:saml-provider/x: add a Condition such as SAML:aud",
        ),
        (
            trusts(json!({"Federated": "arn:aws:iam::111111111111:saml-provider/x"})),
            "warning: Statement[0] never matches a user of arn:aws:iam::111111111111:saml-provider/x: such users call sts:AssumeRoleWithSAML, which Action does not list",
        ),
        (
            trusts(json!({"Federated": "accounts.google.com"})),
            "warning: Statement[0] never matches a user of accounts.google.com: such users call sts:AssumeRoleWithWebIdentity, which Action does not list",
        ),
    ] {
        assert_eq!(findings(&statement, Place::Trust), [says]);
    }
    let role = json!({"Effect": "Allow", "Action": "sts:AssumeRoleWithSAML", "Principal": {"Federated": "arn:aws:iam::111111111111:role/x"}});
    assert!(
        findings(&role, Place::Trust)[0]
            .contains("Federated holds arn:aws:iam::111111111111:role/x: write a domain")
    );
    for fine in [
        trusts(json!({"Service": "ec2.amazonaws.com"})),
        trusts(
            json!({"AWS": ["111111111111", "arn:aws:iam::222222222222:role/a/b/x", "arn:aws:iam::222222222222:user/x", "arn:aws:sts::222222222222:assumed-role/x/y", "arn:aws:sts::222222222222:federated-user/x"]}),
        ),
        trusts(
            json!({"Service": ["ec2.amazonaws.com.cn", "member.org.stacksets.cloudformation.amazonaws.com", "alexa-appkit.amazon.com"]}),
        ),
        // A document whose variables are not filled in yet.
        trusts(json!({"AWS": ["$(account.id)", "arn:$(aws.partition):iam::$(session.accountId):root"]})),
        json!({"Effect": "Allow", "Action": ["sts:AssumeRole", "sts:TagSession"], "Principal": "*", "Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-1"}}}),
    ] {
        assert_eq!(findings(&fine, Place::Trust), [""; 0], "{fine}");
    }
}

#[test]
fn a_statement_for_everybody_needs_a_condition_that_strangers_cannot_satisfy() {
    let everybody = |principal: &Value, condition: &Value| json!({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": principal, "Condition": condition});
    for met_by_anybody in [
        json!({"ForAllValues:StringEquals": {"aws:PrincipalOrgPaths": "o-1/*"}, "Null": {"aws:PrincipalOrgPaths": "true"}}),
        json!({"StringEqualsIfExists": {"aws:PrincipalOrgID": "o-1"}}),
        json!({"StringNotEquals": {"aws:PrincipalOrgID": "o-1"}}),
        json!({"StringLike": {"aws:PrincipalOrgID": "o-*"}}),
        json!({"StringLike": {"aws:PrincipalOrgID": ["o-1", "*"]}}),
        json!({"StringEquals": {"aws:PrincipalOrgID": "${aws:PrincipalOrgID}"}}),
        json!({"ForAnyValue:StringLike": {"aws:PrincipalOrgPaths": "o-*/r-1/*"}}),
        json!({"Bool": {"aws:SecureTransport": "true"}}),
        json!({"Bool": {"aws:MultiFactorAuthPresent": "true"}}),
        json!({"StringLike": {"aws:PrincipalArn": "*"}}),
        json!({"ArnLike": {"aws:PrincipalArn": "arn:*"}}),
        json!({"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/*"}}),
        json!({"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/Admin"}}),
        // Within a string a wildcard runs over colons, so that a path of the caller's own choice fits.
        json!({"StringLike": {"aws:PrincipalArn": "arn:*:iam::111111111111:role/x"}}),
        json!({"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::${aws:PrincipalAccount}:role/x"}}),
        json!({"StringLike": {"aws:PrincipalAccount": "1111*"}}),
        json!({"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}}),
        json!({"IpAddress": {"aws:SourceIp": ["203.0.113.0/24", "::/0"]}}),
        json!({"IpAddress": {"aws:SourceIp": ["0.0.0.0/1", "128.0.0.0/1"]}}),
        json!({"NotIpAddress": {"aws:SourceIp": "203.0.113.0/24"}}),
        json!({"StringLike": {"aws:userid": "*:*"}}),
        json!({"StringLike": {"aws:userid": "AROA*:alice"}}),
        json!({"StringEquals": {"aws:RequestedRegion": "eu-west-1"}}),
        json!({"StringEquals": {"sts:ExternalId": "secret"}}),
        json!({"StringEquals": {"sts:RoleSessionName": "x", "aws:PrincipalTag/team": "x", "aws:username": "x", "aws:PrincipalType": "User"}}),
        json!({"StringLike": {"aws:SourceVpce": "vpce-*"}}),
    ] {
        for principal in [json!("*"), json!({"AWS": ["*", "111111111111"]})] {
            let found = findings(&everybody(&principal, &met_by_anybody), Place::Trust);
            assert!(
                found
                    .iter()
                    .any(|f| f.starts_with("error: ") && f.contains("lets everybody in the world")),
                "{met_by_anybody}: {found:?}"
            );
        }
    }
    for narrow in [
        json!({"StringEquals": {"aws:PrincipalOrgID": ["o-1", "o-2"]}}),
        json!({"ForAnyValue:StringLike": {"aws:PrincipalOrgPaths": "o-1/r-1/ou-1/*"}}),
        json!({"StringEquals": {"aws:principalaccount": "111111111111", "sts:ExternalId": "x"}}),
        json!({"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::111111111111:role/*"}}),
        json!({"ArnLike": {"aws:PrincipalArn": "arn:*:iam::111111111111:role/*"}}),
        json!({"StringLike": {"aws:PrincipalArn": ["arn:aws:iam::111111111111:role/a*", "arn:aws:iam::222222222222:user/x"]}}),
        json!({"IpAddress": {"aws:SourceIp": ["203.0.113.0/24", "198.51.100.7", "2001:db8::/32"]}}),
        json!({"StringLike": {"aws:userid": ["AROAEXAMPLEEXAMPLE12:*", "AIDAEXAMPLEEXAMPLE12", "111111111111"]}}),
        json!({"StringEquals": {"aws:SourceVpce": "vpce-1a2b3c4d"}}),
        json!({"StringEquals": {"aws:SourceAccount": "111111111111"}}),
    ] {
        assert_eq!(
            findings(&everybody(&json!("*"), &narrow), Place::Trust),
            [""; 0],
            "{narrow}"
        );
    }
    let deny = json!({"Effect": "Deny", "Action": "sts:AssumeRole", "Principal": "*"});
    assert_eq!(findings(&deny, Place::Trust), [""; 0]);
}

#[test]
fn a_statement_for_an_identity_provider_must_fix_the_owner_of_the_token() {
    const GITHUB: &str = "token.actions.githubusercontent.com";
    const EKS: &str = "oidc.eks.eu-west-1.amazonaws.com/id/ABCDEF0123456789";
    let statement = |issuer: &str, operator: &str, conditions: &[(&str, &str)]| {
        let provider =
            if issuer.contains("cognito") || issuer.starts_with("www.") || issuer.starts_with("graph.") {
                issuer.to_owned()
            } else {
                format!("arn:aws:iam::111111111111:oidc-provider/{issuer}")
            };
        let keys: Map<String, Value> = conditions
            .iter()
            .map(|(claim, value)| (format!("{issuer}:{claim}"), json!(value)))
            .collect();
        json!({"Effect": "Allow", "Action": ["sts:AssumeRoleWithWebIdentity", "sts:TagSession"], "Principal": {"Federated": provider}, "Condition": {operator: keys}})
    };
    for (issuer, operator, conditions) in [
        (GITHUB, "StringEquals", &[("aud", "sts.amazonaws.com")][..]),
        (GITHUB, "StringLike", &[("sub", "*")]),
        (GITHUB, "StringLike", &[("sub", "repo:*")]),
        (GITHUB, "StringLike", &[("sub", "repo:*/infra:*")]),
        (GITHUB, "StringLike", &[("sub", "repo:acme*")]),
        (GITHUB, "StringLike", &[("sub", "*:ref:refs/heads/main")]),
        (GITHUB, "StringLike", &[("sub", "environment:prod:*")]),
        (GITHUB, "StringEquals", &[("sub", "repo:*")]),
        (
            GITHUB,
            "StringEqualsIfExists",
            &[("sub", "repo:acme/infra:ref:refs/heads/main")],
        ),
        (
            GITHUB,
            "ForAllValues:StringEquals",
            &[("sub", "repo:acme/infra:ref:refs/heads/main")],
        ),
        (GITHUB, "StringNotLike", &[("sub", "repo:evil/*")]),
        // AWS wants sub to be evaluated, too.
        (GITHUB, "StringEquals", &[("repository_owner_id", "123456")]),
        ("gitlab.com", "StringEquals", &[("aud", "https://gitlab.com")]),
        ("gitlab.com", "StringLike", &[("sub", "project_path:*")]),
        (
            "gitlab.example.com",
            "StringEquals",
            &[("aud", "https://gitlab.example.com")],
        ),
        (EKS, "StringEquals", &[("aud", "sts.amazonaws.com")]),
        (EKS, "StringLike", &[("sub", "system:serviceaccount:*")]),
        (EKS, "StringLike", &[("sub", "system:serviceaccount:*:app")]),
        (EKS, "StringLike", &[("sub", "system:serviceaccount:team*")]),
        ("app.terraform.io", "StringLike", &[("sub", "organization:*")]),
        (
            "kubernetes.example.com",
            "StringEquals",
            &[("aud", "sts.amazonaws.com")],
        ),
        (
            "cognito-identity.amazonaws.com",
            "StringLike",
            &[("amr", "authenticated")],
        ),
        ("accounts.google.com", "StringLike", &[("aud", "*")]),
    ] {
        let found = findings(&statement(issuer, operator, conditions), Place::Trust);
        let says =
            format!("error: Statement[0] lets every user of the identity provider {issuer} assume the role");
        assert!(
            found.first().is_some_and(|first| first.starts_with(&says)),
            "{issuer} {operator} {conditions:?}: {found:?}"
        );
    }
    for (issuer, operator, conditions) in [
        (
            GITHUB,
            "StringLike",
            &[("aud", "sts.amazonaws.com"), ("sub", "repo:acme/infra:*")][..],
        ),
        (GITHUB, "StringLike", &[("sub", "repo:acme/*")]),
        (
            GITHUB,
            "StringEquals",
            &[("sub", "repo:acme/infra:environment:prod")],
        ),
        (GITHUB, "StringLike", &[("sub", "repository_owner_id:123456:*")]),
        (
            GITHUB,
            "StringLike",
            &[("sub", "repo:*"), ("repository_owner_id", "123456")],
        ),
        ("gitlab.com", "StringLike", &[("sub", "project_path:acme/*")]),
        (EKS, "StringEquals", &[("sub", "system:serviceaccount:team:app")]),
        (EKS, "StringLike", &[("sub", "system:serviceaccount:team:*")]),
        (
            "app.terraform.io",
            "StringLike",
            &[("sub", "organization:acme:project:*:workspace:*:run_phase:*")],
        ),
        (
            "oidc.vercel.com",
            "StringEquals",
            &[("aud", "https://vercel.com/acme")],
        ),
        (
            "cognito-identity.amazonaws.com",
            "StringEquals",
            &[("aud", "eu-west-1:12345678-abcd-abcd-abcd-123456790ab")],
        ),
        (
            "accounts.google.com",
            "StringEquals",
            &[("aud", "66677788899900pro0")],
        ),
        (
            "www.amazon.com",
            "StringEquals",
            &[("app_id", "amzn1.application-oa2-123456")],
        ),
        (
            "graph.facebook.com",
            "StringEquals",
            &[("app_id", "111222333444555")],
        ),
        ("login.example.com", "StringEquals", &[("sub", "00u1abcd")]),
        (
            "kubernetes.example.com",
            "StringEquals",
            &[("sub", "system:serviceaccount:team:app")],
        ),
    ] {
        let found = findings(&statement(issuer, operator, conditions), Place::Trust);
        assert_eq!(found, [""; 0], "{issuer} {operator} {conditions:?}");
    }
    let private = statement("login.example.com/oauth2", "StringEquals", &[("aud", "0oa1abcd")]);
    assert_eq!(
        findings(&private, Place::Trust),
        [
            "warning: Statement[0] lets every user of one application of login.example.com/oauth2 assume the role: add a Condition on login.example.com/oauth2:sub"
        ]
    );
    let mut every_action = statement(GITHUB, "StringEquals", &[("aud", "sts.amazonaws.com")]);
    for action in ["sts:*", "sts:AssumeRoleWith*", "*"] {
        every_action["Action"] = json!(action);
        assert!(
            findings(&every_action, Place::Trust)[0].starts_with("error: "),
            "{action}"
        );
    }
}

#[test]
fn an_element_that_a_template_emptied_is_an_error_for_an_author_and_is_read_from_aws() {
    let with = |condition: Value| json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*", "Condition": condition}]});
    for (condition, says) in [
        (
            json!({"StringLike": {}}),
            "Statement[0].Condition.StringLike has no condition key, so it restricts nothing: write the key, or remove the operator",
        ),
        (
            json!({"StringLike": {"k": []}}),
            "Statement[0].Condition.StringLike.k has no value: write one, or remove the key",
        ),
        (
            json!({"StringLike": {"k": null}}),
            "Statement[0].Condition.StringLike.k has no value: write one, or remove the key",
        ),
        (
            json!({"StringLike": null}),
            "Statement[0].Condition.StringLike is not an object",
        ),
        (json!(null), "Statement[0].Condition is not an object"),
        (
            json!({"StringEquals": {"sts:ExternalId": 1.1}}),
            "Statement[0].Condition.StringEquals.sts:ExternalId holds 1.1 without quotes, and YAML may have changed what was written (a leading zero, 1.10, 0x1F, yes): quote it",
        ),
        (
            json!({"StringEquals": {"aws:PrincipalAccount": [1_402_433_619]}}),
            "Statement[0].Condition.StringEquals.aws:PrincipalAccount holds 1402433619 without quotes, and YAML may have changed what was written (a leading zero, 1.10, 0x1F, yes): quote it",
        ),
        (
            json!({"ForAnyValue:ArnLikeIfExists": {"aws:PrincipalArn": true}}),
            "Statement[0].Condition.ForAnyValue:ArnLikeIfExists.aws:PrincipalArn holds true without quotes, and YAML may have changed what was written (a leading zero, 1.10, 0x1F, yes): quote it",
        ),
    ] {
        let found = lint_value(&with(condition.clone()), Place::Identity);
        let errors: Vec<String> = found
            .iter()
            .filter(|f| f.severity == Severity::Error)
            .map(ToString::to_string)
            .collect();
        assert_eq!(errors, [says], "{condition}");
    }
    let lower = json!({"Version": "2012-10-17", "Statement": [{"Effect": "allow", "Action": "s3:*", "Resource": "*"}]});
    assert_eq!(
        lint_value(&lower, Place::Identity)[0].to_string(),
        "Statement[0].Effect is \"allow\", which AWS refuses: write Allow"
    );
    // Numbers and booleans are what these operators compare.
    let typed = with(
        json!({"Bool": {"aws:SecureTransport": true}, "NumericLessThan": {"s3:max-keys": 10}, "DateLessThan": {"aws:CurrentTime": 1_767_312_000}}),
    );
    assert!(lint_value(&typed, Place::Identity).is_empty());
    for from_aws in [
        with(json!({"StringLike": {}})),
        with(json!({"StringLike": {"k": []}})),
        with(json!({"StringEquals": {"sts:ExternalId": 1.1}})),
        lower,
    ] {
        assert!(PolicyDocument::from_value(&from_aws).is_ok(), "{from_aws}");
    }
    assert_eq!(
        findings(&with(json!({}))["Statement"], Place::Identity),
        [
            "warning: Statement[0].Condition is empty and restricts nothing: write the condition that is missing, or remove the element"
        ]
    );
}

#[test]
fn aws_example_policies_with_for_all_values_have_no_warning() {
    for (name, statement) in [
        (
            "external-dns",
            json!({"Effect": "Allow", "Action": "route53:ChangeResourceRecordSets", "Resource": "arn:aws:route53:::hostedzone/*", "Condition": {
                "ForAllValues:StringLike": {"route53:ChangeResourceRecordSetsNormalizedRecordNames": ["*example.com"]},
                "ForAllValues:StringEquals": {"route53:ChangeResourceRecordSetsRecordTypes": ["A", "TXT"], "route53:ChangeResourceRecordSetsActions": ["CREATE", "UPSERT", "DELETE"]}}}),
        ),
        (
            "Karpenter: AllowScopedResourceTagging",
            json!({"Sid": "AllowScopedResourceTagging", "Effect": "Allow", "Action": "ec2:CreateTags", "Resource": "arn:aws:ec2:eu-west-1:*:instance/*", "Condition": {
                "StringEquals": {"aws:ResourceTag/kubernetes.io/cluster/x": "owned"},
                "StringLike": {"aws:ResourceTag/karpenter.sh/nodepool": "*"},
                "StringEqualsIfExists": {"aws:RequestTag/eks:eks-cluster-name": "x"},
                "ForAllValues:StringEquals": {"aws:TagKeys": ["eks:eks-cluster-name", "karpenter.sh/nodeclaim", "Name"]}}}),
        ),
        (
            "a Null condition on the key",
            json!({"Effect": "Allow", "Action": "dynamodb:GetItem", "Resource": "*", "Condition": {
                "ForAllValues:StringEquals": {"dynamodb:LeadingKeys": "x"}, "Null": {"dynamodb:leadingkeys": "false"}}}),
        ),
        (
            "another condition that needs a value",
            json!({"Effect": "Allow", "Action": "dynamodb:GetItem", "Resource": "*", "Condition": {
                "ForAllValues:StringEquals": {"dynamodb:LeadingKeys": "x"}, "ForAnyValue:StringLike": {"dynamodb:LeadingKeys": "*"}}}),
        ),
        (
            "Deny",
            json!({"Effect": "Deny", "Action": "dynamodb:GetItem", "Resource": "*", "Condition": {"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": "x"}}}),
        ),
    ] {
        assert_eq!(findings(&statement, Place::Identity), [""; 0], "{name}");
    }
    for unsafe_still in [
        json!({"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": "x"}, "Null": {"dynamodb:LeadingKeys": "true"}}),
        json!({"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": "x"}, "Null": {"dynamodb:Attributes": "false"}}),
        json!({"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": "x"}, "StringNotEquals": {"dynamodb:LeadingKeys": "y"}}),
        json!({"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": "x"}, "StringLikeIfExists": {"dynamodb:LeadingKeys": "*"}}),
    ] {
        let statement = json!({"Effect": "Allow", "Action": "dynamodb:GetItem", "Resource": "*", "Condition": unsafe_still});
        assert!(
            findings(&statement, Place::Identity)[0]
                .contains("is true also where dynamodb:LeadingKeys is missing"),
            "{statement}"
        );
    }
}

#[test]
fn lint_finds_what_a_permissions_policy_must_not_contain() {
    let with = |key: &str, value: Value| {
        let mut s = json!({"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"});
        s[key] = value;
        s
    };
    for (statement, says) in [
        (
            json!({"Effect": "Allow", "Action": "s3:b"}),
            "error: Statement[0] has no Resource: write one, \"*\" for every resource",
        ),
        (
            with("Resource", json!([])),
            "error: Statement[0].Resource is empty: name at least one resource, \"*\" for every one",
        ),
        (
            with("Resource", json!("my-bucket")),
            "error: Statement[0].Resource holds my-bucket: write an ARN, or \"*\"",
        ),
        (
            with("Principal", json!("*")),
            "error: Statement[0] has a Principal, which belongs into a trust policy only: remove it",
        ),
        (
            with("Action", json!([])),
            "error: Statement[0].Action is empty: name at least one action",
        ),
        (
            with("Sid", json!("a-b")),
            "error: Statement[0].Sid \"a-b\" may hold letters and digits only",
        ),
        (
            with("Condition", json!({"StringEqual": {"k": "v"}})),
            "error: Statement[0].Condition.StringEqual is no condition operator: did you mean StringEquals?",
        ),
        (
            with(
                "Condition",
                json!({"Bool": {"aws:MultiFactorAuthPresnt": "true"}}),
            ),
            "warning: Statement[0].Condition.Bool.aws:MultiFactorAuthPresnt is no global condition key that we know: did you mean aws:MultiFactorAuthPresent?",
        ),
        (
            with(
                "Condition",
                json!({"ForAllValues:StringEquals": {"aws:PrincipalOrgPaths": "x"}}),
            ),
            "warning: Statement[0].Condition.ForAllValues:StringEquals is true also where aws:PrincipalOrgPaths is missing: add a Null condition for the key",
        ),
        (
            with("Condition", json!({"NullIfExists": {"s3:prefix": "true"}})),
            "error: Statement[0].Condition.NullIfExists is no condition operator: Null already asks whether the key exists, so remove IfExists",
        ),
        (
            with(
                "Condition",
                json!({"DateLessThan": {"aws:CurrentTime": "31.01.2026"}}),
            ),
            "error: Statement[0].Condition.DateLessThan.aws:CurrentTime holds \"31.01.2026\": write a date such as 2026-01-31T00:00:00Z, or seconds since 1970",
        ),
        (
            with("Condition", json!({"IpAddress": {"aws:SourceIp": "203.0.113.*"}})),
            "warning: Statement[0].Condition.IpAddress.aws:SourceIp holds \"203.0.113.*\": write an address or a network such as 203.0.113.0/24, because this value never matches",
        ),
        (
            with(
                "Condition",
                json!({"NumericLessThan": {"s3:max-keys": "${aws:x}"}}),
            ),
            "warning: Statement[0].Condition.NumericLessThan.s3:max-keys holds \"${aws:x}\": IAM fills in variables under String and Arn operators only",
        ),
        (
            with("Action", json!("s3:")),
            "error: Statement[0].Action holds \"s3:\", which is no action: write it as service:Action",
        ),
        (
            with("Action", json!(["s3:Get Object", "s3:PutObject"])),
            "error: Statement[0].Action holds \"s3:Get Object\", which is no action: write it as service:Action",
        ),
        (
            json!({"Effect": "Deny", "NotAction": "s3:GetObject\n", "Resource": "*"}),
            "error: Statement[0].NotAction holds \"s3:GetObject\\n\", which is no action: write it as service:Action",
        ),
        (
            with("Resource", json!("arn:aws:s3:::a\n")),
            "error: Statement[0].Resource holds \"arn:aws:s3:::a\\n\" with a line break or another control character: remove it",
        ),
        (
            with("Resource", json!("arn:aws:iam:eu-west-1:111111111111:role/x")),
            "error: Statement[0].Resource holds arn:aws:iam:eu-west-1:111111111111:role/x: IAM has no regions, so write nothing between the colons: arn:aws:iam::111111111111:role/x",
        ),
        (
            with("Resource", json!("arn:aws:sqs:eu-west-1:12345678901:x")),
            "warning: Statement[0].Resource holds arn:aws:sqs:eu-west-1:12345678901:x, which never matches: its account has 11 digits, and an account id has 12",
        ),
        (
            with("Resource", json!("arn:aws:s3:::a/\u{2014}")),
            "error: Statement[0].Resource holds the character \u{2014} (U+2014), which IAM does not take in a policy document: use Latin-1 characters only",
        ),
        (
            with("Sid", json!("Allow reading")),
            "error: Statement[0].Sid \"Allow reading\" may hold letters and digits only",
        ),
        (
            with("Action", json!("iam:PassRole")),
            "warning: Statement[0] lets every role be passed to every service: name the roles in Resource, or add iam:PassedToService",
        ),
        (
            json!({"Effect": "Allow", "Action": "s3:*", "NotResource": "arn:aws:s3:::x"}),
            "warning: Statement[0] allows with NotResource, which takes in every resource that is not listed, also future ones",
        ),
    ] {
        assert_eq!(findings(&statement, Place::Identity), [says]);
    }
    let twice = json!([with("Sid", json!("A")), with("Sid", json!("A"))]);
    assert_eq!(
        findings(&twice, Place::Identity),
        ["error: Statement[1].Sid \"A\" occurs twice: give each statement its own"]
    );
    let old = json!({"Statement": with("Resource", json!("arn:aws:s3:::home/${aws:username}"))});
    assert_eq!(
        lint_value(&old, Place::Identity)[0].to_string(),
        "Statement[0] uses ${...}, which IAM fills in only with \"Version\": \"2012-10-17\": write that Version"
    );
    for (empty, says) in [
        (json!({}), "has no Statement"),
        (
            json!({"Statement": []}),
            "Statement is empty: write at least one statement",
        ),
        (
            json!({"Version": "2012", "Statement": with("Sid", json!("A"))}),
            "Version is \"2012\": write \"2012-10-17\"",
        ),
    ] {
        assert_eq!(lint_value(&empty, Place::Identity)[0].to_string(), says);
    }
}

/// The content of a generated statement: sets of names, from which every notation of it can be written.
#[derive(Clone, Debug, PartialEq)]
struct Said {
    sid: Option<String>,
    allow: bool,
    principal: Option<(bool, Vec<String>)>,
    action: (bool, Vec<String>),
    resource: Option<(bool, Vec<String>)>,
    condition: Option<(String, String, Vec<String>)>,
}

const ACTIONS: &[&str] = &["s3:GetObject", "s3:PutObject", "sts:AssumeRole", "ec2:Run*", "*"];
const RESOURCES: &[&str] = &[
    "*",
    "arn:aws:s3:::a",
    "arn:aws:s3:::A",
    "arn:aws:s3:::a/*",
    "arn:aws:s3:::ü",
];
const ACCOUNTS: &[&str] = &[
    "*",
    "111111111111",
    "222222222222",
    "arn:aws:iam::111111111111:role/x",
];
const VALUES: &[&str] = &["a", "A", "true", "5", "10.0.0.0/8"];

fn said() -> impl Strategy<Value = Said> {
    let names = |of: &'static [&'static str]| {
        subsequence(of, 1..=of.len()).prop_map(|v| v.into_iter().map(str::to_owned).collect::<Vec<_>>())
    };
    let operator = prop::sample::select(
        &[
            "StringEquals",
            "StringLike",
            "ArnLike",
            "ForAnyValue:StringEquals",
            "StringEqualsIfExists",
        ][..],
    );
    let key = prop::sample::select(&["aws:PrincipalOrgID", "aws:SourceIp", "s3:prefix"][..]);
    let condition = (operator, key, names(VALUES)).prop_map(|(o, k, v)| (o.to_owned(), k.to_owned(), v));
    (
        prop::option::of("[A-Za-z]{1,3}"),
        any::<bool>(),
        prop::option::of((any::<bool>(), names(ACCOUNTS))),
        (any::<bool>(), names(ACTIONS)),
        prop::option::of((any::<bool>(), names(RESOURCES))),
        prop::option::of(condition),
    )
        .prop_map(|(sid, allow, principal, action, resource, condition)| Said {
            sid,
            allow,
            principal,
            action,
            resource,
            condition,
        })
}

/// Writes it down in one of the many ways, as `dice` fall.
fn written(said: &Said, dice: &mut impl FnMut(usize) -> usize) -> Value {
    let case = |text: &str, dice: &mut dyn FnMut(usize) -> usize| match dice(3) {
        0 => text.to_owned(),
        1 => text.to_ascii_lowercase(),
        _ => text.to_ascii_uppercase(),
    };
    let wrapped = |mut list: Vec<String>, dice: &mut dyn FnMut(usize) -> usize| {
        let turn = dice(list.len());
        list.rotate_left(turn);
        if list.len() == 1 && dice(2) == 0 {
            return json!(list[0]);
        }
        if dice(2) == 0 {
            list.push(list[0].clone());
        }
        json!(list)
    };
    let mut map = Map::new();
    if let Some(sid) = &said.sid {
        map.insert("Sid".into(), json!(sid));
    } else if dice(2) == 0 {
        map.insert("Sid".into(), json!(""));
    }
    map.insert(
        "Effect".into(),
        json!(case(if said.allow { "Allow" } else { "Deny" }, dice)),
    );
    if let Some((not, accounts)) = &said.principal {
        let root = |a: &String, long: bool| {
            if long && a.len() == 12 {
                format!("arn:aws:iam::{a}:root")
            } else {
                a.clone()
            }
        };
        let accounts = accounts.iter().map(|a| root(a, dice(2) == 0)).collect();
        map.insert(
            if *not { "NotPrincipal" } else { "Principal" }.into(),
            json!({"AWS": wrapped(accounts, dice)}),
        );
    } else if dice(2) == 0 {
        map.insert("Principal".into(), json!({"AWS": []}));
    }
    let (not, actions) = &said.action;
    let actions = actions.iter().map(|a| case(a, dice)).collect();
    map.insert(
        if *not { "NotAction" } else { "Action" }.into(),
        wrapped(actions, dice),
    );
    if let Some((not, resources)) = &said.resource {
        map.insert(
            if *not { "NotResource" } else { "Resource" }.into(),
            wrapped(resources.clone(), dice),
        );
    }
    if let Some((operator, key, values)) = &said.condition {
        let (operator, key) = (case(operator, dice), case(key, dice));
        map.insert(
            "Condition".into(),
            json!({operator: {key: wrapped(values.clone(), dice)}}),
        );
    }
    Value::Object(map)
}

fn document(all: &[Said], dice: &[Index]) -> PolicyDocument {
    let mut fallen = dice.iter().cycle();
    let mut roll = |sides: usize| fallen.next().map_or(0, |d| d.index(sides));
    let mut statements: Vec<Value> = all.iter().map(|s| written(s, &mut roll)).collect();
    if !statements.is_empty() {
        let turn = roll(statements.len());
        statements.rotate_left(turn);
        if roll(2) == 0 {
            statements.push(statements[0].clone());
        }
    }
    doc(&json!(statements))
}

fn dice() -> impl Strategy<Value = Vec<Index>> {
    prop::collection::vec(any::<Index>(), 17)
}

/// JSON of any shape, with the words of the grammar among its keys and values.
fn any_json() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(
        &[
            "Version",
            "Id",
            "Statement",
            "Sid",
            "Effect",
            "Principal",
            "NotPrincipal",
            "Action",
            "NotAction",
            "Resource",
            "NotResource",
            "Condition",
            "AWS",
            "Service",
            "Federated",
            "Allow",
            "Deny",
            "*",
            "2012-10-17",
            "StringLike",
            "ForAllValues:StringEquals",
            "NullIfExists",
            "DateLessThan",
            "IpAddress",
            "aws:SourceIp",
            "aws:PrincipalArn",
            "arn:aws:iam::1:x",
            "arn:",
            "sts:AssumeRoleWithWebIdentity",
            "é:",
            "${",
            "$(",
            "token.actions.githubusercontent.com",
            "token.actions.githubusercontent.com:sub",
            "repo:",
            "accounts.google.com:",
        ][..],
    )
    .prop_map(str::to_owned);
    let text = prop_oneof![4 => word, 1 => "\\PC{0,12}"];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((text.clone(), inner), 0..6)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_is_read_without_a_panic_and_its_message_is_bounded(value in any_json(), statement in any_json(), condition in any_json()) {
        let mut document = json!({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "sts:*", "Principal": {"Federated": statement, "AWS": condition}, "Condition": condition}});
        for value in [&value, &document] {
            for place in [Place::Trust, Place::Identity] {
                let (read, found) = lint::read(value, place, Some("aws"));
                prop_assert!(read.is_some() || !found.is_empty());
                let problems = found.into_iter().map(|f| f.problem).collect();
                prop_assert!(PolicyError(problems).to_string().len() <= bounded::MESSAGE);
            }
            if let Ok(document) = PolicyDocument::from_value(value) {
                let again = Document::parse(&document.pretty()).unwrap();
                prop_assert_eq!(again.canonical(), &document, "the canonical form is a fixed point");
            }
        }
        // What a linter accepts, the reader of AWS's answers accepts, too.
        document["Statement"]["Condition"] = value;
        if lint::read(&document, Place::Trust, None).0.is_some() {
            prop_assert!(PolicyDocument::from_value(&document).is_ok());
        }
    }

    #[test]
    fn any_text_is_read_without_a_panic(text in "\\PC{0,200}") {
        if let Err(error) = Document::parse(&text) {
            prop_assert!(error.to_string().len() <= bounded::MESSAGE);
        }
    }

    #[test]
    fn any_two_documents_have_a_bounded_difference(one in any_json(), other in any_json(), all in prop::collection::vec(said(), 0..4), d in dice()) {
        let known = document(&all, &d);
        let odd = |value: Value| {
            let statement = json!({"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"StringLike": {"aws:x": value}}});
            PolicyDocument::from_value(&json!({"Statement": [statement, value]})).ok()
        };
        let documents: Vec<PolicyDocument> = [odd(one), odd(other)].into_iter().flatten().chain([known]).collect();
        for from in &documents {
            for to in &documents {
                let lines = from.diff(to);
                prop_assert_eq!(lines.is_empty(), from == to);
                let shown: usize = lines.iter().map(|line| line.text.len()).sum();
                prop_assert!(shown <= 4 * (from.pretty().len() + to.pretty().len()), "{} bytes", shown);
            }
        }
    }

    #[test]
    fn any_shuffle_rewrapping_or_recasing_of_a_document_is_equal(all in prop::collection::vec(said(), 0..4), a in dice(), b in dice()) {
        let (one, other) = (document(&all, &a), document(&all, &b));
        prop_assert_eq!(&one, &other);
        prop_assert!(one.diff(&other).is_empty());
    }

    #[test]
    fn any_change_in_meaning_makes_another_document(a in said(), b in said(), rest in prop::collection::vec(said(), 0..3), d in dice()) {
        // `*` among accounts and case of Sids are kept apart by value, so what is said decides.
        let with = |one: &Said| document(&[std::slice::from_ref(one), rest.as_slice()].concat(), &d);
        let (x, y) = (with(&a), with(&b));
        let same = a == b || (rest.contains(&a) && rest.contains(&b));
        prop_assert_eq!(x == y, same);
        prop_assert_eq!(x.diff(&y).is_empty(), same, "a diff is empty exactly where nothing differs");
        prop_assert_eq!(x.cmp(&y) == Ordering::Equal, same, "order agrees with equality");
    }

    #[test]
    fn canonicalising_twice_changes_nothing(all in prop::collection::vec(said(), 0..4), d in dice()) {
        let once = document(&all, &d);
        let text = once.pretty();
        let again = Document::parse(&text).unwrap();
        prop_assert_eq!(again.canonical(), &once);
        prop_assert_eq!(again.canonical().pretty(), text);
    }
}
