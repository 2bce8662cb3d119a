//! Makes the role in the account of the current credentials, or updates it there.

use std::process::ExitCode;

use aws_config::BehaviorVersion;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_iam::Client;

use rolectl_aws::api::Iam;
use rolectl_aws::error::{AwsFailure, Class};
use rolectl_aws::network::http_client;
use rolectl_core::arn::{arn_account, arn_partition};
use rolectl_core::role::{Change, ObservedDocument, ObservedRole};

use super::documents::{DESCRIPTION, MAX_SESSION, POLICY, Wanted};
use super::existing::{
    Difference, check_ownership, check_takeover, difference, document, in_safe_order, read,
};
use super::input::check_boundary;
use crate::failure::Failure;
use crate::fleet::details;
use crate::output::{agreed, counted, printable};
use crate::paint::Paint;
use crate::stdio::{eprintln, println};
use crate::values::account_id;
use crate::waiting::request_timeout;

/// What the user asked for.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Change a role that exists and differs.
    pub update: bool,
    /// Change nothing.
    pub dry_run: bool,
    /// Do not ask.
    pub yes: bool,
}

/// The account of the current credentials.
struct Target {
    iam: Client,
    account: String,
    /// ARN of the owner of the credentials.
    me: String,
}

const ADMINISTRATOR: &str =
    "use the credentials of an administrator of the target account (AWS_PROFILE), then try again";

fn failed(failure: &AwsFailure) -> Failure {
    Failure::new(printable(&failure.to_string()), ADMINISTRATOR)
}

/// Makes the role, or compares it with the one that exists.
pub async fn run(wanted: &Wanted, options: Options) -> Result<ExitCode, Failure> {
    let target = target(wanted).await?;
    match read(&target.iam, &wanted.role_name)
        .await
        .map_err(|e| failed(&e))?
    {
        None => create(wanted, &target, options).await,
        Some(there) => compare(wanted, &target, &there, options).await,
    }
}

/// Finds out whose the credentials are. Fails if the role cannot be of their account.
async fn target(wanted: &Wanted) -> Result<Target, Failure> {
    let config = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http_client())
        .region(aws_config::Region::from_static(wanted.partition.region))
        .timeout_config(
            TimeoutConfig::builder()
                .operation_timeout(request_timeout())
                .build(),
        )
        .load()
        .await;
    let identity = aws_sdk_sts::Client::new(&config)
        .get_caller_identity()
        .send()
        .await;
    let identity = identity.map_err(|e| failed(&AwsFailure::new("GetCallerIdentity", &e)))?;
    let me = identity.arn.unwrap_or_default();
    if arn_partition(&me) != wanted.partition.name {
        return Err(Failure::new(
            format!(
                "your credentials are of {}, not of partition {}",
                printable(&me),
                wanted.partition.name
            ),
            ADMINISTRATOR,
        ));
    }
    let account = account_id(arn_account(&me))
        .map_err(|why| Failure::new(format!("AWS calls you {}: {why}", printable(&me)), ADMINISTRATOR))?;
    if wanted.trusted.account() == account {
        return Err(Failure::new(
            format!("your credentials are of the operator's own account {account}"),
            ADMINISTRATOR,
        ));
    }
    check_boundary(wanted.boundary.as_deref(), &account)?;
    Ok(Target {
        iam: Client::new(&config),
        account,
        me,
    })
}

/// Prints that nothing was changed, and returns the exit code of a dry run.
fn dry_run() -> ExitCode {
    println!("Nothing was changed (--dry-run).");
    ExitCode::SUCCESS
}

/// Asks, unless the user agreed before. Returns the exit code if the user does not agree.
fn refusal(question: &str, options: Options) -> Result<Option<ExitCode>, Failure> {
    if options.yes || agreed(question)? {
        return Ok(None);
    }
    println!("Nothing was changed.");
    Ok(Some(ExitCode::from(1)))
}

/// Creates the role.
async fn create(wanted: &Wanted, target: &Target, options: Options) -> Result<ExitCode, Failure> {
    let (name, account) = (&wanted.role_name, &target.account);
    let (trust, permissions) = (
        document(&wanted.trust())?,
        document(&wanted.permissions(account))?,
    );
    if options.dry_run {
        let paint = Paint::of_stdout();
        let line = |line: &str| println!("{}", paint.by_sign(line));
        line(&format!("+ role {name} in account {account} will be created"));
        line(&format!("    + description {DESCRIPTION:?}"));
        line(&format!("    + max session duration {MAX_SESSION} s"));
        if let Some(arn) = &wanted.boundary {
            line(&format!("    + permissions boundary {arn}"));
        }
        for (what, document) in [
            ("trust policy", &trust),
            (&*format!("inline policy {POLICY}"), &permissions),
        ] {
            line(&format!("    + {what}"));
            for detail in document.canonical().listing() {
                line(&format!("        {detail}"));
            }
        }
        return Ok(dry_run());
    }
    let question = format!(
        "Make role {name} in account {account} as {}, for {} to assume?",
        printable(&target.me),
        wanted.trusted
    );
    if let Some(code) = refusal(&question, options)? {
        return Ok(code);
    }
    let created = target
        .iam
        .create_role()
        .role_name(name)
        .description(DESCRIPTION)
        .max_session_duration(MAX_SESSION)
        .set_permissions_boundary(wanted.boundary.clone())
        .assume_role_policy_document(trust.as_str())
        .send()
        .await
        .map_err(|e| AwsFailure::new("CreateRole", &e));
    match created {
        Ok(_) => println!("Made role {name} in account {account}."),
        Err(failure) if failure.class == Class::Exists => {
            return Err(Failure::new(
                format!(
                    "role {name} exists in account {account} now, made by somebody else or by an earlier attempt of this run"
                ),
                "run it again, to compare that role with what is needed",
            ));
        }
        Err(failure) => return Err(failed(&failure)),
    }
    let put = Iam::put_role_policy(&target.iam, name, POLICY, permissions.as_str()).await;
    if let Err(failure) = put {
        // Deletes the incomplete role, because rolectl would find it without permissions.
        if let Err(why) = Iam::delete_role(&target.iam, name).await {
            eprintln!(
                "Warning: role {name} exists, perhaps without permissions, and could not be deleted. Compare it with --apply: {}",
                printable(&why.to_string())
            );
        }
        return Err(failed(&failure));
    }
    println!("\n{}", wanted.account_yaml(account)?);
    Ok(ExitCode::SUCCESS)
}

