//! Finds the main account where no flag names it: in the cluster's `MfaSession`, else by the operator's own key.

use kube::ResourceExt;

use rolectl_core::arn::{arn_account, arn_partition};
use rolectl_crds::{MfaSession, Partition};

use crate::cluster::{self, Flags};
use crate::failure::Failure;
use crate::mfa::{Caller, CodeFlags};
use crate::output::printable;
use crate::stdio::eprintln;
use crate::values::account_id;

/// What to do where the main account is not found.
const GIVE: &str = "give it with --main-account ID or --user-arn ARN, or name an MfaSession with --session";

/// How many sessions a message names.
const SHOWN: usize = 5;

/// The main account, and where it was found.
#[derive(Debug)]
pub struct Found {
    pub account: String,
    pub partition: Option<&'static Partition>,
    /// Name of the `MfaSession`.
    pub session: Option<String>,
}

/// Returns the main account, and prints to stderr where it was found. The key is asked for only if `key` is given, since that of
/// `--apply` is of the target account.
pub async fn find(flags: &Flags, session: Option<&str>, key: Option<CodeFlags>) -> Result<Found, Failure> {
    if let Some(session) = of_cluster(flags, session).await? {
        let name = session.name_any();
        let account = account_id(&session.spec.account_id).map_err(|why| {
            let what = format!("spec.accountId of MfaSession {}: {why}", printable(&name));
            Failure::new(what, GIVE)
        })?;
        let partition = session.spec.partition()?;
        eprintln!("Main account {account}, from MfaSession {}", printable(&name));
        return Ok(Found {
            account,
            partition,
            session: Some(name),
        });
    }
    let Some(key) = key else {
        return Err(Failure::new("there is no MfaSession to take the main account from", GIVE).usage());
    };
    let caller = Caller::find(&key, None).await.map_err(|failure| {
        let what = format!(
            "there is no MfaSession to take the main account from, nor your key: {}",
            failure.what()
        );
        Failure::new(what, format!("{GIVE}, or your key with --profile")).usage()
    })?;
    let principal = printable(&caller.principal);
    let account = account_id(arn_account(&caller.principal)).map_err(|why| {
        Failure::new(
            format!("AWS calls the owner of your key {principal}: {why}"),
            GIVE,
        )
    })?;
    let partition = Partition::named(arn_partition(&caller.principal))?;
    eprintln!("Main account {account}, from your key ({principal})");
    Ok(Found {
        account,
        partition: Some(partition),
        session: None,
    })
}

/// Returns the `MfaSession` of this name, or the only one. `None` without a cluster, unless the user names one.
async fn of_cluster(flags: &Flags, name: Option<&str>) -> Result<Option<MfaSession>, Failure> {
    let is_required = name.is_some() || flags.names_a_cluster();
    let client = match flags.client().await {
        Err(failure) if failure.has_no_cluster() && !is_required => return Ok(None),
        client => client?,
    };
    if let Some(name) = name {
        return cluster::session(&client, name).await.map(Some);
    }
    match cluster::sessions(&client).await {
        Ok(sessions) => only(sessions),
        // rolectl is not installed in this cluster.
        Err(failure) if failure.is_not_found() && !is_required => Ok(None),
        // Another main account than yesterday's would be trusted if a cluster that does not answer counted as none.
        Err(failure) => Err(Failure::new(
            failure.what(),
            format!("{}; or {GIVE}", failure.next()),
        )),
    }
}

/// Returns the only session. Several are an error, since their main accounts may differ.
fn only(mut sessions: Vec<MfaSession>) -> Result<Option<MfaSession>, Failure> {
    if sessions.len() < 2 {
        return Ok(sessions.pop());
    }
    let mut names: Vec<String> = sessions.iter().take(SHOWN).map(ResourceExt::name_any).collect();
    if let Some(more) = sessions.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        names.push(format!("{more} more"));
    }
    Err(Failure::new(
        format!(
            "the cluster has several MfaSessions: {}",
            printable(&names.join(", "))
        ),
        "name one with --session, or give --main-account ID or --user-arn ARN",
    )
    .usage())
}

#[cfg(test)]
mod tests {
    use rolectl_crds::MfaSessionSpec;

    use super::*;

    fn session(name: &str) -> MfaSession {
        MfaSession::new(name, MfaSessionSpec::of_account("111111111111"))
    }

    #[test]
    fn the_only_session_is_taken_and_of_several_one_must_be_named() {
        assert!(only(vec![]).unwrap().is_none());
        assert_eq!(only(vec![session("a")]).unwrap().unwrap().name_any(), "a");
        let several = only((0..7).map(|n| session(&format!("s{n}"))).collect()).unwrap_err();
        assert_eq!(several.code(), 2);
        assert_eq!(
            several.what(),
            "the cluster has several MfaSessions: s0, s1, s2, s3, s4, 2 more"
        );
    }
}
