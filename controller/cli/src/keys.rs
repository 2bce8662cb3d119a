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

/// Returns the long-term key of the named profile, or else of the environment, or else of the default profile.
///
/// Ignores instance and container roles, because they give a session, which cannot request another with a code.
pub async fn long_term_key(profile: Option<&str>) -> Result<Credentials, Failure> {
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
                "the AWS key {} is itself a session, and a session cannot buy another",
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
