use serde_json::{Value, json};

use super::*;

fn role(change: &Value) -> Value {
    let mut role = json!({
        "apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "IamRole",
        "metadata": {"name": "app", "namespace": "platform"},
        "spec": {"accounts": {"names": ["dev"]}, "assumeRolePolicy": {"Statement": []}},
    });
    merge(&mut role, change);
    role
}

fn account(spec: &Value) -> Value {
    let mut account = json!({
        "apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "AwsAccount", "metadata": {"name": "dev"},
        "spec": {"accountId": "222222222222"},
    });
    merge(&mut account, &json!({"spec": spec}));
    account
}

/// As a merge patch: null removes.
fn merge(value: &mut Value, change: &Value) {
    match (value, change) {
        (Value::Object(fields), Value::Object(changes)) => {
            for (key, change) in changes {
                if change.is_null() {
                    fields.remove(key);
                } else {
                    merge(fields.entry(key.clone()).or_insert(Value::Null), change);
                }
            }
        }
        (value, change) => *value = change.clone(),
    }
}

fn texts(object: &Value) -> Vec<String> {
    problems(object).iter().map(ToString::to_string).collect()
}

/// The API server drops a null, so that the default applies.
fn with_nulls() -> Value {
    let mut object = role(&json!({}));
    object["spec"]["path"] = Value::Null;
    object["spec"]["tags"] = json!({"a": null});
    object
}

#[test]
fn a_null_counts_as_no_value() {
    let role: rolectl_crds::IamRole = parse(&with_nulls()).unwrap();
    assert_eq!((role.spec.path.as_str(), role.spec.tags.len()), ("/", 0));
}

#[test]
fn a_valid_object_has_no_problems() {
    for object in [
        role(&json!({})),
        role(
            &json!({"spec": {"maxSessionDuration": 7200, "tags": {"team": "a"}, "instanceProfile": {"name": "app"}}}),
        ),
        role(&json!({"spec": {"ensure": "Absent", "assumeRolePolicy": null}})),
        with_nulls(),
        role(&json!({"status": {"anything": 1}})),
        account(&json!({"assumeRole": {"name": "rolectl"}, "driftInterval": "5m", "region": "eu-west-1"})),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "data": 1}),
        json!({"apiVersion": "iam.services.k8s.aws/v1alpha1", "kind": "Role", "metadata": {}}),
    ] {
        assert_eq!(texts(&object), [""; 0], "{object}");
    }
}

