//! `rolectl get` and `rolectl describe`

use anstream::{eprintln, println};
use clap::{Args, ValueEnum};
use kube::{Api, ResourceExt as _};
use rolectl::once::Goal;
use rolectl_crds::{AccountStatus, IamRole, Reason};
use serde::Serialize;

use crate::cluster;
use crate::failure::Failure;
use crate::fleet::{FleetFlags, Overview, Paint, Purpose};
use crate::mfa::CodeFlags;
use crate::output::{Format, machine, table};

/// List roles, one line for each account
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rolectl get roles -A
  rolectl get roles -n platform --state Drifted
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
    #[arg(long, value_parser = reason)]
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
}

/// A state, in any case.
fn reason(text: &str) -> Result<Reason, String> {
    Reason::named(text).ok_or_else(|| "there is no such state; `rolectl explain` shows all".to_owned())
}

/// A role in an account, or one that stands in none yet.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    namespace: String,
    name: String,
    account: Option<String>,
    account_id: Option<String>,
    /// `None`: the controller has not looked yet.
    state: Option<Reason>,
    arn: Option<String>,
    changes: Vec<String>,
    message: Option<String>,
}

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
        let What::Roles = self.what;
        let client = flags.client().await?;
        let namespace = (!self.all_namespaces).then(|| client.default_namespace());
        let mut roles = cluster::roles(&client, namespace).await?;
        if let Some(name) = &self.name {
            roles.retain(|role| role.name_any() == *name);
            if roles.is_empty() {
                return Err(no_role(name, namespace));
            }
        }
        let wanted = |line: &Line| {
            let in_account = self.account.is_none() || self.account == line.account;
            in_account && (self.state.is_none() || self.state == line.state)
        };
        let lines: Vec<Line> = roles.iter().flat_map(lines).filter(wanted).collect();
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
        println!(
            "{}",
            table(&["ROLE", "ACCOUNT", "STATE", "DRIFT OR MESSAGE"], rows.collect())
        );
        Ok(())
    }
}

/// Show one role: what it is, and how it stands in each account
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rolectl describe role app -n platform
  rolectl describe role app -n platform --diff      and what differs in AWS now, statement by statement

Exit codes: 0 shown, 1 failed, or with --diff an account could not be read, 2 wrong usage.")]
pub struct Describe {
    /// What to describe
    #[arg(value_enum)]
    what: What,
    /// The role's name
    name: String,
    /// Look into AWS, and show in full what differs, as `rolectl plan` does
    ///
    /// On the session that `rolectl unlock` stored, if you may read it; else on one that your code buys.
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
        let What::Roles = self.what;
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
            let seen = fleet.look(Goal::Ensure).await;
            fleet.tell_left_out();
            let overview = Overview::of(&seen);
            println!(
                "\nIn AWS now, against what is declared:\n\n{}Plan: {}.",
                overview.text(paint),
                overview.summary
            );
            if let Some((account, why)) = seen
                .iter()
                .find_map(|s| Some((s.account.name_any(), s.failure.as_ref()?)))
            {
                return Err(Failure::new(
                    format!("account {account} could not be read: {why}"),
                    "`rolectl status` tells how it stands",
                ));
            }
        }
        Ok(())
    }
}

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
