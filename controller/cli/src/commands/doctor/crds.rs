//! Compares the CRDs of the cluster with those of this version.

use std::collections::BTreeSet;

use futures::future::join_all;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, Client, ResourceExt as _};
use rolectl_crds::{GROUP, definitions};
use serde_json::Value;

use super::check::Check;
use crate::cluster::failed;
use crate::output::counted;

pub const NAME: &str = "crds";
const INSTALL: &str =
    "install the CRDs of this version: `kubectl apply --server-side -k deploy/crd`, or upgrade the release";
/// Maximum depth of a schema that is compared. Ours have less than half of it.
const MAX_DEPTH: usize = 32;

pub async fn checks(client: &Client) -> Vec<Check> {
    let ours = definitions();
    let checks = join_all(ours.iter().map(|crd| one(client, crd))).await;
    let problems: Vec<Check> = checks.into_iter().filter_map(Result::err).collect();
    if problems.is_empty() {
        return vec![Check::ok(
            NAME,
            format!("those of rolectl {}", env!("CARGO_PKG_VERSION")),
        )];
    }
    // A user who may read none of them needs one line.
    let mut different = vec![];
    for check in problems {
        if !different.contains(&check) {
            different.push(check);
        }
    }
    different
}

async fn one(client: &Client, ours: &CustomResourceDefinition) -> Result<(), Check> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let kind = &ours.spec.names.kind;
    match api.get_opt(&ours.name_any()).await {
        Ok(Some(served)) => judge(kind, schema(&served).as_ref(), schema(ours).as_ref()),
        Ok(None) => Err(Check::failed(NAME, format!("the cluster has no {kind}"), INSTALL)),
        Err(kube::Error::Api(status)) if status.code == 403 => {
            Err(is_served(client, kind, &ours.spec.names.plural).await)
        }
        Err(error) => Err(Check::of_failure(NAME, &failed("read the CRDs", &error))),
    }
}

/// Returns the check for a user who may not read CRDs: everybody may ask which kinds are served.
async fn is_served(client: &Client, kind: &str, plural: &str) -> Check {
    match client
        .list_api_group_resources(&format!("{GROUP}/v1alpha1"))
        .await
    {
        Ok(list) if list.resources.iter().any(|resource| resource.name == plural) => Check::ok(
            NAME,
            "all are served; not compared with this version, since you may not read CustomResourceDefinitions",
        ),
        Ok(_) => Check::failed(NAME, format!("the cluster has no {kind}"), INSTALL),
        Err(kube::Error::Api(status)) if status.code == 404 => {
            Check::failed(NAME, "the cluster has no CRDs of rolectl", INSTALL)
        }
        Err(error) => Check::of_failure(NAME, &failed("ask for the kinds of the cluster", &error)),
    }
}

/// Returns the schema of our version, as JSON.
fn schema(crd: &CustomResourceDefinition) -> Option<Value> {
    let mut versions = crd.spec.versions.iter();
    let version = versions.find(|version| version.name == "v1alpha1" && version.served)?;
    let schema = version.schema.as_ref()?.open_api_v3_schema.as_ref()?;
    serde_json::to_value(schema).ok()
}

/// Judges the schema that the cluster serves by that of this version.
fn judge(kind: &str, served: Option<&Value>, ours: Option<&Value>) -> Result<(), Check> {
    let (Some(served), Some(ours)) = (served, ours) else {
        return Err(Check::failed(
            NAME,
            format!("the cluster does not serve version v1alpha1 of {kind}"),
            INSTALL,
        ));
    };
    if served == ours {
        return Ok(());
    }
    let (in_served, in_ours) = (fields(served), fields(ours));
    if let Some(missing) = some(&in_ours, &in_served) {
        let message = format!("{kind} of the cluster is of an older version: it has no {missing}");
        return Err(Check::warning(NAME, message, INSTALL));
    }
    if let Some(unknown) = some(&in_served, &in_ours) {
        return Err(Check::warning(
            NAME,
            format!("{kind} of the cluster is of a newer version: rolectl has no {unknown}"),
            "use the version of rolectl that `rolectl version` shows for the controller",
        ));
    }
    Err(Check::warning(
        NAME,
        format!("{kind} of the cluster has other rules or descriptions than this version"),
        INSTALL,
    ))
}

/// Returns the first field that only `of` has, and the number of others.
fn some(of: &BTreeSet<String>, other: &BTreeSet<String>) -> Option<String> {
    let mut only = of.difference(other);
    let first = only.next()?;
    Some(match only.count() {
        0 => first.clone(),
        more => format!("{first} (and {})", counted(more, "more field")),
    })
}

/// Returns the paths of all fields of a schema.
fn fields(schema: &Value) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    collect(schema, "", MAX_DEPTH, &mut all);
    all
}

fn collect(schema: &Value, path: &str, depth: usize, all: &mut BTreeSet<String>) {
    let Some(depth) = depth.checked_sub(1) else {
        return;
    };
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, field) in properties.into_iter().flatten() {
        let path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        collect(field, &path, depth, all);
        all.insert(path);
    }
    for below in ["items", "additionalProperties"]
        .into_iter()
        .filter_map(|key| schema.get(key))
    {
        collect(below, path, depth, all);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(fields: &Value) -> Value {
        json!({"properties": {"spec": {"type": "object", "properties": fields}}})
    }

    #[test]
    fn schemas_are_compared_by_fields_and_then_as_a_whole() {
        let ours = of(&json!({"a": {}, "list": {"items": {"properties": {"b": {}}}}}));
        let message = |served: Value| {
            judge("IamRole", Some(&served), Some(&ours))
                .err()
                .map(|c| c.message)
        };
        assert_eq!(message(ours.clone()), None);
        let older = message(of(&json!({"list": {"items": {}}}))).unwrap();
        assert!(older.ends_with("it has no spec.a (and 1 more field)"), "{older}");
        let mut newer = ours.clone();
        newer["properties"]["spec"]["properties"]["z"] = json!({});
        assert!(message(newer).unwrap().ends_with("rolectl has no spec.z"));
        let mut rules = ours.clone();
        rules["properties"]["spec"]["properties"]["a"] = json!({"maxLength": 1});
        assert!(message(rules).unwrap().contains("other rules"));
        assert!(judge("IamRole", None, Some(&ours)).is_err());
    }

    #[test]
    fn the_definitions_of_this_version_have_a_schema() {
        for crd in definitions() {
            let schema = schema(&crd).unwrap();
            assert!(fields(&schema).iter().any(|field| field.starts_with("spec.")));
        }
    }
}
