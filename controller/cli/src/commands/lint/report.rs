//! Prints the findings for people, programs and CI systems.

use clap::ValueEnum;
use serde_json::{Value, json};

use rolectl_core::policy::lint::Severity;

use super::check::{Finding, LintResult, Rule};
use crate::failure::Failure;
use crate::output::{self, counted};
use crate::stdio::println;

/// Form of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people, one line for each finding: `file:line: severity: object: field: message`.
    #[default]
    Text,
    /// For programs.
    Json,
    /// For programs.
    Yaml,
    // https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
    /// Annotations of GitHub Actions.
    Github,
    // https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
    /// SARIF 2.1.0, for code scanning.
    Sarif,
}

/// Prints what was found.
pub(super) fn print(format: Format, result: &LintResult) -> Result<(), Failure> {
    match format {
        Format::Text => {
            for finding in &result.findings {
                let (file, line) = (&finding.file, finding.line);
                println!("{file}:{line}: {}: {}", name(finding.severity), text(finding));
            }
            println!("{}", summary(result));
            Ok(())
        }
        Format::Github => {
            for finding in &result.findings {
                println!("{}", annotation(finding));
            }
            println!("{}", summary(result));
            Ok(())
        }
        Format::Json => output::machine(output::Format::Json, result),
        Format::Yaml => output::machine(output::Format::Yaml, result),
        Format::Sarif => output::machine_as_it_is(output::Format::Json, &sarif(result)),
    }
}

const fn name(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

fn text(finding: &Finding) -> String {
    let Finding {
        object,
        field,
        message,
        ..
    } = finding;
    if field.is_empty() {
        format!("{object}: {message}")
    } else {
        format!("{object}: {field}: {message}")
    }
}

fn summary(result: &LintResult) -> String {
    let errors = result
        .findings
        .iter()
        .filter(|f| f.severity == Severity::Error)
        .count();
    let warnings = result.findings.len() - errors;
    format!(
        "{} checked: {}, {}",
        result.checked,
        counted(errors, "error"),
        counted(warnings, "warning")
    )
}

impl output::Document for LintResult {
    const KIND: &'static str = "LintResult";
}

fn annotation(finding: &Finding) -> String {
    // Values and properties are escaped differently.
    let value = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| value(text).replace(':', "%3A").replace(',', "%2C");
    format!(
        "::{} file={},line={},title={}::{}",
        name(finding.severity),
        property(&finding.file),
        finding.line,
        property(&finding.object),
        value(&text(finding))
    )
}

fn sarif(result: &LintResult) -> Value {
    let results: Vec<Value> = result
        .findings
        .iter()
        .map(|finding| {
            json!({
                "ruleId": finding.rule,
                "level": name(finding.severity),
                "message": {"text": text(finding)},
                "locations": [{"physicalLocation": {
                    "artifactLocation": {"uri": finding.file},
                    "region": {"startLine": finding.line},
                }}],
            })
        })
        .collect();
    let rules: Vec<Value> = [
        (Rule::Unreadable, "A file or document that cannot be read"),
        (Rule::Schema, "An object that the API server refuses"),
        (
            Rule::Controller,
            "An object that the controller refuses or warns of",
        ),
        (
            Rule::Policy,
            "A policy document that AWS refuses, or that is probably wrong",
        ),
        (Rule::Duplicate, "An object that is declared twice"),
    ]
    .map(|(rule, text)| json!({"id": rule, "shortDescription": {"text": text}}))
    .into();
    json!({
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "rolectl lint",
                "version": env!("CARGO_PKG_VERSION"),
                "informationUri": env!("CARGO_PKG_REPOSITORY"),
                "rules": rules,
            }},
            "results": results,
        }],
    })
}
