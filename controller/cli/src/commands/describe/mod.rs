//! Implements `rolectl describe`.

mod account;
mod role;
mod session;

use clap::Args;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{Api, Client};

use rolectl_aws::actor::report::Goal;
use rolectl_crds::{AwsAccount, IamRole};

use crate::cluster::{self, Selection};
use crate::failure::Failure;
use crate::fleet::{self, FleetFlags, Overview, Purpose};
use crate::mfa::CodeFlags;
use crate::named::{Named, ObjectArgs};
use crate::objects::{AccountRow, RoleLine, SessionRow};
use crate::output::{Document, Format, machine, printable};
use crate::paint::Paint;
use crate::stdio::println;

/// Show one role, account or session: what is declared, its conditions, and what to do
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rolectl describe role app -n platform
  rolectl describe role app -n platform --diff      and what differs in AWS now, in full
  rolectl describe account prod
  rolectl describe session/default

Exit codes: 0 shown, 1 failed, or with --diff an account could not be read, 2 wrong usage.")]
pub struct Describe {
    #[command(flatten)]
    object: ObjectArgs,
    /// Look into AWS, and show in full what differs, as `rolectl plan` does. Only for a role
    ///
    /// On the session that `rolectl unlock` stored, if you may read it; else on one that your code opens.
    #[arg(long, conflicts_with = "output")]
    diff: bool,
    /// Name of the cluster in owner tags, for --diff. Default: the name that the controller reports
    #[arg(long, env = "ROLECTL_CLUSTER_NAME", hide_env_values = true)]
    cluster_name: Option<String>,
    /// Form of the output
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    code: CodeFlags,
}

impl Document for RoleLine {
    const KIND: &'static str = "Role";
}

impl Document for AccountRow {
    const KIND: &'static str = "Account";
}

impl Document for SessionRow {
    const KIND: &'static str = "Session";
}

impl Describe {
    pub async fn run(self, flags: &cluster::Flags) -> Result<(), Failure> {
        let named = self.object.named()?;
        if self.diff && !matches!(named, Named::Role(_)) {
            return Err(Failure::new("--diff is for a role", "name one: role/NAME").usage());
        }
        let client = flags.client().await?;
        let is_for_people = self.output == Format::Table;
        match &named {
            Named::Role(name) => {
                let role = read_role(&client, name).await?;
                if !is_for_people {
                    return machine(self.output, &RoleLine::from(role));
                }
                role::print(&role, Paint::of_stdout());
                if self.diff {
                    return self.diff(&role, flags).await;
                }
            }
            Named::Account(name) => {
                let account = cluster::get(&Api::<AwsAccount>::all(client.clone()), name).await?;
                let account = account.ok_or_else(|| cluster::missing("AwsAccount", name, "accounts"))?;
                if !is_for_people {
                    return machine(self.output, &AccountRow::from(account));
                }
                let selection = Selection {
                    namespace: flags.listed_namespace(&client, false),
                    labels: None,
                };
                // Whoever may read accounts may perhaps not read roles.
                let roles = cluster::visible_roles(&client, selection).await;
                let roles = roles.map(|(roles, _)| roles);
                account::print(&account, roles.as_deref().ok(), Paint::of_stdout());
            }
            Named::Session(name) => {
                let session = cluster::session(&client, name).await?;
                if !is_for_people {
                    return machine(self.output, &SessionRow::from(session));
                }
                let accounts = cluster::accounts(&client).await.unwrap_or_default();
                session::print(&session, &accounts, Paint::of_stdout());
            }
        }
        Ok(())
    }

    /// Shows what differs in AWS now.
    async fn diff(self, role: &IamRole, flags: &cluster::Flags) -> Result<(), Failure> {
        let fleet = FleetFlags::of_role(role, self.cluster_name, self.code)
            .fleet(flags, Purpose::Show)
            .await?;
        let seen = fleet.look(Goal::Keep).await;
        fleet.tell_left_out();
        let overview = Overview::of(&seen);
        print!(
            "\nIn AWS now, against what is declared:\n\n{}{}",
            overview.text(Paint::of_stdout(), true),
            overview.summary.lines()
        );
        fleet::unread(&seen).map_or(Ok(()), Err)
    }
}

/// Returns the role of this name in the namespace in use.
pub async fn read_role(client: &Client, name: &str) -> Result<IamRole, Failure> {
    let api: Api<IamRole> = Api::default_namespaced(client.clone());
    let role = cluster::get(&api, name).await?;
    role.ok_or_else(|| cluster::no_role(name, Some(client.default_namespace())))
}

/// Prints a field of an object. A field without a value has a dash.
fn field(name: &str, value: &str) {
    let value = if value.is_empty() { "-" } else { value };
    println!("{:13}{}", printable(name), printable(value));
}

/// Prints the conditions of an object.
fn conditions(conditions: Option<&[Condition]>) {
    let Some(conditions) = conditions.filter(|conditions| !conditions.is_empty()) else {
        println!("\nThe controller has not looked yet.");
        return;
    };
    for condition in conditions {
        let text = format!("{} {}: {}", condition.status, condition.reason, condition.message);
        field(&condition.type_, &text);
    }
}

/// Returns the value as the object has it in YAML: the name of an enum's value.
fn as_written<T: serde::Serialize>(value: &T) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
