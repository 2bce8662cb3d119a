//! `rolectl get` and `rolectl describe`

use anstream::println;
use clap::{Args, ValueEnum};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};
use rolectl::once::Goal;
use rolectl_crds::{AccountStatus, IamRole, Reason};
use serde::Serialize;

use crate::cluster;
use crate::failure::Failure;
use crate::fleet::{FleetFlags, Overview, Paint};
use crate::mfa::CodeFlags;
use crate::output::{Format, machine, table};

/// List roles, one line for each account
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rolectl get roles
  rolectl get roles -N platform --state Drifted
  rolectl get roles -o json | jq '.[] | select(.state != \"InSync\")'")]
pub struct Get {
    /// What to list
    #[arg(value_enum)]
    what: What,
    /// Only this role
    name: Option<String>,
    /// Namespace of the roles. Default: all
    #[arg(long, short = 'N')]
    role_namespace: Option<String>,
    /// Only in this AwsAccount
    #[arg(long)]
    account: Option<String>,
    /// Only those in this state, as Drifted or OwnedByOther
    #[arg(long)]
    state: Option<String>,
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

/// A role in an account.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    namespace: String,
    name: String,
    account: String,
    account_id: Option<String>,
    state: Reason,
    arn: Option<String>,
    changes: Vec<String>,
    message: Option<String>,
}

async fn roles(client: Client, namespace: Option<&str>) -> Result<Vec<IamRole>, Failure> {
    let api: Api<IamRole> = match namespace {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    };
    let all = api.list(&ListParams::default()).await;
    Ok(all.map_err(|e| cluster::failed("list IamRoles", &e))?.items)
}

fn lines(role: &IamRole) -> impl Iterator<Item = Line> {
    let (namespace, name) = (role.namespace().unwrap_or_default(), role.name_any());
    let entries = role.status.iter().flat_map(|status| &status.accounts);
    entries.map(move |entry| Line {
        namespace: namespace.clone(),
        name: name.clone(),
        account: entry.name.clone(),
        account_id: entry.account_id.clone(),
        state: entry.state,
        arn: entry.arn.clone(),
        changes: entry.changes.clone(),
        message: entry.message.clone(),
    })
}

impl Get {
    pub async fn run(self, flags: &cluster::Flags) -> Result<(), Failure> {
        let What::Roles = self.what;
        let roles = roles(flags.client().await?, self.role_namespace.as_deref()).await?;
        let wanted = |line: &Line| {
            self.name.as_ref().is_none_or(|name| *name == line.name)
                && self
                    .account
                    .as_ref()
                    .is_none_or(|account| *account == line.account)
                && self
                    .state
                    .as_ref()
                    .is_none_or(|state| line.state.as_str().eq_ignore_ascii_case(state))
        };
        let lines: Vec<Line> = roles.iter().flat_map(lines).filter(wanted).collect();
        if self.output != Format::Table {
            return machine(self.output, &lines);
        }
        let rows = lines.into_iter().map(|line| {
            let more = if line.changes.is_empty() {
                line.message.unwrap_or_default()
            } else {
                line.changes.join("; ")
            };
            vec![
                format!("{}/{}", line.namespace, line.name),
                line.account,
                line.state.to_string(),
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
  rolectl describe role app -N platform
  rolectl describe role app -N platform --diff      and what differs in AWS now, statement by statement")]
pub struct Describe {
    /// What to describe
    #[arg(value_enum)]
    what: What,
    /// The role's name
    name: String,
    /// Its namespace
    #[arg(long, short = 'N', default_value = "default")]
    role_namespace: String,
    /// Look into AWS, and show in full what differs, as `rolectl plan` does
    ///
    /// On the session that `rolectl unlock` stored, if you may read it; else on one that your code buys.
    #[arg(long)]
    diff: bool,
    /// Name of the cluster in owner tags, for --diff. Default: what the controller says
    #[arg(long, env = "ROLECTL_CLUSTER_NAME")]
    cluster_name: Option<String>,
    #[command(flatten)]
    code: CodeFlags,
}

impl Describe {
    pub async fn run(self, flags: &cluster::Flags) -> Result<(), Failure> {
        let What::Roles = self.what;
        let api: Api<IamRole> = Api::namespaced(flags.client().await?, &self.role_namespace);
        let found = api.get_opt(&self.name).await;
        let role = found
            .map_err(|e| cluster::failed("read the IamRole", &e))?
            .ok_or_else(|| {
                Failure::new(
                    format!(
                        "there is no IamRole {} in namespace {}",
                        self.name, self.role_namespace
                    ),
                    "see all with `rolectl get roles`, or name another namespace with -N",
                )
            })?;
        let paint = Paint::of_stdout();
        print(&role, paint);
        if self.diff {
            let fleet = FleetFlags::of_role(&role, self.cluster_name, self.code)
                .fleet(flags)
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
        "Policy       drift: {:?}, adoption: {:?}, deletionPolicy: {:?}",
        spec.drift, spec.adoption, spec.deletion_policy
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
