//! Inclusion against an evaluator of its own, which looks at every request of a small world.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Inclusion, Policies, Unread, inclusion, inclusion_of};
use crate::glob::matches;
use crate::policy::PolicyDocument;

fn document(statements: &Value) -> PolicyDocument {
    PolicyDocument::from_value(&json!({"Version": "2012-10-17", "Statement": statements})).unwrap()
}

fn compared(outer: &Value, inner: &Value) -> Inclusion {
    inclusion(&document(outer), &document(inner), Some("111111111111"))
}

fn allow(action: &str, resource: &str) -> Value {
    json!({"Effect": "Allow", "Action": action, "Resource": resource})
}

#[test]
fn a_document_includes_itself_and_what_is_narrower() {
    let read = json!([{"Sid": "Read", "Effect": "Allow", "Action": ["s3:GetObject", "s3:List*"], "Resource": "arn:aws:s3:::logs/*"}]);
    for (outer, inner, is_shown) in [
        (read.clone(), read.clone(), true),
        (json!([allow("*", "*")]), read.clone(), true),
        (json!([allow("s3:*", "arn:aws:s3:::*")]), read.clone(), true),
        (
            read.clone(),
            json!([allow("s3:getobject", "arn:aws:s3:::logs/2026/*")]),
            true,
        ),
        (
            read.clone(),
            json!([allow("s3:PutObject", "arn:aws:s3:::logs/*")]),
            false,
        ),
        (
            read.clone(),
            json!([allow("s3:GetObject", "arn:aws:s3:::*")]),
            false,
        ),
        // Two statements of the outer document together.
        (
            json!([allow("s3:GetObject", "*"), allow("s3:PutObject", "*")]),
            json!([{"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": "*"}]),
            true,
        ),
        // What is denied is not allowed.
        (
            read.clone(),
            json!([allow("s3:*", "arn:aws:s3:::logs/*"), {"Effect": "Deny", "Action": ["s3:*"], "Resource": "*"}]),
            true,
        ),
        // A Deny that is missing.
        (
            json!([allow("s3:*", "*"), {"Sid": "No", "Effect": "Deny", "Action": "s3:DeleteObject", "Resource": "*"}]),
            json!([allow("s3:*", "*")]),
            false,
        ),
        (
            json!([allow("s3:*", "*"), {"Sid": "No", "Effect": "Deny", "Action": "s3:DeleteObject", "Resource": "*"}]),
            json!([allow("s3:GetObject", "*")]),
            true,
        ),
        (
            json!([{"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}]),
            json!([allow("s3:*", "*")]),
            true,
        ),
        (
            json!([{"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}]),
            json!([allow("*", "*")]),
            false,
        ),
        (
            json!([{"Effect": "Allow", "NotAction": "iam:Delete*", "Resource": "*"}]),
            json!([{"Effect": "Allow", "NotAction": ["iam:*", "s3:*"], "Resource": "*"}]),
            true,
        ),
    ] {
        let found = compared(&outer, &inner);
        assert_eq!(found.is_shown(), is_shown, "{outer} {inner}: {found:?}");
    }
}

#[test]
fn an_atom_that_may_be_more_is_named_with_its_statement_and_the_reason() {
    let outer = json!([allow("s3:GetObject", "arn:aws:s3:::logs/*")]);
    let inner = json!([{"Sid": "Write", "Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": "arn:aws:s3:::logs/*"}]);
    let found = compared(&outer, &inner);
    assert_eq!(found.count, 1);
    assert_eq!(
        found.excess.first().unwrap().to_string(),
        "statement Write: s3:PutObject on arn:aws:s3:::logs/*: no statement of the outer document is shown to allow it"
    );
}

#[test]
fn a_trust_policy_is_wider_with_fewer_conditions_and_with_a_principal_of_the_roles_own_account() {
    let trust = |principal: Value, condition: Value| json!([{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": principal, "Condition": condition}]);
    let mfa = json!({"Bool": {"aws:MultiFactorAuthPresent": "true"}});
    let other = json!({"AWS": "arn:aws:iam::222222222222:root"});
    let own = json!({"AWS": "arn:aws:iam::111111111111:root"});
    let role = |account: &str| json!({"AWS": format!("arn:aws:iam::{account}:role/ci")});
    for (outer, inner, is_shown) in [
        (
            trust(other.clone(), json!({})),
            trust(other.clone(), mfa.clone()),
            true,
        ),
        (
            trust(other.clone(), mfa.clone()),
            trust(other.clone(), json!({})),
            false,
        ),
        (
            trust(other.clone(), mfa.clone()),
            trust(
                other.clone(),
                json!({"BoolIfExists": {"aws:MultiFactorAuthPresent": "true"}}),
            ),
            false,
        ),
        (
            trust(other.clone(), json!({})),
            trust(role("222222222222"), json!({})),
            true,
        ),
        (
            trust(own.clone(), json!({})),
            trust(role("111111111111"), json!({})),
            false,
        ),
        (
            trust(other.clone(), json!({})),
            trust(json!("*"), json!({})),
            false,
        ),
        (trust(json!("*"), json!({})), trust(own, mfa), true),
    ] {
        let found = compared(&outer, &inner);
        assert_eq!(found.is_shown(), is_shown, "{outer} {inner}: {found:?}");
    }
}

#[test]
fn a_variable_is_compared_in_documents_of_one_version_only() {
    let with = |version: &str, resource: &str| {
        let statement = allow("s3:GetObject", resource);
        PolicyDocument::from_value(&json!({"Version": version, "Statement": [statement]})).unwrap()
    };
    let variable = "arn:aws:s3:::home/${aws:username}/*";
    let shown = |outer: &PolicyDocument, inner: &PolicyDocument| inclusion(outer, inner, None).is_shown();
    assert!(shown(
        &with("2012-10-17", "arn:aws:s3:::home/*"),
        &with("2012-10-17", variable)
    ));
    assert!(shown(
        &with("2012-10-17", variable),
        &with("2012-10-17", "arn:aws:s3:::home/${aws:UserName}/x")
    ));
    assert!(!shown(
        &with("2012-10-17", variable),
        &with("2012-10-17", "arn:aws:s3:::home/x/y")
    ));
    assert!(!shown(
        &with("2012-10-17", "arn:aws:s3:::home/*"),
        &with("2008-10-17", variable)
    ));
    // Without a variable the version makes no difference.
    assert!(shown(
        &with("2012-10-17", "arn:aws:s3:::*"),
        &with("2008-10-17", "arn:aws:s3:::x")
    ));
}

#[test]
fn a_missing_policy_counts_where_a_variable_of_one_version_seems_to_deny_the_text_of_another() {
    let statement = |effect: &str| json!({"Effect": effect, "Action": "s3:GetObject", "Resource": "arn:aws:s3:::${aws:username}"});
    let of = |version: &str, effect: &str| {
        PolicyDocument::from_value(&json!({"Version": version, "Statement": [statement(effect)]})).unwrap()
    };
    let (allow, deny) = (of("2008-10-17", "Allow"), of("2012-10-17", "Deny"));
    let inner = Policies {
        called: "the inner side",
        documents: vec![(None, &deny), (None, &allow)],
        unread: vec![],
    };
    let mut outer = inner.clone();
    outer.unread.push(Unread {
        name: "denies",
        may_allow: false,
        may_deny: true,
    });
    assert!(!inclusion_of(&outer, &inner, None).is_shown());
    assert!(inclusion_of(&inner, &inner, None).is_shown());
}

#[test]
fn a_deny_is_not_missing_where_conditions_exclude_what_it_denies() {
    let with = |effect: &str, condition: Value| json!({"Effect": effect, "Action": "*", "Resource": "*", "Condition": condition});
    let region = |operator: &str, values: Value| json!({operator: {"aws:RequestedRegion": values}});
    for (deny, allowed, is_shown) in [
        (
            region("StringNotEquals", json!(["eu-west-1", "eu-central-1"])),
            region("StringEquals", json!("eu-west-1")),
            true,
        ),
        (
            region("StringNotEquals", json!(["eu-west-1"])),
            region("StringEquals", json!(["eu-west-1", "us-east-1"])),
            false,
        ),
        (
            region("StringNotLike", json!("eu-*")),
            region("StringEquals", json!("eu-west-1")),
            true,
        ),
        // A request without the key meets both.
        (
            region("StringNotEquals", json!("eu-west-1")),
            region("StringEqualsIfExists", json!("eu-west-1")),
            false,
        ),
        (
            json!({"BoolIfExists": {"aws:MultiFactorAuthPresent": "false"}}),
            json!({"Bool": {"aws:MultiFactorAuthPresent": "true"}}),
            true,
        ),
        (
            json!({"Null": {"aws:RequestTag/owner": "true"}}),
            json!({"StringEquals": {"aws:RequestTag/owner": "a"}}),
            true,
        ),
        // A key that may have several values meets both.
        (
            json!({"StringNotEquals": {"s3:any": "a"}}),
            json!({"StringEquals": {"s3:any": "a"}}),
            false,
        ),
    ] {
        let outer = json!([allow("*", "*"), with("Deny", deny)]);
        let inner = json!([with("Allow", allowed)]);
        let found = compared(&outer, &inner);
        assert_eq!(found.is_shown(), is_shown, "{outer} {inner}: {found:?}");
    }
}

#[test]
fn documents_that_are_too_large_are_not_compared() {
    let many: Vec<String> = (0..300).map(|n| format!("s3:Get{n}")).collect();
    let places: Vec<String> = (0..300).map(|n| format!("arn:aws:s3:::b{n}")).collect();
    let large = json!([{"Effect": "Allow", "Action": many, "Resource": places}]);
    let found = compared(&json!([allow("*", "*")]), &large);
    assert!(!found.is_shown() && found.count == 1, "{found:?}");
}

const ACTIONS: [&str; 7] = ["*", "s:*", "s:a", "s:b", "s:?", "t:a", "*:a"];
const RESOURCES: [&str; 7] = [
    "*",
    "arn:x:s:::*",
    "arn:x:s:::a",
    "arn:x:s:::a*",
    "arn:x:s:::?",
    "arn:x:s:::*b",
    "arn:x:*:::a",
];
const OPERATORS: [&str; 6] = [
    "StringEquals",
    "StringNotEquals",
    "StringLike",
    "StringNotLike",
    "StringEqualsIfExists",
    "StringNotEqualsIfExists",
];
const VALUES: [&str; 5] = ["x", "xy", "x*", "?", "y"];

fn some(all: &'static [&'static str]) -> impl Strategy<Value = Vec<&'static str>> {
    prop::collection::vec(prop::sample::select(all), 1..3)
}

fn statement() -> impl Strategy<Value = Value> {
    let condition = prop::option::of((prop::sample::select(&OPERATORS[..]), some(&VALUES)));
    let parts = (
        prop::bool::weighted(0.3),
        any::<bool>(),
        some(&ACTIONS),
        prop::bool::weighted(0.2),
        some(&RESOURCES),
        prop::bool::weighted(0.2),
        condition,
    );
    parts.prop_map(
        |(is_deny, _, actions, not_action, resources, not_resource, condition)| {
            let mut statement = json!({"Effect": if is_deny { "Deny" } else { "Allow" }});
            statement[if not_action { "NotAction" } else { "Action" }] = json!(actions);
            statement[if not_resource { "NotResource" } else { "Resource" }] = json!(resources);
            if let Some((operator, values)) = condition {
                statement["Condition"] = json!({operator: {"k": values}});
            }
            statement
        },
    )
}

pub(crate) fn statements() -> impl Strategy<Value = Value> {
    prop::collection::vec(statement(), 0..4).prop_map(Value::from)
}

/// A request: an action, a resource, and the value of the only condition key.
pub(crate) type Request = (&'static str, &'static str, Option<&'static str>);

pub(crate) fn requests() -> Vec<Request> {
    let mut all = vec![];
    for action in ["s:a", "s:b", "s:cc", "t:a", "t:b"] {
        for resource in [
            "arn:x:s:::a",
            "arn:x:s:::b",
            "arn:x:s:::ab",
            "arn:x:s:::c",
            "arn:x:t:::a",
        ] {
            for value in [None, Some("x"), Some("xy"), Some("y"), Some("x*")] {
                all.push((action, resource, value));
            }
        }
    }
    all
}

fn has(list: &Value, text: &str) -> bool {
    list.as_array()
        .unwrap()
        .iter()
        .any(|pattern| matches(pattern.as_str().unwrap(), text))
}

pub(crate) fn is_matched(statement: &Value, (action, resource, value): Request) -> bool {
    let element = |only: &str, all_but: &str, text: &str| match statement.get(only) {
        Some(list) => has(list, text),
        None => !has(&statement[all_but], text),
    };
    let condition = statement.get("Condition").is_none_or(|condition| {
        let (operator, keys) = condition.as_object().unwrap().iter().next().unwrap();
        let values = keys["k"].as_array().unwrap();
        let Some(value) = value else {
            return operator.ends_with("IfExists") || operator.contains("Not");
        };
        let is_like = operator.contains("Like");
        let equals = values.iter().any(|wanted| {
            let wanted = wanted.as_str().unwrap();
            if is_like {
                matches(wanted, value)
            } else {
                wanted == value
            }
        });
        equals != operator.contains("Not")
    });
    condition && element("Action", "NotAction", action) && element("Resource", "NotResource", resource)
}

pub(crate) fn is_allowed(statements: &Value, request: Request) -> bool {
    let by = |effect: &str| {
        let mut all = statements.as_array().unwrap().iter();
        all.any(|statement| statement["Effect"] == effect && is_matched(statement, request))
    };
    by("Allow") && !by("Deny")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(4096), ..ProptestConfig::default() })]
    #[test]
    fn any_document_that_is_shown_to_be_included_allows_no_request_more(outer in statements(), inner in statements()) {
        if outer.as_array().unwrap().is_empty() || inner.as_array().unwrap().is_empty() {
            return Ok(());
        }
        if compared(&outer, &inner).is_shown() {
            for request in requests() {
                prop_assert!(
                    !is_allowed(&inner, request) || is_allowed(&outer, request),
                    "{request:?} is allowed by {inner} and not by {outer}"
                );
            }
        }
    }

    #[test]
    fn any_document_includes_itself_with_a_deny_more_and_with_an_allow_less(all in statements(), deny in statement()) {
        let all = all.as_array().unwrap().clone();
        if all.is_empty() {
            return Ok(());
        }
        prop_assert!(compared(&json!(all), &json!(all)).is_shown());
        let mut narrower = all.clone();
        let mut deny = deny;
        deny["Effect"] = "Deny".into();
        narrower.push(deny);
        let found = compared(&json!(all), &json!(narrower));
        prop_assert!(found.is_shown(), "{all:?} {narrower:?}: {found:?}");
        let first_allow = all.iter().position(|statement| statement["Effect"] == "Allow");
        if let Some(at) = first_allow.filter(|_| all.len() > 1) {
            let mut fewer = all.clone();
            fewer.remove(at);
            prop_assert!(compared(&json!(all), &json!(fewer)).is_shown());
        }
    }

    #[test]
    fn inclusion_of_any_three_documents_is_transitive(a in statements(), b in statements(), c in statements()) {
        let are_empty = [&a, &b, &c].iter().any(|all| all.as_array().unwrap().is_empty());
        if are_empty || !compared(&a, &b).is_shown() || !compared(&b, &c).is_shown() {
            return Ok(());
        }
        // What is true need not be shown, so that the evaluator is asked.
        for request in requests() {
            prop_assert!(!is_allowed(&c, request) || is_allowed(&a, request), "{a} {b} {c} {request:?}");
        }
    }
}
