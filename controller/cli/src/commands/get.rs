//! Implements `rolectl get` and `rolectl describe`.

use clap::{Args, ValueEnum};
use kube::{Api, Client, ResourceExt};
use serde::Serialize;

use rolectl_aws::actor::report::Goal;
use rolectl_crds::{AccountStatus, AwsAccount, IamRole, Reason};

use crate::cluster;
use crate::failure::Failure;
use crate::fleet::{FleetFlags, Overview, Purpose};
use crate::mfa::CodeFlags;
use crate::output::{Format, counted, machine, table};
use crate::paint::Paint;
use crate::stdio::{eprintln, println};

/// List roles, one line for each account
///
/// `orphans` lists the roles in AWS that outlive their IamRole or their permission, in all namespaces unless -n names one: roles
/// with an owner tag of this cluster and no IamRole (`Orphaned`), roles that break a guardrail (`GuardrailViolated`), and roles whose
/// namespace is no longer allowed (`NamespaceNotAllowed`), as of each account's last sweep. They stay in AWS and keep the access that
/// they give until somebody deletes them.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rolectl get roles -A
  rolectl get roles -n platform --state Drifted
  rolectl get orphans --account prod
  rolectl get roles -A -o json | jq '.[] | select(.state != \"InSync\")'

Exit codes: 0 listed, 1 failed, or there is no role of that name, 2 wrong usage.")]
pub struct Get {
    /// What to list
    #[arg(value_enum)]
    what: What,
    /// Only this role
    name: Option<String>,
    /// Roles of all namespaces
    #[arg(long, short = 'A', conflicts_with = "namespace")]
    all_namespaces: bool,
    /// Only in this AwsAccount
    #[arg(long)]
    account: Option<String>,
    /// Only those in this state, as Drifted or OwnedByOther
    #[arg(long, value_parser = state)]
    state: Option<Reason>,
    /// Form of the output
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum What {
    /// Roles
    #[value(alias = "role", alias = "iamroles")]
    Roles,
    /// Roles in AWS that have no IamRole, break a guardrail, or are of a namespace that is no longer allowed
    #[value(alias = "orphan")]
    Orphans,
}

/// What `describe` shows.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum One {
    /// A role
    #[value(alias = "roles", alias = "iamroles")]
    Role,
}

/// State of a role that has the cluster's owner tag and no `IamRole`. It appears in no status, because there is no object.
const ORPHANED: Reason = Reason::Other("Orphaned");

/// Parses a state, in upper or lower case.
fn state(text: &str) -> Result<Reason, String> {
    if text.eq_ignore_ascii_case(ORPHANED.as_str()) {
        return Ok(ORPHANED);
    }
    Reason::named(text).ok_or_else(|| "there is no such state; `rolectl explain` shows all".to_owned())
}

/// A role in one account, or a role whose status has no account.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    namespace: String,
    name: String,
    account: Option<String>,
    account_id: Option<String>,
    /// `None` if the controller has not written a status.
    state: Option<Reason>,
    arn: Option<String>,
    changes: Vec<String>,
    message: Option<String>,
}

/// Returns a line for each account of a role.
fn lines(role: &IamRole) -> Vec<Line> {
    let line = || Line {
        namespace: role.namespace().unwrap_or_default(),
        name: role.name_any(),
        account: None,
        account_id: None,
        state: None,
        arn: None,
        changes: vec![],
        message: None,
    };
    let Some(status) = &role.status else {
        let message = Some("the controller has not looked yet".to_owned());
        return vec![Line { message, ..line() }];
    };
    if status.accounts.is_empty() {
        let ready = status.conditions.first();
        return vec![Line {
            state: ready.and_then(|ready| Reason::named(&ready.reason)),
            message: ready.map(|ready| ready.message.clone()),
            ..line()
        }];
    }
    let entries = status.accounts.iter();
    entries
        .map(|entry| Line {
            account: Some(entry.name.clone()),
            account_id: entry.account_id.clone(),
            state: Some(entry.state),
            arn: entry.arn.clone(),
            changes: entry.changes.clone(),
            message: entry.message.clone(),
            ..line()
        })
        .collect()
}

