//! What `plan`, `apply` and `destroy` share: the objects, the session, a look at every account, and how it is shown.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;

use crate::once::{Inventory, Proposal};
use anstream::{AutoStream, ColorChoice, eprintln};
use clap::Args;
use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};
use rolectl_aws::account::{Account, AccountEnvironment, AccountError};
use rolectl_aws::actor::report::Goal;
use rolectl_aws::api::Aws;
use rolectl_aws::error::Class;
use rolectl_aws::lease_term::LeaseTerm;
use rolectl_aws::sdk::{SdkAws, base_config};
use rolectl_aws::session::{OpenSession, SessionSecret, Sessions, fits};
use rolectl_core::arn::{arn_account, arn_partition};
use rolectl_core::names::full_name;
use rolectl_core::role::{Change, ObservedRole};
use rolectl_core::selection::targets;
use rolectl_crds::{AwsAccount, IamRole, MfaSession, MfaSessionSpec, Reason};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;
use crate::files::{self, Found};
use crate::hints::unmatched;
use crate::mfa::{self, Caller};
use crate::output::{counted, moment};
use crate::session_cache::{Cache, Unusable};
use crate::{cluster, managed};

/// How many accounts are read at a time.
const ACCOUNTS_AT_ONCE: usize = 16;

/// Which objects, and on whose credentials.
#[derive(Debug, Default, Args)]
pub struct FleetFlags {
    /// Files and folders with IamRoles, AwsAccounts and MfaSessions; `-` is stdin. Roles come from the cluster without it
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    pub files: Vec<String>,
    /// Only these AwsAccounts
    #[arg(long = "account", value_name = "NAME")]
    pub accounts: Vec<String>,
    /// Name of the cluster in owner tags. Default: what the controller says; `files` without a cluster, and where roles are written
    #[arg(long, env = "ROLECTL_CLUSTER_NAME", hide_env_values = true)]
    cluster_name: Option<String>,
    /// Buy the session of this role with the code, and manage its account only
    ///
    /// For a user who may assume one role under MFA and nothing else.
    #[arg(long, value_name = "ARN", value_parser = mfa::role_arn)]
    assume_role: Option<String>,
    /// Length of the session, bought anew. Default: the MfaSession's durationSeconds; of a role what AWS gives, 1h
    #[arg(long, value_parser = mfa::duration_seconds)]
    duration: Option<i32>,
    #[command(flatten)]
    mfa: mfa::CodeFlags,
    /// Only this role of the cluster, as `namespace/name`.
    #[arg(skip)]
    role: Option<String>,
}

/// What the objects are collected for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To show what would be done.
    Show,
    /// To write to AWS without the controller, and `take_over` where one manages the roles.
    Write { take_over: bool },
}

/// All that is needed to look and to write.
pub struct Fleet {
    pub inventory: Inventory,
    /// Open sessions by the name of the `MfaSession`.
    sessions: BTreeMap<String, Arc<OpenSession>>,
    environment: AccountEnvironment,
    /// Accounts that are left out, and why.
    pub left_out: Vec<(AwsAccount, String)>,
    /// The roles that are looked at.
    meant: Meant,
    /// Sessions that are on what was kept here, by name: who bought it, and of which account or role it is.
    kept: BTreeMap<String, (String, String)>,
    /// Names of all accounts that somebody describes, looked at or not.
    known: BTreeSet<String>,
}

/// An account as it was found.
pub struct Seen {
    pub account: AwsAccount,
    pub live: Option<Arc<Account>>,
    /// Why it could not be read.
    pub failure: Option<String>,
    /// It could not, because AWS refuses.
    refused: bool,
    pub proposals: Vec<Proposal>,
}

impl FleetFlags {
    /// For one role of the cluster.
    pub fn of_role(role: &IamRole, cluster_name: Option<String>, mfa: mfa::CodeFlags) -> Self {
        Self {
            mfa,
            cluster_name,
            role: Some(full_name(role)),
            ..Self::default()
        }
    }

    /// Collects objects, and finds or buys the sessions of the accounts that the roles name.
    pub async fn fleet(&self, flags: &cluster::Flags, purpose: Purpose) -> Result<Fleet, Failure> {
        let (fleet, client) = self.collect(flags, purpose).await?;
        if !fleet.inventory.roles.iter().any(|role| fleet.meant.takes(role)) {
            return Err(Failure::new(
                "there is no IamRole to look at",
                "give files with -f, or apply some to the cluster",
            ));
        }
        let accounts = fleet.targeted();
        self.open(fleet, client.as_ref(), flags, accounts).await
    }

