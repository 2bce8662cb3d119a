//! Writes `crds/yaml/` from the types. Run it as `cargo crds` after a change.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("yaml");
    std::fs::create_dir_all(&dir)?;
    for crd in rolectl_crds::definitions() {
        std::fs::write(
            dir.join(format!("{}.yaml", crd.spec.names.plural)),
            rolectl_crds::to_yaml(&crd)?,
        )?;
    }
    Ok(())
}
