//! The rules of kstatus, numbered, checked on every object that a test waits for.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use rolectl_crds::Reason;

/// Words by which a message tells a person what to do.
const CURES: &[&str] = &[
    "add ",
    "apply",
    "ask",
    "change",
    "check",
    "choose",
    "correct",
    "create",
    "delete",
    "did you mean",
    "give",
    "have ",
    "make ",
    "merge",
    "name ",
    "remove",
    "rolectl unlock",
    "set ",
    "shorten",
    "take ",
    "use ",
    "write",
];

/// Checks the conditions of an object whose status speaks of `observed_generation`.
pub fn check(conditions: &[Condition], observed_generation: Option<i64>) -> Result<()> {
    let of = |kind: &str| conditions.iter().filter(|c| c.type_ == kind).collect::<Vec<_>>();
    let (ready, reconciling, stalled) = (of("Ready"), of("Reconciling"), of("Stalled"));
    let all = format!("{conditions:?}");
    ensure!(ready.len() == 1, "K1: Ready is always present, once: {all}");
    let ready = ready.first().context("K1")?;
    ensure!(
        reconciling.iter().chain(&stalled).all(|c| c.status == "True"),
        "K2: Reconciling and Stalled are there only while True: {all}"
    );
    ensure!(
        reconciling.is_empty() || stalled.is_empty(),
        "K3: never Reconciling and Stalled: {all}"
    );
    ensure!(
        ready.status != "True" || (reconciling.is_empty() && stalled.is_empty()),
        "K4: what is Ready is neither Reconciling nor Stalled: {all}"
    );
    ensure!(
        conditions
            .iter()
            .all(|c| c.observed_generation == observed_generation),
        "K5: all conditions speak of the observed generation {observed_generation:?}: {all}"
    );
    for c in conditions {
        let reason = Reason::ALL.iter().find(|r| r.as_str() == c.reason);
        let reason = reason.with_context(|| format!("K6: {} is no reason of the API", c.reason))?;
        ensure!(
            !c.message.is_empty(),
            "K6: a message always says something: {all}"
        );
        ensure!(
            reason.is_stalled() != stalled.is_empty() && reason.is_reconciling() != reconciling.is_empty(),
            "K7: Stalled and Reconciling follow from the reason: {all}"
        );
    }
    for c in &stalled {
        let message = c.message.to_lowercase();
        ensure!(ready.status == "False", "K8: what is Stalled is not Ready: {all}");
        ensure!(
            CURES.iter().any(|cure| message.contains(cure)),
            "K9: a Stalled message tells what to do: {}",
            c.message
        );
    }
    Ok(())
}