#[test]
fn what_the_api_server_refuses_is_a_problem_with_its_field() {
    for (object, wanted) in [
        (
            role(&json!({"kind": "IAMRole"})),
            "kind: iam.rolectl.dev has no kind \"IAMRole\": did you mean IamRole?",
        ),
        (
            role(&json!({"apiVersion": "iam.rolectl.dev/v1"})),
            "apiVersion: is \"iam.rolectl.dev/v1\"",
        ),
        (
            role(&json!({"apiVersion": "iam.rolectl.io/v1alpha1"})),
            "apiVersion: is \"iam.rolectl.io/v1alpha1\": did you mean iam.rolectl.dev/v1alpha1?",
        ),
        (role(&json!({"apiVersion": null})), "apiVersion: is \"\""),
        (
            role(&json!({"metadata": {"name": null}})),
            "metadata.name: is missing",
        ),
        (
            role(&json!({"metadata": {"name": "App"}})),
            "metadata.name: \"App\" is no name",
        ),
        (
            role(&json!({"metadata": {"nmae": "a"}})),
            "metadata.nmae: unknown field: did you mean name?",
        ),
        (
            role(&json!({"metadata": {"labels": {"a": 1}}})),
            "metadata.labels.a: is not a string",
        ),
        (
            role(&json!({"metadata": {"name": "a".repeat(70)}})),
            "an IAM role's name has at most 64 characters: set spec.roleName",
        ),
        (
            role(&json!({"spec": {"path": "app"}})),
            "spec.path: \"app\" does not match",
        ),
        (
            role(&json!({"spec": {"roleName": "a b"}})),
            "spec.roleName: \"a b\" does not match",
        ),
        (
            role(&json!({"spec": {"maxSessionDuration": 60}})),
            "spec.maxSessionDuration: is 60: write 3600 or more",
        ),
        (
            role(&json!({"spec": {"maxSessionDuration": "1h"}})),
            "spec.maxSessionDuration: is the string \"1h\": write an integer",
        ),
        (
            role(&json!({"spec": {"drift": "correct"}})),
            "spec.drift: is \"correct\": did you mean Correct?",
        ),
        (
            role(&json!({"spec": {"instanceProfile": {"name": "a:b"}}})),
            "spec.instanceProfile.name: \"a:b\" does not match",
        ),
        (
            role(&json!({"spec": {"managedPolicy": "x"}})),
            "spec.managedPolicy: unknown field: did you mean managedPolicies?",
        ),
        (
            role(&json!({"spec": {"tags": {"aws:x": "y"}}})),
            "spec.tags: tag keys that begin with aws: are reserved by AWS",
        ),
        (
            role(&json!({"spec": {"assumeRolePolicy": null}})),
            "assumeRolePolicy",
        ),
        (
            role(&json!({"spec": {"accounts": {"names": null}}})),
            "spec.accounts: name at least one account in names, or give a selector",
        ),
        (role(&json!({"spec": null})), "spec: is missing"),
        (
            account(&json!({"accountId": "2222"})),
            "spec.accountId: \"2222\" does not match",
        ),
        (
            account(&json!({"accountId": 222_222_222_222_i64})),
            "spec.accountId: is the number 222222222222: write a string",
        ),
        (
            account(&json!({"driftInterval": "1s"})),
            "spec.driftInterval: driftInterval is between 10s and 24h",
        ),
        (
            account(&json!({"assumeRole": {"arn": "arn:aws:iam::333333333333:role/x"}})),
            "spec: assumeRole.arn must be a role of this accountId and partition",
        ),
        (
            account(&json!({"region": "cn-north-1"})),
            "spec: region must be a region of this partition",
        ),
    ] {
        let found = texts(&object);
        assert!(
            found.iter().any(|text| text.contains(wanted)),
            "{wanted}: {found:?}"
        );
        assert!(
            !found.iter().any(|text| text.contains("cannot be checked")),
            "{found:?}"
        );
    }
}

#[test]
fn a_duration_of_any_length_is_no_panic() {
    let object = account(&json!({"driftInterval": "99999999999999999999h"}));
    let found = texts(&object);
    assert!(
        found.iter().any(|text| text.starts_with("spec.driftInterval: ")),
        "{found:?}"
    );
    assert!(parse::<rolectl_crds::AwsAccount>(&object).is_err());
}

#[test]
fn all_problems_are_found_at_once() {
    let object = role(&json!({"spec": {"path": "app", "maxSessionDuration": 1, "typo": 1, "drift": "x"}}));
    assert_eq!(problems(&object).len(), 4, "{:?}", texts(&object));
}

/// The keywords that the checks follow. `format` is `int32` or `int64` here, whose bounds `minimum` and `maximum` are within.
#[test]
fn the_schemas_have_no_keyword_that_is_not_checked() {
    const CHECKED: [&str; 21] = [
        "additionalProperties",
        "default",
        "description",
        "enum",
        "format",
        "items",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minItems",
        "minLength",
        "minProperties",
        "minimum",
        "nullable",
        "pattern",
        "properties",
        "required",
        "title",
        "type",
        "x-kubernetes-preserve-unknown-fields",
    ];
    fn walk(schema: &Value) {
        let Value::Object(fields) = schema else { return };
        for (key, value) in fields {
            match key.as_str() {
                "properties" => value.as_object().unwrap().values().for_each(walk),
                "items" | "additionalProperties" => walk(value),
                "x-kubernetes-list-type" => assert!(value == "set" || value == "atomic", "{value}"),
                "x-kubernetes-validations" => {
                    for rule in value.as_array().unwrap() {
                        let rule = rule["rule"].as_str().unwrap();
                        assert!(cel::Program::compile(rule).is_ok(), "{rule}");
                    }
                }
                "pattern" => assert!(regex_lite::Regex::new(value.as_str().unwrap()).is_ok(), "{value}"),
                other => assert!(CHECKED.contains(&other), "{other}"),
            }
        }
    }
    for kind in KINDS.values() {
        let mut schema = kind.schema.clone();
        schema["properties"].as_object_mut().unwrap().remove("status");
        walk(&schema);
    }
}