impl Get {
    pub async fn run(self, flags: &cluster::Flags) -> Result<(), Failure> {
        let client = flags.client().await?;
        if matches!(self.what, What::Orphans) {
            return self.orphans(&client, flags).await;
        }
        let namespace = (!self.all_namespaces).then(|| client.default_namespace());
        let mut roles = cluster::roles(&client, namespace).await?;
        if let Some(name) = &self.name {
            roles.retain(|role| role.name_any() == *name);
            if roles.is_empty() {
                return Err(no_role(name, namespace));
            }
        }
        let lines: Vec<Line> = roles
            .iter()
            .flat_map(lines)
            .filter(|line| self.selects(line))
            .collect();
        if self.output != Format::Table {
            return machine(self.output, &lines);
        }
        if roles.is_empty() {
            match namespace {
                Some(namespace) => eprintln!("There is no IamRole in namespace {namespace}; -A shows all."),
                None => eprintln!("There is no IamRole in the cluster."),
            }
            return Ok(());
        }
        print_lines(lines, "DRIFT OR MESSAGE");
        Ok(())
    }

    /// Returns true if the flags select the line.
    fn selects(&self, line: &Line) -> bool {
        let in_account = self.account.is_none() || self.account == line.account;
        in_account && (self.state.is_none() || self.state == line.state)
    }

    /// Prints the roles in AWS that outlive their object or their permission.
    async fn orphans(&self, client: &Client, flags: &cluster::Flags) -> Result<(), Failure> {
        let namespace = flags.namespace.as_deref();
        let mut accounts = cluster::accounts(client).await?;
        accounts.retain(|a| self.account.as_ref().is_none_or(|name| a.name_any() == *name));
        accounts.sort_by_key(ResourceExt::name_any);
        let roles = cluster::roles(client, None).await?;
        let (mut lines, mut missing) = (vec![], vec![]);
        for account in &accounts {
            let (found, more) = outliving(account, &roles);
            lines.extend(found);
            missing.extend(more);
        }
        lines.retain(|line: &Line| {
            let in_namespace = namespace.is_none_or(|namespace| line.namespace == namespace);
            in_namespace && self.name.as_ref().is_none_or(|name| line.name == *name) && self.selects(line)
        });
        if self.output != Format::Table {
            machine(self.output, &lines)?;
        } else if lines.is_empty() {
            eprintln!("There is no such role, by the last sweep of each account.");
        } else {
            print_lines(lines, "MESSAGE");
        }
        for note in missing {
            eprintln!("{note}");
        }
        Ok(())
    }
}

/// Returns the roles of the account that outlive their object or their permission, as the statuses of the account and of the
/// `IamRole`s name them. Also returns a note for each kind of role of which the status counts more than it names.
fn outliving(account: &AwsAccount, roles: &[IamRole]) -> (Vec<Line>, Vec<String>) {
    let name = account.name_any();
    let status = account.status.clone().unwrap_or_default();
    let mut missing = vec![];
    if status.roles.is_none() {
        missing.push(format!(
            "AwsAccount {name}: not swept yet, so its roles are not known. `rolectl status` shows why."
        ));
    }
    let counts = status.roles.unwrap_or_default();
    let orphans = status.orphans.iter().filter_map(|owner| {
        // `cluster/namespace/name`
        let (_, object) = owner.split_once('/')?;
        let (namespace, role) = object.split_once('/')?;
        Some(Line {
            namespace: namespace.to_owned(),
            name: role.to_owned(),
            account: Some(name.clone()),
            account_id: Some(account.spec.account_id.clone()),
            state: Some(ORPHANED),
            arn: None,
            changes: vec![],
            message: Some(format!(
                "no IamRole {object}: apply it again to manage the role, or delete the role in AWS"
            )),
        })
    });
    let orphans: Vec<Line> = orphans.collect();
    let is_refused = |line: &Line| {
        let refused = [Reason::GuardrailViolated, Reason::NamespaceNotAllowed];
        // Without an ARN the account has no such role.
        line.account.as_ref() == Some(&name)
            && line.arn.is_some()
            && line.state.is_some_and(|state| refused.contains(&state))
    };
    let violating: Vec<Line> = roles.iter().flat_map(lines).filter(is_refused).collect();
    for (all, named, what) in [
        (counts.orphaned, orphans.len(), "without an IamRole"),
        (
            counts.violating,
            violating.len(),
            "against a guardrail or allowedNamespaces",
        ),
    ] {
        let all = usize::try_from(all).unwrap_or(usize::MAX);
        if all > named {
            missing.push(format!(
                "AwsAccount {name}: its status counts {} {what}, of which {named} can be named here.",
                counted(all, "role")
            ));
        }
    }
    let mut found = orphans;
    found.extend(violating);
    found.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    (found, missing)
}

