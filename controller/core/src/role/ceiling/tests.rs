//! Roles below a ceiling, in tables and against the evaluator of the inclusion of documents.

use std::time::Instant;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use rolectl_crds::{Guardrails, IamRoleSpec};
use serde_json::{Value, json};

use super::super::guardrails::{violation, warnings};
use super::*;
use crate::fixtures::{context, observed, spec, wanted};
use crate::policy::MAX_BYTES;
use crate::policy::inclusion::tests::{Request, is_allowed, is_matched, requests, statements};

const LOGS: &str = "arn:aws:s3:::logs/*";

fn allow(action: &str, resource: &str) -> Value {
    json!({"Effect": "Allow", "Action": action, "Resource": resource})
}

fn document(statements: &Value) -> Value {
    json!({"Version": "2012-10-17", "Statement": statements})
}

/// A ceiling that allows to work with logs, except for their deletion, from the network of the company.
fn ceiling() -> Value {
    json!({"ceiling": document(&json!([
        {"Sid": "Logs", "Effect": "Allow", "Action": "s3:*", "Resource": LOGS},
        {"Sid": "Own", "Effect": "Allow", "Action": "sqs:*", "Resource": "arn:aws:sqs:*:$(account.id):*"},
        {"Sid": "Net", "Effect": "Allow", "Action": "ec2:*", "Resource": "*", "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}},
        {"Sid": "Keep", "Effect": "Deny", "Action": "s3:DeleteObject*", "Resource": "*"},
    ]))})
}

fn with_inline(policies: Value) -> IamRoleSpec {
    let mut s = spec();
    s.inline_policies = serde_json::from_value(policies).unwrap();
    s
}

fn says(guardrails: &Value, role: &IamRoleSpec, there: Option<&ObservedRole>, is_ours: bool) -> String {
    let guardrails: Guardrails = serde_json::from_value(guardrails.clone()).unwrap();
    let (context, documents) = (context(), DocumentCache::default());
    violation(&guardrails, &wanted(role), there, is_ours, &context, &documents).unwrap_or_default()
}

#[test]
fn an_inline_policy_is_admitted_only_if_it_is_shown_to_be_within_the_ceiling() {
    let net = |cidr: &str| json!({"Effect": "Allow", "Action": "ec2:StartInstances", "Resource": "*", "Condition": {"IpAddress": {"aws:SourceIp": cidr}}});
    for (statements, names) in [
        (json!([allow("s3:GetObject", "arn:aws:s3:::logs/a")]), ""),
        (json!([allow("S3:getobject", LOGS)]), ""),
        (
            json!([allow(
                "sqs:SendMessage",
                "arn:aws:sqs:eu-central-1:222222222222:a"
            )]),
            "",
        ),
        (
            json!([allow(
                "sqs:SendMessage",
                "arn:aws:sqs:eu-central-1:$(account.id):a"
            )]),
            "",
        ),
        (json!([net("10.1.0.0/16")]), ""),
        (
            json!([{"Effect": "Deny", "Action": "iam:*", "Resource": "*"}]),
            "",
        ),
        // The Deny of the ceiling is repeated, or does not concern the action.
        (
            json!([allow("s3:*", LOGS), {"Effect": "Deny", "Action": "s3:DeleteObject*", "Resource": "*"}]),
            "",
        ),
        (
            json!([allow("s3:*", LOGS)]),
            "s3:* on arn:aws:s3:::logs/*: statement Keep of the ceiling may deny it",
        ),
        (
            json!([allow("iam:PassRole", LOGS)]),
            "iam:PassRole on arn:aws:s3:::logs/*: no statement of the ceiling is shown to allow it",
        ),
        (json!([allow("s3:GetObject", "*")]), "s3:GetObject on *: "),
        (
            json!([allow(
                "sqs:SendMessage",
                "arn:aws:sqs:eu-central-1:333333333333:a"
            )]),
            "sqs:SendMessage on arn:aws:sqs:eu-central-1:333333333333:a: ",
        ),
        (
            json!([allow("ec2:StartInstances", "*")]),
            "ec2:StartInstances on *: ",
        ),
        (json!([net("0.0.0.0/0")]), "ec2:StartInstances on *: "),
        (
            json!([{"Effect": "Allow", "NotAction": "iam:*", "Resource": LOGS}]),
            "all but iam:* on arn:aws:s3:::logs/*: ",
        ),
        (
            json!([{"Effect": "Allow", "Action": "s3:GetObject", "NotResource": "arn:aws:s3:::secret/*"}]),
            "s3:GetObject on all but arn:aws:s3:::secret/*: ",
        ),
        (
            json!([{"Sid": "Two", "Effect": "Allow", "Action": ["s3:GetObject", "iam:GetRole", "iam:GetUser"], "Resource": LOGS}]),
            "statement Two: iam:GetRole on arn:aws:s3:::logs/*: no statement of the ceiling is shown to allow it (and 1 more)",
        ),
    ] {
        let message = says(
            &ceiling(),
            &with_inline(json!({"own": document(&statements)})),
            None,
            false,
        );
        assert_eq!(message.is_empty(), names.is_empty(), "{statements}: {message}");
        assert!(message.contains(names), "{statements}: {message}");
        let begins =
            "inline policy own is not shown to be within the account's guardrails.ceiling: statement ";
        assert!(names.is_empty() || message.starts_with(begins), "{message}");
    }
}

#[test]
fn each_inline_policy_is_compared_alone_so_that_one_is_never_the_excuse_of_another() {
    let good = document(&json!([allow("s3:GetObject", LOGS)]));
    let wide = document(&json!([allow("*", "*")]));
    let deny = document(&json!([{"Effect": "Deny", "Action": "*", "Resource": "*"}]));
    let message = says(
        &ceiling(),
        &with_inline(json!({"a": good, "b": wide})),
        None,
        false,
    );
    assert!(message.starts_with("inline policy b is not shown"), "{message}");
    let message = says(
        &ceiling(),
        &with_inline(json!({"a": wide, "b": deny})),
        None,
        false,
    );
    assert!(message.starts_with("inline policy a is not shown"), "{message}");
    // A role that is removed exceeds nothing.
    let mut gone = with_inline(json!({"a": wide}));
    gone.ensure = rolectl_crds::Ensure::Absent;
    assert_eq!(says(&ceiling(), &gone, None, false), "");
}

#[test]
fn what_somebody_outside_puts_on_a_role_and_what_stays_there_counts() {
    let role = spec();
    let mut open = spec();
    open.exclusive.inline_policies = false;
    let there = |name: &str, text: &str| {
        let mut there = observed(&wanted(&role));
        let document = ObservedDocument::read(text);
        there.inline_policies = [(name.to_owned(), document)].into();
        there
    };
    let text = |statements: Value| document(&statements).to_string();
    let wide = text(json!([allow("*", "*")]));
    let good = text(json!([allow("s3:GetObject", LOGS)]));
    let deny = text(json!([{"Effect": "Deny", "Action": "*", "Resource": "*"}]));
    for (spec, name, text, refused) in [
        (&open, "theirs", wide.as_str(), true),
        (&open, "theirs", "no policy", true),
        (&open, "theirs", good.as_str(), false),
        (&open, "theirs", deny.as_str(), false),
        // It is deleted.
        (&role, "theirs", wide.as_str(), false),
        // The account's ignorePolicies leave it to somebody else, and it stays.
        (&role, "org-theirs", wide.as_str(), true),
        (&role, "org-theirs", good.as_str(), false),
    ] {
        for is_ours in [true, false] {
            let message = says(&ceiling(), spec, Some(&there(name, text)), is_ours);
            assert_eq!(!message.is_empty(), refused, "{name} {text} {is_ours}: {message}");
            let begins = format!("inline policy {name}, which is on the role and not in the spec, is not");
            assert!(!refused || message.starts_with(&begins), "{message}");
        }
    }
}

#[test]
fn a_managed_policy_is_within_a_ceiling_only_by_the_word_of_the_accounts_owner() {
    let arn = |name: &str| format!("arn:aws:iam::aws:policy/{name}");
    let own = "arn:aws:iam::222222222222:policy/own";
    let with = |more: Value| {
        let mut guardrails = ceiling();
        for (key, value) in more.as_object().unwrap() {
            guardrails[key] = value.clone();
        }
        guardrails
    };
    for (more, policy, boundary, refused) in [
        (json!({}), "ReadOnlyAccess", None, true),
        (json!({}), own, None, true),
        (json!({}), "AWSDenyAll", None, false),
        // A boundary that nobody requires can be changed by the role's author.
        (json!({}), "ReadOnlyAccess", Some("ReadOnlyAccess"), true),
        (
            json!({"requirePermissionsBoundary": ["ReadOnlyAccess"]}),
            "AdministratorAccess",
            Some("ReadOnlyAccess"),
            false,
        ),
        (
            json!({"allowedManagedPolicies": ["ReadOnly*"]}),
            "ReadOnlyAccess",
            None,
            false,
        ),
        (
            json!({"allowedManagedPolicies": ["arn:aws:iam::222222222222:policy/*"]}),
            own,
            None,
            false,
        ),
        (
            json!({"deniedManagedPolicies": ["Nothing"]}),
            "ReadOnlyAccess",
            None,
            true,
        ),
    ] {
        let mut role = spec();
        role.managed_policies = vec![policy.to_owned()];
        role.permissions_boundary = boundary.map(str::to_owned);
        let message = says(&with(more.clone()), &role, None, false);
        assert_eq!(!message.is_empty(), refused, "{more} {policy}: {message}");
        let named = if policy == own {
            own.to_owned()
        } else {
            arn(policy)
        };
        let begins =
            format!("managed policy {named} is not shown to be within the account's guardrails.ceiling");
        assert!(!refused || message.starts_with(&begins), "{message}");
        // A ceiling for trust alone does not limit permissions.
        let trust = json!({"trustCeiling": document(&json!([{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "111111111111"}}]))});
        assert_eq!(says(&trust, &role, None, false), "");
    }
    // What somebody outside attached to a managed role stays if the list is not exclusive. What is denied is detached.
    let mut open = spec();
    open.exclusive.managed_policies = false;
    let mut there = observed(&wanted(&open));
    there.managed_policies = [arn("ReadOnlyAccess")].into();
    let denies = with(json!({"deniedManagedPolicies": ["ReadOnly*"]}));
    for (guardrails, spec, is_ours, refused) in [
        (ceiling(), &open, true, true),
        (ceiling(), &open, false, true),
        (ceiling(), &spec(), true, false),
        (denies.clone(), &open, true, false),
        (denies, &open, false, true),
    ] {
        let message = says(&guardrails, spec, Some(&there), is_ours);
        assert_eq!(!message.is_empty(), refused, "{guardrails} {is_ours}: {message}");
    }
}

