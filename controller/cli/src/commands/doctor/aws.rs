//! Checks the operator's key, the MFA device and the sessions that are kept on this machine.

use std::collections::BTreeMap;

use jiff::Timestamp;

use rolectl_aws::principal::check_principal;
use rolectl_core::arn::arn_account;
use rolectl_crds::{MfaSession, MfaSessionSpec};

use super::bounded;
use super::check::Check;
use super::clock::Skew;
use super::network::variable;
use crate::kept_session::subject;
use crate::keys::long_term_key;
use crate::mfa::{Caller, CodeFlags};
use crate::session_cache::{Cache, Key, Unusable};
use crate::times::moment;
use crate::waiting::aws_config_of;

const KEY: &str = "key";
const DEVICE: &str = "mfa-device";
const CACHE: &str = "session-cache";
const KEPT: &str = "kept-session";

/// Checks clock, key and device. Returns the owner of the key if AWS accepts it.
pub async fn checks(profile: Option<String>) -> (Vec<Check>, Option<Caller>) {
    let skew = Skew::default();
    let (key, caller) = bounded(KEY, Box::pin(key(profile, &skew)), |late| (late, None)).await;
    let device = match &caller {
        Some(caller) => bounded(DEVICE, device(caller), |late| late).await,
        None => Check::skipped(DEVICE, "there is no key that AWS accepts"),
    };
    (vec![skew.check(), key, device], caller)
}

async fn key(profile: Option<String>, skew: &Skew) -> (Check, Option<Caller>) {
    let place = match &profile {
        Some(name) => format!("profile {name}"),
        None if variable("AWS_ACCESS_KEY_ID").is_some() => "the environment".to_owned(),
        None => format!(
            "profile {}",
            variable("AWS_PROFILE").unwrap_or_else(|| "default".to_owned())
        ),
    };
    let key = match long_term_key(profile.as_deref()).await {
        Ok(key) => key,
        Err(failure) => return (Check::of_failure(KEY, &failure), None),
    };
    let id = key.access_key_id().to_owned();
    let base = skew.measured_by(aws_config_of(profile.as_deref()).await);
    match Caller::of_key(key, base, &CodeFlags::of_profile(profile), None).await {
        Ok(caller) => {
            let message = format!("{id} in {place}, a long-term key of {}", caller.principal);
            (Check::ok(KEY, message), Some(caller))
        }
        Err(failure) => (Check::of_failure(KEY, &failure), None),
    }
}

async fn device(caller: &Caller) -> Check {
    match caller.serial(None).await {
        Ok(serial) => Check::ok(DEVICE, serial),
        Err(failure) => Check::of_failure(DEVICE, &failure),
    }
}

/// Checks the folder of the kept sessions.
pub fn cache() -> Vec<Check> {
    let Some(cache) = Cache::of_user() else {
        return vec![Check::warning(
            CACHE,
            "there is no home directory, so no session is kept",
            "set HOME or XDG_CACHE_HOME",
        )];
    };
    vec![match cache.check_folder() {
        Ok(path) => Check::ok(CACHE, format!("{} is accessible to you only", path.display())),
        Err(Unusable::Absent) => Check::ok(CACHE, "no session was kept on this machine yet"),
        Err(unusable) => Check::failed(
            CACHE,
            format!("no session is kept: {unusable}"),
            "correct owner and mode of the folder, or remove it",
        ),
    }]
}

/// Checks the sessions that are kept for the `MfaSession`s that the caller may open. Without a cluster it is the session of the
/// caller's own account.
pub fn kept(caller: Option<&Caller>, sessions: &[MfaSession]) -> Vec<Check> {
    let (Some(caller), Some(cache)) = (caller, Cache::of_user()) else {
        return vec![Check::skipped(KEPT, "there is no key that AWS accepts")];
    };
    let of_account = MfaSessionSpec::of_account(arn_account(&caller.principal));
    let own = [MfaSession::new("own", of_account)];
    let sessions = if sessions.is_empty() { &own } else { sessions };
    let ours = sessions
        .iter()
        .filter(|session| caller.check_access(session).is_ok());
    // MfaSessions of the same subject share one session.
    let subjects: BTreeMap<&str, &MfaSession> = ours.map(|session| (subject(session), session)).collect();
    if subjects.is_empty() {
        return vec![Check::skipped(
            KEPT,
            "there is no MfaSession that your key may open",
        )];
    }
    let now = Timestamp::now();
    let check = |(subject, session): (&str, &MfaSession)| {
        let key = Key {
            principal: caller.principal.clone(),
            subject: subject.to_owned(),
        };
        match cache.get(&key, now) {
            Ok(kept) if check_principal(&session.spec, &kept.principal_arn).is_ok() => Check::ok(
                KEPT,
                format!("of {subject} until {}", moment(kept.expires_at, now)),
            ),
            Ok(_) | Err(Unusable::Absent) => Check::skipped(
                KEPT,
                format!("none of {subject}: `rolectl plan` and `rolectl exec` ask for a code"),
            ),
            Err(unusable) => Check::failed(
                KEPT,
                format!("that of {subject} is not used: {unusable}"),
                "delete it with `rolectl lock`, then unlock again",
            ),
        }
    };
    subjects.into_iter().map(check).collect()
}
