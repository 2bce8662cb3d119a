//! Verdicts of edits, and what waits of a plan.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::hold::{Subject, after, hold_all, is_never_wider, narrow_now};
use super::*;
use crate::fixtures::{observed, spec, wanted};
use crate::policy::Document;
use crate::policy::inclusion::Budget;
use crate::role::{Change, ObservedDocument, ObservedRole};
use crate::role::{PlanContext, plan};

const OWN: &str = "222222222222";

fn place(authority_tags: &[String]) -> Place<'_> {
    Place {
        account_id: OWN,
        authority_tags,
        policies: ManagedPolicies::NONE,
    }
}

/// A role with the fixture's spec, changed by a merge patch of its fields.
fn role(patch: &Value) -> ObservedRole {
    let mut value = serde_json::to_value(spec()).unwrap();
    for (key, change) in patch.as_object().unwrap() {
        value[key] = change.clone();
    }
    observed(&wanted(&serde_json::from_value(value).unwrap()))
}

fn judged(before: &Value, after: &Value) -> Verdict {
    verdict(
        Some(&role(before)),
        Some(&role(after)),
        place(&["auth-*".to_owned()]),
        &Budget::default(),
    )
}

fn trust(principals: &Value) -> Value {
    json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": principals}]})
}

fn allow(actions: &Value) -> Value {
    json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}]})
}

fn deny(actions: &Value) -> Value {
    json!({"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": actions, "Resource": "*"}]})
}