#[test]
fn a_trust_policy_stays_within_the_ceiling_for_trust() {
    let statement = |principal: Value, condition: Value| json!([{"Sid": "In", "Effect": "Allow", "Action": "sts:AssumeRole", "Principal": principal, "Condition": condition}]);
    let mfa = json!({"Bool": {"aws:MultiFactorAuthPresent": "true"}});
    let session = json!({"AWS": "arn:aws:iam::$(session.accountId):root"});
    let guardrails = json!({"trustCeiling": document(&statement(session.clone(), mfa.clone()))});
    let ci = json!({"AWS": "arn:aws:iam::111111111111:role/ci"});
    let other = json!({"AWS": "arn:aws:iam::333333333333:root"});
    for (principal, condition, names) in [
        (&session, &mfa, ""),
        (&ci, &mfa, ""),
        (&session, &json!({}), "statement In: sts:AssumeRole for "),
        (&other, &mfa, "333333333333"),
        (
            &json!({"Service": "ec2.amazonaws.com"}),
            &mfa,
            "ec2.amazonaws.com",
        ),
        (
            &json!({"AWS": ["111111111111", "333333333333"]}),
            &mfa,
            "333333333333",
        ),
    ] {
        let mut role = spec();
        role.assume_role_policy = Some(document(&statement(principal.clone(), condition.clone())).into());
        let message = says(&guardrails, &role, None, false);
        assert_eq!(
            message.is_empty(),
            names.is_empty(),
            "{principal} {condition}: {message}"
        );
        assert!(message.contains(names), "{principal}: {message}");
        let begins = "the trust policy is not shown to be within the account's guardrails.trustCeiling: ";
        assert!(names.is_empty() || message.starts_with(begins), "{message}");
    }
}

