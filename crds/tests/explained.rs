//! `kubectl explain` shows the default of each field of a spec, and what each value of an enum means.

use kube::CustomResourceExt as _;
use rolectl_crds::{AwsAccount, IamRole, MfaSession};
use serde_json::Value;

/// Checks a schema and those below it. `path` names the field.
fn check(schema: &Value, path: &str, problems: &mut Vec<String>) {
    let description = schema["description"].as_str().unwrap_or_default();
    if !schema["default"].is_null() && !description.contains("Default: ") {
        problems.push(format!("{path}: its description has no default"));
    }
    for value in schema["enum"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        if !description.contains(&format!("`{value}`")) {
            problems.push(format!("{path}: its description does not explain {value}"));
        }
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        // The elements of a policy document are AWS's.
        let is_document =
            ["assumeRolePolicy", "ceiling", "inlinePolicies", "trustCeiling"].contains(&name.as_str());
        if !is_document || field["enum"].is_array() {
            check(field, &format!("{path}.{name}"), problems);
        }
    }
}

#[test]
fn the_description_of_a_field_has_its_default_and_the_meaning_of_its_values() {
    let mut problems = vec![];
    for crd in [IamRole::crd(), AwsAccount::crd(), MfaSession::crd()] {
        let crd = serde_json::to_value(crd).unwrap();
        let kind = crd["spec"]["names"]["kind"].as_str().unwrap().to_owned();
        let spec = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        assert!(spec["properties"].is_object(), "{kind}");
        check(spec, &kind, &mut problems);
    }
    assert!(problems.is_empty(), "{problems:#?}");
}