    /// The same for one account, whatever roles there are.
    pub async fn account(&self, flags: &cluster::Flags, name: &str) -> Result<(Fleet, AwsAccount), Failure> {
        let (mut fleet, client) = self.collect(flags, Purpose::Show).await?;
        fleet.only(&[name.to_owned()])?;
        let accounts = fleet.inventory.accounts.clone();
        let fleet = self.open(fleet, client.as_ref(), flags, accounts).await?;
        let found = fleet.inventory.accounts.first().cloned();
        let account = found.ok_or_else(|| {
            let why = fleet
                .left_out
                .first()
                .map(|(_, why)| why.clone())
                .unwrap_or_default();
            Failure::new(
                format!("AwsAccount {name} cannot be read: {why}"),
                "correct --account or --assume-role",
            )
        })?;
        Ok((fleet, account))
    }

    async fn open(
        &self,
        mut fleet: Fleet,
        client: Option<&Client>,
        flags: &cluster::Flags,
        accounts: Vec<AwsAccount>,
    ) -> Result<Fleet, Failure> {
        if let Some(arn) = &self.assume_role {
            Box::pin(self.open_role(&mut fleet, arn)).await?;
        } else {
            let namespace = &flags.controller_namespace;
            Box::pin(self.open_all(&mut fleet, client, namespace, accounts)).await?;
        }
        Ok(fleet)
    }

    async fn collect(
        &self,
        flags: &cluster::Flags,
        purpose: Purpose,
    ) -> Result<(Fleet, Option<Client>), Failure> {
        let mut inventory = Inventory::default();
        take_in(&mut inventory, &files::objects(&self.files)?, flags)?;
        let complete =
            !self.files.is_empty() && !inventory.accounts.is_empty() && !inventory.sessions.is_empty();
        let client = if complete {
            None
        } else {
            Some(flags.client().await?)
        };
        let default = client
            .as_ref()
            .map_or("default", |client| client.default_namespace());
        for role in &mut inventory.roles {
            role.metadata.namespace.get_or_insert_with(|| default.to_owned());
        }
        let said = match &client {
            Some(client) => from_cluster(&mut inventory, client, self.files.is_empty()).await?,
            None => None,
        };
        let meant = Meant {
            role: self.role.clone(),
            // A role that is named stands in its namespace.
            namespace: flags.namespace.clone().filter(|_| self.role.is_none()),
        };
        inventory.cluster = match purpose {
            Purpose::Show => self.cluster_shown(said, client.as_ref()).await?,
            Purpose::Write { take_over } => {
                // What a status says of a role's id must not make a role ours.
                inventory.roles.iter_mut().for_each(|role| role.status = None);
                let permit = self.permit(&inventory, flags, take_over).await?;
                eprintln!("{}", permit.notice);
                permit.cluster
            }
        };
        let environment = AccountEnvironment {
            aws: SdkAws::new(base_config().await),
            shutdown: CancellationToken::new(),
            lease_term: LeaseTerm::forever(),
            in_flight: Arc::new(Semaphore::new(64)),
            observer: Arc::new(()),
            namespace: "cli".to_owned(),
            owner_prefix: format!("{}/", inventory.cluster),
        };
        let known = inventory
            .accounts
            .iter()
            .map(kube::ResourceExt::name_any)
            .collect();
        let mut fleet = Fleet {
            known,
            inventory,
            sessions: BTreeMap::new(),
            environment,
            left_out: vec![],
            kept: BTreeMap::new(),
            meant,
        };
        if !self.accounts.is_empty() {
            fleet.only(&self.accounts)?;
        }
        Ok((fleet, client))
    }

    /// Name of the cluster in owner tags, for a look: as its controller has it.
    async fn cluster_shown(&self, said: Option<String>, client: Option<&Client>) -> Result<String, Failure> {
        match (self.cluster_name.clone().or(said), client) {
            (Some(name), _) => Ok(name),
            (None, None) => Ok("files".to_owned()),
            (None, Some(client)) => {
                let api: Api<Namespace> = Api::all(client.clone());
                let system = api.get("kube-system").await.map_err(|_| {
                    Failure::new(
                        "no controller has said yet what it calls this cluster, and you may not read the namespace kube-system",
                        "give --cluster-name, as the controller has it",
                    )
                })?;
                Ok(system.uid().unwrap_or_default())
            }
        }
    }

    /// Asks the cluster whether these roles may be written without its controller.
    pub async fn permit(
        &self,
        inventory: &Inventory,
        flags: &cluster::Flags,
        take_over: bool,
    ) -> Result<managed::Permit, Failure> {
        let mut accounts = inventory.accounts.clone();
        accounts.retain(|account| self.accounts.is_empty() || self.accounts.contains(&account.name_any()));
        accounts.retain(|account| inventory.roles.iter().any(|role| targets(role, account)));
        let answer = managed::ask(flags, &inventory.roles, &accounts).await?;
        answer.permit(take_over, self.cluster_name.clone())
    }

