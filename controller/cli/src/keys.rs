//! Reads the operator's own AWS key from the environment or a profile, as other AWS tools do.

use std::borrow::Cow;

use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::profile::{self, ProfileFileCredentialsProvider};
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials as _;
use aws_runtime::env_config::file::EnvConfigFiles;
use aws_types::os_shim_internal::{Env, Fs};

use rolectl_aws::network::http_client;

use crate::failure::Failure;
use crate::output::printable;

/// Maximum number of profiles that are followed by `source_profile`.
const MAX_PROFILES: usize = 8;

/// Refuses a profile whose `credential_process` is rolectl itself. The SDK would run it to find the key, and it would look for the key in
/// the same profile, without end.
async fn refuse_own_process(profile: Option<&str>) -> Result<(), Failure> {
    // The SDK takes a blank variable for none.
    let is_set = |name: &str| Env::real().get(name).is_ok_and(|value| !value.trim().is_empty());
    if profile.is_none() && is_set("AWS_ACCESS_KEY_ID") && is_set("AWS_SECRET_ACCESS_KEY") {
        return Ok(());
    }
    let selected = profile.map(|name| Cow::Owned(name.to_owned()));
    // An error of these files is reported where the key is read.
    let Ok(profiles) = profile::load(&Fs::real(), &Env::real(), &EnvConfigFiles::default(), selected).await
    else {
        return Ok(());
    };
    let mut name = profiles.selected_profile().to_owned();
    for _ in 0..MAX_PROFILES {
        let Some(section) = profiles.get_profile(&name) else {
            break;
        };
        let process = section.get("credential_process");
        if process.is_some_and(is_own_process) {
            return Err(Failure::new(
                format!(
                    "profile {} gets its credentials from rolectl, which needs a long-term key to open a session",
                    printable(&name)
                ),
                "name the profile that has the key of your IAM user with --profile, in credential_process, too",
            ));
        }
        match section.get("source_profile") {
            Some(source) if source != name => name = source.to_owned(),
            _ => break,
        }
    }
    Ok(())
}

/// Returns true for a command line that runs `rolectl credential-process`, also as a plugin of kubectl. Other tools have verbs of that name.
fn is_own_process(command: &str) -> bool {
    command.contains("rolectl") && command.contains("credential-process")
}

/// Returns the long-term key of the named profile, or else of the environment, or else of the default profile.
///
/// Ignores instance and container roles, because they give a session, which cannot request another with a code.
pub async fn long_term_key(profile: Option<&str>) -> Result<Credentials, Failure> {
    refuse_own_process(profile).await?;
    let config = ProviderConfig::without_region().with_http_client(http_client());
    let profiles = ProfileFileCredentialsProvider::builder().configure(&config);
    let found = match profile {
        Some(name) => profiles.profile_name(name).build().provide_credentials().await,
        None => {
            CredentialsProviderChain::first_try("environment", EnvironmentVariableCredentialsProvider::new())
                .or_else("profile", profiles.build())
                .provide_credentials()
                .await
        }
    };
    let next =
        "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile that has a key with --profile";
    let credentials = found.map_err(|error| {
        let whence = profile.map_or_else(
            || "in the environment or the default profile".to_owned(),
            |p| format!("in profile {p}"),
        );
        Failure::new(
            format!(
                "no AWS key {whence}: {}",
                rolectl_core::causes::error_chain(&error)
            ),
            next,
        )
    })?;
    if credentials.session_token().is_some() {
        return Err(Failure::new(
            format!(
                "the AWS key {} is itself a session, and a session cannot open another",
                credentials.access_key_id()
            ),
            "use the long-term key of your IAM user (AKIA...): unset AWS_SESSION_TOKEN, or name its profile with --profile",
        ));
    }
    Ok(credentials)
}

/// Returns `mfa_serial` of the profile in use.
pub async fn profile_serial(profile: Option<&str>) -> Option<String> {
    let files = EnvConfigFiles::default();
    let name = profile.map(|p| Cow::Owned(p.to_owned()));
    let profiles = profile::load(&Fs::real(), &Env::real(), &files, name)
        .await
        .ok()?;
    profiles.get("mfa_serial").map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_credential_process_is_refused() {
        for (command, is_own) in [
            ("rolectl credential-process --account prod", true),
            ("/opt/bin/rolectl --context x credential-process", true),
            ("kubectl rolectl credential-process", true),
            ("granted credential-process --profile x", false),
            ("op item get aws", false),
        ] {
            assert_eq!(is_own_process(command), is_own, "{command}");
        }
    }
}