/// Shows how the role that exists differs, and updates it if the user asks for that.
async fn compare(
    wanted: &Wanted,
    target: &Target,
    there: &ObservedRole,
    options: Options,
) -> Result<ExitCode, Failure> {
    let (name, account) = (&wanted.role_name, &target.account);
    check_ownership(wanted, there, account)?;
    let difference = difference(wanted, account, there)?;
    if difference.is_none() {
        println!("Role {name} in account {account} is as needed.");
        return Ok(ExitCode::SUCCESS);
    }
    if options.update && difference.replaces_trust() {
        println!("The trust policy of role {name} in account {account} that will be replaced:");
        for line in full(&there.trust).lines() {
            println!("  {}", printable(line));
        }
        println!();
    }
    println!("Role {name} in account {account} differs from what is needed:");
    show(&difference);
    if !options.update {
        let next = if difference.changes.is_empty() {
            "remove manually what nobody needs; --update never removes it"
        } else {
            "run it again with --update to write these changes, or choose another --role-name"
        };
        return Err(Failure::new(
            format!("role {name} in account {account} is not as needed. Nothing was changed"),
            next,
        ));
    }
    if difference.changes.is_empty() {
        println!("There is nothing to update.");
        return Ok(ExitCode::SUCCESS);
    }
    check_takeover(&difference, there, account)?;
    if options.dry_run {
        return Ok(dry_run());
    }
    let question = format!(
        "Update role {name} in account {account} as {}, for {} to assume?",
        printable(&target.me),
        wanted.trusted
    );
    if let Some(code) = refusal(&question, options)? {
        return Ok(code);
    }
    // The answer may have taken its time.
    let again = read(&target.iam, name).await.map_err(|e| failed(&e))?;
    if again.as_ref() != Some(there) {
        return Err(Failure::new(
            format!("role {name} has changed since the difference was shown. Nothing was written"),
            "run it again, and look at the difference",
        ));
    }
    update(target, name, in_safe_order(difference.changes, there)?).await?;
    Ok(ExitCode::SUCCESS)
}

/// Returns a document in full, as indented JSON where it can be parsed.
fn full(document: &ObservedDocument) -> String {
    match document {
        ObservedDocument::Parsed(document) => document.canonical().pretty(),
        ObservedDocument::Unreadable(text) => text.clone(),
    }
}

/// Prints the changes statement by statement, and what stays.
fn show(difference: &Difference) {
    let paint = Paint::of_stdout();
    for change in &difference.changes {
        println!("  {}", paint.by_sign(&printable(&change.to_string())));
        for detail in details(change) {
            println!("      {}", paint.by_sign(&printable(&detail)));
        }
    }
    for what in &difference.additional {
        let line = format!("! {} is additional, and stays", printable(what));
        println!("  {}", paint.by_sign(&line));
    }
}

/// Makes the changes, and prints each that was made.
async fn update(target: &Target, name: &str, changes: Vec<Change>) -> Result<(), Failure> {
    let count = changes.len();
    for (done, change) in changes.into_iter().enumerate() {
        let made = write(&target.iam, name, &change).await;
        made.map_err(|failure| {
            Failure::new(
                format!(
                    "{} (at: {change}). {} of {count} changes made before",
                    printable(&failure.to_string()),
                    done
                ),
                "correct what the message names, and run it again to make the rest",
            )
        })?;
        println!("Done: {}", made_line(&change));
    }
    println!(
        "Updated role {name} in account {} with {}.",
        target.account,
        counted(count, "call")
    );
    Ok(())
}

/// Returns a change that was made, as people read it.
fn made_line(change: &Change) -> String {
    match change {
        Change::DeleteInlinePolicy(policy) => {
            format!("- inline policy {policy}, until the trust policy is replaced")
        }
        change => printable(&change.to_string()).into_owned(),
    }
}

async fn write(iam: &Client, name: &str, change: &Change) -> Result<(), AwsFailure> {
    match change {
        Change::UpdateTrustPolicy(document, _) => {
            Iam::update_assume_role_policy(iam, name, document.as_str()).await
        }
        Change::PutBoundary(arn) => Iam::put_role_permissions_boundary(iam, name, arn).await,
        Change::PutInlinePolicy(policy, document, _) => {
            Iam::put_role_policy(iam, name, policy, document.as_str()).await
        }
        Change::UpdateRole {
            description,
            max_session_duration,
            what: _,
        } => Iam::update_role(iam, name, description, *max_session_duration).await,
        // The safe order may need this before the policy is put again.
        Change::DeleteInlinePolicy(policy) if policy == POLICY => {
            Iam::delete_role_policy(iam, name, policy).await
        }
        // A difference has no other changes.
        other => Err(AwsFailure::not_made(
            other.operation(),
            &"rolectl bootstrap makes no such change",
        )),
    }
}