#[test]
fn a_ceiling_that_cannot_be_read_refuses_every_role_and_warns_the_owner() {
    let large = "x".repeat(MAX_BYTES);
    for (value, part) in [
        (
            document(&json!([allow("s3:*", "arn:aws:s3:::$(account.labels.tier)/*")])),
            "unknown variable $(account.labels.tier)",
        ),
        (
            document(&json!([allow("s3:*", "arn:aws:s3:::$(account.id/*")])),
            "does not close it",
        ),
        (document(&json!([allow("s3:*", &large)])), "is larger than 64 KiB"),
        (
            document(&json!([{"Effect": "Allow", "Action": "s3:*"}])),
            "Resource",
        ),
        (
            document(&json!([allow("s3:*", "arn:aws-cn:s3:::a")])),
            "partition aws-cn",
        ),
        (json!("text"), "is not a JSON object"),
    ] {
        for field in ["ceiling", "trustCeiling"] {
            let guardrails = json!({field: value});
            let message = says(&guardrails, &spec(), None, false);
            let begins = format!("the AwsAccount's guardrails.{field} cannot be enforced: ");
            assert!(message.starts_with(&begins), "{message}");
            assert!(message.ends_with(". Have its owner correct it"), "{message}");
            assert!(field == "trustCeiling" || message.contains(part), "{message}");
            assert!(message.len() < 2048, "{}", message.len());
            let parsed: Guardrails = serde_json::from_value(guardrails).unwrap();
            let (context, documents) = (context(), DocumentCache::default());
            let warned = warnings(&parsed, &context, &documents);
            assert_eq!(warned.len(), 1, "{warned:?}");
            let warned = warned.concat();
            assert!(warned.starts_with(&format!("guardrails.{field}: ")), "{warned}");
            assert!(
                warned.ends_with("Every role is refused until it is corrected"),
                "{warned}"
            );
            let found = findings(&parsed, &context, &documents);
            assert!(
                found
                    .iter()
                    .any(|(of, finding)| *of == field && finding.severity == Severity::Error),
                "{found:?}"
            );
        }
    }
    let good: Guardrails = serde_json::from_value(ceiling()).unwrap();
    assert!(warnings(&good, &context(), &DocumentCache::default()).is_empty());
}

