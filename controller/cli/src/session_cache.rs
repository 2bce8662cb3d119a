//! Caches sessions of `rolectl plan`, `apply` and `destroy` until they expire, so that one code is enough for a day.
//!
//! A session is a file that only the user can read. A person who can write the file chooses the session that the next command
//! uses, and a person who can read it has the user's session. Therefore the cache opens folders and files without following
//! links, and uses them only if they belong to the user and give no access to others. It opens files relative to the folder
//! that it has checked, so that nobody can replace the folder in between.

use std::fmt;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use rolectl_core::digest::sha256;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, RawMode};
use rustix::io::Errno;
use rustix::process::geteuid;
use secrecy::zeroize::Zeroizing;

use rolectl_aws::session::SessionSecret;

/// Minimum remaining time of a session that a command starts with.
const MIN_REMAINING: SignedDuration = SignedDuration::from_mins(5);
/// Maximum size of a file, in bytes. A session token has some KiB.
const MAX_BYTES: u64 = 64 * 1024;
/// Permission bits of the group and of others.
const OTHERS: RawMode = 0o077;

/// What the cache opens its folder for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Read,
    /// Creates the folder if it is missing.
    Write,
    /// Accepts a folder to which others have access, because a session that stays there is the greater risk.
    Delete,
}

/// The reason why the cache cannot read or write a session.
#[derive(Debug)]
pub enum Unusable {
    /// The cache has no such session.
    Absent,
    /// Another user can read or write the file or a folder.
    Unsafe(String),
    /// Reading or writing failed.
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

/// Identifies a cached session.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// ARN of the principal that requested the session.
    pub principal: String,
    /// ID of the account in which the session is one of a user, or ARN of the role that it is of.
    pub subject: String,
}

impl Key {
    /// Returns the name of the session's file.
    fn file(&self) -> String {
        let digest = sha256(format!("{} {}", self.principal, self.subject));
        digest.chars().take(32).collect()
    }
}

/// The folder in which the folder `rolectl/sessions` contains the sessions.
#[derive(Clone, Debug)]
pub struct Cache(PathBuf);

