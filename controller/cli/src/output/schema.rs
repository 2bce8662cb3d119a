//! The JSON schema of the output for programs, `docs/reference/output.schema.json`.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::{Document, List, OUTPUT_VERSION};
use crate::commands::{
    approve, bootstrap, doctor, events, explain, lint, policy, rollout, status, version, whoami,
};
use crate::fleet;
use crate::objects::{AccountRow, RoleLine, RoleRow, SessionRow};

/// Adds the schema of a document with its version and kind.
fn add<T: Document>(all: &mut Vec<Value>, generator: &mut SchemaGenerator) {
    let mut schema = <T as JsonSchema>::json_schema(generator).to_value();
    let Some(fields) = schema.as_object_mut() else {
        return;
    };
    fields.insert("title".to_owned(), T::KIND.into());
    let mut properties = Map::new();
    properties.insert("apiVersion".to_owned(), json!({"const": OUTPUT_VERSION}));
    properties.insert("kind".to_owned(), json!({"const": T::KIND}));
    if let Some(Value::Object(own)) = fields.get("properties") {
        properties.extend(own.clone());
    }
    fields.insert("properties".to_owned(), properties.into());
    let mut required = vec![json!("apiVersion"), json!("kind")];
    required.extend(
        fields
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .cloned(),
    );
    fields.insert("required".to_owned(), required.into());
    all.push(schema);
}

#[test]
fn the_schema_in_the_docs_is_that_of_the_types_which_are_printed() {
    let mut generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let mut all = vec![];
    add::<List<AccountRow>>(&mut all, &mut generator);
    add::<AccountRow>(&mut all, &mut generator);
    add::<approve::Decisions>(&mut all, &mut generator);
    add::<bootstrap::Printed>(&mut all, &mut generator);
    add::<doctor::Report>(&mut all, &mut generator);
    add::<events::Line>(&mut all, &mut generator);
    add::<List<events::Line>>(&mut all, &mut generator);
    add::<lint::LintResult>(&mut all, &mut generator);
    add::<whoami::Identity>(&mut all, &mut generator);
    add::<fleet::Overview>(&mut all, &mut generator);
    add::<policy::PolicyInclusion>(&mut all, &mut generator);
    add::<policy::PolicyDiff>(&mut all, &mut generator);
    add::<explain::Explained>(&mut all, &mut generator);
    add::<List<explain::Explained>>(&mut all, &mut generator);
    add::<List<RoleRow>>(&mut all, &mut generator);
    add::<RoleLine>(&mut all, &mut generator);
    add::<List<SessionRow>>(&mut all, &mut generator);
    add::<rollout::RolloutReport>(&mut all, &mut generator);
    add::<SessionRow>(&mut all, &mut generator);
    add::<status::Overview>(&mut all, &mut generator);
    add::<version::Versions>(&mut all, &mut generator);
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Output of rolectl for programs",
        "description": "What the verbs of rolectl print with -o json and -o yaml. Fields are added within a version, and neither removed nor changed. `lint -o sarif`, `policy fmt` and `policy trust` print documents of other standards.",
        "oneOf": all,
        "$defs": generator.take_definitions(true),
    });
    let text = format!("{schema:#}\n");
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/reference/output.schema.json"
    );
    // insta's own, by which snapshots are written, too.
    #[allow(clippy::disallowed_methods)]
    if std::env::var_os("INSTA_UPDATE").is_some_and(|update| update == "always") {
        std::fs::write(file, &text).unwrap();
    }
    let on_disk = std::fs::read_to_string(file).unwrap_or_default();
    assert!(
        on_disk == text,
        "docs/reference/output.schema.json is stale: `INSTA_UPDATE=always cargo test -p rolectl the_schema` writes it"
    );
}