#[test]
fn each_part_of_a_role_is_judged() {
    let (a, b) = (
        "arn:aws:iam::111111111111:role/a",
        "arn:aws:iam::111111111111:role/b",
    );
    let one = json!({"inlinePolicies": {"p": allow(&json!(["s3:GetObject"]))}});
    let two = json!({"inlinePolicies": {"p": allow(&json!(["s3:GetObject", "s3:PutObject"]))}});
    let denied = json!({"inlinePolicies": {"p": allow(&json!("s3:*")), "no": deny(&json!("s3:Delete*"))}});
    let open = json!({"inlinePolicies": {"p": allow(&json!("s3:*"))}});
    let customer = "arn:aws:iam::222222222222:policy/own";
    for (before, after, expected) in [
        (json!({}), json!({}), "same"),
        (json!({}), json!({"description": "another"}), "same"),
        (json!({}), json!({"tags": {"team": "a"}}), "same"),
        (
            json!({"tags": {"auth-level": "1"}}),
            json!({"tags": {"auth-level": "2"}}),
            "widens",
        ),
        (json!({"tags": {"AUTH-level": "1"}}), json!({}), "widens"),
        (
            json!({"assumeRolePolicy": trust(&json!({"AWS": [a]}))}),
            json!({"assumeRolePolicy": trust(&json!({"AWS": [a, b]}))}),
            "widens",
        ),
        (
            json!({"assumeRolePolicy": trust(&json!({"AWS": [a, b]}))}),
            json!({"assumeRolePolicy": trust(&json!({"AWS": [b]}))}),
            "narrows",
        ),
        (
            json!({"assumeRolePolicy": trust(&json!({"AWS": [a]}))}),
            json!({"assumeRolePolicy": trust(&json!({"AWS": [b]}))}),
            "widens",
        ),
        // The account's root, and a role of the same account: only of another account it is included.
        (
            json!({"assumeRolePolicy": trust(&json!({"AWS": "111111111111"}))}),
            json!({"assumeRolePolicy": trust(&json!({"AWS": [b]}))}),
            "narrows",
        ),
        (
            json!({"assumeRolePolicy": trust(&json!({"AWS": OWN}))}),
            json!({"assumeRolePolicy": trust(&json!({"AWS": [format!("arn:aws:iam::{OWN}:role/b")]}))}),
            "widens",
        ),
        (one.clone(), two.clone(), "widens"),
        (two.clone(), one.clone(), "narrows"),
        // Inline policies are one union.
        (
            two.clone(),
            json!({"inlinePolicies": {"q": allow(&json!("s3:GetObject")), "r": allow(&json!("s3:PutObject"))}}),
            "same",
        ),
        (denied.clone(), open.clone(), "widens"),
        (open.clone(), denied.clone(), "narrows"),
        // A Deny of what no policy of the role allows: the policy of a bucket may allow it.
        (
            json!({"inlinePolicies": {"p": allow(&json!("ec2:*")), "no": deny(&json!("s3:*"))}}),
            json!({"inlinePolicies": {"p": allow(&json!("ec2:*"))}}),
            "widens",
        ),
        (
            json!({"inlinePolicies": {"no": deny(&json!("s3:*")), "more": deny(&json!("s3:Get*"))}}),
            json!({"inlinePolicies": {"no": deny(&json!("s3:*"))}}),
            "same",
        ),
        // What a managed policy allows is not known, so that every Deny counts.
        (
            json!({"managedPolicies": ["ReadOnlyAccess"], "inlinePolicies": {"no": deny(&json!("s3:*"))}}),
            json!({"managedPolicies": ["ReadOnlyAccess"]}),
            "widens",
        ),
        (
            json!({}),
            json!({"managedPolicies": ["ReadOnlyAccess"]}),
            "widens",
        ),
        (
            json!({"managedPolicies": ["ReadOnlyAccess"]}),
            json!({}),
            "narrows",
        ),
        // What the policy of a bucket allows is denied, too.
        (json!({}), json!({"managedPolicies": ["AWSDenyAll"]}), "narrows"),
        (
            json!({"managedPolicies": ["ReadOnlyAccess"]}),
            json!({"managedPolicies": ["ReadOnlyAccess", "AWSDenyAll"]}),
            "narrows",
        ),
        (
            json!({"managedPolicies": ["ReadOnlyAccess", "AWSDenyAll"]}),
            json!({"managedPolicies": ["ReadOnlyAccess"]}),
            "widens",
        ),
        // A customer managed policy may deny.
        (
            json!({"managedPolicies": ["ReadOnlyAccess", customer]}),
            json!({"managedPolicies": ["ReadOnlyAccess"]}),
            "widens",
        ),
        (json!({"managedPolicies": [customer]}), json!({}), "widens"),
        // All that a managed policy can allow is allowed already.
        (
            json!({"inlinePolicies": {"all": allow(&json!("*"))}}),
            json!({"inlinePolicies": {"all": allow(&json!("*"))}, "managedPolicies": ["ReadOnlyAccess"]}),
            "same",
        ),
        (
            json!({}),
            json!({"permissionsBoundary": "PowerUserAccess"}),
            "narrows",
        ),
        (
            json!({"permissionsBoundary": "PowerUserAccess"}),
            json!({}),
            "widens",
        ),
        (
            json!({"permissionsBoundary": "PowerUserAccess"}),
            json!({"permissionsBoundary": "ReadOnlyAccess"}),
            "widens",
        ),
        (json!({}), json!({"maxSessionDuration": 7200}), "widens"),
        (json!({"maxSessionDuration": 7200}), json!({}), "narrows"),
        (json!({}), json!({"instanceProfile": {"name": "app"}}), "widens"),
        (json!({"instanceProfile": {"name": "app"}}), json!({}), "narrows"),
    ] {
        let found = judged(&before, &after);
        let is_expected = match expected {
            "same" => found == Verdict::Same,
            "narrows" => found == Verdict::Narrows,
            _ => matches!(found, Verdict::Widens(_)),
        };
        assert!(
            is_expected,
            "{before} -> {after}: {found:?} instead of {expected}"
        );
    }
}