impl Cache {
    /// Returns the cache of the user, in `$XDG_CACHE_HOME` or else in `~/.cache`.
    // XDG_CACHE_HOME is a convention of all tools, so it has no flag.
    #[allow(clippy::disallowed_methods)]
    pub fn of_user() -> Option<Self> {
        let xdg = std::env::var_os("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute());
        Some(Self(xdg.or_else(|| Some(std::env::home_dir()?.join(".cache")))?))
    }

    /// Opens the folder of the sessions. Checks this folder and its parent.
    fn folder(&self, purpose: Purpose) -> Result<OwnedFd, Unusable> {
        let make = purpose == Purpose::Write;
        if make {
            std::fs::create_dir_all(&self.0)
                .map_err(|e| Unusable::Failed(format!("{}: {e}", self.0.display())))?;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut path = self.0.clone();
        // The user may replace the folder of all caches by a link.
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

    /// Checks owner, mode and type of the folders. Returns the path of the folder of the sessions, or an error for the folder that is not used.
    pub fn check_folder(&self) -> Result<PathBuf, Unusable> {
        self.folder(Purpose::Read)?;
        Ok(self.path(""))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join("rolectl/sessions").join(name)
    }

    /// Returns the session if it does not expire soon.
    pub fn get(&self, key: &Key, now: Timestamp) -> Result<SessionSecret, Unusable> {
        let folder = self.folder(Purpose::Read)?;
        let name = key.file();
        let path = self.path(&name);
        // `NONBLOCK`, because opening a pipe would wait for its writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened =
            rustix::fs::openat(&folder, &name, flags, Mode::empty()).map_err(|e| failed(&path, e))?;
        check(&opened, &path, FileType::RegularFile, Purpose::Read)?;
        let mut text = Zeroizing::new(vec![]);
        let read = File::from(opened).take(MAX_BYTES).read_to_end(&mut text);
        read.map_err(|e| Unusable::Failed(format!("{}: {e}", path.display())))?;
        let broken = |_| Unusable::Failed(format!("{} is not a session of rolectl", path.display()));
        let secret = Secret {
            data: Some(serde_json::from_slice(&text).map_err(broken)?),
            ..Secret::default()
        };
        let session_secret = SessionSecret::from_secret(secret)
            .map_err(|e| Unusable::Failed(format!("{}: {e}", path.display())))?;
        if session_secret.expires_at.duration_since(now) > MIN_REMAINING {
            return Ok(session_secret);
        }
        let _ = rustix::fs::unlinkat(&folder, &name, AtFlags::empty());
        Err(Unusable::Absent)
    }

    /// Stores the session. After an error the next command needs another code.
    pub fn put(&self, key: &Key, session_secret: &SessionSecret) -> Result<(), Unusable> {
        let folder = self.folder(Purpose::Write)?;
        let name = key.file();
        let path = self.path(&name);
        // A new file that is then renamed: no reader sees a part of it, and its mode is right from the first byte.
        let temporary = format!("{name}.new");
        let _ = rustix::fs::unlinkat(&folder, &temporary, AtFlags::empty());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(&folder, &temporary, flags, Mode::from_raw_mode(0o600));
        let mut opened = File::from(opened.map_err(|e| failed(&path, e))?);
        let write = |file: &mut File| -> std::io::Result<()> {
            let text = Zeroizing::new(serde_json::to_vec(&session_secret.to_data())?);
            file.write_all(&text)
        };
        write(&mut opened).map_err(|e| Unusable::Failed(format!("{}: {e}", path.display())))?;
        rustix::fs::renameat(&folder, &temporary, &folder, &name).map_err(|e| failed(&path, e))
    }

    /// Deletes one session.
    pub fn delete(&self, key: &Key) {
        if let Ok(folder) = self.folder(Purpose::Delete) {
            let _ = rustix::fs::unlinkat(&folder, key.file(), AtFlags::empty());
        }
    }

    /// Deletes all sessions and returns their number.
    pub fn delete_all(&self) -> Result<usize, Unusable> {
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

/// Returns the reason for an error of the operating system at `path`.
fn failed(path: &Path, error: Errno) -> Unusable {
    let path = path.display();
    match error {
        Errno::NOENT => Unusable::Absent,
        // With `NOFOLLOW` a link to a file gives ELOOP, and a link to a folder ENOTDIR.
        Errno::LOOP => Unusable::Unsafe(format!("{path} is a link, which is not followed: remove it")),
        Errno::NOTDIR => Unusable::Unsafe(format!("{path} is a link or no folder: remove it")),
        other => Unusable::Failed(format!("{path}: {other}")),
    }
}

/// Checks the type, the owner and the mode of an open file or folder, not of what has its name now.
fn check(opened: impl AsFd, path: &Path, kind: FileType, purpose: Purpose) -> Result<(), Unusable> {
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
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn cache(name: &str) -> Cache {
        let dir = std::env::temp_dir().join(format!("rolectl-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        Cache(dir)
    }

    fn key(subject: &str) -> Key {
        Key {
            principal: "a".to_owned(),
            subject: subject.to_owned(),
        }
    }

    fn session_secret(expires_at: &str) -> SessionSecret {
        SessionSecret {
            access_key_id: "ASIA".to_owned().into(),
            secret_access_key: "secret".to_owned().into(),
            session_token: "token".to_owned().into(),
            expires_at: expires_at.parse().unwrap(),
            principal_arn: "arn:aws:iam::111111111111:user/a".to_owned(),
            replace: false,
            approvals: None,
        }
    }

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_session_is_kept_until_it_ends_and_only_for_its_user() {
        let cache = cache("kept");
        let now = Timestamp::UNIX_EPOCH;
        assert!(matches!(cache.get(&key("b"), now), Err(Unusable::Absent)));
        assert_eq!(cache.delete_all().unwrap(), 0);
        cache
            .put(&key("b"), &session_secret("1970-01-01T01:00:00Z"))
            .unwrap();
        cache
            .put(&key("b"), &session_secret("1970-01-01T02:00:00Z"))
            .unwrap();
        let kept = cache.get(&key("b"), now).unwrap();
        assert_eq!(kept.expires_at, "1970-01-01T02:00:00Z".parse().unwrap());
        for path in ["rolectl", "rolectl/sessions"] {
            assert_eq!(
                fs::metadata(cache.0.join(path)).unwrap().permissions().mode() & 0o777,
                0o700
            );
        }
        let file = cache.path(&key("b").file());
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
        let late = "1970-01-01T01:58:00Z".parse().unwrap();
        assert!(matches!(cache.get(&key("b"), late), Err(Unusable::Absent)));
        cache
            .put(&key("c"), &session_secret("1970-01-01T02:00:00Z"))
            .unwrap();
        assert_eq!(cache.delete_all().unwrap(), 1);
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
            cache.put(&key("b"), &lasting).unwrap();
            chmod(&cache.0.join(path), mode);
            let words = format!("(mode {mode:04o})");
            for error in [
                cache.get(&key("b"), now).map(|_| ()).unwrap_err(),
                cache.put(&key("b"), &lasting).unwrap_err(),
            ] {
                assert!(error.to_string().contains(&words), "{error}");
            }
            assert_eq!(cache.delete_all().unwrap(), 1);
            fs::remove_dir_all(cache.0).unwrap();
        }
        let cache = cache("file-mode");
        cache.put(&key("b"), &lasting).unwrap();
        chmod(&cache.path(&key("b").file()), 0o640);
        let error = cache.get(&key("b"), now).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("(mode 0640)"), "{error}");
        fs::remove_dir_all(cache.0).unwrap();
    }

    #[test]
    fn links_are_not_followed() {
        let now = Timestamp::UNIX_EPOCH;
        let lasting = session_secret("1970-01-01T02:00:00Z");
        let real = cache("link-target");
        real.put(&key("b"), &lasting).unwrap();
        // A link in place of the file.
        let of_file = cache("link-file");
        of_file.put(&key("y"), &lasting).unwrap();
        let link = of_file.path(&key("b").file());
        symlink(real.path(&key("b").file()), &link).unwrap();
        let error = of_file.get(&key("b"), now).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("is a link"), "{error}");
        // A new session replaces the link, and leaves its target.
        of_file
            .put(&key("b"), &session_secret("1970-01-01T03:00:00Z"))
            .unwrap();
        assert!(!fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(real.get(&key("b"), now).unwrap().expires_at, lasting.expires_at);
        // A link in place of a folder.
        for (n, folder) in ["rolectl", "rolectl/sessions"].into_iter().enumerate() {
            let linked = cache(&format!("link-folder{n}"));
            let at = linked.0.join(folder);
            fs::create_dir_all(at.parent().unwrap()).unwrap();
            chmod(at.parent().unwrap(), 0o700);
            symlink(real.0.join(folder), &at).unwrap();
            for error in [
                linked.get(&key("b"), now).map(|_| ()).unwrap_err(),
                linked.put(&key("b"), &lasting).unwrap_err(),
                linked.delete_all().map(|_| ()).unwrap_err(),
            ] {
                assert!(matches!(error, Unusable::Unsafe(_)), "{error}");
            }
            fs::remove_dir_all(linked.0).unwrap();
        }
        assert_eq!(real.delete_all().unwrap(), 1);
        for cache in [real, of_file] {
            fs::remove_dir_all(cache.0).unwrap();
        }
    }
}
