//! Help, docs and descriptions are written in plain English.

use anyhow::{Result, ensure};
use rolectl_tests::tools::root;

/// Words of the project's earlier private language, each with what to write instead.
const AVOID: [(&str, &str); 20] = [
    ("goes on", "continues"),
    ("is told", "is reported"),
    ("by hand", "manually"),
    ("anew", "again"),
    ("for ever", "continuously"),
    ("at the desk", "before it is applied"),
    ("come to rest", "end"),
    ("comes to rest", "ends"),
    ("settle", "become consistent"),
    ("doubt", "invalidate"),
    ("stray", "orphan"),
    ("let go", "release"),
    ("lets go", "releases"),
    ("news", "changes"),
    ("mend", "correct"),
    ("mends", "corrects"),
    ("buys", "opens"),
    ("bought", "opened"),
    ("buy", "open"),
    ("claimant", "candidate"),
];

/// Returns all words of a text in lower case, with one space between them and around. Names of tests are one word each.
fn words(line: &str) -> String {
    let words = line
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty());
    let words: Vec<String> = words.map(str::to_lowercase).collect();
    format!(" {} ", words.join(" "))
}

#[test]
fn no_text_for_users_has_a_word_of_a_private_language() -> Result<()> {
    let mut files = vec![
        root().join("README.md"),
        root().join("SECURITY.md"),
        root().join("CHANGELOG.md"),
    ];
    for folder in ["docs", "docs/reference", "crds/yaml", "charts/rolectl"] {
        for entry in std::fs::read_dir(root().join(folder))? {
            let path = entry?.path();
            let extension = path.extension().and_then(|extension| extension.to_str());
            if matches!(extension, Some("md" | "yaml")) {
                files.push(path);
            }
        }
    }
    ensure!(files.len() > 20, "{} files", files.len());
    let mut found = vec![];
    for path in files {
        for (n, line) in std::fs::read_to_string(&path)?.lines().enumerate() {
            let words = words(line);
            for (avoid, instead) in AVOID {
                if words.contains(&format!(" {avoid} ")) {
                    found.push(format!("{}:{}: {avoid}: write {instead}", path.display(), n + 1));
                }
            }
        }
    }
    ensure!(found.is_empty(), "{}", found.join("\n"));
    Ok(())
}