#[test]
fn a_managed_policy_whose_document_is_known_is_judged_by_it() {
    let [read, write, all, deny_all, old] =
        ["read", "write", "all", "deny", "old"].map(|name| format!("arn:aws:iam::{OWN}:policy/{name}"));
    let mut policies = ManagedPolicies::of_arns([&read, &write, &all, &deny_all, &old]);
    let mut add = |arn: &str, document: &Value| policies.add(arn, Document::from_value(document).unwrap());
    add(&read, &allow(&json!("s3:Get*")));
    add(&write, &allow(&json!(["s3:Get*", "s3:Put*"])));
    add(&all, &allow(&json!("*")));
    add(&deny_all, &deny(&json!("s3:Delete*")));
    let mut older = allow(&json!("s3:Get*"));
    older["Version"] = json!("2008-10-17");
    add(&old, &older);
    let place = Place {
        policies: &policies,
        ..place(&[])
    };
    let inline = |actions: &Value| json!({"inlinePolicies": {"p": allow(actions)}});
    for (before, after, expected) in [
        // A policy is attached that allows nothing new, and one that does.
        (
            inline(&json!("s3:*")),
            json!({"managedPolicies": [read]}),
            VerdictKind::Narrows,
        ),
        (
            json!({"managedPolicies": [write]}),
            json!({"managedPolicies": [read]}),
            VerdictKind::Narrows,
        ),
        (
            json!({"managedPolicies": [read]}),
            json!({"managedPolicies": [write]}),
            VerdictKind::Widens,
        ),
        (
            json!({"managedPolicies": [write]}),
            json!({"managedPolicies": [write, read]}),
            VerdictKind::Same,
        ),
        (
            json!({"managedPolicies": [read]}),
            inline(&json!("s3:Get*")),
            VerdictKind::Same,
        ),
        // One is detached that may not deny, and one that does.
        (
            json!({"managedPolicies": [all, read]}),
            json!({"managedPolicies": [read]}),
            VerdictKind::Narrows,
        ),
        (
            json!({"managedPolicies": [all, deny_all]}),
            json!({"managedPolicies": [all]}),
            VerdictKind::Widens,
        ),
        (
            json!({"managedPolicies": [all]}),
            json!({"managedPolicies": [all, deny_all]}),
            VerdictKind::Narrows,
        ),
        // One of the older version counts by its name, and by what kinds of statements it has.
        (
            json!({"managedPolicies": [all, old]}),
            json!({"managedPolicies": [all]}),
            VerdictKind::Same,
        ),
        (
            json!({"managedPolicies": [read]}),
            json!({"managedPolicies": [read, old]}),
            VerdictKind::Widens,
        ),
        // Next to an inline policy of the older version no managed policy is compared.
        (
            json!({"managedPolicies": [write], "inlinePolicies": {"o": older}}),
            json!({"managedPolicies": [read], "inlinePolicies": {"o": older}}),
            VerdictKind::Widens,
        ),
        (
            json!({"managedPolicies": [write], "inlinePolicies": {"o": older}}),
            json!({"inlinePolicies": {"o": older}}),
            VerdictKind::Narrows,
        ),
        // Boundaries.
        (
            json!({"permissionsBoundary": write}),
            json!({"permissionsBoundary": read}),
            VerdictKind::Narrows,
        ),
        (
            json!({"permissionsBoundary": read}),
            json!({"permissionsBoundary": write}),
            VerdictKind::Widens,
        ),
        (
            json!({"permissionsBoundary": read}),
            json!({"permissionsBoundary": "ReadOnlyAccess"}),
            VerdictKind::Widens,
        ),
        (
            json!({"permissionsBoundary": read}),
            json!({}),
            VerdictKind::Widens,
        ),
    ] {
        let found = verdict(
            Some(&role(&before)),
            Some(&role(&after)),
            place,
            &Budget::default(),
        );
        assert_eq!(found.kind(), expected, "{before} -> {after}: {found:?}");
    }
}

#[test]
fn a_plan_whose_steps_are_wider_is_made_in_another_order() {
    let quarantine = format!("arn:aws:iam::{OWN}:policy/quarantine");
    let mut policies = ManagedPolicies::of_arns([&quarantine]);
    policies.add(&quarantine, Document::from_value(&deny(&json!("*"))).unwrap());
    let place = Place {
        policies: &policies,
        ..place(&[])
    };
    let (before, changes) = changes(
        &json!({}),
        &json!({"managedPolicies": [quarantine], "inlinePolicies": {"all": allow(&json!("*"))}}),
    );
    let budget = Budget::default;
    let [attach, put] = changes.as_slice() else {
        panic!("{changes:?}")
    };
    let allowed_first = [put.clone(), attach.clone()];
    assert!(!is_never_wider(Some(&before), &allowed_first, place, &budget()));
    assert!(is_never_wider(Some(&before), &changes, place, &budget()));
    let hold = narrow_now(Some(&before), &allowed_first, place, &budget());
    assert_eq!((hold.now, hold.waiting), (changes, vec![]));
}

