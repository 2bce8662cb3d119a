//! Sessions of `rolectl plan`, `apply` and `destroy` without a cluster: kept until they end, so that one code is enough
//! for a day. A file that only the user can read, and nowhere else.
//!
//! Whoever can write such a file makes the next command work on a session of their own choice, and whoever can read it has
//! the user's. So folders and files are opened without following links, and are used only if they belong to the user and
//! give nobody else any access. Files are named relative to the folder that was checked, which cannot be exchanged meanwhile.

use std::fmt;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use rolectl_aws::session::SessionSecret;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, RawMode};
use rustix::io::Errno;
use rustix::process::geteuid;
use secrecy::zeroize::Zeroizing;
use sha2::{Digest as _, Sha256};

/// A session that ends sooner is not begun with.
const LEAST: jiff::SignedDuration = jiff::SignedDuration::from_mins(5);
/// Longest file, in bytes. A session token may have some KiB.
const LONGEST: u64 = 64 * 1024;
/// All access that a group or others may have.
const OTHERS: RawMode = 0o077;

/// What the folder is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Read,
    /// It is made where it is missing.
    Write,
    /// Allowed also where others have access: to leave a session there would be worse.
    Delete,
}

/// Why a session cannot be read or kept.
#[derive(Debug)]
pub enum Unusable {
    /// Nothing was kept.
    Absent,
    /// What is there may be read or written by somebody else.
    Unsafe(String),
    /// It could not be read or written.
    Failed(String),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("there is none"),
            Self::Unsafe(why) | Self::Failed(why) => f.write_str(why),
        }
    }
}

/// The place where sessions are kept.
#[derive(Clone, Debug)]
pub struct Cache(PathBuf);