    /// A session for every `MfaSession` that one of the accounts refers to.
    async fn open_all(
        &self,
        fleet: &mut Fleet,
        client: Option<&Client>,
        namespace: &str,
        accounts: Vec<AwsAccount>,
    ) -> Result<(), Failure> {
        let mut wanted: Vec<MfaSession> = vec![];
        for account in &accounts {
            let Some(session) = fleet.inventory.session_of(account) else {
                return Err(Failure::new(
                    format!(
                        "there is no MfaSession {}, which AwsAccount {} refers to",
                        account.spec.session_ref,
                        account.name_any()
                    ),
                    "put it into the files, or correct spec.sessionRef",
                ));
            };
            if !wanted.iter().any(|w| w.name_any() == session.name_any()) {
                wanted.push(session.clone());
            }
        }
        let mut caller = None;
        // A code buys once: what it has bought is good for every MfaSession of the same account or role.
        let mut bought: BTreeMap<String, SessionSecret> = BTreeMap::new();
        let different: BTreeSet<&str> = wanted.iter().map(bought_by).collect();
        // Where several are needed, a code that is given is for what is not kept yet: else no number of them would be enough.
        let anew = self.buys() && different.len() < 2;
        for session in wanted {
            let name = session.name_any();
            let there = match client {
                Some(client) => stored(client, namespace, &session, &*fleet.environment.aws).await,
                None => None,
            };
            let session_secret = match there {
                Some(stored) if !self.buys() => stored,
                there => {
                    if caller.is_none() {
                        caller = Some(Caller::find(&self.mfa, Some(&session)).await?);
                    }
                    let Some(caller) = &caller else { continue };
                    let what = bought_by(&session);
                    match (caller.check_access(&session), there, bought.get(what)) {
                        (Ok(()), _, Some(bought)) => {
                            if let Some(from) = fleet.kept.values().find(|(_, of)| of == what).cloned() {
                                fleet.kept.insert(name.clone(), from);
                            }
                            bought.clone()
                        }
                        (Ok(()), _, None) => {
                            let session_secret = self.bought(fleet, caller, &session, anew).await?;
                            bought.insert(what.to_owned(), session_secret.clone());
                            session_secret
                        }
                        // Not ours to buy, but somebody has.
                        (Err(_), Some(stored), _) => stored,
                        (Err(failure), None, _) => return Err(failure),
                    }
                }
            };
            fleet.open(&name, session.spec.region.as_deref(), session_secret)?;
        }
        Ok(())
    }

    /// The session that was kept, unless it is wanted `anew`, else one that a code buys.
    async fn bought(
        &self,
        fleet: &mut Fleet,
        caller: &Caller,
        session: &MfaSession,
        anew: bool,
    ) -> Result<SessionSecret, Failure> {
        let what = bought_by(session);
        if !anew && let Some(kept) = kept(caller, session) {
            let from = (caller.principal.clone(), what.to_owned());
            fleet.kept.insert(session.name_any(), from);
            return Ok(kept);
        }
        let session_secret = caller.request_session(session, self.duration).await?;
        keep(&caller.principal, what, &session_secret);
        Ok(session_secret)
    }

    /// Whether a session is asked for as it is not kept: with this code, or this long.
    const fn buys(&self) -> bool {
        self.mfa.has_code() || self.duration.is_some()
    }

    /// One role's own session, for its account alone.
    async fn open_role(&self, fleet: &mut Fleet, arn: &str) -> Result<(), Failure> {
        let role = MfaSessionSpec {
            role_arn: Some(arn.to_owned()),
            ..MfaSessionSpec::of_account(arn_account(arn))
        };
        let caller = Caller::find(&self.mfa, Some(&MfaSession::new(arn, role))).await?;
        let id = arn_account(arn).to_owned();
        let of_account = |account: &&AwsAccount| account.spec.account_id == id;
        let before = fleet.inventory.accounts.iter().find(of_account);
        let before = before.and_then(|account| fleet.inventory.session_of(account));
        // Operators are where they were: `$(session.accountId)` must not mean the role's own account.
        let operators = before.map_or(arn_account(&caller.principal), |session| &session.spec.account_id);
        let spec = MfaSessionSpec {
            role_arn: Some(arn.to_owned()),
            ..MfaSessionSpec::of_account(operators)
        };
        let session = MfaSession::new(arn, spec);
        let session_secret = self.bought(fleet, &caller, &session, self.buys()).await?;
        fleet.inventory.sessions.push(session);
        fleet.leave_out(|account| {
            (account.spec.account_id != id)
                .then(|| format!("--assume-role gives a session in account {id} only"))
        });
        for account in &mut fleet.inventory.accounts {
            account.spec.assume_role = None;
            arn.clone_into(&mut account.spec.session_ref);
        }
        fleet.open(arn, None, session_secret)
    }
}

