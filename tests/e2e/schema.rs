//! `rolectl lint` and the API server agree on which objects are valid.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use http::Request;
use serde_json::{Value, json};

/// Values that a field may be given by mistake.
fn mistakes() -> Vec<Value> {
    vec![
        Value::Null,
        json!(true),
        json!(-1),
        json!(0),
        json!(7),
        json!(2_000_000_000),
        json!(1.5),
        json!(""),
        json!("a b"),
        json!("x"),
        json!("5m"),
        json!("arn:aws:iam::222222222222:policy/x"),
        json!("A".repeat(300)),
        json!([]),
        json!(["x"]),
        json!(["x", "x"]),
        json!([1]),
        json!({}),
        json!({"x": "y"}),
        json!({"aws:x": "y"}),
        json!({"x": 1}),
        json!({"x": null}),
    ]
}

/// An object of each kind with every field that is common, and its path in the API.
fn objects() -> [(&'static str, Value); 3] {
    let object = |kind: &str, spec: Value| json!({"apiVersion": "iam.rolectl.dev/v1alpha1", "kind": kind, "metadata": {"name": "mistake"}, "spec": spec});
    let trust = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ec2.amazonaws.com"}}]});
    let role = json!({"accounts": {"names": ["dev"]}, "assumeRolePolicy": trust, "tags": {"a": "b"},
        "inlinePolicies": {"p": {"Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]}}, "exclusive": {}, "instanceProfile": {"name": "p"}});
    let account = json!({"accountId": "222222222222", "assumeRole": {"name": "rolectl"}, "guardrails": {}, "quotas": {}, "allowedNamespaces": {"from": "All"}});
    [
        ("namespaces/default/iamroles", object("IamRole", role)),
        ("awsaccounts", object("AwsAccount", account)),
        (
            "mfasessions",
            object("MfaSession", json!({"accountId": "111111111111"})),
        ),
    ]
}

/// The pointers of all fields of a schema, but for those of policy documents, which are for the controller to judge.
fn fields(schema: &Value, at: &str, to: &mut Vec<String>) {
    for (key, schema) in schema["properties"].as_object().into_iter().flatten() {
        let at = format!("{at}/{key}");
        to.push(at.clone());
        if !["assumeRolePolicy", "ceiling", "inlinePolicies", "trustCeiling"].contains(&key.as_str()) {
            fields(schema, &at, to);
        }
    }
}

/// Returns the object with another value of one field, or `None` if it has no place for it.
fn with(object: &Value, pointer: &str, value: &Value) -> Option<Value> {
    let (parent, key) = pointer.rsplit_once('/')?;
    let mut object = object.clone();
    let parent = object.pointer_mut(parent)?.as_object_mut()?;
    parent.insert(key.to_owned(), value.clone());
    Some(object)
}

/// All objects with one mistake each.
fn cases() -> Vec<(&'static str, Value)> {
    let definitions = rolectl_crds::definitions();
    let mut cases = vec![];
    for (path, object) in objects() {
        let definition = definitions
            .iter()
            .find(|definition| object["kind"] == definition.spec.names.kind.as_str());
        let schema = definition.and_then(|definition| definition.spec.versions.first()?.schema.clone());
        let schema =
            serde_json::to_value(schema.and_then(|schema| schema.open_api_v3_schema)).unwrap_or_default();
        let mut pointers = vec!["/spec/typo".to_owned()];
        fields(&schema["properties"]["spec"], "/spec", &mut pointers);
        for pointer in pointers {
            for value in mistakes() {
                cases.extend(with(&object, &pointer, &value).map(|case| (path, case)));
            }
        }
        for name in ["", "A", "a.b", "-a", &"a".repeat(70), &"a".repeat(300)] {
            cases.extend(with(&object, "/metadata/name", &json!(name)).map(|case| (path, case)));
        }
        cases.push((path, object));
    }
    cases
}

/// Returns true if the API server refuses to create the object because of its schema.
async fn is_refused(client: &kube::Client, path: &str, object: &Value) -> Result<bool> {
    let uri = format!("/apis/iam.rolectl.dev/v1alpha1/{path}?dryRun=All&fieldValidation=Strict");
    let request = Request::post(uri)
        .header("content-type", "application/json")
        .body(object.to_string().into_bytes())?;
    match client.request_text(request).await {
        Ok(_) => Ok(false),
        Err(kube::Error::Api(status)) if [400, 422].contains(&status.code) => Ok(true),
        // Another test's object has the name, or an admission policy refuses it: the schema has been passed.
        Err(kube::Error::Api(status)) if [403, 409].contains(&status.code) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[tokio::test]
async fn lint_refuses_what_the_api_server_refuses_and_nothing_else() -> Result<()> {
    let world = crate::world().await?;
    let client = world.plane.client("admin").await?;
    let cases = cases();
    ensure!(cases.len() > 1000, "{} cases", cases.len());
    let dir = tempfile::tempdir()?;
    // One file for each case, since a name may occur once in a run.
    for (number, (_, object)) in cases.iter().enumerate() {
        std::fs::write(dir.path().join(format!("{number}.json")), object.to_string())?;
    }
    let asked = cases.iter().enumerate().map(|(number, (path, object))| {
        let client = client.clone();
        async move { anyhow::Ok((number, is_refused(&client, path, object).await?)) }
    });
    let answers: Vec<(usize, bool)> = futures::stream::iter(asked)
        .buffer_unordered(8)
        .try_collect()
        .await?;
    let refused: BTreeSet<usize> = answers
        .into_iter()
        .filter_map(|(number, is)| is.then_some(number))
        .collect();
    let output = tokio::process::Command::new(&world.tools.rolectl)
        .args(["lint", "-o", "json", "."])
        .current_dir(dir.path())
        .output()
        .await?;
    let result: Value = serde_json::from_slice(&output.stdout)?;
    let found = result["findings"].as_array().into_iter().flatten();
    let by_schema: BTreeSet<usize> = found
        .filter(|finding| finding["rule"] == "schema")
        .filter_map(|finding| {
            finding["file"]
                .as_str()?
                .strip_prefix("./")?
                .strip_suffix(".json")?
                .parse()
                .ok()
        })
        .collect();
    let differ: Vec<String> = refused
        .symmetric_difference(&by_schema)
        .filter_map(|number| {
            let who = if refused.contains(number) {
                "the API server"
            } else {
                "lint"
            };
            Some(format!("only {who} refuses {}", cases.get(*number)?.1))
        })
        .collect();
    ensure!(refused.len() > 500, "{} refused", refused.len());
    ensure!(
        differ.is_empty(),
        "{} of {}:\n{}",
        differ.len(),
        cases.len(),
        differ.join("\n")
    );
    Ok(())
}
