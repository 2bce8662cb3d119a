//! Policy documents that were parsed and linted before.
//!
//! One document is needed for every account of a role and at every retry. It is parsed once: what a document means
//! depends on nothing but its text, where it stands, and the partition.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use quick_cache::Weighter;
use quick_cache::unsync::Cache;

use super::document::Document;
use super::lint::{Finding, Place};

/// How much memory the documents may take, in bytes.
const CAPACITY: u64 = 4 * 1024 * 1024;
/// The parsed form of a document takes about ten times its text.
const PARSED: usize = 10;
/// How many documents to expect, which decides only how much room for keys is made at first.
const DOCUMENTS: usize = 256;

/// What a document depends on, variables filled in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    text: String,
    place: Place,
    partition: String,
}

/// What came of reading a document: nothing where it does not parse, and every finding.
pub type ReadDocument = (Option<Document>, Vec<Finding>);

#[derive(Clone, Copy, Debug)]
struct ByText;

impl Weighter<Key, Arc<ReadDocument>> for ByText {
    fn weight(&self, key: &Key, read: &Arc<ReadDocument>) -> u64 {
        let (_, findings) = &**read;
        let findings: usize = findings.iter().map(|f| size_of::<Finding>() + f.len()).sum();
        // One byte at least: an entry without weight would never be evicted.
        let weight = key.text.len().saturating_mul(PARSED).saturating_add(findings);
        u64::try_from(weight).unwrap_or(u64::MAX).max(1)
    }
}

/// Keeps the documents that were used last, up to a limit in bytes.
pub struct DocumentCache(Mutex<Cache<Key, Arc<ReadDocument>, ByText>>);

impl DocumentCache {
    /// Returns what `read` made of the document when it was first asked for.
    pub fn read(
        &self,
        text: &str,
        place: Place,
        partition: &str,
        read: impl FnOnce() -> ReadDocument,
    ) -> Arc<ReadDocument> {
        let key = Key {
            text: text.to_owned(),
            place,
            partition: partition.to_owned(),
        };
        if let Some(found) = self.0.lock().get(&key) {
            return Arc::clone(found);
        }
        // Two readers at once both parse, which is harmless: waiting would block a thread of the runtime.
        let document = Arc::new(read());
        self.0.lock().insert(key, Arc::clone(&document));
        document
    }
}

impl Default for DocumentCache {
    fn default() -> Self {
        Self(Mutex::new(Cache::with_weighter(DOCUMENTS, CAPACITY, ByText)))
    }
}

impl fmt::Debug for DocumentCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DocumentCache")
            .field("documents", &self.0.lock().len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::super::lint::{MAX_FINDINGS, read};
    use super::*;

    #[test]
    fn a_document_is_parsed_once_for_all_accounts_of_a_partition_and_all_retries() {
        let cache = DocumentCache::default();
        let parsed = Cell::new(0);
        let read = |text, place, partition| {
            cache.read(text, place, partition, || {
                parsed.set(parsed.get() + 1);
                (None, vec![Finding::error(text)])
            })
        };
        for _ in 0..3 {
            assert_eq!(read("{}", Place::Trust, "aws").1, [Finding::error("{}")]);
        }
        assert_eq!(parsed.get(), 1);
        for (text, place, partition) in [
            ("{ }", Place::Trust, "aws"),
            ("{}", Place::Identity, "aws"),
            ("{}", Place::Trust, "aws-cn"),
        ] {
            assert_eq!(read(text, place, partition).1, [Finding::error(text)]);
        }
        assert_eq!(parsed.get(), 4, "each of them may mean something else");
    }

    #[test]
    fn the_cache_has_a_limit_whatever_documents_come() {
        let cache = DocumentCache::default();
        for n in 0..200 {
            let text = format!("{n:>32768}");
            let read = cache.read(&text, Place::Identity, "aws", || (None, vec![Finding::error(n)]));
            assert_eq!(read.1, [Finding::error(n)]);
        }
        assert!(
            cache.0.lock().weight() <= CAPACITY && cache.0.lock().len() < 16,
            "{cache:?}"
        );
        // Findings count, too: there can be more of them than text.
        let many = vec![Finding::error("x".repeat(512)); 100_000];
        cache.read("[]", Place::Identity, "aws", || (None, many.clone()));
        assert!(cache.0.lock().weight() <= CAPACITY, "{cache:?}");
    }

    #[test]
    fn the_largest_document_with_the_most_findings_is_kept() {
        let cache = DocumentCache::default();
        let statements = vec!["{}"; 20_000].join(",");
        let text = format!(r#"{{"Statement":[{statements}]}}"#);
        let value = serde_json::from_str(&text).unwrap();
        for _ in 0..2 {
            cache.read(&text, Place::Trust, "aws", || {
                read(&value, Place::Trust, Some("aws"))
            });
        }
        assert_eq!(cache.0.lock().len(), 1);
        let (_, findings) = &*cache.read(&text, Place::Trust, "aws", || unreachable!("parsed again"));
        assert_eq!(findings.len(), MAX_FINDINGS + 1);
        let last = findings.last().unwrap().to_string();
        assert!(last.ends_with(" more problems"), "{last}");
    }
}
