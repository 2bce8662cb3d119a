//! Inclusion against an evaluator of its own, which looks at every request of a small world.

use std::time::Instant;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Attached, Budget, Inclusion, Policies, Unread, inclusion, inclusion_of};
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
    assert!(!inclusion_of(&outer, &inner, Attached::Alone, &Budget::default()).is_shown());
    assert!(inclusion_of(&inner, &inner, Attached::Alone, &Budget::default()).is_shown());
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

/// Documents of about the size that a role may have, each with a part that is as hard to compare as we could make it.
fn hostile() -> Vec<(&'static str, Value, Value)> {
    let many = |count: usize, of: &dyn Fn(usize) -> String| -> Vec<String> { (0..count).map(of).collect() };
    let letters = |n: usize| -> String {
        (0..3)
            .map(|at| char::from(b"abcdefghijklmnopqrstuvwxyz"[n / 26_usize.pow(at) % 26]))
            .collect()
    };
    let on = |effect: &str, element: &str, values: Value| json!({"Effect": effect, "Action": "s3:*", element: values});
    let acts = |effect: &str, element: &str, values: Value| json!({"Effect": effect, element: values, "Resource": "*"});
    let all = allow("*", "*");
    let tails = |letter: char| {
        many(600, &|n| {
            format!("arn:aws:s3:::*{letter}a{}{}", "?".repeat(9 + n % 20), letters(n))
        })
    };
    let stars = |gap: &str| {
        many(600, &|n| {
            format!("arn:aws:s3:::*{}{gap}*a{gap}*b*{gap}?a", letters(n))
        })
    };
    let actions = |gap: &str| many(1000, &|n| format!("s3:*{}{gap}*a{gap}*b?", letters(n)));
    let single = |n: usize| {
        allow(
            &format!("s3:*{}??a*", letters(n)),
            &format!("arn:aws:s3:::*a{}*", "?".repeat(n % 12)),
        )
    };
    let condition = |effect: &str, operator: &str, count: usize, of: &dyn Fn(usize) -> String| json!({"Effect": effect, "Action": "*", "Resource": "*", "Condition": {operator: {"aws:PrincipalArn": many(count, of)}}});
    let conditions = |effect: &str, suffix: &str| -> Vec<Value> {
        let of = |n: usize| {
            let operators = [
                "StringLike",
                "StringNotLike",
                "ForAnyValue:StringLike",
                "StringEqualsIgnoreCase",
            ];
            let each = operators.map(|operator| (operator.to_owned(), json!({format!("aws:RequestTag/{}", n % 7): [format!("*a???{suffix}{}*", letters(n)), "*b*c?*"]})));
            json!({"Effect": effect, "Action": "*", "Resource": "*", "Condition": serde_json::Map::from_iter(each)})
        };
        (0..60).map(of).collect()
    };
    let trust = |effect: &str, from: usize| {
        let names = many(200, &|n| {
            format!(
                "arn:aws:iam::{:012}:role/{}",
                300_000_000_000_usize + from + n,
                "a".repeat(20)
            )
        });
        json!({"Effect": effect, "Action": "sts:AssumeRole", "Principal": {"AWS": names}})
    };
    let long = |first: &str| format!("arn:aws:s3:::*{first}{}b", "a*?".repeat(3_000));
    vec![
        (
            "a subset for each of many pairs",
            json!([on("Allow", "Resource", json!(tails('b')))]),
            json!([on("Allow", "Resource", json!(tails('c')))]),
        ),
        (
            "Denies that are missing",
            json!([all, on("Deny", "Resource", json!(tails('b')))]),
            json!([on("Allow", "Resource", json!(tails('c')))]),
        ),
        (
            "own Denies",
            json!([on("Allow", "Resource", json!(stars("?")))]),
            json!([
                on("Allow", "Resource", json!(tails('c'))),
                on("Deny", "Resource", json!(tails('b')))
            ]),
        ),
        (
            "NotResource",
            json!([on("Allow", "NotResource", json!(stars("?")))]),
            json!([on(
                "Allow",
                "NotResource",
                json!([stars("??"), vec!["arn:aws:s?:::*".to_owned()]].concat())
            )]),
        ),
        (
            "a NotResource and many resources",
            json!([on("Allow", "NotResource", json!(stars("?")))]),
            json!([on("Allow", "Resource", json!(tails('c')))]),
        ),
        (
            "NotAction",
            json!([acts("Allow", "NotAction", json!(actions("?")))]),
            json!([acts(
                "Allow",
                "NotAction",
                json!([actions("??"), vec!["s?:*".to_owned()]].concat())
            )]),
        ),
        (
            "actions and resources",
            json!([on("Allow", "Resource", json!(stars("?")))]),
            json!([{"Effect": "Allow", "Action": actions(""), "Resource": stars("")}]),
        ),
        (
            "many actions on many resources",
            json!([allow("s3:*", "arn:aws:s3:::*")]),
            json!([{"Effect": "Allow", "Action": many(2_000, &|n| format!("s3:G{n}")), "Resource": many(1_500, &|n| format!("arn:aws:s3:::a{n}"))}]),
        ),
        (
            "many statements",
            json!((0..400).map(single).collect::<Vec<_>>()),
            json!((400..800).map(single).collect::<Vec<_>>()),
        ),
        (
            "values of a condition",
            json!([condition("Allow", "StringLike", 400, &|n| format!(
                "*b{}??*a",
                letters(n)
            ))]),
            json!([condition("Allow", "StringLike", 400, &|n| format!(
                "*c*{}???a",
                letters(n)
            ))]),
        ),
        (
            "negated values of a condition",
            json!([condition("Allow", "ArnNotLike", 150, &|n| format!(
                "arn:aws:iam::*:role/*b{}??*a",
                letters(n)
            ))]),
            json!([condition("Allow", "ArnNotLike", 150, &|n| format!(
                "arn:aws:iam::*:role/*c*{}???a",
                letters(n)
            ))]),
        ),
        (
            "addresses",
            json!([condition("Allow", "IpAddress", 800, &|n| format!(
                "10.{}.{}.0/24",
                n / 250,
                n % 250
            ))]),
            json!([condition("Allow", "IpAddress", 800, &|n| format!(
                "11.{}.{}.1",
                n / 250,
                n % 250
            ))]),
        ),
        (
            "many conditions",
            json!(conditions("Allow", "?")),
            json!(conditions("Allow", "*")),
        ),
        (
            "many conditions of Denies",
            json!([vec![all.clone()], conditions("Deny", "?")].concat()),
            json!(conditions("Allow", "*")),
        ),
        (
            "principals",
            json!([trust("Allow", 0), trust("Deny", 100)]),
            json!([trust("Allow", 50)]),
        ),
        (
            "long patterns",
            json!([allow("*", &long("x"))]),
            json!([allow("*", &long("y"))]),
        ),
        (
            "long patterns of a Deny",
            json!([all, {"Effect": "Deny", "Action": "*", "Resource": long("?")}]),
            json!([allow("*", &long("y"))]),
        ),
        (
            "variables",
            json!([on(
                "Allow",
                "Resource",
                json!(many(150, &|n| format!(
                    "arn:aws:s3:::*${{aws:username}}*{}?*${{aws:userid}}?a",
                    letters(n)
                )))
            )]),
            json!([on(
                "Allow",
                "Resource",
                json!(many(150, &|n| format!(
                    "arn:aws:s3:::*${{aws:username}}{}*?${{aws:userid}}*a",
                    letters(n)
                )))
            )]),
        ),
    ]
}

