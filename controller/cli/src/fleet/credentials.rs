//! Returns AWS credentials for another program: those of a session, or of the role of one account.

use aws_credential_types::Credentials;
use clap::Args;
use jiff::Timestamp;
use kube::{Api, Client, ResourceExt as _};

use rolectl_aws::account::{Account, AccountEnvironment};
use rolectl_aws::api::Aws as _;
use rolectl_aws::sdk::SdkAws;
use rolectl_core::arn::arn_partition;
use rolectl_crds::{AwsAccount, MfaSession};

use super::sessions::{FleetSessions, is_refused};
use super::{FleetFlags, from_files};
use crate::failure::Failure;
use crate::mfa::Caller;
use crate::once::Inventory;
use crate::output::printable;
use crate::waiting::aws_config_of;
use crate::{cluster, files, mfa};

/// Flags that say which credentials a program gets.
#[derive(Debug, Args)]
pub struct CredentialFlags {
    /// Credentials of the role in this AwsAccount. Default: the session's own
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Name of the MfaSession
    #[arg(
        long,
        value_name = "NAME",
        default_value = "default",
        conflicts_with = "account"
    )]
    session: String,
    /// Files and folders with AwsAccounts and MfaSessions, before the cluster
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    filenames: Vec<String>,
    #[command(flatten)]
    mfa: mfa::CodeFlags,
}

impl CredentialFlags {
    /// Returns the credentials that the flags ask for.
    pub async fn issue(self, flags: &cluster::Flags) -> Result<Issued, Failure> {
        flags.refuse_namespace()?;
        let subject = match &self.account {
            Some(name) => Subject::Account(name),
            None => Subject::Session(&self.session),
        };
        let fleet = FleetFlags::of_session(self.filenames, self.mfa);
        Box::pin(fleet.credentials(flags, subject)).await
    }
}

/// What the credentials are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject<'a> {
    /// The `MfaSession` of this name.
    Session(&'a str),
    /// The role of the `AwsAccount` of this name.
    Account(&'a str),
}

/// Credentials for another program.
pub struct Issued {
    /// The SDK's type, which has no secret in its Debug output and is zeroed when dropped.
    pub credentials: Credentials,
    pub expires_at: Timestamp,
    /// The region for programs that have none: a region of the partition in which the credentials are valid.
    pub region: String,
}

impl FleetFlags {
    /// Returns credentials of the subject, from the session that is kept on this machine or from a new one.
    ///
    /// The session that is stored in the cluster is not used, although `plan` uses it: another operator can have opened it, and
    /// the programs that get the credentials would act as that operator.
    async fn credentials(&self, flags: &cluster::Flags, subject: Subject<'_>) -> Result<Issued, Failure> {
        let (session, account) = self.objects_of(flags, subject).await?;
        let caller = Caller::find(&self.mfa, Some(&session)).await?;
        caller.check_access(&session)?;
        let skip_cache = self.demands_new_session();
        let (session_secret, cached) = Box::pin(self.kept_or_new(&caller, &session, skip_cache)).await?;
        let aws = SdkAws::new(aws_config_of(self.mfa.profile()).await);
        let Some(account) = account else {
            let partition = arn_partition(&session_secret.principal_arn);
            return Ok(Issued {
                region: aws.sts_region(partition, session.spec.region.as_deref())?,
                expires_at: session_secret.expires_at,
                credentials: session_secret.credentials(),
            });
        };
        let name = session.name_any();
        let mut sessions = FleetSessions::default();
        sessions.open(&*aws, &name, session.spec.region.as_deref(), session_secret)?;
        if let Some(key) = cached {
            sessions.mark_cached(name.clone(), key);
        }
        let Some(open) = sessions.get(&name) else {
            return Err(Failure::new("no session is open", "report this as a defect"));
        };
        let region = aws.sts_region(&account.spec.partition, account.spec.region.as_deref())?;
        let environment = AccountEnvironment::alone(aws, "cli".to_owned(), String::new());
        let target = Account::new(&account.name_any(), account.spec.clone(), environment);
        match target.credentials(open).await {
            Ok((credentials, expires_at)) => Ok(Issued {
                credentials,
                expires_at,
                region,
            }),
            Err(error) => {
                sessions.delete_if_refused(&[(&account, is_refused(&error))]);
                Err(Failure::new(
                    format!(
                        "no credentials for AwsAccount {} ({}): {}",
                        account.name_any(),
                        printable(&account.spec.account_id),
                        printable(&error.to_string())
                    ),
                    "check that the role which is assumed there exists and trusts you under MFA, and correct the AwsAccount; \
                     `rolectl unlock` opens a new session",
                ))
            }
        }
    }

    /// Returns the `MfaSession` and the `AwsAccount` of the subject, from the files or else from the cluster.
    async fn objects_of(
        &self,
        flags: &cluster::Flags,
        subject: Subject<'_>,
    ) -> Result<(MfaSession, Option<AwsAccount>), Failure> {
        let mut inventory = Inventory::default();
        from_files::add_objects(&mut inventory, &files::objects(&self.files())?, flags)?;
        let mut source = Source {
            inventory,
            flags,
            client: None,
        };
        match subject {
            Subject::Session(name) => Ok((source.session(name).await?, None)),
            Subject::Account(name) => {
                let account = source.account(name).await?;
                let session = source.session(&account.spec.session_ref).await?;
                Ok((session, Some(account)))
            }
        }
    }
}

/// Where objects come from: files first, then the cluster, which is connected to only if it is needed.
struct Source<'a> {
    inventory: Inventory,
    flags: &'a cluster::Flags,
    client: Option<Client>,
}

impl Source<'_> {
    async fn client(&mut self) -> Result<Client, Failure> {
        if let Some(client) = &self.client {
            return Ok(client.clone());
        }
        let client = self.flags.client().await?;
        self.client = Some(client.clone());
        Ok(client)
    }

    async fn session(&mut self, name: &str) -> Result<MfaSession, Failure> {
        let mut sessions = self.inventory.sessions.iter();
        if let Some(found) = sessions.find(|session| session.name_any() == name) {
            return Ok(found.clone());
        }
        cluster::session(&self.client().await?, name).await
    }

    async fn account(&mut self, name: &str) -> Result<AwsAccount, Failure> {
        let mut accounts = self.inventory.accounts.iter();
        if let Some(found) = accounts.find(|account| account.name_any() == name) {
            return Ok(found.clone());
        }
        let api: Api<AwsAccount> = Api::all(self.client().await?);
        cluster::get(&api, name).await?.ok_or_else(|| {
            Failure::new(
                format!("there is no AwsAccount {name}"),
                "correct --account; `kubectl get awsaccounts` shows those of the cluster",
            )
            .usage()
        })
    }
}
