//! A cache of parsed and linted policy documents.
//!
//! Every account of a role and every retry needs the documents of the role. The cache parses each of them once, because the result
//! depends only on the text, on the kind of policy and on the partition.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use quick_cache::Weighter;
use quick_cache::unsync::Cache;

use super::document::Document;
use super::lint::{Finding, Place};

/// The memory that the documents may use, in bytes (estimated).
const CAPACITY: u64 = 4 * 1024 * 1024;
/// The approximate size of a parsed document, as a multiple of its text.
const PARSED: usize = 10;
/// The expected number of documents. It only sets the initial capacity for keys.
const DOCUMENTS: usize = 256;

/// Everything that the result of a read depends on. The variables in the text are replaced.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    text: String,
    place: Place,
    partition: String,
}

/// The result of reading a document: the document, or `None` if it cannot be parsed, and all findings.
pub type ReadDocument = (Option<Document>, Vec<Finding>);

#[derive(Clone, Copy, Debug)]
struct ByText;

impl Weighter<Key, Arc<ReadDocument>> for ByText {
    fn weight(&self, key: &Key, read: &Arc<ReadDocument>) -> u64 {
        let (_, findings) = &**read;
        let findings: usize = findings.iter().map(|f| size_of::<Finding>() + f.len()).sum();
        // At least one byte: the cache never evicts an entry without weight.
        let weight = key.text.len().saturating_mul(PARSED).saturating_add(findings);
        u64::try_from(weight).unwrap_or(u64::MAX).max(1)
    }
}

/// A cache of the documents that were used last, with a limit in bytes. Safe to share between threads.
pub struct DocumentCache(Mutex<Cache<Key, Arc<ReadDocument>, ByText>>);

impl DocumentCache {
    /// Returns the cached result for the document, or calls `read` and caches what it returns.
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
        // Two concurrent readers both parse, which is harmless. A lock would block a thread of the runtime.
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
        assert_eq!(parsed.get(), 4, "each of them can have another result");
    }

    #[test]
    fn the_cache_never_exceeds_its_limit() {
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
        // Findings count, too: they can be larger than the text.
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
