//! Implements `rolectl approve`.

use std::collections::BTreeSet;
use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt as _};
use schemars::JsonSchema;
use serde::Serialize;

use rolectl_aws::actor::gate::Pending;
use rolectl_aws::approvals::{Approver, Decision, Sealed, Verdict};
use rolectl_aws::session::SessionSecret;
use rolectl_core::role::Change;
use rolectl_core::widening::Atom;
use rolectl_crds::{IamRole, Reason};

use super::unlock::store;
use crate::cluster::{self, Selection};
use crate::failure::Failure;
use crate::fleet::{self, FleetFlags, Overview, Paint, Seen};
use crate::kept_session::{self, subject};
use crate::mfa::{self, Caller};
use crate::named::named_role;
use crate::once::Proposal;
use crate::output::{Document, Format, agreed, counted, machine, printable};
use crate::session_cache::Key;
use crate::stdio::{eprintln, print, println};
use crate::times::moment;

/// Approve changes and removals that wait for an operator, with a code from your MFA device
///
/// Opens a new session with the code, reads the accounts, shows what each role may do after the change, and asks. The approvals are stored
/// together with the new session. They count for these changes only, once, for an hour, and no longer than the session. What waits is
/// computed here from the objects and from AWS; the status of a role only says where to look.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rolectl get approvals                      what waits, in all namespaces
  rolectl approve role/app -n platform       asks for the code, shows the changes, and asks
  rolectl approve --all --account prod --mfa 123456
  rolectl approve --all --removals --account prod
  rolectl approve --all --yes --digest 3b0c... --mfa 123456
  rolectl approve role/app -n platform --deny --reason 'see ticket 4711'

Exit codes: 0 stored, or nothing waits, 1 failed, an account cannot be read, or you did not agree, 2 wrong usage.")]
pub struct Approve {
    /// Roles, as role/NAME, of the namespace in use
    #[arg(value_name = "ROLE", required_unless_present = "all", value_parser = named_role)]
    roles: Vec<String>,
    /// All changes and removals that wait: in the namespace that -n names, or in all namespaces
    #[arg(long, conflicts_with = "roles")]
    all: bool,
    /// Only changes that delete a role
    #[arg(long)]
    removals: bool,
    /// Only changes in these AwsAccounts
    #[arg(long = "account", value_name = "NAME")]
    accounts: Vec<String>,
    /// Name of the MfaSession of the accounts
    #[arg(long, default_value = "default")]
    session: String,
    /// Deny the changes: the status says so until the session ends
    #[arg(long)]
    deny: bool,
    /// Why the changes are denied. The status shows it to the authors of the roles
    #[arg(long, requires = "deny", value_name = "TEXT", value_parser = reason)]
    reason: Option<String>,
    #[command(flatten)]
    mfa: mfa::CodeFlags,
    /// Length of the session, 15m to 36h. Default: the MfaSession's durationSeconds; of a role what AWS gives, 1h
    #[arg(long, value_parser = mfa::duration_seconds)]
    duration: Option<i32>,
    /// Name of the cluster in owner tags. Default: the name that the controller reports
    #[arg(long, env = "ROLECTL_CLUSTER_NAME", hide_env_values = true)]
    cluster_name: Option<String>,
    /// Only the changes with this digest, which `rolectl get approvals -o json` shows. May be given several times
    #[arg(long = "digest", value_name = "DIGEST")]
    digests: Vec<String>,
    /// Do not ask. An approval needs --digest then, so that nothing is approved that nobody has seen
    #[arg(long, short = 'y')]
    yes: bool,
    /// Do not keep the session on this machine
    #[arg(long)]
    no_keep: bool,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Longest reason of a denial, in bytes.
const REASON: usize = 500;

fn reason(text: &str) -> Result<String, String> {
    match text {
        "" => Err("give a reason, or leave --reason out".to_owned()),
        text if text.len() > REASON => Err(format!("it may have {REASON} bytes")),
        text if text.contains(char::is_control) => Err("it may have no control characters".to_owned()),
        text => Ok(text.to_owned()),
    }
}

/// The decisions that were stored.
#[derive(Serialize, JsonSchema)]
pub struct Decisions {
    items: Vec<Item>,
}

impl Document for Decisions {
    const KIND: &'static str = "Decisions";
}

/// A decision about the changes of one role in one account.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Item {
    namespace: String,
    name: String,
    /// Name of the `AwsAccount`.
    account: String,
    account_id: String,
    /// Digest of the changes.
    digest: String,
    /// `Approved` or `Denied`.
    verdict: &'static str,
    /// The first things that the role may do after the changes and not before.
    widens: Vec<Atom>,
    /// Number of all such things.
    count: usize,
    /// The changes.
    changes: Vec<String>,
    #[serde(skip)]
    owner: String,
    /// Digest of the role after the changes.
    #[serde(skip)]
    goal: String,
    #[serde(skip)]
    change_digests: Vec<String>,
}