#[test]
fn a_document_that_would_take_long_to_compare_is_refused_and_the_message_about_it_is_short() {
    let actions: Vec<String> = (0..2000).map(|n| format!("s3:G{n}")).collect();
    let places: Vec<String> = (0..1400).map(|n| format!("arn:aws:s3:::logs/{n}")).collect();
    let many = document(&json!([{"Effect": "Allow", "Action": actions, "Resource": places}]));
    let message = says(&ceiling(), &with_inline(json!({"many": many})), None, false);
    assert!(
        message.contains("the policies are too complex to compare"),
        "{message}"
    );
    let long = format!("arn:aws:s3:::{}", "a".repeat(20_000));
    let long = document(&json!([allow("s3:GetObject", &long)]));
    let message = says(&ceiling(), &with_inline(json!({"long": long})), None, false);
    assert!(
        message.len() < 1024 && message.ends_with("widen the ceiling"),
        "{message}"
    );
}

/// Returns true if the documents of one role together allow the request.
fn is_allowed_by_all(documents: &[Value], request: Request) -> bool {
    let matches = |effect: &str| {
        let mut all = documents.iter().flat_map(|d| d.as_array().unwrap());
        all.any(|statement| statement["Effect"] == effect && is_matched(statement, request))
    };
    matches("Allow") && !matches("Deny")
}

/// What is drawn at random: the documents that stay on the role come after those of its spec.
fn any_role() -> impl Strategy<Value = (Value, Vec<Value>, Vec<Value>)> {
    let one = || statements().prop_filter("has a statement", |all| !all.as_array().unwrap().is_empty());
    let some = || prop::collection::vec(one(), 0..3);
    (one(), some(), some())
}