/// Which roles are looked at. The others count nevertheless: one of them may want the same role in AWS.
struct Meant {
    /// Only this one, as `namespace/name`.
    role: Option<String>,
    /// Only those of this namespace.
    namespace: Option<String>,
}

impl Meant {
    fn takes(&self, role: &IamRole) -> bool {
        let named = self.role.as_ref().is_none_or(|only| full_name(role) == *only);
        named && (self.namespace.is_none() || self.namespace == role.metadata.namespace)
    }
}

/// What a code buys for the session, as it is kept under: the session of an account's user, or of a role.
fn bought_by(session: &MfaSession) -> &str {
    session.spec.role_arn.as_ref().unwrap_or(&session.spec.account_id)
}

/// What was bought and kept before. We have written it ourselves, with the name that AWS gave.
fn kept(caller: &Caller, session: &MfaSession) -> Option<SessionSecret> {
    let kept = match Cache::of_user()?.get(&caller.principal, bought_by(session), Timestamp::now()) {
        Ok(kept) => kept,
        Err(Unusable::Absent) => return None,
        Err(unusable) => {
            eprintln!("warning: the session that was kept here is not used: {unusable}");
            return None;
        }
    };
    fits(&session.spec, &kept.principal_arn).ok()?;
    Some(kept)
}

fn keep(principal: &str, bought: &str, session_secret: &SessionSecret) {
    eprintln!(
        "Session as {principal} until {}",
        moment(session_secret.expires_at, Timestamp::now())
    );
    let kept = match Cache::of_user() {
        Some(cache) => cache.put(principal, bought, session_secret),
        None => Err(Unusable::Failed("no home directory".to_owned())),
    };
    if let Err(unusable) = kept {
        eprintln!("warning: the session is not kept, the next command needs another code: {unusable}");
    }
}

/// The session that `rolectl unlock` stored, where we may read it.
async fn stored(
    client: &Client,
    namespace: &str,
    session: &MfaSession,
    aws: &dyn Aws,
) -> Option<SessionSecret> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let secret = api.get_opt(&session.secret_name()).await.ok().flatten()?;
    let session_secret = SessionSecret::from_secret(secret).ok()?;
    if session_secret.expires_at <= Timestamp::now() {
        return None;
    }
    confirmed(session_secret, session, aws).await
}

/// The session, if it is the one that its object asks for, by AWS's word: what is written beside it proves nothing.
async fn confirmed(
    mut session_secret: SessionSecret,
    session: &MfaSession,
    aws: &dyn Aws,
) -> Option<SessionSecret> {
    let partition = arn_partition(&session_secret.principal_arn);
    let sts = aws.sts(
        session_secret.credentials(),
        partition,
        session.spec.region.as_deref(),
    );
    // An empty ARN fits no session.
    session_secret.principal_arn = sts.ok()?.get_caller_identity().await.ok()?;
    fits(&session.spec, &session_secret.principal_arn).ok()?;
    Some(session_secret)
}

/// Sorts the objects of files by their kinds. As with kubectl, none may be of another namespace than `-n`.
fn take_in(inventory: &mut Inventory, objects: &[Found], flags: &cluster::Flags) -> Result<(), Failure> {
    for found in objects {
        let kind = found
            .value
            .get("kind")
            .and_then(|k| k.as_str())
            .unwrap_or_default();
        let group = found
            .value
            .get("apiVersion")
            .and_then(|k| k.as_str())
            .unwrap_or_default();
        match kind {
            "Namespace" => inventory.namespaces.push(parsed(found)?),
            _ if !group.starts_with(rolectl_crds::GROUP) => {}
            "IamRole" => {
                // A status that is written in a file says nothing: no controller has seen it.
                let mut role: IamRole = parsed(found)?;
                role.status = None;
                // Nor does what an exported object has from the API server: it decides who comes first.
                role.metadata.uid = None;
                role.metadata.creation_timestamp = None;
                role.metadata.deletion_timestamp = None;
                if let Some(namespace) = &flags.namespace {
                    let own = role.metadata.namespace.get_or_insert_with(|| namespace.clone());
                    if own != namespace {
                        return Err(Failure::new(
                            format!(
                                "{}: IamRole {} is of another namespace than -n {namespace}",
                                found.source,
                                full_name(&role)
                            ),
                            "leave -n out, or correct the file",
                        )
                        .usage());
                    }
                }
                inventory.roles.push(role);
            }
            "AwsAccount" => {
                let account: AwsAccount = parsed(found)?;
                inventory.accounts.push(AwsAccount {
                    status: None,
                    ..account
                });
            }
            "MfaSession" => {
                let session: MfaSession = parsed(found)?;
                inventory.sessions.push(MfaSession {
                    status: None,
                    ..session
                });
            }
            _ => {}
        }
    }
    Ok(())
}