/// Prints lines as a table. `last` is the header of the last column.
fn print_lines(lines: Vec<Line>, last: &str) {
    let dash = || "-".to_owned();
    let rows = lines.into_iter().map(|line| {
        let more = if line.changes.is_empty() {
            line.message.unwrap_or_default()
        } else {
            line.changes.join("; ")
        };
        vec![
            format!("{}/{}", line.namespace, line.name),
            line.account.unwrap_or_else(dash),
            line.state.map_or_else(dash, |state| state.to_string()),
            more,
        ]
    });
    println!("{}", table(&["ROLE", "ACCOUNT", "STATE", last], rows.collect()));
}

/// Show one role: its spec, and its state in each account
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rolectl describe role app -n platform
  rolectl describe role app -n platform --diff      and what differs in AWS now, statement by statement

Exit codes: 0 shown, 1 failed, or with --diff an account could not be read, 2 wrong usage.")]
pub struct Describe {
    /// What to describe
    #[arg(value_enum)]
    what: One,
    /// The role's name
    name: String,
    /// Look into AWS, and show in full what differs, as `rolectl plan` does
    ///
    /// On the session that `rolectl unlock` stored, if you may read it; else on one that your code opens.
    #[arg(long)]
    diff: bool,
    /// Name of the cluster in owner tags, for --diff. Default: what the controller says
    #[arg(long, env = "ROLECTL_CLUSTER_NAME", hide_env_values = true)]
    cluster_name: Option<String>,
    #[command(flatten)]
    code: CodeFlags,
}

impl Describe {
    pub async fn run(self, flags: &cluster::Flags) -> Result<(), Failure> {
        let One::Role = self.what;
        let client = flags.client().await?;
        let api: Api<IamRole> = Api::default_namespaced(client.clone());
        let role = cluster::get(&api, &self.name)
            .await?
            .ok_or_else(|| no_role(&self.name, Some(client.default_namespace())))?;
        let paint = Paint::of_stdout();
        print(&role, paint);
        if self.diff {
            let fleet = FleetFlags::of_role(&role, self.cluster_name, self.code)
                .fleet(flags, Purpose::Show)
                .await?;
            let seen = fleet.look(Goal::Keep).await;
            fleet.tell_left_out();
            let overview = Overview::of(&seen);
            println!(
                "\nIn AWS now, against what is declared:\n\n{}Plan: {}.",
                overview.text(paint, true),
                overview.summary
            );
            if let Some((account, why)) = seen
                .iter()
                .find_map(|s| Some((s.account.name_any(), s.failure.as_ref()?)))
            {
                return Err(Failure::new(
                    format!("account {account} could not be read: {why}"),
                    "`rolectl status` shows its state",
                ));
            }
        }
        Ok(())
    }
}

/// Returns the failure for a role that does not exist.
fn no_role(name: &str, namespace: Option<&str>) -> Failure {
    let place = namespace.map_or_else(
        || "the cluster".to_owned(),
        |namespace| format!("namespace {namespace}"),
    );
    Failure::new(
        format!("there is no IamRole {name} in {place}"),
        "see all with `rolectl get roles -A`, or name another namespace with -n",
    )
}

