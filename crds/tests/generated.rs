//! The YAML that users apply is the YAML that the types give.

#[test]
fn the_generated_yaml_is_up_to_date() {
    for crd in rolectl_crds::definitions() {
        let file = format!(
            "{}/yaml/{}.yaml",
            env!("CARGO_MANIFEST_DIR"),
            crd.spec.names.plural
        );
        let on_disk = std::fs::read_to_string(&file).unwrap_or_default();
        let from_types = rolectl_crds::to_yaml(&crd).unwrap();
        assert!(
            on_disk == from_types,
            "{file} is stale: run `cargo crds` and commit the result"
        );
    }
}

#[test]
fn a_reason_is_stalled_or_reconciling_but_never_both() {
    for reason in rolectl_crds::Reason::ALL {
        assert!(!(reason.is_stalled() && reason.is_reconciling()), "{reason}");
    }
}

#[test]
fn every_number_has_a_format_that_kubernetes_has() {
    fn check(value: &serde_json::Value, path: &str) {
        if let Some(fields) = value.as_object() {
            if fields.get("type").is_some_and(|type_| type_ == "integer") {
                let format = fields.get("format").and_then(|format| format.as_str());
                assert!(
                    matches!(format, Some("int32" | "int64") | None),
                    "{path}: {format:?}"
                );
            }
            for (key, value) in fields {
                check(value, &format!("{path}.{key}"));
            }
        }
        for value in value.as_array().into_iter().flatten() {
            check(value, path);
        }
    }
    for crd in rolectl_crds::definitions() {
        check(&serde_json::to_value(&crd).unwrap(), &crd.spec.names.kind);
    }
}
