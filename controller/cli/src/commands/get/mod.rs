//! Implements `rolectl get`.

mod orphans;
mod state;

use std::collections::BTreeMap;
use std::time::Duration;

use clap::{Args, ValueEnum};
use kube::{Api, Client, ResourceExt};

use rolectl_crds::{AwsAccount, Reason};

use self::orphans::outliving;
use self::state::{StateFilter, selects, state};
use crate::cluster::{self, Selection};
use crate::failure::Failure;
use crate::objects::{AccountRow, NOT_SEEN, RoleRow, SessionRow, rows};
use crate::output::{Document, List, ListingFlags, Row};
use crate::stdio::{eprintln, is_closed, tell_once};

/// List roles, one line for each account, or accounts, sessions, approvals or orphans
///
/// `approvals` lists the roles of which changes or the removal wait for `rolectl approve`, and what they may do after the changes.
///
/// `orphans` lists the roles in AWS that outlive their IamRole or their permission: roles with an owner tag of this cluster and no
/// IamRole (`Orphaned`), roles that break a guardrail (`GuardrailViolated`), and roles whose namespace is no longer allowed
/// (`NamespaceNotAllowed`), as of each account's last sweep. They stay in AWS and keep the access that they give until somebody
/// deletes them.
///
/// Roles and orphans are those of all namespaces, unless -n names one, or the context of the kubeconfig one other than `default`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rolectl get roles --state '!InSync'
  rolectl get roles -n platform -l team=data -w
  rolectl get role app -n platform -o wide
  rolectl get accounts --sort-by .lastSweep
  rolectl get orphans --account prod
  rolectl get roles -o json | jq '.items[] | select(.state != \"InSync\")'
  rolectl get sessions -o jsonpath='{.items[*].phase}'

Exit codes: 0 listed, 1 failed, or there is no role, account or session of that name, 2 wrong usage.")]
pub struct Get {
    /// roles, accounts, sessions, approvals or orphans, or one object as role/NAME
    #[arg(value_parser = target)]
    what: Target,
    /// Only the object of this name
    name: Option<String>,
    /// Roles of all namespaces, also if the context of the kubeconfig names one
    #[arg(long, short = 'A', conflicts_with = "namespace")]
    all_namespaces: bool,
    /// Only objects with these labels, such as `team=data,env!=dev`
    #[arg(long, short = 'l', value_name = "LABELS")]
    selector: Option<String>,
    /// Only in this AwsAccount
    #[arg(long)]
    account: Option<String>,
    /// Only those in these states, such as `Drifted,OwnedByOther`, or in none of these, such as `!InSync`
    #[arg(long, value_parser = state, value_delimiter = ',', value_name = "STATES")]
    state: Vec<StateFilter>,
    #[command(flatten)]
    listing: ListingFlags,
    /// Look again every 2 seconds and print what has changed, until Ctrl-C
    #[arg(long, short)]
    watch: bool,
}

/// What to list, and the name in `role/app`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    what: What,
    name: Option<String>,
}