fn parsed<K: DeserializeOwned>(found: &Found) -> Result<K, Failure> {
    files::object(&found.value).map_err(|error| {
        let name = found
            .value
            .pointer("/metadata/name")
            .and_then(|n| n.as_str())
            .unwrap_or("?");
        let kind = found.value.get("kind").and_then(|k| k.as_str()).unwrap_or("?");
        Failure::new(
            format!("{}: {kind} {name}: {error}", found.source),
            "correct the file; `rolectl lint` shows all that is wrong",
        )
        .usage()
    })
}

/// What the files do not have. Of roles that are in both, the cluster's status, uid and age are taken. Returns the
/// name that the controller gives the cluster in owner tags, preferably that of an account which the roles name.
async fn from_cluster(
    inventory: &mut Inventory,
    client: &Client,
    roles_too: bool,
) -> Result<Option<String>, Failure> {
    for role in cluster::roles(client, None).await? {
        let same = inventory
            .roles
            .iter_mut()
            .find(|r| full_name(r) == full_name(&role));
        match same {
            Some(ours) => {
                ours.status = role.status;
                // Of namesakes the older one comes first.
                ours.metadata.uid = role.metadata.uid;
                ours.metadata.creation_timestamp = role.metadata.creation_timestamp;
            }
            None if roles_too => inventory.roles.push(role),
            None => {}
        }
    }
    let accounts = cluster::accounts(client).await?;
    let is_targeted = |account: &&AwsAccount| inventory.roles.iter().any(|role| targets(role, account));
    let said = accounts
        .iter()
        .filter(is_targeted)
        .chain(&accounts)
        .find_map(|account| account.status.as_ref()?.cluster.clone());
    for account in accounts {
        if !inventory
            .accounts
            .iter()
            .any(|a| a.name_any() == account.name_any())
        {
            inventory.accounts.push(account);
        }
    }
    for session in cluster::sessions(client).await? {
        if !inventory
            .sessions
            .iter()
            .any(|s| s.name_any() == session.name_any())
        {
            inventory.sessions.push(session);
        }
    }
    let namespaces: Api<Namespace> = Api::all(client.clone());
    // Needed only where an account selects by labels, and not everybody may list them.
    if let Ok(namespaces) = namespaces.list(&ListParams::default()).await {
        inventory.namespaces.extend(namespaces);
    }
    Ok(said)
}

impl Fleet {
    /// The accounts that roles which are looked at name.
    fn targeted(&self) -> Vec<AwsAccount> {
        let targeted = self.inventory.targeted(|role| self.meant.takes(role));
        targeted.into_iter().cloned().collect()
    }

    /// Forgets a session that was kept here and that no account takes any more, as after it was revoked: else it would stand
    /// in the way until its end.
    fn forget_if_refused(&self, looks: &[(&AwsAccount, bool)]) {
        let kept: BTreeSet<&(String, String)> = self.kept.values().collect();
        for from in kept {
            let (principal, bought) = from;
            let is_on_it = |account: &AwsAccount| self.kept.get(&account.spec.session_ref) == Some(from);
            let mut on_it = looks.iter().filter(|(account, _)| is_on_it(account)).peekable();
            if on_it.peek().is_some() && on_it.all(|(_, refused)| *refused) {
                if let Some(cache) = Cache::of_user() {
                    cache.forget(principal, bought);
                }
                eprintln!(
                    "The session that was kept here is refused everywhere and now forgotten: run it again with a new code."
                );
            }
        }
    }

    fn only(&mut self, names: &[String]) -> Result<(), Failure> {
        for name in names {
            if !self.inventory.accounts.iter().any(|a| a.name_any() == *name) {
                return Err(Failure::new(
                    format!("there is no AwsAccount {name}"),
                    "correct --account; `kubectl get awsaccounts` shows those of the cluster",
                )
                .usage());
            }
        }
        self.inventory
            .accounts
            .retain(|account| names.contains(&account.name_any()));
        Ok(())
    }

    fn leave_out(&mut self, why: impl Fn(&AwsAccount) -> Option<String>) {
        for account in std::mem::take(&mut self.inventory.accounts) {
            match why(&account) {
                Some(why) => self.left_out.push((account, why)),
                None => self.inventory.accounts.push(account),
            }
        }
    }