/// Prints the spec and the status of a role.
fn print(role: &IamRole, paint: Paint) {
    let spec = &role.spec;
    println!(
        "Role         {}/{}",
        role.namespace().unwrap_or_default(),
        role.name_any()
    );
    println!(
        "Name in AWS  {}",
        spec.role_name.clone().unwrap_or_else(|| role.name_any())
    );
    println!(
        "Policies     {} managed, {} inline",
        spec.managed_policies.len(),
        spec.inline_policies.len()
    );
    println!(
        "Boundary     {}",
        spec.permissions_boundary.as_deref().unwrap_or("-")
    );
    println!(
        "Policy       drift: {:?}, adoption: {:?}, deletionPolicy: {}",
        spec.drift,
        spec.adoption,
        spec.deletion_policy
            .map_or_else(|| "by default".to_owned(), |policy| format!("{policy:?}"))
    );
    let Some(status) = &role.status else {
        println!("\nThe controller has not looked yet.");
        return;
    };
    for condition in &status.conditions {
        let line = format!(
            "{:12} {} {}: {}",
            condition.type_, condition.status, condition.reason, condition.message
        );
        println!("{line}");
    }
    for entry in &status.accounts {
        print_entry(entry, paint);
    }
}

/// Prints the state of a role in one account.
fn print_entry(entry: &AccountStatus, paint: Paint) {
    let head = format!(
        "{} ({}): {}",
        entry.name,
        entry.account_id.as_deref().unwrap_or("?"),
        entry.state
    );
    println!(
        "\n{}",
        if entry.state == Reason::InSync {
            paint.green(&head)
        } else {
            paint.red(&head)
        }
    );
    if let Some(arn) = &entry.arn {
        println!("  {arn}");
    }
    if let Some(message) = &entry.message {
        println!("  {message}");
    }
    for change in &entry.changes {
        println!("    {change}");
    }
    if entry.state != Reason::InSync {
        println!("  What to do: {}", entry.state.cure());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_note_reports_roles_that_are_counted_and_not_named() {
        let account = |orphaned: u32, violating: u32| -> AwsAccount {
            serde_json::from_value(json!({"apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "AwsAccount",
                "metadata": {"name": "prod"}, "spec": {"accountId": "222222222222"},
                "status": {"orphans": ["cluster/team/b", "cluster/team/a", "damaged"], "roles": {"managed": 30, "unmanaged": 0,
                    "drifted": 0, "orphaned": orphaned, "violating": violating}}}))
            .unwrap()
        };
        let role: IamRole = serde_json::from_value(json!({"apiVersion": "iam.rolectl.dev/v1alpha1", "kind": "IamRole",
            "metadata": {"name": "app", "namespace": "team"}, "spec": {"accounts": {}},
            "status": {"accounts": [
                {"name": "prod", "state": "GuardrailViolated", "arn": "arn:aws:iam::222222222222:role/app"},
                {"name": "dev", "state": "GuardrailViolated", "arn": "arn:aws:iam::333333333333:role/app"}]}}))
        .unwrap();
        let mut without = role.clone();
        if let Some(status) = &mut without.status {
            status.accounts.iter_mut().for_each(|entry| entry.arn = None);
        }
        let found = |role: &IamRole, account: &AwsAccount| {
            let (lines, missing) = outliving(account, std::slice::from_ref(role));
            let names: Vec<String> = lines.into_iter().map(|line| line.name).collect();
            (names.join(" "), missing)
        };
        let mut unswept = account(0, 0);
        unswept.status = None;
        let (_, missing) = found(&without, &unswept);
        assert_eq!(
            missing,
            ["AwsAccount prod: not swept yet, so its roles are not known. `rolectl status` shows why."]
        );
        let nothing_missing = (String::from("a app b"), vec![]);
        assert_eq!(found(&role, &account(2, 1)), nothing_missing);
        let (names, missing) = found(&without, &account(27, 1));
        assert_eq!(names, "a b", "without an ARN there is no role");
        assert_eq!(
            missing,
            [
                "AwsAccount prod: its status counts 27 roles without an IamRole, of which 2 can be named here.",
                "AwsAccount prod: its status counts 1 role against a guardrail or allowedNamespaces, of which 0 can be named here."
            ]
        );
    }
}