#[test]
fn a_policy_that_denies_nothing_is_removed_even_if_nothing_can_be_compared() {
    let (before, changes) = changes(
        &json!({"managedPolicies": ["AdministratorAccess", "IAMUserChangePassword"], "inlinePolicies": {"p": allow(&json!("s3:*"))}}),
        &json!({}),
    );
    // Nothing can be compared.
    let spent = Budget::default();
    while spent.spend(1_000_000) {}
    let hold = narrow_now(Some(&before), &changes, place(&[]), &spent);
    assert_eq!((hold.now.len(), hold.waiting), (3, vec![]));
}

#[test]
fn creating_a_role_widens_and_deleting_one_never_does() {
    let role = role(&json!({"managedPolicies": ["AdministratorAccess"]}));
    assert!(matches!(
        verdict(None, Some(&role), place(&[]), &Budget::default()),
        Verdict::Widens(_)
    ));
    assert_eq!(
        verdict(Some(&role), None, place(&[]), &Budget::default()),
        Verdict::Narrows
    );
    assert_eq!(verdict(None, None, place(&[]), &Budget::default()), Verdict::Same);
}

#[test]
fn a_document_that_cannot_be_parsed_is_as_wide_as_itself_only() {
    let mut one = role(&json!({}));
    one.inline_policies
        .insert("x".to_owned(), ObservedDocument::Unreadable("{".to_owned()));
    let mut other = one.clone();
    assert_eq!(
        verdict(Some(&one), Some(&other), place(&[]), &Budget::default()),
        Verdict::Same
    );
    other
        .inline_policies
        .insert("x".to_owned(), ObservedDocument::Unreadable("{{".to_owned()));
    assert!(matches!(
        verdict(Some(&one), Some(&other), place(&[]), &Budget::default()),
        Verdict::Widens(_)
    ));
    // It may deny.
    other.inline_policies.remove("x");
    assert!(matches!(
        verdict(Some(&one), Some(&other), place(&[]), &Budget::default()),
        Verdict::Widens(_)
    ));
    assert!(matches!(
        verdict(Some(&other), Some(&one), place(&[]), &Budget::default()),
        Verdict::Widens(_)
    ));
}

fn changes(before: &Value, after: &Value) -> (ObservedRole, Vec<Change>) {
    let before = role(before);
    let mut value = serde_json::to_value(spec()).unwrap();
    for (key, change) in after.as_object().unwrap() {
        value[key] = change.clone();
    }
    let desired = wanted(&serde_json::from_value(value).unwrap());
    let plan = plan(&desired, Some(&before), &PlanContext::default()).unwrap();
    (before, plan.changes)
}

fn shown(changes: &[Change]) -> Vec<String> {
    changes.iter().map(ToString::to_string).collect()
}

#[test]
fn each_change_of_a_plan_has_its_verdict() {
    let before = json!({"managedPolicies": ["ReadOnlyAccess"], "inlinePolicies": {"old": allow(&json!("s3:GetObject")), "no": deny(&json!("s3:*"))}});
    let after = json!({"managedPolicies": ["PowerUserAccess"], "inlinePolicies": {"new": allow(&json!("s3:GetObject"))}, "description": "x", "exclusive": {"denies": "Remove"}});
    let (before, changes) = changes(&before, &after);
    let verdicts = verdicts(Some(&before), &changes, place(&[]));
    let short = |verdict: &Verdict| match verdict {
        Verdict::Same => "same",
        Verdict::Narrows => "narrows",
        Verdict::Widens(_) => "widens",
    };
    let mut all: Vec<String> = changes
        .iter()
        .zip(&verdicts)
        .map(|(c, v)| format!("{c}: {}", short(v)))
        .collect();
    all.sort();
    assert_eq!(
        all,
        [
            "+ inline policy new: same",
            "+ managed policy arn:aws:iam::aws:policy/PowerUserAccess: widens",
            "- inline policy no: widens",
            "- inline policy old: same",
            "- managed policy arn:aws:iam::aws:policy/ReadOnlyAccess: narrows",
            "~ description \"\" -> \"x\": same",
        ]
    );
}