    fn open(
        &mut self,
        name: &str,
        region: Option<&str>,
        session_secret: SessionSecret,
    ) -> Result<(), Failure> {
        let principal = session_secret.principal_arn.clone();
        let aws = &self.environment.aws;
        let sts = aws.sts(session_secret.credentials(), arn_partition(&principal), region)?;
        let open = Sessions::default().open(name, session_secret, principal, sts, Timestamp::now());
        self.sessions.insert(name.to_owned(), open);
        Ok(())
    }

    /// The session that the account is on.
    pub fn session(&self, account: &AwsAccount) -> Option<&Arc<OpenSession>> {
        self.sessions.get(&account.spec.session_ref)
    }

    /// Reads all roles of one account.
    pub async fn all_roles(&self, account: &AwsAccount) -> Result<Vec<ObservedRole>, Failure> {
        let failed = |why: String| {
            Failure::new(
                format!(
                    "account {} ({}): {why}",
                    account.name_any(),
                    account.spec.account_id
                ),
                "check that the role which is assumed there exists, trusts you under MFA and may read IAM",
            )
        };
        let session = self
            .session(account)
            .ok_or_else(|| failed("no session".to_owned()))?;
        let looked = self
            .inventory
            .look(account, session, self.environment.clone(), true)
            .await;
        self.forget_if_refused(&[(account, looked.as_ref().is_err_and(is_refused))]);
        let live = looked.map_err(|e| failed(e.to_string()))?;
        let packed = live.snapshot.lock().roles();
        let mut roles: Vec<ObservedRole> = packed.iter().filter_map(|role| role.unpack()).collect();
        roles.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(roles)
    }

    /// Accounts that nobody describes, and those that are left out.
    pub fn tell_left_out(&self) {
        let unknown = self.inventory.unknown_accounts(|role| self.meant.takes(role));
        for (name, roles) in unknown
            .into_iter()
            .filter(|(name, _)| !self.known.contains(*name))
        {
            eprintln!(
                "warning: there is no AwsAccount {name}, which {} names",
                roles.join(", ")
            );
        }
        // Where accounts are left out, a selector may match one of those.
        let is_complete = self.inventory.accounts.len() == self.known.len();
        let roles = self.inventory.roles.iter().filter(|role| self.meant.takes(role));
        for role in roles.filter(|_| is_complete) {
            if let Some(warning) = unmatched(role, &self.inventory.accounts) {
                eprintln!("warning: IamRole {}: {warning}", full_name(role));
            }
        }
        for (account, why) in &self.left_out {
            eprintln!(
                "left out: account {} ({}): {why}",
                account.name_any(),
                account.spec.account_id
            );
        }
    }

    /// From Ctrl-C on no new role is to be begun, which `interrupted` tells; from the second on no new call.
    pub fn stop_on_interrupt(&self, interrupted: &CancellationToken) -> tokio::task::JoinHandle<()> {
        let stages = [
            (
                interrupted.clone(),
                "finishing the roles under way; once more to finish only the calls",
            ),
            (self.environment.shutdown.clone(), "finishing the calls under way"),
        ];
        tokio::spawn(async move {
            for (stage, what) in stages {
                if tokio::signal::ctrl_c().await.is_ok() {
                    eprintln!("\ninterrupted: {what}");
                    stage.cancel();
                }
            }
        })
    }

    /// Reads every targeted account and plans its roles.
    pub async fn look(&self, goal: Goal) -> Vec<Seen> {
        let accounts = self.targeted();
        let progress = Progress::new("Reading", accounts.len());
        let looks: Vec<_> = accounts
            .into_iter()
            .map(|account| self.look_at(goal, account, &progress))
            .collect();
        let mut seen: Vec<Seen> = futures::stream::iter(looks)
            .buffer_unordered(ACCOUNTS_AT_ONCE)
            .collect()
            .await;
        progress.end();
        let looks: Vec<_> = seen.iter().map(|seen| (&seen.account, seen.refused)).collect();
        self.forget_if_refused(&looks);
        seen.sort_by_key(|seen| seen.account.name_any());
        seen
    }

    async fn look_at(&self, goal: Goal, account: AwsAccount, progress: &Progress) -> Seen {
        let Some(session) = self.session(&account) else {
            return Seen {
                account,
                live: None,
                failure: Some("no session".to_owned()),
                refused: false,
                proposals: vec![],
            };
        };
        let looked = self
            .inventory
            .look(&account, session, self.environment.clone(), false)
            .await;
        progress.step(&account.name_any());
        match looked {
            Ok(live) => {
                let mut proposals = self.inventory.propose(goal, &account, session, &live);
                proposals.retain(|p| self.meant.takes(&p.role));
                Seen {
                    account,
                    live: Some(live),
                    failure: None,
                    refused: false,
                    proposals,
                }
            }
            Err(error) => Seen {
                account,
                live: None,
                failure: Some(error.to_string()),
                refused: is_refused(&error),
                proposals: vec![],
            },
        }
    }
}