#[test]
fn a_comparison_that_uses_up_its_budget_says_that_the_policies_are_too_complex() {
    let (limit, mut used_up) = (Budget::default().left(), 0);
    for (what, outer, inner) in hostile() {
        let (outer, inner) = (document(&outer), document(&inner));
        let side = |document| Policies {
            called: "the other side",
            documents: vec![(None, document)],
            unread: vec![],
        };
        let budget = Budget::default();
        let start = Instant::now();
        let found = inclusion_of(
            &side(&outer),
            &side(&inner),
            Attached::AsTrust("111111111111"),
            &budget,
        );
        let used = limit - budget.left();
        println!(
            "{what}: {used} steps, {:?}, {} atoms",
            start.elapsed(),
            found.count
        );
        if budget.is_used_up() {
            used_up += 1;
            assert_eq!(found.count, 1, "{what}");
            let message = found.excess.first().unwrap().to_string();
            assert!(
                message.starts_with("the policies are too complex to compare: use fewer"),
                "{message}"
            );
        }
        // What has used up its budget shows nothing more.
        let spent = Budget::of(1);
        assert!(
            !inclusion_of(&side(&outer), &side(&inner), Attached::Alone, &spent).is_shown(),
            "{what}"
        );
    }
    assert!(used_up >= 5, "only {used_up} of the documents are hostile");
}

#[test]
fn a_large_role_takes_a_small_part_of_the_budget() {
    let services = [
        "s3", "sqs", "sns", "dynamodb", "lambda", "logs", "kms", "ssm", "ecr", "s3",
    ];
    let role = |team: &str| {
        let of = |(n, service): (usize, &&str)| {
            let actions = ["Get*", "List*", "Describe*", "PutItem", "TagResource"]
                .map(|name| format!("{service}:{name}"));
            let places: Vec<String> = (0..20)
                .map(|place| format!("arn:aws:{service}:*:222222222222:{team}-{place}/{n}/*"))
                .collect();
            json!({"Effect": "Allow", "Action": actions, "Resource": places, "Condition": {"StringEquals": {"aws:RequestedRegion": ["eu-west-1", "eu-central-1"]}}})
        };
        let deny = json!({"Effect": "Deny", "NotAction": ["iam:*", "sts:*"], "Resource": "*", "Condition": {"StringNotEquals": {"aws:RequestedRegion": ["eu-west-1", "eu-central-1"]}}});
        let mut all: Vec<Value> = services.iter().enumerate().map(of).collect();
        all.push(deny);
        document(&json!(all))
    };
    for (outer, inner) in [("team-*", "team-a"), ("team-a", "team-?"), ("*", "*-team")] {
        let (outer, inner) = (role(outer), role(inner));
        let side = |document| Policies {
            called: "the other side",
            documents: vec![(None, document)],
            unread: vec![],
        };
        let budget = Budget::default();
        inclusion_of(&side(&outer), &side(&inner), Attached::Alone, &budget);
        let (limit, left) = (Budget::default().left(), budget.left());
        println!("{} steps", limit - left);
        assert!(left > limit / 10 * 9, "{} steps", limit - left);
    }
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