impl Approve {
    pub async fn run(self, flags: &cluster::Flags) -> Result<ExitCode, Failure> {
        if self.output != Format::Table && !self.yes {
            return Err(Failure::new(
                "a program cannot be asked",
                "give --yes with -o json or yaml, or leave -o out",
            )
            .usage());
        }
        if self.yes && !self.deny && self.digests.is_empty() {
            return Err(Failure::new(
                "--yes would approve changes that nobody has seen",
                "give --digest for each change, as `rolectl get approvals -o json` shows it, or leave --yes out",
            )
            .usage());
        }
        let client = flags.client().await?;
        let listed = flags.listed_namespace(&client, self.all);
        let in_use = || (!self.all).then(|| client.default_namespace().to_owned());
        let selection = Selection {
            namespace: listed.or_else(in_use),
            ..Selection::default()
        };
        let in_scope = self.in_scope(
            cluster::roles(&client, &selection).await?,
            selection.namespace.as_deref(),
        )?;
        // A code is not used up for nothing.
        if !in_scope.iter().any(waits) {
            eprintln!("No change of these roles waits for an approval, by their status.");
            return Ok(ExitCode::SUCCESS);
        }
        let session = cluster::session(&client, &self.session).await?;
        let caller = Caller::find(&self.mfa, Some(&session)).await?;
        caller.check_access(&session)?;
        let secret_name = session.secret_name();
        for verb in ["create", "patch"] {
            cluster::check_secret_access(&client, &flags.controller_namespace, &secret_name, verb).await?;
        }
        let mut session_secret = caller.request_session(&session, self.duration).await?;
        let names: BTreeSet<(String, String)> = in_scope.iter().map(key).collect();
        let fleet_flags =
            FleetFlags::of_accounts(self.accounts.clone(), self.cluster_name.clone(), self.mfa.clone());
        let fleet = fleet_flags
            .fleet_on(flags, &session, session_secret.clone())
            .await?;
        let mut seen = fleet.look_at_waiting().await;
        for seen in &mut seen {
            seen.proposals
                .retain(|proposal| names.contains(&key(&proposal.role)) && self.is_asked_for(proposal));
        }
        let items = self.items(&seen);
        self.check_digests(&items)?;
        if items.is_empty() {
            if let Some(failure) = fleet::unread(&seen) {
                return Err(failure);
            }
            eprintln!(
                "Nothing waits for an approval in the accounts of session {}.",
                self.session
            );
            return Ok(ExitCode::SUCCESS);
        }
        if self.output == Format::Table {
            let paint = Paint::of_stdout();
            print!("{}", Overview::of(&seen).text(paint, true));
            show(&items, paint);
        }
        if !self.yes && !agreed(&self.question(&items))? {
            println!("Nothing was stored. The session of the code is not used.");
            return Ok(ExitCode::from(1));
        }
        self.seal(&mut session_secret, &items)?;
        let secrets: Api<Secret> = Api::namespaced(client, &flags.controller_namespace);
        store(&secrets, &session, &session_secret).await?;
        if !self.no_keep {
            let key = Key {
                principal: caller.principal.clone(),
                subject: subject(&session).to_owned(),
            };
            kept_session::keep(&key, &session_secret);
        }
        if self.output == Format::Table {
            let what = if self.deny { "Denied" } else { "Approved" };
            println!("{what} as {}.", caller.principal);
            println!(
                "The session ends at {}",
                moment(session_secret.expires_at, Timestamp::now())
            );
        } else {
            machine(self.output, &Decisions { items })?;
        }
        fleet::unread(&seen).map_or(Ok(ExitCode::SUCCESS), Err)
    }

    /// Returns the roles that are named. Fails if one does not exist.
    fn in_scope(&self, mut roles: Vec<IamRole>, namespace: Option<&str>) -> Result<Vec<IamRole>, Failure> {
        if self.all {
            return Ok(roles);
        }
        for name in &self.roles {
            if !roles.iter().any(|role| role.name_any() == *name) {
                return Err(cluster::no_role(name, namespace));
            }
        }
        roles.retain(|role| self.roles.contains(&role.name_any()));
        Ok(roles)
    }

    /// Returns true if the changes wait, and are of the kind that was asked for.
    fn is_asked_for(&self, proposal: &Proposal) -> bool {
        let removes = || {
            let plan = proposal.verdict.as_ref();
            plan.is_ok_and(|plan| plan.changes.contains(&Change::DeleteRole))
        };
        proposal.pending.is_some() && (!self.removals || removes())
    }