/// Whether AWS refuses the session itself: it has ended, or
/// [was revoked](https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_revoke-sessions.html) by a policy that denies all
/// older ones. That the role is missing or does not trust us says nothing of the session.
fn is_refused(error: &AccountError) -> bool {
    match error {
        AccountError::SessionRefused(_) => true,
        AccountError::Aws(failure) => match failure.class {
            Class::Expired => true,
            Class::AccessDenied => failure
                .message
                .contains("explicit deny in an identity-based policy"),
            _ => false,
        },
        _ => false,
    }
}

/// A line that shows how far a wait has come, where somebody sees it.
pub struct Progress {
    what: &'static str,
    all: usize,
    done: std::sync::atomic::AtomicUsize,
    shown: bool,
}

impl Progress {
    pub fn new(what: &'static str, all: usize) -> Self {
        let progress = Self {
            what,
            all,
            done: std::sync::atomic::AtomicUsize::new(0),
            shown: std::io::stderr().is_terminal(),
        };
        progress.show("");
        progress
    }

    pub fn step(&self, last: &str) {
        self.done.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.show(last);
    }

    fn show(&self, last: &str) {
        if self.shown {
            let done = self.done.load(std::sync::atomic::Ordering::Relaxed);
            show(&format!("\r\x1b[K{} {done}/{} {last}", self.what, self.all));
        }
    }

    pub fn end(&self) {
        if self.shown {
            show("\r\x1b[K");
        }
    }
}

/// As it is: to begin a line anew is no colour, so `NO_COLOR` does not ask to leave it.
fn show(text: &str) {
    // Nobody may read any more.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// What becomes of a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    Create,
    Change,
    Delete,
    /// Our owner tag is taken off, and the role stays.
    Release,
    None,
    /// `drift: Report`: shown, never made.
    Report,
    Refused,
}

/// One role in one account, for programs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RoleLine {
    pub namespace: String,
    pub name: String,
    pub role_name: String,
    pub action: Action,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<ChangeLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What is left on the role although the spec does not list it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<String>,
}

/// One change, for programs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChangeLine {
    pub operation: &'static str,
    pub change: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
}

/// One account, for programs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountLines {
    pub account: String,
    pub account_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    pub roles: Vec<RoleLine>,
}

/// How many of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sum {
    pub create: usize,
    pub change: usize,
    pub delete: usize,
    pub release: usize,
    pub unchanged: usize,
    pub report: usize,
    pub refused: usize,
    pub failed_accounts: usize,
}

/// A whole plan, for programs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Overview {
    pub accounts: Vec<AccountLines>,
    pub summary: Sum,
}

impl Sum {
    /// Whether anything is to be done.
    pub const fn changes(&self) -> bool {
        self.create + self.change + self.delete + self.release > 0
    }

    /// Whether all is well apart from what is to be done.
    pub const fn fails(&self) -> bool {
        self.refused + self.failed_accounts > 0
    }
}

impl std::fmt::Display for Sum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} to create, {} to change, {} to delete",
            self.create, self.change, self.delete
        )?;
        for (count, what) in [
            (self.release, "to release"),
            (self.unchanged, "unchanged"),
            (self.report, "only reported"),
            (self.refused, "refused"),
        ] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        if self.failed_accounts > 0 {
            write!(f, ", {} not read", counted(self.failed_accounts, "account"))?;
        }
        Ok(())
    }
}

fn role_line(proposal: &Proposal) -> RoleLine {
    let (action, changes, refusal) = match &proposal.verdict {
        Err(refusal) => (Action::Refused, vec![], Some(refusal)),
        Ok(plan) => {
            let refusal = proposal.refusal.as_ref();
            let has = |wanted: fn(&Change) -> bool| plan.changes.iter().any(wanted);
            let action = if plan.is_empty() {
                Action::None
            } else if proposal.only_shown {
                Action::Report
            } else if plan.creates() {
                Action::Create
            } else if has(|c| *c == Change::DeleteRole) {
                Action::Delete
            } else if plan
                .changes
                .iter()
                .all(|c| matches!(c, Change::Untag(_) | Change::ReleaseInstanceProfile(..)))
                && has(|c| matches!(c, Change::Untag(keys) if keys.contains(rolectl_crds::OWNER_TAG)))
            {
                Action::Release
            } else {
                Action::Change
            };
            let changes = plan.changes.iter().map(|change| ChangeLine {
                operation: change.operation(),
                change: change.to_string(),
                details: change.details().iter().map(ToString::to_string).collect(),
            });
            (action, changes.collect(), refusal)
        }
    };
    RoleLine {
        namespace: proposal.role.namespace().unwrap_or_default(),
        name: proposal.role.name_any(),
        role_name: proposal.role_name.clone(),
        action,
        changes,
        reason: refusal.map(|r| r.reason),
        message: refusal.map(|r| r.message.clone()),
        kept: proposal
            .verdict
            .as_ref()
            .ok()
            .and_then(|plan| plan.kept.message()),
    }
}

