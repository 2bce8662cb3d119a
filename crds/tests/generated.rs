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
