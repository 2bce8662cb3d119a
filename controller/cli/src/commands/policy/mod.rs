//! Implements `rolectl policy`.

mod includes;
mod trust;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use rolectl_core::policy::inclusion::{Attached, Budget, Excess, Inclusion, Policies, inclusion_of};
use rolectl_core::policy::{DiffLine, PolicyDocument};
use rolectl_core::widening::VerdictKind;

use super::plan::WIDENS;
use crate::failure::Failure;
use crate::files::{self, Found};
use crate::output::{Document, Format, machine, machine_as_it_is, printable};
use crate::paint::Paint;
use crate::stdio::println;
use crate::values::account_id;
#[cfg(test)]
pub use includes::PolicyInclusion;

/// Compare and format policy documents, show that one includes another, and write trust policies
///
/// Documents are JSON or YAML, plain or URL-encoded as AWS hands them out. They are compared by what they mean:
/// order, a single value against a list of one, the case that IAM ignores, and other ways to write the same vanish.
#[derive(Debug, Args)]
pub struct Policy {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Equal(Pair),
    Diff(Pair),
    Fmt(Fmt),
    Includes(includes::Includes),
    Trust(trust::Trust),
}

/// Tell whether two documents mean the same, with the difference
///
/// The last lines say whether the second document narrows or widens the first one: what it may allow and the first does not. That is
/// computed as by `rolectl policy includes`. `diff` is another name for it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rolectl policy equal ours.json theirs.json
  aws iam get-role --role-name app --query Role.AssumeRolePolicyDocument |
    rolectl policy equal trust.yaml -

Exit codes: 0 equal, 1 different, 2 not a policy.
With --fail-on: 3 instead of 1 if the second document may allow more.")]
struct Pair {
    /// The document that was; `-` is stdin
    from: String,
    /// The document that is to be; `-` is stdin
    to: String,
    /// They are trust policies of a role in this account
    ///
    /// As in `rolectl policy includes`: an account as a whole includes its users and roles unless it is the role's own.
    #[arg(long, value_name = "ACCOUNT_ID", value_parser = account_id)]
    trust_of: Option<String>,
    /// End with exit code 3 if the second document may allow more than the first
    #[arg(long, value_name = "WHAT", value_parser = ["widening"])]
    fail_on: Option<String>,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Write a document in its canonical form
///
/// Elements are in AWS's order, lists and statements are sorted, and a list of one value becomes the value. Two documents that mean
/// the same become the same text, but for the case of words whose case IAM ignores.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rolectl policy fmt trust.json
  rolectl policy fmt -o yaml - < trust.json

Exit codes: 0 written, 2 not a policy.")]
struct Fmt {
    /// The document; `-` is stdin
    #[arg(default_value = "-")]
    file: String,
    /// Form of the output; a table is JSON
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// The difference of two policy documents.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyDiff {
    /// True if the documents mean the same.
    equal: bool,
    /// What differs, a line for each element.
    diff: Vec<DiffLine>,
    /// Whether the second document allows more or less than the first.
    verdict: VerdictKind,
    /// The first parts of the second document that may allow more.
    widens: Vec<Excess>,
    /// Number of all such parts.
    widens_count: usize,
}

impl Document for PolicyDiff {
    const KIND: &'static str = "PolicyDiff";
}

impl Policy {
    pub fn run(self) -> Result<ExitCode, Failure> {
        match self.verb {
            Verb::Equal(pair) | Verb::Diff(pair) => pair.run(),
            Verb::Fmt(fmt) => machine_as_it_is(fmt.output, &document(&fmt.file)?).map(|()| ExitCode::SUCCESS),
            Verb::Includes(includes) => includes.run(),
            Verb::Trust(trust) => trust.run().map(|()| ExitCode::SUCCESS),
        }
    }
}

impl Pair {
    fn run(self) -> Result<ExitCode, Failure> {
        if self.from == "-" && self.to == "-" {
            return Err(Failure::new(
                "both documents are to come from stdin",
                "give a file for one of them",
            )
            .usage());
        }
        let (from, to) = (document(&self.from)?, document(&self.to)?);
        let compared = self.compared(&from, &to);
        if self.output == Format::Table {
            compared.print();
        } else {
            machine(self.output, &compared)?;
        }
        Ok(if compared.equal {
            ExitCode::SUCCESS
        } else if self.fail_on.is_some() && compared.verdict == VerdictKind::Widens {
            ExitCode::from(WIDENS)
        } else {
            ExitCode::from(1)
        })
    }

    fn compared(&self, from: &PolicyDocument, to: &PolicyDocument) -> PolicyDiff {
        let side = |called, document| Policies {
            called,
            documents: vec![(None, document)],
            unread: vec![],
        };
        let (first, second) = (side("the first document", from), side("the second document", to));
        let trust_of = self.trust_of.as_deref();
        let attached = trust_of.map_or(Attached::Alone, Attached::AsTrust);
        let budget = Budget::default();
        let diff = from.diff(to);
        let equal = diff.is_empty();
        let more = if equal {
            Inclusion::default()
        } else {
            inclusion_of(&first, &second, attached, &budget)
        };
        let verdict = if !more.is_shown() {
            VerdictKind::Widens
        } else if equal || inclusion_of(&second, &first, attached, &budget).is_shown() {
            VerdictKind::Same
        } else {
            VerdictKind::Narrows
        };
        PolicyDiff {
            equal,
            diff,
            verdict,
            widens: more.excess,
            widens_count: more.count,
        }
    }
}

impl PolicyDiff {
    fn print(&self) {
        if self.equal {
            println!("equal");
            return;
        }
        for line in &self.diff {
            println!("{}", printable(&line.to_string()));
        }
        match self.verdict {
            VerdictKind::Same => println!("same: neither document allows more than the other"),
            VerdictKind::Narrows => println!("narrows: the second document allows less"),
            VerdictKind::Widens => {}
        }
        let paint = Paint::of_stdout();
        for excess in &self.widens {
            let line = format!("widens: {excess}");
            println!("{}", paint.yellow(&printable(&line)));
        }
        let more = self.widens_count.saturating_sub(self.widens.len());
        if more > 0 {
            println!("{}", paint.yellow(&format!("widens: and {more} more")));
        }
    }
}

/// Reads the one policy document of a file.
fn document(path: &str) -> Result<PolicyDocument, Failure> {
    let text = files::text(path)?;
    let source = if path == "-" { "stdin" } else { path };
    let not = |why: String| {
        Failure::new(
            format!("{source} is not a policy document: {why}"),
            "correct what it names",
        )
        .usage()
    };
    // A URL-encoded document begins with `%`. The YAML parser reads plain JSON, too.
    if text.trim_start().starts_with('%') {
        return rolectl_core::policy::Document::parse(&text)
            .map(|d| d.canonical().clone())
            .map_err(|e| not(e.to_string()));
    }
    let mut found = files::parse(source, &text)?;
    match (found.pop(), found.is_empty()) {
        (Some(Found { value, .. }), true) => parsed(&value).map_err(not),
        (None, _) => Err(not("it is empty".to_owned())),
        (Some(_), false) => Err(not("it holds more than one document".to_owned())),
    }
}

fn parsed(value: &Value) -> Result<PolicyDocument, String> {
    PolicyDocument::from_value(value).map_err(|e| e.to_string())
}
