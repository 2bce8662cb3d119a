//! Implements `rolectl lint`.
//!
//! ```text
//! files -> check (schema, then the controller's own rules) -> report (text, JSON, annotations of GitHub, SARIF)
//! ```

mod check;
mod report;

use std::process::ExitCode;

use clap::Args;

use rolectl_core::policy::lint::Severity;

use crate::failure::Failure;
use crate::files;
#[cfg(test)]
pub use check::LintResult;
use report::Format;

/// Check roles and policy documents without a cluster or AWS, by the rules of the API server and the controller
///
/// Takes IamRole, AwsAccount and MfaSession objects and bare policy documents, in files and folders. AwsAccounts in the same files
/// supply account ids, labels and guardrails; without them variables are replaced by sample values, such as 000000000000.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rolectl lint roles/
  kustomize build . | rolectl lint -
  rolectl lint -o github roles/          annotations on a pull request

Exit codes: 0 no error (warnings may be shown), 1 errors, 2 a file or a document cannot be read, or there was nothing to check.")]
pub struct Lint {
    /// Files and folders; `-` is stdin
    #[arg(required = true)]
    paths: Vec<String>,
    /// Succeed if there is nothing to check
    #[arg(long)]
    allow_empty: bool,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

impl Lint {
    pub fn run(self) -> Result<ExitCode, Failure> {
        let result = check::check(files::documents(&self.paths)?);
        report::print(self.output, &result)?;
        if result.checked == 0 && !result.is_unreadable && !self.allow_empty {
            return Err(Failure::new(
                format!(
                    "nothing was checked: {} has no object of rolectl and no policy document",
                    self.paths.join(", ")
                ),
                "correct the path, or run it with --allow-empty",
            )
            .usage());
        }
        let fails = result
            .findings
            .iter()
            .any(|finding| finding.severity == Severity::Error);
        Ok(match (result.is_unreadable, fails) {
            (true, _) => ExitCode::from(2),
            (false, true) => ExitCode::from(1),
            (false, false) => ExitCode::SUCCESS,
        })
    }
}

/// Returns the findings about documents as text, for tests of what other commands write.
#[cfg(test)]
pub fn messages(documents: Vec<files::Document>) -> Vec<String> {
    let result = check::check(documents);
    assert!(result.checked > 0, "there is nothing to check");
    let findings = result.findings.iter();
    findings
        .map(|finding| format!("{}:{}: {}", finding.file, finding.line, finding.message))
        .collect()
}
