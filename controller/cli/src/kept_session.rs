//! Reads and keeps sessions in the cache on this machine, with messages for the user.

use jiff::Timestamp;

use rolectl_aws::principal::check_principal;
use rolectl_aws::session::SessionSecret;
use rolectl_crds::MfaSession;

use crate::session_cache::{Cache, Key, Unusable};
use crate::stdio::eprintln;

/// Returns the account ID or role ARN of an `MfaSession`. Objects with the same subject can share one session.
pub fn subject(session: &MfaSession) -> &str {
    session.spec.role_arn.as_ref().unwrap_or(&session.spec.account_id)
}

/// Returns the cached session if it is one that the object describes. rolectl wrote the principal in it, as AWS returned it.
pub fn read(key: &Key, session: &MfaSession) -> Option<SessionSecret> {
    let cached = match Cache::of_user()?.get(key, Timestamp::now()) {
        Ok(cached) => cached,
        Err(Unusable::Absent) => return None,
        Err(unusable) => {
            eprintln!("warning: the session that was kept here is not used: {unusable}");
            return None;
        }
    };
    check_principal(&session.spec, &cached.principal_arn).ok()?;
    Some(cached)
}

/// Keeps a session until it ends. Prints where it is kept, or a warning if that fails.
pub fn keep(key: &Key, session_secret: &SessionSecret) {
    let written = match Cache::of_user() {
        Some(cache) => cache.put(key, session_secret),
        None => Err(Unusable::Failed("no home directory".to_owned())),
    };
    match written {
        Ok(()) => eprintln!("The session is kept in ~/.cache/rolectl until then."),
        Err(unusable) => {
            eprintln!("warning: the session is not kept, the next command needs another code: {unusable}");
        }
    }
}
