//! Writes `docs/reference/`. Run it as `cargo reference` after a change of types, calls or reasons.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference");
    std::fs::create_dir_all(&dir)?;
    for (name, text) in rolectl_controller::reference::pages() {
        std::fs::write(dir.join(name), text)?;
    }
    Ok(())
}