#[test]
fn what_narrows_is_made_at_once_and_what_widens_waits() {
    let (a, b, c) = (
        "arn:aws:iam::111111111111:role/a",
        "arn:aws:iam::111111111111:role/b",
        "arn:aws:iam::111111111111:role/c",
    );
    let before =
        json!({"assumeRolePolicy": trust(&json!({"AWS": [a, b]})), "managedPolicies": ["ReadOnlyAccess"]});
    let after_all = json!({"assumeRolePolicy": trust(&json!({"AWS": [b, c]})), "managedPolicies": ["PowerUserAccess"], "tags": {"team": "x"}});
    let (before, changes) = changes(&before, &after_all);
    let hold = narrow_now(Some(&before), &changes, place(&[]), &Budget::default());
    let mut now = shown(&hold.now);
    now.sort();
    assert_eq!(
        now,
        [
            "+ tags team=x",
            "- managed policy arn:aws:iam::aws:policy/ReadOnlyAccess",
            "~ trust policy"
        ]
    );
    let state = after(Some(&before), &hold.now).unwrap();
    assert!(
        state
            .trust
            .is(&Document::from_value(&trust(&json!({"AWS": [b]}))).unwrap())
    );
    let atoms: Vec<String> = hold.widening.atoms.iter().map(ToString::to_string).collect();
    assert_eq!(
        atoms,
        [
            format!(
                "trust policy, statement \"Allow sts:AssumeRole\": sts:AssumeRole for AWS {c}: no statement of the present role is shown to allow it"
            ),
            "managed policy arn:aws:iam::aws:policy/PowerUserAccess: what this policy allows is not known"
                .to_owned(),
        ]
    );
    // What is left waits with the same digest, and nothing more is made at once.
    let subject = Subject {
        owner: "c/ns/app",
        account_id: OWN,
        role_id: Some("AROA1"),
    };
    let next = narrow_now(Some(&state), &hold.waiting, place(&[]), &Budget::default());
    assert_eq!((next.now, next.waiting.clone()), (vec![], hold.waiting.clone()));
    assert_eq!(next.widening, hold.widening);
    assert_eq!(hold.digest(subject).len(), 64);
    let other = Subject {
        owner: "c/ns/other",
        ..subject
    };
    assert_ne!(hold.digest(subject), hold.digest(other));
}