impl Cache {
    /// `rolectl/sessions` in `$XDG_CACHE_HOME`, else in `~/.cache`.
    // A convention of all tools, and no flag of ours.
    #[allow(clippy::disallowed_methods)]
    pub fn of_user() -> Option<Self> {
        let xdg = std::env::var_os("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute());
        Some(Self(xdg.or_else(|| Some(std::env::home_dir()?.join(".cache")))?))
    }

    /// The folder of the sessions, for `purpose`. Both folders on the way to it are checked.
    fn folder(&self, purpose: Purpose) -> Result<OwnedFd, Unusable> {
        let make = purpose == Purpose::Write;
        if make {
            std::fs::create_dir_all(&self.0)
                .map_err(|e| Unusable::Failed(format!("{}: {e}", self.0.display())))?;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut path = self.0.clone();
        // Where the user keeps caches may well be a link.
        let mut folder = rustix::fs::open(&path, flags, Mode::empty()).map_err(|e| failed(&path, e))?;
        for name in ["rolectl", "sessions"] {
            path.push(name);
            if make {
                match rustix::fs::mkdirat(&folder, name, Mode::from_raw_mode(0o700)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(failed(&path, error)),
                }
            }
            let opened = rustix::fs::openat(&folder, name, flags | OFlags::NOFOLLOW, Mode::empty());
            folder = opened.map_err(|e| failed(&path, e))?;
            check(&folder, &path, FileType::Directory, purpose)?;
        }
        Ok(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join("rolectl/sessions").join(name)
    }

    /// The session that was kept, if it lasts.
    pub fn get(&self, principal: &str, bought: &str, now: Timestamp) -> Result<SessionSecret, Unusable> {
        let folder = self.folder(Purpose::Read)?;
        let name = file(principal, bought);
        let path = self.path(&name);
        // Not blocking: it may be a pipe.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened =
            rustix::fs::openat(&folder, &name, flags, Mode::empty()).map_err(|e| failed(&path, e))?;
        check(&opened, &path, FileType::RegularFile, Purpose::Read)?;
        let mut text = Zeroizing::new(vec![]);
        let read = File::from(opened).take(LONGEST).read_to_end(&mut text);
        read.map_err(|e| Unusable::Failed(format!("{}: {e}", path.display())))?;
        let broken = |_| Unusable::Failed(format!("{} is not a session of rolectl", path.display()));
        let secret = Secret {
            data: Some(serde_json::from_slice(&text).map_err(broken)?),
            ..Secret::default()
        };
        let session_secret = SessionSecret::from_secret(secret)
            .map_err(|e| Unusable::Failed(format!("{}: {e}", path.display())))?;
        if session_secret.expires_at.duration_since(now) > LEAST {
            return Ok(session_secret);
        }
        let _ = rustix::fs::unlinkat(&folder, &name, AtFlags::empty());
        Err(Unusable::Absent)
    }

    /// Keeps the session. That it cannot be kept costs another code and nothing else.
    pub fn put(&self, principal: &str, bought: &str, session_secret: &SessionSecret) -> Result<(), Unusable> {
        let folder = self.folder(Purpose::Write)?;
        let name = file(principal, bought);
        let path = self.path(&name);
        // Written beside and moved: a reader never sees half, and the mode is right from the first byte.
        let beside = format!("{name}.new");
        let _ = rustix::fs::unlinkat(&folder, &beside, AtFlags::empty());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(&folder, &beside, flags, Mode::from_raw_mode(0o600));
        let mut opened = File::from(opened.map_err(|e| failed(&path, e))?);
        let write = |file: &mut File| -> std::io::Result<()> {
            let text = Zeroizing::new(serde_json::to_vec(&session_secret.to_data())?);
            file.write_all(&text)
        };
        write(&mut opened).map_err(|e| Unusable::Failed(format!("{}: {e}", path.display())))?;
        rustix::fs::renameat(&folder, &beside, &folder, &name).map_err(|e| failed(&path, e))
    }

    /// Forgets one session, which AWS does not take any more.
    pub fn forget(&self, principal: &str, bought: &str) {
        if let Ok(folder) = self.folder(Purpose::Delete) {
            let _ = rustix::fs::unlinkat(&folder, file(principal, bought), AtFlags::empty());
        }
    }

    /// Forgets all sessions. Returns how many there were.
    pub fn forget_all(&self) -> Result<usize, Unusable> {
        let folder = match self.folder(Purpose::Delete) {
            Err(Unusable::Absent) => return Ok(0),
            other => other?,
        };
        let path = self.path("");
        let entries = Dir::read_from(&folder).map_err(|e| failed(&path, e))?;
        let mut count = 0;
        for entry in entries.flatten() {
            count += usize::from(rustix::fs::unlinkat(&folder, entry.file_name(), AtFlags::empty()).is_ok());
        }
        Ok(count)
    }
}

/// One file for each user and what was bought: a session, or a role's own.
fn file(principal: &str, bought: &str) -> String {
    let digest = format!("{:x}", Sha256::digest(format!("{principal} {bought}")));
    digest.chars().take(32).collect()
}

fn failed(path: &std::path::Path, error: Errno) -> Unusable {
    let path = path.display();
    match error {
        Errno::NOENT => Unusable::Absent,
        // ELOOP of a file, ENOTDIR of a folder.
        Errno::LOOP => Unusable::Unsafe(format!("{path} is a link, which is not followed: remove it")),
        Errno::NOTDIR => Unusable::Unsafe(format!("{path} is a link or no folder: remove it")),
        other => Unusable::Failed(format!("{path}: {other}")),
    }
}

/// Checks what was opened, and not what now has its name.
fn check(
    opened: impl AsFd,
    path: &std::path::Path,
    kind: FileType,
    purpose: Purpose,
) -> Result<(), Unusable> {
    let found = rustix::fs::fstat(opened).map_err(|e| failed(path, e))?;
    let path = path.display();
    let mode = found.st_mode & 0o7777;
    if FileType::from_raw_mode(found.st_mode) != kind {
        return Err(Unusable::Unsafe(format!(
            "{path} is not what rolectl writes: remove it"
        )));
    }
    if found.st_uid != geteuid().as_raw() {
        return Err(Unusable::Unsafe(format!(
            "{path} belongs to the user with the id {}, not to you: remove it",
            found.st_uid
        )));
    }
    if mode & OTHERS != 0 && purpose != Purpose::Delete {
        return Err(Unusable::Unsafe(format!(
            "{path} gives access to others than you (mode {mode:04o}): remove it, and run `rolectl lock --revoke` if somebody may have read a session in it"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn cache(name: &str) -> Cache {
        let dir = std::env::temp_dir().join(format!("rolectl-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        Cache(dir)
    }

    fn session_secret(expires_at: &str) -> SessionSecret {
        SessionSecret {
            access_key_id: "ASIA".to_owned().into(),
            secret_access_key: "secret".to_owned().into(),
            session_token: "token".to_owned().into(),
            expires_at: expires_at.parse().unwrap(),
            principal_arn: "arn:aws:iam::111111111111:user/a".to_owned(),
            replace: false,
        }
    }

    fn chmod(path: &std::path::Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_session_is_kept_until_it_ends_and_only_for_its_user() {
        let cache = cache("kept");
        let now = Timestamp::UNIX_EPOCH;
        assert!(matches!(cache.get("a", "b", now), Err(Unusable::Absent)));
        assert_eq!(cache.forget_all().unwrap(), 0);
        cache
            .put("a", "b", &session_secret("1970-01-01T01:00:00Z"))
            .unwrap();
        cache
            .put("a", "b", &session_secret("1970-01-01T02:00:00Z"))
            .unwrap();
        let kept = cache.get("a", "b", now).unwrap();
        assert_eq!(kept.expires_at, "1970-01-01T02:00:00Z".parse().unwrap());
        for path in ["rolectl", "rolectl/sessions"] {
            assert_eq!(
                fs::metadata(cache.0.join(path)).unwrap().permissions().mode() & 0o777,
                0o700
            );
        }
        let file = cache.path(&file("a", "b"));
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
        let late = "1970-01-01T01:58:00Z".parse().unwrap();
        assert!(matches!(cache.get("a", "b", late), Err(Unusable::Absent)));
        cache
            .put("a", "c", &session_secret("1970-01-01T02:00:00Z"))
            .unwrap();
        assert_eq!(cache.forget_all().unwrap(), 1);
        fs::remove_dir_all(cache.0).unwrap();
    }

    #[test]
    fn what_others_can_reach_is_neither_read_nor_written() {
        let now = Timestamp::UNIX_EPOCH;
        let lasting = session_secret("1970-01-01T02:00:00Z");
        for (n, (path, mode)) in [
            ("rolectl", 0o755),
            ("rolectl/sessions", 0o770),
            ("rolectl/sessions", 0o701),
        ]
        .into_iter()
        .enumerate()
        {
            let cache = cache(&format!("mode{n}"));
            cache.put("a", "b", &lasting).unwrap();
            chmod(&cache.0.join(path), mode);
            let words = format!("(mode {mode:04o})");
            for told in [
                cache.get("a", "b", now).map(|_| ()).unwrap_err(),
                cache.put("a", "b", &lasting).unwrap_err(),
            ] {
                assert!(told.to_string().contains(&words), "{told}");
            }
            assert_eq!(cache.forget_all().unwrap(), 1);
            fs::remove_dir_all(cache.0).unwrap();
        }
        let cache = cache("file-mode");
        cache.put("a", "b", &lasting).unwrap();
        chmod(&cache.path(&file("a", "b")), 0o640);
        let told = cache.get("a", "b", now).map(|_| ()).unwrap_err();
        assert!(told.to_string().contains("(mode 0640)"), "{told}");
        fs::remove_dir_all(cache.0).unwrap();
    }

    #[test]
    fn links_are_not_followed() {
        let now = Timestamp::UNIX_EPOCH;
        let lasting = session_secret("1970-01-01T02:00:00Z");
        let real = cache("link-target");
        real.put("a", "b", &lasting).unwrap();
        // Of a file.
        let of_file = cache("link-file");
        of_file.put("x", "y", &lasting).unwrap();
        let link = of_file.path(&file("a", "b"));
        symlink(real.path(&file("a", "b")), &link).unwrap();
        let told = of_file.get("a", "b", now).map(|_| ()).unwrap_err();
        assert!(told.to_string().contains("is a link"), "{told}");
        // A new one takes the link's place, and its target stays.
        of_file
            .put("a", "b", &session_secret("1970-01-01T03:00:00Z"))
            .unwrap();
        assert!(!fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(real.get("a", "b", now).unwrap().expires_at, lasting.expires_at);
        // Of either folder.
        for (n, folder) in ["rolectl", "rolectl/sessions"].into_iter().enumerate() {
            let linked = cache(&format!("link-folder{n}"));
            let at = linked.0.join(folder);
            fs::create_dir_all(at.parent().unwrap()).unwrap();
            chmod(at.parent().unwrap(), 0o700);
            symlink(real.0.join(folder), &at).unwrap();
            for told in [
                linked.get("a", "b", now).map(|_| ()).unwrap_err(),
                linked.put("a", "b", &lasting).unwrap_err(),
                linked.forget_all().map(|_| ()).unwrap_err(),
            ] {
                assert!(matches!(told, Unusable::Unsafe(_)), "{told}");
            }
            fs::remove_dir_all(linked.0).unwrap();
        }
        assert_eq!(real.forget_all().unwrap(), 1);
        for cache in [real, of_file] {
            fs::remove_dir_all(cache.0).unwrap();
        }
    }
}
