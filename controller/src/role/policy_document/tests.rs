//! Equality by meaning: tables for the rules, properties for the rest.

use proptest::prelude::*;
use proptest::sample::{Index, subsequence};
use serde_json::{Map, json};

use super::lint::{Place, Severity, lint_value};
use super::*;

fn doc(statement: &Value) -> PolicyDocument {
    PolicyDocument::from_value(&json!({"Version": "2012-10-17", "Statement": statement})).unwrap()
}

fn error(value: &Value) -> String {
    PolicyDocument::from_value(value).unwrap_err().to_string()
}

#[test]
fn documents_that_mean_the_same_are_equal() {
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
fn documents_that_differ_in_meaning_are_not_equal() {
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
fn a_broken_document_says_where_and_what() {
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
            "Statement[0].Action holds 1, which is not a string",
        ),
        (
            with(json!({"Effect": "Allow", "Action": "a:b", "NotAction": "a:c"})),
            "Statement[0].NotAction stands beside its opposite: keep one of the two",
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
            "Statement[0].Condition.Bool.k stands there twice in different case: keep one of the two",
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
fn a_deleted_principal_is_known_by_its_unique_id() {
    let d = doc(
        &json!({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": ["AROAEXAMPLEEXAMPLE12", "111111111111"]}}),
    );
    assert_eq!(
        d.deleted_principals().collect::<Vec<_>>(),
        ["AROAEXAMPLEEXAMPLE12"]
    );
}

#[test]
fn a_diff_names_the_statement_and_what_of_it_changes() {
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
            "    + Sid New",
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
fn the_canonical_text_is_what_a_person_would_write() {
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
fn lint_says_what_may_not_stand_in_a_trust_policy() {
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
            "error: Statement[0] allows all but NotPrincipal, which is nearly everybody: name who may in Principal, or use Deny",
        ),
        (
            trusts(json!("*")),
            "error: Statement[0] lets everybody in the world assume the role: name principals, or add a Condition such as aws:PrincipalOrgID",
        ),
        (
            trusts(json!({"AWS": ["*"]})),
            "error: Statement[0] lets everybody in the world assume the role: name principals, or add a Condition such as aws:PrincipalOrgID",
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
    ] {
        assert_eq!(findings(&statement, Place::Trust), [says]);
    }
    let everybody = |condition: Value| json!({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": "*", "Condition": condition});
    for met_by_anybody in [
        json!({"ForAllValues:StringEquals": {"aws:PrincipalOrgPaths": "o-1/*"}, "Null": {"aws:x": "true"}}),
        json!({"StringEqualsIfExists": {"aws:PrincipalOrgID": "o-1"}}),
        json!({"StringNotEquals": {"aws:PrincipalOrgID": "o-1"}}),
        json!({"Bool": {"aws:SecureTransport": "true"}}),
        json!({"StringLike": {"aws:PrincipalArn": "*"}}),
    ] {
        let found = findings(&everybody(met_by_anybody.clone()), Place::Trust);
        assert!(
            found[0].contains("lets everybody in the world"),
            "{met_by_anybody}: {found:?}"
        );
    }
    let oidc = json!({"Effect": "Allow", "Action": "sts:AssumeRoleWithWebIdentity", "Principal": {"Federated": "arn:aws:iam::111111111111:oidc-provider/token.actions.githubusercontent.com"}});
    assert!(findings(&oidc, Place::Trust)[0].contains("every user of the identity provider"));
    for fine in [
        trusts(json!({"Service": "ec2.amazonaws.com"})),
        trusts(
            json!({"AWS": ["111111111111", "arn:aws:iam::222222222222:role/x"], "Federated": "cognito-identity.amazonaws.com"}),
        ),
        json!({"Effect": "Deny", "Action": "sts:*", "NotPrincipal": {"AWS": "111111111111"}}),
        json!({"Effect": "Allow", "Action": ["sts:AssumeRole", "sts:TagSession"], "Principal": "*", "Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-1"}}}),
    ] {
        assert_eq!(findings(&fine, Place::Trust), [""; 0], "{fine}");
    }
}

#[test]
fn lint_says_what_may_not_stand_in_a_permissions_policy() {
    let with = |key: &str, value: Value| {
        let mut s = json!({"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"});
        s[key] = value;
        s
    };
    for (statement, says) in [
        (
            json!({"Effect": "Allow", "Action": "a:b"}),
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
                json!({"ForAllValues:StringEquals": {"aws:TagKeys": "x"}}),
            ),
            "warning: Statement[0].Condition.ForAllValues:StringEquals is true also where the key is missing: add a Null condition for the key",
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
        ["error: Statement[1].Sid \"A\" stands there twice: give each statement its own"]
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

/// What a generated statement says: sets of names, out of which any way to write it can be made.
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

proptest! {
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
