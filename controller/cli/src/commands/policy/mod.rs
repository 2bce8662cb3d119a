//! Implements `rolectl policy`.

mod includes;
mod trust;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use rolectl_core::policy::{DiffLine, PolicyDocument};

use crate::failure::Failure;
use crate::files::{self, Found};
use crate::output::{Document, Format, machine, machine_as_it_is};
use crate::stdio::println;
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
/// `diff` is another name for it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rolectl policy equal ours.json theirs.json
  aws iam get-role --role-name app --query Role.AssumeRolePolicyDocument |
    rolectl policy equal trust.yaml -

Exit codes: 0 equal, 1 different, 2 not a policy.")]
struct Pair {
    /// The document that was; `-` is stdin
    from: String,
    /// The document that is to be; `-` is stdin
    to: String,
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
pub struct PolicyDiff {
    /// True if the documents mean the same.
    equal: bool,
    /// What differs, a line for each element.
    diff: Vec<DiffLine>,
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
        let diff = from.diff(&to);
        match self.output {
            Format::Table if diff.is_empty() => println!("equal"),
            Format::Table => diff.iter().for_each(|line| println!("{line}")),
            format => {
                let equal = diff.is_empty();
                machine(
                    format,
                    &PolicyDiff {
                        equal,
                        diff: diff.clone(),
                    },
                )?;
            }
        }
        Ok(if diff.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(1)
        })
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
