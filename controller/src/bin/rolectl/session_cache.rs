//! Sessions of `rolectl plan`, `apply` and `destroy` without a cluster: kept until they end, so that one code is enough
//! for a day. A file that only the user can read, and nowhere else.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use rolectl::aws::session::Material;
use sha2::{Digest as _, Sha256};

/// A session that ends sooner is not begun with.
const LEAST: jiff::SignedDuration = jiff::SignedDuration::from_mins(5);

/// `$XDG_CACHE_HOME/rolectl/sessions`, else in `~/.cache`.
// A convention of all tools, and no flag of ours.
#[allow(clippy::disallowed_methods)]
fn folder() -> Option<PathBuf> {
    let xdg = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let cache = xdg.or_else(|| Some(std::env::home_dir()?.join(".cache")))?;
    Some(cache.join("rolectl/sessions"))
}

/// One file for each user and what was bought: a session, or a role's own.
fn file(principal: &str, bought: &str) -> Option<PathBuf> {
    let digest = format!("{:x}", Sha256::digest(format!("{principal} {bought}")));
    Some(folder()?.join(digest.chars().take(32).collect::<String>()))
}

/// The session that was kept, if it lasts.
pub fn get(principal: &str, bought: &str, now: Timestamp) -> Option<Material> {
    let path = file(principal, bought)?;
    let text = secrecy::zeroize::Zeroizing::new(fs::read(&path).ok()?);
    let data = serde_json::from_slice(&text).ok()?;
    let secret = Secret {
        data: Some(data),
        ..Secret::default()
    };
    let material = Material::from_secret(secret).ok()?;
    if material.expires_at.duration_since(now) > LEAST {
        return Some(material);
    }
    let _ = fs::remove_file(path);
    None
}

/// Keeps the session. That it cannot be kept costs another code and nothing else.
pub fn put(principal: &str, bought: &str, material: &Material) -> std::io::Result<()> {
    let (Some(folder), Some(path)) = (folder(), file(principal, bought)) else {
        return Err(std::io::Error::other("no home directory"));
    };
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)?;
    // Written beside and moved: a reader never sees half, and the mode is right from the first byte.
    let beside = path.with_extension("new");
    let _ = fs::remove_file(&beside);
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)?;
    let text = secrecy::zeroize::Zeroizing::new(serde_json::to_vec(&material.to_data())?);
    file.write_all(&text)?;
    fs::rename(beside, path)
}

/// Forgets one session, which AWS does not take any more.
pub fn forget(principal: &str, bought: &str) {
    if let Some(path) = file(principal, bought) {
        let _ = fs::remove_file(path);
    }
}

/// Forgets all sessions. Returns how many there were.
pub fn forget_all() -> usize {
    let Some(folder) = folder() else { return 0 };
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    files
        .filter(|entry| fs::remove_file(entry.path()).is_ok())
        .count()
}
