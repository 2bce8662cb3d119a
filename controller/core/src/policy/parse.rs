//! Reads a policy document from JSON into its canonical form. It collects every problem before it fails, so that an author can
//! correct all of them at once.

use serde_json::Value;

use super::document::{Document, PolicyDocument, Statement};
use super::limits::{MAX_BYTES, MAX_OBSERVED_BYTES, check_bounds, check_limit};
use super::problem::PolicyError;
use super::statement::{Reader, Source, list};

/// A document with its statements in the author's order, which the canonical form does not have.
pub(super) struct Ordered {
    pub version: Option<String>,
    pub id: Option<String>,
    /// The statements and their paths. `None` if the document has no `Statement`.
    pub statements: Option<Vec<(String, Statement)>>,
}

impl Document {
    /// Parses a document from JSON text. The text may be URL-encoded, as AWS returns it.
    ///
    /// # Errors
    /// When the text is too large, is not JSON or is not a policy document.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let text = text.trim();
        // URL encoding uses up to three bytes for one.
        check_limit(text.len() / 3, MAX_OBSERVED_BYTES)?;
        let decoded = if text.starts_with("%7B") || text.starts_with("%7b") {
            percent_encoding::percent_decode_str(text).decode_utf8_lossy()
        } else {
            text.into()
        };
        check_limit(decoded.len(), MAX_OBSERVED_BYTES)?;
        let value: Value =
            serde_json::from_str(&decoded).map_err(|e| PolicyError::of("", format!("is not JSON: {e}")))?;
        Self::from_value(&value)
    }

    /// Parses a document from a JSON value.
    ///
    /// # Errors
    /// When the value is too large or is not a policy document.
    pub fn from_value(value: &Value) -> Result<Self, PolicyError> {
        let canonical = PolicyDocument::from_value(value)?;
        Ok(Self::new(value.to_string(), canonical))
    }
}

impl PolicyDocument {
    /// Parses a document from a JSON value into its canonical form. An empty object is a valid document here; [`super::lint`]
    /// checks what AWS accepts.
    ///
    /// # Errors
    /// When the value is too large or is not a policy document.
    pub fn from_value(value: &Value) -> Result<Self, PolicyError> {
        ordered(value, Source::Any).map(Self::from)
    }
}

impl From<Ordered> for PolicyDocument {
    fn from(document: Ordered) -> Self {
        let Ordered {
            version,
            id,
            statements,
        } = document;
        Self {
            version: version.unwrap_or_else(|| "2008-10-17".to_owned()),
            id,
            statements: statements.into_iter().flatten().map(|(_, s)| s).collect(),
        }
    }
}

/// Reads a document with its statements in the author's order.
pub(super) fn ordered(value: &Value, source: Source) -> Result<Ordered, PolicyError> {
    let limit = match source {
        Source::Author => MAX_BYTES,
        Source::Any => MAX_OBSERVED_BYTES,
    };
    check_bounds(value, limit)?;
    let Some(map) = value.as_object() else {
        return Err(PolicyError::of("", "is not a JSON object"));
    };
    let mut reader = Reader::new(source);
    let (mut version, mut id, mut statements) = (None, None, None);
    for (key, value) in map {
        match key.as_str() {
            "Version" => match value.as_str() {
                Some(text) => version = Some(text.to_owned()),
                None => reader.problem("Version", format!("is {value}: write \"2012-10-17\"")),
            },
            "Id" => id = reader.text("Id", value),
            "Statement" => {
                let read = list(value).enumerate().filter_map(|(n, statement)| {
                    let at = format!("Statement[{n}]");
                    reader.statement(&at, statement).map(|s| (at, s))
                });
                statements = Some(read.collect());
            }
            other => reader.unknown("", other, &["Version", "Id", "Statement"]),
        }
    }
    if reader.problems.is_empty() {
        Ok(Ordered {
            version,
            id,
            statements,
        })
    } else {
        Err(PolicyError(reader.problems))
    }
}
