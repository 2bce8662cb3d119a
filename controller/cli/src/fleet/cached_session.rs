//! Reads and writes the cache of sessions on this machine, with messages for the user.

use anstream::eprintln;
use jiff::Timestamp;

use rolectl_aws::session::{SessionSecret, fits};
use rolectl_crds::MfaSession;

use crate::output::moment;
use crate::session_cache::{Cache, Key, Unusable};

/// Returns the account ID or role ARN of an `MfaSession`. Objects with the same subject can share one session.
pub(super) fn subject(session: &MfaSession) -> &str {
    session.spec.role_arn.as_ref().unwrap_or(&session.spec.account_id)
}

/// Returns the cached session if it is one that the object describes. rolectl wrote the principal in it, as AWS returned it.
pub(super) fn read(key: &Key, session: &MfaSession) -> Option<SessionSecret> {
    let cached = match Cache::of_user()?.get(key, Timestamp::now()) {
        Ok(cached) => cached,
        Err(Unusable::Absent) => return None,
        Err(unusable) => {
            eprintln!("warning: the session that was kept here is not used: {unusable}");
            return None;
        }
    };
    fits(&session.spec, &cached.principal_arn).ok()?;
    Some(cached)
}

/// Writes a session to the cache and prints its end. Prints a warning if the cache cannot store it.
pub(super) fn write(key: &Key, session_secret: &SessionSecret) {
    eprintln!(
        "Session as {} until {}",
        key.principal,
        moment(session_secret.expires_at, Timestamp::now())
    );
    let written = match Cache::of_user() {
        Some(cache) => cache.put(key, session_secret),
        None => Err(Unusable::Failed("no home directory".to_owned())),
    };
    if let Err(unusable) = written {
        eprintln!("warning: the session is not kept, the next command needs another code: {unusable}");
    }
}
