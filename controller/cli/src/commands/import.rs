//! Implements `rolectl import`.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use kube::ResourceExt as _;
use serde_json::Value;

use rolectl_core::glob::matches;
use rolectl_core::role::admission::access_roles;
use rolectl_core::role::import::import;
use rolectl_crds::{AwsAccount, OWNER_TAG};

use crate::cluster;
use crate::failure::Failure;
use crate::fleet::{self, Fleet};
use crate::output::counted;
use crate::stdio::{eprintln, println};

/// Write roles that exist as IamRoles, ready to commit
///
/// Reads accounts and prints an IamRole for each role, in canonical form and without what is default anyway. Each has
/// `adoption: IfUnowned`, so that applying it takes the role over: its owner tag is all that changes. Roles that rolectl manages
/// already, and roles of AWS's own services, are left out with a message.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rolectl import --account prod -n platform > prod.yaml
  rolectl import --account prod --account dev --out-dir roles/
  rolectl import --account prod --name 'app-*' --path /team/ accounts.yaml

Exit codes: 0 all that were asked for are written, 1 failed, or some cannot be written, 2 wrong usage.")]
pub struct Import {
    /// Only roles of this name; `*` stands for anything
    #[arg(long, default_value = "*")]
    name: String,
    /// Only roles below this path
    #[arg(long, default_value = "/")]
    path: String,
    /// Namespace of the IamRoles. Default: that of -n, else `default`
    #[arg(long, value_name = "NAMESPACE")]
    into: Option<String>,
    /// Write a file for each role into this folder, `ACCOUNT/ROLE.yaml`, and replace none
    #[arg(long, value_name = "FOLDER")]
    out_dir: Option<PathBuf>,
    #[command(flatten)]
    fleet: fleet::FleetFlags,
}

/// What came of the roles.
#[derive(Default)]
struct Counts {
    written: usize,
    managed: usize,
    failed: usize,
    all: usize,
}

impl Import {
    pub async fn run(self, flags: &cluster::Flags) -> Result<ExitCode, Failure> {
        if self.fleet.accounts.is_empty() {
            return Err(Failure::new(
                "no account is named",
                "name it with --account; several are possible",
            )
            .usage());
        }
        let into = self.into.as_ref().or(flags.namespace.as_ref());
        let into = into.map_or("default", String::as_str);
        let mut counts = Counts::default();
        let (fleet, accounts) = self.fleet.named_accounts(flags).await?;
        for account in &accounts {
            self.account(&fleet, account, into, &mut counts).await?;
        }
        let Counts {
            written,
            managed,
            failed,
            all,
        } = counts;
        let managed = if managed > 0 {
            format!(", {managed} managed by rolectl already")
        } else {
            String::new()
        };
        eprintln!("{written} of {} written{managed}", counted(all, "role"));
        Ok(ExitCode::from(u8::from(failed > 0)))
    }

    async fn account(
        &self,
        fleet: &Fleet,
        account: &AwsAccount,
        into: &str,
        counts: &mut Counts,
    ) -> Result<(), Failure> {
        let inventory = &fleet.inventory;
        let through = access_roles(
            account,
            &inventory.accounts,
            inventory.sessions.iter().map(|session| &session.spec),
        );
        let mut roles = fleet.all_roles(account).await?;
        let account = account.name_any();
        roles.retain(|role| matches(&self.name, &role.name) && role.path.starts_with(&self.path));
        counts.all += roles.len();
        for role in &roles {
            let left_out = |why: &str| eprintln!("left out: {} in {account}: {why}", role.name);
            if through.contains(&role.arn) {
                left_out("rolectl works through it");
                continue;
            }
            if let Some(owner) = role.tags.get(OWNER_TAG) {
                left_out(&format!("IamRole {owner} manages it"));
                counts.managed += 1;
                continue;
            }
            match import(role, &account, into) {
                Ok(object) => {
                    self.write(&account, &role.name, &object)?;
                    counts.written += 1;
                }
                Err(why) => {
                    left_out(&why.to_string());
                    counts.failed += usize::from(!role.is_reserved());
                }
            }
        }
        Ok(())
    }

    fn write(&self, account: &str, role: &str, object: &Value) -> Result<(), Failure> {
        let text = serde_saphyr::to_string(object)
            .map_err(|e| Failure::new(format!("could not write {role}: {e}"), "report this as a defect"))?;
        let Some(folder) = &self.out_dir else {
            println!("---\n{}", text.trim_end());
            return Ok(());
        };
        // The name of the object is safe in a path; that of a role in AWS is not on every file system.
        let name = object
            .pointer("/metadata/name")
            .and_then(Value::as_str)
            .unwrap_or(role);
        let folder = folder.join(account);
        let path = folder.join(format!("{name}.yaml"));
        let failed = |error: std::io::Error| {
            Failure::new(
                format!("could not write {}: {error}", path.display()),
                "give an empty folder, or remove the file; a file that is there is not replaced",
            )
        };
        std::fs::create_dir_all(&folder).map_err(failed)?;
        let mut file = File::create_new(&path).map_err(failed)?;
        file.write_all(text.as_bytes()).map_err(failed)
    }
}