    /// Fails if a digest is given of which no change waits: the role or its object is not as it was when somebody looked.
    fn check_digests(&self, items: &[Item]) -> Result<(), Failure> {
        let waits = |digest: &String| items.iter().any(|item| item.digest == *digest);
        match self.digests.iter().find(|digest| !waits(digest)) {
            Some(digest) => Err(Failure::new(
                format!("no change with the digest {} waits", printable(digest)),
                "the role has changed since, or its account could not be read: look at `rolectl get approvals` again. Nothing was stored",
            )),
            None => Ok(()),
        }
    }

    /// Returns what waits, by role and account.
    fn items(&self, seen: &[Seen]) -> Vec<Item> {
        let of_account = |seen: &Seen| {
            let account_id = seen.account.spec.account_id.clone();
            let pending = seen.proposals.iter().filter_map(|proposal| {
                let (namespace, name) = key(&proposal.role);
                let Pending {
                    digest,
                    owner,
                    goal,
                    change_digests,
                    widening,
                    changes,
                } = proposal.pending.clone()?;
                Some(Item {
                    owner,
                    goal,
                    change_digests,
                    namespace,
                    name,
                    account: proposal.account.clone(),
                    account_id: account_id.clone(),
                    digest,
                    verdict: if self.deny { "Denied" } else { "Approved" },
                    widens: widening.atoms,
                    count: widening.count,
                    changes,
                })
            });
            pending.collect::<Vec<_>>()
        };
        let mut items: Vec<Item> = seen.iter().flat_map(of_account).collect();
        items.retain(|item| self.digests.is_empty() || self.digests.contains(&item.digest));
        items.sort_by(|a, b| (&a.namespace, &a.name, &a.account).cmp(&(&b.namespace, &b.name, &b.account)));
        items
    }

    fn question(&self, items: &[Item]) -> String {
        let verb = if self.deny { "Deny" } else { "Approve" };
        let widen = items.iter().filter(|item| item.count > 0).count();
        match (items.len(), widen) {
            (1, _) => format!("{verb} this change?"),
            (count, 0) => format!("{verb} these {count} changes?"),
            (count, widen) => format!("{verb} these {count} changes, of which {widen} may give more access?"),
        }
    }

    /// Adds the decisions to the session with which they are stored.
    fn seal(&self, session_secret: &mut SessionSecret, items: &[Item]) -> Result<(), Failure> {
        let by = Approver {
            principal_arn: session_secret.principal_arn.clone(),
            at: Timestamp::now(),
        };
        let decisions = items.iter().map(|item| Decision {
            digest: item.digest.clone(),
            account_id: item.account_id.clone(),
            owner: item.owner.clone(),
            goal: item.goal.clone(),
            changes: item.change_digests.iter().cloned().collect(),
            verdict: if self.deny {
                Verdict::Denied
            } else {
                Verdict::Approved
            },
            reason: self.reason.clone(),
            by: vec![by.clone()],
        });
        let sealed = Sealed::new(decisions.collect(), &session_secret.secret_access_key);
        let sealed = sealed.map_err(|error| {
            Failure::new(
                format!("{}: {error}", counted(items.len(), "decision")),
                "decide about fewer roles at a time: name them, or select with --account",
            )
        })?;
        session_secret.approvals = Some(sealed);
        Ok(())
    }
}

fn key(role: &IamRole) -> (String, String) {
    (role.namespace().unwrap_or_default(), role.name_any())
}

/// Returns true if the status of the role shows changes that wait, or too many accounts to show all.
fn waits(role: &IamRole) -> bool {
    let Some(status) = &role.status else { return false };
    let waits = |state| matches!(state, Reason::AwaitingApproval | Reason::RemovalsParked);
    status.accounts.iter().any(|entry| waits(entry.state))
        || status.more_accounts.iter().any(|group| waits(group.state))
}

/// Shows what each role may do after its changes.
fn show(items: &[Item], paint: Paint) {
    for item in items {
        println!(
            "Role {}/{} in account {} ({}):",
            item.namespace,
            item.name,
            printable(&item.account),
            item.account_id
        );
        for atom in &item.widens {
            println!(
                "  {}",
                paint.yellow(&format!("widens: {}", printable(&atom.to_string())))
            );
        }
        if let Some(more) = item.count.checked_sub(item.widens.len()).filter(|more| *more > 0) {
            println!("  {}", paint.yellow(&format!("widens: and {more} more")));
        }
        println!();
    }
}