#[test]
fn a_digest_fits_no_other_content() {
    let digest = |after: &Value| {
        let (before, changes) = changes(&json!({}), after);
        let subject = Subject {
            owner: "c/ns/app",
            account_id: OWN,
            role_id: Some("AROA1"),
        };
        narrow_now(Some(&before), &changes, place(&[]), &Budget::default()).digest(subject)
    };
    let with = |condition: Value| {
        json!({"inlinePolicies": {"p": {"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": "s3:*", "Resource": "*", "Condition": condition}]}}})
    };
    let office = json!({"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}});
    let approved = digest(&with(office.clone()));
    assert_eq!(
        approved,
        digest(&with(office)),
        "the same changes have the same digest"
    );
    for other in [
        with(json!({})),
        with(json!({"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}})),
        json!({"inlinePolicies": {"q": allow(&json!("s3:*"))}}),
        json!({"managedPolicies": ["ReadOnlyAccess"]}),
    ] {
        assert_ne!(approved, digest(&other), "{other}");
    }
}

#[test]
fn a_policy_that_is_deleted_to_be_put_again_is_not_deleted_after_it_is_put() {
    let (before, changes) = changes(
        &json!({"inlinePolicies": {"q": allow(&json!("s3:PutObject"))}}),
        &json!({"inlinePolicies": {"q": allow(&json!(["s3:PutObject", "s3:GetObject"])), "p": deny(&json!("s3:*"))}}),
    );
    let delete = Change::DeleteInlinePolicy("q".to_owned());
    let with_room: Vec<Change> = [delete.clone()].into_iter().chain(changes).collect();
    let hold = narrow_now(Some(&before), &with_room, place(&[]), &Budget::default());
    assert!(!hold.now.contains(&delete), "{:?}", shown(&hold.now));
    let state = after(Some(&before), &hold.now).unwrap();
    assert!(state.inline_policies.contains_key("q"));
}

#[test]
fn where_every_change_waits_none_is_made_at_once() {
    let (before, changes) = changes(
        &json!({"managedPolicies": ["ReadOnlyAccess"]}),
        &json!({"description": "x"}),
    );
    let hold = hold_all(Some(&before), &changes, place(&[]), &Budget::default());
    assert_eq!((hold.now.len(), hold.waiting.len()), (0, 2));
    assert!(hold.widening.is_none());
}

fn document() -> impl Strategy<Value = Value> {
    let actions = prop::sample::subsequence(vec!["s3:Get*", "s3:GetObject", "s3:PutObject", "s3:*"], 1..3);
    let statement = (prop::bool::weighted(0.3), actions, prop::bool::weighted(0.3)).prop_map(|(denies, actions, mfa)| {
        let condition = if mfa { json!({"Bool": {"aws:MultiFactorAuthPresent": "true"}}) } else { json!({}) };
        json!({"Effect": if denies { "Deny" } else { "Allow" }, "Action": actions, "Resource": "*", "Condition": condition})
    });
    prop::collection::vec(statement, 1..3).prop_map(|all| json!({"Version": "2012-10-17", "Statement": all}))
}

fn any_role() -> impl Strategy<Value = Value> {
    let roles: Vec<String> = ["a", "b", "c"]
        .iter()
        .map(|n| format!("arn:aws:iam::111111111111:role/{n}"))
        .collect();
    (
        prop::sample::subsequence(roles, 1..4),
        prop::collection::btree_map(prop::sample::select(vec!["p", "q", "r"]), document(), 0..3),
        prop::sample::subsequence(
            vec![
                "ReadOnlyAccess",
                "PowerUserAccess",
                "AWSDenyAll",
                "arn:aws:iam::222222222222:policy/own",
            ],
            0..3,
        ),
        prop::option::of(prop::sample::select(vec!["PowerUserAccess", "ReadOnlyAccess"])),
        prop::sample::select(vec![3600, 7200]),
        prop::bool::ANY,
    )
        .prop_map(|(callers, inline, managed, boundary, seconds, has_profile)| {
            let mut role = json!({
                "assumeRolePolicy": trust(&json!({"AWS": callers})),
                "inlinePolicies": inline,
                "managedPolicies": managed,
                "maxSessionDuration": seconds,
                "exclusive": {"boundary": true, "denies": "Remove"},
            });
            if let Some(boundary) = boundary {
                role["permissionsBoundary"] = json!(boundary);
            }
            if has_profile {
                role["instanceProfile"] = json!({"name": "app"});
            }
            role
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn a_role_is_as_wide_as_itself(one in any_role()) {
        prop_assert_eq!(judged(&one, &one), Verdict::Same);
    }

    #[test]
    fn nothing_that_is_made_at_once_makes_the_role_wider_and_the_rest_waits_unchanged(before in any_role(), goal in any_role()) {
        let (before, changes) = changes(&before, &goal);
        let hold = narrow_now(Some(&before), &changes, place(&[]), &Budget::default());
        let mut state = Some(before.clone());
        for change in &hold.now {
            state = after(state.as_ref(), std::slice::from_ref(change));
            prop_assert!(widening(Some(&before), state.as_ref(), place(&[]), &Budget::default()).is_none(), "{} of {:?}", change, shown(&changes));
        }
        // At the next look the same waits, and nothing is made again.
        let value = serde_json::to_value(spec()).unwrap();
        let desired = {
            let mut value = value;
            for (key, change) in goal.as_object().unwrap() {
                value[key] = change.clone();
            }
            wanted(&serde_json::from_value(value).unwrap())
        };
        let next = plan(&desired, state.as_ref(), &PlanContext::default()).unwrap();
        let again = narrow_now(state.as_ref(), &next.changes, place(&[]), &Budget::default());
        prop_assert_eq!(shown(&again.now), Vec::<String>::new(), "{:?} then {:?}", shown(&changes), shown(&next.changes));
        let left = after(state.as_ref(), &next.changes);
        prop_assert_eq!(again.widening, widening(state.as_ref(), left.as_ref(), place(&[]), &Budget::default()));
    }
}

#[test]
fn the_digest_of_a_role_covers_every_field_and_no_spelling_of_a_document() {
    let digest = |role: &ObservedRole| state_digest(Some(role));
    let role = role(&json!({"inlinePolicies": {"p": allow(&json!(["s3:GetObject", "s3:PutObject"]))}}));
    assert_eq!(state_digest(None), "-");
    assert_eq!(digest(&role).len(), 16);
    let mut all = vec![digest(&role)];
    let changes: [fn(&mut ObservedRole); 12] = [
        |role| role.name.push('x'),
        |role| role.arn.push('x'),
        |role| role.role_id.push('x'),
        |role| role.path.push('x'),
        |role| role.description.push('x'),
        |role| role.max_session_duration += 1,
        |role| role.trust = ObservedDocument::Unreadable("x".to_owned()),
        |role| role.managed_policies.extend(["x".to_owned()]),
        |role| drop(role.inline_policies.remove("p")),
        |role| role.permissions_boundary = Some("x".to_owned()),
        |role| drop(role.tags.insert("x".to_owned(), String::new())),
        |role| role.instance_profiles.extend(["x".to_owned()]),
    ];
    for change in changes {
        let mut other = role.clone();
        change(&mut other);
        all.push(digest(&other));
    }
    let distinct: BTreeSet<&String> = all.iter().collect();
    assert_eq!(distinct.len(), all.len(), "{all:?}");
    let mut spelled = role.clone();
    let text = r#"{"Statement": [{"Resource": ["*"], "Action": ["s3:PutObject", "s3:GetObject"], "Effect": "Allow"}], "Version": "2012-10-17"}"#;
    spelled
        .inline_policies
        .insert("p".to_owned(), ObservedDocument::read(text));
    assert_eq!(digest(&spelled), digest(&role));
}

/// Measures the verdicts of 1,000 roles with nine statements in three inline policies, of which one is edited. Run it with optimization:
/// `cargo test --release -p rolectl-core --lib -- --ignored --nocapture verdicts`.
#[test]
#[ignore = "a measurement"]
fn verdicts_of_1000_edited_roles() {
    let services = [
        "s3", "sqs", "sns", "dynamodb", "lambda", "logs", "kms", "ssm", "ecr",
    ];
    let policies = |team: usize, more: &str| {
        let of = |services: &[&str]| {
            let statements: Vec<Value> = services
                .iter()
                .map(|service| json!({"Effect": "Allow", "Action": [format!("{service}:Get*"), format!("{service}:List*"), format!("{service}:{more}")],
                    "Resource": [format!("arn:aws:{service}:*:222222222222:team-{team}"), format!("arn:aws:{service}:*:222222222222:team-{team}/*")]}))
                .collect();
            json!({"Version": "2012-10-17", "Statement": statements})
        };
        let [a, b, c] = [0, 3, 6].map(|from| of(&services[from..from + 3]));
        json!({"inlinePolicies": {"a": a, "b": b, "c": c}, "managedPolicies": ["ReadOnlyAccess"]})
    };
    let roles: Vec<_> = (0..1000)
        .map(|team| [role(&policies(team, "Put*")), role(&policies(team, "PutItem"))])
        .collect();
    for _ in 0..3 {
        let start = std::time::Instant::now();
        for [before, after] in &roles {
            let there = verdict(Some(before), Some(after), place(&[]), &Budget::default());
            assert_eq!(there, Verdict::Narrows);
        }
        println!("1,000 verdicts: {:?}", start.elapsed());
    }
}