/// Parses what to list, by the names that kubectl accepts.
fn target(text: &str) -> Result<Target, String> {
    let (what, name) = match text.split_once('/') {
        Some((what, name)) if !name.is_empty() => (what, Some(name.to_owned())),
        _ => (text, None),
    };
    let what = what
        .strip_suffix(rolectl_crds::GROUP)
        .map_or(what, |what| what.trim_end_matches('.'));
    match What::from_str(what, true) {
        Ok(what) => Ok(Target { what, name }),
        Err(_) => {
            Err("write roles, accounts, sessions, approvals or orphans; kubectl lists other kinds".to_owned())
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// Roles
    #[value(aliases = ["role", "iamroles", "iamrole", "iamr"])]
    Roles,
    /// Accounts
    #[value(aliases = ["account", "awsaccounts", "awsaccount", "awsa"])]
    Accounts,
    /// Sessions
    #[value(aliases = ["session", "mfasessions", "mfasession", "mfas"])]
    Sessions,
    /// Roles of which changes or the removal wait for an approval
    #[value(alias = "approval")]
    Approvals,
    /// Roles in AWS that have no IamRole, break a guardrail, or are of a namespace that is no longer allowed
    #[value(alias = "orphan")]
    Orphans,
}

/// Time between two reads of the cluster.
const PAUSE: Duration = Duration::from_secs(2);

impl Get {
    pub async fn run(mut self, flags: &cluster::Flags) -> Result<(), Failure> {
        match (&self.name, &self.what.name) {
            (Some(name), Some(other)) => {
                return Err(
                    Failure::new(format!("{other} and {name} are two names"), "give one of them").usage(),
                );
            }
            (None, Some(name)) => self.name = Some(name.clone()),
            (_, None) => {}
        }
        let client = flags.client().await?;
        match self.what.what {
            What::Roles => self.show(async || self.roles(&client, flags).await).await,
            What::Accounts => self.show(async || self.accounts(&client).await).await,
            What::Sessions => self.show(async || self.sessions(&client).await).await,
            What::Approvals => {
                self.show(async || {
                    let rows = self.roles(&client, flags).await?.into_iter();
                    Ok(rows
                        .filter(|row| {
                            matches!(row.state, Some(Reason::AwaitingApproval | Reason::RemovalsParked))
                        })
                        .collect())
                })
                .await
            }
            What::Orphans => self.show(async || self.orphans(&client, flags).await).await,
        }
    }

    /// Prints the rows once, or with `--watch` again when they change.
    async fn show<R: Row>(&self, read: impl AsyncFn() -> Result<Vec<R>, Failure>) -> Result<(), Failure>
    where
        List<R>: Document,
    {
        let mut rows = read().await?;
        if !self.watch {
            if rows.is_empty() && self.listing.is_for_people() {
                eprintln!("{}", self.nothing());
                return Ok(());
            }
            return self.listing.print(rows);
        }
        let mut shown = BTreeMap::new();
        let mut failed = String::new();
        loop {
            self.listing.print_changes(rows, &mut shown)?;
            rows = loop {
                if is_closed() {
                    return Ok(());
                }
                tokio::time::sleep(PAUSE).await;
                match read().await {
                    Ok(rows) => {
                        failed.clear();
                        break rows;
                    }
                    // A failure after the first read can be temporary.
                    Err(failure) if failure.what() == failed => {}
                    Err(failure) => {
                        failure.what().clone_into(&mut failed);
                        eprintln!("{failure}");
                    }
                }
            };
        }
    }

    /// Returns the sentence for an empty list.
    const fn nothing(&self) -> &'static str {
        match self.what.what {
            What::Roles => "There is no such IamRole.",
            What::Accounts => "There is no such AwsAccount.",
            What::Sessions => "There is no such MfaSession.",
            What::Approvals => "Nothing waits for an approval.",
            What::Orphans => "There is no such role, by the last sweep of each account.",
        }
    }

    /// Returns the objects to read. Objects of the cluster as a whole have no namespace.
    fn selection(&self, flags: &cluster::Flags, client: &Client) -> Selection {
        Selection {
            namespace: flags.listed_namespace(client, self.all_namespaces),
            labels: self.selector.clone(),
        }
    }

    /// Fails if there is no `AwsAccount` of the name in `--account`. A user who may not read accounts may still name one.
    async fn check_account(&self, client: &Client) -> Result<(), Failure> {
        let Some(name) = &self.account else {
            return Ok(());
        };
        match cluster::get(&Api::<AwsAccount>::all(client.clone()), name).await {
            Ok(None) => Err(cluster::missing("AwsAccount", name, "accounts")),
            Err(failure) if !failure.is_forbidden() => Err(failure),
            _ => Ok(()),
        }
    }

    async fn roles(&self, client: &Client, flags: &cluster::Flags) -> Result<Vec<RoleRow>, Failure> {
        self.check_account(client).await?;
        let selection = self.selection(flags, client);
        let namespace = selection.namespace.clone();
        let (mut roles, unreadable) = cluster::visible_roles(client, selection).await?;
        cluster::warn("IamRole", &unreadable);
        if let Some(name) = &self.name {
            roles.retain(|role| role.name_any() == *name);
            if roles.is_empty() {
                return Err(cluster::no_role(name, namespace.as_deref()));
            }
        }
        Ok(roles
            .iter()
            .flat_map(rows)
            .filter(|row| self.selects(row))
            .collect())
    }

    /// Returns true if `--account` and `--state` select the row.
    fn selects(&self, row: &RoleRow) -> bool {
        let in_account = self.account.is_none() || self.account == row.account;
        in_account && selects(&self.state, row.state.map_or(NOT_SEEN, |state| state.as_str()))
    }

    async fn accounts(&self, client: &Client) -> Result<Vec<AccountRow>, Failure> {
        let accounts = cluster::accounts_with(client, self.selector.as_deref()).await?;
        let name = self.only_name(self.account.as_deref())?;
        let mut rows: Vec<AccountRow> = accounts.into_iter().map(AccountRow::from).collect();
        rows.retain(|row| name.is_none_or(|name| row.name == name));
        if let Some(name) = name.filter(|_| rows.is_empty()) {
            return Err(cluster::missing("AwsAccount", name, "accounts"));
        }
        rows.retain(|row| selects(&self.state, &row.reason));
        Ok(rows)
    }

    async fn sessions(&self, client: &Client) -> Result<Vec<SessionRow>, Failure> {
        if self.account.is_some() {
            return Err(Failure::new(
                "--account does not select sessions",
                "leave it out; `rolectl get accounts -o wide` shows the session of each account",
            )
            .usage());
        }
        let sessions = cluster::sessions_with(client, self.selector.as_deref()).await?;
        let mut rows: Vec<SessionRow> = sessions.into_iter().map(SessionRow::from).collect();
        let name = self.name.as_deref();
        rows.retain(|row| name.is_none_or(|name| row.name == name));
        if let Some(name) = name.filter(|_| rows.is_empty()) {
            return Err(cluster::missing("MfaSession", name, "sessions"));
        }
        rows.retain(|row| selects(&self.state, row.phase.as_str()));
        Ok(rows)
    }

    /// Returns the name that is given as NAME or with this flag.
    fn only_name<'a>(&'a self, flag: Option<&'a str>) -> Result<Option<&'a str>, Failure> {
        match (&self.name, flag) {
            (Some(name), Some(other)) if name != other => {
                Err(Failure::new(format!("{name} and {other} are two names"), "give one of them").usage())
            }
            (name, flag) => Ok(name.as_deref().or(flag)),
        }
    }

    /// Returns the roles in AWS that outlive their object or their permission.
    async fn orphans(&self, client: &Client, flags: &cluster::Flags) -> Result<Vec<RoleRow>, Failure> {
        if self.selector.is_some() {
            return Err(Failure::new(
                "a role without an IamRole has no labels, so -l selects no orphans",
                "leave -l out, or select with --account and --state",
            )
            .usage());
        }
        self.check_account(client).await?;
        let namespace = flags.listed_namespace(client, self.all_namespaces);
        let mut accounts = cluster::accounts(client).await?;
        accounts.retain(|a| self.account.as_ref().is_none_or(|name| a.name_any() == *name));
        accounts.sort_by_key(ResourceExt::name_any);
        let roles = cluster::roles(client, &Selection::default()).await?;
        let (mut rows, mut notes) = (vec![], vec![]);
        for account in &accounts {
            let (found, more) = outliving(account, &roles);
            rows.extend(found);
            notes.extend(more);
        }
        rows.retain(|row: &RoleRow| {
            let in_namespace = namespace
                .as_ref()
                .is_none_or(|namespace| row.namespace == *namespace);
            in_namespace && self.name.as_ref().is_none_or(|name| row.name == *name) && self.selects(row)
        });
        for note in notes {
            tell_once(&note);
        }
        Ok(rows)
    }
}