#[test]
fn any_role_that_is_admitted_below_a_ceiling_allows_no_request_that_the_ceiling_does_not_allow() {
    // The world of the evaluator is a partition of its own.
    let context = AccountContext {
        partition: "x".into(),
        ..context()
    };
    let (mut admitted, mut granting, mut refused) = (0, 0, 0);
    let mut runner = TestRunner::deterministic();
    let cases = ProptestConfig::default().cases.max(2_000);
    for _ in 0..cases {
        let (outer, own, kept) = any_role().new_tree(&mut runner).unwrap().current();
        let named = |all: &[Value], prefix: &str| -> Vec<(String, Document)> {
            all.iter()
                .enumerate()
                .map(|(n, all)| {
                    let document = Document::from_value(&document(all)).unwrap();
                    (format!("{prefix}{n}"), document)
                })
                .collect()
        };
        let mut role = wanted(&spec());
        role.exclusive.inline_policies = false;
        role.inline_policies = named(&own, "own").into_iter().collect();
        let mut there = observed(&role);
        let theirs = named(&kept, "kept").into_iter();
        there.inline_policies = theirs
            .map(|(name, document)| (name, ObservedDocument::Parsed(document)))
            .collect();
        let guardrails: Guardrails = serde_json::from_value(json!({"ceiling": document(&outer)})).unwrap();
        let documents = DocumentCache::default();
        let broken = violation(&guardrails, &role, Some(&there), true, &context, &documents);
        if broken.is_some() {
            refused += 1;
            continue;
        }
        admitted += 1;
        let all = [own, kept].concat();
        for request in requests() {
            let is_granted = is_allowed_by_all(&all, request);
            granting += usize::from(is_granted);
            assert!(
                !is_granted || is_allowed(&outer, request),
                "{request:?} is allowed by {all:?} and not by {outer}"
            );
        }
    }
    assert!(
        admitted > 100 && granting > 100 && refused > 100,
        "{admitted} admitted, {granting} granted, {refused} refused"
    );
}

/// Measures 1,000 roles, each with an inline policy of three statements. Run it with optimization:
/// `cargo test --release -p rolectl-core --lib -- --ignored --nocapture verdicts`.
#[test]
#[ignore = "a measurement"]
fn verdicts_of_1000_roles() {
    let names = include_str!("../../policy/lint/services.txt").lines();
    let names: Vec<&str> = names
        .filter(|line| !line.is_empty() && !line.starts_with(['#', 'i']))
        .take(40)
        .collect();
    let mut outer: Vec<Value> = (0..40)
        .map(|n| {
            let service = names[n];
            let actions: Vec<String> = (0..10).map(|m| format!("{service}:Get{m}*")).collect();
            json!({"Effect": "Allow", "Action": actions, "Resource": [format!("arn:aws:{service}:*:$(account.id):*"), format!("arn:aws:{service}:::*")]})
        })
        .collect();
    outer.push(json!({"Effect": "Deny", "Action": ["iam:*", "organizations:*"], "Resource": "*"}));
    let guardrails: Guardrails = serde_json::from_value(json!({"ceiling": document(&outer.into())})).unwrap();
    let policy = |role: usize, from: usize| {
        let all: Vec<Value> = names[from..from + 3]
            .iter()
            .map(|service| json!({"Effect": "Allow", "Action": [format!("{service}:Get1A"), format!("{service}:Get2B"), format!("{service}:Get3*")],
                "Resource": [format!("arn:aws:{service}:::team-{role}"), format!("arn:aws:{service}:::team-{role}/*")]}))
            .collect();
        document(&all.into())
    };
    let roles: Vec<DesiredRole> = (0..1000)
        .map(|n| wanted(&with_inline(json!({"a": policy(n, n % 30)}))))
        .collect();
    let (context, documents) = (context(), DocumentCache::default());
    let size = guardrails.ceiling.as_ref().unwrap().text_len();
    for _ in 0..3 {
        let start = Instant::now();
        for role in &roles {
            assert_eq!(
                violation(&guardrails, role, None, false, &context, &documents),
                None
            );
        }
        println!(
            "1,000 roles against a ceiling of {size} bytes: {:?}",
            start.elapsed()
        );
    }
    // The longest comparisons that are not refused, of patterns that are hard to compare.
    let own: Guardrails = serde_json::from_value(ceiling()).unwrap();
    for (actions, places, place) in [
        (1_000, 1, "arn:aws:sqs:eu-central-1:222222222222:team-{}/*"),
        (60, 6, "arn:aws:sqs:eu-*:2?2*:*2?2*2*{}"),
        (20, 6, "arn:aws:sqs:eu-*:*:????????????????????{}"),
    ] {
        let actions: Vec<String> = (0..actions).map(|n| format!("sqs:*a{n}?*b")).collect();
        let places: Vec<String> = (0..places).map(|n| place.replace("{}", &n.to_string())).collect();
        let slow = document(&json!([{"Effect": "Allow", "Action": actions, "Resource": places}]));
        let slow = wanted(&with_inline(json!({"slow": slow})));
        let start = Instant::now();
        let message = violation(&own, &slow, None, false, &context, &documents);
        println!("{place}: {:?}: {message:?}", start.elapsed());
    }
}
