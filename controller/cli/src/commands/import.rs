//! Implements `rolectl import`.

use clap::Args;

use rolectl_core::glob::matches;
use rolectl_core::role::admission::access_roles;
use rolectl_core::role::import::import;

use crate::cluster;
use crate::failure::Failure;
use crate::fleet;
use crate::output::counted;
use crate::stdio::{eprintln, println};

/// Write roles that exist as IamRoles, ready to commit
///
/// Reads one account and prints an IamRole for each role, in canonical form and without what is default anyway. Each has
/// `adoption: IfUnowned`, so that applying it takes the role over: its owner tag is all that changes. Roles that AWS keeps
/// for itself are left out, and it is said so.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rolectl import --account prod --into platform > prod.yaml
  rolectl import --account prod --name 'app-*' --path /team/ -f accounts.yaml

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
    #[command(flatten)]
    fleet: fleet::FleetFlags,
}

impl Import {
    pub async fn run(self, flags: &cluster::Flags) -> Result<std::process::ExitCode, Failure> {
        let [name] = self.fleet.accounts.as_slice() else {
            return Err(Failure::new("one account is read at a time", "name it with --account").usage());
        };
        let (fleet, account) = self.fleet.account(flags, name).await?;
        let inventory = &fleet.inventory;
        let through = access_roles(
            &account,
            &inventory.accounts,
            inventory.sessions.iter().map(|session| &session.spec),
        );
        let mut roles = fleet.all_roles(&account).await?;
        roles.retain(|role| matches(&self.name, &role.name) && role.path.starts_with(&self.path));
        let into = self.into.as_ref().or(flags.namespace.as_ref());
        let into = into.map_or("default", String::as_str);
        let (mut written, mut failed) = (0_usize, 0_usize);
        for role in &roles {
            if through.contains(&role.arn) {
                eprintln!("left out: {}: rolectl works through it", role.name);
                continue;
            }
            match import(role, name, into) {
                Ok(object) => {
                    let text = serde_saphyr::to_string(&object);
                    let text = text.map_err(|e| {
                        Failure::new(
                            format!("could not write {}: {e}", role.name),
                            "report this as a defect",
                        )
                    })?;
                    println!("---\n{}", text.trim_end());
                    written += 1;
                }
                Err(why) => {
                    eprintln!("left out: {}: {why}", role.name);
                    failed += usize::from(!role.is_reserved());
                }
            }
        }
        eprintln!("{written} of {} written", counted(roles.len(), "role"));
        Ok(std::process::ExitCode::from(u8::from(failed > 0)))
    }
}