impl Overview {
    pub fn of(seen: &[Seen]) -> Self {
        let mut summary = Sum::default();
        let accounts = seen.iter().map(|seen| {
            let roles: Vec<RoleLine> = seen.proposals.iter().map(role_line).collect();
            for role in &roles {
                *match role.action {
                    Action::Create => &mut summary.create,
                    Action::Change => &mut summary.change,
                    Action::Delete => &mut summary.delete,
                    Action::Release => &mut summary.release,
                    Action::None => &mut summary.unchanged,
                    Action::Report => &mut summary.report,
                    Action::Refused => &mut summary.refused,
                } += 1;
                summary.refused += usize::from(role.is_enforced());
            }
            summary.failed_accounts += usize::from(seen.failure.is_some());
            AccountLines {
                account: seen.account.name_any(),
                account_id: seen.account.spec.account_id.clone(),
                failure: seen.failure.clone(),
                roles,
            }
        });
        let accounts = accounts.collect();
        Self { accounts, summary }
    }

    /// For people, as Terraform shows a plan: per account and role, what comes, what changes, what goes.
    pub fn text(&self, paint: Paint) -> String {
        let mut text = String::new();
        for account in &self.accounts {
            let quiet = account.failure.is_none() && account.roles.iter().all(RoleLine::is_quiet);
            if quiet {
                continue;
            }
            let _ = writeln!(
                text,
                "{}",
                paint.bold(&format!("account {} ({})", account.account, account.account_id))
            );
            if let Some(failure) = &account.failure {
                let _ = writeln!(text, "  {}", paint.red(&format!("! not read: {failure}")));
            }
            for role in account.roles.iter().filter(|role| !role.is_quiet()) {
                role.write(&mut text, paint);
            }
            text.push('\n');
        }
        text
    }
}

impl RoleLine {
    /// Whether the spec is refused, and nothing but managed policies that the account denies is taken off the role.
    fn is_enforced(&self) -> bool {
        self.action == Action::Change && self.reason.is_some()
    }

    fn is_quiet(&self) -> bool {
        self.action == Action::None && self.kept.is_none()
    }

    fn write(&self, text: &mut String, paint: Paint) {
        let (sign, what) = match self.action {
            Action::Change if self.is_enforced() => {
                ('!', "is refused, and what the account denies is detached")
            }
            Action::Create => ('+', "is to be created"),
            Action::Change => ('~', "is to be changed"),
            Action::Delete => ('-', "is to be deleted"),
            Action::Release => ('~', "stays, without our owner tag"),
            Action::None => (' ', "is right"),
            Action::Report => ('~', "differs, and drift: Report leaves it so"),
            Action::Refused => ('!', "is refused"),
        };
        let called = if self.role_name == self.name {
            String::new()
        } else {
            format!(" as {}", self.role_name)
        };
        let line = format!("{sign} role {}/{}{called} {what}", self.namespace, self.name);
        let _ = writeln!(text, "  {}", paint.by_sign(&line));
        if let (Some(reason), Some(message)) = (self.reason, &self.message) {
            let _ = writeln!(text, "      {reason}: {message}");
        }
        if let Some(kept) = &self.kept {
            let _ = writeln!(text, "      {kept}");
        }
        for change in &self.changes {
            let _ = writeln!(text, "      {}", paint.by_sign(&change.change));
            for detail in &change.details {
                let _ = writeln!(text, "          {}", paint.by_sign(detail));
            }
        }
    }
}

/// Colour where a person reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paint(bool);

impl Paint {
    /// By the terminal, and by [NO_COLOR](https://no-color.org).
    pub fn of_stdout() -> Self {
        Self(AutoStream::choice(&std::io::stdout()) != ColorChoice::Never)
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.0 {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    pub fn red(self, text: &str) -> String {
        self.with("31", text)
    }

    pub fn green(self, text: &str) -> String {
        self.with("32", text)
    }

    fn by_sign(self, line: &str) -> String {
        match line.trim_start().chars().next() {
            Some('+') => self.green(line),
            Some('-' | '!') => self.red(line),
            Some('~') => self.with("33", line),
            _ => line.to_owned(),
        }
    }
}
